"""One state, or two in one space, ready for every question about connections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from itertools import product

from breakglass.analysis.exposure.behind import WorkloadsBehind
from breakglass.analysis.exposure.exposure import routed
from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.connections import (
    Allowed,
    Answer,
    Connections,
    IsolationFlip,
    Routed,
    changed,
    connections,
    isolation_flips,
)
from breakglass.analysis.network.explain import UNDECIDED, Explanation, Verdict, explain
from breakglass.analysis.network.objects import read_network
from breakglass.analysis.network.pod import NAMESPACE_NAME
from breakglass.analysis.network.policy import Block, PodPeer, Policy
from breakglass.analysis.network.portline import interval
from breakglass.analysis.network.ports import Ports, difference
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.network.space import INGRESS_CONTROLLER, Objects, PodEnd, Space
from breakglass.analysis.network.state import State
from breakglass.model.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Network:
    """One state.

    Attributes:
        objects: what it says of its network.
        routed: TCP ports that an Ingress or a route leads to, by the identity of the pod.
    """

    objects: Objects
    routed: Mapping[int, set[int]]

    def routed_by_name(self, space: Space) -> Routed:
        """The ports by the names of a space: of a workload, a route may lead to some pods alone."""
        nowhere: set[int] = set()
        found = (
            (name, nowhere.union(*(self.routed.get(id(pod), nowhere) for pod in pods)))
            for name, pods in space.pods_of(self.objects)
        )
        return {name: frozenset(ports) for name, ports in found if ports}


def read_network_and_routes(manifests: Sequence[Manifest]) -> Network:
    """Read one state.

    Raises:
        Refused: an object is not what the API server takes.
    """
    objects = read_network(manifests)
    behind = WorkloadsBehind(objects.workloads)
    ports: defaultdict[int, set[int]] = defaultdict(set)
    for backend in routed(manifests):
        for _, pod, number in behind.answering(backend):
            ports[id(pod)].add(number)
    return Network(objects, ports)


class Map:
    """All connections of one state."""

    def __init__(self, network: Network, profile: Profile) -> None:
        """Number the ends and compile the policies."""
        self.space = Space([network.objects])
        self.policies = CompiledPolicies(State(self.space, network.objects), profile)
        self._routed = network.routed_by_name(self.space)

    def connections(self) -> Connections:
        """Everything that is allowed."""
        return connections(self.policies, self._routed)


class Comparison:
    """What changes between two states."""

    def __init__(
        self, before: Network, after: Network, profile: Profile, *, unseen: bool = False, blocks: Iterable[Block] = ()
    ) -> None:
        """Number the ends of both states and compile the policies of each.

        Args:
            before: the one.
            after: the other.
            profile: how the implementation reads what the specification leaves open.
            unseen: also tell of pods that a policy selects and no manifest holds, by an example.
            blocks: addresses that will be asked about, beside those that the policies name.
        """
        states = [before.objects, after.objects]
        self.space = Space(states, examples_of(states) if unseen else {}, blocks)
        self.before, self.after = (CompiledPolicies(State(self.space, each), profile) for each in states)
        self._routed = (before.routed_by_name(self.space), after.routed_by_name(self.space))

    def connections(self) -> Connections:
        """Everything whose answer differs."""
        return changed(self.before, self.after, self._routed)

    def connections_after(self) -> Connections:
        """Everything that is allowed in the second state."""
        return connections(self.after, self._routed[1])

    def isolation_flips(self) -> tuple[IsolationFlip, ...]:
        """Workloads that are isolated in one of the states alone."""
        return isolation_flips(self.before, self.after)

    def cause(self, source: str, destination: str, answer: Answer) -> tuple[str, ...]:
        """The rules that make the difference for one connection, one sentence each.

        Args:
            source: a name of the space.
            destination: another.
            answer: how the connection is answered before and after.
        """
        port = _changed_port(answer)
        if source == INGRESS_CONTROLLER:
            was_led, will_be = (port in _on_line(routes.get(destination, ())) for routes in self._routed)
            if was_led != will_be:
                return ("after: a route leads there" if will_be else "before: a route led there",)
        states = zip((self.before, self.after), answer, strict=True)
        was, will = (_explained(policies, source, destination, port, allowed) for policies, allowed in states)
        if was is None or will is None:
            return ("an end is not there " + ("before" if was is None else "after"),)
        gone = tuple(reason for reason in was.why if reason not in will.why)
        come = tuple(reason for reason in will.why if reason not in was.why)
        if will.verdict != "deny" and not any(reason.endswith(UNDECIDED) for reason in come):
            # What lets it through now says all; that nothing did before is why it is told.
            return come or tuple(f"no more: {reason}" for reason in gone)
        return (*(f"before: {reason}" for reason in gone), *(f"after: {reason}" for reason in come))


def examples_of(states: Sequence[Objects]) -> dict[str, PodEnd]:
    """A pod for every peer whose selectors match nothing in any state, with the labels that they ask for; by name."""
    space = Space(states)
    numbered = [State(space, objects) for objects in states]
    nobody = 1 << space.index[INGRESS_CONTROLLER]
    peers = {peer: None for objects in states for policy in objects.policies for peer in _pod_peers(policy)}
    namespaces = {name: labels for objects in states for name, labels in objects.namespaces.items()}
    found = {}
    for peer in peers:
        if not any(state.select(peer) & ~nobody for state in numbered):
            name, end = _example(peer, namespaces)
            if _selects(peer, end):
                found[name] = end
    return dict(sorted(found.items()))


def _pod_peers(policy: Policy) -> Iterator[PodPeer]:
    for rules in policy.rules.values():
        for rule in rules:
            yield from (peer for peer in rule.peers or () if isinstance(peer, PodPeer))


def _example(peer: PodPeer, namespaces: Mapping[str, Mapping[str, str]]) -> tuple[str, PodEnd]:
    asked = peer.namespaces.example() if peer.namespaces is not None else {}
    namespace = peer.namespace or asked.get(NAMESPACE_NAME, "any")
    labels = peer.pods.example() if peer.pods is not None else {}
    own = namespaces.get(namespace, {**asked, NAMESPACE_NAME: namespace})
    more = "" if namespace in namespaces else _labels_shown(asked)
    return f"{namespace}{more and f'{{{more}}}'}/{_labels_shown(labels) or 'any'}", PodEnd(namespace, own, labels)


def _labels_shown(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()) if key != NAMESPACE_NAME)


def _selects(peer: PodPeer, end: PodEnd) -> bool:
    inside = peer.namespaces.matches(end.namespace_labels) if peer.namespaces is not None else True
    return inside and (peer.pods is None or peer.pods.matches(end.labels))


def _on_line(ports: Iterable[int]) -> set[int]:
    return {interval("TCP", port, port)[0] for port in ports}


@lru_cache(maxsize=4096)
def _changed_port(answer: Answer) -> int:
    """A port that is answered differently, on the line of all ports."""
    was, will = answer
    for one, other in ((will.ports, was.ports), (was.ports, will.ports), (will.depends, was.depends)):
        for ports in difference(one, other):
            return interval(ports.protocol, ports.first, ports.last)[0]
    ports = was.depends[0]
    return interval(ports.protocol, ports.first, ports.last)[0]


def _explained(
    policies: CompiledPolicies, source: str, destination: str, port: int, allowed: Allowed
) -> Explanation | None:
    """Of two names, an explanation of two of their pods that are answered as the names are; None where one is empty."""
    first = None
    for ends in product(_bits(policies.state, source), _bits(policies.state, destination)):
        explanation = explain(policies, *ends, port)
        if explanation.verdict == _answered(allowed, port):
            return explanation
        first = first or explanation
    return first


def _answered(allowed: Allowed, port: int) -> Verdict:
    answers: tuple[tuple[Verdict, Ports], ...] = (("allow", allowed.ports), ("depends", allowed.depends))
    for verdict, ports in answers:
        spans = (interval(each.protocol, each.first, each.last) for each in ports)
        if any(first <= port <= last for first, last in spans):
            return verdict
    return "deny"


def _bits(state: State, name: str) -> list[int]:
    """The bits of a name; none where the state has nothing of it."""
    bit = state.space.index.get(name)
    if bit is None:
        # A range that was put together of several: the first of them speaks for all.
        return [state.space.first_range + state.space.range_of(ip_address(name.partition("-")[0]))]
    return state.bits_of_name.get(name, []) if bit < state.space.workloads else [bit]
