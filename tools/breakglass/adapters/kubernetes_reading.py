"""Objects as they are now: one by one, many by a list, and where they stand on the API server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from breakglass.adapters.kubernetes_answers import PathNotFound
from breakglass.adapters.kubernetes_discovery import Discovery, Resource
from breakglass.adapters.kubernetes_http import Operation, Request
from breakglass.adapters.kubernetes_objects import metadata_of
from breakglass.adapters.kubernetes_parallel import Errors, Workers, raise_all
from breakglass.model.errors import NotFound, Unreachable
from breakglass.model.manifest import Manifest, ObjectKey, by_key

PLAIN = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
ATTEMPTS = 3
_PAGE = "500"
_MANY = 8
"""So many objects of one kind and namespace are read by one list."""


class Reading:
    """What reads, and finds resources for what writes."""

    def __init__(self, workers: Workers) -> None:
        self.discovery = Discovery()
        self._workers = workers

    def resource(self, operation: Operation, api_version: str, key: ObjectKey) -> Resource:
        """How an object's kind is served at an apiVersion. Raises NotFound."""
        resource = self.discovery.at(operation, api_version, key.kind)
        if resource is None:
            raise NotFound(
                f"the API server does not serve {key.kind} of {api_version}",
                where=str(key),
                remedy="install its CustomResourceDefinition, or correct apiVersion and kind",
            )
        return resource

    def one(self, operation: Operation, key: ObjectKey) -> dict[str, Any] | None:
        """An object; None is observed absence, also of the kind itself."""
        for _ in range(ATTEMPTS):
            resource = self.discovery.find(operation, key.group, key.kind)
            if resource is None:
                return None
            try:
                live = operation.call(Request("GET", resource.path(key)), str(key))
                metadata_of(live, "uid")
                return live
            except PathNotFound:
                self.discovery.forget()
            except NotFound:
                return None
        raise _unserved(key)

    def many(
        self, operation: Operation, keys: Iterable[ObjectKey], accept: str = PLAIN
    ) -> tuple[dict[ObjectKey, dict[str, Any] | None], Errors]:
        """Objects as `one` reads them, those of one kind and namespace by a list where they are many.

        Args:
            accept: METADATA_ONLY where a list need not show more.
        """
        wanted = sorted(set(keys))
        groups = [tuple(group) for _, group in groupby(wanted, key=lambda key: (key.group, key.kind, key.namespace))]
        listed = [group for group in groups if len(group) >= _MANY]
        alone = [key for group in groups if len(group) < _MANY for key in group]
        read, failed = self._workers.each(listed, lambda group: self._listed(operation, group, accept))
        found, errors = self._workers.each(alone, lambda key: self.one(operation, key))
        for group in read.values():
            found |= group
        return found, failed + errors

    def _listed(
        self, operation: Operation, keys: Sequence[ObjectKey], accept: str
    ) -> dict[ObjectKey, dict[str, Any] | None]:
        first = keys[0]
        for _ in range(ATTEMPTS):
            resource = self.discovery.find(operation, first.group, first.kind)
            if resource is None:
                return dict.fromkeys(keys)
            # A name that is none is refused as in the path of a single object.
            names = {resource.path(key) and key.name: key for key in keys}
            found: dict[ObjectKey, dict[str, Any] | None] = dict.fromkeys(keys)
            try:
                for item in pages(operation, resource.collection(first.namespace), accept=accept):
                    key = names.get(metadata_of(item, "name"))
                    if key is not None:
                        metadata_of(item, "uid")
                        found[key] = {**item, "apiVersion": resource.api_version, "kind": resource.kind}
                return found
            except PathNotFound:
                self.discovery.forget()
        raise _unserved(first)

    def all(
        self,
        operation: Operation,
        kinds: Iterable[tuple[str, str]],
        namespaces: Iterable[str] | None,
        query: Mapping[str, str],
        accept: str,
    ) -> dict[ObjectKey, Manifest]:
        """Objects by key, with apiVersion and kind, which items of a list lack. A kind that is not served has none."""
        spaces = ("",) if namespaces is None else tuple(dict.fromkeys(namespaces))
        served, errors = self._workers.each(kinds, lambda kind: self.discovery.find(operation, *kind))
        raise_all(errors)
        collections = {
            resource.collection(space): resource
            for resource in served.values()
            if resource is not None
            for space in (spaces if resource.namespaced else ("",))
        }
        found, errors = self._workers.each(
            collections, lambda path: tuple(pages(operation, path, query=query, accept=accept))
        )
        raise_all(errors)
        return by_key(
            {**item, "apiVersion": collections[path].api_version, "kind": collections[path].kind}
            for path, items in found.items()
            for item in items
        )


def pages(
    operation: Operation, path: str, *, query: Mapping[str, str] | None = None, accept: str = PLAIN
) -> Iterator[dict[str, Any]]:
    """All items of a list, page by page; `listed` tells the resourceVersion as well."""
    for page in _pages(operation, path, query or {}, accept):
        yield from page["items"] or ()


def listed(operation: Operation, path: str) -> tuple[list[dict[str, Any]], str]:
    """All items of a list, and the resourceVersion from which a watch goes on."""
    items: list[dict[str, Any]] = []
    version = ""
    for page in _pages(operation, path, {}, PLAIN):
        items += page["items"] or ()
        version = metadata_of(page, "resourceVersion")
    return items, version


def _pages(operation: Operation, path: str, query: Mapping[str, str], accept: str) -> Iterator[dict[str, Any]]:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks."""
    token = ""
    while True:
        parameters = {**query, "limit": _PAGE, **({"continue": token} if token else {})}
        page = operation.call(Request("GET", path, parameters, accept=accept), path)
        # Go writes an empty list as null.
        items, metadata = page.get("items") or (), page.get("metadata")
        if "items" not in page or not isinstance(items, Sequence) or not isinstance(metadata, Mapping):
            raise Unreachable("the API server's list cannot be read", where=path, remedy="run it again")
        for item in items:
            metadata_of(item, "name")
        yield page
        token = str(metadata.get("continue") or "")
        if not token:
            return


def _unserved(key: ObjectKey) -> Unreachable:
    return Unreachable("the API server lists the kind and does not serve it", where=str(key), remedy="run it again")
