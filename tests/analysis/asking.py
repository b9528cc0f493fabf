"""Questions to the engine in the words of the tests."""

from __future__ import annotations

from breakglass.analysis.comparison import Comparison, Map, read_network_and_routes
from breakglass.analysis.exposure.service import read_services
from breakglass.analysis.network.connections import Allowed, Connections
from breakglass.analysis.network.explain import Explanation
from breakglass.analysis.network.names import ports_shown
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.probe import Probe, Prober
from breakglass.model.manifest import Manifest

MATCHING_PODS = Profile(ip_blocks_match_pods=True)


def asked(*manifests: Manifest, profile: Profile = MATCHING_PODS) -> Asked:
    """One state, to ask about."""
    return Asked(manifests, profile)


class Asked:
    """One state."""

    def __init__(self, manifests: tuple[Manifest, ...], profile: Profile) -> None:
        self.map = Map(read_network_and_routes(manifests), profile)
        self._prober = Prober(self.map.policies, read_services(manifests))

    def explain(self, source: str, destination: str, port: int | str = 80, protocol: str = "TCP") -> Explanation:
        """The answer to a probe."""
        return self._prober.answer(Probe(1, source, destination, port, protocol)).explanation

    def verdict(self, source: str, destination: str, port: int | str = 80, protocol: str = "TCP") -> str:
        """`allow`, `deny` or `depends`."""
        return self.explain(source, destination, port, protocol).verdict

    def rows(self) -> dict[str, str]:
        """Every connection: `source -> destination`, and its ports."""
        return rows(self.map.connections())


def rows(connections: Connections) -> dict[str, str]:
    """Every connection of one state, or every change as `before => after`."""
    return {
        f"{source} -> {destination}": " => ".join(map(shown, answer))
        for source, entries in connections.by_source(lambda destination, answer: (destination, answer))
        for destination, answer in entries
    }


def shown(allowed: Allowed) -> str:
    """The ports, with those that depend behind a question mark."""
    depends = f"? {ports_shown(allowed.depends)}" if allowed.depends else ""
    return " ".join(filter(None, [ports_shown(allowed.ports), depends])) or "nothing"


def compared(
    before: list[Manifest], after: list[Manifest], profile: Profile = MATCHING_PODS, *, unseen: bool = False
) -> Comparison:
    """Two states."""
    return Comparison(
        read_network_and_routes(tuple(before)), read_network_and_routes(tuple(after)), profile, unseen=unseen
    )
