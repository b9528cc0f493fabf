"""Policies of the network as data, whatever their kind: tiers, subjects, rules, peers.

A NetworkPolicy is one of tier `networkpolicy` whose rules all accept. The kinds and their semantics:
https://kubernetes.io/docs/concepts/services-networking/network-policies/ and https://network-policy-api.sigs.k8s.io/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from breakglass.analysis.selector import Selector

Direction = Literal["ingress", "egress"]
DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
Tier = Literal["admin", "networkpolicy", "baseline"]
Action = Literal["accept", "deny", "pass"]
Block = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods by their labels; pods of the host's network are never meant.

    Attributes:
        namespace: the one namespace it is confined to; None where `namespaces` says which.
        namespaces: selector of namespaces; None where `namespace` says which.
        pods: selector of pods; None for every pod.
    """

    namespace: str | None
    namespaces: Selector | None
    pods: Selector | None


@dataclass(frozen=True, slots=True)
class BlockPeer:
    """An `ipBlock` of a NetworkPolicy; whether it matches the addresses of pods differs between clusters."""

    block: Block
    exceptions: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworksPeer:
    """`networks` of the cluster-wide policies: addresses, those of pods and nodes included by specification."""

    networks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class NodesPeer:
    """Nodes by their labels, at their addresses."""

    nodes: Selector


@dataclass(frozen=True, slots=True)
class DomainNamesPeer:
    """Names outside, whose addresses no manifest tells."""

    names: tuple[str, ...]


Peer = PodPeer | BlockPeer | NetworksPeer | NodesPeer | DomainNamesPeer


@dataclass(frozen=True, slots=True)
class RulePort:
    """Ports of the destination.

    Attributes:
        protocol: TCP, UDP or SCTP; None for a name that stands for whatever protocol its container port has.
        port: the first number, a container port's name, or None for every port of the protocol.
        last: the last number; the first again where it is one port.
    """

    protocol: str | None
    port: int | str | None
    last: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: for people: `ingress[0]`, with the rule's own name behind it where it has one.
        action: what becomes of what it matches.
        peers: the other ends; None for everybody.
        ports: None for every port.
    """

    name: str
    action: Action
    peers: tuple[Peer, ...] | None
    ports: tuple[RulePort, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One policy.

    Attributes:
        kind: of its object, such as `NetworkPolicy`.
        name: `namespace/name`, or the name alone of a cluster-wide one.
        tier: when it is asked.
        priority: the lower goes first within a tier; equal ones have no order. 0 where the tier knows none.
        subject: the pods it is about.
        rules: by direction; a NetworkPolicy isolates its subject in every direction that is here, rules or none.
    """

    kind: str
    name: str
    tier: Tier
    priority: int
    subject: PodPeer
    rules: Mapping[Direction, tuple[Rule, ...]]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
