"""Which workloads stand behind a backend, and on which port of theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol

from breakglass.analysis.exposure.entry import Backend
from breakglass.analysis.network.pod import Pod, Workload


class Behind(Protocol):
    """What finds the workloads behind backends."""

    def pods_of(self, backend: Backend) -> Iterable[tuple[str, int]]:
        """Workloads, by name, each with the number of the port that it answers on; each pair once."""


class WorkloadsBehind:
    """Finds them among workloads that were read."""

    def __init__(self, workloads: Iterable[Workload]) -> None:
        """Every workload of the state."""
        self._in_namespace: defaultdict[str, list[tuple[Workload, Pod]]] = defaultdict(list)
        self._by_address: defaultdict[str, list[tuple[Workload, Pod]]] = defaultdict(list)
        self._by_name: defaultdict[tuple[str, str], list[tuple[Workload, Pod]]] = defaultdict(list)
        for workload in workloads:
            for pod in workload.pods:
                self._in_namespace[workload.namespace].append((workload, pod))
                self._by_name[workload.namespace, pod.name].append((workload, pod))
                for address in pod.addresses:
                    self._by_address[str(address)].append((workload, pod))

    def pods_of(self, backend: Backend) -> tuple[tuple[str, int], ...]:
        """As the protocol says. A pod that has no port of the name that is asked for does not answer."""
        return tuple(dict.fromkeys((str(workload), number) for workload, _, number in self.answering(backend)))

    def answering(self, backend: Backend) -> Iterator[tuple[Workload, Pod, int]]:
        """The pods themselves, each with its workload and the number of its port."""
        for workload, pod in self._candidates(backend):
            if number := _number(pod, backend):
                yield workload, pod, number

    def _candidates(self, backend: Backend) -> Iterator[tuple[Workload, Pod]]:
        if backend.selector:
            wanted = set(backend.selector)
            for workload, pod in self._in_namespace[backend.namespace]:
                if wanted <= pod.labels.items():
                    yield workload, pod
        for address in backend.addresses:
            yield from self._by_address[address]
        for name in backend.pods:
            yield from self._by_name[name]


def _number(pod: Pod, backend: Backend) -> int:
    """The pod's own port; 0 where it has none of that name."""
    if isinstance(backend.port, int):
        return backend.port
    named = (port for port in pod.ports if (port.name, port.protocol) == (backend.port, backend.protocol))
    return next((port.number for port in named), 0)
