"""Services: where a port of theirs leads, and what of them the outside reaches without anything in between.

A Service with a selector leads to the pods selected; one without to what its EndpointSlices or Endpoints list; one of
type ExternalName to another name, which may be that of a Service again.

Source: https://kubernetes.io/docs/concepts/services-networking/service/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from breakglass.analysis.exposure.entry import Backend, Entry, EntryKind, Front, Target, View
from breakglass.analysis.exposure.network_field import (
    address_ranges,
    is_kind,
    needed_port,
    needed_text,
    one_of,
    port_number,
    port_or_name,
    protocol_of,
)
from breakglass.analysis.exposure.ranges import Ranges, merged
from breakglass.analysis.exposure.requests import Requests
from breakglass.analysis.field import flag, labels, mapping, mappings, namespace_of, place, strings, text, texts
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
_SERVICE_LABEL = "kubernetes.io/service-name"
_FURTHEST = 4
"""ExternalNames that are followed; more of them are a circle."""

_Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service.

    Attributes:
        name: empty where it has none.
        number: of the Service.
        protocol: TCP, UDP or SCTP.
        target: the pods' port, by number or by name.
        node: the port on every node; 0 where it is not written down.
    """

    name: str
    number: int
    protocol: str
    target: int | str
    node: int


@dataclass(frozen=True, slots=True)
class Service:
    """A Service.

    Attributes:
        namespace: its namespace.
        name: its name.
        type: as in `spec.type`.
        ports: may be empty (headless, ExternalName).
        selector: empty where something else lists the endpoints.
        external_name: of type ExternalName.
        external_addresses: `externalIPs`.
        source_ranges: whom the load balancer lets in.
        keeps_client: with `externalTrafficPolicy: Local` pods see the client's address, otherwise a node's.
        node_ports: a load balancer's Service has node ports as well, unless it says otherwise.
        load_balancer_class: what makes the load balancer, where it is not the cloud itself.
    """

    namespace: str
    name: str
    type: str
    ports: tuple[ServicePort, ...]
    selector: Mapping[str, str]
    external_name: str = ""
    external_addresses: tuple[str, ...] = ()
    source_ranges: Ranges = ()
    keeps_client: bool = False
    node_ports: bool = True
    load_balancer_class: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """One port of an EndpointSlice, or of a subset of Endpoints; number 0 is every port."""

    name: str
    protocol: str
    number: int
    addresses: tuple[str, ...]
    pods: tuple[_Name, ...]


@dataclass(frozen=True, slots=True)
class Services:
    """The Services of a state, and the endpoints of those without selector."""

    known: Mapping[_Name, Service]
    _endpoints: Mapping[_Name, list[_Endpoints]] = field(repr=False)

    def target(self, namespace: str, name: str, port: int | str, protocol: str = "TCP") -> Target:
        """Where a port of a Service leads.

        Args:
            namespace: of the Service.
            name: of the Service; it need not exist.
            port: of the Service, by number or by name.
            protocol: of the port.
        """
        return self._target((namespace, name), port, protocol, _FURTHEST)

    def targets(self, namespace: str, name: str, target: int | str) -> tuple[Target, ...]:
        """Where an OpenShift Route leads that names the pods' port: by number or by the name of the Service's port.

        Args:
            namespace: of the Service.
            name: of the Service; it need not exist.
            target: 0 for every port of the Service.
        """
        service = self.known.get((namespace, name))
        if service is None:
            return (self.target(namespace, name, target),)
        ports = [
            port
            for port in service.ports
            if port.protocol == "TCP" and (not target or target in (port.name, port.target, port.number))
        ]
        return tuple(self.target(namespace, name, port.number) for port in ports)

    def _target(self, key: _Name, port: int | str, protocol: str, hops: int) -> Target:
        shown = f"{key[0]}/{key[1]}"
        service = self.known.get(key)
        if service is None:
            return Target(f"{shown}:{port}", because=(f"no manifest holds the Service {shown}",))
        if service.type == "ExternalName":
            return self._external(service, port, protocol, hops)
        found = [each for each in service.ports if port in (each.name, each.number) and each.protocol == protocol]
        if not found:
            return Target(f"{shown}:{port}", because=(f"the Service {shown} has no port {protocol} {port}",))
        return Target(f"{shown}:{found[0].number}", self.backends(service, found[0]))

    def _external(self, service: Service, port: int | str, protocol: str, hops: int) -> Target:
        because = (f"the Service {service} is another name for {service.external_name}",)
        labels_of_name = service.external_name.rstrip(".").split(".")
        if hops and len(labels_of_name) >= 3 and labels_of_name[2] == "svc":  # name.namespace.svc
            inner = self._target((labels_of_name[1], labels_of_name[0]), port, protocol, hops - 1)
            return Target(f"{service}:{port}", inner.backends, (*because, *inner.because))
        return Target(f"{service}:{port}", because=because)

    def backends(self, service: Service, port: ServicePort) -> tuple[Backend, ...]:
        """What answers on a port of a Service that is no ExternalName."""
        if service.selector:
            selector = tuple(sorted(service.selector.items()))
            return (Backend(service.namespace, service.name, selector, port=port.target, protocol=port.protocol),)
        return tuple(
            Backend(
                service.namespace,
                service.name,
                addresses=each.addresses,
                pods=each.pods,
                port=each.number or port.target,
                protocol=port.protocol,
            )
            for each in self._endpoints.get((service.namespace, service.name), ())
            if each.protocol == port.protocol and each.name == port.name
        )


