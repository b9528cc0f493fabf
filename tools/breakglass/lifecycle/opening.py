"""Opening in one cluster: the inventory first, phase `opening`; then the objects; then phase `open`.

A kill between any two writes leaves what the next run - or the agent alone - converges. One loop: plan, carry the plan
out, read what is there, until there is nothing left to plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from breakglass.lifecycle.foreign import noting
from breakglass.lifecycle.plan import Live, Plan, Stage, doubtful_opening, opening_stages, sentences
from breakglass.lifecycle.write import ATTEMPTS, apply_stage, delete_stage
from breakglass.model.activation import Activation
from breakglass.model.errors import Conflict, NotApplied, Refused
from breakglass.model.inventory import ForeignChange, Inventory, objects_of
from breakglass.model.managed_fields import other_entries
from breakglass.model.manifest import Change
from breakglass.model.policy import Conflicts
from breakglass.ports import Clock, Cluster

WRITER = "writer"
"""Name of the Lease of a cluster's one writer."""
LARGEST_SKEW = timedelta(seconds=10)
"""How far the clocks of this machine and of the API server may differ for an opening; closing does not mind."""


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
        said = ("overlay", "digest", "commit", "requestedBy", "openedAt", "expiry", "conflicts")
        return known.model_copy(update={"objects": objects, **{name: getattr(inventory, name) for name in said}})


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
                apply_stage(cluster, stage, force=force)
                delete_stage(cluster, stage, exactly=True)
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


def plan_opening(cluster: Cluster, opening: Opening, known: Inventory | None) -> Plan:
    """What `open_window` would do now; nothing is written."""
    inventory = opening.inventory(known)
    live = cluster.get(inventory.claims)
    foreign: Mapping[str, tuple[ForeignChange, ...]] = {}
    if known is not None and (told := noting(inventory, live).foreign):
        foreign = {inventory.activation: tuple(told)}
    return Plan(opening=_opening_plan(cluster, inventory, live), foreign=foreign)
