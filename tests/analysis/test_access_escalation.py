"""The ways up: each is found by what grants it, and by nothing beside it."""

from __future__ import annotations

import pytest
from network_objects import Manifest, bind, rbac, rule

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.escalation import RISKS, Escalation, Reaches, escalations

PERSON = "User:kim"
RBAC = "rbac.authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"
CERTIFICATES = "certificates.k8s.io"
ADMISSION = "admissionregistration.k8s.io"


def found(
    *rules: Manifest, binding: str = "shop/b", subject: str = PERSON, reaches: Reaches | None = None
) -> list[Escalation]:
    objects = [rbac("ClusterRole", "r", rules=list(rules)), bind(binding, "ClusterRole/r", subject)]
    return list(escalations(Access(()), Access(objects), reaches))


def ids(*rules: Manifest, binding: str = "shop/b", subject: str = PERSON) -> list[str]:
    return [each.finding.id.removeprefix("access-") for each in found(*rules, binding=binding, subject=subject)]


# In a namespace; what is found there.
NAMESPACED = [
    (rule("get", "pods services configmaps"), []),
    (rule("create", "pods/exec"), ["exec"]),
    (rule("get", "pods/exec"), ["exec"]),
    (rule("*", "pods/exec"), ["wildcard", "exec"]),
    (rule("update", "pods/exec"), []),
    (rule("get", "pods/log"), []),
    (rule("create", "*/exec"), ["exec"]),
    (rule("create", "pods/exec", "apps"), []),
    (rule("create", "pods/exec", names=("web",)), ["exec"]),
    (rule("get", "pods/attach"), ["attach"]),
    (rule("create", "pods/portforward"), ["port-forward"]),
    (rule("patch", "pods/ephemeralcontainers"), ["ephemeral-containers"]),
    (rule("create", "pods/ephemeralcontainers"), []),
    (rule("get", "services/proxy"), ["proxy"]),
    (rule("create", "pods"), ["pods"]),
    # A request to create carries no name: this grants nothing.
    (rule("create", "pods", names=("web",)), []),
    (rule("delete", "pods"), []),
    *((rule("create", kind, "apps"), ["pods"]) for kind in ("deployments", "statefulsets", "daemonsets")),
    (rule("create", "replicasets", "apps"), ["pods"]),
    *((rule("patch", kind, "batch"), ["pods"]) for kind in ("jobs", "cronjobs")),
    (rule("update", "replicationcontrollers"), ["pods"]),
    (rule("patch", "deployments/scale", "apps"), []),
    (rule("create", "serviceaccounts/token"), ["tokens"]),
    (rule("create", "serviceaccounts"), []),
    *((rule(verb, "secrets"), ["secrets"]) for verb in ("get", "list", "watch")),
    (rule("create", "secrets"), []),
    (rule("escalate", "roles", RBAC), ["escalate"]),
    (rule("bind", "roles", RBAC), ["bind"]),
    # `bind` on a ClusterRole is asked in the RoleBinding's namespace.
    (rule("bind", "clusterroles", RBAC), ["bind"]),
    (rule("create", "rolebindings", RBAC), ["roles"]),
    (rule("get", "rolebindings", RBAC), []),
    (rule("impersonate", "serviceaccounts"), ["impersonate"]),
    (rule("impersonate:serviceaccount", "serviceaccounts", AUTHENTICATION), ["impersonate"]),
    (rule("create", "networkpolicies", "networking.k8s.io"), ["network"]),
    (rule("patch", "namespaces"), ["namespaces"]),
]  # fmt: skip
# These belong to no namespace: a RoleBinding gives none of it.
CLUSTERED = [
    (rule("impersonate", "users"), ["impersonate"]),
    (rule("impersonate", "groups"), ["impersonate", "masters"]),
    (rule("impersonate", "groups", names=("acme",)), ["impersonate"]),
    (rule("impersonate", "groups", names=("system:masters",)), ["impersonate", "masters"]),
    (rule("impersonate", "userextras/scopes", AUTHENTICATION), ["impersonate"]),
    (rule("impersonate", "*/scopes", AUTHENTICATION), ["impersonate"]),
    (rule("impersonate", "uids", AUTHENTICATION), ["impersonate"]),
    (rule("impersonate:user-info", "groups", AUTHENTICATION), ["impersonate", "masters"]),
    (rule("impersonate:arbitrary-node", "nodes", AUTHENTICATION), ["impersonate"]),
    (rule("escalate", "clusterroles", RBAC), ["escalate"]),
    (rule("update", "clusterrolebindings", RBAC), ["roles"]),
    (rule("get", "nodes/proxy"), ["node-proxy"]),
    (rule("patch", "nodes"), ["nodes"]),
    (rule("get", "nodes"), []),
    (rule("create", "persistentvolumes"), ["volumes"]),
    (rule("patch", "mutatingwebhookconfigurations", ADMISSION), ["admission"]),
    (rule("delete", "validatingadmissionpolicybindings", ADMISSION), ["admission"]),
    (rule("create", "apiservices", "apiregistration.k8s.io"), ["api-services"]),
    (rule("update", "certificatesigningrequests/approval", CERTIFICATES), ["certificates-approve"]),
    (rule("approve", "signers", CERTIFICATES, names=("kubernetes.io/*",)), ["certificates-approve"]),
    (rule("sign", "signers", CERTIFICATES), ["certificates-sign"]),
    (rule("create", "certificatesigningrequests", CERTIFICATES), []),
    (rule("create", "clusternetworkpolicies", "policy.networking.k8s.io"), ["network"]),
]  # fmt: skip


