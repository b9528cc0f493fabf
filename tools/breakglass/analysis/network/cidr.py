"""CIDRs as the API server takes them, which is less than most parsers do."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_interface

from breakglass.analysis.network.policy import Block

_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)


def read_cidr(written: str, *, host_bits: bool = False) -> Block:
    """A CIDR, as Go's `netip.ParsePrefix` reads it, without IPv4-mapped addresses.

    Args:
        written: `address/length`; no leading zeros, no zone, no netmask.
        host_bits: whether bits beyond the length may be set; they mean nothing then.

    Raises:
        ValueError: saying what is wrong.
    """
    shown = repr(written[:80])
    address, _, length = written.partition("/")
    if not _LENGTH.fullmatch(length) or "%" in address:
        raise ValueError(f"{shown} is no CIDR")
    try:
        found = ip_interface(written)
    except ValueError:
        raise ValueError(f"{shown} is no CIDR") from None
    if isinstance(found.ip, IPv6Address) and found.ip.ipv4_mapped is not None:
        raise ValueError(f"{shown} is an IPv4 address written as IPv6")
    if not host_bits and found.ip != found.network.network_address:
        raise ValueError(f"{shown} has bits set beyond its length; {found.network} is what it would mean")
    return found.network
