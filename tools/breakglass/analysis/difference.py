"""What opening changes, in the words of the contract: names without the suffix that an activation gives its objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, summarize_address_range

from breakglass.analysis.access import Permission, UnseenRole, newly_granted
from breakglass.analysis.connectivity import Flow, OutsideFlow, newly_opened, newly_opened_outside
from breakglass.analysis.exposure import Exposure, newly_exposed
from breakglass.analysis.networkpolicy import AddressRange, Direction, End
from breakglass.analysis.ports import EVERY_PORT, PortRange, Ports, union
from breakglass.analysis.situation import Situation
from breakglass.analysis.workload import Workload


@dataclass(frozen=True, slots=True, order=True)
class OutsideChange:
    """What opens, or shuts, between a workload and what no manifest holds.

    Attributes:
        workload: `namespace/name`.
        direction: as the workload sees it.
        others: the other ends, for people: `10.0.0.0/8`, `kube-system/k8s-app=kube-dns`.
        ports: of the destination.
        lifted: because the workload is isolated no more (or not yet), not because a policy names the other end.
    """

    workload: str
    direction: Direction
    others: tuple[str, ...]
    ports: Ports
    lifted: bool

    def __str__(self) -> str:
        others, ports = ", ".join(self.others), describe_ports(self.ports)
        if self.direction == "egress":
            return f"{self.workload} → {others} {ports}"
        return f"{others} → {self.workload} {ports}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that opening changes.

    Attributes:
        opens: between workloads; `shuts` is the opposite.
        opens_outside: between workloads and what no manifest holds; `shuts_outside` is the opposite.
        exposes: to the outside; `hides` is the opposite.
        grants: to subjects; `revokes` is the opposite.
        binds: ClusterRoles that no manifest holds.
    """

    opens: tuple[Flow, ...]
    shuts: tuple[Flow, ...]
    opens_outside: tuple[OutsideChange, ...]
    shuts_outside: tuple[OutsideChange, ...]
    exposes: tuple[Exposure, ...]
    hides: tuple[Exposure, ...]
    grants: tuple[Permission, ...]
    revokes: tuple[Permission, ...]
    binds: tuple[UnseenRole, ...]


def compare(before: Situation, after: Situation, activation: str) -> Difference:
    """The difference between two desired states.

    Args:
        before: without the overlay.
        after: with it.
        activation: id whose suffix `-<id>` the overlay's own objects carry; empty where they carry none.
    """
    closed, opened = before.network, after.network
    return Difference(
        opens=tuple(_plain_flow(flow, activation) for flow in newly_opened(closed, opened)),
        shuts=newly_opened(opened, closed),
        opens_outside=_grouped(newly_opened_outside(closed, opened), activation),
        shuts_outside=_grouped(newly_opened_outside(opened, closed), activation),
        exposes=tuple(_plain_exposure(item, activation) for item in newly_exposed(before.exposures, after.exposures)),
        hides=newly_exposed(after.exposures, before.exposures),
        grants=tuple(_plain_permission(item, activation) for item in newly_granted(before.access, after.access)),
        revokes=newly_granted(after.access, before.access),
        binds=tuple(
            replace(role, subject=plain_subject(role.subject, activation))
            for role in sorted(after.access.unseen() - before.access.unseen())
        ),
    )


def plain(name: str, activation: str) -> str:
    """A name without the suffix `-<activation>`."""
    return name.removesuffix(f"-{activation}") if activation else name


def plain_subject(subject: str, activation: str) -> str:
    """A subject without the suffix; users and groups are no objects and never carry one."""
    return plain(subject, activation) if subject.startswith("ServiceAccount:") else subject


def describe_ports(ports: Ports) -> str:
    """A set of ports as text."""
    return "every port" if ports == EVERY_PORT else ", ".join(str(item) for item in ports)


def grouped_flows(flows: Iterable[Flow]) -> tuple[str, ...]:
    """Flows as text, one line for each source and destination, as few ports as possible."""
    ports: defaultdict[tuple[str, str], list[PortRange]] = defaultdict(list)
    for flow in flows:
        ports[flow.source, flow.destination].append(flow.ports)
    return tuple(
        f"{source} → {destination} {describe_ports(union(ports[source, destination]))}"
        for source, destination in sorted(ports)
    )


def _plain_flow(flow: Flow, activation: str) -> Flow:
    return replace(flow, source=plain(flow.source, activation), destination=plain(flow.destination, activation))


def _plain_exposure(exposure: Exposure, activation: str) -> Exposure:
    service, _, port = exposure.backend.rpartition(":")
    return replace(exposure, backend=f"{plain(service, activation)}:{port}")


def _plain_permission(item: Permission, activation: str) -> Permission:
    return replace(item, subject=plain_subject(item.subject, activation), name=plain(item.name, activation))


def _grouped(flows: Iterable[OutsideFlow], activation: str) -> tuple[OutsideChange, ...]:
    """One change for each workload, direction and set of ports, with all the ends it is about."""
    ports: defaultdict[tuple[str, Direction, End], list[PortRange]] = defaultdict(list)
    changes = set()
    for flow in flows:
        workload = plain(flow.workload, activation)
        if flow.lifted:
            changes.add(OutsideChange(workload, flow.direction, ("everything outside",), EVERY_PORT, lifted=True))
        else:
            ports[workload, flow.direction, flow.other].append(flow.ports)
    ends: defaultdict[tuple[str, Direction, Ports], list[End]] = defaultdict(list)
    for (workload, direction, end), ranges in ports.items():
        ends[workload, direction, union(ranges)].append(end)
    for (workload, direction, opened), others in ends.items():
        changes.add(OutsideChange(workload, direction, _named(others), opened, lifted=False))
    return tuple(sorted(changes))


def _named(ends: Iterable[End]) -> tuple[str, ...]:
    ends = tuple(ends)
    networks = [
        network
        for end in ends
        if isinstance(end, AddressRange)
        for network in summarize_address_range(end.first, end.last)
    ]
    blocks = [
        *map(str, collapse_addresses(network for network in networks if isinstance(network, IPv4Network))),
        *map(str, collapse_addresses(network for network in networks if isinstance(network, IPv6Network))),
    ]
    pods = [end.name for end in ends if isinstance(end, Workload)]
    if blocks == ["0.0.0.0/0", "::/0"]:
        blocks = ["every address"]
    return (*blocks, *pods)
