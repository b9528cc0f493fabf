"""Sets of ports behave like sets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.analysis.network.ports import EVERY_PORT, PortRange, Ports, difference, intersection, union

# No deadline: the machine may be busy.
UNHURRIED = settings(deadline=None, max_examples=100)

ENDS = st.sampled_from([1, 2, 3, 4, 5, 8, 9, 65534, 65535])


@st.composite
def ranges(draw: st.DrawFn) -> PortRange:
    first, last = sorted((draw(ENDS), draw(ENDS)))
    return PortRange(draw(st.sampled_from(["TCP", "UDP"])), first, last)


SETS = st.lists(ranges(), max_size=4)


def members(ports: Ports | list[PortRange]) -> set[tuple[str, int]]:
    return {
        (each.protocol, number)
        for each in ports
        for number in (1, 2, 3, 4, 5, 6, 8, 9, 10, 65534, 65535)
        if each.first <= number <= each.last
    }


@UNHURRIED
@given(SETS, SETS)
def test_sets_of_ports_are_sets(one: list[PortRange], other: list[PortRange]) -> None:
    assert members(union(one)) == members(one)
    assert members(union([*one, *other])) == members(one) | members(other)
    assert members(intersection(union(one), union(other))) == members(one) & members(other)
    assert members(difference(union(one), union(other))) == members(one) - members(other)


@UNHURRIED
@given(SETS)
def test_equal_sets_are_equal_tuples(one: list[PortRange]) -> None:
    assert union(reversed(one)) == union(one) == union(union(one))
    assert union([*difference(EVERY_PORT, union(one)), *one]) == EVERY_PORT


def test_ranges_read_well() -> None:
    assert [str(PortRange("TCP", *ends)) for ends in ((80, 80), (80, 90), (1, 65535))] == [
        "TCP 80",
        "TCP 80-90",
        "TCP every port",
    ]
