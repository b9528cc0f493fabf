"""Ingresses and OpenShift Routes as ways in, and what their annotations put in front."""

from __future__ import annotations

from typing import Any

import pytest
from network_objects import Manifest, ingress, pod, service

from breakglass.analysis.exposure.exposure import Exposure, exposed
from breakglass.analysis.exposure.requests import Requests
from breakglass.model.errors import Refused
from breakglass.model.source import Source, SourcedManifest

TRAEFIK = "traefik.ingress.kubernetes.io/router."
NGINX = "nginx.ingress.kubernetes.io/"


def shown(*manifests: Manifest) -> list[str]:
    return sorted(map(str, exposed(manifests)))


def one(*manifests: Manifest) -> Exposure:
    (found,) = exposed(manifests)
    return found


def web(**annotations: str) -> Manifest:
    """The Ingress of most tests: host `a.b`, whole, to shop/web:80."""
    found = ingress("shop/i", "a.b", "/", "web", 80)
    found["metadata"]["annotations"] = annotations
    return found


def specified(**spec: Any) -> Manifest:
    return {**web(), "spec": spec}


def middleware(name: str, **spec: Any) -> Manifest:
    space, _, short = name.partition("/")
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "Middleware",
        "metadata": {"namespace": space, "name": short},
        "spec": spec,
    }


def ingress_class(name: str, controller: str, **annotations: str) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    }


def test_an_ingress_exposes_host_path_and_service() -> None:
    assert shown(ingress("shop/i", "shop.example.com", "/cart", "web", 80)) == ["shop.example.com/cart → shop/web:80"]


def test_an_ingress_without_host_is_every_host() -> None:
    assert shown(ingress("shop/i", None, "/", "web", "http")) == ["*/ → shop/web:http"]


def test_a_port_s_name_is_its_number() -> None:
    assert shown(ingress("shop/i", "a.b", "/", "web", "http"), service("shop/web", "web", 8080, "http")) == [
        "a.b/ → shop/web:8080"
    ]


def test_a_default_backend_is_everything() -> None:
    assert shown(specified(defaultBackend={"service": {"name": "web", "port": {"number": 80}}})) == ["*/ → shop/web:80"]


def test_a_rule_without_paths_is_left_to_the_default_backend() -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    assert shown(specified(defaultBackend=backend, rules=[{"host": "c.d"}])) == ["*/ → shop/web:80"]


@pytest.mark.parametrize(
    ("path", "kind", "asked", "answered"),
    [
        ("/x", "Prefix", Requests("a.b", "/x/y", "Exact"), True),
        ("/x", "Exact", Requests("a.b", "/x/y", "Exact"), False),
        ("/x", "Exact", Requests("a.b", "/x", "Exact"), True),
        ("/x.*", "ImplementationSpecific", Requests("a.b", "/y", "Exact"), True),
    ],
)
def test_paths(path: str, kind: str, asked: Requests, *, answered: bool) -> None:
    assert one(ingress("shop/i", "a.b", path, "web", 80, kind)).requests.meets(asked) == answered


