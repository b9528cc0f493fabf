"""Kubernetes objects as data: their keys, and the delta between two sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from breakglass.model.errors import Refused

Manifest = Mapping[str, Any]
"""One object as the API server reads it."""

ACTIVATION_LABEL = "breakglass.dev/activation"
"""On every object that an activation added."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """What identifies an object in a cluster: group and kind (not version), namespace, name.

    Attributes:
        group: API group; empty for the core group.
        kind: for example `NetworkPolicy`.
        namespace: empty for cluster-scoped objects.
        name: the object's name.
    """

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def kind_name(self) -> str:
        """`Kind.group`, or the kind alone in the core group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind_name} {place}"


def key_of(manifest: Manifest) -> ObjectKey:
    """The key of an object.

    Raises:
        Refused: apiVersion, kind or metadata.name is missing or is not text.
    """
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict | Mapping):
        metadata = {}
    api_version, kind, name = manifest.get("apiVersion"), manifest.get("kind"), metadata.get("name")
    namespace = metadata.get("namespace") or ""
    if (
        not (isinstance(api_version, str) and isinstance(kind, str) and isinstance(name, str))
        or not (api_version and kind and name)
        or not isinstance(namespace, str)
    ):
        raise Refused(f"an object without apiVersion, kind or metadata.name: {str(manifest)[:200]}")
    return ObjectKey(api_version.rpartition("/")[0], kind, namespace, name)


@dataclass(frozen=True, slots=True)
class Change:
    """One object of a delta.

    Attributes:
        key: the object.
        baseline: the object in the baseline; None where the baseline has none.
        emergency: the object while the window is open; None where the overlay removes it.
    """

    key: ObjectKey
    baseline: Manifest | None
    emergency: Manifest | None

    @property
    def effect(self) -> Literal["added", "changed", "removed"]:
        """What the overlay does to the object."""
        if self.baseline is None:
            return "added"
        return "removed" if self.emergency is None else "changed"


def by_key(manifests: Iterable[Manifest]) -> dict[ObjectKey, Manifest]:
    """Index objects by key.

    Raises:
        Refused: two objects have one key.
    """
    index: dict[ObjectKey, Manifest] = {}
    for manifest in manifests:
        key = key_of(manifest)
        if key in index:
            raise Refused("the render holds this object twice", where=str(key), remedy="rename one of them")
        index[key] = manifest
    return index


def delta(baseline: Iterable[Manifest], desired: Iterable[Manifest]) -> tuple[Change, ...]:
    """desired - baseline: objects added, changed and removed, ordered by key."""
    before, after = by_key(baseline), by_key(desired)
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return tuple(Change(key, before.get(key), after.get(key)) for key in keys)


def labelled(manifest: Manifest, activation_id: str) -> Manifest:
    """A copy of an object that an activation adds, carrying the activation's label.

    Raises:
        Refused: the object's labels are no mapping (kustomize does not look).
    """
    metadata = dict(manifest["metadata"])
    labels = metadata.get("labels") or {}
    if not isinstance(labels, Mapping):
        raise Refused("metadata.labels is not a mapping", where=str(key_of(manifest)), remedy="correct the overlay")
    metadata["labels"] = {**labels, ACTIVATION_LABEL: activation_id}
    return {**manifest, "metadata": metadata}
