"""A cluster in memory: server-side apply with managed fields, finalizers, inventories with compare-and-swap, Leases."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from breakglass.adapters.kubernetes_inventory import LARGEST
from breakglass.model.errors import BreakglassError, Conflict, InvalidFile, NotApplied, NotFound, Refused, Unreachable
from breakglass.model.inventory import Inventory, pack, unpack
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, by_key, key_of
from breakglass.model.time import format_instant
from breakglass.ports import Clock, Lease, Token
from ports.clock import SettableClock
from ports.writes import Writes

Path = tuple[str, ...]
MANAGER = "breakglass"
LEASE_DURATION = timedelta(seconds=15)
_SHORTEST_TOKEN = timedelta(minutes=10)
_ADDED = ("uid", "resourceVersion", "managedFields", "deletionTimestamp")
_IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
_MISSING = object()


@dataclass
class LiveObject:
    """Leaves by path (lists are atomic), who manages which of them, and when each manager wrote last."""

    uid: str
    leaves: dict[Path, Any] = field(default_factory=dict)
    managers: dict[str, set[Path]] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    deleted_at: datetime | None = None
    version: int = 0

    def applied(self, manifest: Manifest, manager: str, at: datetime) -> LiveObject:
        """This object after a server-side apply with force."""
        after = copy.deepcopy(self)
        wanted = _wanted(manifest)
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
        after.managers = {name: paths for name, paths in after.managers.items() if paths}
        if not after.same_as(self):
            after.times[manager] = at
        return after

    def same_as(self, other: LiveObject) -> bool:
        """Whether a write that makes this of the other changes nothing."""
        return self.leaves == other.leaves and self.managers == other.managers

    def owners_of_others(self, manifest: Manifest, manager: str) -> dict[str, set[Path]]:
        """Whom an apply of a manifest takes fields from, and which."""
        changed = {path for path, value in _wanted(manifest).items() if self.leaves.get(path, _MISSING) != value}
        return {name: paths & changed for name, paths in self.managers.items() if name != manager and paths & changed}

    def disowned(self, manager: str, owners: Iterable[Manifest]) -> LiveObject:
        """This object without a manager; former entries of managedFields own their fields again where these exist."""
        after = copy.deepcopy(self)
        after.managers.pop(manager, None)
        for entry in owners:
            former = {path for path in _paths(entry["fieldsV1"]) if path in after.leaves}
            if former and entry["manager"] != manager:
                after.managers[entry["manager"]] = after.managers.get(entry["manager"], set()) | former
                after.times[entry["manager"]] = datetime.fromisoformat(entry["time"])
        return after

    def without(self, paths: Iterable[Path]) -> LiveObject:
        """This object without fields, and what is in them."""
        after = copy.deepcopy(self)
        gone = {leaf for leaf in self.leaves for path in paths if leaf[: len(path)] == path}
        after.leaves = {leaf: value for leaf, value in after.leaves.items() if leaf not in gone}
        after.managers = {name: left for name, owned in after.managers.items() if (left := owned - gone)}
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
        if self.managers:
            shown["metadata"]["managedFields"] = [self._entry(manager) for manager in self.managers]
        if self.deleted_at is not None:
            shown["metadata"]["deletionTimestamp"] = format_instant(self.deleted_at)
        return shown

    def _entry(self, manager: str) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for path in sorted(self.managers[manager]):
            at = fields
            for name in path:
                at = at.setdefault(f"f:{name}", {})
        return {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": self.leaves[("apiVersion",)],
            "time": format_instant(self.times[manager]),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }


def _metadata(manifest: Manifest) -> dict[str, Any]:
    return {name: manifest[name] for name in ("apiVersion", "kind", "metadata")}


def _wanted(manifest: Manifest) -> dict[Path, Any]:
    return {path: value for path, value in _leaves(manifest) if path[0] != "metadata" or path[1] not in _ADDED}


def _leaves(value: Any, path: Path = ()) -> Iterable[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(child, (*path, name))
    else:
        yield path, value


def _paths(fields: Mapping[str, Any], path: Path = ()) -> Iterable[Path]:
    for name, child in fields.items():
        below = (*path, name.removeprefix("f:"))
        if name.startswith("f:") and child:
            yield from _paths(child, below)
        else:
            yield below if name.startswith("f:") else path


@dataclass
class LeaseRecord:
    """Who holds a Lease since when, and how many processes had died when it was taken."""

    holder: str
    since: datetime
    deaths: int


@dataclass
class ApiServer:
    """What all clients of one cluster share.

    Attributes:
        clock: the API server's.
        held: objects that a finalizer keeps from going.
        unreachable: nobody gets an answer.
        denied: keys that may not be written, and accounts that give no token.
        budgeted: pods that a PodDisruptionBudget does not let go.
        granted: (subject, verb, resource, group, namespace) that `may` allows.
        while_waiting: what others do while a client waits for a change, one a wait.
        events: (object, reason, note, warning) as recorded.
        tokens: (account, lifetime) as asked for.
        skew: what `clock_skew` measures.
    """

    name: str
    writes: Writes
    clock: Clock = field(default_factory=SettableClock)
    objects: dict[ObjectKey, LiveObject] = field(default_factory=dict)
    inventories: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    leases: dict[str, LeaseRecord] = field(default_factory=dict)
    held: set[ObjectKey] = field(default_factory=set)
    denied: set[ObjectKey] = field(default_factory=set)
    budgeted: set[ObjectKey] = field(default_factory=set)
    granted: set[tuple[str, ...]] = field(default_factory=set)
    while_waiting: list[Callable[[], object]] = field(default_factory=list)
    events: list[tuple[ObjectKey, str, str, bool]] = field(default_factory=list)
    tokens: list[tuple[ObjectKey, timedelta]] = field(default_factory=list)
    skew: timedelta = timedelta(0)
    unreachable: bool = False
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def install(self, manifests: Iterable[Manifest], manager: str = "platform") -> None:
        """Apply as somebody else does: the baseline by its GitOps controller, or an interloper."""
        for manifest in manifests:
            key = key_of(manifest)
            self.store(key, self.find(key).applied(manifest, manager, self.clock.now()))

    def find(self, key: ObjectKey) -> LiveObject:
        """The object, or a new one that is in no store yet."""
        return self.objects.get(key) or LiveObject(f"uid-{next(self._numbers)}")

    def store(self, key: ObjectKey, item: LiveObject) -> None:
        """Write an object; what changes nothing makes no new resourceVersion."""
        if key not in self.objects or not item.same_as(self.objects[key]):
            item.version = next(self._numbers)
        self.objects[key] = item

    def store_inventory(self, identity: str, content: bytes) -> int:
        """Write an inventory and return its resourceVersion."""
        version = next(self._numbers)
        self.inventories[identity] = (content, version)
        return version

    def remove(self, key: ObjectKey) -> bool:
        """Delete an object, or mark it as deleted where a finalizer holds it; whether it is gone."""
        if key not in self.held:
            del self.objects[key]
            return True
        item = self.objects[key]
        if item.deleted_at is None:
            item.deleted_at, item.version = self.clock.now(), next(self._numbers)
        return False

    def finalize(self) -> None:
        """The finalizers are done: what was being deleted is gone."""
        for key in [key for key in self.held if key in self.objects and self.objects[key].deleted_at is not None]:
            del self.objects[key]
        self.held.clear()

    def state(self) -> dict[ObjectKey, dict[str, Any]]:
        """All objects as somebody applied them, without what the API server adds."""
        shown = {key: item.manifest() for key, item in self.objects.items()}
        for manifest in shown.values():
            for name in _ADDED:
                manifest["metadata"].pop(name, None)
        return shown

    def managed(self, key: ObjectKey) -> set[Path]:
        """Paths of an object that breakglass owns."""
        return self.objects[key].managers.get(MANAGER, set())


class InMemoryLease:
    """`Lease`: it is renewed for ever by a process that lives, and for no time by one that died holding it."""

    def __init__(self, server: ApiServer, name: str, holder: str) -> None:
        self._server, self._name, self._holder = server, name, holder

    def acquire(self, patience: timedelta) -> None:
        server = self._server
        if server.unreachable:
            raise Unreachable(f"{server.name} does not answer")
        record = server.leases.get(self._name)
        if record is not None and record.holder != self._holder:
            alive = record.deaths == server.writes.deaths
            server.clock.sleep(patience if alive else min(patience, LEASE_DURATION))
            if alive or patience < LEASE_DURATION:
                raise Conflict(
                    f"{record.holder} holds the lease since {format_instant(record.since)}", where=self._name
                )
        with server.writes.one(server.name, "acquire lease", self._name):
            server.leases[self._name] = LeaseRecord(self._holder, server.clock.now(), server.writes.deaths)

    def held(self) -> bool:
        record = self._server.leases.get(self._name)
        return record is not None and record.holder == self._holder and not self._server.unreachable

    def release(self) -> None:
        if self.held():
            with self._server.writes.one(self._server.name, "release lease", self._name):
                del self._server.leases[self._name]


class InMemoryCluster:
    """`Cluster`: one client of an `ApiServer`, with its own memory of the inventories it saw."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._seen: dict[str, int] = {}
        self._listed: dict[str, int] = {}
        self._unreadable: tuple[InvalidFile, ...] = ()
        self._fence: Lease | None = None

    def inventories(self) -> tuple[Inventory, ...]:
        self._answer()
        found, unreadable, self._seen = [], [], {}
        self._listed = self._versions()
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
        content = pack(inventory)
        if len(content) > LARGEST:
            raise Refused("the inventory does not fit into a ConfigMap", where=identity)
        with self._write("write inventory", identity):
            self._seen[identity] = self._server.store_inventory(identity, content)

    def delete_inventory(self, activation_id: str) -> None:
        self._answer()
        if activation_id not in self._server.inventories:
            return
        if activation_id in self._seen and self._server.inventories[activation_id][1] != self._seen[activation_id]:
            raise Conflict("another writer changed the inventory", where=activation_id)
        with self._write("delete inventory", activation_id):
            del self._server.inventories[activation_id]
            self._seen.pop(activation_id, None)

    def await_change(self, timeout: timedelta) -> bool:
        self._answer()
        if self._versions() == self._listed:
            if self._server.while_waiting:
                self._server.while_waiting.pop(0)()
                self._answer()
            if self._versions() == self._listed:
                self._server.clock.sleep(timeout)
                return False
        return True

    def get(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, Manifest | None]:
        self._answer()
        objects = self._server.objects
        return {key: objects[key].manifest() if key in objects else None for key in keys}

    def apply(
        self, manifests: Iterable[Manifest], *, dry_run: bool = False, force: bool = True
    ) -> Mapping[ObjectKey, Manifest]:
        self._answer()
        wanted = by_key(manifests)
        return self._each(wanted, lambda key: self._apply(key, wanted[key], dry_run, force))

    def disown(self, owners: Mapping[ObjectKey, Sequence[Manifest]]) -> None:
        self._answer()
        for key in owners:
            if key in self._server.objects and self._server.managed(key):
                with self._write("disown", key):
                    self._server.store(key, self._server.objects[key].disowned(MANAGER, owners[key]))

    def remove_fields(self, fields: Mapping[ObjectKey, Sequence[Path]]) -> None:
        self._answer()
        for key, paths in fields.items():
            if key in self._server.objects:
                self._permit(key)
                with self._server.writes.one(self._server.name, "remove fields", key):
                    self._server.store(key, self._server.objects[key].without(paths))

    def delete(self, objects: Iterable[Manifest]) -> None:
        self._answer()
        read = by_key(objects)
        self._each(read, lambda key: self._delete(key, read[key]))

    def evict(self, pods: Iterable[ObjectKey]) -> None:
        self._answer()
        self._each([pod for pod in pods if pod in self._server.objects], self._evict)

    def token(self, account: ObjectKey, lifetime: timedelta) -> Token:
        self._answer()
        if account not in self._server.objects:
            raise NotFound("there is no such ServiceAccount", where=str(account))
        if account in self._server.denied:
            raise Refused("the cluster gives no token", where=str(account))
        self._server.tokens.append((account, lifetime))
        return Token(f"token-{len(self._server.tokens)}", self._server.clock.now() + max(lifetime, _SHORTEST_TOKEN))

    def record_event(self, about: ObjectKey, reason: str, note: str, *, warning: bool = False) -> None:
        self._answer()
        with self._write("record event", about):
            self._server.events.append((about, reason, note, warning))

    def labelled(
        self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None
    ) -> Mapping[ObjectKey, str]:
        found = {key_of(item): item["metadata"].get("labels", {}) for item in self.list(kinds, namespaces)}
        return {key: labels[ACTIVATION_LABEL] for key, labels in found.items() if ACTIVATION_LABEL in labels}

    def may(self, subject: str, verb: str, resource: str, group: str, namespace: str) -> bool:
        self._answer()
        return (subject, verb, resource, group, namespace) in self._server.granted

    def lease(self, name: str, holder: str) -> Lease:
        return InMemoryLease(self._server, name, holder)

    @contextmanager
    def fenced(self, lease: Lease) -> Iterator[None]:
        before, self._fence = self._fence, lease
        try:
            yield
        finally:
            self._fence = before

    def clock_skew(self) -> timedelta:
        return self._server.skew

    def list(self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None) -> tuple[Manifest, ...]:
        self._answer()
        wanted, places = set(kinds), None if namespaces is None else set(namespaces)
        found = (
            item.manifest()
            for key, item in sorted(self._server.objects.items())
            if (key.group, key.kind) in wanted and (places is None or key.namespace in places)
        )
        return tuple(_metadata(item) if item["kind"] == "Secret" else item for item in found)

    def _answer(self) -> None:
        if self._server.unreachable:
            raise Unreachable(f"{self._server.name} does not answer")

    @contextmanager
    def _write(self, verb: str, subject: object) -> Iterator[None]:
        with self._server.writes.one(self._server.name, verb, subject):
            if self._fence is not None and not self._fence.held():
                raise Conflict("the lease is not held any more; nothing was written", where=str(subject))
            yield

    def _apply(self, key: ObjectKey, manifest: Manifest, dry_run: bool, force: bool) -> dict[str, Any]:
        self._permit(key)
        live = self._server.find(key)
        _expect(key, live, manifest["metadata"])
        if not force and (owners := live.owners_of_others(manifest, MANAGER)):
            raise Conflict(f"conflict with {', '.join(owners)}", where=str(key))
        applied = live.applied(manifest, MANAGER, self._server.clock.now())
        if not dry_run:
            with self._write("apply", key):
                self._server.store(key, applied)
        return applied.manifest()

    def _delete(self, key: ObjectKey, read: Manifest) -> None:
        if "uid" not in read["metadata"]:
            raise Refused("an object to delete has no metadata.uid", where=str(key))
        if key not in self._server.objects:
            return
        self._permit(key)
        _expect(key, self._server.objects[key], read["metadata"])
        with self._write("delete", key):
            gone = self._server.remove(key)
        if not gone:
            raise NotApplied("deleted, but still there: a finalizer holds it", where=str(key))

    def _evict(self, pod: ObjectKey) -> None:
        if pod in self._server.budgeted:
            raise NotApplied("cannot evict pod as it would violate the pod's disruption budget", where=str(pod))
        with self._write("evict", pod):
            self._server.remove(pod)

    def _each(self, keys: Iterable[ObjectKey], call: Callable[[ObjectKey], Any]) -> dict[ObjectKey, Any]:
        """Call for every object, also after one failed, and raise one error for all."""
        results, errors = {}, []
        for key in keys:
            try:
                results[key] = call(key)
            except BreakglassError as error:
                errors.append(error)
        if len(errors) > 1:
            raise type(errors[0])("; ".join(map(str, errors)))
        for error in errors:
            raise error
        return results

    def _permit(self, key: ObjectKey) -> None:
        if key in self._server.denied:
            raise NotApplied(f"{self._server.name} does not take a write of {key}")

    def _versions(self) -> dict[str, int]:
        return {identity: version for identity, (_, version) in self._server.inventories.items()}


def _expect(key: ObjectKey, live: LiveObject, metadata: Mapping[str, Any]) -> None:
    """The state that metadata.uid and metadata.resourceVersion ask for, where they are given."""
    if metadata.get("uid", live.uid) != live.uid:
        raise Conflict("another object of the name stands there now", where=str(key))
    if str(metadata.get("resourceVersion", live.version)) != str(live.version):
        raise Conflict("the object was modified", where=str(key))
