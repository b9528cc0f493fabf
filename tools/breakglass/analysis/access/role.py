"""RBAC objects as data: rules, roles with their aggregation, bindings and their subjects.

Sources: https://kubernetes.io/docs/reference/access-authn-authz/rbac/; what is refused is what
`pkg/apis/rbac/validation/validation.go` of Kubernetes 1.37 refuses, what matches is `evaluation_helpers.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.analysis.field import is_subdomain, known, labels, mapping, mappings, namespace_of, place, text, texts
from breakglass.analysis.selector import Selector, read_selector
from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.source import Place

GROUP = "rbac.authorization.k8s.io"
EVERY = "*"
LONGEST_URL = 2048
"""Characters of a URL in a rule."""
MOST_AGGREGATIONS = 1_000_000
"""Aggregating ClusterRoles times ClusterRoles."""

_SERVICE_ACCOUNT_USER = re.compile(r"User:system:serviceaccount:([^:]+):([^:]+)")
"""The user that the API server sees when a ServiceAccount's token is shown."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_FIELDS = {
    "Role": {"rules"},
    "ClusterRole": {"rules", "aggregationRule"},
    "RoleBinding": {"subjects", "roleRef"},
    "ClusterRoleBinding": {"subjects", "roleRef"},
}
_SUBJECTS = {"User": GROUP, "Group": GROUP, "ServiceAccount": ""}
"""Kind of a subject → its API group."""
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks to do; also the smallest piece of what a rule grants, where fields may be `*`.

    Attributes:
        verb: for example `get`.
        group: API group; empty for the core group.
        resource: `pods`, `pods/exec`; empty where a URL is asked for.
        name: of the object; empty where the rule or the question is not about one object.
        url: a path outside the resources, such as `/metrics`.
    """

    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, order=True)
class PolicyRule:
    """One item of a role's `rules`: either groups with resources, or URLs; without names it is about every object."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def pieces(self) -> Iterator[Request]:
        """Everything the rule grants, piece by piece."""
        for verb in self.verbs:
            yield from (Request(verb, url=url) for url in self.urls)
            for group in self.groups:
                for resource in self.resources:
                    if not (self.names and _has_no_name(verb, resource)):
                        yield from (Request(verb, group, resource, name) for name in self.names or ("",))

    def touches(self, asked: Request) -> bool:
        """Whether the rule grants what is asked for at least one name."""
        if not {asked.verb, EVERY} & set(self.verbs) or (self.names and _has_no_name(asked.verb, asked.resource)):
            return False
        if asked.url:
            return any(_covers_url(url, asked.url) for url in self.urls)
        return bool({asked.group, EVERY} & set(self.groups)) and any(
            _covers_resource(resource, asked.resource) for resource in self.resources
        )


@dataclass(frozen=True, slots=True)
class Binding:
    """A RoleBinding or ClusterRoleBinding.

    Attributes:
        key: the object.
        namespace: where it grants; empty for the whole cluster.
        role: the role it refers to.
        subjects: as in a contract: `User:name`, `Group:name`, `ServiceAccount:namespace/name`.
    """

    key: ObjectKey
    namespace: str
    role: ObjectKey
    subjects: frozenset[str]


def read_roles(manifests: Iterable[Manifest]) -> dict[ObjectKey, tuple[PolicyRule, ...]]:
    """Rules of every Role and ClusterRole, aggregation done.

    Raises:
        Refused: a role says what the API server would refuse.
    """
    found: dict[ObjectKey, Manifest] = {}
    for manifest in manifests:
        if _is(manifest, "Role", "ClusterRole"):
            _read_metadata(manifest)
            found[_role_key(manifest)] = manifest
    own = {key: _read_rules(manifest) for key, manifest in found.items()}
    selectors = {key: chosen for key, manifest in found.items() if (chosen := _aggregation(manifest)) is not None}
    carried = {key: _labels(manifest) for key, manifest in found.items() if key.kind == "ClusterRole"}
    return own | _aggregated(own, selectors, carried)


def cluster_role(name: str) -> ObjectKey:
    """The key of a ClusterRole."""
    return ObjectKey(GROUP, "ClusterRole", "", name)


def default_roles(manifests: Iterable[Manifest]) -> dict[ObjectKey, tuple[PolicyRule, ...]]:
    """What can be known of the ClusterRoles that every API server brings, beside those that the manifests hold.

    `cluster-admin` is everything. `admin`, `edit` and `view` aggregate: only what the manifests add to them is known.
    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles

    Raises:
        Refused: a role says what the API server would refuse.
    """
    manifests = [manifest for manifest in manifests if _is(manifest, "ClusterRole")]
    held = {_role_key(manifest) for manifest in manifests}
    everything = (PolicyRule((EVERY,), (EVERY,), (EVERY,)), PolicyRule((EVERY,), urls=(EVERY,)))
    aggregating = [
        _default_role(name, into)
        for name, into in (("admin", ""), ("edit", "admin"), ("view", "edit"))
        if cluster_role(name) not in held
    ]
    roles = read_roles([*manifests, *aggregating])
    added = {key: rules for key, rules in roles.items() if key not in held and rules}
    return added | ({} if cluster_role("cluster-admin") in held else {cluster_role("cluster-admin"): everything})


