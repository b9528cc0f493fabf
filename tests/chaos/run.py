"""One run: a scenario played on a real API server, and what of the laws did not hold."""

from __future__ import annotations

import copy
import itertools
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

from breakglass.adapters import kubernetes_inventory
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.lifecycle import apply as applying
from breakglass.lifecycle.agent import close_expired
from breakglass.lifecycle.main import Main
from breakglass.lifecycle.windows import Window
from breakglass.model.errors import BreakglassError, NotFound, Refused
from breakglass.model.finding import Finding
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, key_of
from breakglass.model.time import format_instant
from chaos.scenario import CLUSTER, OVERLAYS, Event, Object, Scenario, base_files, moved
from chaos.wire import ApiServer, Trouble, connected
from laws.world import World
from ports.clock import SettableClock
from ports.writes import Killed

PLURALS = {
    ("", "ConfigMap"): "/api/v1/namespaces/{}/configmaps",
    ("networking.k8s.io", "NetworkPolicy"): "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    ("rbac.authorization.k8s.io", "Role"): "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
}
BEGIN = datetime(2100, 1, 1, 2, 13, tzinfo=UTC)
"""Ahead of every API server's own clock, so that what was there before is older than every window."""
FOR_EVER = timedelta(hours=12)
SOMEBODY, FINALIZER = "somebody", "example.com/hold"
_KEPT = ("name", "namespace", "labels", "annotations")
_OWN = "metadata.name!=kube-root-ca.crt"

T = TypeVar("T")
State = Mapping[ObjectKey, Object]


@dataclass
class Result:
    """What a run showed.

    Attributes:
        problems: what of the laws did not hold.
        story: what happened, for people.
        seen: how often what happened, so that many runs can tell whether they showed anything.
    """

    seed: int
    problems: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


class UnheldMain(Main):
    """Main whose overlays promise nothing that is held: random objects keep no contract."""

    def promise(self, window: Window, cluster: str) -> tuple[Finding, ...]:
        """Nothing is broken."""
        del window, cluster
        return ()


class AnyContract(World):
    """A world of overlays whose contracts nobody holds them to; writing is what is tried here."""

    def main(self) -> Main:
        """Main, not fetched yet."""
        found = super().main()
        return UnheldMain(
            found.repository, found.forge, found.renderer, found.conditions, found.branch, found.ledger_branch
        )


