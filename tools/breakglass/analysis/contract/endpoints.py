"""Whether an overlay keeps what its contract says of hosts and paths.

A host `*.suffix` in a contract is every host below the suffix, and a path is everything below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from breakglass.analysis.blast_radius import BlastRadius, Side
from breakglass.analysis.contract.promise import NARROW, REMOVE, UNTRUE, Judged, names_in_cluster, plain
from breakglass.analysis.exposure.exposure import Exposure, newly_exposed, served
from breakglass.analysis.exposure.requests import Requests
from breakglass.model.finding import Finding
from breakglass.model.overlay import Contract, Endpoint


class ContractEndpoints:
    """A contract held to what becomes reachable from outside."""

    def __init__(self, contract: Contract, radius: BlastRadius, after: Side, where: str, activation: str) -> None:
        """Compare the exposures; the arguments are those of `assess`."""
        self._contract = contract
        self._where = where
        self._activation = activation
        self._before, exposures = radius.exposures
        self._exposes = newly_exposed(self._before, exposures)
        self._hides = newly_exposed(exposures, self._before)
        self._backends = served(after.manifests)

    def judged(self) -> Iterator[Judged]:
        """Every promise."""
        for promise in self._contract.exposes:
            yield Judged("exposes", str(promise), tuple(self._judge_exposing(promise)))
        for promise in self._contract.keepsPrivate:
            yield Judged("keepsPrivate", str(promise), tuple(self._judge_private(promise)))

    def beyond(self) -> Iterator[Finding]:
        """What is exposed and not promised."""
        allowed = [_area(promise) for promise in self._contract.exposes]
        judged = [_area(promise) for promise in self._contract.keepsPrivate]
        beyond = [
            exposure
            for exposure in self._exposes
            if not any(area.includes(exposure.requests) for area in allowed)
            and not any(area.meets(exposure.requests) for area in judged)
        ]
        for line in dict.fromkeys(str(self._plain(exposure)) for exposure in beyond):
            message = f"the overlay also exposes {line}, beyond the contract"
            yield Finding("contract-exposed-beyond", message, self._where, NARROW)

    def exposed(self) -> list[str]:
        """What becomes reachable, one line each."""
        return list(dict.fromkeys(str(self._plain(exposure)) for exposure in self._exposes))

    def hidden(self) -> list[str]:
        """What is reachable no more, one line each."""
        return list(dict.fromkeys(map(str, self._hides)))

    def _judge_exposing(self, promise: Endpoint) -> Iterator[Finding]:
        request = Requests(promise.host, promise.path, "Exact", deep=True)
        if any(each.requests.includes(request) for each in self._before if each.network != "blocked"):
            message = f"{promise} is exposed in the baseline already"
            yield Finding("contract-exposes-nothing", message, self._where, REMOVE)
        elif not any(each.requests.meets(request) and self._answers(each) for each in self._exposes):
            message = (
                f"{promise} is still private: no Ingress or route sends it to a Service that selects a workload, "
                "or policies keep it from there"
            )
            remedy = "correct the host, the path, the backend or the policies on the way"
            yield Finding("contract-still-private", message, self._where, remedy)

    def _judge_private(self, promise: Endpoint) -> Iterator[Finding]:
        area = _area(promise)
        meeting = sorted(each for each in self._before if each.requests.meets(area) and each.network != "blocked")
        if meeting:
            message = f"{promise} is to stay private, and the baseline exposes {meeting[0]}"
            yield Finding("contract-private-untrue", message, self._where, UNTRUE)
        elif opened := [exposure for exposure in self._exposes if exposure.requests.meets(area)]:
            message = f"{promise} is to stay private, and the overlay exposes {self._plain(opened[0])}"
            yield Finding("contract-private-broken", message, self._where, "narrow the overlay")

    def _answers(self, exposure: Exposure) -> bool:
        service, _, port = exposure.backend.rpartition(":")
        return any(f"{name}:{port}" in self._backends for name in names_in_cluster(service, self._activation))

    def _plain(self, exposure: Exposure) -> Exposure:
        service, _, port = exposure.backend.rpartition(":")
        return replace(exposure, backend=f"{plain(service, self._activation)}:{port}")


def _area(promise: Endpoint) -> Requests:
    return Requests(promise.host, promise.path, deep=True)
