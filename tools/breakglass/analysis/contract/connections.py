"""Whether an overlay keeps what its contract says of connections.

Blast radius is a whitelist: what opens must be promised, to the port and to the address. A promise between sets is one
for each pair of them: shut before, open after. What depends on the implementation counts as open where it must be shut,
and as shut where it must be open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from breakglass.analysis.comparison import Comparison
from breakglass.analysis.contract.promise import NARROW, REMOVE, UNTRUE, Judged, names_in_cluster, plain
from breakglass.analysis.network.bitset import members, union_of
from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.explain import explain
from breakglass.analysis.network.names import named, ports_shown
from breakglass.analysis.network.policy import Block, PodPeer
from breakglass.analysis.network.portline import EVERY_PROTOCOL, PORT_ZEROS, interval, ports_on_line
from breakglass.analysis.network.ports import LAST_PORT, Ports
from breakglass.analysis.network.reach import Column, columns, part_at
from breakglass.analysis.selector import Requirement, Selector
from breakglass.model.finding import Finding
from breakglass.model.overlay import AddressesEnd, Connection, Contract, End, LabelSelector, PodsEnd

_NEEDED = "see that nobody needs it while the window is open"


@dataclass(frozen=True, slots=True)
class Change:
    """What opens, or what shuts: from every source to every destination, on the same ports.

    Attributes:
        sources: set of ends.
        destinations: bits.
        ports: which of them change.
    """

    sources: int
    destinations: tuple[int, ...]
    ports: Ports


@dataclass(frozen=True, slots=True)
class _Promise:
    """A connection of the contract in the bits of the comparison."""

    connection: Connection
    sources: int
    destinations: tuple[int, ...]
    intervals: tuple[tuple[int, int], ...]


def blocks_of(contract: Contract) -> list[Block]:
    """The addresses that a contract speaks of."""
    ends = [end for each in (*contract.opens, *contract.keepsShut) for end in (each.source, each.destination)]
    return [ip_network(end.cidr) for end in ends if isinstance(end, AddressesEnd)]


class ContractConnections:
    """A contract held to what changes between two states."""

    def __init__(self, contract: Contract, comparison: Comparison, where: str, activation: str) -> None:
        """Resolve the promises.

        Args:
            contract: what the overlay promises.
            comparison: without the overlay and with it, made with `blocks_of(contract)`.
            where: the contract's file, for the findings.
            activation: id whose suffix `-<id>` the overlay's own objects carry; empty where they carry none.
        """
        self._comparison = comparison
        self._where = where
        self._activation = activation
        self._before, self._after = list(columns(comparison.before)), list(columns(comparison.after))
        self._opens = [self._resolved(each) for each in contract.opens]
        self._keeps_shut = [self._resolved(each) for each in contract.keepsShut]

    def judged(self) -> Iterator[Judged]:
        """Every promise."""
        for promise in self._opens:
            findings = self._unknown(promise) or list(self._judge_opening(promise))
            yield Judged("opens", str(promise.connection), tuple(findings))
        for promise in self._keeps_shut:
            findings = self._unknown(promise) or list(self._judge_shut(promise))
            yield Judged("keepsShut", str(promise.connection), tuple(findings))

    def beyond(self) -> Iterator[Finding]:
        """What opens and is not promised; warnings about what shuts and about isolation."""
        yield from self._beyond(self.changes(self._before, self._after, [*self._opens, *self._keeps_shut]))
        for line in self.shut():
            message = f"the overlay shuts {line}, which the baseline lets through"
            yield Finding("contract-shuts", message, self._where, _NEEDED, "warning")
        yield from self._flips()

    def opened(self) -> list[str]:
        """Everything that opens, one line each."""
        return self.lines(self.changes(self._before, self._after))

    def shut(self) -> list[str]:
        """Everything that shuts, one line each."""
        return self.lines(self.changes(self._after, self._before))

    def changes(
        self, shut: Sequence[Column], opened: Sequence[Column], promised: Sequence[_Promise] = ()
    ) -> list[Change]:
        """What the second columns let through and the first do not, less what is promised."""
        space = self._comparison.space
        workloads = (1 << space.workloads) - 1
        nobody = 1 << space.workloads
        groups: defaultdict[tuple[int, Ports], list[int]] = defaultdict(list)
        for bit, (was, will) in enumerate(zip(shut, opened, strict=True)):
            if bit == space.workloads:
                continue
            concerned = [promise for promise in promised if bit in promise.destinations]
            allowed = ~(1 << bit | nobody) if bit < space.workloads else workloads
            spans = [(first, last, ends & allowed) for first, last, ends in _newly(was, will, concerned)]
            for ends, ports in _by_ends(spans).items():
                groups[ends, ports].append(bit)
        return [Change(ends, tuple(bits), ports) for (ends, ports), bits in groups.items()]

    def lines(self, changes: Iterable[Change]) -> list[str]:
        """Changes for people, ordered."""
        return sorted(self._line(change) for change in changes)

    def _beyond(self, changes: Iterable[Change]) -> Iterator[Finding]:
        inside = (1 << self._comparison.space.workloads) - 1
        known, outside = [], []
        for change in changes:
            to_known = tuple(bit for bit in change.destinations if inside >> bit & 1)
            beyond = tuple(bit for bit in change.destinations if not inside >> bit & 1)
            if change.sources & inside and to_known:
                known.append(Change(change.sources & inside, to_known, change.ports))
            if change.sources & ~inside and to_known:
                outside.append(Change(change.sources & ~inside, to_known, change.ports))
            if beyond:
                outside.append(Change(change.sources, beyond, change.ports))
        for line in self.lines(known):
            message = f"the overlay also opens {line}, which the contract does not promise"
            yield Finding("contract-opened-beyond", message, self._where, NARROW)
        for line in self.lines(outside):
            message = f"the overlay also opens {line}, which no manifest holds and the contract does not promise"
            yield Finding("contract-opened-outside", message, self._where, NARROW)

    def _flips(self) -> Iterator[Finding]:
        for flip in self._comparison.isolation_flips():
            name, policies = self._plain(flip.workload), ", ".join(flip.because)
            if flip.isolated:
                message = f"the overlay isolates {name} ({flip.direction}), which the baseline leaves open: {policies}"
                yield Finding("contract-isolates", message, self._where, _NEEDED, "warning")
            else:
                message = f"the overlay lifts the isolation of {name} ({flip.direction}): {policies}"
                yield Finding("contract-isolation-lifted", message, self._where, "see that this is meant", "warning")

    def _unknown(self, promise: _Promise) -> list[Finding]:
        connection = promise.connection
        ends = [(connection.source, bool(promise.sources)), (connection.destination, bool(promise.destinations))]
        missing = dict.fromkeys(
            f"there is no workload {end}" if isinstance(end, str) else f"no pod matches {end}"
            for end, found in ends
            if not found
        )
        return [
            Finding("contract-unknown-workload", f"{connection}: {what}", self._where, "name one that exists")
            for what in missing
        ]

    def _judge_opening(self, promise: _Promise) -> Iterator[Finding]:
        connection = promise.connection
        if already := self._open_on_all_ports(promise):
            message = f"{connection} is open in the baseline already{self._instance(promise, already)}"
            yield Finding("contract-opens-nothing", message, self._where, REMOVE)
        elif still := self._pairs(promise, self._after, wanted=False):
            source, destination, port = still
            why = "; ".join(self._why(self._comparison.after, source, destination, port))
            message = f"{connection} is still shut{self._instance(promise, still)}: {why}"
            remedy = "let the overlay open the source's egress and the destination's ingress"
            yield Finding("contract-still-shut", message, self._where, remedy)
        yield from self._undeclared(promise)

    def _judge_shut(self, promise: _Promise) -> Iterator[Finding]:
        connection = promise.connection
        if already := self._pairs(promise, self._before, wanted=True):
            message = f"{connection} is to stay shut, and is open in the baseline{self._instance(promise, already)}"
            yield Finding("contract-shut-untrue", message, self._where, UNTRUE)
        elif opened := self._pairs(promise, self._after, wanted=True):
            source, destination, port = opened
            why = "; ".join(self._why(self._comparison.after, source, destination, port))
            message = f"{connection} is to stay shut, and the overlay opens it{self._instance(promise, opened)}: {why}"
            yield Finding("contract-shut-broken", message, self._where, "narrow the overlay")
        else:
            yield from self._undeclared(promise)

    def _open_on_all_ports(self, promise: _Promise) -> tuple[int, int, int] | None:
        """A pair of a promise that has nothing to open: in the baseline it is possibly open on all ports promised."""
        for destination in promise.destinations:
            column = self._before[destination]
            sources = promise.sources & ~(1 << destination)
            for start in _starts(column, promise):
                sources &= part_at(column, start)[2]
            if sources:
                return (sources & -sources).bit_length() - 1, destination, promise.intervals[0][0]
        return None

    def _pairs(self, promise: _Promise, state: Sequence[Column], *, wanted: bool) -> tuple[int, int, int] | None:
        """A pair and a port of a promise that is possibly open (wanted), or not surely open (not wanted)."""
        for destination in promise.destinations:
            column = state[destination]
            sources = promise.sources & ~(1 << destination)
            for start in _starts(column, promise):
                _, sure, maybe = part_at(column, start)
                if found := sources & (maybe if wanted else ~sure):
                    return (found & -found).bit_length() - 1, destination, start
        return None

    def _instance(self, promise: _Promise, pair: tuple[int, int, int]) -> str:
        """The pair that a message is about, where the promise is about several."""
        if isinstance(promise.connection.source, str) and isinstance(promise.connection.destination, str):
            return ""
        source, destination, port = pair
        return f" ({self._line(Change(1 << source, (destination,), ports_on_line([(port, port)])))})"

    def _why(self, policies: CompiledPolicies, source: int, destination: int, port: int) -> tuple[str, ...]:
        return explain(policies, source, destination, port).why

    def _undeclared(self, promise: _Promise) -> Iterator[Finding]:
        connection = promise.connection
        ends = self._comparison.after.state.ends
        declared = {port for bit in promise.destinations if bit in ends for port in ends[bit].ports}
        if connection.port is None or connection.endPort is not None or not declared:
            return
        if not any((port.protocol, port.number) == (connection.protocol, connection.port) for port in declared):
            ports = f"{connection.protocol} {connection.port}"
            message = f"{connection}: no container of {connection.destination} declares {ports}"
            remedy = "name a port that it listens on"
            yield Finding("contract-undeclared-port", message, self._where, remedy, "warning")

    def _resolved(self, connection: Connection) -> _Promise:
        return _Promise(
            connection,
            self._bits(connection.source),
            tuple(members(self._bits(connection.destination))),
            _intervals(connection),
        )

    def _bits(self, end: End) -> int:
        space = self._comparison.space
        if isinstance(end, AddressesEnd):
            return space.bits_of(ip_network(end.cidr))
        states = [policies.state for policies in (self._comparison.before, self._comparison.after)]
        if isinstance(end, PodsEnd):
            namespaces = _selector(end.namespaceSelector) if end.namespaceSelector is not None else None
            peer = PodPeer(end.namespace, namespaces, _selector(end.podSelector))
            return union_of(state.folded(state.select(peer)) for state in states) & ~(1 << space.workloads)
        names = names_in_cluster(end, self._activation)
        workloads = enumerate(space.names[: space.workloads])
        return union_of(1 << bit for bit, name in workloads if _without_kind(name) in names)

    def _line(self, change: Change) -> str:
        space = self._comparison.space
        sources, destinations = (
            ", ".join(self._plain(name) for name in named(space.named(bits), space))
            for bits in (members(change.sources), change.destinations)
        )
        return f"{sources} → {destinations} {ports_shown(change.ports)}"

    def _plain(self, name: str) -> str:
        """A workload's name as the contract writes it."""
        return plain(_without_kind(name), self._activation)


