"""Strict reading of the product's own YAML files, every complaint with its `file:line`.

Refused: duplicate keys, keys that are no text, anchors and aliases (a few hundred bytes can stand for gigabytes), tags,
several documents, text that is not UTF-8, files of more than 256 KiB.
"""

from __future__ import annotations

import io
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from breakglass.model.errors import InvalidFile

LARGEST_FILE = 256 * 1024
"""Bytes; a policy, contract or activation that is larger is not one a person wrote or reviewed."""

Lines = dict[tuple[str | int, ...], int]
"""Line (from 1) of every value, by its path of keys and indexes."""


class Strict(BaseModel):
    """Base of every model that is read from a file: unknown keys and wrong types are errors; values are immutable."""

    # Built when first used: a verb uses few of the models that it imports.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, defer_build=True)


Model = TypeVar("Model", bound=BaseModel)


def read(content: bytes, file: str, model: type[Model]) -> Model:
    """Read one file of the product into its model.

    Args:
        content: the bytes of the file.
        file: its path, for messages.
        model: what it must be.

    Returns:
        The validated model.

    Raises:
        InvalidFile: the bytes are not strict YAML, or do not fit the model; the message holds every complaint.
    """
    data, lines = load(content, file)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(error, file, lines) from None


def load(content: bytes, file: str) -> tuple[Any, Lines]:
    """Read strict YAML 1.2 into plain dicts, lists and scalars.

    Returns:
        The data, and the line of each of its values.

    Raises:
        InvalidFile: with `file:line` and the remedy.
    """
    if len(content) > LARGEST_FILE:
        raise InvalidFile(f"the file has {len(content)} bytes; at most {LARGEST_FILE} are read", where=file)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidFile("the file is not UTF-8", where=f"{file}:{line}", remedy="save it as UTF-8") from None
    data: Any = None
    lines: Lines = {}
    try:
        _refuse_anchors_and_tags(text, file)
        reader = YAML(typ="safe", pure=True)
        node = reader.compose(io.StringIO(text))
        if node is not None:
            _collect_lines(node, (), lines)
            data = reader.constructor.construct_document(node)
    except DuplicateKeyError as error:
        raise InvalidFile(
            str(error.problem).split(" with value")[0], where=_place(file, error), remedy="keep one of the two"
        ) from None
    except (MarkedYAMLError, yaml.MarkedYAMLError) as error:
        problem = error.problem or "this is not YAML"
        raise InvalidFile(f"not YAML: {problem}", where=_place(file, error), remedy="correct the YAML") from None
    except (YAMLError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidFile(f"not YAML: {error}", where=file, remedy="correct the YAML") from None
    return data, lines


def invalid(error: ValidationError, file: str, lines: Lines) -> InvalidFile:
    """Turn pydantic's complaints into one error, each complaint with its `file:line`."""
    complaints = []
    for problem in error.errors(include_url=False):
        path = tuple(part for part in problem["loc"] if part != "function-before")
        message = problem["msg"].removeprefix("Value error, ")
        name = ".".join(str(part) for part in path)
        complaints.append((_line(path, lines), f"{name}: {message}" if name else message))
    complaints.sort()
    first = f"{file}:{complaints[0][0]}"
    rest = "".join(f"\n{file}:{line}: {message}" for line, message in complaints[1:])
    return InvalidFile(complaints[0][1] + rest, where=first, remedy="correct the file; its schema is in docs/schemas/")


def _place(file: str, error: MarkedYAMLError | yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{file}:{mark.line + 1}" if mark is not None else file


def _refuse_anchors_and_tags(text: str, file: str) -> None:
    """Scan the events, in C: nothing is built before anything that could grow is refused."""
    documents = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        where = f"{file}:{event.start_mark.line + 1}" if event.start_mark is not None else file
        if getattr(event, "anchor", None):
            raise InvalidFile("anchors and aliases are not allowed", where=where, remedy="write the value out")
        if getattr(event, "tag", None):
            raise InvalidFile("tags are not allowed", where=where, remedy="remove the tag")
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise InvalidFile("the file holds several documents", where=where, remedy="keep one document")


def _collect_lines(node: Node, path: tuple[str | int, ...], lines: Lines) -> None:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise MarkedYAMLError(problem="a key is no text", problem_mark=key.start_mark)
            _collect_lines(value, (*path, key.value), lines)
            lines[(*path, key.value)] = key.start_mark.line + 1
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*path, index), lines)


def _line(path: tuple[Any, ...], lines: Lines) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
