"""CODEOWNERS as GitHub reads it.

Rules: https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
The last matching line wins; a line without owners clears ownership; lines that GitHub cannot parse are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from breakglass.model.codeowners_pattern import Index, index

LOCATIONS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""The first that exists is read; the others are ignored."""
LARGEST_FILE = 3 * 1024 * 1024
"""Bytes; the file must be smaller, or GitHub ignores all of it."""
TOO_LARGE = "the file is not under 3 MB, so GitHub ignores all of it"

_OWNER = re.compile(
    r"@[A-Za-z0-9][A-Za-z0-9_-]{0,98}(?:/[A-Za-z0-9][A-Za-z0-9_.-]{0,98})?"
    r"|[!-?A-~]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of bytes that are not UTF-8."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_TOLD = 80


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: a pattern as written and its owners, in order; no owners clear ownership."""

    line: int
    pattern: str
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Codeowners:
    """The rules of one file, in order, and the lines that GitHub skips with the reason of each."""

    file: str
    rules: tuple[Rule, ...]
    skipped: tuple[tuple[int, str], ...]
    _index: Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", index(rule.pattern for rule in self.rules))

    def match(self, path: str) -> Rule | None:
        """The last rule that matches a path (`a/b.txt`, no leading slash); None where none does."""
        number = self._index.last(path)
        return self.rules[number] if number >= 0 else None

    def owners(self, path: str) -> tuple[str, ...]:
        """Owners of a path; none means that nobody must approve it."""
        rule = self.match(path)
        return rule.owners if rule is not None else ()


def locate(files: Mapping[str, bytes]) -> str | None:
    """The CODEOWNERS file that GitHub reads, among the files of a commit."""
    return next((location for location in LOCATIONS if location in files), None)


def parse(content: bytes, file: str) -> Codeowners:
    """Read a CODEOWNERS file; nothing is an error, unreadable lines are reported in `skipped`."""
    if len(content) >= LARGEST_FILE:
        return Codeowners(file, (), ((1, TOO_LARGE),))
    rules, skipped = [], []
    text = content.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", errors="surrogateescape")
    # Not splitlines(): a form feed or U+2028 inside a comment begins no new line for GitHub.
    for number, line in enumerate(text.split("\n"), start=1):
        fields = _fields(line.removesuffix("\r"))
        if not fields:
            continue
        pattern, *owners = fields
        problem = _problem(pattern, owners)
        if problem:
            skipped.append((number, problem))
        else:
            rules.append(Rule(number, pattern, tuple(owners)))
    return Codeowners(file, tuple(rules), tuple(skipped))


def _fields(line: str) -> list[str]:
    """Split at unescaped white space; an unescaped `#` at the start of a field begins a comment."""
    fields = []
    for match in re.finditer(r"(?:\\.|\S)+", line, re.ASCII):
        if match.group().startswith("#"):
            break
        fields.append(match.group())
    return fields


def _problem(pattern: str, owners: list[str]) -> str | None:
    bare = _ESCAPED.sub("_", pattern)
    if any(_NOT_UTF_8.search(written) for written in (pattern, *owners)):
        return "it is not UTF-8"
    if pattern.startswith("!"):
        return "negation with ! does not work in CODEOWNERS"
    if pattern.startswith("\\#"):
        return "a pattern cannot start with an escaped #"
    if "[" in bare or "]" in bare:
        # GitHub's own words: "both `[` and `]` must be escaped with a `\`".
        return "character ranges with [ ] do not work in CODEOWNERS; as letters of a name, write \\[ and \\]"
    if "***" in bare:
        return "a pattern cannot have three stars in a row"
    if bare.endswith("\\"):
        return "a pattern cannot end with a backslash"
    wrong = next((owner for owner in owners if _OWNER.fullmatch(owner) is None), None)
    if wrong is None:
        return None
    told = wrong if len(wrong) <= _LONGEST_TOLD else f"{wrong[:_LONGEST_TOLD]}…"
    return f"{told} is no owner; write @user, @organisation/team or an e-mail address"
