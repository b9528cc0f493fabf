"""What an apply writes to the ledger: what the inventories say, what was refused, what nobody heard of in time."""

from __future__ import annotations

from collections.abc import Iterable

from breakglass.analysis.lingering import lives_on
from breakglass.lifecycle.rejudge import judged
from breakglass.lifecycle.run import Run, close_by, is_wanted
from breakglass.model.activation import requester_of
from breakglass.model.errors import BreakglassError
from breakglass.model.inventory import Inventory
from breakglass.model.ledger import Closed, Event, Opened, Refusal, describe_findings, evidence_path, paths
from breakglass.model.overlay import contract_for, promises


def record(run: Run) -> None:
    """Write to the ledger what the inventories say, then let go of those that are closed and recorded."""
    inventories = run.cluster.inventories()
    proven = _prove_again(run, inventories)
    try:
        told = run.main.told()
    except BreakglassError as error:
        run.problem(f"the ledger cannot be read, nothing was recorded: {error}")
        return
    events = dict(run.events)
    for inventory in inventories:
        if inventory.phase != "opening":
            _approval_again(run, inventory.activation, told)
            events |= paths(_opened(run, inventory))
        if inventory.activation in proven:
            events |= paths(_closed(run, inventory))
    events |= _evidence(run) | _refusals(run) | _missed(run, {item.activation for item in inventories}, told)
    try:
        if events:
            run.main.record(run.name, events)
    except BreakglassError as error:
        run.problem(f"the cluster is as main says, but the ledger could not be written: {error}")
        return
    for identity in sorted(proven):
        run.cluster.delete_inventory(identity)


def _prove_again(run: Run, inventories: tuple[Inventory, ...]) -> set[str]:
    """Close once more what the agent closed, or what was closed to a baseline that main has moved on from.

    A late write of a dying applier ends here as well.

    Returns:
        Ids of all that are closed and proven; those that are not, or only to a baseline that main has moved on from,
        keep their inventory.
    """
    for inventory in inventories:
        if inventory.phase == "closed" and inventory not in run.applied.closed:
            close_by(run, {inventory.activation: inventory.cause or "expired"}, inventories)
    proven = {inventory.activation for inventory in inventories if inventory in run.applied.closed}
    return proven - run.outdated


def _approval_again(run: Run, identity: str, told: frozenset[str]) -> None:
    """Fetch the evidence once more where the run that opened the window died before it could record it."""
    window = next((window for window in run.main.history if window.id == identity and not window.findings), None)
    if window is None or run.main.proven(identity) is not None or evidence_path(identity) in told:
        return
    try:
        run.main.approval(window)
    except BreakglassError as error:
        run.problem(f"the evidence for {identity} is not recorded yet: {error}")


def _evidence(run: Run) -> dict[str, Event]:
    events: dict[str, Event] = {}
    for window in run.main.history:
        approval = run.main.proven(window.id)
        if approval is not None and approval.evidence is not None and approval.verdict is not None:
            events[evidence_path(window.id)] = approval.evidence
            events |= paths(judged(window.id, window.opened.sha, approval.verdict))
    return events


def _refusals(run: Run) -> dict[str, Event]:
    now = run.applier.clock.now()
    events: dict[str, Event] = {}
    for identity, findings in run.applied.refused.items():
        why = describe_findings(findings)
        events |= paths(Refusal(activation=identity, cluster=run.name, refusedAt=now, findings=why))
    return events


def _missed(run: Run, inventoried: Iterable[str], told: frozenset[str]) -> dict[str, Event]:
    """Windows that ended before this cluster ever heard of them: the ledger says so, and nobody waits for them."""
    now = run.applier.clock.now()
    events: dict[str, Event] = {}
    for window in run.main.history:
        place = f"activations/{window.id}/{run.name}"
        over = window.state(now) not in ("open", "future")
        known = (
            window.id in inventoried
            or window.id in run.applied.refused
            or any(path.startswith(f"{place}/") for path in told)
        )
        if over and not known and is_wanted(window, run.name):
            message = "missed: the window ended before it was applied here"
            events |= paths(Refusal(activation=window.id, cluster=run.name, refusedAt=now, findings=[message]))
    return events


def _opened(run: Run, inventory: Inventory) -> Opened:
    return Opened(
        activation=inventory.activation,
        overlay=inventory.overlay,
        cluster=run.name,
        commit=inventory.commit,
        digest=inventory.digest,
        requestedBy=inventory.requestedBy,
        approvedBy=inventory.approvedBy,
        openedAt=inventory.openedAt,
        appliedAt=inventory.appliedAt or inventory.openedAt,
        appliedAfterSeconds=inventory.appliedAfterSeconds or 0.0,
        expiry=inventory.expiry,
        objects=[str(item.key) for item in inventory.objects],
        opens=_promises(run, inventory.activation),
    )


def _promises(run: Run, identity: str) -> list[str]:
    """What an opening was approved for, in words; nothing where this run did not look at its approval."""
    approval = run.main.proven(identity)
    window = next((window for window in run.main.history if window.id == identity), None)
    if approval is None or window is None or window.activation is None or window.policy is None:
        return []
    requester = requester_of(window.activation, window.policy)
    return promises(contract_for(approval.content.overlay.spec.contract, requester))


def _closed(run: Run, inventory: Inventory) -> Closed:
    at = inventory.closedAt or run.applier.clock.now()
    lasting = [str(each) for each in lives_on(inventory, run.known_baseline())]
    run.applied.lives_on[inventory.activation] = lasting
    return Closed(
        activation=inventory.activation,
        overlay=inventory.overlay,
        cluster=run.name,
        closedAt=at,
        closedBy=inventory.closedBy or "applier",
        cause=inventory.cause or "expired",
        expiry=inventory.expiry,
        lateSeconds=(at - inventory.expiry).total_seconds(),
        baseline="proven",
        foreign=inventory.foreign,
        kept=sorted(map(str, inventory.kept)),
        livesOn=lasting,
        cut=inventory.cut,
    )
