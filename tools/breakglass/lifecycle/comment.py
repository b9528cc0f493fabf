"""The pull request's one comment: the result of the check, in Markdown, for somebody with two minutes."""

from __future__ import annotations

from breakglass.lifecycle.check import Checked
from breakglass.lifecycle.request import literal

MARKER = "breakglass-check"
"""By this the comment is found again."""

_SIGNS = {"error": "❌", "warning": "⚠️", "note": "ℹ️"}  # noqa: RUF001 - GitHub's own information sign


def comment_of(checked: Checked) -> str:
    """The comment's text, without its marker."""
    parts = [f"### breakglass check: {'passed' if checked.passed else '**failed**'}"]
    if checked.opens:
        parts.append("```\n" + "\n".join(checked.opens) + "\n```")
    if checked.closes:
        parts.append(
            "Closes " + ", ".join(literal(identity) for identity in checked.closes) + " and changes nothing else."
        )
    if checked.verdict is not None:
        by = ", ".join(f"@{login}" for login in checked.verdict.approved_by) or "nobody yet"
        parts.append(f"Approved by {len(checked.verdict.approved_by)} of {checked.verdict.required}: {by}.")
        if checked.verdict.candidates:
            parts.append("Could approve: " + ", ".join(literal(login) for login in checked.verdict.candidates) + ".")
    parts += [
        f"* {_SIGNS[finding.severity]} `{finding.id}` {literal(finding.message)}"
        + (f" ({literal(finding.remedy)})" if finding.remedy else "")
        for finding in checked.findings
    ]
    return "\n\n".join(parts) + "\n"
