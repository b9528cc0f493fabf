"""What lives on: access that was opened in a window and that no deletion of an object ends.

Kubernetes asks for permission when a request or a connection begins, and not again. What began in the window goes on
until something else ends it; this names what, and when that is at the latest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from breakglass.analysis.access.role import GROUP, PolicyRule, Request, read_bindings, read_roles
from breakglass.model.errors import Refused
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import Manifest, ObjectKey, key_of

Class = Literal["connections", "exec", "watches", "logs", "tokens", "requests"]

MOST_NAMED = 5
"""Objects that one sentence names."""
_STREAMS = ("pods/exec", "pods/attach", "pods/portforward")
_UNTIL: Mapping[Class, tuple[str, str, str]] = {
    "connections": (
        "connections of the pods selected by {objects}",
        "either end closes them; some CNIs cut them at once, others let them be",
        "https://kubernetes.io/docs/concepts/services-networking/network-policies/"
        "#networkpolicy-s-impact-on-existing-connections",
    ),
    "exec": (
        "exec, attach and port-forward streams allowed by {objects}",
        "the client leaves, the pod ends, or the stream was idle for as long as the container runtime lets it (4h)",
        "https://github.com/containerd/containerd/blob/main/docs/cri/config.md",
    ),
    "watches": (
        "watches allowed by {objects}",
        "the API server ends them: after --min-request-timeout, at most twice that (30m to 1h by default)",
        "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/",
    ),
    "logs": (
        "followed logs allowed by {objects}",
        "the client leaves or the container ends",
        "https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs",
    ),
    "tokens": (
        "tokens of {objects}",
        "10s after the ServiceAccount is gone: the API server's authentication cache; others who verify them offline "
        "take them until they expire",
        "https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/"
        "#verifying-and-inspecting-private-claims",
    ),
    "requests": (
        "connections through {objects}: keep-alive, websockets, long downloads",
        "the controller's own idle and drain timeouts",
        "https://doc.traefik.io/traefik/reference/install-configuration/entrypoints/",
    ),
}
"""Class → what, until when, and where that is documented."""


@dataclass(frozen=True, slots=True)
class LivesOn:
    """Something that outlives a closing.

    Attributes:
        what: what it is, with the objects that allowed it.
        until: what ends it.
        source: where that is documented.
    """

    kind: Class
    what: str
    until: str
    source: str

    def __str__(self) -> str:
        return f"{self.what}: residual until {self.until}"


def lives_on(inventory: Inventory, roles: Iterable[Manifest]) -> tuple[LivesOn, ...]:
    """What outlives the closing of an activation, one a class.

    Args:
        roles: manifests with the Roles and ClusterRoles of the baseline; others are not looked at. A role that is not
            among them may allow everything.
    """
    found: dict[Class, list[ObjectKey]] = defaultdict(list)
    for item in inventory.objects:
        if (item.key.group, item.key.kind) == ("networking.k8s.io", "NetworkPolicy"):
            found["connections"].append(item.key)
        elif item.emergency is not None and item.key.kind in ("Ingress", "HTTPRoute"):
            found["requests"].append(item.key)
        elif item.baseline is None and (item.key.group, item.key.kind) == ("", "ServiceAccount"):
            found["tokens"].append(item.key)
    for grant in grants(inventory, roles):
        for kind in grant.classes:
            found[kind].append(grant.key)
    return tuple(_told(kind, found[kind]) for kind in _UNTIL if kind in found)


@dataclass(frozen=True, slots=True)
class OpenedBinding:
    """A RoleBinding or ClusterRoleBinding that an activation added or changed.

    Attributes:
        namespace: where it grants; empty for the whole cluster.
        rules: what its role allows; None where the role is not known.
    """

    key: ObjectKey
    namespace: str
    rules: tuple[PolicyRule, ...] | None

    @property
    def classes(self) -> tuple[Class, ...]:
        """What it allows that lives on."""
        if self.rules is None:
            return ("exec", "watches", "logs")
        watches = any({"watch", "*"} & set(rule.verbs) and rule.resources for rule in self.rules)
        logs = any(rule.touches(Request("get", "", "pods/log")) for rule in self.rules)
        found: dict[Class, bool] = {"exec": bool(self._streaming()), "watches": watches, "logs": logs}
        return tuple(kind for kind, allowed in found.items() if allowed)

    def streams_into(self, pod: str) -> bool:
        """Whether it allows exec, attach or port-forward into a pod of this name."""
        rules = self._streaming()
        return rules is None or any(not rule.names or pod in rule.names for rule in rules)

    def _streaming(self) -> tuple[PolicyRule, ...] | None:
        if self.rules is None:
            return None
        asked = [Request(verb, "", resource) for verb in ("create", "get") for resource in _STREAMS]
        return tuple(rule for rule in self.rules if any(rule.touches(request) for request in asked))


def grants(inventory: Inventory, roles: Iterable[Manifest]) -> tuple[OpenedBinding, ...]:
    """The bindings that an activation added or changed, with what they allow."""
    emergency = [item.emergency for item in inventory.objects if item.emergency is not None]
    kept = {key_of(manifest): manifest for manifest in roles}
    try:
        known = read_roles([*(kept | {key_of(manifest): manifest for manifest in emergency}).values()])
        bindings = read_bindings(emergency)
    except Refused:
        found = (key_of(manifest) for manifest in emergency)
        bound = (key for key in found if key.group == GROUP and key.kind in ("RoleBinding", "ClusterRoleBinding"))
        return tuple(OpenedBinding(key, key.namespace, None) for key in bound)
    return tuple(OpenedBinding(each.key, each.namespace, known.get(each.role)) for each in bindings)


def _told(kind: Class, keys: list[ObjectKey]) -> LivesOn:
    what, until, source = _UNTIL[kind]
    named = ", ".join(str(key) for key in sorted(keys)[:MOST_NAMED])
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return LivesOn(kind, what.format(objects=named + more), until, source)
