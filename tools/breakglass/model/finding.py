"""Findings: what a check has to say, each with an id, a reason and a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Attributes:
        id: stable identifier, listed in docs/findings.md (for example `activation-digest`).
        message: what is wrong, one sentence.
        where: `file:line`, object or pull request.
        remedy: what to do, as an imperative.
        severity: `error` refuses an opening; `warning` and `note` inform.
    """

    id: str
    message: str
    where: str = ""
    remedy: str = ""
    severity: Severity = "error"


def refuses(findings: list[Finding]) -> bool:
    """Whether any of the findings is an error."""
    return any(finding.severity == "error" for finding in findings)
