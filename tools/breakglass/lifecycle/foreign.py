"""What others did inside a window to the objects that an activation holds, noted in its inventory."""

from __future__ import annotations

from breakglass.lifecycle.plan import Live, foreign_changes
from breakglass.model.inventory import Inventory

_MOST = 100
_MOST_KEPT_WHOLE = 20


def noting(inventory: Inventory, live: Live, *, with_deleted: bool = True) -> Inventory:
    """An inventory that tells what others did to its objects since its window began; bounded, the first ones count.

    Args:
        with_deleted: tell what is absent as well; not after the expiry, when another closer may have deleted it.
    """
    known = {(change.object, change.what, change.by, change.at) for change in inventory.foreign}
    new = [
        change
        for change in foreign_changes(inventory, live)
        if (change.object, change.what, change.by, change.at) not in known
        and (with_deleted or change.what != "deleted")
    ]
    if not new:
        return inventory
    every = [*inventory.foreign, *new][:_MOST]
    told = [
        change if number < _MOST_KEPT_WHOLE else change.model_copy(update={"live": None})
        for number, change in enumerate(every)
    ]
    return inventory.model_copy(update={"foreign": told})
