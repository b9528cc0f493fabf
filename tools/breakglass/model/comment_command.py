"""What people may ask in a comment: one line of a strict grammar, read here and never handed to a shell.

```
/breakglass open OVERLAY [on CLUSTER,…] [for DURATION] [with NAME=VALUE …] [solo] because INCIDENT REASON…
/breakglass extend ACTIVATION for DURATION because REASON…
/breakglass close ACTIVATION [because REASON…]
/breakglass status [ACTIVATION]
/breakglass help
```

What stands before `because` may come in any order, each once; `with …` and `solo` may also come at the end of the line,
after the reason. The reason is the rest of the line, its words joined by single spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from breakglass.model.errors import UsageError
from breakglass.model.name import ActivationId, ClusterName, OverlayName
from breakglass.model.time import parse_duration

PREFIX = "/breakglass"
"""A comment whose first line begins with this word is a command; every other comment is none of ours."""
LONGEST_LINE = 2000
"""Characters; a command is typed by a person."""

OPEN_EXAMPLE = "/breakglass open db-from-bastion on prod-eu for 30m because INC-4211 checkout is down"
EXTEND_EXAMPLE = "/breakglass extend 2026-11-23-db-from-bastion-7f3a for 30m because the restore takes longer"
CLOSE_EXAMPLE = "/breakglass close 2026-11-23-db-from-bastion-7f3a"
STATUS_EXAMPLE = "/breakglass status"
EXAMPLES = (OPEN_EXAMPLE, EXTEND_EXAMPLE, CLOSE_EXAMPLE, STATUS_EXAMPLE)
"""One of each, for the answer to `/breakglass help`."""

_PARAMETER = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,62})=(\S{1,1000})", re.ASCII)
_CLAUSES = ("on", "for", "with", "solo", "because")


@dataclass(frozen=True, slots=True)
class Open:
    """Open an overlay; no cluster: the overlay's one production cluster; no duration: the overlay's default."""

    overlay: str
    clusters: tuple[str, ...]
    duration: timedelta | None
    parameters: tuple[tuple[str, str], ...]
    solo: bool
    incident: str
    reason: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Prolong an activation by a new one."""

    activation: str
    duration: timedelta
    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close an activation before its time; no reason: none was given."""

    activation: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Tell what is open, or how it stands with one activation."""

    activation: str | None


@dataclass(frozen=True, slots=True)
class Help:
    """Tell what can be asked."""


Command = Open | Extend | Close | Status | Help


def command_of(body: str) -> Command | None:
    """Read a comment.

    Args:
        body: the comment as it was written, Markdown; nothing after its first line counts.

    Returns:
        What is asked for; None for a comment that is no command: quoted, indented or within a code block as well.

    Raises:
        UsageError: it is a command and not one of the grammar: what was expected, at which word, and an example.
    """
    line = body.partition("\n")[0].removesuffix("\r")
    if not line.startswith(PREFIX) or line[len(PREFIX) : len(PREFIX) + 1] not in ("", " ", "\t"):
        return None
    _refuse_unseen(line)
    words = _Words(line.replace("\t", " ").split(" "))
    verb = words.take("a verb", OPEN_EXAMPLE) if words.left else "help"
    if verb not in _VERBS:
        raise words.wrong(f"one of {', '.join(_VERBS)}", OPEN_EXAMPLE, at=words.place)
    return _VERBS[verb](words)


def _refuse_unseen(line: str) -> None:
    """What nobody sees, or that looks like a space and is none, makes a line mean something else than it shows."""
    if len(line) > LONGEST_LINE:
        raise UsageError(
            f"the line has {len(line)} characters; at most {LONGEST_LINE} are read", remedy="write less, by hand"
        )
    for place, character in enumerate(line, 1):
        if not (character.isprintable() or character == "\t"):
            message = f"character {place} is U+{ord(character):04X}, which nobody sees"
            raise UsageError(message, remedy="write the line again by hand")


class _Words:
    """The words of a line, taken one after another; `place` is the number of the last one taken, from 1."""

    def __init__(self, words: list[str]) -> None:
        self._words = [word for word in words if word]
        self.place = 1

    @property
    def left(self) -> list[str]:
        return self._words[self.place :]

    def take(self, expected: str, example: str) -> str:
        if not self.left:
            raise self.wrong(expected, example)
        self.place += 1
        return self._words[self.place - 1]

    def keyword(self, word: str, example: str) -> None:
        if self.take(f'"{word}"', example) != word:
            raise self.wrong(f'"{word}"', example, at=self.place)

    def rest(self, expected: str, example: str) -> str:
        """All that is left, as one text."""
        first = self.take(expected, example)
        text = " ".join([first, *self.left])
        self.place = len(self._words)
        return text

    def end(self, example: str) -> None:
        if self.left:
            raise self.wrong("nothing more", example, at=self.place + 1)

    def wrong(self, expected: str, example: str, *, at: int | None = None, why: str = "") -> UsageError:
        """The error of the word at a place, or of the word that is missing at the end."""
        place = at or len(self._words) + 1
        found = f"there is {ascii(self._words[place - 1])[:80]}" if at is not None else "the line ends"
        message = f"word {place}: expected {expected}, and {found}{f': {why}' if why else ''}"
        return UsageError(message, remedy=f"write it like this: {example}")


