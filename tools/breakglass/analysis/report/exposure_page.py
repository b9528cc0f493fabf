"""Exposure for people, as a page, and for programs, as a document."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from breakglass.analysis.exposure.entry import Tls
from breakglass.analysis.exposure.exposure import Exposure, ExposureDifference
from breakglass.analysis.exposure.ranges import is_everywhere
from breakglass.analysis.report.page import Arrow, Page, Table, Tone
from breakglass.model.finding import Finding

MAP_SCHEMA = "breakglass.dev/exposure-map/v1alpha1"
DIFFERENCE_SCHEMA = "breakglass.dev/exposure-diff/v1alpha1"

_COLUMNS = ("way in", "by", "from", "TLS", "identity check", "Service", "workloads", "network")
_TLS: dict[Tls, str] = {"yes": "TLS", "no": "no TLS", "passthrough": "TLS passed through", "unknown": ""}
_MOST_NAMED = 3
"""Ways in that one finding names."""


def map_document(exposures: Iterable[Exposure]) -> dict[str, Any]:
    """What `exposure map --output json` prints; sorted."""
    return {"schema": MAP_SCHEMA, "exposures": [_document(each) for each in sorted(exposures)]}


def difference_document(difference: ExposureDifference) -> dict[str, Any]:
    """What `exposure diff --output json` prints; sorted."""
    return {
        "schema": DIFFERENCE_SCHEMA,
        "exposed": [_document(each) for each in difference.exposed],
        "hidden": [_document(each) for each in difference.hidden],
        "changed": [{"before": _document(before), "after": _document(after)} for before, after in difference.changed],
    }


def page_of_exposure_map(exposures: Iterable[Exposure]) -> Page:
    """Everything that is exposed."""
    ordered = sorted(exposures)
    let_in = [each for each in ordered if each.network != "blocked"]
    workloads = {each.workload for exposure in let_in for each in exposure.reached if each.network != "blocked"}
    return Page(
        headline=f"{_count(len(let_in), 'way')} in from outside, to {_count(len(workloads), 'workload')}.",
        findings=(*_findings(let_in), *_blocked(ordered)),
        tables=(Table("Exposed", _COLUMNS, tuple(map(_row, ordered))),),
        arrows=tuple(_arrows(ordered, lambda each: "danger" if _is_open_to_anybody(each) else "plain")),
    )


def page_of_exposure_difference(difference: ExposureDifference) -> Page:
    """What opens to the outside, and what shuts."""
    widened = [after for before, after in difference.changed if _widens(before, after)]
    narrowed = [after for before, after in difference.changed if not _widens(before, after)]
    new = (*difference.exposed, *widened)
    alarming = [each for each in difference.exposed if _is_open_to_anybody(each)]
    others = [each for each in difference.exposed if not _is_open_to_anybody(each)]
    tables = (
        Table("Newly exposed, and nobody is asked who they are", _COLUMNS, tuple(map(_row, alarming)), "danger"),
        Table("Newly exposed", _COLUMNS, tuple(map(_row, others)), "opened"),
        Table("Changed", ("way in", "Service", "before", "after"), tuple(_changes(difference))),
        Table("Hidden", _COLUMNS, tuple(map(_row, difference.hidden)), "closed"),
    )
    return Page(
        headline=_headline(difference, len(widened)),
        findings=(*_findings(new), *_blocked(each for _, each in difference.changed)),
        tables=tuple(table for table in tables if table.rows),
        arrows=(
            *_arrows(new, lambda each: "danger" if _is_open_to_anybody(each) else "opened"),
            *_arrows(narrowed, lambda _: "plain"),
            *_arrows(difference.hidden, lambda _: "closed"),
        ),
    )


def _document(exposure: Exposure) -> dict[str, Any]:
    requests = exposure.requests
    return {
        "entry": exposure.entry,
        "host": requests.host or None,
        "path": requests.path or None,
        "pathType": requests.path_type if requests.path else None,
        "port": exposure.port or None,
        "protocol": exposure.protocol,
        "tls": exposure.tls,
        "sourceRanges": list(exposure.source_ranges),
        "identityCheck": ", ".join(exposure.identity_checks) or None,
        "backend": exposure.backend,
        "workloads": [each.workload for each in exposure.reached],
        "network": exposure.network,
        "because": list(exposure.because),
    }


def _headline(difference: ExposureDifference, widened: int) -> str:
    told = [
        (len(difference.exposed), "newly exposed"),
        (widened, "opened wider"),
        (len(difference.changed) - widened, "changed without opening wider"),
        (len(difference.hidden), "hidden"),
    ]
    parts = [f"{_count(number, 'way')} in {what}" for number, what in told if number]
    return ", ".join(parts).capitalize() + "." if parts else "Nothing changes for the outside."


def _row(exposure: Exposure) -> tuple[str, ...]:
    return (
        exposure.asked,
        exposure.entry,
        ", ".join(exposure.source_ranges) or "everywhere",
        exposure.tls,
        ", ".join(exposure.identity_checks) or "none",
        exposure.backend,
        ", ".join(each.workload for each in exposure.reached) or "none known",
        exposure.network,
    )


def _changes(difference: ExposureDifference) -> Iterator[tuple[str, ...]]:
    """What differs between before and after, and nothing else."""
    for before, after in difference.changed:
        pairs = [
            (f"{name} {old}", f"{name} {new}")
            for name, old, new in zip(_COLUMNS, _row(before), _row(after), strict=True)
            if old != new
        ]
        # Two workloads of which another one is let through have the same row.
        old, new = (
            (", ".join(side) for side in zip(*pairs, strict=True)) if pairs else (_verdicts(before), _verdicts(after))
        )
        yield after.asked, after.backend, old, new


def _verdicts(exposure: Exposure) -> str:
    return ", ".join(f"{each.workload} {each.network}" for each in exposure.reached)


def _widens(before: Exposure, after: Exposure) -> bool:
    if after.network == "blocked":
        return False
    return before.network == "blocked" or not before.covers(after)


def _is_open_to_anybody(exposure: Exposure) -> bool:
    return not exposure.identity_checks and exposure.network != "blocked" and not exposure.front_door


def _findings(exposures: Iterable[Exposure]) -> Iterator[Finding]:
    """What a reviewer must not miss, the worst first; the front door itself is there to be open."""
    exposures = [each for each in exposures if each.network != "blocked" and not each.front_door]
    for backend, asked in _grouped(exposures, lambda each: not each.identity_checks):
        message = f"exposed without an identity check: {asked}"
        yield Finding("exposure-unidentified", message, backend, "put an identity check in front of it", "warning")
    for backend, asked in _grouped(exposures, lambda each: is_everywhere(each.source_ranges)):
        message = f"exposed to every address: {asked}"
        yield Finding("exposure-everywhere", message, backend, "name the source ranges that need it", "warning")
    for backend, asked in _grouped(exposures, lambda each: each.tls == "no"):
        message = f"exposed without TLS: {asked}"
        yield Finding("exposure-plaintext", message, backend, "let it be asked for with TLS alone", "warning")
    for backend, asked in _grouped(exposures, lambda each: each.requests.host.startswith("*")):
        message = f"exposed at more than one host: {asked}"
        yield Finding("exposure-wildcard", message, backend, "name the host", "warning")


def _blocked(exposures: Iterable[Exposure]) -> Iterator[Finding]:
    for backend, asked in _grouped(exposures, lambda each: each.network == "blocked"):
        message = f"nothing but NetworkPolicies keeps {asked} shut"
        yield Finding("exposure-blocked", message, backend, "remove what leads there if nobody is to use it", "note")


def _grouped(exposures: Iterable[Exposure], wanted: Callable[[Exposure], bool]) -> Iterator[tuple[str, str]]:
    """Backends, each with the ways in that are wanted: a few of them, and how many more."""
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for each in exposures:
        if wanted(each):
            found[each.backend][each.asked] = None
    for backend, asked in found.items():
        more = len(asked) - _MOST_NAMED
        named = ", ".join(list(asked)[:_MOST_NAMED])
        yield backend, f"{named} and {more} more" if more > 0 else named


def _arrows(exposures: Iterable[Exposure], tone: Callable[[Exposure], Tone]) -> Iterator[Arrow]:
    """From what is asked for to the Service, and on to the workloads."""
    seen: dict[Arrow, None] = {}
    for each in exposures:
        label = ", ".join(filter(None, (_TLS[each.tls], *each.identity_checks)))
        seen[Arrow((each.asked,), (each.backend,), label, tone(each))] = None
        for reached in each.reached:
            seen[Arrow((each.backend,), (reached.workload,), reached.network, tone(each))] = None
    yield from seen


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
