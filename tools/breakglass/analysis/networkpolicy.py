"""NetworkPolicy objects as data.

Semantics: the API reference of networking.k8s.io/v1
(https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/) and
https://kubernetes.io/docs/concepts/services-networking/network-policies/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal

from breakglass.analysis.field import known, mapping, mappings, namespace_of, place, text, texts, whole
from breakglass.analysis.ports import EVERY_PORT, LAST_PORT, PROTOCOLS, PortRange, Ports, union
from breakglass.analysis.selector import Selector, read_selector
from breakglass.analysis.workload import Address, ContainerPort, Workload
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

Direction = Literal["ingress", "egress"]
Block = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, eq=False)
class AddressRange:
    """Addresses outside the manifests, `first` to `last`, that no policy tells apart."""

    first: Address
    last: Address

    @property
    def addresses(self) -> tuple[Address, ...]:
        """One of them, which stands for all."""
        return (self.first,)

    @property
    def ports(self) -> tuple[ContainerPort, ...]:
        """No ports with a name: a named port never matches outside."""
        return ()


End = Workload | AddressRange
"""One end of a connection."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One item of `from` or `to`.

    Attributes:
        namespace: the policy's own, which a pod selector without a namespace selector is confined to.
        namespaces: the namespace selector; None where there is none.
        pods: the pod selector; None where there is none.
        block: the CIDR of an ipBlock; None for selectors.
        exceptions: the CIDRs that the block leaves out.
    """

    namespace: str
    namespaces: Selector | None = None
    pods: Selector | None = None
    block: Block | None = None
    exceptions: tuple[Block, ...] = ()

    def matches(self, end: End) -> bool:
        """Whether this end is meant. A block matches addresses that are known: outside ones, and a Pod's own."""
        if self.block is not None:
            return any(
                address in self.block and not any(address in exception for exception in self.exceptions)
                for address in end.addresses
            )
        if isinstance(end, AddressRange):
            return False
        if self.namespaces is None:
            if end.namespace != self.namespace:
                return False
        elif not self.namespaces.matches(end.namespace_labels):
            return False
        return self.pods is None or self.pods.matches(end.labels)


