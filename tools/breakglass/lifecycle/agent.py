"""The second key: close what has expired by the cluster's own inventories - no git, no forge, no CI.

A window is over by the later of two clocks, this machine's and the API server's: access must end, and a clock that is
behind must not prolong it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Literal, NoReturn

from breakglass.lifecycle.announcement import Announcer, not_closed, record_event, was_closed
from breakglass.lifecycle.closing import close, returning
from breakglass.model.errors import BreakglassError, Conflict, NotApplied
from breakglass.model.inventory import Cause, Inventory
from breakglass.ports import Clock, Cluster, Lease, Monitor, Report

LEASE = "agent"
"""Name of the Lease of the one agent that closes first."""
GRACE = timedelta(seconds=2)
"""How long an agent without the Lease leaves a window that is over to the one that holds it."""
LONGEST_WAIT = timedelta(seconds=60)
"""Guard against a stepped clock and a lost watch; also how often what was closed is proven once more."""
LONGEST_PAUSE = timedelta(seconds=5)
"""Before anything that failed is tried again."""
MOST_PROVEN = 10
"""Closed windows that are proven once more in one go, and only where none ends within `_NEAR`: closing comes first."""
_NEAR = timedelta(seconds=0.5)
_FIRST_PAUSE = timedelta(seconds=0.25)
ELECTION = timedelta(minutes=1)
"""How long one attempt to take the Lease lasts: longer than a holder who died keeps it."""
_HOLDING = timedelta(seconds=1)

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Agent:
    """What an agent works with.

    Attributes:
        cluster: its cluster, through a client that nobody else reads inventories with.
        lease: `LEASE`, as this agent holds it.
        announcer: takes what becomes Events.
        report: takes lines of progress.
    """

    cluster: Cluster
    clock: Clock
    lease: Lease
    announcer: Announcer
    monitor: Monitor
    report: Report


@dataclass(slots=True)
class Setback:
    """What keeps a window from being closed, or from being proven closed.

    Attributes:
        was_open: whether it was open when this began.
        attempts: how often it was tried alone.
        error: why it failed last.
        again: when it is tried again.
    """

    was_open: bool
    attempts: int
    error: Exception
    again: datetime


@dataclass(slots=True)
class Closings:
    """What is over in a cluster, closed one group at a time.

    Windows that end together close together. Where that fails, each of them is tried alone, with growing pauses,
    and only when nothing else is due: one that does not close delays no other by more than one attempt.

    Attributes:
        setbacks: activation id → what keeps it open.
        proven: activation id → when it was last seen closed.
    """

    cluster: Cluster
    clock: Clock
    setbacks: dict[str, Setback] = field(default_factory=dict)
    proven: dict[str, datetime] = field(default_factory=dict)

    def now(self) -> datetime:
        """The time by the later of the two clocks."""
        return self.clock.now() + max(timedelta(0), self.cluster.clock_skew())

    def due(self, inventories: Iterable[Inventory], grace: timedelta) -> tuple[Inventory, ...]:
        """What to close next, together; nothing where all is closed or has to wait.

        Args:
            grace: how long a window that is over is left to another agent.
        """
        every, now = tuple(inventories), self.now()
        over = [item for item in every if item.expired(now - grace) and not self._just_proven(item, now)]
        fresh = [item for item in over if item.activation not in self.setbacks]
        ending = [item for item in fresh if item.phase != "closed"]
        if ending:
            first = min(item.expiry for item in ending)
            return tuple(item for item in ending if item.expiry == first)
        near = any(item.phase != "closed" and timedelta(0) < item.expiry - now < _NEAR for item in every)
        if fresh and not near:
            return tuple(fresh[:MOST_PROVEN])
        failed = [item for item in over if item.activation in self.setbacks]
        tried = [item for item in failed if self._wait(item.activation) <= timedelta(0)]
        return tuple(sorted(tried, key=lambda item: self.setbacks[item.activation].again)[:1])

    def close(self, inventories: Collection[Inventory], due: Collection[Inventory]) -> tuple[Inventory, ...]:
        """Close these, and prove once more what was closed before.

        Args:
            inventories: all of the cluster, as just read.

        Returns:
            Those that this call closed.

        Raises:
            Exception: something is still open; it is a setback of each of `due`, and is tried again.
        """
        causes: dict[str, Cause] = {item.activation: item.cause or "expired" for item in due}
        try:
            closed = close(self.cluster, inventories, causes, by="agent", clock=self.clock)
        except Exception as error:
            for item in due:
                self._set_back(item, error, alone=len(due) == 1)
            raise
        ours = {item.activation for item in due if self._closes_now(item)}
        for item in closed:
            self.setbacks.pop(item.activation, None)
            self.proven[item.activation] = self.now()
        return tuple(item for item in closed if item.activation in ours)

    def forget_all_but(self, inventories: Iterable[Inventory]) -> None:
        """Forget windows that are not in the cluster any more."""
        present = {item.activation for item in inventories}
        self.setbacks = {name: item for name, item in self.setbacks.items() if name in present}
        self.proven = {name: at for name, at in self.proven.items() if name in present}

    def next_wake(self, inventories: Iterable[Inventory], grace: timedelta) -> timedelta:
        """How long there is nothing to do: until the next expiry or attempt, and no longer than `LONGEST_WAIT`."""
        now = self.now()
        waits = [LONGEST_WAIT]
        for item in inventories:
            left = item.expiry - now
            if item.activation in self.setbacks:
                waits.append(max(self._wait(item.activation), left + grace))
            elif item.phase != "closed":
                waits.append(left if left > timedelta(0) else left + grace)
        return max(timedelta(0), min(waits))

    def _just_proven(self, item: Inventory, now: datetime) -> bool:
        at = self.proven.get(item.activation)
        return item.phase == "closed" and at is not None and timedelta(0) <= now - at < LONGEST_WAIT

    def _closes_now(self, item: Inventory) -> bool:
        """Whether this closing is the one that ends the window, be it that a failed one of its group wrote it."""
        before = self.setbacks.get(item.activation)
        return item.phase != "closed" or (before is not None and before.was_open and item.closedBy == "agent")

    def _set_back(self, item: Inventory, error: Exception, *, alone: bool) -> None:
        before = self.setbacks.get(item.activation) or Setback(item.phase != "closed", 0, error, self.clock.now())
        pause = growing_pause(before.attempts + 1) if alone else timedelta(0)
        self.setbacks[item.activation] = replace(
            before, attempts=before.attempts + alone, error=error, again=self.clock.now() + pause
        )

    def _wait(self, name: str) -> timedelta:
        """Until the next attempt; none where no pause is that long: the clock was set back."""
        left = self.setbacks[name].again - self.clock.now()
        return left if left <= LONGEST_PAUSE else timedelta(0)


def growing_pause(failures: int) -> timedelta:
    """Pause after so many failures in a row (one at least): doubled each time, jittered, at most `LONGEST_PAUSE`."""
    longest = min(LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(failures, 10)))
    return longest * _random.uniform(0.5, 1)


def close_expired(cluster: Cluster, clock: Clock) -> tuple[Inventory, ...]:
    """Close every window of the cluster that is over, and prove once more those that were closed before.

    Returns:
        The inventories that this call closed.

    Raises:
        NotApplied: something is still open; call again.
    """
    closings, closed = Closings(cluster, clock), list[Inventory]()
    while True:
        inventories = cluster.inventories()
        due = [item for item in closings.due(inventories, timedelta(0)) if not _tried(closings, item)]
        if not due:
            break
        try:
            closed += closings.close(inventories, due)
        except (NotApplied, Conflict):
            continue
    if closings.setbacks:
        sentences = dict.fromkeys(str(setback.error) for setback in closings.setbacks.values())
        message = f"closed {len(closed)}, still open {len(closings.setbacks)}: {'; '.join(sentences)}"
        raise NotApplied(message, where=", ".join(closings.setbacks), remedy="run it again")
    return tuple(closed)


def close_once(cluster: Cluster, clock: Clock, report: Report) -> tuple[Inventory, ...]:
    """Do as `close_expired`, and record Events about it afterwards; one that fails is reported."""
    before = cluster.inventories()
    closed = close_expired(cluster, clock)
    ended = {item.activation for item in closed}
    staying = [item for item in before if item.activation not in ended and item.phase != "closed"]
    for item in closed:
        for notice in was_closed(item, [each.key for each in returning([item], staying)]):
            record_event(cluster, notice, report)
    return closed


def _tried(closings: Closings, item: Inventory) -> bool:
    setback = closings.setbacks.get(item.activation)
    return setback is not None and setback.attempts > 0


def run(agent: Agent) -> NoReturn:
    """Close what expires, when it expires, for ever; whatever fails is told and tried again.

    There is no polling for time: between two turns it waits for a change of an inventory, and no longer than until
    the next expiry. `LONGEST_WAIT` bounds that wait only because a clock may be stepped and a watch lost.
    """
    closings, failures = Closings(agent.cluster, agent.clock), 0
    while True:
        try:
            turn(agent, closings)
            failures = 0
        except Exception as error:  # noqa: BLE001 - not even a fault of our own may keep windows open
            failures += 1
            _tell(agent, "turn", f"trying again: {error}")
            agent.clock.sleep(growing_pause(failures))
        finally:
            agent.monitor.alive()


def turn(agent: Agent, closings: Closings) -> None:
    """Read all inventories, close what is due next, and wait where nothing is.

    Raises:
        BreakglassError: the cluster does not answer.
    """
    grace = timedelta(0) if agent.lease.held() else GRACE
    inventories = agent.cluster.inventories()
    closings.forget_all_but(inventories)
    _look(agent, inventories)
    due = closings.due(inventories, grace)
    if not due:
        agent.monitor.alive()
        agent.cluster.await_change(closings.next_wake(inventories, grace))
        return
    try:
        closed = closings.close(inventories, due)
    except Exception as error:  # noqa: BLE001 - a fault of our own in one window must not keep another open
        _tell(agent, "closing", f"not closed, trying again: {error}")
        agent.announcer.announce(
            notice for item in due for notice in not_closed(item, closings.setbacks[item.activation].attempts, error)
        )
        return
    over = {item.activation for item in due}
    staying = [item for item in inventories if item.activation not in over and item.phase != "closed"]
    for item in closed:
        agent.monitor.closed(closings.now() - item.expiry)
        agent.report(f"closed {item.activation} ({item.cause})")
        agent.announcer.announce(was_closed(item, [each.key for each in returning([item], staying)]))


def _look(agent: Agent, inventories: Iterable[Inventory]) -> None:
    unreadable = agent.cluster.unreadable_inventories()
    for error in unreadable:
        agent.report(f"cannot be closed from here: {error}")
    ends = [item.expiry for item in inventories if item.phase != "closed"]
    agent.monitor.looked(ends=ends, unreadable=len(unreadable))


def _tell(agent: Agent, what: Literal["turn", "closing", "lease"], line: str) -> None:
    agent.report(line)
    agent.monitor.failed(what)


def campaign(agent: Agent) -> NoReturn:
    """Take the Lease, and take it again whenever it was lost, for ever. No closing waits for this (law 2)."""
    failures = 0
    while True:
        try:
            if not agent.lease.held():
                agent.lease.acquire(ELECTION)
                agent.report("this agent closes first")
            failures, pause = 0, _HOLDING
        except Conflict:
            pause = _HOLDING
        except BreakglassError as error:
            failures += 1
            _tell(agent, "lease", f"standing by without a Lease: {error}")
            pause = growing_pause(failures)
        agent.monitor.leads(agent.lease.held())
        agent.clock.sleep(pause)
