"""Where a manifest was read from, so that a complaint can name `file:line`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

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
        line: the line that the document's text begins at, from 1.
        text: the document's own text.
        path: leads from the document to the manifest; empty unless it is an item of a List.
    """

    file: str
    line: int
    text: str
    path: Path = ()

    def line_of(self, path: Path) -> int:
        """The line of a value of the manifest, or of the nearest thing around it. Reads the text again: for errors."""
        try:
            node: yaml.Node | None = yaml.compose(self.text, yaml.CSafeLoader)
        except yaml.YAMLError:
            return self.line
        found = node
        for step in (*self.path, *path):
            inner = _step(node, step) if node is not None else None
            if inner is None:
                break
            found, node = inner
        # A document's mark is that of its marker line; its first key says more.
        return self.line + (found.start_mark.line if found is not None else 0)


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
        source = self.manifest.source
        return f"{source.file}:{source.line_of(path)}: {key}"


def _step(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Where a step leads: the node to point at (the key of a mapping), and the value."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


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
