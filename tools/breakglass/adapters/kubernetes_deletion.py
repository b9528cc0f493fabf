"""Deletion that is exact and observed: only the object that was read, and done when it is gone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from breakglass.adapters.kubernetes_answers import PathNotFound, RepeatedConflict
from breakglass.adapters.kubernetes_http import Operation, Request
from breakglass.adapters.kubernetes_objects import delete_options, held_by, metadata_of
from breakglass.adapters.kubernetes_parallel import Errors, Workers
from breakglass.adapters.kubernetes_reading import METADATA_ONLY, Reading
from breakglass.model.errors import NotApplied, NotFound, Refused
from breakglass.model.manifest import Manifest, ObjectKey, by_key

_FIRST_POLL, _LONGEST_POLL = timedelta(milliseconds=50), timedelta(seconds=2)


class Deletion:
    """Deletes objects of one cluster."""

    def __init__(self, reading: Reading, workers: Workers) -> None:
        self._reading, self._workers = reading, workers

    def delete(self, operation: Operation, objects: Iterable[Manifest], patience: timedelta) -> Errors:
        """Delete objects and return when each is observed gone; what went wrong with the others.

        Args:
            patience: how long to wait for objects to be gone.
        """
        read = by_key(objects)
        deleted, errors = self._workers.each(read, lambda key: self._delete(operation, key, read[key]))
        return errors + self._await_absence(operation, {key: uid for key, uid in deleted.items() if uid}, patience)

    def _delete(self, operation: Operation, key: ObjectKey, read: Manifest) -> str | None:
        """Send the deletion; the uid of what was deleted, None where nothing was there."""
        uid, version = read["metadata"].get("uid"), read["metadata"].get("resourceVersion")
        if not uid:
            raise Refused("an object to delete has no metadata.uid", where=str(key), remedy="read it first")
        if "deletionTimestamp" in read["metadata"]:
            # Somebody deletes it already, in his own way.
            return str(uid)
        resource = self._reading.discovery.find(operation, key.group, key.kind)
        if resource is None:
            return None
        preconditions = {"uid": uid} if version is None else {"uid": uid, "resourceVersion": version}
        request = Request("DELETE", resource.path(key), body=delete_options(preconditions))
        try:
            operation.call(request, str(key))
        except (PathNotFound, RepeatedConflict):
            # Whether the object is gone, or an attempt of this very call deleted it, says only a look at it.
            live = self._reading.one(operation, key)
            if live is None:
                return None
            if live["metadata"].get("uid") != uid or "deletionTimestamp" not in live["metadata"]:
                raise
        except NotFound:
            return None
        return str(uid)

    def _await_absence(self, operation: Operation, left: dict[ObjectKey, str], patience: timedelta) -> Errors:
        """Poll until no object has its uid any more; what is held, or cannot be asked for, in the end."""
        errors: Errors = []
        clock = operation.clock
        deadline, pause = clock.now() + patience, _FIRST_POLL
        while left:
            found, failed = self._reading.many(operation.again(), left, METADATA_ONLY)
            errors += failed
            left = {key: left[key] for key, live in found.items() if live and metadata_of(live, "uid") == left[key]}
            if left and clock.now() >= deadline:
                return errors + self._held(operation.again(), left)
            if left:
                clock.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_POLL)
        return errors

    def _held(self, operation: Operation, left: dict[ObjectKey, str]) -> Errors:
        """What holds each object that is still there."""
        found, errors = self._workers.each(left, lambda key: self._reading.one(operation, key))
        return errors + [_held(key, live) for key, live in found.items() if live is not None]


def _held(key: ObjectKey, live: Manifest) -> NotApplied:
    return NotApplied(f"deleted, but still there: {held_by(live)}", where=str(key), remedy="remove what holds it")
