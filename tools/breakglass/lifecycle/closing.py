"""Closing in one cluster: what the applier, the agent and the drill share; it needs inventories and nothing else.

One loop: read what is there, plan, carry the plan out, until there is nothing left to plan. That is the proof. Whatever
cannot be read, written or proven keeps nothing else from closing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from breakglass.lifecycle.foreign import noting
from breakglass.lifecycle.plan import DELETION, Live, Plan, Stage, Step, closing_stages, doubtful_closing, sentences
from breakglass.lifecycle.write import ATTEMPTS, apply_stage, delete_stage
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, Unreachable
from breakglass.model.inventory import Cause, Inventory, InventoryObject
from breakglass.model.managed_fields import Path
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.time import LATEST
from breakglass.ports import Clock, Cluster


def returning(closing: Iterable[Inventory], staying: Iterable[Inventory]) -> tuple[InventoryObject, ...]:
    """What closing brings back: each object of the closing inventories that no staying one claims, and none twice.

    Of two that close together, one that was opened first knows who owned the object before.
    """
    kept = {key for inventory in staying for key in inventory.claims}
    items: dict[ObjectKey, InventoryObject] = {}
    for inventory in sorted(closing, key=lambda inventory: inventory.openedAt):
        kept |= inventory.kept
        for item in inventory.objects:
            if item.key not in kept:
                items.setdefault(item.key, item)
    return tuple(items.values())


def close(
    cluster: Cluster,
    inventories: Iterable[Inventory],
    causes: Mapping[str, Cause],
    *,
    by: Literal["applier", "agent"],
    clock: Clock,
) -> tuple[Inventory, ...]:
    """Close activations in a cluster and prove the baseline; needs nothing but their inventories.

    Args:
        inventories: all inventories of the cluster.
        causes: activation id → why it closes; all others stay.

    Returns:
        The inventories that are closed now, phase `closed`.

    Raises:
        NotApplied: something is still open; everything that could be closed is. The next run tries again.
    """
    every = list(inventories)
    closing = [inventory for inventory in every if inventory.activation in causes]
    staying = [inventory for inventory in every if inventory.activation not in causes and inventory.phase != "closed"]
    if not closing:
        return ()
    live, unread = _read(cluster, {item.key for inventory in closing for item in inventory.objects})
    problems: list[str] = []
    closing = [_noted(cluster, inventory, live, clock, problems) for inventory in closing]
    items = returning(closing, staying)
    wrong = unread | _bring_back(cluster, items, live, _since(closing), problems)
    _let_go(cluster, closing, problems)
    open_still = {inventory.activation: _wrong_of(inventory, items, wrong) for inventory in closing}
    proven = [inventory for inventory in closing if not open_still[inventory.activation]]
    closed = tuple(_closed(inventory, causes[inventory.activation], by, clock) for inventory in proven)
    for inventory in closed:
        if inventory not in every:
            cluster.write_inventory(inventory)
    if len(proven) < len(closing):
        told = [*problems, *(sentence for sentences in open_still.values() for sentence in sentences)]
        message = f"not closed yet: {'; '.join(dict.fromkeys(told))}"
        where = ", ".join(name for name, sentences in open_still.items() if sentences)
        raise NotApplied(message, where=where, remedy="run apply again; the agent tries as well")
    return closed


def _since(closing: Iterable[Inventory]) -> datetime:
    """When the first of these windows began; of those that are closed already, nothing others do counts any more."""
    return min((inventory.openedAt for inventory in closing if inventory.phase != "closed"), default=LATEST)


def _wrong_of(inventory: Inventory, items: Iterable[InventoryObject], wrong: Mapping[ObjectKey, str]) -> list[str]:
    """What keeps one activation from being closed: that of its objects which its closing brings back."""
    brought = {item.key for item in items}
    return [wrong[key] for key in inventory.claims if key in brought and key in wrong]


def _closed(inventory: Inventory, cause: Cause, by: Literal["applier", "agent"], clock: Clock) -> Inventory:
    if inventory.phase == "closed":
        return inventory
    now = clock.now().replace(microsecond=0)
    return inventory.model_copy(update={"phase": "closed", "closedAt": now, "closedBy": by, "cause": cause})


def plan_closing(cluster: Cluster, inventories: Iterable[Inventory], causes: Mapping[str, Cause]) -> Plan:
    """What `close` would do now; nothing is written."""
    every = list(inventories)
    closing = [inventory for inventory in every if inventory.activation in causes]
    staying = [inventory for inventory in every if inventory.activation not in causes and inventory.phase != "closed"]
    if not closing:
        return Plan()
    live = cluster.get(key for inventory in closing for key in inventory.claims)
    noted = [noting(inventory, live) for inventory in closing]
    foreign = {inventory.activation: tuple(inventory.foreign) for inventory in noted if inventory.foreign}
    return Plan(closing=_closing_plan(cluster, returning(noted, staying), live, _since(closing)), foreign=foreign)


def _closing_plan(
    cluster: Cluster, items: tuple[InventoryObject, ...], live: Live, since: datetime
) -> tuple[Stage, ...]:
    doubtful = doubtful_closing(items, live)
    answers = cluster.apply(doubtful, dry_run=True) if doubtful else {}
    return closing_stages(items, live, answers, since)


def not_returned(cluster: Cluster, inventory: Inventory) -> dict[ObjectKey, str]:
    """What a closing of this activation alone would still have to do, in words, by object; nothing is the proof."""
    items = returning([inventory], [])
    return sentences(_closing_plan(cluster, items, cluster.get(inventory.claims), _since([inventory])))


def _noted(cluster: Cluster, inventory: Inventory, live: Live, clock: Clock, problems: list[str]) -> Inventory:
    """The inventory with what others did to its objects, kept in the cluster before any of it is undone."""
    if inventory.phase == "closed":
        return inventory
    told = noting(inventory, live, with_deleted=not inventory.expired(clock.now()))
    if told != inventory:
        try:
            cluster.write_inventory(told)
        except BreakglassError as error:
            problems.append(f"what others changed is not recorded: {error}")
    return told


def _bring_back(
    cluster: Cluster, items: tuple[InventoryObject, ...], live: Live, since: datetime, problems: list[str]
) -> dict[ObjectKey, str]:
    """Carry out the closing plan until there is none; every stage is tried, whatever became of the one before.

    The last attempt deletes an object in whatever state it is: somebody who writes it all the time does not keep it.

    Args:
        live: the objects as they are; what is missing here cannot be read and is left out.

    Returns:
        What is not brought back, in words, by object: nothing is the proof.
    """
    stuck, unread = False, dict[ObjectKey, str]()
    for attempt in range(ATTEMPTS + 1):
        readable = [item for item in items if item.key in live]
        answers, unproven = _answers(cluster, doubtful_closing(readable, live))
        stages = closing_stages(readable, live, answers, since)
        if not stages or stuck or attempt == ATTEMPTS:
            return unread | unproven | sentences(stages)
        errors = [error for stage in stages for error in _carry_out(cluster, stage, attempt)]
        stuck = bool(errors) and not any(isinstance(error, Conflict) for error in errors)
        problems += map(str, errors) if stuck or attempt == ATTEMPTS - 1 else ()
        live, failed = _read(cluster, [item.key for item in readable])
        unread |= failed
    raise AssertionError("the last turn returns")


def _let_go(cluster: Cluster, closing: Iterable[Inventory], problems: list[str]) -> None:
    """Own nothing any more of what stays as others changed it."""
    kept: dict[ObjectKey, list[dict[str, Any]]] = {}
    for inventory in closing:
        left = inventory.kept
        kept |= {item.key: item.owners for item in inventory.objects if item.key in left} if left else {}
    if kept:
        try:
            cluster.disown(kept)
        except BreakglassError as error:
            problems.append(str(error))


def _carry_out(cluster: Cluster, stage: Stage, attempt: int) -> list[BreakglassError]:
    """Everything that brings a stage's objects back, each write tried whatever became of the one before."""
    last = attempt == ATTEMPTS - 1
    writes: list[Callable[[], None]] = [
        lambda: apply_stage(cluster, stage),
        lambda: _remove_shared(cluster, stage) if attempt else None,
        lambda: delete_stage(cluster, stage, exactly=not last),
        lambda: _disown(cluster, stage),
    ]
    errors: list[BreakglassError] = []
    for write in writes:
        try:
            write()
        except BreakglassError as error:
            errors.append(error)
    return errors


