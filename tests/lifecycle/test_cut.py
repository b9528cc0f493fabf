"""The cut evicts the pods that the window's objects select, those alone, and tells what it did not do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from analysis.inventories import added, binding, inventory, role
from breakglass.lifecycle.cut import cut
from breakglass.model.cut import Cut
from breakglass.model.errors import BreakglassError, NotApplied, Refused, Unreachable
from breakglass.model.inventory import Inventory, InventoryObject
from breakglass.model.manifest import Manifest, ObjectKey
from breakglass.model.time import format_instant
from breakglass.ports import Cluster

CLOSED = datetime(2026, 11, 23, 2, 43, tzinfo=UTC)
EXEC = role(("create", "pods/exec"))


@dataclass
class Pods:
    """A cluster of pods; `refusals` are what evicting them raises."""

    pods: list[Manifest]
    refusals: dict[str, BreakglassError] = field(default_factory=dict)
    evicted: list[str] = field(default_factory=list)
    unreachable: bool = False

    def list(self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str]) -> tuple[Manifest, ...]:
        if self.unreachable:
            raise Unreachable("no answer")
        assert list(kinds) == [("", "Pod")]
        spaces = set(namespaces)
        return tuple(pod for pod in self.pods if pod["metadata"]["namespace"] in spaces)

    def evict(self, pods: Iterable[ObjectKey]) -> None:
        for pod in pods:
            if pod.name in self.refusals:
                raise self.refusals[pod.name]
            self.evicted.append(pod.name)


def pod(name: str, app: str = "web", namespace: str = "shop", minutes: int = -60, **metadata: Any) -> Manifest:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    common = {"name": name, "namespace": namespace, "labels": {"app": app}, "ownerReferences": [owner]}
    made = format_instant(CLOSED + timedelta(minutes=minutes))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**common, "creationTimestamp": made, **metadata}}


def selecting(app: str | None) -> InventoryObject:
    selector = {} if app is None else {"matchLabels": {"app": app}}
    return added("networking.k8s.io/v1", "NetworkPolicy", f"n-{app}", spec={"podSelector": selector})


def closed(*objects: InventoryObject) -> Inventory:
    return inventory(*objects).model_copy(update={"phase": "closed", "closedAt": CLOSED})


def evicting(pods: Pods, *objects: InventoryObject, most: int = 20) -> Cut:
    return cut(cast("Cluster", pods), closed(*objects), [EXEC], lambda _: None, most=most)


def test_only_the_selected_pods_go() -> None:
    pods = Pods([pod("web-1"), pod("api-1", "api"), pod("web-2", namespace="data")])
    assert evicting(pods, selecting("web")) == Cut(evicted=["Pod shop/web-1"])
    assert pods.evicted == ["web-1"]


def test_a_lifted_policy_selects_as_well() -> None:
    pods = Pods([pod("web-1")])
    evicting(pods, InventoryObject(baseline=selecting("web").emergency, emergency=None))
    assert pods.evicted == ["web-1"]


def test_exec_reaches_every_pod_of_its_namespace_and_no_other() -> None:
    pods = Pods([pod("web-1"), pod("api-1", "api"), pod("web-2", namespace="data")])
    evicting(pods, binding("r"))
    assert pods.evicted == ["api-1", "web-1"]


def test_each_pod_goes_once() -> None:
    pods = Pods([pod("web-1")])
    evicting(pods, selecting("web"), selecting(None), binding("r"))
    assert pods.evicted == ["web-1"]


def test_what_needs_no_cut_is_not_even_asked() -> None:
    pods = Pods([pod("web-1")], unreachable=True)
    assert evicting(pods, added("v1", "ServiceAccount", "s")) == Cut()


@pytest.mark.parametrize(
    "spared",
    [
        pod("web-1", minutes=1),
        pod("web-1", deletionTimestamp="2026-11-23T02:43:00Z"),
        {**pod("web-1"), "status": {"phase": "Succeeded"}},
    ],
)
def test_a_pod_that_cannot_hold_anything_old_stays(spared: Manifest) -> None:
    assert evicting(Pods([spared]), selecting("web")) == Cut()


@pytest.mark.parametrize(
    "spared", [pod("web-1", ownerReferences=[]), pod("web-1", annotations={"kubernetes.io/config.mirror": "x"})]
)
def test_a_pod_that_nobody_starts_again_stays_and_is_told(spared: Manifest) -> None:
    pods = Pods([spared])
    assert evicting(pods, selecting("web")).left == ["Pod shop/web-1: no controller would start it again"]
    assert pods.evicted == []


def test_no_more_than_the_limit_go_and_the_others_are_told() -> None:
    pods = Pods([pod(f"web-{number}") for number in range(5)])
    made = evicting(pods, selecting("web"), most=2)
    assert pods.evicted == ["web-0", "web-1"]
    assert made.left == [f"Pod shop/web-{number}: 2 pods were evicted, the limit" for number in (2, 3, 4)]


def test_a_pod_that_a_budget_holds_is_told_and_the_next_goes() -> None:
    held: dict[str, BreakglassError] = {"web-0": NotApplied("the budget"), "web-1": Refused("forbidden")}
    pods = Pods([pod(f"web-{number}") for number in range(3)], held)
    made = evicting(pods, selecting("web"))
    assert made == Cut(evicted=["Pod shop/web-2"], left=["Pod shop/web-0: the budget", "Pod shop/web-1: forbidden"])


def test_a_cluster_that_is_gone_ends_it() -> None:
    pods = Pods([pod("web-0"), pod("web-1")], {"web-0": Unreachable("no answer")})
    assert evicting(pods, selecting("web")).left == ["Pod shop/web-0 and those after it: no answer"]
    assert evicting(Pods([], unreachable=True), selecting("web")).left == [
        "pods cannot be listed, nothing was evicted: no answer"
    ]


def test_a_grant_in_the_whole_cluster_evicts_nobody() -> None:
    everywhere = binding("r").emergency
    assert everywhere is not None
    made = {**everywhere, "kind": "ClusterRoleBinding", "metadata": {"name": "b"}}
    pods = Pods([pod("web-1")])
    assert "allowed exec in the whole cluster" in evicting(pods, InventoryObject(baseline=None, emergency=made)).left[0]
    assert pods.evicted == []


def test_a_selector_that_cannot_be_read_selects_nobody() -> None:
    broken = added("networking.k8s.io/v1", "NetworkPolicy", "n", spec={"podSelector": {"matchFields": {}}})
    pods = Pods([pod("web-1")])
    assert "selects nobody knows whom" in evicting(pods, broken).left[0]
    assert pods.evicted == []


def test_what_is_told_has_an_end() -> None:
    pods = Pods([pod(f"web-{number:03}", ownerReferences=[]) for number in range(200)])
    left = evicting(pods, selecting("web")).left
    assert (len(left), left[-1]) == (51, "and 150 more")
