"""CODEOWNERS as GitHub reads it, with every silence it keeps.

https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from breakglass_lab.forge.bare import Bare

LOCATIONS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""Where GitHub looks, first found wins."""

SIZE_LIMIT = 3_000_000
"""Bytes; a larger file is not loaded."""

OWNER = re.compile(r"@[A-Za-z0-9](?:[A-Za-z0-9-]*)(?:/[A-Za-z0-9._-]+)?|[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Line:
    """A line that counts: a pattern and its owners, as written (`@user`, `@org/team`, an address)."""

    number: int
    pattern: str
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Mistake:
    """A mistake GitHub reports (and otherwise keeps silent about); `column` counts from one."""

    number: int
    column: int
    kind: str
    source: str
    message: str


@dataclass(frozen=True)
class CodeOwners:
    """A parsed file: `path` is where it was found."""

    path: str
    lines: tuple[Line, ...]
    mistakes: tuple[Mistake, ...]

    def owners(self, filename: str) -> tuple[str, ...]:
        """Return the owners of a path: those of the last line that matches; none when no line does or that line names
        none.
        """
        last = next((line for line in reversed(self.lines) if _expression(line.pattern).match(filename)), None)
        return () if last is None else last.owners

    def covers(self, filename: str) -> bool:
        """Tell whether any line matches a path."""
        return any(_expression(line.pattern).match(filename) for line in self.lines)


def read(bare: Bare, commit: str, known: Callable[[str], bool]) -> CodeOwners | None:
    """Return the CODEOWNERS in force at a commit, or None; `known` tells whether an owner exists and may write."""
    for path in LOCATIONS:
        content = bare.file(commit, path)
        if content is not None:
            if len(content) > SIZE_LIMIT:
                return None
            return parse(path, content.decode("utf-8", "replace"), known)
    return None


def parse(path: str, text: str, known: Callable[[str], bool]) -> CodeOwners:
    """Parse a file; lines with a syntax error are skipped, owners that are not `known` are dropped; both leave a
    mistake.
    """
    lines: list[Line] = []
    mistakes: list[Mistake] = []
    for number, source in enumerate(text.splitlines(), 1):
        words = re.split(r"(?<!\\)\s+", source.partition("#")[0].strip())
        if not words[0]:
            continue
        pattern, owners = words[0].replace("\\ ", " "), words[1:]
        if pattern.startswith("!") or "[" in pattern or "]" in pattern:
            mistakes.append(_mistake(number, source, pattern, "Invalid pattern"))
            continue
        malformed = next((owner for owner in owners if not OWNER.fullmatch(owner)), None)
        if malformed is not None:
            mistakes.append(_mistake(number, source, malformed, "Invalid owner"))
            continue
        mistakes += [_mistake(number, source, owner, "Unknown owner") for owner in owners if not known(owner)]
        lines.append(Line(number, pattern, tuple(owner for owner in owners if known(owner))))
    return CodeOwners(path, tuple(lines), tuple(mistakes))


def _mistake(number: int, source: str, word: str, kind: str) -> Mistake:
    column = source.find(word) + 1
    message = f"{kind} on line {number}: \n\n  {source}\n  {' ' * (column - 1)}^"
    return Mistake(number, column, kind, source, message)


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    """Translate a pattern: anchored when a slash stands before its end, `**` spans directories, a name covers what lies
    below it.
    """
    anchored = "/" in pattern.rstrip("/")
    directory = pattern.endswith("/")
    segments = pattern.strip("/").split("/")
    out = "" if anchored else "(?:.*/)?"
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "**":
            out += ".*" if last else "(?:.*/)?"
        else:
            out += _segment(segment) + ("" if last else "/")
    if directory:
        out += "/.*"
    elif segments[-1] not in ("*", "**"):
        out += "(?:/.*)?"
    return re.compile(out + r"\Z", re.DOTALL)


def _segment(segment: str) -> str:
    wild = {"*": "[^/]*", "?": "[^/]"}
    return "[^/]+" if segment == "*" else "".join(wild.get(char, re.escape(char)) for char in segment)
