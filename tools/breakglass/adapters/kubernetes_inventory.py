"""An inventory as a ConfigMap: `activation-<id>` in the namespace `breakglass`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from breakglass.model.errors import InvalidFile, Refused
from breakglass.model.inventory import NAMESPACE, Inventory, pack, unpack
from breakglass.model.time import format_instant

COLLECTION = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
LABEL = "breakglass.dev/inventory"
"""On every inventory, with the value `true`."""
FILE = "inventory.json.gz"
"""Key of the ConfigMap's binaryData."""
LARGEST = 1024 * 1024 - 16 * 1024
"""Bytes, packed: less than a ConfigMap may hold (https://kubernetes.io/docs/concepts/configuration/configmap/)."""
_PREFIX = "activation-"
_REMEDY = "somebody changed the inventory by hand; compare it with the ledger, restore it, then run apply again"


def path(activation_id: str) -> str:
    """Path of an activation's inventory on the API server."""
    return f"{COLLECTION}/{_PREFIX}{activation_id}"


def where(activation_id: str) -> str:
    """The inventory's place, for errors."""
    return f"ConfigMap {NAMESPACE}/{_PREFIX}{activation_id}"


def is_inventory(configmap: Mapping[str, Any]) -> bool:
    """Whether a ConfigMap of the namespace is an inventory: by its name alone too, should it have lost the label."""
    metadata = configmap["metadata"]
    return _name(metadata).startswith(_PREFIX) or (metadata.get("labels") or {}).get(LABEL) == "true"


def read(configmap: Mapping[str, Any]) -> Inventory:
    """Read what `write` made.

    Raises:
        InvalidFile: it is not an inventory, or another activation's.
    """
    name = _name(configmap["metadata"])
    place = where(name.removeprefix(_PREFIX))
    content = (configmap.get("binaryData") or {}).get(FILE)
    if not isinstance(content, str):
        raise InvalidFile(f"the inventory has no {FILE}", where=place, remedy=_REMEDY)
    try:
        packed = base64.b64decode(content, validate=True)
    except binascii.Error:
        raise InvalidFile("the inventory is not base64", where=place, remedy=_REMEDY) from None
    inventory = unpack(packed, place)
    if name != f"{_PREFIX}{inventory.activation}":
        raise InvalidFile(f"the inventory is that of {inventory.activation}", where=place, remedy=_REMEDY)
    return inventory


def write(inventory: Inventory, resource_version: str | None) -> dict[str, Any]:
    """The ConfigMap of an inventory; with a resourceVersion it replaces only that state. Annotations are for people.

    Raises:
        Refused: it is larger than a ConfigMap can be.
    """
    packed = pack(inventory)
    if len(packed) > LARGEST:
        raise Refused(
            f"the inventory of {len(inventory.objects)} objects has {len(packed)} bytes packed, and at most {LARGEST} "
            "fit into a ConfigMap",
            where=where(inventory.activation),
            remedy="split the overlay",
        )
    metadata: dict[str, Any] = {
        "name": f"{_PREFIX}{inventory.activation}",
        "namespace": NAMESPACE,
        "labels": {LABEL: "true"},
        "annotations": {
            "breakglass.dev/overlay": inventory.overlay,
            "breakglass.dev/expiry": format_instant(inventory.expiry),
            "breakglass.dev/phase": inventory.phase,
            "breakglass.dev/requested-by": inventory.requestedBy,
        },
    }
    if resource_version is not None:
        metadata["resourceVersion"] = resource_version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "binaryData": {FILE: base64.b64encode(packed).decode("ascii")},
    }


def _name(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("name"))
