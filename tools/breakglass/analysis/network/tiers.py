"""The tiers around NetworkPolicy: ordered rules that accept, deny or pass.

Within a tier the policies are asked by priority, in a policy the first rule that matches decides; accept and deny are
final, pass leaves the tier. Policies of equal priority have no order, so any of them may come first
(https://network-policy-api.sigs.k8s.io/reference/spec/#policy.networking.k8s.io/v1alpha2.ClusterNetworkPolicySpec).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from breakglass.analysis.network.compiled import CompiledPolicies, CompiledPolicy
from breakglass.analysis.network.pod import ContainerPort
from breakglass.analysis.network.policy import Action, Direction, Tier


@dataclass(frozen=True, slots=True)
class RuleAt:
    """A rule at one destination, on one interval of ports: the sources that it surely, or possibly, decides for."""

    action: Action
    first: int
    last: int
    sure: int
    maybe: int


@dataclass(frozen=True, slots=True)
class Decided:
    """What a tier may decide: with equal priorities, or rules that may match, an end can be in several of the sets."""

    accepted: int
    denied: int
    passed: int
    undecided: int


class TiersAt:
    """The cluster-wide policies at the destinations that lie in the same sets of ends."""

    def __init__(self, policies: CompiledPolicies, within: frozenset[int], declared: tuple[ContainerPort, ...]) -> None:
        """Find the rules that speak of the destinations.

        Args:
            policies: all of the state.
            within: the sets that the destinations lie in, of all sets that any rule or subject is made of.
            declared: the ports that the destinations declare.
        """
        self._everybody = policies.state.everybody
        self._groups = {
            key: [[list(_rules_at(policies, policy, key[1], within, declared)) for policy in group] for group in groups]
            for key, groups in policies.tiers.items()
        }

    def cuts(self) -> Iterator[int]:
        """Where intervals of ports begin, or have ended."""
        for groups in self._groups.values():
            for rule in (rule for group in groups for rules in group for rule in rules):
                yield rule.first
                yield rule.last + 1

    def through(self, direction: Direction, port: int, free: int, sure: int, maybe: int) -> tuple[int, int]:
        """Who gets through all tiers in one direction, surely and possibly.

        Args:
            direction: of the connection, as the subjects of the policies see it.
            port: of the destination, on the line of all ports.
            free: sources for which no NetworkPolicy isolates in this direction.
            sure: those that the NetworkPolicies let through whatever the implementation, of the isolated ones.
            maybe: the same of some implementation.
        """
        admin = self._decide("admin", direction, port, self._everybody)
        reached = admin.undecided | admin.passed
        baseline = self._decide("baseline", direction, port, reached & free)
        accepted = admin.accepted | (reached & maybe & ~free) | baseline.accepted
        accepted |= baseline.undecided | baseline.passed
        denied = admin.denied | (reached & ~sure & ~free) | baseline.denied
        return accepted & ~denied, accepted

    def _decide(self, tier: Tier, direction: Direction, port: int, ends: int) -> Decided:
        outcome: dict[Action, int] = {"accept": 0, "deny": 0, "pass": 0}
        for group in self._groups.get((tier, direction), ()):
            if not ends:
                break
            left_by_all = ends
            for rules in group:
                left = ends
                for rule in rules:
                    if rule.first <= port <= rule.last:
                        outcome[rule.action] |= left & (rule.sure | rule.maybe)
                        left &= ~rule.sure
                left_by_all &= left
            ends = left_by_all
        return Decided(outcome["accept"], outcome["deny"], outcome["pass"], ends)


def _rules_at(
    policies: CompiledPolicies,
    policy: CompiledPolicy,
    direction: Direction,
    within: frozenset[int],
    declared: tuple[ContainerPort, ...],
) -> Iterator[RuleAt]:
    if direction == "ingress" and policy.subject not in within:
        return
    for rule in policy.rules:
        if direction == "ingress":
            sure, maybe = rule.sure, rule.maybe
        else:
            sure = policy.subject if rule.sure in within else 0
            maybe = policy.subject & ~sure if rule.maybe in within else 0
        if sure or maybe:
            for first, last, certain in policies.intervals(rule.rule.ports, declared):
                yield RuleAt(rule.rule.action, first, last, sure if certain else 0, maybe if certain else sure | maybe)
