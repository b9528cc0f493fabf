"""What the outside can reach: from Ingresses, routes and Services over endpoints and policies to workloads.

Upper bounds, where the manifests leave room: headers, methods and query parameters narrow nothing; a path that is a
pattern may match everything; whether a controller takes an object is not asked.

Sources: https://kubernetes.io/docs/concepts/services-networking/ and https://gateway-api.sigs.k8s.io/reference/spec/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from breakglass.analysis.exposure.behind import Behind, WorkloadsBehind
from breakglass.analysis.exposure.entry import Backend, Entry, EntryKind, Tls
from breakglass.analysis.exposure.front import read_fronts
from breakglass.analysis.exposure.gateway import gateway_entries
from breakglass.analysis.exposure.ingress import ingress_entries
from breakglass.analysis.exposure.ranges import EVERYWHERE, Ranges, includes, intersection, is_everywhere
from breakglass.analysis.exposure.requests import Requests
from breakglass.analysis.exposure.service import Services, read_services, service_entries
from breakglass.analysis.exposure.way import Reach, Way
from breakglass.analysis.network.pod import read_workloads
from breakglass.model.manifest import Manifest

_STRONGEST: tuple[Reach, ...] = ("open", "depends", "unknown", "blocked")
_BY_PORT = ("load-balancer", "node-port", "external-ip")
_NODE_ADDRESS = "with externalTrafficPolicy Cluster its pods may see a node's address instead of the client's"


@dataclass(frozen=True, slots=True, order=True)
class Reached:
    """A workload behind an exposure, and whether the network lets requests through to it."""

    workload: str
    network: Reach


@dataclass(frozen=True, slots=True, order=True)
class Exposure:
    """Requests from outside that are sent to one backend.

    Attributes:
        requests: by host and path.
        backend: `namespace/service:number`; the port's name where no Service tells its number.
        entry: what opens it.
        port: that the outside connects to; 0 where no manifest says.
        protocol: TCP, UDP or SCTP.
        tls: whether TLS ends where the request comes in.
        source_ranges: where it must come from; empty for everywhere.
        identity_checks: what asks who sends it; empty where nothing does.
        reached: the workloads behind it; empty where no manifest tells.
        front_door: it leads to an ingress controller, which is there to be reached.
        because: the objects and policies that make it what it is; not compared.
    """

    requests: Requests
    backend: str
    entry: EntryKind = "ingress"
    port: int = 0
    protocol: str = "TCP"
    tls: Tls = "no"
    source_ranges: Ranges = EVERYWHERE
    identity_checks: tuple[str, ...] = ()
    reached: tuple[Reached, ...] = ()
    front_door: bool = False
    because: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.asked} → {self.backend}"

    @property
    def by_port(self) -> bool:
        """Whether nobody looks at a host on the way, only at address and port."""
        return self.entry in _BY_PORT or not self.requests.host

    @property
    def asked(self) -> str:
        """What the outside asks for, for people: `shop.example.com/cart`, `node-port TCP 30080`."""
        if not self.by_port:
            return str(self.requests)
        address = f" {self.requests.host}" if self.requests.host else ""
        return f"{self.entry}{address} {self.protocol} {self.port or 'some port'}"

    @property
    def network(self) -> Reach:
        """Whether the network lets it through to some workload; unknown where none is known."""
        found = {each.network for each in self.reached}
        return next((reach for reach in _STRONGEST if reach in found), "unknown")

    def covers(self, other: Exposure) -> bool:
        """Whether everybody who has the other gets no more than what this one gives."""
        return (
            self.backend == other.backend
            and self._takes(other)
            and self.tls in ("no", other.tls)
            and includes(self.source_ranges, other.source_ranges)
            and set(self.identity_checks) <= set(other.identity_checks)
            and all(self._reaches(each) for each in other.reached if each.network != "blocked")
            and (bool(other.reached) or self.network in ("open", other.network))
        )

    def _takes(self, other: Exposure) -> bool:
        if not self.requests.includes(other.requests):
            return False
        if not self.by_port and not other.by_port:
            return True
        return (self.entry, self.port, self.protocol) == (other.entry, other.port, other.protocol)

    def _reaches(self, wanted: Reached) -> bool:
        return any(
            each.workload == wanted.workload and each.network in ("open", wanted.network) for each in self.reached
        )


@dataclass(frozen=True, slots=True)
class ExposureDifference:
    """What one state exposes and the other does not.

    Attributes:
        exposed: what only the second lets in; not in `changed`.
        hidden: what only the first lets in; not in `changed`.
        changed: the same entry before and after, of which anything else differs.
    """

    exposed: tuple[Exposure, ...]
    hidden: tuple[Exposure, ...]
    changed: tuple[tuple[Exposure, Exposure], ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.exposed or self.hidden or self.changed)


def exposed(manifests: Iterable[Manifest], way: Way | None = None, behind: Behind | None = None) -> frozenset[Exposure]:
    """Everything that the outside is led to.

    Args:
        manifests: a full desired state.
        way: what knows its policies; without it the network of every exposure is unknown.
        behind: what finds the workloads behind a backend; without it they are read from the manifests.

    Raises:
        Refused: an object is not what the API server takes.
    """
    manifests = tuple(manifests)
    behind = behind or WorkloadsBehind(read_workloads(manifests))
    reasons: defaultdict[Exposure, set[tuple[str, ...]]] = defaultdict(set)
    for entry in _entries(manifests, read_services(manifests)):
        for exposure in _exposures(entry, behind, way):
            reasons[exposure].add(exposure.because)
    return frozenset(
        replace(exposure, because=tuple(dict.fromkeys(chain.from_iterable(sorted(found)))))
        for exposure, found in reasons.items()
    )


def routed(manifests: Iterable[Manifest]) -> frozenset[Backend]:
    """The backends, on TCP, that an Ingress, an OpenShift Route or a route of the Gateway API leads to.

    Raises:
        Refused: an object is not what the API server takes.
    """
    manifests = tuple(manifests)
    return frozenset(
        backend
        for entry in _routed_entries(manifests, read_services(manifests))
        for backend in entry.target.backends
        if backend.protocol == "TCP"
    )


def served(manifests: Iterable[Manifest]) -> frozenset[str]:
    """Backends (`namespace/service:number`) that exist: the Service has the port and leads to a workload.

    A Service without selector gets its addresses elsewhere and counts as well.

    Raises:
        Refused: an object is not what the API server takes.
    """
    manifests = tuple(manifests)
    services, behind = read_services(manifests), WorkloadsBehind(read_workloads(manifests))
    return frozenset(
        f"{service}:{port.number}"
        for service in services.known.values()
        for port in service.ports
        if not service.selector or any(behind.pods_of(each) for each in services.backends(service, port))
    )


def newly_exposed(before: Iterable[Exposure], after: Iterable[Exposure]) -> tuple[Exposure, ...]:
    """What the second lets in and the first does not, ordered; the other way round: what is hidden.

    What the network blocks is not let in. More of the same is new: fewer identity checks, wider source ranges, no TLS
    any more, another workload behind the same Service, a policy that does not block any more.
    """
    earlier: defaultdict[str, list[Exposure]] = defaultdict(list)
    for exposure in before:
        earlier[exposure.backend].append(exposure)
    return tuple(
        exposure
        for exposure in sorted(after)
        if exposure.network != "blocked" and not any(each.covers(exposure) for each in earlier[exposure.backend])
    )


def exposure_difference(before: Iterable[Exposure], after: Iterable[Exposure]) -> ExposureDifference:
    """What differs between two states, by entries."""
    before, after = frozenset(before), frozenset(after)
    old, new = _by_entry(before - after), _by_entry(after - before)
    changed = tuple(
        (old[key][0], new[key][0]) for key in sorted(old.keys() & new.keys()) if len(old[key]) == len(new[key]) == 1
    )
    paired = {each for pair in changed for each in pair}
    return ExposureDifference(
        exposed=tuple(each for each in newly_exposed(before, after) if each not in paired),
        hidden=tuple(each for each in newly_exposed(after, before) if each not in paired),
        changed=changed,
    )


_Key = tuple[Requests, str, str, int, str]


def _by_entry(exposures: Iterable[Exposure]) -> dict[_Key, list[Exposure]]:
    found: defaultdict[_Key, list[Exposure]] = defaultdict(list)
    for each in sorted(exposures):
        found[each.requests, each.backend, each.entry, each.port, each.protocol].append(each)
    return found


def _routed_entries(manifests: tuple[Manifest, ...], services: Services) -> Iterator[Entry]:
    fronts = read_fronts(manifests)
    return chain(ingress_entries(manifests, services, fronts), gateway_entries(manifests, services, fronts))


def _entries(manifests: tuple[Manifest, ...], services: Services) -> Iterator[Entry]:
    return chain(_routed_entries(manifests, services), service_entries(services))


@dataclass(frozen=True, slots=True)
class _Found:
    """A workload behind an entry: who gets there, and why."""

    reached: Reached
    ranges: Ranges
    because: tuple[str, ...]


def _exposures(entry: Entry, behind: Behind, way: Way | None) -> Iterator[Exposure]:
    """An entry as exposures: one, unless policies narrow the clients of its workloads differently."""
    found = [
        _found(entry, workload, backend.protocol, port, way)
        for backend in entry.target.backends
        for workload, port in behind.pods_of(backend)
    ]
    groups: defaultdict[Ranges, list[_Found]] = defaultdict(list)
    for each in found:
        groups[each.ranges].append(each)
    if not found:
        nobody = "no workload among the objects answers there"
        yield _exposure(entry, entry.front.source_ranges, (), (*entry.target.because, nobody), way)
    for ranges, group in groups.items():
        because = (*entry.target.because, *(reason for each in group for reason in each.because))
        yield _exposure(entry, ranges, _strongest(each.reached for each in group), because, way)


def _exposure(
    entry: Entry, ranges: Ranges, reached: tuple[Reached, ...], because: tuple[str, ...], way: Way | None
) -> Exposure:
    by_port = entry.kind in _BY_PORT
    return Exposure(
        requests=entry.requests,
        backend=entry.target.name,
        entry=entry.kind,
        port=entry.port,
        protocol=entry.protocol,
        tls=entry.tls,
        source_ranges=ranges,
        identity_checks=entry.front.identity_checks,
        reached=reached,
        front_door=by_port and way is not None and any(way.is_controller(each.workload) for each in reached),
        because=(*entry.because, *because),
    )


def _found(entry: Entry, workload: str, protocol: str, port: int, way: Way | None) -> _Found:
    declared = entry.front.source_ranges
    if way is None:
        return _Found(Reached(workload, "unknown"), declared, ())
    if entry.view == "controller":
        passage = way.from_controllers(workload, protocol, port)
        return _Found(Reached(workload, passage.reach), declared, passage.because)
    admission = way.from_outside(workload, protocol, port)
    if admission.ranges is None:
        return _Found(Reached(workload, "blocked"), declared, admission.because)
    sure: Reach = "depends" if admission.depends else "open"
    if entry.view == "client":
        ranges = intersection(declared, admission.ranges)
        if ranges is None:
            return _Found(Reached(workload, "blocked"), declared, admission.because)
        return _Found(Reached(workload, sure), ranges, admission.because)
    if is_everywhere(admission.ranges):
        return _Found(Reached(workload, sure), declared, admission.because)
    return _Found(Reached(workload, "depends"), declared, (*admission.because, _NODE_ADDRESS))


def _strongest(found: Iterable[Reached]) -> tuple[Reached, ...]:
    """Each workload once, with the best that one of its ports comes to."""
    verdicts: defaultdict[str, set[Reach]] = defaultdict(set)
    for each in found:
        verdicts[each.workload].add(each.network)
    return tuple(
        Reached(workload, next(reach for reach in _STRONGEST if reach in verdicts[workload]))
        for workload in sorted(verdicts)
    )
