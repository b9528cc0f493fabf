"""The ends of connections as bits: one numbering for every state that is compared, so that a difference is an XOR.

Bit i of a set stands for the end `names[i]`: workloads first, then pods that only a selector or a route tells of, then
ranges of addresses, cut wherever a policy or a node's address makes a difference. A workload whose pods differ by ports
or addresses has more bits in a state than its one; `State.folded` brings them back to it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TypeVar

from breakglass.analysis.network.pod import Address, ContainerPort, Node, Pod, Workload
from breakglass.analysis.network.policy import (
    Block,
    BlockPeer,
    NetworksPeer,
    Peer,
    PodPeer,
    Policy,
)
from breakglass.analysis.selector import Selector

INGRESS_CONTROLLER = "{ingress-controller}"
"""An unlabelled pod of a namespace that nobody knows: whatever it is that serves Ingresses and routes."""

Told = TypeVar("Told")

_IPV6 = 1 << 32
"""Where the line of all addresses goes on with IPv6."""
_END = _IPV6 + (1 << 128)


@dataclass(frozen=True, slots=True)
class Objects:
    """What one state of a cluster says of its network.

    Attributes:
        workloads: everything that runs.
        namespaces: labels of every namespace by name.
        nodes: the nodes that are known.
        policies: of every kind.
    """

    workloads: tuple[Workload, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    nodes: tuple[Node, ...]
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PodEnd:
    """Pods that no policy tells apart.

    Attributes:
        namespace: its name; empty where nobody knows it.
        namespace_labels: labels of that namespace.
        labels: labels of the pods.
        ports: what their containers declare.
        ranges: numbers of the address ranges their addresses lie in.
        host: they use the network of their node.
        local: numbers of the address ranges of the node they run on, where it is known.
    """

    namespace: str
    namespace_labels: Mapping[str, str]
    labels: Mapping[str, str]
    ports: tuple[ContainerPort, ...] = ()
    ranges: frozenset[int] = frozenset()
    host: bool = False
    local: frozenset[int] = frozenset()


class Space:
    """The numbering of ends, common to all states of a comparison."""

    def __init__(
        self,
        states: Sequence[Objects],
        examples: Mapping[str, PodEnd] = MappingProxyType({}),
        blocks: Iterable[Block] = (),
    ) -> None:
        """Number the ends.

        Args:
            states: what is compared; one, or before and after.
            examples: pods that no manifest holds, by the name they are told by (`examples_of`).
            blocks: addresses that will be asked about, beside those that the policies name.
        """
        policies = [policy for state in states for policy in state.policies]
        nodes = [node for state in states for node in state.nodes]
        self.starts = _cuts(policies, (address for node in nodes for address in node.addresses), blocks)
        self._split = _keys_that_split(states, {peer for policy in policies for peer in _pod_peers(policy)})
        named = sorted({name for state in states for name, _ in self.pods_of(state)})
        self.workloads = len(named)
        self.pseudo: dict[str, PodEnd] = {INGRESS_CONTROLLER: PodEnd("", {}, {}), **examples}
        self.names = [*named, *self.pseudo]
        self.first_range = len(self.names)
        self.names += [shown_range(first, last) for first, last in self.ranges]
        self.index = {name: bit for bit, name in enumerate(self.names)}

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last address of every range, on the line of all addresses."""
        return [(first, following - 1) for first, following in zip(self.starts, [*self.starts[1:], _END], strict=True)]

    def range_of(self, address: Address) -> int:
        """The number of the range that an address lies in."""
        return bisect_right(self.starts, on_line(address)) - 1

    def slice_of(self, block: Block) -> tuple[int, int]:
        """The ranges that a block is made of: the number of the first, and of the first beyond."""
        first, last = on_line(block.network_address), on_line(block.broadcast_address)
        return bisect_left(self.starts, first), bisect_left(self.starts, last + 1)

    def bits_of(self, block: Block) -> int:
        """The ranges that a block is made of, as a set of ends."""
        first, beyond = self.slice_of(block)
        return ((1 << (beyond - first)) - 1) << (first + self.first_range)

    @cached_property
    def namespaces(self) -> Mapping[str, int]:
        """How many workloads each namespace has."""
        return Counter(name.partition("/")[0] for name in self.names[: self.workloads])

    def named(self, bits: Sequence[int]) -> tuple[str, ...]:
        """Names of ends by their bits, in order; ranges of addresses that adjoin are one."""
        within = bisect_left(bits, self.first_range)
        names = map(self.names.__getitem__, bits[:within])
        if within == len(bits):
            return tuple(names)
        numbered = [(bit - self.first_range, None) for bit in bits[within:]]
        return (*names, *(name for name, _ in self.runs(numbered)))

    def runs(self, numbered: Sequence[tuple[int, Told]]) -> list[tuple[str, Told]]:
        """Ranges of addresses by their numbers, each with what is told of it; those that adjoin and agree are one.

        Returns:
            Names of ranges, ordered.
        """
        ranges, found = self.ranges, []
        at = 0
        while at < len(numbered):
            number, told = numbered[at]
            first, last = ranges[number]
            while (
                at + 1 < len(numbered)
                and numbered[at + 1][0] == numbered[at][0] + 1
                and numbered[at + 1][1] == told
                and adjoining(first, ranges[numbered[at + 1][0]][0])
            ):
                at += 1
                last = ranges[numbered[at][0]][1]
            found.append((shown_range(first, last), told))
            at += 1
        return sorted(found, key=lambda run: run[0])

    def pods_of(self, state: Objects) -> Iterator[tuple[str, list[Pod]]]:
        """The workloads of a state by their names, with their pods; kept apart where a policy can see the labels."""
        for workload in state.workloads:
            keys = self._split.get(str(workload))
            if keys is None:
                yield str(workload), list(workload.pods)
                continue
            apart = defaultdict(list)
            for pod in workload.pods:
                apart[_variant(pod.labels, keys)].append(pod)
            for variant, pods in apart.items():
                yield f"{workload}{{{variant}}}", pods


