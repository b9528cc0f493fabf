"""A clock that stands still until somebody sets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NIGHT = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
"""When most tests begin."""


class SettableClock:
    """`Clock` whose time moves only by `tick` and `sleep`."""

    def __init__(self, time: datetime = NIGHT) -> None:
        self._time = time

    def now(self) -> datetime:
        return self._time

    def sleep(self, duration: timedelta) -> None:
        self.tick(duration)

    def tick(self, duration: timedelta) -> None:
        self._time += max(timedelta(0), duration)
