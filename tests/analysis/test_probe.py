"""Single questions: files of probes, what their ends may name, and how the answers of several pods become one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import asked
from network_objects import Manifest, app, pod, policy, service, workload
from test_pod import labelled, owned, replica

from breakglass.analysis.probe import Probe, read_probes
from breakglass.model.errors import InvalidFile, NotFound

GOOD = {"id": 1, "from": "x/a", "to": "x/b", "port": 80, "protocol": "TCP"}


def written(*items: Any) -> bytes:
    return json.dumps(items).encode()


def test_probes_are_read_in_their_order() -> None:
    other = {"id": "two", "from": "10.0.0.1", "to": "x/b[Service]", "port": "web"}
    assert read_probes(written(GOOD, other), "probes.json") == (
        Probe(1, "x/a", "x/b", 80, "TCP"),
        Probe("two", "10.0.0.1", "x/b[Service]", "web", "TCP"),
    )
    assert read_probes(b"[]", "probes.json") == ()


@pytest.mark.parametrize(
    ("content", "where", "complaint"),
    [
        (b"", "probes.json:1", "not JSON"),
        (b'[\n{"id": 1,\n]', "probes.json:3", "not JSON"),
        (b"\xff\xfe\x00", "probes.json", "not JSON"),
        (b"[" * 100_000, "probes.json", "not JSON"),
        (b"[" + b"9" * 5_000 + b"]", "probes.json", "not JSON"),
        (b"{}", "probes.json", "no list"),
        (b"null", "probes.json", "no list"),
        (written("x/a"), "probes.json: probe 1", "a probe has id, from, to, port and protocol"),
        (written(GOOD, {"id": 2}), "probes.json: probe 2", "a probe has id, from, to, port and protocol"),
        (written(GOOD | {"ports": 80}), "probes.json: probe 1", "a probe has id, from, to, port and protocol"),
        (written(GOOD | {"id": None}), "probes.json: probe 1", "id is neither text nor a number"),
        (written(GOOD | {"id": True}), "probes.json: probe 1", "id is neither text nor a number"),
        (written(GOOD | {"id": [1]}), "probes.json: probe 1", "id is neither text nor a number"),
        (written(GOOD | {"from": 1}), "probes.json: probe 1", "from and to are text"),
        (written(GOOD | {"to": ["x/a"]}), "probes.json: probe 1", "from and to are text"),
        (written(GOOD | {"port": 0}), "probes.json: probe 1", "0 is no port"),
        (written(GOOD | {"port": 65536}), "probes.json: probe 1", "65536 is no port"),
        (written(GOOD | {"port": -1}), "probes.json: probe 1", "-1 is no port"),
        (written(GOOD | {"port": True}), "probes.json: probe 1", "True is no port"),
        (written(GOOD | {"port": 80.5}), "probes.json: probe 1", "80.5 is no port"),
        (written(GOOD | {"port": ""}), "probes.json: probe 1", "'' is no port"),
        (written(GOOD | {"port": None}), "probes.json: probe 1", "None is no port"),
        (written(GOOD | {"protocol": "tcp"}), "probes.json: probe 1", "'tcp' is no protocol"),
        (written(GOOD | {"protocol": ["TCP"]}), "probes.json: probe 1", "is no protocol"),
        (written(GOOD, GOOD), "probes.json", "the id 1 stands twice"),
    ],
)
def test_files_that_are_refused(content: bytes, where: str, complaint: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        read_probes(content, "probes.json")
    assert caught.value.where == where
    assert complaint in caught.value.what
    assert caught.value.remedy


SHOP: list[Manifest] = [
    pod("shop/web", ("http", 8080), ip="10.0.0.1"),
    pod("shop/api", ("http", 8081), ("dns", 53), ip="fd00::2"),
    pod("data/db", ip="10.0.0.3"),
    workload("Deployment", "data/cache"),
    service("shop/web", "web", 80, "http"),
    service("shop/nobody", "nobody", 80),
    policy("shop/p", podSelector=app("web"), ingress=[{"ports": [{"port": 8080}]}]),
    policy(
        "data/p",
        ingress=[{"from": [{"namespaceSelector": {}, "podSelector": app("api")}], "ports": [{"port": 5432}]}],
    ),
]
SHOP[4]["spec"]["ports"][0]["targetPort"] = "http"


@pytest.mark.parametrize(
    ("source", "destination", "port", "verdict"),
    [
        pytest.param("shop/api", "data/db", 5432, "allow", id="pods"),
        pytest.param("shop/web", "data/db", 5432, "deny", id="another pod"),
        pytest.param("fd00::2", "10.0.0.3", 5432, "allow", id="pods by their addresses"),
        pytest.param("fd00:0::2", "data/db", 5432, "allow", id="an address in another spelling"),
        pytest.param("10.0.0.2", "data/db", 5432, "deny", id="an address of nobody"),
        pytest.param("10.0.0.3", "data/db", 1, "allow", id="a pod and its own address"),
        pytest.param("data/db", "10.0.0.3", 1, "allow", id="its own address and a pod"),
        pytest.param("10.0.0.9", "10.0.0.9", 1, "allow", id="an address and itself"),
        pytest.param("data/db", "data/cache", 5432, "deny", id="a workload"),
        pytest.param("shop/api", "data/cache[Deployment]", 5432, "allow", id="a workload with its kind"),
        pytest.param("shop/api[Pod]", "data/db[Pod]", 5432, "allow", id="a pod with its kind"),
        pytest.param("shop/api", "shop/web", "http", "allow", id="a port by name"),
        pytest.param("data/db", "shop/web", 8080, "allow", id="a port by number"),
        pytest.param("data/db", "shop/web[Service]", 80, "allow", id="a Service leads to the target port"),
        pytest.param("data/db", "shop/web[Service]", "http", "allow", id="a Service's port by name"),
        pytest.param("data/db", "shop/web", 80, "deny", id="a Service's port is not the pod's"),
    ],
)
def test_what_ends_may_name(source: str, destination: str, port: int | str, verdict: str) -> None:
    assert asked(*SHOP).verdict(source, destination, port) == verdict


@pytest.mark.parametrize(
    ("source", "destination", "port", "complaint"),
    [
        ("shop/nobody", "shop/web", 80, "there is no pod or workload shop/nobody"),
        ("shop/web", "shop/we", 80, "there is no pod or workload shop/we"),
        ("shop/web", "shop/web[Deployment]", 80, "there is no pod or workload"),
        ("shop/web[Service]", "shop/web", 80, "there is no pod or workload shop/web[Service]"),
        ("web", "shop/web", 80, "'web' is neither namespace/pod nor an address"),
        ("10.0.0.0/8", "shop/web", 80, "there is no pod or workload 10.0.0.0/8"),
        ("10.0.0.1-10.0.0.2", "shop/web", 80, "is neither namespace/pod nor an address"),
        ("fe80::1%eth0", "shop/web", 80, "is neither namespace/pod nor an address"),
        ("", "shop/web", 80, "is neither namespace/pod nor an address"),
        ("shop/api", "shop/api[Service]", 80, "there is no Service shop/api"),
        ("shop/api", "shop/nobody[Service]", 80, "nothing answers behind the Service shop/nobody"),
        ("shop/api", "shop/web[Service]", 81, "81"),
        ("shop/web", "shop/api", "grpc", "shop/api has no port TCP grpc"),
        ("shop/web", "10.9.9.9", "http", "10.9.9.9 has no port TCP http"),
    ],
)
def test_what_does_not_exist(source: str, destination: str, port: int | str, complaint: str) -> None:
    with pytest.raises(NotFound) as caught:
        asked(*SHOP).explain(source, destination, port)
    assert complaint in caught.value.what
    assert caught.value.where == "probe 1"


def test_a_port_by_name_is_of_its_protocol() -> None:
    manifests = [pod("x/c"), pod("x/a", ("dns", 53))]
    manifests[1]["spec"]["containers"][0]["ports"][0]["protocol"] = "UDP"
    shut = policy("x/p", podSelector=app("a"), ingress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])
    assert asked(*manifests, shut).verdict("x/c", "x/a", "dns", "UDP") == "allow"
    with pytest.raises(NotFound):
        asked(*manifests, shut).verdict("x/c", "x/a", "dns", "TCP")


def test_several_pods_that_differ_depend() -> None:
    replicas = [replica(0, "10.0.0.1", ("sql", 5432)), replica(1, "10.0.0.2", ("sql", 5433))]
    named = policy("x/p", podSelector=app("db"), ingress=[{"ports": [{"port": 5432}]}])
    state = asked(pod("x/c"), *replicas, named)
    found = state.explain("x/c", "x/db", "sql")
    assert (found.verdict, found.egress, found.ingress) == ("depends", "allow", "depends")
    assert found.why == (
        "egress: no policy decides, so it is allowed",
        "ingress: NetworkPolicy x/p ingress[0] accepts",
        "ingress: isolated by NetworkPolicy x/p, and no rule of it accepts",
    )
    assert state.verdict("x/c", "x/db", 5432) == "allow"


def test_a_service_without_selector_leads_where_its_endpoints_say() -> None:
    abroad = service("x/abroad", "", 443)
    del abroad["spec"]["selector"]
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "x", "name": "abroad-1", "labels": {"kubernetes.io/service-name": "abroad"}},
        "addressType": "IPv4",
        "ports": [{"port": 8443, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["192.0.2.7"]}],
    }
    out = [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 8443}]}]
    state = asked(pod("x/a"), abroad, slices, policy("x/p", policyTypes=["Egress"], egress=out))
    assert state.verdict("x/a", "x/abroad[Service]", 443) == "allow"
    assert state.verdict("x/a", "192.0.2.7", 443) == "deny"


def test_two_replicas_are_not_one_pod() -> None:
    state = asked(replica(0), replica(1), policy("x/p"))
    assert state.verdict("x/db-0", "x/db-1") == "deny"
    assert state.verdict("x/db-0", "x/db-0") == "allow"


def test_variants_are_asked_for_by_name_alone_or_apart() -> None:
    canary = labelled(owned(pod("x/web-2"), "Deployment", "web"), app="web", track="canary")
    stable = labelled(owned(pod("x/web-1"), "Deployment", "web"), app="web")
    track = {"matchExpressions": [{"key": "track", "operator": "Exists"}]}
    state = asked(pod("x/c"), stable, canary, policy("x/p", podSelector=track))
    names = ("x/web", "x/web[Deployment]", "x/web[Deployment]{track=canary}", "x/web[Deployment]{!track}")
    assert [state.verdict("x/c", name) for name in names] == ["depends", "depends", "deny", "allow"]
