"""One desired state, read for all three questions: who reaches whom, what is exposed, who may do what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from breakglass.analysis.access import Access
from breakglass.analysis.connectivity import Network
from breakglass.analysis.exposure import Exposure, exposed, served
from breakglass.analysis.field import namespace_of
from breakglass.analysis.workload import read_namespaces
from breakglass.model.manifest import Manifest, key_of


@dataclass(frozen=True, slots=True)
class Situation:
    """A desired state, ready for questions.

    Attributes:
        network: workloads and policies.
        access: RBAC.
        exposures: hosts and paths.
        backends: Services that answer, `namespace/service:port`.
        namespaces: names of the namespaces that exist or hold something.
        service_accounts: `namespace/name`.
    """

    network: Network
    access: Access
    exposures: frozenset[Exposure]
    backends: frozenset[str]
    namespaces: frozenset[str]
    service_accounts: frozenset[str]


def read_situation(manifests: Iterable[Manifest]) -> Situation:
    """Read a full desired state.

    Raises:
        Refused: an object is not what the API server takes.
    """
    manifests = tuple(manifests)
    keys = [key_of(manifest) for manifest in manifests]
    return Situation(
        network=Network(manifests),
        access=Access(manifests),
        exposures=exposed(manifests),
        backends=served(manifests),
        namespaces=frozenset(read_namespaces(manifests)) | {key.namespace for key in keys if key.namespace},
        service_accounts=frozenset(
            f"{namespace_of(manifest)}/{key.name}"
            for manifest, key in zip(manifests, keys, strict=True)
            if (key.group, key.kind) == ("", "ServiceAccount")
        ),
    )
