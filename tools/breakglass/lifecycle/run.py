"""One run of the applier on one cluster: what it works with, and what it has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from breakglass.lifecycle.main import Main
from breakglass.lifecycle.reconcile import close
from breakglass.lifecycle.windows import Window
from breakglass.model.errors import Conflict, NotApplied
from breakglass.model.finding import Finding
from breakglass.model.inventory import Cause, Inventory
from breakglass.ports import Clock, Cluster, Report


@dataclass(frozen=True, slots=True)
class Applier:
    """What an apply works with.

    Attributes:
        name: the cluster's name in the policy.
        holder: who this is, in the Lease of the cluster's one writer.
        report: takes lines of progress.
    """

    name: str
    cluster: Cluster
    main: Main
    clock: Clock
    holder: str
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
class Run:
    """One run of an applier, and what it has done so far."""

    applier: Applier
    applied: Applied

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
    for inventory in closed:
        run.applier.report(f"closed {inventory.activation} ({inventory.cause})")
    again = {inventory.activation for inventory in closed}
    run.applied.closed = [item for item in run.applied.closed if item.activation not in again] + list(closed)


def is_wanted(window: Window, cluster: str) -> bool:
    """Whether a window's activation names a cluster."""
    return window.activation is not None and cluster in window.activation.spec.clusters
