"""The second key: close what has expired by the cluster's own inventories - no git, no forge, no CI."""

from __future__ import annotations

from datetime import datetime, timedelta

from breakglass.lifecycle.reconcile import close
from breakglass.model.errors import BreakglassError
from breakglass.model.inventory import Cause, Inventory
from breakglass.ports import Clock, Cluster, Report

LONGEST_SLEEP = timedelta(seconds=10)
"""An opening made while the agent sleeps is seen after this at the latest."""


def close_expired(cluster: Cluster, clock: Clock) -> tuple[Inventory, ...]:
    """Close every window of the cluster that is over, and prove once more those that were closed before.

    Returns:
        The inventories that this call closed.

    Raises:
        NotApplied: something is still open; call again.
    """
    now, inventories = clock.now(), cluster.inventories()
    causes: dict[str, Cause] = {item.activation: item.cause or "expired" for item in inventories if item.expired(now)}
    open_before = {item.activation for item in inventories if item.phase != "closed"}
    closed = close(cluster, inventories, causes, by="agent", clock=clock)
    return tuple(item for item in closed if item.activation in open_before)


def next_wake(inventories: tuple[Inventory, ...], now: datetime) -> timedelta:
    """How long to sleep: until the next expiry, and never longer than `LONGEST_SLEEP`."""
    ends = [inventory.expiry - now for inventory in inventories if inventory.phase != "closed"]
    return max(timedelta(0), min([*ends, LONGEST_SLEEP]))


def run(cluster: Cluster, clock: Clock, report: Report) -> None:
    """Close what expires, when it expires, for ever; a cluster that does not answer is asked again."""
    while True:
        try:
            for inventory in close_expired(cluster, clock):
                report(f"closed {inventory.activation} (expired)")
            for unreadable in cluster.unreadable_inventories():
                report(f"cannot be closed from here: {unreadable}")
            pause = next_wake(cluster.inventories(), clock.now())
        except BreakglassError as error:
            report(f"trying again: {error}")
            pause = timedelta(seconds=1)
        clock.sleep(pause)
