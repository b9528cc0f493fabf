"""What the ends of connections are called, and which pods, nodes and namespaces there are."""

from __future__ import annotations

from typing import Any

import pytest
from asking import asked
from network_objects import Manifest, app, namespace, pod, policy, workload

from breakglass.analysis.network.objects import read_network
from breakglass.analysis.network.pod import read_namespaces, read_nodes, read_workloads
from breakglass.model.errors import Refused

EVERY_IPV4 = "0.0.0.0-255.255.255.255"
EVERY_IPV6 = "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def owned(manifest: Manifest, kind: str, name: str, *, controller: bool = True) -> Manifest:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "1", "controller": controller}
    manifest["metadata"].setdefault("ownerReferences", []).append(reference)
    return manifest


def labelled(manifest: Manifest, **labels: str) -> Manifest:
    manifest["metadata"]["labels"] = labels
    return manifest


def node(name: str, *addresses: str, **labels: str) -> Manifest:
    found = [{"type": "Hostname", "address": name}, {"type": "ExternalIP", "address": "198.51.100.1"}]
    found += [{"type": "InternalIP", "address": address} for address in addresses]
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"addresses": found}}


def running(manifest: Manifest, *, on: str = "", host: bool = False) -> Manifest:
    manifest["spec"] |= {"nodeName": on, "hostNetwork": host}
    return manifest


def names(*manifests: Manifest) -> list[str]:
    space = asked(*manifests).map.space
    return space.names[: space.workloads]


REPLICA = [owned(pod("x/web-1-abcde"), "ReplicaSet", "web-1")]
MIDDLE = [owned(workload("ReplicaSet", "x/web-1"), "Deployment", "web")]
TOP = [workload("Deployment", "x/web")]
SCHEDULED = [owned(workload("Job", "x/clean-1"), "CronJob", "clean"), owned(pod("x/clean-1-x"), "Job", "clean-1")]


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        pytest.param([pod("x/a")], ["x/a[Pod]"], id="a bare pod"),
        pytest.param([*TOP, *MIDDLE, *REPLICA], ["x/web[Deployment]"], id="the whole chain"),
        pytest.param([*MIDDLE, *REPLICA], ["x/web[Deployment]"], id="the top is not in the input"),
        pytest.param(REPLICA, ["x/web-1[ReplicaSet]"], id="only the pod is"),
        pytest.param([*TOP, *REPLICA], ["x/web-1[ReplicaSet]", "x/web[Deployment]"], id="the middle is not"),
        pytest.param(SCHEDULED, ["x/clean[CronJob]"], id="a CronJob that is not in the input"),
        pytest.param([owned(pod("x/a"), "Rollout", "web")], ["x/web[Rollout]"], id="a kind that nobody knows"),
        pytest.param([owned(pod("x/a"), "Rollout", "w", controller=False)], ["x/a[Pod]"], id="an owner that is none"),
        pytest.param(
            [owned(owned(pod("x/a"), "Backup", "b", controller=False), "StatefulSet", "s")],
            ["x/s[StatefulSet]"],
            id="the controller among owners",
        ),
        pytest.param(
            [owned(pod("x/s-0"), "StatefulSet", "s"), owned(pod("y/s-0"), "StatefulSet", "s")],
            ["x/s[StatefulSet]", "y/s[StatefulSet]"],
            id="owners stand in the pod's namespace",
        ),
        pytest.param(
            [workload("Deployment", "x/a"), workload("StatefulSet", "x/a"), pod("x/a")],
            ["x/a[Deployment]", "x/a[Pod]", "x/a[StatefulSet]"],
            id="one name of several kinds",
        ),
        pytest.param(
            [
                owned(workload("ReplicaSet", "x/a"), "ReplicaSet", "b"),
                owned(workload("ReplicaSet", "x/b"), "ReplicaSet", "a"),
            ],
            ["x/a[ReplicaSet]", "x/b[ReplicaSet]"],
            id="two that control each other",
        ),
    ],
)
def test_names_of_workloads(manifests: list[Manifest], expected: list[str]) -> None:
    assert names(*manifests) == expected
    assert names(*reversed(manifests)) == expected


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"]
)
def test_a_template_is_a_workload(kind: str) -> None:
    state = asked(pod("x/a"), workload(kind, "x/made"), policy("x/p", podSelector=app("made")))
    assert state.verdict("x/a", "x/made") == "deny"
    assert state.verdict("x/made", "x/a") == "allow"
    assert f"x/made[{kind}] -> x/a[Pod]" in state.rows()


