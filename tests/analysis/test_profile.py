"""Where implementations differ, and what the specification leaves open: `depends`, unless a profile settles it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from asking import asked, compared, rows
from network_objects import Manifest, app, pod, policy
from test_pod import NODES, SHUT, cluster_policy, running

from breakglass.analysis.network.profile import PROFILES, Profile

A, C = pod("x/a", ip="10.0.0.1"), pod("x/c", ip="10.0.1.1")


def into_c(*peers: Manifest, ports: list[Manifest] | None = None) -> Manifest:
    return policy("x/p", podSelector=app("c"), ingress=[{"from": list(peers), "ports": ports or []}])


def block(cidr: str, *holes: str) -> Manifest:
    return {"ipBlock": {"cidr": cidr, "except": list(holes)}}


POD_ADDRESS = [A, C, into_c(block("10.0.0.0/24"))]
NODE_ADDRESS = [C, *NODES, into_c(block("10.9.0.0/24"))]
HOST_NETWORK = [running(pod("x/a"), on="n1", host=True), C, *NODES, into_c(block("10.9.0.0/24"))]
EXCEPTION = [C, into_c(block("192.0.0.0/8", "192.0.2.0/24"))]
POD_IN_EXCEPTION = [A, C, into_c(block("10.0.0.0/8", "10.0.0.0/24"))]
LATER_PORT = [C, into_c(ports=[{"port": 79, "endPort": 80}])]
FIRST_PORT = [C, into_c(ports=[{"port": 80, "endPort": 90}])]
OWN_NODE = [running(pod("x/c"), on="n1"), *NODES, SHUT]

CASES = {
    "a pod's address in a block": (POD_ADDRESS, "x/a"),
    "a node's address in a block": (NODE_ADDRESS, "10.9.0.1"),
    "a pod of the host network in a block": (HOST_NETWORK, "x/a"),
    "an address of an exception": (EXCEPTION, "192.0.2.1"),
    "a pod's address in an exception": (POD_IN_EXCEPTION, "x/a"),
    "the first port of a range": (FIRST_PORT, "192.0.2.1"),
    "a later port of a range": (LATER_PORT, "192.0.2.1"),
    "the pod's own node": (OWN_NODE, "10.9.0.1"),
}
VERDICTS = {
    # in the order of CASES
    "upstream": ("depends", "allow", "allow", "deny", "deny", "allow", "allow", "allow"),
    "cilium": ("deny", "deny", "deny", "deny", "deny", "allow", "allow", "allow"),
    "calico": ("allow", "allow", "allow", "deny", "deny", "allow", "allow", "allow"),
    "aws": ("allow", "allow", "allow", "depends", "depends", "allow", "allow", "allow"),
    "azure": ("allow", "allow", "allow", "deny", "deny", "allow", "depends", "allow"),
    "ovn-kubernetes": ("allow", "allow", "allow", "depends", "depends", "allow", "allow", "allow"),
}


@pytest.mark.parametrize(
    ("name", "case", "verdict"),
    [
        pytest.param(name, case, verdict, id=f"{name}: {case}")
        for name, verdicts in VERDICTS.items()
        for case, verdict in zip(CASES, verdicts, strict=True)
    ],
)
def test_what_a_profile_makes_of_it(name: str, case: str, verdict: str) -> None:
    manifests, source = CASES[case]
    state = asked(*manifests, profile=PROFILES[name])
    assert state.verdict(source, "x/c") == verdict


def test_every_profile_is_tried() -> None:
    assert set(VERDICTS) == set(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(("setting", "verdict"), [(True, "allow"), (False, "deny")])
def test_the_setting_goes_before_the_profile(name: str, *, setting: bool, verdict: str) -> None:
    profile = replace(PROFILES[name], ip_blocks_match_pods=setting)
    assert asked(*POD_ADDRESS, profile=profile).verdict("x/a", "x/c") == verdict


@pytest.mark.parametrize("setting", [True, False, None])
def test_networks_of_cluster_wide_policies_match_pods_by_specification(setting: bool | None) -> None:
    deny = cluster_policy(egress=[{"action": "Deny", "to": [{"networks": ["10.0.1.0/24"]}]}])
    state = asked(A, C, deny, profile=Profile(ip_blocks_match_pods=setting))
    assert (state.verdict("x/a", "x/c"), state.verdict("x/c", "x/a")) == ("deny", "allow")


def test_why_says_that_implementations_differ() -> None:
    state = asked(*POD_ADDRESS, profile=Profile())
    assert state.explain("x/a", "x/c").why[1] == (
        "ingress: NetworkPolicy x/p ingress[0] accepts with some implementations"
    )
    profile = replace(PROFILES["upstream"], local_node_reaches_pods=None)
    assert asked(*OWN_NODE, profile=profile).explain("10.9.0.1", "x/c").why[1] == (
        "ingress: it is the pod's own node, where it may"
    )


def test_what_depends_changes_too() -> None:
    before, after = (
        [A, C, policy("x/deny", podSelector=app("c"))],
        [*POD_ADDRESS, policy("x/deny", podSelector=app("c"))],
    )
    comparison = compared(before, after, Profile())
    assert rows(comparison.connections())["x/a[Pod] -> x/c[Pod]"] == "nothing => ? every port"
    rectangle = next(each for each in comparison.connections().rectangles() if "x/a[Pod]" in each.sources)
    assert comparison.cause("x/a[Pod]", "x/c[Pod]", rectangle.answer) == (
        "ingress: NetworkPolicy x/p ingress[0] accepts with some implementations",
    )
    # What was sure and now depends has lost something; the other way round it has gained.
    was_open = compared([A, C, into_c()], POD_ADDRESS, Profile())
    assert rows(was_open.connections())["x/a[Pod] -> x/c[Pod]"] == "every port => ? every port"


EVERYBODY = [{"namespaces": {}}]


def tier(name: str, action: str, priority: int = 1, **more: Any) -> Manifest:
    spec = {"priority": priority, "ingress": [{"action": action, "from": EVERYBODY, **more}]}
    return cluster_policy(**spec) | {"metadata": {"name": name}}


@pytest.mark.parametrize(
    ("policies", "verdict"),
    [
        pytest.param([("Accept", 1), ("Deny", 2)], "allow", id="the lower goes first"),
        pytest.param([("Accept", 2), ("Deny", 1)], "deny", id="the lower goes first, whatever comes first"),
        pytest.param([("Accept", 1), ("Deny", 1)], "depends", id="equal priorities have no order"),
        pytest.param([("Accept", 1), ("Accept", 1)], "allow", id="equal priorities that agree"),
        pytest.param([("Deny", 1), ("Pass", 1)], "depends", id="a pass goes on to what is open"),
        pytest.param([("Accept", 1), ("Pass", 1)], "allow", id="both ways lead to the same"),
        pytest.param([("Pass", 1), ("Deny", 2)], "allow", id="a pass skips the rest of the tier"),
        pytest.param([("Accept", 1), ("Deny", 1), ("Deny", 0)], "deny", id="what goes before them decides"),
        pytest.param([("Accept", 1), ("Deny", 1), ("Pass", 0)], "allow", id="what goes before them skips them"),
    ],
)
def test_priorities(policies: list[tuple[str, int]], verdict: str) -> None:
    manifests = [tier(f"p{number}", *each) for number, each in enumerate(policies)]
    for order in permutations(manifests):
        state = asked(A, C, *order)
        assert state.verdict("x/a", "x/c") == verdict
        row = state.rows().get("x/a[Pod] -> x/c[Pod]", "nothing")
        assert row == {"allow": "every port", "deny": "nothing", "depends": "? every port"}[verdict]


def test_both_outcomes_of_equal_priorities_are_told_where_their_ports_meet() -> None:
    spans = [[{"tcp": {"destinationPort": {"range": {"start": 1, "end": 80}}}}],
             [{"tcp": {"destinationPort": {"range": {"start": 80, "end": 90}}}}]]  # fmt: skip
    state = asked(A, C, tier("p1", "Accept", protocols=spans[0]), tier("p2", "Deny", protocols=spans[1]))
    assert state.rows()["x/a[Pod] -> x/c[Pod]"] == ("SCTP every port, TCP 1-79, TCP 91-65535, UDP every port ? TCP 80")
    assert state.explain("x/a", "x/c").why == (
        "egress: no policy decides, so it is allowed",
        "ingress: ClusterNetworkPolicy p1 (admin tier, priority 1) ingress[0] accepts",
        "ingress: ClusterNetworkPolicy p2 (admin tier, priority 1) ingress[0] denies",
    )


def test_domain_names_may_be_any_address_outside() -> None:
    accept = {"action": "Accept", "to": [{"domainNames": ["example.com"]}], "name": "updates"}
    deny = {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}
    state = asked(A, C, *NODES, cluster_policy(egress=[accept, deny]))
    ends = ["192.0.2.1", "2001:db8::1", "10.9.0.1", "x/c"]
    assert [state.verdict("x/a", end) for end in ends] == ["depends", "depends", "deny", "deny"]
    assert state.explain("x/a", "192.0.2.1").why == (
        "egress: ClusterNetworkPolicy p (admin tier, priority 1) egress[0] updates accepts with some implementations",
        "egress: ClusterNetworkPolicy p (admin tier, priority 1) egress[1] denies",
        "ingress: no policy decides, so it is allowed",
    )
