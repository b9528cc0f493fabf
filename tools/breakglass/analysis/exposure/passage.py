"""The way to a workload by the policies of a state: from the ingress controllers' pods, and from addresses outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from itertools import chain
from typing import TYPE_CHECKING

from breakglass.analysis.exposure.ranges import Ranges, merged
from breakglass.analysis.exposure.way import Admission, Passage
from breakglass.analysis.network.bitset import members
from breakglass.analysis.network.compiled import CompiledPolicies, CompiledPolicy
from breakglass.analysis.network.explain import Explanation, Verdict, explain
from breakglass.analysis.network.pod import NAMESPACE_NAME
from breakglass.analysis.network.policy import PodPeer
from breakglass.analysis.network.portline import interval
from breakglass.analysis.network.profile import PROFILES, Profile
from breakglass.analysis.network.space import INGRESS_CONTROLLER, Objects, PodEnd, Space
from breakglass.analysis.network.state import State

if TYPE_CHECKING:
    from breakglass.model.policy import Policy

_IPV6 = 1 << 32


@dataclass(frozen=True, slots=True)
class Controller:
    """Pods of an ingress controller: those of a namespace that carry all of the labels."""

    namespace: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        shown = ",".join(f"{key}={value}" for key, value in sorted(self.labels.items()))
        return f"{{{self.namespace}/{shown}}}"


def controllers_of(policy: Policy) -> tuple[Controller, ...]:
    """The ingress controllers that `breakglass.yaml` names."""
    return tuple(Controller(each.namespace, each.podSelector.matchLabels) for each in policy.spec.ingressControllers)


class PolicyWay:
    """What the policies of one state let through, as `Way` asks for it.

    Where no controller is known, it is an unlabelled pod of a namespace that nobody knows; what lets in some pods but
    not that one is then unknown, for the controller may be one of them. A controller whose pods are not among the
    objects is a pod with its labels. Of several controllers it is enough that one is let through.
    """

    def __init__(
        self, objects: Objects, controllers: Iterable[Controller] = (), profile: Profile = PROFILES["upstream"]
    ) -> None:
        """Compile the policies of a state, as an implementation reads them."""
        controllers = tuple(controllers)
        unlabelled = {INGRESS_CONTROLLER: PodEnd("", {}, {})}
        examples = {str(each): _example(each, objects) for each in controllers} or unlabelled
        space = Space([objects], examples)
        state = State(space, objects)
        self._policies = CompiledPolicies(state, profile)
        self._bits: defaultdict[str, list[int]] = defaultdict(list)
        for name, bits in state.bits_of_name.items():
            # Pods of one workload that a policy tells apart have names with `{label=value}` behind.
            self._bits[name.partition("{")[0]].extend(bits)
        found = {str(each): _pods_of(each, state) for each in controllers}
        self._sources = [bit for name in examples for bit in found.get(name) or [space.index[name]]]
        self._doors = {bit for bits in found.values() for bit in bits}
        self._known = bool(controllers)
        self._ask = cache(self._explanation)
        self._ranges_of = cache(self._addresses_of)

    def from_controllers(self, workload: str, protocol: str, port: int) -> Passage:
        """Whether the ingress controllers' pods reach a workload; `blocked` where there is no such workload."""
        asked = [self._ask(source, bit, protocol, port) for source in self._sources for bit in self._bits[workload]]
        if allowed := [each for each in asked if each.verdict == "allow"]:
            return Passage("open", allowed[0].why)
        if depends := [each for each in asked if each.verdict == "depends"]:
            return Passage("depends", depends[0].why)
        because = tuple(dict.fromkeys(reason for each in asked for reason in each.why))
        if not self._known and any(self._lets_pods_in(bit, protocol, port) for bit in self._bits[workload]):
            return Passage("unknown", (*because, "no ingress controller is known, and it may be among those let in"))
        return Passage("blocked", because)

    def from_outside(self, workload: str, protocol: str, port: int) -> Admission:
        """Which addresses reach a workload; none where there is no such workload."""
        let_in = 0
        reasons: dict[Verdict, dict[str, None]] = {"allow": {}, "depends": {}, "deny": {}}
        for bit in self._bits[workload]:
            for alike in self._addresses_alike(bit):
                found = self._ask(members(alike & -alike)[0], bit, protocol, port)
                reasons[found.verdict].update(dict.fromkeys(found.why))
                let_in |= alike if found.verdict != "deny" else 0
        if not let_in:
            return Admission(None, tuple(reasons["deny"]))
        because = tuple(reasons["allow"] | reasons["depends"])
        return Admission(self._ranges_of(let_in), because, bool(reasons["depends"]))

    def is_controller(self, workload: str) -> bool:
        """Whether the workload is one of the controllers that are known."""
        return not self._doors.isdisjoint(self._bits[workload])

    def _addresses_alike(self, destination: int) -> list[int]:
        """All addresses, in sets that no rule about the destination tells apart."""
        state, end = self._policies.state, self._policies.state.ends[destination]
        rules = [rule for policy in self._about(destination) for rule in policy.rules]
        parts = [state.addresses]
        for cut in {state.local_to(end), *(rule.sure for rule in rules), *(rule.maybe for rule in rules)}:
            parts = [part for whole in parts for part in (whole & cut, whole & ~cut) if part]
        return sorted(parts)

    def _addresses_of(self, ends: int) -> Ranges:
        space = self._policies.state.space
        ranges = (space.ranges[bit - space.first_range] for bit in members(ends))
        return merged(cidr for first, last in ranges for cidr in _cidrs(first, last))

    def _about(self, destination: int) -> Iterator[CompiledPolicy]:
        """The policies that say who reaches a destination."""
        policies = self._policies
        groups = (group for (_, direction), tier in policies.tiers.items() if direction == "ingress" for group in tier)
        for policy in chain(policies.namespaced["ingress"], *groups):
            if policy.subject >> destination & 1:
                yield policy

    def _lets_pods_in(self, destination: int, protocol: str, port: int) -> bool:
        """Whether some rule about the destination accepts some pods on the port."""
        policies, at = self._policies, interval(protocol, port, port)[0]
        return any(
            isinstance(peer, PodPeer) and first <= at <= last
            for policy in self._about(destination)
            for rule in policy.rules
            if rule.rule.action == "accept"
            for first, last, _ in policies.intervals(rule.rule.ports, policies.state.ends[destination].ports)
            for peer in rule.rule.peers or ()
        )

    def _explanation(self, source: int, destination: int, protocol: str, port: int) -> Explanation:
        return explain(self._policies, source, destination, interval(protocol, port, port)[0])


def _example(controller: Controller, objects: Objects) -> PodEnd:
    known = objects.namespaces.get(controller.namespace, {NAMESPACE_NAME: controller.namespace})
    return PodEnd(controller.namespace, known, controller.labels)


def _pods_of(controller: Controller, state: State) -> list[int]:
    """The pods among the objects that a controller is made of."""
    bits = (bit for bits in state.bits_of_name.values() for bit in bits)
    return [
        bit
        for bit in bits
        if state.ends[bit].namespace == controller.namespace
        and controller.labels.items() <= state.ends[bit].labels.items()
    ]


def _cidrs(first: int, last: int) -> Iterable[str]:
    if first >= _IPV6:
        return map(str, summarize_address_range(IPv6Address(first - _IPV6), IPv6Address(last - _IPV6)))
    return map(str, summarize_address_range(IPv4Address(first), IPv4Address(last)))
