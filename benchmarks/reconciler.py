"""The product's reconciler alone: what `breakglass apply` does once a window is proven approved and rendered.

Usage: python benchmarks/reconciler.py (open | close) KUBECONFIG WINDOW SECONDS

WINDOW is a JSON file with the keys `activation` and `objects`. Opening reads the inventories, writes this one, plans by
list and compare, writes, verifies and records the window as open; where all is open already it changes nothing. Closing
reads the inventories, plans, deletes, observes the absence, proves the baseline and records the window as closed. The
seconds that it took, without the start of the process, are written to the file SECONDS.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.lifecycle.closing import close
from breakglass.lifecycle.opening import Opening, one_writer, open_window
from breakglass.model.activation import Activation
from breakglass.model.manifest import delta
from breakglass.ports import Clock, Cluster


def opening_of(window: dict[str, Any]) -> Opening:
    """The window of the file, as if it had been merged when it was requested."""
    activation = Activation.model_validate(window["activation"])
    merged_at = activation.spec.requestedAt
    return Opening(
        activation=activation,
        commit="0" * 40,
        opened_at=merged_at,
        expiry=merged_at + activation.spec.duration,
        approved_by=("dana", "ines"),
        changes=delta((), window["objects"]),
    )


def opened(cluster: Cluster, opening: Opening, clock: Clock) -> None:
    """Bring the cluster into the emergency state."""
    known = {inventory.activation: inventory for inventory in cluster.inventories()}
    with one_writer(cluster, "benchmark", timedelta(seconds=10)):
        open_window(cluster, opening, known.get(opening.activation.id), clock)


def closed(cluster: Cluster, opening: Opening, clock: Clock) -> None:
    """Bring the cluster back to its baseline.

    Raises:
        RuntimeError: there was nothing to close.
    """
    inventories = cluster.inventories()
    if not close(cluster, inventories, {opening.activation.id: "expired"}, by="applier", clock=clock):
        raise RuntimeError(f"{opening.activation.id} is not open")


def main() -> None:
    """Do what the command line says."""
    _, action, kubeconfig, window, seconds = sys.argv
    clock = SystemClock()
    cluster = KubernetesCluster("the cluster", access_to("", None, Path(kubeconfig)), clock)
    opening = opening_of(json.loads(Path(window).read_bytes()))
    begin = time.perf_counter()
    (opened if action == "open" else closed)(cluster, opening, clock)
    Path(seconds).write_text(str(time.perf_counter() - begin), encoding="ascii")
    cluster.close()


if __name__ == "__main__":
    main()
