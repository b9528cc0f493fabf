"""Whether the network lets through what an entry sends to a workload's pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from breakglass.analysis.exposure.ranges import Ranges

Reach = Literal["open", "blocked", "depends", "unknown"]
"""`depends`: on the implementation of NetworkPolicy, or on an address that the pods see instead of the client's."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Whether the ingress controller's pods reach a workload.

    Attributes:
        reach: the verdict.
        because: the policies that decide it, one sentence each.
    """

    reach: Reach
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """The addresses outside the cluster that reach a workload.

    Attributes:
        ranges: of them; the empty tuple is every address, None is none.
        because: the policies that decide it, one sentence each.
        depends: implementations of NetworkPolicy differ about some of them.
    """

    ranges: Ranges | None
    because: tuple[str, ...] = ()
    depends: bool = False


class Way(Protocol):
    """What knows the policies on the way to a workload. Workloads are named as `Behind` names them."""

    def from_controllers(self, workload: str, protocol: str, port: int) -> Passage:
        """Whether the ingress controllers' pods reach a workload on a port of its pods."""

    def from_outside(self, workload: str, protocol: str, port: int) -> Admission:
        """Which addresses outside the cluster reach a workload on a port of its pods."""

    def is_controller(self, workload: str) -> bool:
        """Whether the workload is an ingress controller itself: the front door, that is open on purpose."""
