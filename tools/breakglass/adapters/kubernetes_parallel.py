"""Many requests at once: every item is tried, also after another failed, and one error speaks for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from breakglass.adapters.kubernetes_http import WORKERS, LeaseLost
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, Refused, Unreachable

_ERRORS_SHOWN = 10
_WORST_FIRST = (LeaseLost, Refused, Conflict, Unreachable, NotApplied, BreakglassError)

K = TypeVar("K")
V = TypeVar("V")
Errors = list[BreakglassError]


class Workers:
    """As many threads as requests may be under way."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="kubernetes")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def each(self, items: Iterable[K], call: Callable[[K], V]) -> tuple[dict[K, V], Errors]:
        """Call for every item, several at once; results by item, and the errors of the others, both in order.

        A lost Lease leaves out all items that were not begun: what it keeps back needs no asking.
        """
        wanted = dict.fromkeys(items)
        left = deque(wanted)
        results: dict[K, V] = {}
        errors: dict[K, BreakglassError] = {}

        def work() -> None:
            while left:
                try:
                    item = left.popleft()
                except IndexError:
                    return
                try:
                    results[item] = call(item)
                except LeaseLost as error:
                    left.clear()
                    errors[item] = error
                except BreakglassError as error:
                    errors[item] = error

        threads = [self._threads.submit(work) for _ in range(min(WORKERS, len(left)))]
        try:
            for thread in threads:
                thread.result()
        finally:
            left.clear()
        return _in_order(wanted, results), list(_in_order(wanted, errors).values())


def _in_order(wanted: Iterable[K], found: dict[K, V]) -> dict[K, V]:
    return {item: found[item] for item in wanted if item in found}


def raise_all(errors: Errors) -> None:
    """Raise what is final before what may pass; one error speaks for all, a lost Lease for itself."""
    if not errors:
        return
    worst = min(errors, key=lambda error: [isinstance(error, kind) for kind in _WORST_FIRST].index(True))
    if len(errors) == 1 or isinstance(worst, LeaseLost):
        raise worst
    shown = "; ".join(str(error) for error in errors[:_ERRORS_SHOWN])
    more = f"; and {len(errors) - _ERRORS_SHOWN} more" if len(errors) > _ERRORS_SHOWN else ""
    raise type(worst)(shown + more, remedy=worst.remedy)
