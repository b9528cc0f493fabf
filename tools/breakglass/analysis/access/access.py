"""Who may do what: RBAC evaluated from Roles, ClusterRoles and their bindings.

Where a question names no object, a rule with resourceNames counts as granting: what somebody may do to one object, they
may do. `cluster-admin` is everything on every API server. Other ClusterRoles that are bound and not in the manifests
(`edit`, `view`) grant something nobody here can see; they are told apart as `unseen`. What follows from a permission
(creating pods is using every ServiceAccount of the namespace) is told by `escalation`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from breakglass.analysis.access.role import (
    Binding,
    PolicyRule,
    Request,
    cluster_role,
    default_roles,
    holders,
    read_bindings,
    read_roles,
)
from breakglass.analysis.access.rules import uncovered
from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest, ObjectKey

MASTERS = "Group:system:masters"
"""The API server lets this group do everything, whatever RBAC says."""
CLUSTER_ADMIN = cluster_role("cluster-admin")
MOST_PERMISSIONS = 1_000_000
"""Pieces that rules are taken into one by one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a subject may do something, and the bindings that say so."""

    allowed: bool
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One piece of what a subject may do; verb, resource and group may be `*`.

    Attributes:
        subject: `User:name`, `Group:name` or `ServiceAccount:namespace/name`.
        verb: for example `get`.
        resource: `resource`, `resource/subresource`, or a URL such as `/metrics`.
        group: API group; empty for the core group.
        namespace: empty for the whole cluster.
        name: the one object it is confined to; empty for all.
    """

    subject: str
    verb: str
    resource: str
    group: str
    namespace: str
    name: str

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        named = f" {self.name}" if self.name else ""
        return f"{self.subject} may {self.verb} {resource}{named} in {self.namespace or 'the whole cluster'}"


@dataclass(frozen=True, slots=True, order=True)
class UnseenRole:
    """A role that is bound to a subject and that no manifest holds; namespace is empty for the whole cluster."""

    subject: str
    role: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.subject} the ClusterRole {self.role} in {self.namespace or 'the whole cluster'}"


@dataclass(frozen=True, slots=True, order=True)
class Granted:
    """What a subject may do in one place, by the bindings that name it.

    Attributes:
        subject: as in a contract.
        namespace: empty for the whole cluster.
        rules: ordered, nothing twice.
        bindings: those that say so.
    """

    subject: str
    namespace: str
    rules: tuple[PolicyRule, ...]
    bindings: tuple[Binding, ...]


class Access:
    """The RBAC of a set of manifests."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        """Read the manifests; other kinds are passed over.

        Raises:
            Refused: a role or binding is not what the API server takes.
        """
        manifests = tuple(manifests)
        own = read_roles(manifests)
        self.roles = default_roles(manifests) | own
        self.bindings = read_bindings(manifests)
        self._seen = own.keys() | {CLUSTER_ADMIN}
        self._of: defaultdict[str, list[Binding]] = defaultdict(list)
        for binding in self.bindings:
            for subject in binding.subjects:
                self._of[subject].append(binding)

    def may(self, subject: str, verb: str, resource: str, group: str, namespace: str) -> Decision:
        """Whether a subject may do this, to one object at least.

        Args:
            subject: `User:name`, `Group:name` or `ServiceAccount:namespace/name`; the groups `system:authenticated`
                and `system:serviceaccounts[:namespace]` come with it.
            resource: `resource` or `resource/subresource`.
            group: API group; empty for the core group.
            namespace: empty for a cluster-scoped resource.

        Raises:
            Refused: the subject is not written so.
        """
        asked = Request(verb, group, resource)
        if subject == MASTERS:
            return Decision(True, (f"{MASTERS} may do everything",))
        because = tuple(
            f"{binding.key} gives {subject} the {binding.role}"
            for binding in self.applying(subject, namespace)
            if any(rule.touches(asked) for rule in self.roles.get(binding.role, ()))
        )
        return Decision(bool(because), because)

    def permissions(self) -> tuple[Permission, ...]:
        """Everything that bindings give to the subjects they name, ordered.

        Raises:
            Refused: it is more than can be told piece by piece.
        """
        return _permissions(self.granted())

    def granted(self) -> Iterator[Granted]:
        """Everything that bindings give to the subjects they name, ordered, one for each subject and place."""
        return self.beyond(Access(()))

    def beyond(self, other: Access) -> Iterator[Granted]:
        """What the bindings give to the subjects they name and the other side does not, ordered.

        A subject holds on the other side what its groups hold there, and in a namespace what it holds in the cluster.

        Raises:
            Refused: the rules of a subject overlap in too many ways to compare.
        """
        for subject in sorted(self._of):
            if subject == MASTERS:
                continue
            places: defaultdict[str, list[Binding]] = defaultdict(list)
            for binding in self._of[subject]:
                places[binding.namespace].append(binding)
            for namespace in sorted(places):
                held = other.rules_of(other.applying(subject, namespace))
                if rules := uncovered(self.rules_of(places[namespace]), held):
                    says = (each for each in places[namespace] if uncovered(self.rules_of([each]), held))
                    yield Granted(subject, namespace, rules, tuple(says))

    def rules_of(self, bindings: Iterable[Binding]) -> tuple[PolicyRule, ...]:
        """The rules that bindings give, in their order."""
        found = dict.fromkeys(
            rule
            for binding in bindings
            for rule in self.roles.get(binding.role, ())
            # A URL belongs to no namespace: a RoleBinding gives none.
            if not (rule.urls and binding.namespace)
        )
        return tuple(found)

    def unseen(self) -> frozenset[UnseenRole]:
        """ClusterRoles that are bound and that the manifests do not hold; a missing Role grants nothing."""
        return frozenset(
            UnseenRole(subject, binding.role.name, binding.namespace)
            for binding in self.bindings
            for subject in binding.subjects
            if binding.role.kind == "ClusterRole" and binding.role not in self._seen
        )

    def applying(self, subject: str, namespace: str) -> tuple[Binding, ...]:
        """The bindings that apply to a subject, itself and by its groups, in a namespace and in the whole cluster.

        Raises:
            Refused: the subject is not written as in a contract.
        """
        found = {binding.key: binding for holder in holders(subject) for binding in self._of.get(holder, ())}
        return tuple(found[key] for key in sorted(found) if found[key].namespace in ("", namespace))

    def naming(self, subject: str) -> frozenset[ObjectKey]:
        """The bindings that name a subject."""
        return frozenset(binding.key for binding in self._of.get(subject, ()))


def newly_granted(before: Access, after: Access) -> tuple[Permission, ...]:
    """What the second grants and the first does not cover, ordered; the other way round: what is revoked.

    Raises:
        Refused: it is more than can be told piece by piece.
    """
    return _permissions(after.beyond(before))


def _permissions(granted: Iterable[Granted]) -> tuple[Permission, ...]:
    pieces = (
        Permission(item.subject, piece.verb, piece.url or piece.resource, piece.group, item.namespace, piece.name)
        for item in granted
        for rule in item.rules
        for piece in rule.pieces()
    )
    found = set(islice(pieces, MOST_PERMISSIONS + 1))
    if len(found) > MOST_PERMISSIONS:
        raise Refused(f"the roles grant more than {MOST_PERMISSIONS:,} permissions", remedy="write simpler rules")
    return tuple(sorted(found))
