"""Strict reading of what objects of the network have in common: versions, ports, host names, ranges of addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from breakglass.analysis.exposure.ranges import canonical_range
from breakglass.analysis.field import is_port_name, text, texts, whole
from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

GATEWAY_API = "gateway.networking.k8s.io"

_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LONGEST_HOST = 253


def is_kind(manifest: Manifest, group: str, kind: str, *versions: str) -> bool:
    """Whether an object is of a kind.

    Args:
        manifest: the object.
        group: API group; empty for the core group.
        kind: such as `Ingress`.
        versions: those that the fields are known of.

    Raises:
        Refused: it is of the kind, in another version.
    """
    # Asked of every object about every kind: the short way first.
    if manifest.get("kind") != kind or key_of(manifest).group != group:
        return False
    version = str(manifest["apiVersion"]).rpartition("/")[2]
    if version not in versions:
        where = Place(manifest)
        remedy = "write it as " + " or ".join(f"{group}/{each}" if group else each for each in versions)
        raise where.refusal(
            f"{manifest['apiVersion']} has no {kind} that is known here", manifest, "apiVersion", remedy
        )
    return True


def port_number(parent: Mapping[str, Any], key: str, where: Place) -> int:
    """A field that is a port; 0 where it is absent.

    Raises:
        Refused: it is no number of 1-65535.
    """
    number = whole(parent, key, where)
    if number is not None and not 1 <= number <= LAST_PORT:
        raise where.refusal(f"{key}: {number} is no port (1-{LAST_PORT})", parent, key)
    return number or 0


def needed_port(parent: Mapping[str, Any], key: str, where: Place) -> int:
    """A port that must be there.

    Raises:
        Refused: it is not, or is no port.
    """
    if number := port_number(parent, key, where):
        return number
    raise where.refusal(f"{key} is missing", parent, key)


def port_or_name(parent: Mapping[str, Any], key: str, where: Place) -> int | str:
    """A port by number or by name; 0 where it is absent.

    Raises:
        Refused: it is neither a number of 1-65535 nor a name as the IANA gives them (RFC 6335, section 5.1).
    """
    value = parent.get(key)
    if not isinstance(value, str):
        return port_number(parent, key, where)
    if not is_port_name(value):
        raise where.refusal(f"{key}: {value[:80]!r} is no port's number or name", parent, key)
    return value


def protocol_of(parent: Mapping[str, Any], where: Place) -> str:
    """The protocol of a port, TCP where it is absent.

    Raises:
        Refused: it is not TCP, UDP or SCTP.
    """
    protocol = text(parent, "protocol", where, "TCP")
    if protocol not in PROTOCOLS:
        raise where.refusal(f"protocol: {protocol[:80]!r} is none of {', '.join(PROTOCOLS)}", parent, "protocol")
    return protocol


def needed_text(parent: Mapping[str, Any], key: str, where: Place) -> str:
    """Text that must be there.

    Raises:
        Refused: it is not, or is no text.
    """
    if value := text(parent, key, where):
        return value
    raise where.refusal(f"{key} is missing", parent, key)


def one_of(parent: Mapping[str, Any], key: str, where: Place, values: tuple[str, ...], default: str = "") -> str:
    """Text that is one of some values; the default where it is absent.

    Raises:
        Refused: it is none of them, or is absent and there is no default.
    """
    value = text(parent, key, where, default)
    if value not in values:
        raise where.refusal(f"{key}: {value[:80]!r} is none of {', '.join(values)}", parent, key)
    return value


def host_name(parent: Mapping[str, Any], key: str, where: Place) -> str:
    """A host, `name` or `*.suffix`; empty where it is absent.

    Raises:
        Refused: it is no host: an address, a port behind it, a `*` elsewhere.
    """
    host = text(parent, key, where)
    if host:
        _check_host(host, parent, key, where)
    return host


def host_names(parent: Mapping[str, Any], key: str, where: Place) -> tuple[str, ...]:
    """A list of hosts, each `name` or `*.suffix`.

    Raises:
        Refused: one of them is no host.
    """
    hosts = texts(parent, key, where)
    for host in hosts:
        _check_host(host, parent, key, where)
    return hosts


def address_ranges(written: tuple[str, ...], parent: Mapping[str, Any], key: str, where: Place) -> tuple[str, ...]:
    """Ranges of addresses as CIDRs; a single address is a range of one.

    Raises:
        Refused: one of them is neither.
    """
    ranges = []
    for each in written:
        found = canonical_range(each)
        if not found:
            raise where.refusal(f"{key}: {each[:80]!r} is no range of addresses", parent, key)
        ranges.append(found)
    return tuple(ranges)


def _check_host(host: str, parent: Mapping[str, Any], key: str, where: Place) -> None:
    if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host) or _is_address(host):
        raise where.refusal(f"{key}: {host[:80]!r} is no host's name", parent, key)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
