"""The inventories of one cluster: read, written by compare-and-swap, and watched."""

from __future__ import annotations

import time
from datetime import timedelta

from breakglass.adapters import kubernetes_inventory as configmap
from breakglass.adapters.kubernetes_answers import PathNotFound, RepeatedConflict
from breakglass.adapters.kubernetes_http import Operation, Request, Server
from breakglass.adapters.kubernetes_objects import delete_options, metadata_of
from breakglass.adapters.kubernetes_reading import listed
from breakglass.adapters.kubernetes_watch import Watch
from breakglass.adapters.retry import retried
from breakglass.model.errors import Conflict, InvalidFile, NotFound
from breakglass.model.inventory import NAMESPACE, Inventory
from breakglass.model.managed_fields import FIELD_MANAGER

_LONGEST_WATCH = 3600.0


class Inventories:
    """The inventories, with a memory of how each was last read or written here."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen: dict[str, str] = {}
        self._listed: str | None = None
        self.unreadable: tuple[InvalidFile, ...] = ()

    def read(self, operation: Operation) -> tuple[Inventory, ...]:
        """All inventories that can be read; `unreadable` has the others."""
        inventories, unreadable, seen = [], [], {}
        items, version = listed(operation, configmap.COLLECTION)
        for item in filter(configmap.is_inventory, items):
            try:
                inventory = configmap.read(item)
            except InvalidFile as error:
                unreadable.append(error)
                continue
            seen[inventory.activation] = metadata_of(item, "resourceVersion")
            inventories.append(inventory)
        self._seen, self._listed, self.unreadable = seen, version, tuple(unreadable)
        return tuple(inventories)

    def write(self, operation: Operation, inventory: Inventory) -> None:
        """Create the inventory, or replace it where it is still as last read or written here."""
        identity = inventory.activation
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

    def delete(self, operation: Operation, identity: str) -> None:
        """Delete an inventory that is as last read or written here; absent is fine."""
        seen = self._seen.get(identity)
        preconditions = {} if seen is None else {"resourceVersion": seen}
        request = Request("DELETE", configmap.path(identity), body=delete_options(preconditions))
        try:
            operation.call(request, configmap.where(identity))
        except PathNotFound:
            raise
        except NotFound:
            pass
        self._seen.pop(identity, None)

    def await_change(self, timeout: timedelta, patience: timedelta) -> bool:
        """Watch from the last `read` on; whether it is time to read again.

        Args:
            patience: how long to try again where the API server does not answer.
        """
        version, end = self._listed, time.monotonic() + timeout.total_seconds()
        if version is None:
            return True

        def attempt() -> bool:
            seconds = min(end - time.monotonic(), _LONGEST_WATCH)
            watch = Watch(self._server, configmap.COLLECTION, {"resourceVersion": version}, seconds)
            try:
                return any(map(configmap.is_inventory, watch)) or time.monotonic() < end
            except Conflict:
                # What happened since is forgotten.
                return True

        clock = self._server.clock
        return retried(attempt, clock, clock.now() + min(timeout, patience), f"inventories in {NAMESPACE}")
