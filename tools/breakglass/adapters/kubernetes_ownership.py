"""Who owns which field, as pure functions of managedFields.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management; the paths are those of
https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/fieldpath#PathElement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from breakglass.adapters.kubernetes_objects import metadata_of
from breakglass.model.managed_fields import FIELD_MANAGER
from breakglass.model.manifest import Manifest

_MISSING = object()
_IDENTITY = ("manager", "operation", "subresource", "apiVersion")


def disowning_patch(live: Manifest, owners: Iterable[Manifest]) -> list[dict[str, Any]] | None:
    """A JSON patch that takes this field manager out of managedFields and lets former owners own their fields again.

    An empty list would keep managedFields as they are, one empty entry empties them
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields).

    Args:
        owners: entries of managedFields; what they name and the object does not have any more is left out.

    Returns:
        None where there is nothing to take out.
    """
    entries = live["metadata"].get("managedFields") or []
    others = {_identity(entry): entry for entry in entries if entry.get("manager") != FIELD_MANAGER}
    if len(others) == len(entries):
        return None
    for former in owners:
        fields = _existing(former.get("fieldsV1") or {}, live)
        if fields and former.get("manager") != FIELD_MANAGER:
            entry = others.get(_identity(former), former)
            present = entry.get("fieldsV1") or {} if entry is not former else {}
            others[_identity(former)] = {**entry, "fieldsV1": _union(present, fields)}
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata_of(live, "resourceVersion")},
        {"op": "replace", "path": "/metadata/managedFields", "value": list(others.values()) or [{}]},
    ]


def removing_patch(live: Manifest, paths: Iterable[Sequence[str]]) -> list[dict[str, Any]] | None:
    """A JSON patch that removes fields, whoever owns them; None where the object has none of them.

    Args:
        paths: names of fields from the object's top down.
    """
    present = [path for path in paths if _value(live, path) is not _MISSING]
    if not present:
        return None
    # https://www.rfc-editor.org/rfc/rfc6901#section-3
    pointers = ("".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path) for path in present)
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": metadata_of(live, "resourceVersion")}
    return [version, *({"op": "remove", "path": pointer} for pointer in pointers)]


def _value(live: Any, path: Sequence[str]) -> Any:
    for name in path:
        live = live.get(name, _MISSING) if isinstance(live, Mapping) else _MISSING
    return live


def _identity(entry: Manifest) -> tuple[object, ...]:
    return tuple(entry.get(name) for name in _IDENTITY)


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _union(fields, other.get(name, {})) for name, fields in one.items()}
    return {**other, **both}


def _existing(fields: Mapping[str, Any], live: Any) -> dict[str, Any]:
    """The part of fieldsV1 whose paths a value has."""
    kept: dict[str, Any] = {}
    for element, below in fields.items():
        value = live if element == "." else _at(live, element)
        if value is _MISSING:
            continue
        part = _existing(below, value) if below else {}
        if part or not below:
            kept[element] = part
    return kept


def _at(live: Any, element: str) -> Any:
    """What stands at a path element: `f:` a field; of a list `k:` an item by keys, `v:` by value, `i:` by index."""
    kind, _, text = element.partition(":")
    if kind == "f":
        return live.get(text, _MISSING) if isinstance(live, Mapping) else _MISSING
    if not isinstance(live, list):
        return _MISSING
    try:
        wanted = json.loads(text)
    except ValueError:
        return _MISSING
    match kind:
        case "k" if isinstance(wanted, dict):
            return next(
                (item for item in live if isinstance(item, Mapping) and wanted.items() <= item.items()), _MISSING
            )
        case "v":
            return next((item for item in live if item == wanted), _MISSING)
        case "i" if isinstance(wanted, int) and 0 <= wanted < len(live):
            return live[wanted]
    return _MISSING
