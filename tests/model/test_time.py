"""Instants and durations: aware, UTC, whole seconds, bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from breakglass.model.time import (
    LATEST,
    LONGEST,
    Duration,
    Instant,
    countdown,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)

instants = st.integers(0, int(LATEST.timestamp()) - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
NO_DURATIONS = ["", "0s", "0h0m", "30", "-30m", "+30m", "30m1h", "1d", "999999999d", "169h", "99999h", "1.5h", "30 m"]
NO_DURATIONS += ["30m\n", "\u0663\u0660m", "30M", "PT30M", "1h1h", "m", "9" * 5000 + "s", "inf"]
NO_DURATION_FIELDS = [timedelta(0), timedelta(-1), timedelta(days=8), timedelta(microseconds=1), 1800, None]
NO_INSTANTS = ["", "now", "2026-11-23", "2026-11-23T02:13:00", "2026-11-23 02:13:00Z", "2026-11-23T02:13:00+01:00"]
NO_INSTANTS += ["2026-11-23T02:13Z", "2026-02-30T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T02:13:60Z"]
NO_INSTANTS += ["2026-11-23T02:13:00Z\n", "2026-11-23T02:13:00-00:00", "\u0662026-11-23T02:13:00Z"]
NO_INSTANTS += ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]


@given(st.integers(1, int(LONGEST.total_seconds())))
def test_a_duration_is_read_as_it_was_written(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration
    assert DURATION.validate_python(DURATION.dump_python(duration, mode="json")) == duration


@pytest.mark.parametrize(
    ("text", "minutes"), [("30m", 30), ("1h30m", 90), ("90m", 90), ("120s", 2), ("168h", 7 * 24 * 60), ("0h1m0s", 1)]
)
def test_a_duration_is_hours_minutes_and_seconds(text: str, minutes: int) -> None:
    assert parse_duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", NO_DURATIONS, ids=lambda text: ascii(text[:30]))
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@pytest.mark.parametrize("value", NO_DURATION_FIELDS)
def test_a_duration_field_takes_no_duration_that_cannot_be_written(value: object) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(value)


@given(instants)
def test_an_instant_is_read_as_it_was_written(instant: datetime) -> None:
    assert parse_instant(format_instant(instant)) == instant
    assert INSTANT.validate_python(INSTANT.dump_python(instant, mode="json")) == instant


@pytest.mark.parametrize("text", ["2026-11-23T02:13:00Z", "2026-11-23T02:13:00.999999Z", "2026-11-23T02:13:00+00:00"])
def test_an_instant_is_utc_and_of_whole_seconds(text: str) -> None:
    assert parse_instant(text) == datetime(2026, 11, 23, 2, 13, tzinfo=UTC)


@pytest.mark.parametrize("text", NO_INSTANTS, ids=ascii)
def test_what_is_no_instant_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"instant|must be|out of|range"):
        parse_instant(text)


def test_a_naive_time_names_no_instant() -> None:
    naive = datetime(2026, 11, 23, 2, 13)  # noqa: DTZ001 - the one under test
    with pytest.raises(ValueError, match="naive"):
        format_instant(naive)
    with pytest.raises(ValidationError, match="offset"):
        INSTANT.validate_python(naive)
    with pytest.raises(ValidationError):
        INSTANT.validate_python(1795399980)


def test_an_aware_time_becomes_utc() -> None:
    cairo = datetime(2026, 11, 23, 4, 13, tzinfo=timezone(timedelta(hours=2)))
    assert INSTANT.validate_python(cairo) == datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
    assert format_instant(cairo) == "2026-11-23T02:13:00Z"


@given(instants, st.integers(1, int(LONGEST.total_seconds())))
def test_every_duration_can_be_added_to_every_instant(instant: datetime, seconds: int) -> None:
    assert instant + timedelta(seconds=seconds) < LATEST + LONGEST


@pytest.mark.parametrize(
    ("seconds", "text"), [(1661, "27:41"), (3723, "1:02:03"), (0, "00:00"), (-5, "00:00"), (59.9, "00:59")]
)
def test_a_countdown_ends_at_nothing(seconds: float, text: str) -> None:
    assert countdown(timedelta(seconds=seconds)) == text
