"""Law 5: the inventory is written before the first object; a kill between any two steps leaves what converges."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.model.manifest import ObjectKey
from laws import example
from laws.world import HALF_HOUR, World
from ports.writes import Moment, Write

MOMENTS: tuple[Moment, ...] = ("before", "after")
Kill = tuple[int, Moment]


def kills_of(world: World, work: Callable[[World], object]) -> list[Kill]:
    """Every place at which a process can die: before and after each of its writes."""
    tried = copy.deepcopy(world)
    work(tried)
    return list(itertools.product(range(1, len(tried.writes.log) - len(world.writes.log) + 1), MOMENTS))


def apply(world: World) -> None:
    assert world.apply("prod-eu").problems == []


def approved() -> World:
    """One window of every kind is approved and merged, and two of the kind that deletes."""
    world = World()
    for overlay in (*example.OVERLAYS, "lift-isolation"):
        world.open(overlay)
    return world


def mixed() -> World:
    """Windows are open, some of them expired, one is closed early on main, one is new: one apply does it all."""
    world = World()
    for overlay in example.OVERLAYS:
        world.open(overlay)
    early = world.open("lift-isolation", 3 * HALF_HOUR)
    world.open("widen-metrics", 3 * HALF_HOUR)
    world.apply("prod-eu")
    world.close_early(early.id)
    world.expire()
    world.clock.tick(HALF_HOUR)
    world.open("db-from-bastion", 3 * HALF_HOUR)
    return world


def ended() -> World:
    """Everything that is open is over."""
    world = approved()
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    return world


STATES = (approved, mixed, ended)


@pytest.mark.parametrize("prepare", STATES)
def test_law_5_after_a_kill_at_any_write_the_next_apply_converges(prepare: Callable[[], World]) -> None:
    prepared = prepare()
    undisturbed = copy.deepcopy(prepared)
    apply(undisturbed)
    for kill in kills_of(prepared, apply):
        world = copy.deepcopy(prepared)
        world.writes.kill(*kill)
        assert world.killed(lambda: apply(world)), kill  # noqa: B023 - it is called at once
        assert world.unrecorded("prod-eu") == set(), kill
        apply(world)
        assert world.servers["prod-eu"].state() == undisturbed.servers["prod-eu"].state(), kill
        assert world.ledger().keys() == undisturbed.ledger().keys(), kill


@pytest.mark.parametrize("prepare", STATES)
def test_law_5_after_a_kill_at_any_write_the_agent_alone_ends_every_window(prepare: Callable[[], World]) -> None:
    prepared = prepare()
    for kill in kills_of(prepared, apply):
        world = copy.deepcopy(prepared)
        world.writes.kill(*kill)
        assert world.killed(lambda: apply(world)), kill  # noqa: B023 - it is called at once
        world.lose_the_network()
        world.clock.tick(5 * HALF_HOUR)
        world.agent("prod-eu")
        assert world.is_baseline("prod-eu"), kill
        assert all(item.phase == "closed" for item in world.inventories("prod-eu").values()), kill
        world.network(git=True, forge=True)
        apply(world)
        assert world.inventories("prod-eu") == {}, kill
        assert world.is_baseline("prod-eu"), kill


def test_law_5_after_a_kill_of_the_agent_its_next_look_converges() -> None:
    prepared = ended()
    for kill in kills_of(prepared, lambda world: world.agent("prod-eu")):
        world = copy.deepcopy(prepared)
        world.writes.kill(*kill)
        assert world.killed(lambda: world.agent("prod-eu")), kill  # noqa: B023 - it is called at once
        world.agent("prod-eu")
        assert world.is_baseline("prod-eu"), kill
        apply(world)
        assert world.inventories("prod-eu") == {}, kill


@settings(max_examples=20)
@given(
    opened=st.lists(st.sampled_from(example.OVERLAYS), min_size=1, max_size=4),
    kill=st.tuples(st.integers(1, 12), st.sampled_from(MOMENTS)),
)
def test_law_5_every_write_of_an_object_comes_after_the_inventory_that_claims_it(opened: list[str], kill: Kill) -> None:
    world = World()
    for overlay in opened:
        world.open(overlay)
    world.writes.kill(*kill)
    world.killed(lambda: world.apply("prod-eu"))
    world.apply("prod-eu")
    claims = {identity: set(item.claims) for identity, item in world.inventories("prod-eu").items()}
    written = [write for write in world.writes.log if write.place == "prod-eu"]
    for index, write in enumerate(written):
        if isinstance(write.subject, ObjectKey):
            recorded = {other.subject for other in written[:index] if other.verb == "write inventory"}
            assert any(write.subject in claims[str(identity)] for identity in recorded)
    first = next(write for write in written if isinstance(write, Write) and "lease" not in write.verb)
    assert first.verb == "write inventory"


def test_the_inventory_names_the_expiry_and_says_opening_before_the_first_object(world: World) -> None:
    activation = world.open()
    world.writes.kill(3, "before")  # the Lease and the inventory are written
    assert world.killed(lambda: world.apply("prod-eu"))
    (inventory,) = world.inventories("prod-eu").values()
    assert (inventory.activation, inventory.phase) == (activation.id, "opening")
    assert inventory.expiry == world.clock.now() + HALF_HOUR
    assert world.is_baseline("prod-eu")


def test_evidence_that_a_dead_applier_did_not_record_is_recorded_by_the_next(world: World) -> None:
    activation = world.open()
    world.writes.kill(6, "before")  # the push, after Lease, inventory, object, inventory, Lease
    assert world.killed(lambda: world.apply("prod-eu"))
    assert world.ledger() == {}
    world.apply("prod-eu")
    assert f"activations/{activation.id}/evidence.json" in world.ledger()
