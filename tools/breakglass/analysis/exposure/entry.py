"""One way in from outside: what asks for it, what stands in front, and the backend it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from breakglass.analysis.exposure.ranges import EVERYWHERE, Ranges, intersection
from breakglass.analysis.exposure.requests import Requests

EntryKind = Literal["ingress", "route", "gateway", "load-balancer", "node-port", "external-ip"]
"""`route` is OpenShift's; the routes of the Gateway API are `gateway`."""

Tls = Literal["yes", "no", "passthrough", "unknown"]
"""Whether the way in ends TLS; passed through, the pods do; unknown where it carries bytes and nobody says which."""

View = Literal["controller", "client", "node"]
"""Whose address the pods see: that of the ingress controller's pods, the client's own, or a node's."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What answers behind one port of a Service.

    Attributes:
        namespace: of the Service and of the pods that it selects.
        service: its name.
        selector: labels of its pods; empty for a Service without selector.
        addresses: endpoints of a Service without selector, of whatever namespace.
        pods: namespace and name of the Pods that such endpoints say they are.
        port: of the pods, by number, or by a name that each pod may give to another number.
        protocol: TCP, UDP or SCTP.
    """

    namespace: str
    service: str
    selector: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()
    pods: tuple[tuple[str, str], ...] = ()
    port: int | str = 0
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Target:
    """Where an entry leads.

    Attributes:
        name: `namespace/service:number`; the port's name where no Service tells its number.
        backends: what answers there; empty where no manifest says.
        because: why there is none, or how one comes there.
    """

    name: str
    backends: tuple[Backend, ...] = ()
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Front:
    """What a request must pass before it reaches a backend.

    Attributes:
        source_ranges: where it must come from.
        identity_checks: what asks who sends it, such as `forwardAuth http://oauth2-proxy.edge.svc/`; sorted.
    """

    source_ranges: Ranges = EVERYWHERE
    identity_checks: tuple[str, ...] = ()

    def then(self, other: Front) -> Front | None:
        """Both, one after the other; None where nobody passes both."""
        ranges = intersection(self.source_ranges, other.source_ranges)
        if ranges is None:
            return None
        return Front(ranges, tuple(sorted({*self.identity_checks, *other.identity_checks})))


@dataclass(frozen=True, slots=True)
class Entry:
    """One way in.

    Attributes:
        kind: what makes it.
        requests: what it takes.
        port: the port that the outside connects to; 0 where no manifest says.
        protocol: of the connection: TCP, UDP or SCTP.
        tls: whether TLS ends here.
        front: what a request must pass.
        target: where it leads.
        view: whose address the pods see.
        because: the object that opens it, for people: `Ingress shop/web`.
    """

    kind: EntryKind
    requests: Requests
    port: int
    protocol: str
    tls: Tls
    front: Front
    target: Target
    view: View
    because: tuple[str, ...]
