"""The App's check run of a pull request, which the integrity ruleset asks for before anything is merged.

It fails where the check found an error, and where the check could not be made. What may still come true before the
merge is not its to demand: approvals are the reviews ruleset's, and then the applier's.
"""

from __future__ import annotations

from collections.abc import Callable

from breakglass.lifecycle.check import Checked
from breakglass.lifecycle.comment import comment_of
from breakglass.lifecycle.request import literal
from breakglass.model.errors import BreakglassError
from breakglass.ports import Conclusion, Forge, PullRequest, Report

_UNKNOWN = "approval-unknown"
"""For a reader a note; for the check run a doubt: what denies an opening was not looked at."""
_PURPOSES = {"opening": "An opening", "closing": "A closing: a pure removal", "other": "Policy, overlays and baselines"}


def reported(forge: Forge, pull: PullRequest, check: Callable[[], Checked], report: Report) -> Checked:
    """Make the check of a pull request, and report the App's check run of its head.

    Args:
        check: makes it; whatever it raises is raised again, after a failed check run was reported.

    Raises:
        Refused: the token is no App's with the right to it.
    """
    try:
        checked = check()
    except Exception as error:
        what = str(error) if isinstance(error, BreakglassError) else type(error).__name__
        try:
            forge.report_check(pull.head, "failure", "The check could not be made", literal(what))
        except BreakglassError as unreported:
            report(f"the failed check could not be reported: {unreported}")
        raise
    forge.report_check(pull.head, conclusion_of(checked), title_of(checked), comment_of(checked))
    return checked


def conclusion_of(checked: Checked) -> Conclusion:
    """How the check run ends: approvals that are missing fail nothing, approvals that cannot be counted do."""
    doubtful = any(finding.id == _UNKNOWN for finding in checked.findings)
    return "success" if checked.passed and not doubtful else "failure"


def title_of(checked: Checked) -> str:
    """The check run in one line: what it is, what was found, how many approvals there are."""
    parts = [_PURPOSES[checked.purpose]]
    errors = sum(finding.severity == "error" for finding in checked.findings)
    if errors:
        parts.append(f"{errors} error" if errors == 1 else f"{errors} errors")
    if checked.verdict is not None:
        parts.append(f"{len(checked.verdict.approved_by)} of {checked.verdict.required} approvals")
    elif conclusion_of(checked) == "failure" and not errors:
        parts.append("approvals cannot be counted")
    return ", ".join(parts)
