"""One cluster through its API server: server-side apply, observed deletion, and the inventories it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from breakglass import ports
from breakglass.adapters import kubernetes_inventory as configmap
from breakglass.adapters.credentials import Access
from breakglass.adapters.kubernetes_discovery import Discovery, Resource
from breakglass.adapters.kubernetes_http import WORKERS, Operation, PathNotFound, RepeatedConflict, Request, Server
from breakglass.adapters.kubernetes_objects import (
    FIELD_MANAGER,
    access_review,
    delete_options,
    disowning_patch,
    held_by,
    metadata_of,
)
from breakglass.model.errors import BreakglassError, Conflict, InvalidFile, NotApplied, NotFound, Refused, Unreachable
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, by_key
from breakglass.ports import Clock

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_PAGE = "500"
_ATTEMPTS = 3
_FIRST_POLL, _LONGEST_POLL = timedelta(milliseconds=50), timedelta(seconds=2)
_ERRORS_SHOWN = 10

K = TypeVar("K")
V = TypeVar("V")
Errors = list[BreakglassError]


class KubernetesCluster(ports.Cluster):
    """A cluster behind an `Access`; keeps up to eight connections until `close`.

    Methods that take many objects try every one of them, also after one failed, and raise one error for all; only when
    the API server does not answer at all any more are the rest left out.

    Args:
        name: the cluster's name, for errors.
        patience: how long one operation retries what may pass.
        deletion: how long `delete` waits for objects to be gone.
    """

    def __init__(
        self,
        name: str,
        access: Access,
        clock: Clock,
        *,
        patience: timedelta = timedelta(seconds=20),
        deletion: timedelta = timedelta(seconds=30),
    ) -> None:
        self._server = Server(name, access, clock)
        self._clock, self._patience, self._deletion = clock, patience, deletion
        self._discovery = Discovery()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="kubernetes")
        self._seen: dict[str, str] = {}
        self._unreadable: tuple[InvalidFile, ...] = ()

    def close(self) -> None:
        """Close the connections; the cluster cannot be used afterwards."""
        self._workers.shutdown(cancel_futures=True)
        self._server.close()

    def inventories(self) -> tuple[Inventory, ...]:
        """All inventories that can be read; `unreadable_inventories` has the others."""
        inventories, unreadable, seen = [], [], {}
        for item in _pages(self._operation(), configmap.COLLECTION):
            if not configmap.is_inventory(item):
                continue
            try:
                inventory = configmap.read(item)
            except InvalidFile as error:
                unreadable.append(error)
                continue
            seen[inventory.activation] = metadata_of(item, "resourceVersion")
            inventories.append(inventory)
        self._seen, self._unreadable = seen, tuple(unreadable)
        return tuple(inventories)

    def unreadable_inventories(self) -> tuple[InvalidFile, ...]:
        """What the last `inventories` could not read, one error a ConfigMap."""
        return self._unreadable

    def write_inventory(self, inventory: Inventory) -> None:
        """Create the inventory, or replace it where it is still as this cluster last read or wrote it.

        Raises:
            Conflict: another writer created or changed it meanwhile.
        """
        operation, identity = self._operation(), inventory.activation
        seen, place = self._seen.get(identity), configmap.where(identity)
        body = configmap.write(inventory, seen)
        method, path = ("POST", configmap.COLLECTION) if seen is None else ("PUT", configmap.path(identity))
        try:
            written = operation.call(Request(method, path, {"fieldManager": FIELD_MANAGER}, body), place)
        except RepeatedConflict:
            # The other writer may be an attempt of this very call whose answer was lost.
            written = operation.call(Request("GET", configmap.path(identity)), place)
            if written.get("binaryData") != body["binaryData"]:
                raise
        self._seen[identity] = metadata_of(written, "resourceVersion")

    def delete_inventory(self, activation_id: str) -> None:
        """Delete the inventory of an activation; absent is fine.

        Raises:
            Conflict: it is not as this cluster last read or wrote it.
        """
        seen = self._seen.get(activation_id)
        preconditions = {} if seen is None else {"resourceVersion": seen}
        request = Request("DELETE", configmap.path(activation_id), body=delete_options(preconditions))
        try:
            self._operation().call(request, configmap.where(activation_id))
        except NotFound as error:
            if isinstance(error, PathNotFound):
                raise
        self._seen.pop(activation_id, None)

    def get(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, Manifest | None]:
        """Read objects as they are now; None is observed absence, also of the kind itself."""
        operation = self._operation()
        found, errors = self._each(keys, partial(self._get, operation))
        _raise(errors)
        return found

    def apply(
        self, manifests: Iterable[Manifest], *, dry_run: bool = False, force: bool = True
    ) -> Mapping[ObjectKey, Manifest]:
        """Server-side apply, several at once in no order; returns the server's answers.

        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        operation, wanted = self._operation(), by_key(manifests)
        applied, errors = self._each(wanted, lambda key: self._apply(operation, key, wanted[key], dry_run, force))
        _raise(errors)
        return applied

    def disown(self, owners: Mapping[ObjectKey, Sequence[Manifest]]) -> None:
        """Take this field manager out of managedFields; values stay, absent objects are fine.

        Raises:
            Conflict: others write the object all the time.
        """
        operation = self._operation()
        _, errors = self._each(owners, partial(self._release, operation))
        _raise(errors)

    def delete(self, objects: Iterable[Manifest]) -> None:
        """Delete objects, each only as it was read, and return when each is observed gone; absent is fine.

        Raises:
            NotApplied: an object is still there when the time for it is over; the error says what holds it.
        """
        operation = self._operation()
        deleted, errors = self._each(by_key(objects), partial(self._delete, operation))
        errors += self._await_absence({key: uid for key, uid in deleted.items() if uid is not None})
        _raise(errors)

    def await_change(self, timeout: timedelta) -> bool:
        raise NotImplementedError

    def evict(self, pods: Iterable[ObjectKey]) -> None:
        raise NotImplementedError

    def token(self, account: ObjectKey, lifetime: timedelta) -> ports.Token:
        raise NotImplementedError

    def record_event(self, about: ObjectKey, reason: str, note: str, *, warning: bool = False) -> None:
        raise NotImplementedError

    def lease(self, name: str, holder: str) -> ports.Lease:
        raise NotImplementedError

    @contextmanager
    def fenced(self, lease: ports.Lease) -> Iterator[None]:
        yield

    def clock_skew(self) -> timedelta:
        return timedelta(0)

    def labelled(
        self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None
    ) -> Mapping[ObjectKey, str]:
        """Objects of these kinds (group, kind) that carry the activation label, with its value.

        Args:
            namespaces: where to look for namespaced kinds; one list over all namespaces where None.
        """
        found = self._list(kinds, namespaces, {"labelSelector": ACTIVATION_LABEL}, _METADATA_ONLY)
        return {key: str(item["metadata"]["labels"][ACTIVATION_LABEL]) for key, item in found.items()}

    def list(self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None) -> tuple[Manifest, ...]:
        """All objects of these kinds (group, kind), namespaced ones in these namespaces (all where None)."""
        return tuple(self._list(kinds, namespaces, {}, "application/json").values())

    def may(self, subject: str, verb: str, resource: str, group: str, namespace: str) -> bool:
        """Whether the API server lets a subject do this; subject and resource as `access_review` takes them."""
        review = access_review(subject, verb, resource, group, namespace)
        status = self._operation().call(Request("POST", _REVIEWS, body=review), subject).get("status")
        if not isinstance(status, Mapping) or not isinstance(status.get("allowed"), bool):
            raise Unreachable("the API server's access review cannot be read", where=subject, remedy="run it again")
        return bool(status["allowed"])

    def _operation(self) -> Operation:
        return Operation(self._server, self._patience)

    def _each(self, items: Iterable[K], call: Callable[[K], V]) -> tuple[dict[K, V], Errors]:
        """Call for every item, several at once; results by item, and the errors of the others."""
        futures = {item: self._workers.submit(call, item) for item in dict.fromkeys(items)}
        results: dict[K, V] = {}
        errors: Errors = []
        try:
            for item, future in futures.items():
                try:
                    results[item] = future.result()
                except BreakglassError as error:
                    errors.append(error)
        finally:
            for future in futures.values():
                future.cancel()
        return results, errors

    def _get(self, operation: Operation, key: ObjectKey) -> dict[str, Any] | None:
        for _ in range(_ATTEMPTS):
            resource = self._discovery.find(operation, key.group, key.kind)
            if resource is None:
                return None
            try:
                live = operation.call(Request("GET", resource.path(key)), str(key))
                metadata_of(live, "uid")
                return live
            except PathNotFound:
                self._discovery.forget()
            except NotFound:
                return None
        raise Unreachable("the API server lists the kind and does not serve it", where=str(key), remedy="run it again")

    def _apply(
        self, operation: Operation, key: ObjectKey, manifest: Manifest, dry_run: bool, force: bool
    ) -> dict[str, Any]:
        resource = self._resource(operation, str(manifest["apiVersion"]), key)
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        request = Request("PATCH", resource.path(key), query, manifest, content_type="application/apply-patch+yaml")
        answer = operation.call(request, str(key))
        metadata_of(answer, "name")
        if key.kind == "CustomResourceDefinition" and not dry_run:
            self._await_served(operation, answer["spec"], str(key))
        return answer

    def _await_served(self, operation: Operation, spec: Mapping[str, Any], where: str) -> None:
        """What a CustomResourceDefinition defines is served a moment after the definition was written."""
        for version in (version["name"] for version in spec["versions"] if version["served"]):
            while self._discovery.at(operation, f"{spec['group']}/{version}", spec["names"]["kind"]) is None:
                if self._clock.now() >= operation.deadline:
                    raise Unreachable("the API server does not serve it yet", where=where, remedy="run it again")
                self._clock.sleep(_FIRST_POLL)

    def _release(self, operation: Operation, key: ObjectKey) -> None:
        refusal: BreakglassError = Conflict("others write the object all the time", where=str(key), remedy="run again")
        for _ in range(_ATTEMPTS):
            live = self._get(operation, key)
            patch = None if live is None else disowning_patch(live)
            if live is None or patch is None:
                return
            path = self._resource(operation, str(live["apiVersion"]), key).path(key)
            request = Request(
                "PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, content_type="application/json-patch+json"
            )
            try:
                operation.call(request, str(key))
            except (Conflict, Refused) as error:
                # A `test` that does not hold is answered with 422: somebody wrote in between.
                refusal = error
            else:
                return
        raise refusal

    def _delete(self, operation: Operation, key: ObjectKey) -> str | None:
        """Send the deletion; the uid of what was deleted, None where nothing was there."""
        for _ in range(_ATTEMPTS):
            live = self._get(operation, key)
            if live is None:
                return None
            uid = metadata_of(live, "uid")
            path = self._resource(operation, str(live["apiVersion"]), key).path(key)
            try:
                operation.call(Request("DELETE", path, body=delete_options({"uid": uid})), str(key))
            except Conflict:
                # Another object of the name stands there now.
                continue
            except NotFound:
                pass
            return uid
        raise Conflict("the object is deleted and created all the time", where=str(key), remedy="run it again")

    def _await_absence(self, left: dict[ObjectKey, str]) -> Errors:
        """Poll until no object has its uid any more; what is held, or cannot be asked for, in the end."""
        errors: Errors = []
        deadline, pause = self._clock.now() + self._deletion, _FIRST_POLL
        while left:
            found, failed = self._each(left, partial(self._get, self._operation()))
            errors += failed
            held = {key: live for key, live in found.items() if live and metadata_of(live, "uid") == left[key]}
            if held and self._clock.now() >= deadline:
                return errors + [_held(key, live) for key, live in held.items()]
            left = {key: left[key] for key in held}
            if left:
                self._clock.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_POLL)
        return errors

    def _resource(self, operation: Operation, api_version: str, key: ObjectKey) -> Resource:
        resource = self._discovery.at(operation, api_version, key.kind)
        if resource is None:
            raise NotFound(
                f"the API server does not serve {key.kind} of {api_version}",
                where=str(key),
                remedy="install its CustomResourceDefinition, or correct apiVersion and kind",
            )
        return resource

    def _list(
        self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None, query: Mapping[str, str], accept: str
    ) -> dict[ObjectKey, Manifest]:
        """Objects by key, with apiVersion and kind, which items of a list lack. A kind that is not served has none."""
        operation, spaces = self._operation(), ("",) if namespaces is None else tuple(dict.fromkeys(namespaces))
        served, errors = self._each(kinds, lambda kind: self._discovery.find(operation, *kind))
        _raise(errors)
        collections = {
            resource.collection(space): resource
            for resource in served.values()
            if resource is not None
            for space in (spaces if resource.namespaced else ("",))
        }
        pages, errors = self._each(collections, lambda path: tuple(_pages(operation, path, query=query, accept=accept)))
        _raise(errors)
        return by_key(
            {**item, "apiVersion": collections[path].api_version, "kind": collections[path].kind}
            for path, items in pages.items()
            for item in items
        )


