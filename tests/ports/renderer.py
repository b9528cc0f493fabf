"""A pure renderer that understands as much of kustomize as the overlays of these tests use."""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import yaml

from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest

Object = dict[str, Any]


class PureRenderer:
    """`Renderer` of resources, components, patches (merge and `$patch: delete`), replacements and nameSuffix."""

    def render(self, files: Mapping[str, bytes], root: str) -> tuple[Manifest, ...]:
        return copy.deepcopy(_render(frozenset(files.items()), root))


@cache
def _render(files: frozenset[tuple[str, bytes]], root: str) -> tuple[Object, ...]:
    objects = _build(dict(files), posixpath.normpath(root), [])
    return tuple(item for item in objects if "config.kubernetes.io/local-config" not in _annotations(item))


def _build(files: Mapping[str, bytes], root: str, objects: list[Object]) -> list[Object]:
    """The objects of a root, on top of those that a Component is put on."""
    kustomization = _load(files, posixpath.join(root, "kustomization.yaml"))[0]
    for path in kustomization.get("resources", []):
        place = posixpath.normpath(posixpath.join(root, path))
        objects = objects + (_load(files, place) if place in files else _build(files, place, []))
    for patch in kustomization.get("patches", []):
        for document in _load(files, posixpath.join(root, patch["path"])):
            objects = _patched(objects, document)
    for replacement in kustomization.get("replacements", []):
        _replace(objects, replacement)
    for path in kustomization.get("components", []):
        objects = _build(files, posixpath.normpath(posixpath.join(root, path)), objects)
    for item in objects:
        item["metadata"]["name"] += kustomization.get("nameSuffix", "")
    return objects


def _load(files: Mapping[str, bytes], path: str) -> list[Object]:
    if path not in files:
        raise Refused(f"no such file: {path}")
    documents: Iterable[Object] = filter(None, yaml.load_all(files[path], yaml.CSafeLoader))
    return [item for document in documents for item in (document["items"] if _is_list(document) else [document])]


def _is_list(document: Object) -> bool:
    return document.get("kind") == "List"


def _annotations(item: Object) -> Mapping[str, str]:
    return item["metadata"].get("annotations") or {}


def _identity(item: Object) -> tuple[Any, ...]:
    return item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]


def _patched(objects: list[Object], patch: Object) -> list[Object]:
    found = [item for item in objects if _identity(item) == _identity(patch)]
    if len(found) != 1:
        raise Refused(f"no matches for Id {_identity(patch)}")
    if patch.get("$patch") == "delete":
        return [item for item in objects if item is not found[0]]
    return [_merged(item, patch) if item is found[0] else item for item in objects]


def _merged(item: Any, patch: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(patch, dict):
        return patch
    names = [name for name in {**item, **patch} if patch.get(name, ...) is not None]
    return {name: _merged(item.get(name), patch[name]) if name in patch else item[name] for name in names}


def _replace(objects: list[Object], replacement: Object) -> None:
    source = replacement["source"]
    (holder,) = [item for item in objects if (item["kind"], item["metadata"]["name"]) == _select(source)]
    _, name = source["fieldPath"].split(".")
    for target in replacement["targets"]:
        for item in objects:
            if (item["kind"], item["metadata"]["name"]) == _select(target["select"]):
                for path in target["fieldPaths"]:
                    _set(item, path.split("."), holder["data"][name])


def _select(selector: Object) -> tuple[str, str]:
    return selector["kind"], selector["name"]


def _set(at: Any, path: list[str], value: str) -> None:
    for name in path[:-1]:
        at = at[int(name)] if isinstance(at, list) else at[name]
    if isinstance(at, list):
        at[int(path[-1])] = value
    else:
        at[path[-1]] = value