def _open(words: _Words) -> Open:
    overlay = _name(words, OverlayName, "an overlay", OPEN_EXAMPLE)
    clusters: tuple[str, ...] = ()
    duration: timedelta | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    seen: set[str] = set()
    while "because" not in seen:
        remaining = [clause for clause in _CLAUSES if clause not in seen]
        expected = " or ".join(f'"{clause}"' for clause in remaining)
        clause = words.take(expected, OPEN_EXAMPLE)
        if clause not in remaining:
            raise words.wrong(expected, OPEN_EXAMPLE, at=words.place)
        seen.add(clause)
        if clause == "on":
            clusters = _clusters(words)
        elif clause == "for":
            duration = _duration(words, OPEN_EXAMPLE)
        elif clause == "with":
            parameters = _parameters(words)
    incident = words.take("an incident, then the reason", OPEN_EXAMPLE)
    reason, solo, more = _told(words.rest("the reason, in words", OPEN_EXAMPLE).split(" "))
    if parameters and more:
        raise words.wrong('"with" once', OPEN_EXAMPLE, at=words.place)
    if not reason:
        raise words.wrong("the reason, in words", OPEN_EXAMPLE)
    return Open(overlay, clusters, duration, parameters or more, "solo" in seen or solo, incident, reason)


def _told(words: list[str]) -> tuple[str, bool, tuple[tuple[str, str], ...]]:
    """The reason, and what stands behind it: `with NAME=VALUE …`, `solo`, both in this order."""
    solo = words[-1] == "solo"
    words = words[:-1] if solo else words
    first = next((place for place in reversed(range(len(words))) if not _PARAMETER.fullmatch(words[place])), -1)
    if first < 0 or first == len(words) - 1 or words[first] != "with":
        return " ".join(words), solo, ()
    return " ".join(words[:first]), solo, tuple(_pairs(words[first + 1 :]))


def _extend(words: _Words) -> Extend:
    activation = _name(words, ActivationId, "an activation's id", EXTEND_EXAMPLE)
    words.keyword("for", EXTEND_EXAMPLE)
    duration = _duration(words, EXTEND_EXAMPLE)
    words.keyword("because", EXTEND_EXAMPLE)
    return Extend(activation, duration, words.rest("the reason, in words", EXTEND_EXAMPLE))


def _close(words: _Words) -> Close:
    activation, reason = _name(words, ActivationId, "an activation's id", CLOSE_EXAMPLE), None
    if words.left:
        words.keyword("because", CLOSE_EXAMPLE)
        reason = words.rest("the reason, in words", CLOSE_EXAMPLE)
    return Close(activation, reason)


def _status(words: _Words) -> Status:
    activation = _name(words, ActivationId, "an activation's id", STATUS_EXAMPLE) if words.left else None
    words.end(STATUS_EXAMPLE)
    return Status(activation)


def _help(words: _Words) -> Help:
    words.end("/breakglass help")
    return Help()


_VERBS: dict[str, Callable[[_Words], Command]] = {
    "open": _open,
    "extend": _extend,
    "close": _close,
    "status": _status,
    "help": _help,
}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _name(words: _Words, kind: Any, what: str, example: str) -> str:
    return _checked(words, words.take(what, example), kind, what, example)


def _checked(words: _Words, text: str, kind: Any, what: str, example: str) -> str:
    try:
        name: str = _adapter(kind).validate_python(text)
    except ValidationError:
        raise words.wrong(f"{what} (a-z, 0-9 and -)", example, at=words.place) from None
    return name


def _clusters(words: _Words) -> tuple[str, ...]:
    names = words.take("a cluster", OPEN_EXAMPLE).split(",")
    return tuple(
        _checked(words, name, ClusterName, "a cluster, or several with commas and no space between", OPEN_EXAMPLE)
        for name in names
    )


def _duration(words: _Words, example: str) -> timedelta:
    expected = "a duration such as 30m"
    text = words.take(expected, example)
    try:
        return parse_duration(text)
    except ValueError as error:
        why = str(error)[:200] if text.isascii() else ""
        raise words.wrong(expected, example, at=words.place, why=why) from None


def _parameters(words: _Words) -> tuple[tuple[str, str], ...]:
    expected = "NAME=VALUE, the value without a space"
    given = [words.take(expected, OPEN_EXAMPLE)]
    if not _PARAMETER.fullmatch(given[0]):
        raise words.wrong(expected, OPEN_EXAMPLE, at=words.place)
    while words.left and _PARAMETER.fullmatch(words.left[0]):
        given.append(words.take(expected, OPEN_EXAMPLE))
    return tuple(_pairs(given))


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    names: set[str] = set()
    for word in words:
        name, _, value = word.partition("=")
        if name in names:
            raise UsageError(f"the parameter {name} is given twice", remedy="give it once")
        names.add(name)
        yield name, value