def _pages(
    operation: Operation, path: str, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
) -> Iterator[dict[str, Any]]:
    """All items of a list (https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks)."""
    token = ""
    while True:
        parameters = {**(query or {}), "limit": _PAGE, **({"continue": token} if token else {})}
        answer = operation.call(Request("GET", path, parameters, accept=accept), path)
        # Go writes an empty list as null.
        items, metadata = answer.get("items") or (), answer.get("metadata")
        if "items" not in answer or not isinstance(items, Sequence) or not isinstance(metadata, Mapping):
            raise Unreachable("the API server's list cannot be read", where=path, remedy="run it again")
        for item in items:
            metadata_of(item, "name")
            yield item
        token = str(metadata.get("continue") or "")
        if not token:
            return


def _held(key: ObjectKey, live: Manifest) -> NotApplied:
    return NotApplied(f"deleted, but still there: {held_by(live)}", where=str(key), remedy="remove what holds it")


def _raise(errors: Errors) -> None:
    """Raise what is final before what may pass; one error speaks for all."""
    if not errors:
        return
    final = (Refused, Conflict, Unreachable, NotApplied)
    worst = min(errors, key=lambda error: [isinstance(error, kind) for kind in final].index(True))
    if len(errors) == 1:
        raise worst
    shown = "; ".join(str(error) for error in errors[:_ERRORS_SHOWN])
    more = f"; and {len(errors) - _ERRORS_SHOWN} more" if len(errors) > _ERRORS_SHOWN else ""
    raise type(worst)(shown + more, remedy=worst.remedy)
