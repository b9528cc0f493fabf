"""The plan: what is to be written in a cluster, as data, from what is there and what should be there.

`apply` carries out exactly what is planned here, and `plan` prints it. A plan of nothing is the proof that all is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Literal

from breakglass.model.inventory import ForeignChange, Inventory, InventoryObject
from breakglass.model.managed_fields import (
    FieldChange,
    additions,
    changed_at,
    changed_since,
    changes,
    differences,
    is_ours,
    is_same_write,
    is_shared,
    leftovers,
    no_longer_wanted,
    owners,
    paths,
    without_server_fields,
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


DELETION = ("metadata", "deletionTimestamp")
"""The field by which an object is on its way out."""

Stage = tuple[Step, ...]
"""Steps that are carried out at once."""
Live = Mapping[ObjectKey, Manifest | None]
"""Objects as they were read; None is observed absence."""
Answers = Mapping[ObjectKey, Manifest]
"""What the API server would make of an object, by a server-side dry run."""


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


def opening_stages(items: Iterable[InventoryObject], live: Live, answers: Answers) -> tuple[Stage, ...]:
    """What brings objects into their emergency state: grants by what needs what, removed protections last.

    A kill in between leaves the tighter state.

    Args:
        live: the objects as they are, by key.
        answers: what the API server would make of those that `doubtful_opening` names.
    """
    steps = [step for item in items if (step := _opening(item, live[item.key], answers.get(item.key))) is not None]
    written = sorted((step for step in steps if step.target is not None), key=_order)
    removed = tuple(step for step in steps if step.target is None)
    return (*_grouped(written), *((removed,) if removed else ()))


def closing_stages(
    items: Iterable[InventoryObject], live: Live, answers: Answers, since: datetime
) -> tuple[Stage, ...]:
    """What brings objects back: protections are restored first, then what was added goes, routes and grants first.

    Args:
        live: the objects as they are, by key.
        answers: what the API server would make of those that `doubtful_closing` names.
        since: when the first of the windows began, aware UTC: what others added to an object from then on goes.
    """
    steps = [step for item in items if (step := _closing(item, live[item.key], answers.get(item.key), since))]
    restored = sorted((step for step in steps if step.target is not None), key=_order)
    removed = sorted((step for step in steps if step.target is None), key=_order)
    return (*_grouped(restored), *reversed(_grouped(removed)))


def doubtful_opening(items: Iterable[InventoryObject], live: Live) -> list[Manifest]:
    """Emergency states of which only a server-side dry run can tell whether they are there.

    The API server writes some values in its own way, and takes some maps for one value: then what somebody else put
    into it is a difference that the two objects do not show
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy).
    """
    return [
        item.emergency
        for item in items
        if item.emergency is not None and (found := live[item.key]) is not None and is_ours(found)
        if is_shared(found) or changes(found, item.emergency)
    ]


def doubtful_closing(items: Iterable[InventoryObject], live: Live) -> list[Manifest]:
    """Baseline states of which only a server-side dry run can tell whether they are back; one that is ours is not."""
    return [
        item.baseline
        for item in items
        if item.baseline is not None and (found := live[item.key]) is not None and not is_ours(found)
    ]


def _opening(item: InventoryObject, live: Manifest | None, answer: Manifest | None) -> Step | None:
    if item.emergency is None:
        return None if live is None else Step("removed", item.key, live, None)
    effect: Effect = "added" if item.baseline is None else "changed"
    if live is None:
        return Step(effect, item.key, None, item.emergency)
    if answer is None:
        fields = (*changes(live, item.emergency), *no_longer_wanted(live, item.emergency))
    else:
        fields = differences(live, answer)
    fields += _deletion(live)
    if not fields and is_ours(live):
        return None
    return Step(effect, item.key, live, item.emergency, fields, _conflicts(live, fields))


def _closing(item: InventoryObject, live: Manifest | None, answer: Manifest | None, since: datetime) -> Step | None:
    if item.baseline is None:
        return None if live is None else Step("removed", item.key, live, None)
    former = tuple(item.owners)
    if live is None:
        return Step("restored", item.key, None, item.baseline, owners=former)
    fields = list(changes(live, item.baseline) if answer is None else differences(live, answer))
    fields += leftovers(live, item.emergency, item.baseline) if item.emergency is not None else ()
    fields += (*additions(live, item.baseline, since, former), *_deletion(live))
    if not fields and not is_ours(live):
        return None
    once = tuple({change.path: change for change in fields}.values())
    return Step("restored", item.key, live, item.baseline, once, owners=former)


def _deletion(live: Manifest) -> tuple[FieldChange, ...]:
    """An object that is being deleted is not there: it goes when its finalizers do, whatever is written to it."""
    at = live["metadata"].get("deletionTimestamp")
    return (FieldChange(DELETION, at, None),) if at else ()


def _conflicts(live: Manifest, fields: Iterable[FieldChange]) -> tuple[Ownership, ...]:
    return tuple(Ownership(change.place, manager) for change in fields for manager in owners(live, change))


def _order(step: Step) -> tuple[int, bool]:
    return _RANKS.get(step.key.kind, _RANK_OF_OTHERS), not _only_denies(step.target or step.live or {})


def _only_denies(manifest: Manifest) -> bool:
    """Whether it is a NetworkPolicy that isolates and lets nothing through: it comes before those that allow."""
    spec = manifest.get("spec") or {}
    return manifest.get("kind") == "NetworkPolicy" and not spec.get("ingress") and not spec.get("egress")


def sentences(stages: Iterable[Stage]) -> dict[ObjectKey, str]:
    """What a closing plan still has to do, in words, by object."""
    return {step.key: _sentence(step) for stage in stages for step in stage}


def _sentence(step: Step) -> str:
    if step.target is None:
        return f"{step.key} is still there"
    if step.live is None:
        return f"{step.key} is missing"
    if any(change.path == DELETION for change in step.fields):
        finalizers = ", ".join(map(str, step.live["metadata"].get("finalizers") or ())) or "nothing any more"
        return f"{step.key} is being deleted, held by {finalizers}"
    if not step.fields:
        return f"{step.key} is as it should be, and breakglass owns it still"
    others = sorted({manager for change in step.fields for manager in owners(step.live, change)})
    told = f" ({', '.join(others)})" if others else ""
    return f"{step.key} differs in {', '.join(change.place for change in step.fields)}{told}"


def _grouped(ordered: Iterable[Step]) -> tuple[Stage, ...]:
    return tuple(tuple(group) for _, group in groupby(ordered, key=_order))


def foreign_changes(inventory: Inventory, live: Live) -> tuple[ForeignChange, ...]:
    """What others did to the objects of an open activation since its window began.

    Args:
        live: the objects as they are, by key; what is missing here cannot be read.
    """
    readable = (item for item in inventory.objects if item.key in live)
    return tuple(change for item in readable for change in _foreign(item, live[item.key], inventory))


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
        if not is_same_write(entry, item.owners)
    ]
