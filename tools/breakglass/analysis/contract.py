"""Whether an overlay keeps its contract: it opens what it promises, nothing beside it, and leaves shut what it says.

The contract is a whitelist. It has no words for addresses and pods that no manifest holds: what a policy opens towards
them is refused; what follows from lifting a workload's isolation altogether is a warning, for that is what such an
overlay is for, and whoever approves it must see it.

A host `*.suffix` in a contract is every host below the suffix, and a path is everything below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from breakglass.analysis.access import Permission
from breakglass.analysis.connectivity import Flow, Network, Verdict
from breakglass.analysis.difference import Difference, compare, grouped_flows, plain_subject
from breakglass.analysis.exposure import Exposure
from breakglass.analysis.ports import PortRange, difference, union
from breakglass.analysis.situation import Situation, read_situation
from breakglass.model.finding import Finding
from breakglass.model.manifest import Manifest
from breakglass.model.overlay import Connection, Contract, Endpoint, Grant

_NARROW = "narrow the overlay, or add it to the contract"
_REMOVE = "remove it from the contract"
_NEEDED = "see that nobody needs it while the window is open"
_UNTRUE = "remove it from the contract, or shut it in the baseline"


def evaluate(
    contract: Contract, before: Iterable[Manifest], after: Iterable[Manifest], where: str, activation: str = ""
) -> list[Finding]:
    """Judge an overlay by what it changes.

    Args:
        contract: what it promises.
        before: the full desired state without it.
        after: the full desired state with it.
        where: the contract's file, for the findings.
        activation: id whose suffix `-<id>` the overlay's own objects carry; empty where they carry none.

    Returns:
        Every finding; where none has severity `error`, the contract holds.

    Raises:
        Refused: an object is not what the API server takes.
    """
    return assess(contract, before, after, where, activation)[0]


def describe(before: Iterable[Manifest], after: Iterable[Manifest], activation: str = "") -> tuple[str, ...]:
    """What opening changes, one line each, such as `opens     ops/bastion → data/postgres TCP 5432`.

    Args and errors are those of `evaluate`.
    """
    return _lines(compare(read_situation(before), read_situation(after), activation))


def assess(
    contract: Contract, before: Iterable[Manifest], after: Iterable[Manifest], where: str, activation: str = ""
) -> tuple[list[Finding], tuple[str, ...]]:
    """What `evaluate` and `describe` return, of one comparison of the two states: it is most of the work of both."""
    old, new = read_situation(before), read_situation(after)
    case = _Case(contract, old, new, compare(old, new, activation), where, activation)
    findings = [*_judge_connections(case), *_judge_outside(case), *_judge_endpoints(case), *_judge_grants(case)]
    return findings, _lines(case.changes)


def _lines(changes: Difference) -> tuple[str, ...]:
    lines: tuple[tuple[str, Iterable[object]], ...] = (
        ("opens", (*grouped_flows(changes.opens), *changes.opens_outside)),
        ("exposes", dict.fromkeys(map(str, changes.exposes))),
        ("grants", changes.grants),
        ("binds", changes.binds),
        ("shuts", (*grouped_flows(changes.shuts), *changes.shuts_outside)),
        ("hides", dict.fromkeys(map(str, changes.hides))),
        ("revokes", changes.revokes),
    )
    return tuple(f"{verb:<9} {item}" for verb, items in lines for item in items)


@dataclass(frozen=True, slots=True)
class _Case:
    contract: Contract
    before: Situation
    after: Situation
    changes: Difference
    where: str
    activation: str

    def finding(self, name: str, message: str, remedy: str) -> Finding:
        return Finding(f"contract-{name}", message, self.where, remedy)

    def warning(self, name: str, message: str, remedy: str) -> Finding:
        return Finding(f"contract-{name}", message, self.where, remedy, "warning")

    def names(self, name: str) -> tuple[str, ...]:
        """What an object of the contract may be called in the cluster."""
        return (name, f"{name}-{self.activation}") if self.activation else (name,)


def _judge_connections(case: _Case) -> Iterator[Finding]:
    for promise in case.contract.opens:
        yield from _unknown_workloads(case, promise) or _judge_opening(case, promise)
    for promise in case.contract.keepsShut:
        yield from _unknown_workloads(case, promise) or _judge_shut(case, promise)
    for line in grouped_flows(_beyond(case.changes.opens, (*case.contract.opens, *case.contract.keepsShut))):
        yield case.finding(
            "opened-beyond", f"the overlay also opens {line}, which the contract does not promise", _NARROW
        )
    for line in grouped_flows(case.changes.shuts):
        yield case.warning("shuts", f"the overlay shuts {line}, which the baseline lets through", _NEEDED)


def _unknown_workloads(case: _Case, promise: Connection) -> list[Finding]:
    known = {workload.name for workload in case.after.network.workloads}
    names = dict.fromkeys((promise.source, promise.destination))
    return [
        case.finding("unknown-workload", f"{promise}: there is no workload {name}", "name one that exists")
        for name in names
        if known.isdisjoint(case.names(name))
    ]


def _judge_opening(case: _Case, promise: Connection) -> Iterator[Finding]:
    if any(verdict.allowed for verdict in _verdicts(case, case.before.network, promise)):
        yield case.finding("opens-nothing", f"{promise} is open in the baseline already", _REMOVE)
        return
    verdicts = _verdicts(case, case.after.network, promise)
    if not any(verdict.allowed for verdict in verdicts):
        reasons = "; ".join(dict.fromkeys(reason for verdict in verdicts for reason in verdict.because))
        shut = " and ".join(side for side in ("egress", "ingress") if not any(getattr(each, side) for each in verdicts))
        message = f"{promise} is still shut ({shut or 'no side'}): {reasons}"
        yield case.finding(
            "still-shut", message, "let the overlay open the source's egress and the destination's ingress"
        )
    yield from _undeclared_port(case, promise)


def _judge_shut(case: _Case, promise: Connection) -> Iterator[Finding]:
    if any(verdict.allowed for verdict in _verdicts(case, case.before.network, promise)):
        yield case.finding("shut-untrue", f"{promise} is to stay shut, and is open in the baseline", _UNTRUE)
    elif opening := [each for each in _verdicts(case, case.after.network, promise) if each.allowed]:
        message = f"{promise} is to stay shut, and the overlay opens it: {'; '.join(opening[0].because)}"
        yield case.finding("shut-broken", message, "narrow the overlay")
    else:
        yield from _undeclared_port(case, promise)


def _verdicts(case: _Case, network: Network, promise: Connection) -> list[Verdict]:
    known = {workload.name for workload in network.workloads}
    return [
        network.verdict(source, destination, promise.port, promise.protocol)
        for source, destination in product(case.names(promise.source), case.names(promise.destination))
        if {source, destination} <= known
    ]


def _undeclared_port(case: _Case, promise: Connection) -> Iterator[Finding]:
    names = case.names(promise.destination)
    declared = {port for each in case.after.network.workloads if each.name in names for port in each.ports}
    if declared and not any((port.protocol, port.number) == (promise.protocol, promise.port) for port in declared):
        message = f"{promise}: no container of {promise.destination} declares {promise.protocol} {promise.port}"
        yield case.warning("undeclared-port", message, "name a port that it listens on")


def _beyond(flows: Iterable[Flow], promises: Iterable[Connection]) -> tuple[Flow, ...]:
    """The flows less what the contract names."""
    named: defaultdict[tuple[str, str], list[PortRange]] = defaultdict(list)
    for promise in promises:
        named[promise.source, promise.destination].append(PortRange(promise.protocol, promise.port, promise.port))
    return tuple(
        Flow(flow.source, flow.destination, rest)
        for flow in flows
        for rest in difference((flow.ports,), union(named[flow.source, flow.destination]))
    )


def _judge_outside(case: _Case) -> Iterator[Finding]:
    for change in case.changes.opens_outside:
        if change.lifted:
            message = f"the overlay lifts the isolation of {change.workload} ({change.direction}): it opens {change}"
            yield case.warning("isolation-lifted", message, "see that this is meant")
        else:
            message = f"the overlay also opens {change}, which no manifest holds and no contract can promise"
            yield case.finding("opened-outside", message, "narrow the overlay to workloads of the baseline")
    for change in case.changes.shuts_outside:
        if change.lifted:
            message = f"the overlay isolates {change.workload} ({change.direction}), which the baseline leaves open"
            yield case.warning("isolates", message, _NEEDED)
        else:
            yield case.warning("shuts", f"the overlay shuts {change}, which the baseline lets through", _NEEDED)


def _judge_endpoints(case: _Case) -> Iterator[Finding]:
    for promise in case.contract.exposes:
        yield from _judge_exposing(case, promise)
    for promise in case.contract.keepsPrivate:
        yield from _judge_private(case, promise)
    allowed = [_area(promise) for promise in case.contract.exposes]
    judged = [_area(promise) for promise in case.contract.keepsPrivate]
    beyond = [
        exposure
        for exposure in case.changes.exposes
        if not any(area.includes(exposure) for area in allowed) and not any(area.meets(exposure) for area in judged)
    ]
    for line in dict.fromkeys(map(str, beyond)):
        yield case.finding("exposed-beyond", f"the overlay also exposes {line}, beyond the contract", _NARROW)


def _judge_exposing(case: _Case, promise: Endpoint) -> Iterator[Finding]:
    request = _request(promise)
    if any(exposure.includes(request) for exposure in case.before.exposures):
        yield case.finding("exposes-nothing", f"{promise} is exposed in the baseline already", _REMOVE)
    elif not any(exposure.meets(request) and _answers(case, exposure) for exposure in case.changes.exposes):
        message = f"{promise} is still private: no Ingress or HTTPRoute sends it to a Service that selects a workload"
        yield case.finding("still-private", message, "correct the host, the path or the backend")


def _judge_private(case: _Case, promise: Endpoint) -> Iterator[Finding]:
    area = _area(promise)
    if before := sorted(exposure for exposure in case.before.exposures if exposure.meets(area)):
        message = f"{promise} is to stay private, and the baseline exposes {before[0]}"
        yield case.finding("private-untrue", message, _UNTRUE)
    elif opened := [exposure for exposure in case.changes.exposes if exposure.meets(area)]:
        message = f"{promise} is to stay private, and the overlay exposes {opened[0]}"
        yield case.finding("private-broken", message, "narrow the overlay")


def _request(promise: Endpoint) -> Exposure:
    return Exposure(promise.host, promise.path, "", exact=True, deep=True)


def _area(promise: Endpoint) -> Exposure:
    return Exposure(promise.host, promise.path, "", deep=True)


def _answers(case: _Case, exposure: Exposure) -> bool:
    service, _, port = exposure.backend.rpartition(":")
    return any(f"{name}:{port}" in case.after.backends for name in case.names(service))


def _judge_grants(case: _Case) -> Iterator[Finding]:
    for promise in case.contract.grants:
        yield from _unknown_subject(case, promise) or _judge_grant(case, promise)
    for promise in case.contract.keepsDenied:
        yield from _unknown_subject(case, promise) or _judge_denied(case, promise)
    promised = {_piece(promise) for promise in (*case.contract.grants, *case.contract.keepsDenied)}
    for permission in case.changes.grants:
        if (permission.subject, *_what(permission)) not in promised:
            yield case.finding("granted-beyond", f"the overlay also grants: {permission}; beyond the contract", _NARROW)
    for role in case.changes.binds:
        message = f"the overlay gives {role}, which no manifest holds: nobody can see what it grants"
        yield case.finding("unknown-role", message, "bind a role of the baseline")


def _unknown_subject(case: _Case, promise: Grant) -> list[Finding]:
    findings = []
    kind, _, account = promise.subject.partition(":")
    # Every namespace has the ServiceAccount default without asking.
    known = case.after.service_accounts | {f"{namespace}/default" for namespace in case.after.namespaces}
    if kind == "ServiceAccount" and known.isdisjoint(case.names(account)):
        message = f"{promise}: there is no ServiceAccount {account}"
        findings.append(case.finding("unknown-subject", message, "name one that exists"))
    if promise.namespace not in case.after.namespaces:
        message = f"{promise}: there is no namespace {promise.namespace}"
        findings.append(case.finding("unknown-namespace", message, "name one that exists"))
    return findings


def _judge_grant(case: _Case, promise: Grant) -> Iterator[Finding]:
    if because := _granting(case, case.before, promise):
        message = f"{promise} in the baseline already: {'; '.join(because)}"
        yield case.finding("grants-nothing", message, _REMOVE)
    elif not _granting(case, case.after, promise):
        message = f"{promise}: still denied, no role bound to the subject there says so"
        yield case.finding("still-denied", message, "correct the role, the binding or the subject")


def _judge_denied(case: _Case, promise: Grant) -> Iterator[Finding]:
    if because := _granting(case, case.before, promise):
        message = f"to stay denied, and granted in the baseline: {promise} ({'; '.join(because)})"
        yield case.finding("denied-untrue", message, _UNTRUE)
    elif because := _granting(case, case.after, promise):
        message = f"to stay denied, and granted by the overlay: {promise} ({'; '.join(because)})"
        yield case.finding("denied-broken", message, "narrow the overlay")


def _granting(case: _Case, situation: Situation, promise: Grant) -> tuple[str, ...]:
    """What grants the promise; empty where nothing does."""
    subjects = [name for name in case.names(promise.subject) if plain_subject(name, case.activation) == promise.subject]
    decisions = [
        situation.access.may(subject, promise.verb, promise.resource, promise.group, promise.namespace)
        for subject in subjects
    ]
    return tuple(reason for decision in decisions if decision.allowed for reason in decision.because)


def _piece(promise: Grant) -> tuple[str, str, str, str, str]:
    return (promise.subject, promise.verb, promise.resource, promise.group, promise.namespace)


def _what(permission: Permission) -> tuple[str, str, str, str]:
    return (permission.verb, permission.resource, permission.group, permission.namespace)
