"""Server-side apply, and the way back: https://kubernetes.io/docs/reference/using-api/server-side-apply/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from breakglass.adapters.kubernetes_answers import RepeatedConflict
from breakglass.adapters.kubernetes_http import Operation, Request
from breakglass.adapters.kubernetes_objects import metadata_of
from breakglass.adapters.kubernetes_ownership import disowning_patch, removing_patch
from breakglass.adapters.kubernetes_parallel import Workers, raise_all
from breakglass.adapters.kubernetes_reading import ATTEMPTS, Reading
from breakglass.model.errors import BreakglassError, Conflict, Refused, Unreachable
from breakglass.model.managed_fields import FIELD_MANAGER
from breakglass.model.manifest import Manifest, ObjectKey, by_key

_APPLY, _JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"
PatchOf = Callable[[Manifest], list[dict[str, Any]] | None]
"""Makes the JSON patch of a live object; None where there is nothing to change."""
_POLL = timedelta(milliseconds=50)
_REMEDY = "somebody else changed it at the same time; run again"


class Writing:
    """Applies and disowns objects of one cluster."""

    def __init__(self, reading: Reading, workers: Workers) -> None:
        self._reading, self._workers = reading, workers

    def apply(
        self, operation: Operation, manifests: Iterable[Manifest], *, dry_run: bool, force: bool
    ) -> dict[ObjectKey, dict[str, Any]]:
        """Apply objects, several at once in no order; returns the server's answers.

        Raises:
            Conflict: an object is not as its metadata.resourceVersion says, or without force another manager owns one
                of its fields.
        """
        wanted = by_key(manifests)
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        applied, errors = self._workers.each(wanted, lambda key: self._apply(operation, key, wanted[key], query))
        raise_all(errors)
        return applied

    def disown(self, operation: Operation, owners: Mapping[ObjectKey, Sequence[Manifest]]) -> None:
        """Take this field manager out of managedFields and put former owners in; values stay, absent is fine.

        Raises:
            Conflict: others write an object all the time.
        """
        self._patch_all(operation, {key: partial(disowning_patch, owners=each) for key, each in owners.items()})

    def remove_fields(self, operation: Operation, fields: Mapping[ObjectKey, Sequence[Sequence[str]]]) -> None:
        """Remove fields, whoever owns them; absent objects and fields are fine.

        Raises:
            Conflict: others write an object all the time.
        """
        self._patch_all(operation, {key: partial(removing_patch, paths=each) for key, each in fields.items()})

    def _patch_all(self, operation: Operation, patches: Mapping[ObjectKey, PatchOf]) -> None:
        found, errors = self._reading.many(operation, patches)
        _, failed = self._workers.each(found, lambda key: self._patch(operation, key, found[key], patches[key]))
        raise_all(errors + failed)

    def _apply(
        self, operation: Operation, key: ObjectKey, manifest: Manifest, query: Mapping[str, str]
    ) -> dict[str, Any]:
        if "resourceVersion" in manifest["metadata"]:
            return self._apply_to_state(operation, key, manifest, query)
        answer = self._send(operation, key, manifest, query)
        if key.kind == "CustomResourceDefinition" and "dryRun" not in query:
            self._await_served(operation, answer["spec"], str(key))
        return answer

    def _send(
        self, operation: Operation, key: ObjectKey, manifest: Manifest, query: Mapping[str, str]
    ) -> dict[str, Any]:
        path = self._reading.resource(operation, str(manifest["apiVersion"]), key).path(key)
        answer = operation.call(Request("PATCH", path, query, manifest, _APPLY, harmless="dryRun" in query), str(key))
        metadata_of(answer, "name")
        return answer

    def _apply_to_state(
        self, operation: Operation, key: ObjectKey, manifest: Manifest, query: Mapping[str, str]
    ) -> dict[str, Any]:
        """Without a uid as well, the API server takes a resourceVersion of an object that is gone for none."""
        uid = manifest["metadata"].get("uid") or self._uid(operation, key)
        exact = _with(manifest, uid=uid)
        try:
            return self._send(operation, key, exact, query)
        except RepeatedConflict:
            # The other writer may be an attempt of this very call whose answer was lost: then nothing is left to do.
            live = self._reading.one(operation, key)
            again = _with(exact, resourceVersion=None)
            if live is None or self._send(operation, key, again, {**query, "dryRun": "All"}) != live:
                raise
            return live
        except Refused as error:
            if self._uid(operation, key) == uid:
                raise
            raise Conflict("another object of the name stands there now", where=str(key), remedy=_REMEDY) from error

    def _uid(self, operation: Operation, key: ObjectKey) -> str:
        live = self._reading.one(operation, key)
        if live is None:
            raise Conflict("the object is gone", where=str(key), remedy=_REMEDY)
        return metadata_of(live, "uid")

    def _await_served(self, operation: Operation, spec: Mapping[str, Any], where: str) -> None:
        """What a CustomResourceDefinition defines is served a moment after the definition was written."""
        for version in (version["name"] for version in spec["versions"] if version["served"]):
            api_version = f"{spec['group']}/{version}"
            while self._reading.discovery.at(operation, api_version, spec["names"]["kind"]) is None:
                if operation.clock.now() >= operation.deadline:
                    raise Unreachable("the API server does not serve it yet", where=where, remedy="run it again")
                operation.clock.sleep(_POLL)

    def _patch(
        self,
        operation: Operation,
        key: ObjectKey,
        live: Manifest | None,
        patch_of: PatchOf,
    ) -> None:
        """Send a JSON patch made of the live object, and one made afresh where somebody wrote in between."""
        refusal: BreakglassError = Conflict("others write the object all the time", where=str(key), remedy="run again")
        for _ in range(ATTEMPTS):
            patch = None if live is None else patch_of(live)
            if live is None or patch is None:
                return
            path = self._reading.resource(operation, str(live["apiVersion"]), key).path(key)
            request = Request("PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, _JSON_PATCH)
            try:
                operation.call(request, str(key))
            except (Conflict, Refused) as error:
                # A `test` that does not hold is answered with 422: somebody wrote in between.
                refusal = error
            else:
                return
            live = self._reading.one(operation, key)
        raise refusal


def _with(manifest: Manifest, **metadata: str | None) -> dict[str, Any]:
    """A copy with other metadata, or without what is None."""
    both = {**manifest["metadata"], **metadata}
    return {**manifest, "metadata": {name: value for name, value in both.items() if value is not None}}
