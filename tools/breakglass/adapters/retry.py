"""Trying again, bounded: what may pass is tried until a deadline, with growing pauses and jitter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import SystemRandom
from typing import TYPE_CHECKING, TypeVar

from breakglass.model.errors import Unreachable

if TYPE_CHECKING:
    from breakglass.ports import Clock

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
_MOST_ATTEMPTS = 60

_random = SystemRandom()
T = TypeVar("T")


class Passing(Exception):
    """One attempt met a fault that may pass.

    Args:
        reason: what was met, for people.
        retry_after: seconds the other side asked to wait; None where it did not.
        answered: whether the other side answered at all.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, answered: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.answered = answered


def retried(attempt: Callable[[], T], clock: Clock, deadline: datetime, where: str) -> T:
    """Attempt until it works, at least once, and never start to wait for what lies behind the deadline (aware UTC).

    Raises:
        Unreachable: the deadline came first; its cause is the last fault.
    """
    longest = _FIRST_PAUSE
    for number in range(1, _MOST_ATTEMPTS + 1):
        try:
            return attempt()
        except Passing as fault:
            pause = timedelta(seconds=max(_random.uniform(longest / 2, longest), fault.retry_after or 0.0))
            if number == _MOST_ATTEMPTS or clock.now() + pause > deadline:
                raise Unreachable(
                    f"{fault}, {number} times" if number > 1 else str(fault), where=where, remedy="run it again"
                ) from fault
        clock.sleep(pause)
        longest = min(longest * 2, _LONGEST_PAUSE)
    raise AssertionError("the last attempt returns or raises")
