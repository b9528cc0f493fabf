"""The applier: bring one cluster to what main says at one commit, and record what was done."""

from __future__ import annotations

from dataclasses import dataclass, field

from breakglass.lifecycle import ledger
from breakglass.lifecycle.approval import Approval, approval_of
from breakglass.lifecycle.content import OverlayContent, read_overlay, read_policy
from breakglass.lifecycle.reconcile import Opening, close, open_window
from breakglass.lifecycle.render import disagreement, judge_scope, layered, render_baseline, render_delta
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, NotFound, Refused
from breakglass.model.finding import Finding
from breakglass.model.inventory import Cause, Inventory, InventoryObject
from breakglass.model.ledger import Closed, Event, Opened, Refusal, closed_path, describe_findings, evidence_path, paths
from breakglass.model.manifest import Change, Manifest, ObjectKey, by_key
from breakglass.model.overlay import promises
from breakglass.ports import Clock, Cluster, Forge, Renderer, Report, Repository


@dataclass(frozen=True, slots=True)
class Applier:
    """What an apply works with.

    Attributes:
        name: the cluster's name in the policy.
        branch: the default branch.
        ledger_branch: the ledger branch.
        report: takes lines of progress.
    """

    name: str
    cluster: Cluster
    repository: Repository
    forge: Forge
    renderer: Renderer
    clock: Clock
    branch: str
    ledger_branch: str
    report: Report