def test_a_backend_that_is_no_service_is_not_overlooked() -> None:
    backend = {"resource": {"apiGroup": "k8s.example.com", "kind": "StorageBucket", "name": "icons"}}
    found = one(specified(rules=[{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]))
    assert (str(found), found.network) == ("*/ → shop/icons[StorageBucket]", "unknown")


BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def path(**fields: Any) -> list[Manifest]:
    return [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND, **fields}]}}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "an Ingress has a defaultBackend or rules"),
        ({"rules": {"host": "a.b"}}, "rules is not a list of objects"),
        ({"rules": [{"host": "1.2.3.4", **path()[0]}]}, "host: '1.2.3.4' is no host's name"),
        ({"rules": [{"host": "a.b:80", **path()[0]}]}, "host: 'a.b:80' is no host's name"),
        ({"rules": [{"host": "a.*.b", **path()[0]}]}, "host: 'a.\\*.b' is no host's name"),
        ({"rules": [{"host": "*", **path()[0]}]}, "host: '\\*' is no host's name"),
        ({"rules": [{"http": {"paths": []}}]}, "http has no paths"),
        ({"rules": path(pathType=None)}, "pathType: '' is none of"),
        ({"rules": path(pathType="prefix")}, "pathType: 'prefix' is none of"),
        ({"rules": path(path="x")}, "path: 'x' does not begin with '/'"),
        ({"rules": path(path=None)}, "path: '' does not begin with '/'"),
        ({"rules": path(path="/a/../b")}, "path: '/a/../b' is no plain path"),
        ({"rules": path(backend={})}, "a backend is one service or one resource"),
        ({"rules": path(backend={**BACKEND, "resource": {"kind": "A", "name": "b"}})}, "a backend is one service"),
        ({"rules": path(backend={"service": {"port": {"number": 80}}})}, "name is missing"),
        ({"rules": path(backend={"service": {"name": "web"}})}, "port: write the name or the number"),
        ({"rules": path(backend={"service": {"name": "w", "port": {"number": 1, "name": "a"}}})}, "port: write the"),
        ({"rules": path(backend={"service": {"name": "web", "port": {"number": 0}}})}, "number: 0 is no port"),
        ({"rules": path(backend={"service": {"name": "web", "port": {"number": 70000}}})}, "number: 70000 is no port"),
        ({"rules": path(), "tls": [{"hosts": ["a b"]}]}, "hosts: 'a b' is no host's name"),
    ],
)
def test_what_an_api_server_would_refuse(spec: Manifest, message: str) -> None:
    with pytest.raises(Refused, match=message):
        exposed([specified(**spec)])


@pytest.mark.parametrize("version", ["networking.k8s.io/v1beta1", "extensions/v1beta1", "networking.k8s.io/v2"])
def test_a_version_that_is_not_known(version: str) -> None:
    with pytest.raises(Refused, match=f"{version} has no Ingress that is known here"):
        exposed([{**web(), "apiVersion": version}])


def test_a_refusal_names_the_line() -> None:
    text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec:\n  rules:\n    - host: a_b\n"
    values = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}}
    manifest = SourcedManifest({**values, "spec": {"rules": [{"host": "a_b"}]}}, Source("i.yaml", 1, text))
    with pytest.raises(Refused) as refused:
        exposed([manifest])
    assert refused.value.where == "i.yaml:6: Ingress.networking.k8s.io i"


@pytest.mark.parametrize(
    ("tls", "host", "expected"),
    [
        ([], "a.b", "no"),
        ([{"secretName": "s"}], "a.b", "yes"),
        ([{"hosts": ["a.b"]}], "a.b", "yes"),
        ([{"hosts": ["c.b"]}], "a.b", "no"),
        ([{"hosts": ["*.b"]}], "a.b", "yes"),
        ([{"hosts": ["*.b"]}], "x.a.b", "no"),
        ([{"hosts": ["a.b"]}], None, "no"),
    ],
)
def test_tls(tls: list[Manifest], host: str | None, expected: str) -> None:
    found = ingress("shop/i", host, "/", "web", 80)
    found["spec"]["tls"] = tls
    assert one(found).tls == expected


def traefik_with(*arguments: str) -> Manifest:
    found = {"containers": [{"name": "traefik", "args": list(arguments)}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "edge", "name": "traefik"},
        "spec": {"template": {"spec": found}},
    }


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({f"{TRAEFIK}entrypoints": "websecure"}, "yes"),
        ({f"{TRAEFIK}entrypoints": "web"}, "no"),
        ({f"{TRAEFIK}entrypoints": "web, websecure"}, "no"),
        ({f"{TRAEFIK}entrypoints": "plain"}, "no"),
        ({f"{TRAEFIK}tls": "true"}, "yes"),
        ({f"{NGINX}ssl-passthrough": "true"}, "passthrough"),
        ({f"{NGINX}ssl-passthrough": "false"}, "no"),
    ],
)
def test_tls_by_annotation(annotations: dict[str, str], expected: str) -> None:
    arguments = ["--entrypoints.web.address=:80", "--entryPoints.websecure.http.tls=true"]
    controller = traefik_with(*arguments, "--entrypoints.plain.http.tls=false")
    assert one(web(**annotations), controller).tls == expected


