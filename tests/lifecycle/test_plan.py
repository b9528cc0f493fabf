"""The order of a plan: what others need comes first, denying before allowing, and the way back the other way round."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from breakglass.lifecycle.plan import Stage, closing_stages, opening_stages
from breakglass.model.inventory import InventoryObject

BEGIN = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)


def manifest(api_version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **fields}


def policy(name: str, *ingress: dict[str, Any]) -> dict[str, Any]:
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, spec={"podSelector": {}, "ingress": list(ingress)})


ADDED = (
    manifest("v1", "Namespace", "namespace"),
    manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", "definition"),
    manifest("v1", "ServiceAccount", "account"),
    manifest("rbac.authorization.k8s.io/v1", "Role", "role"),
    manifest("rbac.authorization.k8s.io/v1", "RoleBinding", "binding"),
    policy("deny"),
    policy("allow", {}),
    manifest("v1", "Service", "service"),
    manifest("apps/v1", "Deployment", "workload"),
    manifest("networking.k8s.io/v1", "Ingress", "route"),
)
"""In the order in which they are written, each a stage of its own."""
LIFTED = policy("lifted-deny")
CHANGED = policy("changed-allow", {})


def names(stages: tuple[Stage, ...]) -> list[list[str]]:
    return [[step.key.name for step in stage] for stage in stages]


def items(added: list[dict[str, Any]]) -> list[InventoryObject]:
    changed = policy("changed-allow", {}, {})
    return [
        InventoryObject(baseline=CHANGED, emergency=changed),
        InventoryObject(baseline=LIFTED, emergency=None),
        *(InventoryObject(baseline=None, emergency=each) for each in added),
    ]


@given(st.permutations(ADDED))
def test_opening_writes_what_is_needed_first_and_lifts_protections_last(added: list[dict[str, Any]]) -> None:
    every = items(added)
    live = {item.key: item.baseline for item in every}
    in_order = [[each["metadata"]["name"]] for each in ADDED]
    in_order[6] = ["allow", "changed-allow"]
    found = names(opening_stages(every, live, {}))
    assert [sorted(stage) for stage in found] == [*in_order, ["lifted-deny"]]


@given(st.permutations(ADDED))
def test_closing_restores_first_denials_before_the_rest_and_then_deletes_the_other_way_round(
    added: list[dict[str, Any]],
) -> None:
    every = items(added)
    live = {item.key: item.emergency for item in every}
    removed = [[each["metadata"]["name"]] for each in reversed(ADDED)]
    assert names(closing_stages(every, live, {}, BEGIN)) == [["lifted-deny"], ["changed-allow"], *removed]
