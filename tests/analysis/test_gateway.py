"""Routes of the Gateway API as ways in: listeners, hosts, namespaces, grants and filters decide."""

from __future__ import annotations

from typing import Any

import pytest
from network_objects import Manifest, namespace, pod, route, service

from breakglass.analysis.exposure.exposure import Exposure, exposed, routed
from breakglass.model.errors import Refused

PUBLIC = [{"name": "public", "namespace": "edge"}]
WEB = {"backendRefs": [{"name": "web", "port": 80}]}
SELECTOR = {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}


def listener(name: str = "one", protocol: str = "HTTP", port: int = 80, **fields: Any) -> Manifest:
    allowed = {"allowedRoutes": {"namespaces": {"from": "All"}}}
    return {"name": name, "protocol": protocol, "port": port, **allowed, **fields}


def gateway(*listeners: Manifest, version: str = "v1") -> Manifest:
    return {
        "apiVersion": f"gateway.networking.k8s.io/{version}",
        "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "edge"},
        "spec": {"gatewayClassName": "any", "listeners": list(listeners)},
    }


def of_kind(kind: str, *rules: Manifest, version: str = "v1", **spec: Any) -> Manifest:
    return {
        "apiVersion": f"gateway.networking.k8s.io/{version}",
        "kind": kind,
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {"parentRefs": PUBLIC, "rules": list(rules), **spec},
    }


def http(*rules: Manifest, hosts: tuple[str, ...] = ("a.b",), parents: list[Manifest] | None = None) -> Manifest:
    return route("shop/r", list(hosts), *(rules or (WEB,)), parents=PUBLIC if parents is None else parents)


def grant(source: str = "shop", kind: str = "HTTPRoute", space: str = "data", **to: str) -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": space},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": source}],
            "to": [{"group": "", "kind": "Service", **to}],
        },
    }


def shown(*manifests: Manifest) -> list[str]:
    return sorted(map(str, exposed(manifests)))


def one(*manifests: Manifest) -> Exposure:
    (found,) = exposed(manifests)
    return found


def test_a_route_exposes_every_host_path_and_backend() -> None:
    matches = [{"path": {"type": "Exact", "value": "/a"}}, {"path": {"value": "/b"}}, {"method": "GET"}]
    found = http({"matches": matches, "backendRefs": [{"name": "web", "port": 80}]}, hosts=("a.b", "*.c.d"))
    assert shown(found) == sorted(
        f"{host}{path} → shop/web:80" for host in ("a.b", "*.c.d") for path in ("/a", "/b", "/")
    )


def test_a_regular_expression_stays_one() -> None:
    found = http({"matches": [{"path": {"type": "RegularExpression", "value": "/admin/.*"}}], **WEB})
    assert shown(found) == ["a.b~/admin/.* → shop/web:80"]


def test_a_redirect_exposes_nothing() -> None:
    assert shown(http({"filters": [{"type": "RequestRedirect"}]})) == []


def test_a_route_without_parents_leads_from_nowhere() -> None:
    assert shown(http(parents=[])) == []


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ({}, ["*.a.b/ → shop/web:80", "*/ → shop/web:80"]),
        ({"sectionName": "one"}, ["*.a.b/ → shop/web:80"]),
        ({"sectionName": "three"}, []),
        ({"port": 81}, ["*/ → shop/web:80"]),
        ({"port": 81, "sectionName": "one"}, []),
        ({"kind": "Service", "group": ""}, []),
        # Nobody sees its listeners.
        ({"name": "other"}, ["*/ → shop/web:80"]),
        ({"kind": "ListenerSet"}, ["*/ → shop/web:80"]),
    ],
)
def test_a_route_without_hosts_has_those_of_its_listeners(parent: Manifest, expected: list[str]) -> None:
    public = gateway(listener("one", hostname="*.a.b"), listener("two", port=81))
    assert shown(public, http(hosts=(), parents=[PUBLIC[0] | parent])) == expected


@pytest.mark.parametrize(
    ("offered", "asked", "expected"),
    [
        ("a.b", "a.b", ["a.b"]),
        ("a.b", "c.b", []),
        ("*.b", "a.b", ["a.b"]),
        ("*.b", "b", []),
        ("*.b", "x.a.b", ["x.a.b"]),
        ("a.b", "*.b", ["a.b"]),
        ("*.a.b", "*.b", ["*.a.b"]),
        ("*.b", "*.a.b", ["*.a.b"]),
    ],
)
def test_a_route_has_the_hosts_in_common_with_its_listener(offered: str, asked: str, expected: list[str]) -> None:
    found = exposed([gateway(listener(hostname=offered)), http(hosts=(asked,))])
    assert [each.requests.host for each in found] == expected