def read_bindings(manifests: Iterable[Manifest]) -> tuple[Binding, ...]:
    """Every binding, ordered by key.

    Raises:
        Refused: a binding says what the API server would refuse.
    """
    found = [_read_binding(item) for item in manifests if _is(item, "RoleBinding", "ClusterRoleBinding")]
    return tuple(sorted(found, key=lambda binding: binding.key))


def holders(subject: str) -> frozenset[str]:
    """The subject and the groups that come with it.

    Raises:
        Refused: it is not written as in a contract.
    """
    subject = _as_service_account(subject)
    kind, _, name = subject.partition(":")
    if kind not in _SUBJECTS or not name:
        raise Refused(f"{subject} is no subject", remedy="write User:…, Group:… or ServiceAccount:namespace/name")
    if subject in ("User:system:anonymous", "Group:system:unauthenticated"):
        return frozenset([subject, "Group:system:unauthenticated"])
    implied = {subject, "Group:system:authenticated"}
    if kind == "ServiceAccount":
        implied |= {"Group:system:serviceaccounts", f"Group:system:serviceaccounts:{name.partition('/')[0]}"}
    if subject.startswith("Group:system:serviceaccounts:"):
        implied.add("Group:system:serviceaccounts")
    return frozenset(implied)


def _has_no_name(verb: str, resource: str) -> bool:
    """Whether such requests carry no name, so that a rule with resourceNames never grants them."""
    return verb in ("create", "deletecollection") and "/" not in resource


def _covers_resource(granted: str, asked: str) -> bool:
    _, slash, subresource = asked.partition("/")
    return granted in (EVERY, asked) or bool(slash and granted == f"*/{subresource}")


def _covers_url(granted: str, asked: str) -> bool:
    return granted in (EVERY, asked) or (granted.endswith("*") and asked.startswith(granted[:-1]))


def _is(manifest: Manifest, *kinds: str) -> bool:
    key = key_of(manifest)
    return key.group == GROUP and key.kind in kinds


def _role_key(manifest: Manifest) -> ObjectKey:
    key = key_of(manifest)
    return ObjectKey(GROUP, key.kind, namespace_of(manifest) if key.kind == "Role" else "", key.name)


def _read_metadata(manifest: Manifest) -> None:
    where, key = place(manifest), key_of(manifest)
    if manifest["apiVersion"] != f"{GROUP}/v1":
        message = f"{manifest['apiVersion']} is no version that an API server still takes"
        raise where.refusal(message, manifest, "apiVersion", f"write {GROUP}/v1")
    known(manifest, {"apiVersion", "kind", "metadata", *_FIELDS[key.kind]}, f"the {key.kind}", where)
    metadata = mapping(manifest, "metadata", where)
    if not _is_path_segment(key.name):
        raise where.refusal(f"{key.name[:80]!r} is no name", metadata, "name")
    labels(metadata, "labels", where)
    if key.kind.startswith("Role") and not _NAMESPACE.fullmatch(namespace_of(manifest)):
        raise where.refusal(f"{key.namespace[:80]!r} is no namespace's name", metadata, "namespace")


def _is_path_segment(name: str) -> bool:
    """Whether an object may be called so. https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"""
    return name not in ("", ".", "..") and not {"/", "%"} & set(name)


def _labels(manifest: Manifest) -> Mapping[str, str]:
    return labels(mapping(manifest, "metadata", place(manifest)), "labels", place(manifest))


def _aggregation(manifest: Manifest) -> tuple[Selector, ...] | None:
    where = place(manifest)
    if manifest.get("aggregationRule") is None:
        return None
    rule = mapping(manifest, "aggregationRule", where)
    known(rule, {"clusterRoleSelectors"}, "aggregationRule", where)
    selectors = mappings(rule, "clusterRoleSelectors", where)
    if not selectors:
        raise where.refusal("aggregationRule needs a clusterRoleSelector", manifest, "aggregationRule")
    return tuple(read_selector(selector, where) for selector in selectors)


def _aggregated(
    own: Mapping[ObjectKey, tuple[PolicyRule, ...]],
    selectors: Mapping[ObjectKey, tuple[Selector, ...]],
    carried: Mapping[ObjectKey, Mapping[str, str]],
) -> dict[ObjectKey, tuple[PolicyRule, ...]]:
    """The rules of aggregating roles: all that can be reached; a controller writes them over the role's own."""
    if len(selectors) * len(carried) > MOST_AGGREGATIONS:
        message = f"{len(selectors)} aggregating ClusterRoles among {len(carried)} are too many to follow"
        raise Refused(message, remedy="give fewer ClusterRoles an aggregationRule")
    order = list(carried)
    members = {
        key: sum(
            1 << index
            for index, other in enumerate(order)
            if any(selector.matches(carried[other]) for selector in chosen)
        )
        for key, chosen in selectors.items()
    }

    def reached(start: ObjectKey) -> Iterator[ObjectKey]:
        found, waiting = 0, members[start]
        while waiting:
            bit = waiting & -waiting
            other = order[bit.bit_length() - 1]
            found |= bit
            waiting = (waiting | members.get(other, 0)) & ~found
            yield other

    return {
        key: tuple(dict.fromkeys(rule for other in reached(key) if other not in selectors for rule in own[other]))
        for key in selectors
    }


