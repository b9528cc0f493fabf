"""The sweep: the applier deletes the residue that main lists, each object by its uid, and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from breakglass.lifecycle.content import read_overlay, read_policy
from breakglass.lifecycle.windows import Window
from breakglass.model.digest import json_digest
from breakglass.model.document import read
from breakglass.model.errors import BreakglassError, Refused
from breakglass.model.ledger import Event, Swept, event_path
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.residue import RESIDUE, Residue, ResidueObject, residue_file
from breakglass.model.resource import plural_of
from breakglass.ports import Clock, Cluster, Report, Repository


@dataclass(frozen=True, slots=True)
class Sweeper:
    """What a sweep works with.

    Attributes:
        name: the cluster's name in the policy.
        commit: the commit of main whose residue files count.
        history: every window of that commit.
        baseline: gives the cluster's baseline at that commit.
        dry_run: tell what would be deleted, and delete nothing.
    """

    name: str
    cluster: Cluster
    repository: Repository
    clock: Clock
    commit: str
    history: Sequence[Window]
    baseline: Callable[[], Iterable[Manifest]]
    report: Report
    dry_run: bool = False


@dataclass(slots=True)
class Sweep:
    """What a sweep did.

    Attributes:
        deleted: objects that this run deleted, or would.
        events: for the ledger, by path: one for every file of which nothing is left to do here.
        problems: what is left, and what a person does about it.
    """

    deleted: list[ObjectKey] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def sweep(sweeper: Sweeper, told: Collection[str]) -> Sweep:
    """Delete what the residue files of a commit of main list for a cluster; idempotent.

    An object is deleted only with the uid that is listed, only of a kind that the policy allows, only in a namespace of
    the overlay that left it (and of the policy, where that names some), and never where the baseline holds it by now.
    What is outside of that stays, and is a problem with the command that deletes it. A file whose sweep the ledger
    tells already costs nothing.

    Args:
        told: paths that the ledger holds.

    Raises:
        Refused: a residue file is a symlink, or the baseline cannot be rendered.
    """
    done = Sweep()
    for path, content in sorted(sweeper.repository.files(sweeper.commit, RESIDUE).items()):
        if not path.endswith(".yaml"):
            continue
        try:
            _sweep_file(sweeper, done, path, content, told)
        except Refused as error:
            done.problems.append(f"residue is not swept: {error}")
    return done


def _sweep_file(sweeper: Sweeper, done: Sweep, path: str, content: bytes, told: Collection[str]) -> None:
    listed = read(content, path, Residue)
    if path != residue_file(listed.activation):
        raise Refused(f"metadata.name is {listed.activation}, which does not fit the file's name", where=path)
    here = [item for item in listed.spec.delete if item.cluster == sweeper.name]
    digest = json_digest([item.model_dump(mode="json") for item in here])
    event = Swept(activation=listed.activation, cluster=sweeper.name, digest=digest, sweptAt=sweeper.clock.now())
    if not here or event_path(event) in told:
        return
    reach = reach_of(sweeper.repository, sweeper.commit, sweeper.history, listed.activation)
    baseline = {key_of(manifest) for manifest in sweeper.baseline()}
    absent, kept, problems = [], [], []
    for item in here:
        if item.key in baseline:
            kept.append(str(item.key))
        elif (problem := _settle(sweeper, done, item, reach)) is not None:
            problems.append(problem)
        else:
            absent.append(str(item.key))
    done.problems += problems
    if not problems:
        done.events[event_path(event)] = event.model_copy(update={"absent": absent, "kept": kept})


def _settle(sweeper: Sweeper, done: Sweep, item: ResidueObject, reach: Reach) -> str | None:
    """Delete one object; why it may still be there, and what to do, where it is not known to be gone."""
    key = item.key
    try:
        live = sweeper.cluster.get([key])[key]
        if live is None or live["metadata"].get("uid") != item.uid:
            return None
        if not reach.covers(key):
            version = str(live["apiVersion"])
            return f"{key} is left: {reach.told(key)}; run: {command(key, item.uid, version)}"
        if not sweeper.dry_run:
            sweeper.cluster.delete([live])
    except Refused as error:
        return f"{key} is left: {error}; delete it by hand, then take it out of {RESIDUE}"
    except BreakglassError as error:
        return f"{key} is left, the next run tries again: {error}"
    done.deleted.append(key)
    if not sweeper.dry_run:
        sweeper.report(f"deleted {key}, residue of an emergency ({item.evidence})")
    return None


@dataclass(frozen=True, slots=True)
class Reach:
    """What the applier may delete of an activation's residue.

    Attributes:
        kinds: as the policy writes them.
        namespaces: of the overlay; and of the policy, where that names some.
    """

    kinds: frozenset[str]
    namespaces: frozenset[str]

    def covers(self, key: ObjectKey) -> bool:
        """Whether an object is within it."""
        return key.kind_name in self.kinds and key.namespace in self.namespaces

    def told(self, key: ObjectKey) -> str:
        """Why an object is not within it."""
        where = f"in the namespace {key.namespace}" if key.namespace else "in the whole cluster"
        return f"the applier deletes no {key.kind_name} {where}"


def reach_of(repository: Repository, commit: str, history: Iterable[Window], activation_id: str) -> Reach:
    """What the applier may delete of an activation's residue, by the policy of a commit of main.

    Raises:
        Refused: the activation never reached main, or cannot be read.
    """
    window = next((window for window in history if window.id == activation_id), None)
    if window is None or window.activation is None:
        raise Refused(f"no activation {activation_id} that can be read ever reached main", where=RESIDUE)
    policy = read_policy(repository, commit).spec
    scope = read_overlay(repository, window.opened.sha, window.activation.spec.overlay).overlay.spec.scope
    namespaces = frozenset(scope.namespaces)
    allowed = namespaces if policy.namespaces is None else namespaces & frozenset(policy.namespaces)
    return Reach(frozenset(policy.kinds), allowed)


def command(key: ObjectKey, uid: str, api_version: str) -> str:
    """The kubectl command that deletes exactly this object: the API server refuses another uid."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"/namespaces/{key.namespace}" if key.namespace else ""
    options = json.dumps({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}})
    path = f"{root}{place}/{plural_of(key.kind)}/{key.name}"
    return f"echo {shlex.quote(options)} | kubectl delete --raw {shlex.quote(path)} --filename -"