@pytest.mark.parametrize(
    ("allowed", "taken"),
    [
        (None, False),
        ({}, False),
        ({"namespaces": {"from": "Same"}}, False),
        ({"namespaces": {"from": "All"}}, True),
        ({"namespaces": SELECTOR}, True),
        ({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "data"}}}}, False),
        (
            {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}},
            True,
        ),
        ({"namespaces": {"from": "Selector", "selector": {}}}, True),
        ({"namespaces": {"from": "Selector"}}, False),
        ({"namespaces": {"from": "All"}, "kinds": [{"kind": "HTTPRoute"}]}, True),
        ({"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}, False),
        ({"namespaces": {"from": "All"}, "kinds": [{"group": "example.com", "kind": "HTTPRoute"}]}, False),
    ],
)
def test_which_routes_a_listener_takes(allowed: Manifest | None, *, taken: bool) -> None:
    public = gateway(listener(allowedRoutes=allowed))
    assert bool(exposed([namespace("shop", team="shop"), public, http()])) == taken


def test_a_gateway_takes_routes_of_its_own_namespace_by_itself() -> None:
    mine = http()
    mine["metadata"]["namespace"] = "edge"
    assert shown(gateway(listener(allowedRoutes=None)), mine) == ["a.b/ → edge/web:80"]


@pytest.mark.parametrize(
    ("kind", "protocol", "tls", "expected"),
    [
        ("HTTPRoute", "HTTP", None, "no"),
        ("HTTPRoute", "HTTPS", {"mode": "Terminate"}, "yes"),
        ("HTTPRoute", "HTTPS", None, "yes"),
        ("HTTPRoute", "TLS", {"mode": "Passthrough"}, None),
        ("HTTPRoute", "TCP", None, None),
        ("GRPCRoute", "HTTPS", {}, "yes"),
        ("TLSRoute", "TLS", {"mode": "Passthrough"}, "passthrough"),
        ("TLSRoute", "TLS", {"mode": "Terminate"}, "yes"),
        ("TLSRoute", "HTTPS", {}, None),
        ("TCPRoute", "TLS", {"mode": "Terminate"}, "yes"),
        ("TCPRoute", "TLS", {"mode": "Passthrough"}, None),
        ("TCPRoute", "TCP", None, "unknown"),
        ("UDPRoute", "UDP", None, "unknown"),
        ("UDPRoute", "TCP", None, None),
        ("HTTPRoute", "example.com/own", None, "unknown"),
        ("HTTPRoute", "example.com/own", {}, "yes"),
    ],
)
def test_protocols(kind: str, protocol: str, tls: Manifest | None, expected: str | None) -> None:
    hosts = {"hostnames": ["a.b"]} if kind in ("HTTPRoute", "GRPCRoute", "TLSRoute") else {}
    public = gateway(listener(protocol=protocol, **({"tls": tls} if tls is not None else {})))
    found = [each.tls for each in exposed([public, of_kind(kind, WEB, **hosts)])]
    assert found == ([expected] if expected else [])


def test_a_route_by_port_has_neither_host_nor_path() -> None:
    public = gateway(listener(protocol="TCP", port=5432))
    found = one(public, of_kind("TCPRoute", WEB, version="v1alpha2"))
    assert (str(found), found.requests.host, found.requests.path) == ("gateway TCP 5432 → shop/web:80", "", "")
    datagrams = one(of_kind("UDPRoute", WEB))
    assert (str(datagrams), datagrams.protocol) == ("gateway UDP some port → shop/web:80", "UDP")
    answering = service("shop/web", "web", 80)
    answering["spec"]["ports"][0]["protocol"] = "UDP"
    state = [of_kind("UDPRoute", WEB), answering, pod("shop/web")]
    assert [each.workload for each in one(*state).reached] == ["shop/web[Pod]"]
    assert routed(state) == frozenset()


@pytest.mark.parametrize("version", ["v1", "v1alpha2", "v1alpha3"])
def test_a_tls_route_is_every_path_of_its_host(version: str) -> None:
    found = one(of_kind("TLSRoute", WEB, version=version, hostnames=["a.b"]))
    assert (str(found), found.tls) == ("a.b → shop/web:80", "passthrough")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"service": "shop.Cart", "method": "Add"}, "a.b/shop.Cart/Add"),
        ({"service": "shop.Cart"}, "a.b/shop.Cart"),
        ({"method": "Add"}, "a.b~/[^/]+/Add"),
        ({}, "a.b/"),
        ({"type": "RegularExpression", "service": "shop.*"}, "a.b~/shop.*/[^/]+"),
    ],
)
def test_a_method_of_grpc_is_a_path(method: Manifest, expected: str) -> None:
    found = of_kind("GRPCRoute", {"matches": [{"method": method}], **WEB}, hostnames=["a.b"])
    assert shown(found) == [f"{expected} → shop/web:80"]


@pytest.mark.parametrize(
    ("granted", "reached"),
    [
        ([], False),
        ([grant()], True),
        ([grant(name="db")], True),
        ([grant(name="cache")], False),
        ([grant(source="ops")], False),
        ([grant(kind="GRPCRoute")], False),
        ([grant(space="shop")], False),
    ],
)
def test_another_namespace_needs_a_grant(granted: list[Manifest], *, reached: bool) -> None:
    found = http({"backendRefs": [{"name": "db", "namespace": "data", "port": 80}]})
    assert shown(found, *granted) == (["a.b/ → data/db:80"] if reached else [])


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"name": "web", "port": 80, "weight": 0}, []),
        ({"name": "web", "port": 80, "namespace": "shop"}, ["a.b/ → shop/web:80"]),
        (
            {"name": "api@internal", "group": "traefik.io", "kind": "TraefikService"},
            ["a.b/ → shop/api@internal[TraefikService]"],
        ),
    ],
)
def test_backends(reference: Manifest, expected: list[str]) -> None:
    assert shown(http({"backendRefs": [reference]})) == expected


