"""Where implementations of NetworkPolicy differ, and what each of them makes of it.

`None` says that it differs between versions, or that the specification leaves it open: then both outcomes are told.
Each line has its source in docs/blast-radius.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """How an implementation reads what the specification leaves open.

    Attributes:
        ip_blocks_match_pods: an `ipBlock` matches the addresses of pods.
        ip_blocks_match_nodes: an `ipBlock` matches the addresses of nodes and of pods in their network.
        local_node_reaches_pods: a pod's own node reaches it whatever NetworkPolicies say, as the specification has it.
        honours_except: `except` takes addresses out of an `ipBlock`.
        honours_end_port: `endPort` makes a range; otherwise `port` alone counts.
    """

    ip_blocks_match_pods: bool | None = None
    ip_blocks_match_nodes: bool | None = True
    local_node_reaches_pods: bool | None = True
    honours_except: bool | None = True
    honours_end_port: bool | None = True


PROFILES = {
    "upstream": Profile(),
    "cilium": Profile(ip_blocks_match_pods=False, ip_blocks_match_nodes=False),
    "calico": Profile(ip_blocks_match_pods=True),
    "aws": Profile(ip_blocks_match_pods=True, honours_except=None),
    "azure": Profile(ip_blocks_match_pods=True, honours_end_port=None),
    "ovn-kubernetes": Profile(ip_blocks_match_pods=True, honours_except=None),
}
"""By the name that `--cni` takes."""
