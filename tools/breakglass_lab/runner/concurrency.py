"""GitHub's concurrency rules: one running and one pending run or job a group.

https://docs.github.com/en/actions/how-tos/write-workflows/choose-when-workflows-run/control-workflow-concurrency
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True)
class Concurrency:
    """The key `concurrency`, evaluated: `keep_pending` is `queue: max`. Letter case of a group does not count."""

    group: str
    cancel_in_progress: bool = False
    keep_pending: bool = False


class Entrant(Protocol):
    """What wants to run; with `concurrency` None it always may."""

    @property
    def concurrency(self) -> Concurrency | None:
        """The group it belongs to."""


T = TypeVar("T", bound=Entrant)


@dataclass(frozen=True)
class Entry(Generic[T]):
    """What follows from one that enters: it `starts` or not, pending ones are cancelled, a running one is stopped."""

    starts: bool
    cancelled: tuple[T, ...] = ()
    stopped: T | None = None


class Groups(Generic[T]):
    """Who runs and who waits, group by group. Callers keep it to one thread at a time."""

    def __init__(self) -> None:
        self._running: dict[str, T] = {}
        self._pending: defaultdict[str, deque[T]] = defaultdict(deque)

    def enter(self, entrant: T) -> Entry[T]:
        """Let one in: it runs, or it waits and may push out those that waited before it."""
        concurrency = entrant.concurrency
        if concurrency is None:
            return Entry(starts=True)
        group = concurrency.group.casefold()
        running = self._running.setdefault(group, entrant)
        if running is entrant:
            return Entry(starts=True)
        pending = self._pending[group]
        cancelled = () if concurrency.keep_pending else tuple(pending)
        if cancelled:
            pending.clear()
        pending.append(entrant)
        return Entry(starts=False, cancelled=cancelled, stopped=running if concurrency.cancel_in_progress else None)

    def leave(self, entrant: T) -> T | None:
        """Let a running one out; return the one that runs now in its place, or None."""
        if entrant.concurrency is None:
            return None
        group = entrant.concurrency.group.casefold()
        del self._running[group]
        if not self._pending[group]:
            return None
        following = self._pending[group].popleft()
        self._running[group] = following
        return following
