"""Pairs, rectangles, isolation flips and causes, and the stream of JSON that is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from agreement import clusters_and_questions, expanded, owned, pairs_of
from asking import MATCHING_PODS, asked, compared, rows, shown
from hypothesis import given, settings
from hypothesis import strategies as st
from network_objects import Manifest, app, ingress, namespace, pod, policy, service, workload
from test_pod import EVERY_IPV4, EVERY_IPV6, cluster_policy, labelled, replica
from test_pod import owned as owned_by

from breakglass.analysis.network.connections import Connections
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.report import connectivity_json

AB = [pod("x/a"), pod("x/b")]
OPEN = [{}]


def block(cidr: str, *holes: str) -> Manifest:
    return {"ipBlock": {"cidr": cidr, "except": list(holes)}}


def into(name: str, *rules: Manifest) -> Manifest:
    return policy(f"x/{name}", podSelector=app(name), ingress=list(rules))


def test_every_pair_of_a_cluster_without_policies() -> None:
    assert asked(*AB).rows() == dict.fromkeys(
        [
            f"{EVERY_IPV4} -> x/a[Pod]",
            f"{EVERY_IPV4} -> x/b[Pod]",
            f"{EVERY_IPV6} -> x/a[Pod]",
            f"{EVERY_IPV6} -> x/b[Pod]",
            f"x/a[Pod] -> {EVERY_IPV4}",
            f"x/a[Pod] -> {EVERY_IPV6}",
            "x/a[Pod] -> x/b[Pod]",
            f"x/b[Pod] -> {EVERY_IPV4}",
            f"x/b[Pod] -> {EVERY_IPV6}",
            "x/b[Pod] -> x/a[Pod]",
        ],
        "every port",
    )


def test_addresses_are_disjoint_and_maximal_for_the_pair() -> None:
    # Where a block of one pod begins, nothing begins for the other.
    state = asked(
        *AB,
        into("a", {"from": [block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.0.0/16")]}),
        into("b", {"from": [block("10.0.0.0/9"), block("10.128.0.0/9"), block("fd00::/8")], "ports": [{"port": 1}]}),
        into("b2"),
    )
    assert {row: ports for row, ports in state.rows().items() if "[Pod]" not in row.partition(" -> ")[0]} == {
        "10.0.0.0-10.255.255.255 -> x/a[Pod]": "every port",
        "10.0.0.0-10.255.255.255 -> x/b[Pod]": "TCP 1",
        "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff -> x/b[Pod]": "TCP 1",
    }


def test_ranges_of_different_answers_stay_apart() -> None:
    state = asked(
        *AB, into("a", {"from": [block("10.0.0.0/8")]}, {"from": [block("11.0.0.0/8")], "ports": [{"port": 1}]})
    )
    assert {row: ports for row, ports in state.rows().items() if row.startswith("1")} == {
        "10.0.0.0-10.255.255.255 -> x/a[Pod]": "every port",
        "11.0.0.0-11.255.255.255 -> x/a[Pod]": "TCP 1",
    }


def test_ipv6_never_goes_on_where_ipv4_ends() -> None:
    state = asked(*AB, into("a", {"from": [block("255.0.0.0/8"), block("::/8")]}))
    assert [row for row in state.rows() if row.endswith("x/a[Pod]")] == [
        "255.0.0.0-255.255.255.255 -> x/a[Pod]",
        "::-ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff -> x/a[Pod]",
    ]


def found(stream: Iterable[str]) -> dict[str, Any]:
    document = json.loads("".join(stream))
    assert isinstance(document, dict)
    return document


AMONG = [pod("10-x/a"), pod("2/a"), pod("f/a"), pod("fd/a"), pod("fe/a", ip="10.0.0.1"), pod("zz/a")]
SORTS_AMONG_THEM = [
    policy(
        "f/p",
        policyTypes=["Egress"],
        egress=[{"to": [block(cidr) for cidr in ("fd00::/8", "8.0.0.0/8", "10.0.0.0/8", "2::/16")]}],
    ),
    policy("f/q", policyTypes=["Egress"], egress=[{"to": [{"namespaceSelector": {}}]}]),
    policy("zz/p", ingress=[{"from": [block("fd00::/8"), block("2::/16"), {"namespaceSelector": {}}]}]),
]


def test_json_is_sorted_and_tells_each_pair_once() -> None:
    document = found(connectivity_json.map_json(asked(*AMONG, *SORTS_AMONG_THEM).map.connections()))
    pairs = [(row["source"], row["destination"]) for row in document["connections"]]
    assert pairs == sorted(set(pairs))
    assert [destination for source, destination in pairs if source == "f/a[Pod]"] == [
        "10-x/a[Pod]",
        "10.0.0.0-10.255.255.255",
        "2/a[Pod]",
        "2::-2:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "8.0.0.0-8.255.255.255",
        "fd/a[Pod]",
        "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe/a[Pod]",
        "zz/a[Pod]",
    ]
    assert [source for source, destination in pairs if destination == "zz/a[Pod]"] == [
        "10-x/a[Pod]",
        "2/a[Pod]",
        "2::-2:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "f/a[Pod]",
        "fd/a[Pod]",
        "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe/a[Pod]",
    ]


def test_ports_in_json() -> None:
    state = asked(
        *AB, into("a", {"ports": [{"port": 80, "endPort": 90}, {"port": 91}, {"port": 1, "protocol": "UDP"}]})
    )
    row = next(row for row in found(connectivity_json.map_json(state.map.connections()))["connections"])
    assert row == {
        "source": EVERY_IPV4,
        "destination": "x/a[Pod]",
        "ports": [{"protocol": "TCP", "from": 80, "to": 91}, {"protocol": "UDP", "from": 1, "to": 1}],
    }


@pytest.mark.parametrize(
    "manifests", [[], [policy("x/p")], [namespace("x")]], ids=["nothing", "a policy", "a namespace"]
)
def test_json_of_nothing(manifests: list[Manifest]) -> None:
    connections = asked(*manifests).map.connections()
    assert found(connectivity_json.map_json(connections))["connections"] == []
    assert found(connectivity_json.map_summary_json(connections))["rectangles"] == []
    comparison = compared(manifests, manifests)
    assert found(connectivity_json.diff_json(comparison.connections(), comparison.isolation_flips())) == {
        "schema": connectivity_json.DIFF_SCHEMA,
        "changes": [],
        "isolationFlips": [],
    }
    assert list(connectivity_json.query_json([])) == ["[]\n"]


def test_depends_is_told_only_where_it_does() -> None:
    state = asked(pod("x/a", ip="10.0.0.1"), pod("x/b"), into("b", {"from": [block("10.0.0.0/8")]}), profile=Profile())
    rows_of_b = {
        row["source"]: row
        for row in found(connectivity_json.map_json(state.map.connections()))["connections"]
        if row["destination"] == "x/b[Pod]"
    }
    assert rows_of_b["x/a[Pod]"]["ports"] == []
    assert len(rows_of_b["x/a[Pod]"]["depends"]) == 3
    assert rows_of_b["10.0.0.0-10.255.255.255"].keys() == {"source", "destination", "ports"}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ([into("a")], [into("a", {"ports": [{"port": 1}]})], "added"),
        ([into("a", {"ports": [{"port": 1}]})], [into("a")], "removed"),
        ([into("a", {"ports": [{"port": 1}]})], [into("a", {"ports": [{"port": 2}]})], "changed"),
    ],
)
def test_types_of_changes(before: list[Manifest], after: list[Manifest], change: str) -> None:
    comparison = compared([*AB, *before], [*AB, *after])
    document = found(connectivity_json.diff_json(comparison.connections(), ()))
    assert {row["type"] for row in document["changes"]} == {change}
    ports = {"added": ([], [1]), "removed": ([1], []), "changed": ([1], [2])}[change]
    for row in document["changes"]:
        assert ([each["from"] for each in row["before"]], [each["from"] for each in row["after"]]) == ports


def test_what_appears_and_what_leaves() -> None:
    comparison = compared([pod("x/a")], [pod("x/b")])
    changes = rows(comparison.connections())
    assert changes[f"x/a[Pod] -> {EVERY_IPV4}"] == "every port => nothing"
    assert changes[f"{EVERY_IPV6} -> x/b[Pod]"] == "nothing => every port"
    assert "x/a[Pod] -> x/b[Pod]" not in changes
    for rectangle in comparison.connections().rectangles():
        (because,) = comparison.cause(rectangle.sources[0], rectangle.destinations[0], rectangle.answer)
        names = (*rectangle.sources, *rectangle.destinations)
        assert because == "an end is not there " + ("after" if "x/a[Pod]" in names else "before")


def flips(before: list[Manifest], after: list[Manifest]) -> list[tuple[str, str, bool, tuple[str, ...]]]:
    return [
        (flip.workload, flip.direction, flip.isolated, flip.because)
        for flip in compared(before, after).isolation_flips()
    ]


def test_isolation_flips_name_the_policies() -> None:
    shut = [policy("x/p", podSelector=app("a")), policy("x/q", policyTypes=["Ingress", "Egress"])]
    names = ("NetworkPolicy x/p", "NetworkPolicy x/q")
    expected = [
        ("x/a[Pod]", "egress", ("NetworkPolicy x/q",)),
        ("x/a[Pod]", "ingress", names),
        ("x/b[Pod]", "egress", ("NetworkPolicy x/q",)),
        ("x/b[Pod]", "ingress", ("NetworkPolicy x/q",)),
    ]
    assert flips(AB, [*AB, *shut]) == [(name, side, True, why) for name, side, why in expected]
    assert flips([*AB, *shut], AB) == [(name, side, False, why) for name, side, why in expected]
    assert flips([*AB, shut[0]], [*AB, *shut]) == [
        (name, side, True, why) for name, side, why in expected if (name, side) != ("x/a[Pod]", "ingress")
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([*AB, policy("x/p")], [*AB, policy("x/q", ingress=OPEN)], id="another policy isolates as well"),
        pytest.param([pod("x/a")], [*AB, policy("x/p", podSelector=app("b"))], id="one that was not there before"),
        pytest.param([*AB, policy("x/p", podSelector=app("b"))], [pod("x/a")], id="one that is not there after"),
        pytest.param(AB, [*AB, policy("x/p", podSelector=app("c"))], id="nobody is selected"),
    ],
)
def test_what_flips_no_isolation(before: list[Manifest], after: list[Manifest]) -> None:
    assert flips(before, after) == []


def test_a_flip_without_a_changed_connection_is_told() -> None:
    assert rows(compared(AB, [*AB, policy("x/p", ingress=OPEN)]).connections()) == {}
    assert [flip[:3] for flip in flips(AB, [*AB, policy("x/p", ingress=OPEN)])] == [
        ("x/a[Pod]", "ingress", True),
        ("x/b[Pod]", "ingress", True),
    ]


def test_the_cause_is_told_of_the_replica_that_changes() -> None:
    replicas = [replica(0, "", ("sql", 80)), replica(1, "", ("sql", 8080)), pod("x/c")]
    before = [policy("x/p", podSelector=app("db"), ingress=[{"ports": [{"port": 80}]}])]
    after = [*before, policy("x/named", podSelector=app("db"), ingress=[{"ports": [{"port": "sql"}]}])]
    comparison = compared([*replicas, *before], [*replicas, *after])
    (rectangle,) = comparison.connections().rectangles()
    assert rows(comparison.connections())["x/c[Pod] -> x/db[StatefulSet]"] == "TCP 80 => TCP 80, TCP 8080"
    assert comparison.cause("x/c[Pod]", "x/db[StatefulSet]", rectangle.answer) == (
        "ingress: NetworkPolicy x/named ingress[0] accepts",
    )


def test_what_nothing_forbids_any_more_is_told() -> None:
    def tier(name: str, action: str) -> Manifest:
        rules = [{"action": action, "from": [{"namespaces": {}}]}]
        return cluster_policy(ingress=rules) | {"metadata": {"name": name}}

    comparison = compared([*AB, tier("p", "Accept"), tier("q", "Deny")], [*AB, tier("p", "Accept")])
    (rectangle,) = (each for each in comparison.connections().rectangles() if "x/b[Pod]" in each.sources)
    assert comparison.cause("x/b[Pod]", "x/a[Pod]", rectangle.answer) == (
        "no more: ingress: ClusterNetworkPolicy q (admin tier, priority 1) ingress[0] denies",
    )


def test_rectangles_are_few() -> None:
    names = [f"x/{letter}" for letter in "abcdef"]
    pods = [pod(name) for name in names]
    (rectangle,) = (
        compared([*pods, policy("x/deny")], [*pods, policy("x/deny"), policy("x/p", ingress=OPEN)])
        .connections()
        .rectangles()
    )
    assert rectangle.sources == (*(f"{name}[Pod]" for name in names), EVERY_IPV4, EVERY_IPV6)
    assert rectangle.destinations == tuple(f"{name}[Pod]" for name in names)


def test_no_rectangle_is_a_workload_and_itself() -> None:
    """`a` was to join those that `a` and `b` reach, but all of these join others."""
    pods = [pod(f"x/{letter}") for letter in "abcdef"]
    among = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b", "c"]}]}
    more = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}
    state = asked(
        *pods,
        policy("x/deny", policyTypes=["Ingress", "Egress"]),
        policy("x/out", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}]),
        into("a", {"from": [{"podSelector": more}]}),
        into("c", {"from": [{"podSelector": among}]}),
        into("d", {"from": [{"podSelector": among}]}),
        into("e", {"from": [{"podSelector": among}]}),
    )
    found = [(rectangle.sources, rectangle.destinations) for rectangle in state.map.connections().rectangles()]
    assert (("x/b[Pod]",), ("x/a[Pod]",)) in found
    for sources, destinations in found:
        assert len(destinations) > 1 or not set(sources) & set(destinations)


@settings(max_examples=60)
@given(clusters_and_questions(), st.booleans())
def test_rectangles_are_exactly_the_pairs(asked_about: tuple[list[Manifest], Any], together: bool) -> None:
    manifests = owned(asked_about[0]) if together else asked_about[0]
    found = asked(*manifests, profile=Profile()).map
    connections = found.connections()
    assert expanded(connections, found.space) == pairs_of(connections, found.space)
    for rectangle in connections.rectangles():
        assert len(rectangle.destinations) > 1 or not set(rectangle.sources) & set(rectangle.destinations)


@settings(max_examples=40)
@given(clusters_and_questions(), st.randoms(use_true_random=False))
def test_whatever_the_order_of_the_objects_every_byte_is_the_same(
    asked_about: tuple[list[Manifest], Any], random: Any
) -> None:
    manifests, shuffled = asked_about[0], list(asked_about[0])
    random.shuffle(shuffled)
    for write in (connectivity_json.map_json, connectivity_json.map_summary_json):
        one, other = ("".join(write(_connections(each))) for each in (manifests, shuffled))
        assert one == other


def _connections(manifests: list[Manifest]) -> Connections:
    return asked(*manifests, profile=Profile()).map.connections()


def seen(before: list[Manifest], after: list[Manifest]) -> dict[str, str]:
    return rows_of_sets(compared(before, after, MATCHING_PODS, unseen=True).connections())


def rows_of_sets(connections: Connections) -> dict[str, str]:
    return {
        f"{', '.join(rectangle.sources)} -> {', '.join(rectangle.destinations)}": " => ".join(
            map(shown, rectangle.answer)
        )
        for rectangle in connections.rectangles()
    }


DENY = policy("x/deny", policyTypes=["Ingress", "Egress"])


def named_space(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        pytest.param({"podSelector": app("ghost")}, "x/app=ghost", id="pods of the namespace"),
        pytest.param(named_space("kube-system"), "kube-system/any", id="a namespace by its name"),
        pytest.param(named_space("kube-system") | {"podSelector": app("dns")}, "kube-system/app=dns", id="pods of it"),
        pytest.param({"namespaceSelector": app("b")}, "any{app=b}/any", id="namespaces by a label"),
        pytest.param(
            {"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}},
            "any/k=any",
            id="pods of any namespace",
        ),
    ],
)
def test_pods_that_no_manifest_holds_are_told_by_an_example(peer: Manifest, name: str) -> None:
    before = [*AB, policy("x/deny")]
    after = [*before, into("a", {"from": [peer], "ports": [{"port": 1}]})]
    assert seen(before, after) == {f"{name} -> x/a[Pod]": "nothing => TCP 1"}
    out = policy("x/out", podSelector=app("a"), policyTypes=["Egress"], egress=[{"to": [peer], "ports": [{"port": 1}]}])
    allowed = seen([*AB, DENY], [*AB, DENY, out])
    # Of its own namespace, nothing is known that would let it in.
    assert allowed == ({} if name.startswith("x/") else {f"x/a[Pod] -> {name}": "nothing => TCP 1"})


def test_examples_of_namespaces_that_differ_are_kept_apart() -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"team": team}}} for team in ("red", "blue")]
    rules = [{"from": [peer], "ports": [{"port": port}]} for port, peer in enumerate(peers, 1)]
    assert seen([*AB, DENY], [*AB, DENY, into("a", *rules)]) == {
        "any{team=red}/any -> x/a[Pod]": "nothing => TCP 1",
        "any{team=blue}/any -> x/a[Pod]": "nothing => TCP 2",
    }


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param({"podSelector": app("b")}, id="pods that there are"),
        pytest.param(
            {
                "podSelector": {
                    "matchLabels": {"app": "z"},
                    "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}],
                }
            },
            id="what contradicts itself",
        ),
    ],
)
def test_no_example_is_made_up(peer: Manifest) -> None:
    comparison = compared([*AB, DENY], [*AB, DENY, into("a", {"from": [peer]})], unseen=True)
    assert list(comparison.space.pseudo) == ["{ingress-controller}"]


WEB = [labelled(workload("Deployment", "x/web"), app="web"), service("x/web", "web", 80)]
WEB[1]["spec"]["ports"][0]["targetPort"] = 8080
ROUTED = ingress("x/web", "shop.example", "/", "web", 80)
CONTROLLER = "{ingress-controller} -> x/web[Deployment]"


@pytest.mark.parametrize(
    ("policies", "ports"),
    [
        pytest.param([], "TCP 8080", id="nothing isolates"),
        pytest.param([policy("x/p")], None, id="isolated"),
        pytest.param([policy("x/p", ingress=[{"from": [{"namespaceSelector": {}}]}])], "TCP 8080", id="from anywhere"),
        pytest.param([policy("x/p", ingress=[{"from": [{"podSelector": {}}]}])], None, id="the namespace of the pod"),
        pytest.param([policy("x/p", ingress=[{"from": [named_space("edge")]}])], None, id="a namespace by its name"),
        pytest.param([policy("x/p", ingress=[{"from": [block("0.0.0.0/0")]}])], None, id="addresses are no pod's"),
        pytest.param([policy("x/p", ingress=[{"ports": [{"port": 80}]}])], None, id="the Service's port is not meant"),
        pytest.param([policy("x/p", ingress=[{"ports": [{"port": 8080}]}])], "TCP 8080", id="the port is"),
        pytest.param(
            [policy("x/p", ingress=[{"from": [{"namespaceSelector": app("edge")}]}])], None, id="a labelled namespace"
        ),
    ],
)  # fmt: skip
def test_whatever_serves_ingresses_is_a_source_where_it_would_be_let_in(
    policies: list[Manifest], ports: str | None
) -> None:
    assert asked(*WEB, ROUTED, *policies).rows().get(CONTROLLER) == ports
    assert CONTROLLER not in asked(*WEB, *policies).rows()


def test_a_route_that_comes_is_a_change_and_its_own_cause() -> None:
    comparison = compared(WEB, [*WEB, ROUTED])
    assert rows(comparison.connections()) == {CONTROLLER: "nothing => TCP 8080"}
    (rectangle,) = comparison.connections().rectangles()
    assert comparison.cause(rectangle.sources[0], rectangle.destinations[0], rectangle.answer) == (
        "after: a route leads there",
    )
    opening = compared([*WEB, ROUTED, policy("x/deny")], [*WEB, ROUTED])
    (rectangle,) = (each for each in opening.connections().rectangles() if "{ingress-controller}" in each.sources)
    assert opening.cause("{ingress-controller}", "x/web[Deployment]", rectangle.answer) == (
        "before: ingress: isolated by NetworkPolicy x/deny, and no rule of it accepts",
        "after: ingress: no policy decides, so it is allowed",
    )


def test_a_route_leads_to_the_variant_that_its_service_selects() -> None:
    stable = labelled(owned_by(pod("x/web-1"), "Deployment", "web"), app="web", track="stable")
    canary = labelled(owned_by(pod("x/web-2"), "Deployment", "web"), app="web", track="canary")
    selecting = service("x/web", "web", 80)
    selecting["spec"]["selector"] = {"track": "canary"}
    seeing = policy("x/p", podSelector={"matchLabels": {"track": "canary"}}, ingress=OPEN)
    found = asked(stable, canary, selecting, ROUTED, seeing).rows()
    assert {row for row in found if row.startswith("{")} == {"{ingress-controller} -> x/web[Deployment]{track=canary}"}
