"""Sets of ports as tuples of ranges: exact over all ports of every protocol, whether anything names them or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

LAST_PORT = 65535
PROTOCOLS = ("TCP", "UDP", "SCTP")


class PortRange(NamedTuple):
    """Ports of one protocol, `first` to `last`, both included. A tuple: it is compared and hashed by the million."""

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        if (self.first, self.last) == (1, LAST_PORT):
            return f"{self.protocol} every port"
        return f"{self.protocol} {self.first}" + (f"-{self.last}" if self.last > self.first else "")


Ports = tuple[PortRange, ...]
"""A set of ports: ranges that are sorted, disjoint and not adjacent, so that equal sets are equal tuples."""

EVERY_PORT: Ports = tuple(PortRange(protocol, 1, LAST_PORT) for protocol in sorted(PROTOCOLS))


def single_port(protocol: str, port: int) -> Ports:
    """The set of one port."""
    return (PortRange(protocol, port, port),)


def union(ranges: Iterable[PortRange]) -> Ports:
    """The set of all ports in any of the ranges."""
    merged: list[PortRange] = []
    for ports in sorted(ranges):
        previous = merged[-1] if merged else None
        if previous and previous.protocol == ports.protocol and ports.first <= previous.last + 1:
            merged[-1] = PortRange(ports.protocol, previous.first, max(previous.last, ports.last))
        else:
            merged.append(ports)
    return tuple(merged)


def intersection(one: Ports, other: Ports) -> Ports:
    """The ports in both sets."""
    return tuple(
        sorted(
            PortRange(left.protocol, max(left.first, right.first), min(left.last, right.last))
            for left in one
            for right in other
            if left.protocol == right.protocol and left.first <= right.last and right.first <= left.last
        )
    )


def difference(one: Ports, other: Ports) -> Ports:
    """The ports of the first set that are not in the second."""
    return intersection(one, _complement(other))


def _complement(ports: Ports) -> Ports:
    rest = []
    for protocol in PROTOCOLS:
        free = 1
        for taken in ports:
            if taken.protocol == protocol:
                rest.append(PortRange(protocol, free, taken.first - 1))
                free = taken.last + 1
        rest.append(PortRange(protocol, free, LAST_PORT))
    return tuple(sorted(gap for gap in rest if gap.first <= gap.last))
