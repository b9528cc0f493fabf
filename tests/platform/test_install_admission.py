"""Nobody but the applier and the agent touches inventories and what carries the activation label."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest
from manifests import Key, by_key
from places import Manifest

from breakglass_lab.controlplane import Client, ControlPlane, StatusError, gateway_api_crds, install

pytestmark = pytest.mark.lab

LABEL, ID = "breakglass.dev/activation", "2026-11-23-db-from-bastion-7f3a"
POLICIES = ("breakglass-activations", "breakglass-field-manager", "breakglass-inventories")
CORE, RBAC = "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1"
NETWORK = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
INVENTORIES = f"{CORE}/breakglass/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/breakglass/leases"
MERGE = {"Content-Type": "application/merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}

APPLIER = {"Impersonate-User": "breakglass:applier"}
AGENT = {"Impersonate-User": "system:serviceaccount:breakglass:agent"}
MASTER: dict[str, str] = {}
"""The lab's administrator, of system:masters."""
ADMINISTRATOR = {"Impersonate-User": "alice", "Impersonate-Group": "acme:platform"}
"""Bound to cluster-admin."""
NAMESPACE_CONTROLLER = {"Impersonate-User": "system:serviceaccount:kube-system:namespace-controller"}
GARBAGE_COLLECTOR = {"Impersonate-User": "system:serviceaccount:kube-system:generic-garbage-collector"}
PEOPLE = {"a master": MASTER, "an administrator": ADMINISTRATOR}
OURS = {"the applier": APPLIER, "the agent": AGENT}


@dataclass(frozen=True)
class Write:
    """One request, sent as a dry run: admission decides as ever, and nothing changes."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


def thing(api_version: str, kind: str, namespace: str, name: str, content: dict[str, Any], label: bool) -> Manifest:
    labels = {"labels": {LABEL: ID}} if label else {}
    metadata = {"name": name, "namespace": namespace, **labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def networkpolicy(name: str, *, label: bool = True, port: int = 80) -> Manifest:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": port}]}]}
    return thing("networking.k8s.io/v1", "NetworkPolicy", "shop", name, {"spec": spec}, label)


def configmap(name: str, **metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "breakglass", **metadata},
        "data": {"a": "b"},
    }


def lease(name: str) -> Manifest:
    metadata = {"name": name, "namespace": "breakglass"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


INVENTORY_LABEL = {"labels": {"breakglass.dev/inventory": "true"}}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory, baseline: list[Manifest]) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("admission") / "control plane", name="prod-eu") as started:
        install(started, [*gateway_api_crds(), *baseline, *bindings()])
        with started.client() as client:
            await_policies(client)
            furnish(client)
        yield started


def bindings() -> list[Manifest]:
    """Alice is a cluster-admin; in these tests it is admission that says no to her, and RBAC never."""
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "administrators"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "acme:platform"}],
        }
    ]


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        Event().wait(0.05)


def await_policies(client: Client) -> None:
    """The API server compiles policies a moment after they were written."""
    probes = (
        Write("POST", INVENTORIES, configmap("activation-probe")),
        Write("POST", NETWORK, networkpolicy("probe")),
        Write("POST", NETWORK, networkpolicy("probe", label=False), query={"fieldManager": "breakglass"}),
    )
    for probe in probes:
        eventually(lambda probe=probe: decision(client, MASTER, probe) == "denied", f"denied: {probe}")  # type: ignore[misc]


def furnish(client: Client) -> None:
    """What the tables write to, made by who may."""
    for path, manifest in (
        (INVENTORIES, configmap("activation-there", **INVENTORY_LABEL)),
        (INVENTORIES, configmap("by-label-alone", **INVENTORY_LABEL)),
        (LEASES, lease("there")),
        (NETWORK, networkpolicy("there")),
        (KINDS["Ingress"][0], {**KINDS["Ingress"][1](True), "metadata": {"name": "there", "labels": {LABEL: ID}}}),
    ):
        client.call("POST", path, manifest, headers=APPLIER)
    client.call("POST", NETWORK, networkpolicy("theirs", label=False))


def decision(client: Client, who: dict[str, str], write: Write) -> str:
    """`allowed`, or `denied` by an admission policy; any other refusal fails the test."""
    query = {"dryRun": "All", **write.query}
    try:
        client.call(write.method, write.path, write.body, query=query, headers={**who, **write.headers})
    except StatusError as error:
        if error.code != 403 or "ValidatingAdmissionPolicy 'breakglass-" not in str(error):
            raise
        return "denied"
    return "allowed"


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[Client]:
    with control_plane.client() as client:
        yield client


def rules() -> list[Manifest]:
    return [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}]


def reference() -> Manifest:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "emergency-exec"}


GATEWAY = "gateway.networking.k8s.io/v1"
BACKEND = {"service": {"name": "admin", "port": {"number": 9090}}}
KINDS: dict[str, tuple[str, Callable[[bool], Manifest]]] = {
    "NetworkPolicy": (NETWORK, lambda label: networkpolicy("new", label=label)),
    "Ingress": (
        "/apis/networking.k8s.io/v1/namespaces/shop/ingresses",
        lambda label: thing(
            "networking.k8s.io/v1", "Ingress", "shop", "new", {"spec": {"defaultBackend": BACKEND}}, label
        ),
    ),
    "HTTPRoute": (
        f"/apis/{GATEWAY}/namespaces/shop/httproutes",
        lambda label: thing(GATEWAY, "HTTPRoute", "shop", "new", {"spec": {"hostnames": ["a.example.com"]}}, label),
    ),
    "Middleware": (
        "/apis/traefik.io/v1alpha1/namespaces/shop/middlewares",
        lambda label: thing(
            "traefik.io/v1alpha1",
            "Middleware",
            "shop",
            "new",
            {"spec": {"chain": {"middlewares": [{"name": "x"}]}}},
            label,
        ),
    ),
    "ServiceAccount": (
        f"{CORE}/shop/serviceaccounts",
        lambda label: thing("v1", "ServiceAccount", "shop", "new", {}, label),
    ),
    "Role": (
        f"{RBAC}/namespaces/shop/roles",
        lambda label: thing("rbac.authorization.k8s.io/v1", "Role", "shop", "new", {"rules": rules()}, label),
    ),
    "RoleBinding": (
        f"{RBAC}/namespaces/shop/rolebindings",
        lambda label: thing(
            "rbac.authorization.k8s.io/v1", "RoleBinding", "shop", "new", {"roleRef": reference()}, label
        ),
    ),
}
"""Kind of the policy → its collection, and an object of it with or without the label."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_for_the_applier_alone_to_give(client: Client, kind: str) -> None:
    path, make = KINDS[kind]
    assert decision(client, APPLIER, Write("POST", path, make(True))) == "allowed"
    for who in PEOPLE.values():
        assert decision(client, who, Write("POST", path, make(True))) == "denied"
        assert decision(client, who, Write("POST", path, make(False))) == "allowed"