def test_other_kinds_and_other_groups_run_nothing() -> None:
    knative = workload("Deployment", "x/a") | {"apiVersion": "serving.example.org/v1"}
    assert names(knative, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}) == []


def canary(**labels: str) -> Manifest:
    return labelled(owned(pod("x/web-2"), "Deployment", "web"), app="web", **labels)


STABLE = labelled(owned(pod("x/web-1"), "Deployment", "web"), app="web")
TRACK = {"matchExpressions": [{"key": "track", "operator": "Exists"}]}
EVERYWHERE = {"namespaceSelector": {}, "podSelector": TRACK}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        pytest.param([], ["x/web[Deployment]"], id="no policy"),
        pytest.param([policy("x/p", podSelector=app("web"))], ["x/web[Deployment]"], id="another label"),
        pytest.param(
            [policy("x/p", podSelector=TRACK)],
            ["x/web[Deployment]{!track}", "x/web[Deployment]{track=canary}"],
            id="as subject",
        ),
        pytest.param(
            [policy("y/p", ingress=[{"from": [EVERYWHERE]}])],
            ["x/web[Deployment]{!track}", "x/web[Deployment]{track=canary}"],
            id="as a peer from another namespace",
        ),
        pytest.param([policy("y/p", podSelector=TRACK)], ["x/web[Deployment]"], id="a policy of another namespace"),
        pytest.param(
            [policy("y/p", ingress=[{"from": [{"podSelector": TRACK}]}])],
            ["x/web[Deployment]"],
            id="a peer of another namespace",
        ),
        pytest.param(
            [policy("x/p", ingress=[{"from": [{"namespaceSelector": app("other"), "podSelector": TRACK}]}])],
            ["x/web[Deployment]"],
            id="namespaces that this one is not",
        ),
        pytest.param(
            [
                policy(
                    "x/p", podSelector={"matchExpressions": [{"key": "track", "operator": "NotIn", "values": ["old"]}]}
                )
            ],
            ["x/web[Deployment]"],
            id="a label that is seen, and makes no difference",
        ),
    ],
)
def test_pods_of_one_owner_are_kept_apart_where_a_policy_tells_them_apart(
    policies: list[Manifest], expected: list[str]
) -> None:
    assert names(STABLE, canary(track="canary"), pod("y/c"), *policies) == [*expected, "y/c[Pod]"]


def test_a_variant_has_its_own_connections() -> None:
    state = asked(STABLE, canary(track="canary"), pod("x/c"), policy("x/p", podSelector=TRACK))
    rows = state.rows()
    assert "x/c[Pod] -> x/web[Deployment]{!track}" in rows
    assert "x/c[Pod] -> x/web[Deployment]{track=canary}" not in rows
    assert (state.verdict("x/c", "x/web-1"), state.verdict("x/c", "x/web-2")) == ("allow", "deny")
    assert state.verdict("x/c", "x/web[Deployment]") == "depends"
    # Two variants of one workload are two ends.
    assert "x/web[Deployment]{track=canary} -> x/web[Deployment]{!track}" in rows


def test_a_template_and_its_pods_are_one() -> None:
    rows = asked(workload("Deployment", "x/web"), STABLE, pod("x/c")).rows()
    assert {row for row in rows if "web" in row and EVERY_IPV4 not in row and EVERY_IPV6 not in row} == {
        "x/c[Pod] -> x/web[Deployment]",
        "x/web[Deployment] -> x/c[Pod]",
    }


