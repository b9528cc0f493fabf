"""Strict reading of streams of manifests, YAML or JSON, every complaint with its `file:line`.

A stream is taken as kubectl takes it: documents one after another, `List` kinds flattened, scalars as
`breakglass.model.scalar` has them. Refused is what kubectl refuses, what it reads otherwise than people do (duplicate
keys, custom tags), and what would cost more than it can be worth.
https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/yaml/decoder.go
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from breakglass.model.errors import Refused
from breakglass.model.manifest import key_of
from breakglass.model.scalar import json_number
from breakglass.model.source import REMEDY, Path, Place, Source, SourcedManifest
from breakglass.model.yaml_reader import DEEPEST, YamlReader

LARGEST_INPUT = 256 * 1024 * 1024
"""Bytes of one input."""
MOST_OBJECTS = 50_000
"""Documents, and objects, of one input."""

_MARKER = re.compile(r"\n---(?![^ \t\n])")
_BARE_MARKER = "---\n"
_SPACE = re.compile(r"[ \t\n]*")
_LONG_NUMBER = 25
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(-?(?:NaN|Infinity|[0-9][0-9.eE+-]*))')


def read_stream(
    content: bytes, file: str, memory: dict[str, Any] | None = None, *, aliases: bool = True
) -> list[SourcedManifest]:
    """Read every object of a stream; lists are flattened, empty documents skipped.

    Args:
        content: the bytes of the stream.
        file: its name, for messages.
        memory: text of a document -> what was read from it; added to. Objects of equal documents share their values.
        aliases: whether anchors and aliases are legal.

    Returns:
        The objects in their order, each with apiVersion, kind and metadata.name.

    Raises:
        Refused: with `file:line` and the remedy.
    """
    text = _decoded(content, file)
    memory = {} if memory is None else memory
    reader = YamlReader(file, len(text), aliases=aliases)
    found: list[SourcedManifest] = []
    for line, document in _split(text, file):
        objects = memory.get(document)
        if objects is None:
            objects = memory[document] = tuple(_objects(document, line, file, reader))
        for item in objects:
            source = Source(file, line + item.below, item.text, item.path)
            found.append(SourcedManifest(item.values, source))
        refuse_many(len(found), f"{file}:{line}")
    return found


def refuse_many(objects: int, where: str) -> None:
    """See that an input has no more objects than are read.

    Raises:
        Refused: it has.
    """
    if objects > MOST_OBJECTS:
        raise Refused(f"more than {MOST_OBJECTS} objects", where=where, remedy="read fewer at once")


def refuse_twice(manifests: Iterable[SourcedManifest]) -> None:
    """See that no object stands twice; one without a namespace is meant for `default`, as kubectl has it.

    Raises:
        Refused: naming both places.
    """
    seen: dict[tuple[str, ...], SourcedManifest] = {}
    for manifest in manifests:
        key = key_of(manifest)
        first = seen.setdefault((key.group, key.kind, key.namespace or "default", key.name), manifest)
        if first is not manifest:
            what = f"this object stands at {first.source.place_of()} already"
            raise Refused(what, where=str(Place(manifest)), remedy="keep one of the two")


@dataclass(frozen=True, slots=True)
class _Object:
    """An object as every equal document has it; its text begins `below` lines below the document's first."""

    values: Mapping[str, Any]
    below: int
    text: str
    path: Path


