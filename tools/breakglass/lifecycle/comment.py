"""The pull request's page: what it opens, whether the contract holds, who still has to say yes; for two minutes.

The same page is the pull request's one comment and the summary of the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from breakglass.analysis.contract import Assessment
from breakglass.analysis.report import markdown
from breakglass.analysis.report.blast_radius_page import page_of_blast_radius
from breakglass.analysis.report.page import Page, Table
from breakglass.lifecycle.check import Checked
from breakglass.model.activation import Activation
from breakglass.model.time import format_duration

MARKER = "breakglass-check"
"""By this the comment is found again."""
LARGEST_SUMMARY = 1_000_000
"""Bytes; GitHub takes 1 MiB of a step's summary."""

_FIELDS = {
    "opens": "opens",
    "keepsShut": "keeps shut",
    "exposes": "exposes",
    "keepsPrivate": "keeps private",
    "grants": "grants",
    "keepsDenied": "keeps denied",
}


def comment_of(checked: Checked) -> str:
    """The comment's text, without its marker."""
    return markdown.comment(page_of(checked))


def summary_of(checked: Checked) -> Iterator[str]:
    """The summary of the job, in pieces."""
    return markdown.write(page_of(checked), LARGEST_SUMMARY)


def page_of(checked: Checked) -> Page:
    """The result of a check as a page; its headline is the verdict in one sentence."""
    verdict = "The check passed" if checked.passed else "The check FAILED"
    tables = tuple(_approvals(checked))
    pages = [_opening(checked, assessment) for assessment in checked.assessments.values()]
    if not pages:
        closes = f": this closes {', '.join(checked.closes)} and changes nothing else" if checked.closes else ""
        return Page(f"{verdict}{closes}", tuple(checked.findings), tables)
    # Clusters of several baselines: what the first changes stands first, and everything is told once.
    page = pages[0]
    more = tuple(table for other in pages[1:] for table in other.tables)
    findings = tuple(dict.fromkeys((*checked.findings, *(each for other in pages for each in other.findings))))
    headline = f"{verdict}. {page.headline}"
    return replace(page, headline=headline, findings=findings, tables=(*tables, *page.tables, *more))


def _opening(checked: Checked, assessment: Assessment) -> Page:
    rows = [
        ("yes" if each.kept else "NO", _FIELDS[each.field], each.promise)
        for each in sorted(assessment.judged, key=lambda each: each.kept)
    ]
    promises = Table("What the contract promises", ("kept", "it", "what"), rows)
    closes = _closes(checked.activation) if checked.activation is not None else ""
    return page_of_blast_radius(assessment.radius, closes, tables=(promises,))


def _closes(activation: Activation) -> str:
    """When it closes; before the merge, only how long after it is known."""
    return f"by itself {format_duration(activation.spec.duration)} after the merge"


def _approvals(checked: Checked) -> Iterator[Table]:
    verdict = checked.verdict
    if verdict is None:
        return
    by = ", ".join(f"@{login}" for login in verdict.approved_by) or "nobody yet"
    row = (f"{len(verdict.approved_by)} of {verdict.required}", by, ", ".join(verdict.candidates))
    yield Table("Approvals", ("count", "approved by", "could approve"), [row])
    if verdict.needs.reasons:
        yield Table("Why so many", ("reason",), [(reason,) for reason in verdict.needs.reasons])
    if verdict.ignored:
        rows = [(f"@{each.login}", each.why) for each in verdict.ignored]
        yield Table("Approvals that do not count", ("whose", "why"), rows)
