"""Sets of addresses as sorted CIDRs: `("198.51.100.0/24",)`. The empty tuple is every address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

Ranges = tuple[str, ...]
EVERYWHERE: Ranges = ()

_WHOLE_FAMILIES = ("0.0.0.0/0", "::/0")


def canonical_range(written: str) -> str:
    """One range as CIDR, bits beyond its length cleared; empty where the text is neither range nor address."""
    address, slash, length = written.strip().partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        return ""
    try:
        return str(ip_network(f"{address}/{length}" if slash else address, strict=False))
    except ValueError:
        return ""


def merged(ranges: Iterable[str]) -> Ranges:
    """The union of CIDRs, as few of them as possible; of none, that is every address."""
    networks = [ip_network(each) for each in ranges]
    four = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    found = (*map(str, four), *map(str, six))
    return EVERYWHERE if found == _WHOLE_FAMILIES else found


def includes(outer: Ranges, inner: Ranges) -> bool:
    """Whether every address of the second set is in the first."""
    wide = [ip_network(each) for each in outer or _WHOLE_FAMILIES]
    return all(any(_within(ip_network(each), other) for other in wide) for each in inner or _WHOLE_FAMILIES)


def intersection(one: Ranges, other: Ranges) -> Ranges | None:
    """The addresses in both sets; None where there are none."""
    if not one or not other:
        return one or other
    pairs = [(left, right) for left in map(ip_network, one) for right in map(ip_network, other)]
    smaller = [
        left if _within(left, right) else right for left, right in pairs if _within(left, right) or _within(right, left)
    ]
    return merged(map(str, smaller)) if smaller else None


def is_everywhere(ranges: Ranges) -> bool:
    """Whether the set holds every IPv4 or every IPv6 address."""
    return not ranges or any(each in _WHOLE_FAMILIES for each in ranges)


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
