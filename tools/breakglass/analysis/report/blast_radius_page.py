"""The page a reviewer reads in two minutes: what opens, what is red about it, and when it closes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from breakglass.analysis.access.escalation import subject_name
from breakglass.analysis.blast_radius import BlastRadius
from breakglass.analysis.network.connections import Rectangle
from breakglass.analysis.network.names import is_workload, is_world, named
from breakglass.analysis.report import sarif
from breakglass.analysis.report.access_json import diff_document
from breakglass.analysis.report.access_page import page_of_access_diff
from breakglass.analysis.report.connectivity_json import diff_summary_json
from breakglass.analysis.report.connectivity_page import changed_ports, diff_arrow, diff_tables, flip_finding
from breakglass.analysis.report.exposure_page import difference_document, page_of_exposure_difference
from breakglass.analysis.report.order import red_first
from breakglass.analysis.report.page import Page, Table
from breakglass.analysis.report.rectangle import opens, ordered
from breakglass.model.finding import Finding

SCHEMA = "breakglass.dev/blast-radius/v1alpha1"


def page_of_blast_radius(
    radius: BlastRadius, closes: str, findings: Sequence[Finding] = (), tables: Sequence[Table] = ()
) -> Page:
    """Everything that changes, as one page.

    Args:
        radius: what changes.
        closes: when it closes again, such as `at 2026-11-23T02:43:00Z`; empty where nothing says so.
        findings: what else a reviewer must see, such as where the contract does not hold.
        tables: what comes before the changes, such as the promises of the contract.
    """
    rectangles = ordered(radius.connections)
    access, exposure = page_of_access_diff(radius.access), page_of_exposure_difference(radius.exposure)
    red = red_first((*findings, *_red(radius, rectangles, closes), *access.findings, *exposure.findings))
    return Page(
        headline=_headline(radius, rectangles, closes, red),
        findings=tuple(red),
        tables=(*tables, *diff_tables(rectangles, radius.comparison), *exposure.tables, *access.tables),
        arrows=(
            *(diff_arrow(each, radius.comparison.space, danger=_is_world_open(each)) for each in rectangles),
            *exposure.arrows,
            *access.arrows,
        ),
    )


def _red(radius: BlastRadius, rectangles: Sequence[Rectangle], closes: str) -> Iterator[Finding]:
    """What of connections and of time a reviewer must not miss."""
    for flip in radius.flips:
        yield flip_finding(flip)
    for rectangle in rectangles:
        if _is_world_open(rectangle):
            message = f"{_told(rectangle, radius)}: that is open to the whole world"
            yield Finding("blast-radius-world-open", message, remedy="name the addresses that need it")
    if radius and not closes:
        message = "nothing says when this closes"
        yield Finding("blast-radius-no-expiry", message, remedy="say it with --closes, or open it by an activation")


def blast_radius_json(radius: BlastRadius, page: Page, closes: str) -> Iterator[str]:
    """`blast-radius --output json`: the verdict, the findings, and everything that changes, by its own schema."""
    document = {
        "schema": SCHEMA,
        "verdict": page.headline,
        "closes": closes or None,
        "findings": [
            {
                "id": finding.id,
                "severity": finding.severity,
                "where": finding.where,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for finding in page.findings
        ],
        "exposure": difference_document(radius.exposure),
        "access": json.loads("".join(diff_document(radius.access))),
    }
    head = json.dumps(document, indent=2, ensure_ascii=False)
    yield head[: head.rindex("\n}")] + ',\n  "connectivity": '
    yield from diff_summary_json(radius.connections, radius.flips, radius.comparison.cause)
    yield "}\n"


def sarif_of(page: Page, repository: str) -> str:
    """The findings of a page for code scanning.

    Args:
        repository: `owner/name` of the repository on GitHub whose docs/findings.md explains them.
    """
    documentation = f"https://github.com/{repository}/blob/HEAD/docs/findings.md"
    return sarif.write(page.findings, {each.id: each.remedy for each in page.findings}, documentation=documentation)


def _headline(radius: BlastRadius, rectangles: Sequence[Rectangle], closes: str, findings: Sequence[Finding]) -> str:
    if not radius:
        return "Nothing changes"
    told = ", ".join(_parts(radius, rectangles)) or "changes what is listed below"
    red = sum(finding.severity == "error" for finding in findings)
    alarm = f"; {_count(red, 'finding')} {'is' if red == 1 else 'are'} red" if red else "; nothing is red"
    return told[0].upper() + told[1:] + alarm + (f"; closes {closes}" if closes else "")


def _parts(radius: BlastRadius, rectangles: Sequence[Rectangle]) -> Iterator[str]:
    opened = [each for each in rectangles if opens(each.answer)]
    if len(opened) == 1:
        yield f"opens {_told(opened[0], radius)}"
    elif opened:
        yield f"opens {len(opened)} sets of connections"
    if closed := len(rectangles) - len(opened):
        yield f"closes {_count(closed, 'set')} of connections"
    if asked := sorted({each.asked for each in radius.exposure.exposed}):
        yield f"exposes {asked[0]}" if len(asked) == 1 else f"exposes {len(asked)} ways in"
    if subjects := sorted({subject_name(item.subject) for item in radius.access.granted}):
        yield f"grants {subjects[0]} more" if len(subjects) == 1 else f"grants {len(subjects)} subjects more"


def _told(rectangle: Rectangle, radius: BlastRadius) -> str:
    sources, destinations = (
        ", ".join(named(names, radius.comparison.space)) for names in (rectangle.sources, rectangle.destinations)
    )
    return f"{sources} → {destinations} {changed_ports(rectangle.answer)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _is_world_open(rectangle: Rectangle) -> bool:
    if not opens(rectangle.answer):
        return False
    sides = (rectangle.sources, rectangle.destinations)
    return any(is_world(tuple(name for name in side if not is_workload(name))) for side in sides)