def read_services(manifests: Iterable[Manifest]) -> Services:
    """The Services, EndpointSlices and Endpoints among the objects.

    Raises:
        Refused: one of them is not what the API server takes.
    """
    known: dict[_Name, Service] = {}
    endpoints: defaultdict[_Name, list[_Endpoints]] = defaultdict(list)
    for manifest in manifests:
        if is_kind(manifest, "", "Service", "v1"):
            service = _read_service(manifest)
            known[service.namespace, service.name] = service
        elif is_kind(manifest, "discovery.k8s.io", "EndpointSlice", "v1"):
            where = place(manifest)
            owner = labels(mapping(manifest, "metadata", where), "labels", where).get(_SERVICE_LABEL, "")
            endpoints[namespace_of(manifest), owner].extend(_read_slice(manifest, where))
        elif is_kind(manifest, "", "Endpoints", "v1"):
            name = namespace_of(manifest), key_of(manifest).name
            endpoints[name].extend(_read_endpoints(manifest, place(manifest)))
    return Services(known, endpoints)


def service_entries(services: Services) -> Iterator[Entry]:
    """Every way in that a Service opens by itself: load balancers, node ports, external addresses."""
    for service in services.known.values():
        if service.type == "ExternalName":
            continue
        for port in service.ports:
            target = Target(f"{service}:{port.number}", services.backends(service, port))
            if service.type == "LoadBalancer":
                yield _entry("load-balancer", service, port, target, port.number, ranges=service.source_ranges)
            if service.type == "NodePort" or (service.type == "LoadBalancer" and service.node_ports):
                yield _entry("node-port", service, port, target, port.node)
            for address in service.external_addresses:
                yield _entry("external-ip", service, port, target, port.number, host=address)


def _entry(
    kind: EntryKind,
    service: Service,
    port: ServicePort,
    target: Target,
    number: int,
    *,
    host: str = "",
    ranges: Ranges = (),
) -> Entry:
    policy = "Local" if service.keeps_client else "Cluster"
    because = [f"Service {service} (externalTrafficPolicy {policy})"]
    if kind == "load-balancer" and service.load_balancer_class:
        because.append(f"its load balancer is one of the class {service.load_balancer_class}")
    view: View = "client" if service.keeps_client else "node"
    requests = Requests(host, "")
    return Entry(kind, requests, number, port.protocol, "unknown", Front(ranges), target, view, tuple(because))


def _read_service(manifest: Manifest) -> Service:
    where = place(manifest)
    spec = mapping(manifest, "spec", where)
    kind = one_of(spec, "type", where, _TYPES, "ClusterIP")
    headless = text(spec, "clusterIP", where) == "None"
    ports = tuple(_read_port(port, where) for port in mappings(spec, "ports", where))
    _check_ports(ports, spec, where, needed=kind != "ExternalName" and not headless)
    outside = kind in ("NodePort", "LoadBalancer")
    if outside and headless:
        raise where.refusal(f"a Service of type {kind} cannot be headless", spec, "clusterIP")
    local = one_of(spec, "externalTrafficPolicy", where, ("Cluster", "Local"), "Cluster") == "Local"
    return Service(
        namespace=namespace_of(manifest),
        name=key_of(manifest).name,
        type=kind,
        ports=ports,
        selector=labels(spec, "selector", where),
        external_name=needed_text(spec, "externalName", where) if kind == "ExternalName" else "",
        external_addresses=_external_addresses(spec, where),
        source_ranges=_source_ranges(manifest, spec, kind, where),
        keeps_client=local,
        node_ports=spec.get("allocateLoadBalancerNodePorts") is None
        or flag(spec, "allocateLoadBalancerNodePorts", where),
        load_balancer_class=text(spec, "loadBalancerClass", where),
    )