def test_what_a_controller_makes_of_its_template_says_nothing_new() -> None:
    old = owned(workload("ReplicaSet", "x/web-1"), "Deployment", "web")
    old["spec"]["template"]["metadata"]["labels"] = {"app": "before"}
    state = asked(*TOP, old, policy("x/p", podSelector=app("before")))
    assert names(*TOP, old, policy("x/p", podSelector=app("before"))) == ["x/web[Deployment]"]
    assert state.verdict("192.0.2.1", "x/web") == "allow"


def replica(number: int, ip: str = "", *ports: tuple[str, int]) -> Manifest:
    return labelled(owned(pod(f"x/db-{number}", *ports, ip=ip), "StatefulSet", "db"), app="db")


def test_replicas_that_differ_by_ports_reach_what_any_of_them_does() -> None:
    named = policy("x/p", podSelector=app("db"), ingress=[{"ports": [{"port": "sql"}]}])
    state = asked(pod("x/c"), replica(0, "", ("sql", 5432)), replica(1, "", ("sql", 5433)), replica(2), named)
    assert state.rows()["x/c[Pod] -> x/db[StatefulSet]"] == "TCP 5432-5433"
    assert [state.verdict("x/c", f"x/db-{number}", 5433) for number in range(3)] == ["deny", "allow", "deny"]
    assert state.verdict("x/c", "x/db", 5433) == "depends"


def test_replicas_that_differ_by_addresses_reach_what_any_of_them_does() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/24"}}
    replicas = [replica(0, "10.0.0.1"), replica(1, "10.0.1.1"), replica(2, "fd00::1")]
    into = asked(pod("x/c"), *replicas, policy("x/p", podSelector=app("c"), ingress=[{"from": [block]}]))
    assert into.rows()["x/db[StatefulSet] -> x/c[Pod]"] == "every port"
    assert [into.verdict(f"x/db-{number}", "x/c") for number in range(3)] == ["allow", "deny", "deny"]
    rule = {"from": [{"ipBlock": {"cidr": "10.0.1.1/32"}}], "ports": [{"port": 2}]}
    other = asked(pod("x/c"), *replicas, policy("x/p", podSelector=app("c"), ingress=[rule]))
    assert other.rows()["x/db[StatefulSet] -> x/c[Pod]"] == "TCP 2"
    out = policy("x/p", podSelector=app("c"), policyTypes=["Egress"], egress=[{"to": [block], "ports": [{"port": 1}]}])
    assert asked(pod("x/c"), *replicas, out).rows()["x/c[Pod] -> x/db[StatefulSet]"] == "TCP 1"


@pytest.mark.parametrize(
    ("blocks", "verdict"),
    [
        (["10.0.0.0/24"], "allow"),
        (["fd00::/64"], "allow"),
        (["10.0.1.0/24", "fd01::/64"], "deny"),
        (["0.0.0.0/0"], "allow"),
        (["::/0"], "allow"),
    ],
)
def test_a_pod_of_both_families_matches_by_either(blocks: list[str], verdict: str) -> None:
    both = pod("x/a", ip="10.0.0.1")
    both["status"]["podIPs"] = [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]
    rule = {"from": [{"ipBlock": {"cidr": block}} for block in blocks]}
    assert asked(both, pod("x/c"), policy("x/p", podSelector=app("c"), ingress=[rule])).verdict("x/a", "x/c") == verdict


def test_an_ipv4_block_leaves_ipv6_shut() -> None:
    rows = asked(pod("x/a"), policy("x/p", ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}])).rows()
    assert f"{EVERY_IPV4} -> x/a[Pod]" in rows
    assert f"{EVERY_IPV6} -> x/a[Pod]" not in rows


def cluster_policy(**spec: Any) -> Manifest:
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, **spec},
    }


SHUT = policy("x/deny", policyTypes=["Ingress", "Egress"])
NODES = [node("n1", "10.9.0.1", "fd09::1", role="worker"), node("n2", "10.9.0.2", role="master")]


