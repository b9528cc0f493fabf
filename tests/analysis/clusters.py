"""Small but nasty clusters, and questions about them, for Hypothesis.

Everything is drawn from few values that touch each other: labels that selectors nearly tell apart, addresses just
inside and just outside of blocks, ports at the ends of ranges, priorities that are equal. The API server takes all of
it, with the CRDs of the experimental channel; only a peer of a field that v1alpha2 does not know needs a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import combinations, permutations, product
from random import Random
from typing import Any

from hypothesis import strategies as st

Manifest = dict[str, Any]
Strategy = st.SearchStrategy[Any]
Probe = tuple[str, str, str, int]
Ends = list[tuple[str, str]]

NAMESPACES = ("x", "y", "z")
NODES = ("n0", "n1")
PROTOCOLS = ("TCP", "UDP", "SCTP")

# Pods, nodes and the world outside lie side by side, so that one block takes in a bit of each.
POD_ADDRESSES = (
    ("10.0.0.1", "fd00::1"),
    ("10.0.0.2", "fd00::2"),
    ("10.0.0.4", "fd00::4"),
    ("10.0.0.7", "fd00::7"),
    ("10.0.1.0", "fd00::1:0"),
)
NODE_ADDRESSES = (("10.0.0.3", "fd00::3"), ("10.0.0.8", "fd00::8"))
OUTSIDE = ("192.0.2.1", "2001:db8::1")
BLOCKS = (
    *("10.0.0.2/32", "10.0.0.2/31", "10.0.0.0/30", "10.0.0.0/29", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0"),
    *("10.0.0.7/32", "10.0.0.6/31", "10.0.0.4/30", "10.0.0.8/29", "10.0.0.0/23", "192.0.2.1/32", "128.0.0.0/1"),
    *("fd00::2/128", "fd00::2/127", "fd00::/126", "fd00::/125", "fd00::/64", "::/0"),
    *("fd00::7/128", "fd00::6/127", "fd00::4/126", "fd00::8/125", "fd00::/111", "2001:db8::1/128", "8000::/1"),
)


def few(values: Strategy, least: int = 1) -> Strategy:
    """One or two, or with `least=0` none."""
    return st.lists(values, min_size=least, max_size=2)


def one_field(**fields: Strategy) -> Strategy:
    """A mapping with exactly one of these fields."""
    return st.one_of([st.fixed_dictionaries({name: values}) for name, values in fields.items()])


def some(values: Sequence[str]) -> list[list[str]]:
    """Each value alone, and each two of them."""
    return [list(chosen) for size in (1, 2) for chosen in combinations(values, size)]


def selectors(keys: Sequence[str], values: Sequence[str]) -> Strategy:
    """Label selectors of up to two requirements, with all four operators."""
    present = product(keys, ("Exists", "DoesNotExist"))
    among = product(keys, ("In", "NotIn"), some(values))
    expressions: list[Manifest] = [{"key": key, "operator": operator} for key, operator in present]
    expressions += [{"key": key, "operator": operator, "values": chosen} for key, operator, chosen in among]
    labels = [{"matchLabels": {key: value}} for key, value in product(keys, values)]
    one = [*labels, *({"matchExpressions": [expression]} for expression in expressions)]
    two: list[Manifest] = [{"matchExpressions": list(both)} for both in combinations(expressions, 2)]
    two += [label | {"matchExpressions": [expression]} for label, expression in product(labels, expressions)]
    return st.just({}) | st.sampled_from(one) | st.sampled_from(two)


def ip_blocks() -> Iterator[Manifest]:
    """Every block, plain and with exceptions, which must be strict subsets of it."""
    for block in BLOCKS:
        yield {"cidr": block}
        outer = ip_network(block)
        others = [other for other in BLOCKS if other != block and ip_network(other).version == outer.version]
        inside = [other for other in others if ip_network(other).subnet_of(outer)]  # type: ignore[arg-type]
        yield from ({"cidr": block, "except": holes} for holes in some(inside[:5]))


def with_protocols(ports: Sequence[Manifest]) -> list[Manifest]:
    """Each port with and without a protocol; TCP is the default."""
    return [{**port, **protocol} for protocol in ({}, *({"protocol": name} for name in PROTOCOLS)) for port in ports]


KEYS, VALUES = ("app", "tier"), ("a", "")
MAYBE = (None, *VALUES)
LABELS = st.sampled_from(
    [
        {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
        for values in product(MAYBE, MAYBE)
    ]
)
SELECTORS = selectors(KEYS, VALUES)
NAMESPACE_SELECTORS = SELECTORS | selectors(["kubernetes.io/metadata.name"], [*NAMESPACES, "absent"])

NUMBERS = (80, 443)
RANGES = ((80, 81), (81, 443), (1, 65535), (443, 65535))
PORT_NAMES = ("web", "dns")
NAMED = (*PORT_NAMES, "absent")

NETWORK_POLICY_PORTS = st.sampled_from(
    with_protocols(
        [
            {},
            *({"port": port} for port in (*NUMBERS, *NAMED)),
            *({"port": start, "endPort": end} for start, end in RANGES),
            {"port": 80, "endPort": 80},
        ]
    )
)
NETWORK_POLICY_PEERS = one_field(
    podSelector=SELECTORS, namespaceSelector=NAMESPACE_SELECTORS, ipBlock=st.sampled_from(list(ip_blocks()))
) | st.fixed_dictionaries({"podSelector": SELECTORS, "namespaceSelector": NAMESPACE_SELECTORS})


def network_policy_rules(peers: str) -> Strategy:
    """In a rule, an absent list and an empty one are the same; of the rules themselves they are not."""
    fields = {peers: few(NETWORK_POLICY_PEERS, least=0), "ports": few(NETWORK_POLICY_PORTS, least=0)}
    return few(st.fixed_dictionaries({}, optional=fields), least=0)


NETWORK_POLICY_SPECS = st.fixed_dictionaries(
    {"podSelector": SELECTORS},
    optional={
        "ingress": network_policy_rules("from"),
        "egress": network_policy_rules("to"),
        "policyTypes": st.sampled_from(([], ["Ingress"], ["Egress"], ["Egress", "Ingress"])),
    },
)

POD_PEERS = one_field(
    namespaces=NAMESPACE_SELECTORS,
    pods=st.fixed_dictionaries({"namespaceSelector": NAMESPACE_SELECTORS, "podSelector": SELECTORS}),
)
PLACE_PEERS = one_field(networks=st.sampled_from(some(BLOCKS)), nodes=SELECTORS)
DOMAIN_NAMES = one_field(domainNames=st.sampled_from(some(("example.com", "*.example.org"))))
UNKNOWN_PEER: Manifest = {"serviceAccounts": {}}

SPANS = [{"start": start, "end": end} for start, end in RANGES]
DESTINATION_PORTS = [*({"number": number} for number in NUMBERS), *({"range": span} for span in SPANS)]
CNP_PORTS = [{protocol.lower(): {"destinationPort": port}} for protocol, port in product(PROTOCOLS, DESTINATION_PORTS)]
ANP_PORTS = [
    *({"portNumber": port} for port in with_protocols([{"port": number} for number in NUMBERS])),
    *({"portRange": span} for span in with_protocols(SPANS)),
]


@dataclass(frozen=True)
class Dialect:
    """How a kind of cluster-wide policy words its rules."""

    accept: str
    others: tuple[str, ...]
    ports: str
    numeric: Sequence[Manifest]
    named: Sequence[Manifest]
    outside: Strategy

    def fields(self) -> dict[str, Strategy]:
        """The rules of both directions; a policy without rules in one has no say there."""
        actions = (self.accept, *self.others)
        any_port = (*self.numeric, *self.named)
        ingress = self._rules(actions, "from", POD_PEERS, any_port)
        # Neither networks nor nodes nor domains have named ports, and only what is accepted may name domains.
        egress = (
            self._rules(actions, "to", POD_PEERS, any_port)
            | self._rules((self.accept,), "to", POD_PEERS | self.outside, self.numeric)
            | self._rules(self.others, "to", POD_PEERS | PLACE_PEERS, self.numeric)
        )
        return {"ingress": st.lists(ingress, max_size=3), "egress": st.lists(egress, max_size=3)}

    def _rules(self, actions: Sequence[str], direction: str, peers: Strategy, ports: Sequence[Manifest]) -> Strategy:
        fields = {"action": st.sampled_from(actions), direction: few(peers)}
        return st.fixed_dictionaries(fields, optional={self.ports: few(st.sampled_from(ports))})


NAMED_CNP_PORTS = [{"destinationNamedPort": name} for name in NAMED]
NAMED_ANP_PORTS = [{"namedPort": name} for name in NAMED]
EVERYWHERE = PLACE_PEERS | DOMAIN_NAMES
CNP = Dialect("Accept", ("Deny", "Pass"), "protocols", CNP_PORTS, NAMED_CNP_PORTS, EVERYWHERE)
ANP = Dialect("Allow", ("Deny", "Pass"), "ports", ANP_PORTS, NAMED_ANP_PORTS, EVERYWHERE)
BANP = Dialect("Allow", ("Deny",), "ports", ANP_PORTS, NAMED_ANP_PORTS, PLACE_PEERS)

SUBJECT = {"subject": POD_PEERS}
PRIORITY = {"priority": st.sampled_from((0, 0, 1000))}
TIER = {"tier": st.sampled_from(("Admin", "Baseline"))}
CLUSTER_POLICIES = st.tuples(
    st.just("ClusterNetworkPolicy"), st.fixed_dictionaries(SUBJECT | PRIORITY | TIER | CNP.fields())
) | st.tuples(st.just("AdminNetworkPolicy"), st.fixed_dictionaries(SUBJECT | PRIORITY | ANP.fields()))
BASELINE_POLICY = st.tuples(
    st.just("BaselineAdminNetworkPolicy"), st.fixed_dictionaries(SUBJECT, optional=BANP.fields())
)

FAMILIES = ((0,), (1,), (0, 1))
CONTAINER_PORTS = st.lists(
    st.sampled_from(
        with_protocols(
            [{"name": name, "containerPort": number} for name, number in product(PORT_NAMES, NUMBERS)],
        )
    ),
    max_size=2,
    unique_by=(lambda port: port["name"], lambda port: (port["containerPort"], port.get("protocol", "TCP"))),
)
PODS = st.fixed_dictionaries(
    {
        "namespace": st.sampled_from(NAMESPACES),
        "labels": LABELS,
        "families": st.sampled_from((*FAMILIES, ())),
        "ports": CONTAINER_PORTS,
        "sidecar_ports": CONTAINER_PORTS,
        "host_network": st.sampled_from((False, False, False, False, True)),
        "node": st.sampled_from(("", *NODES)),
    }
)


def object_of(kind: str, version: str, name: str, labels: dict[str, str] | None = None, **fields: Any) -> Manifest:
    """A manifest; `name` is `name` or `namespace/name`."""
    namespace, _, short = name.rpartition("/")
    metadata = (
        {"name": short} | ({"namespace": namespace} if namespace else {}) | ({"labels": labels} if labels else {})
    )
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _node(index: int, labels: dict[str, str], families: tuple[int, ...]) -> Manifest:
    internal = [{"type": "InternalIP", "address": NODE_ADDRESSES[index][family]} for family in families]
    addresses = [*internal, {"type": "Hostname", "address": NODES[index]}]
    return object_of("Node", "v1", NODES[index], labels, status={"addresses": addresses})


def _pod(index: int, drawn: dict[str, Any]) -> Manifest:
    """Pods of the host network carry the address of their node, and only pods of the pod network a sidecar."""
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "main", "ports": drawn["ports"]}]}
    pair = POD_ADDRESSES[index]
    if drawn["node"]:
        spec["nodeName"] = drawn["node"]
    if drawn["host_network"]:
        spec["hostNetwork"] = True
        pair = NODE_ADDRESSES[NODES.index(drawn["node"] or NODES[0])]
    elif drawn["sidecar_ports"]:
        sidecar = {"name": "side", "image": "side", "restartPolicy": "Always", "ports": drawn["sidecar_ports"]}
        spec["initContainers"] = [sidecar]
    addresses = [{"ip": pair[family]} for family in drawn["families"]]
    status = {"podIP": addresses[0]["ip"], "podIPs": addresses} if addresses else {}
    return object_of("Pod", "v1", f"{drawn['namespace']}/p{index}", drawn["labels"], spec=spec, status=status)


@st.composite
def clusters(draw: st.DrawFn, *, unknown_peers: bool = True) -> list[Manifest]:
    """Manifests of two to five pods in up to three namespaces, up to two nodes, and policies of every kind."""
    namespaces = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMESPACES, LABELS)))
    nodes = draw(few(st.tuples(LABELS, st.sampled_from(FAMILIES)), least=0))
    pods = draw(st.lists(PODS, min_size=2, max_size=len(POD_ADDRESSES)))
    network_policies = draw(st.lists(st.tuples(st.sampled_from(NAMESPACES), NETWORK_POLICY_SPECS), max_size=3))
    cluster_policies = draw(st.lists(CLUSTER_POLICIES, max_size=5)) + draw(st.lists(BASELINE_POLICY, max_size=1))
    if unknown_peers and draw(st.integers(0, 19)) == 19:
        _add_unknown_peer(draw, [spec for _, spec in cluster_policies])
    return [
        *(object_of("Namespace", "v1", name, labels) for name, labels in namespaces.items()),
        *(_node(index, *node) for index, node in enumerate(nodes)),
        *(_pod(index, pod) for index, pod in enumerate(pods)),
        *(
            object_of("NetworkPolicy", "networking.k8s.io/v1", f"{namespace}/np{index}", spec=spec)
            for index, (namespace, spec) in enumerate(network_policies)
        ),
        *(_cluster_policy(index, *policy) for index, policy in enumerate(cluster_policies)),
    ]


def _cluster_policy(index: int, kind: str, spec: dict[str, Any]) -> Manifest:
    version = "v1alpha2" if kind == "ClusterNetworkPolicy" else "v1alpha1"
    name = "default" if kind == "BaselineAdminNetworkPolicy" else f"p{index}"
    return object_of(kind, f"policy.networking.k8s.io/{version}", name, spec=spec)


def _add_unknown_peer(draw: st.DrawFn, specs: list[dict[str, Any]]) -> None:
    directions = (("ingress", "from"), ("egress", "to"))
    peers = [rule[key] for spec in specs for direction, key in directions for rule in spec.get(direction, [])]
    if peers:
        draw(st.sampled_from(peers)).append(UNKNOWN_PEER)


def probes(manifests: list[Manifest]) -> st.SearchStrategy[Probe]:
    """A question (source, destination, protocol, port) with a pod at one end at least.

    At the other end is a pod, a node, or an address on either side of an end of a block.
    """
    inside, across, ports = _ends_and_ports(manifests)
    ends = st.sampled_from(inside) | st.sampled_from(across)
    return st.builds(lambda pair, port: (*pair, *port), ends, st.sampled_from(ports))


def many_probes(manifests: list[Manifest], number: int = 100) -> st.SearchStrategy[list[Probe]]:
    """This number of questions at the price of one: to draw is dearer than to answer."""
    inside, across, ports = _ends_and_ports(manifests)

    def choose(seed: int) -> list[Probe]:
        random = Random(seed)
        return [(*random.choice((inside, across)[turn % 2]), *random.choice(ports)) for turn in range(number)]

    return st.integers(0, 2**32).map(choose)


def _ends_and_ports(manifests: list[Manifest]) -> tuple[Ends, Ends, list[tuple[str, int]]]:
    """Pairs of pods, one of them a pod and itself; pairs of a pod and an address; protocols and ports."""
    pods = [f"{it['metadata']['namespace']}/{it['metadata']['name']}" for it in manifests if it["kind"] == "Pod"]
    addresses = _addresses(manifests)
    inside = [*permutations(pods, 2), (pods[0], pods[0])]
    across = [*product(pods, addresses), *product(addresses, pods)]
    return inside, across, list(product(("TCP", *PROTOCOLS), _ports(manifests)))


def _addresses(manifests: list[Manifest]) -> list[str]:
    """Addresses of nodes, and both sides of each end of each block; an address of a pod stands for nothing else."""
    found = [address for pair in (*NODE_ADDRESSES, OUTSIDE) for address in pair]
    for block in dict.fromkeys(value for value in _scalars(manifests) if value in BLOCKS):
        network = ip_network(block)
        first, last = int(network[0]), int(network[-1])
        near = [number for number in (first, last, first - 1, last + 1) if 0 <= number < 2**network.max_prefixlen]
        found += [str(type(network[0])(number)) for number in near]
    pods = {address for pair in POD_ADDRESSES for address in pair}
    return [address for address in dict.fromkeys(found) if address not in pods]


def _ports(manifests: list[Manifest]) -> list[int]:
    """The ports named anywhere and those beside them; a priority among them does no harm."""
    numbers = dict.fromkeys(value for value in _scalars(manifests) if type(value) is int)
    near = [80, 8080, *(number + step for number in numbers for step in (0, -1, 1))]
    return [number for number in dict.fromkeys(near) if 1 <= number <= 65535]


def _scalars(value: Any) -> Iterator[Any]:
    """Every value in a manifest that is neither a mapping nor a list."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    else:
        yield value
