"""Routes of the Gateway API as ways in: HTTPRoute, GRPCRoute, TLSRoute, TCPRoute and UDPRoute.

A route leads somewhere where a listener of its Gateway allows it (kind, namespace, a host in common), and reaches a
Service of another namespace only with a ReferenceGrant there. A Gateway that is not among the objects is taken to allow
everything.

Source: https://gateway-api.sigs.k8s.io/reference/spec/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.analysis.exposure.entry import Entry, Front, Target, Tls
from breakglass.analysis.exposure.front import TRAEFIK_GROUPS, Fronts
from breakglass.analysis.exposure.network_field import (
    GATEWAY_API,
    host_name,
    host_names,
    is_kind,
    needed_port,
    needed_text,
    one_of,
    port_number,
)
from breakglass.analysis.exposure.requests import EVERY_HOST, PathType, Requests, common_host
from breakglass.analysis.exposure.service import Services
from breakglass.analysis.field import mapping, mappings, namespace_of, place, text, whole
from breakglass.analysis.network.pod import read_namespaces
from breakglass.analysis.selector import Selector, read_selector
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_ROUTES = {
    "HTTPRoute": ("v1", "v1beta1"),
    "GRPCRoute": ("v1", "v1alpha2"),
    "TLSRoute": ("v1", "v1alpha3", "v1alpha2"),
    "TCPRoute": ("v1", "v1alpha2"),
    "UDPRoute": ("v1", "v1alpha2"),
}
_TAKEN = {
    "HTTP": {"HTTPRoute", "GRPCRoute"},
    "HTTPS": {"HTTPRoute", "GRPCRoute"},
    "TLS": {"TLSRoute", "TCPRoute"},
    "TCP": {"TCPRoute"},
    "UDP": {"UDPRoute"},
}
"""Kinds of route by the listener's protocol; other protocols are their implementation's, and may take every kind."""

_WITH_HOSTS = ("HTTPRoute", "GRPCRoute", "TLSRoute")
_PATH_TYPES: Mapping[str, PathType] = {
    "PathPrefix": "Prefix",
    "Exact": "Exact",
    "RegularExpression": "RegularExpression",
}
_LISTENER_SETS = ("ListenerSet", "XListenerSet")

_Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of a Gateway.

    Attributes:
        name: what `sectionName` of a route may ask for.
        host: a name, `*.suffix`, or `*`.
        port: that the outside connects to.
        protocol: HTTP, HTTPS, TLS, TCP, UDP, or one of an implementation's own.
        tls: whether it ends TLS.
        kinds: of routes that it takes.
        namespaces: names of the namespaces that it takes routes from.
    """

    name: str
    host: str
    port: int
    protocol: str
    tls: Tls
    kinds: frozenset[str]
    namespaces: frozenset[str]


_ANY_LISTENER = Listener("", EVERY_HOST, 0, "", "unknown", frozenset(_ROUTES), frozenset())


@dataclass(frozen=True, slots=True)
class _Grant:
    """Routes of one kind and namespace may lead to Services of another; with an empty name to all of them."""

    kind: str
    source: str
    destination: str
    name: str


@dataclass(frozen=True, slots=True)
class _Surroundings:
    gateways: Mapping[_Name, tuple[Listener, ...]]
    grants: frozenset[_Grant]
    services: Services
    fronts: Fronts


