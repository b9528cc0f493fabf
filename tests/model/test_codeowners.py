"""CODEOWNERS as GitHub documents it: its own example file, line by line, and what it skips."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model import codeowners_pattern
from breakglass.model.codeowners import LARGEST_FILE, TOO_LARGE, locate, parse
from breakglass.model.codeowners_pattern import samples

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
    ("line", "why"),
    [
        (b"!x @octo", "negation"),
        (b"\\#x @octo", "escaped #"),
        (b"[ab] @octo", "ranges"),
        (b"/x] @octo", "ranges"),
        (b"/*** @octo", "three stars"),
        (b"/x\\", "end with a backslash"),
        (b"/x* @caf\xe9", "not UTF-8"),
        (b"/x\xe9* @octo", "not UTF-8"),
        (b"/x octo", "octo is no owner"),
        (b"/x @octo cat", "cat is no owner"),
        (b"/x @octo,", "@octo, is no owner"),
        (b"/x @octo@cat", "@octo@cat is no owner"),
        (b"/x @octo#cat", "@octo#cat is no owner"),
        (b"/x @-a", "@-a is no owner"),
        (b"/x @a/b/c", "@a/b/c is no owner"),
        (b"/x @", "@ is no owner"),
        (b"/x a@b", "a@b is no owner"),
        (b"/x a@b.c,", "a@b.c, is no owner"),
        (b"/x a@b..c", "a@b..c is no owner"),
        (b"/x a@\x1b[31m.c", "is no owner"),
        (b"/x " + b"a" * 5000, "a\u2026 is no owner"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_that_github_skips_is_skipped_and_told(line: bytes, why: str, end: bytes) -> None:
    found = parse(b"* @a @b\n" + line + end, "CODEOWNERS")
    ((number, reason),) = found.skipped
    assert number == 2
    assert why in reason
    assert len(reason) < 200
    assert found.owners("x") == ("@a", "@b")


def test_a_file_that_is_not_under_three_megabytes_owns_nothing() -> None:
    for size, owned in ((LARGEST_FILE - 1, ("@a",)), (LARGEST_FILE, ())):
        found = parse(b"* @a\n".ljust(size, b"#"), "CODEOWNERS")
        assert found.owners("x") == owned
        assert found.skipped == (() if owned else ((1, TOO_LARGE),))


def test_a_byte_order_mark_belongs_to_no_pattern() -> None:
    assert parse(b"\xef\xbb\xbf* @a\n", "CODEOWNERS").owners("x") == ("@a",)
    assert parse(b"\xef\xbb\xbf# of a kind\n* @a\n", "CODEOWNERS").skipped == ()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\r\n \t\r\n", b"# nobody", b"# caf\xe9 in Latin-1\n", b"\xef\xbb\xbf"]
)
def test_a_file_without_a_pattern_owns_nothing(content: bytes) -> None:
    found = parse(content, "CODEOWNERS")
    assert (found.rules, found.skipped, found.match("x")) == ((), (), None)


def test_owners_are_told_as_written() -> None:
    assert owners("* @a @A @a @Org/Team.x a+b@mail.example.com @emu_corp\n", "x") == (
        "@a",
        "@A",
        "@a",
        "@Org/Team.x",
        "a+b@mail.example.com",
        "@emu_corp",
    )


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
        ("foo/**/", "foo/x", True),
        ("foo/**/", "foo", False),
        ("f*/**/", "foo/x", True),
        ("f*/**/", "foo", False),
        ("**/", "a", False),
        ("**/", "a/b", True),
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
        ("docs/*.md", "docs/x.md/a", True),
        ("/app/\\[id\\]/", "app/[id]/page.tsx", True),
        ("/app/\\[id\\]/", "app/i/page.tsx", False),
        ("/\\a", "a", True),
        ("/a\\\\b", "a\\b", True),
        ("/a\\\\*", "a\\b", True),
        ("\u6587\u6863/", "x/\u6587\u6863/a", True),
        ("caf\u00e9", "cafe\u0301", False),
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


# What other engines found by trying GitHub: the tables of hmarr/codeowners (testdata/patterns.json) and of
# Azure/azure-sdk-tools (CodeownersFileTests), as far as the cases above leave them out.
@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("foo", "foo foo/bar bar/foo bar/foo/baz", "foo.txt bar/foo.txt bar/baz"),
        ("/foo", "foo foo/bar foo/bar/baz", "fool.txt bar/foo bar/foo/baz"),
        ("foo/", "foo/bar foo/bar/baz bar/foo/baz bar/foo/baz/qux", "foo bar/foo bar/baz"),
        ("foo/bar/", "foo/bar/baz", "foo/bar foo/bart baz/foo/bar baz/foo/bar/qux"),
        ("f*", "foo foo/bar bar/foo bar/foo/baz", "bar/baz xfoo"),
        ("/f*", "foo foo/bar foo/bar/baz", "bar/foo bar/foo/baz xfoo"),
        ("f*/", "foo/bar bar/foo/baz", "foo bar/foo xfoo"),
        ("/f*/", "foo/bar", "foo bar/foo bar/foo/baz xfoo"),
        ("/*/", "foo/bar bar/foo/baz", "foo"),
        ("/a/*/", "a/b/c a/b/c/d", "a a/b"),
        ("/*/**", "a/b a/b/c", "a"),
        ("a/*/*", "a/b/c", "a/b a/b/c/d"),
        ("f\\*o", "f*o x/f*o", "foo"),
        ("f?o", "foo", "fo fooo f/o"),
        ("**/*bar*", "bar foo/bar foo/rebar foo/barrio foo/qux/bar bar/x", "ba/r"),
        ("foo/**/bar", "foo/bar foo/bar/baz foo/qux/bar/baz foo/qux/quux/bar/baz", "qux/foo/bar foo/xbar"),
        ("foo/**/bar/b*", "foo/bar/baz foo/qux/bar/baz", "foo/bar foo/bar/qux foo/qux/bar foo/qux/bar/qux"),
        ("/a/**/*/d", "a/b/x/c/d a/b/d", "a/d"),
        ("/**/a/", "a/b x/a/b", "a x/a"),
        ("/**/*x*/AB/*/CD", "a/b/cxy/AB/fff/CD", "a/b/cxy/AB/ff/ff/CD"),
        ("/**/*x*/AB/**/CD/*", "a/b/cxy/AB/ff/ff/CD/h", "a/b/cxy/AB/ff/ff/CD"),
        ("bar{foo}.log", "bar{foo}.log", "barf barfoo.log"),
        ("a$b^c|d.e", "a$b^c|d.e", "a$b^c|dxe"),
    ],
)
def test_a_pattern_matches_as_other_engines_found(pattern: str, matched: str, others: str) -> None:
    assert [path for path in matched.split() if not owners(f"{pattern} @octocat", path)] == []
    assert [path for path in others.split() if owners(f"{pattern} @octocat", path)] == []


names = st.one_of(
    st.sampled_from(
        ["a", "b", "ab", "a.py", ".a", "*", "**", "*.py", "a*", "*b*", "?", "a?", "\\*", "a\\ b", "\\[b\\]"]
    ),
    st.text("ab*?", min_size=1, max_size=5).filter(lambda name: "***" not in name),
)
patterns = st.builds(
    lambda head, middle, tail: head + "/".join(middle) + tail,
    st.sampled_from(["", "/", "**/"]),
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from(["", "/", "/*", "/**"]),
)
paths = st.lists(st.sampled_from(["a", "b", "ab", "a.py", ".a", "*", "a b", "bab"]), min_size=1, max_size=5).map(
    "/".join
)
SHAPES = {
    "a directory": "/{a}/{n}/",
    "a name": "{n}",
    "a name below": "{a}/**/{n}",
    "a name after a star": "/*/{n}/",
    "a name anywhere, then an ending": "**/{n}/*.py",
    "a beginning": "{n}*",
    "a beginning and an ending": "/{a}/{n}-*.py",
    "an ending": "*-{n}.py",
    "an ending anywhere": "**/?*{n}/",
    "a text inside": "*-{n}-*",
    "two stars": "/{a}*/{n}*/",
    "a mark": "{n}?.py",
}


@pytest.mark.parametrize("place", ["{}xyz", "x{}yz", "xy{}z", "xyz{}", "{}"])
def test_a_text_of_many_is_found_wherever_it_stands(place: str) -> None:
    found = parse("".join(f"*{letter}*\n" for letter in "abcdefghijkl").encode(), "CODEOWNERS")
    matched = [found.match(f"0/{place.format(letter)}/1") for letter in "abcdefghijkl"]
    assert [rule.line if rule is not None else 0 for rule in matched] == list(range(1, 13))


@pytest.mark.parametrize("same", [("/a/b", "a/b"), ("b", "**/b"), ("b/", "**/b/"), ("a/**", "/a/**/"), ("/a/*", "a/*")])
def test_of_lines_that_mean_the_same_the_last_decides(same: tuple[str, str]) -> None:
    one, other = same
    path = "a/b/c" if one.endswith("/") else "a/b"
    assert owners(f"{one} @a\n{other} @b\n{one} @c\n", path) == ("@c",)
    assert owners(f"{one} @a\n{one} @c\n{other} @b\n", path) == ("@b",)


@pytest.mark.parametrize("shape", SHAPES)
def test_few_of_many_patterns_are_tried(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse(
        "".join(f"{SHAPES[shape].format(a='src', n=f'n{n:03}')} @octocat\n" for n in range(500)).encode(), "CODEOWNERS"
    )
    tried: list[str] = []

    def expression(pattern: str) -> re.Pattern[str]:
        tried.append(pattern)
        return compiled(pattern)

    compiled = codeowners_pattern.expression
    monkeypatch.setattr(codeowners_pattern, "expression", expression)
    for number in range(0, 500, 5):
        found.match(f"src/x-n{number:03}-y/n{number:03}-z.py")
    assert len(tried) <= 3 * 100


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
        least = 2 if pattern.endswith("/") and set(wanted) == {"**"} else 1
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


@given(patterns)
def test_samples_of_a_pattern_match_it(pattern: str) -> None:
    found = list(samples(pattern, "www"))
    assert found
    assert all(naive(pattern, path) for path in found)


@pytest.mark.parametrize("pattern", ["/", "//", "//a", "a//b", "./a", "/a/../b", ".."])
def test_a_pattern_that_no_path_of_git_can_match_has_no_sample(pattern: str) -> None:
    assert list(samples(pattern, "www")) == []


@pytest.mark.parametrize(
    ("content", "path"),
    [
        pytest.param(b"/" + b"*a" * 100_000 + b"b @octocat\n", "a" * 4000, id="stars"),
        pytest.param(b"/" + b"**/a*/" * 20_000 + b"b @octocat\n", "a/" * 2000 + "a", id="double stars"),
        pytest.param(b"/" + b"?" * 1_000_000 + b"* @octocat\n", "a" * 4000, id="marks"),
        pytest.param(b"/" + b"\\\\" * 500_000 + b"* @octocat\n", "a", id="escapes"),
        pytest.param(b"* a@" + b"." * 2_000_000 + b"@\n", "a", id="an address of dots"),
        pytest.param(b"* " + b"a" * 2_000_000 + b"\n", "a", id="a long word"),
        pytest.param(b"*a*b\n" * 400_000, "x" * 255, id="one pattern often"),
        pytest.param(b"".join(b"*a%dx*b\n" % n for n in range(50_000)), "a/" * 2000 + "a1xb", id="many patterns"),
        pytest.param(b"".join(b"*%s*\n" % (b"b" * n) for n in range(99_980, 100_000)), "b" * 200_000, id="a long name"),
        pytest.param(b"/a/ @b\n", "a/" * 800_000 + "b", id="a deep path"),
    ],
)
def test_a_hostile_file_or_path_takes_no_longer_than_its_length(content: bytes, path: str) -> None:
    begin = time.process_time()
    parse(content, "CODEOWNERS").match(path)
    # A second or two; where it grew with the square it would take minutes.
    assert time.process_time() - begin < 30


@pytest.mark.parametrize("patterns", [("/d/*/x", "/d/*/x/**"), ("/d/*/x/**", "/d/*/x"), ("*/x*", "d/*x*", "d/*x*/")])
def test_of_patterns_that_need_the_same_text_the_last_decides(patterns: tuple[str, ...]) -> None:
    found = parse("".join(f"{pattern} @octocat\n" for pattern in patterns).encode(), "CODEOWNERS")
    for path in ("d/qx/x/y", "d/x/x/y"):
        rule = found.match(path)
        tried = [line for line, pattern in enumerate(patterns, start=1) if naive(pattern, path)]
        assert (rule.line if rule is not None else 0) == tried[-1]