@dataclass(slots=True)
class Applied:
    """What one run did.

    Attributes:
        commit: the commit of main that the cluster follows now; empty where main could not be read.
        open: windows that are open in the cluster now.
        closed: windows closed by this run, or before it and recorded by it.
        refused: activation id → why it was not opened.
        problems: what is not converged; the next run does it again.
    """

    commit: str = ""
    open: list[Inventory] = field(default_factory=list)
    closed: list[Inventory] = field(default_factory=list)
    refused: dict[str, list[Finding]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """State of one run: what main says, rendered once, and the approvals that were proven."""

    applier: Applier
    applied: Applied
    history: tuple[Window, ...] = ()
    windows: tuple[Window, ...] = ()
    baseline: tuple[Manifest, ...] | None = None
    approvals: dict[str, Approval] = field(default_factory=dict)

    def rendered_baseline(self) -> tuple[Manifest, ...]:
        """The cluster's baseline at the commit, rendered at most once.

        Raises:
            Refused: it cannot be rendered.
        """
        if self.baseline is None:
            applier, commit = self.applier, self.applied.commit
            settings = read_policy(applier.repository, commit).spec.clusters.get(applier.name)
            if settings is None:
                raise NotFound(f"the policy knows no cluster {applier.name}", remedy="add it to breakglass.yaml")
            self.baseline = render_baseline(applier.repository, applier.renderer, commit, settings.baseline)
        return self.baseline


def apply(applier: Applier) -> Applied:
    """Reconcile a cluster to main: close what is over, open what is approved, record.

    Expiry is evaluated first and needs only the cluster. A window that cannot be proven approved is refused and
    recorded, and never keeps another from closing.

    Returns:
        What was done; `problems` tell what is not converged yet.

    Raises:
        Unreachable: the cluster does not answer.
    """
    run = _Run(applier, Applied())
    _close_expired(run)
    try:
        applier.repository.fetch()
        tip = applier.repository.tip(applier.branch)
        if tip is None:
            raise NotFound(
                f"the remote has no branch {applier.branch}", remedy="correct forge.defaultBranch in the policy"
            )
        run.applied.commit = tip
        run.history = all_windows(applier.repository, tip)
        run.windows = tuple(window for window in run.history if window.closed is None)
    except BreakglassError as error:
        run.applied.problems.append(f"main cannot be read, nothing was opened: {error}")
        return run.applied
    _renew_return_states(run)
    _close_gone(run)
    _open_wanted(run)
    _close_expired(run)
    _record(run)
    return run.applied


def _close_expired(run: _Run) -> None:
    now = run.applier.clock.now()
    inventories = run.applier.cluster.inventories()
    over = [inventory for inventory in inventories if inventory.phase != "closed" and inventory.expired(now)]
    _close(run, {inventory.activation: "expired" for inventory in over}, inventories)
    unreadable = [str(error) for error in run.applier.cluster.unreadable_inventories()]
    run.applied.problems += [problem for problem in unreadable if problem not in run.applied.problems]


def _close_gone(run: _Run) -> None:
    """Close what main no longer says, or no longer says validly."""
    now = run.applier.clock.now()
    on_main = {window.id: window for window in run.windows}
    inventories = run.applier.cluster.inventories()
    causes: dict[str, Cause] = {}
    for inventory in inventories:
        window = on_main.get(inventory.activation)
        if inventory.phase == "closed":
            continue
        if window is None:
            causes[inventory.activation] = "closed early"
        elif window.state(now) != "open" or not _wanted(window, run.applier.name):
            causes[inventory.activation] = "expired" if window.state(now) == "expired" else "refused"
    _close(run, causes, inventories)


def _close(run: _Run, causes: dict[str, Cause], inventories: tuple[Inventory, ...]) -> None:
    try:
        closed = close(run.applier.cluster, inventories, causes, by="applier", clock=run.applier.clock)
    except (NotApplied, Conflict) as error:
        run.applied.problems.append(str(error))
        return
    for inventory in closed:
        run.applier.report(f"closed {inventory.activation} ({inventory.cause})")
    again = {inventory.activation for inventory in closed}
    run.applied.closed = [item for item in run.applied.closed if item.activation not in again] + list(closed)


def _renew_return_states(run: _Run) -> None:
    """Keep what an inventory returns to equal to the baseline of main, also where the baseline moved meanwhile."""
    for inventory in run.applier.cluster.inventories():
        if all(item.baseline is None for item in inventory.objects):
            continue
        try:
            baseline = by_key(run.rendered_baseline())
        except BreakglassError as error:
            run.applied.problems.append(f"the baseline cannot be rendered, the recorded one counts: {error}")
            return
        renewed = [_renewed(item, baseline) for item in inventory.objects]
        if renewed != inventory.objects:
            run.applier.cluster.write_inventory(inventory.model_copy(update={"objects": renewed}))


def _renewed(item: InventoryObject, baseline: dict[ObjectKey, Manifest]) -> InventoryObject:
    current = baseline.get(item.key)
    if item.baseline is None or current is None or current == item.baseline:
        return item
    return item.model_copy(update={"baseline": dict(current)})


def _wanted(window: Window, cluster: str) -> bool:
    return window.activation is not None and cluster in window.activation.spec.clusters


def _open_wanted(run: _Run) -> None:
    now = run.applier.clock.now()
    inventories = {inventory.activation: inventory for inventory in run.applier.cluster.inventories()}
    for window in run.windows:
        if not _wanted(window, run.applier.name):
            continue
        if window.state(now) == "future":
            run.applied.problems.append(
                f"{window.id} was merged in the future by this clock; nothing opens before that"
            )
        elif window.state(now) == "void" and window.id not in inventories:
            run.applied.refused[window.id] = list(window.findings)
        elif window.state(now) == "open":
            _open_one(run, window, inventories)


def _open_one(run: _Run, window: Window, inventories: dict[str, Inventory]) -> None:
    known = inventories.get(window.id)
    if known is not None and known.phase == "closed":
        return
    try:
        opening = (
            None if known is None and _closed_before(run, window.id) else _opening(run, window, known, inventories)
        )
        if opening is None:
            return
        inventory = open_window(run.applier.cluster, opening, known, run.applier.clock)
    except (NotApplied, Conflict) as error:
        run.applied.problems.append(f"{window.id}: {error}")
    except Refused as error:
        finding = Finding("opening-refused", error.what, error.where or window.id, error.remedy or "")
        run.applied.refused[window.id] = [finding]
    else:
        inventories[window.id] = inventory
        run.applied.open.append(inventory)
        run.applier.report(f"open {window.id} ({inventory.appliedAfterSeconds} s after the merge)")


def _closed_before(run: _Run, identity: str) -> bool:
    """Whether the ledger tells it closed here: an activation opens once, also where an agent's clock runs ahead."""
    tip = run.applier.repository.tip(run.applier.ledger_branch)
    path = closed_path(identity, run.applier.name)
    return tip is not None and path in run.applier.repository.files(tip, path)


def _opening(run: _Run, window: Window, known: Inventory | None, inventories: dict[str, Inventory]) -> Opening | None:
    """Judge and render a window; None where it is refused. What this applier opened before is proven already."""
    activation = window.activation
    if activation is None or window.expiry is None:
        raise ValueError(f"{window.id} is void")
    if known is None:
        approval = approval_of(run.applier.repository, run.applier.forge, window)
        run.approvals[window.id] = approval
        if approval.findings:
            run.applied.refused[window.id] = list(approval.findings)
            return None
        content, approved_by = approval.content, approval.verdict.approved_by if approval.verdict else ()
    else:
        content = read_overlay(run.applier.repository, window.opened.sha, activation.spec.overlay)
        approved_by = tuple(known.approvedBy)
    changes = render_delta(
        run.applier.renderer, activation, content, run.rendered_baseline() if layered(content) else None
    )
    findings = _judge_delta(window, content, changes, inventories)
    if findings:
        run.applied.refused[window.id] = findings
        return None
    return Opening(activation, window.opened.sha, window.opened.committed_at, window.expiry, approved_by, changes)


def _judge_delta(
    window: Window, content: OverlayContent, changes: tuple[Change, ...], inventories: dict[str, Inventory]
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


def _record(run: _Run) -> None:
    """Write to the ledger what the inventories say, then let go of those that are closed and recorded."""
    events: dict[str, Event] = {}
    inventories = run.applier.cluster.inventories()
    proven = _prove_again(run, inventories)
    try:
        told = _told(run)
    except BreakglassError as error:
        run.applied.problems.append(f"the ledger cannot be read, nothing was recorded: {error}")
        return
    for inventory in inventories:
        if inventory.phase != "opening":
            _approval_again(run, inventory.activation, told)
            events |= paths(_opened(run, inventory))
        if inventory.activation in proven:
            events |= paths(_closed(run, inventory))
    events |= {
        evidence_path(identity): approval.evidence
        for identity, approval in run.approvals.items()
        if approval.evidence is not None
    }
    events |= _refusals(run) | _missed(run, {inventory.activation for inventory in inventories}, told)
    try:
        if events:
            ledger.append(run.applier.repository, run.applier.ledger_branch, events, f"apply on {run.applier.name}")
    except BreakglassError as error:
        run.applied.problems.append(f"the cluster is as main says, but the ledger could not be written: {error}")
        return
    for identity in sorted(proven):
        run.applier.cluster.delete_inventory(identity)


def _told(run: _Run) -> frozenset[str]:
    """Paths that the ledger holds already."""
    tip = run.applier.repository.tip(run.applier.ledger_branch)
    return frozenset(run.applier.repository.files(tip, "activations")) if tip is not None else frozenset()


def _approval_again(run: _Run, identity: str, told: frozenset[str]) -> None:
    """Fetch the evidence once more where the run that opened the window died before it could record it."""
    window = next((window for window in run.history if window.id == identity and not window.findings), None)
    if window is None or identity in run.approvals or evidence_path(identity) in told:
        return
    try:
        run.approvals[identity] = approval_of(run.applier.repository, run.applier.forge, window)
    except BreakglassError as error:
        run.applied.problems.append(f"the evidence for {identity} is not recorded yet: {error}")


def _refusals(run: _Run) -> dict[str, Event]:
    now = run.applier.clock.now()
    events: dict[str, Event] = {}
    for identity, findings in run.applied.refused.items():
        why = describe_findings(findings)
        events |= paths(Refusal(activation=identity, cluster=run.applier.name, refusedAt=now, findings=why))
    return events


def _missed(run: _Run, inventoried: set[str], told: frozenset[str]) -> dict[str, Event]:
    """Windows that ended before this cluster ever heard of them: the ledger says so, and nobody waits for them."""
    applier = run.applier
    now = applier.clock.now()
    events: dict[str, Event] = {}
    for window in run.history:
        place = f"activations/{window.id}/{applier.name}"
        over = window.state(now) not in ("open", "future")
        known = (
            window.id in inventoried
            or window.id in run.applied.refused
            or any(path.startswith(f"{place}/") for path in told)
        )
        if over and not known and _wanted(window, applier.name):
            message = "missed: the window ended before it was applied here"
            events |= paths(Refusal(activation=window.id, cluster=applier.name, refusedAt=now, findings=[message]))
    return events


def _prove_again(run: _Run, inventories: tuple[Inventory, ...]) -> set[str]:
    """Close once more what the agent closed, or what was closed to a baseline that main has moved on from.

    A late write of a dying applier ends here as well.

    Returns:
        Ids of all that are closed and proven; those that are not keep their inventory.
    """
    for inventory in inventories:
        if inventory.phase == "closed" and inventory not in run.applied.closed:
            _close(run, {inventory.activation: inventory.cause or "expired"}, inventories)
    return {inventory.activation for inventory in inventories if inventory in run.applied.closed}


def _opened(run: _Run, inventory: Inventory) -> Opened:
    approval = run.approvals.get(inventory.activation)
    return Opened(
        activation=inventory.activation,
        overlay=inventory.overlay,
        cluster=run.applier.name,
        commit=inventory.commit,
        digest=inventory.digest,
        requestedBy=inventory.requestedBy,
        approvedBy=inventory.approvedBy,
        openedAt=inventory.openedAt,
        appliedAt=inventory.appliedAt or inventory.openedAt,
        appliedAfterSeconds=inventory.appliedAfterSeconds or 0.0,
        expiry=inventory.expiry,
        objects=[str(item.key) for item in inventory.objects],
        opens=promises(approval.content.overlay.spec.contract) if approval is not None else [],
    )


def _closed(run: _Run, inventory: Inventory) -> Closed:
    at = inventory.closedAt or run.applier.clock.now()
    return Closed(
        activation=inventory.activation,
        overlay=inventory.overlay,
        cluster=run.applier.name,
        closedAt=at,
        closedBy=inventory.closedBy or "applier",
        cause=inventory.cause or "expired",
        expiry=inventory.expiry,
        lateSeconds=(at - inventory.expiry).total_seconds(),
        baseline="proven",
    )
