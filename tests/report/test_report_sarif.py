"""SARIF as the standard and GitHub want it: valid, every result somewhere, the same fingerprint tomorrow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, FormatChecker
from pages import HOSTILE, SMALL, large

from breakglass.analysis.report.sarif import write
from breakglass.model.finding import Finding

SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
DOCUMENTATION = "https://breakglass.dev/docs/findings.md"


def run_of(*findings: Finding, **rules: str) -> dict[str, Any]:
    log = json.loads(write(findings, rules, documentation=DOCUMENTATION))
    Draft4Validator(SCHEMA, format_checker=FormatChecker()).validate(log)
    run: dict[str, Any] = log["runs"][0]
    return run


def location_of(where: str) -> dict[str, Any]:
    found: dict[str, Any] = run_of(Finding("x", "y", where))["results"][0]["locations"][0]
    return found


def fingerprint_of(*findings: Finding) -> list[str]:
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run_of(*findings)["results"]]


@pytest.mark.parametrize("findings", [(), SMALL.findings, HOSTILE.findings, large().findings], ids=len)
def test_it_is_valid(findings: tuple[Finding, ...]) -> None:
    assert len(run_of(*findings)["results"]) == len(findings)


def test_red_comes_first_with_its_rule() -> None:
    run = run_of(*SMALL.findings, **{"isolation-flip": "A workload is isolated no more."})
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("isolation-flip", "error"),
        ("contract-missing", "warning"),
    ]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["isolation-flip", "contract-missing"]
    assert rules[1]["help"] == {"text": "A workload is isolated no more."}
    assert rules[1]["helpUri"] == DOCUMENTATION + "#isolation-flip"


@pytest.mark.parametrize(
    ("where", "uri"),
    [
        ("overlays/x/overlay.yaml:8", "overlays/x/overlay.yaml"),
        (".github/CODEOWNERS:8", ".github/CODEOWNERS"),
        ("a b/ü%#?.json:8", "a%20b/%C3%BC%25%23%3F.json"),
    ],
)
def test_a_place_is_a_file_and_a_line(where: str, uri: str) -> None:
    assert location_of(where) == {
        "physicalLocation": {
            "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 8},
        }
    }


@pytest.mark.parametrize(
    "where",
    ["data/postgres:5432", "shop.example.com:443", "/etc/x.yaml:3", "../x.yaml:3", "a/../../x.yaml:3", "x.yaml:0",
     "https://evil.example/x.yaml:3", "x.yaml\n:3", "overlays/x/overlay.yaml"],
)  # fmt: skip
def test_anything_else_is_the_name_of_an_object_and_shown_at_the_root(where: str) -> None:
    location = location_of(where)
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "breakglass.yaml"
    assert location["logicalLocations"][0]["fullyQualifiedName"] == where.replace("\n", "⟨U+000A⟩")


def test_every_result_has_a_physical_location_for_github_refuses_the_log_otherwise() -> None:
    for result in run_of(Finding("x", "y"), Finding("x", "y", "pull request #12"))["results"]:
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_fingerprints_do_not_depend_on_the_line_but_on_everything_else() -> None:
    finding = Finding("x", "y", "a.yaml:3")
    assert fingerprint_of(finding) == fingerprint_of(Finding("x", "y", "a.yaml:99", remedy="z"))
    others = [Finding("z", "y", "a.yaml:3"), Finding("x", "z", "a.yaml:3"), Finding("x", "y", "b.yaml:3")]
    assert len(set(fingerprint_of(finding, *others))) == 4


def test_equal_findings_are_numbered() -> None:
    first, second = fingerprint_of(Finding("x", "y", "a.yaml:3"), Finding("x", "y", "a.yaml:7"))
    assert (first[:-1], first[-2:], second[-2:]) == (second[:-1], ":1", ":2")


def test_a_message_is_no_link() -> None:
    message = run_of(Finding("x", "[click](https://evil.example) \u202e"))["results"][0]["message"]["text"]
    assert message == r"[click\](https://evil.example) ⟨U+202E⟩"


def test_the_worst_are_kept_where_github_takes_no_more() -> None:
    run = run_of(*[Finding("note", "y", severity="note")] * 5_000, Finding("error", "y"))
    assert len(run["results"]) == 5_000
    assert run["results"][0]["ruleId"] == "error"
    said = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert said == "1 more findings are left out; the worst come first."
