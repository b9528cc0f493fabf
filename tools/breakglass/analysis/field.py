"""Strict reading of manifest fields: what the API server would refuse is refused here, with its place.

Labels and selectors: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

LONGEST_LIST = 100_000
"""Items; etcd takes no object that could hold more."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_PORT_NAME = re.compile(r"(?=[0-9-]*[a-z])[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_EMPTY: Mapping[str, Any] = {}


def place(manifest: Manifest) -> Place:
    """The object as the place of a complaint."""
    return Place(manifest)


def namespace_of(manifest: Manifest) -> str:
    """The namespace of a namespaced object; `default` where the manifest says none, as kubectl does."""
    return key_of(manifest).namespace or "default"


def mapping(parent: Mapping[str, Any], key: str, where: Place) -> Mapping[str, Any]:
    """A field that is an object; empty where it is absent or null.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None:
        return _EMPTY
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise where.refusal(f"{key} is not an object", parent, key)
    return value


def mappings(parent: Mapping[str, Any], key: str, where: Place) -> list[Mapping[str, Any]]:
    """A field that is a list of objects; empty where it is absent or null.

    Raises:
        Refused: it, or one of its items, is something else.
    """
    return _list(parent, key, where, Mapping, "objects")


def texts(parent: Mapping[str, Any], key: str, where: Place) -> tuple[str, ...]:
    """A field that is a list of text; empty where it is absent or null.

    Raises:
        Refused: it, or one of its items, is something else.
    """
    return tuple(_list(parent, key, where, str, "text"))


def text(parent: Mapping[str, Any], key: str, where: Place, default: str = "") -> str:
    """A field that is text; the default where it is absent, null or empty.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise where.refusal(f"{key} is not text", parent, key)
    return value


def strings(parent: Mapping[str, Any], key: str, where: Place) -> Mapping[str, str]:
    """A field that maps text to text, such as annotations; empty where it is absent or null, as is a value.

    Raises:
        Refused: a value is not text (an unquoted `true` or `1`).
    """
    found = mapping(parent, key, where)
    for name, value in found.items():
        if value is not None and not isinstance(value, str):
            raise where.refusal(f"{key}.{name[:80]} is not text", found, name, "put the value in quotes")
    return {name: value or "" for name, value in found.items()} if None in found.values() else found


def labels(parent: Mapping[str, Any], key: str, where: Place) -> Mapping[str, str]:
    """A field of labels, by their names; empty where it is absent or null.

    Raises:
        Refused: a name or value is no label's.
    """
    found = strings(parent, key, where)
    for name, value in found.items():
        if complaint := label_complaint(name, value):
            raise where.refusal(f"{key}: {complaint}", found, name)
    return found


@lru_cache(maxsize=4096)
def label_complaint(name: str, value: str = "") -> str:
    """What is wrong with a label's name or value; empty where nothing is."""
    prefix, slash, rest = name.rpartition("/")
    if slash and not is_subdomain(prefix):
        return f"{name[:80]!r} is no label's name"
    if not _LABEL_NAME.fullmatch(rest):
        return f"{name[:80]!r} is no label's name"
    if not _LABEL_VALUE.fullmatch(value):
        return f"{value[:80]!r} is no label's value (at most 63 of A-Z, a-z, 0-9, '-', '_' and '.')"
    return ""


def is_subdomain(name: str) -> bool:
    """Whether this is a DNS subdomain, such as names of most objects (RFC 1123)."""
    return len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None


def is_port_name(name: str) -> bool:
    """Whether a container's port may be called this: 15 of a-z, 0-9 and single dashes, with a letter (RFC 6335)."""
    return len(name) <= 15 and _PORT_NAME.fullmatch(name) is not None


def whole(parent: Mapping[str, Any], key: str, where: Place) -> int | None:
    """A field that is a whole number; None where it is absent or null.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise where.refusal(f"{key} is not a whole number", parent, key)


def flag(parent: Mapping[str, Any], key: str, where: Place) -> bool:
    """A field that is true or false; false where it is absent or null.

    Raises:
        Refused: it is something else.
    """
    value = parent.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise where.refusal(f"{key} is neither true nor false", parent, key)


def known(parent: Mapping[str, Any], keys: set[str], what: str, where: Place) -> None:
    """See that an object has no other keys: a misspelt selector would otherwise select everything.

    Raises:
        Refused: naming the unknown keys.
    """
    if not parent.keys() <= keys:
        # In YAML a key may be a number.
        unknown = sorted(str(key)[:80] for key in parent.keys() - keys)
        raise where.refusal(f"{what} has the unknown field {', '.join(unknown[:5])}", parent, unknown[0])


def _list(parent: Mapping[str, Any], key: str, where: Place, item: type, what: str) -> list[Any]:
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(element, item) for element in value):
        raise where.refusal(f"{key} is not a list of {what}", parent, key)
    if len(value) > LONGEST_LIST:
        raise where.refusal(f"{key} has {len(value)} items", parent, key)
    return list(value)