def test_a_mirror_gets_the_requests_as_well() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 81}}}
    assert shown(http({"filters": [mirror], **WEB})) == ["a.b/ → shop/copy:81", "a.b/ → shop/web:80"]
    behind = {"backendRefs": [{"name": "web", "port": 80, "filters": [mirror]}]}
    assert shown(http(behind)) == ["a.b/ → shop/copy:81", "a.b/ → shop/web:80"]


LOGIN = {
    "apiVersion": "traefik.io/v1alpha1",
    "kind": "Middleware",
    "metadata": {"name": "login", "namespace": "shop"},
    "spec": {"forwardAuth": {"address": "http://login/"}},
}
EXTERNAL = {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "backendRef": {"name": "auth", "port": 4180}}}


def extension(name: str, group: str = "traefik.io", kind: str = "Middleware") -> Manifest:
    return {"type": "ExtensionRef", "extensionRef": {"group": group, "kind": kind, "name": name}}


@pytest.mark.parametrize(
    ("filters", "checks"),
    [
        ([extension("login")], ("forwardAuth http://login/",)),
        ([extension("missing")], ()),
        ([extension("login", group="example.com")], ()),
        ([extension("login", kind="Other")], ()),
        ([EXTERNAL], ("ExternalAuth shop/auth:4180",)),
        ([EXTERNAL, extension("login")], ("ExternalAuth shop/auth:4180", "forwardAuth http://login/")),
        ([{"type": "CORS"}], ()),
    ],
)
def test_filters_that_check_identity(filters: list[Manifest], checks: tuple[str, ...]) -> None:
    assert one(LOGIN, http({"filters": filters, **WEB})).identity_checks == checks
    behind = {"backendRefs": [{"name": "web", "port": 80, "filters": filters}]}
    assert one(LOGIN, http(behind)).identity_checks == checks


def test_a_middleware_of_another_namespace_is_not_the_route_s() -> None:
    elsewhere = {**LOGIN, "metadata": {"name": "login", "namespace": "edge"}}
    assert one(elsewhere, http({"filters": [extension("login")], **WEB})).identity_checks == ()


def test_a_filter_of_one_rule_is_not_in_front_of_another() -> None:
    paths = [{"path": {"value": "/open"}}]
    found = exposed([LOGIN, http({"filters": [extension("login")], **WEB}, {"matches": paths, **WEB})])
    assert sorted((str(each.requests), bool(each.identity_checks)) for each in found) == [
        ("a.b/", True),
        ("a.b/open", False),
    ]


def test_the_workloads_behind_a_route() -> None:
    found = one(http(), service("shop/web", "web", 80), pod("shop/web"), pod("data/web"))
    assert [each.workload for each in found.reached] == ["shop/web[Pod]"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (gateway(), "a Gateway has listeners"),
        (gateway(listener(name="")), "name is missing"),
        (gateway(listener(port=0)), "port: 0 is no port"),
        (gateway(listener(port=None)), "port is missing"),
        (gateway(listener(protocol="")), "protocol is missing"),
        (gateway(listener(), listener()), "listeners: each needs a name of its own"),
        (gateway(listener(hostname="*.*.b")), "hostname: '\\*.\\*.b' is no host's name"),
        (gateway(listener(tls={"mode": "Terminate"})), "a listener of protocol HTTP has no tls"),
        (gateway(listener(protocol="HTTPS", tls={"mode": "Passthrough"})), "protocol HTTPS ends TLS"),
        (gateway(listener(protocol="TLS")), "a listener of protocol TLS needs tls"),
        (gateway(listener(allowedRoutes={"namespaces": {"from": "Some"}})), "from: 'Some' is none of"),
        (gateway(listener(), version="v1alpha2"), "has no Gateway that is known here"),
        (of_kind("HTTPRoute", WEB, version="v2"), "has no HTTPRoute that is known here"),
        (http({"backendRefs": [{"name": "web"}]}), "port is missing"),
        (http({"backendRefs": [{"port": 80}]}), "name is missing"),
        (http({"filters": [{}], **WEB}), "type is missing"),
        (http({"matches": [{"path": {"type": "Prefix"}}], **WEB}), "type: 'Prefix' is none of"),
        (http({"matches": [{"path": {"value": "x"}}], **WEB}), "value: 'x' does not begin with '/'"),
        (http(hosts=("1.2.3.4",)), "hostnames: '1.2.3.4' is no host's name"),
        (http(parents=[{}]), "name is missing"),
        ({**grant(), "spec": {"from": []}}, "a ReferenceGrant says from what"),
    ],
)
def test_what_an_api_server_would_refuse(manifest: Manifest, message: str) -> None:
    with pytest.raises(Refused, match=message):
        exposed([manifest])
