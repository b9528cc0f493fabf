"""Where the API server serves a kind: asked for one group and version at a time, when first needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any
from urllib.parse import quote

from breakglass.adapters.kubernetes_http import Operation, Request
from breakglass.model.errors import NotFound, Refused, Unreachable
from breakglass.model.manifest import ObjectKey

_GROUP = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_VERSION = re.compile(r"v[0-9]+((alpha|beta)[0-9]+)?|[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_PLAIN_SEGMENT = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_PLURAL = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Resource:
    """How a kind is served: `api_version` as objects carry it, `plural` as paths do."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def collection(self, namespace: str = "") -> str:
        """Path of all objects of the kind, in one namespace or in all."""
        return _collection(self.api_version, self.plural, namespace if self.namespaced else "")

    def path(self, key: ObjectKey) -> str:
        """Path of one object.

        Raises:
            Refused: the object needs a namespace and has none, or its name cannot stand in a path.
        """
        if self.namespaced and not key.namespace:
            raise Refused("the object has no namespace", where=str(key), remedy="set metadata.namespace")
        return f"{self.collection(key.namespace)}/{_segment(key.name)}"


class Discovery:
    """Resources by group and kind, remembered while the process lives; what is not served is asked again each time.

    https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._served: dict[str, dict[str, Resource]] = {}
        self._groups: dict[str, tuple[str, ...]] = {}

    def at(self, operation: Operation, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind at exactly this apiVersion; None where it is not served.

        Raises:
            Refused: the apiVersion is none.
        """
        try:
            return self._at(operation, api_version, kind)
        except NotFound:
            return None

    def find(self, operation: Operation, group: str, kind: str) -> Resource | None:
        """The resource of a kind at the group's preferred version that serves it; None where none does.

        None means that the API server listed all it serves, and this was not there: an object of the kind is absent.
        """
        known = self._groups.get(group, ())
        return self._first(operation, known, kind) or self._first(
            operation, self._versions(operation, group, known), kind
        )

    def forget(self) -> None:
        """Ask everything again: the API server serves something else than it did."""
        with self._lock:
            self._served.clear()
            self._groups.clear()

    def _first(self, operation: Operation, versions: tuple[str, ...], kind: str) -> Resource | None:
        for version in versions:
            try:
                resource = self._at(operation, version, kind)
            except NotFound as error:
                raise Unreachable(f"the API server lists {version} and does not serve it", where=error.where) from error
            if resource is not None:
                return resource
        return None

    def _at(self, operation: Operation, api_version: str, kind: str) -> Resource | None:
        with self._lock:
            if kind not in self._served.get(api_version, {}):
                self._served[api_version] = _resources(operation, api_version)
            return self._served[api_version].get(kind)

    def _versions(self, operation: Operation, group: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """apiVersions of a group, the preferred one first; asked for unless another thread just did."""
        with self._lock:
            if self._groups.get(group, ()) == known:
                self._groups = {"": ("v1",), **_groups(operation)}
            return self._groups.get(group, ())


def _groups(operation: Operation) -> dict[str, tuple[str, ...]]:
    groups = {}
    for group in _mappings(operation.call(Request("GET", "/apis"), "/apis"), "groups"):
        preferred = group.get("preferredVersion")
        every = _mappings(group, "versions")
        ordered = sorted(every, key=lambda version: version != preferred)
        groups[str(group.get("name"))] = tuple(str(version.get("groupVersion")) for version in ordered)
    return groups


def _resources(operation: Operation, api_version: str) -> dict[str, Resource]:
    root = _root(api_version)
    entries = _mappings(operation.call(Request("GET", root), root), "resources")
    return {
        str(entry["kind"]): Resource(
            api_version, str(entry["kind"]), _checked(_PLURAL, str(entry["name"])), entry.get("namespaced") is True
        )
        for entry in entries
        if "kind" in entry and "name" in entry and "/" not in str(entry["name"])
    }


@lru_cache(maxsize=1024)
def _collection(api_version: str, plural: str, namespace: str) -> str:
    place = f"/namespaces/{_segment(namespace)}" if namespace else ""
    return f"{_root(api_version)}{place}/{plural}"


def _root(api_version: str) -> str:
    group, _, version = api_version.rpartition("/")
    _checked(_VERSION, version)
    return f"/apis/{_checked(_GROUP, group)}/{version}" if group else f"/api/{version}"


def _segment(name: str) -> str:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names."""
    if _PLAIN_SEGMENT.fullmatch(name):
        return name
    if name in {"", ".", ".."} or "/" in name or "%" in name or len(name) > 253:
        raise Refused(f"{name[:300]!r} is not a name of an object", remedy="correct metadata.name")
    return quote(name, safe=":")


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise Refused(f"{text[:300]!r} is not an API group, version or resource", remedy="correct apiVersion")
    return text


def _mappings(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = answer.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise Unreachable("the API server's discovery answer cannot be read", where=name, remedy="run it again")
    return entries