def _default_role(name: str, into: str) -> Manifest:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {f"{_AGGREGATE}{into}": "true"} if into else {}},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"{_AGGREGATE}{name}": "true"}}]},
    }


def _read_rules(manifest: Manifest) -> tuple[PolicyRule, ...]:
    where, kind = place(manifest), key_of(manifest).kind
    return tuple(_read_rule(rule, kind, where) for rule in mappings(manifest, "rules", where))


def _read_rule(rule: Mapping[str, Any], kind: str, where: Place) -> PolicyRule:
    fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    known(rule, set(fields), "the rule", where)
    verbs, groups, resources, names, urls = (texts(rule, field, where) for field in fields)
    complaint, field = "", "verbs"
    if not verbs:
        complaint = "a rule needs verbs"
    elif urls and (groups or resources or names):
        complaint, field = "a rule is about resources or about nonResourceURLs, not about both", "nonResourceURLs"
    elif urls and kind == "Role":
        complaint, field = "nonResourceURLs belong to no namespace; only a ClusterRole may hold them", "nonResourceURLs"
    elif not urls and not (groups and resources):
        complaint = "a rule needs apiGroups with resources, or nonResourceURLs"
    elif any(len(url) > LONGEST_URL for url in urls):
        complaint, field = f"a URL is longer than {LONGEST_URL} characters", "nonResourceURLs"
    if complaint:
        raise where.refusal(complaint, rule, field)
    return PolicyRule(verbs, groups, resources, names, tuple(map(_plain_url, urls)))


def _plain_url(url: str) -> str:
    """`/a**` is `/a*`: the API server cuts off every star at the end."""
    return url.rstrip(EVERY) + EVERY if url.endswith(EVERY) else url


def _read_binding(manifest: Manifest) -> Binding:
    _read_metadata(manifest)
    where, key = place(manifest), key_of(manifest)
    namespace = namespace_of(manifest) if key.kind == "RoleBinding" else ""
    role = _read_role_reference(manifest, namespace, where)
    subjects = frozenset(_read_subject(item, namespace, where) for item in mappings(manifest, "subjects", where))
    return Binding(ObjectKey(GROUP, key.kind, namespace, key.name), namespace, role, subjects)


def _read_role_reference(manifest: Manifest, namespace: str, where: Place) -> ObjectKey:
    reference = mapping(manifest, "roleRef", where)
    known(reference, {"apiGroup", "kind", "name"}, "roleRef", where)
    kind, name = text(reference, "kind", where), text(reference, "name", where)
    if kind not in (("Role", "ClusterRole") if namespace else ("ClusterRole",)) or not _is_path_segment(name):
        raise where.refusal(f"roleRef names the {kind or 'nothing'} {name[:80]}", manifest, "roleRef")
    if (group := text(reference, "apiGroup", where, GROUP)) != GROUP:
        raise where.refusal(f"roleRef is of the API group {group}", reference, "apiGroup", f"write {GROUP}")
    return ObjectKey(GROUP, kind, namespace if kind == "Role" else "", name)


def _read_subject(subject: Mapping[str, Any], namespace: str, where: Place) -> str:
    known(subject, {"kind", "apiGroup", "name", "namespace"}, "the subject", where)
    kind, name = text(subject, "kind", where), text(subject, "name", where)
    if kind not in _SUBJECTS or not name:
        raise where.refusal(f"a subject of kind {kind or 'nothing'} named {name or 'nothing'}", subject, "kind")
    if (group := text(subject, "apiGroup", where, _SUBJECTS[kind])) != _SUBJECTS[kind]:
        remedy = f"write {_SUBJECTS[kind]}" if _SUBJECTS[kind] else "leave apiGroup out"
        raise where.refusal(f"a {kind} is not of the API group {group}", subject, "apiGroup", remedy)
    # The namespace of a User or Group is taken and means nothing.
    home = text(subject, "namespace", where, namespace)
    if kind != "ServiceAccount":
        return _as_service_account(f"{kind}:{name}")
    if not is_subdomain(name):
        raise where.refusal(f"{name[:80]!r} is no name of a ServiceAccount", subject, "name")
    if not home:
        raise where.refusal(f"the ServiceAccount {name} is in no namespace", subject, "name", "name its namespace")
    return f"ServiceAccount:{home}/{name}"


def _as_service_account(subject: str) -> str:
    user = _SERVICE_ACCOUNT_USER.fullmatch(subject)
    return f"ServiceAccount:{user[1]}/{user[2]}" if user else subject