@dataclass
class Run:
    """A scenario on an API server.

    Attributes:
        home: the baseline as the API server shows it.
        former: what it was before main moved on: what a window that began then returns to without main.
        foreign: objects of windows that somebody else wrote.
        contested: those of them that were written while a process was at work: it may have looked before.
        neighbours: objects of others, as they made them.
        held: objects that a finalizer keeps from going.
    """

    server: ApiServer
    scenario: Scenario
    namespaces: tuple[str, str]
    result: Result
    foreign: set[ObjectKey] = field(default_factory=set)
    contested: set[ObjectKey] = field(default_factory=set)
    neighbours: dict[ObjectKey, Object] = field(default_factory=dict)
    held: set[ObjectKey] = field(default_factory=set)
    depth: int = 0

    def __post_init__(self) -> None:
        self.clock = SettableClock(BEGIN)
        self.world = AnyContract(files=self.scenario.files, clock=self.clock)
        self.baseline = list(self.scenario.baseline)
        self.merged: list[str] = []
        self.numbers = itertools.count()
        self._drop_leases()
        for manifest in self.baseline:
            self.install(manifest)
        self.home = self.state()
        self.former: dict[ObjectKey, list[Object]] = {}

    def _drop_leases(self) -> None:
        """For speed: nobody has to wait for a writer that is dead."""
        self.server.call("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{self.server.space}/leases")

    def install(self, manifest: Object) -> None:
        """The team's own tool applies a baseline object."""
        query = {"fieldManager": "platform", "force": "true"}
        self.server.call(
            "PATCH", _path(key_of(manifest)), manifest, content_type="application/apply-patch+yaml", **query
        )

    def live(self) -> dict[ObjectKey, Object]:
        """All objects of this run, as the API server shows them."""
        found = {}
        for kind, path in PLURALS.items():
            listed = self.server.call("GET", path.replace("/namespaces/{}", ""), fieldSelector=_OWN)
            assert listed is not None
            for item in listed["items"] or ():
                namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
                if namespace in self.namespaces and name.endswith(self.scenario.suffix):
                    key = ObjectKey(*kind, namespace, name)
                    found[key] = {**item, "apiVersion": listed["apiVersion"], "kind": kind[1]}
        return found

    def state(self) -> dict[ObjectKey, Object]:
        """All objects in scope but the neighbours, without what the API server or somebody adds."""
        return {key: _plain(item) for key, item in self.live().items() if key not in self.neighbours}

    def inventories(self) -> list[Inventory]:
        listed = self.server.call("GET", f"/api/v1/namespaces/{self.server.space}/configmaps")
        assert listed is not None
        return [kubernetes_inventory.read(item) for item in listed["items"] if kubernetes_inventory.is_inventory(item)]

    def claims(self) -> dict[ObjectKey, Manifest | None]:
        """Objects of windows that are not closed, in their emergency state."""
        return {
            key: state for item in self.inventories() if item.phase != "closed" for key, state in item.claims.items()
        }

    # What happens.

    def happen(self, event: Event) -> None:
        """Let an event happen, and look whether everything is recorded."""
        self.tell(f"{event.name} at {self.clock.now():%H:%M}")
        dice = event.dice()
        acts: dict[str, Callable[[Random], object]] = {
            "open": self.open,
            "apply": self.apply,
            "agent": self.agent,
            "tick": self.tick,
            "foreign": self.interfere,
            "close early": self.close_early,
            "expire": lambda _: self.world.expire(),
            "move the baseline": self.move_baseline,
        }
        acts[event.name](dice)
        if event.name in ("apply", "agent"):
            self.check_records(event.name)

    def tell(self, line: str) -> None:
        self.result.story.append("  " * self.depth + line)

    def problem(self, sentence: str) -> None:
        self.result.problems.append(sentence)
        self.tell(f"BROKEN: {sentence}")

    def open(self, dice: Random) -> None:
        duration = timedelta(minutes=dice.choice([10, 20, 30]))
        overlay = dice.choice(OVERLAYS)
        try:
            activation, pull = self.world.ask(overlay, (CLUSTER,), duration)
        except Refused as error:
            self.tell(f"refused: {error}")
            return
        if dice.random() < 0.95:
            self.world.approve(pull)
        self.world.merge(pull)
        self.merged.append(activation.id)
        self.tell(f"merged {activation.id}, {duration}")

    def tick(self, dice: Random) -> None:
        self.clock.tick(timedelta(minutes=dice.choice([1, 5, 10, 25])))

    def apply(self, dice: Random | None) -> applying.Applied | None:
        """The applier runs once, and may meet trouble where there are dice."""

        def work(cluster: KubernetesCluster) -> applying.Applied:
            applier = replace(self.world.applier(CLUSTER), cluster=cluster, report=self.tell)
            return applying.apply(applier)

        applied = self.process("apply", work, dice)
        if applied is not None:
            self.result.seen["closed"] += len(applied.closed)
            self.result.seen["opened"] += len(applied.open)
            self.result.seen["refused"] += len(applied.refused)
            for line in (*applied.problems, *map(str, applied.refused.items())):
                self.tell(f"told: {line}")
        return applied

    def agent(self, dice: Random | None) -> object:
        """The agent looks once."""
        return self.process("agent", lambda cluster: close_expired(cluster, self.clock), dice)

    def process(self, name: str, work: Callable[[KubernetesCluster], T], dice: Random | None) -> T | None:
        """A process of the product, with new clients; None where it died or gave up."""
        trouble = self.trouble(dice) if dice is not None else Trouble(Random(0))
        with connected(self.server, self.clock, trouble) as (cluster, wire):
            try:
                done = work(cluster)
            except Killed:
                self.tell(f"{name} died")
                self.result.seen["deaths"] += 1
                done = None
            except BreakglassError as error:
                self.tell(f"{name} gave up: {error}")
                self.result.seen["gave up"] += 1
                done = None
            finally:
                self.world.writes.spare()
                self.result.seen += Counter(requests=wire.requests, faults=sum(" met " in line for line in wire.log))
                self.result.story += ["  " * self.depth + f"  {line}" for line in wire.log]
        if done is None:
            self._drop_leases()
        elif trouble.quiet:
            self.check_expiry(name)
        return done

    def trouble(self, dice: Random) -> Trouble:
        """What befalls a process."""
        kinds = {"none": 6, "kill": 6, "faults": 4, "denied": 3, "meanwhile": 4, "git": 1}
        (kind,) = dice.choices(list(kinds), list(kinds.values()))
        trouble = Trouble(Random(dice.getrandbits(32)), ahead=dice.choice([0, 0, 0, -3, 3, 60]))
        match kind:
            case "kill":
                trouble.kill = (dice.randint(1, 14), dice.choice(["before", "after"]))
            case "faults":
                trouble.chance = dice.choice([0.02, 0.1, 0.3, 0.7])
            case "denied":
                trouble.denied = dice.choice(["configmaps", "networkpolicies", "roles"])
            case "meanwhile":
                acts = [self.tick, self.interfere, self.interfere, self.interlope, self.agent, self.apply]
                act, its_dice = dice.choice(acts), Random(dice.getrandbits(32))
                trouble.meanwhile = (dice.randint(1, 40), partial(self.meanwhile, act, its_dice))
            case "git":
                self.world.writes.kill(dice.randint(1, 3), dice.choice(["before", "after"]))
        self.tell(f"trouble: {kind}{' ' + str(trouble.kill) if trouble.kill else ''} {trouble.ahead:+} s")
        return trouble

    def meanwhile(self, act: Callable[[Any], object], dice: Random) -> None:
        """Somebody acts between two requests of a process."""
        self.depth += 1
        self.result.seen["meanwhile"] += 1
        self.tell("meanwhile:")
        try:
            act(None if act in (self.agent, self.apply) else dice)
        finally:
            self.depth -= 1

    def interfere(self, dice: Random) -> None:
        """Somebody else writes an object of an open window."""
        claims = self.claims()
        if not claims or dice.random() < 0.1:
            self.interlope(dice)
            return
        key = dice.choice(sorted(claims))
        live = self.server.call("GET", _path(key))
        self.foreign.add(key)
        self.result.seen["foreign"] += 1
        if self.depth:
            self.contested.add(key)
        if live is None:
            wanted = claims[key] or next((item for item in self.baseline if key_of(item) == key), None)
            self.tell(f"somebody creates {key}")
            if wanted is not None:
                self.server.call("POST", _path(key).rpartition("/")[0], dict(wanted), fieldManager=SOMEBODY)
        elif dice.random() < 0.2:
            self.tell(f"somebody deletes {key}")
            self.server.call("DELETE", _path(key))
            return
        elif dice.random() < 0.2:
            self.tell(f"somebody holds {key}")
            self._finalize(key, FINALIZER)
            self.held.add(key)
            return
        else:
            change = _foreign_change(dice, key, live)
            self.tell(f"somebody changes {key}: {change}")
            merge = "application/merge-patch+json"
            self.server.call("PATCH", _path(key), change, content_type=merge, fieldManager=SOMEBODY)
        self._date(key)

    def _finalize(self, key: ObjectKey, *finalizers: str) -> None:
        """Somebody's controller wants to see an object go first, or lets it go."""
        change = {"metadata": {"finalizers": list(finalizers)}}
        merge = "application/merge-patch+json"
        self.server.call("PATCH", _path(key), change, content_type=merge, fieldManager=SOMEBODY)

    def _date(self, key: ObjectKey) -> None:
        """Somebody wrote just now by the clock of the run, of which the API server does not know."""
        live = self.server.call("GET", _path(key))
        if live is None:
            return
        entries = copy.deepcopy(live["metadata"].get("managedFields", []))
        for entry in entries:
            if entry["manager"] == SOMEBODY:
                entry["time"] = format_instant(self.clock.now())
        patch = [{"op": "replace", "path": "/metadata/managedFields", "value": entries}]
        json_patch = "application/json-patch+json"
        self.server.call("PATCH", _path(key), patch, content_type=json_patch, fieldManager=SOMEBODY)

    def interlope(self, dice: Random) -> None:
        """Somebody else makes an object of their own."""
        name = f"neighbour-{next(self.numbers)}{self.scenario.suffix}"
        namespace = dice.choice(self.namespaces)
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}
        key = key_of(manifest)
        made = self.server.call("POST", _path(key).rpartition("/")[0], manifest, fieldManager=SOMEBODY)
        assert made is not None
        self.neighbours[key] = made["metadata"]

    def close_early(self, dice: Random) -> None:
        there = sorted(self.world.on_main())
        if not there:
            return
        identity = dice.choice(there)
        try:
            self.world.close_early(identity)
        except NotFound as error:
            self.tell(f"not closed early: {error}")
        self.world.expire()

    def move_baseline(self, dice: Random) -> None:
        """Main's baseline changes; the team's tool follows, but for what an open window holds."""
        number = dice.randrange(len(self.baseline))
        self.baseline[number] = moved(self.baseline[number])
        self.world.commit(base_files(self.baseline))
        key = key_of(self.baseline[number])
        self.former.setdefault(key, []).append(self.home[key])
        after = copy.deepcopy(self.home[key])
        after["metadata"]["annotations"] = self.baseline[number]["metadata"]["annotations"]
        self.home = {**self.home, key: after}
        if all(key not in item.claims for item in self.inventories()):
            self.install(self.baseline[number])

    # What has to hold.

    def check_records(self, when: str) -> None:
        """Law 5: what is not as the baseline has it, an inventory tells of."""
        found, told = self.state(), self.claims()
        for key in self.differing(found):
            if key not in told and key not in self.foreign and found.get(key) not in self.former.get(key, ()):
                self.problem(
                    f"after {when}: {key} is not as the baseline, and no inventory tells of it: {found.get(key)}"
                )

    def differing(self, found: State) -> list[ObjectKey]:
        """Objects that are not as the baseline has them."""
        return [key for key in sorted(found.keys() | self.home.keys()) if found.get(key) != self.home.get(key)]

    def check_expiry(self, who: str) -> None:
        """Law 1: nothing is open after its expiry, once somebody looked."""
        now = self.clock.now()
        late = [item.activation for item in self.inventories() if item.phase != "closed" and item.expired(now)]
        if late and not self.contested and not self.held:
            self.problem(f"{who} left {late} open after the expiry")

    def end(self) -> None:
        """All is over: the agent alone brings the baseline back, the applier records it, and nothing is left."""
        self.tell("the end")
        self.clock.tick(FOR_EVER)
        dice = Random(self.scenario.seed)
        for act in (self.agent, self.apply):
            act(dice)
            self.check_records("a closing in trouble")
        for key in self.held:
            self._finalize(key)
        self.held.clear()
        self.agent(None)
        found = self.state()
        for key in self.differing(found):
            if not self.may_differ(key) and found.get(key) not in self.former.get(key, ()):
                self.problem(f"the agent alone leaves {key} as {found.get(key)} instead of {self.home.get(key)}")
        self.world.expire()
        applied = self.apply(None)
        if applied is None or applied.problems:
            applied = self.apply(None)
        if applied is None or applied.problems:
            self.problem(f"the applier does not converge: {applied and applied.problems}")
        self._check_cluster()
        self._check_ledger()

    def may_differ(self, key: ObjectKey) -> bool:
        """Whether the last word on an object is somebody else's: written in between, or kept because policy says so."""
        return key in self.contested or (
            key in self.foreign and b'"closing": "keep"' in self.scenario.files["breakglass.yaml"]
        )

    def _check_cluster(self) -> None:
        live = self.live()
        found = {key: _plain(item) for key, item in live.items() if key not in self.neighbours}
        for key in self.differing(found):
            if not self.may_differ(key):
                self.problem(f"in the end {key} is {found.get(key)} instead of {self.home.get(key)}")
        for key, item in live.items():
            metadata = item["metadata"]
            if any(entry["manager"] == "breakglass" for entry in metadata.get("managedFields", [])):
                self.problem(f"in the end fields of {key} are still ours")
            if ACTIVATION_LABEL in metadata.get("labels", {}):
                self.problem(f"in the end {key} carries the label of {metadata['labels'][ACTIVATION_LABEL]}")
        for key, made in self.neighbours.items():
            now = live.get(key, {"metadata": {}})["metadata"]
            if any(now.get(name) != made[name] for name in ("uid", "resourceVersion")):
                self.problem(f"{key} of somebody else was touched")
        if left := [item.activation for item in self.inventories()]:
            self.problem(f"in the end there are inventories of {left}")

    def _check_ledger(self) -> None:
        ledger = self.world.ledger()
        for identity in self.merged:
            ends = {f"activations/{identity}/{CLUSTER}/{end}.json" for end in ("closed", "refused")}
            if not ends & ledger.keys():
                self.problem(f"the ledger does not tell how {identity} ended")
        if left := self.world.on_main():
            self.problem(f"main still holds {sorted(left)}")


