"""YAML into JSON's types, straight from the events of the C parser: as kubectl resolves it, but strict and bounded.

Refused: duplicate keys, tags other than YAML's own of JSON's types, keys that are no text in JSON, numbers that JSON
does not have, merge keys that kubectl and kustomize resolve differently, and what would cost more than it can be worth.
https://yaml.org/spec/1.1/, https://yaml.org/type/merge.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from breakglass.model.errors import Refused
from breakglass.model.scalar import PLAIN, PLAIN_KEYS, key_of_value

MOST_VALUES = 10_000_000
"""Scalars, lists and mappings of one input."""
DEEPEST = 100
"""Mappings and lists inside one another."""
LARGEST_EXPANSION = 1024 * 1024
"""Characters that the aliases of one input may stand for, beyond ten times the input's own."""

_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_TEXT_TAGS = ("!", f"{_TAG}str", f"{_TAG}merge")
_VALUE_TAGS: Mapping[str, tuple[type, ...]] = {
    f"{_TAG}bool": (bool,),
    f"{_TAG}float": (float, int),
    f"{_TAG}int": (int,),
    f"{_TAG}null": (type(None),),
}
_COLLECTION_TAGS = {MappingStartEvent: f"{_TAG}map", SequenceStartEvent: f"{_TAG}seq"}
_UNPRINTABLE = "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