@dataclass(frozen=True, slots=True)
class _Route:
    kind: str
    namespace: str
    name: str
    spec: Mapping[str, Any]
    where: Place

    def attached(self, surroundings: _Surroundings) -> Iterator[tuple[Listener, str]]:
        """The listeners that take the route, each with one host they have in common (empty where none is looked at)."""
        own = self._hosts()
        for listener in dict.fromkeys(self._listeners(surroundings)):
            if self.kind not in _WITH_HOSTS:
                yield listener, ""
                continue
            found = (common_host(listener.host, host) for host in own)
            yield from ((listener, host) for host in dict.fromkeys(found) if host)

    def _hosts(self) -> tuple[str, ...]:
        if self.kind not in _WITH_HOSTS:
            return ()
        return host_names(self.spec, "hostnames", self.where) or (EVERY_HOST,)

    def _listeners(self, surroundings: _Surroundings) -> Iterator[Listener]:
        if text(self.spec, "useDefaultGateways", self.where) == "All":
            yield _ANY_LISTENER
        for parent in mappings(self.spec, "parentRefs", self.where):
            kind = text(parent, "kind", self.where, "Gateway")
            name = text(parent, "namespace", self.where, self.namespace), needed_text(parent, "name", self.where)
            section, port = text(parent, "sectionName", self.where), port_number(parent, "port", self.where)
            if kind in _LISTENER_SETS or (kind == "Gateway" and name not in surroundings.gateways):
                yield _ANY_LISTENER
            elif kind == "Gateway":
                for listener in surroundings.gateways[name]:
                    named = section in ("", listener.name) and port in (0, listener.port)
                    if named and self.kind in listener.kinds and self.namespace in listener.namespaces:
                        yield listener

    def target(self, reference: Mapping[str, Any], surroundings: _Surroundings) -> Target | None:
        """Where a backendRef leads; None where nothing allows it."""
        where = self.where
        namespace, name = text(reference, "namespace", where, self.namespace), needed_text(reference, "name", where)
        group, kind = text(reference, "group", where), text(reference, "kind", where, "Service")
        if (group, kind) != ("", "Service"):
            shown = f"{namespace}/{name}[{kind}]"
            return Target(shown, because=(f"{shown} is no Service",))
        port = needed_port(reference, "port", where)
        if namespace != self.namespace and surroundings.grants.isdisjoint(
            _Grant(self.kind, self.namespace, namespace, granted) for granted in ("", name)
        ):
            return None
        protocol = "UDP" if self.kind == "UDPRoute" else "TCP"
        return surroundings.services.target(namespace, name, port, protocol)


def gateway_entries(manifests: Iterable[Manifest], services: Services, fronts: Fronts) -> Iterator[Entry]:
    """Every way in that a route of the Gateway API opens.

    Raises:
        Refused: a Gateway, route or ReferenceGrant is not what the API server takes.
    """
    manifests = tuple(manifests)
    surroundings = _Surroundings(_read_gateways(manifests), frozenset(_read_grants(manifests)), services, fronts)
    for manifest in manifests:
        for kind, versions in _ROUTES.items():
            if is_kind(manifest, GATEWAY_API, kind, *versions):
                where, namespace = place(manifest), namespace_of(manifest)
                route = _Route(kind, namespace, key_of(manifest).name, mapping(manifest, "spec", where), where)
                yield from _entries(route, surroundings)


def _entries(route: _Route, surroundings: _Surroundings) -> Iterator[Entry]:
    attached = tuple(route.attached(surroundings))
    because = (f"{route.kind} {route.namespace}/{route.name}",)
    for rule in mappings(route.spec, "rules", route.where):
        paths = tuple(_paths(route, rule))
        for target, front in _ways(route, rule, surroundings):
            for listener, host in attached:
                for path, kind in paths:
                    yield Entry(
                        kind="gateway",
                        requests=Requests(host, path, kind, deep=True),
                        port=listener.port,
                        protocol="UDP" if route.kind == "UDPRoute" else "TCP",
                        tls=_tls(route, listener),
                        front=front,
                        target=target,
                        view="controller",
                        because=because,
                    )


def _tls(route: _Route, listener: Listener) -> Tls:
    # Nothing but the first bytes of TLS tells a TLSRoute its host, so without a Gateway it is not unencrypted.
    return "passthrough" if route.kind == "TLSRoute" and listener is _ANY_LISTENER else listener.tls


