"""Who reaches whom: NetworkPolicy v1 evaluated straight from its specification.

A connection needs the source's egress and the destination's ingress. A pod that no policy selects for a direction is
open in that direction; one that is selected is isolated, and the policies that select it add up.

Sets of ports are exact: a rule without ports opens 1-65535 of every protocol, not only the ports somebody declared.

Where the manifests do not say enough, and clusters differ:
* pods of a template have no address yet, so an ipBlock matches addresses outside and a Pod's own `status.podIP` only;
* pods with `hostNetwork` are taken as ordinary pods;
* connections that stand when a policy arrives are outside the specification.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from breakglass.analysis.elsewhere import address_ranges, peers_of, unseen_pods
from breakglass.analysis.networkpolicy import Direction, End, Policy, read_policies
from breakglass.analysis.ports import (
    EVERY_PORT,
    LAST_PORT,
    PROTOCOLS,
    PortRange,
    Ports,
    difference,
    intersection,
    single_port,
    union,
)
from breakglass.analysis.workload import Workload, read_workloads
from breakglass.model.errors import NotFound, Refused
from breakglass.model.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one connection is allowed.

    Attributes:
        allowed: what the policies come to.
        egress: the source's policies let it out.
        ingress: the destination's policies let it in.
        because: what decided, one sentence a policy; empty where no policy has a say.
    """

    allowed: bool
    egress: bool
    ingress: bool
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """Connections from one workload (`namespace/name`) to another, on a range of ports."""

    source: str
    destination: str
    ports: PortRange

    def __str__(self) -> str:
        return f"{self.source} → {self.destination} {self.ports}"


@dataclass(frozen=True, slots=True)
class OutsideFlow:
    """Connections between a workload and what no manifest holds.

    Attributes:
        workload: `namespace/name`.
        direction: as the workload sees it.
        other: addresses, or a pod that only a selector tells of.
        ports: of the destination.
        lifted: the workload is not isolated in this direction at all, where it was.
    """

    workload: str
    direction: Direction
    other: End
    ports: PortRange
    lifted: bool


