"""Services: load balancers, node ports and external addresses, and what answers behind a port."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_objects import Manifest, app, ingress, pod, policy, service

from breakglass.analysis.exposure.exposure import Exposure, exposed, newly_exposed
from breakglass.analysis.exposure.passage import PolicyWay
from breakglass.analysis.exposure.ranges import canonical_range, includes, intersection, is_everywhere, merged
from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.explain import explain
from breakglass.analysis.network.objects import read_network
from breakglass.analysis.network.portline import interval
from breakglass.analysis.network.profile import PROFILES
from breakglass.analysis.network.space import Space
from breakglass.analysis.network.state import State
from breakglass.model.errors import Refused


def spec(**fields: Any) -> Manifest:
    """The Service shop/web of one port, 80."""
    found = service("shop/web", "web", 80)
    found["spec"] |= fields
    return found


def one_port(**fields: Any) -> list[Manifest]:
    return [{"port": 80, **fields}]


def shown(*manifests: Manifest) -> list[str]:
    return sorted(map(str, exposed(manifests)))


def through(*manifests: Manifest) -> list[Exposure]:
    return sorted(exposed(manifests, PolicyWay(read_network(manifests))))


def workloads(*manifests: Manifest) -> list[str]:
    return sorted({each.workload for exposure in exposed(manifests) for each in exposure.reached})


WEB = ingress("shop/i", "a.b", "/", "web", 80)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"type": "LoadBalancer"}, ["load-balancer TCP 80", "node-port TCP some port"]),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, ["load-balancer TCP 80"]),
        (
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": True},
            ["load-balancer TCP 80", "node-port TCP some port"],
        ),
        ({"type": "NodePort"}, ["node-port TCP some port"]),
        ({"type": "NodePort", "ports": one_port(nodePort=30080, protocol="UDP")}, ["node-port UDP 30080"]),
        (
            {"externalIPs": ["192.0.2.1", "2001:db8:0::1"]},
            ["external-ip 192.0.2.1 TCP 80", "external-ip 2001:db8::1 TCP 80"],
        ),
        ({"clusterIP": "None"}, []),
        ({"type": "ExternalName", "externalName": "example.com", "externalIPs": ["192.0.2.1"]}, []),
    ],
)
def test_ways_in_that_a_service_opens_by_itself(fields: Manifest, expected: list[str]) -> None:
    assert shown(spec(**fields)) == [f"{each} → shop/web:80" for each in expected]


@pytest.mark.parametrize(
    ("fields", "annotation", "expected"),
    [
        ({}, "", ()),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8", "2001:db8::/32"]}, "", ("10.0.0.0/8", "2001:db8::/32")),
        ({"loadBalancerSourceRanges": ["10.1.2.3/8", " 10.0.0.0/9 "]}, "", ("10.0.0.0/8",)),
        ({}, "10.0.0.0/8, 192.0.2.0/24", ("10.0.0.0/8", "192.0.2.0/24")),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "192.0.2.0/24", ("10.0.0.0/8",)),
        ({"loadBalancerSourceRanges": ["0.0.0.0/0"]}, "", ("0.0.0.0/0",)),
    ],
)
def test_source_ranges_are_the_load_balancer_s_and_not_the_node_port_s(
    fields: Manifest, annotation: str, expected: tuple[str, ...]
) -> None:
    found = spec(type="LoadBalancer", **fields)
    found["metadata"]["annotations"] = {"service.beta.kubernetes.io/load-balancer-source-ranges": annotation}
    assert {each.entry: each.source_ranges for each in exposed([found])} == {"load-balancer": expected, "node-port": ()}


OFFICE = policy("shop/web", podSelector=app("web"), ingress=[{"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}])
NOBODY = policy("shop/web", podSelector=app("web"), policyTypes=["Ingress"])
EVERYBODY_V4 = policy("shop/web", podSelector=app("web"), ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}])
CONTROLLERS = policy("shop/web", podSelector=app("web"), ingress=[{"from": [{"namespaceSelector": {}}]}])


@pytest.mark.parametrize(
    ("declared", "policies", "traffic", "network", "ranges"),
    [
        ([], [], "Local", "open", ()),
        ([], [NOBODY], "Local", "blocked", ()),
        # It lets the ingress controller in, and that is not on this way.
        ([], [CONTROLLERS], "Local", "blocked", ()),
        ([], [OFFICE], "Local", "open", ("198.51.100.0/24",)),
        (["198.51.100.0/25"], [OFFICE], "Local", "open", ("198.51.100.0/25",)),
        (["10.0.0.0/8"], [OFFICE], "Local", "blocked", ("10.0.0.0/8",)),
        ([], [EVERYBODY_V4], "Local", "open", ("0.0.0.0/0",)),
        ([], [], "Cluster", "open", ()),
        ([], [NOBODY], "Cluster", "blocked", ()),
        ([], [EVERYBODY_V4], "Cluster", "open", ()),
        # The pods may see the address of a node.
        ([], [OFFICE], "Cluster", "depends", ()),
        (["10.0.0.0/8"], [OFFICE], "Cluster", "depends", ("10.0.0.0/8",)),
    ],
)
def test_policies_see_the_client_or_a_node(
    declared: list[str], policies: list[Manifest], traffic: str, network: str, ranges: tuple[str, ...]
) -> None:
    balanced = spec(
        type="LoadBalancer",
        allocateLoadBalancerNodePorts=False,
        externalTrafficPolicy=traffic,
        loadBalancerSourceRanges=declared,
    )
    (found,) = through(balanced, pod("shop/web"), *policies)
    assert (found.network, found.source_ranges) == (network, ranges)
    assert f"Service shop/web (externalTrafficPolicy {traffic})" in found.because


blocks = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32"])
ip_blocks = st.builds(
    lambda cidr, apart: {"cidr": cidr} | ({"except": ["10.1.2.0/24"]} if apart and cidr.startswith("10.") else {}),
    blocks,
    st.booleans(),
)
rules = st.builds(
    lambda block, port: {"from": [{"ipBlock": block}]} | ({"ports": [{"port": port}]} if port else {}),
    ip_blocks,
    st.sampled_from([0, 80, 81]),
)


@given(st.lists(st.lists(rules, max_size=3), max_size=3))
def test_addresses_that_no_rule_tells_apart_are_asked_once(written: list[list[Manifest]]) -> None:
    policies = [policy(f"shop/p{number}", policyTypes=["Ingress"], ingress=each) for number, each in enumerate(written)]
    network = read_network([pod("shop/web"), *policies])
    space = Space([network])
    compiled = CompiledPolicies(State(space, network), PROFILES["upstream"])
    at, web = interval("TCP", 80, 80)[0], space.index["shop/web[Pod]"]
    let_in = [
        str(cidr)
        for bit, (first, last) in enumerate(space.ranges, space.first_range)
        if explain(compiled, bit, web, at).verdict != "deny"
        for cidr in summarize_address_range(*(_address(number) for number in (first, last)))
    ]
    assert PolicyWay(network).from_outside("shop/web[Pod]", "TCP", 80).ranges == (merged(let_in) if let_in else None)


def _address(number: int) -> Any:
    return IPv6Address(number - (1 << 32)) if number >= 1 << 32 else IPv4Address(number)


def test_workloads_that_let_in_different_clients_are_told_apart() -> None:
    other = pod("shop/other")
    other["metadata"]["labels"] = {"app": "web", "own": "yes"}
    office = policy(
        "shop/other",
        podSelector={"matchLabels": {"own": "yes"}},
        ingress=[{"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}],
    )
    found = through(spec(type="NodePort", externalTrafficPolicy="Local"), pod("shop/web"), other, office)
    assert [(each.source_ranges, each.reached[0].workload) for each in found] == [
        ((), "shop/web[Pod]"),
        (("198.51.100.0/24",), "shop/other[Pod]"),
    ]


def test_a_wider_policy_exposes_a_load_balancer_to_more() -> None:
    balanced = spec(type="NodePort", externalTrafficPolicy="Local")
    before, after = (through(balanced, pod("shop/web"), each) for each in (OFFICE, EVERYBODY_V4))
    assert newly_exposed(before, after) == tuple(after)
    assert newly_exposed(after, before) == ()


@pytest.mark.parametrize(
    ("ports", "asked", "expected"),
    [
        (one_port(), 80, "open"),
        (one_port(targetPort=8080), 80, "blocked"),
        (one_port(targetPort="http"), 80, "open"),
        (one_port(name="web", targetPort="http"), "web", "open"),
        (one_port(protocol="UDP"), 80, "unknown"),
        (one_port(), 81, "unknown"),
        (one_port(targetPort="lost"), 80, "unknown"),
    ],
)
def test_the_port_of_the_pods(ports: list[Manifest], asked: int | str, expected: str) -> None:
    only = policy("shop/web", ingress=[{"ports": [{"port": 80}]}])
    (found,) = through(
        ingress("shop/i", "a.b", "/", "web", asked), spec(ports=ports), pod("shop/web", ("http", 80)), only
    )
    assert found.network == expected


def endpoint_slice(service_name: str = "web", port: int | None = 8080, **endpoint: Any) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "shop", "name": "any", "labels": {"kubernetes.io/service-name": service_name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.9"], **endpoint}],
        "ports": [{"port": port}] if port else [{}],
    }


def endpoints(**address: Any) -> Manifest:
    subset = {"addresses": [{"ip": "10.0.0.9", **address}], "ports": [{"port": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"namespace": "shop", "name": "web"},
        "subsets": [subset],
    }


TARGET = {"targetRef": {"kind": "Pod", "name": "web", "namespace": "shop"}}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], []),
        ([endpoint_slice()], ["data/db[Pod]"]),
        ([endpoint_slice(addresses=["10.0.0.8"])], []),
        ([endpoint_slice(addresses=["10.0.0.8"], **TARGET)], ["shop/web[Pod]"]),
        ([endpoint_slice("other")], []),
        ([endpoints()], ["data/db[Pod]"]),
        ([endpoints(ip="10.0.0.8", **TARGET)], ["shop/web[Pod]"]),
        ([endpoints(ip="10.0.0.8", targetRef={"kind": "Node", "name": "web"})], []),
    ],
)
def test_endpoints_of_a_service_without_selector(listed: list[Manifest], expected: list[str]) -> None:
    there = [pod("data/db", ip="10.0.0.9"), pod("shop/web", ip="10.0.0.1")]
    assert workloads(WEB, spec(selector=None), *there, *listed) == expected


def test_the_port_of_endpoints_is_the_pods() -> None:
    only = policy("data/db", ingress=[{"ports": [{"port": 8080}]}])
    state = [WEB, spec(selector=None), pod("data/db", ip="10.0.0.9"), only]
    assert [each.network for each in through(*state, endpoint_slice())] == ["open"]
    assert [each.network for each in through(*state, endpoint_slice(port=8081))] == ["blocked"]
    # Every port of the endpoints, so the Service's own.
    assert [each.network for each in through(*state, endpoint_slice(port=None))] == ["blocked"]


def test_endpoints_belong_to_the_port_of_their_name() -> None:
    two = spec(selector=None, ports=[{"name": "http", "port": 80}, {"name": "admin", "port": 81}])
    listed = {**endpoint_slice(), "ports": [{"name": "admin", "port": 8080}]}
    state = [two, pod("data/db", ip="10.0.0.9"), listed]
    assert workloads(WEB, *state) == []
    assert workloads(ingress("shop/i", "a.b", "/", "web", 81), *state) == ["data/db[Pod]"]


def test_a_selector_is_asked_before_endpoints() -> None:
    assert workloads(WEB, spec(), pod("data/db", ip="10.0.0.9"), pod("shop/web"), endpoint_slice()) == ["shop/web[Pod]"]


def named(service_name: str, host: str) -> Manifest:
    found = service(service_name, "nobody", 80)
    found["spec"] = {"type": "ExternalName", "externalName": host}
    return found


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("db.data.svc.cluster.local", ["data/db[Pod]"]),
        ("db.data.svc.", ["data/db[Pod]"]),
        ("db.data", []),
        ("db.example.com", []),
        ("web.shop.svc", []),
    ],
)
def test_another_name_for_a_service_of_another_namespace(host: str, expected: list[str]) -> None:
    state = [WEB, named("shop/web", host), service("data/db", "db", 80), pod("data/db")]
    assert workloads(*state) == expected
    (found,) = exposed(state)
    assert found.backend == "shop/web:80"
    assert f"the Service shop/web is another name for {host}" in found.because


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "Balancer"}, "type: 'Balancer' is none of"),
        ({"ports": []}, "the Service has no ports"),
        ({"ports": {}}, "ports is not a list of objects"),
        ({"ports": [{}]}, "port is missing"),
        ({"ports": [{"port": 0}]}, "port: 0 is no port"),
        ({"ports": [{"port": 70000}]}, "port: 70000 is no port"),
        ({"ports": [{"port": "80"}]}, "port is not a whole number"),
        ({"ports": one_port(protocol="HTTP")}, "protocol: 'HTTP' is none of"),
        ({"ports": one_port(targetPort="Http")}, "targetPort: 'Http' is no port's number or name"),
        ({"ports": one_port(targetPort=65536)}, "targetPort: 65536 is no port"),
        ({"ports": one_port(nodePort=-1)}, "nodePort: -1 is no port"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "each needs a name of its own"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, "one stands there twice"),
        ({"type": "ExternalName"}, "externalName is missing"),
        ({"type": "NodePort", "clusterIP": "None"}, "a Service of type NodePort cannot be headless"),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "loadBalancerSourceRanges without type LoadBalancer"),
        ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/40"]}, "is no range of addresses"),
        ({"externalIPs": ["example.com"]}, "externalIPs: 'example.com' is no address"),
        ({"externalTrafficPolicy": "Global"}, "externalTrafficPolicy: 'Global' is none of"),
        ({"selector": {"app": 1}}, "selector.app is not text"),
    ],
)
def test_what_an_api_server_would_refuse(fields: Manifest, message: str) -> None:
    with pytest.raises(Refused, match=message):
        exposed([spec(**fields)])


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({**endpoint_slice(), "addressType": None}, "addressType: '' is none of"),
        (endpoint_slice(addresses=["x"]), "'x' does not appear to be an IPv4 or IPv6 address"),
        ({**endpoint_slice(), "apiVersion": "discovery.k8s.io/v1beta1"}, "has no EndpointSlice that is known here"),
        (endpoints(ip="x"), "does not appear to be"),
        ({**spec(), "apiVersion": "v2"}, "has no Service that is known here"),
    ],
)
def test_endpoints_that_an_api_server_would_refuse(manifest: Manifest, message: str) -> None:
    with pytest.raises(Refused, match=message):
        exposed([manifest])


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ((), (), ()),
        ((), ("10.0.0.0/8",), ("10.0.0.0/8",)),
        (("10.0.0.0/8",), ("10.1.0.0/16", "192.0.2.0/24"), ("10.1.0.0/16",)),
        (("10.0.0.0/8",), ("2001:db8::/32",), None),
        (("10.0.0.0/8", "::/0"), ("0.0.0.0/0", "2001:db8::/32"), ("10.0.0.0/8", "2001:db8::/32")),
    ],
)
def test_ranges_in_common(one: tuple[str, ...], other: tuple[str, ...], common: tuple[str, ...] | None) -> None:
    assert intersection(one, other) == intersection(other, one) == common
    if common is not None:
        assert includes(one, common)
        assert includes(other, common)


def test_ranges_are_written_one_way() -> None:
    assert merged(["10.128.0.0/9", "10.0.0.0/9", "2001:db8::/32"]) == ("10.0.0.0/8", "2001:db8::/32")
    assert merged(["::/1", "8000::/1", "0.0.0.0/0"]) == ()
    assert [canonical_range(each) for each in ("10.1.2.3/8", "10.0.0.1", " ::1/64 ", "10.0.0.0/", "a/8", "٣/8")] == [
        "10.0.0.0/8",
        "10.0.0.1/32",
        "::/64",
        "",
        "",
        "",
    ]
    assert [is_everywhere(each) for each in ((), ("::/0",), ("10.0.0.0/8", "0.0.0.0/0"), ("10.0.0.0/8",))] == [
        True,
        True,
        True,
        False,
    ]
    assert not includes(("0.0.0.0/0",), ())
