"""Carrying out a stage of a plan: the writes that opening and closing share."""

from __future__ import annotations

from breakglass.lifecycle.plan import Stage
from breakglass.model.manifest import Manifest
from breakglass.ports import Cluster

ATTEMPTS = 3
"""How often objects are read and planned afresh after somebody else wrote one of them in between."""


def apply_stage(cluster: Cluster, stage: Stage, *, force: bool = True) -> None:
    """Write what the stage has to write, all at once.

    Args:
        force: take fields that another field manager owns.
    """
    written = (step for step in stage if step.live is None or step.fields or step.owners is None)
    manifests = [step.target for step in written if step.target is not None]
    if manifests:
        cluster.apply(manifests, force=force)


def delete_stage(cluster: Cluster, stage: Stage, *, exactly: bool = True) -> None:
    """Delete what the stage has to delete, all at once, and see it absent.

    Args:
        exactly: only in the state in which it was read.
    """
    gone = [step.live for step in stage if step.target is None and step.live is not None]
    if gone:
        cluster.delete(gone if exactly else map(_in_any_state, gone))


def _in_any_state(live: Manifest) -> Manifest:
    return {**live, "metadata": {name: value for name, value in live["metadata"].items() if name != "resourceVersion"}}
