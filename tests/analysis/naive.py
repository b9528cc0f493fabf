"""Whether one end reaches another, straight from the specifications, one question at a time.

It shares nothing with `breakglass.analysis`, so that each can find the mistakes of the other. Docstrings cite

* NP: networking.k8s.io/v1 NetworkPolicy, API reference of Kubernetes 1.37 (k8s.io/api, networking/v1/types.go);
* CNP: ClusterNetworkPolicy v1alpha2 (sigs.k8s.io/network-policy-api v0.2.0, apis/v1alpha2);
* ANP, BANP: AdminNetworkPolicy and BaselineAdminNetworkPolicy v1alpha1 (the same module, apis/v1alpha1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain, groupby, permutations, product
from typing import Any, Literal

Manifest = dict[str, Any]
Labels = dict[str, str]
Address = IPv4Address | IPv6Address

RULE_PEERS = {"ingress": "from", "egress": "to"}
PEER_FIELDS = {"ingress": {"namespaces", "pods"}, "egress": {"namespaces", "pods", "nodes", "networks", "domainNames"}}


@dataclass(frozen=True)
class Pod:
    """A pod of the pod network."""

    namespace: str
    namespace_labels: Labels
    labels: Labels
    node: str
    ports: list[tuple[str, str, int]]  # name, protocol, number


@dataclass(frozen=True)
class Node:
    """A node, and with it every host-network pod that runs there."""

    name: str
    labels: Labels


@dataclass(frozen=True)
class Endpoint:
    """One end of a connection: a pod, a node and what runs in its network, or an address outside."""

    addresses: list[Address]
    pod: Pod | None = None
    node: Node | None = None
    host_network: bool = False


@dataclass(frozen=True)
class Traffic:
    """A connection seen from one of its ends: a policy selects the subject, its rules name the peer."""

    direction: Literal["ingress", "egress"]
    subject: Pod
    peer: Endpoint
    destination: Endpoint
    protocol: str
    port: int


class Cluster:
    """The pods, nodes and policies of a cluster."""

    def __init__(
        self, manifests: Iterable[Manifest], ip_blocks_match_pods: bool, *, local_node_reaches_pods: bool = True
    ) -> None:
        self.ip_blocks_match_pods = ip_blocks_match_pods
        self.local_node_reaches_pods = local_node_reaches_pods
        manifests = list(manifests)
        self.nodes = {_name(node): _node(node) for node in _of_kind(manifests, "Node")}
        labels = {_name(namespace): _labels(namespace) for namespace in _of_kind(manifests, "Namespace")}
        self.pods = {
            f"{_namespace(pod)}/{_name(pod)}": _pod(pod, labels.get(_namespace(pod), {}), self.nodes)
            for pod in _of_kind(manifests, "Pod")
        }
        self.network_policies = _of_kind(manifests, "NetworkPolicy")
        self.cluster_policies = [
            policy
            for kind in ("ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy")
            for policy in _of_kind(manifests, kind)
        ]

    def outcomes(self, source: str, destination: str, protocol: str, port: int) -> frozenset[tuple[bool, bool]]:
        """Every (egress allowed, ingress allowed) the specifications permit.

        `source` and `destination` are `namespace/pod` or an address. No policy keeps a pod from itself. Where
        something is left open, it is open for the egress and the ingress of one connection independently.
        """
        if source == destination:
            return frozenset({(True, True)})
        origin, target = self._endpoint(source), self._endpoint(destination)
        egress = {True}
        if origin.pod:
            egress = self._verdicts(Traffic("egress", origin.pod, target, target, protocol, port))
        ingress = {True}
        if target.pod:
            ingress = self._verdicts(Traffic("ingress", target.pod, origin, target, protocol, port))
        return frozenset(product(egress, ingress))

    def _endpoint(self, name: str) -> Endpoint:
        if "/" in name:
            return self.pods[name]
        # Of a node, an address is that one alone: a pod that it lets in may be shut to another.
        return replace(_holder([ip_address(name)], self.nodes), addresses=[ip_address(name)])

    def _verdicts(self, traffic: Traffic) -> set[bool]:
        """Admin, NetworkPolicy, Baseline, and if none decided, all pods can communicate (CNP spec.tier)."""
        verdicts = set()
        for tier in ("Admin", "NetworkPolicy", "Baseline"):
            actions = self._network_policy_action(traffic) if tier == "NetworkPolicy" else self._actions(tier, traffic)
            verdicts |= {action == "Accept" for action in actions - {"Pass"}}
            if "Pass" not in actions:
                return verdicts
        return verdicts | {True}

    def _network_policy_action(self, traffic: Traffic) -> set[str]:
        """NetworkPolicies add up, and always decide for the pods they select (NP spec.ingress, CNP spec.tier)."""
        policies = [policy for policy in self.network_policies if _isolates(policy, traffic)]
        if not policies:
            return {"Pass"}
        allowed = self._comes_from_local_node(traffic) or any(self._allows(policy, traffic) for policy in policies)
        return {"Accept" if allowed else "Deny"}

    def _comes_from_local_node(self, traffic: Traffic) -> bool:
        """NP spec.ingress: traffic is allowed "if the traffic source is the pod's local node"."""
        node = traffic.peer.node
        local = traffic.direction == "ingress" and node is not None and node.name == traffic.subject.node
        return self.local_node_reaches_pods and local

    def _allows(self, policy: Manifest, traffic: Traffic) -> bool:
        """NP spec.ingress[], spec.egress[]: traffic must match both ports and peers; none listed means any."""
        for rule in policy["spec"].get(traffic.direction) or []:
            peers = rule.get(RULE_PEERS[traffic.direction]) or []
            ports = rule.get("ports") or []
            peer_matches = any(self._is_peer(peer, _namespace(policy), traffic.peer) for peer in peers)
            port_matches = any(_is_network_policy_port(port, traffic) for port in ports)
            if (not peers or peer_matches) and (not ports or port_matches):
                return True
        return False

    def _is_peer(self, peer: Manifest, namespace: str, end: Endpoint) -> bool:
        """NP NetworkPolicyPeer: without namespaceSelector, the pods of the policy's own namespace."""
        block = peer.get("ipBlock")
        if block:
            applies = end.pod is None or self.ip_blocks_match_pods
            return applies and any(_is_in_block(address, block) for address in end.addresses)
        if end.pod is None:
            return False
        selector = peer.get("namespaceSelector")
        if selector is None:
            in_namespace = end.pod.namespace == namespace
        else:
            in_namespace = _selects(selector, end.pod.namespace_labels)
        return in_namespace and _selects(peer.get("podSelector"), end.pod.labels)

    def _actions(self, tier: str, traffic: Traffic) -> set[str]:
        """What the cluster-wide policies of a tier may do, in every order the implementation may choose."""
        policies = [
            policy
            for policy in self.cluster_policies
            if _tier(policy) == tier and _selects_pod(policy["spec"]["subject"], traffic.subject)
        ]
        return {action for order in _orders(policies) for action in _walk(order, traffic)}


