"""One run of the applier on one cluster: what it works with, and what it has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from breakglass.lifecycle.closing import close
from breakglass.lifecycle.main import Main
from breakglass.lifecycle.windows import Window
from breakglass.model.errors import BreakglassError, Conflict, NotApplied
from breakglass.model.finding import Finding
from breakglass.model.inventory import Cause, Inventory
from breakglass.model.ledger import Event
from breakglass.model.manifest import Manifest
from breakglass.ports import Clock, Cluster, Report


@dataclass(frozen=True, slots=True)
class Applier:
    """What an apply works with.

    Attributes:
        name: the cluster's name in the policy.
        holder: who this is, in the Lease of the cluster's one writer.
        report: takes lines of progress.
        cut: evict, after a closing, the pods whose connections may have begun in the window.
    """

    name: str
    cluster: Cluster
    main: Main
    clock: Clock
    holder: str
    report: Report
    cut: bool = False


@dataclass(slots=True)
class Applied:
    """What one run did.

    Attributes:
        commit: the commit of main that the cluster follows now; empty where main could not be read.
        open: windows that are open in the cluster now.
        closed: windows closed by this run, or before it and recorded by it.
        lives_on: id of a closed window → what outlives its closing, and until when, in words.
        refused: activation id → why it was not opened.
        problems: what is not converged; the next run does it again.
    """

    commit: str = ""
    open: list[Inventory] = field(default_factory=list)
    closed: list[Inventory] = field(default_factory=list)
    lives_on: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, list[Finding]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """One run of an applier, and what it has done so far.

    Attributes:
        ended: ids of the windows that this run ended.
        outdated: ids of the windows whose inventory could not be brought to the baseline of main.
        events: path on the ledger → what this run adds besides what the inventories say.
    """

    applier: Applier
    applied: Applied
    ended: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    events: dict[str, Event] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.applier.name

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.applier.cluster

    @property
    def main(self) -> Main:
        """What main says."""
        return self.applier.main

    def known_baseline(self) -> tuple[Manifest, ...]:
        """The cluster's baseline, or nothing where it cannot be rendered now."""
        try:
            return self.main.baseline(self.name)
        except BreakglassError:
            return ()

    def problem(self, sentence: str) -> None:
        """Tell, once, what is not converged."""
        if sentence not in self.applied.problems:
            self.applied.problems.append(sentence)


def close_by(run: Run, causes: Mapping[str, Cause], inventories: tuple[Inventory, ...]) -> None:
    """Close activations; what does not close is a problem of the run."""
    try:
        closed = close(run.cluster, inventories, causes, by="applier", clock=run.applier.clock)
    except (NotApplied, Conflict) as error:
        run.problem(str(error))
        return
    open_before = {inventory.activation for inventory in inventories if inventory.phase != "closed"}
    for inventory in closed:
        run.applier.report(f"closed {inventory.activation} ({inventory.cause})")
        run.ended |= {inventory.activation} & open_before
    again = {inventory.activation for inventory in closed}
    run.applied.closed = [item for item in run.applied.closed if item.activation not in again] + list(closed)


def is_wanted(window: Window, cluster: str) -> bool:
    """Whether a window's activation names a cluster."""
    return window.activation is not None and cluster in window.activation.spec.clusters
