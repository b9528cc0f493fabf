"""Opening and closing in one cluster: what the applier, the agent and the drill share.

Order of writes, so that a kill between any two leaves what the next run - or the agent alone - converges:
closings first; then the inventory of what opens, phase `opening`; then the objects; then phase `open`.

Both ways are one loop: read what is there, plan, carry the plan out, until there is nothing left to plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from breakglass.lifecycle.plan import (
    DELETION,
    Live,
    Plan,
    Stage,
    Step,
    closing_stages,
    doubtful_closing,
    doubtful_opening,
    foreign_changes,
    opening_stages,
    sentences,
)
from breakglass.model.activation import Activation
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, Refused, Unreachable
from breakglass.model.inventory import Cause, ForeignChange, Inventory, InventoryObject, objects_of
from breakglass.model.managed_fields import Path, other_entries
from breakglass.model.manifest import Change, Manifest, ObjectKey, key_of
from breakglass.model.policy import Conflicts
from breakglass.model.time import LATEST
from breakglass.ports import Clock, Cluster

ATTEMPTS = 3
"""How often objects are read and planned afresh after somebody else wrote one of them in between."""
WRITER = "writer"
"""Name of the Lease of a cluster's one writer."""
LARGEST_SKEW = timedelta(seconds=10)
"""How far the clocks of this machine and of the API server may differ for an opening; closing does not mind."""
_MOST_FOREIGN = 100
_MOST_KEPT_WHOLE = 20


@dataclass(frozen=True, slots=True)
class Opening:
    """A window that is approved, judged and rendered: all that opening it needs.

    Attributes:
        commit: the merge commit.
        opened_at: its committer time.
        changes: the delta.
        conflicts: what the policy says of fields that others own.
    """

    activation: Activation
    commit: str
    opened_at: datetime
    expiry: datetime
    approved_by: tuple[str, ...]
    changes: tuple[Change, ...]
    conflicts: Conflicts = field(default_factory=Conflicts)

    def inventory(self, known: Inventory | None = None) -> Inventory:
        """The inventory to write before the first object.

        Args:
            known: the one in the cluster, whose history it keeps.
        """
        spec = self.activation.spec
        inventory = Inventory(
            activation=self.activation.id,
            overlay=spec.overlay,
            digest=spec.digest,
            commit=self.commit,
            requestedBy=spec.requestedBy,
            approvedBy=list(self.approved_by),
            openedAt=self.opened_at,
            expiry=self.expiry,
            phase="opening",
            conflicts=self.conflicts.closing,
            objects=objects_of(self.changes),
        )
        if known is None:
            return inventory
        former = {item.key: item.owners for item in known.objects}
        objects = [
            item.model_copy(update={"owners": former[item.key]}) if former.get(item.key) else item
            for item in inventory.objects
        ]
        kept = ("phase", "appliedAt", "appliedAfterSeconds", "approvedBy", "foreign")
        return inventory.model_copy(update={"objects": objects, **{name: getattr(known, name) for name in kept}})


@contextmanager
def one_writer(cluster: Cluster, holder: str, patience: timedelta) -> Iterator[None]:
    """Be the one who opens in a cluster while the context lasts; a Lease that is lost stops the next write.

    Closing needs none of this (law 2).

    Args:
        holder: who this is, for others to read.
        patience: how long to wait for another writer.

    Raises:
        Conflict: another is writing, and still is when the patience is over.
    """
    lease = cluster.lease(WRITER, holder)
    lease.acquire(patience)
    try:
        with cluster.fenced(lease):
            yield
    finally:
        lease.release()


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


def noting(inventory: Inventory, live: Live, *, with_deleted: bool = True) -> Inventory:
    """An inventory that tells what others did to its objects since its window began; bounded, the first ones count.

    Args:
        with_deleted: tell what is absent as well; not after the expiry, when another closer may have deleted it.
    """
    known = {(change.object, change.what, change.by, change.at) for change in inventory.foreign}
    new = [
        change
        for change in foreign_changes(inventory, live)
        if (change.object, change.what, change.by, change.at) not in known
        and (with_deleted or change.what != "deleted")
    ]
    if not new:
        return inventory
    every = [*inventory.foreign, *new][:_MOST_FOREIGN]
    told = [
        change if number < _MOST_KEPT_WHOLE else change.model_copy(update={"live": None})
        for number, change in enumerate(every)
    ]
    return inventory.model_copy(update={"foreign": told})


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
    readable = [item for item in items if item.key in live]
    stuck = False
    for attempt in range(ATTEMPTS + 1):
        answers, unproven = _answers(cluster, doubtful_closing(readable, live))
        stages = closing_stages(readable, live, answers, since)
        if not stages or stuck or attempt == ATTEMPTS:
            return unproven | sentences(stages)
        errors = [error for stage in stages for error in _carry_out(cluster, stage, attempt)]
        stuck = bool(errors) and not any(isinstance(error, Conflict) for error in errors)
        problems += map(str, errors) if stuck or attempt == ATTEMPTS - 1 else ()
        live, unread = _read(cluster, [item.key for item in readable])
        if unread:
            return unread
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
        lambda: _apply(cluster, stage),
        lambda: _remove_shared(cluster, stage) if attempt else None,
        lambda: _delete(cluster, stage, exactly=not last),
        lambda: _disown(cluster, stage),
    ]
    errors: list[BreakglassError] = []
    for write in writes:
        try:
            write()
        except BreakglassError as error:
            errors.append(error)
    return errors


def _apply(cluster: Cluster, stage: Stage, *, force: bool = True) -> None:
    written = (step for step in stage if step.live is None or step.fields or step.owners is None)
    manifests = [step.target for step in written if step.target is not None]
    if manifests:
        cluster.apply(manifests, force=force)