class Network:
    """The workloads of a set of manifests and the policies between them."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        """Read the manifests; kinds that are neither workload, Namespace nor NetworkPolicy are passed over.

        Raises:
            Refused: one of them is not what the API server takes.
        """
        manifests = tuple(manifests)
        self.workloads = read_workloads(manifests)
        self.policies = read_policies(manifests)

    def named(self, name: str) -> tuple[Workload, ...]:
        """Workloads of a name, `namespace/name`; of several kinds, there may be several.

        Raises:
            NotFound: there is none.
        """
        found = tuple(workload for workload in self.workloads if workload.name == name)
        if not found:
            names = ", ".join(sorted({workload.name for workload in self.workloads})) or "none"
            raise NotFound(f"there is no workload {name}", remedy=f"name one of: {names}")
        return found

    def verdict(self, source: str, destination: str, port: int, protocol: str) -> Verdict:
        """Whether a workload reaches another on a port.

        Args:
            source: `namespace/name`.
            destination: `namespace/name`.
            port: 1-65535, of the destination's pods, not of a Service.
            protocol: TCP, UDP or SCTP.

        Raises:
            NotFound: a workload does not exist.
            Refused: the port or protocol does not.
        """
        if protocol not in PROTOCOLS or not 1 <= port <= LAST_PORT:
            raise Refused(f"{protocol} {port} is no port", remedy="name TCP, UDP or SCTP and a port of 1-65535")
        verdicts = [
            self._judge(one, other, single_port(protocol, port))
            for one in self.named(source)
            for other in self.named(destination)
        ]
        return next((verdict for verdict in verdicts if verdict.allowed), verdicts[0])

    def open_ports(self, source: End, destination: End) -> Ports:
        """The ports on which one end reaches the other."""
        if _within_one_pod(source, destination):
            return EVERY_PORT
        egress = self.admitted("egress", source, destination)
        return intersection(egress, self.admitted("ingress", destination, source)) if egress else ()

    def admitted(self, direction: Direction, subject: End, other: End) -> Ports:
        """The ports that the subject's own policies let out to, or in from, the other end."""
        isolating = self.isolating(direction, subject)
        if not isolating:
            return EVERY_PORT
        destination = subject if direction == "ingress" else other
        rules = (rule for policy in isolating for rule in policy.rules[direction] if rule.admits(other))
        return union(ports for rule in rules for ports in rule.ports_of(destination))

    def isolating(self, direction: Direction, subject: End) -> tuple[Policy, ...]:
        """The policies that select the subject for a direction; with none, it is not isolated."""
        return tuple(policy for policy in self.policies if direction in policy.rules and policy.selects(subject))

    def connections(self) -> tuple[Flow, ...]:
        """Everything that the policies allow between workloads, ordered; less what stays inside one pod."""
        return tuple(
            Flow(source, destination, ports)
            for (source, destination), ranges in sorted(self.reach().items())
            for ports in ranges
        )

    def reach(self) -> dict[tuple[str, str], Ports]:
        """Open ports by (source, destination), both `namespace/name`, of what leaves a pod; without empty pairs."""
        found: defaultdict[tuple[str, str], Ports] = defaultdict(tuple)
        for source in self.workloads:
            for destination in self.workloads:
                if not _within_one_pod(source, destination) and (ports := self.open_ports(source, destination)):
                    found[source.name, destination.name] = union((*found[source.name, destination.name], *ports))
        return dict(found)

    def _judge(self, source: Workload, destination: Workload, port: Ports) -> Verdict:
        out = bool(intersection(self.admitted("egress", source, destination), port))
        into = bool(intersection(self.admitted("ingress", destination, source), port))
        if _within_one_pod(source, destination):
            return Verdict(True, out, into, ("a pod always reaches itself",))
        because = (
            *self._because("egress", source, destination, port),
            *self._because("ingress", destination, source, port),
        )
        return Verdict(out and into, out, into, because)

    def _because(self, direction: Direction, subject: Workload, other: Workload, port: Ports) -> tuple[str, ...]:
        destination = subject if direction == "ingress" else other
        isolating = self.isolating(direction, subject)
        opening = [
            policy.name
            for policy in isolating
            if any(
                rule.admits(other) and intersection(rule.ports_of(destination), port)
                for rule in policy.rules[direction]
            )
        ]
        if opening:
            return tuple(f"NetworkPolicy {name} opens {direction} of {subject.name}" for name in opening)
        return tuple(f"NetworkPolicy {policy.name} isolates {direction} of {subject.name}" for policy in isolating)


def newly_opened(before: Network, after: Network) -> tuple[Flow, ...]:
    """What workloads reach in the second network and not in the first, ordered; the other way round: what shuts."""
    shut = before.reach()
    return tuple(
        Flow(*pair, ports)
        for pair, reached in sorted(after.reach().items())
        for ports in difference(reached, shut.get(pair, ()))
    )


def newly_opened_outside(before: Network, after: Network) -> tuple[OutsideFlow, ...]:
    """What opens between workloads and what no manifest holds.

    A workload that did not exist before was shut before.
    """
    peers = peers_of((*before.policies, *after.policies))
    others: tuple[End, ...] = (*address_ranges(peers), *unseen_pods(peers, after.workloads))
    old = defaultdict(list)
    for workload in before.workloads:
        old[workload.name].append(workload)
    return tuple(
        OutsideFlow(
            workload.name,
            direction,
            other,
            ports,
            lifted=bool(old[workload.name]) and not after.isolating(direction, workload),
        )
        for workload in after.workloads
        for direction in _DIRECTIONS
        for other in others
        for ports in difference(
            _outside_ports(after, direction, workload, other),
            union(
                ports for earlier in old[workload.name] for ports in _outside_ports(before, direction, earlier, other)
            ),
        )
    )


_DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")


def _outside_ports(network: Network, direction: Direction, workload: Workload, other: End) -> Ports:
    if direction == "egress":
        return network.open_ports(workload, other)
    return network.open_ports(other, workload)


def _within_one_pod(source: End, destination: End) -> bool:
    return source is destination and isinstance(source, Workload) and source.lone
