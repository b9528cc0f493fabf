"""The Kubernetes adapter against a real API server, also through a proxy that injects faults."""

from __future__ import annotations

import base64
import sys
import time
from bisect import bisect_left
from contextlib import nullcontext
from datetime import timedelta
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest
from api_server import (
    NETWORK_POLICIES,
    Connect,
    Object,
    Time,
    definition,
    find,
    live_of,
    namespace_of,
    new_inventory,
    numbers,
    path_of,
    policy_in,
)

from breakglass.adapters import kubernetes_reading
from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.adapters.kubernetes_inventory import LARGEST
from breakglass.model.errors import Conflict, NotApplied, Refused, Unreachable
from breakglass.model.inventory import Inventory, InventoryObject, pack
from breakglass.model.manifest import ACTIVATION_LABEL, ObjectKey, key_of
from breakglass_lab.controlplane import ControlPlane, install
from breakglass_lab.interruption import Answer, Fault, Interruption, Reset, Rule, Truncated

pytestmark = pytest.mark.lab


def test_what_apply_answers_is_what_get_reads(cluster: KubernetesCluster) -> None:
    name = f"test-{next(numbers)}"
    group = f"{name}.example.com"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "r", "namespace": name}}
    objects = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Lamp",
            "metadata": {"name": "lamp", "namespace": name},
            "spec": {"a": 1},
        },
        policy_in(name),
        {
            **role,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        },
        {**role, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        definition(group),
        namespace_of(name),
    ]
    answers = {**cluster.apply(objects[4:]), **cluster.apply(objects[:4])}
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
    interrupted.apply([definition(group)])
    assert key_of(lamp) in interrupted.apply([lamp])


def test_apply_is_strict_and_takes_no_time_to_refuse_an_unknown_field(
    proxy: Interruption, connect: Connect, namespace: str
) -> None:
    clock = Time()
    cluster = connect(access_to("prod-eu", None, proxy.kubeconfig), clock)
    policy = policy_in(namespace)
    policy["spec"]["podSelektor"] = {}
    with pytest.raises(Refused, match=r"\.spec\.podSelektor: field not declared in schema"):
        cluster.apply([policy])
    assert clock.slept == 0
    query = parse_qs(urlsplit(proxy.writes[0].target).query)
    assert query == {"fieldManager": ["breakglass"], "force": ["true"], "fieldValidation": ["Strict"]}