def test_the_kinds_above_are_those_of_the_policy(baseline: list[Manifest]) -> None:
    policy = by_key(baseline)[Key("ValidatingAdmissionPolicy.admissionregistration.k8s.io", "", POLICIES[0])]
    matched = {
        resource for rule in policy["spec"]["matchConstraints"]["resourceRules"] for resource in rule["resources"]
    }
    assert matched == {path.rpartition("/")[2] for path, _ in KINDS.values()}


def unlabelled() -> Manifest:
    return {**networkpolicy("there", label=False), "metadata": {"name": "there", "namespace": "shop"}}


LABELLED = {
    "create": Write("POST", NETWORK, networkpolicy("new")),
    "create under a made name": Write(
        "POST", NETWORK, {**networkpolicy("x"), "metadata": {"generateName": "x-", "labels": {LABEL: ID}}}
    ),
    "replace": Write("PUT", f"{NETWORK}/there", networkpolicy("there", port=81)),
    "replace by one without the label": Write("PUT", f"{NETWORK}/there", unlabelled()),
    "patch the spec": Write("PATCH", f"{NETWORK}/there", {"spec": {"ingress": [{}]}}, MERGE),
    "patch an annotation": Write("PATCH", f"{NETWORK}/there", {"metadata": {"annotations": {"a": "b"}}}, MERGE),
    "hold it by a finalizer": Write("PATCH", f"{NETWORK}/there", {"metadata": {"finalizers": ["x.dev/y"]}}, MERGE),
    "take the label away": Write("PATCH", f"{NETWORK}/there", {"metadata": {"labels": {LABEL: None}}}, MERGE),
    "take all labels away": Write("PATCH", f"{NETWORK}/there", {"metadata": {"labels": None}}, MERGE),
    "give it to another activation": Write("PATCH", f"{NETWORK}/there", {"metadata": {"labels": {LABEL: "x"}}}, MERGE),
    "label what is theirs": Write("PATCH", f"{NETWORK}/theirs", {"metadata": {"labels": {LABEL: ID}}}, MERGE),
    "label it with nothing": Write("PATCH", f"{NETWORK}/theirs", {"metadata": {"labels": {LABEL: ""}}}, MERGE),
    "apply": Write("PATCH", f"{NETWORK}/there", networkpolicy("there"), APPLY, {"fieldManager": "x", "force": "true"}),
    "apply a new one": Write("PATCH", f"{NETWORK}/new", networkpolicy("new"), APPLY, {"fieldManager": "x"}),
    "delete": Write("DELETE", f"{NETWORK}/there"),
    "delete the collection": Write("DELETE", NETWORK),
    "delete the labelled ones": Write("DELETE", NETWORK, query={"labelSelector": LABEL}),
}


