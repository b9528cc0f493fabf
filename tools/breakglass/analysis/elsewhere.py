"""What policies speak of and no manifest holds: addresses outside, and pods of other people's namespaces.

An overlay that opens the database to the Internet or to `kube-system` opens nothing between workloads. These stand in
for the other end, so that the difference between two networks shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

from breakglass.analysis.networkpolicy import AddressRange, Block, Peer, Policy
from breakglass.analysis.workload import NAMESPACE_NAME, Address, Workload, namespace_labels

_ENDS: dict[int, tuple[Address, Address]] = {
    4: (IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")),  # noqa: S104 - the first address, nothing listens
    6: (IPv6Address("::"), IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
}


def peers_of(policies: Iterable[Policy]) -> tuple[Peer, ...]:
    """Every peer that the policies name, each once."""
    rules = (rule for policy in policies for side in policy.rules.values() for rule in side)
    return tuple(dict.fromkeys(peer for rule in rules for peer in rule.peers))


def address_ranges(peers: Iterable[Peer]) -> tuple[AddressRange, ...]:
    """All addresses, cut wherever a block or an exception begins or ends."""
    blocks = {block for peer in peers if peer.block is not None for block in (peer.block, *peer.exceptions)}
    return tuple(found for version in _ENDS for found in _cut(version, blocks))


def _cut(version: int, blocks: Iterable[Block]) -> list[AddressRange]:
    lowest, highest = _ENDS[version]
    own = [block for block in blocks if block.version == version]
    starts = {int(lowest)} | {int(block.network_address) for block in own}
    starts |= {int(block.broadcast_address) + 1 for block in own if block.broadcast_address != highest}
    ordered = sorted(starts)
    ends = [start - 1 for start in ordered[1:]] + [int(highest)]
    kind = type(lowest)
    return [AddressRange(kind(start), kind(end)) for start, end in zip(ordered, ends, strict=True)]


def unseen_pods(peers: Iterable[Peer], workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """One pod for every peer whose selectors match none of the workloads, with the labels the selectors ask for."""
    workloads = tuple(workloads)
    namespaces = {workload.namespace: workload.namespace_labels for workload in workloads}
    found: dict[str, Workload] = {}
    for peer in peers:
        if peer.block is None and not any(peer.matches(workload) for workload in workloads):
            pod = _example(peer, namespaces)
            if peer.matches(pod):
                found[pod.name] = pod
    return tuple(found[name] for name in sorted(found))


def _example(peer: Peer, namespaces: Mapping[str, Mapping[str, str]]) -> Workload:
    asked = peer.namespaces.example() if peer.namespaces is not None else {}
    name = asked.get(NAMESPACE_NAME, "any") if peer.namespaces is not None else peer.namespace
    labels = peer.pods.example() if peer.pods is not None else {}
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "any"
    own = namespaces.get(name) or namespace_labels(name, asked)
    return Workload(f"{name}/{shown}", name, own, labels)
