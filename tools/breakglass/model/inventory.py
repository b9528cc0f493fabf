"""The inventory: what one activation does in one cluster, kept in that cluster, enough to close without git."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from breakglass.model.cut import Cut
from breakglass.model.digest import Digest
from breakglass.model.document import Strict
from breakglass.model.errors import InvalidFile, Refused
from breakglass.model.manifest import Change, Manifest, ObjectKey, key_of
from breakglass.model.name import ActivationId, Login, OverlayName
from breakglass.model.time import Instant

NAMESPACE = "breakglass"
"""The tool's own namespace in every cluster."""
LARGEST_INVENTORY = 64 * 1024 * 1024
"""Bytes, unpacked."""

Phase = Literal["opening", "open", "closed"]
Cause = Literal["expired", "closed early", "refused", "drill"]


class Kept(Strict):
    """Base of what is kept in a cluster: another version's fields are left as they are, and never keep from closing."""

    model_config = ConfigDict(extra="allow")


class InventoryObject(Kept):
    """One object, with the state to have while open and the state to return to."""

    baseline: dict[str, Any] | None
    emergency: dict[str, Any] | None
    owners: list[dict[str, Any]] = Field(
        default=[], description="Entries of managedFields before the opening: who gets the fields back."
    )

    @model_validator(mode="after")
    def _one_object(self) -> Self:
        states = [state for state in (self.baseline, self.emergency) if state is not None]
        try:
            keys = {key_of(state) for state in states}
        except Refused as error:
            raise ValueError(str(error)) from None
        if len(keys) != 1:
            raise ValueError("the two states are not of one object")
        return self

    @cached_property
    def key(self) -> ObjectKey:
        """The object's key."""
        return key_of(self.baseline if self.emergency is None else self.emergency)  # type: ignore[arg-type]


class ForeignChange(Kept):
    """What somebody else did inside the window to an object that the activation holds."""

    object: str
    what: Literal["changed", "deleted", "created"]
    by: str | None = Field(None, description="Their field manager.")
    at: Instant | None = None
    fields: list[str] = Field(default=[], description="What they own now.")
    live: dict[str, Any] | None = Field(None, description="The object as it was found, so that nothing is lost.")

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        fields = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{self.object} was {self.what}{by}{fields}"


class Inventory(Kept):
    """What an activation does in a cluster.

    The phase goes opening → open → closed and never back. It is written with the phase `opening` before the first
    object of the activation, so that a crash at any later moment leaves something that closes.
    """

    apiVersion: Literal["breakglass.dev/v1alpha1"] = "breakglass.dev/v1alpha1"
    kind: Literal["Inventory"] = "Inventory"
    activation: ActivationId
    overlay: OverlayName
    digest: Digest
    commit: str = Field(pattern=r"^[0-9a-f]{40}$|^[0-9a-f]{64}$")
    requestedBy: Login
    approvedBy: list[Login]
    openedAt: Instant
    expiry: Instant
    phase: Phase
    appliedAt: Instant | None = None
    appliedAfterSeconds: float | None = Field(None, description="Seconds from the merge to the last object's write.")
    closedAt: Instant | None = None
    closedBy: Literal["applier", "agent"] | None = None
    cause: Cause | None = None
    conflicts: Literal["restore", "keep"] = Field(
        "restore", description="Whether closing restores a baseline object that somebody else changed in the window."
    )
    foreign: list[ForeignChange] = Field(default=[])
    cut: Cut | None = None
    objects: list[InventoryObject]

    def expired(self, now: datetime) -> bool:
        """Whether the window is over; at the very second of the expiry it is."""
        return now >= self.expiry

    @property
    def kept(self) -> frozenset[ObjectKey]:
        """Baseline objects that closing leaves as somebody else changed them, because the policy says so."""
        changed = {change.object for change in self.foreign if change.what != "deleted"}
        if self.conflicts == "restore" or not changed:
            return frozenset()
        held = (item.key for item in self.objects if item.baseline is not None)
        return frozenset(key for key in held if str(key) in changed)

    @property
    def claims(self) -> dict[ObjectKey, Manifest | None]:
        """The emergency state of every object, by key."""
        return {item.key: item.emergency for item in self.objects}


def objects_of(changes: Iterable[Change]) -> list[InventoryObject]:
    """The objects of a delta, as an inventory keeps them."""
    return [
        InventoryObject(
            baseline=None if change.baseline is None else dict(change.baseline),
            emergency=None if change.emergency is None else dict(change.emergency),
        )
        for change in changes
    ]


def pack(inventory: Inventory) -> bytes:
    """The inventory as gzipped canonical JSON: 2,000 objects fit the API server's limit of one mebibyte."""
    text = json.dumps(inventory.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)


def unpack(content: bytes, where: str) -> Inventory:
    """Read what `pack` wrote.

    Raises:
        InvalidFile: the content is not an inventory.
    """
    remedy = "somebody changed the inventory by hand; compare it with the ledger, restore it, then run apply again"
    try:
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(content, LARGEST_INVENTORY)
        if unpacker.unconsumed_tail:
            raise InvalidFile("the inventory is too large", where=where, remedy=remedy)
        return Inventory.model_validate(json.loads(text))
    except (zlib.error, ValueError, RecursionError) as error:
        raise InvalidFile(f"the inventory cannot be read: {error}", where=where, remedy=remedy) from None