def test_pods_of_the_host_network_are_neither_subject_nor_peer_of_selectors() -> None:
    state = asked(running(pod("x/h"), on="n1", host=True), pod("x/a"), *NODES, policy("x/p"))
    assert state.verdict("x/a", "x/h") == "allow"
    assert state.verdict("x/h", "x/a") == "deny"
    open_to_all = policy("x/q", ingress=[{"from": [{"namespaceSelector": {}}]}])
    assert asked(running(pod("x/h"), on="n1", host=True), pod("x/a"), open_to_all).verdict("x/h", "x/a") == "deny"


@pytest.mark.parametrize(
    ("block", "verdict"), [("10.9.0.1/32", "allow"), ("10.9.0.2/32", "deny"), ("fd09::/64", "allow")]
)
def test_a_pod_of_the_host_network_has_the_addresses_of_its_node(block: str, verdict: str) -> None:
    rule = {"to": [{"ipBlock": {"cidr": block}}]}
    state = asked(
        running(pod("x/h"), on="n1", host=True), pod("x/a"), *NODES, SHUT,
        policy("x/p", policyTypes=["Egress"], egress=[rule]),
    )  # fmt: skip
    assert state.verdict("x/a", "x/h") == verdict


def test_an_exception_takes_out_who_has_no_other_address_in_the_block() -> None:
    two = node("n1", "10.9.0.1", "10.9.1.1")
    hosted, rule = running(pod("x/h"), on="n1", host=True), {"cidr": "10.9.0.0/16", "except": ["10.9.1.0/24"]}
    into = policy("x/p", ingress=[{"from": [{"ipBlock": rule}]}])
    state = asked(hosted, pod("x/a"), two, into)
    assert [state.verdict(source, "x/a") for source in ("x/h", "10.9.0.1", "10.9.1.1")] == ["allow", "allow", "deny"]
    rule["except"] = ["10.9.0.0/24", "10.9.1.0/24"]
    assert asked(hosted, pod("x/a"), two, into).verdict("x/h", "x/a") == "deny"


def test_a_pod_of_the_host_network_of_an_unknown_node_has_its_own_addresses() -> None:
    hosted = running(pod("x/h", ip="10.9.0.7"), on="elsewhere", host=True)
    out = policy("x/p", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "10.9.0.7/32"}}]}])
    assert asked(hosted, pod("x/a"), SHUT, out).verdict("x/a", "x/h") == "allow"


def test_nodes_are_peers_by_their_labels_at_their_internal_addresses() -> None:
    workers = {"nodes": {"matchLabels": {"role": "worker"}}}
    state = asked(
        pod("x/a"), running(pod("x/h"), on="n1", host=True), running(pod("x/i"), on="n2", host=True), *NODES,
        cluster_policy(egress=[{"action": "Deny", "to": [workers]}]),
    )  # fmt: skip
    ends = ["10.9.0.1", "fd09::1", "x/h", "10.9.0.2", "x/i", "198.51.100.1", "10.9.0.3"]
    assert [state.verdict("x/a", end) for end in ends] == ["deny"] * 3 + ["allow"] * 4
    rows = state.rows()
    assert "x/a[Pod] -> 10.9.0.1-10.9.0.1" not in rows
    assert "x/a[Pod] -> 10.9.0.2-255.255.255.255" in rows


def test_the_node_of_a_pod_reaches_it_whatever_network_policies_say() -> None:
    state = asked(running(pod("x/a"), on="n1"), running(pod("x/h"), on="n1", host=True), *NODES, SHUT)
    sources = ["10.9.0.1", "fd09::1", "x/h", "10.9.0.2", "192.0.2.1"]
    assert [state.verdict(source, "x/a") for source in sources] == ["allow"] * 3 + ["deny"] * 2


def test_a_namespace_without_manifest_has_its_name() -> None:
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    state = asked(pod("elsewhere/c"), pod("x/a"), policy("x/p", ingress=[{"from": [chosen]}]))
    assert state.verdict("elsewhere/c", "x/a") == "allow"


