"""Ingresses and OpenShift Routes as ways in.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/ and
https://docs.redhat.com/en/documentation/openshift_container_platform/4.20/html/network_apis/route-route-openshift-io-v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from breakglass.analysis.exposure.entry import Entry, Front, Target, Tls
from breakglass.analysis.exposure.front import Fronts
from breakglass.analysis.exposure.network_field import (
    address_ranges,
    host_name,
    host_names,
    is_kind,
    needed_text,
    one_of,
    port_number,
    port_or_name,
)
from breakglass.analysis.exposure.ranges import merged
from breakglass.analysis.exposure.requests import EVERY_HOST, PathType, Requests
from breakglass.analysis.exposure.service import Services
from breakglass.analysis.field import mapping, mappings, namespace_of, place, strings, text
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_PATH_TYPES: Mapping[str, PathType] = {
    "Prefix": "Prefix",
    "Exact": "Exact",
    "ImplementationSpecific": "ImplementationSpecific",
}
_FORBIDDEN = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")
_ROUTE_TLS: Mapping[str, Tls] = {"edge": "yes", "reencrypt": "yes", "passthrough": "passthrough"}
_ROUTE_RANGES = ("haproxy.router.openshift.io/ip_allowlist", "haproxy.router.openshift.io/ip_whitelist")


def ingress_entries(manifests: Iterable[Manifest], services: Services, fronts: Fronts) -> Iterator[Entry]:
    """Every way in that an Ingress or an OpenShift Route opens.

    Raises:
        Refused: one of them is not what the API server takes.
    """
    for manifest in manifests:
        # The API server has not known the older groups and versions since Kubernetes 1.22.
        if is_kind(manifest, "networking.k8s.io", "Ingress", "v1") or is_kind(manifest, "extensions", "Ingress"):
            yield from _ingress(manifest, services, fronts)
        elif is_kind(manifest, "route.openshift.io", "Route", "v1"):
            yield from _openshift_route(manifest, services)


def _ingress(manifest: Manifest, services: Services, fronts: Fronts) -> Iterator[Entry]:
    where, namespace = place(manifest), namespace_of(manifest)
    spec = mapping(manifest, "spec", where)
    if not spec.get("defaultBackend") and not spec.get("rules"):
        raise where.refusal("an Ingress has a defaultBackend or rules", spec, "rules")
    because = (f"Ingress {namespace}/{key_of(manifest).name}",)
    encrypted = _encrypted_hosts(spec, where)
    for requests, target in _requests(spec, namespace, services, where):
        tls = _tls(manifest, fronts, requests.host, encrypted)
        for front in fronts.of_ingress(manifest):
            yield Entry("ingress", requests, 0, "TCP", tls, front, target, "controller", because)


def _requests(
    spec: Mapping[str, Any], namespace: str, services: Services, where: Place
) -> Iterator[tuple[Requests, Target]]:
    if spec.get("defaultBackend") is not None:
        target = _target(mapping(spec, "defaultBackend", where), namespace, services, where)
        yield Requests(EVERY_HOST), target
    for rule in mappings(spec, "rules", where):
        host = host_name(rule, "host", where) or EVERY_HOST
        # Without paths a rule's host is served by the default backend, which takes every host as it is.
        if rule.get("http") is not None:
            http = mapping(rule, "http", where)
            if not mappings(http, "paths", where):
                raise where.refusal("http has no paths", rule, "http")
            for path in mappings(http, "paths", where):
                kind = _PATH_TYPES[one_of(path, "pathType", where, tuple(_PATH_TYPES))]
                requests = Requests(host, _path(path, kind, where), kind)
                yield requests, _target(mapping(path, "backend", where), namespace, services, where)


def _path(path: Mapping[str, Any], kind: PathType, where: Place) -> str:
    written = text(path, "path", where)
    if kind == "ImplementationSpecific" and not written:
        return "/"
    if not written.startswith("/"):
        raise where.refusal(f"path: {written[:80]!r} does not begin with '/'", path, "path")
    if kind != "ImplementationSpecific" and (
        any(each in written for each in _FORBIDDEN) or written.endswith(_FORBIDDEN_ENDS)
    ):
        raise where.refusal(f"path: {written[:80]!r} is no plain path", path, "path")
    return written


def _target(backend: Mapping[str, Any], namespace: str, services: Services, where: Place) -> Target:
    if (backend.get("service") is None) == (backend.get("resource") is None):
        raise where.refusal("a backend is one service or one resource", backend, "service")
    if backend.get("service") is None:
        resource = mapping(backend, "resource", where)
        name = f"{namespace}/{needed_text(resource, 'name', where)}[{needed_text(resource, 'kind', where)}]"
        return Target(name, because=(f"{name} is no Service",))
    service = mapping(backend, "service", where)
    port = mapping(service, "port", where)
    name, number = text(port, "name", where), port_number(port, "number", where)
    if bool(name) == bool(number):
        raise where.refusal("port: write the name or the number", service, "port")
    return services.target(namespace, needed_text(service, "name", where), name or number)


def _encrypted_hosts(spec: Mapping[str, Any], where: Place) -> tuple[Requests, ...]:
    """The hosts that `spec.tls` names; an item without hosts is for all of them."""
    return tuple(
        Requests(host)
        for item in mappings(spec, "tls", where)
        for host in host_names(item, "hosts", where) or (EVERY_HOST,)
    )


def _tls(manifest: Manifest, fronts: Fronts, host: str, encrypted: tuple[Requests, ...]) -> Tls:
    if fronts.passes_tls(manifest):
        return "passthrough"
    asked = fronts.ends_tls(manifest) or any(each.includes(Requests(host)) for each in encrypted)
    return "yes" if asked else "no"


def _openshift_route(manifest: Manifest, services: Services) -> Iterator[Entry]:
    where, namespace, name = place(manifest), namespace_of(manifest), key_of(manifest).name
    spec = mapping(manifest, "spec", where)
    host = host_name(spec, "host", where)
    if one_of(spec, "wildcardPolicy", where, ("None", "Subdomain"), "None") == "Subdomain":
        host = f"*.{host.partition('.')[2]}"
    # The router makes up the host that is missing: its first part is known, its domain is not.
    requests = Requests(host or f"{text(spec, 'subdomain', where, f'{name}-{namespace}')}.*", _route_path(spec, where))
    tls: Tls = "no"
    if spec.get("tls") is not None:
        tls = _ROUTE_TLS[one_of(mapping(spec, "tls", where), "termination", where, tuple(_ROUTE_TLS))]
    front, because = Front(_route_ranges(manifest, where)), (f"Route {namespace}/{name}",)
    for target in _route_targets(spec, namespace, services, where):
        yield Entry("route", requests, 0, "TCP", tls, front, target, "controller", because)


def _route_path(spec: Mapping[str, Any], where: Place) -> str:
    path = text(spec, "path", where, "/")
    if not path.startswith("/"):
        raise where.refusal(f"path: {path[:80]!r} does not begin with '/'", spec, "path")
    return path


def _route_targets(spec: Mapping[str, Any], namespace: str, services: Services, where: Place) -> Iterator[Target]:
    port = mapping(spec, "port", where)
    target = port_or_name(port, "targetPort", where)
    if spec.get("port") is not None and not target:
        raise where.refusal("targetPort is missing", spec, "port")
    for backend in (mapping(spec, "to", where), *mappings(spec, "alternateBackends", where)):
        name = needed_text(backend, "name", where)
        # Kind is Service; the API server takes no other.
        one_of(backend, "kind", where, ("Service",), "Service")
        if backend.get("weight") != 0:
            yield from services.targets(namespace, name, target)


def _route_ranges(manifest: Manifest, where: Place) -> tuple[str, ...]:
    annotations = strings(mapping(manifest, "metadata", where), "annotations", where)
    for key in _ROUTE_RANGES:
        if written := annotations.get(key, "").split():
            return merged(address_ranges(tuple(written), annotations, key, where))
    return ()
