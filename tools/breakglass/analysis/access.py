"""Who may do what: RBAC evaluated from Roles, ClusterRoles and their bindings.

A rule with resourceNames counts as granting: what somebody may do to one object, they may do. Roles that are bound and
not in the manifests (`edit`, `cluster-admin`) grant something nobody here can see; they are told apart as `unseen`.
What follows from a permission (creating pods is using every ServiceAccount of the namespace; `escalate`, `bind` and
`impersonate` are every permission) is not followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from breakglass.analysis.role import Binding, Request, holders, read_bindings, read_roles
from breakglass.model.manifest import Manifest

MASTERS = "Group:system:masters"
"""The API server lets this group do everything, whatever RBAC says."""


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


class Access:
    """The RBAC of a set of manifests."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        """Read the manifests; other kinds are passed over.

        Raises:
            Refused: a role or binding is not what the API server takes.
        """
        manifests = tuple(manifests)
        self.roles = read_roles(manifests)
        self.bindings = read_bindings(manifests)

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
            for binding in self._binding(subject, namespace)
            if any(rule.touches(asked) for rule in self.roles.get(binding.role, ()))
        )
        return Decision(bool(because), because)

    def permissions(self) -> tuple[Permission, ...]:
        """Everything that bindings give to the subjects they name, ordered."""
        return tuple(
            sorted(
                {
                    _permission(subject, piece, binding.namespace)
                    for binding in self.bindings
                    for subject in binding.subjects
                    for rule in self.roles.get(binding.role, ())
                    for piece in rule.pieces()
                    # A URL belongs to no namespace: a RoleBinding gives none.
                    if not (piece.url and binding.namespace)
                }
            )
        )

    def unseen(self) -> frozenset[UnseenRole]:
        """ClusterRoles that are bound and that the manifests do not hold; a missing Role grants nothing."""
        return frozenset(
            UnseenRole(subject, binding.role.name, binding.namespace)
            for binding in self.bindings
            for subject in binding.subjects
            if binding.role.kind == "ClusterRole" and binding.role not in self.roles
        )

    def covers(self, permission: Permission) -> bool:
        """Whether the permission's subject holds all of it."""
        url = permission.resource if permission.resource.startswith("/") else ""
        asked = Request(permission.verb, permission.group, "" if url else permission.resource, permission.name, url)
        return permission.subject == MASTERS or any(
            rule.covers(asked)
            for binding in self._binding(permission.subject, permission.namespace)
            for rule in self.roles.get(binding.role, ())
            if not (url and binding.namespace)
        )

    def _binding(self, subject: str, namespace: str) -> tuple[Binding, ...]:
        held = holders(subject)
        return tuple(
            binding for binding in self.bindings if binding.namespace in ("", namespace) and held & binding.subjects
        )


def newly_granted(before: Access, after: Access) -> tuple[Permission, ...]:
    """What the second grants and the first does not cover, ordered; the other way round: what is revoked."""
    return tuple(permission for permission in after.permissions() if not before.covers(permission))


def _permission(subject: str, piece: Request, namespace: str) -> Permission:
    return Permission(subject, piece.verb, piece.url or piece.resource, piece.group, namespace, piece.name)
