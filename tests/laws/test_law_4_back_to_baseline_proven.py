"""Law 4: with no window open, live objects equal the baseline; absent means observed absent."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.lifecycle.closing import not_returned
from breakglass.model.errors import NotApplied, Refused
from breakglass.model.inventory import InventoryObject
from breakglass.model.manifest import by_key, key_of
from laws import example
from laws.world import HALF_HOUR, World
from ports.cluster import InMemoryCluster

METRICS = key_of(example.METRICS)
DEFAULT_DENY = key_of(example.DEFAULT_DENY)


@settings(max_examples=20)
@given(opened=st.lists(st.sampled_from(example.OVERLAYS), min_size=1, max_size=4), by_agent=st.booleans())
def test_law_4_back_to_baseline_proven(opened: list[str], by_agent: bool) -> None:
    world = World()
    for overlay in opened:
        world.open(overlay)
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    if by_agent:
        world.agent("prod-eu")
    world.apply("prod-eu")
    server = world.servers["prod-eu"]
    assert server.state() == by_key(example.BASELINE)
    assert all(server.managed(key) == set() for key in server.objects)
    ends = [json.loads(content) for path, content in world.ledger().items() if path.endswith("prod-eu/closed.json")]
    assert [end["baseline"] for end in ends] == ["proven"] * len(opened)


def test_a_delete_that_is_answered_is_not_an_absence(world: World) -> None:
    activation = world.open()
    world.apply("prod-eu")
    server = world.servers["prod-eu"]
    (added,) = world.inventories("prod-eu")[activation.id].claims
    server.held.add(added)
    world.clock.tick(HALF_HOUR)
    for _ in range(2):
        (problem, *_) = world.apply("prod-eu").problems
        assert str(added) in problem
        assert "finalizer" in problem
    assert world.inventories("prod-eu")[activation.id].phase == "open"
    assert f"activations/{activation.id}/prod-eu/closed.json" not in world.ledger()
    server.finalize()
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")
    assert f"activations/{activation.id}/prod-eu/closed.json" in world.ledger()


def test_what_comes_back_after_the_agent_closed_is_neither_recorded_nor_forgotten(world: World) -> None:
    activation = world.open()
    world.apply("prod-eu")
    server = world.servers["prod-eu"]
    (inventory,) = world.inventories("prod-eu").values()
    ((added, late),) = inventory.claims.items()
    world.clock.tick(HALF_HOUR)
    world.agent("prod-eu")
    assert late is not None
    server.install([late], manager="breakglass")
    server.held.add(added)
    assert world.apply("prod-eu").problems
    assert activation.id in world.inventories("prod-eu")
    assert f"activations/{activation.id}/prod-eu/closed.json" not in world.ledger()
    server.finalize()
    assert world.apply("prod-eu").problems == []
    assert world.inventories("prod-eu") == {}
    assert world.is_baseline("prod-eu")


@pytest.mark.parametrize("by_agent", [True, False])
def test_an_object_that_will_not_be_restored_keeps_its_window_open(world: World, by_agent: bool) -> None:
    activation = world.open("lift-isolation")
    world.apply("prod-eu")
    server = world.servers["prod-eu"]
    server.denied.add(DEFAULT_DENY)
    world.clock.tick(HALF_HOUR)
    if by_agent:
        with pytest.raises(NotApplied, match="default-deny"):
            world.agent("prod-eu")
    else:
        assert any("default-deny" in problem for problem in world.apply("prod-eu").problems)
    assert world.inventories("prod-eu")[activation.id].phase == "open"
    server.denied.clear()
    world.agent("prod-eu")
    assert world.is_baseline("prod-eu")


def test_what_somebody_else_changed_in_the_window_goes_back_to_the_baseline(world: World) -> None:
    world.open("widen-metrics")
    world.apply("prod-eu")
    intruder = copy.deepcopy(example.METRICS)
    intruder["spec"]["ingress"] = [{}]
    world.servers["prod-eu"].install([intruder], manager="kubectl")
    world.clock.tick(HALF_HOUR)
    assert world.apply("prod-eu").problems == []
    assert world.is_baseline("prod-eu")


def moved_baseline(world: World) -> example.Object:
    """The baseline on main gets another state of an object that `widen-metrics` changes."""
    moved = copy.deepcopy(example.METRICS)
    moved["spec"]["ingress"][0]["from"][0]["podSelector"] = {"matchLabels": {"app": "thanos"}}
    path = next(f"base/{index}.yaml" for index, item in enumerate(example.BASELINE) if item is example.METRICS)
    world.commit({path: json.dumps(moved).encode()})
    return moved


def test_a_window_that_ends_returns_to_the_baseline_of_main_not_to_that_of_its_opening(world: World) -> None:
    world.open("widen-metrics")
    world.apply("prod-eu")
    moved = moved_baseline(world)
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    world.agent("prod-eu")
    assert world.servers["prod-eu"].state() == {**by_key(example.BASELINE), METRICS: moved}


@pytest.mark.parametrize("by_agent", [True, False])
def test_a_baseline_that_moved_before_the_closing_was_recorded_is_not_taken_back(world: World, by_agent: bool) -> None:
    activation = world.open("widen-metrics")
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    if by_agent:
        world.agent("prod-eu")
    moved = moved_baseline(world)
    world.servers["prod-eu"].install([moved])
    applied = world.apply("prod-eu")
    assert (applied.problems, [item.activation for item in applied.closed]) == ([], [activation.id])
    assert world.servers["prod-eu"].state() == {**by_key(example.BASELINE), METRICS: moved}


def test_what_could_not_be_brought_to_the_baseline_of_main_is_not_proven_to_be_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open("widen-metrics")
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    world.agent("prod-eu")
    moved = moved_baseline(world)

    def denied(_cluster: InMemoryCluster, _inventory: object) -> None:
        raise Refused("admission webhook denied the request: not tonight")

    with monkeypatch.context() as night:
        night.setattr(InMemoryCluster, "write_inventory", denied)
        assert "not tonight" in world.apply("prod-eu").problems[0]
    assert not any(path.endswith("closed.json") for path in world.ledger())
    assert world.apply("prod-eu").problems == []
    assert world.servers["prod-eu"].state() == {**by_key(example.BASELINE), METRICS: moved}


def test_an_object_that_is_missing_differs_or_lingers_is_named(world: World) -> None:
    world.open("widen-metrics")
    world.apply("prod-eu")
    (inventory,) = world.inventories("prod-eu").values()
    (metrics,) = inventory.objects
    stray = {**example.METRICS, "metadata": {"name": "stray", "namespace": "data"}}
    deployment = dict(example.BASELINE[0])
    objects = [
        metrics,
        InventoryObject(baseline=None, emergency=stray),
        InventoryObject(baseline=deployment, emergency=None),
    ]
    server = world.servers["prod-eu"]
    server.install([stray])
    del server.objects[key_of(deployment)]
    told = not_returned(InMemoryCluster(server), inventory.model_copy(update={"objects": objects}))
    assert told[METRICS] == f"{METRICS} differs in spec.ingress, metadata.annotations.widened"
    assert told[key_of(stray)].endswith("is still there")
    assert told[key_of(deployment)].endswith("is missing")
    assert len(told) == 3


def test_closing_does_not_touch_what_it_did_not_open(world: World) -> None:
    neighbour = example.network_policy("data", "neighbour", "postgres", "reporting")
    world.servers["prod-eu"].install([neighbour], manager="somebody")
    before = copy.deepcopy(world.servers["prod-eu"].objects)
    world.open("lift-isolation")
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    world.apply("prod-eu")
    after = world.servers["prod-eu"].objects
    untouched = set(before) - {DEFAULT_DENY}
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
