"""Looking objects up in a render."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

Manifest = dict[str, Any]


class Key(NamedTuple):
    """What identifies an object: Kind.group (Kind alone in the core group), namespace (empty for none), name."""

    kind: str
    namespace: str
    name: str


def key(manifest: Manifest) -> Key:
    """The key of an object."""
    group = manifest["apiVersion"].rpartition("/")[0]
    kind = f"{manifest['kind']}.{group}" if group else manifest["kind"]
    return Key(kind, manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])


def by_key(manifests: Iterable[Manifest]) -> dict[Key, Manifest]:
    """Index a render, which holds no object twice."""
    manifests = list(manifests)
    index = {key(manifest): manifest for manifest in manifests}
    assert len(index) == len(manifests), "an object is rendered twice"
    return index


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> Iterator[Manifest]:
    """The objects of these kinds, without their group."""
    return (manifest for manifest in manifests if manifest["kind"] in kinds)


def delta(before: list[Manifest], after: list[Manifest]) -> dict[Key, Manifest | None]:
    """What changed, ordered by key, so Roles before their RoleBindings: the new object, None for one that is gone."""
    old, new = by_key(before), by_key(after)
    return {key: new.get(key) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)}
