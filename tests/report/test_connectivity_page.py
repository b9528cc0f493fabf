"""Connections as a page: what changes in words, and names that are put together."""

from __future__ import annotations

import pytest

from breakglass.analysis.network.connections import Allowed, Rectangle
from breakglass.analysis.network.names import addresses_shown
from breakglass.analysis.network.ports import EVERY_PORT, PortRange, Ports
from breakglass.analysis.report.connectivity_page import changed_ports
from breakglass.analysis.report.rectangle import cause_of, change_type, opens


def tcp(*ports: int) -> Ports:
    return tuple(PortRange("TCP", port, port) for port in ports)


@pytest.mark.parametrize(
    ("was", "will", "opening", "words"),
    [
        pytest.param(((), ()), (tcp(80), ()), True, "TCP 80", id="opened"),
        pytest.param(((), ()), (EVERY_PORT, ()), True, "every port", id="all opened"),
        pytest.param(((), ()), ((), tcp(80)), True, "TCP 80 (depends on the CNI)", id="perhaps opened"),
        pytest.param(((), ()), (tcp(1), tcp(80)), True, "TCP 1, TCP 80 (depends on the CNI)", id="one of them perhaps"),
        pytest.param(((), tcp(80)), (tcp(80), ()), True, "TCP 80", id="from perhaps to surely"),
        pytest.param((tcp(80), ()), (tcp(443), ()), True, "TCP 443, no more TCP 80", id="another port"),
        pytest.param(
            (tcp(80), ()),
            (tcp(443), tcp(80)),
            True,
            "TCP 443, no more TCP 80 (now depends on the CNI)",
            id="another, and one perhaps",
        ),
        pytest.param((tcp(80), ()), ((), ()), False, "TCP 80", id="closed"),
        pytest.param((tcp(1, 80), ()), (tcp(80), ()), False, "TCP 1", id="closed in part"),
        pytest.param(
            (tcp(80), ()), ((), tcp(80)), False, "TCP 80 (now depends on the CNI)", id="from surely to perhaps"
        ),
        pytest.param(((), tcp(80)), ((), ()), False, "TCP 80 (depends on the CNI)", id="from perhaps to never"),
    ],
)
def test_a_change_in_words(was: tuple[Ports, Ports], will: tuple[Ports, Ports], opening: bool, words: str) -> None:
    answer = (Allowed(*was), Allowed(*will))
    assert opens(answer) is opening
    assert changed_ports(answer) == words
    kind = "added" if not any(was) else "changed" if any(will) else "removed"
    assert change_type(answer) == kind


def test_the_cause_is_that_of_the_first_connection() -> None:
    answer = (Allowed(), Allowed(tcp(80)))

    def because(source: str, destination: str, _: object) -> tuple[str, ...]:
        return source, destination

    assert cause_of(Rectangle(("a", "b"), ("a", "b"), answer), because) == ("a", "b")
    assert cause_of(Rectangle(("a", "b"), ("c", "d"), answer), because) == ("a", "c")


LAST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


@pytest.mark.parametrize(
    ("ranges", "shown"),
    [
        ((), ()),
        (("10.0.0.0-10.255.255.255",), ("10.0.0.0/8",)),
        (("10.0.0.1-10.0.0.1",), ("10.0.0.1/32",)),
        (("10.0.0.0-10.0.0.2",), ("10.0.0.0/31", "10.0.0.2/32")),
        (("10.0.0.1-10.0.0.254",), ("10.0.0.1-10.0.0.254",)),
        (("0.0.0.0-255.255.255.255",), ("every IPv4 address",)),
        ((f"::-{LAST}",), ("every IPv6 address",)),
        (("0.0.0.0-255.255.255.255", f"::-{LAST}"), ("every address",)),
        ((f"::-{LAST}", "10.0.0.0-10.0.0.255"), ("10.0.0.0/24", "every IPv6 address")),
        (("0.0.0.0-9.255.255.255", "11.0.0.0-255.255.255.255"), ("every IPv4 address except 10.0.0.0/8",)),
        (("2001:db8::-2001:db8::ffff",), ("2001:db8::/112",)),
        (("fd00::1-fd00::fffe",), ("fd00::1-fd00::fffe",)),
        # In whatever order they come.
        (("12.0.0.0-12.0.0.255", "9.0.0.0-9.0.0.255"), ("9.0.0.0/24", "12.0.0.0/24")),
    ],
)
def test_addresses_as_people_write_them(ranges: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert addresses_shown(ranges) == shown
