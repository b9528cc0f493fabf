"""Who manages which field of a live object, as its metadata.managedFields says.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from breakglass.model.manifest import Manifest
from breakglass.model.time import parse_instant

FIELD_MANAGER = "breakglass"
"""The field manager of everything that the product writes."""

Path = tuple[str, ...]
"""Names of fields from the object's top down to a value; a list is one value."""

_SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_NOT_COMPARED = (("apiVersion",), ("kind",), ("status",), ("metadata", "name"), ("metadata", "namespace"))


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that is not as wanted; None stands for an absent one."""

    path: Path
    before: Any
    after: Any

    @property
    def place(self) -> str:
        """The path as people write it: `spec.podSelector`, `metadata.labels[example.com/a]`."""
        names = (f"[{name}]" if "." in name or "/" in name else f".{name}" for name in self.path)
        return "".join(names).removeprefix(".")


def entries(live: Manifest) -> list[Mapping[str, Any]]:
    """The entries of an object's managedFields."""
    found = live["metadata"].get("managedFields") or []
    return [entry for entry in found if isinstance(entry, Mapping)]


def is_ours(live: Manifest) -> bool:
    """Whether the product manages any field of an object."""
    return any(entry.get("manager") == FIELD_MANAGER for entry in entries(live))


def other_entries(live: Manifest) -> tuple[Mapping[str, Any], ...]:
    """The entries of everybody but the product."""
    return tuple(entry for entry in entries(live) if entry.get("manager") != FIELD_MANAGER)


def is_shared(live: Manifest) -> bool:
    """Whether anybody else manages a field of the object itself, not of a subresource such as its status."""
    return any(not entry.get("subresource") for entry in other_entries(live))


def changed_since(live: Manifest, since: datetime) -> tuple[Mapping[str, Any], ...]:
    """Entries of others who changed the object itself (not a subresource such as its status) at or after a time."""
    found = ((entry, changed_at(entry)) for entry in other_entries(live) if not entry.get("subresource"))
    return tuple(entry for entry, at in found if at is not None and at >= since)


def changed_at(entry: Mapping[str, Any]) -> datetime | None:
    """When the manager last changed what the entry owns, aware UTC; None where the entry does not say."""
    try:
        return parse_instant(str(entry.get("time")))
    except ValueError:
        return None


def paths(entry: Mapping[str, Any]) -> frozenset[Path]:
    """Paths of the fields that an entry owns; what is inside a list counts as the list."""
    return frozenset(_paths(entry.get("fieldsV1") or {}, ()))


def _paths(fields: Any, above: Path) -> Iterator[Path]:
    if not isinstance(fields, Mapping):
        return
    inside = [name for name in fields if name.startswith("f:")]
    if above and not inside:
        yield above
    for name in inside:
        yield from _paths(fields[name], (*above, name[2:]))


def owners(live: Manifest, change: FieldChange) -> tuple[str, ...]:
    """Managers other than the product that own a field, or something in it, in order."""
    found = {
        str(entry.get("manager"))
        for entry in other_entries(live)
        if not entry.get("subresource") and any(_touches(path, change.path) for path in paths(entry))
    }
    return tuple(sorted(found))