class YamlReader:
    """Reads the documents of one input; what they may cost is counted over all of them.

    Args:
        file: the input's name, for messages.
        size: characters of the input.
        aliases: whether anchors and aliases are legal.
    """

    __slots__ = ("_aliases", "_anchors", "_depth", "_end", "_expansion", "_file", "_line", "_next", "_values")

    _next: Callable[[], Any]

    def __init__(self, file: str, size: int, *, aliases: bool = True) -> None:
        self._file = file
        self._aliases = aliases
        self._expansion = LARGEST_EXPANSION + 10 * size
        self._values = MOST_VALUES
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._depth = self._end = self._line = 0

    def documents(self, text: str, line: int) -> Iterator[tuple[int, Any]]:
        """The documents of a text.

        Args:
            text: any number of documents.
            line: the line that the text begins at, from 1.

        Returns:
            Where in the text each document begins, and its value.

        Raises:
            Refused: with `file:line` and the remedy.
        """
        self._line = line
        try:
            self._next = CParser(text).get_event
            while (event := self._next()) is not None:
                if type(event) is DocumentStartEvent:
                    self._anchors = {}
                    self._depth = 0
                    yield _begin(event), self._value(self._next())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._refusal(f"not YAML: {error.problem}", mark.line if mark else 0, "correct the YAML") from None
        except ReaderError as error:
            found = re.search(_UNPRINTABLE, text)
            below = text.count("\n", 0, found.start()) if found else 0
            raise self._refusal(f"not YAML: {error.reason}", below, "correct the YAML") from None

    def count(self, values: int, line: int) -> None:
        """Count values that were read otherwise.

        Raises:
            Refused: the input has too many; the line is the file's.
        """
        self._values -= values
        if self._values < 0:
            raise Refused(
                f"more than {MOST_VALUES} values", where=f"{self._file}:{line}", remedy="read fewer objects at once"
            )

    def _value(self, event: Any) -> Any:
        self._values -= 1
        if self._values < 0:
            self.count(0, self._line + event.start_mark.line)
        kind = type(event)
        if kind is ScalarEvent:
            return self._scalar(event)
        return self._alias(event) if kind is AliasEvent else self._collection(event)

    def _scalar(self, event: Any) -> Any:
        try:
            value = self._tagged(event) if event.tag else PLAIN[event.value] if event.implicit[0] else event.value
        except ValueError as error:
            raise self._refused(str(error), event, "write a number, or put it in quotes") from None
        if event.anchor is not None:
            self._remember(event, value, len(event.value))
        return value

    def _tagged(self, event: Any) -> Any:
        if event.tag in _TEXT_TAGS:
            return event.value
        types = _VALUE_TAGS.get(event.tag)
        if types is None:
            raise self._tag_refused(event)
        value = PLAIN[event.value]
        if type(value) not in types:
            raise self._refused(f"{event.value[:80]!r} is not what its tag says", event, "remove the tag")
        return value

    def _collection(self, event: Any) -> Any:
        if event.tag is not None and event.tag not in ("!", _COLLECTION_TAGS[type(event)]):
            raise self._tag_refused(event)
        if self._depth == DEEPEST:
            raise self._refused(f"more than {DEEPEST} values inside one another", event, "make it flatter")
        self._depth += 1
        before = self._expansion
        value = self._mapping() if type(event) is MappingStartEvent else self._sequence()
        self._depth -= 1
        if event.anchor is not None:
            written = self._end - _begin(event)
            self._remember(event, value, written + before - self._expansion)
        return value

    def _sequence(self) -> list[Any]:
        found: list[Any] = []
        following, value, append = self._next, self._value, found.append
        while type(event := following()) is not SequenceEndEvent:
            append(value(event))
        self._end = _end(event)
        return found

    def _mapping(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        following, key, value = self._next, self._key, self._value
        while type(event := following()) is not MappingEndEvent:
            name = key(event)
            if name == _MERGE and _merges(event):
                if merged is not None:
                    raise self._refused("the key << stands twice", event, "merge a list of mappings")
                merged = self._merged(event, value(following()), found)
            elif name in found:
                raise self._refused(f"the key {name[:80]!r} stands twice", event, "keep one of the two")
            else:
                found[name] = value(following())
        self._end = _end(event)
        return found if merged is None else merged | found

    def _merged(self, event: Any, value: Any, before: Mapping[str, Any]) -> dict[str, Any]:
        """What a merge key brings, earlier mappings of a list first; `before` are the keys that stand above it."""
        mappings = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for mapping in reversed(mappings):
            if not isinstance(mapping, dict):
                raise self._refused("<< takes a mapping, or a list of mappings", event, "correct the YAML")
            merged.update(mapping)
        if both := sorted(merged.keys() & before.keys()):
            what = f"kubectl and kustomize do not agree whether {both[0][:80]!r} or << counts"
            raise self._refused(what, event, "put << first")
        return merged

    def _key(self, event: Any) -> str:
        self._values -= 1
        if type(event) is ScalarEvent and event.tag is None and event.anchor is None:
            if not event.implicit[0]:
                return event.value
            try:
                return PLAIN_KEYS[event.value]
            except ValueError as error:
                raise self._refused(str(error), event, "put the key in quotes") from None
        try:
            return key_of_value(self._value(event))
        except ValueError as error:
            raise self._refused(str(error), event, "write the key as text") from None

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._refused(f"there is no anchor &{event.anchor[:80]} before it", event, "correct the alias")
        value, weight = self._anchors[event.anchor]
        self._expansion -= weight
        if self._expansion < 0:
            raise self._refused("the aliases stand for more than ten times the input", event, "write the values out")
        return value

    def _remember(self, event: Any, value: Any, weight: int) -> None:
        if not self._aliases:
            raise self._refused("anchors and aliases are not allowed", event, "write the value out")
        self._anchors[event.anchor] = value, weight + 1

    def _tag_refused(self, event: Any) -> Refused:
        tag = event.tag.replace(_TAG, "!!")[:80]
        return self._refused(f"the tag {tag} is not allowed", event, "remove the tag")

    def _refused(self, what: str, event: Any, remedy: str) -> Refused:
        return self._refusal(what, event.start_mark.line, remedy)

    def _refusal(self, what: str, below: int, remedy: str) -> Refused:
        return Refused(what, where=f"{self._file}:{self._line + below}", remedy=remedy)


def _begin(event: Any) -> int:
    return event.start_mark.index  # type: ignore[no-any-return]


def _end(event: Any) -> int:
    return event.end_mark.index  # type: ignore[no-any-return]


def _merges(key: Any) -> bool:
    """Whether a key that reads `<<` is the merge key: it stands without quotes."""
    return isinstance(key, ScalarEvent) and (key.implicit[0] or key.tag == f"{_TAG}merge")
