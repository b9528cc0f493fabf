"""RBAC objects as data: rules, roles with their aggregation, bindings and their subjects.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.analysis.field import known, labels, mapping, mappings, namespace_of, place, text, texts
from breakglass.analysis.selector import Selector, read_selector
from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.source import Place

GROUP = "rbac.authorization.k8s.io"
EVERY = "*"

_SERVICE_ACCOUNT_USER = "User:system:serviceaccount:"
"""The user that the API server sees when a ServiceAccount's token is shown."""


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


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One item of a role's `rules`."""

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

    def covers(self, asked: Request) -> bool:
        """Whether the rule grants all of what is asked; a question without a name asks for every name."""
        return (not self.names or asked.name in self.names) and self.touches(asked)

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
    found = {_role_key(item): item for item in manifests if _is(item, "Role", "ClusterRole")}
    own = {key: _read_rules(manifest) for key, manifest in found.items()}
    aggregating = {key: selectors for key, item in found.items() if (selectors := _aggregation(item)) is not None}
    # The controller writes the rules of an aggregating role: its own, in the manifest, count for nothing.
    carried = {key: _labels(found[key]) for key in found if key.kind == "ClusterRole"}

    def collect(key: ObjectKey, visited: frozenset[ObjectKey]) -> tuple[PolicyRule, ...]:
        if key not in aggregating:
            return own[key]
        members = (
            other
            for other in carried
            if other not in visited and any(selector.matches(carried[other]) for selector in aggregating[key])
        )
        return tuple(dict.fromkeys(rule for other in members for rule in collect(other, visited | {other})))

    return {key: collect(key, frozenset([key])) for key in found}


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
    if kind not in ("User", "Group", "ServiceAccount") or not name:
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


def _labels(manifest: Manifest) -> Mapping[str, str]:
    return labels(mapping(manifest, "metadata", place(manifest)), "labels", place(manifest))


def _aggregation(manifest: Manifest) -> tuple[Selector, ...] | None:
    where = place(manifest)
    if manifest.get("aggregationRule") is None or key_of(manifest).kind != "ClusterRole":
        return None
    selectors = mappings(mapping(manifest, "aggregationRule", where), "clusterRoleSelectors", where)
    return tuple(read_selector(selector, where) for selector in selectors)


def _read_rules(manifest: Manifest) -> tuple[PolicyRule, ...]:
    where = place(manifest)
    return tuple(_read_rule(rule, where) for rule in mappings(manifest, "rules", where))


def _read_rule(rule: Mapping[str, Any], where: Place) -> PolicyRule:
    fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    known(rule, set(fields), "the rule", where)
    verbs, groups, resources, names, urls = (texts(rule, field, where) for field in fields)
    if not verbs or bool(urls) == bool(resources) or bool(resources) != bool(groups):
        message = "a rule needs verbs, and either apiGroups with resources or nonResourceURLs"
        raise where.refusal(message)
    return PolicyRule(verbs, groups, resources, names, urls)


def _read_binding(manifest: Manifest) -> Binding:
    where, key = place(manifest), key_of(manifest)
    namespace = namespace_of(manifest) if key.kind == "RoleBinding" else ""
    reference = mapping(manifest, "roleRef", where)
    kind, name = text(reference, "kind", where), text(reference, "name", where)
    if kind not in (("Role", "ClusterRole") if namespace else ("ClusterRole",)) or not name:
        raise where.refusal(f"roleRef names the {kind or 'nothing'} {name}")
    role = ObjectKey(GROUP, kind, namespace if kind == "Role" else "", name)
    subjects = frozenset(_read_subject(item, namespace, where) for item in mappings(manifest, "subjects", where))
    return Binding(key, namespace, role, subjects)


def _read_subject(subject: Mapping[str, Any], namespace: str, where: Place) -> str:
    known(subject, {"kind", "apiGroup", "name", "namespace"}, "the subject", where)
    kind, name = text(subject, "kind", where), text(subject, "name", where)
    if kind not in ("User", "Group", "ServiceAccount") or not name:
        raise where.refusal(f"a subject of kind {kind or 'nothing'} named {name or 'nothing'}")
    if kind == "ServiceAccount":
        return f"ServiceAccount:{text(subject, 'namespace', where, namespace)}/{name}"
    return _as_service_account(f"{kind}:{name}")


def _as_service_account(subject: str) -> str:
    if not subject.startswith(_SERVICE_ACCOUNT_USER):
        return subject
    return "ServiceAccount:" + subject.removeprefix(_SERVICE_ACCOUNT_USER).replace(":", "/", 1)
