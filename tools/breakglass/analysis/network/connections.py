"""Connections between names: all of one state, or all that change between two, in an order that can be streamed.

Nothing here holds a pair: a destination keeps one set of sources for each distinct answer, and pairs are made a source
at a time, when they are asked for. Cells of one answer are regrouped into rectangles, source set x destination set.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from heapq import merge
from itertools import compress
from typing import NamedTuple, TypeVar

from breakglass.analysis.network.bitset import members, memberships
from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.policy import DIRECTIONS, Direction
from breakglass.analysis.network.portline import interval, ports_on_line
from breakglass.analysis.network.ports import Ports
from breakglass.analysis.network.reach import Column, aligned, columns, part_at
from breakglass.analysis.network.space import INGRESS_CONTROLLER, Space

Entry = TypeVar("Entry")

_CHUNK = 1024
"""Sources whose pairs are made at a time."""


class Allowed(NamedTuple):
    """What one end may do to another in one state.

    Attributes:
        ports: open whatever the implementation.
        depends: open with some implementations.
    """

    ports: Ports = ()
    depends: Ports = ()

    def __bool__(self) -> bool:
        return bool(self.ports or self.depends)


Answer = tuple[Allowed, ...]
"""One `Allowed` for each state that is looked at."""

Routed = Mapping[str, frozenset[int]]
"""By the name of a workload, the TCP ports of its pods that an Ingress or a route leads to."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Connections that all have one answer: from every source to every destination, less each to itself."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class IsolationFlip:
    """A workload that NetworkPolicies isolate in one state and not in the other.

    Attributes:
        workload: its name.
        direction: as the workload sees it.
        isolated: whether it is isolated afterwards.
        because: names of the NetworkPolicies that select it in the state where it is isolated.
    """

    workload: str
    direction: Direction
    isolated: bool
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections, by destination.

    Attributes:
        space: the numbering of ends.
        cells: for every name of the space, the sets of sources that have one answer each.
    """

    space: Space
    cells: tuple[tuple[tuple[int, Answer], ...], ...] = field(repr=False)

    def by_source(self, entry: Callable[[str, Answer], Entry]) -> Iterator[tuple[str, list[Entry]]]:
        """Pairs, ordered by source and by destination, one source at a time.

        Args:
            entry: makes what is wanted of a destination and its answer; called once for each distinct two.
        """
        yield from merge(self._from_workloads(entry), self._from_ranges(entry), key=lambda pair: pair[0])

    def rectangles(self) -> Iterator[Rectangle]:
        """All cells, regrouped, in no order that means anything."""
        numbers: dict[int, int] = {}
        everywhere: Counter[tuple[int, int]] = Counter()
        cells = []
        for bit, of in enumerate(self.cells):
            for ends, answer in of:
                # Sets are told apart by a number, answers by the one object that each is: both are quicker to compare.
                without = numbers.setdefault(ends, len(numbers)), id(answer)
                including = numbers.setdefault(ends | 1 << bit, len(numbers)), id(answer)
                cells.append((bit, without, including, answer))
                everywhere[without] += 1
                everywhere[including] += 1
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        answers, apart = {}, {}
        for bit, without, including, answer in cells:
            answers[id(answer)] = answer
            apart[bit, including] = without
            groups[including if everywhere[including] > everywhere[without] else without].append(bit)
        for key, bits in list(groups.items()):
            # What was to join others and stayed alone need not speak of itself.
            if len(bits) == 1 and (without := apart.get((bits[0], key), key)) != key:
                groups[without] += groups.pop(key)
        sets = list(numbers)
        for (number, identity), bits in groups.items():
            yield Rectangle(self.space.named(members(sets[number])), self.space.named(bits), answers[identity])

    def _from_workloads(self, entry: Callable[[str, Answer], Entry]) -> Iterator[tuple[str, list[Entry]]]:
        space = self.space
        entry = lru_cache(maxsize=None)(entry)
        inside = [
            (ends, space.names[bit], answer) for bit in range(space.workloads) for ends, answer in self.cells[bit]
        ]
        outside = [
            (ends, number, answer)
            for number in range(len(space.ranges))
            for ends, answer in self.cells[space.first_range + number]
        ]
        entries = [entry(name, answer) for _, name, answer in inside]
        names = [name for _, name, _ in inside]
        numbered = [(number, answer) for _, number, answer in outside]
        sources = [*range(space.workloads), space.index[INGRESS_CONTROLLER]]
        runs = cache(lambda selected: [(name, entry(name, answer)) for name, answer in space.runs(selected)])
        for start in range(0, len(sources), _CHUNK):
            chunk = sources[start : start + _CHUNK]
            marks = (memberships([ends for ends, *_ in cells], chunk[0], chunk[-1] + 1) for cells in (inside, outside))
            for source, to_workloads, to_ranges in zip(chunk, *marks, strict=True):
                found = list(compress(entries, to_workloads))
                beyond = runs(tuple(compress(numbered, to_ranges)))
                if beyond:
                    _insert(found, list(compress(names, to_workloads)), beyond)
                if found:
                    yield space.names[source], found

    def _from_ranges(self, entry: Callable[[str, Answer], Entry]) -> Iterator[tuple[str, list[Entry]]]:
        space = self.space
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        runs = cache(space.runs)
        for bit in range(space.workloads):
            numbered = [
                (number, answer) for ends, answer in self.cells[bit] for number in members(ends >> space.first_range)
            ]
            for name, answer in runs(tuple(sorted(numbered, key=lambda pair: pair[0]))):
                found[name].append(entry(space.names[bit], answer))
        yield from sorted(found.items())


def connections(policies: CompiledPolicies, routed: Routed) -> Connections:
    """Everything that is allowed, or may be."""
    return _connections([policies], [routed])


def changed(before: CompiledPolicies, after: CompiledPolicies, routed: tuple[Routed, Routed]) -> Connections:
    """Everything whose answer differs between two states of one space."""
    return _connections([before, after], routed)


def isolation_flips(before: CompiledPolicies, after: CompiledPolicies) -> tuple[IsolationFlip, ...]:
    """Workloads of both states that NetworkPolicies isolate in one alone, ordered by name and direction."""
    both = before.state.folded(before.state.pods) & after.state.folded(after.state.pods)
    flips: list[IsolationFlip] = []
    for direction in DIRECTIONS:
        was, will = (policies.state.folded(policies.isolated[direction]) for policies in (before, after))
        flips += _isolated(after, direction, will & ~was & both, afterwards=True)
        flips += _isolated(before, direction, was & ~will & both, afterwards=False)
    return tuple(sorted(flips, key=lambda flip: (flip.workload, flip.direction)))


def _isolated(
    policies: CompiledPolicies, direction: Direction, flipped: int, *, afterwards: bool
) -> Iterator[IsolationFlip]:
    """Flips of some workloads, each with the policies of the state in which it is isolated."""
    because: defaultdict[int, list[str]] = defaultdict(list)
    for policy in policies.namespaced[direction]:
        for bit in members(policies.state.folded(policy.subject) & flipped):
            because[bit].append(str(policy.policy))
    names = policies.state.space.names
    return (IsolationFlip(names[bit], direction, afterwards, tuple(sorted(because[bit]))) for bit in because)


def _connections(states: Sequence[CompiledPolicies], routed: Sequence[Routed]) -> Connections:
    space = states[0].state.space
    controller = space.index[INGRESS_CONTROLLER]
    everybody = ((1 << len(space.names)) - 1) & ~(1 << controller)
    workloads = (1 << space.workloads) - 1
    cells: list[tuple[tuple[int, Answer], ...]] = []
    parts: dict[tuple[int, ...], tuple[tuple[Column, ...], list[tuple[int, Answer]]]] = {}
    for bit, of_states in enumerate(zip(*map(columns, states), strict=True)):
        if bit == controller:
            cells.append(())
            continue
        # Between two ends that no manifest holds there is nothing to tell.
        allowed = everybody & ~(1 << bit) if bit < space.workloads else workloads
        # Destinations that the same rules speak of have one column; it is kept, so that its identity stays its own.
        same = tuple(map(id, of_states))
        if same not in parts:
            parts[same] = of_states, _parts(of_states)
        found = [(ends, answer) for every, answer in parts[same][1] if (ends := every & allowed)]
        ports = [of.get(space.names[bit], frozenset()) for of in routed]
        if any(ports):
            answer = tuple(_routed(column, controller, of) for column, of in zip(of_states, ports, strict=True))
            if len(set(answer)) > 1 or (len(answer) == 1 and answer[0]):
                found.append((1 << controller, _the(answer)))
        cells.append(tuple(found))
    return Connections(space, tuple(cells))


def _parts(of_states: tuple[Column, ...]) -> list[tuple[int, Answer]]:
    """Sources by their answer, of those that have something to tell."""
    starts, rows = zip(*aligned(of_states), strict=True) if any(of_states) else ((), ())
    telling = 0
    for sets in rows:
        (sure, maybe), (other_sure, other_maybe) = sets[0], sets[-1] if len(sets) > 1 else (0, 0)
        telling |= sure ^ other_sure
        if maybe is not sure or other_maybe is not other_sure:
            telling |= maybe ^ other_maybe
    # The same sets come again and again between ports that are named: each splits the sources once.
    known: dict[int | tuple[int, int], int] = {}
    places = [
        known.setdefault(sure if maybe is sure else (sure, maybe), len(known)) for row in rows for sure, maybe in row
    ]
    parts: list[tuple[int, tuple[int, ...]]] = [(telling, ())] if telling else []
    for sets in known:
        sure, maybe = sets if isinstance(sets, tuple) else (sets, sets)
        parts = list(_split(parts, sure, maybe))
    return [(ends, _answer(starts, tuple(map(codes.__getitem__, places)), len(of_states))) for ends, codes in parts]


def _split(parts: list[tuple[int, tuple[int, ...]]], sure: int, maybe: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    for ends, codes in parts:
        found = ends & sure
        rest = ends ^ found
        if found:
            yield found, (*codes, 2)
        if rest and maybe is not sure and (found := rest & maybe):
            yield found, (*codes, 1)
            rest ^= found
        if rest:
            yield rest, (*codes, 0)


@cache
def _the(answer: Answer) -> Answer:
    """The one object that gives an answer."""
    return answer


@lru_cache(maxsize=65536)
def _answer(starts: tuple[int, ...], codes: tuple[int, ...], width: int) -> Answer:
    ends = [start - 1 for start in (*starts[1:], interval("UDP", 0, 65536)[1])]
    spans = list(zip(starts, ends, strict=True))
    answer = tuple(
        Allowed(
            ports_on_line(span for span, code in zip(spans, codes[state::width], strict=True) if code == 2),
            ports_on_line(span for span, code in zip(spans, codes[state::width], strict=True) if code == 1),
        )
        for state in range(width)
    )
    return _the(answer)


def _routed(column: Column, controller: int, ports: frozenset[int]) -> Allowed:
    """What a controller that nobody knows may do, of what is routed."""
    sure, maybe = [], []
    for port in sorted(ports):
        first, last = interval("TCP", port, port)
        _, surely, possibly = part_at(column, first)
        if surely >> controller & 1:
            sure.append((first, last))
        elif possibly >> controller & 1:
            maybe.append((first, last))
    return Allowed(ports_on_line(sure), ports_on_line(maybe))


def _insert(found: list[Entry], names: list[str], more: Sequence[tuple[str, Entry]]) -> None:
    """Put ordered entries among others that are ordered by `names`."""
    for name, entry in more:
        at = bisect_left(names, name)
        names.insert(at, name)
        found.insert(at, entry)
