"""Single questions: may this one reach that one on this port, and which rules say so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from breakglass.analysis.exposure.behind import WorkloadsBehind
from breakglass.analysis.exposure.service import Services
from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.explain import Explanation, Verdict, explain
from breakglass.analysis.network.pod import read_address
from breakglass.analysis.network.portline import interval
from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS
from breakglass.model.errors import InvalidFile, NotFound

_KEYS = {"id", "from", "to", "port", "protocol"}
_SERVICE = "[Service]"
_REMEDY = (
    'write [{"id": …, "from": "ns/pod" or an IP, "to": the same or "ns/svc[Service]", "port": …, "protocol": "TCP"}]'
)


@dataclass(frozen=True, slots=True)
class Probe:
    """One question.

    Attributes:
        id: names the answer.
        source: `namespace/pod`, `namespace/name[Kind]`, or an address.
        destination: the same, or `namespace/name[Service]`.
        port: of the destination, by number or by name; of the Service where it is one.
        protocol: TCP, UDP or SCTP.
    """

    id: str | int
    source: str
    destination: str
    port: int | str
    protocol: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a probe."""

    probe: Probe
    explanation: Explanation


def read_probes(content: bytes, file: str) -> tuple[Probe, ...]:
    """Read a file of probes: a list in JSON.

    Raises:
        InvalidFile: it is something else; with `file:line` or the number of the probe.
    """
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise InvalidFile(f"not JSON: {error.msg}", where=f"{file}:{error.lineno}", remedy=_REMEDY) from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidFile(f"not JSON: {type(error).__name__}", where=file, remedy=_REMEDY) from None
    if not isinstance(found, list):
        raise InvalidFile("the probes are no list", where=file, remedy=_REMEDY)
    probes = tuple(_read_probe(item, f"{file}: probe {number}") for number, item in enumerate(found, 1))
    ids = [probe.id for probe in probes]
    if len(set(ids)) < len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise InvalidFile(f"the id {twice!r} stands twice", where=file, remedy="give every probe an id of its own")
    return probes


def _read_probe(item: Any, where: str) -> Probe:
    if not isinstance(item, Mapping) or not _KEYS - {"protocol"} <= item.keys() <= _KEYS:
        raise InvalidFile("a probe has id, from, to, port and protocol", where=where, remedy=_REMEDY)
    identity, port, protocol = item["id"], item["port"], item.get("protocol", "TCP")
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise InvalidFile("id is neither text nor a number", where=where, remedy=_REMEDY)
    if not isinstance(item["from"], str) or not isinstance(item["to"], str):
        raise InvalidFile("from and to are text", where=where, remedy=_REMEDY)
    if not _is_port(port):
        raise InvalidFile(f"{port!r} is no port", where=where, remedy="name a port of 1-65535, or one by its name")
    if protocol not in PROTOCOLS:
        raise InvalidFile(f"{protocol!r} is no protocol", where=where, remedy=f"name {', '.join(PROTOCOLS)}")
    return Probe(identity, item["from"], item["to"], port, protocol)


def _is_port(port: Any) -> bool:
    if isinstance(port, str):
        return bool(port)
    return isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= LAST_PORT


class Prober:
    """Answers probes about one state."""

    def __init__(self, policies: CompiledPolicies, services: Services) -> None:
        """The state's policies, and its Services."""
        self._policies = policies
        self._state = policies.state
        self._services = services
        self._behind = WorkloadsBehind(self._state.objects.workloads)
        self._holders = {
            address: f"{workload.namespace}/{pod.name}"
            for workload in self._state.objects.workloads
            for pod in workload.pods
            for address in pod.addresses
            if not pod.host_network
        }

    def answer(self, probe: Probe) -> Answered:
        """Answer one probe.

        Raises:
            NotFound: it names something that does not exist.
        """
        asked = replace(probe, source=self._named(probe.source), destination=self._named(probe.destination))
        sources = self._ends(asked.source, asked)
        found = [
            explain(self._policies, source, destination, interval(probe.protocol, port, port)[0])
            if (source, asked.source) != (destination, asked.destination)
            else Explanation("allow", "allow", "allow", ("a pod always reaches itself",))
            for destination, port in self._destinations(asked)
            for source in sources
        ]
        return Answered(probe, _together(found))

    def _named(self, name: str) -> str:
        """The pod that has an address, where one has it; otherwise what was written."""
        try:
            return self._holders.get(read_address(name), name)
        except ValueError:
            return name

    def _destinations(self, probe: Probe) -> list[tuple[int, int]]:
        """The ends that a probe goes to, each with the number of its port."""
        if probe.destination.endswith(_SERVICE):
            return self._behind_service(probe)
        ends = self._ends(probe.destination, probe)
        if isinstance(probe.port, int):
            return [(end, probe.port) for end in ends]
        found = [
            (bit, port.number)
            for bit in ends
            if (end := self._state.ends.get(bit)) is not None
            for port in end.ports
            if (port.name, port.protocol) == (probe.port, probe.protocol)
        ]
        if not found:
            raise _missing(probe, f"{probe.destination} has no port {probe.protocol} {probe.port}")
        return found

    def _behind_service(self, probe: Probe) -> list[tuple[int, int]]:
        namespace, _, name = probe.destination.removesuffix(_SERVICE).partition("/")
        service = self._services.known.get((namespace, name))
        if service is None:
            raise _missing(probe, f"there is no Service {namespace}/{name}")
        target = self._services.target(namespace, name, probe.port, probe.protocol)
        found = [
            (self._state.bit_of(pod), number)
            for backend in target.backends
            for _, pod, number in self._behind.answering(backend)
        ]
        found += [
            (end, backend.port)
            for backend in target.backends
            if isinstance(backend.port, int) and backend.port
            for address in backend.addresses
            for end in self._ends(self._named(address), probe)
        ]
        if not found:
            raise _missing(probe, "; ".join(target.because) or f"nothing answers behind the Service {service}")
        return list(dict.fromkeys(found))

    def _ends(self, name: str, probe: Probe) -> list[int]:
        state = self._state
        if "/" not in name:
            try:
                address = read_address(name)
            except ValueError:
                raise _missing(probe, f"{name!r} is neither namespace/pod nor an address") from None
            return [state.space.first_range + state.space.range_of(address)]
        if name in state.bit_of_pod:
            return [state.bit_of_pod[name]]
        # A workload by its whole name, or by namespace/name alone; apart from others where a policy tells pods apart.
        found = [bit for whole, bits in state.bits_of_name.items() if _names(name, whole) for bit in bits]
        if not found:
            raise _missing(probe, f"there is no pod or workload {name}")
        return found


def _names(name: str, whole: str) -> bool:
    return name in (whole, whole.partition("{")[0], whole.partition("[")[0])


def _missing(probe: Probe, what: str) -> NotFound:
    return NotFound(what, where=f"probe {probe.id}", remedy="name what the manifests hold")


def _together(found: Iterable[Explanation]) -> Explanation:
    """One answer of several: where they differ, it depends on which pod speaks or answers."""
    found = list(found)
    if len(found) == 1:
        return found[0]
    why = tuple(dict.fromkeys(reason for each in found for reason in each.why))
    verdict, egress, ingress = (
        _common(values) for values in zip(*((each.verdict, each.egress, each.ingress) for each in found), strict=True)
    )
    return Explanation(verdict, egress, ingress, why)


def _common(verdicts: tuple[Verdict, ...]) -> Verdict:
    return verdicts[0] if len(set(verdicts)) == 1 else "depends"