def clean(server: ApiServer, namespaces: tuple[str, str]) -> None:
    """Delete what earlier runs left."""
    for namespace, path in itertools.product(namespaces, PLURALS.values()):
        server.call("DELETE", path.format(namespace), fieldSelector=_OWN)
    server.call("DELETE", f"/api/v1/namespaces/{server.space}/configmaps", fieldSelector=_OWN)


def play(server: ApiServer, scenario: Scenario, namespaces: tuple[str, str]) -> Result:
    """Play a scenario from its beginning to its end."""
    result = Result(scenario.seed)
    try:
        run = Run(server, scenario, namespaces, result)
        for event in scenario.events:
            run.happen(event)
        run.end()
    except Exception:  # noqa: BLE001 - whatever it is, the seed has to be told
        result.problems.append(f"crashed: {traceback.format_exc()}")
    return result


def _path(key: ObjectKey) -> str:
    return f"{PLURALS[key.group, key.kind].format(key.namespace)}/{key.name}"


def _plain(item: Object) -> Object:
    """An object without what the API server keeps of it, and without what somebody left that nobody else minds."""
    metadata = {name: copy.deepcopy(item["metadata"][name]) for name in _KEPT if item["metadata"].get(name)}
    metadata.get("annotations", {}).pop(SOMEBODY, None)
    if not metadata.get("annotations", True):
        del metadata["annotations"]
    return {**item, "metadata": metadata}


def _foreign_change(dice: Random, key: ObjectKey, live: Object) -> Object:
    """A merge patch as somebody in a hurry makes it."""
    (kind,) = dice.choices(["value", "annotation", "label"], [5, 2, 2])
    if kind == "annotation":
        return {"metadata": {"annotations": {SOMEBODY: "was here"}}}
    if kind == "label" and ACTIVATION_LABEL in live["metadata"].get("labels", {}):
        return {"metadata": {"labels": {ACTIVATION_LABEL: None}}}
    match key.kind:
        case "ConfigMap":
            return {"data": dict.fromkeys(list(live.get("data", {}))[:1], SOMEBODY)}
        case "Role":
            return {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
        case _:
            return {"spec": {"podSelector": {"matchLabels": {"app": SOMEBODY}}}}
