"""History answers: from a clone alone, who could reach what, when, and who said so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from breakglass.lifecycle.ledger import read_ledger
from breakglass.lifecycle.windows import State, Window, all_windows
from breakglass.model.activation import Activation
from breakglass.model.errors import NotFound
from breakglass.model.evidence import Evidence
from breakglass.model.ledger import Closed, Event, Opened, Refusal, evidence_path
from breakglass.ports import Repository


@dataclass(frozen=True, slots=True)
class Story:
    """One activation and all that became of it.

    Attributes:
        window: what main says.
        evidence: what the approval stood on; None where none was recorded.
        opened: cluster → when and what was opened there.
        closed: cluster → when and how it was closed there.
        refused: cluster → why it was not opened there.
    """

    window: Window
    evidence: Evidence | None
    opened: dict[str, Opened]
    closed: dict[str, Closed]
    refused: dict[str, Refusal]

    @property
    def approved_by(self) -> tuple[str, ...]:
        """Who approved, as the applier counted."""
        return tuple(next((event.approvedBy for event in self.opened.values()), []))

    def open_at(self, time: datetime) -> tuple[str, ...]:
        """Clusters in which this was open at a time: from its first object to its closing."""
        return tuple(
            cluster
            for cluster, event in self.opened.items()
            if event.openedAt <= time and (cluster not in self.closed or time < self.closed[cluster].closedAt)
        )


def stories(repository: Repository, branch: str, ledger_branch: str) -> tuple[Story, ...]:
    """Every activation that ever reached main, oldest first, joined with the ledger.

    Raises:
        NotFound: the clone has no such branch.
        InvalidFile: the ledger holds what is no event.
    """
    tip = repository.tip(branch)
    if tip is None:
        raise NotFound(f"this clone has no branch {branch} of the remote", remedy="run `git fetch` first")
    events = read_ledger(repository, ledger_branch, "activations")
    return tuple(_story(window, events) for window in all_windows(repository, tip))


def story(repository: Repository, branch: str, ledger_branch: str, activation_id: str) -> Story:
    """One activation's story.

    Raises:
        NotFound: it never reached main.
    """
    for found in stories(repository, branch, ledger_branch):
        if found.window.id == activation_id:
            return found
    raise NotFound(f"no activation {activation_id[:80]!r} ever reached {branch}", remedy="see `breakglass audit log`")


def _story(window: Window, events: dict[str, Event]) -> Story:
    evidence = events.get(evidence_path(window.id))
    clusters = window.activation.spec.clusters if window.activation is not None else []
    opened: dict[str, Opened] = {}
    closed: dict[str, Closed] = {}
    refused: dict[str, Refusal] = {}
    for cluster in clusters:
        for name in ("opened", "closed", "refused"):
            match events.get(f"activations/{window.id}/{cluster}/{name}.json"):
                case Opened() as event:
                    opened[cluster] = event
                case Closed() as event:
                    closed[cluster] = event
                case Refusal() as event:
                    refused[cluster] = event
    return Story(window, evidence if isinstance(evidence, Evidence) else None, opened, closed, refused)


Condition = Literal["open", "pending", "late", "closed", "refused"]


@dataclass(frozen=True, slots=True)
class Status:
    """An activation in one cluster, now.

    Attributes:
        condition: `pending` until the ledger tells it open, `late` from its end until the ledger tells it closed.
    """

    story: Story
    activation: Activation
    cluster: str
    condition: Condition


def status(told: tuple[Story, ...], now: datetime) -> tuple[Status, ...]:
    """What is open, where, and what is late; closed ones are included, for the caller to leave out."""
    return tuple(
        Status(item, activation, cluster, _condition(item, cluster, item.window.state(now)))
        for item in told
        if (activation := item.window.activation) is not None
        for cluster in activation.spec.clusters
    )


def _condition(told: Story, cluster: str, state: State) -> Condition:
    if cluster in told.closed:
        return "closed"
    if cluster in told.opened:
        return "open" if state == "open" else "late"
    if cluster in told.refused or state == "void":
        return "refused"
    return "pending" if state in ("open", "future") else "late"
