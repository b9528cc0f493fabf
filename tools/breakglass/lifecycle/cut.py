"""The cut: evict the pods whose connections and streams may have begun in a window.

A connection ends with a pod at either end of it, and an exec stream with its pod. That is all that can be done by the
API server alone; what a CNI can do on its nodes stands in docs/after-closing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NoReturn

from breakglass.analysis.lingering import grants
from breakglass.analysis.residue import controller_of
from breakglass.analysis.selector import read_selector
from breakglass.model.cut import Cut
from breakglass.model.errors import BreakglassError, Refused, Unreachable
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.source import Place
from breakglass.model.time import parse_instant
from breakglass.ports import Clock, Cluster, Report

MOST_PODS = 20
"""Pods that one cut evicts."""
_MIRROR = "kubernetes.io/config.mirror"
_SHOWN = 50
_LONGEST_WAIT, _PAUSE = timedelta(seconds=60), timedelta(seconds=5)

Selects = Callable[[Manifest], bool]


def cut(
    cluster: Cluster, inventory: Inventory, roles: Iterable[Manifest], report: Report, *, most: int = MOST_PODS
) -> Cut:
    """End what outlives a closing as far as evictions can: call it once the activation is closed.

    Evicted are pods that the activation's NetworkPolicies select, and pods into which its bindings allowed exec, attach
    or port-forward; only those that ran before the closing, and that a controller starts again. PodDisruptionBudgets
    count (https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/).

    Args:
        roles: manifests with the Roles and ClusterRoles of the baseline, as for `lives_on`.
        most: pods to evict at most; the others are told.

    Returns:
        What was evicted and what was not, for the ledger. It raises nothing: the window is closed already.
    """
    left: list[str] = []
    selections = list(_selections(inventory, roles, left))
    namespaces = sorted({namespace for namespace, _ in selections})
    try:
        pods = cluster.list([("", "Pod")], namespaces) if namespaces else ()
    except BreakglassError as error:
        return Cut(left=_bounded([*left, f"pods cannot be listed, nothing was evicted: {error}"]))
    chosen = [
        pod
        for pod in sorted(pods, key=key_of)
        if _ran_before(pod, inventory.closedAt)
        and any(namespace == key_of(pod).namespace and selects(pod) for namespace, selects in selections)
    ]
    evicted = _evict(cluster, chosen, left, report, most)
    return Cut(evicted=_bounded(list(map(str, evicted))), left=_bounded(left))


def cut_off(cluster: Cluster, inventory: Inventory, roles: Iterable[Manifest], report: Report) -> Inventory:
    """Do as `cut`, once, and keep in the closed inventory what was done until the ledger has it.

    Raises:
        Conflict: another writer changed the inventory meanwhile; the cut was made.
        Unreachable: the cluster does not answer any more; the cut was made as far as it says.
    """
    if inventory.cut is not None:
        return inventory
    told = inventory.model_copy(update={"cut": cut(cluster, inventory, roles, report)})
    cluster.write_inventory(told)
    return told


def keep_cutting(cluster: Cluster, clock: Clock, leads: Callable[[], bool], report: Report) -> NoReturn:
    """Cut what an agent closed and nobody cut yet, beside the agent's own loop, for ever.

    Args:
        cluster: through a client that nobody else reads inventories with.
        leads: whether this agent is the one that cuts.
    """
    while True:
        try:
            cut_once(cluster, leads, report)
            cluster.await_change(_LONGEST_WAIT)
        except Exception as error:  # noqa: BLE001 - a fault of our own in one window must not keep others from it
            report(f"not cut, trying again: {error}")
            clock.sleep(_PAUSE)


def cut_once(cluster: Cluster, leads: Callable[[], bool], report: Report) -> None:
    """Cut what an agent closed and nobody cut yet.

    Raises:
        BreakglassError: the cluster does not answer, or what was cut is not kept.
    """
    for inventory in cluster.inventories():
        if inventory.phase == "closed" and inventory.closedBy == "agent" and inventory.cut is None and leads():
            cut_off(cluster, inventory, (), report)


def _selections(inventory: Inventory, roles: Iterable[Manifest], left: list[str]) -> Iterator[tuple[str, Selects]]:
    for item in inventory.objects:
        if (item.key.group, item.key.kind) == ("networking.k8s.io", "NetworkPolicy"):
            for state in (item.emergency, item.baseline):
                if state is not None:
                    yield from _selected_by(item.key, state, left)
    for grant in grants(inventory, roles):
        if "exec" not in grant.classes:
            continue
        if not grant.namespace:
            left.append(f"{grant.key} allowed exec in the whole cluster; no pod was evicted for it")
            continue
        yield grant.namespace, lambda pod, grant=grant: grant.streams_into(key_of(pod).name)  # type: ignore[misc]


def _selected_by(key: ObjectKey, policy: Manifest, left: list[str]) -> Iterator[tuple[str, Selects]]:
    try:
        selector = read_selector((policy.get("spec") or {}).get("podSelector") or {}, Place(policy))
    except Refused as error:
        left.append(f"{key} selects nobody knows whom: {error}")
        return
    yield key.namespace, lambda pod: selector.matches(_labels(pod))


def _labels(pod: Manifest) -> Mapping[str, str]:
    return pod["metadata"].get("labels") or {}


def _ran_before(pod: Manifest, closed_at: datetime | None) -> bool:
    """Whether a pod was there before the closing, and is not on its way out."""
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    return closed_at is None or parse_instant(str(metadata["creationTimestamp"])) <= closed_at


def _evict(cluster: Cluster, chosen: Iterable[Manifest], left: list[str], report: Report, most: int) -> list[ObjectKey]:
    evicted: list[ObjectKey] = []
    for pod in chosen:
        key = key_of(pod)
        if controller_of(pod) is None or _MIRROR in (pod["metadata"].get("annotations") or {}):
            left.append(f"{key}: no controller would start it again")
        elif len(evicted) >= most:
            left.append(f"{key}: {most} pods were evicted, the limit")
        else:
            try:
                cluster.evict([key])
            except Unreachable as error:
                left.append(f"{key} and those after it: {error}")
                break
            except BreakglassError as error:
                left.append(f"{key}: {error}")
            else:
                evicted.append(key)
                report(f"evicted {key}, to end what began in the window")
    return evicted


def _bounded(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]
