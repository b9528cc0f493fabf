"""Write the manifests of a made-up cluster: pods that policies can tell apart, and NetworkPolicies that do so.

Usage: python benchmarks/clusters.py DIRECTORY --pods 1000 --policies 200

The same figures give the same bytes. Of two clusters with as many pods the smaller one's policies are the first of the
larger one's: the pair is the before and the after of a change that adds policies.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

NAMESPACES = tuple(f"team-{letter}" for letter in "abcdefghij")

# Ten values each: as many keys as the pods of a namespace need to differ from one another.
LABELS: Mapping[str, tuple[str, ...]] = {
    "app": ("api", "audit", "billing", "cache", "catalog", "gateway", "ledger", "mail", "search", "web"),
    "track": ("alpha", "beta", "blue", "canary", "edge", "green", "hotfix", "nightly", "preview", "stable"),
    "region": ("cork", "delft", "essen", "faro", "ghent", "lund", "malmo", "nice", "oslo", "turin"),
}
NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
PORTS: tuple[dict[str, object], ...] = (
    {"protocol": "TCP", "port": 80},
    {"protocol": "TCP", "port": 443},
    {"protocol": "TCP", "port": 5432},
    {"protocol": "TCP", "port": 6379},
    {"protocol": "TCP", "port": 8000, "endPort": 8099},
    {"protocol": "TCP", "port": 9090},
    {"protocol": "UDP", "port": 53},
)

# Chances of one in a hundred. A policy isolates the pods it selects; how many it selects, and how often the other end
# must be of a certain kind, settles how many pairs a change of policies changes.
INGRESS, EGRESS = 70, 15  # what is left does both
WIDE = 25  # a peer in any namespace
ADDRESSES = 10  # a peer outside of the cluster
ANY_PORT = 25


def write_cluster(directory: Path, pods: int, policies: int) -> None:
    """Write the manifests: a directory a namespace, in it a file a kind."""
    selected = list(labels(pods // len(NAMESPACES)))
    choose = random.Random(0)
    documents = [network_policy(number, list(keys(selected)), choose) for number in range(policies)]
    for index, namespace in enumerate(NAMESPACES):
        inside = directory / namespace
        inside.mkdir(parents=True, exist_ok=True)
        _write(inside / "namespace.yaml", [_namespace(namespace)])
        _write(inside / "pods.yaml", (_pod(namespace, item) for item in selected))
        _write(inside / "networkpolicies.yaml", documents[index :: len(NAMESPACES)])


def keys(selected: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """The keys by whose values the pods differ."""
    for key in LABELS:
        if len({item[key] for item in selected}) > 1:
            yield key


def labels(count: int) -> Iterator[dict[str, str]]:
    """As many sets of labels, no two the same, in no order that would help anybody.

    Raises:
        ValueError: there are not as many.
    """
    values = list(LABELS.values())
    if count > 10 ** len(values):
        raise ValueError(f"{count} pods in a namespace cannot be told apart by {len(values)} labels of ten values")
    order = list(range(count))
    random.Random(1).shuffle(order)
    for number in order:
        yield {key: options[number // 10**place % 10] for place, (key, options) in enumerate(LABELS.items())}


def network_policy(number: int, known: list[str], choose: random.Random) -> dict[str, Any]:
    """The policy of this number; it lies in the namespace whose turn it is."""
    chance = choose.randrange(100)
    spec: dict[str, Any] = {"podSelector": _selector(known, choose), "policyTypes": []}
    if chance < INGRESS or chance >= INGRESS + EGRESS:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = [{"from": _peers(known, choose), **_ports(choose)}]
    if chance >= INGRESS:
        spec["policyTypes"].append("Egress")
        spec["egress"] = [{"to": _peers(known, choose), **_ports(choose)}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"policy-{number:04}", "namespace": NAMESPACES[number % len(NAMESPACES)]},
        "spec": spec,
    }


def _selector(known: list[str], choose: random.Random) -> dict[str, Any]:
    """Select by one key: one of its values, or two of them."""
    key = choose.choice(known)
    values = choose.sample(LABELS[key], 2)
    if choose.randrange(2):
        return {"matchLabels": {key: values[0]}}
    return {"matchExpressions": [{"key": key, "operator": "In", "values": values}]}


def _peers(known: list[str], choose: random.Random) -> list[dict[str, Any]]:
    return [_peer(known, choose) for _ in range(choose.randint(1, 2))]


def _peer(known: list[str], choose: random.Random) -> dict[str, Any]:
    chance = choose.randrange(100)
    if chance < ADDRESSES:
        cidr = choose.choice(NETWORKS)
        return {"ipBlock": {"cidr": cidr, "except": [cidr.replace("0/24", "64/26")]}}
    if chance < ADDRESSES + WIDE:
        return {"namespaceSelector": {}, "podSelector": _selector(known, choose)}
    namespace = choose.choice(NAMESPACES)
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": _selector(known, choose),
    }


def _ports(choose: random.Random) -> dict[str, Any]:
    if choose.randrange(100) < ANY_PORT:
        return {}
    return {"ports": [dict(port) for port in choose.sample(PORTS, choose.randint(1, 2))]}


def _namespace(name: str) -> dict[str, Any]:
    labelled = {"kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labelled}}


def _pod(namespace: str, labelled: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "-".join(labelled.values()), "namespace": namespace, "labels": dict(labelled)},
        "spec": {"containers": [{"name": "main", "image": f"registry.example/{labelled['app']}:1.0"}]},
    }


def _write(path: Path, documents: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        yaml.dump_all(documents, file, Dumper=yaml.CSafeDumper, sort_keys=False, explicit_start=True)


def main() -> None:
    """Write one cluster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("--pods", type=int, required=True, help=f"a multiple of {len(NAMESPACES)}")
    parser.add_argument("--policies", type=int, required=True)
    arguments = parser.parse_args()
    write_cluster(arguments.directory, arguments.pods, arguments.policies)


if __name__ == "__main__":
    main()
