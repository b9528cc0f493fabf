"""Kubernetes Events about closings: told beside the closing, never in its way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import NoReturn

from breakglass.model.errors import BreakglassError
from breakglass.model.inventory import NAMESPACE, Inventory
from breakglass.model.manifest import ObjectKey
from breakglass.ports import Cluster, Monitor, Report

MOST_OBJECTS = 50
"""Events about objects in one closing; one more Event tells how many objects there are beyond."""
_MOST_WAITING = 2000
_LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to become an Event; see `Cluster.record_event`."""

    about: ObjectKey
    reason: str
    note: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Announcer:
    """Takes notices at once and records them as Events later, in the thread that calls `announce_all` or `run`.

    A notice that finds no room or fails is reported, counted and left out.
    """

    cluster: Cluster
    monitor: Monitor
    report: Report
    waiting: Queue[Notice] = field(default_factory=lambda: Queue(_MOST_WAITING))

    def announce(self, notices: Iterable[Notice]) -> None:
        """Take notices; never waits."""
        for notice in notices:
            try:
                self.waiting.put_nowait(notice)
            except Full:
                self.report(f"no Event {notice.reason} about {notice.about}: too many are waiting")
                self.monitor.failed("event")

    def run(self) -> NoReturn:
        """Record what was taken and what will be, for ever."""
        while True:
            self._record(self.waiting.get())

    def announce_all(self) -> None:
        """Record what was taken until now."""
        while not self.waiting.empty():
            self._record(self.waiting.get())

    def _record(self, notice: Notice) -> None:
        if not record_event(self.cluster, notice, self.report):
            self.monitor.failed("event")


def record_event(cluster: Cluster, notice: Notice, report: Report) -> bool:
    """Record a notice as an Event; whether that worked. Where not, it is reported."""
    try:
        cluster.record_event(notice.about, notice.reason, notice.note, warning=notice.warning)
    except BreakglassError as error:
        report(f"no Event {notice.reason} about {notice.about}: {error}")
        return False
    return True


def was_closed(inventory: Inventory, touched: Sequence[ObjectKey]) -> tuple[Notice, ...]:
    """What to tell of a closing: on its inventory, and on the objects that it deleted or restored.

    Args:
        touched: the objects; of many the first ones are told of, and the number of the rest.
    """
    why = f"emergency access {inventory.activation} ({inventory.overlay}) ended: {inventory.cause}"
    by = f"asked for by {inventory.requestedBy}"
    removed = {item.key for item in inventory.objects if item.baseline is None}
    told = [
        Notice(key, "BreakglassRemoved" if key in removed else "BreakglassRestored", f"{why}, {by}")
        for key in touched[:MOST_OBJECTS]
    ]
    about = _inventory_key(inventory)
    closed = Notice(about, "BreakglassClosed", f"{why}, {by}; the baseline is proven, {len(touched)} objects")
    more = len(touched) - len(told)
    rest = [Notice(about, "BreakglassMoreObjects", f"{why}; {more} more objects have no Event")] if more else []
    return (closed, *told, *rest)


def not_closed(inventory: Inventory, attempts: int, error: Exception) -> tuple[Notice, ...]:
    """What to tell of a closing that failed: after 1, 2, 4, 8 … attempts alone, for it may fail for days."""
    if not attempts or attempts & (attempts - 1):
        return ()
    note = f"emergency access {inventory.activation} is not closed: {error}"
    if len(note) > _LONGEST_NOTE:
        note = f"{note[: _LONGEST_NOTE - 1]}…"
    return (Notice(_inventory_key(inventory), "BreakglassNotClosed", note, warning=True),)


def _inventory_key(inventory: Inventory) -> ObjectKey:
    return ObjectKey("", "ConfigMap", NAMESPACE, f"activation-{inventory.activation}")
