"""A real Kubernetes control plane on loopback: the stock API server, controller manager and etcd, without nodes."""

from breakglass_lab.controlplane.binaries import Assets, assets
from breakglass_lab.controlplane.client import Client, StatusError
from breakglass_lab.controlplane.control_plane import ControlPlane, StartError
from breakglass_lab.controlplane.crds import gateway_api_crds, network_policy_api_crds
from breakglass_lab.controlplane.existing import ExistingCluster, ExistingClusterError
from breakglass_lab.controlplane.install import InstallError, install
from breakglass_lab.controlplane.toolchain import BuildError

__all__ = [
    "Assets",
    "BuildError",
    "Client",
    "ControlPlane",
    "ExistingCluster",
    "ExistingClusterError",
    "InstallError",
    "StartError",
    "StatusError",
    "assets",
    "gateway_api_crds",
    "install",
    "network_policy_api_crds",
]
