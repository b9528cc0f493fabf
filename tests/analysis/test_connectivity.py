"""NetworkPolicy semantics: the traps of the specification as tables, its laws as properties."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_objects import Manifest, app, namespace, pod, policy, workload

from breakglass.analysis.connectivity import Flow, Network, newly_opened, newly_opened_outside
from breakglass.analysis.elsewhere import address_ranges, peers_of
from breakglass.analysis.networkpolicy import AddressRange
from breakglass.analysis.ports import LAST_PORT, PROTOCOLS, PortRange
from breakglass.model.errors import NotFound, Refused

# No deadline: the machine may be busy.
UNHURRIED = settings(deadline=None, max_examples=60)

WORLD = [
    namespace("x", team="red"),
    namespace("y", team="blue"),
    pod("x/a", ("web", 80)),
    pod("x/b", ("web", 8080), tier="back"),
    pod("y/a", ("web", 80), ip="10.1.2.3"),
    pod("y/b"),
]
PEOPLE = ("x/a", "x/b", "y/a", "y/b")


def who_reaches(destination: str, *policies: Manifest, port: int = 80, protocol: str = "TCP") -> str:
    network = Network([*WORLD, *policies])
    return " ".join(who for who in PEOPLE if network.verdict(who, destination, port, protocol).allowed)


def ingress_to_a(*rules: Any, **spec: Any) -> Manifest:
    return policy("x/p", podSelector=app("a"), ingress=list(rules), **spec)


EVERYBODY = "x/a x/b y/a y/b"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, "x/a", id="policyTypes absent isolates ingress"),
        pytest.param({"egress": []}, "x/a", id="an empty egress list isolates ingress"),
        pytest.param({"policyTypes": ["Egress"]}, EVERYBODY, id="Egress alone leaves ingress open"),
        pytest.param({"policyTypes": ["Egress"], "ingress": [{}]}, EVERYBODY, id="rules of no direction are nothing"),
        pytest.param({"ingress": [{}]}, EVERYBODY, id="an empty rule is everybody"),
        pytest.param({"ingress": [{"from": []}]}, EVERYBODY, id="from: [] is everybody"),
        pytest.param({"ingress": [{"from": None, "ports": None}]}, EVERYBODY, id="null is absent"),
        pytest.param({"ingress": [{"from": [{"podSelector": {}}]}]}, "x/a x/b", id="podSelector {} is the namespace"),
        pytest.param({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, EVERYBODY, id="namespaceSelector {} is all"),
        pytest.param(
            {
                "ingress": [
                    {"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}, "podSelector": app("a")}]}
                ]
            },
            "x/a y/a",
            id="both in one peer is and",
        ),
        pytest.param(
            {
                "ingress": [
                    {"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}, {"podSelector": app("b")}]}
                ]
            },
            "x/a x/b y/a y/b",
            id="two peers are or",
        ),
        pytest.param(
            {
                "ingress": [
                    {"from": [{"podSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}}]}
                ]
            },
            "x/a",
            id="DoesNotExist does not match a key that exists",
        ),
        pytest.param(
            {
                "ingress": [
                    {
                        "from": [
                            {
                                "namespaceSelector": {},
                                "podSelector": {
                                    "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]
                                },
                            }
                        ]
                    }
                ]
            },
            "x/a y/a y/b",
            id="NotIn matches a missing key",
        ),
        pytest.param(
            {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "y"}}}]}]},
            "x/a y/a y/b",
            id="a namespace is labelled with its name",
        ),
        pytest.param(
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, "x/a y/a", id="ipBlock: a Pod's podIP"
        ),
        pytest.param(
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]},
            "x/a",
            id="ipBlock: except",
        ),
        pytest.param({"ingress": [{"ports": [{"port": 80}]}]}, EVERYBODY, id="protocol defaults to TCP"),
        pytest.param({"ingress": [{"ports": [{"port": 80, "protocol": "UDP"}]}]}, "x/a", id="another protocol"),
        pytest.param({"ingress": [{"ports": [{"protocol": "TCP"}]}]}, EVERYBODY, id="no port: every port"),
        pytest.param({"ingress": [{"ports": [{"protocol": "UDP"}]}]}, "x/a", id="no port, of the protocol"),
        pytest.param({"ingress": [{"ports": [{"port": "web"}]}]}, EVERYBODY, id="a port by name"),
        pytest.param({"ingress": [{"ports": [{"port": "web", "protocol": "UDP"}]}]}, "x/a", id="a name and protocol"),
        pytest.param({"ingress": [{"ports": [{"port": "wep"}]}]}, "x/a", id="a name the pod does not have"),
        pytest.param({"ingress": [{"ports": [{"port": 79, "endPort": 81}]}]}, EVERYBODY, id="endPort"),
        pytest.param({"ingress": [{"ports": [{"port": 78, "endPort": 79}]}]}, "x/a", id="endPort below"),
    ],
)
def test_who_reaches_x_a(spec: Manifest, expected: str) -> None:
    assert who_reaches("x/a", policy("x/p", **{"podSelector": app("a"), **spec})) == expected


def test_named_ports_are_those_of_the_destination() -> None:
    to_web = policy("x/p", podSelector=app("a"), policyTypes=["Egress"], egress=[{"ports": [{"port": "web"}]}])
    network = Network([*WORLD, to_web])
    reached = {
        (destination, port)
        for destination in PEOPLE
        for port in (80, 8080)
        if network.verdict("x/a", destination, port, "TCP").allowed
    }
    assert reached == {("x/a", 80), ("x/a", 8080), ("x/b", 8080), ("y/a", 80)}


@pytest.mark.parametrize(
    ("egress", "isolated"), [([], False), ([{"ports": [{"port": 1}]}], True)], ids=["empty", "not empty"]
)
def test_egress_without_policy_types(egress: list[Manifest], *, isolated: bool) -> None:
    verdict = Network([*WORLD, policy("x/p", podSelector=app("b"), egress=egress)]).verdict("x/b", "y/a", 80, "TCP")
    assert verdict.egress != isolated


def test_a_connection_needs_both_sides() -> None:
    shut = [policy("x/deny", policyTypes=["Egress"]), policy("y/deny", policyTypes=["Ingress"])]
    out = policy("x/out", podSelector=app("a"), egress=[{"to": [{"namespaceSelector": {}}]}], policyTypes=["Egress"])
    into = policy("y/in", podSelector=app("a"), ingress=[{"from": [{"namespaceSelector": {}}]}])

    def sides(*more: Manifest) -> tuple[bool, bool, bool]:
        verdict = Network([*WORLD, *shut, *more]).verdict("x/a", "y/a", 80, "TCP")
        return verdict.egress, verdict.ingress, verdict.allowed

    assert sides() == (False, False, False)
    assert sides(out) == (True, False, False)
    assert sides(into) == (False, True, False)
    assert sides(out, into) == (True, True, True)


def test_because_names_the_policies_that_decide() -> None:
    network = Network(
        [
            *WORLD,
            policy("x/deny", policyTypes=["Ingress", "Egress"]),
            policy("x/open", podSelector=app("a"), ingress=[{"from": [{"podSelector": app("b")}]}]),
        ]
    )
    assert network.verdict("x/b", "x/a", 80, "TCP").because == (
        "NetworkPolicy x/deny isolates egress of x/b",
        "NetworkPolicy x/open opens ingress of x/a",
    )
    assert network.verdict("y/a", "y/b", 80, "TCP").because == ()
    assert network.verdict("x/a", "x/a", 80, "TCP").because == ("a pod always reaches itself",)


@pytest.mark.parametrize(
    "kind",
    ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"],
)
def test_a_template_is_a_workload(kind: str) -> None:
    network = Network([*WORLD, workload(kind, "x/made"), policy("x/p", podSelector=app("made"))])
    assert not network.verdict("x/a", "x/made", 80, "TCP").allowed
    assert network.verdict("x/made", "x/a", 80, "TCP").allowed


@pytest.mark.parametrize(
    ("made", "reaches_itself"),
    [
        (workload("Deployment", "x/made"), True),
        (workload("Deployment", "x/made", replicas=2), False),
        (workload("Job", "x/made", parallelism=2), False),
        (workload("DaemonSet", "x/made"), False),
    ],
    ids=["one replica", "two replicas", "two at once", "one a node"],
)
def test_two_pods_of_one_workload_are_not_one_pod(made: Manifest, *, reaches_itself: bool) -> None:
    network = Network([made, policy("x/p")])
    assert network.verdict("x/made", "x/made", 80, "TCP").allowed == reaches_itself


def test_a_pod_that_a_workload_controls_is_that_workload() -> None:
    made = pod("x/web-abcde")
    made["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]
    middle = workload("ReplicaSet", "x/web-1")
    middle["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "controller": True}]
    owned = [workload("Deployment", "x/web"), middle, made]
    assert [each.name for each in Network(owned).workloads] == ["x/web"]
    assert [each.name for each in Network(owned[1:]).workloads] == ["x/web-1"]
    assert [each.name for each in Network(owned[2:]).workloads] == ["x/web-abcde"]


def test_the_same_name_of_two_kinds_is_open_where_either_is() -> None:
    both = [workload("Deployment", "x/a"), workload("StatefulSet", "x/a")]
    both[0]["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    network = Network([pod("y/c"), *both, policy("x/p", podSelector=app("a"))])
    assert network.verdict("y/c", "x/a", 80, "TCP").allowed
    assert Flow("y/c", "x/a", PortRange("TCP", 1, LAST_PORT)) in network.connections()


def test_a_namespace_without_manifest_has_its_name() -> None:
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    network = Network([pod("elsewhere/c"), pod("x/a"), policy("x/p", ingress=[{"from": [chosen]}])])
    assert network.verdict("elsewhere/c", "x/a", 80, "TCP").allowed


def test_no_namespace_is_default() -> None:
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    assert [each.name for each in Network([bare]).workloads] == ["default/a"]


def test_a_workload_that_is_not_there() -> None:
    with pytest.raises(NotFound) as caught:
        Network(WORLD).verdict("x/a", "x/nobody", 80, "TCP")
    assert "x/nobody" in caught.value.what
    assert "x/a, x/b, y/a, y/b" in str(caught.value.remedy)


@pytest.mark.parametrize(("port", "protocol"), [(0, "TCP"), (65536, "TCP"), (80, "ICMP")])
def test_a_port_that_is_none(port: int, protocol: str) -> None:
    with pytest.raises(Refused, match="is no port"):
        Network(WORLD).verdict("x/a", "x/b", port, protocol)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"podSelector": {"matchLabel": {}}}, "unknown field matchLabel"),
        ({"podSelector": "a"}, "podSelector is not an object"),
        ({"podSelector": {"matchLabels": {"app": True}}}, "matchLabels.app is not text"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Equals"}]}}, "no operator"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In has 0 values"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}, "has 1 values"),
        ({"policyTypes": ["ingress"]}, "policyTypes names ingress"),
        ({"ingres": []}, "unknown field ingres"),
        ({"ingress": {}}, "ingress is not the list"),
        ({"ingress": [None]}, "ingress is not the list"),
        ({"ingress": [{"to": []}]}, "unknown field to"),
        ({"ingress": [{"from": [{}]}]}, "either an ipBlock or selectors"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, "either an ipBlock"),
        ({"ingress": [{"from": [{"podSelectr": {}}]}]}, "unknown field podSelectr"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}, "is no CIDR"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}]}]}, "is no CIDR"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0/8"}}]}]}, "ipBlock:"),
        (
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}]},
            "does not lie inside",
        ),
        (
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]},
            "does not lie inside",
        ),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["::/9"]}}]}]}, "does not lie inside"),
        ({"ingress": [{"ports": [{"port": 0}]}]}, "no range of ports"),
        ({"ingress": [{"ports": [{"port": 90, "endPort": 80}]}]}, "no range of ports"),
        ({"ingress": [{"ports": [{"port": "web", "endPort": 80}]}]}, "endPort needs a port that is a number"),
        ({"ingress": [{"ports": [{"endPort": 80}]}]}, "endPort needs a port"),
        ({"ingress": [{"ports": [{"port": 80.5}]}]}, "port is not a whole number"),
        ({"ingress": [{"ports": [{"port": True}]}]}, "port is not a whole number"),
        ({"ingress": [{"ports": [{"port": 80, "protocol": "tcp"}]}]}, "tcp is no protocol"),
    ],
)
def test_what_the_api_server_would_refuse(spec: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint) as caught:
        Network([policy("x/p", **spec)])
    assert caught.value.where == "NetworkPolicy.networking.k8s.io x/p"
    assert caught.value.remedy


def test_newly_opened_is_exact() -> None:
    shut = [*WORLD, policy("x/deny")]
    opening = ingress_to_a({"from": [{"podSelector": app("b")}], "ports": [{"port": 80, "endPort": 82}]})
    before, after = Network(shut), Network([*shut, opening])
    assert newly_opened(before, after) == (Flow("x/b", "x/a", PortRange("TCP", 80, 82)),)
    assert newly_opened(after, before) == ()
    assert str(newly_opened(before, after)[0]) == "x/b → x/a TCP 80-82"


def test_outside_shows_what_workloads_do_not() -> None:
    shut = [*WORLD, policy("x/deny", policyTypes=["Ingress", "Egress"])]
    block = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}
    cluster = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    opening = policy("x/p", podSelector=app("a"), policyTypes=["Egress"], egress=[{"to": [block, cluster]}])
    before, after = Network(shut), Network([*shut, opening])
    assert newly_opened(before, after) == ()
    found = newly_opened_outside(before, after)
    assert {each.ports.protocol for each in found} == set(PROTOCOLS)
    assert {(each.workload, each.direction, each.lifted) for each in found} == {("x/a", "egress", False)}
    ranges = {(str(each.other.first), str(each.other.last)) for each in found if isinstance(each.other, AddressRange)}
    assert ranges == {("192.0.2.0", "192.0.2.127")}
    pods = {each.other.name for each in found if not isinstance(each.other, AddressRange)}
    assert pods == {"kube-system/any"}
    assert {each.lifted for each in newly_opened_outside(before, Network(WORLD))} == {True}


def test_addresses_are_cut_where_blocks_begin_and_end() -> None:
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"ipBlock": {"cidr": "ffff::/16"}}]
    network = Network([policy("x/p", ingress=[{"from": blocks}])])
    assert [f"{each.first}-{each.last}" for each in address_ranges(peers_of(network.policies))] == [
        "0.0.0.0-9.255.255.255",
        "10.0.0.0-10.0.255.255",
        "10.1.0.0-10.1.255.255",
        "10.2.0.0-10.255.255.255",
        "11.0.0.0-255.255.255.255",
        "::-fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]


SELECTORS = st.sampled_from([{}, app("a"), app("b"), {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}])
NAMESPACES = st.sampled_from([{}, {"matchLabels": {"team": "red"}}, {"matchLabels": {"team": "nobody"}}])
PEERS = st.one_of(
    st.builds(lambda chosen: {"podSelector": chosen}, SELECTORS),
    st.builds(lambda chosen, spaces: {"podSelector": chosen, "namespaceSelector": spaces}, SELECTORS, NAMESPACES),
    st.builds(lambda spaces: {"namespaceSelector": spaces}, NAMESPACES),
    st.sampled_from(["10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0"]).map(lambda cidr: {"ipBlock": {"cidr": cidr}}),
)
PORTS = st.sampled_from([{"port": 80}, {"port": "web"}, {"port": 79, "endPort": 90}, {"protocol": "UDP"}])


@st.composite
def policies(draw: st.DrawFn, name: str = "p", types: list[str] | None = None) -> Manifest:
    def rules(side: str) -> list[Manifest]:
        count = draw(st.integers(0, 2))
        return [
            {side: draw(st.lists(PEERS, max_size=2)), "ports": draw(st.lists(PORTS, max_size=2))} for _ in range(count)
        ]

    spec: Manifest = {"podSelector": draw(SELECTORS), "ingress": rules("from"), "egress": rules("to")}
    chosen = types or draw(st.sampled_from([None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    return policy(f"{draw(st.sampled_from(['x', 'y']))}/{name}", **spec, **({"policyTypes": chosen} if chosen else {}))


def many(most: int) -> st.SearchStrategy[list[Manifest]]:
    return st.integers(0, most).flatmap(lambda count: st.tuples(*(policies(f"p{i}") for i in range(count))).map(list))


@UNHURRIED
@given(many(4))
def test_a_pod_always_reaches_itself(found: list[Manifest]) -> None:
    network = Network([*WORLD, *found])
    for who in PEOPLE:
        assert network.verdict(who, who, 80, "TCP").allowed


@UNHURRIED
@given(many(3), policies("more"))
def test_a_policy_that_selects_nothing_changes_nothing(found: list[Manifest], more: Manifest) -> None:
    more["spec"]["podSelector"] = app("nobody")
    assert Network([*WORLD, *found, more]).connections() == Network([*WORLD, *found]).connections()


@UNHURRIED
@given(many(3), policies("more"))
def test_policies_add_up_once_a_pod_is_isolated(found: list[Manifest], more: Manifest) -> None:
    isolated = [*WORLD, *(policy(f"{space}/deny", policyTypes=["Ingress", "Egress"]) for space in "xy"), *found]
    assert newly_opened(Network([*isolated, more]), Network(isolated)) == ()


@UNHURRIED
@given(many(3), st.lists(policies("more", types=["Ingress"]), max_size=1))
def test_the_first_policy_only_shuts(found: list[Manifest], more: list[Manifest]) -> None:
    # Whoever is not isolated can only lose by a policy; here nobody is isolated for ingress but by the one added.
    egress_only = [{**each, "spec": {**each["spec"], "policyTypes": ["Egress"]}} for each in found]
    assert newly_opened(Network([*WORLD, *egress_only]), Network([*WORLD, *egress_only, *more])) == ()


@UNHURRIED
@given(many(4).flatmap(lambda found: st.tuples(st.just(found), st.permutations([*WORLD, *found]))))
def test_order_does_not_matter(both: tuple[list[Manifest], list[Manifest]]) -> None:
    found, shuffled = both
    assert Network(shuffled).connections() == Network([*WORLD, *found]).connections()


@UNHURRIED
@given(many(4), st.sampled_from([1, 79, 80, 81, 90, 91, 8080, 65535]), st.sampled_from(PROTOCOLS))
def test_connections_say_what_verdicts_say(found: list[Manifest], port: int, protocol: str) -> None:
    network = Network([*WORLD, *found])
    listed = {
        (flow.source, flow.destination)
        for flow in network.connections()
        if flow.ports.protocol == protocol and flow.ports.first <= port <= flow.ports.last
    }
    judged = {(s, d) for s, d in permutations(PEOPLE, 2) if network.verdict(s, d, port, protocol).allowed}
    assert listed == judged


@UNHURRIED
@given(many(3), many(3))
def test_what_opens_is_the_difference(one: list[Manifest], other: list[Manifest]) -> None:
    before, after = Network([*WORLD, *one]), Network([*WORLD, *other])
    opened = {
        (flow.source, flow.destination, flow.ports.protocol, port)
        for flow in newly_opened(before, after)
        for port in (1, 79, 80, 90, 8080)
        if flow.ports.first <= port <= flow.ports.last
    }
    expected = {
        (s, d, protocol, port)
        for s in PEOPLE
        for d in PEOPLE
        for protocol in PROTOCOLS
        for port in (1, 79, 80, 90, 8080)
        if after.verdict(s, d, port, protocol).allowed and not before.verdict(s, d, port, protocol).allowed
    }
    assert opened == expected
