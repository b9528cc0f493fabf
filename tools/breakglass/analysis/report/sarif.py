"""Findings for GitHub code scanning.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html and
https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from breakglass import __version__
from breakglass.analysis.report.escape import visible
from breakglass.analysis.report.order import red_first
from breakglass.model.finding import Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_RESULTS = 5_000
"""GitHub keeps no more of one run."""

_PLACE = re.compile(r"(?P<file>[^\x00-\x1f\\:]+(?:\.ya?ml|\.json|CODEOWNERS)):(?P<line>[1-9][0-9]{0,8})")

Json = dict[str, Any]


def write(
    findings: Iterable[Finding], rules: Mapping[str, str], *, documentation: str, root: str = "breakglass.yaml"
) -> str:
    """A log with one run, as indented JSON.

    Args:
        findings: `where` is a place if it is `file:line` of YAML, JSON or CODEOWNERS with a path that leads down from
            the root of the repository; anything else (`data/postgres:5432`) is the name of an object.
        rules: what each id of a finding means.
        documentation: address of docs/findings.md; a rule's help is the anchor of its id.
        root: a file of the repository, in which findings that name no place are shown, for GitHub refuses the whole
            log where one result has none.
    """
    found = red_first(findings)
    seen: Counter[str] = Counter()
    ids = sorted({finding.id for finding in found})
    run: Json = {
        "tool": {
            "driver": {
                "name": "breakglass",
                "semanticVersion": __version__,
                "informationUri": documentation,
                "rules": [_rule(name, rules.get(name, name), documentation) for name in ids],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, ids, root, seen) for finding in found[:_RESULTS]],
    }
    if len(found) > _RESULTS:
        left_out = f"{len(found) - _RESULTS:,} more findings are left out; the worst come first."
        notification = {"level": "warning", "message": {"text": left_out}}
        run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": [notification]}]
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(name: str, text: str, documentation: str) -> Json:
    return {
        "id": name,
        "shortDescription": {"text": _plain(text)},
        "fullDescription": {"text": _plain(text)},
        "help": {"text": _plain(text)},
        "helpUri": f"{documentation}#{quote(name)}",
        "properties": {"tags": ["security"]},
    }


def _result(finding: Finding, ids: list[str], root: str, seen: Counter[str]) -> Json:
    text = f"{finding.message} {finding.remedy}" if finding.remedy else finding.message
    return {
        "ruleId": finding.id,
        "ruleIndex": ids.index(finding.id),
        "level": finding.severity,
        "message": {"text": _plain(text)},
        "locations": [_location(finding.where, root)],
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(finding, seen)},
    }


def _plain(text: str) -> str:
    """Text in which `[words](target)` is no link (section 3.11.6)."""
    return visible(text).replace("](", r"\](")


def _location(where: str, root: str) -> Json:
    place = _PLACE.fullmatch(where)
    if place is not None and _inside(place["file"]):
        return {"physicalLocation": _physical(place["file"], int(place["line"]))}
    location: Json = {"physicalLocation": _physical(root, 1)}
    if where:
        location["logicalLocations"] = [{"fullyQualifiedName": visible(where), "kind": "object"}]
    return location


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _physical(path: str, line: int) -> Json:
    artifact = {"uri": quote(path.encode("utf-8", "surrogateescape")), "uriBaseId": "%SRCROOT%"}
    return {"artifactLocation": artifact, "region": {"startLine": line}}


def _fingerprint(finding: Finding, seen: Counter[str]) -> str:
    """What stays when lines are put in above: rule, place without its line, message; equals are numbered."""
    place = _PLACE.fullmatch(finding.where)
    parts = (finding.id, place["file"] if place else finding.where, finding.message)
    digest = sha256(json.dumps(parts).encode()).hexdigest()[:16]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"