@pytest.mark.parametrize(("granted", "expected"), NAMESPACED)
def test_in_a_namespace(granted: Manifest, expected: list[str]) -> None:
    assert ids(granted) == expected


@pytest.mark.parametrize(("granted", "expected"), NAMESPACED)
def test_in_the_whole_cluster_all_the_more(granted: Manifest, expected: list[str]) -> None:
    assert [name for name in ids(granted, binding="b") if name != "whole-cluster"] == expected


@pytest.mark.parametrize(("granted", "expected"), CLUSTERED)
def test_of_the_cluster_itself(granted: Manifest, expected: list[str]) -> None:
    assert sorted(ids(granted, binding="b")) == sorted([*expected, "whole-cluster"])
    assert ids(granted) == []


def test_every_risk_is_tried() -> None:
    tried = {name for _, names in (*NAMESPACED, *CLUSTERED) for name in names}
    assert {risk.finding.id.removeprefix("access-") for risk in RISKS} - tried == {"inventory"}


@pytest.mark.parametrize(
    ("binding", "expected"), [("breakglass/b", ["inventory"]), ("shop/b", []), ("b", ["whole-cluster", "inventory"])]
)
def test_the_inventories_of_this_tool(binding: str, expected: list[str]) -> None:
    assert ids(rule("delete", "configmaps"), binding=binding) == expected
    assert "inventory" not in ids(rule("get", "configmaps"), binding=binding)


def test_wildcards_the_whole_cluster_and_everybody_are_red_and_first() -> None:
    told = found(rule("get", "*"), binding="b", subject="Group:system:unauthenticated")
    assert [(each.finding.id, each.finding.severity) for each in told] == [
        ("access-wildcard", "error"),
        ("access-whole-cluster", "error"),
        ("access-everybody", "error"),
        *(
            (f"access-{name}", "warning")
            for name in ("exec", "attach", "port-forward", "proxy", "node-proxy", "secrets")
        ),
    ]


@pytest.mark.parametrize(
    "subject", ["User:system:anonymous", "Group:system:authenticated", "Group:system:serviceaccounts"]
)
def test_everybody(subject: str) -> None:
    assert ids(rule("get", "pods"), subject=subject) == ["everybody"]
    assert ids(rule("get", "pods"), subject="Group:system:serviceaccounts:shop") == []


def test_a_url_is_no_grant_of_the_cluster() -> None:
    assert ids({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}, binding="b") == []
    assert ids({"verbs": ["get"], "nonResourceURLs": ["*"]}, binding="b") == ["wildcard"]


def test_a_binding_that_names_the_masters() -> None:
    (told,) = found(rule("get", "pods"), subject="Group:system:masters")
    assert (told.finding.id, told.finding.severity, told.namespace) == ("access-masters", "error", "shop")


def test_a_role_that_nobody_sees() -> None:
    (told,) = escalations(Access(()), Access([bind("shop/b", "ClusterRole/edit", PERSON)]))
    assert told.finding.id == "access-unseen-role"
    assert told.finding.message == (
        "User/kim is given the ClusterRole edit in shop: no manifest holds it, nobody sees what it grants"
    )


def test_what_was_there_before_is_no_escalation() -> None:
    role = rbac("ClusterRole", "r", rules=[rule("create", "pods/exec")])
    before = [role, bind("b", "ClusterRole/r", "Group:system:serviceaccounts")]
    after = [*before, bind("shop/b", "ClusterRole/r", "ServiceAccount:api")]
    assert list(escalations(Access(before), Access(after))) == []


def test_the_message_says_what_is_granted_of_it() -> None:
    (told,) = found(rule("get create", "pods/exec", names=("web", "api")))
    assert told.finding.message == (
        "User/kim may create, get pods/exec named api, web in shop: whoever may exec runs commands in a container, "
        "with the pod's ServiceAccount, Secrets and connections"
    )
    assert told.finding.where == "RoleBinding shop/b → ClusterRole r"


def reaches(namespace: str) -> list[tuple[str, str]]:
    everything = [
        ("shop/api", "data/postgres:5432"),
        ("shop/web[Deployment]", "shop/api:80"),
        ("ops/bastion", "shop/web:80"),
    ]
    return [pair for pair in everything if namespace in ("", pair[0].partition("/")[0])]


@pytest.mark.parametrize(
    ("granted", "binding", "inside", "workloads"),
    [
        (rule("create", "pods/exec"), "shop/b", "may exec into", ["shop/api", "shop/web[Deployment]"]),
        (rule("create", "pods/exec"), "b", "may exec into", ["shop/api", "shop/web[Deployment]", "ops/bastion"]),
        # A controller lengthens the names of its pods.
        (rule("create", "pods/exec", names=("web-7d4b9-x2x",)), "shop/b", "may exec into", ["shop/web[Deployment]"]),
        (rule("create", "pods/exec", names=("webhook",)), "shop/b", "may exec into", []),
        (rule("get", "pods/attach"), "ops/b", "may attach to", ["ops/bastion"]),
        (rule("update", "pods/ephemeralcontainers"), "ops/b", "may add a container to", ["ops/bastion"]),
        (rule("create", "jobs", "batch"), "ops/b", "may run what they like as", ["ops/bastion"]),
        (rule("get", "secrets"), "shop/b", "", []),
    ],
)
def test_what_can_be_reached_from_inside(granted: Manifest, binding: str, inside: str, workloads: list[str]) -> None:
    told = found(granted, binding=binding, reaches=reaches)[-1]
    assert (told.inside, [workload for workload, _ in told.reaches]) == (inside, workloads)
    assert found(granted, binding=binding)[-1].reaches == ()
