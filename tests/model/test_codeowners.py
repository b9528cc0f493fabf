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


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.js", "a/b.js/c", True),
        ("*.js", ".js", True),
        ("*.js", "a.jsx", False),
        ("*.test.*", "a/b.test.py", True),
        (".*", "a/.hidden", True),
        ("foo/*/bar", "foo/x/bar/y", True),
        ("foo/*/bar", "foo/x/y/bar", False),
        ("foo/bar", "x/foo/bar", False),
        ("/foo", "foo/bar", True),
        ("/foo/", "foo", False),
        ("foo/**", "foo", False),
        ("foo/**/", "foo/x", False),
        ("foo/**/", "foo/x/y", True),
        ("**/foo", "foo", True),
        ("**/foo", "a/b/foo/c", True),
        ("**/foo/bar", "a/foo/bar", True),
        ("**/foo/bar", "a/foo/x/bar", False),
        ("**/*.md", "a/b.md", True),
        ("a/**/b/**/c", "a/x/b/y/z/c", True),
        ("a/**/b/**/c", "a/b/c", True),
        ("a/**/b/**/c", "a/c/b", False),
        ("a/**/x*y/**/z", "a/xqy/xy/z", True),
        ("/", "a", False),
        ("//a", "a", False),
        ("a//b", "a/b", False),
        ("/a\\*b", "a*b", True),
        ("/a\\*b", "axb", False),
        ("/a\\?", "a?", True),
        ("/a\\?", "ab", False),
        ("/a\\ b/*", "a b/c", True),
        ("/a**b", "axxb", True),
        ("/a**b", "ax/b", False),
        ("/*/b", "a/b", True),
        ("/*/b", "b", False),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/x/a.md", False),
    ],
)
def test_a_pattern_matches_at_the_edges(pattern: str, path: str, matches: bool) -> None:
    assert (owners(f"{pattern} @octocat", path) != ()) is matches


def test_white_space_and_line_ends_are_githubs() -> None:
    text = "/a\t@a \r\n/b  @b\t@c\r\n/c\\ d @d\n/e e@example.com # why\n"
    found = parse(text.encode(), "CODEOWNERS")
    assert [(rule.line, rule.pattern, rule.owners) for rule in found.rules] == [
        (1, "/a", ("@a",)),
        (2, "/b", ("@b", "@c")),
        (3, "/c\\ d", ("@d",)),
        (4, "/e", ("e@example.com",)),
    ]


names = st.sampled_from(["a", "b", "ab", "a.py", ".a", "*", "**", "*.py", "a*", "*b*", "?", "a?", "\\*", "a\\ b"])
patterns = st.builds(
    lambda head, middle, tail: head + "/".join(middle) + tail,
    st.sampled_from(["", "/", "**/"]),
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from(["", "/", "/*", "/**"]),
)
paths = st.lists(st.sampled_from(["a", "b", "ab", "a.py", ".a", "*", "a b", "bab"]), min_size=1, max_size=5).map(
    "/".join
)


@given(st.lists(patterns, max_size=8), st.lists(paths, max_size=8))
def test_the_index_finds_what_trying_every_pattern_finds(rules: list[str], asked: list[str]) -> None:
    found = parse("".join(f"{pattern} @octocat\n" for pattern in rules).encode(), "CODEOWNERS")
    for path in asked:
        tried = [number for number, rule in enumerate(found.rules) if naive(rule.pattern, path)]
        rule = found.match(path)
        assert (rule.line if rule is not None else 0) == (tried[-1] + 1 if tried else 0), path


def naive(pattern: str, path: str) -> bool:
    """A pattern tried on a path, segment by segment."""
    body = pattern.removeprefix("/").removesuffix("/")
    anchored = "/" in pattern.rstrip("/")
    wanted = body.split("/") if anchored else ["**", *body.split("/")]
    given_segments = path.split("/")
    if wanted[-1] == "**":
        least = 2 if pattern.endswith("/") else 1
        return any(fits(wanted[:-1], given_segments[:length]) for length in range(len(given_segments) - least + 1))
    lengths = range(1, len(given_segments) + 1)
    if pattern.endswith("/"):
        lengths = range(1, len(given_segments))
    elif anchored and wanted[-1] == "*":
        lengths = range(len(given_segments), len(given_segments) + 1)
    return any(fits(wanted, given_segments[:length]) for length in lengths)


def fits(wanted: list[str], segments: list[str]) -> bool:
    if not wanted:
        return not segments
    if wanted[0] == "**":
        return any(fits(wanted[1:], segments[number:]) for number in range(len(segments) + 1))
    return bool(segments) and same(wanted[0], segments[0]) and fits(wanted[1:], segments[1:])


def same(wanted: str, name: str) -> bool:
    if not wanted:
        return not name
    if wanted[0] == "\\" and len(wanted) > 1:
        return name[:1] == wanted[1] and same(wanted[2:], name[1:])
    if wanted[0] == "*":
        return same(wanted[1:], name) or (name != "" and same(wanted, name[1:]))
    return name != "" and wanted[0] in ("?", name[0]) and same(wanted[1:], name[1:])


def test_a_hostile_pattern_takes_no_longer_than_its_length() -> None:
    name = "a" * 2000
    found = parse(f"/{'*a' * 400}b @octocat\n/{'**/a*/' * 100}b @octocat\n".encode(), "CODEOWNERS")
    assert found.match(name) is None
    assert found.match("/".join(["a"] * 1000)) is None
