"""Patterns of CODEOWNERS: one as a regular expression, many as an index that finds the last one that matches.

GitHub's subset of gitignore: `*` and `?` stay inside a segment, `**` is any number of segments, a slash before the end
anchors, what matches a directory owns all below it. Matching one pattern takes time linear in the path: files of a pull
request are hostile.

https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners#codeowners-syntax
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, chain, product
from typing import Literal

Kind = Literal["starts", "names", "begins", "ends", "holds"]
"""Where a fixed text of a pattern must stand: the path starts with it, or a name in the path is it, begins with …"""
_Tried = list[tuple[int, str]]
_Said = tuple[int, int, list[_Tried]]

_WILD = re.compile(r"(?<!\\)(?:\\\\)*[*?]")
_PART = re.compile(r"\\.|\*+|\?|[^\\*?]+|\\", re.DOTALL)
_DEPTHS = (0, 1, 2)


@lru_cache(maxsize=8192)
def expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for whole paths (`a/b.txt`, no leading slash)."""
    body, below = _body(pattern), "/.*" if pattern.endswith("/") else "(?:/.*)?"
    segments = body.split("/")
    if not _anchored(pattern):
        segments = ["**", *segments]
    if segments[-1] == "**":
        # `docs/**` and `docs/**/` own what is below docs, and not a file of that name; `**/` what is in any directory.
        while segments and segments[-1] == "**":
            segments.pop()
        below = "/.*" if segments else "[^/]*/.*" if pattern.endswith("/") else ".*"
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
    pieces: list[list[str]] = [[]]
    for part in _PART.findall(segment):
        if part[0] == "*":
            pieces.append([])
        else:
            pieces[-1].append("[^/]" if part == "?" else re.escape(_literal(part)))
    first, *rest = ("".join(piece) for piece in pieces)
    if not rest:
        return first
    middle = "".join(f"(?>[^/]*?{piece})" for piece in rest[:-1] if piece)
    return f"{first}{middle}[^/]*{rest[-1]}"


def _texts(segment: str) -> list[str]:
    """The fixed texts between the wildcards of a segment."""
    texts: list[list[str]] = [[]]
    for part in _PART.findall(segment):
        if part[0] in "*?":
            texts.append([])
        else:
            texts[-1].append(_literal(part))
    return ["".join(text) for text in texts]


