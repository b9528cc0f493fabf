"""Pull mode: follow the repository from inside the cluster and apply what main says, as CI would.

Runs beside the agent's own loop and never in its way: neither git nor the forge holds up a closing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from breakglass.lifecycle.apply import apply
from breakglass.lifecycle.ledger import read_ledger
from breakglass.lifecycle.run import Applier
from breakglass.model.errors import NotApplied
from breakglass.model.ledger import Heartbeat
from breakglass.ports import Clock, Monitor, Report

LONGEST_DRIFT = timedelta(minutes=5)
"""Main is applied again after this though nothing changed: what somebody changed in the cluster is put right."""

State = tuple[str, frozenset[tuple[str, str]]]
"""The commit of main, and the phase of each activation with an inventory."""


@dataclass(slots=True)
class Follower:
    """What follows a repository, and what it saw last.

    Attributes:
        applier: makes the applier of one round, with credentials read afresh and a main that is not fetched yet.
        interval: pause between two rounds.
        applied: what the last round without problems left, and when.
    """

    applier: Callable[[], Applier]
    clock: Clock
    monitor: Monitor
    report: Report
    interval: timedelta
    applied: tuple[State, datetime] | None = None


def follow(follower: Follower) -> NoReturn:
    """Fetch and apply, round after round, for ever; a round that fails is reported, counted and tried again."""
    while True:
        try:
            follow_once(follower)
        except Exception as error:  # noqa: BLE001 - main is followed as long as the process lives
            follower.report(f"not applied, trying again: {error}")
            follower.monitor.failed("apply")
        follower.clock.sleep(follower.interval)


def follow_once(follower: Follower) -> None:
    """Fetch, and apply where main or a window changed, the last round had problems, or `LONGEST_DRIFT` is over.

    Raises:
        NotApplied: the cluster is not as main says; the next round tries again.
        BreakglassError: nothing could be applied at all.
    """
    applier = follower.applier()
    main = applier.main
    main.read()
    follower.monitor.fetched()
    for event in read_ledger(main.repository, main.ledger_branch, "heartbeats").values():
        if isinstance(event, Heartbeat):
            follower.monitor.scheduled(event.job, event.at)
    if not _due(follower, _state(applier)):
        return
    applied = apply(applier)
    if applied.problems:
        raise NotApplied("; ".join(applied.problems))
    follower.applied = _state(applier), follower.clock.now()
    follower.report(f"{applier.name} is as main says at {applied.commit[:12]}")


def _due(follower: Follower, state: State) -> bool:
    if follower.applied is None:
        return True
    before, at = follower.applied
    return state != before or not timedelta(0) <= follower.clock.now() - at < LONGEST_DRIFT


def _state(applier: Applier) -> State:
    inventories = applier.cluster.inventories()
    return applier.main.commit, frozenset((item.activation, item.phase) for item in inventories)
