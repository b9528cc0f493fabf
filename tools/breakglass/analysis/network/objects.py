"""The network of one state: everything that runs, and the policies of every kind."""

from __future__ import annotations

from collections.abc import Iterable

from breakglass.analysis.network.adminnetworkpolicy import read_admin_network_policy
from breakglass.analysis.network.clusternetworkpolicy import read_cluster_network_policy
from breakglass.analysis.network.networkpolicy import read_network_policy
from breakglass.analysis.network.pod import read_namespaces, read_nodes, read_workloads
from breakglass.analysis.network.space import Objects
from breakglass.model.manifest import Manifest, key_of

_READERS = {
    ("networking.k8s.io", "NetworkPolicy"): read_network_policy,
    ("policy.networking.k8s.io", "ClusterNetworkPolicy"): read_cluster_network_policy,
    ("policy.networking.k8s.io", "AdminNetworkPolicy"): read_admin_network_policy,
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy"): read_admin_network_policy,
}


def read_network(manifests: Iterable[Manifest]) -> Objects:
    """Read what has a part in the network; other kinds are passed over.

    Raises:
        Refused: an object is not what the API server takes.
    """
    manifests = tuple(manifests)
    policies = []
    for manifest in manifests:
        key = key_of(manifest)
        reader = _READERS.get((key.group, key.kind))
        if reader is not None:
            policies.append(reader(manifest))
    return Objects(
        workloads=read_workloads(manifests),
        namespaces=read_namespaces(manifests),
        nodes=read_nodes(manifests),
        policies=tuple(sorted(policies, key=lambda policy: (policy.kind, policy.name))),
    )