@pytest.mark.parametrize("write", LABELLED.values(), ids=LABELLED)
def test_what_carries_the_label_is_not_for_people(client: Client, write: Write) -> None:
    assert {decision(client, who, write) for who in PEOPLE.values()} == {"denied"}


@pytest.mark.parametrize(
    ("who", "write"),
    [
        *((APPLIER, write) for write in LABELLED.values() if write.method != "PUT" and write.path != NETWORK),
        (APPLIER, LABELLED["create"]),
        (AGENT, LABELLED["delete"]),
        (NAMESPACE_CONTROLLER, LABELLED["delete"]),
        (NAMESPACE_CONTROLLER, LABELLED["delete the collection"]),
        (GARBAGE_COLLECTOR, LABELLED["delete"]),
        (GARBAGE_COLLECTOR, LABELLED["patch an annotation"]),
    ],
)
def test_what_carries_the_label_is_for_us_and_for_those_who_clean_up(
    client: Client, who: dict[str, str], write: Write
) -> None:
    assert decision(client, who, write) == "allowed"


OTHERS = {
    "without the label": Write("PATCH", f"{NETWORK}/theirs", {"metadata": {"labels": {"app": "x"}}}, MERGE),
    "deleted without the label": Write("DELETE", f"{NETWORK}/theirs"),
    "a label that begins alike": Write(
        "PATCH", f"{NETWORK}/theirs", {"metadata": {"labels": {f"{LABEL}s": "x"}}}, MERGE
    ),
    "an annotation of that name": Write(
        "PATCH", f"{NETWORK}/theirs", {"metadata": {"annotations": {LABEL: ID}}}, MERGE
    ),
    "another kind": Write(
        "POST", f"{CORE}/shop/configmaps", {"metadata": {"name": "activation-x", "labels": {LABEL: ID}}}
    ),
    "the status of a labelled object": Write(
        "PATCH",
        f"{KINDS['Ingress'][0]}/there/status",
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
        MERGE,
    ),
}


@pytest.mark.parametrize("write", OTHERS.values(), ids=OTHERS)
def test_everything_else_is_as_free_as_before(client: Client, write: Write) -> None:
    assert {decision(client, who, write) for who in PEOPLE.values()} == {"allowed"}


KEPT = {
    "create": Write("POST", INVENTORIES, configmap("activation-new", **INVENTORY_LABEL)),
    "create by name alone": Write("POST", INVENTORIES, configmap("activation-new")),
    "create under a made name": Write("POST", INVENTORIES, {"metadata": {"generateName": "activation-"}}),
    "create by label alone": Write("POST", INVENTORIES, configmap("anything", **INVENTORY_LABEL)),
    "replace": Write("PUT", f"{INVENTORIES}/activation-there", configmap("activation-there")),
    "patch": Write("PATCH", f"{INVENTORIES}/activation-there", {"data": {"a": "c"}}, MERGE),
    "take the label away": Write("PATCH", f"{INVENTORIES}/by-label-alone", {"metadata": {"labels": None}}, MERGE),
    "label another": Write("PATCH", f"{INVENTORIES}/kube-root-ca.crt", {"metadata": INVENTORY_LABEL}, MERGE),
    "delete": Write("DELETE", f"{INVENTORIES}/activation-there"),
    "delete by label": Write("DELETE", INVENTORIES, query={"labelSelector": "breakglass.dev/inventory"}),
    "delete them all": Write("DELETE", INVENTORIES),
    "create a Lease": Write("POST", LEASES, lease("new")),
    "steal a Lease": Write("PATCH", f"{LEASES}/there", {"spec": {"holderIdentity": "me"}}, MERGE),
    "delete a Lease": Write("DELETE", f"{LEASES}/there"),
}