LOGIN = middleware("shop/login", forwardAuth={"address": "http://oauth2-proxy.edge.svc/"})
RANGE = middleware("shop/range", ipAllowList={"sourceRange": ["10.0.0.0/8", "2001:db8::1"]})
NARROW = middleware("edge/narrow-range", ipWhiteList={"sourceRange": ["10.1.0.0/16", "192.0.2.0/24"]})
CHAIN = middleware("shop/both", chain={"middlewares": [{"name": "login"}, {"name": "range"}, {"name": "both"}]})
PASSWORD = middleware("shop/password", basicAuth={"secret": "users"})
FORWARD = ("forwardAuth http://oauth2-proxy.edge.svc/",)


@pytest.mark.parametrize(
    ("named", "ranges", "checks"),
    [
        ("", (), ()),
        ("shop-login@kubernetescrd", (), FORWARD),
        ("shop-range@kubernetescrd", ("10.0.0.0/8", "2001:db8::1/128"), ()),
        ("shop-both@kubernetescrd", ("10.0.0.0/8", "2001:db8::1/128"), FORWARD),
        ("shop-range@kubernetescrd, edge-narrow-range@kubernetescrd", ("10.1.0.0/16",), ()),
        ("shop-password@kubernetescrd,shop-login@kubernetescrd", (), ("basicAuth users", *FORWARD)),
        # Traefik looks for it elsewhere, and so do its names of other objects.
        ("shop-login", (), ()),
        ("login@kubernetescrd", (), ()),
        ("shop-missing@kubernetescrd", (), ()),
    ],
)
def test_middlewares_of_traefik(named: str, ranges: tuple[str, ...], checks: tuple[str, ...]) -> None:
    found = one(web(**{f"{TRAEFIK}middlewares": named}), LOGIN, RANGE, NARROW, CHAIN, PASSWORD)
    assert (found.source_ranges, found.identity_checks) == (ranges, checks)


def test_ranges_that_nobody_is_in_expose_nothing() -> None:
    apart = middleware("shop/apart", ipAllowList={"sourceRange": ["192.0.2.0/24"]})
    names = "shop-range@kubernetescrd,shop-apart@kubernetescrd"
    assert exposed([web(**{f"{TRAEFIK}middlewares": names}), RANGE, apart]) == frozenset()


@pytest.mark.parametrize(
    ("annotations", "fronts"),
    [
        ({"whitelist-source-range": "10.0.0.0/8, 192.0.2.7"}, [(("10.0.0.0/8", "192.0.2.7/32"), ())]),
        ({"allowlist-source-range": "2001:DB8::/32"}, [(("2001:db8::/32",), ())]),
        ({"auth-url": "https://login/auth", "auth-signin": "https://login/"}, [((), ("auth-url https://login/auth",))]),
        ({"auth-signin": "https://login/"}, [((), ())]),
        ({"auth-type": "basic", "auth-secret": "users"}, [((), ("auth-type basic shop/users",))]),
        ({"auth-tls-secret": "edge/ca"}, [((), ("auth-tls edge/ca",))]),
        ({"auth-tls-secret": "edge/ca", "auth-tls-verify-client": "optional"}, [((), ())]),
        (
            {"whitelist-source-range": "10.0.0.0/8", "auth-url": "u"},
            [(("10.0.0.0/8",), ("auth-url u",))],
        ),
        # Either of the two will do.
        (
            {"whitelist-source-range": "10.0.0.0/8", "auth-url": "u", "satisfy": "any"},
            [((), ("auth-url u",)), (("10.0.0.0/8",), ())],
        ),
    ],
)
def test_annotations_of_nginx(annotations: dict[str, str], fronts: list[tuple[tuple[str, ...], ...]]) -> None:
    found = exposed([web(**{f"{NGINX}{key}": value for key, value in annotations.items()})])
    assert sorted((each.source_ranges, each.identity_checks) for each in found) == fronts


@pytest.mark.parametrize(
    ("named", "controller", "checked"),
    [
        ("front", "k8s.io/ingress-nginx", True),
        ("front", "traefik.io/ingress-controller", False),
        ("front", "haproxy.example.com/controller", False),
        ("other", "traefik.io/ingress-controller", True),
        ("", "traefik.io/ingress-controller", False),
    ],
)
def test_annotations_of_another_controller_count_for_nothing(named: str, controller: str, *, checked: bool) -> None:
    found = web(**{f"{NGINX}auth-url": "https://login"})
    found["spec"] |= {"ingressClassName": named} if named else {}
    default = {"ingressclass.kubernetes.io/is-default-class": "true"}
    assert bool(one(found, ingress_class("front", controller, **default)).identity_checks) == checked


