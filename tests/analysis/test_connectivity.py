"""NetworkPolicy semantics: the traps of the specification as tables, its laws as properties."""

from __future__ import annotations

from typing import Any

import pytest
from asking import Asked, asked, compared, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from network_objects import Manifest, app, namespace, pod, policy

FEWER = settings(max_examples=60)

WORLD = [
    namespace("x", team="red"),
    namespace("y", team="blue"),
    pod("x/a", ("web", 80)),
    pod("x/b", ("web", 8080), tier="back"),
    pod("y/a", ("web", 80), ip="10.1.2.3"),
    pod("y/b"),
]
PEOPLE = ("x/a", "x/b", "y/a", "y/b")
EVERYBODY = "x/a x/b y/a y/b"


def world(*policies: Manifest) -> Asked:
    return asked(*WORLD, *policies)


def who_reaches(destination: str, *policies: Manifest, port: int = 80, protocol: str = "TCP") -> str:
    state = world(*policies)
    return " ".join(who for who in PEOPLE if state.verdict(who, destination, port, protocol) == "allow")


def isolated(*directions: str, where: str = "xy") -> list[Manifest]:
    return [policy(f"{space}/deny", policyTypes=list(directions)) for space in where]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, "x/a", id="policyTypes absent isolates ingress"),
        pytest.param({"policyTypes": []}, "x/a", id="policyTypes empty is absent"),
        pytest.param({"egress": []}, "x/a", id="an empty egress list isolates ingress"),
        pytest.param({"egress": [{}]}, "x/a", id="egress rules isolate ingress as well"),
        pytest.param({"policyTypes": ["Egress"]}, EVERYBODY, id="Egress alone leaves ingress open"),
        pytest.param({"policyTypes": ["Egress"], "ingress": [{}]}, EVERYBODY, id="rules of no direction are nothing"),
        pytest.param({"podSelector": app("b")}, EVERYBODY, id="another pod is isolated"),
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
            EVERYBODY,
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
            {"ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}}]}]},
            "x/a x/b",
            id="Exists matches any value",
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
            {
                "ingress": [
                    {
                        "from": [
                            {
                                "namespaceSelector": {
                                    "matchExpressions": [{"key": "team", "operator": "In", "values": ["red", "blue"]}]
                                },
                                "podSelector": {
                                    "matchLabels": {"app": "b"},
                                    "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}],
                                },
                            }
                        ]
                    }
                ]
            },
            "x/a y/b",
            id="requirements are and",
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
        pytest.param(
            {
                "ingress": [
                    {
                        "from": [
                            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                            {"ipBlock": {"cidr": "10.1.2.0/24"}},
                        ]
                    }
                ]
            },
            "x/a y/a",
            id="ipBlock: what one excepts another may take in",
        ),
        pytest.param({"ingress": [{"ports": [{"port": 80}]}]}, EVERYBODY, id="protocol defaults to TCP"),
        pytest.param({"ingress": [{"ports": [{"port": 80, "protocol": "UDP"}]}]}, "x/a", id="another protocol"),
        pytest.param({"ingress": [{"ports": [{"protocol": "TCP"}]}]}, EVERYBODY, id="no port: every port"),
        pytest.param({"ingress": [{"ports": [{"protocol": "UDP"}]}]}, "x/a", id="no port, of the protocol"),
        pytest.param({"ingress": [{"ports": []}]}, EVERYBODY, id="ports: [] is every port"),
        pytest.param({"ingress": [{"ports": [{"port": "web"}]}]}, EVERYBODY, id="a port by name"),
        pytest.param({"ingress": [{"ports": [{"port": "web", "protocol": "UDP"}]}]}, "x/a", id="a name and protocol"),
        pytest.param({"ingress": [{"ports": [{"port": "wep"}]}]}, "x/a", id="a name the pod does not have"),
        pytest.param({"ingress": [{"ports": [{"port": 79, "endPort": 81}]}]}, EVERYBODY, id="endPort"),
        pytest.param({"ingress": [{"ports": [{"port": 78, "endPort": 79}]}]}, "x/a", id="endPort below"),
        pytest.param({"ingress": [{"ports": [{"port": 80, "endPort": 80}]}]}, EVERYBODY, id="endPort of one port"),
        pytest.param(
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": "web"}]}]},
            "x/a y/a",
            id="a named port beside an ipBlock",
        ),
    ],
)
def test_who_reaches_x_a(spec: Manifest, expected: str) -> None:
    assert who_reaches("x/a", policy("x/p", **{"podSelector": app("a"), **spec})) == expected


def test_named_ports_are_those_of_the_destination() -> None:
    state = world(policy("x/p", podSelector=app("a"), policyTypes=["Egress"], egress=[{"ports": [{"port": "web"}]}]))
    assert {row: ports for row, ports in state.rows().items() if row.startswith("x/a")} == {
        "x/a[Pod] -> x/b[Pod]": "TCP 8080",
        "x/a[Pod] -> y/a[Pod]": "TCP 80",
    }


@pytest.mark.parametrize(
    ("egress", "verdict"), [([], "allow"), ([{"ports": [{"port": 1}]}], "deny")], ids=["empty", "not empty"]
)
def test_egress_without_policy_types(egress: list[Manifest], verdict: str) -> None:
    assert world(policy("x/p", podSelector=app("b"), egress=egress)).explain("x/b", "y/a").egress == verdict