@pytest.mark.parametrize("write", KEPT.values(), ids=KEPT)
def test_inventories_and_leases_are_not_for_people(client: Client, write: Write) -> None:
    assert {decision(client, who, write) for who in PEOPLE.values()} == {"denied"}


@pytest.mark.parametrize("who", OURS.values(), ids=OURS)
def test_inventories_and_leases_are_for_us(client: Client, who: dict[str, str]) -> None:
    there = client.call("GET", f"{LEASES}/there", headers=who)
    for write in (
        *(KEPT[what] for what in ("create", "replace", "delete", "create a Lease")),
        Write("PUT", f"{LEASES}/there", {**there, "spec": {"holderIdentity": "us"}}),
    ):
        assert decision(client, who, write) == "allowed", write


@pytest.mark.parametrize("what", ["delete", "delete them all", "delete a Lease"])
def test_a_namespace_that_goes_takes_inventories_along(client: Client, what: str) -> None:
    assert decision(client, NAMESPACE_CONTROLLER, KEPT[what]) == "allowed"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(Write("DELETE", f"{INVENTORIES}/kube-root-ca.crt"), id="the certificate authority"),
        pytest.param(Write("POST", INVENTORIES, configmap("istio-ca-root-cert")), id="another one"),
        pytest.param(
            Write("POST", f"{CORE}/shop/configmaps", {"metadata": {"name": "activation-x", **INVENTORY_LABEL}}),
            id="in another namespace",
        ),
        pytest.param(
            Write("POST", LEASES.replace("breakglass", "shop"), {"metadata": {"name": "x"}}), id="a Lease elsewhere"
        ),
    ],
)
def test_what_is_no_inventory_is_as_free_as_before(client: Client, write: Write) -> None:
    assert {decision(client, who, write) for who in PEOPLE.values()} == {"allowed"}


@pytest.mark.parametrize(
    "write",
    [
        Write("PATCH", f"{NETWORK}/theirs", {"metadata": {"annotations": {"a": "b"}}}, MERGE),
        Write("PUT", f"{NETWORK}/theirs", networkpolicy("theirs", label=False, port=81)),
        Write("PATCH", f"{NETWORK}/theirs", networkpolicy("theirs", label=False), APPLY, {"force": "true"}),
        Write("POST", NETWORK, networkpolicy("new", label=False)),
    ],
    ids=["patch", "replace", "apply", "create"],
)
def test_nobody_else_writes_under_our_name(client: Client, write: Write) -> None:
    def under(manager: str) -> Write:
        return Write(write.method, write.path, write.body, write.headers, {**write.query, "fieldManager": manager})

    for who in PEOPLE.values():
        assert decision(client, who, under("breakglass")) == "denied"
        assert decision(client, who, under("breakglass2")) == "allowed"
    if write.method != "PUT":
        assert decision(client, APPLIER, under("breakglass")) == "allowed"


def test_the_api_server_finds_nothing_to_warn_about(client: Client) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def status(name: str) -> dict[str, Any]:
        found: dict[str, Any] = client.call("GET", f"{path}/{name}").get("status", {})
        return found

    for name in POLICIES:
        eventually(lambda name=name: "observedGeneration" in status(name), f"{name} is type-checked")  # type: ignore[misc]
        assert status(name)["typeChecking"] == {}, name


def test_garbage_is_collected_although_it_carries_the_label(client: Client) -> None:
    """By the real controller, and not as a dry run."""
    path = f"{CORE}/shop/serviceaccounts"
    owner = client.call("POST", path, thing("v1", "ServiceAccount", "shop", "owner", {}, True), headers=APPLIER)
    owned = thing("v1", "ServiceAccount", "shop", "owned", {}, True)
    reference = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "owner", "uid": owner["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [reference]
    client.call("POST", path, owned, headers=APPLIER)
    client.call("DELETE", f"{path}/owner", headers=APPLIER)
    eventually(lambda: not client.exists(f"{path}/owned"), "the owned one is collected")


def test_a_namespace_goes_with_inventories_and_labelled_objects_in_it(
    control_plane: ControlPlane, client: Client, baseline: list[Manifest]
) -> None:
    """By the real controller, and not as a dry run: the last test, for it takes the tool's own namespace away."""
    assert client.exists(f"{INVENTORIES}/activation-there")
    for namespace in ("breakglass", "shop"):
        client.call("DELETE", f"{CORE}/{namespace}")
    for namespace in ("breakglass", "shop"):
        eventually(lambda name=namespace: not client.exists(f"{CORE}/{name}"), f"{namespace} is gone")  # type: ignore[misc]
    install(control_plane, baseline)
    furnish(client)
