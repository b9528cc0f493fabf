"""The applier: bring one cluster to what main says at one commit, and record what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from breakglass.lifecycle.closing import plan_closing
from breakglass.lifecycle.content import OverlayContent
from breakglass.lifecycle.left_behind import cut_connections, delete_orphans, lost, orphans, sweep_residue, sweeper
from breakglass.lifecycle.opening import Opening, one_writer, open_window, plan_opening
from breakglass.lifecycle.plan import Plan, Step
from breakglass.lifecycle.record import record
from breakglass.lifecycle.render import disagreement, judge_scope
from breakglass.lifecycle.run import Applied, Applier, Run, close_by, is_wanted
from breakglass.lifecycle.sweep import sweep
from breakglass.lifecycle.windows import Window
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, Refused
from breakglass.model.finding import Finding
from breakglass.model.inventory import Cause, Inventory, InventoryObject
from breakglass.model.ledger import closed_path
from breakglass.model.manifest import Change, Manifest, ObjectKey, by_key

WRITER_PATIENCE = timedelta(seconds=45)
"""How long to wait for another applier, or for the Lease of one that died."""


@dataclass(slots=True)
class Planned:
    """What an apply would do now.

    Attributes:
        commit: the commit of main that it would follow; empty where main cannot be read.
        closing: activation id → why it would close.
        opening: activations that would open, or be put right.
        plans: the writes: of all closings first, then of each opening, then of what windows left behind.
        refused: activation id → why it would not open.
        problems: what keeps from planning more.
    """

    commit: str = ""
    closing: dict[str, Cause] = field(default_factory=dict)
    opening: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    refused: dict[str, list[Finding]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def apply(applier: Applier) -> Applied:
    """Reconcile a cluster to main: close what is over, open what is approved, record.

    Expiry is evaluated first and needs only the cluster. A window that cannot be proven approved is refused and
    recorded, and never keeps another from closing.

    Returns:
        What was done; `problems` tell what is not converged yet.

    Raises:
        Unreachable: the cluster does not answer.
    """
    run = Run(applier, Applied())
    _close_expired(run)
    if not _read_main(run):
        return run.applied
    _renew_return_states(run)
    _close_gone(run)
    _open_wanted(run)
    _close_expired(run)
    delete_orphans(run)
    cut_connections(run)
    sweep_residue(run)
    record(run)
    return run.applied


def plan(applier: Applier) -> Planned:
    """What `apply` would do now, by the same judgement and the same planning; nothing is written.

    Raises:
        Unreachable: the cluster does not answer.
    """
    run, planned = Run(applier, Applied()), Planned()
    inventories = applier.cluster.inventories()
    _tell_unreadable(run)
    planned.closing = _expired(run, inventories)
    if _read_main(run):
        planned.closing |= _gone(run, inventories)
    proven_again: dict[str, Cause] = {
        inventory.activation: inventory.cause or "expired" for inventory in inventories if inventory.phase == "closed"
    }
    planned.plans.append(plan_closing(applier.cluster, inventories, planned.closing | proven_again))
    if run.applied.commit:
        _plan_with_main(run, planned, inventories)
    planned.commit, planned.refused, planned.problems = run.applied.commit, run.applied.refused, run.applied.problems
    return planned


def _plan_with_main(run: Run, planned: Planned, inventories: tuple[Inventory, ...]) -> None:
    known = {inventory.activation: inventory for inventory in inventories}
    for window in _wanted_windows(run, known):
        with _telling(run, window):
            opening = _opening(run, window, known)
            if opening is not None:
                planned.opening.append(window.id)
                planned.plans.append(plan_opening(run.cluster, opening, known.get(window.id)))
    try:
        for inventory, cause in lost(run, known):
            planned.closing[inventory.activation] = cause
            planned.plans.append(plan_closing(run.cluster, [*inventories, inventory], {inventory.activation: cause}))
        gone = orphans(run, set(known) | set(planned.closing))
        swept = sweep(sweeper(run, dry_run=True), run.main.told())
        for problem in swept.problems:
            run.problem(problem)
        gone |= run.cluster.get(swept.deleted)
        removed = tuple(Step("removed", key, live, None) for key, live in gone.items() if live is not None)
        planned.plans.append(Plan(closing=(removed,) if removed else ()))
    except BreakglassError as error:
        run.problem(f"what is left behind cannot be planned: {error}")


def apply_all(appliers: Mapping[str, Callable[[], Applier]]) -> dict[str, Applied | BreakglassError]:
    """Reconcile several clusters at once, each in a thread of its own: a dead one delays no other.

    Args:
        appliers: cluster → what gives its applier, which may fail or take its time as well.

    Returns:
        For each cluster what was done, or why nothing could be; in the order given.
    """

    def one(make: Callable[[], Applier]) -> Applied | BreakglassError:
        try:
            return apply(make())
        except BreakglassError as error:
            return error

    with ThreadPoolExecutor(max(1, len(appliers)), thread_name_prefix="apply") as threads:
        return dict(zip(appliers, threads.map(one, appliers.values()), strict=True))


def _read_main(run: Run) -> bool:
    try:
        run.main.read()
    except BreakglassError as error:
        run.problem(f"main cannot be read, nothing was opened: {error}")
        return False
    run.applied.commit = run.main.commit
    return True


def _close_expired(run: Run) -> None:
    inventories = run.cluster.inventories()
    close_by(run, _expired(run, inventories), inventories)
    _tell_unreadable(run)


def _expired(run: Run, inventories: Iterable[Inventory]) -> dict[str, Cause]:
    now = run.applier.clock.now()
    return {
        inventory.activation: "expired"
        for inventory in inventories
        if inventory.phase != "closed" and inventory.expired(now)
    }


def _tell_unreadable(run: Run) -> None:
    for error in run.cluster.unreadable_inventories():
        run.problem(str(error))


def _close_gone(run: Run) -> None:
    inventories = run.cluster.inventories()
    close_by(run, _gone(run, inventories), inventories)


def _gone(run: Run, inventories: Iterable[Inventory]) -> dict[str, Cause]:
    """What main no longer says, or no longer says validly."""
    now = run.applier.clock.now()
    on_main = {window.id: window for window in run.main.windows}
    causes: dict[str, Cause] = {}
    for inventory in inventories:
        window = on_main.get(inventory.activation)
        if inventory.phase == "closed":
            continue
        if window is None:
            causes[inventory.activation] = "closed early"
        elif window.state(now) != "open" or not is_wanted(window, run.name):
            causes[inventory.activation] = "expired" if window.state(now) == "expired" else "refused"
    return causes


def _renew_return_states(run: Run) -> None:
    """Keep what an inventory returns to equal to the baseline of main, also where the baseline moved meanwhile."""
    for inventory in run.cluster.inventories():
        if all(item.baseline is None for item in inventory.objects):
            continue
        try:
            baseline = by_key(run.main.baseline(run.name))
        except BreakglassError as error:
            run.problem(f"the baseline cannot be rendered, the recorded one counts: {error}")
            return
        renewed = [_renewed(item, baseline) for item in inventory.objects]
        if renewed == inventory.objects:
            continue
        try:
            run.cluster.write_inventory(inventory.model_copy(update={"objects": renewed}))
        except BreakglassError as error:
            run.outdated.add(inventory.activation)
            run.problem(f"{inventory.activation} returns to the baseline as recorded: {error}")


def _renewed(item: InventoryObject, baseline: dict[ObjectKey, Manifest]) -> InventoryObject:
    current = baseline.get(item.key)
    if item.baseline is None or current is None or current == item.baseline:
        return item
    return item.model_copy(update={"baseline": dict(current)})


def _open_wanted(run: Run) -> None:
    inventories = {inventory.activation: inventory for inventory in run.cluster.inventories()}
    windows = _wanted_windows(run, inventories)
    if not windows:
        return
    try:
        with one_writer(run.cluster, run.applier.holder, WRITER_PATIENCE):
            for window in windows:
                _open_one(run, window, inventories)
    except BreakglassError as error:
        run.problem(f"{'opening stopped' if run.applied.open else 'nothing was opened'}: {error}")


def _wanted_windows(run: Run, inventories: Mapping[str, Inventory]) -> list[Window]:
    """Windows to open or to put right; what is void or ahead of its time is told."""
    now, found = run.applier.clock.now(), []
    unreadable = tuple(str(error.where) for error in run.cluster.unreadable_inventories())
    for window in run.main.windows:
        known = inventories.get(window.id)
        if not is_wanted(window, run.name) or any(where.endswith(window.id) for where in unreadable):
            continue
        if window.state(now) == "future":
            run.problem(f"{window.id} was merged in the future by this clock; nothing opens before that")
        elif window.state(now) == "void" and known is None:
            run.applied.refused[window.id] = list(window.findings)
        elif window.state(now) == "open" and (known is None or known.phase != "closed"):
            found.append(window)
    return found


def _open_one(run: Run, window: Window, inventories: dict[str, Inventory]) -> None:
    known = inventories.get(window.id)
    with _telling(run, window):
        opening = _opening(run, window, inventories)
        if opening is None:
            return
        inventory = open_window(run.cluster, opening, known, run.applier.clock)
        inventories[window.id] = inventory
        run.applied.open.append(inventory)
        run.applier.report(f"open {window.id} ({inventory.appliedAfterSeconds} s after the merge)")


@contextmanager
def _telling(run: Run, window: Window) -> Iterator[None]:
    """What keeps one window from opening is told, and keeps no other from it; that it ended meanwhile is no problem."""
    try:
        yield
    except (NotApplied, Conflict) as error:
        if window.state(run.applier.clock.now()) == "open":
            run.problem(f"{window.id}: {error}")
        else:
            run.applier.report(f"{window.id} ended meanwhile")
    except Refused as error:
        finding = Finding("opening-refused", error.what, error.where or window.id, error.remedy or "")
        run.applied.refused[window.id] = [finding]


def _opening(run: Run, window: Window, inventories: Mapping[str, Inventory]) -> Opening | None:
    """Judge and render a window; None where it is refused, or was closed here before: an activation opens once.

    What this applier opened before is proven already.
    """
    activation, policy, known = window.activation, window.policy, inventories.get(window.id)
    if activation is None or policy is None or window.expiry is None:
        raise ValueError(f"{window.id} is void")
    approved_by: tuple[str, ...] = tuple(known.approvedBy) if known is not None else ()
    if known is None:
        if closed_path(window.id, run.name) in run.main.told():
            return None
        approval = run.main.approval(window)
        if approval.findings:
            run.applied.refused[window.id] = list(approval.findings)
            return None
        approved_by = tuple(approval.verdict.approved_by) if approval.verdict else ()
    content, changes = run.main.delta(window, run.name)
    findings = _judge_delta(window, content, changes, inventories)
    if known is None:
        findings += run.main.promise(window, run.name)
    if findings:
        run.applied.refused[window.id] = findings
        return None
    at = window.opened
    conflicts = policy.spec.conflicts
    return Opening(activation, at.sha, at.committed_at, window.expiry, approved_by, changes, conflicts)


def _judge_delta(
    window: Window, content: OverlayContent, changes: tuple[Change, ...], inventories: Mapping[str, Inventory]
) -> list[Finding]:
    findings = judge_scope(changes, content.overlay, window.policy) if window.policy is not None else []
    for other in inventories.values():
        clash = (
            None if other.activation == window.id or other.phase == "closed" else disagreement(changes, other.claims)
        )
        if clash is not None:
            message = f"{other.activation} is open and holds {clash} in another state; the two do not commute"
            findings.append(Finding("overlay-overlap", message, str(clash), f"close {other.activation} first"))
    return findings