def _read_port(port: Mapping[str, Any], where: Place) -> ServicePort:
    number = needed_port(port, "port", where)
    return ServicePort(
        name=text(port, "name", where),
        number=number,
        protocol=protocol_of(port, where),
        target=port_or_name(port, "targetPort", where) or number,
        node=port_number(port, "nodePort", where),
    )


def _check_ports(ports: tuple[ServicePort, ...], spec: Mapping[str, Any], where: Place, *, needed: bool) -> None:
    if needed and not ports:
        raise where.refusal("the Service has no ports", spec, "ports")
    if len(ports) > 1 and len({port.name for port in ports} - {""}) < len(ports):
        raise where.refusal("ports: of several, each needs a name of its own", spec, "ports")
    if len({(port.number, port.protocol) for port in ports}) < len(ports):
        raise where.refusal("ports: one stands there twice", spec, "ports")


def _external_addresses(spec: Mapping[str, Any], where: Place) -> tuple[str, ...]:
    found = []
    for written in texts(spec, "externalIPs", where):
        try:
            found.append(str(ip_address(written)))
        except ValueError:
            raise where.refusal(f"externalIPs: {written[:80]!r} is no address", spec, "externalIPs") from None
    return tuple(dict.fromkeys(found))


def _source_ranges(manifest: Manifest, spec: Mapping[str, Any], kind: str, where: Place) -> Ranges:
    written = texts(spec, "loadBalancerSourceRanges", where)
    if written and kind != "LoadBalancer":
        raise where.refusal("loadBalancerSourceRanges without type LoadBalancer", spec, "loadBalancerSourceRanges")
    if written:
        return merged(address_ranges(written, spec, "loadBalancerSourceRanges", where))
    annotations = strings(mapping(manifest, "metadata", where), "annotations", where)
    listed = tuple(filter(None, (each.strip() for each in annotations.get(_RANGES_ANNOTATION, "").split(","))))
    return merged(address_ranges(listed, annotations, _RANGES_ANNOTATION, where)) if kind == "LoadBalancer" else ()


def _read_slice(manifest: Manifest, where: Place) -> Iterator[_Endpoints]:
    namespace, ready = namespace_of(manifest), []
    kind = one_of(manifest, "addressType", where, ("IPv4", "IPv6", "FQDN"))
    for endpoint in mappings(manifest, "endpoints", where):
        # Unknown counts as ready; so does what is not ready just now, and will be.
        addresses = () if kind == "FQDN" else _addresses(texts(endpoint, "addresses", where), endpoint, where)
        ready.append((addresses, _pod_of(endpoint, namespace, where)))
    for port in mappings(manifest, "ports", where):
        yield _endpoints(port, ready, where)


def _read_endpoints(manifest: Manifest, where: Place) -> Iterator[_Endpoints]:
    namespace = namespace_of(manifest)
    for subset in mappings(manifest, "subsets", where):
        found = [
            (_addresses((needed_text(address, "ip", where),), address, where), _pod_of(address, namespace, where))
            for key in ("addresses", "notReadyAddresses")
            for address in mappings(subset, key, where)
        ]
        for port in mappings(subset, "ports", where):
            yield _endpoints(port, found, where)


def _endpoints(
    port: Mapping[str, Any], found: Iterable[tuple[tuple[str, ...], tuple[_Name, ...]]], where: Place
) -> _Endpoints:
    found = tuple(found)
    return _Endpoints(
        name=text(port, "name", where),
        protocol=protocol_of(port, where),
        number=port_number(port, "port", where),
        addresses=tuple(dict.fromkeys(address for addresses, _ in found for address in addresses)),
        pods=tuple(dict.fromkeys(pod for _, pods in found for pod in pods)),
    )


def _addresses(written: tuple[str, ...], parent: Mapping[str, Any], where: Place) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(each)) for each in written)
    except ValueError as error:
        raise where.refusal(f"addresses: {error}", parent, "addresses") from None


def _pod_of(endpoint: Mapping[str, Any], namespace: str, where: Place) -> tuple[_Name, ...]:
    reference = mapping(endpoint, "targetRef", where)
    if text(reference, "kind", where) != "Pod":
        return ()
    return ((text(reference, "namespace", where, namespace), text(reference, "name", where)),)
