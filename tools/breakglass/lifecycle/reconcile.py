"""Opening and closing in one cluster: what the applier, the agent and the drill share.

Order of writes, so that a kill between any two leaves what the next run - or the agent alone - converges:
closings first; then the inventories of what opens, phase `opening`; then the objects; then phase `open`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from breakglass.lifecycle.proof import differences
from breakglass.model.activation import Activation
from breakglass.model.errors import BreakglassError, NotApplied
from breakglass.model.inventory import Cause, Inventory, objects_of
from breakglass.model.manifest import Change, Manifest, ObjectKey
from breakglass.ports import Clock, Cluster


@dataclass(frozen=True, slots=True)
class Opening:
    """A window that is approved, judged and rendered: all that opening it needs.

    Attributes:
        commit: the merge commit.
        opened_at: its committer time.
        changes: the delta.
    """

    activation: Activation
    commit: str
    opened_at: datetime
    expiry: datetime
    approved_by: tuple[str, ...]
    changes: tuple[Change, ...]

    def inventory(self) -> Inventory:
        """The inventory to write before the first object."""
        spec = self.activation.spec
        return Inventory(
            activation=self.activation.id,
            overlay=spec.overlay,
            digest=spec.digest,
            commit=self.commit,
            requestedBy=spec.requestedBy,
            approvedBy=list(self.approved_by),
            openedAt=self.opened_at,
            expiry=self.expiry,
            phase="opening",
            objects=objects_of(self.changes),
        )


def return_states(closing: Iterable[Inventory], staying: Iterable[Inventory]) -> dict[ObjectKey, Manifest | None]:
    """What closing writes: each object of the closing inventories that no staying one claims, in its baseline state."""
    kept = {key for inventory in staying for key in inventory.claims}
    return {item.key: item.baseline for inventory in closing for item in inventory.objects if item.key not in kept}


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
    problems = _write(cluster, return_states(closing, staying))
    wrong = _proof(cluster, closing, staying)
    proven = [inventory for inventory in closing if not wrong[inventory.activation]]
    closed = tuple(_closed(inventory, causes[inventory.activation], by, clock) for inventory in proven)
    for inventory, before in zip(closed, proven, strict=True):
        if inventory != before:
            cluster.write_inventory(inventory)
    if len(proven) < len(closing):
        open_still = [name for name, sentences in wrong.items() if sentences]
        sentences = [*problems, *(sentence for name in open_still for sentence in wrong[name])]
        message = f"not closed yet: {'; '.join(dict.fromkeys(sentences))}"
        raise NotApplied(message, where=", ".join(open_still), remedy="run apply again; the agent tries as well")
    return closed


def _closed(inventory: Inventory, cause: Cause, by: Literal["applier", "agent"], clock: Clock) -> Inventory:
    if inventory.phase == "closed":
        return inventory
    now = clock.now().replace(microsecond=0)
    return inventory.model_copy(update={"phase": "closed", "closedAt": now, "closedBy": by, "cause": cause})


def _write(cluster: Cluster, targets: Mapping[ObjectKey, Manifest | None]) -> list[str]:
    """Restore before deleting: a default-deny that comes back is safer than an allow that lingers."""
    restored = [manifest for manifest in targets.values() if manifest is not None]
    deleted = [key for key, manifest in targets.items() if manifest is None]
    problems = []
    for write in (
        lambda: cluster.apply(restored),
        lambda: cluster.delete(live for live in cluster.get(deleted).values() if live is not None),
        lambda: cluster.disown({key: () for key, manifest in targets.items() if manifest is not None}),
    ):
        try:
            write()
        except BreakglassError as error:
            problems.append(str(error))
    return problems


def _proof(cluster: Cluster, closing: Iterable[Inventory], staying: Iterable[Inventory]) -> dict[str, list[str]]:
    """Activation id → what keeps it from being closed; nothing is the proof."""
    targets = {inventory.activation: return_states([inventory], staying) for inventory in closing}
    try:
        wrong = differences(cluster, {key: state for states in targets.values() for key, state in states.items()})
    except BreakglassError as error:
        return {name: [f"the baseline cannot be proven: {error}"] for name in targets}
    return {name: [wrong[key] for key in states if key in wrong] for name, states in targets.items()}


def open_window(cluster: Cluster, opening: Opening, known: Inventory | None, clock: Clock) -> Inventory:
    """Open one activation in a cluster, or bring it back to its emergency state.

    Args:
        known: its inventory in the cluster, if there is one.

    Returns:
        Its inventory, phase `open`.

    Raises:
        NotApplied: the window ended meanwhile; nothing more was written.
        Conflict: another writer changed the inventory.
    """
    inventory = opening.inventory()
    if known is not None:
        kept = {"phase": known.phase, "appliedAt": known.appliedAt, "appliedAfterSeconds": known.appliedAfterSeconds}
        inventory = inventory.model_copy(update={**kept, "approvedBy": known.approvedBy})
    if inventory != known:
        cluster.write_inventory(inventory)
    for changes in _in_order(opening.changes):
        if inventory.expired(clock.now()):
            raise NotApplied("the window ended while it was being opened", where=inventory.activation)
        _apply(cluster, changes)
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


def _in_order(changes: tuple[Change, ...]) -> tuple[tuple[Change, ...], ...]:
    """Grants first, removed protections last: a kill in between leaves the tighter state."""
    written = tuple(change for change in changes if change.emergency is not None)
    removed = tuple(change for change in changes if change.emergency is None)
    return tuple(group for group in (written, removed) if group)


def _apply(cluster: Cluster, changes: tuple[Change, ...]) -> None:
    cluster.apply([change.emergency for change in changes if change.emergency is not None])
    gone = cluster.get(change.key for change in changes if change.emergency is None)
    cluster.delete(live for live in gone.values() if live is not None)