@pytest.mark.parametrize("written", ["10.0.0.0/33", "office", "10.0.0.0/255.0.0.0", "10.0.0.0/-1", "::/129"])
def test_a_source_range_that_is_none(written: str) -> None:
    with pytest.raises(Refused, match="is no range of addresses"):
        exposed([web(**{f"{NGINX}whitelist-source-range": written})])
    with pytest.raises(Refused, match="is no range of addresses"):
        exposed(
            [
                web(**{f"{TRAEFIK}middlewares": "shop-x@kubernetescrd"}),
                middleware("shop/x", ipAllowList={"sourceRange": [written]}),
            ]
        )


def openshift(**spec: Any) -> Manifest:
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"namespace": "shop", "name": "r"},
        "spec": {"host": "a.b", "to": {"kind": "Service", "name": "web"}, **spec},
    }


def ports(*written: Manifest) -> Manifest:
    found = service("shop/web", "web", 80)
    found["spec"]["ports"] = list(written)
    return found


TWO_PORTS = ports(
    {"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": "console"}
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, ["a.b/ → shop/web:80", "a.b/ → shop/web:81"]),
        ("http", ["a.b/ → shop/web:80"]),
        ("console", ["a.b/ → shop/web:81"]),
        (8080, ["a.b/ → shop/web:80"]),
        ("lost", []),
    ],
)
def test_the_port_of_a_route_is_the_pods(target: object, expected: list[str]) -> None:
    port = {} if target is None else {"port": {"targetPort": target}}
    assert shown(openshift(**port), TWO_PORTS, pod("shop/web", ("console", 9090))) == expected


@pytest.mark.parametrize(
    ("spec", "expected", "tls"),
    [
        ({}, "a.b/ → shop/web:80", "no"),
        ({"path": "/x", "tls": {"termination": "edge"}}, "a.b/x → shop/web:80", "yes"),
        ({"tls": {"termination": "reencrypt"}}, "a.b/ → shop/web:80", "yes"),
        ({"tls": {"termination": "passthrough"}}, "a.b/ → shop/web:80", "passthrough"),
        ({"wildcardPolicy": "Subdomain"}, "*.b/ → shop/web:80", "no"),
        ({"host": ""}, "r-shop.*/ → shop/web:80", "no"),
        ({"host": "", "subdomain": "x"}, "x.*/ → shop/web:80", "no"),
    ],
)
def test_routes_of_openshift(spec: Manifest, expected: str, tls: str) -> None:
    found = one(openshift(**spec), service("shop/web", "web", 80))
    assert (str(found), found.tls, found.entry) == (expected, tls, "route")


def test_every_backend_of_a_route_that_has_a_weight() -> None:
    others = [{"kind": "Service", "name": "new", "weight": 1}, {"kind": "Service", "name": "old", "weight": 0}]
    assert shown(
        openshift(alternateBackends=others), service("shop/web", "web", 80), service("shop/new", "new", 81)
    ) == [
        "a.b/ → shop/new:81",
        "a.b/ → shop/web:80",
    ]


def test_the_source_ranges_of_a_route() -> None:
    found = openshift()
    found["metadata"]["annotations"] = {"haproxy.router.openshift.io/ip_whitelist": "10.0.0.0/8 192.0.2.1"}
    assert one(found).source_ranges == ("10.0.0.0/8", "192.0.2.1/32")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"to": {"name": ""}}, "name is missing"),
        ({"to": {"kind": "Pod", "name": "x"}}, "kind: 'Pod' is none of"),
        ({"tls": {}}, "termination: '' is none of"),
        ({"path": "x"}, "path: 'x' does not begin with '/'"),
        ({"port": {}}, "targetPort is missing"),
        ({"port": {"targetPort": 0}}, "targetPort: 0 is no port"),
        ({"wildcardPolicy": "All"}, "wildcardPolicy: 'All' is none of"),
    ],
)
def test_what_an_openshift_api_server_would_refuse(spec: Manifest, message: str) -> None:
    with pytest.raises(Refused, match=message):
        exposed([openshift(**spec)])
