"""`breakglass codeowners`: one answer for each path, and what is wrong with the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

BREAKGLASS = Path(sys.executable).parent / "breakglass"
OWNERS = """\
# who owns what
*            @acme/platform @acme/security
/base/       @acme/platform
/base/*.md
/docs/ ../x
/base/       @acme/security # later
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A work tree with two CODEOWNERS files."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "CODEOWNERS").write_text(OWNERS)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "CODEOWNERS").write_text("* @acme/other\n")
    return tmp_path


def breakglass(clone: Path, *arguments: str, code: int = 0, stdin: str = "") -> str:
    done = subprocess.run(
        [BREAKGLASS, "codeowners", *arguments], cwd=clone, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_one_answer_for_each_path_in_the_order_asked(tmp_path: Path) -> None:
    file = tmp_path / "of owners"
    file.write_text("* @a\n/x\n\n*.go b@example.com @c/d # inline\n")
    told = breakglass(tmp_path, "match", "--file", str(file), "--output", "json", "x/y", "z.go", "x", "dir/z.go", "x")
    assert json.loads(told) == [
        {"path": "x/y", "pattern": "/x", "line": 2, "owners": []},
        {"path": "z.go", "pattern": "*.go", "line": 4, "owners": ["b@example.com", "@c/d"]},
        {"path": "x", "pattern": "/x", "line": 2, "owners": []},
        {"path": "dir/z.go", "pattern": "*.go", "line": 4, "owners": ["b@example.com", "@c/d"]},
        {"path": "x", "pattern": "/x", "line": 2, "owners": []},
    ]
    file.write_text("/only @a\n")
    told = breakglass(tmp_path, "match", "--file", str(file), "-o", "json", "other")
    assert json.loads(told) == [{"path": "other", "pattern": None, "line": None, "owners": []}]


def test_the_file_of_the_clone_is_read_from_anywhere_in_it(clone: Path, snapshot: SnapshotAssertion) -> None:
    assert (
        breakglass(clone / "docs", "match", "-", "./README.md", "/base/x", stdin="base/a.md\nbase/b/a.md\n") == snapshot
    )


def test_what_is_wrong_is_told_with_its_line(clone: Path, snapshot: SnapshotAssertion) -> None:
    assert breakglass(clone, "lint", code=1) == snapshot
    told = json.loads(breakglass(clone, "lint", "--output", "json", code=1))
    assert [finding["id"] for finding in told["findings"]] == [
        "codeowners-several",
        "codeowners-shadow",
        "codeowners-shadow",
        "codeowners-unowned",
        "codeowners-skipped",
    ]
    (clone / "fine").write_text("* @a @b\n/x/ @c\n")
    assert "nothing to find fault with" in breakglass(clone, "lint", "--file", "fine")


def test_what_is_no_path_of_the_repository_is_a_usage_error(clone: Path) -> None:
    for path in ("../x", "a/../b", "/"):
        assert "no path inside the repository" in breakglass(clone, "match", path, code=2)


def test_no_codeowners_is_told(tmp_path: Path) -> None:
    assert "there is no CODEOWNERS" in breakglass(tmp_path, "match", "x", code=1)
