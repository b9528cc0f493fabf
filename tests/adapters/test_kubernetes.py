"""The Kubernetes adapter against a real API server, also through a proxy that injects faults."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from breakglass.adapters import kubernetes, kubernetes_http
from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.adapters.kubernetes_objects import disowning_patch
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, Refused, Unreachable
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import ACTIVATION_LABEL, ObjectKey, key_of
from breakglass_lab.controlplane import ControlPlane, install
from breakglass_lab.interruption import Answer, Fault, Interruption, Request, Reset, Rule, Truncated, status

Object = dict[str, Any]
NETWORK_POLICIES = ("networking.k8s.io", "NetworkPolicy")
_numbers = itertools.count(1)

pytestmark = pytest.mark.lab


class Time:
    """A clock that nothing moves but sleeping."""

    def __init__(self) -> None:
        self.start = self.time = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, duration: timedelta) -> None:
        self.time += duration

    @property
    def slept(self) -> float:
        return (self.time - self.start).total_seconds()


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("control plane"), name="prod-eu") as control_plane:
        install(control_plane, [_namespace("breakglass")])
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    name = f"test-{next(_numbers)}"
    install(control_plane, [_namespace(name)])
    return name


Connect = Callable[..., KubernetesCluster]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(access, clock=…)` → a cluster that is closed after the test."""
    with ExitStack() as clusters:

        def make(access: Access, clock: Any = None, **limits: timedelta) -> KubernetesCluster:
            cluster = KubernetesCluster("prod-eu", access, clock or SystemClock(), **limits)
            clusters.callback(cluster.close)
            return cluster

        yield make


@pytest.fixture
def administrator(control_plane: ControlPlane) -> Access:
    return access_to("prod-eu", None, control_plane.kubeconfig)


@pytest.fixture
def cluster(administrator: Access, connect: Connect) -> KubernetesCluster:
    return connect(administrator)


@pytest.fixture
def proxy(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Interruption]:
    with Interruption(control_plane, tmp_path / "kubeconfig") as proxy:
        yield proxy


@pytest.fixture
def interrupted(proxy: Interruption, connect: Connect) -> KubernetesCluster:
    """The same cluster through the proxy; retries take no time."""
    return connect(access_to("prod-eu", None, proxy.kubeconfig), Time())


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _policy(namespace: str, name: str = "allow", **labels: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }


def _crd(group: str) -> Object:
    version = {"name": "v1", "served": True, "storage": True}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"lamps.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp", "listKind": "LampList"},
            "versions": [{**version, "schema": schema}],
        },
    }


def _inventory(**changes: Any) -> Inventory:
    number = next(_numbers)
    at = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
    inventory = Inventory(
        activation=f"2026-11-23-db-from-bastion-{number:04x}",
        overlay="db-from-bastion",
        digest="sha256:" + "0" * 64,
        commit="0" * 40,
        requestedBy="on-call",
        approvedBy=["alice", "bob"],
        openedAt=at,
        expiry=at + timedelta(minutes=30),
        phase="opening",
        objects=[],
    )
    return inventory.model_copy(update=changes)


def _configmap(inventory: Inventory) -> str:
    return f"/api/v1/namespaces/breakglass/configmaps/activation-{inventory.activation}"


def _find(cluster: KubernetesCluster, inventory: Inventory) -> Inventory | None:
    return next((item for item in cluster.inventories() if item.activation == inventory.activation), None)


def _one(cluster: KubernetesCluster, key: ObjectKey) -> Any:
    return cluster.get([key])[key]


def test_apply_writes_in_an_order_that_works_and_get_reads_it(cluster: KubernetesCluster) -> None:
    name = f"test-{next(_numbers)}"
    group = f"{name}.example.com"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "r", "namespace": name}}
    objects = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Lamp",
            "metadata": {"name": "lamp", "namespace": name},
            "spec": {"a": 1},
        },
        _policy(name),
        {
            **role,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        },
        {**role, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        _crd(group),
        _namespace(name),
    ]
    answers = cluster.apply(objects)
    keys = [key_of(item) for item in objects]
    assert set(answers) == set(keys)
    live = cluster.get(keys)
    assert all(live[key] is not None for key in keys)
    assert live[keys[0]] == answers[keys[0]]
    entries = live[keys[1]]["metadata"]["managedFields"]  # type: ignore[index]
    assert [(entry["manager"], entry["operation"]) for entry in entries] == [("breakglass", "Apply")]


