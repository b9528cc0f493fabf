"""Everything that changes between two states: connections, exposure and access, each with its causes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.difference import AccessDifference, compare_access
from breakglass.analysis.comparison import Comparison, Network, read_network_and_routes
from breakglass.analysis.exposure.exposure import Exposure, ExposureDifference, exposed, exposure_difference
from breakglass.analysis.exposure.passage import Controller, PolicyWay
from breakglass.analysis.network.connections import Connections, IsolationFlip
from breakglass.analysis.network.policy import Block
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.network.within import Within
from breakglass.model.manifest import Manifest


@dataclass(frozen=True)
class Side:
    """One state, read once for every question.

    Attributes:
        manifests: its objects.
        network: who runs there, and the policies.
        access: RBAC.
    """

    manifests: tuple[Manifest, ...]
    network: Network
    access: Access


@dataclass(frozen=True)
class BlastRadius:
    """What changes.

    Attributes:
        comparison: the two networks, to ask for causes.
        connections: everything whose answer differs.
        flips: workloads that are isolated on one side alone.
        exposures: all that the outside reaches, before and after.
        exposure: what differs between the two.
        access: who may do what.
    """

    comparison: Comparison
    connections: Connections
    flips: tuple[IsolationFlip, ...]
    exposures: tuple[frozenset[Exposure], frozenset[Exposure]]
    exposure: ExposureDifference
    access: AccessDifference

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(any(self.connections.cells) or self.flips or self.exposure or self.access)


def read_side(manifests: Iterable[Manifest]) -> Side:
    """Read one state.

    Raises:
        Refused: an object is not what the API server takes.
    """
    manifests = tuple(manifests)
    return Side(manifests, read_network_and_routes(manifests), Access(manifests))


def blast_radius(
    before: Side, after: Side, controllers: Sequence[Controller], profile: Profile, blocks: Iterable[Block] = ()
) -> BlastRadius:
    """Compare two states.

    Args:
        before: the one.
        after: the other.
        controllers: the ingress controllers, where they are known.
        profile: how the implementation of NetworkPolicy reads what the specification leaves open.
        blocks: addresses that will be asked about, beside those that the policies name.
    """
    comparison = Comparison(before.network, after.network, profile, unseen=True, blocks=blocks)
    was, will = (
        exposed(side.manifests, PolicyWay(side.network.objects, controllers, profile)) for side in (before, after)
    )
    return BlastRadius(
        comparison=comparison,
        connections=comparison.connections(),
        flips=comparison.isolation_flips(),
        exposures=(was, will),
        exposure=exposure_difference(was, will),
        access=compare_access(before.access, after.access, Within(comparison.connections_after).reaches),
    )
