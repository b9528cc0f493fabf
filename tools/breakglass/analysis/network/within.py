"""What somebody reaches who stands in a pod of a namespace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cached_property

from breakglass.analysis.network.connections import Answer, Connections
from breakglass.analysis.network.names import named, ports_shown
from breakglass.analysis.network.ports import Ports


class Within:
    """The reach of every workload, found when it is first asked for."""

    def __init__(self, connections: Callable[[], Connections]) -> None:
        """What makes the connections of the state."""
        self._connections = connections

    def reaches(self, namespace: str) -> list[tuple[str, str]]:
        """Workloads of a namespace, of all of them where it is empty, each with what it reaches.

        Returns:
            Pairs such as `shop/api[Deployment]` and `data/postgres[StatefulSet]:5432`.
        """
        prefix = f"{namespace}/" if namespace else ""
        return [
            (name, destination)
            for name, destinations in self._reached.items()
            if name.startswith(prefix)
            for destination in destinations
        ]

    @cached_property
    def _reached(self) -> dict[str, list[str]]:
        connections = self._connections()
        found: dict[str, list[str]] = {}
        for source, entries in connections.by_source(lambda destination, answer: (destination, answer)):
            grouped: defaultdict[Answer, list[str]] = defaultdict(list)
            for destination, answer in entries:
                grouped[answer].append(destination)
            found[source] = sorted(
                _told(name, (*allowed.ports, *allowed.depends))
                for (allowed,), names in grouped.items()
                for name in named(names, connections.space)
            )
        return found


def _told(name: str, ports: Ports) -> str:
    if len(ports) == 1 and ports[0].protocol == "TCP" and ports[0].first == ports[0].last:
        return f"{name}:{ports[0].first}"
    return f"{name} {ports_shown(ports)}"
