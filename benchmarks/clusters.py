"""Write the manifests of a made-up cluster: pods that policies can tell apart, and NetworkPolicies that do so.

Usage: python benchmarks/clusters.py DIRECTORY --pods 1000 --policies 200

The same figures give the same bytes. Of two clusters with as many pods the smaller one's policies are the first of the
larger one's: the pair is the before and the after of a change that adds policies.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Mapping, Sequence
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
Values = Mapping[str, Sequence[str]]
"""The keys by whose values the pods of a namespace differ, with these values."""

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
ANYWHERE = 25  # a peer in any namespace
ADDRESSES = 10  # a peer outside of the cluster
ANY_PORT = 25


def write_cluster(directory: Path, pods: int, policies: int, *, default_deny: bool = False) -> None:
    """Write the manifests: the namespaces, and a directory each with its pods and its policies.

    Args:
        directory: made when missing.
        pods: how many; a multiple of the number of namespaces.
        policies: how many; a multiple of the number of namespaces.
        default_deny: the last policy of each namespace isolates all of its pods.
    """
    inside = labels(pods // len(NAMESPACES))
    values = {key: present for key in LABELS if len(present := sorted({item[key] for item in inside})) > 1}
    choose, open_policies = random.Random(0), policies - default_deny * len(NAMESPACES)
    documents = [network_policy(number, values, choose) for number in range(open_policies)]
    documents += [default_deny_policy(namespace) for namespace in NAMESPACES[: policies - open_policies]]
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "namespaces.yaml", (_namespace(namespace) for namespace in NAMESPACES))
    for namespace in NAMESPACES:
        target = directory / namespace
        target.mkdir(exist_ok=True)
        own = [document for document in documents if document["metadata"]["namespace"] == namespace]
        _write(target / "pods.yaml", (_pod(namespace, item) for item in inside))
        _write(target / "networkpolicies.yaml", own)


def labels(count: int) -> list[dict[str, str]]:
    """As many sets of labels, no two the same, in the order of the names, as `kubectl get` lists pods.

    Raises:
        ValueError: there are not as many.
    """
    if count > 10 ** len(LABELS):
        raise ValueError(f"{count} pods in a namespace cannot be told apart by {len(LABELS)} labels of ten values")
    places = [(key, values, 10**place) for place, (key, values) in enumerate(LABELS.items())]
    every = [{key: values[number // size % 10] for key, values, size in places} for number in range(count)]
    return sorted(every, key=lambda own: list(own.values()))


def default_deny_policy(namespace: str) -> dict[str, Any]:
    """Isolate every pod of the namespace against what comes in."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    return _object("networking.k8s.io/v1", "NetworkPolicy", {"name": "default-deny", "namespace": namespace}, spec)


def network_policy(number: int, values: Values, choose: random.Random) -> dict[str, Any]:
    """The policy of this number; it lies in the namespace whose turn it is."""
    chance = choose.randrange(100)
    spec: dict[str, Any] = {"podSelector": _selector(values, choose), "policyTypes": []}
    if chance < INGRESS or chance >= INGRESS + EGRESS:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = [{"from": _peers(values, choose), **_ports(choose)}]
    if chance >= INGRESS:
        spec["policyTypes"].append("Egress")
        spec["egress"] = [{"to": _peers(values, choose), **_ports(choose)}]
    metadata = {"name": f"policy-{number:04}", "namespace": NAMESPACES[number % len(NAMESPACES)]}
    return _object("networking.k8s.io/v1", "NetworkPolicy", metadata, spec)


def _selector(values: Values, choose: random.Random) -> dict[str, Any]:
    """Select by one key, by one of two values of a key, or by two keys."""
    first, *others = choose.sample(sorted(values), len(values))
    shape = choose.randrange(3 if others else 2)
    if shape == 0:
        return {"matchLabels": {first: choose.choice(values[first])}}
    if shape == 1:
        return {"matchExpressions": [{"key": first, "operator": "In", "values": choose.sample(values[first], 2)}]}
    return {"matchLabels": {key: choose.choice(values[key]) for key in (first, others[0])}}


def _peers(values: Values, choose: random.Random) -> list[dict[str, Any]]:
    return [_peer(values, choose) for _ in range(choose.randint(1, 2))]


def _peer(values: Values, choose: random.Random) -> dict[str, Any]:
    chance = choose.randrange(100)
    if chance < ADDRESSES:
        cidr = choose.choice(NETWORKS)
        return {"ipBlock": {"cidr": cidr, "except": [cidr.replace("0/24", "64/26")]}}
    if chance < ADDRESSES + ANYWHERE:
        return {"namespaceSelector": {}, "podSelector": _selector(values, choose)}
    namespace = choose.choice(NAMESPACES)
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": _selector(values, choose),
    }


def _ports(choose: random.Random) -> dict[str, Any]:
    if choose.randrange(100) < ANY_PORT:
        return {}
    return {"ports": [dict(port) for port in choose.sample(PORTS, choose.randint(1, 2))]}


def _namespace(name: str) -> dict[str, Any]:
    return _object("v1", "Namespace", {"name": name, "labels": {"kubernetes.io/metadata.name": name}}, {})


def _pod(namespace: str, own: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": "-".join(own.values()), "namespace": namespace, "labels": dict(own)}
    return _object("v1", "Pod", metadata, {"containers": [{"name": "main", "image": f"registry.example/{own['app']}"}]})


def _object(version: str, kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _write(path: Path, documents: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        yaml.dump_all(documents, file, Dumper=yaml.CSafeDumper, sort_keys=False, explicit_start=True)


def main() -> None:
    """Write one cluster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("--pods", type=int, required=True, help=f"a multiple of {len(NAMESPACES)}")
    parser.add_argument("--policies", type=int, required=True, help=f"a multiple of {len(NAMESPACES)}")
    parser.add_argument("--default-deny", action="store_true", help="the last policy of each namespace isolates it")
    arguments = parser.parse_args()
    write_cluster(arguments.directory, arguments.pods, arguments.policies, default_deny=arguments.default_deny)


if __name__ == "__main__":
    main()