def _ways(route: _Route, rule: Mapping[str, Any], surroundings: _Surroundings) -> Iterator[tuple[Target, Front]]:
    """The backends of a rule, mirrors included, each with what its filters put in front."""
    where = route.where
    filters = mappings(rule, "filters", where)
    references = [
        (each, (*filters, *mappings(each, "filters", where))) for each in mappings(rule, "backendRefs", where)
    ]
    for reference, own in references:
        if whole(reference, "weight", where) == 0:
            continue
        yield from _way(route, reference, own, surroundings)
    mirrors = [
        each
        for each in (*filters, *(each for _, own in references for each in own))
        if _is(each, "RequestMirror", where)
    ]
    for each in mirrors:
        yield from _way(
            route, mapping(mapping(each, "requestMirror", where), "backendRef", where), filters, surroundings
        )


def _way(
    route: _Route, reference: Mapping[str, Any], filters: Iterable[Mapping[str, Any]], surroundings: _Surroundings
) -> Iterator[tuple[Target, Front]]:
    target = route.target(reference, surroundings)
    front: Front | None = Front()
    for each in filters:
        front = front and _filtered(route, each, front, surroundings)
    if target is not None and front is not None:
        yield target, front


def _filtered(route: _Route, each: Mapping[str, Any], front: Front, surroundings: _Surroundings) -> Front | None:
    """What is in front with one more filter; None where nobody passes."""
    where = route.where
    if _is(each, "ExternalAuth", where):
        reference = mapping(mapping(each, "externalAuth", where), "backendRef", where)
        name = f"{text(reference, 'namespace', where, route.namespace)}/{needed_text(reference, 'name', where)}"
        return front.then(Front(identity_checks=(f"ExternalAuth {name}:{port_number(reference, 'port', where)}",)))
    if _is(each, "ExtensionRef", where):
        reference = mapping(each, "extensionRef", where)
        if text(reference, "group", where) in TRAEFIK_GROUPS and text(reference, "kind", where) == "Middleware":
            found = surroundings.fronts.of_middleware(route.namespace, needed_text(reference, "name", where))
            return found and front.then(found)
    return front


def _is(each: Mapping[str, Any], kind: str, where: Place) -> bool:
    return needed_text(each, "type", where) == kind


def _paths(route: _Route, rule: Mapping[str, Any]) -> Iterator[tuple[str, PathType]]:
    where = route.where
    if route.kind == "GRPCRoute":
        yield from (
            _method(mapping(match, "method", where), where) for match in mappings(rule, "matches", where) or ({},)
        )
    elif route.kind == "HTTPRoute":
        yield from (_path(mapping(match, "path", where), where) for match in mappings(rule, "matches", where) or ({},))
    else:
        yield "", "Prefix"


def _path(path: Mapping[str, Any], where: Place) -> tuple[str, PathType]:
    kind = _PATH_TYPES[one_of(path, "type", where, tuple(_PATH_TYPES), "PathPrefix")]
    value = text(path, "value", where, "/")
    if kind != "RegularExpression" and not value.startswith("/"):
        raise where.refusal(f"value: {value[:80]!r} does not begin with '/'", path, "value")
    return value, kind


def _method(method: Mapping[str, Any], where: Place) -> tuple[str, PathType]:
    """A gRPC method is the path `/service/method` of its HTTP/2 request."""
    kind = one_of(method, "type", where, ("Exact", "RegularExpression"), "Exact")
    service, name = text(method, "service", where), text(method, "method", where)
    if not service and not name:
        return "/", "Prefix"
    if kind == "RegularExpression" or not service:
        return f"/{service or '[^/]+'}/{name or '[^/]+'}", "RegularExpression"
    return (f"/{service}/{name}", "Exact") if name else (f"/{service}", "Prefix")


def _read_gateways(manifests: Iterable[Manifest]) -> dict[_Name, tuple[Listener, ...]]:
    gateways = [manifest for manifest in manifests if is_kind(manifest, GATEWAY_API, "Gateway", "v1", "v1beta1")]
    namespaces = read_namespaces(manifests) if gateways else {}
    return {
        (namespace_of(gateway), key_of(gateway).name): tuple(_read_listeners(gateway, namespaces))
        for gateway in gateways
    }


