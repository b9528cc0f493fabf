"""Patterns of CODEOWNERS: one as a regular expression, many as an index that finds the last one that matches.

GitHub's subset of gitignore: `*` and `?` stay inside a segment, `**` is any number of segments, a slash before the end
anchors, what matches a directory owns all below it. Matching takes time linear in the path: files of a pull request are
hostile.

https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners#codeowners-syntax
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

_WILD = re.compile(r"(?<!\\)(?:\\\\)*[*?]")


@lru_cache(maxsize=8192)
def expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for whole paths (`a/b.txt`, no leading slash)."""
    body, below = _body(pattern), "/.*" if pattern.endswith("/") else "(?:/.*)?"
    segments = body.split("/")
    if not _anchored(pattern):
        segments = ["**", *segments]
    if segments[-1] == "**":
        # `docs/**` owns what is below docs, and not a file of that name; `docs/**/` the directories there.
        while segments and segments[-1] == "**":
            segments.pop()
        below = ("/" if segments else "") + ("[^/]*/.*" if pattern.endswith("/") else ".*")
    elif _anchored(pattern) and segments[-1] == "*" and not pattern.endswith("/"):
        # `docs/*` owns the files of docs, but not those of its sub-directories.
        below = ""
    groups = _between_double_stars(segments)
    text = "/".join(map(_segment, groups[0])) + ("/" if groups[0] and len(groups) > 1 else "")
    for number, group in enumerate(groups[1:], start=1):
        middle = "/".join(map(_segment, group))
        if number == len(groups) - 1:
            text += f"(?:[^/]*/)*{middle}"
        elif group:
            # Where a later `**` can take up the rest, the first place that fits is as good as any: no way back.
            text += f"(?>(?:[^/]*/)*?{middle}/)"
    return re.compile(text + below, re.DOTALL)


def _body(pattern: str) -> str:
    return pattern.removeprefix("/").removesuffix("/")


def _anchored(pattern: str) -> bool:
    return "/" in pattern.rstrip("/")


def _between_double_stars(segments: list[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for segment in segments:
        if segment == "**":
            groups.append([])
        else:
            groups[-1].append(segment)
    return groups


def _segment(segment: str) -> str:
    """One segment: after a star, the first place where the next fixed text fits is as good as any."""
    first, *rest = _pieces(segment)
    if not rest:
        return first
    middle = "".join(f"(?>[^/]*?{piece})" for piece in rest[:-1] if piece)
    return f"{first}{middle}[^/]*{rest[-1]}"


def _pieces(segment: str) -> list[str]:
    """The texts between the stars, as regular expressions."""
    pieces = [""]
    for part in re.findall(r"\\.|\*+|\?|.", segment, re.DOTALL):
        if part[0] == "*":
            pieces.append("")
        elif part == "?":
            pieces[-1] += "[^/]"
        else:
            pieces[-1] += re.escape(part[1] if len(part) == 2 else part)
    return pieces


def _plain(text: str) -> str | None:
    """A text without wildcards, its escapes taken away; None where it has wildcards."""
    return None if _WILD.search(text) else re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


@dataclass(slots=True)
class Index:
    """Patterns by what they begin or end with, so that few are tried for a path.

    Attributes:
        files: anchored text → number of the last pattern that matches that file or directory and all below it.
        directories: anchored text → of the last that matches all below it alone.
        parents: directory → of the last `directory/*`.
        names: name of a file or directory anywhere → of the last.
        folders: name of a directory anywhere → of the last.
        endings: length of a text → text after a star (`*.py`) → of the last.
        wild: anchored text before the first wildcard → the others that begin with it, last first.
        lengths: of the texts in `wild`.
    """

    files: dict[str, int] = field(default_factory=dict)
    directories: dict[str, int] = field(default_factory=dict)
    parents: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    endings: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    wild: dict[str, list[tuple[int, re.Pattern[str]]]] = field(default_factory=lambda: defaultdict(list))
    lengths: tuple[int, ...] = ()

    def last(self, path: str) -> int:
        """Number of the last pattern that matches a path; -1 where none does."""
        segments = path.split("/")
        directory, _, _ = path.rpartition("/")
        best = max(self.files.get(path, -1), self.parents.get(directory, -1))
        for end, name in enumerate(segments):
            best = max(best, self.names.get(name, -1))
            for length, endings in self.endings.items():
                best = max(best, endings.get(name[-length:], -1))
            if end < len(segments) - 1:
                best = max(best, self.folders.get(name, -1))
        for place in _upwards(directory):
            best = max(best, self.files.get(place, -1), self.directories.get(place, -1))
        for length in self.lengths:
            for number, tried in self.wild.get(path[:length], ()):
                if number <= best:
                    break
                if tried.fullmatch(path):
                    best = number
                    break
        return best


def _upwards(directory: str) -> Iterable[str]:
    while directory:
        yield directory
        directory = directory.rpartition("/")[0]


def index(patterns: Iterable[str]) -> Index:
    """Put patterns into an index; each is known by its number, counted from 0."""
    made = Index()
    for number, pattern in enumerate(patterns):
        _put(made, number, pattern)
    for tried in made.wild.values():
        tried.reverse()
    made.lengths = tuple({len(text) for text in made.wild})
    return made


def _put(made: Index, number: int, pattern: str) -> None:
    body, below, anchored = _body(pattern), pattern.endswith("/"), _anchored(pattern)
    if body.startswith("**/") and "/" not in body[3:]:
        body, anchored = body[3:], False
    plain = _plain(body)
    parent, _, name = body.rpartition("/")
    if plain is not None and anchored:
        (made.directories if below else made.files)[plain] = number
    elif plain is not None:
        (made.folders if below else made.names)[plain] = number
    elif not anchored and not below and body[0] == "*" and (ending := _plain(body[1:])):
        made.endings[len(ending)][ending] = number
    elif anchored and not below and name == "*" and (place := _plain(parent)) is not None:
        made.parents[place] = number
    elif anchored and not below and name == "**" and (place := _plain(parent)):
        made.directories[place] = number
    else:
        made.wild[_fixed(body) if anchored else ""].append((number, expression(pattern)))


def _fixed(body: str) -> str:
    """The text before the first wildcard."""
    found = _WILD.search(body)
    return _plain(body[: found.end() - 1] if found else body) or ""
