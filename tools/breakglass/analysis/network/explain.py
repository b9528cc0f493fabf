"""Why one connection is allowed or not: the deciding rule of every tier, found by asking for this connection alone.

This goes its own way to the answer, one pair and one port at a time; that it agrees with the columns is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from breakglass.analysis.network.compiled import CompiledPolicies, CompiledPolicy, CompiledRule
from breakglass.analysis.network.policy import Action, Direction, Tier

Verdict = Literal["allow", "deny", "depends"]
UNDECIDED = "no policy decides, so it is allowed"
_ACTS: dict[Action, str] = {"accept": "accepts", "deny": "denies", "pass": "passes"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict and its reasons.

    Attributes:
        verdict: of both directions together; `depends` where implementations, or orders left open, differ.
        egress: of the source's side.
        ingress: of the destination's side.
        why: the rule that decides in each tier, one sentence each.
    """

    verdict: Verdict
    egress: Verdict
    ingress: Verdict
    why: tuple[str, ...]


def explain(policies: CompiledPolicies, source: int, destination: int, port: int) -> Explanation:
    """Explain one connection.

    Args:
        policies: of the state that is asked about.
        source: a bit of the state.
        destination: another, or the same for two pods that no policy tells apart; a pod always reaches itself.
        port: of the destination, on the line of all ports.
    """
    egress, out = _direction(policies, "egress", source, destination, port)
    ingress, into = _direction(policies, "ingress", destination, source, port)
    if "deny" in (egress, ingress):
        verdict: Verdict = "deny"
    else:
        verdict = "allow" if egress == ingress == "allow" else "depends"
    return Explanation(verdict, egress, ingress, (*out, *into))


def _direction(
    policies: CompiledPolicies, direction: Direction, subject: int, other: int, port: int
) -> tuple[Verdict, list[str]]:
    asked = _Question(policies, direction, subject, other, port)
    outcomes: set[bool] = set()
    goes_on = asked.tier("admin", outcomes)
    if goes_on and asked.isolated():
        asked.namespaced(outcomes)
    elif goes_on and asked.tier("baseline", outcomes):
        outcomes.add(True)
        asked.why.append(f"{direction}: {UNDECIDED}")
    return ("depends" if len(outcomes) > 1 else "allow" if outcomes == {True} else "deny"), asked.why


class _Question:
    """One direction of one connection."""

    def __init__(self, policies: CompiledPolicies, direction: Direction, subject: int, other: int, port: int) -> None:
        self._policies = policies
        self._direction = direction
        self._subject = subject
        self._other = other
        self._end = 1 << other
        self._port = port
        end = policies.state.ends.get(subject if direction == "ingress" else other)
        self._declared = end.ports if end is not None else ()
        self._local = policies.state.local_to(end) if end is not None and direction == "ingress" else 0
        self.why: list[str] = []

    def tier(self, tier: Tier, outcomes: set[bool]) -> bool:
        """Ask a tier of cluster-wide policies; whether the next tier may be reached."""
        passed = False
        for group in self._policies.tiers.get((tier, self._direction), ()):
            decided = False
            for policy in self._policies.about(group, self._subject):
                for rule, certain in self._matching(policy):
                    self._tell(tier, policy, rule, certain)
                    passed |= rule.rule.action == "pass"
                    if rule.rule.action != "pass":
                        outcomes.add(rule.rule.action == "accept")
                    if certain:
                        decided = True
                        break
            if decided:
                return passed
        return True

    def isolated(self) -> bool:
        """Whether NetworkPolicies have the last word."""
        return bool(self._policies.isolated[self._direction] >> self._subject & 1)

    def namespaced(self, outcomes: set[bool]) -> None:
        """Ask the NetworkPolicies that select the subject: they add up."""
        local = self._policies.profile.local_node_reaches_pods
        if self._local >> self._other & 1 and local is not False:
            outcomes.add(True)
            self.why.append(f"{self._direction}: it is the pod's own node" + ("" if local else ", where it may"))
            if local:
                return
        isolating = self._policies.about(self._policies.namespaced[self._direction], self._subject)
        matching = [(policy, rule, certain) for policy in isolating for rule, certain in self._matching(policy)]
        sure = [found for found in matching if found[2]]
        outcomes.update({True} if sure else {True, False} if matching else {False})
        for policy, rule, certain in sure or matching:
            self._tell("networkpolicy", policy, rule, certain)
        if not matching:
            names = ", ".join(policy.policy.name for policy in isolating)
            self.why.append(f"{self._direction}: isolated by NetworkPolicy {names}, and no rule of it accepts")

    def _matching(self, policy: CompiledPolicy) -> Iterator[tuple[CompiledRule, bool]]:
        """Rules that match, and whether they do so whatever the implementation."""
        for rule in policy.rules:
            sure = bool(rule.sure & self._end)
            if sure or rule.maybe & self._end:
                for first, last, certain in self._policies.intervals(rule.rule.ports, self._declared):
                    if first <= self._port <= last:
                        yield rule, sure and certain

    def _tell(self, tier: Tier, policy: CompiledPolicy, rule: CompiledRule, certain: bool) -> None:
        order = "" if tier == "networkpolicy" else f" ({tier} tier, priority {policy.policy.priority})"
        acts = _ACTS[rule.rule.action] if certain else f"{_ACTS[rule.rule.action]} with some implementations"
        self.why.append(f"{self._direction}: {policy.policy}{order} {rule.rule.name} {acts}")
