"""Workloads: Pods and what makes Pods from a template, with the labels, addresses and ports that policies look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from breakglass.analysis.field import labels, mapping, mappings, namespace_of, place, text, whole
from breakglass.analysis.ports import LAST_PORT, PROTOCOLS
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The API server sets it on every namespace."""

Address = IPv4Address | IPv6Address

_TEMPLATES = {
    ("", "Pod"): (),
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container declares; the name is empty where it has none."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Pods that policies cannot tell apart.

    Attributes:
        name: `namespace/name`. Two workloads of different kinds may share one.
        namespace: its namespace.
        namespace_labels: labels of that namespace.
        labels: labels of its pods.
        addresses: pod addresses; empty for a template, whose pods have none yet.
        ports: what its containers declare.
        lone: one pod and no more, so that a connection to itself stays inside the pod.
    """

    name: str
    namespace: str
    namespace_labels: Mapping[str, str]
    labels: Mapping[str, str]
    addresses: tuple[Address, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    lone: bool = True


def read_workloads(manifests: Iterable[Manifest]) -> tuple[Workload, ...]:
    """All workloads among the objects, ordered by name.

    Raises:
        Refused: an object's labels, ports or addresses are not what the API server takes.
    """
    manifests = tuple(manifests)
    namespaces = read_namespaces(manifests)
    sources = [manifest for manifest in manifests if _kind(manifest) in _TEMPLATES]
    known = {(key_of(source).kind, namespace_of(source), key_of(source).name) for source in sources}
    # In a live cluster the Pods of a Deployment are there as well, and say nothing that it does not.
    found = [_read(source, namespaces) for source in sources if known.isdisjoint(_controllers(source))]
    return tuple(sorted(found, key=lambda workload: workload.name))


def read_namespaces(manifests: Iterable[Manifest]) -> dict[str, dict[str, str]]:
    """Labels of every namespace that has a manifest, by name."""
    return {
        key_of(manifest).name: namespace_labels(
            key_of(manifest).name, labels(mapping(manifest, "metadata", place(manifest)), "labels", place(manifest))
        )
        for manifest in manifests
        if _kind(manifest) == ("", "Namespace")
    }


def namespace_labels(name: str, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Labels of a namespace as the API server keeps them."""
    return {**(own or {}), NAMESPACE_NAME: name}


def _kind(manifest: Manifest) -> tuple[str, str]:
    key = key_of(manifest)
    return key.group, key.kind


def _controllers(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    where = place(manifest)
    for owner in mappings(mapping(manifest, "metadata", where), "ownerReferences", where):
        if owner.get("controller") is True:
            yield text(owner, "kind", where), namespace_of(manifest), text(owner, "name", where)


def _read(manifest: Manifest, namespaces: Mapping[str, Mapping[str, str]]) -> Workload:
    where, namespace = place(manifest), namespace_of(manifest)
    pod: Mapping[str, Any] = manifest
    for field in _TEMPLATES[_kind(manifest)]:
        pod = mapping(pod, field, where)
    return Workload(
        name=f"{namespace}/{key_of(manifest).name}",
        namespace=namespace,
        namespace_labels=namespaces.get(namespace) or namespace_labels(namespace),
        labels=labels(mapping(pod, "metadata", where), "labels", where),
        addresses=_addresses(mapping(manifest, "status", where), where) if pod is manifest else (),
        ports=_ports(mapping(pod, "spec", where), where),
        lone=_lone(manifest, where),
    )


def _lone(manifest: Manifest, where: Place) -> bool:
    spec = mapping(manifest, "spec", where)
    kind = key_of(manifest).kind
    if kind == "Pod":
        return True
    if kind in ("DaemonSet", "CronJob"):
        return False
    replicas = whole(spec, "parallelism" if kind == "Job" else "replicas", where)
    return replicas is None or replicas <= 1


def _addresses(status: Mapping[str, Any], where: Place) -> tuple[Address, ...]:
    written = {text(status, "podIP", where), *(text(item, "ip", where) for item in mappings(status, "podIPs", where))}
    try:
        return tuple(ip_address(address) for address in sorted(written - {""}))
    except ValueError as error:
        raise where.refusal(f"status.podIP: {error}") from None


def _ports(spec: Mapping[str, Any], where: Place) -> tuple[ContainerPort, ...]:
    # An init container that keeps running is a sidecar, and listens like the others.
    sidecars = [
        container
        for container in mappings(spec, "initContainers", where)
        if text(container, "restartPolicy", where) == "Always"
    ]
    containers = (*mappings(spec, "containers", where), *sidecars)
    return tuple(_port(port, where) for container in containers for port in mappings(container, "ports", where))


def _port(port: Mapping[str, Any], where: Place) -> ContainerPort:
    number, protocol = whole(port, "containerPort", where), text(port, "protocol", where, "TCP")
    if number is None or not 1 <= number <= LAST_PORT or protocol not in PROTOCOLS:
        raise where.refusal(f"{protocol} {number} is no containerPort")
    return ContainerPort(text(port, "name", where), number, protocol)