def test_a_namespace_is_labelled_with_its_name_whatever_it_says() -> None:
    lying = namespace("x") | {"metadata": {"name": "x", "labels": {"kubernetes.io/metadata.name": "y", "a": "b"}}}
    assert read_namespaces([lying])["x"] == {"kubernetes.io/metadata.name": "x", "a": "b"}


def test_no_namespace_is_default() -> None:
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    assert names(bare) == ["default/a[Pod]"]
    assert asked(bare, policy("default/p")).verdict("192.0.2.1", "default/a") == "deny"


@pytest.mark.parametrize(
    ("restart", "verdict"), [("Always", "allow"), ("", "deny")], ids=["a sidecar", "an init container"]
)
def test_ports_of_containers_that_keep_running(restart: str, verdict: str) -> None:
    made = pod("x/a")
    made["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": restart, "ports": [{"name": "web", "containerPort": 80}]}
    ]
    state = asked(made, policy("x/p", ingress=[{"ports": [{"port": "web"}]}]))
    assert state.verdict("192.0.2.1", "x/a") == verdict


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"metadata": {"name": "a", "labels": {"app": 1}}}, "labels.app is not text"),
        ({"metadata": {"name": "a", "labels": ["app"]}}, "labels is not an object"),
        ({"metadata": {"name": "a", "labels": {"app": "a" * 64}}}, "is no label's value"),
        ({"metadata": {"name": "a", "labels": {"a b": "c"}}}, "is no label's name"),
        ({"metadata": {"name": "a/b[Pod]"}}, "is no object's name"),
        ({"metadata": {"name": "a", "namespace": "x.y"}}, "is no namespace's name"),
        ({"metadata": {"name": "a", "label": {}}}, "unknown field label"),
        ({"metadata": {"name": "a", "ownerReferences": [{"controller": True, "kind": "Job"}]}}, "a kind and a name"),
        ({"metadata": {"name": "a", "ownerReferences": {}}}, "ownerReferences is not a list"),
        ({"spec": []}, "spec is not an object"),
        ({"spec": {"hostNetwork": "true"}}, "hostNetwork is neither true nor false"),
        ({"spec": {"containers": [{"ports": {}}]}}, "ports is not a list"),
        ({"spec": {"containers": [{"ports": [{"containerPort": 0}]}]}}, "TCP 0 is no containerPort"),
        ({"spec": {"containers": [{"ports": [{"containerPort": 65536}]}]}}, "TCP 65536 is no containerPort"),
        ({"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}}, "containerPort is not a whole number"),
        ({"spec": {"containers": [{"ports": [{"containerPort": 1, "protocol": "tcp"}]}]}}, "tcp 1 is no containerPort"),
        ({"spec": {"containers": [{"ports": [{"name": "web"}]}]}}, "TCP None is no containerPort"),
        ({"status": {"podIP": "10.0.0"}}, "is no address"),
        ({"status": {"podIPs": [{"ip": "10.0.0.1/32"}]}}, "is no address"),
        ({"status": {"podIPs": [{"ip": "fe80::1%eth0"}]}}, "is no address"),
        ({"status": {"podIPs": [{}]}}, "is no address"),
        ({"status": {"podIP": 1}}, "podIP is not text"),
    ],
)
def test_pods_that_are_refused(change: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint) as caught:
        read_workloads([pod("x/a") | change])
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ({"addresses": [{"type": "InternalIP", "address": "n1"}]}, "is no address"),
        ({"addresses": [{"type": "InternalIP"}]}, "is no address"),
        ({"addresses": {}}, "addresses is not a list"),
    ],
)
def test_nodes_that_are_refused(status: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        read_nodes([node("n1") | {"status": status}])


@pytest.mark.parametrize("name", ["x.y", "X", "x/y", "x" * 64])
def test_namespaces_that_are_refused(name: str) -> None:
    with pytest.raises(Refused, match=r"is no (namespace|object)'s name"):
        read_namespaces([namespace(name)])


def test_nothing_is_a_network_too() -> None:
    objects = read_network([])
    assert (objects.workloads, objects.nodes, objects.policies) == ((), (), ())
    assert asked().rows() == {}
