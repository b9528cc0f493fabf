"""Who can do it: the question as people put it, and the answer with its reasons."""

from __future__ import annotations

import pytest
from network_objects import bind, rbac, rule

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.question import Question, perhaps, read_question, who_can
from breakglass.model.errors import Refused


@pytest.mark.parametrize(
    ("resource", "expected", "group"),
    [
        ("secrets", "secrets", ""),
        ("Secrets", "secrets", ""),
        ("pods/exec", "pods/exec", ""),
        ("deployments", "deployments", "apps"),
        ("deployments.apps", "deployments", "apps"),
        ("deployments.extensions", "deployments", "extensions"),
        ("deployments.apps/scale", "deployments/scale", "apps"),
        ("deployments/scale.apps", "deployments/scale", "apps"),
        ("certificates.cert-manager.io", "certificates", "cert-manager.io"),
        ("pods.", "pods", ""),
        ("gadgets", "gadgets", None),
        ("/metrics", "/metrics", ""),
    ],
)
def test_how_it_is_put(resource: str, expected: str, group: str | None) -> None:
    question = read_question("get", resource)
    assert (question.resource, question.group) == (expected, group)


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("", "pods", None),
        ("get", "", None),
        ("get", "pods/", None),
        ("get", ".apps", None),
        ("get", "/metrics", "shop"),
    ],
)
def test_what_is_no_question(verb: str, resource: str, namespace: str | None) -> None:
    with pytest.raises(Refused):
        read_question(verb, resource, namespace)


ACCESS = Access(
    [
        rbac("ClusterRole", "reader", rules=[rule("get list", "secrets nodes"), rule("get", "gadgets", "example.com")]),
        rbac("ClusterRole", "one", rules=[rule("get", "secrets", names=("one",))]),
        rbac("ClusterRole", "paths", rules=[{"verbs": ["get"], "nonResourceURLs": ["/metrics*"]}]),
        rbac("ClusterRole", "binder", rules=[rule("bind", "clusterroles", "rbac.authorization.k8s.io")]),
        bind("all", "ClusterRole/reader", "Group:sre"),
        bind("shop/reader", "ClusterRole/reader", "User:kim"),
        bind("data/one", "ClusterRole/one", "ServiceAccount:api"),
        bind("root", "ClusterRole/cluster-admin", "User:root"),
        bind("paths", "ClusterRole/paths", "User:prometheus"),
        bind("shop/paths", "ClusterRole/paths", "User:kim"),
        bind("shop/binder", "ClusterRole/binder", "User:kim"),
        bind("shop/edit", "ClusterRole/edit", "User:lee"),
    ]
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            read_question("get", "secrets"),
            ["Group:sre ", "ServiceAccount:data/api data", "User:kim shop", "User:root "],
        ),
        (read_question("get", "secrets", "shop"), ["Group:sre ", "User:kim shop", "User:root "]),
        (read_question("get", "secrets", "data", "one"), ["Group:sre ", "ServiceAccount:data/api data", "User:root "]),
        (read_question("get", "secrets", "data", "two"), ["Group:sre ", "User:root "]),
        (read_question("watch", "secrets"), ["User:root "]),
        # Nodes belong to no namespace: a RoleBinding gives none.
        (read_question("get", "nodes"), ["Group:sre ", "User:root "]),
        (read_question("bind", "clusterroles"), ["User:kim shop", "User:root "]),
        (read_question("get", "gadgets"), ["Group:sre ", "User:kim shop", "User:root "]),
        (read_question("get", "gadgets.other.io"), ["User:root "]),
        (read_question("get", "/metrics/cadvisor"), ["User:prometheus ", "User:root "]),
    ],
)
def test_who_can(question: Question, expected: list[str]) -> None:
    assert [f"{able.subject} {able.namespace}" for able in who_can(ACCESS, question)] == expected


def test_the_reasons_name_binding_role_and_objects() -> None:
    (able,) = (able for able in who_can(ACCESS, read_question("get", "secrets")) if able.namespace == "data")
    (reason,) = able.because
    assert (reason.binding.key.name, reason.binding.role.name, reason.names) == ("one", "one", ("one",))


def test_of_whom_nobody_can_tell() -> None:
    assert [role.subject for role in perhaps(ACCESS, read_question("get", "secrets"))] == ["User:lee"]
    assert perhaps(ACCESS, read_question("get", "secrets", "data")) == ()
    assert perhaps(ACCESS, read_question("get", "nodes")) == ()
