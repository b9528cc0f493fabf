"""The plan: what is to be written in a cluster, as data, from what is there and what should be there.

`apply` carries out exactly what is planned here, and `plan` prints it. A plan of nothing is the proof that all is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from breakglass.model.inventory import ForeignChange, Inventory, InventoryObject
from breakglass.model.managed_fields import (
    FieldChange,
    changed_at,
    changed_since,
    changes,
    is_ours,
    leftovers,
    no_longer_wanted,
    owners,
    paths,
)
from breakglass.model.manifest import Manifest, ObjectKey

Effect = Literal["added", "changed", "removed", "restored"]

_KINDS_IN_ORDER = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("ServiceAccount", "ConfigMap", "Secret"),
    ("Role", "ClusterRole"),
    ("RoleBinding", "ClusterRoleBinding"),
    ("NetworkPolicy",),
    ("Service",),
    (),
    ("Ingress", "HTTPRoute"),
)
_RANKS = {kind: rank for rank, kinds in enumerate(_KINDS_IN_ORDER) for kind in kinds}
_RANK_OF_OTHERS = _KINDS_IN_ORDER.index(())
_SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_FIELDS_TOLD = 20


@dataclass(frozen=True, slots=True)
class Ownership:
    """A field that a step takes from another field manager."""

    field: str
    manager: str


@dataclass(frozen=True, slots=True)
class Step:
    """One object that is not as it should be.

    Attributes:
        live: the object as it was read; None where it is absent.
        target: what it will be; None where it is deleted.
        fields: what differs between the two; nothing where only the ownership does, or one of the two is absent.
        conflicts: fields of these that another field manager owns.
        owners: entries of managedFields that own the object again afterwards; None where the product keeps its own.
    """

    effect: Effect
    key: ObjectKey
    live: Manifest | None
    target: Manifest | None
    fields: tuple[FieldChange, ...] = ()
    conflicts: tuple[Ownership, ...] = ()
    owners: tuple[Manifest, ...] | None = None


Stage = tuple[Step, ...]
"""Steps that are carried out at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does in a cluster: close before open.

    Attributes:
        closing: stages of what ends, in order.
        opening: stages of what begins or is put right, in order.
        foreign: what others did inside the windows, by activation.
    """

    closing: tuple[Stage, ...] = ()
    opening: tuple[Stage, ...] = ()
    foreign: Mapping[str, tuple[ForeignChange, ...]] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return tuple(step for stage in (*self.closing, *self.opening) for step in stage)


def opening_stages(items: Iterable[InventoryObject], live: Mapping[ObjectKey, Manifest | None]) -> tuple[Stage, ...]:
    """What brings objects into their emergency state: grants by what needs what, removed protections last.

    A kill in between leaves the tighter state.

    Args:
        live: the objects as they are, by key.
    """
    steps = [step for item in items if (step := _opening(item, live[item.key])) is not None]
    written = sorted((step for step in steps if step.target is not None), key=_order)
    removed = tuple(step for step in steps if step.target is None)
    return (*_grouped(written), *((removed,) if removed else ()))


def closing_stages(items: Iterable[InventoryObject], live: Mapping[ObjectKey, Manifest | None]) -> tuple[Stage, ...]:
    """What brings objects back: protections are restored first, then what was added goes, routes and grants first."""
    steps = [step for item in items if (step := _closing(item, live[item.key])) is not None]
    restored = sorted((step for step in steps if step.target is not None), key=_order)
    removed = sorted((step for step in steps if step.target is None), key=_order)
    return (*_grouped(restored), *reversed(_grouped(removed)))


def _opening(item: InventoryObject, live: Manifest | None) -> Step | None:
    if item.emergency is None:
        return None if live is None else Step("removed", item.key, live, None)
    effect: Effect = "added" if item.baseline is None else "changed"
    if live is None:
        return Step(effect, item.key, None, item.emergency)
    fields = (*changes(live, item.emergency), *no_longer_wanted(live, item.emergency))
    if not fields and is_ours(live):
        return None
    return Step(effect, item.key, live, item.emergency, fields, _conflicts(live, fields))


def _closing(item: InventoryObject, live: Manifest | None) -> Step | None:
    if item.baseline is None:
        return None if live is None else Step("removed", item.key, live, None)
    former = tuple(item.owners)
    if live is None:
        return Step("restored", item.key, None, item.baseline, owners=former)
    fields = changes(live, item.baseline)
    if item.emergency is not None:
        fields += leftovers(live, item.emergency, item.baseline)
    if not fields and not is_ours(live):
        return None
    return Step("restored", item.key, live, item.baseline, fields, owners=former)


def _conflicts(live: Manifest, fields: Iterable[FieldChange]) -> tuple[Ownership, ...]:
    return tuple(Ownership(change.place, manager) for change in fields for manager in owners(live, change))


def _order(step: Step) -> tuple[int, bool]:
    return _RANKS.get(step.key.kind, _RANK_OF_OTHERS), not _only_denies(step.target or step.live or {})


def _only_denies(manifest: Manifest) -> bool:
    """Whether it is a NetworkPolicy that isolates and lets nothing through: it comes before those that allow."""
    spec = manifest.get("spec") or {}
    return manifest.get("kind") == "NetworkPolicy" and not spec.get("ingress") and not spec.get("egress")


def _grouped(ordered: Iterable[Step]) -> tuple[Stage, ...]:
    return tuple(tuple(group) for _, group in groupby(ordered, key=_order))


def foreign_changes(inventory: Inventory, live: Mapping[ObjectKey, Manifest | None]) -> tuple[ForeignChange, ...]:
    """What others did to the objects of an open activation since its window began.

    Args:
        live: the objects as they are, by key.
    """
    found = [change for item in inventory.objects for change in _foreign(item, live[item.key], inventory)]
    return tuple(found)


def _foreign(item: InventoryObject, live: Manifest | None, inventory: Inventory) -> list[ForeignChange]:
    if live is None:
        deleted = item.emergency is not None and inventory.phase == "open"
        return [ForeignChange(object=str(item.key), what="deleted")] if deleted else []
    if item.emergency is None and inventory.phase != "open":
        return []
    what: Literal["created", "changed"] = "created" if item.emergency is None else "changed"
    return [
        ForeignChange(
            object=str(item.key),
            what=what,
            by=str(entry.get("manager"))[:200],
            at=changed_at(entry),
            fields=sorted(".".join(path) for path in paths(entry))[:_FIELDS_TOLD],
            live=without_server_fields(live),
        )
        for entry in changed_since(live, inventory.openedAt)
        if not any(_same_write(entry, former) for former in item.owners)
    ]


def _same_write(entry: Manifest, former: Manifest) -> bool:
    """Whether an entry of managedFields is one that the opening found."""
    return all(entry.get(name) == former.get(name) for name in ("manager", "operation", "time"))


def without_server_fields(live: Manifest) -> dict[str, object]:
    """An object as somebody would write it: without status and what the API server keeps of it."""
    metadata = {name: value for name, value in live["metadata"].items() if name not in _SERVER_FIELDS}
    return {**{name: value for name, value in live.items() if name != "status"}, "metadata": metadata}
