"""`breakglass codeowners`: one answer for each path, and what is wrong with the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from breakglass.lifecycle.ownership import lint
from breakglass.model.codeowners import LARGEST_FILE, parse

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


def breakglass(clone: Path, *arguments: str | bytes, code: int = 0, stdin: bytes = b"") -> str:
    done = subprocess.run(
        [BREAKGLASS, "codeowners", *arguments],
        cwd=clone,
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).decode()


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
        breakglass(clone / "docs", "match", "-", "./README.md", "/base/x", stdin=b"base/a.md\nbase/b/a.md\r\n")
        == snapshot
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
    for path in ("../x", "a/../b", "/", ""):
        assert "no path inside the repository" in breakglass(clone, "match", path, code=2)


def test_no_codeowners_is_told(tmp_path: Path) -> None:
    assert "there is no CODEOWNERS" in breakglass(tmp_path, "match", "x", code=1)


def test_a_name_that_is_not_utf_8_or_moves_the_cursor_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").write_bytes(b"\xef\xbb\xbf* @a\n")
    told = json.loads(breakglass(tmp_path, "match", "-o", "json", b"a\xff", "-", stdin=b"b\xff\n\xc3\xa9\r\n"))
    assert [answer["path"] for answer in told] == ["a\udcff", "b\udcff", "\u00e9"]
    assert {answer["line"] for answer in told} == {1}
    shown = breakglass(tmp_path, "match", b"a\xff", "b\x1b[31m\nc")
    assert "a\u27e8U+DCFF\u27e9" in shown
    assert "b\u27e8U+001B\u27e9[31m\u27e8U+000A\u27e9c" in shown


def test_many_paths_are_one_answer_each(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").write_text("".join(f"/d{number}/ @a\n" for number in range(100)))
    paths = "".join(f"d{number % 100}/f{number}\n" for number in range(3000))
    told = json.loads(breakglass(tmp_path, "match", "-o", "json", "-", stdin=paths.encode()))
    assert [answer["line"] for answer in told] == [number % 100 + 1 for number in range(3000)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("/docs/ @a\n/docs/ @b\n", ["1 shadow"]),
        ("/docs/ @a\ndocs @b\n", ["1 shadow"]),
        ("/docs/*.md @a\n/docs/* @b\n/docs/ @c\n", ["1 shadow", "2 shadow"]),
        ("* @a\n**/ @b\n/* @c\n", ["1 shadow"]),
        ("/a\\*b @a\n/a* @b\n", ["1 shadow"]),
        ("* @a\n/x @b\n", []),
        ("/docs/ @a\n/docs/* @b\n", []),
        ("/docs/ @a\n/docs/*/ @b\n", []),
        ("/docs/ @a\n/docs/**/x @b\n", []),
        ("/a* @a\n/a?* @b\n", []),
        ("/a\\*b @a\n/axb @b\n", []),
        ("*.x @a\n/x.x @b\nx @c\n", []),
        ("/a/**/b @a\n/a/b @b\n", []),
        ("/ @a\n./docs/ @a\na//b @a\n", ["1 nothing", "2 nothing", "3 nothing"]),
        ("@a\n", ["1 unowned"]),
    ],
)
def test_a_line_without_effect_is_found_and_no_other(content: str, found: list[str]) -> None:
    findings = lint(parse(content.encode(), "CODEOWNERS"), [])
    assert [f"{each.where.partition(':')[2]} {each.id.removeprefix('codeowners-')}" for each in findings] == found


def test_a_file_that_is_too_large_is_told(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").write_bytes(b"* @a\n".ljust(LARGEST_FILE, b"#"))
    assert "not under 3 MB" in breakglass(tmp_path, "lint", code=1)
    assert json.loads(breakglass(tmp_path, "match", "-o", "json", "x"))[0]["line"] is None
