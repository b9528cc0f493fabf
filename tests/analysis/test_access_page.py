"""What people and programs get to read about access."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from network_objects import Manifest, bind, rbac, rule

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.difference import compare_access
from breakglass.analysis.access.question import perhaps, read_question, who_can
from breakglass.analysis.report.access_json import diff_document, map_document, who_can_document
from breakglass.analysis.report.access_page import page_of_access_diff, page_of_access_map, page_of_who_can
from breakglass.analysis.report.page import Page

BEFORE: list[Manifest] = [
    rbac("ClusterRole", "reader", rules=[rule("get", "pods")]),
    rbac("ClusterRole", "old", rules=[rule("get list", "services")]),
    bind("shop/readers", "ClusterRole/reader", "User:kim"),
    bind("old", "ClusterRole/old", "Group:acme:incident"),
]
AFTER: list[Manifest] = [
    rbac("ClusterRole", "reader", rules=[rule("get", "pods"), rule("create get", "pods/exec", names=("web",))]),
    bind("shop/readers", "ClusterRole/reader", "User:kim"),
    rbac("ClusterRole", "old", rules=[rule("get", "services"), {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]),
    bind("old", "ClusterRole/old", "Group:acme:incident"),
    bind("data/all", "ClusterRole/cluster-admin", "ServiceAccount:ops/robot"),
]


def read(pieces: Iterator[str]) -> Any:
    text = "".join(pieces)
    assert text.endswith("}\n")
    return json.loads(text)


def a_rule(**fields: list[str]) -> dict[str, list[str]]:
    empty: dict[str, list[str]] = {
        key: [] for key in ("apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs")
    }
    return empty | fields


def test_the_document_of_a_difference() -> None:
    found = read(diff_document(compare_access(Access(BEFORE), Access(AFTER))))
    everything = [a_rule(apiGroups=["*"], resources=["*"], verbs=["*"])]
    exec_into_web = a_rule(apiGroups=[""], resources=["pods/exec"], verbs=["create", "get"], resourceNames=["web"])
    assert found["schema"] == "breakglass.dev/access-diff/v1alpha1"
    assert found["granted"] == [
        {
            "subject": "Group/acme:incident",
            "namespace": None,
            "rules": [a_rule(verbs=["get"], nonResourceURLs=["/metrics"])],
        },
        {"subject": "ServiceAccount/ops/robot", "namespace": "data", "rules": everything},
        {"subject": "User/kim", "namespace": "shop", "rules": [exec_into_web]},
    ]
    assert found["revoked"] == [
        {
            "subject": "Group/acme:incident",
            "namespace": None,
            "rules": [a_rule(apiGroups=[""], resources=["services"], verbs=["list"])],
        }
    ]
    told = [(each["id"], each["severity"], each["subject"], each["namespace"]) for each in found["escalations"]]
    assert told[0] == ("access-wildcard", "error", "ServiceAccount/ops/robot", "data")
    assert told[-1] == ("access-exec", "warning", "User/kim", "shop")
    assert ("access-secrets", "warning", "ServiceAccount/ops/robot", "data") in told
    assert found["escalations"][-1]["reason"].startswith("User/kim may create, get pods/exec named web in shop: ")


def test_a_difference_of_nothing() -> None:
    change = compare_access(Access(AFTER), Access(AFTER))
    assert not change
    assert read(diff_document(change)) == {
        "schema": "breakglass.dev/access-diff/v1alpha1",
        "granted": [],
        "revoked": [],
        "escalations": [],
    }
    assert page_of_access_diff(change) == Page("Nobody may do more or less than before.")


def test_a_difference_is_the_same_backwards() -> None:
    forth, back = (compare_access(Access(one), Access(two)) for one, two in ((BEFORE, AFTER), (AFTER, BEFORE)))
    assert forth.granted == back.revoked
    assert forth.revoked == back.granted


def test_the_document_does_not_depend_on_the_order_of_the_manifests() -> None:
    there = "".join(diff_document(compare_access(Access(BEFORE), Access(AFTER))))
    assert "".join(diff_document(compare_access(Access(BEFORE[::-1]), Access(AFTER[::-1])))) == there


def test_the_page_of_a_difference() -> None:
    reaches = {"shop": [("shop/web", "data/postgres:5432")], "data": []}
    page = page_of_access_diff(compare_access(Access(BEFORE), Access(AFTER), lambda namespace: reaches[namespace]))
    assert page.headline == "3 subjects may do more and 1 subject may do less; 1 finding is red."
    # Whoever may do everything need not be told each way up.
    assert [finding.id for finding in page.findings] == ["access-wildcard", "access-exec"]
    granted, revoked, inside = page.tables
    assert list(granted.rows) == [
        ("Group/acme:incident", "the whole cluster", "get /metrics"),
        ("ServiceAccount/ops/robot", "data", "use every verb on every resource of every API group"),
        ("User/kim", "shop", "create, get pods/exec named web"),
    ]
    assert (granted.tone, revoked.tone, inside.tone) == ("opened", "closed", "danger")
    assert list(inside.rows) == [("User/kim", "may exec into shop/web, which reaches data/postgres:5432")]
    assert [(arrow.sources, arrow.destinations, arrow.tone) for arrow in page.arrows] == [
        (("Group/acme:incident",), ("the whole cluster",), "opened"),
        (("ServiceAccount/ops/robot",), ("data",), "danger"),
        (("User/kim",), ("shop",), "opened"),
        (("Group/acme:incident",), ("the whole cluster",), "closed"),
    ]


def test_a_map() -> None:
    access = Access([*AFTER, bind("shop/edit", "ClusterRole/edit", "User:lee")])
    found = read(map_document(access.granted(), sorted(access.unseen())))
    assert found["schema"] == "breakglass.dev/access-map/v1alpha1"
    assert [(each["subject"], each["namespace"]) for each in found["granted"]] == [
        ("Group/acme:incident", None),
        ("ServiceAccount/ops/robot", "data"),
        ("User/kim", "shop"),
    ]
    assert found["granted"][2]["because"] == [{"binding": "RoleBinding shop/readers", "role": "ClusterRole reader"}]
    assert found["unseen"] == [{"subject": "User/lee", "namespace": "shop", "role": "edit"}]
    page = page_of_access_map(access)
    assert page.headline == "3 subjects are granted something; system:masters may do everything in any case."
    rows = [list(table.rows) for table in page.tables]
    assert rows[0][-1] == (
        "User/kim",
        "shop",
        "create, get pods/exec named web",
        "RoleBinding shop/readers → ClusterRole reader",
    )
    assert rows[1] == [("User/lee", "shop", "edit")]


def test_who_can() -> None:
    access, question = Access(AFTER), read_question("create", "pods/exec")
    found = read(who_can_document(question, who_can(access, question), perhaps(access, question)))
    assert found == {
        "schema": "breakglass.dev/access-who-can/v1alpha1",
        "verb": "create",
        "resource": "pods/exec",
        "apiGroup": "",
        "namespace": None,
        "name": None,
        "subjects": [
            {
                "subject": "ServiceAccount/ops/robot",
                "namespace": "data",
                "because": [
                    {"binding": "RoleBinding data/all", "role": "ClusterRole cluster-admin", "resourceNames": []}
                ],
            },
            {
                "subject": "User/kim",
                "namespace": "shop",
                "because": [
                    {"binding": "RoleBinding shop/readers", "role": "ClusterRole reader", "resourceNames": ["web"]}
                ],
            },
        ],
        "unseen": [],
    }
    page = page_of_who_can(access, question)
    assert page.headline == "2 subjects can create pods/exec."
    assert list(page.tables[0].rows)[1] == (
        "User/kim",
        "shop",
        "RoleBinding shop/readers → ClusterRole reader",
        "web",
    )


def test_who_can_in_the_whole_cluster_is_told() -> None:
    page = page_of_who_can(Access(BEFORE), read_question("list", "services", "shop"))
    assert page.headline == "1 subject can list services in shop, 1 of them in the whole cluster."
    assert page_of_who_can(Access(()), read_question("get", "pods")).headline == (
        "Nobody but system:masters can get pods."
    )
