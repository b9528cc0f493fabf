"""The page of a change: its verdict in one sentence, what is red about it, and everything that changes."""

from __future__ import annotations

import json

import pytest
from network_objects import Manifest, app, bind, ingress, namespace, pod, policy, rbac, rule, service

from breakglass.analysis.blast_radius import BlastRadius, blast_radius, read_side
from breakglass.analysis.exposure.passage import Controller
from breakglass.analysis.network.profile import PROFILES
from breakglass.analysis.report.blast_radius_page import blast_radius_json, page_of_blast_radius

CONTROLLERS = (Controller("edge", {"app": "proxy"}),)
IN_SHOP = {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
BEFORE = [
    namespace("shop"),
    namespace("data"),
    pod("shop/web", ("http", 80)),
    pod("shop/api", ("http", 81)),
    pod("data/db", ("sql", 5432)),
    pod("edge/proxy"),
    policy("edge/to-shop", policyTypes=["Ingress", "Egress"], egress=[{"to": [{"namespaceSelector": IN_SHOP}]}]),
    policy("shop/deny", policyTypes=["Ingress", "Egress"]),
    policy("data/deny", policyTypes=["Ingress", "Egress"]),
    policy("shop/proxy", ingress=[{"from": [{"namespaceSelector": {}, "podSelector": app("proxy")}]}]),
    policy(
        "data/db", podSelector=app("db"), ingress=[{"from": [{"namespaceSelector": {}, "podSelector": app("api")}]}]
    ),
    policy("shop/api", podSelector=app("api"), policyTypes=["Egress"], egress=[{"ports": [{"port": 5432}]}]),
    service("shop/web", "web", 80),
    rbac("ClusterRole", "exec", rules=[rule("create", "pods/exec")]),
]
WEB_TO_DB = [
    policy("shop/way-out", podSelector=app("web"), policyTypes=["Egress"], egress=[{"ports": [{"port": 5432}]}]),
    policy(
        "data/way-in", podSelector=app("db"), ingress=[{"from": [{"namespaceSelector": {}, "podSelector": app("web")}]}]
    ),
]
TO_DB_ONLY = policy(
    "shop/way-out",
    podSelector=app("web"),
    policyTypes=["Egress"],
    egress=[{"to": [{"namespaceSelector": {}, "podSelector": app("db")}], "ports": [{"port": 5432}]}],
)


def radius_of(*added: Manifest, without: str = "") -> BlastRadius:
    kept = [each for each in BEFORE if f"{each['kind']}/{each['metadata']['name']}" != without]
    return blast_radius(read_side(BEFORE), read_side([*kept, *added]), CONTROLLERS, PROFILES["upstream"])


@pytest.mark.parametrize(
    ("added", "headline"),
    [
        ([], "Nothing changes"),
        (
            [TO_DB_ONLY, WEB_TO_DB[1]],
            "Opens shop/web[Pod] → data/db[Pod] TCP 5432; nothing is red; closes at 10:43Z",
        ),
        (
            [ingress("shop/web", "admin.example.com", "/", "web", 80)],
            "Exposes admin.example.com/; nothing is red; closes at 10:43Z",
        ),
        (
            [bind("shop/exec", "ClusterRole/exec", "Group:acme:incident")],
            "Grants Group/acme:incident more; nothing is red; closes at 10:43Z",
        ),
        (
            [bind("exec", "ClusterRole/exec", "Group:acme:incident")],
            "Grants Group/acme:incident more; 1 finding is red; closes at 10:43Z",
        ),
        (
            [TO_DB_ONLY, WEB_TO_DB[1], bind("shop/exec", "ClusterRole/exec", "Group:acme:incident")],
            "Opens shop/web[Pod] → data/db[Pod] TCP 5432, grants Group/acme:incident more; nothing is red; "
            "closes at 10:43Z",
        ),
    ],
    ids=["nothing", "a connection", "a host", "a grant", "a grant in the whole cluster", "several"],
)
def test_the_verdict_is_one_sentence(added: list[Manifest], headline: str) -> None:
    assert page_of_blast_radius(radius_of(*added), "at 10:43Z").headline == headline


def test_red_comes_first() -> None:
    radius = radius_of(*WEB_TO_DB, bind("exec", "ClusterRole/exec", "Group:acme:incident"))
    page = page_of_blast_radius(radius, "")
    assert [finding.severity for finding in page.findings] == sorted(
        (finding.severity for finding in page.findings), key=["error", "warning", "note"].index
    )
    red = {finding.id for finding in page.findings if finding.severity == "error"}
    assert red == {"blast-radius-world-open", "blast-radius-no-expiry", "access-whole-cluster"}


def test_an_isolation_flip_is_told_with_its_policy() -> None:
    page = page_of_blast_radius(radius_of(without="NetworkPolicy/to-shop"), "at 10:43Z")
    told = [finding.message for finding in page.findings if finding.id == "connectivity-isolation-flip"]
    assert told == [
        "edge/proxy[Pod] was isolated and is open: everything gets out of it that nobody else forbids",
        "edge/proxy[Pod] was isolated and is open: everything gets into it that nobody else forbids",
    ]


def test_pods_that_no_manifest_holds_are_not_overlooked() -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    page = page_of_blast_radius(radius_of(policy("data/scrape", ingress=[{"from": [monitoring]}])), "at 10:43Z")
    assert page.headline.startswith("Opens monitoring/any → data/db[Pod] every port")


def test_who_may_exec_reaches_what_the_pods_reach() -> None:
    page = page_of_blast_radius(radius_of(bind("shop/exec", "ClusterRole/exec", "Group:acme:incident")), "at 10:43Z")
    inside = next(table for table in page.tables if table.title == "From inside a pod")
    rows = {row[1] for row in inside.rows}
    assert "may exec into shop/api[Pod], which reaches data/db[Pod]:5432" in rows
    assert not any("shop/web[Pod], which" in row for row in rows)


def test_the_document_says_what_the_page_says_and_is_the_same_every_time() -> None:
    def written() -> str:
        radius = radius_of(*WEB_TO_DB, ingress("shop/web", "admin.example.com", "/", "web", 80))
        return "".join(blast_radius_json(radius, page_of_blast_radius(radius, "at 10:43Z"), "at 10:43Z"))

    document = json.loads(written())
    assert written() == written()
    assert document["schema"] == "breakglass.dev/blast-radius/v1alpha1"
    assert document["verdict"].startswith("Opens ")
    assert document["closes"] == "at 10:43Z"
    rectangles = document["connectivity"]["rectangles"]
    assert any("shop/web[Pod]" in each["sources"] and "data/db[Pod]" in each["destinations"] for each in rectangles)
    assert all(each["because"] for each in rectangles)
    assert [each["host"] for each in document["exposure"]["exposed"]] == ["admin.example.com"]
    assert document["access"]["granted"] == []
