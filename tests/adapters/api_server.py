"""What the tests of the Kubernetes adapter write to one API server, and a clock for its clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import ObjectKey

Object = dict[str, Any]
NETWORK_POLICIES = ("networking.k8s.io", "NetworkPolicy")
numbers = itertools.count(1)


class Time:
    """A clock that nothing moves but sleeping."""

    def __init__(self) -> None:
        self.start = self.time = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, duration: timedelta) -> None:
        self.time += duration

    @property
    def slept(self) -> float:
        return (self.time - self.start).total_seconds()


Connect = Callable[..., KubernetesCluster]
"""`connect(access, clock=…)` → a cluster that is closed after the test."""


def namespace_of(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def policy_in(namespace: str, name: str = "allow", **labels: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }


def definition(group: str) -> Object:
    version = {"name": "v1", "served": True, "storage": True}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"lamps.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp", "listKind": "LampList"},
            "versions": [{**version, "schema": schema}],
        },
    }


def new_inventory(**changes: Any) -> Inventory:
    number = next(numbers)
    at = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
    inventory = Inventory(
        activation=f"2026-11-23-db-from-bastion-{number:04x}",
        overlay="db-from-bastion",
        digest="sha256:" + "0" * 64,
        commit="0" * 40,
        requestedBy="on-call",
        approvedBy=["alice", "bob"],
        openedAt=at,
        expiry=at + timedelta(minutes=30),
        phase="opening",
        objects=[],
    )
    return inventory.model_copy(update=changes)


def path_of(inventory: Inventory) -> str:
    return f"/api/v1/namespaces/breakglass/configmaps/activation-{inventory.activation}"


def find(cluster: KubernetesCluster, inventory: Inventory) -> Inventory | None:
    return next((item for item in cluster.inventories() if item.activation == inventory.activation), None)


def live_of(cluster: KubernetesCluster, key: ObjectKey) -> Any:
    return cluster.get([key])[key]