def test_a_connection_needs_both_sides() -> None:
    shut = [*isolated("Egress", where="x"), *isolated("Ingress", where="y")]
    out = policy("x/out", podSelector=app("a"), egress=[{"to": [{"namespaceSelector": {}}]}], policyTypes=["Egress"])
    into = policy("y/in", podSelector=app("a"), ingress=[{"from": [{"namespaceSelector": {}}]}])

    def sides(*more: Manifest) -> tuple[str, str, str]:
        found = world(*shut, *more).explain("x/a", "y/a")
        return found.egress, found.ingress, found.verdict

    assert sides() == ("deny", "deny", "deny")
    assert sides(out) == ("allow", "deny", "deny")
    assert sides(into) == ("deny", "allow", "deny")
    assert sides(out, into) == ("allow", "allow", "allow")


def test_why_names_the_rules_that_decide() -> None:
    state = world(
        policy("x/deny", policyTypes=["Ingress", "Egress"]),
        policy("x/open", podSelector=app("a"), ingress=[{"from": [{"podSelector": app("b")}]}]),
    )
    assert state.explain("x/b", "x/a").why == (
        "egress: isolated by NetworkPolicy x/deny, and no rule of it accepts",
        "ingress: NetworkPolicy x/open ingress[0] accepts",
    )
    assert state.explain("y/a", "y/b").why == (
        "egress: no policy decides, so it is allowed",
        "ingress: no policy decides, so it is allowed",
    )
    assert state.explain("x/a", "x/a").why == ("a pod always reaches itself",)


def test_a_change_is_exact_and_names_its_rule() -> None:
    shut = [*WORLD, policy("x/deny")]
    opening = policy(
        "x/p",
        podSelector=app("a"),
        ingress=[{"from": [{"podSelector": app("b")}], "ports": [{"port": 80, "endPort": 82}]}],
    )
    comparison = compared(shut, [*shut, opening])
    assert rows(comparison.connections()) == {"x/b[Pod] -> x/a[Pod]": "nothing => TCP 80-82"}
    assert rows(compared([*shut, opening], shut).connections()) == {"x/b[Pod] -> x/a[Pod]": "TCP 80-82 => nothing"}
    (rectangle,) = comparison.connections().rectangles()
    assert comparison.cause("x/b[Pod]", "x/a[Pod]", rectangle.answer) == (
        "ingress: NetworkPolicy x/p ingress[0] accepts",
    )
    (rectangle,) = compared([*shut, opening], shut).connections().rectangles()
    assert compared([*shut, opening], shut).cause("x/b[Pod]", "x/a[Pod]", rectangle.answer) == (
        "before: ingress: NetworkPolicy x/p ingress[0] accepts",
        "after: ingress: isolated by NetworkPolicy x/deny, and no rule of it accepts",
    )


def test_addresses_are_cut_where_blocks_begin_and_end() -> None:
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"ipBlock": {"cidr": "ffff::/16"}}]
    space = world(policy("x/p", ingress=[{"from": blocks}])).map.space
    assert space.names[space.first_range :] == [
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


def opened(before: list[Manifest], after: list[Manifest]) -> list[Any]:
    """Connections with a port that is open after and not before."""
    return [
        (source, destination)
        for source, entries in compared(before, after).connections().by_source(lambda name, answer: (name, answer))
        for destination, (was, will) in entries
        if not all(any(_inside(port, other) for other in was.ports) for port in will.ports)
    ]


def _inside(port: Any, other: Any) -> bool:
    return bool(port.protocol == other.protocol and other.first <= port.first and port.last <= other.last)


@FEWER
@given(many(4))
def test_a_pod_always_reaches_itself(found: list[Manifest]) -> None:
    state = world(*found)
    assert {state.verdict(who, who) for who in PEOPLE} == {"allow"}


@FEWER
@given(many(3), policies("more"))
def test_a_policy_that_selects_nothing_changes_nothing(found: list[Manifest], more: Manifest) -> None:
    more["spec"]["podSelector"] = app("nobody")
    assert rows(compared([*WORLD, *found], [*WORLD, *found, more]).connections()) == {}


@FEWER
@given(many(3), policies("more"))
def test_policies_add_up_once_a_pod_is_isolated(found: list[Manifest], more: Manifest) -> None:
    shut = [*WORLD, *isolated("Ingress", "Egress"), *found]
    assert opened([*shut, more], shut) == []


@FEWER
@given(many(3), policies("more", types=["Ingress"]))
def test_the_first_policy_only_shuts(found: list[Manifest], more: Manifest) -> None:
    # Whoever is not isolated can only lose by a policy; here nobody is isolated for ingress but by the one added.
    free = [*WORLD, *({**each, "spec": {**each["spec"], "policyTypes": ["Egress"]}} for each in found)]
    assert opened(free, [*free, more]) == []


@FEWER
@given(many(4).flatmap(lambda found: st.tuples(st.just(found), st.permutations([*WORLD, *found]))))
def test_order_does_not_matter(both: tuple[list[Manifest], list[Manifest]]) -> None:
    found, shuffled = both
    assert asked(*shuffled).rows() == world(*found).rows()
