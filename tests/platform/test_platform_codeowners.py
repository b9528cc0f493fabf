"""CODEOWNERS leaves no path without two owners, and none of its lines without effect."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from places import EMERGENCY, OVERLAYS

from breakglass.model.codeowners import Codeowners, parse

OPENING = [
    "CODEOWNERS",
    "breakglass.yaml",
    "Makefile",
    "pyproject.toml",
    "requirements/product.txt",
    "base/shop/networkpolicies.yaml",
    "tools/breakglass/__init__.py",
    "tools/breakglass_lab/__init__.py",
    ".github/workflows/apply.yml",
    ".github/dependabot.yml",
    ".ci/run",
    "overlays/emergency/README.md",
    "overlays/emergency/a-new-one/overlay.yaml",
    *(f"overlays/emergency/{name}/overlay.yaml" for name in OVERLAYS),
]


@pytest.fixture(scope="session")
def codeowners(repository: Path) -> Codeowners:
    return parse((repository / "CODEOWNERS").read_bytes(), "CODEOWNERS")


def test_github_would_skip_no_line(codeowners: Codeowners) -> None:
    assert codeowners.skipped == ()


def test_it_is_the_file_github_reads(repository: Path) -> None:
    assert not (repository / ".github" / "CODEOWNERS").exists()


def test_every_line_names_two_teams(codeowners: Codeowners) -> None:
    for rule in codeowners.rules:
        assert len(set(rule.owners)) >= 2, rule
        assert all(owner.startswith("@acme/") for owner in rule.owners), rule


def test_no_line_is_shadowed_by_a_later_one(codeowners: Codeowners) -> None:
    for rule in codeowners.rules:
        path = rule.pattern.removeprefix("/")
        assert codeowners.match(f"{path}anything" if path.endswith("/") else path) == rule


def test_every_file_has_two_owners(codeowners: Codeowners, repository: Path) -> None:
    listed = subprocess.run(
        ["git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    files = [path for path in listed.split("\0") if path]
    assert "breakglass.yaml" in files
    assert [path for path in files if len(codeowners.owners(path)) < 2] == []


@pytest.mark.parametrize("path", OPENING)
def test_what_can_open_something_needs_security(codeowners: Codeowners, path: str) -> None:
    assert "@acme/security" in codeowners.owners(path)
    rule = codeowners.match(path)
    assert rule is not None
    assert rule.pattern != "*"


def test_the_approving_teams_own_the_activations(codeowners: Codeowners, repository: Path) -> None:
    policy = yaml.safe_load((repository / "breakglass.yaml").read_text())["spec"]
    approvers = set(policy["approvals"]["approvers"])
    for name in OVERLAYS:
        approvers |= set(
            yaml.safe_load((EMERGENCY / name / "overlay.yaml").read_text())["spec"]["approvals"]["approvers"]
        )
    assert set(codeowners.owners("overlays/emergency/activations/2026-11-23-x-7f3a.yaml")) == approvers
