"""What the outside reaches, through whatever stands in between, and what of it is new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_objects import Manifest, app, ingress, namespace, pod, policy, service
from test_overlays import kustomize, opened

from breakglass.analysis.exposure.exposure import (
    Exposure,
    Reached,
    exposed,
    exposure_difference,
    newly_exposed,
    routed,
    served,
)
from breakglass.analysis.exposure.passage import Controller, PolicyWay, controllers_of
from breakglass.analysis.exposure.requests import PathType, Requests, common_host
from breakglass.analysis.network.objects import read_network
from breakglass.analysis.report.exposure_page import (
    difference_document,
    map_document,
    page_of_exposure_difference,
    page_of_exposure_map,
)
from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.policy import Policy

REPOSITORY = Path(__file__).parents[2]
TRAEFIK = Controller("edge", {"app": "traefik"})


def shown(*manifests: Manifest) -> list[str]:
    return sorted(map(str, exposed(manifests)))


def through(*manifests: Manifest, controllers: tuple[Controller, ...] = ()) -> frozenset[Exposure]:
    return exposed(manifests, PolicyWay(read_network(manifests), controllers))


def verdicts(*manifests: Manifest, controllers: tuple[Controller, ...] = ()) -> list[tuple[str, str]]:
    found = through(*manifests, controllers=controllers)
    return sorted((each.workload, each.network) for exposure in found for each in exposure.reached)


HOSTS = ["*", "*.b", "*.a.b", "a.b", "b", "c.a.b", "ab", ""]
PATHS = ["/", "/x", "/x/", "/xy", "/x/y"]
PATH_TYPES: list[PathType] = ["Prefix", "Exact", "RegularExpression", "ImplementationSpecific"]
requests = st.builds(
    Requests, st.sampled_from(HOSTS), st.sampled_from(PATHS), st.sampled_from(PATH_TYPES), st.booleans()
)


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (("a.b", "/"), ("a.b", "/x"), True),
        (("a.b", "/x"), ("a.b", "/"), False),
        (("a.b", "/x"), ("a.b", "/xy"), False),
        (("a.b", "/x/"), ("a.b", "/x"), True),
        (("a.b", "/x"), ("a.b", "/x/y"), True),
        (("a.b", "/"), ("c.b", "/"), False),
        (("*", "/"), ("a.b", "/"), True),
        (("a.b", "/"), ("*", "/"), False),
        (("*.b", "/"), ("a.b", "/"), True),
        (("*.b", "/"), ("b", "/"), False),
        (("*.b", "/"), ("*", "/"), False),
        (("*.b", "/"), ("ab", "/"), False),
        (("*.b", "/"), ("c.a.b", "/"), False),
        (("*.b", "/", "Prefix", True), ("c.a.b", "/"), True),
        (("*.b", "/", "Prefix", True), ("*.a.b", "/"), True),
        (("*.b", "/"), ("*.a.b", "/"), False),
        (("*.b", "/"), ("*.b", "/", "Prefix", True), False),
        (("*.b", "/", "Prefix", True), ("*.b", "/"), True),
        # Nobody looks at a host on the way to a port.
        (("*", "/"), ("", "/"), False),
        (("", "/"), ("a.b", "/"), False),
        (("a.b", "/x"), ("a.b", "/x", "Exact"), True),
        (("a.b", "/x", "Exact"), ("a.b", "/x"), False),
        (("a.b", "/x", "Exact"), ("a.b", "/x/y", "Exact"), False),
        # A pattern may match everything, and surely matches nothing but what another one of it does.
        (("a.b", "/"), ("a.b", "/x", "RegularExpression"), True),
        (("a.b", "/x"), ("a.b", "/x/y", "RegularExpression"), False),
        (("a.b", "/", "RegularExpression"), ("a.b", "/"), False),
        (("a.b", "/x.*", "RegularExpression"), ("a.b", "/x.*", "RegularExpression"), True),
        (("a.b", "/x", "ImplementationSpecific"), ("a.b", "/x", "Exact"), False),
    ],
)
def test_what_includes_what(outer: tuple[str, ...], inner: tuple[str, ...], *, expected: bool) -> None:
    assert Requests(*outer).includes(Requests(*inner)) == expected  # type: ignore[arg-type]


@given(requests, requests, requests)
def test_inclusion_is_an_order_and_meets_what_it_includes(one: Requests, other: Requests, third: Requests) -> None:
    assert one.includes(one)
    assert one.meets(other) == other.meets(one)
    assert one.meets(other) or not one.includes(other)
    assert one.includes(third) or not (one.includes(other) and other.includes(third))


@pytest.mark.parametrize(
    ("listener", "host", "expected"),
    [
        ("*", "a.b", "a.b"),
        ("*", "*", "*"),
        ("a.b", "*", "a.b"),
        ("a.b", "a.b", "a.b"),
        ("a.b", "c.b", ""),
        ("*.b", "a.b", "a.b"),
        ("*.b", "x.a.b", "x.a.b"),
        ("*.b", "b", ""),
        ("*.b", "*.a.b", "*.a.b"),
        ("*.a.b", "*.b", "*.a.b"),
        ("*.b", "*.b", "*.b"),
        ("*.b", "*.c", ""),
        ("x.a.b", "*.b", "x.a.b"),
        ("ab", "*.b", ""),
    ],
)
def test_the_host_of_a_listener_and_a_route(listener: str, host: str, expected: str) -> None:
    assert common_host(listener, host) == expected


WEB = Exposure(Requests("a.b"), "shop/web:80", tls="yes", reached=(Reached("shop/web[Pod]", "open"),))


def changed(**fields: object) -> Exposure:
    return Exposure(**({name: getattr(WEB, name) for name in WEB.__slots__} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        (WEB, WEB, False),
        (WEB, changed(requests=Requests("a.b", "/cart")), False),
        (WEB, changed(requests=Requests("*.b")), True),
        (WEB, changed(backend="shop/admin:80"), True),
        (WEB, changed(entry="gateway", port=8443), False),
        (WEB, changed(tls="no"), True),
        (changed(tls="no"), WEB, False),
        (WEB, changed(tls="passthrough"), True),
        (WEB, changed(identity_checks=("login",)), False),
        (changed(identity_checks=("login",)), WEB, True),
        (changed(identity_checks=("login",)), changed(identity_checks=("other",)), True),
        (changed(identity_checks=("login",)), changed(identity_checks=("login", "other")), False),
        (WEB, changed(source_ranges=("10.0.0.0/8",)), False),
        (changed(source_ranges=("10.0.0.0/8",)), WEB, True),
        (changed(source_ranges=("10.0.0.0/8",)), changed(source_ranges=("10.1.0.0/16", "10.2.0.0/16")), False),
        (changed(source_ranges=("10.0.0.0/8",)), changed(source_ranges=("10.0.0.0/8", "2001:db8::/32")), True),
        (changed(source_ranges=("0.0.0.0/0",)), WEB, True),
        (changed(source_ranges=("0.0.0.0/0", "::/0")), WEB, False),
        (changed(reached=(Reached("shop/web[Pod]", "blocked"),)), WEB, True),
        (WEB, changed(reached=(Reached("shop/web[Pod]", "blocked"),)), False),
        (changed(reached=(Reached("shop/web[Pod]", "depends"),)), WEB, True),
        (changed(reached=(Reached("shop/web[Pod]", "unknown"),)), WEB, True),
        (WEB, changed(reached=(Reached("shop/web[Pod]", "unknown"),)), False),
        # Another workload behind the same Service, though the first stays.
        (WEB, changed(reached=(Reached("shop/evil[Pod]", "open"), Reached("shop/web[Pod]", "open"))), True),
        (WEB, changed(reached=(Reached("shop/evil[Pod]", "blocked"), Reached("shop/web[Pod]", "open"))), False),
        (changed(reached=()), WEB, True),
        (changed(reached=(Reached("shop/web[Pod]", "depends"),)), changed(reached=()), True),
        (WEB, changed(reached=()), False),
    ],
)
def test_more_of_the_same_is_new(before: Exposure, after: Exposure, *, new: bool) -> None:
    assert newly_exposed([before], [after]) == ((after,) if new else ())


def test_what_the_network_blocks_is_not_exposed() -> None:
    assert newly_exposed([], [changed(reached=(Reached("shop/web[Pod]", "blocked"),))]) == ()


def by_port(**fields: object) -> Exposure:
    return changed(**({"requests": Requests("", ""), "entry": "load-balancer", "port": 80, "tls": "unknown"} | fields))


@pytest.mark.parametrize(
    ("after", "new"),
    [
        (by_port(), False),
        (by_port(port=81), True),
        (by_port(protocol="UDP"), True),
        (by_port(entry="node-port"), True),
        (by_port(entry="external-ip", requests=Requests("192.0.2.1", "")), True),
    ],
)
def test_ways_in_by_port_are_told_apart_by_it(after: Exposure, *, new: bool) -> None:
    assert newly_exposed([by_port(), WEB], [after]) == ((after,) if new else ())


def test_only_what_was_not_there_is_new() -> None:
    shop = ingress("shop/i", "shop.example.com", "/", "web", 80)
    same = ingress("shop/j", "shop.example.com", "/cart", "web", 80)
    stolen = ingress("shop/k", "shop.example.com", "/cart", "admin", 80)
    before = exposed([shop])
    assert newly_exposed(before, exposed([shop, same])) == ()
    assert [str(each) for each in newly_exposed(before, exposed([shop, stolen]))] == [
        "shop.example.com/cart → shop/admin:80"
    ]
    assert newly_exposed(exposed([shop, stolen]), before) == ()


def test_a_pod_that_puts_itself_behind_a_service_is_newly_exposed() -> None:
    state = [ingress("shop/i", "a.b", "/", "web", 80), service("shop/web", "web", 80), pod("shop/web")]
    evil = pod("shop/evil")
    evil["metadata"]["labels"]["app"] = "web"
    (found,) = newly_exposed(exposed(state), exposed([*state, evil]))
    assert [each.workload for each in found.reached] == ["shop/evil[Pod]", "shop/web[Pod]"]


def test_the_same_entry_many_times_is_one_exposure_with_all_reasons() -> None:
    many = [ingress(f"shop/{name}", "a.b", "/", "web", 80) for name in "jihgfedcba"]
    (found,) = exposed(many)
    assert found.because == (
        "Ingress shop/a",
        "no manifest holds the Service shop/web",
        "no workload among the objects answers there",
        *(f"Ingress shop/{name}" for name in "bcdefghij"),
    )


def from_pods(name: str, selector: Manifest, **peer: Manifest) -> Manifest:
    return policy(name, podSelector=selector, ingress=[{"from": [peer]}])


SHOP = [ingress("shop/i", "a.b", "/", "web", 80), service("shop/web", "web", 80), pod("shop/web"), namespace("shop")]
DENY = policy("shop/deny", policyTypes=["Ingress"])
FROM_EDGE = from_pods(
    "shop/web", app("web"), namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "edge"}}
)
FROM_ANY_POD = from_pods("shop/web", app("web"), namespaceSelector={})
ELSEWHERE = policy("shop/web", podSelector=app("web"), ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])

OTHER_POD = policy("shop/other", podSelector=app("other"), ingress=FROM_EDGE["spec"]["ingress"])
OTHER_PORT = policy(
    "shop/web", podSelector=app("web"), ingress=[{**FROM_EDGE["spec"]["ingress"][0], "ports": [{"port": 81}]}]
)


@pytest.mark.parametrize(
    ("policies", "unknown_controller", "known_controller"),
    [
        ([], "open", "open"),
        ([DENY], "blocked", "blocked"),
        ([DENY, FROM_ANY_POD], "open", "open"),
        # It lets in some pods: whoever does not know the controller cannot know whether it is one of them.
        ([DENY, FROM_EDGE], "unknown", "open"),
        ([DENY, from_pods("shop/web", app("web"), podSelector=app("traefik"))], "unknown", "blocked"),
        ([DENY, ELSEWHERE], "blocked", "blocked"),
        ([DENY, OTHER_POD], "blocked", "blocked"),
        ([DENY, OTHER_PORT], "blocked", "blocked"),
    ],
)
def test_policies_on_the_way(policies: list[Manifest], unknown_controller: str, known_controller: str) -> None:
    there = [namespace("edge"), pod("edge/traefik")]
    assert verdicts(*SHOP, *policies) == [("shop/web[Pod]", unknown_controller)]
    assert verdicts(*SHOP, *policies, *there, controllers=(TRAEFIK,)) == [("shop/web[Pod]", known_controller)]
    # The same pods, of which no manifest tells.
    assert verdicts(*SHOP, *policies, controllers=(TRAEFIK,)) == [("shop/web[Pod]", known_controller)]


def test_the_controller_s_own_egress_counts() -> None:
    shut = policy("edge/deny", policyTypes=["Egress"])
    state = [*SHOP, pod("edge/traefik"), shut]
    assert verdicts(*state, controllers=(TRAEFIK,)) == [("shop/web[Pod]", "blocked")]
    (found,) = through(*state, controllers=(TRAEFIK,))
    assert "egress: isolated by NetworkPolicy edge/deny, and no rule of it accepts" in found.because
    # One of two controllers is enough.
    assert verdicts(*state, controllers=(TRAEFIK, Controller("edge", {"app": "other"}))) == [
        ("shop/web[Pod]", "blocked")
    ]
    assert verdicts(*state, controllers=(TRAEFIK, Controller("apart", {"app": "x"}))) == [("shop/web[Pod]", "open")]


def test_what_a_policy_opens_on_the_way_is_newly_exposed() -> None:
    before, after = (
        through(*SHOP, DENY, controllers=(TRAEFIK,)),
        through(*SHOP, DENY, FROM_EDGE, controllers=(TRAEFIK,)),
    )
    assert [str(each) for each in newly_exposed(before, after)] == ["a.b/ → shop/web:80"]
    difference = exposure_difference(before, after)
    assert (difference.exposed, difference.hidden) == ((), ())
    assert [(old.network, new.network) for old, new in difference.changed] == [("blocked", "open")]
    page = page_of_exposure_difference(difference)
    assert page.headline == "1 way in opened wider."
    assert [finding.id for finding in page.findings] == [
        "exposure-unidentified",
        "exposure-everywhere",
        "exposure-plaintext",
    ]


def test_a_port_by_name_is_each_pod_s_own() -> None:
    numbers = [pod("shop/one", ("http", 8080), app="web"), pod("shop/two", ("http", 9090), app="web")]
    without = pod("shop/three", ("http", 80), app="web")
    without["spec"]["containers"][0]["ports"][0]["protocol"] = "UDP"
    named = service("shop/web", "web", 80)
    named["spec"]["ports"][0]["targetPort"] = "http"
    only = policy("shop/web", ingress=[{"ports": [{"port": 9090}]}])
    state = [ingress("shop/i", "a.b", "/", "web", 80), named, *numbers, without, only]
    assert verdicts(*state) == [("shop/one[Pod]", "blocked"), ("shop/two[Pod]", "open")]


def test_a_backend_answers_where_its_service_selects_a_workload() -> None:
    there, elsewhere = service("shop/web", "web", 80, "http"), service("data/web", "web", 80)
    assert served([pod("shop/web"), there, elsewhere]) == {"shop/web:80"}
    there["spec"]["selector"] = None
    assert served([there]) == {"shop/web:80"}


def test_what_is_routed_is_what_routes_lead_to_on_tcp() -> None:
    balanced = service("shop/other", "other", 80)
    balanced["spec"]["type"] = "LoadBalancer"
    web = service("shop/web", "web", 80)
    web["spec"]["ports"][0]["targetPort"] = "http"
    assert routed([ingress("shop/i", "a.b", "/", "web", 80), web, balanced]) == {
        next(iter(routed([ingress("shop/i", "a.b", "/", "web", 80), web])))
    }
    (found,) = routed([ingress("shop/i", "a.b", "/", "web", 80), web])
    assert (found.namespace, found.service, dict(found.selector), found.port) == ("shop", "web", {"app": "web"}, "http")


def test_a_controller_without_labels_would_be_every_pod_of_its_namespace() -> None:
    text = (REPOSITORY / "breakglass.yaml").read_text(encoding="utf-8")
    label = "\n          app.kubernetes.io/name: traefik\n"
    assert label in text
    with pytest.raises(InvalidFile, match="at least 1 item"):
        read(text.replace(label, " {}\n").encode(), "breakglass.yaml", Policy)
    with pytest.raises(InvalidFile, match="should match pattern"):
        read(text.replace("name: traefik", "name: 'tr fik'").encode(), "breakglass.yaml", Policy)


def test_a_changed_entry_is_told_once() -> None:
    before, after = changed(identity_checks=("login",)), WEB
    difference = exposure_difference([before], [after])
    assert difference.changed == ((before, after),)
    assert difference
    assert not exposure_difference([WEB], [changed(because=("another object",))])
    page = page_of_exposure_difference(difference)
    assert [tuple(table.rows) for table in page.tables] == [
        (("a.b/", "shop/web:80", "identity check login", "identity check none"),)
    ]


def test_findings_name_a_few_and_leave_out_the_front_door_and_what_is_blocked() -> None:
    many = [changed(requests=Requests(f"{letter}.b")) for letter in "abcde"]
    blocked = changed(requests=Requests("x.b"), backend="shop/x:1", reached=(Reached("shop/x[Pod]", "blocked"),))
    page = page_of_exposure_map([*many, blocked, by_port(front_door=True, backend="edge/traefik:80")])
    assert [(each.id, each.message) for each in page.findings] == [
        ("exposure-unidentified", "exposed without an identity check: a.b/, b.b/, c.b/ and 2 more"),
        ("exposure-everywhere", "exposed to every address: a.b/, b.b/, c.b/ and 2 more"),
        ("exposure-blocked", "nothing but NetworkPolicies keeps x.b/ shut"),
    ]
    assert page.headline == "6 ways in from outside, to 1 workload."


@pytest.fixture(scope="module")
def platform() -> list[Manifest]:
    return kustomize(REPOSITORY / "base")


@pytest.fixture(scope="module")
def controllers() -> tuple[Controller, ...]:
    return controllers_of(read((REPOSITORY / "breakglass.yaml").read_bytes(), "breakglass.yaml", Policy))


def test_the_example_platform(platform: list[Manifest], controllers: tuple[Controller, ...]) -> None:
    found = through(*platform, controllers=controllers)
    told = [(each.asked, each.entry, each.tls, each.network, each.front_door) for each in sorted(found)]
    assert told == [
        ("load-balancer TCP 443", "load-balancer", "unknown", "open", True),
        ("node-port TCP some port", "node-port", "unknown", "open", True),
        ("load-balancer TCP 80", "load-balancer", "unknown", "open", True),
        ("node-port TCP some port", "node-port", "unknown", "open", True),
        ("login.emergency.example.com/oauth2", "ingress", "yes", "open", False),
        ("shop.example.com/", "ingress", "yes", "open", False),
        ("shop.example.com/", "gateway", "yes", "open", False),
    ]
    page = page_of_exposure_map(found)
    assert {(each.id, each.where) for each in page.findings} == {
        ("exposure-unidentified", "edge/oauth2-proxy:4180"),
        ("exposure-unidentified", "shop/web:8080"),
        ("exposure-everywhere", "edge/oauth2-proxy:4180"),
        ("exposure-everywhere", "shop/web:8080"),
    }
    assert {arrow.sources + arrow.destinations for arrow in page.arrows if "shop" in str(arrow)} == {
        ("shop.example.com/", "shop/web:8080"),
        ("shop/web:8080", "shop/web[Deployment]"),
    }


def test_the_way_in_to_the_back_office(
    platform: list[Manifest], controllers: tuple[Controller, ...], tmp_path: Path
) -> None:
    before = through(*platform, controllers=controllers)
    after = through(*opened("ingress-to-admin", platform, tmp_path), controllers=controllers)
    difference = exposure_difference(before, after)
    assert (difference.hidden, difference.changed) == ((), ())
    document = difference_document(difference)
    assert [entry["entry"] for entry in document["exposed"]] == ["ingress", "gateway"]
    for entry in document["exposed"]:
        assert entry | {"entry": "", "port": 0, "because": []} == {
            "entry": "",
            "host": "2026-11-23-ingress-to-admin-7f3a.emergency.example.com",
            "path": "/",
            "pathType": "Prefix",
            "port": 0,
            "protocol": "TCP",
            "tls": "yes",
            "sourceRanges": ["198.51.100.0/24"],
            "identityCheck": "forwardAuth http://oauth2-proxy.edge.svc.cluster.local:4180/",
            "backend": "shop/admin:9090",
            "workloads": ["shop/api[Deployment]"],
            "network": "open",
            "because": [],
        }
    page = page_of_exposure_difference(difference)
    assert page.headline == "2 ways in newly exposed."
    assert page.findings == ()
    assert [table.title for table in page.tables] == ["Newly exposed"]
    assert {arrow.tone for arrow in page.arrows} == {"opened"}


def test_what_programs_read_is_the_same_in_whatever_order_objects_come(platform: list[Manifest]) -> None:
    objects = [*platform, *(ingress(f"shop/{name}", "a.b", "/", "web", 8080) for name in "ij")]
    once, again = (json.dumps(map_document(through(*each))) for each in (objects, reversed(objects)))
    assert once == again
