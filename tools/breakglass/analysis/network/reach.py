"""Who reaches whom, column by column: for one destination and one range of ports, the set of sources let through.

A connection needs the source's egress and the destination's ingress. Each direction goes through the tiers: admin, then
NetworkPolicy, which is final for the pods that one selects, then baseline; what none of them decides is allowed
(https://network-policy-api.sigs.k8s.io/reference/spec/). Destinations that the same rules speak of share one column.

Where clusters differ, or the specification leaves the order open, a column tells two sets: who is let through whatever
the implementation, and who is let through by some.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import compress

from breakglass.analysis.network.bitset import memberships
from breakglass.analysis.network.compiled import CompiledPolicies, CompiledPolicy
from breakglass.analysis.network.pod import ContainerPort
from breakglass.analysis.network.policy import RulePort
from breakglass.analysis.network.portline import EVERY_PROTOCOL, PORT_ZEROS, PROTOCOL_STARTS
from breakglass.analysis.network.tiers import TiersAt

Column = tuple[tuple[int, int, int], ...]
"""One destination: where a range of ports begins on the line of all ports, who surely reaches it, who possibly does."""


def columns(policies: CompiledPolicies) -> Iterator[Column]:
    """The column of every name of the space, in order; empty where the name stands for nothing in this state."""
    state = policies.state
    by_bit = Columns(policies).by_bit()
    if not state.extra:
        yield from by_bit
        return
    every = list(by_bit)
    more = defaultdict(list)
    for extra, bit in state.extra:
        more[bit].append(every[extra])
    folded = cache(
        lambda column: tuple((start, state.folded(sure), state.folded(maybe)) for start, sure, maybe in column)
    )
    for bit in range(len(state.space.names)):
        column = folded(every[bit])
        for other in more.get(bit, ()):
            column = _merged(column, folded(other))
        yield column


class Columns:
    """The columns of one state."""

    def __init__(self, policies: CompiledPolicies) -> None:
        """Sort the rules by the sets of destinations that they speak of."""
        self._policies = policies
        self._into: defaultdict[int, list[CompiledPolicy]] = defaultdict(list)
        out: defaultdict[tuple[int, bool, tuple[RulePort, ...] | None], int] = defaultdict(int)
        for policy in policies.namespaced["ingress"]:
            self._into[policy.subject].append(policy)
        for rule in (rule for policy in policies.namespaced["egress"] for rule in policy.rules):
            for ends, certain in ((rule.sure, True), (rule.maybe, False)):
                if ends:
                    out[ends, certain, rule.rule.ports] |= rule.subject
        # Rules to the same destinations on the same ports are one rule of all their subjects.
        self._out: defaultdict[int, list[tuple[bool, tuple[RulePort, ...] | None, int]]] = defaultdict(list)
        for (ends, certain, ports), subject in out.items():
            self._out[ends].append((certain, ports, subject))

    def by_bit(self) -> Iterator[Column]:
        """The column of every bit of the state; empty where nothing has the bit."""
        state = self._policies.state
        sets = list(dict.fromkeys([*self._into, *self._out, *self._sets_of_tiers()]))
        numbers = range(len(sets))
        known: dict[tuple[object, ...], Column] = {}
        ranges = range(state.space.first_range, len(state.space.names))
        for bit, membership in enumerate(memberships(sets, 0, state.size)):
            end = state.ends.get(bit)
            if end is None and bit not in ranges:
                yield ()
                continue
            declared = end.ports if end is not None and self._policies.names_ports else ()
            local = state.local_to(end) if end is not None else 0
            key = tuple(compress(numbers, membership)), declared, local
            column = known.get(key)
            if column is None:
                column = known[key] = self._column(tuple(compress(sets, membership)), declared, local)
            yield column

    def _sets_of_tiers(self) -> Iterator[int]:
        for groups in self._policies.tiers.values():
            for policy in (policy for group in groups for policy in group):
                yield policy.subject
                for rule in policy.rules:
                    yield rule.sure
                    yield rule.maybe

    def _column(self, within: tuple[int, ...], declared: tuple[ContainerPort, ...], local: int) -> Column:
        """The column of destinations that lie in these sets of ends, declare these ports and run on this node."""
        policies, everybody = self._policies, self._policies.state.everybody
        into, out = self._into_sums(within, declared), self._out_sums(within, declared)
        if policies.profile.local_node_reaches_pods is not False:
            for first, last in EVERY_PROTOCOL:
                into.add(first, last, local if policies.profile.local_node_reaches_pods else 0, local)
        free_in = 0 if any(ends in self._into for ends in within) else everybody
        free_out = everybody & ~policies.isolated["egress"]
        tiers = TiersAt(policies, frozenset(within), declared) if policies.tiers else None
        cuts = {*PROTOCOL_STARTS, *into.cuts(), *out.cuts(), *(tiers.cuts() if tiers is not None else ())}
        column: list[tuple[int, int, int]] = []
        starts = sorted(cuts - PORT_ZEROS)
        for start, (in_sure, in_maybe), (out_sure, out_maybe) in zip(
            starts, into.at(starts), out.at(starts), strict=True
        ):
            if tiers is None:
                sure, maybe = (in_sure | free_in) & (out_sure | free_out), (in_maybe | free_in) & (out_maybe | free_out)
            else:
                in_sure, in_maybe = tiers.through("ingress", start, free_in, in_sure, in_maybe)
                out_sure, out_maybe = tiers.through("egress", start, free_out, out_sure, out_maybe)
                sure, maybe = in_sure & out_sure, in_maybe & out_maybe
            if not column or column[-1][1:] != (sure, maybe) or start in PROTOCOL_STARTS:
                column.append((start, sure, sure if sure == maybe else maybe))
        return tuple(column)

    def _into_sums(self, within: tuple[int, ...], declared: tuple[ContainerPort, ...]) -> _Sums:
        """Sources that the destinations' NetworkPolicies let in."""
        sums = _Sums()
        for policy in (policy for ends in within for policy in self._into.get(ends, ())):
            for rule in policy.rules:
                for first, last, certain in self._policies.intervals(rule.rule.ports, declared):
                    sums.add(first, last, rule.sure if certain else 0, rule.sure | rule.maybe)
        return sums

    def _out_sums(self, within: tuple[int, ...], declared: tuple[ContainerPort, ...]) -> _Sums:
        """Sources whose NetworkPolicies let them out to the destinations."""
        sums = _Sums()
        for sure, ports, subject in (rule for ends in within for rule in self._out.get(ends, ())):
            for first, last, certain in self._policies.intervals(ports, declared):
                sums.add(first, last, subject if sure and certain else 0, subject)
        return sums


