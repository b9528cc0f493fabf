"""What a window left behind in a cluster: objects without an inventory, residue that main lists, connections."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from breakglass.lifecycle.cut import cut_off
from breakglass.lifecycle.opening import Opening
from breakglass.lifecycle.run import Run, close_by
from breakglass.lifecycle.sweep import Sweeper, sweep
from breakglass.model.errors import BreakglassError
from breakglass.model.inventory import Cause, Inventory
from breakglass.model.ledger import closed_path, opened_path
from breakglass.model.manifest import Manifest, ObjectKey


def delete_orphans(run: Run) -> None:
    """End what was opened and whose inventory is lost: rebuilt from git where the ledger tells it, else by label."""
    try:
        _rebuild_lost(run)
        gone = orphans(run, {inventory.activation for inventory in run.cluster.inventories()})
        run.cluster.delete(live for live in gone.values() if live is not None)
        for key in gone:
            run.applier.report(f"deleted {key}, which an activation left without an inventory")
    except BreakglassError as error:
        run.problem(f"what is left without an inventory: {error}")


def orphans(run: Run, held: set[str]) -> dict[ObjectKey, Manifest | None]:
    """Live objects with the label of an activation that has no inventory.

    Args:
        held: ids of the activations that have one.
    """
    if run.cluster.unreadable_inventories():
        return {}
    found: dict[ObjectKey, str] = {}
    for namespace, kinds in run.main.scopes(run.name).items():
        found |= run.cluster.labelled(sorted(kinds), [namespace])
    return dict(run.cluster.get(key for key, identity in found.items() if identity not in held))


def cut_connections(run: Run) -> None:
    """Evict what may hold connections that began in the windows which this run ended, where the applier is to cut."""
    for number, inventory in enumerate(run.applied.closed):
        if run.applier.cut and inventory.activation in run.ended:
            try:
                run.applied.closed[number] = cut_off(run.cluster, inventory, run.known_baseline(), run.applier.report)
            except BreakglassError as error:
                run.problem(f"what was cut off is not recorded: {error}")


def sweep_residue(run: Run) -> None:
    """Delete the residue that main lists."""
    try:
        swept = sweep(sweeper(run), run.main.told())
    except BreakglassError as error:
        run.problem(f"residue is not swept: {error}")
        return
    for problem in swept.problems:
        run.problem(problem)
    run.events |= swept.events


def sweeper(run: Run, *, dry_run: bool = False) -> Sweeper:
    """What a sweep of the run's cluster works with."""
    return Sweeper(
        name=run.name,
        cluster=run.cluster,
        repository=run.main.repository,
        clock=run.applier.clock,
        commit=run.main.commit,
        history=run.main.history,
        baseline=lambda: run.main.baseline(run.name),
        report=run.applier.report,
        dry_run=dry_run,
    )


def _rebuild_lost(run: Run) -> None:
    known = {inventory.activation for inventory in run.cluster.inventories()}
    for inventory, cause in lost(run, known):
        # One that cannot be read stands in the way of a new one, and closes nothing.
        run.cluster.delete_inventory(inventory.activation)
        run.cluster.write_inventory(inventory)
        run.applier.report(f"the inventory of {inventory.activation} was lost; rebuilt from git to close it")
        close_by(run, {inventory.activation: cause}, run.cluster.inventories())


def lost(run: Run, known: Collection[str]) -> Iterator[tuple[Inventory, Cause]]:
    """Inventories, made of git, of what the ledger tells open, what is over, and whose own is deleted or unreadable.

    Args:
        known: ids of the activations whose inventory can be read.
    """
    now, told = run.applier.clock.now(), run.main.told()
    for window in run.main.history:
        opened, closed = (path(window.id, run.name) in told for path in (opened_path, closed_path))
        activation, end = window.activation, window.expiry
        over = window.closed is not None or (end is not None and now >= end)
        if not (opened and over) or closed or window.id in known or activation is None or end is None:
            continue
        _, changes = run.main.delta(window, run.name)
        opening = Opening(activation, window.opened.sha, window.opened.committed_at, end, (), changes)
        yield opening.inventory(), "expired" if now >= end else "closed early"
