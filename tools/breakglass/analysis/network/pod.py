"""Pods, what makes pods from a template, and the nodes they run on: the ends of connections.

Several replicas are one workload, `namespace/name[Kind]`: pods belong to their controller, and that to its own, whether
or not these are among the objects (https://kubernetes.io/docs/concepts/workloads/controllers/).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from breakglass.analysis.field import flag, is_port_name, labels, mapping, mappings, namespace_of, place, text, whole
from breakglass.analysis.metadata import check_metadata, is_namespace
from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The API server sets it on every namespace."""

Address = IPv4Address | IPv6Address

_TEMPLATES = {
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
_POD = ("", "Pod")

_Owner = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container declares; the name is empty where it has none."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod, or the pods of a template.

    Attributes:
        name: of the Pod; empty for a template.
        labels: what selectors look at.
        ports: what its containers declare.
        addresses: its own, or those of its node where it uses the host's network; none where they are not known.
        host_network: it uses the network of its node.
        node: name of the node it runs on; empty where that is not known.
    """

    name: str
    labels: Mapping[str, str]
    ports: tuple[ContainerPort, ...] = ()
    addresses: tuple[Address, ...] = ()
    host_network: bool = False
    node: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs under one name.

    Attributes:
        kind: of the object at the top of the controllers, such as `Deployment`.
        namespace: its namespace.
        name: that object's name.
        pods: everything known of its pods: the template, and the Pods.
    """

    kind: str
    namespace: str
    name: str
    pods: tuple[Pod, ...]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}[{self.kind}]"


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its labels, and the addresses of type InternalIP."""

    name: str
    labels: Mapping[str, str]
    addresses: tuple[Address, ...]


def read_workloads(manifests: Iterable[Manifest]) -> tuple[Workload, ...]:
    """All workloads among the objects, ordered by namespace, name and kind.

    Raises:
        Refused: an object's metadata, ports or addresses are not what the API server takes.
    """
    found: dict[_Owner, list[Pod]] = defaultdict(list)
    owners: dict[_Owner, _Owner | None] = {}
    templates: list[tuple[_Owner, Pod]] = []
    pods: list[tuple[_Owner | None, _Owner, Pod]] = []
    for manifest in manifests:
        key = key_of(manifest)
        path = _TEMPLATES.get((key.group, key.kind))
        if path is None and (key.group, key.kind) != _POD:
            continue
        where, own = place(manifest), (key.kind, namespace_of(manifest), key.name)
        check_metadata(manifest, where, namespaced=True)
        controller = _controller(manifest, own[1], where)
        if path is None:
            pods.append((controller, own, _read_pod(manifest, key.name, where)))
        else:
            owners[own] = controller
            templates.append((own, _read_template(manifest, path, where)))
    for own, pod in templates:
        # What a controller in the input makes from its own template says nothing that the controller does not.
        if owners[own] not in owners or _top(own, owners) == own:
            found[_top(own, owners)].append(pod)
    for owner, own, pod in pods:
        found[_top(owner, owners) if owner is not None else own].append(pod)
    return tuple(
        Workload(kind, namespace, name, tuple(found[kind, namespace, name]))
        for kind, namespace, name in sorted(found, key=lambda owner: (owner[1], owner[2], owner[0]))
    )


def read_namespaces(manifests: Iterable[Manifest]) -> dict[str, Mapping[str, str]]:
    """Labels of every namespace by its name: those with a manifest, and those that only hold something.

    Raises:
        Refused: metadata is not what the API server takes.
    """
    found: dict[str, Mapping[str, str]] = {}
    held: set[str] = set()
    for manifest in manifests:
        key = key_of(manifest)
        if (key.group, key.kind) == ("", "Namespace"):
            where = place(manifest)
            check_metadata(manifest, where, namespaced=False)
            if not is_namespace(key.name):
                raise where.refusal(f"{key.name[:80]!r} is no namespace's name", manifest["metadata"], "name")
            own = labels(mapping(manifest, "metadata", where), "labels", where)
            found[key.name] = {**own, NAMESPACE_NAME: key.name}
        else:
            held.add(key.namespace or "default")
    return found | {name: {NAMESPACE_NAME: name} for name in held - found.keys()}


def read_nodes(manifests: Iterable[Manifest]) -> tuple[Node, ...]:
    """All nodes among the objects, ordered by name.

    Raises:
        Refused: metadata or addresses are not what the API server takes.
    """
    nodes = []
    for manifest in manifests:
        key = key_of(manifest)
        if (key.group, key.kind) == ("", "Node"):
            where = place(manifest)
            check_metadata(manifest, where, namespaced=False)
            status = mapping(manifest, "status", where)
            addresses = tuple(
                _address(item, "address", where)
                for item in mappings(status, "addresses", where)
                if text(item, "type", where) == "InternalIP"
            )
            nodes.append(Node(key.name, labels(mapping(manifest, "metadata", where), "labels", where), addresses))
    return tuple(sorted(nodes, key=lambda node: node.name))


def _top(owner: _Owner, owners: Mapping[_Owner, _Owner | None]) -> _Owner:
    """The controller of the controllers; in a circle, which no controller makes, everything is its own."""
    top, visited = owner, {owner}
    while (above := owners.get(top)) is not None:
        if above in visited:
            return owner
        visited.add(above)
        top = above
    return top


def _controller(manifest: Manifest, namespace: str, where: Place) -> _Owner | None:
    for reference in mappings(mapping(manifest, "metadata", where), "ownerReferences", where):
        if flag(reference, "controller", where):
            kind, name = text(reference, "kind", where), text(reference, "name", where)
            if not kind or not name:
                raise where.refusal("an owner has a kind and a name", reference, "kind")
            return kind, namespace, name
    return None


def _read_pod(manifest: Manifest, name: str, where: Place) -> Pod:
    status = mapping(manifest, "status", where)
    pod = _read(manifest, name, where)
    written = [(status, "podIP")] if text(status, "podIP", where) else []
    written += [(item, "ip") for item in mappings(status, "podIPs", where)]
    addresses = tuple(dict.fromkeys(_address(parent, key, where) for parent, key in written))
    return Pod(name, pod.labels, pod.ports, addresses, pod.host_network, pod.node)


def _read_template(manifest: Manifest, path: tuple[str, ...], where: Place) -> Pod:
    inner: Mapping[str, Any] = manifest
    for step in path:
        inner = mapping(inner, step, where)
    return _read(inner, "", where)


def _read(pod: Mapping[str, Any], name: str, where: Place) -> Pod:
    spec = mapping(pod, "spec", where)
    return Pod(
        name=name,
        labels=labels(mapping(pod, "metadata", where), "labels", where),
        ports=_ports(spec, where),
        host_network=flag(spec, "hostNetwork", where),
        node=text(spec, "nodeName", where),
    )


def _ports(spec: Mapping[str, Any], where: Place) -> tuple[ContainerPort, ...]:
    # An init container that keeps running is a sidecar, and listens like the others.
    sidecars = [
        container
        for container in mappings(spec, "initContainers", where)
        if text(container, "restartPolicy", where) == "Always"
    ]
    containers = (*mappings(spec, "containers", where), *sidecars)
    return tuple(port for container in containers for port in _ports_of(container, where))


def _ports_of(container: Mapping[str, Any], where: Place) -> Iterator[ContainerPort]:
    names = set()
    for written in mappings(container, "ports", where):
        port = _port(written, where)
        if port.name and not is_port_name(port.name):
            raise where.refusal(f"{port.name[:80]!r} is no name of a port", written, "name")
        if port.name in names:
            raise where.refusal(f"two ports of one container are named {port.name}", written, "name")
        names |= {port.name} - {""}
        yield port


def _port(port: Mapping[str, Any], where: Place) -> ContainerPort:
    number, protocol = whole(port, "containerPort", where), text(port, "protocol", where, "TCP")
    if number is None or not 1 <= number <= LAST_PORT or protocol not in PROTOCOLS:
        raise where.refusal(f"{protocol} {number} is no containerPort", port, "containerPort")
    return ContainerPort(text(port, "name", where), number, protocol)


def _address(parent: Mapping[str, Any], key: str, where: Place) -> Address:
    written = text(parent, key, where)
    try:
        return read_address(written)
    except ValueError:
        raise where.refusal(f"{key}: {written[:80]!r} is no address", parent, key) from None


def read_address(written: str) -> Address:
    """An address; one of a single link (`fe80::1%eth0`) means nothing elsewhere.

    Raises:
        ValueError: it is none.
    """
    if "%" in written:
        raise ValueError(f"{written[:80]!r} is no address")
    return ip_address(written)
