"""Where a manifest was read from, so that a complaint can name `file:line`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml._yaml import CParser

from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest, key_of

REMEDY = "correct the manifest"

Path = tuple[str | int, ...]
"""Keys and indexes that lead from a document to a value inside it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One document of a file.

    Attributes:
        file: the file's name, for people.
        line: the line that the document's text begins at, from 1; 0 where lines say nothing to people (a render).
        text: the document's own text; empty where there are no lines.
        path: leads from the document to the manifest; empty unless it is an item of a List.
    """

    file: str
    line: int
    text: str
    path: Path = ()

    def place_of(self, path: Path = ()) -> str:
        """`file:line` of a value of the manifest; the file alone where there are no lines."""
        return f"{self.file}:{self.line_of(path)}" if self.line else self.file

    def line_of(self, path: Path) -> int:
        """The line of a value of the manifest, or of the nearest thing around it. Reads the text again: for errors."""
        try:
            return self.line + _line(CParser(self.text), (*self.path, *path))
        except yaml.YAMLError:
            return self.line


class SourcedManifest(dict[str, Any]):
    """A manifest that knows where it was read from."""

    __slots__ = ("source",)

    def __init__(self, values: Mapping[str, Any], source: Source) -> None:
        """The manifest's fields, and where they stand."""
        super().__init__(values)
        self.source = source


class Place:
    """One object, as the place of a complaint: its `file:line` where it was read from a file, and its key."""

    __slots__ = ("manifest",)

    def __init__(self, manifest: Manifest) -> None:
        """The object that is being read."""
        self.manifest = manifest

    def __str__(self) -> str:
        return self._told(())

    def of(self, parent: Mapping[str, Any], key: str) -> str:
        """The place of a field, by the very mapping it stands in."""
        path = _path_to(self.manifest, parent)
        return self._told((*path, key) if path is not None else ())

    def refusal(
        self, what: str, parent: Mapping[str, Any] | None = None, key: str = "", remedy: str = REMEDY
    ) -> Refused:
        """The error about a field of the object, or about the object where no field is named."""
        return Refused(what, where=str(self) if parent is None else self.of(parent, key), remedy=remedy)

    def _told(self, path: Path) -> str:
        key = str(key_of(self.manifest))
        if not isinstance(self.manifest, SourcedManifest):
            return key
        return f"{self.manifest.source.place_of(path)}: {key}"


def _line(parser: CParser, path: Path) -> int:
    """The line (from 0) that a path leads to in the first document; nothing of it is built, it may be large."""
    event = parser.get_event()
    while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
        event = parser.get_event()
    pointed: Any = event
    for step in path:
        found = _step(parser, event, step)
        if found is None:
            break
        pointed, event = found
    return int(pointed.start_mark.line)


def _step(parser: CParser, event: yaml.Event | None, step: str | int) -> tuple[Any, Any] | None:
    """Where a step leads from the value that an event begins: what to point at (a key, an item), and the value."""
    if isinstance(event, yaml.MappingStartEvent):
        while not isinstance(key := parser.get_event(), yaml.MappingEndEvent):
            _skip(parser, key)
            value = parser.get_event()
            if isinstance(key, yaml.ScalarEvent) and key.value == step:
                return key, value
            _skip(parser, value)
    elif isinstance(event, yaml.SequenceStartEvent) and isinstance(step, int):
        while not isinstance(item := parser.get_event(), yaml.SequenceEndEvent):
            if not step:
                return item, item
            _skip(parser, item)
            step -= 1
    return None


def _skip(parser: CParser, event: Any) -> None:
    """Read to the end of the value that an event begins."""
    depth = 0
    while True:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if not depth:
            return
        event = parser.get_event()


def _path_to(root: Any, wanted: Mapping[str, Any]) -> Path | None:
    """The way to a mapping inside an object, found by identity; None where it is not there."""
    waiting: list[tuple[Path, Any]] = [((), root)]
    while waiting:
        path, value = waiting.pop()
        if value is wanted:
            return path
        waiting.extend(_inside(path, value))
    return None


def _inside(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        yield from (((*path, key), item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from (((*path, index), item) for index, item in enumerate(value))