def test_apply_takes_over_what_another_manager_wrote(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    policy = policy_in(namespace)
    install(control_plane, [policy])
    changed = {**policy, "spec": {**policy["spec"], "policyTypes": ["Egress"]}}
    assert cluster.apply([changed])[key_of(policy)]["spec"]["policyTypes"] == ["Egress"]
    assert live_of(cluster, key_of(policy))["spec"]["policyTypes"] == ["Egress"]


def test_dry_run_changes_nothing(cluster: KubernetesCluster, namespace: str) -> None:
    policy = policy_in(namespace)
    assert cluster.apply([policy], dry_run=True)[key_of(policy)]["spec"] == policy["spec"]
    assert live_of(cluster, key_of(policy)) is None


def test_apply_tries_every_object_and_names_each_that_failed(cluster: KubernetesCluster, namespace: str) -> None:
    unknown_field = policy_in(namespace, "unknown-field")
    unknown_field["spec"]["podSelektor"] = {}
    unknown_kind = {**policy_in(namespace, "unknown-kind"), "kind": "NetworkPolitics"}
    elsewhere = policy_in("nowhere")
    good = policy_in(namespace, "good")
    with pytest.raises(Refused) as refused:
        cluster.apply([unknown_field, unknown_kind, elsewhere, good])
    for words in ("unknown-field", "podSelektor", "NetworkPolitics", 'namespaces "nowhere" not found'):
        assert words in str(refused.value)
    assert f"{namespace}/good" not in str(refused.value)
    assert live_of(cluster, key_of(good)) is not None


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
    assert live_of(cluster, key) is None
    lamp = {"apiVersion": f"{group}/v1", "kind": "Lamp", "metadata": {"name": "lamp", "namespace": namespace}}
    install(control_plane, [definition(group), lamp])
    assert live_of(cluster, key) is not None


def test_delete_returns_when_the_objects_are_gone(cluster: KubernetesCluster, namespace: str) -> None:
    policies = [policy_in(namespace, f"policy-{number}") for number in range(12)]
    applied = cluster.apply(policies)
    cluster.delete(applied.values())
    assert cluster.get(applied) == dict.fromkeys(applied)
    nothing = policy_in(namespace, "nothing")
    nothing |= {"apiVersion": "nothing.example.com/v1", "kind": "Nothing"}
    nothing["metadata"]["uid"] = "1"
    cluster.delete([*applied.values(), nothing])


def test_f12_delete_says_what_holds_an_object(administrator: Access, connect: Connect, namespace: str) -> None:
    cluster = connect(administrator, deletion=timedelta(seconds=0.3))
    held, free = policy_in(namespace, "held"), policy_in(namespace, "free")
    held["metadata"]["finalizers"] = ["example.com/keep"]
    applied = cluster.apply([held, free])
    with pytest.raises(NotApplied, match=r"networking\.k8s\.io .*/held: .*finalizers example\.com/keep"):
        cluster.delete(applied.values())
    assert live_of(cluster, key_of(free)) is None
    cluster.apply([policy_in(namespace, "held")])
    assert live_of(cluster, key_of(held)) is None


def test_delete_waits_for_what_somebody_else_deletes_in_the_foreground(
    administrator: Access, control_plane: ControlPlane, connect: Connect, namespace: str
) -> None:
    cluster = connect(administrator, deletion=timedelta(seconds=0.3))
    owner, dependent = policy_in(namespace, "owner"), policy_in(namespace, "dependent")
    live = cluster.apply([owner])[key_of(owner)]
    reference = {"apiVersion": live["apiVersion"], "kind": live["kind"], "name": "owner"}
    reference |= {"uid": live["metadata"]["uid"], "blockOwnerDeletion": True}
    dependent["metadata"] |= {"finalizers": ["example.com/keep"], "ownerReferences": [reference]}
    install(control_plane, [dependent])
    path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/owner"
    with control_plane.client() as client:
        client.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"})
    deleting = live_of(cluster, key_of(owner))
    with pytest.raises(NotApplied, match=r"/owner: .*finalizers foregroundDeletion"):
        cluster.delete([deleting])
    assert live_of(cluster, key_of(owner))["metadata"]["finalizers"] == ["foregroundDeletion"]
    install(control_plane, [policy_in(namespace, "dependent")])


def test_delete_says_that_a_namespace_is_terminating(administrator: Access, connect: Connect, namespace: str) -> None:
    cluster = connect(administrator, deletion=timedelta(seconds=0.3))
    held = policy_in(namespace, "held")
    held["metadata"]["finalizers"] = ["example.com/keep"]
    cluster.apply([held])
    with pytest.raises(NotApplied, match="the namespace is terminating"):
        cluster.delete([live_of(cluster, ObjectKey("", "Namespace", "", namespace))])


def test_delete_sends_one_request_an_object_and_one_list(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    applied = interrupted.apply([policy_in(namespace, f"policy-{number}") for number in range(20)])
    before = len(proxy.requests)
    interrupted.delete(applied.values())
    asked = proxy.requests[before:]
    assert [request.verb for request in asked if request.resource] == ["delete"] * 20 + ["list"]
    # Where the kind is preferred is asked once for all threads.
    assert [request.path for request in asked if not request.resource] == ["/apis"]


def test_delete_leaves_an_object_that_took_the_name(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    policy = policy_in(namespace)
    first = cluster.apply([policy])

    def replace_it() -> None:
        cluster.delete(first.values())
        cluster.apply([policy])

    proxy.before(1, replace_it)
    with pytest.raises(Conflict, match="allow"):
        interrupted.delete(first.values())
    assert live_of(cluster, key_of(policy)) is not None


@pytest.mark.parametrize("fault", [Reset(forwarded=True), Reset(), Truncated()])
@pytest.mark.parametrize("finalizers", [[], ["example.com/keep"]])
def test_a_lost_answer_to_a_deletion_is_no_conflict(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str, fault: Fault, finalizers: list[str]
) -> None:
    policy = policy_in(namespace)
    policy["metadata"]["finalizers"] = finalizers
    live = interrupted.apply([policy])[key_of(policy)]
    proxy.rules.append(Rule(lambda request: request.method == "DELETE", fault))
    with pytest.raises(NotApplied, match="finalizers") if finalizers else nullcontext():
        interrupted.delete([live])


@pytest.mark.parametrize("fault", [Reset(forwarded=True), Reset(), Truncated()])
def test_a_lost_answer_to_an_apply_is_no_conflict(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str, fault: Fault
) -> None:
    policy = policy_in(namespace, team="shop")
    version = interrupted.apply([policy_in(namespace)])[key_of(policy)]["metadata"]["resourceVersion"]
    policy["metadata"]["resourceVersion"] = version
    proxy.rules.append(Rule(lambda request: request.method == "PATCH", fault))
    answer = interrupted.apply([policy])[key_of(policy)]
    assert answer == live_of(cluster, key_of(policy))
    assert answer["metadata"]["labels"] == {"team": "shop"}


def test_a_lost_answer_and_another_writer_are_a_conflict_of_an_apply(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    policy = policy_in(namespace, team="shop")
    version = interrupted.apply([policy_in(namespace)])[key_of(policy)]["metadata"]["resourceVersion"]
    policy["metadata"]["resourceVersion"] = version
    proxy.before(2, lambda: cluster.apply([policy_in(namespace, team="other")]))
    with pytest.raises(Conflict):
        interrupted.apply([policy])
    assert live_of(cluster, key_of(policy))["metadata"]["labels"] == {"team": "other"}


def test_apply_to_a_state_brings_back_nothing_that_was_deleted_meanwhile(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    policy = policy_in(namespace)
    applied = cluster.apply([policy])
    policy["metadata"]["resourceVersion"] = applied[key_of(policy)]["metadata"]["resourceVersion"]
    proxy.before(1, lambda: cluster.delete(applied.values()))
    with pytest.raises(Conflict):
        interrupted.apply([policy])
    assert live_of(cluster, key_of(policy)) is None


def test_apply_to_a_state_leaves_an_object_that_took_the_name(cluster: KubernetesCluster, namespace: str) -> None:
    policy = policy_in(namespace)
    (first,) = cluster.apply([policy]).values()
    cluster.delete([first])
    (second,) = cluster.apply([policy]).values()
    for version in (first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]):
        based = policy_in(namespace, team="shop")
        based["metadata"] |= {"uid": first["metadata"]["uid"], "resourceVersion": version}
        with pytest.raises(Conflict):
            cluster.apply([based])
    assert live_of(cluster, key_of(policy)) == second


def test_many_objects_are_read_by_one_list(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_reading, "_PAGE", "7")
    applied = interrupted.apply([policy_in(namespace, f"policy-{number}") for number in range(20)])
    before = len(proxy.requests)
    absent = ObjectKey(*NETWORK_POLICIES, namespace, "absent")
    few = [ObjectKey("", "ConfigMap", namespace, name) for name in ("kube-root-ca.crt", "absent")]
    live = interrupted.get([*applied, absent, *few])
    asked = [(request.verb, request.resource) for request in proxy.requests[before:]]
    assert asked.count(("list", "networkpolicies")) == 3
    assert asked.count(("get", "configmaps")) == 2
    assert len(asked) == 5 + asked.count(("get", ""))
    assert live[absent] is live[few[1]] is None
    assert {key: live[key] for key in applied} == applied


def test_many_absent_objects_are_absent_only_where_that_was_observed(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    def keys(group: str, kind: str, place: str = namespace) -> list[ObjectKey]:
        return [ObjectKey(group, kind, place, f"nothing-{number}") for number in range(9)]

    absent = [*keys(*NETWORK_POLICIES), *keys(*NETWORK_POLICIES, "nowhere"), *keys("nothing.example.com", "Nothing")]
    assert interrupted.get(absent) == dict.fromkeys(absent)
    with pytest.raises(Refused, match="is not a name"):
        interrupted.get([*absent, ObjectKey(*NETWORK_POLICIES, namespace, "..")])
    text = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
    proxy.rules.append(Rule(lambda request: request.path.endswith("/networkpolicies"), text, times=None))
    with pytest.raises(Unreachable, match="does not serve it"):
        interrupted.get(absent)


def test_disowning_leaves_values_and_other_managers(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    shared, alone = policy_in(namespace, "shared", team="shop"), policy_in(namespace, "alone", team="shop")
    install(control_plane, [shared])
    cluster.apply([policy_in(namespace, "shared", emergency="yes"), alone])
    keys = [key_of(shared), key_of(alone)]
    before = cluster.get(keys)
    cluster.disown(dict.fromkeys([*keys, ObjectKey(*NETWORK_POLICIES, namespace, "nothing")], ()))
    after = cluster.get(keys)
    for key in keys:
        assert after[key]["spec"] == before[key]["spec"]  # type: ignore[index]
        assert after[key]["metadata"]["labels"] == before[key]["metadata"]["labels"]  # type: ignore[index]
        entries = after[key]["metadata"].get("managedFields", [])  # type: ignore[index]
        assert [entry["manager"] for entry in entries] == (["platform"] if key == key_of(shared) else [])
    cluster.disown(dict.fromkeys(keys, ()))
    assert cluster.get(keys) == after


def test_a_former_owner_owns_lists_and_status_again(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    def service(*ports: int) -> Object:
        entries = [{"name": f"port-{port}", "port": port, "protocol": "TCP"} for port in ports]
        metadata = {"name": "web", "namespace": namespace, "finalizers": [f"example.com/{port}" for port in ports]}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "LoadBalancer", "ports": entries},
        }

    key, path = key_of(service()), f"/api/v1/namespaces/{namespace}/services/web"
    install(control_plane, [service(80, 443)])
    with control_plane.client() as client:
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        client.call("PATCH", f"{path}/status", status, headers={"Content-Type": "application/merge-patch+json"})
        before = live_of(cluster, key)["metadata"]["managedFields"]
        assert {entry.get("subresource") for entry in before} == {None, "status"}
        emergency = service(80, 8443)
        emergency["spec"]["ports"][0]["targetPort"] = 8080
        cluster.apply([emergency])
        cluster.apply([service(80)])
        cluster.disown({key: before})
        live = live_of(cluster, key)
        assert [entry["manager"] for entry in live["metadata"]["managedFields"]] != []
        assert "breakglass" not in {entry["manager"] for entry in live["metadata"]["managedFields"]}
        renamed = service(80)
        renamed["spec"]["ports"][0]["name"] = "other"
        with pytest.raises(Conflict, match=r'conflict with "platform".*port'):
            cluster.apply([renamed], force=False)
        # The former owner takes away what it does not want any more, which only an owner can.
        install(control_plane, [service(443)])
        assert [port["port"] for port in live_of(cluster, key)["spec"]["ports"]] == [443]
        assert live_of(cluster, key)["metadata"]["finalizers"] == ["example.com/443"]
        install(control_plane, [{**service(443), "metadata": {"name": "web", "namespace": namespace}}])


def test_disowning_starts_again_when_somebody_writes_in_between(
    interrupted: KubernetesCluster,
    cluster: KubernetesCluster,
    control_plane: ControlPlane,
    proxy: Interruption,
    namespace: str,
) -> None:
    policy = policy_in(namespace)
    cluster.apply([policy])
    proxy.before(1, lambda: install(control_plane, [policy_in(namespace, team="shop")]))
    interrupted.disown({key_of(policy): ()})
    metadata = live_of(cluster, key_of(policy))["metadata"]
    assert metadata["labels"] == {"team": "shop"}
    assert [entry["manager"] for entry in metadata["managedFields"]] == ["platform"]


def test_labelled_and_list_over_all_or_some_namespaces(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_reading, "_PAGE", "2")
    other = f"{namespace}-other"
    install(control_plane, [namespace_of(other)])
    mine = [policy_in(namespace, f"policy-{number}", **{ACTIVATION_LABEL: "one"}) for number in range(5)]
    cluster.apply([*mine, policy_in(other, **{ACTIVATION_LABEL: "two"}), policy_in(namespace, "plain")])
    kinds = [NETWORK_POLICIES, ("", "Namespace"), ("nothing.example.com", "Nothing")]
    found = cluster.labelled(kinds, [namespace, "nowhere"])
    assert found == {key_of(policy): "one" for policy in mine}
    assert cluster.labelled(kinds)[key_of(policy_in(other))] == "two"
    listed = cluster.list([NETWORK_POLICIES], [namespace])
    assert {key_of(item) for item in listed} == {*map(key_of, mine), key_of(policy_in(namespace, "plain"))}
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
    inventory = new_inventory()
    cluster.write_inventory(inventory)
    assert find(cluster, inventory) == inventory
    opened = inventory.model_copy(update={"phase": "open"})
    cluster.write_inventory(opened)
    assert find(cluster, inventory) == opened
    with control_plane.client() as client:
        metadata = client.call("GET", path_of(inventory))["metadata"]
    assert metadata["labels"] == {"breakglass.dev/inventory": "true"}
    assert metadata["annotations"] == {
        "breakglass.dev/overlay": "db-from-bastion",
        "breakglass.dev/expiry": "2026-11-23T02:43:00Z",
        "breakglass.dev/phase": "open",
        "breakglass.dev/requested-by": "on-call",
    }
    cluster.delete_inventory(inventory.activation)
    cluster.delete_inventory(inventory.activation)
    assert find(cluster, inventory) is None


def test_f10_an_inventory_is_replaced_only_as_it_was_seen(
    cluster: KubernetesCluster, administrator: Access, connect: Connect
) -> None:
    inventory, other = new_inventory(), connect(administrator)
    cluster.write_inventory(inventory)
    with pytest.raises(Conflict):
        other.write_inventory(inventory)
    other.inventories()
    other.write_inventory(inventory.model_copy(update={"phase": "open"}))
    with pytest.raises(Conflict):
        cluster.write_inventory(inventory.model_copy(update={"phase": "closed"}))
    with pytest.raises(Conflict):
        cluster.delete_inventory(inventory.activation)
    found = find(cluster, inventory)
    assert found is not None
    assert found.phase == "open"
    cluster.delete_inventory(inventory.activation)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("fault", [Reset(forwarded=True), Reset(), Truncated()])
def test_a_lost_answer_to_an_inventory_is_no_conflict(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, fault: Fault, replaces: bool
) -> None:
    inventory = new_inventory()
    if replaces:
        cluster.write_inventory(inventory.model_copy(update={"phase": "closed"}))
        interrupted.inventories()
    proxy.rules.append(Rule(lambda request: request.is_write, fault))
    interrupted.write_inventory(inventory)
    interrupted.write_inventory(inventory.model_copy(update={"phase": "open"}))
    found = find(cluster, inventory)
    assert found is not None
    assert found.phase == "open"


def test_a_lost_answer_and_another_writer_are_a_conflict(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption
) -> None:
    inventory = new_inventory()
    proxy.before(1, lambda: cluster.write_inventory(inventory.model_copy(update={"phase": "open"})))
    with pytest.raises(Conflict):
        interrupted.write_inventory(inventory)


def test_unreadable_inventories_are_named_and_hide_no_other(
    cluster: KubernetesCluster, control_plane: ControlPlane
) -> None:
    good, copied = new_inventory(), new_inventory()
    cluster.write_inventory(good)
    with control_plane.client() as client:
        data = client.call("GET", path_of(good))["binaryData"]
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
    inventory = new_inventory()
    cluster.write_inventory(inventory)
    with control_plane.client() as client:
        patch = [{"op": "remove", "path": "/metadata/labels"}]
        client.call("PATCH", path_of(inventory), patch, headers={"Content-Type": "application/json-patch+json"})
    assert find(cluster, inventory) == inventory


def _changed(number: int, namespace: str) -> InventoryObject:
    """A policy of a shop with many, as the platform has it and as an emergency has it, and who owned it."""
    policy = policy_in(namespace, f"allow-{number:05}", team=f"team-{number % 37}")
    policy["spec"]["podSelector"] = {
        "matchLabels": {"app": f"app-{number}", "tier": ("web", "db", "cache")[number % 3]}
    }
    source = {"ipBlock": {"cidr": f"10.{number % 256}.{number // 256}.0/24"}}
    emergency = {**policy, "spec": {**policy["spec"], "ingress": [{"from": [source], "ports": [{"port": number}]}]}}
    fields = {"f:metadata": {"f:labels": {"f:team": {}}}, "f:spec": {"f:podSelector": {}, "f:policyTypes": {}}}
    owner = {"manager": "platform", "operation": "Apply", "apiVersion": "networking.k8s.io/v1"}
    owner |= {"time": f"2026-11-{number % 28 + 1:02}T02:13:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}
    return InventoryObject(baseline=policy, emergency=emergency, owners=[owner])


def test_an_inventory_of_two_thousand_objects_fits(cluster: KubernetesCluster, namespace: str) -> None:
    large = new_inventory(objects=[_changed(number, namespace) for number in range(2000)])
    assert len(pack(large)) < LARGEST / 4
    cluster.write_inventory(large)
    assert find(cluster, large) == large
    cluster.delete_inventory(large.activation)


def test_an_inventory_is_as_large_as_it_may_be_and_no_larger(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    noise = base64.b85encode(Random(7).randbytes(1_200_000)).decode()

    def holding(length: int) -> Inventory:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": namespace}}
        return new_inventory(
            objects=[InventoryObject(baseline=None, emergency={**secret, "data": {"a": noise[:length]}})]
        )

    fits = bisect_left(range(len(noise)), LARGEST, key=lambda length: len(pack(holding(length)))) - 1
    largest, larger = holding(fits), holding(fits + 2000)
    assert LARGEST - 2000 < len(pack(largest)) <= LARGEST < len(pack(larger))
    cluster.write_inventory(largest)
    assert find(cluster, largest) == largest
    cluster.delete_inventory(largest.activation)
    with pytest.raises(Refused, match=r"1 objects has \d+ bytes packed, and at most \d+ fit"):
        interrupted.write_inventory(larger)
    assert proxy.requests == []


def test_a_hundred_objects(cluster: KubernetesCluster, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    policies = [policy_in(namespace, f"policy-{number}") for number in range(100)]
    started = time.perf_counter()
    answers = cluster.apply(policies)
    applied = time.perf_counter()
    cluster.delete(answers.values())
    deleted = time.perf_counter()
    with capsys.disabled():
        sys.stdout.write(f"\n100 objects: applied in {applied - started:.2f} s, deleted in {deleted - applied:.2f} s\n")
