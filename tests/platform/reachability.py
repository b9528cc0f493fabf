"""Who reaches whom, naively, pair by pair, from the NetworkPolicy specification.

Written for the features the platform uses; anything else fails loudly. Peers named by address are never pods here: the
platform's ranges are those of the Internet and of the control plane.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

from manifests import Manifest, of_kind

Labels = dict[str, str]


class Workload(NamedTuple):
    """The pods of one workload: they differ in nothing a policy can see."""

    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    ports: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Connection(NamedTuple):
    """From and to as namespace/workload."""

    source: str
    destination: str
    protocol: str
    port: int


NAME_SERVER = Workload("kube-system", "kube-dns", (("k8s-app", "kube-dns"),), (("UDP", 53), ("TCP", 53)))


def workloads(manifests: list[Manifest]) -> list[Workload]:
    """Every workload of a render with the ports its containers name, and the cluster's name server."""
    found = [NAME_SERVER]
    for manifest in of_kind(manifests, "Deployment", "StatefulSet"):
        template = manifest["spec"]["template"]
        ports = [
            (port.get("protocol", "TCP"), port["containerPort"])
            for container in template["spec"]["containers"]
            for port in container.get("ports", [])
        ]
        metadata = manifest["metadata"]
        labels = tuple(sorted(template["metadata"]["labels"].items()))
        found.append(Workload(metadata["namespace"], metadata["name"], labels, tuple(ports)))
    return found


def reachable(manifests: list[Manifest]) -> set[Connection]:
    """Every connection from a workload to another, or to the name server, that the policies of a render allow."""
    policies = list(of_kind(manifests, "NetworkPolicy"))
    found = set()
    for source, destination in product(workloads(manifests), repeat=2):
        for protocol, port in () if source in (destination, NAME_SERVER) else destination.ports:
            leaves = _allowed(policies, "Egress", "to", source, destination, protocol, port)
            if leaves and _allowed(policies, "Ingress", "from", destination, source, protocol, port):
                found.add(Connection(str(source), str(destination), protocol, port))
    return found


def _allowed(
    policies: list[Manifest], direction: str, peers: str, subject: Workload, peer: Workload, protocol: str, port: int
) -> bool:
    isolating = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"]
        and policy["metadata"]["namespace"] == subject.namespace
        and _selects(policy["spec"]["podSelector"], dict(subject.labels))
    ]
    return not isolating or any(
        _peer_matches(rule.get(peers), subject, peer) and _port_matches(rule.get("ports"), protocol, port)
        for spec in isolating
        for rule in spec.get(direction.lower()) or []
    )


def _peer_matches(peers: list[dict[str, Any]] | None, subject: Workload, peer: Workload) -> bool:
    return not peers or any(_one_peer_matches(one, subject, peer) for one in peers)


def _one_peer_matches(one: dict[str, Any], subject: Workload, peer: Workload) -> bool:
    if "ipBlock" in one:
        return False
    namespace = one.get("namespaceSelector")
    if namespace is None:
        same_place = peer.namespace == subject.namespace
    else:
        same_place = _selects(namespace, {"kubernetes.io/metadata.name": peer.namespace})
    return same_place and _selects(one.get("podSelector", {}), dict(peer.labels))


def _port_matches(ports: list[dict[str, Any]] | None, protocol: str, port: int) -> bool:
    return not ports or any(one["protocol"] == protocol and one["port"] == port for one in ports)


def _selects(selector: dict[str, Any], labels: Labels) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