def _tier(policy: Manifest) -> str:
    """ANP comes before, BANP after NetworkPolicies (ANP spec.priority, BANP spec.ingress)."""
    tiers = {"AdminNetworkPolicy": "Admin", "BaselineAdminNetworkPolicy": "Baseline"}
    return tiers.get(policy["kind"]) or policy["spec"]["tier"]


def _priority(policy: Manifest) -> float:
    """Lower comes first (CNP, ANP spec.priority); a BANP has none and is the last of its tier."""
    priority: float = policy["spec"].get("priority", float("inf"))
    return priority


def _orders(policies: list[Manifest]) -> Iterator[Iterable[Manifest]]:
    """Of equal priorities "the implementation can apply any of the matching policies" (CNP, ANP spec.priority)."""
    equals = groupby(sorted(policies, key=_priority), key=_priority)
    for order in product(*(permutations(group) for _, group in equals)):
        yield chain.from_iterable(order)


def _walk(policies: Iterable[Manifest], traffic: Traffic) -> Iterator[str]:
    """The first matching rule counts (CNP spec.ingress, spec.egress); if there is none, the next tier decides.

    Only an Accept can be uncertain, for domain names: both it and what follows without it are possible.
    """
    for policy in policies:
        for rule in policy["spec"].get(traffic.direction) or []:
            accepts = rule["action"] in {"Accept", "Allow"}
            action = "Accept" if accepts else rule["action"]
            if not _is_understood(rule, traffic.direction):
                if not accepts:
                    yield "Deny"
                    return
            elif _is_cluster_policy_port(rule, traffic):
                peers = rule[RULE_PEERS[traffic.direction]]
                if any(_is_cluster_policy_peer(peer, traffic.peer) for peer in peers):
                    yield action
                    return
                if any(_may_be_domain(peer, traffic.peer) for peer in peers):
                    yield action
    yield "Pass"