def _literal(part: str) -> str:
    return part[1] if part[0] == "\\" and len(part) > 1 else part


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
        wild: where a text must stand → its length → the text → the other patterns that need it there, last first.
        remembered: what a name in a path says, for names come again in many paths.
        deepest: segments of the longest text in `files` and `directories`.
    """

    files: dict[str, int] = field(default_factory=dict)
    directories: dict[str, int] = field(default_factory=dict)
    parents: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    endings: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    wild: dict[Kind, dict[int, dict[str, _Tried]]] = field(default_factory=dict)
    remembered: dict[str, _Said] = field(default_factory=dict)
    deepest: int = 0

    def last(self, path: str) -> int:
        """Number of the last pattern that matches a path; -1 where none does."""
        *folders, file = path.split("/")
        best, _, trying = self._said(file)
        best = max(best, self.files.get(path, -1), self.parents.get(path.rpartition("/")[0], -1))
        for place in accumulate(folders[: self.deepest], "{}/{}".format):
            best = max(best, self.files.get(place, -1), self.directories.get(place, -1))
        several = [trying]
        for name in folders:
            anything, folder, trying = self._said(name)
            best = max(best, anything, folder)
            several.append(trying)
        several += [[texts[path[:n]]] for n, texts in self.wild.get("starts", {}).items() if path[:n] in texts]
        for tried in chain.from_iterable(several):
            best = _last_of(tried, path, best)
        return best

    def _said(self, name: str) -> _Said:
        """The last pattern that a name in a path decides, that it decides as a directory, and those to try for it."""
        said = self.remembered.get(name)
        if said is None:
            endings = (texts.get(name[-length:], -1) for length, texts in self.endings.items())
            best = max(self.names.get(name, -1), *endings, -1)
            trying = [
                texts[text]
                for kind, lengths in self.wild.items()
                for length, texts in lengths.items()
                for text in _cut(name, kind, length, texts)
                if text in texts
            ]
            said = self.remembered[name] = best, self.folders.get(name, -1), trying
        return said


def _last_of(tried: _Tried, path: str, best: int) -> int:
    """The first of these, last first, that is later than the best so far and matches."""
    for number, pattern in tried:
        if number <= best:
            break
        if expression(pattern).fullmatch(path):
            return number
    return best


def _cut(name: str, kind: Kind, length: int, texts: Collection[str]) -> Iterable[str]:
    """The texts of a length that stand in a name as a kind asks; others may be among them."""
    if kind == "holds" and len(name) > len(texts):
        # Names of a pull request have any length: never more pieces of one than texts.
        return [text for text in texts if text in name]
    if kind == "holds":
        return {name[start : start + length] for start in range(len(name) - length + 1)}
    return {"names": (name,), "begins": (name[:length],), "ends": (name[-length:],), "starts": ()}[kind]


def index(patterns: Iterable[str]) -> Index:
    """Put patterns into an index; each is known by its number, counted from 0."""
    made, wild = Index(), dict[int, str]()
    # Of patterns that are the same, the last decides.
    for pattern, number in {pattern: number for number, pattern in enumerate(patterns)}.items():
        if not _put(made, number, pattern):
            wild[number] = pattern
    needs = {number: _needs(pattern) for number, pattern in wild.items()}
    popular = Counter(need for several in needs.values() for need in several)
    for number in sorted(wild, reverse=True):
        # By the rarest text that it needs, for then the fewest are tried in vain.
        kind, text = min(needs[number], key=lambda need: (popular[need], -len(need[1])), default=("starts", ""))
        length = len(text) if kind != "names" else 0
        made.wild.setdefault(kind, {}).setdefault(length, {}).setdefault(text, []).append((number, wild[number]))
    made.deepest = max((text.count("/") + 1 for text in (*made.files, *made.directories)), default=0)
    return made


def _put(made: Index, number: int, pattern: str) -> bool:
    """Put a pattern where a text alone decides; tell whether there is such a place."""
    body, below, anchored = _body(pattern), pattern.endswith("/"), _anchored(pattern)
    if body.startswith("**/") and "/" not in body[3:]:
        body, anchored = body[3:], False
    plain = _plain(body)
    parent, _, name = body.rpartition("/")
    if plain is not None and anchored:
        _keep(made.directories if below else made.files, plain, number)
    elif plain is not None:
        _keep(made.folders if below else made.names, plain, number)
    elif not anchored and not below and body[0] == "*" and (ending := _plain(body[1:])):
        _keep(made.endings[len(ending)], ending, number)
    elif anchored and not below and name == "*" and (place := _plain(parent)) is not None:
        _keep(made.parents, place, number)
    elif anchored and name == "**" and (place := _plain(parent)):
        _keep(made.directories, place, number)
    else:
        return False
    return True


def _keep(numbers: dict[str, int], text: str, number: int) -> None:
    numbers[text] = max(numbers.get(text, -1), number)


def _needs(pattern: str) -> list[tuple[Kind, str]]:
    """Texts without which a pattern does not match, and where each must stand."""
    body, needs = _body(pattern), list[tuple[Kind, str]]()
    if _anchored(pattern) and (fixed := _plain(body[: _wild_at(body)])):
        needs.append(("starts", fixed))
    for segment in body.split("/"):
        first, *rest = _texts(segment)
        if not rest:
            needs.append(("names", first))
            continue
        *middle, last = rest
        needs += [("begins", first)] if first else []
        needs += [("ends", last)] if last else []
        needs += [("holds", text) for text in middle if text]
    return needs


def _wild_at(body: str) -> int:
    found = _WILD.search(body)
    return found.end() - 1 if found else len(body)


def samples(pattern: str, word: str) -> Iterator[str]:
    """Paths that a pattern matches: its stars empty and filled, at several depths; none where it matches no file.

    Args:
        word: what fills the wildcards.
    """
    body, wanted = _body(pattern), expression(pattern)
    for filled, depth, below in product((word, ""), _DEPTHS, _DEPTHS):
        names = [] if _anchored(pattern) else [word] * depth
        for segment in body.split("/"):
            names += [word] * depth if segment == "**" else [_filled(segment, filled, word[:1])]
        path = "/".join([*names, *[word] * below])
        # git keeps no path with such a name in it.
        if not {"", ".", ".."} & set(path.split("/")) and wanted.fullmatch(path):
            yield path


def _filled(segment: str, star: str, mark: str) -> str:
    parts = _PART.findall(segment)
    return "".join(star if part[0] == "*" else mark if part == "?" else _literal(part) for part in parts)