def _decoded(content: bytes, file: str) -> str:
    """The text, with one kind of line break: YAML makes the same of all of them, and JSON has none inside of text."""
    if len(content) > LARGEST_INPUT:
        raise Refused(f"more than {LARGEST_INPUT} bytes", where=file, remedy="read less at once")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Refused("this is not UTF-8", where=f"{file}:{line}", remedy="save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _split(text: str, file: str) -> Iterator[tuple[int, str]]:
    """The documents of a stream and their lines, from 1.

    A line that begins with the marker begins a document wherever it stands (c-forbidden of https://yaml.org/spec/1.2.2/).
    Only directives stand before the marker of their document: a stream that may have some stays whole.
    """
    if text.startswith("%") or "\n%" in text:
        yield 1, text
        return
    marks = [mark.start() + 1 for mark in islice(_MARKER.finditer(text), MOST_OBJECTS + 1)]
    if len(marks) > MOST_OBJECTS:
        where = f"{file}:{text.count(chr(10), 0, marks[-1]) + 1}"
        raise Refused(f"more than {MOST_OBJECTS} documents", where=where, remedy="read fewer at once")
    line = 1
    for begin, end in pairwise((0, *marks, len(text))):
        bare = text.startswith(_BARE_MARKER, begin)
        document = text[begin + len(_BARE_MARKER) * bare : end]
        line += bare
        if document and not document.isspace():
            yield line, document
        line += document.count("\n")


def _objects(text: str, line: int, file: str, reader: YamlReader) -> Iterator[_Object]:
    """The objects of a text that begins at this line."""
    counted, below, found = 0, 0, 0
    for begin, end, value in _documents(text, line, file, reader):
        if value is not None:
            below += text.count("\n", counted, begin)
            counted = begin
            source = Source(file, line + below, text[begin:end])
            for values, path in _flattened(value, source):
                found += 1
                refuse_many(found, f"{file}:{source.line}")
                yield _Object(values, below, source.text, path)


def _documents(text: str, line: int, file: str, reader: YamlReader) -> Iterator[tuple[int, int, Any]]:
    """The documents of a text, where each begins and ends: JSON first, and whatever that leaves as YAML."""
    end = 0
    for begin, end, value in _json_documents(text, line, file, reader):
        yield begin, end, value
    if end == len(text):
        return
    found = list(reader.documents(text[end:], line + text.count("\n", 0, end)))
    bounds = [end, *(end + begin for begin, _ in found[1:]), len(text)]
    yield from ((begin, end, value) for (begin, end), (_, value) in zip(pairwise(bounds), found, strict=False))


def _flattened(value: Any, source: Source) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """The object, or the objects of the list, and how each is reached from the document."""
    if not isinstance(value, dict):
        raise Refused("this is no object: it has no fields", where=source.place_of(), remedy=REMEDY)
    for field in ("apiVersion", "kind"):
        _refuse_without(value, (field,), source)
    if not value["kind"].endswith("List") or "items" not in value:
        _refuse_without(value, ("metadata", "name"), source)
        _refuse_other_namespace(value["metadata"].get("namespace"), source)
        yield value, source.path
        return
    items = [] if value["items"] is None else value["items"]
    if not isinstance(items, list):
        raise Refused("items is not a list", where=source.place_of(("items",)), remedy=REMEDY)
    own = {"apiVersion": value["apiVersion"], "kind": value["kind"].removesuffix("List")}
    for index, item in enumerate(items):
        # https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/apis/meta/v1/unstructured/helpers.go decodeToList
        bare = isinstance(item, dict) and not item.get("apiVersion") and not item.get("kind")
        place = Source(source.file, source.line, source.text, (*source.path, "items", index))
        yield from _flattened({**item, **own} if bare else item, place)


def _refuse_without(value: Mapping[str, Any], path: tuple[str, ...], source: Source) -> None:
    """See that a field of an object is there and is text."""
    name = ".".join(path)
    found: Any = value
    for depth, step in enumerate(path):
        if not isinstance(found, dict):
            what = f"{'.'.join(path[:depth])} is not an object"
            raise Refused(what, where=source.place_of(path[:depth]), remedy=REMEDY)
        found = found.get(step) or {}
    if not found:
        raise Refused(f"an object without {name}", where=source.place_of(path), remedy=REMEDY)
    if not isinstance(found, str):
        raise Refused(f"{name} is not text", where=source.place_of(path), remedy="put it in quotes")


def _refuse_other_namespace(namespace: Any, source: Source) -> None:
    if namespace is not None and not isinstance(namespace, str):
        where = source.place_of(("metadata", "namespace"))
        raise Refused("metadata.namespace is not text", where=where, remedy="put it in quotes")


class _NotANumber(ValueError):
    """What is written where JSON has a number."""


def _json_documents(text: str, line: int, file: str, reader: YamlReader) -> Iterator[tuple[int, int, Any]]:
    """The JSON objects that a text begins with, and where each begins and ends.

    Ends at the first that is not as it should be: read as YAML it tells its line, or was meant as YAML.
    """
    begin = 0
    while text.startswith("{", brace := _end_of_space(text, begin)):
        if not begin:
            reader.count(text.count(","), line)
        try:
            value, end = _DECODER.raw_decode(text, brace)
            _refuse_deep(value)
            if "\\u" in text[begin:end]:
                json.dumps(value, ensure_ascii=False).encode()  # half of a pair of surrogates is no character
        except _NotANumber as error:
            token = next(token for token in _JSON_TOKEN.finditer(text, brace) if token[1] == str(error))
            where = f"{file}:{line + text.count(chr(10), 0, token.start())}"
            raise Refused(f"{token[1][:80]} is no number", where=where, remedy="write a number") from None
        except (ValueError, RecursionError):
            return
        end = _end_of_space(text, end)
        yield begin, end, value
        begin = end


def _end_of_space(text: str, begin: int) -> int:
    found = _SPACE.match(text, begin)
    return found.end() if found else begin


def _refuse_deep(value: Any) -> None:
    """See that mappings and lists stand in one another no deeper than in YAML."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError("too deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _number(text: str) -> int | float:
    try:
        return json_number(float(text))
    except ValueError:
        raise _NotANumber(text) from None


def _whole(text: str) -> int | float:
    value = int(text) if len(text) < _LONG_NUMBER else 1 << 63
    return value if -(1 << 63) <= value < 1 << 63 else _number(text)


def _constant(text: str) -> float:
    raise _NotANumber(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_number, parse_int=_whole, parse_constant=_constant)
