"""Strict reading of manifest fields: what the API server would refuse is refused here, with the object's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest, key_of

REMEDY = "correct the manifest"


def place(manifest: Manifest) -> str:
    """The object's key as text, for errors."""
    return str(key_of(manifest))


def namespace_of(manifest: Manifest) -> str:
    """The namespace of a namespaced object; `default` where the manifest says none, as kubectl does."""
    return key_of(manifest).namespace or "default"


def mapping(parent: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """A field that is an object; empty where it is absent or null.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused(f"{key} is not an object", where=where, remedy=REMEDY)
    return value


def mappings(parent: Mapping[str, Any], key: str, where: str) -> tuple[Mapping[str, Any], ...]:
    """A field that is a list of objects; empty where it is absent or null.

    Raises:
        Refused: it, or one of its items, is something else.
    """
    return tuple(mapping({f"{key}[]": item}, f"{key}[]", where) for item in _list(parent, key, where, Mapping))


def texts(parent: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """A field that is a list of text; empty where it is absent or null.

    Raises:
        Refused: it, or one of its items, is something else.
    """
    return tuple(_list(parent, key, where, str))


def text(parent: Mapping[str, Any], key: str, where: str, default: str = "") -> str:
    """A field that is text; the default where it is absent, null or empty.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise Refused(f"{key} is not text", where=where, remedy=REMEDY)
    return value


def labels(parent: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    """A field that maps text to text, such as labels; empty where it is absent or null.

    Raises:
        Refused: a value is not text (an unquoted `true` or `1`).
    """
    found = mapping(parent, key, where)
    for name, value in found.items():
        if not isinstance(value, str):
            raise Refused(f"{key}.{name} is not text", where=where, remedy="put the value in quotes")
    return dict(found)


def whole(parent: Mapping[str, Any], key: str, where: str) -> int | None:
    """A field that is a whole number; None where it is absent or null.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Refused(f"{key} is not a whole number", where=where, remedy=REMEDY)


def known(parent: Mapping[str, Any], keys: set[str], what: str, where: str) -> None:
    """See that an object has no other keys: a misspelt selector would otherwise select everything.

    Raises:
        Refused: naming the unknown keys.
    """
    if unknown := sorted(parent.keys() - keys):
        raise Refused(f"{what} has the unknown field {', '.join(unknown)}", where=where, remedy=REMEDY)


def _list(parent: Mapping[str, Any], key: str, where: str, item: type) -> list[Any]:
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(element, item) for element in value):
        raise Refused(f"{key} is not the list it must be", where=where, remedy=REMEDY)
    return list(value)
