"""Instants and durations: aware UTC instants, whole seconds, bounded.

An instant is a timezone-aware `datetime` in UTC with whole seconds; a duration is a `timedelta` of whole seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s)?", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|\+00:00)", re.ASCII)

LONGEST = timedelta(days=7)
"""No duration of the product is longer, whatever a policy says."""
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Bounds of an instant in a file: a duration can be added to it or taken from it."""


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `30m`, `1h30m` or `45s`.

    Args:
        text: hours, minutes and seconds in that order, each optional, at least one present.

    Returns:
        A positive timedelta of at most seven days.

    Raises:
        ValueError: the text is no such duration, or it is zero or out of bounds.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration; write hours, minutes and seconds such as 30m, 1h30m or 45s")
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return _bounded(timedelta(hours=hours, minutes=minutes, seconds=seconds))


def _bounded(duration: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= duration <= LONGEST or duration.microseconds:
        raise ValueError(f"{duration} is out of bounds; a duration is whole seconds, at least one, at most seven days")
    return duration


def format_duration(duration: timedelta) -> str:
    """Write a duration as `parse_duration` reads it: `1h30m`, `45s`; zero is `0s`."""
    seconds = int(duration.total_seconds())
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    parts = [f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if amount]
    return "".join(parts) or "0s"


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant in UTC (`2026-11-23T02:13:00Z`).

    Raises:
        ValueError: the text is no instant, has no offset, or its offset is not UTC.
    """
    if _INSTANT.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an instant in UTC; write it as 2026-11-23T02:13:00Z")
    return _whole_second(datetime.fromisoformat(text))


def _whole_second(instant: datetime) -> datetime:
    if not EARLIEST <= instant < LATEST:
        raise ValueError(f"{instant} is out of bounds; write a time of this age")
    return instant.astimezone(UTC).replace(microsecond=0)


def format_instant(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC, whole seconds, `Z`.

    Raises:
        ValueError: the instant is naive.
    """
    if instant.tzinfo is None:
        raise ValueError("a naive time names no instant")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def countdown(left: timedelta) -> str:
    """Write the time left as `27:41` or `1:02:03`; `00:00` once nothing is left."""
    seconds = max(0, int(left.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def _duration_field(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return _bounded(value)
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"{value!r} is not a duration; write it as text such as 30m")


def _instant_field(value: object) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no offset; write it in UTC, as 2026-11-23T02:13:00Z")
        return _whole_second(value)
    if isinstance(value, str):
        return parse_instant(value)
    raise ValueError(f"{value!r} is not an instant; write it as 2026-11-23T02:13:00Z")


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration_field),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(?=.)(\d{1,4}h)?(\d{1,4}m)?(\d{1,5}s)?$", "examples": ["30m"]}),
]
"""A duration in a file of the product."""

Instant = Annotated[
    datetime,
    BeforeValidator(_instant_field),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T02:13:00Z"]}),
]
"""An instant in a file of the product."""
