"""One cluster through its API server: server-side apply, observed deletion, and the inventories it keeps."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from breakglass import ports
from breakglass.adapters.credentials import Access
from breakglass.adapters.kubernetes_answers import HeldByBudget, PathNotFound, RepeatedConflict
from breakglass.adapters.kubernetes_deletion import Deletion
from breakglass.adapters.kubernetes_http import Operation, Request, Server
from breakglass.adapters.kubernetes_inventories import Inventories
from breakglass.adapters.kubernetes_lease import KubernetesLease
from breakglass.adapters.kubernetes_objects import (
    access_review,
    event,
    eviction,
    metadata_of,
    token_of,
    token_request,
)
from breakglass.adapters.kubernetes_parallel import Workers, raise_all
from breakglass.adapters.kubernetes_reading import METADATA_ONLY, PLAIN, Reading
from breakglass.adapters.kubernetes_writing import Writing
from breakglass.model.errors import InvalidFile, NotApplied, NotFound, Refused, Unreachable
from breakglass.model.inventory import Inventory
from breakglass.model.managed_fields import FIELD_MANAGER
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey
from breakglass.ports import Clock

_SECRET = ("", "Secret")
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_SECOND = timedelta(seconds=1)


class KubernetesCluster(ports.Cluster):
    """A cluster behind an `Access`; keeps its connections until `close`.

    Methods that take many objects try every one of them, also after one failed, and raise one error for all; only when
    the API server does not answer at all any more, or a Lease is lost, are the rest left out.

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
        self._clock, self._patience, self._deletion_patience = clock, patience, deletion
        self._workers = Workers()
        self._reading = Reading(self._workers)
        self._writing = Writing(self._reading, self._workers)
        self._deletion = Deletion(self._reading, self._workers)
        self._inventories = Inventories(self._server)
        self._leases: list[KubernetesLease] = []
        self._fence: ports.Lease | None = None

    def close(self) -> None:
        """Close the connections; the cluster cannot be used afterwards, and its Leases are not renewed any more."""
        for lease in self._leases:
            lease.abandon()
        self._workers.close()
        self._server.close()

    def inventories(self) -> tuple[Inventory, ...]:
        """All inventories that can be read; `unreadable_inventories` has the others."""
        return self._inventories.read(self._operation())

    def unreadable_inventories(self) -> tuple[InvalidFile, ...]:
        """What the last `inventories` could not read, one error a ConfigMap."""
        return self._inventories.unreadable

    def write_inventory(self, inventory: Inventory) -> None:
        """Create the inventory, or replace it where it is still as this cluster last read or wrote it.

        Raises:
            Conflict: another writer created or changed it meanwhile.
            Refused: it is larger than a ConfigMap can be; nothing was sent.
        """
        self._inventories.write(self._operation(), inventory)

    def delete_inventory(self, activation_id: str) -> None:
        """Delete the inventory of an activation; absent is fine.

        Raises:
            Conflict: it is not as this cluster last read or wrote it.
        """
        self._inventories.delete(self._operation(), activation_id)

    def await_change(self, timeout: timedelta) -> bool:
        """Watch the inventories from the last `inventories` on, and no longer than the timeout."""
        return self._inventories.await_change(timeout, self._patience)

    def get(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, Manifest | None]:
        """Read objects as they are now; None is observed absence, also of the kind itself."""
        found, errors = self._reading.many(self._operation(), keys)
        raise_all(errors)
        return found

    def apply(
        self, manifests: Iterable[Manifest], *, dry_run: bool = False, force: bool = True
    ) -> Mapping[ObjectKey, Manifest]:
        """Server-side apply, several at once in no order; returns the server's answers."""
        return self._writing.apply(self._operation(), manifests, dry_run=dry_run, force=force)

    def disown(self, owners: Mapping[ObjectKey, Sequence[Manifest]]) -> None:
        """Take this field manager out of managedFields and put former owners in; values stay, absent is fine.

        Raises:
            Conflict: others write the object all the time.
        """
        self._writing.disown(self._operation(), owners)

    def remove_fields(self, fields: Mapping[ObjectKey, Sequence[tuple[str, ...]]]) -> None:
        """Remove fields, whoever owns them; absent objects and fields are fine.

        Raises:
            Conflict: others write an object all the time.
        """
        self._writing.remove_fields(self._operation(), fields)

    def delete(self, objects: Iterable[Manifest]) -> None:
        """Delete objects, each only as it was read, and return when each is observed gone; absent is fine.

        Raises:
            Conflict: an object is not as it was read any more.
            NotApplied: an object is still there when the time for it is over; the error says what holds it.
        """
        raise_all(self._deletion.delete(self._operation(), objects, self._deletion_patience))

    def evict(self, pods: Iterable[ObjectKey]) -> None:
        """Evict pods by the Eviction API; absent is fine.

        Raises:
            NotApplied: a budget did not let a pod go while this tried.
        """
        operation = self._operation()
        _, errors = self._workers.each(pods, lambda pod: self._evict(operation, pod))
        raise_all(errors)

    def labelled(
        self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None
    ) -> Mapping[ObjectKey, str]:
        """Objects of these kinds (group, kind) that carry the activation label, with its value.

        Args:
            namespaces: where to look for namespaced kinds; one list over all namespaces where None.
        """
        query = {"labelSelector": ACTIVATION_LABEL}
        found = self._reading.all(self._operation(), kinds, namespaces, query, METADATA_ONLY)
        return {key: str(item["metadata"]["labels"][ACTIVATION_LABEL]) for key, item in found.items()}

    def list(self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None) -> tuple[Manifest, ...]:
        """All objects of these kinds (group, kind), namespaced ones in these namespaces; of Secrets the metadata."""
        every, operation = set(kinds), self._operation()
        secrets = every & {_SECRET}
        found = self._reading.all(operation, sorted(every - secrets), namespaces, {}, PLAIN)
        found |= self._reading.all(operation, secrets, namespaces, {}, METADATA_ONLY) if secrets else {}
        return tuple(found.values())

    def may(self, subject: str, verb: str, resource: str, group: str, namespace: str) -> bool:
        """Whether the API server lets a subject do this; subject and resource as `access_review` takes them."""
        review = Request("POST", _REVIEWS, body=access_review(subject, verb, resource, group, namespace), harmless=True)
        status = self._operation().call(review, subject).get("status")
        if not isinstance(status, Mapping) or not isinstance(status.get("allowed"), bool):
            raise Unreachable("the API server's access review cannot be read", where=subject, remedy="run it again")
        return bool(status["allowed"])

    def token(self, account: ObjectKey, lifetime: timedelta) -> ports.Token:
        """A token of a ServiceAccount, for the lifetime or the ten minutes that it has at least.

        Raises:
            Refused: there is no such ServiceAccount, or the cluster does not let this caller have the token.
        """
        operation = self._operation()
        path = self._reading.resource(operation, "v1", account).path(account)
        request = Request("POST", f"{path}/token", body=token_request(lifetime), harmless=True)
        return token_of(operation.call(request, str(account)), str(account))

    def record_event(self, about: ObjectKey, reason: str, note: str, *, warning: bool = False) -> None:
        """Record an Event about an object, in its namespace or in `default`; the object need not exist any more."""
        operation, name = self._operation(), f"breakglass-{secrets.token_hex(8)}"
        body = event(
            name,
            self._reference(operation, about),
            reason,
            note,
            warning=warning,
            at=self._clock.now(),
            instance=f"breakglass-{platform.node()}"[:128],
        )
        path = f"/apis/events.k8s.io/v1/namespaces/{body['metadata']['namespace']}/events"
        try:
            operation.call(Request("POST", path, {"fieldManager": FIELD_MANAGER}, body), f"Event about {about}")
        except RepeatedConflict:
            # Nobody else has the name: an attempt whose answer was lost recorded it.
            return

    def lease(self, name: str, holder: str) -> ports.Lease:
        """A Lease of the namespace `breakglass`, to be held as `holder`."""
        lease = KubernetesLease(self._server, name, holder)
        self._leases.append(lease)
        return lease

    @contextmanager
    def fenced(self, lease: ports.Lease) -> Iterator[None]:
        """Within this context every write asks first whether the Lease is held; Conflict where it is not."""
        before, self._fence = self._fence, lease
        try:
            yield
        finally:
            self._fence = before

    def clock_skew(self) -> timedelta:
        """How far the API server's clock is ahead of ours, at least; negative where ours is ahead.

        The header `Date` has whole seconds, cut off (https://www.rfc-editor.org/rfc/rfc9110#field.date): the answer was
        given between it and a second later by the API server's clock, and between sending and receiving by ours.
        """
        if self._server.dated is None:
            # An answer that refuses has a date as well.
            with suppress(Refused):
                self._operation().call(Request("GET", "/version"), "/version")
        dated = self._server.dated
        date = None if dated is None else _instant(dated.date)
        if dated is None or date is None:
            return timedelta(0)
        least, most = date - dated.received, date + _SECOND - dated.sent
        return max(least, timedelta(0)) + min(most, timedelta(0))

    def _operation(self) -> Operation:
        return Operation(self._server, self._patience, self._fence)

    def _evict(self, operation: Operation, pod: ObjectKey) -> None:
        path = self._reading.resource(operation, "v1", pod).path(pod)
        try:
            operation.call(Request("POST", f"{path}/eviction", body=eviction(pod)), str(pod))
        except PathNotFound:
            raise
        except NotFound:
            return
        except Unreachable as error:
            if isinstance(error.__cause__, HeldByBudget):
                raise NotApplied(error.what, where=str(pod), remedy="see its PodDisruptionBudget") from error
            raise

    def _reference(self, operation: Operation, key: ObjectKey) -> dict[str, str]:
        """An ObjectReference, with the uid where the object is there: `kubectl describe` looks for it."""
        live = self._reading.one(operation, key)
        resource = self._reading.discovery.find(operation, key.group, key.kind)
        reference = {
            "apiVersion": (resource.api_version if resource else key.group) or "v1",
            "kind": key.kind,
            "name": key.name,
        }
        if key.namespace:
            reference["namespace"] = key.namespace
        if live is not None:
            reference["uid"] = metadata_of(live, "uid")
        return reference


def _instant(date: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(date)
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant.tzinfo is not None else None
