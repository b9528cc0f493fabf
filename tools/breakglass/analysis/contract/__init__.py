"""Whether an overlay keeps its contract: it opens what it promises, nothing beside it, and leaves shut what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from breakglass.analysis.blast_radius import BlastRadius, blast_radius, read_side
from breakglass.analysis.contract.connections import ContractConnections, blocks_of
from breakglass.analysis.contract.endpoints import ContractEndpoints
from breakglass.analysis.contract.grants import ContractGrants
from breakglass.analysis.contract.promise import Judged
from breakglass.analysis.exposure.passage import Controller
from breakglass.analysis.network.profile import PROFILES, Profile
from breakglass.model.finding import Finding
from breakglass.model.manifest import Manifest
from breakglass.model.overlay import Contract


@dataclass(frozen=True, slots=True)
class Assessment:
    """A contract held to what an overlay changes.

    Attributes:
        radius: everything that changes.
        judged: each promise, and what is wrong about it.
        beyond: what no promise speaks of.
        lines: what opening changes, one line each, such as `opens     ops/bastion → data/postgres TCP 5432`.
    """

    radius: BlastRadius
    judged: tuple[Judged, ...]
    beyond: tuple[Finding, ...]
    lines: tuple[str, ...]

    @property
    def findings(self) -> list[Finding]:
        """Every finding; where none has severity `error`, the contract holds."""
        return [*chain.from_iterable(each.findings for each in self.judged), *self.beyond]


def assess(
    contract: Contract,
    before: Iterable[Manifest],
    after: Iterable[Manifest],
    where: str,
    activation: str = "",
    controllers: tuple[Controller, ...] = (),
    profile: Profile = PROFILES["upstream"],
) -> Assessment:
    """Judge an overlay by what it changes.

    Args:
        contract: what it promises.
        before: the full desired state without it.
        after: the full desired state with it.
        where: the contract's file, for the findings.
        activation: id whose suffix `-<id>` the overlay's own objects carry; empty where they carry none.
        controllers: the ingress controllers, where they are known.
        profile: how the implementation of NetworkPolicy reads what the specification leaves open.

    Raises:
        Refused: an object is not what the API server takes.
    """
    old, new = read_side(before), read_side(after)
    radius = blast_radius(old, new, controllers, profile, blocks_of(contract))
    connections = ContractConnections(contract, radius.comparison, where, activation)
    endpoints = ContractEndpoints(contract, radius, new, where, activation)
    grants = ContractGrants(contract, old, new, where, activation)
    return Assessment(
        radius=radius,
        judged=(*connections.judged(), *endpoints.judged(), *grants.judged()),
        beyond=(*connections.beyond(), *endpoints.beyond(), *grants.beyond()),
        lines=tuple(_lines(connections, endpoints, grants)),
    )


def _lines(connections: ContractConnections, endpoints: ContractEndpoints, grants: ContractGrants) -> Iterator[str]:
    lines: tuple[tuple[str, Iterable[object]], ...] = (
        ("opens", connections.opened()),
        ("exposes", endpoints.exposed()),
        ("grants", grants.granted()),
        ("binds", grants.bound()),
        ("shuts", connections.shut()),
        ("hides", endpoints.hidden()),
        ("revokes", grants.revoked()),
    )
    return (f"{verb:<9} {item}" for verb, items in lines for item in items)