def _is_understood(rule: Manifest, direction: str) -> bool:
    """CNP peers: if no known field is set, fail closed.

    'For "Accept" rules, "fail closed" means: "treat the rule as matching no traffic". For "Deny" and "Pass" rules,
    "fail closed" means: "treat the rule as a 'Deny all' rule".' Domain names are "only supported for Accept rules".
    """
    known = PEER_FIELDS[direction]
    if rule["action"] not in {"Accept", "Allow"}:
        known = known - {"domainNames"}
    return all(known & peer.keys() for peer in rule[RULE_PEERS[direction]])


def _is_cluster_policy_peer(peer: Manifest, end: Endpoint) -> bool:
    """CNP ClusterNetworkPolicyEgressPeer: networks are checked for "cluster-internal traffic" as well."""
    if "nodes" in peer:
        return end.node is not None and _selects(peer["nodes"], end.node.labels)
    if "networks" in peer:
        return any(_is_in_block(address, {"cidr": cidr}) for address in end.addresses for cidr in peer["networks"])
    if "domainNames" in peer:
        return False
    return end.pod is not None and _selects_pod(peer, end.pod)


def _may_be_domain(peer: Manifest, end: Endpoint) -> bool:
    """CNP domainNames: manifests do not tell which addresses outside a name stands for."""
    is_outside = end.pod is None and end.node is None and not end.host_network
    return "domainNames" in peer and is_outside


def _selects_pod(selector: Manifest, pod: Pod) -> bool:
    """CNP ClusterNetworkPolicySubject and peers: namespaces, or pods by namespaceSelector and podSelector."""
    if "namespaces" in selector:
        return _selects(selector["namespaces"], pod.namespace_labels)
    both = selector["pods"]
    in_namespace = _selects(both.get("namespaceSelector"), pod.namespace_labels)
    return in_namespace and _selects(both.get("podSelector"), pod.labels)


def _is_cluster_policy_port(rule: Manifest, traffic: Traffic) -> bool:
    """CNP protocols, ANP ports: if unspecified, every protocol and port."""
    if "protocols" in rule:
        return any(_is_cnp_protocol(protocol, traffic) for protocol in rule["protocols"])
    if "ports" in rule:
        return any(_is_anp_port(port, traffic) for port in rule["ports"])
    return True


def _is_cnp_protocol(protocol: Manifest, traffic: Traffic) -> bool:
    """CNP ClusterNetworkPolicyProtocol; a named port may be of any protocol."""
    if "destinationNamedPort" in protocol:
        return _is_named_port(protocol["destinationNamedPort"], traffic)
    if traffic.protocol.lower() not in protocol:
        return False
    port = protocol[traffic.protocol.lower()].get("destinationPort")
    if port is None:
        return True
    if "range" in port:
        return _is_between(traffic.port, port["range"]["start"], port["range"]["end"])
    return _is_between(traffic.port, port["number"], port["number"])


def _is_anp_port(port: Manifest, traffic: Traffic) -> bool:
    """ANP AdminNetworkPolicyPort; the protocol defaults to TCP, a named port may be of any protocol."""
    if "namedPort" in port:
        return _is_named_port(port["namedPort"], traffic)
    numbers = port["portRange"] if "portRange" in port else port["portNumber"]
    if numbers.get("protocol", "TCP") != traffic.protocol:
        return False
    if "portRange" in port:
        return _is_between(traffic.port, numbers["start"], numbers["end"])
    return _is_between(traffic.port, numbers["port"], numbers["port"])