def on_line(address: Address) -> int:
    """The place of an address on the line of all addresses, IPv4 first."""
    return int(address) + (_IPV6 if address.version == 6 else 0)


def shown_range(first: int, last: int) -> str:
    """A range of the line of all addresses, for people: `10.0.0.0-10.255.255.255`."""
    if first >= _IPV6:
        return f"{IPv6Address(first - _IPV6)}-{IPv6Address(last - _IPV6)}"
    return f"{IPv4Address(first)}-{IPv4Address(last)}"


def adjoining(first: int, following: int) -> bool:
    """Whether a range that begins at `following` goes on with the one before it: IPv6 never goes on with IPv4."""
    return following != _IPV6 or first >= _IPV6


def _cuts(policies: Iterable[Policy], addresses: Iterable[Address], blocks: Iterable[Block]) -> list[int]:
    """Where ranges of addresses begin."""
    named = {block for policy in policies for peer in _peers(policy) for block in _blocks(peer)}
    spans = [(block.network_address, block.broadcast_address) for block in {*named, *blocks}]
    spans += [(address, address) for address in addresses]
    starts = {0, _IPV6}
    for first, last in spans:
        starts |= {on_line(first), on_line(last) + 1}
    return sorted(starts - {_END})


def _peers(policy: Policy) -> Iterator[Peer]:
    for rules in policy.rules.values():
        for rule in rules:
            yield from rule.peers or ()


def _blocks(peer: Peer) -> tuple[Block, ...]:
    if isinstance(peer, BlockPeer):
        return (peer.block, *peer.exceptions)
    return peer.networks if isinstance(peer, NetworksPeer) else ()


def _pod_peers(policy: Policy) -> Iterator[PodPeer]:
    return (peer for peer in (policy.subject, *_peers(policy)) if isinstance(peer, PodPeer) and peer.pods is not None)


def _keys_that_split(states: Iterable[Objects], peers: set[PodPeer]) -> dict[str, tuple[str, ...]]:
    """Labels that tell the pods of one workload apart, for every workload whose pods some selector does tell apart."""
    differing: defaultdict[str, set[str]] = defaultdict(set)
    apart = set()
    for state in states:
        several = [workload for workload in state.workloads if len(workload.pods) > 1]
        selectors = {workload.namespace: _selectors_of(state, workload.namespace, peers) for workload in several}
        mentioned = {namespace: _keys_of(selectors[namespace]) for namespace in selectors}
        for workload in several:
            carried = [pod.labels for pod in workload.pods]
            keys = {key for key in mentioned[workload.namespace] if len({labels.get(key) for labels in carried}) > 1}
            differing[str(workload)] |= keys
            if keys and len({_seen(labels, selectors[workload.namespace]) for labels in carried}) > 1:
                apart.add(str(workload))
    return {name: tuple(sorted(differing[name])) for name in apart}


def _selectors_of(state: Objects, namespace: str, peers: Iterable[PodPeer]) -> list[Selector]:
    """The selectors that look at the pods of a namespace."""
    labels = state.namespaces[namespace]
    return [
        peer.pods
        for peer in peers
        if peer.pods is not None
        and peer.namespace in (None, namespace)
        and (peer.namespaces is None or peer.namespaces.matches(labels))
    ]


def _keys_of(selectors: Iterable[Selector]) -> set[str]:
    return {requirement.key for selector in selectors for requirement in selector.requirements}


def _seen(labels: Mapping[str, str], selectors: Iterable[Selector]) -> tuple[bool, ...]:
    return tuple(selector.matches(labels) for selector in selectors)


def _variant(labels: Mapping[str, str], keys: Iterable[str]) -> str:
    return ",".join(f"{key}={labels[key]}" if key in labels else f"!{key}" for key in keys)
