"""One state in a space: its ends as sets of bits, by what selectors, blocks and nodes mean."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from breakglass.analysis.network.bitset import bits, index
from breakglass.analysis.network.pod import NAMESPACE_NAME, ContainerPort, Node, Pod
from breakglass.analysis.network.policy import Block, BlockPeer, NetworksPeer, NodesPeer, PodPeer
from breakglass.analysis.network.space import Objects, PodEnd, Space
from breakglass.analysis.selector import Selector

_Apart = tuple[tuple[ContainerPort, ...], frozenset[int], bool, frozenset[int]]
"""What tells pods of one name apart: ports, ranges of addresses, whose network, ranges of their node."""


class State:
    """One state in a space: which bits stand for what there.

    Attributes:
        ends: what the bits of pods stand for; those of addresses are the same in every state.
        extra: bits beyond those of the space, each with the bit of the same name.
        bits_of_name: the bits of each workload's name.
        bit_of_pod: the bit of each Pod, by `namespace/name`.
        pods: all ends that policies are about.
        hosts: pods in the network of their node.
        addresses: all ranges of addresses.
        everybody: all ends.
    """

    def __init__(self, space: Space, objects: Objects) -> None:
        """Give every end of the state its bits."""
        self.space = space
        self.objects = objects
        self.ends: dict[int, PodEnd] = {space.index[name]: end for name, end in space.pseudo.items()}
        self.extra: list[tuple[int, int]] = []
        self.bits_of_name: dict[str, list[int]] = {}
        self.bit_of_pod: dict[str, int] = {}
        self._by_identity: dict[int, int] = {}
        nodes = {node.name: node for node in objects.nodes}
        for name, pods in space.pods_of(objects):
            namespace = name.partition("/")[0]
            of = objects.namespaces.get(namespace, {NAMESPACE_NAME: namespace})
            for position, (end, alike) in enumerate(_ends(space, namespace, of, pods, nodes)):
                bit = space.index[name]
                if position:
                    self.extra.append((len(space.names) + len(self.extra), bit))
                    bit = self.extra[-1][0]
                self.ends[bit] = end
                self.bits_of_name.setdefault(name, []).append(bit)
                self.bit_of_pod.update((f"{namespace}/{pod.name}", bit) for pod in alike if pod.name)
                self._by_identity.update((id(pod), bit) for pod in alike)
        self.size = len(space.names) + len(self.extra)
        self.addresses = ((1 << len(space.ranges)) - 1) << space.first_range
        self.pods = bits(bit for bit, end in self.ends.items() if not end.host)
        self.hosts = bits(bit for bit, end in self.ends.items() if end.host)
        self.everybody = self.pods | self.hosts | self.addresses

    def bit_of(self, pod: Pod) -> int:
        """The bit of pods of this very state."""
        return self._by_identity[id(pod)]

    def folded(self, ends: int) -> int:
        """A set of ends with one bit a name."""
        for extra, bit in self.extra:
            if ends >> extra & 1:
                ends |= 1 << bit
        return ends & ((1 << len(self.space.names)) - 1)

    def select(self, peer: PodPeer) -> int:
        """The pods that are meant."""
        pods = self._matching(peer.pods) if peer.pods is not None else self.pods
        if peer.namespace is not None:
            return pods & self._by_namespace.get(peer.namespace, 0)
        return pods & self._in_namespaces(peer.namespaces) if peer.namespaces is not None else pods

    def on_networks(self, peer: NetworksPeer) -> int:
        """Addresses in networks, and the pods that have them."""
        found = 0
        for block in peer.networks:
            found |= self.space.bits_of(block) | self.holders(block, self.everybody)
        return found

    def on_nodes(self, peer: NodesPeer) -> int:
        """Addresses of nodes, and the pods that share them."""
        found = 0
        for node in self.objects.nodes:
            if peer.nodes.matches(node.labels):
                found |= self._at(map(self.space.range_of, node.addresses))
        return found

    @cached_property
    def node_addresses(self) -> int:
        """Ranges that are the address of a node."""
        numbers = {self.space.range_of(address) for node in self.objects.nodes for address in node.addresses}
        return bits(self.space.first_range + number for number in numbers)

    def in_block(self, peer: BlockPeer) -> tuple[int, int]:
        """Ends in the block of a peer, and those of them in its exceptions, which the first set still holds."""
        inside = self.space.bits_of(peer.block) | self.holders(peer.block, self.everybody)
        excepted = 0
        for exception in peer.exceptions:
            excepted |= self.space.bits_of(exception)
        if peer.exceptions:
            excepted |= self._only_in(peer)
        return inside, excepted

    def _only_in(self, peer: BlockPeer) -> int:
        """Pods that have an address in the exceptions and none in the rest of the block."""
        out = rest = 0
        slices = [self.space.slice_of(exception) for exception in peer.exceptions]
        first, beyond = self.space.slice_of(peer.block)
        for number in self._occupied[bisect_left(self._occupied, first) : bisect_left(self._occupied, beyond)]:
            if any(low <= number < high for low, high in slices):
                out |= self._by_range[number]
            else:
                rest |= self._by_range[number]
        return out & ~rest

    def holders(self, block: Block, among: int) -> int:
        """Pods that have an address in a block."""
        first, beyond = self.space.slice_of(block)
        found = 0
        for number in self._occupied[bisect_left(self._occupied, first) : bisect_left(self._occupied, beyond)]:
            found |= self._by_range[number]
        return found & among

    def local_to(self, end: PodEnd) -> int:
        """The node that pods run on: its addresses, and the pods that share them."""
        return self._at(end.local)

    def _at(self, numbers: Iterable[int]) -> int:
        """Addresses of nodes by their numbers, and the pods that share them."""
        found = 0
        for number in numbers:
            found |= 1 << (self.space.first_range + number) | (self._by_range.get(number, 0) & self.hosts)
        return found

    @cached_property
    def _by_range(self) -> dict[int, int]:
        return index((number, bit) for bit, end in self.ends.items() for number in end.ranges)

    @cached_property
    def _occupied(self) -> list[int]:
        return sorted(self._by_range)

    @cached_property
    def _by_namespace(self) -> dict[str, int]:
        return index((end.namespace, bit) for bit, end in self.ends.items() if not end.host)

    @cached_property
    def _by_label(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, list[int]]] = {}
        for bit, end in self.ends.items():
            if not end.host:
                for key, value in end.labels.items():
                    found.setdefault(key, {}).setdefault(value, []).append(bit)
        return {key: {value: bits(numbers) for value, numbers in values.items()} for key, values in found.items()}

    @cached_property
    def _selected(self) -> dict[Selector, int]:
        return {}

    def _matching(self, selector: Selector) -> int:
        """Pods that a selector matches, wherever they are."""
        found = self._selected.get(selector)
        if found is None:
            found = self.pods
            for requirement in selector.requirements:
                values = self._by_label.get(requirement.key, {})
                having = 0
                wanted = requirement.values if requirement.operator in ("In", "NotIn") else values
                for value in wanted:
                    having |= values.get(value, 0)
                found &= having if requirement.operator in ("In", "Exists") else ~having
            self._selected[selector] = found
        return found

    @cached_property
    def _namespaces(self) -> list[tuple[Mapping[str, str], int]]:
        """Labels of namespaces that hold pods, and those pods; the same name may have other labels in an example."""
        labels = {id(end.namespace_labels): end.namespace_labels for end in self.ends.values()}
        holding = index((id(end.namespace_labels), bit) for bit, end in self.ends.items() if not end.host)
        return [(labels[identity], pods) for identity, pods in holding.items()]

    @cached_property
    def _inside(self) -> dict[Selector, int]:
        return {}

    def _in_namespaces(self, selector: Selector) -> int:
        found = self._inside.get(selector)
        if found is None:
            found = 0
            for labels, bits in self._namespaces:
                if selector.matches(labels):
                    found |= bits
            self._inside[selector] = found
        return found


def _ends(
    space: Space, namespace: str, labels: Mapping[str, str], pods: Iterable[Pod], nodes: Mapping[str, Node]
) -> Iterator[tuple[PodEnd, list[Pod]]]:
    """Pods of one name, as few ends as policies can tell apart by ports and addresses."""
    found: defaultdict[_Apart, list[Pod]] = defaultdict(list)
    for pod in pods:
        node = nodes.get(pod.node)
        local = frozenset(map(space.range_of, node.addresses)) if node is not None else frozenset()
        own = frozenset(map(space.range_of, pod.addresses))
        if pod.host_network:
            found[(), local or own, True, local].append(pod)
        else:
            found[pod.ports, own, False, local].append(pod)
    for (ports, ranges, host, local), alike in found.items():
        yield PodEnd(namespace, labels, alike[0].labels, ports, ranges, host, local), alike
