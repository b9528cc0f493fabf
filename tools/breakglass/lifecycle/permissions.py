"""What the applier and the agent may do in a cluster, as RBAC: only what the policy allows and overlays use.

The applier opens, so it may write every kind of an overlay's scope in the namespaces of that scope, and it holds or may
bind what the overlay grants, since RBAC lets nobody grant what they do not hold
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping). The
agent closes: it may delete all of it, create again what an overlay changes or takes away, and can grant nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.analysis.residue import KINDS as RESIDUE
from breakglass.model.identity import AGENT, APPLIER
from breakglass.model.inventory import NAMESPACE
from breakglass.model.manifest import Manifest
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.model.resource import resources_of

RBAC = "rbac.authorization.k8s.io"
_KINDS_OF_GRANTS = (f"Role.{RBAC}", f"RoleBinding.{RBAC}")
_KINDS_OF_THE_CLUSTER = ("ClusterRole", "ClusterRoleBinding")
_READ = ("get", "list")
_WRITE = ("get", "list", "create", "patch", "delete")
_REMOVE = ("get", "list", "delete")
_APPLIER: dict[str, str] = {"apiGroup": RBAC, "kind": "User", "name": APPLIER}
_AGENT: dict[str, str] = {"kind": "ServiceAccount", "name": AGENT, "namespace": NAMESPACE}

Rule = Mapping[str, Any]
"""A rule of a Role."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What an overlay grants in one namespace, and what it takes to grant that.

    Attributes:
        rules: what its own Roles allow; to be held.
        bound: (resource, name) of Roles and ClusterRoles of the baseline that it binds; to be bound.
    """

    rules: tuple[Rule, ...] = ()
    bound: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Need:
    """What one overlay needs.

    Attributes:
        overlay: its contract; the scope is what it may write.
        restores: it changes or deletes baseline objects, which closing brings back.
        granted: namespace → what it grants there.
    """

    overlay: Overlay
    restores: bool
    granted: Mapping[str, Granted]


@dataclass(frozen=True, slots=True)
class _Namespace:
    """One namespace: kinds that overlays write, those of them that closing brings back, what is granted there."""

    written: frozenset[str]
    restored: frozenset[str]
    granted: tuple[Granted, ...]


def permissions(policy: Policy, needs: Iterable[Need], *, cut: bool, follow: bool) -> tuple[tuple[str, Manifest], ...]:
    """All Roles and bindings of a cluster, each with a line of why (which may be empty), in a fixed order.

    Args:
        needs: one for each overlay that may be opened in the cluster.
        cut: let pods be evicted in these namespaces, so that closing can end connections that outlive it.
        follow: the agent applies as well (`breakglass agent --follow`), so it may all that the applier may.
    """
    appliers = [_APPLIER, _AGENT] if follow else [_APPLIER]
    return (
        *_bound("Role", NAMESPACE, "breakglass-inventory", _inventory(), [_APPLIER, _AGENT], _INVENTORY),
        *_bound("ClusterRole", "", "breakglass-questions", _questions(), appliers, _QUESTIONS),
        (_RESIDUE, _role("ClusterRole", "", "breakglass-residue", _residue())),
        *(
            item
            for name, namespace in sorted(_namespaces(policy, list(needs)).items())
            for item in _in_namespace(name, namespace, appliers, cut)
        ),
    )


_INVENTORY = "The inventories, the one writer's Lease, and Events about them."
_QUESTIONS = "What the applier asks of the cluster as a whole: who was bound, who may do what. It grants nothing."
_RESIDUE = "What emergency identities may leave behind; the applier looks where overlays open. No Secrets."
_GRANTS = "The applier opens here. RBAC lets nobody grant what they do not hold or may bind: see the last rules."
_OPENS = "The applier opens here."
_CLOSES = "The agent closes here. It can grant nothing: a stolen agent makes itself no way in."


def _namespaces(policy: Policy, needs: list[Need]) -> dict[str, _Namespace]:
    """Every namespace that overlays touch, cut by what the policy allows."""
    allowed, kinds = policy.spec.namespaces, frozenset(policy.spec.kinds)
    names = {
        name for need in needs for name in need.overlay.spec.scope.namespaces if allowed is None or name in allowed
    }
    found = {}
    for name in names:
        here = [need for need in needs if name in need.overlay.spec.scope.namespaces]
        found[name] = _Namespace(
            _kinds(here) & kinds,
            (_kinds(need for need in here if need.restores) & kinds).difference(_KINDS_OF_GRANTS),
            tuple(need.granted[name] for need in here if name in need.granted),
        )
    return found


def _kinds(needs: Iterable[Need]) -> frozenset[str]:
    return frozenset(kind for need in needs for kind in need.overlay.spec.scope.kinds)


def _in_namespace(
    name: str, namespace: _Namespace, appliers: list[dict[str, str]], cut: bool
) -> Iterator[tuple[str, Manifest]]:
    granting = list(_granting(namespace.granted))
    common = [_rule("events.k8s.io", ["events"], ["create"]), *(_eviction() if cut else [])]
    opening = [*_on_kinds(namespace.written, _WRITE), *common, *granting]
    closing = [
        *_on_kinds(namespace.restored, _WRITE),
        *_on_kinds(namespace.written - namespace.restored, _REMOVE),
        *common,
    ]
    yield from _bound("Role", name, "breakglass-applier", opening, appliers, _GRANTS if granting else _OPENS)
    yield from _bound("Role", name, "breakglass-agent", closing, [_AGENT], _CLOSES)
    yield "", _binding(name, "breakglass-residue", "ClusterRole", appliers)


def _on_kinds(kinds: Iterable[str], verbs: Iterable[str]) -> list[Rule]:
    return [_rule(group, plurals, verbs) for group, plurals in resources_of(kinds).items()]


def _granting(granted: Iterable[Granted]) -> Iterator[Rule]:
    """What must be held, and what must be bound; every rule once, in a fixed order."""
    listed = list(granted)
    for resource in ("clusterroles", "roles"):
        names = sorted({name for each in listed for kind, name in each.bound if kind == resource})
        if names:
            yield {**_rule(RBAC, [resource], ["bind"]), "resourceNames": names}
    rules = {repr(sorted(rule.items())): rule for each in listed for rule in each.rules}
    yield from (rules[key] for key in sorted(rules))


def _inventory() -> list[Rule]:
    return [
        _rule("", ["configmaps"], ["get", "list", "watch", "create", "update", "delete"]),
        _rule("coordination.k8s.io", ["leases"], ["get", "watch", "create", "update"]),
        _rule("events.k8s.io", ["events"], ["create"]),
    ]


def _questions() -> list[Rule]:
    return [
        *_on_kinds((f"{kind}.{RBAC}" for kind in _KINDS_OF_THE_CLUSTER), _READ),
        _rule("authorization.k8s.io", ["subjectaccessreviews"], ["create"]),
    ]


def _residue() -> list[Rule]:
    # Whoever may list Secrets may read them.
    left_out = ("Secret", *_KINDS_OF_THE_CLUSTER)
    return _on_kinds((f"{kind}.{group}" for group, kind in RESIDUE if kind not in left_out), _READ)


def _eviction() -> list[Rule]:
    return [_rule("", ["pods"], _READ), _rule("", ["pods/eviction"], ["create"])]


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _bound(
    kind: str, namespace: str, name: str, rules: list[Rule], subjects: list[dict[str, str]], why: str
) -> tuple[tuple[str, Manifest], ...]:
    """A role and the binding of its name."""
    return (why, _role(kind, namespace, name, rules)), ("", _binding(namespace, name, kind, subjects))


def _role(kind: str, namespace: str, name: str, rules: list[Rule]) -> Manifest:
    return {**_head(kind, namespace, name), "rules": [dict(rule) for rule in rules]}


def _binding(namespace: str, name: str, kind: str, subjects: list[dict[str, str]]) -> Manifest:
    return {
        **_head("RoleBinding" if namespace else "ClusterRoleBinding", namespace, name),
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
        "subjects": [dict(subject) for subject in subjects],
    }


def _head(kind: str, namespace: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata}
