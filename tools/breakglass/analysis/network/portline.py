"""All ports of all protocols on one line of numbers, so that a set of ports is a set of intervals.

A protocol takes 65,536 numbers, SCTP first, then TCP and UDP, each with its port 0, which nobody uses.
"""

from __future__ import annotations

from collections.abc import Iterable

from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS, PortRange, Ports, union

_WIDTH = LAST_PORT + 1
_ORDER = tuple(sorted(PROTOCOLS))
_OFFSETS = {protocol: number * _WIDTH for number, protocol in enumerate(_ORDER)}

EVERY_PROTOCOL = tuple((offset + 1, offset + LAST_PORT) for offset in _OFFSETS.values())
"""First and last number of every protocol."""

PROTOCOL_STARTS = tuple(first for first, _ in EVERY_PROTOCOL)
PORT_ZEROS = frozenset(range(0, len(_ORDER) * _WIDTH + 1, _WIDTH))


def interval(protocol: str, first: int, last: int) -> tuple[int, int]:
    """The numbers of a range of ports."""
    return _OFFSETS[protocol] + first, _OFFSETS[protocol] + last


def ports_on_line(intervals: Iterable[tuple[int, int]]) -> Ports:
    """The ports of intervals, each inside one protocol."""
    return union(
        PortRange(_ORDER[first // _WIDTH], first % _WIDTH, min(last, first // _WIDTH * _WIDTH + LAST_PORT) % _WIDTH)
        for first, last in intervals
    )