def _remove_shared(cluster: Cluster, stage: Stage) -> None:
    """What an apply left standing: fields that only the emergency has, and that somebody else owns as well."""
    left = {step.key: paths for step in stage if (paths := _surplus(step))}
    if left:
        cluster.remove_fields(left)


def _surplus(step: Step) -> list[Path]:
    """Fields of the live object that the target has not."""
    return [change.path for change in step.fields if change.after is None and change.path != DELETION]


def _delete(cluster: Cluster, stage: Stage, *, exactly: bool) -> None:
    gone = [step.live for step in stage if step.target is None and step.live is not None]
    if gone:
        cluster.delete(gone if exactly else map(_in_any_state, gone))


def _in_any_state(live: Manifest) -> Manifest:
    return {**live, "metadata": {name: value for name, value in live["metadata"].items() if name != "resourceVersion"}}


def _disown(cluster: Cluster, stage: Stage) -> None:
    returned = {step.key: step.owners for step in stage if step.owners is not None}
    if returned:
        cluster.disown(returned)


def open_window(cluster: Cluster, opening: Opening, known: Inventory | None, clock: Clock) -> Inventory:
    """Open one activation in a cluster, or bring it back to its emergency state.

    Args:
        known: its inventory in the cluster, if there is one.

    Returns:
        Its inventory, phase `open`.

    Raises:
        Refused: the policy lets no opening take a field that another field manager owns.
        NotApplied: the window ended meanwhile, or the clocks disagree; nothing more was written.
        Conflict: another writer changed the inventory, or holds the Lease.
    """
    inventory = opening.inventory(known)
    live = cluster.get(inventory.claims)
    if inventory.expired(clock.now()):
        # What the agent deletes from now on is nobody else's doing.
        raise NotApplied("the window ended before it was opened", where=inventory.activation)
    _agree_on_time(cluster)
    inventory = noting(inventory, live) if known is not None else _with_owners(inventory, live)
    stages = _opening_plan(cluster, inventory, live)
    if opening.conflicts.opening == "refuse":
        _refuse_conflicts(stages)
    if inventory != known:
        cluster.write_inventory(inventory)
    _bring_forth(cluster, inventory, stages, clock, force=opening.conflicts.opening == "take")
    if inventory.phase == "open":
        return inventory
    now = clock.now()
    done = inventory.model_copy(
        update={
            "phase": "open",
            "appliedAt": now.replace(microsecond=0),
            "appliedAfterSeconds": round((now - opening.opened_at).total_seconds(), 3),
        }
    )
    cluster.write_inventory(done)
    return done


def _agree_on_time(cluster: Cluster) -> None:
    """An expiry that two clocks read differently is none; https://www.rfc-editor.org/rfc/rfc9110#field.date."""
    skew = cluster.clock_skew()
    if abs(skew) > LARGEST_SKEW:
        ahead = "behind" if skew > timedelta(0) else "ahead of"
        message = f"this machine's clock is {abs(skew).total_seconds():.0f} s {ahead} the API server's; nothing opens"
        raise NotApplied(message, remedy="set the clocks (NTP), then run apply again; closing goes on")


def _with_owners(inventory: Inventory, live: Live) -> Inventory:
    """The inventory with who owned the fields of each object that the baseline has."""
    objects = []
    for item in inventory.objects:
        found = live[item.key]
        former = [] if found is None or item.baseline is None else [dict(entry) for entry in other_entries(found)]
        objects.append(item.model_copy(update={"owners": former}) if former else item)
    return inventory.model_copy(update={"objects": objects})


def _refuse_conflicts(stages: tuple[Stage, ...]) -> None:
    for step in (step for stage in stages for step in stage):
        if step.conflicts:
            theirs = ", ".join(f"{conflict.field} ({conflict.manager})" for conflict in step.conflicts)
            message = f"{step.key}: other field managers own {theirs}, and the policy takes nothing from them"
            raise Refused(message, where=str(step.key), remedy="set spec.conflicts.opening to take, or ask the owner")


def _bring_forth(
    cluster: Cluster, inventory: Inventory, stages: tuple[Stage, ...], clock: Clock, *, force: bool
) -> None:
    """Carry out the opening plan, and plan again until nothing is left: what was written is seen there."""
    for _ in range(ATTEMPTS):
        if not stages:
            return
        moved: Conflict | None = None
        for stage in stages:
            if inventory.expired(clock.now()):
                raise NotApplied("the window ended while it was being opened", where=inventory.activation)
            try:
                _apply(cluster, stage, force=force)
                _delete(cluster, stage, exactly=True)
            except Conflict as error:
                moved = error
                break
        stages = _opening_plan(cluster, inventory, cluster.get(inventory.claims))
    if stages:
        told = "; ".join(sentences(stages).values())
        message = f"not open yet: {told[:500]}" if moved is None else str(moved)
        raise NotApplied(message, where=inventory.activation, remedy="run apply again")


def _opening_plan(cluster: Cluster, inventory: Inventory, live: Live) -> tuple[Stage, ...]:
    doubtful = doubtful_opening(inventory.objects, live)
    return opening_stages(inventory.objects, live, cluster.apply(doubtful, dry_run=True) if doubtful else {})


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


def plan_opening(cluster: Cluster, opening: Opening, known: Inventory | None) -> Plan:
    """What `open_window` would do now; nothing is written."""
    inventory = opening.inventory(known)
    live = cluster.get(inventory.claims)
    foreign: Mapping[str, tuple[ForeignChange, ...]] = {}
    if known is not None and (told := noting(inventory, live).foreign):
        foreign = {inventory.activation: tuple(told)}
    return Plan(opening=_opening_plan(cluster, inventory, live), foreign=foreign)
