"""What policies of all four kinds mean, and what is refused; the API server itself is asked in the test beside this."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import VALID, Manifest, changed, paths
from network_objects import app, policy

from breakglass.analysis.network.adminnetworkpolicy import read_admin_network_policy
from breakglass.analysis.network.clusternetworkpolicy import read_cluster_network_policy
from breakglass.analysis.network.networkpolicy import read_network_policy
from breakglass.analysis.network.policy import (
    BlockPeer,
    DomainNamesPeer,
    NetworksPeer,
    NodesPeer,
    PodPeer,
    Policy,
    Rule,
    RulePort,
)
from breakglass.analysis.selector import Requirement, Selector
from breakglass.model.errors import Refused
from breakglass.model.source import Source, SourcedManifest

EVERY = Selector(())
NAMESPACES: Manifest = {"namespaces": {}}
EVERY_POD = PodPeer(None, EVERY, None)


def labelled(name: str) -> Selector:
    """The selector `app(name)` as it is read."""
    return Selector((Requirement("app", "In", frozenset([name])),))


def content(read: Policy) -> dict[str, Any]:
    return {field.name: getattr(read, field.name) for field in fields(read)}


def cluster_wide(kind: str, **spec: Any) -> Manifest:
    """A cluster-wide policy about every pod, `p` or the one baseline, of priority 10 where its kind has priorities."""
    priority = {} if kind == "BaselineAdminNetworkPolicy" else {"priority": 10}
    tier = {"tier": "Admin"} if kind == "ClusterNetworkPolicy" else {}
    return {
        "apiVersion": VALID[kind]["apiVersion"],
        "kind": kind,
        "metadata": {"name": VALID[kind]["metadata"]["name"]},
        "spec": {"subject": NAMESPACES, **priority, **tier, **spec},
    }


def network(**spec: Any) -> Policy:
    return read_network_policy(policy("shop/p", **spec))


def cluster(**spec: Any) -> Policy:
    return read_cluster_network_policy(cluster_wide("ClusterNetworkPolicy", **spec))


def admin(**spec: Any) -> Policy:
    return read_admin_network_policy(cluster_wide("AdminNetworkPolicy", **spec))


def baseline(**spec: Any) -> Policy:
    return read_admin_network_policy(cluster_wide("BaselineAdminNetworkPolicy", **spec))


def test_a_network_policy() -> None:
    read = network(
        podSelector=app("api"),
        ingress=[{"from": [{"podSelector": app("web")}], "ports": [{"port": 80, "endPort": 90}]}],
    )
    assert content(read) == {
        "kind": "NetworkPolicy",
        "name": "shop/p",
        "tier": "networkpolicy",
        "priority": 0,
        "subject": PodPeer("shop", None, labelled("api")),
        "rules": {
            "ingress": (
                Rule("ingress[0]", "accept", (PodPeer("shop", None, labelled("web")),), (RulePort("TCP", 80, 90),)),
            )
        },
    }


def test_without_a_namespace_it_is_of_the_default_one() -> None:
    manifest = policy("shop/p")
    del manifest["metadata"]["namespace"]
    read = read_network_policy(manifest)
    assert (read.name, read.subject) == ("default/p", PodPeer("default", None, EVERY))


RULE: list[Manifest] = [{}]


@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ({}, ["ingress"]),
        ({"policyTypes": []}, ["ingress"]),
        ({"egress": []}, ["ingress"]),
        ({"egress": RULE}, ["ingress", "egress"]),
        ({"ingress": RULE, "policyTypes": ["Egress"]}, ["egress"]),
        ({"egress": RULE, "policyTypes": ["Ingress"]}, ["ingress"]),
        ({"policyTypes": ["Egress", "Ingress"]}, ["ingress", "egress"]),
        ({"policyTypes": ["Ingress", "Ingress"]}, ["ingress"]),
    ],
)
def test_directions_that_a_network_policy_isolates(spec: Manifest, directions: list[str]) -> None:
    assert sorted(network(**spec).rules) == sorted(directions)


@pytest.mark.parametrize(
    ("rule", "peers"),
    [
        ({}, None),
        ({"from": []}, None),
        ({"from": None}, None),
        ({"from": [{"podSelector": {}}]}, [PodPeer("shop", None, EVERY)]),
        ({"from": [{"namespaceSelector": {}}]}, [EVERY_POD]),
        ({"from": [{"namespaceSelector": {}, "podSelector": app("a")}]}, [PodPeer(None, EVERY, labelled("a"))]),
        (
            {"from": [{"namespaceSelector": {}}, {"podSelector": app("a")}]},
            [EVERY_POD, PodPeer("shop", None, labelled("a"))],
        ),
        ({"from": [{"podSelector": {}, "namespaceSelector": None}]}, [PodPeer("shop", None, EVERY)]),
        ({"from": [{"ipBlock": {"cidr": "FD00:0::/8"}}]}, [BlockPeer(ip_network("fd00::/8"))]),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "podSelector": None}]},
            [BlockPeer(ip_network("10.0.0.0/8"), (ip_network("10.1.0.0/16"),))],
        ),
    ],
)
def test_peers_of_a_network_policy(rule: Manifest, peers: list[object] | None) -> None:
    assert network(ingress=[rule]).rules["ingress"][0].peers == (None if peers is None else tuple(peers))


@pytest.mark.parametrize(
    ("ports", "read"),
    [
        ([], None),
        ([{}], [RulePort("TCP", None, 0)]),
        ([{"protocol": "SCTP"}], [RulePort("SCTP", None, 0)]),
        ([{"port": 80}], [RulePort("TCP", 80, 80)]),
        ([{"port": 80, "endPort": 80, "protocol": "UDP"}], [RulePort("UDP", 80, 80)]),
        ([{"port": 1, "endPort": 65535}], [RulePort("TCP", 1, 65535)]),
        ([{"port": "http", "protocol": None}], [RulePort("TCP", "http", 0)]),
        ([{"port": "80a"}], [RulePort("TCP", "80a", 0)]),
    ],
)
def test_ports_of_a_network_policy(ports: list[Manifest], read: list[RulePort] | None) -> None:
    assert network(ingress=[{"ports": ports}]).rules["ingress"][0].ports == (None if read is None else tuple(read))


def ingress_peer(**peer: Any) -> Manifest:
    return {"ingress": [{"from": [peer]}]}


def block(cidr: str, *exceptions: str) -> Manifest:
    return ingress_peer(ipBlock={"cidr": cidr, "except": list(exceptions)})


def port(**written: Any) -> Manifest:
    return {"ingress": [{"ports": [written]}]}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"policyTypes": ["ingress"]}, "policyTypes names ingress"),
        ({"policyTypes": ["Ingress", "Egress", "Ingress"]}, "policyTypes has 3 items"),
        ({"ingres": []}, "unknown field ingres"),
        ({"ingress": {}}, "ingress is not a list"),
        ({"ingress": [None]}, "ingress is not a list"),
        ({"ingress": [{"to": []}]}, "unknown field to"),
        ({"ingress": [{1: []}]}, "unknown field 1"),
        ({"policyTypes": ["Egress"], "ingress": [{"ports": [{"port": 0}]}]}, "no range of ports"),
        (ingress_peer(), "either an ipBlock or selectors"),
        (ingress_peer(ipBlock={"cidr": "::/0"}, podSelector={}), "either an ipBlock or selectors"),
        (ingress_peer(podSelectr={}), "unknown field podSelectr"),
        (ingress_peer(podSelector={"matchLabels": {"a": "b c"}}), "'b c' is no label's value"),
        (ingress_peer(podSelector={"matchLabels": {"a b": "c"}}), "'a b' is no label's name"),
        (ingress_peer(podSelector={"matchExpressions": [{"key": "a", "operator": "exists"}]}), "no operator"),
        (
            ingress_peer(podSelector={"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}),
            "'-' is no label's value",
        ),
        (
            ingress_peer(podSelector={"matchExpressions": [{"key": "a/", "operator": "Exists"}]}),
            "'a/' is no label's name",
        ),
        (ingress_peer(ipBlock={}), "'' is no CIDR"),
        (block("10.0.0.0"), "'10.0.0.0' is no CIDR"),
        (block("10.0.0.1/8"), "bits set beyond its length; 10.0.0.0/8 is what it would mean"),
        (block("010.0.0.0/8"), "is no CIDR"),
        (block("10.0.0.0/08"), "is no CIDR"),
        (block("10.0.0.0/255.0.0.0"), "is no CIDR"),
        (block("fe80::%eth0/64"), "is no CIDR"),
        (block("::ffff:10.0.0.0/104"), "IPv4 address written as IPv6"),
        (block("10.0.0.0/8", "11.0.0.0/9"), "except 11.0.0.0/9 does not lie inside 10.0.0.0/8"),
        (block("10.0.0.0/8", "10.0.0.0/8"), "does not lie inside"),
        (block("10.0.0.0/8", "0.0.0.0/0"), "does not lie inside"),
        (block("10.0.0.0/8", "::/9"), "does not lie inside"),
        (port(port=0), "no range of ports"),
        (port(port=70000), "no range of ports"),
        (port(port=90, endPort=80), "no range of ports"),
        (port(port=16**5000), "no range of ports"),
        (port(endPort=80), "endPort needs a port"),
        (port(port="web", endPort=80), "endPort needs a port"),
        (port(port="80"), "'80' is no name of a port"),
        (port(port=""), "'' is no name of a port"),
        (port(port="a" * 16), "is no name of a port"),
        (port(port=80.5), "port is not a whole number"),
        (port(port=True), "port is not a whole number"),
        (port(port=80, protocol="tcp"), "tcp is no protocol"),
        (port(port=80, protocol=""), "nothing is no protocol"),
    ],
)
def test_network_policies_that_are_refused(spec: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint) as caught:
        network(**spec)
    assert caught.value.where == "NetworkPolicy.networking.k8s.io shop/p"
    assert caught.value.remedy


def test_a_cluster_network_policy() -> None:
    read = cluster(
        tier="Baseline",
        priority=1000,
        subject={"pods": {"namespaceSelector": app("shop"), "podSelector": app("api")}},
        ingress=[{"name": "all", "action": "Pass", "from": [NAMESPACES]}],
        egress=[{"action": "Deny", "to": [NAMESPACES]}, {"action": "Accept", "to": [NAMESPACES]}],
    )
    assert content(read) == {
        "kind": "ClusterNetworkPolicy",
        "name": "p",
        "tier": "baseline",
        "priority": 1000,
        "subject": PodPeer(None, labelled("shop"), labelled("api")),
        "rules": {
            "ingress": (Rule("ingress[0] all", "pass", (EVERY_POD,), None),),
            "egress": (
                Rule("egress[0]", "deny", (EVERY_POD,), None),
                Rule("egress[1]", "accept", (EVERY_POD,), None),
            ),
        },
    }


def test_an_admin_network_policy() -> None:
    read = admin(priority=0, egress=[{"action": "Allow", "to": [NAMESPACES]}])
    assert (read.kind, read.name, read.tier, read.priority) == ("AdminNetworkPolicy", "p", "admin", 0)
    assert read.rules == {"egress": (Rule("egress[0]", "accept", (EVERY_POD,), None),)}


def test_the_baseline_admin_network_policy_comes_after_every_priority() -> None:
    read = baseline(ingress=[{"action": "Deny", "from": [NAMESPACES]}])
    assert (read.kind, read.name, read.tier) == ("BaselineAdminNetworkPolicy", "default", "baseline")
    assert read.priority > cluster(tier="Baseline", priority=1000).priority
    assert read.rules == {"ingress": (Rule("ingress[0]", "deny", (EVERY_POD,), None),)}


@pytest.mark.parametrize("read", [cluster, admin, baseline])
def test_directions_without_rules_say_nothing(read: Any) -> None:
    assert read(ingress=[], egress=None).rules == {}


@pytest.mark.parametrize(
    ("peer", "read"),
    [
        (NAMESPACES, EVERY_POD),
        ({"namespaces": app("a"), "pods": None}, PodPeer(None, labelled("a"), None)),
        ({"pods": {"podSelector": app("a")}}, PodPeer(None, EVERY, labelled("a"))),
        ({"nodes": {}}, NodesPeer(EVERY)),
        (
            {"networks": ["10.0.0.5/8", "::/0"]},
            NetworksPeer((ip_network("10.0.0.0/8"), ip_network("::/0"))),
        ),
        ({"domainNames": ["*.kubernetes.io"]}, DomainNamesPeer(("*.kubernetes.io",))),
    ],
)
def test_peers_of_a_cluster_network_policy(peer: Manifest, read: object) -> None:
    assert cluster(egress=[{"action": "Accept", "to": [peer]}]).rules["egress"][0].peers == (read,)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"tcp": {"destinationPort": {"number": 80}}}, RulePort("TCP", 80, 80)),
        ({"sctp": {"destinationPort": {"range": {"start": 1, "end": 65535}}}, "udp": None}, RulePort("SCTP", 1, 65535)),
        ({"destinationNamedPort": "http"}, RulePort(None, "http", 0)),
        ({"destinationNamedPort": "no container port's name"}, RulePort(None, "no container port's name", 0)),
    ],
)
def test_ports_of_a_cluster_network_policy(written: Manifest, read: RulePort) -> None:
    found = cluster(ingress=[{"action": "Accept", "from": [NAMESPACES], "protocols": [written]}])
    assert found.rules["ingress"][0].ports == (read,)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"portNumber": {"port": 80}}, RulePort("TCP", 80, 80)),
        ({"portNumber": {"port": 80, "protocol": None}}, RulePort("TCP", 80, 80)),
        ({"portRange": {"start": 80, "end": 80, "protocol": "UDP"}}, RulePort("UDP", 80, 80)),
        ({"namedPort": "http", "portRange": None}, RulePort(None, "http", 0)),
    ],
)
def test_ports_of_an_admin_network_policy(written: Manifest, read: RulePort) -> None:
    found = admin(ingress=[{"action": "Allow", "from": [NAMESPACES], "ports": [written]}])
    assert found.rules["ingress"][0].ports == (read,)


def egress(*peers: Manifest, **rule: Any) -> Manifest:
    return {"egress": [{"action": "Accept", "to": list(peers), **rule}]}


def tcp(**destination: Any) -> Manifest:
    return egress(NAMESPACES, protocols=[{"tcp": {"destinationPort": destination}}])


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"tier": "admin"}, "tier is none of Admin, Baseline"),
        ({"priority": 1001}, "priority is no whole number from 0 to 1000"),
        ({"priority": None}, "priority is no whole number"),
        ({"policyTypes": []}, "unknown field policyTypes"),
        ({"subject": None}, "subject is missing"),
        ({"subject": {}}, "the subject says nothing, and must say one of namespaces, pods"),
        ({"subject": {"namespaces": {}, "pods": {"podSelector": {}}}}, "says namespaces and pods"),
        ({"subject": {"pods": {"namespaceSelector": {}}}}, "podSelector is missing"),
        ({"subject": {"namespaces": {"matchLabels": {"a": None}}}}, "matchLabels.a has no value"),
        ({"subject": {"namespaces": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}, "In has 0 values"),
        ({"egress": [egress(NAMESPACES)["egress"][0]] * 26}, "egress has 26 items, and must have 0 to 25"),
        (egress(), "to has 0 items, and must have 1 to 25"),
        (egress(*[NAMESPACES] * 26), "to has 26 items"),
        (egress({}), "the peer says nothing"),
        (egress({"services": {}}), "unknown field services"),
        (egress({"nodes": {}, "namespaces": {}}), "says namespaces and nodes"),
        (egress(NAMESPACES, action="Allow"), "action is none of Accept, Deny, Pass"),
        (egress(NAMESPACES, name="x" * 101), "more than 100 characters"),
        (egress(NAMESPACES, protocols=[]), "protocols has 0 items, and must have 1 to 25"),
        (egress(NAMESPACES, protocols=[{"icmp": {}}]), "unknown field icmp"),
        (egress(NAMESPACES, protocols=[{"tcp": {}}]), "tcp says nothing"),
        (egress(NAMESPACES, protocols=[{"destinationNamedPort": ""}]), "destinationNamedPort is empty"),
        (tcp(number=0), "number is no whole number from 1 to 65535"),
        (tcp(number=80, range={"start": 1, "end": 2}), "says number and range"),
        (tcp(range={"start": 2, "end": 1}), "start is greater than end"),
        (tcp(range={"start": 2, "end": 2}), "not the same port"),
        (tcp(range={"start": 2}), "end is no whole number"),
        (tcp(range={"start": 1, "end": 2, "step": 1}), "unknown field step"),
        (egress({"networks": []}), "networks has 0 items, and must have 1 to 25"),
        (egress({"networks": ["10.0.0.0/8", "10.0.0.0/8"]}), "networks says the same twice"),
        (egress({"networks": ["10.0.0.0/08"]}), "is no CIDR"),
        (egress({"networks": ["::ffff:10.0.0.0/104"]}), "IPv4 address written as IPv6"),
        (egress({"domainNames": ["io"]}), "'io' is no domain name"),
        (egress({"domainNames": ["a.b"]}, action="Deny"), "domainNames are for rules that accept"),
        (egress({"nodes": {}}, protocols=[{"destinationNamedPort": "http"}]), "have no ports with names"),
        (
            egress(NAMESPACES, {"networks": ["::/0"]}, protocols=[{"destinationNamedPort": "a"}]),
            "have no ports with names",
        ),
        (egress({"domainNames": ["a.b"]}, protocols=[{"destinationNamedPort": "a"}]), "have no ports with names"),
        ({"ingress": [{"action": "Accept", "from": [{"networks": ["::/0"]}]}]}, "unknown field networks"),
    ],
)
def test_cluster_network_policies_that_are_refused(spec: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint) as caught:
        cluster(**spec)
    assert caught.value.where == "ClusterNetworkPolicy.policy.networking.k8s.io p"
    assert caught.value.remedy


def ports(*written: Manifest) -> Manifest:
    return egress(NAMESPACES, action="Allow", ports=list(written))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"tier": "Admin"}, "unknown field tier"),
        ({"subject": {"pods": {"podSelector": {}}}}, "namespaceSelector is missing"),
        (egress(NAMESPACES), "action is none of Allow, Deny, Pass"),
        ({"egress": [egress(NAMESPACES, action="Allow")["egress"][0]] * 101}, "egress has 101 items"),
        (egress({"domainNames": ["a.b"]}, action="Pass"), "domainNames are for rules that accept"),
        (ports({}), "the port says nothing"),
        (ports({"portNumber": {}}), "port is no whole number"),
        (ports({"portNumber": {"port": 80, "protocol": "ICMP"}}), "ICMP is no protocol of portNumber"),
        (ports({"portNumber": {"port": 80, "endPort": 90}}), "unknown field endPort"),
        (ports({"portRange": {"start": 90, "end": 80}}), "start is greater than end"),
        (ports({"namedPort": ""}), "namedPort is empty"),
    ],
)
def test_admin_network_policies_that_are_refused(spec: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        admin(**spec)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"priority": 1}, "unknown field priority"),
        (egress(NAMESPACES, action="Pass"), "action is none of Allow, Deny"),
        (egress({"domainNames": ["a.b"]}, action="Allow"), "unknown field domainNames"),
    ],
)
def test_baseline_admin_network_policies_that_are_refused(spec: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        baseline(**spec)


READERS = {
    "NetworkPolicy": read_network_policy,
    "ClusterNetworkPolicy": read_cluster_network_policy,
    "AdminNetworkPolicy": read_admin_network_policy,
    "BaselineAdminNetworkPolicy": read_admin_network_policy,
}


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("name", "P", "'P' is no object's name"),
        ("name", "a" * 254, "is no object's name"),
        ("labels", {"a": "b c"}, "'b c' is no label's value"),
        ("labels", {"a": 1}, "labels.a is not text"),
        ("annotations", {"a b": "c"}, "'a b' is no annotation's name"),
        ("annotations", {"a": "x" * 2**18}, "annotations have more than 262144 bytes"),
        ("lables", {}, "metadata has the unknown field lables"),
    ],
)
def test_metadata_that_is_refused(kind: str, field: str, value: object, complaint: str) -> None:
    manifest = {**VALID[kind], "metadata": {**VALID[kind]["metadata"], field: value}}
    with pytest.raises(Refused, match=complaint):
        READERS[kind](manifest)


@pytest.mark.parametrize("namespace", ["Shop", "a.b", "a" * 64])
def test_no_namespace_of_a_network_policy(namespace: str) -> None:
    with pytest.raises(Refused, match="is no namespace's name"):
        read_network_policy(changed("NetworkPolicy", ("metadata", "namespace"), namespace))


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("NetworkPolicy", "extensions/v1beta1"),
        ("NetworkPolicy", "networking.k8s.io/v1beta1"),
        ("ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha1"),
        ("ClusterNetworkPolicy", "policy.networking.k8s.io/v1beta1"),
        ("AdminNetworkPolicy", "policy.networking.k8s.io/v1alpha2"),
        ("BaselineAdminNetworkPolicy", "policy.networking.k8s.io/v1alpha2"),
    ],
)
def test_other_versions_are_refused(kind: str, version: str) -> None:
    with pytest.raises(Refused, match=f"{version} is no version of {kind} that is read") as caught:
        READERS[kind]({**VALID[kind], "apiVersion": version})
    assert caught.value.remedy == f"write it in {VALID[kind]['apiVersion']}"


def test_there_is_one_baseline() -> None:
    manifest = cluster_wide("BaselineAdminNetworkPolicy")
    with pytest.raises(Refused, match="there is one BaselineAdminNetworkPolicy, named default"):
        read_admin_network_policy({**manifest, "metadata": {"name": "other"}})


def test_the_namespace_of_a_cluster_wide_policy_means_nothing() -> None:
    manifest = cluster_wide("ClusterNetworkPolicy")
    assert read_cluster_network_policy({**manifest, "metadata": {"name": "p", "namespace": "shop"}}).name == "p"


def test_the_line_is_told() -> None:
    text = json.dumps(policy("shop/p", ingress=[{"ports": [{"port": 80}, {"port": 0}]}]), indent=1)
    manifest = SourcedManifest(json.loads(text), Source("p.json", 1, text))
    with pytest.raises(Refused) as caught:
        read_network_policy(manifest)
    line = next(number for number, line in enumerate(text.splitlines(), 1) if '"port": 0' in line)
    assert str(caught.value.where).startswith(f"p.json:{line}:")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
KEYS = st.sampled_from(["podSelector", "namespaces", "pods", "ports", "port", "ipBlock", "matchLabels", "tcp"])
# YAML has keys that are no text, and dates.
ANYTHING = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS | st.integers() | st.none(), values, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_whatever_is_written_is_read_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(VALID)))
    path = data.draw(st.sampled_from(paths(kind)).filter(lambda path: path[0] in ("metadata", "spec")))
    with suppress(Refused):
        assert READERS[kind](changed(kind, path, data.draw(ANYTHING))).kind == kind
