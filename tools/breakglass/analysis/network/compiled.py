"""Policies in the bits of one state, as one implementation reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import compress

from breakglass.analysis.network.bitset import memberships, union_of
from breakglass.analysis.network.pod import ContainerPort
from breakglass.analysis.network.policy import (
    DIRECTIONS,
    BlockPeer,
    Direction,
    NetworksPeer,
    NodesPeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
    RulePort,
    Tier,
)
from breakglass.analysis.network.portline import EVERY_PROTOCOL, interval
from breakglass.analysis.network.ports import LAST_PORT
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.network.state import State

Interval = tuple[int, int, bool]
"""First and last port on the line of all ports, and whether every implementation means them."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule in the bits of a state.

    Attributes:
        policy: the policy it stands in.
        rule: the rule itself.
        subject: the ends that the policy is about.
        sure: the other ends that every implementation means.
        maybe: the other ends that some mean.
    """

    policy: Policy
    rule: Rule
    subject: int
    sure: int
    maybe: int


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy in one direction, in the bits of a state."""

    policy: Policy
    subject: int
    rules: tuple[CompiledRule, ...]


class CompiledPolicies:
    """All policies of one state.

    Attributes:
        state: the state.
        profile: how the implementation reads what the specification leaves open.
        namespaced: NetworkPolicies, by the directions that they isolate.
        tiers: the cluster-wide policies of a tier in one direction, in groups of equal priority, the first asked first.
        isolated: the pods that some NetworkPolicy selects, by direction.
        names_ports: whether any rule names a port, so that it matters what a destination declares.
    """

    def __init__(self, state: State, profile: Profile) -> None:
        """Compile the policies of the state as an implementation reads them."""
        self.state = state
        self.profile = profile
        self.namespaced: dict[Direction, list[CompiledPolicy]] = {"egress": [], "ingress": []}
        self.tiers: dict[tuple[Tier, Direction], list[list[CompiledPolicy]]] = {}
        ordered: defaultdict[tuple[Tier, int], list[Policy]] = defaultdict(list)
        for policy in state.objects.policies:
            if policy.tier == "networkpolicy":
                for direction in policy.rules:
                    self.namespaced[direction].append(self._compile(policy, direction))
            else:
                ordered[policy.tier, policy.priority].append(policy)
        for (tier, _), policies in sorted(ordered.items()):
            for direction in DIRECTIONS:
                group = [self._compile(policy, direction) for policy in policies if direction in policy.rules]
                self.tiers.setdefault((tier, direction), []).append(group)
        self.isolated = {
            direction: union_of(policy.subject for policy in self.namespaced[direction]) for direction in DIRECTIONS
        }
        self.names_ports = any(
            isinstance(port.port, str)
            for policy in state.objects.policies
            for rules in policy.rules.values()
            for rule in rules
            for port in rule.ports or ()
        )
        self.intervals = cache(self._intervals)
        self._selecting: dict[int, list[tuple[CompiledPolicy, ...]]] = {}

    def about(self, policies: list[CompiledPolicy], subject: int) -> tuple[CompiledPolicy, ...]:
        """Those of some of the compiled policies that are about a pod.

        Args:
            policies: one of the lists of `namespaced` or `tiers`.
            subject: its bit.
        """
        by_subject = self._selecting.get(id(policies))
        if by_subject is None:
            marks = memberships([policy.subject for policy in policies], 0, self.state.size)
            by_subject = self._selecting[id(policies)] = [tuple(compress(policies, each)) for each in marks]
        return by_subject[subject]

    def _compile(self, policy: Policy, direction: Direction) -> CompiledPolicy:
        subject = self.state.select(policy.subject)
        rules = []
        for rule in policy.rules[direction]:
            sure, maybe = self._ends_of(rule)
            rules.append(CompiledRule(policy, rule, subject, sure, maybe & ~sure))
        return CompiledPolicy(policy, subject, tuple(rules))

    def _ends_of(self, rule: Rule) -> tuple[int, int]:
        if rule.peers is None:
            return self.state.everybody, 0
        sure = maybe = 0
        for peer in rule.peers:
            surely, perhaps = self._peer(peer)
            sure |= surely
            maybe |= perhaps
        return sure, maybe

    def _peer(self, peer: Peer) -> tuple[int, int]:
        state = self.state
        if isinstance(peer, PodPeer):
            return state.select(peer), 0
        if isinstance(peer, BlockPeer):
            return self._block(peer)
        if isinstance(peer, NetworksPeer):
            return state.on_networks(peer), 0
        if isinstance(peer, NodesPeer):
            return state.on_nodes(peer), 0
        # Names outside: no manifest tells which addresses they stand for.
        return 0, state.addresses & ~state.node_addresses

    def _block(self, peer: BlockPeer) -> tuple[int, int]:
        state, profile = self.state, self.profile
        inside, excepted = state.in_block(peer)
        sure = inside if profile.honours_except is False else inside & ~excepted
        maybe = excepted if profile.honours_except is None else 0
        for matched, ends in (
            (profile.ip_blocks_match_pods, state.pods),
            (profile.ip_blocks_match_nodes, state.node_addresses | state.hosts),
        ):
            if matched is None:
                maybe |= sure & ends
            if matched is False:
                maybe &= ~ends
            if not matched:
                sure &= ~ends
        return sure, maybe

    def _intervals(
        self, ports: tuple[RulePort, ...] | None, declared: tuple[ContainerPort, ...]
    ) -> tuple[Interval, ...]:
        """The ports that a rule means at a destination that declares these."""
        if ports is None:
            return tuple((*span, True) for span in EVERY_PROTOCOL)
        found: list[Interval] = []
        for port in ports:
            if isinstance(port.port, str):
                found += [
                    (*interval(each.protocol, each.number, each.number), True)
                    for each in declared
                    if each.name == port.port and port.protocol in (None, each.protocol)
                ]
            elif port.protocol is not None:
                found += self._numbered(port.protocol, port.port, port.last)
        return tuple(_disjoint(found))

    def _numbered(self, protocol: str, first: int | None, last: int) -> list[Interval]:
        if first is None:
            return [(*interval(protocol, 1, LAST_PORT), True)]
        if first == last or self.profile.honours_end_port:
            return [(*interval(protocol, first, last), True)]
        found: list[Interval] = [(*interval(protocol, first, first), True)]
        if self.profile.honours_end_port is None:
            found.append((*interval(protocol, first + 1, last), False))
        return found


def _disjoint(intervals: list[Interval]) -> Iterator[Interval]:
    """The same ports, those that every implementation means apart from the others: as few intervals as there can be."""
    for certain in (True, False):
        merged: list[tuple[int, int]] = []
        for first, last in sorted((first, last) for first, last, each in intervals if each is certain):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        yield from ((first, last, certain) for first, last in merged)
