"""Law 1: an expired activation is not in the desired state, whether or not anyone merged anything."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.lifecycle.apply import apply
from breakglass.lifecycle.desired import desired
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import activation_file, write_activation
from breakglass.model.manifest import by_key
from laws import example
from laws.world import HALF_HOUR, World
from ports.clock import NIGHT, SettableClock

SECOND = timedelta(seconds=1)
durations = st.integers(1, 4 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@settings(max_examples=20)
@given(
    duration=durations,
    age=st.integers(0, 7199).map(lambda seconds: timedelta(seconds=seconds)),
    offset=st.integers(-5 * 3600, 5 * 3600).map(lambda seconds: timedelta(seconds=seconds)),
    overlay=st.sampled_from(example.OVERLAYS),
)
def test_law_1_access_ends_by_the_clock(duration: timedelta, age: timedelta, offset: timedelta, overlay: str) -> None:
    world = World()
    activation, pull = world.ask(overlay, duration=duration)
    world.clock.tick(age)
    world.merge(pull)
    merged = world.clock.now()
    time = merged + duration + offset
    wanted = desired(world.repository(), world.renderer, "prod-eu", world.tip(), time)
    is_open = merged <= time < merged + duration
    assert by_key(wanted.objects) == example.state({activation.id: overlay} if is_open else {})
    assert wanted.open == ((activation.id,) if is_open else ())


@pytest.mark.parametrize("overlay", example.OVERLAYS)
def test_a_window_is_open_one_second_before_its_expiry_and_shut_at_its_expiry(world: World, overlay: str) -> None:
    activation = world.open(overlay)
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR - SECOND)
    world.apply("prod-eu")
    assert world.servers["prod-eu"].state() == example.state({activation.id: overlay})
    world.clock.tick(SECOND)
    assert [item.activation for item in world.apply("prod-eu").closed] == [activation.id]
    assert world.is_baseline("prod-eu")
    assert activation.id in world.on_main()


@pytest.mark.parametrize("overlay", example.OVERLAYS)
def test_the_agent_alone_ends_a_window_without_git_forge_or_ci(world: World, overlay: str) -> None:
    activation = world.open(overlay)
    world.apply("prod-eu")
    world.lose_the_network()
    world.clock.tick(HALF_HOUR - SECOND)
    assert world.agent("prod-eu") == ()
    world.clock.tick(SECOND)
    assert [item.activation for item in world.agent("prod-eu")] == [activation.id]
    assert world.is_baseline("prod-eu")


def test_the_applier_ends_a_window_while_main_cannot_be_read(world: World) -> None:
    activation = world.open()
    applier = world.applier("prod-eu")
    world.apply("prod-eu")
    world.clock.tick(HALF_HOUR)
    world.lose_the_network()
    applied = apply(applier)
    assert [item.activation for item in applied.closed] == [activation.id]
    assert applied.problems
    assert world.is_baseline("prod-eu")


def test_nobody_moves_an_expiry_by_editing_the_file_on_main(world: World) -> None:
    activation = world.open()
    world.apply("prod-eu")
    longer = activation.spec.model_copy(update={"duration": timedelta(hours=4)})
    edited = activation.model_copy(update={"spec": longer})
    world.commit({activation_file(activation.id): write_activation(edited)})
    (window,) = all_windows(world.repository(), world.tip())
    assert window.state(world.clock.now()) == "void"
    assert window.expiry == NIGHT + HALF_HOUR
    world.apply("prod-eu")
    assert world.is_baseline("prod-eu")


def test_nobody_opens_a_window_again_by_adding_its_file_again(world: World) -> None:
    activation = world.open()
    world.apply("prod-eu")
    file = activation_file(activation.id)
    world.commit({file: None})
    world.clock.tick(timedelta(minutes=10))
    world.apply("prod-eu")
    pull = world.propose(file, write_activation(activation))
    world.approve(pull)
    world.merge(pull)
    assert "activation-reused" in [item.id for item in world.apply("prod-eu").refused[activation.id]]
    assert world.is_baseline("prod-eu")


@pytest.mark.parametrize(("age", "opens"), [(timedelta(hours=2) - SECOND, True), (timedelta(hours=2), False)])
def test_a_request_that_is_merged_late_opens_nothing(world: World, age: timedelta, opens: bool) -> None:
    _, pull = world.ask()
    world.approve(pull)
    world.clock.tick(age)
    world.merge(pull)
    assert bool(world.apply("prod-eu").open) is opens
    assert world.is_baseline("prod-eu") is not opens


def test_a_request_of_the_future_opens_nothing(world: World) -> None:
    _, pull = world.ask(at=NIGHT + timedelta(minutes=5))
    world.approve(pull)
    world.merge(pull)
    assert not world.apply("prod-eu").open
    assert world.is_baseline("prod-eu")


def test_a_commit_of_the_future_opens_nothing_before_its_time(world: World) -> None:
    _, pull = world.ask(at=NIGHT + timedelta(minutes=10))
    world.clock.tick(timedelta(minutes=10))
    world.approve(pull)
    world.merge(pull)
    applied = world.apply("prod-eu", SettableClock(NIGHT))
    assert applied.problems
    assert not applied.open
    assert world.is_baseline("prod-eu")


def test_a_window_that_an_agent_with_a_fast_clock_ended_stays_shut(world: World) -> None:
    activation = world.open()
    world.apply("prod-eu")
    world.agent("prod-eu", SettableClock(NIGHT + HALF_HOUR))
    world.clock.tick(HALF_HOUR - SECOND)
    for _ in range(3):
        assert not world.apply("prod-eu").open
        assert world.is_baseline("prod-eu")
    assert f"activations/{activation.id}/prod-eu/closed.json" in world.ledger()


def test_a_window_that_ends_while_it_is_opened_is_shut_again(world: World) -> None:
    world.open("lift-isolation", duration=SECOND)
    world.clock.tick(SECOND - timedelta(microseconds=1))
    applier = world.applier("prod-eu")
    write = applier.cluster.write_inventory

    def slow(inventory: object) -> None:
        write(inventory)  # type: ignore[arg-type]
        world.clock.tick(SECOND)

    applier.cluster.write_inventory = slow  # type: ignore[method-assign]
    assert not apply(applier).open
    assert world.is_baseline("prod-eu")
