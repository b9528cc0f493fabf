"""The reconciler: the plan that is carried out, one writer, clocks that agree, and what others do inside a window."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from breakglass.lifecycle.apply import Planned, apply, plan
from breakglass.lifecycle.closing import close
from breakglass.lifecycle.cut import cut_once
from breakglass.lifecycle.opening import LARGEST_SKEW, WRITER
from breakglass.model.errors import NotApplied, Refused
from breakglass.model.inventory import ForeignChange, InventoryObject
from breakglass.model.ledger import Closed, read_event
from breakglass.model.manifest import ACTIVATION_LABEL, ObjectKey, key_of
from laws import example
from laws.world import HALF_HOUR, World
from ports.cluster import InMemoryCluster, LeaseRecord

METRICS, DENY = key_of(example.METRICS), key_of(example.DEFAULT_DENY)
POLICY = "breakglass.yaml"


@pytest.fixture
def world() -> World:
    return World()


def with_conflicts(**conflicts: str) -> World:
    """A world whose policy says so."""
    policy = example.policy()
    policy["spec"]["conflicts"] = conflicts
    files = {**example.files(), POLICY: json.dumps(policy).encode()}
    return World(files=files)


def opened(world: World, overlay: str = "db-from-bastion") -> str:
    """An activation that is open in prod-eu; its id."""
    activation = world.open(overlay)
    assert world.apply("prod-eu").problems == []
    return activation.id


def added(identity: str) -> ObjectKey:
    return ObjectKey("networking.k8s.io", "NetworkPolicy", "data", f"postgres-from-bastion-{identity}")


def closed_event(world: World, identity: str) -> Closed:
    path = f"activations/{identity}/prod-eu/closed.json"
    event = read_event(world.ledger()[path], path)
    assert isinstance(event, Closed)
    return event


def planned(world: World) -> Planned:
    return plan(world.applier("prod-eu"))


def told(plans: Planned, identity: str) -> tuple[ForeignChange, ...]:
    return next(each.foreign[identity] for each in plans.plans if identity in each.foreign)


def object_writes(world: World) -> Iterator[tuple[str, ObjectKey]]:
    for write in world.writes.log:
        if write.place == "prod-eu" and isinstance(write.subject, ObjectKey):
            yield write.verb, write.subject


@pytest.mark.parametrize("overlay", example.OVERLAYS)
def test_apply_writes_what_plan_says_and_then_there_is_nothing_to_plan(world: World, overlay: str) -> None:
    world.open(overlay)
    steps = [step for each in planned(world).plans for step in each.steps]
    assert steps
    assert list(object_writes(world)) == [], "a plan writes nothing"
    assert world.apply("prod-eu").problems == []
    verbs = {"added": "apply", "changed": "apply", "removed": "delete"}
    assert [(verbs[step.effect], step.key) for step in steps] == list(object_writes(world))
    assert [step for each in planned(world).plans for step in each.steps] == []


def test_plan_tells_each_field_and_whose_it_is(world: World) -> None:
    world.open("widen-metrics")
    (step,) = (step for each in planned(world).plans for step in each.steps)
    assert (step.effect, step.key) == ("changed", METRICS)
    assert {change.place for change in step.fields} == {"metadata.annotations.widened", "spec.ingress"}
    assert [(conflict.field, conflict.manager) for conflict in step.conflicts] == [("spec.ingress", "platform")]


def test_plan_closes_what_is_over_before_it_opens(world: World) -> None:
    over = opened(world, "widen-metrics")
    world.clock.tick(HALF_HOUR)
    next_one = world.open("db-from-bastion")
    found = planned(world)
    assert found.closing == {over: "expired"}
    assert found.opening == [next_one.id]
    assert [step.effect for each in found.plans for step in each.steps] == ["restored", "added"]


def test_a_second_apply_writes_nothing(world: World) -> None:
    for overlay in example.OVERLAYS:
        opened(world, overlay)
    before = list(object_writes(world))
    assert world.apply("prod-eu").problems == []
    assert list(object_writes(world)) == before


def test_who_owned_a_field_before_owns_it_after(world: World) -> None:
    server = world.servers["prod-eu"]
    before = copy.deepcopy(server.objects[METRICS].managers)
    opened(world, "widen-metrics")
    assert server.objects[METRICS].managers != before
    world.clock.tick(HALF_HOUR)
    world.apply("prod-eu")
    assert server.objects[METRICS].managers == before


def test_another_writer_keeps_from_opening_and_not_from_closing(world: World) -> None:
    over = opened(world, "lift-isolation")
    world.clock.tick(HALF_HOUR)
    waiting = world.open("db-from-bastion")
    server = world.servers["prod-eu"]
    server.leases[WRITER] = LeaseRecord("another", world.clock.now(), world.writes.deaths)
    applied = world.apply("prod-eu")
    assert [item.activation for item in applied.closed] == [over]
    assert applied.open == []
    assert any("another holds" in problem for problem in applied.problems)
    assert server.leases[WRITER].holder == "another", "nobody takes a Lease from one who lives"
    del server.leases[WRITER]
    assert [item.activation for item in world.apply("prod-eu").open] == [waiting.id]


def test_a_stolen_lease_stops_the_writer_before_its_next_write(world: World) -> None:
    world.open("db-from-bastion")
    server = world.servers["prod-eu"]

    def steal() -> None:
        server.leases[WRITER] = LeaseRecord("thief", world.clock.now(), world.writes.deaths)

    world.writes.meanwhile("write inventory", steal)
    applied = world.apply("prod-eu")
    assert applied.open == []
    assert applied.problems
    assert list(object_writes(world)) == []
    assert server.leases[WRITER].holder == "thief"


@pytest.mark.parametrize("way", [1, -1])
def test_clocks_that_disagree_open_nothing_and_close_all_the_same(world: World, way: int) -> None:
    over = opened(world, "lift-isolation")
    world.clock.tick(HALF_HOUR)
    world.open("db-from-bastion")
    world.servers["prod-eu"].skew = way * (LARGEST_SKEW + timedelta(seconds=1))
    applied = world.apply("prod-eu")
    assert [item.activation for item in applied.closed] == [over]
    assert applied.open == []
    assert any("clock is 11 s" in problem for problem in applied.problems)
    world.servers["prod-eu"].skew = way * LARGEST_SKEW
    assert len(world.apply("prod-eu").open) == 1


def foreign(world: World, key: ObjectKey, manager: str = "kubectl-edit", **spec: Any) -> None:
    """Somebody edits a live object inside the window."""
    world.clock.tick(timedelta(minutes=1))
    live = world.servers["prod-eu"].state()[key]
    world.servers["prod-eu"].install([{**live, "spec": {**live["spec"], **spec}}], manager)


def test_what_others_changed_in_an_added_object_goes_with_it_and_is_on_the_ledger(world: World) -> None:
    identity = opened(world)
    foreign(world, added(identity), ingress=[{}])
    world.clock.tick(HALF_HOUR)
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")
    (change,) = closed_event(world, identity).foreign
    assert (change.what, change.by, change.object) == ("changed", "kubectl-edit", str(added(identity)))
    assert change.live is not None
    assert change.live["spec"]["ingress"] == [{}]


def test_what_others_did_inside_the_window_is_told_while_it_lasts(world: World) -> None:
    identity = opened(world)
    foreign(world, added(identity), ingress=[{}])
    assert [change.by for change in told(planned(world), identity)] == ["kubectl-edit"]
    (inventory,) = world.apply("prod-eu").open
    assert [change.by for change in inventory.foreign] == ["kubectl-edit"]
    live = world.servers["prod-eu"].state()[added(identity)]
    assert live["spec"]["ingress"] != [{}], "what was approved is there again"


def test_a_deleted_object_is_told_and_there_again(world: World) -> None:
    identity = opened(world)
    del world.servers["prod-eu"].objects[added(identity)]
    (inventory,) = world.apply("prod-eu").open
    assert [change.what for change in inventory.foreign] == ["deleted"]
    assert added(identity) in world.servers["prod-eu"].objects


def test_the_agent_keeps_what_others_changed_until_the_ledger_has_it(world: World) -> None:
    identity = opened(world, "widen-metrics")
    foreign(world, METRICS, ingress=[{}])
    world.clock.tick(HALF_HOUR)
    world.agent("prod-eu")
    assert world.is_baseline("prod-eu")
    assert world.apply("prod-eu").problems == []
    (change,) = closed_event(world, identity).foreign
    assert change.live is not None
    assert change.live["spec"]["ingress"] == [{}]


@pytest.mark.parametrize("closer", ["agent", "applier"])
def test_a_policy_that_keeps_leaves_their_change_and_says_so(closer: str) -> None:
    world = with_conflicts(closing="keep")
    identity = opened(world, "widen-metrics")
    foreign(world, METRICS, ingress=[{}])
    world.clock.tick(HALF_HOUR)
    if closer == "agent":
        world.agent("prod-eu")
    assert world.apply("prod-eu").problems == []
    assert world.servers["prod-eu"].state()[METRICS]["spec"]["ingress"] == [{}]
    assert closed_event(world, identity).kept == [str(METRICS)]
    assert world.servers["prod-eu"].managed(METRICS) == set()


def test_a_policy_that_keeps_deletes_what_was_added_all_the_same() -> None:
    world = with_conflicts(closing="keep")
    identity = opened(world)
    foreign(world, added(identity), ingress=[{}])
    world.clock.tick(HALF_HOUR)
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")


def test_a_policy_that_takes_nothing_refuses_and_names_the_owner() -> None:
    world = with_conflicts(opening="refuse")
    activation = world.open("widen-metrics")
    applied = world.apply("prod-eu")
    assert "spec.ingress (platform)" in applied.refused[activation.id][0].message
    assert world.is_baseline("prod-eu")
    assert world.inventories("prod-eu") == {}


def test_what_another_owns_as_well_goes_all_the_same(world: World) -> None:
    opened(world, "widen-metrics")
    world.clock.tick(timedelta(minutes=1))
    live = world.servers["prod-eu"].state()[METRICS]
    world.servers["prod-eu"].install([live], "sticky")
    world.clock.tick(HALF_HOUR)
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")


@pytest.mark.parametrize("overlay", example.OVERLAYS)
@pytest.mark.parametrize("lost", ["deleted", "unreadable"])
def test_an_inventory_that_is_lost_is_rebuilt_from_git_to_close(world: World, overlay: str, lost: str) -> None:
    identity = opened(world, overlay)
    server = world.servers["prod-eu"]
    if lost == "deleted":
        del server.inventories[identity]
    else:
        server.store_inventory(identity, b"\x00")
    world.clock.tick(HALF_HOUR)
    found = planned(world)
    assert found.closing == {identity: "expired"}
    assert len([step for each in found.plans for step in each.steps]) == 1
    world.apply("prod-eu")
    assert world.is_baseline("prod-eu")
    assert world.apply("prod-eu").problems == []
    assert world.inventories("prod-eu") == {}
    assert closed_event(world, identity).baseline == "proven"


def test_objects_of_an_activation_that_nobody_records_are_planned_and_deleted(world: World) -> None:
    stray = copy.deepcopy(example.METRICS)
    stray["metadata"] = {"name": "stray", "namespace": "data", "labels": {ACTIVATION_LABEL: "2026-11-23-stray-0000"}}
    world.servers["prod-eu"].install([stray])
    assert [(step.effect, step.key) for each in planned(world).plans for step in each.steps] == [
        ("removed", key_of(stray))
    ]
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")


def test_an_unreadable_inventory_keeps_its_objects_until_it_is_over(world: World) -> None:
    identity = opened(world)
    world.servers["prod-eu"].store_inventory(identity, b"\x00")
    (problem,) = world.apply("prod-eu").problems
    assert "cannot be read" in problem
    assert added(identity) in world.servers["prod-eu"].objects


def test_objects_that_somebody_writes_all_the_time_are_deleted_in_the_end(world: World) -> None:
    identity = opened(world)
    cluster = InMemoryCluster(world.servers["prod-eu"])
    read = cluster.get

    def busy(keys: Any) -> Any:
        found = read(keys)
        if added(identity) in world.servers["prod-eu"].objects:
            foreign(world, added(identity), ingress=[{"n": str(world.clock.now())}])
        return found

    cluster.get = busy  # type: ignore[method-assign]
    world.clock.tick(HALF_HOUR)
    assert apply(replace(world.applier("prod-eu"), cluster=cluster)).problems == []
    assert world.is_baseline("prod-eu")


def test_a_window_that_the_agent_ends_meanwhile_is_no_problem_and_nobody_is_blamed(world: World) -> None:
    identity = opened(world)
    applier = world.applier("prod-eu")
    read = applier.cluster.get

    def slow(keys: Any) -> Any:
        if added(identity) in world.servers["prod-eu"].objects:
            world.clock.tick(HALF_HOUR)
            world.agent("prod-eu")
        return read(keys)

    applier.cluster.get = slow  # type: ignore[method-assign]
    assert apply(applier).problems == []
    assert world.apply("prod-eu").problems == []
    assert closed_event(world, identity).foreign == []


def test_what_others_added_to_a_baseline_object_in_the_window_goes_and_their_labels_stay(world: World) -> None:
    identity = opened(world, "widen-metrics")
    foreign(world, METRICS, egress=[{}])
    live = world.servers["prod-eu"].state()[METRICS]
    labelled = {**live, "metadata": {**live["metadata"], "labels": {"seen": "yes"}}}
    world.servers["prod-eu"].install([labelled], "labeller")
    world.clock.tick(HALF_HOUR)
    assert world.apply("prod-eu").problems == []
    after = world.servers["prod-eu"].state()[METRICS]
    assert after["spec"] == example.METRICS["spec"]
    assert after["metadata"]["labels"] == {"seen": "yes"}
    assert {change.by for change in closed_event(world, identity).foreign} == {"kubectl-edit", "labeller"}


def test_one_object_that_cannot_be_proven_keeps_no_other_open(world: World) -> None:
    held = opened(world, "widen-metrics")
    free = opened(world, "db-from-bastion")
    lifted = opened(world, "lift-isolation")
    cluster = InMemoryCluster(world.servers["prod-eu"])
    apply_all = cluster.apply

    def forbidden(manifests: Any, *, dry_run: bool = False, force: bool = True) -> Any:
        every = list(manifests)
        if dry_run and METRICS in map(key_of, every):
            raise Refused("forbidden", where=str(METRICS))
        return apply_all(every, dry_run=dry_run, force=force)

    cluster.apply = forbidden  # type: ignore[method-assign]
    world.clock.tick(HALF_HOUR)
    applied = apply(replace(world.applier("prod-eu"), cluster=cluster))
    assert {item.activation for item in applied.closed} == {free, lifted}
    assert any(held in problem and "forbidden" in problem for problem in applied.problems)
    assert world.is_baseline("prod-eu")
    assert world.apply("prod-eu").problems == []


def test_a_kind_that_cannot_be_read_keeps_no_other_from_closing(world: World) -> None:
    opened(world)
    (inventory,) = world.inventories("prod-eu").values()
    elsewhere = example.network_policy("ops", "elsewhere", None, None)
    both = [*inventory.objects, InventoryObject(baseline=None, emergency=elsewhere)]
    server = world.servers["prod-eu"]
    server.install([elsewhere])
    cluster = InMemoryCluster(server)
    read = cluster.get

    def forbidden(keys: Any) -> Any:
        every = list(keys)
        if any(key.namespace == "ops" for key in every):
            raise Refused("forbidden", where="ops")
        return read(every)

    cluster.get = forbidden  # type: ignore[method-assign]
    cluster.inventories()
    world.clock.tick(HALF_HOUR)
    window = inventory.model_copy(update={"objects": both})
    with pytest.raises(NotApplied, match="ops/elsewhere cannot be read: ops: forbidden"):
        close(cluster, [window], {window.activation: "expired"}, by="agent", clock=world.clock)
    assert added(inventory.activation) not in server.objects
    assert key_of(elsewhere) in server.objects


def pod(name: str, app: str) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": "1", "controller": True}
    metadata = {"name": name, "namespace": "data", "labels": {"app": app}, "ownerReferences": [owner]}
    metadata["creationTimestamp"] = "2026-11-23T00:00:00Z"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@pytest.mark.parametrize("cut", [True, False])
def test_a_closing_cuts_only_where_it_is_told_to_and_the_ledger_has_it(world: World, cut: bool) -> None:
    server = world.servers["prod-eu"]
    server.install([pod("postgres-0", "postgres"), pod("redis-0", "redis")])
    identity = opened(world)
    world.clock.tick(HALF_HOUR)
    assert apply(replace(world.applier("prod-eu"), cut=cut)).problems == []
    event = closed_event(world, identity)
    assert event.livesOn
    assert (event.cut is not None) is cut
    assert (list(event.cut.evicted) if event.cut is not None else []) == (["Pod data/postgres-0"] if cut else [])
    assert {key.name for key in server.objects if key.kind == "Pod"} == {"redis-0"} | (set() if cut else {"postgres-0"})
    assert apply(replace(world.applier("prod-eu"), cut=cut)).problems == []
    assert world.inventories("prod-eu") == {}


def test_a_baseline_object_on_its_way_out_is_not_back(world: World) -> None:
    opened(world, "widen-metrics")
    server = world.servers["prod-eu"]
    server.held.add(METRICS)
    server.objects[METRICS].deleted_at = world.clock.now()
    world.clock.tick(HALF_HOUR)
    (problem,) = world.apply("prod-eu").problems
    assert f"{METRICS} is being deleted" in problem
    assert world.inventories("prod-eu")
    server.finalize()
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")
    assert world.inventories("prod-eu") == {}


def test_the_agent_cuts_what_it_closed_once_and_the_ledger_has_it(world: World) -> None:
    server = world.servers["prod-eu"]
    server.install([pod("postgres-0", "postgres")])
    identity = opened(world)
    cluster = InMemoryCluster(server)
    cut_once(cluster, lambda: True, print)
    world.clock.tick(HALF_HOUR)
    world.agent("prod-eu")
    cut_once(cluster, lambda: False, print)
    assert [write.verb for write in world.writes.log].count("evict") == 0, (
        "one that does not lead leaves it to the other"
    )
    for _ in range(2):
        cut_once(cluster, lambda: True, print)
    assert [write.verb for write in world.writes.log].count("evict") == 1
    assert world.apply("prod-eu").problems == []
    event = closed_event(world, identity)
    assert event.cut is not None
    assert event.cut.evicted == ["Pod data/postgres-0"]


def test_what_cannot_be_read_again_proves_nothing_of_the_others(world: World) -> None:
    opened(world)
    (inventory,) = world.inventories("prod-eu").values()
    elsewhere = example.network_policy("ops", "elsewhere", None, None)
    server = world.servers["prod-eu"]
    server.install([elsewhere])
    server.held.add(added(inventory.activation))
    cluster = InMemoryCluster(server)
    read, reads = cluster.get, itertools.count()

    def later_forbidden(keys: Any) -> Any:
        every = list(keys)
        if next(reads) and any(key.namespace == "ops" for key in every):
            raise Refused("forbidden", where="ops")
        return read(every)

    cluster.get = later_forbidden  # type: ignore[method-assign]
    cluster.inventories()
    world.clock.tick(HALF_HOUR)
    objects = [*inventory.objects, InventoryObject(baseline=None, emergency=elsewhere)]
    window = inventory.model_copy(update={"objects": objects})
    with pytest.raises(NotApplied) as caught:
        close(cluster, [window], {window.activation: "expired"}, by="agent", clock=world.clock)
    assert f"{added(inventory.activation)} is still there" in str(caught.value) or "being deleted" in str(caught.value)
    assert "ops/elsewhere cannot be read" in str(caught.value)


def test_a_lease_that_is_forbidden_keeps_no_closing_from_the_ledger(world: World) -> None:
    over = opened(world, "lift-isolation")
    world.clock.tick(HALF_HOUR)
    world.open("db-from-bastion")
    applier = world.applier("prod-eu")

    def forbidden(name: str, holder: str) -> Any:
        raise Refused(f"{holder} may not have the lease {name}")

    applier.cluster.lease = forbidden  # type: ignore[method-assign]
    (problem,) = apply(applier).problems
    assert "nothing was opened" in problem
    assert closed_event(world, over).cause == "expired"


def test_what_another_version_keeps_in_an_inventory_outlives_an_apply(world: World) -> None:
    identity = opened(world)
    server = world.servers["prod-eu"]
    told = json.loads(gzip.decompress(server.inventories[identity][0])) | {"later": 1, "expiry": "2026-11-23T09:00:00Z"}
    server.store_inventory(identity, gzip.compress(json.dumps(told).encode()))
    assert world.apply("prod-eu").problems == []
    kept = json.loads(gzip.decompress(server.inventories[identity][0]))
    assert (kept["later"], kept["expiry"]) == (1, "2026-11-23T02:43:00Z"), "what main says is written back"