def _isolates(policy: Manifest, traffic: Traffic) -> bool:
    """NP spec.podSelector in the policy's namespace, and spec.policyTypes with its defaults."""
    spec = policy["spec"]
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    return (
        traffic.direction.capitalize() in types
        and traffic.subject.namespace == _namespace(policy)
        and _selects(spec.get("podSelector"), traffic.subject.labels)
    )


def _is_network_policy_port(port: Manifest, traffic: Traffic) -> bool:
    """NP NetworkPolicyPort: traffic must match "the specified protocol AND port"; endPort is inclusive."""
    if port.get("protocol", "TCP") != traffic.protocol:
        return False
    number = port.get("port")
    if number is None:
        return True
    if isinstance(number, str):
        return _is_named_port(number, traffic)
    last: int = port.get("endPort") or number
    return _is_between(traffic.port, number, last)


def _is_between(port: int, first: int, last: int) -> bool:
    """Ranges are inclusive (NP endPort, CNP PortRange, ANP PortRange)."""
    return first <= port <= last


def _is_named_port(name: str, traffic: Traffic) -> bool:
    """A port name is one of the destination pod; nothing but a pod has named ports."""
    pod = traffic.destination.pod
    return pod is not None and (name, traffic.protocol, traffic.port) in pod.ports


def _is_in_block(address: IPv4Address | IPv6Address, block: Manifest) -> bool:
    """NP IPBlock: in cidr and in none of except."""
    excluded = any(address in ip_network(cidr) for cidr in block.get("except") or [])
    return address in ip_network(block["cidr"]) and not excluded


def _selects(selector: Manifest | None, labels: Labels) -> bool:
    """meta/v1 LabelSelector: requirements are ANDed; an empty selector matches everything."""
    selector = selector or {}
    wanted = selector.get("matchLabels") or {}
    requirements = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(requirement, labels) for requirement in requirements
    )


def _meets(requirement: Manifest, labels: Labels) -> bool:
    """labels.Requirement: NotIn and DoesNotExist hold for a key that is not there."""
    value = labels.get(requirement["key"])
    match requirement["operator"]:
        case "In":
            return value in requirement["values"]
        case "NotIn":
            return value not in requirement["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(requirement["operator"])


def _pod(manifest: Manifest, namespace_labels: Labels, nodes: dict[str, Endpoint]) -> Endpoint:
    """A host-network pod is its node, by its name or else by the address that it has."""
    spec, status = manifest["spec"], manifest.get("status") or {}
    written = {status.get("podIP"), *(item["ip"] for item in status.get("podIPs") or [])} - {None}
    addresses = [ip_address(address) for address in written]
    if spec.get("hostNetwork"):
        known = nodes.get(spec.get("nodeName", ""))
        return known or replace(_holder(addresses, nodes), addresses=addresses, host_network=True)
    namespace = _namespace(manifest)
    every_namespace = {"kubernetes.io/metadata.name": namespace}
    pod = Pod(namespace, namespace_labels | every_namespace, _labels(manifest), spec.get("nodeName", ""), _ports(spec))
    return Endpoint(addresses, pod=pod)


def _holder(addresses: list[Address], nodes: dict[str, Endpoint]) -> Endpoint:
    """The node that has one of the addresses, or nothing that is known."""
    return next((node for node in nodes.values() if set(node.addresses) & set(addresses)), Endpoint([]))


def _ports(spec: Manifest) -> list[tuple[str, str, int]]:
    """The named ports of all that runs beside each other: containers and sidecars."""
    sidecars = [init for init in spec.get("initContainers") or [] if init.get("restartPolicy") == "Always"]
    return [
        (port["name"], port.get("protocol", "TCP"), port["containerPort"])
        for container in spec["containers"] + sidecars
        for port in container.get("ports") or []
        if "name" in port
    ]


def _node(manifest: Manifest) -> Endpoint:
    addresses = (manifest.get("status") or {}).get("addresses") or []
    internal = [ip_address(item["address"]) for item in addresses if item["type"] == "InternalIP"]
    return Endpoint(internal, node=Node(_name(manifest), _labels(manifest)))


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def _name(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name


def _namespace(manifest: Manifest) -> str:
    namespace: str = manifest["metadata"].get("namespace", "default")
    return namespace


def _labels(manifest: Manifest) -> Labels:
    labels: Labels = manifest["metadata"].get("labels") or {}
    return labels
