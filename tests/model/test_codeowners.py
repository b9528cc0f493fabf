"""CODEOWNERS as GitHub documents it: its own example file, line by line, and what it skips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model.codeowners import LARGEST_FILE, locate, parse

DOCUMENTED = """\
# This is a comment.
*       @global-owner1 @global-owner2

*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
"""


def owners(text: str, path: str) -> tuple[str, ...]:
    return parse(text.encode(), "CODEOWNERS").owners(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("README.md", ("@global-owner1", "@global-owner2")),
        ("deep/down/README.md", ("@global-owner1", "@global-owner2")),
        ("a.js", ("@js-owner",)),
        ("lib/a.js", ("@js-owner",)),
        ("a.go", ("docs@example.com",)),
        ("a.txt", ("@octo-org/octocats",)),
        ("build/logs/a/b", ("@octocat",)),
        ("docs/getting-started.md", ("@doctocat",)),
        ("docs/build-app/troubleshooting.md", ("@doctocat",)),
        ("x/docs/a.md", ("@global-owner1", "@global-owner2")),
        ("x/apps/a", ("@octocat",)),
        ("scripts/a.sh", ("@doctocat", "@octocat")),
        ("x/scripts/a.sh", ("@global-owner1", "@global-owner2")),
        ("deeply/nested/logs/a", ("@octocat",)),
        ("logs", ("@octocat",)),
        ("apps/x", ("@octocat",)),
        ("apps/github", ()),
        ("apps/github/x", ()),
        ("apps/githubber", ("@octocat",)),
    ],
)
def test_the_documented_example_means_what_its_comments_say(path: str, expected: tuple[str, ...]) -> None:
    assert owners(DOCUMENTED, path) == expected


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/build/logs/", "build/logs/x", True),
        ("/build/logs/", "build/logs/x/y", True),
        ("/build/logs/", "a/build/logs/x", False),
        ("docs/*", "docs/a.md", True),
        ("docs/*", "docs/a/b.md", False),
        ("docs/**", "docs/a/b.md", True),
        ("docs/**/b.md", "docs/b.md", True),
        ("docs/**/b.md", "docs/x/y/b.md", True),
        ("/*", "a", True),
        ("/*", "a/b", False),
        ("*", "a/b/c", True),
        ("**", "a/b/c", True),
        ("apps", "x/apps/y", True),
        ("apps/", "apps", False),
        ("/a?c", "abc", True),
        ("/a?c", "a/c", False),
        ("/a\\ b", "a b", True),
        ("/a.c", "abc", False),
        ("/A", "a", False),
        ("/a(b)+", "a(b)+", True),
        ("/overlays/emergency/activations/", "overlays/emergency/activations/x.yaml", True),
    ],
)
def test_a_pattern_matches_as_gitignore_does(pattern: str, path: str, matches: bool) -> None:
    assert (owners(f"{pattern} @octocat", path) != ()) is matches


def test_the_last_matching_line_decides_and_one_without_owners_clears() -> None:
    assert owners("* @a\n/x @b\n", "x") == ("@b",)
    assert owners("/x @b\n* @a\n", "x") == ("@a",)
    assert owners("* @a\n/x\n", "x") == ()
    assert owners("* @a\n/x # nobody\n", "x") == ()


@pytest.mark.parametrize(
    "line",
    ["!x @octo", "\\#x @octo", "[ab] @octo", "/x octo", "/x @octo cat", "/x @-a", "/x @a/b/c", "/x @", "/x a@b"],
)
def test_a_line_that_github_skips_is_skipped_and_told(line: str) -> None:
    found = parse(f"* @a @b\n{line}\n".encode(), "CODEOWNERS")
    assert [number for number, _ in found.skipped] == [2]
    assert found.owners("x") == ("@a", "@b")


def test_a_file_over_three_megabytes_owns_nothing() -> None:
    found = parse(b"* @a\n" + b"#" * LARGEST_FILE, "CODEOWNERS")
    assert found.owners("x") == ()
    assert found.skipped


def test_the_first_location_is_read() -> None:
    assert locate({"docs/CODEOWNERS": b"", "CODEOWNERS": b"", ".github/CODEOWNERS": b""}) == ".github/CODEOWNERS"
    assert locate({"docs/CODEOWNERS": b"", "CODEOWNERS": b""}) == "CODEOWNERS"
    assert locate({"README.md": b""}) is None


@given(st.binary(max_size=80), st.text(max_size=20))
def test_no_content_is_an_error(content: bytes, path: str) -> None:
    parse(content, "CODEOWNERS").owners(path)