def _without_kind(name: str) -> str:
    return name.partition("[")[0] if "/" in name else name


def _selector(selector: LabelSelector) -> Selector:
    equal = [Requirement(key, "In", frozenset([value])) for key, value in selector.matchLabels.items()]
    more = [Requirement(each.key, each.operator, frozenset(each.values)) for each in selector.matchExpressions]
    return Selector((*equal, *more))


def _intervals(connection: Connection) -> tuple[tuple[int, int], ...]:
    if connection.protocol == "*":
        return EVERY_PROTOCOL
    first, last = (
        (1, LAST_PORT) if connection.port is None else (connection.port, connection.endPort or connection.port)
    )
    return (interval(connection.protocol, first, last),)


def _starts(column: Column, promise: _Promise) -> Iterator[int]:
    """Ports of a promise, one for each part of the column that they lie in."""
    for first, last in promise.intervals:
        yield first
        yield from (start for start, *_ in column if first < start <= last)


def _newly(was: Column, will: Column, promised: Sequence[_Promise]) -> Iterator[tuple[int, int, int]]:
    """First port, last port, and the sources that the second column lets through and the first does not."""
    cuts = {start for start, *_ in (*was, *will)}
    for promise in promised:
        cuts |= {cut for first, last in promise.intervals for cut in (first, last + 1)}
    starts = sorted(cuts - PORT_ZEROS)
    for first, following in zip(starts, [*starts[1:], EVERY_PROTOCOL[-1][1] + 1], strict=True):
        (_, was_sure, was_maybe), (_, sure, maybe) = part_at(was, first), part_at(will, first)
        ends = (sure & ~was_sure) | (maybe & ~was_maybe)
        for promise in promised:
            if any(begin <= first <= end for begin, end in promise.intervals):
                ends &= ~promise.sources
        if ends:
            yield first, following - 1, ends


def _by_ends(spans: Iterable[tuple[int, int, int]]) -> dict[int, Ports]:
    """Sources by the ports that are all of theirs."""
    parts: dict[int, list[tuple[int, int]]] = {}
    for first, last, ends in spans:
        split: dict[int, list[tuple[int, int]]] = {}
        for known, found in parts.items():
            if known & ends:
                split[known & ends] = [*found, (first, last)]
            if known & ~ends:
                split[known & ~ends] = found
        new = ends & ~union_of(parts)
        parts = split | ({new: [(first, last)]} if new else {})
    return {ends: ports_on_line(found) for ends, found in parts.items()}
