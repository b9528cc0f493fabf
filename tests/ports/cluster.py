"""A cluster in memory: server-side apply with managed fields, finalizers, inventories with compare-and-swap."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from breakglass.model.errors import Conflict, InvalidFile, NotApplied, Unreachable
from breakglass.model.inventory import Inventory, pack, unpack
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, by_key, key_of
from ports.writes import Writes

Path = tuple[str, ...]
MANAGER = "breakglass"
_IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


@dataclass
class LiveObject:
    """Leaves by path (lists are atomic), and who manages which of them."""

    uid: str
    leaves: dict[Path, Any] = field(default_factory=dict)
    managers: dict[str, set[Path]] = field(default_factory=dict)
    deleting: bool = False
    version: int = 0

    def applied(self, manifest: Manifest, manager: str) -> LiveObject:
        """This object after a server-side apply with force."""
        after = copy.deepcopy(self)
        wanted = dict(_leaves(manifest))
        own = after.managers.setdefault(manager, set())
        for path in own - wanted.keys():
            own.discard(path)
            if not any(path in paths for paths in after.managers.values()):
                after.leaves.pop(path, None)
        for path, value in wanted.items():
            if after.leaves.get(path, _MISSING) != value:
                for paths in after.managers.values():
                    paths.discard(path)
            after.leaves[path] = copy.deepcopy(value)
            own.add(path)
        own -= _IDENTITY
        after.version += after.leaves != self.leaves or after.managers != self.managers
        return after

    def manifest(self) -> dict[str, Any]:
        """As the API server shows it, with what it adds itself."""
        shown: dict[str, Any] = {}
        for path in sorted(self.leaves, key=len):
            at = shown
            for name in path[:-1]:
                at = at.setdefault(name, {})
            at[path[-1]] = copy.deepcopy(self.leaves[path])
        shown["metadata"] |= {"uid": self.uid, "resourceVersion": str(self.version)}
        return shown


_MISSING = object()


def _leaves(value: Any, path: Path = ()) -> Iterable[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(child, (*path, name))
    else:
        yield path, value


@dataclass
class ApiServer:
    """What all clients of one cluster share.

    Attributes:
        held: objects that a finalizer keeps from going.
        unreachable: nobody gets an answer.
        denied: keys that may not be written.
        granted: (subject, verb, resource, group, namespace) that `may` allows.
    """

    name: str
    writes: Writes
    objects: dict[ObjectKey, LiveObject] = field(default_factory=dict)
    inventories: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    held: set[ObjectKey] = field(default_factory=set)
    denied: set[ObjectKey] = field(default_factory=set)
    granted: set[tuple[str, ...]] = field(default_factory=set)
    unreachable: bool = False
    _made: int = 0

    def install(self, manifests: Iterable[Manifest], manager: str = "platform") -> None:
        """Apply as somebody else does: the baseline by its GitOps controller, or an interloper."""
        for manifest in manifests:
            key = key_of(manifest)
            self.objects[key] = self.find(key).applied(manifest, manager)

    def find(self, key: ObjectKey) -> LiveObject:
        """The object, or a new one that is in no store yet."""
        self._made += 1
        return self.objects.get(key) or LiveObject(f"uid-{self._made}")

    def finalize(self) -> None:
        """The finalizers are done: what was being deleted is gone."""
        for key in [key for key in self.held if key in self.objects and self.objects[key].deleting]:
            del self.objects[key]
        self.held.clear()

    def state(self) -> dict[ObjectKey, dict[str, Any]]:
        """All objects as somebody applied them, without what the API server adds."""
        shown = {key: item.manifest() for key, item in self.objects.items()}
        for manifest in shown.values():
            for name in ("uid", "resourceVersion"):
                del manifest["metadata"][name]
        return shown

    def managed(self, key: ObjectKey) -> set[Path]:
        """Paths of an object that breakglass owns."""
        return self.objects[key].managers.get(MANAGER, set())


class InMemoryCluster:
    """`Cluster`: one client of an `ApiServer`, with its own memory of the inventories it saw."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._seen: dict[str, int] = {}
        self._unreadable: tuple[InvalidFile, ...] = ()

    def inventories(self) -> tuple[Inventory, ...]:
        self._answer()
        found, unreadable, self._seen = [], [], {}
        for identity, (content, version) in sorted(self._server.inventories.items()):
            try:
                found.append(unpack(content, f"{self._server.name}: {identity}"))
            except InvalidFile as error:
                unreadable.append(error)
                continue
            self._seen[identity] = version
        self._unreadable = tuple(unreadable)
        return tuple(found)

    def unreadable_inventories(self) -> tuple[InvalidFile, ...]:
        return self._unreadable

    def write_inventory(self, inventory: Inventory) -> None:
        self._answer()
        identity = inventory.activation
        _, version = self._server.inventories.get(identity, (b"", None))
        if version != self._seen.get(identity):
            raise Conflict("another writer changed the inventory", where=identity)
        with self._server.writes.one(self._server.name, "write inventory", identity):
            self._seen[identity] = (version or 0) + 1
            self._server.inventories[identity] = (pack(inventory), self._seen[identity])

    def delete_inventory(self, activation_id: str) -> None:
        self._answer()
        if activation_id not in self._server.inventories:
            return
        if activation_id in self._seen and self._server.inventories[activation_id][1] != self._seen[activation_id]:
            raise Conflict("another writer changed the inventory", where=activation_id)
        with self._server.writes.one(self._server.name, "delete inventory", activation_id):
            del self._server.inventories[activation_id]
            self._seen.pop(activation_id, None)

    def get(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, Manifest | None]:
        self._answer()
        objects = self._server.objects
        return {key: objects[key].manifest() if key in objects else None for key in keys}

    def apply(
        self, manifests: Iterable[Manifest], *, dry_run: bool = False, force: bool = True
    ) -> Mapping[ObjectKey, Manifest]:
        del force
        self._answer()
        answers = {}
        for key, manifest in by_key(manifests).items():
            self._permit(key)
            applied = self._server.find(key).applied(manifest, MANAGER)
            answers[key] = applied.manifest()
            if not dry_run:
                with self._server.writes.one(self._server.name, "apply", key):
                    self._server.objects[key] = applied
        return answers

    def disown(self, owners: Mapping[ObjectKey, Sequence[Manifest]]) -> None:
        self._answer()
        for key in owners:
            if key in self._server.objects and self._server.managed(key):
                with self._server.writes.one(self._server.name, "disown", key):
                    del self._server.objects[key].managers[MANAGER]

    def delete(self, objects: Iterable[Manifest]) -> None:
        self._answer()
        kept = []
        for key in by_key(objects):
            if key not in self._server.objects:
                continue
            self._permit(key)
            with self._server.writes.one(self._server.name, "delete", key):
                if key in self._server.held:
                    self._server.objects[key].deleting = True
                    kept.append(str(key))
                else:
                    del self._server.objects[key]
        if kept:
            raise NotApplied(f"{', '.join(kept)} is still there: a finalizer holds it")

    def labelled(
        self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None
    ) -> Mapping[ObjectKey, str]:
        found = {key_of(item): item["metadata"].get("labels", {}) for item in self.list(kinds, namespaces)}
        return {key: labels[ACTIVATION_LABEL] for key, labels in found.items() if ACTIVATION_LABEL in labels}

    def may(self, subject: str, verb: str, resource: str, group: str, namespace: str) -> bool:
        self._answer()
        return (subject, verb, resource, group, namespace) in self._server.granted

    def list(self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None) -> tuple[Manifest, ...]:
        self._answer()
        wanted, places = set(kinds), None if namespaces is None else set(namespaces)
        return tuple(
            item.manifest()
            for key, item in sorted(self._server.objects.items())
            if (key.group, key.kind) in wanted and (places is None or key.namespace in places)
        )

    def _answer(self) -> None:
        if self._server.unreachable:
            raise Unreachable(f"{self._server.name} does not answer")

    def _permit(self, key: ObjectKey) -> None:
        if key in self._server.denied:
            raise NotApplied(f"{self._server.name} does not take a write of {key}")
