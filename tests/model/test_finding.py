"""Findings: only an error refuses."""

from __future__ import annotations

import pytest

from breakglass.model.finding import Finding, Severity, refuses


@pytest.mark.parametrize(("severity", "expected"), [("error", True), ("warning", False), ("note", False)])
def test_only_an_error_refuses(severity: Severity, expected: bool) -> None:
    finding = Finding("x", "message", severity=severity)
    assert refuses([finding]) is expected
    assert refuses([Finding("y", "message", severity="note"), finding]) is expected


def test_nothing_found_refuses_nothing_and_a_finding_is_an_error_unless_it_says_otherwise() -> None:
    assert refuses([]) is False
    assert refuses([Finding("x", "message")]) is True
