"""Inventories with a few objects, for tests of what a closing leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from breakglass.model.inventory import Inventory, InventoryObject

RBAC = "rbac.authorization.k8s.io"


def inventory(*objects: InventoryObject) -> Inventory:
    return Inventory(
        activation="2026-11-23-x-7f3a",
        overlay="x",
        digest=f"sha256:{'0' * 64}",
        commit="0" * 40,
        requestedBy="robin",
        approvedBy=[],
        openedAt=datetime(2026, 11, 23, 2, 13, tzinfo=UTC),
        expiry=datetime(2026, 11, 23, 2, 43, tzinfo=UTC),
        phase="open",
        objects=list(objects),
    )


def added(api_version: str, kind: str, name: str, **rest: Any) -> InventoryObject:
    metadata = {"name": name, "namespace": "shop"}
    return InventoryObject(
        baseline=None, emergency={"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
    )


def binding(role: str, kind: str = "ClusterRole") -> InventoryObject:
    reference = {"apiGroup": RBAC, "kind": kind, "name": role}
    return added(f"{RBAC}/v1", "RoleBinding", "b", roleRef=reference, subjects=[])


def role(*rules: tuple[str, str], names: list[str] | None = None) -> dict[str, Any]:
    made = [
        {"apiGroups": [""], "resources": [what], "verbs": [verb], **({"resourceNames": names} if names else {})}
        for verb, what in rules
    ]
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": made}