def _touches(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def changes(live: Manifest, wanted: Manifest) -> tuple[FieldChange, ...]:
    """Fields of a wanted object that the live one has otherwise, or has not; what only the live one has is nothing.

    The API server fills in defaults, so a live list is as wanted where each item holds what the wanted one holds.
    """
    return tuple(_changes(live, wanted, ()))


def _changes(live: Any, wanted: Any, path: Path) -> Iterator[FieldChange]:
    if live == wanted:
        return
    if isinstance(wanted, Mapping):
        present = live if isinstance(live, Mapping) else {}
        if not wanted and not isinstance(live, Mapping):
            yield FieldChange(path, live, wanted)
        for name, value in wanted.items():
            inside = (*path, str(name))
            # null is no opinion: generated manifests hold `creationTimestamp: null`.
            if inside not in _NOT_COMPARED and value is not None:
                yield from _changes(present.get(name), value, inside)
    elif not _holds(live, wanted):
        yield FieldChange(path, live, wanted)


def _holds(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return False
        return all(value is None or (name in live and _holds(live[name], value)) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        present = [] if live is None else live
        if not isinstance(present, Sequence) or isinstance(present, str):
            return False
        return len(present) == len(wanted) and all(map(_holds, present, wanted))
    return bool(live == wanted)


def differences(live: Manifest, other: Manifest) -> tuple[FieldChange, ...]:
    """Every field in which two live states of an object differ, but for what the API server keeps by itself."""
    return tuple(_differences(without_server_fields(live), without_server_fields(other), ()))


def _differences(before: Any, after: Any, path: Path) -> Iterator[FieldChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            if before.get(name) != after.get(name):
                yield from _differences(before.get(name), after.get(name), (*path, str(name)))
    elif before != after:
        yield FieldChange(path, before, after)


def without_server_fields(live: Manifest) -> dict[str, Any]:
    """An object as somebody would write it: without status and what the API server keeps of it."""
    metadata = {name: value for name, value in live["metadata"].items() if name not in _SERVER_FIELDS}
    return {**{name: value for name, value in live.items() if name != "status"}, "metadata": metadata}


def additions(
    live: Manifest, baseline: Manifest, since: datetime, former: Iterable[Manifest]
) -> tuple[FieldChange, ...]:
    """Fields below `spec` and its like that others added to a live object since a time; labels and such are theirs.

    Args:
        former: entries of managedFields that were there before, whenever they say they were written.
    """
    known = [_written(entry) for entry in former]
    added: set[Path] = set()
    for entry in changed_since(live, since):
        if _written(entry) not in known:
            added |= {path for path in paths(entry) if path[0] != "metadata" and not _value_in(baseline, path)}
    present = ((path, _value(live, path)) for path in sorted(added))
    return tuple(FieldChange(path, value, None) for path, value in present if value is not None)


def _written(entry: Manifest) -> tuple[Any, ...]:
    return entry.get("manager"), entry.get("operation"), entry.get("time")


def is_same_write(entry: Manifest, former: Iterable[Manifest]) -> bool:
    """Whether an entry of managedFields is one of former ones, unchanged."""
    return _written(entry) in map(_written, former)


def leftovers(live: Manifest, emergency: Manifest, baseline: Manifest) -> tuple[FieldChange, ...]:
    """Fields that only the emergency state has, and that are still in the live object."""
    gone = _leaves(emergency) - _leaves(baseline)
    present = ((path, _value(live, path)) for path in sorted(gone) if not _value_in(baseline, path))
    return tuple(FieldChange(path, value, None) for path, value in present if value is not None)


def no_longer_wanted(live: Manifest, wanted: Manifest) -> tuple[FieldChange, ...]:
    """Fields that the product owns in a live object and that a wanted object has not."""
    ours: set[Path] = set()
    for entry in entries(live):
        if entry.get("manager") == FIELD_MANAGER:
            ours |= paths(entry)
    surplus = sorted(path for path in ours if not _value_in(wanted, path))
    present = ((path, _value(live, path)) for path in surplus)
    return tuple(FieldChange(path, value, None) for path, value in present if value is not None)


def _leaves(value: Any, above: Path = ()) -> frozenset[Path]:
    if isinstance(value, Mapping) and value:
        inside: Iterable[frozenset[Path]] = (_leaves(child, (*above, str(name))) for name, child in value.items())
        return frozenset().union(*inside)
    return frozenset({above})


def _value(manifest: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(manifest, Mapping):
            return None
        manifest = manifest.get(name)
    return manifest


def _value_in(manifest: Any, path: Path) -> bool:
    for name in path:
        if not isinstance(manifest, Mapping) or name not in manifest:
            return False
        manifest = manifest[name]
    return True