class _Sums:
    """Sets of ends by intervals of ports, added up."""

    __slots__ = ("_by_span",)

    def __init__(self) -> None:
        self._by_span: dict[tuple[int, int], tuple[int, int]] = {}

    def add(self, first: int, last: int, sure: int, maybe: int) -> None:
        was = self._by_span.get((first, last))
        self._by_span[first, last] = (sure, maybe) if was is None else (was[0] | sure, was[1] | maybe)

    def cuts(self) -> Iterator[int]:
        for first, last in self._by_span:
            yield first
            yield last + 1

    def at(self, ports: Iterable[int]) -> Iterator[tuple[int, int]]:
        """The sum at each of some ports, which come in order: a sweep, for there may be thousands of both."""
        coming = sorted((first, last, *sets) for (first, last), sets in self._by_span.items())
        open_ones: list[tuple[int, int, int, int]] = []
        at = 0
        for port in ports:
            while at < len(coming) and coming[at][0] <= port:
                open_ones.append(coming[at])
                at += 1
            open_ones = [span for span in open_ones if span[1] >= port]
            sure = maybe = 0
            for _, _, surely, possibly in open_ones:
                sure |= surely
                maybe |= possibly
            yield sure, maybe


def aligned(columns: Sequence[Column]) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Where any of some columns goes on, and the sets of each of them from there."""
    ahead = [iter(column) for column in columns]
    following = [next(rest, None) for rest in ahead]
    sets = [(0, 0)] * len(columns)
    for start in sorted({start for column in columns for start, *_ in column}):
        for number, part in enumerate(following):
            if part is not None and part[0] == start:
                sets[number] = part[1:]
                following[number] = next(ahead[number], None)
        yield start, tuple(sets)


def _merged(one: Column, other: Column) -> Column:
    """The column of two destinations of one name: whoever reaches either."""
    return tuple(
        (start, sure | more, maybe | perhaps) for start, ((sure, maybe), (more, perhaps)) in aligned((one, other))
    )


def part_at(column: Column, port: int) -> tuple[int, int, int]:
    """The part of a column that a port, on the line of all ports, lies in."""
    return max((part for part in column if part[0] <= port), default=(0, 0, 0))