@dataclass(frozen=True, slots=True)
class RulePort:
    """One item of `ports`.

    Attributes:
        protocol: TCP, UDP or SCTP.
        port: a number, a container port's name, or None for every port of the protocol.
        last: `endPort`; the port itself where there is none.
    """

    protocol: str
    port: int | str | None
    last: int

    def of(self, destination: End) -> Ports:
        """The ports of this destination that are meant; a name the destination does not have means none."""
        if self.port is None:
            return (PortRange(self.protocol, 1, LAST_PORT),)
        if isinstance(self.port, int):
            return (PortRange(self.protocol, self.port, self.last),)
        return tuple(
            PortRange(port.protocol, port.number, port.number)
            for port in destination.ports
            if (port.name, port.protocol) == (self.port, self.protocol)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One item of `ingress` or `egress`: no peers is everybody, no ports is every port."""

    peers: tuple[Peer, ...]
    ports: tuple[RulePort, ...]

    def admits(self, other: End) -> bool:
        """Whether the other end is among the peers."""
        return not self.peers or any(peer.matches(other) for peer in self.peers)

    def ports_of(self, destination: End) -> Ports:
        """The ports of the destination that the rule opens."""
        return union(item for port in self.ports for item in port.of(destination)) if self.ports else EVERY_PORT


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One NetworkPolicy.

    Attributes:
        name: `namespace/name`.
        namespace: the namespace whose pods it selects from.
        pods: which of them.
        rules: what it opens, by direction; a direction that is missing is not isolated by this policy.
    """

    name: str
    namespace: str
    pods: Selector
    rules: Mapping[Direction, tuple[Rule, ...]]

    def selects(self, end: End) -> bool:
        """Whether the policy is about this end; it never is about addresses outside."""
        return isinstance(end, Workload) and end.namespace == self.namespace and self.pods.matches(end.labels)


def read_policies(manifests: Iterable[Manifest]) -> tuple[Policy, ...]:
    """All NetworkPolicies among the objects, ordered by name.

    Raises:
        Refused: a policy says what the API server would refuse.
    """
    found = [_read(manifest) for manifest in manifests if _is_policy(manifest)]
    return tuple(sorted(found, key=lambda policy: policy.name))


def _is_policy(manifest: Manifest) -> bool:
    key = key_of(manifest)
    return (key.group, key.kind) == ("networking.k8s.io", "NetworkPolicy")


def _read(manifest: Manifest) -> Policy:
    where, namespace = place(manifest), namespace_of(manifest)
    spec = mapping(manifest, "spec", where)
    known(spec, {"podSelector", "ingress", "egress", "policyTypes"}, "the policy", where)
    ingress, egress = mappings(spec, "ingress", where), mappings(spec, "egress", where)
    types = texts(spec, "policyTypes", where) or (("Ingress", "Egress") if egress else ("Ingress",))
    if unknown := set(types) - {"Ingress", "Egress"}:
        raise where.refusal(f"policyTypes names {', '.join(sorted(unknown))}")
    rules: dict[Direction, tuple[Rule, ...]] = {}
    if "Ingress" in types:
        rules["ingress"] = tuple(_read_rule(rule, "from", namespace, where) for rule in ingress)
    if "Egress" in types:
        rules["egress"] = tuple(_read_rule(rule, "to", namespace, where) for rule in egress)
    pods = read_selector(mapping(spec, "podSelector", where), where)
    return Policy(f"{namespace}/{key_of(manifest).name}", namespace, pods, rules)


def _read_rule(rule: Mapping[str, Any], side: str, namespace: str, where: Place) -> Rule:
    known(rule, {side, "ports"}, "the rule", where)
    peers = tuple(_read_peer(peer, namespace, where) for peer in mappings(rule, side, where))
    return Rule(peers, tuple(_read_port(port, where) for port in mappings(rule, "ports", where)))


def _read_peer(peer: Mapping[str, Any], namespace: str, where: Place) -> Peer:
    known(peer, {"namespaceSelector", "podSelector", "ipBlock"}, "the peer", where)
    given = {key for key, value in peer.items() if value is not None}
    if not given or ("ipBlock" in given and len(given) > 1):
        raise where.refusal("a peer is either an ipBlock or selectors")
    if "ipBlock" in given:
        block, exceptions = _read_block(mapping(peer, "ipBlock", where), where)
        return Peer(namespace, block=block, exceptions=exceptions)
    selectors = {key: read_selector(mapping(peer, key, where), where) for key in given}
    return Peer(namespace, namespaces=selectors.get("namespaceSelector"), pods=selectors.get("podSelector"))


def _read_block(block: Mapping[str, Any], where: Place) -> tuple[Block, tuple[Block, ...]]:
    known(block, {"cidr", "except"}, "the ipBlock", where)
    cidr = _network(text(block, "cidr", where), where)
    exceptions = tuple(_network(written, where) for written in texts(block, "except", where))
    for exception in exceptions:
        # Equal ones are refused too: the API server asks for a strict subset.
        if exception == cidr or not _inside(exception, cidr):
            raise where.refusal(f"except {exception} does not lie inside {cidr}")
    return cidr, exceptions


def _network(written: str, where: Place) -> Block:
    if not written.rpartition("/")[2].isdecimal() or "/" not in written:
        raise where.refusal(f"{written!r} is no CIDR")
    try:
        return ip_network(written, strict=False)
    except ValueError as error:
        raise where.refusal(f"ipBlock: {error}") from None


def _inside(inner: Block, outer: Block) -> bool:
    return inner.version == outer.version and inner.network_address in outer and inner.broadcast_address in outer


def _read_port(port: Mapping[str, Any], where: Place) -> RulePort:
    known(port, {"protocol", "port", "endPort"}, "the port", where)
    protocol, number, last = text(port, "protocol", where, "TCP"), port.get("port"), whole(port, "endPort", where)
    if protocol not in PROTOCOLS:
        raise where.refusal(f"{protocol} is no protocol of a NetworkPolicy")
    if isinstance(number, str) and number:
        if last is not None:
            raise where.refusal("endPort needs a port that is a number")
        return RulePort(protocol, number, 0)
    first = whole(port, "port", where)
    if first is None and last is not None:
        raise where.refusal("endPort needs a port")
    if first is not None and not 1 <= first <= (first if last is None else last) <= LAST_PORT:
        raise where.refusal(f"{first}-{last} is no range of ports")
    return RulePort(protocol, first, last or first or 0)
