"""Names for people: namespaces that are whole, blocks of addresses, what is left out where that is shorter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

from breakglass.analysis.network.ports import EVERY_PORT, Ports
from breakglass.analysis.network.space import Space

_EVERY = {4: ("0.0.0.0", "255.255.255.255"), 6: ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}  # noqa: S104 - the first address, nothing listens
_FEW = 4
"""Blocks that a range may be told as."""

_Range = tuple[int, int]


def named(names: Sequence[str], space: Space) -> tuple[str, ...]:
    """Names for people: namespaces that are whole, and blocks of addresses.

    Args:
        names: ordered.
        space: what says which names there are.
    """
    # As `is_workload` tells: asked here for every name of every row.
    workloads = [name for name in names if "/" in name or name[0] == "{"]
    ranges = (
        () if len(workloads) == len(names) else tuple([name for name in names if "/" not in name and name[0] != "{"])
    )
    if (
        len(workloads) > 1
        and len(workloads) >= space.workloads
        and workloads[space.workloads - 1] == space.names[space.workloads - 1]
    ):
        workloads[: space.workloads] = ["every workload"]
    elif len(workloads) > 1:
        for namespace, size in space.namespaces.items():
            if size < 2 or size > len(workloads):
                continue
            # The names of a namespace stand together: "0" comes after "/".
            first, beyond = bisect_left(workloads, f"{namespace}/"), bisect_left(workloads, f"{namespace}0")
            if beyond - first == size:
                workloads[first:beyond] = [f"{namespace}/*"]
    return (*workloads, *addresses_shown(ranges))


def ports_shown(ports: Ports) -> str:
    """A set of ports for people."""
    return "every port" if ports == EVERY_PORT else ", ".join(map(str, ports))


def is_workload(name: str) -> bool:
    """Whether a name is that of pods, not of addresses."""
    return "/" in name or name.startswith("{")


@cache
def is_world(names: tuple[str, ...]) -> bool:
    """Whether ranges of addresses hold more than half of all IPv4 or of all IPv6 addresses."""
    for version, (_, last) in _EVERY.items():
        ranges = [_read(name) for name in names if (":" in name) == (version == 6)]
        if 2 * sum(end - first + 1 for first, end in ranges) > int(ip_address(last)):
            return True
    return False


@cache
def addresses_shown(names: tuple[str, ...]) -> tuple[str, ...]:
    """Ranges such as `10.0.0.0-10.255.255.255`, disjoint and in any order, as people write them."""
    shown: list[str] = []
    whole = 0
    for version in _EVERY:
        ranges = sorted(_read(name) for name in names if (":" in name) == (version == 6))
        if not ranges:
            continue
        missing = _missing(ranges, version)
        if not missing:
            whole += 1
            shown.append(f"every IPv{version} address")
        elif len(missing) < len(ranges):
            left_out = ", ".join(text for each in missing for text in _blocks(each, version))
            shown.append(f"every IPv{version} address except {left_out}")
        else:
            shown.extend(text for each in ranges for text in _blocks(each, version))
    return ("every address",) if whole == len(_EVERY) else tuple(shown)


def _read(name: str) -> _Range:
    first, last = name.split("-")
    return int(ip_address(first)), int(ip_address(last))


def _missing(ranges: Iterable[_Range], version: int) -> list[_Range]:
    lowest, highest = (int(ip_address(end)) for end in _EVERY[version])
    missing, free = [], lowest
    for first, last in ranges:
        if first > free:
            missing.append((free, first - 1))
        free = last + 1
    return [*missing, (free, highest)] if free <= highest else missing


def _blocks(of: _Range, version: int) -> list[str]:
    first, last = of
    if version == 4:
        blocks = list(map(str, summarize_address_range(IPv4Address(first), IPv4Address(last))))
        ends = f"{IPv4Address(first)}-{IPv4Address(last)}"
    else:
        blocks = list(map(str, summarize_address_range(IPv6Address(first), IPv6Address(last))))
        ends = f"{IPv6Address(first)}-{IPv6Address(last)}"
    return blocks if len(blocks) <= _FEW else [ends]
