"""What the outside can ask for: hosts and paths of Ingresses and HTTPRoutes.

Upper bounds, where the manifests leave room: headers, methods and query parameters narrow nothing; a regular expression
is every path; whether a controller takes the object, and what its middlewares refuse, is not asked.

Sources: https://kubernetes.io/docs/concepts/services-networking/ingress/ and
https://gateway-api.sigs.k8s.io/reference/spec/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from breakglass.analysis.field import labels, mapping, mappings, namespace_of, place, text, texts, whole
from breakglass.analysis.workload import read_workloads
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

EVERY_HOST = "*"


@dataclass(frozen=True, slots=True, order=True)
class Exposure:
    """Requests that are sent to one backend.

    Attributes:
        host: a name, `*.suffix`, or `*` for every host.
        path: the path, or what it begins with.
        backend: `namespace/service:number`; the port's name where no Service tells its number.
        exact: the path alone, not what lies below it.
        deep: `*.suffix` stands for one or more labels (HTTPRoute), not for exactly one (Ingress).
    """

    host: str
    path: str
    backend: str
    exact: bool = False
    deep: bool = False

    def __str__(self) -> str:
        return f"{self.host}{self.path} → {self.backend}"

    def includes(self, other: Exposure) -> bool:
        """Whether every request of the other is one of these, whatever the backends."""
        return _includes_host(self, other) and _includes_path(self, other)

    def meets(self, other: Exposure) -> bool:
        """Whether some request is one of both, whatever the backends."""
        hosts = _includes_host(self, other) or _includes_host(other, self)
        return hosts and (_includes_path(self, other) or _includes_path(other, self))


def exposed(manifests: Iterable[Manifest]) -> frozenset[Exposure]:
    """Everything that Ingresses and HTTPRoutes send to a Service.

    Raises:
        Refused: one of them is not what the API server takes.
    """
    manifests = tuple(manifests)
    gateways = {
        (namespace_of(manifest), key_of(manifest).name): manifest
        for manifest in manifests
        if _kind(manifest) == ("gateway.networking.k8s.io", "Gateway")
    }
    numbers = _port_numbers(manifests)
    found: set[Exposure] = set()
    for manifest in manifests:
        if _kind(manifest) == ("networking.k8s.io", "Ingress"):
            ingress = _ingress(manifest)
            found.update(replace(each, backend=numbers.get(each.backend, each.backend)) for each in ingress)
        elif _kind(manifest) == ("gateway.networking.k8s.io", "HTTPRoute"):
            found.update(_route(manifest, gateways))
    return frozenset(found)


def newly_exposed(before: frozenset[Exposure], after: frozenset[Exposure]) -> tuple[Exposure, ...]:
    """What the second sends to a backend and the first does not, ordered; the other way round: what is hidden."""
    return tuple(
        exposure
        for exposure in sorted(after)
        if not any(earlier.backend == exposure.backend and earlier.includes(exposure) for earlier in before)
    )


def served(manifests: Iterable[Manifest]) -> frozenset[str]:
    """Backends (`namespace/service:number`) that exist: the Service has the port and selects a workload.

    A Service without selector gets its addresses elsewhere and counts as well.
    """
    manifests = tuple(manifests)
    workloads = read_workloads(manifests)
    found: set[str] = set()
    for manifest in manifests:
        if _kind(manifest) == ("", "Service"):
            where, namespace = place(manifest), namespace_of(manifest)
            spec = mapping(manifest, "spec", where)
            selector = labels(spec, "selector", where)
            if not selector or any(
                workload.namespace == namespace and selector.items() <= workload.labels.items()
                for workload in workloads
            ):
                service = f"{namespace}/{key_of(manifest).name}"
                found.update(f"{service}:{whole(port, 'port', where)}" for port in mappings(spec, "ports", where))
    return frozenset(found)


def _kind(manifest: Manifest) -> tuple[str, str]:
    key = key_of(manifest)
    return key.group, key.kind


def _port_numbers(manifests: Iterable[Manifest]) -> dict[str, str]:
    """`namespace/service:name` → `namespace/service:number`, for Services that name their ports."""
    found = {}
    for manifest in manifests:
        if _kind(manifest) == ("", "Service"):
            where, service = place(manifest), f"{namespace_of(manifest)}/{key_of(manifest).name}"
            for port in mappings(mapping(manifest, "spec", where), "ports", where):
                if name := text(port, "name", where):
                    found[f"{service}:{name}"] = f"{service}:{whole(port, 'port', where)}"
    return found


def _includes_host(outer: Exposure, inner: Exposure) -> bool:
    if outer.host == EVERY_HOST:
        return True
    if not outer.host.startswith("*.") or not inner.host.endswith(outer.host[1:]):
        return inner.host == outer.host
    if inner.host == outer.host:
        return outer.deep or not inner.deep
    return outer.deep or "." not in inner.host.removesuffix(outer.host[1:])


def _includes_path(outer: Exposure, inner: Exposure) -> bool:
    if outer.exact:
        return inner.exact and inner.path == outer.path
    beginning = outer.path.rstrip("/")
    return inner.path.rstrip("/") == beginning or inner.path.startswith(f"{beginning}/")


def _ingress(manifest: Manifest) -> Iterator[Exposure]:
    where, namespace = place(manifest), namespace_of(manifest)
    spec = mapping(manifest, "spec", where)
    if default := _service(mapping(spec, "defaultBackend", where), namespace, where):
        yield Exposure(EVERY_HOST, "/", default)
    for rule in mappings(spec, "rules", where):
        host = text(rule, "host", where, EVERY_HOST)
        for path in mappings(mapping(rule, "http", where), "paths", where):
            if backend := _service(mapping(path, "backend", where), namespace, where):
                exact = text(path, "pathType", where) == "Exact"
                yield Exposure(host, text(path, "path", where, "/"), backend, exact)


def _service(backend: Mapping[str, Any], namespace: str, where: Place) -> str:
    service = mapping(backend, "service", where)
    port = mapping(service, "port", where)
    name = text(service, "name", where)
    return f"{namespace}/{name}:{text(port, 'name', where) or whole(port, 'number', where)}" if name else ""


def _route(manifest: Manifest, gateways: Mapping[tuple[str, str], Manifest]) -> Iterator[Exposure]:
    where, namespace = place(manifest), namespace_of(manifest)
    spec = mapping(manifest, "spec", where)
    hosts = texts(spec, "hostnames", where) or _listener_hosts(spec, namespace, gateways, where)
    for rule in mappings(spec, "rules", where):
        for backend in mappings(rule, "backendRefs", where):
            service = (
                f"{text(backend, 'namespace', where, namespace)}/{text(backend, 'name', where)}"
                f":{whole(backend, 'port', where)}"
            )
            for path, exact in _paths(rule, where):
                yield from (Exposure(host, path, service, exact, deep=True) for host in hosts)


def _paths(rule: Mapping[str, Any], where: Place) -> Iterator[tuple[str, bool]]:
    for match in mappings(rule, "matches", where) or ({},):
        path = mapping(match, "path", where)
        kind = text(path, "type", where, "PathPrefix")
        value = "/" if kind == "RegularExpression" else text(path, "value", where, "/")
        yield value, kind == "Exact"


def _listener_hosts(
    spec: Mapping[str, Any], namespace: str, gateways: Mapping[tuple[str, str], Manifest], where: Place
) -> tuple[str, ...]:
    """Hosts of the listeners that a route without hostnames attaches to."""
    hosts = []
    for parent in mappings(spec, "parentRefs", where):
        gateway = gateways.get((text(parent, "namespace", where, namespace), text(parent, "name", where)), {})
        section = text(parent, "sectionName", where)
        hosts += [
            text(listener, "hostname", where, EVERY_HOST)
            for listener in mappings(mapping(gateway, "spec", where), "listeners", where)
            if section in ("", text(listener, "name", where))
        ]
    return tuple(dict.fromkeys(hosts)) or (EVERY_HOST,)
