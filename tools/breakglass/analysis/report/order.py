"""What a reader meets first: red before amber before grey, whatever the format."""

from __future__ import annotations

from collections.abc import Iterable

from breakglass.analysis.report.page import Tone
from breakglass.model.finding import Finding, Severity

TONES: tuple[Tone, ...] = ("danger", "opened", "closed", "plain")
"""The order in which arrows are chosen and drawn."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def red_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, notes; within each as they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst severity; `note` where there is nothing."""
    return min((finding.severity for finding in findings), key=SEVERITIES.index, default="note")
