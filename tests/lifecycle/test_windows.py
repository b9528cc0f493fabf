"""The state of a window: a pure function of its commits, its expiry and the time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.lifecycle.windows import State, Window
from breakglass.model.finding import Finding
from breakglass.ports import Commit
from ports.clock import NIGHT

EXPIRY = NIGHT + timedelta(minutes=30)
SECOND = timedelta(seconds=1)
CLOSING = Commit("b" * 40, ("a" * 40,), NIGHT + timedelta(minutes=5), "close")
WINDOW = Window(
    id="2026-11-23-x-7f3a",
    activation=None,
    policy=None,
    opened=Commit("a" * 40, (), NIGHT, "open"),
    closed=None,
    expiry=EXPIRY,
    findings=(),
)
EDITED = Finding("activation-edited", "the file was changed after it was merged")


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (NIGHT - SECOND, "future"),
        (NIGHT, "open"),
        (EXPIRY - timedelta(microseconds=1), "open"),
        (EXPIRY, "expired"),
        (EXPIRY + SECOND, "expired"),
        (EXPIRY + timedelta(days=3650), "expired"),
    ],
)
def test_a_window_is_open_from_the_second_of_its_merge_to_the_second_before_its_expiry(
    now: datetime, state: State
) -> None:
    assert WINDOW.state(now) == state


@given(st.integers(-(10**6), 10**6), st.booleans(), st.booleans())
def test_a_void_or_closed_window_is_open_at_no_time(seconds: int, closed: bool, unreadable: bool) -> None:
    now = NIGHT + timedelta(seconds=seconds)
    void = replace(WINDOW, expiry=None) if unreadable else replace(WINDOW, findings=(EDITED,))
    assert void.state(now) == "void"
    assert replace(void if closed else WINDOW, closed=CLOSING).state(now) == "closed"


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_a_window_never_opens_again(seconds: int, later: int) -> None:
    order = ["future", "open", "expired"]
    now = NIGHT + timedelta(seconds=seconds)
    assert order.index(WINDOW.state(now)) <= order.index(WINDOW.state(now + timedelta(seconds=later)))