def test_apply_waits_until_what_it_defined_is_served(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    group = f"{namespace}.example.com"
    lamp = {"apiVersion": f"{group}/v1", "kind": "Lamp", "metadata": {"name": "lamp", "namespace": namespace}}
    not_yet = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
    proxy.rules.append(Rule(lambda request: request.path == f"/apis/{group}/v1", not_yet, times=5))
    assert key_of(lamp) in interrupted.apply([lamp, _crd(group)])


def test_apply_is_strict_and_takes_no_time_to_refuse_an_unknown_field(
    proxy: Interruption, connect: Connect, namespace: str
) -> None:
    clock = Time()
    cluster = connect(access_to("prod-eu", None, proxy.kubeconfig), clock)
    policy = _policy(namespace)
    policy["spec"]["podSelektor"] = {}
    with pytest.raises(Refused, match=r"\.spec\.podSelektor: field not declared in schema"):
        cluster.apply([policy])
    assert clock.slept == 0
    query = parse_qs(urlsplit(proxy.writes[0].target).query)
    assert query == {"fieldManager": ["breakglass"], "force": ["true"], "fieldValidation": ["Strict"]}


def test_apply_takes_over_what_another_manager_wrote(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    policy = _policy(namespace)
    install(control_plane, [policy])
    changed = {**policy, "spec": {**policy["spec"], "policyTypes": ["Egress"]}}
    assert cluster.apply([changed])[key_of(policy)]["spec"]["policyTypes"] == ["Egress"]
    assert _one(cluster, key_of(policy))["spec"]["policyTypes"] == ["Egress"]


def test_dry_run_changes_nothing(cluster: KubernetesCluster, namespace: str) -> None:
    policy = _policy(namespace)
    assert cluster.apply([policy], dry_run=True)[key_of(policy)]["spec"] == policy["spec"]
    assert _one(cluster, key_of(policy)) is None


def test_apply_tries_every_object_and_names_each_that_failed(cluster: KubernetesCluster, namespace: str) -> None:
    unknown_field = _policy(namespace, "unknown-field")
    unknown_field["spec"]["podSelektor"] = {}
    unknown_kind = {**_policy(namespace, "unknown-kind"), "kind": "NetworkPolitics"}
    elsewhere = _policy("nowhere")
    good = _policy(namespace, "good")
    with pytest.raises(Refused) as refused:
        cluster.apply([unknown_field, unknown_kind, elsewhere, good])
    for words in ("unknown-field", "podSelektor", "NetworkPolitics", 'namespaces "nowhere" not found'):
        assert words in str(refused.value)
    assert f"{namespace}/good" not in str(refused.value)
    assert _one(cluster, key_of(good)) is not None


@pytest.mark.parametrize("name", ["..", "../../../apis", "a/b", "a%2fb", "", "x" * 300])
def test_a_name_that_cannot_stand_in_a_path_is_refused(cluster: KubernetesCluster, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="is not a name"):
        cluster.get([ObjectKey(*NETWORK_POLICIES, namespace, name)])


def test_absent_is_none_also_where_the_kind_is_unknown(cluster: KubernetesCluster, namespace: str) -> None:
    keys = [
        ObjectKey(*NETWORK_POLICIES, namespace, "nothing"),
        ObjectKey(*NETWORK_POLICIES, "nowhere", "nothing"),
        ObjectKey("networking.k8s.io", "Politics", namespace, "nothing"),
        ObjectKey("nothing.example.com", "Nothing", namespace, "nothing"),
    ]
    assert cluster.get(keys) == dict.fromkeys(keys)


def test_a_kind_that_is_installed_later_is_found(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    group = f"{namespace}.example.com"
    key = ObjectKey(group, "Lamp", namespace, "lamp")
    assert _one(cluster, key) is None
    lamp = {"apiVersion": f"{group}/v1", "kind": "Lamp", "metadata": {"name": "lamp", "namespace": namespace}}
    install(control_plane, [_crd(group), lamp])
    assert _one(cluster, key) is not None


def test_delete_returns_when_the_objects_are_gone(cluster: KubernetesCluster, namespace: str) -> None:
    policies = [_policy(namespace, f"policy-{number}") for number in range(12)]
    cluster.apply(policies)
    keys = [key_of(policy) for policy in policies]
    cluster.delete([*keys, ObjectKey("nothing.example.com", "Nothing", namespace, "nothing")])
    assert cluster.get(keys) == dict.fromkeys(keys)
    cluster.delete(keys)


def test_f12_delete_says_what_holds_an_object(administrator: Access, connect: Connect, namespace: str) -> None:
    cluster = connect(administrator, deletion=timedelta(seconds=0.3))
    held, free = _policy(namespace, "held"), _policy(namespace, "free")
    held["metadata"]["finalizers"] = ["example.com/keep"]
    cluster.apply([held, free])
    with pytest.raises(NotApplied, match=r"networking\.k8s\.io .*/held: .*finalizers example\.com/keep"):
        cluster.delete([key_of(held), key_of(free)])
    assert _one(cluster, key_of(free)) is None
    cluster.apply([_policy(namespace, "held")])
    assert _one(cluster, key_of(held)) is None


def test_delete_says_that_a_namespace_is_terminating(administrator: Access, connect: Connect, namespace: str) -> None:
    cluster = connect(administrator, deletion=timedelta(seconds=0.3))
    held = _policy(namespace, "held")
    held["metadata"]["finalizers"] = ["example.com/keep"]
    cluster.apply([held])
    with pytest.raises(NotApplied, match="the namespace is terminating"):
        cluster.delete([ObjectKey("", "Namespace", "", namespace)])


def test_delete_ends_absent_where_another_object_took_the_name(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    policy = _policy(namespace)
    cluster.apply([policy])

    def replace_it() -> None:
        cluster.delete([key_of(policy)])
        cluster.apply([policy])

    proxy.before(1, replace_it)
    interrupted.delete([key_of(policy)])
    assert _one(cluster, key_of(policy)) is None
    assert len(proxy.writes) == 3


def test_release_leaves_values_and_other_managers(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    shared, alone = _policy(namespace, "shared", team="shop"), _policy(namespace, "alone", team="shop")
    install(control_plane, [shared])
    cluster.apply([_policy(namespace, "shared", emergency="yes"), alone])
    keys = [key_of(shared), key_of(alone)]
    before = cluster.get(keys)
    cluster.release([*keys, ObjectKey(*NETWORK_POLICIES, namespace, "nothing")])
    after = cluster.get(keys)
    for key in keys:
        assert after[key]["spec"] == before[key]["spec"]  # type: ignore[index]
        assert after[key]["metadata"]["labels"] == before[key]["metadata"]["labels"]  # type: ignore[index]
        entries = after[key]["metadata"].get("managedFields", [])  # type: ignore[index]
        assert [entry["manager"] for entry in entries] == (["platform"] if key == key_of(shared) else [])
    cluster.release(keys)
    assert cluster.get(keys) == after


def test_release_starts_again_when_somebody_writes_in_between(
    interrupted: KubernetesCluster,
    cluster: KubernetesCluster,
    control_plane: ControlPlane,
    proxy: Interruption,
    namespace: str,
) -> None:
    policy = _policy(namespace)
    cluster.apply([policy])
    proxy.before(1, lambda: install(control_plane, [_policy(namespace, team="shop")]))
    interrupted.release([key_of(policy)])
    metadata = _one(cluster, key_of(policy))["metadata"]
    assert metadata["labels"] == {"team": "shop"}
    assert [entry["manager"] for entry in metadata["managedFields"]] == ["platform"]


def test_release_of_the_only_owner_writes_one_empty_entry() -> None:
    # An empty list is documented to leave managedFields as they are.
    live = {"metadata": {"resourceVersion": "7", "managedFields": [{"manager": "breakglass"}]}}
    patch = disowning_patch(live)
    assert patch is not None
    assert patch[1] == {"op": "replace", "path": "/metadata/managedFields", "value": [{}]}


def test_labelled_and_list_over_all_or_some_namespaces(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "_PAGE", "2")
    other = f"{namespace}-other"
    install(control_plane, [_namespace(other)])
    mine = [_policy(namespace, f"policy-{number}", **{ACTIVATION_LABEL: "one"}) for number in range(5)]
    cluster.apply([*mine, _policy(other, **{ACTIVATION_LABEL: "two"}), _policy(namespace, "plain")])
    kinds = [NETWORK_POLICIES, ("", "Namespace"), ("nothing.example.com", "Nothing")]
    found = cluster.labelled(kinds, [namespace, "nowhere"])
    assert found == {key_of(policy): "one" for policy in mine}
    assert cluster.labelled(kinds)[key_of(_policy(other))] == "two"
    listed = cluster.list([NETWORK_POLICIES], [namespace])
    assert {key_of(item) for item in listed} == {*map(key_of, mine), key_of(_policy(namespace, "plain"))}
    assert {(item["apiVersion"], item["kind"]) for item in listed} == {("networking.k8s.io/v1", "NetworkPolicy")}


def test_may_asks_for_groups_service_accounts_and_subresources(cluster: KubernetesCluster, namespace: str) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "exec", "namespace": namespace}}
    subjects = [
        {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "acme:incident"},
        {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": f"system:serviceaccounts:{namespace}"},
    ]
    rules = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "exec"}
    cluster.apply(
        [
            {**role, "kind": "Role", "rules": rules},
            {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects},
        ]
    )
    question = ("create", "pods/exec", "", namespace)
    assert cluster.may("Group:acme:incident", *question)
    assert cluster.may(f"ServiceAccount:{namespace}/default", *question)
    assert not cluster.may("ServiceAccount:default/default", *question)
    assert not cluster.may("User:acme:incident", *question)
    assert not cluster.may("Group:acme:incident", "create", "pods", "", namespace)
    assert cluster.may("Group:system:masters", "delete", "nodes", "", "")
    with pytest.raises(Refused, match="is not a subject"):
        cluster.may("ServiceAccount:default", *question)


def test_an_inventory_is_written_read_replaced_and_deleted(
    cluster: KubernetesCluster, control_plane: ControlPlane
) -> None:
    inventory = _inventory()
    cluster.write_inventory(inventory)
    assert _find(cluster, inventory) == inventory
    opened = inventory.model_copy(update={"phase": "open"})
    cluster.write_inventory(opened)
    assert _find(cluster, inventory) == opened
    with control_plane.client() as client:
        metadata = client.call("GET", _configmap(inventory))["metadata"]
    assert metadata["labels"] == {"breakglass.dev/inventory": "true"}
    assert metadata["annotations"] == {
        "breakglass.dev/overlay": "db-from-bastion",
        "breakglass.dev/expiry": "2026-11-23T02:43:00Z",
        "breakglass.dev/phase": "open",
        "breakglass.dev/requested-by": "on-call",
    }
    cluster.delete_inventory(inventory.activation)
    cluster.delete_inventory(inventory.activation)
    assert _find(cluster, inventory) is None


def test_f10_an_inventory_is_replaced_only_as_it_was_seen(
    cluster: KubernetesCluster, administrator: Access, connect: Connect
) -> None:
    inventory, other = _inventory(), connect(administrator)
    cluster.write_inventory(inventory)
    with pytest.raises(Conflict):
        other.write_inventory(inventory)
    other.inventories()
    other.write_inventory(inventory.model_copy(update={"phase": "open"}))
    with pytest.raises(Conflict):
        cluster.write_inventory(inventory.model_copy(update={"phase": "closed"}))
    with pytest.raises(Conflict):
        cluster.delete_inventory(inventory.activation)
    found = _find(cluster, inventory)
    assert found is not None
    assert found.phase == "open"
    cluster.delete_inventory(inventory.activation)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("fault", [Reset(forwarded=True), Reset(), Truncated()])
def test_a_lost_answer_to_an_inventory_is_no_conflict(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, fault: Fault, replaces: bool
) -> None:
    inventory = _inventory()
    if replaces:
        cluster.write_inventory(inventory.model_copy(update={"phase": "closed"}))
        interrupted.inventories()
    proxy.rules.append(Rule(lambda request: request.is_write, fault))
    interrupted.write_inventory(inventory)
    interrupted.write_inventory(inventory.model_copy(update={"phase": "open"}))
    found = _find(cluster, inventory)
    assert found is not None
    assert found.phase == "open"


def test_a_lost_answer_and_another_writer_are_a_conflict(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption
) -> None:
    inventory = _inventory()
    proxy.before(1, lambda: cluster.write_inventory(inventory.model_copy(update={"phase": "open"})))
    with pytest.raises(Conflict):
        interrupted.write_inventory(inventory)


def test_unreadable_inventories_are_named_and_hide_no_other(
    cluster: KubernetesCluster, control_plane: ControlPlane
) -> None:
    good, copied = _inventory(), _inventory()
    cluster.write_inventory(good)
    with control_plane.client() as client:
        data = client.call("GET", _configmap(good))["binaryData"]
        for name, content in {
            "activation-copied": data,
            "activation-empty": {},
            "activation-text": {"inventory.json.gz": "bm90IGd6aXA="},
            f"activation-{copied.activation}": {**data, "more": "bm90IGd6aXA="},
        }.items():
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": content}
            client.call("POST", "/api/v1/namespaces/breakglass/configmaps", body)
    try:
        assert good in cluster.inventories()
        places = {error.where for error in cluster.unreadable_inventories()}
        names = ("copied", "empty", "text", copied.activation)
        assert places == {f"ConfigMap breakglass/activation-{name}" for name in names}
    finally:
        for name in names:
            cluster.delete_inventory(name)
    assert good in cluster.inventories()
    assert cluster.unreadable_inventories() == ()


def test_an_inventory_without_its_label_is_still_one(cluster: KubernetesCluster, control_plane: ControlPlane) -> None:
    inventory = _inventory()
    cluster.write_inventory(inventory)
    with control_plane.client() as client:
        patch = [{"op": "remove", "path": "/metadata/labels"}]
        client.call("PATCH", _configmap(inventory), patch, headers={"Content-Type": "application/json-patch+json"})
    assert _find(cluster, inventory) == inventory


def _service_account(control_plane: ControlPlane, namespace: str, rules: list[Object]) -> Access:
    """Access as the ServiceAccount `default` of a namespace, with these rules in it."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "few", "namespace": namespace}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"}
    subject = {"kind": "ServiceAccount", "name": "few", "namespace": namespace}
    install(
        control_plane,
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "few", "namespace": namespace}},
            {**role, "kind": "Role", "rules": rules},
            {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
        ],
    )
    return Access(
        "a test",
        control_plane.server,
        certificate_authority=control_plane.certificate_authority,
        authorization=f"Bearer {control_plane.token(namespace, 'few')}",
    )


def test_a_missing_permission_is_refused_and_named(
    control_plane: ControlPlane, connect: Connect, namespace: str
) -> None:
    rules = [{"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list"]}]
    cluster = connect(_service_account(control_plane, namespace, rules))
    with pytest.raises(Refused, match=r'cannot patch resource "networkpolicies".* in the namespace') as refused:
        cluster.apply([_policy(namespace)])
    assert "grant" in str(refused.value.remedy)
    assert cluster.labelled([NETWORK_POLICIES], [namespace]) == {}
    with pytest.raises(Refused, match="at the cluster scope"):
        cluster.labelled([NETWORK_POLICIES])


def test_a_credential_that_is_not_accepted_is_refused(administrator: Access, connect: Connect) -> None:
    access = replace(administrator, client_certificate=None, client_key=None, authorization="Bearer nobody")
    with pytest.raises(Refused, match="does not accept the credential") as refused:
        connect(access).inventories()
    assert "nobody" not in f"{refused.value}{refused.value.remedy}{access!r}"


def test_a_credential_that_runs_out_is_renewed_once_for_all(
    proxy: Interruption, control_plane: ControlPlane, connect: Connect, namespace: str
) -> None:
    first, second = (f"Bearer {control_plane.token('default', 'default', seconds)}" for seconds in (3600, 7200))
    renewals: list[str] = []

    def renew() -> str:
        renewals.append(second)
        return second

    proxy.rules.append(Rule(_review_with(first), status(401, "Unauthorized", "Unauthorized"), times=100))
    proxy.rules.append(Rule(_review_with(second), status(403, "Forbidden", "seen"), times=100))
    cluster = connect(Access("a test", proxy.server, authorization=first, renew=renew))
    with ThreadPoolExecutor(8) as threads:
        for answer in [threads.submit(cluster.may, "Group:acme", "get", "pods", "", namespace) for _ in range(24)]:
            with pytest.raises(Refused, match="seen"):
                answer.result()
    assert renewals == [second]


def _review_with(credential: str) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        return request.path.endswith("subjectaccessreviews") and request.headers["authorization"] == credential

    return matches


def test_every_request_carries_the_credential(
    proxy: Interruption, control_plane: ControlPlane, connect: Connect
) -> None:
    # Release 36.0.0 of the Kubernetes package sent none.
    seen: list[str | None] = []

    def look(request: Request) -> bool:
        seen.append(request.headers.get("authorization"))
        return False

    proxy.rules.append(Rule(look, Reset()))
    token = control_plane.token("default", "default")
    cluster = connect(access_to("prod-eu", None, control_plane.kubeconfig_for(token, proxy.kubeconfig)))
    through = connect(Access("a test", proxy.server, authorization=f"Bearer {token}"))
    for one in (cluster, through):
        with pytest.raises(Refused, match="system:serviceaccount:default:default"):
            one.get([ObjectKey(*NETWORK_POLICIES, "default", "nothing")])
    assert len(seen) >= 3
    assert set(seen) == {f"Bearer {token}"}


def test_an_api_server_that_is_not_trusted_gets_no_credential(administrator: Access, connect: Connect) -> None:
    clock = Time()
    with pytest.raises(Refused, match="is not trusted"):
        connect(replace(administrator, certificate_authority=None), clock).inventories()
    assert clock.slept == 0


_FAULTS: dict[str, Fault] = {
    "429": status(429, "TooManyRequests", "wait", retry_after=2),
    "500": status(500, "InternalError", "a webhook failed"),
    "502 with text": Answer(502, b"<h1>bad gateway</h1>", {"Content-Type": "text/html"}),
    "503": status(503, "ServiceUnavailable", "starting"),
    "504": status(504, "Timeout", "etcd is slow"),
    "reset before": Reset(),
    "reset after": Reset(forwarded=True),
    "half an answer": Truncated(),
    "200 with text": Answer(200, b"<h1>log in</h1>", {"Content-Type": "text/html"}),
    "200 with a list": Answer(200, b"[]", {"Content-Type": "application/json"}),
    "200 with no JSON": Answer(200, b'{"kind":', {"Content-Type": "application/json"}),
}


@pytest.mark.parametrize("fault", _FAULTS.values(), ids=_FAULTS)
def test_a_fault_that_passes_is_survived(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str, fault: Fault
) -> None:
    policy, inventory = _policy(namespace, **{ACTIVATION_LABEL: "one"}), _inventory()
    key = key_of(policy)
    opened = inventory.model_copy(update={"phase": "open"})
    calls: list[tuple[str, Callable[[], object]]] = [
        ("PATCH", lambda: interrupted.apply([policy])),
        ("GET", lambda: interrupted.get([key])),
        ("GET", lambda: interrupted.labelled([NETWORK_POLICIES])),
        ("PATCH", lambda: interrupted.release([key])),
        ("DELETE", lambda: interrupted.delete([key])),
        ("POST", lambda: interrupted.write_inventory(inventory)),
        ("GET", interrupted.inventories),
        ("PUT", lambda: interrupted.write_inventory(opened)),
        ("DELETE", lambda: interrupted.delete_inventory(inventory.activation)),
        ("POST", lambda: interrupted.may("Group:acme", "get", "pods", "", namespace)),
    ]
    met: list[str] = []
    for method, call in calls:
        proxy.rules.append(Rule(_meeting(method, met), fault))
        call()
    assert met == [method for method, _ in calls]
    assert _one(cluster, key) is None
    assert _find(cluster, inventory) is None


def _meeting(method: str, met: list[str]) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        if request.method == method:
            met.append(method)
        return request.method == method

    return matches


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("fault", _FAULTS.values(), ids=_FAULTS)
def test_a_fault_that_stays_is_unreachable_in_bounded_time(
    proxy: Interruption, connect: Connect, namespace: str, fault: Fault, method: str
) -> None:
    clock = Time()
    cluster = connect(access_to("prod-eu", None, proxy.kubeconfig), clock)
    proxy.rules.append(Rule(lambda request: request.method == method, fault, times=10_000))
    with pytest.raises(Unreachable, match="prod-eu") as unreachable:
        cluster.apply([_policy(namespace, f"policy-{number}") for number in range(20)])
    assert unreachable.value.exit_code == 4
    assert 5 < clock.slept < 45


def test_one_object_that_meets_a_fault_keeps_no_other(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    broken = status(500, "InternalError", "failed calling webhook")
    proxy.rules.append(Rule(lambda request: request.path.endswith("/policy-0"), broken, times=10_000))
    policies = [_policy(namespace, f"policy-{number}") for number in range(20)]
    with pytest.raises(Unreachable, match=r"policy-0: .*failed calling webhook"):
        interrupted.apply(policies)
    live = cluster.get(map(key_of, policies))
    assert [key.name for key, item in live.items() if item is None] == ["policy-0"]


def test_a_404_that_names_no_object_proves_no_absence(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    # A load balancer without a backend answers like this.
    text = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
    keys = [ObjectKey(*NETWORK_POLICIES, namespace, "nothing"), ObjectKey("", "Pod", namespace, "nothing")]
    assert interrupted.get(keys) == dict.fromkeys(keys)
    proxy.rules.append(Rule(lambda request: request.path.endswith("/nothing"), text, times=100))
    with pytest.raises(Unreachable, match="does not serve it"):
        interrupted.get(keys[:1])
    proxy.rules.append(Rule(lambda _: True, text, times=100))
    with pytest.raises(BreakglassError):
        interrupted.get(keys[1:])
    with pytest.raises(BreakglassError):
        interrupted.delete_inventory("nothing")


class _Stub(ThreadingHTTPServer):
    """An API server in name only: it answers every GET with `body`, or with silence until `over` where that is None."""

    daemon_threads = True

    def __init__(self, body: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _StubHandler)
        self.body, self.over, self.requests = body, Event(), 0


class _StubHandler(BaseHTTPRequestHandler):
    server: _Stub

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.server.body is None:
            self.server.over.wait(60)
            self.close_connection = True
            return
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def _stub(body: bytes | None) -> Iterator[tuple[_Stub, Access]]:
    with _Stub(body) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server, Access("a test", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def test_an_api_server_that_never_answers_is_given_up_for_all_objects_together(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_http, "_REQUEST_SECONDS", 0.05)
    with _stub(None) as (server, access):
        policies = [_policy("shop", f"policy-{number}") for number in range(100)]
        with pytest.raises(Unreachable, match=r"time-out.*and 90 more"):
            connect(access, Time()).apply(policies)
        assert 3 < server.requests < 40


def test_an_api_server_that_is_not_there_is_unreachable(connect: Connect) -> None:
    with _stub(b"") as (_, access):
        pass
    clock = Time()
    with pytest.raises(Unreachable, match="connection refused"):
        connect(access, clock).inventories()
    assert 5 < clock.slept <= 20


def test_an_answer_without_bounds_is_refused(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_http, "LARGEST_ANSWER", 100_000)
    with (
        _stub(b'{"items": [' + b" " * 1_000_000 + b"]}") as (_, access),
        pytest.raises(Refused, match="larger than 100000 bytes"),
    ):
        connect(access, Time()).inventories()


def test_a_hundred_objects(cluster: KubernetesCluster, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    policies = [_policy(namespace, f"policy-{number}") for number in range(100)]
    started = time.perf_counter()
    cluster.apply(policies)
    applied = time.perf_counter()
    cluster.delete(map(key_of, policies))
    deleted = time.perf_counter()
    with capsys.disabled():
        sys.stdout.write(f"\n100 objects: applied in {applied - started:.2f} s, deleted in {deleted - applied:.2f} s\n")
