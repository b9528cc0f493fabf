"""What Ingresses and HTTPRoutes expose, and what of it is new."""

from __future__ import annotations

import pytest
from network_objects import Manifest, ingress, pod, route, service

from breakglass.analysis.exposure import Exposure, exposed, newly_exposed, served
from breakglass.model.errors import Refused


def refs(*names: str, port: int = 80, **fields: object) -> list[Manifest]:
    return [{"name": name, "port": port, **fields} for name in names]


def shown(*manifests: Manifest) -> list[str]:
    return sorted(map(str, exposed(manifests)))


def test_an_ingress_exposes_host_path_and_service() -> None:
    assert shown(ingress("shop/i", "shop.example.com", "/cart", "web", 80)) == ["shop.example.com/cart → shop/web:80"]


def test_an_ingress_without_host_is_every_host() -> None:
    assert shown(ingress("shop/i", None, "/", "web", "http")) == ["*/ → shop/web:http"]


def test_a_port_s_name_is_its_number() -> None:
    assert shown(ingress("shop/i", "a.b", "/", "web", "http"), service("shop/web", "web", 8080, "http")) == [
        "a.b/ → shop/web:8080"
    ]


def test_a_default_backend_is_everything() -> None:
    everything = ingress("shop/i", "a.b", "/", "web", 80)
    everything["spec"] = {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}
    assert shown(everything) == ["*/ → shop/web:80"]


def test_a_route_exposes_every_host_path_and_backend() -> None:
    matches = [{"path": {"type": "Exact", "value": "/a"}}, {"path": {"value": "/b"}}, {"method": "GET"}]
    found = route("shop/r", ["a.b", "*.c.d"], {"matches": matches, "backendRefs": refs("web", namespace="edge")})
    assert shown(found) == sorted(
        f"{host}{path} → edge/web:80" for host in ("a.b", "*.c.d") for path in ("/a", "/b", "/")
    )


def test_a_regular_expression_is_every_path() -> None:
    matches = [{"path": {"type": "RegularExpression", "value": "/admin/.*"}}]
    assert shown(route("shop/r", ["a.b"], {"matches": matches, "backendRefs": refs("web")})) == ["a.b/ → shop/web:80"]


def test_a_redirect_exposes_nothing() -> None:
    assert shown(route("shop/r", ["a.b"], {"filters": [{"type": "RequestRedirect"}]})) == []


@pytest.mark.parametrize(
    ("section", "expected"),
    [("", ["*.a.b/ → shop/web:80", "*/ → shop/web:80"]), ("one", ["*.a.b/ → shop/web:80"])],
)
def test_a_route_without_hosts_has_those_of_its_listeners(section: str, expected: list[str]) -> None:
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "edge"},
        "spec": {"listeners": [{"name": "one", "hostname": "*.a.b"}, {"name": "two"}]},
    }
    parent = {"name": "public", "namespace": "edge", **({"sectionName": section} if section else {})}
    found = route("shop/r", [], {"backendRefs": refs("web")}, parents=[parent])
    assert sorted(shown(gateway, found)) == sorted(expected)
    assert shown(found) == ["*/ → shop/web:80"]


def test_what_an_api_server_would_refuse() -> None:
    broken = ingress("shop/i", "a.b", "/", "web", 80)
    broken["spec"]["rules"] = {"host": "a.b"}
    with pytest.raises(Refused, match="rules is not the list"):
        exposed([broken])


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (("a.b", "/"), ("a.b", "/x"), True),
        (("a.b", "/x"), ("a.b", "/"), False),
        (("a.b", "/x"), ("a.b", "/xy"), False),
        (("a.b", "/x/"), ("a.b", "/x"), True),
        (("a.b", "/x"), ("a.b", "/x/y"), True),
        (("a.b", "/"), ("c.b", "/"), False),
        (("*", "/"), ("a.b", "/"), True),
        (("a.b", "/"), ("*", "/"), False),
        (("*.b", "/"), ("a.b", "/"), True),
        (("*.b", "/"), ("b", "/"), False),
        (("*.b", "/"), ("*", "/"), False),
        (("*.b", "/"), ("ab", "/"), False),
        (("*.b", "/"), ("c.a.b", "/"), False),
        (("*.b", "/", True), ("c.a.b", "/"), True),
        (("*.b", "/", True), ("*.a.b", "/"), True),
        (("*.b", "/"), ("*.a.b", "/"), False),
        (("*.b", "/"), ("*.b", "/", True), False),
        (("*.b", "/", True), ("*.b", "/"), True),
    ],
)
def test_what_includes_what(outer: tuple[str, ...], inner: tuple[str, ...], *, expected: bool) -> None:
    one, other = (Exposure(each[0], each[1], "", deep=len(each) > 2) for each in (outer, inner))
    assert one.includes(other) == expected
    assert one.includes(one)
    assert one.meets(other) == other.meets(one)
    assert one.meets(other) or not expected


def test_an_exact_path_is_itself_alone() -> None:
    exact, below = Exposure("a.b", "/x", "", exact=True), Exposure("a.b", "/x", "")
    assert below.includes(exact)
    assert not exact.includes(below)
    assert not exact.includes(Exposure("a.b", "/x/y", "", exact=True))


def test_only_what_was_not_there_is_new() -> None:
    shop = ingress("shop/i", "shop.example.com", "/", "web", 80)
    same = ingress("shop/j", "shop.example.com", "/cart", "web", 80)
    stolen = ingress("shop/k", "shop.example.com", "/cart", "admin", 80)
    before = exposed([shop])
    assert newly_exposed(before, exposed([shop, same])) == ()
    assert [str(each) for each in newly_exposed(before, exposed([shop, stolen]))] == [
        "shop.example.com/cart → shop/admin:80"
    ]
    assert newly_exposed(exposed([shop, stolen]), before) == ()


def test_a_backend_answers_where_its_service_selects_a_workload() -> None:
    there, elsewhere = service("shop/web", "web", 80, "http"), service("data/web", "web", 80)
    assert served([pod("shop/web"), there, elsewhere]) == {"shop/web:80"}
    there["spec"]["selector"] = None
    assert served([there]) == {"shop/web:80"}