def _read_listeners(manifest: Manifest, namespaces: Mapping[str, Mapping[str, str]]) -> Iterator[Listener]:
    where = place(manifest)
    spec = mapping(manifest, "spec", where)
    listeners = mappings(spec, "listeners", where)
    if not listeners:
        raise where.refusal("a Gateway has listeners", spec, "listeners")
    names = [needed_text(listener, "name", where) for listener in listeners]
    if len(set(names)) < len(names):
        raise where.refusal("listeners: each needs a name of its own", spec, "listeners")
    for listener in listeners:
        protocol, tls = needed_text(listener, "protocol", where), _listener_tls(listener, where)
        yield Listener(
            name=text(listener, "name", where),
            host=host_name(listener, "hostname", where) or EVERY_HOST,
            port=needed_port(listener, "port", where),
            protocol=protocol,
            tls=tls,
            kinds=_taken_kinds(listener, protocol, tls, where),
            namespaces=_taken_namespaces(listener, namespace_of(manifest), namespaces, where),
        )


def _listener_tls(listener: Mapping[str, Any], where: Place) -> Tls:
    protocol, tls = text(listener, "protocol", where), mapping(listener, "tls", where)
    mode = one_of(tls, "mode", where, ("Terminate", "Passthrough"), "Terminate")
    if protocol == "HTTPS" and mode == "Passthrough":
        raise where.refusal("a listener of protocol HTTPS ends TLS", tls, "mode")
    if protocol in ("HTTP", "TCP", "UDP"):
        if listener.get("tls") is not None:
            raise where.refusal(f"a listener of protocol {protocol} has no tls", listener, "tls")
        return "no" if protocol == "HTTP" else "unknown"
    if protocol == "TLS" and listener.get("tls") is None:
        raise where.refusal("a listener of protocol TLS needs tls", listener, "protocol")
    if mode == "Passthrough":
        return "passthrough"
    return "yes" if protocol in ("HTTPS", "TLS") or listener.get("tls") is not None else "unknown"


def _taken_kinds(listener: Mapping[str, Any], protocol: str, tls: Tls, where: Place) -> frozenset[str]:
    possible = _TAKEN.get(protocol, set(_ROUTES))
    if tls == "passthrough":
        possible = possible - {"TCPRoute"}
    kinds = mappings(mapping(listener, "allowedRoutes", where), "kinds", where)
    named = {
        needed_text(kind, "kind", where) for kind in kinds if text(kind, "group", where, GATEWAY_API) == GATEWAY_API
    }
    return frozenset(possible & named if kinds else possible)


def _taken_namespaces(
    listener: Mapping[str, Any], own: str, namespaces: Mapping[str, Mapping[str, str]], where: Place
) -> frozenset[str]:
    allowed = mapping(mapping(listener, "allowedRoutes", where), "namespaces", where)
    kind = one_of(allowed, "from", where, ("All", "Selector", "Same"), "Same")
    if kind == "Same":
        return frozenset({own})
    if kind == "Selector" and allowed.get("selector") is None:
        return frozenset()
    selector = Selector(()) if kind == "All" else read_selector(mapping(allowed, "selector", where), where)
    return frozenset(name for name, carried in namespaces.items() if selector.matches(carried))


def _read_grants(manifests: Iterable[Manifest]) -> Iterator[_Grant]:
    for manifest in manifests:
        if not is_kind(manifest, GATEWAY_API, "ReferenceGrant", "v1", "v1beta1", "v1alpha2"):
            continue
        where = place(manifest)
        spec = mapping(manifest, "spec", where)
        found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for side in ("from", "to"):
            found[side] = mappings(spec, side, where)
            if not found[side]:
                raise where.refusal(f"a ReferenceGrant says {side} what", spec, side)
        for origin in found["from"]:
            for destination in found["to"]:
                if text(origin, "group", where) == GATEWAY_API and _is_service(destination, where):
                    yield _Grant(
                        kind=needed_text(origin, "kind", where),
                        source=needed_text(origin, "namespace", where),
                        destination=namespace_of(manifest),
                        name=text(destination, "name", where),
                    )


def _is_service(destination: Mapping[str, Any], where: Place) -> bool:
    return (text(destination, "group", where), needed_text(destination, "kind", where)) == ("", "Service")