def _remove_shared(cluster: Cluster, stage: Stage) -> None:
    """What an apply left standing: fields that only the emergency has, and that somebody else owns as well."""
    left = {step.key: paths for step in stage if (paths := _surplus(step))}
    if left:
        cluster.remove_fields(left)


def _surplus(step: Step) -> list[Path]:
    """Fields of the live object that the target has not."""
    return [change.path for change in step.fields if change.after is None and change.path != DELETION]


def _disown(cluster: Cluster, stage: Stage) -> None:
    returned = {step.key: step.owners for step in stage if step.owners is not None}
    if returned:
        cluster.disown(returned)


def _read(cluster: Cluster, keys: Iterable[ObjectKey]) -> tuple[dict[ObjectKey, Manifest | None], dict[ObjectKey, str]]:
    """Objects as they are, and why others cannot be read: a kind that is refused keeps no other from closing."""
    wanted = sorted(keys)
    try:
        return dict(cluster.get(wanted)), {}
    except BreakglassError as error:
        groups = [tuple(group) for _, group in groupby(wanted, key=lambda key: (key.group, key.kind, key.namespace))]
        if isinstance(error, Unreachable) or len(groups) == 1:
            return {}, {key: f"{key} cannot be read: {error}" for key in wanted}
    live: dict[ObjectKey, Manifest | None] = {}
    unread: dict[ObjectKey, str] = {}
    for group in groups:
        found, failed = _read(cluster, group)
        live |= found
        unread |= failed
    return live, unread


def _answers(cluster: Cluster, manifests: list[Manifest]) -> tuple[dict[ObjectKey, Manifest], dict[ObjectKey, str]]:
    """What the API server would make of manifests, and why it does not say for others.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
    """
    if not manifests:
        return {}, {}
    try:
        return dict(cluster.apply(manifests, dry_run=True)), {}
    except BreakglassError as error:
        if isinstance(error, Unreachable) or len(manifests) == 1:
            return {}, {key_of(manifest): f"{key_of(manifest)} cannot be proven: {error}" for manifest in manifests}
    answers: dict[ObjectKey, Manifest] = {}
    unproven: dict[ObjectKey, str] = {}
    for manifest in manifests:
        found, failed = _answers(cluster, [manifest])
        answers |= found
        unproven |= failed
    return answers, unproven
