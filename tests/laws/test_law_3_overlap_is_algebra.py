"""Law 3: closing A recomputes the desired state; B is untouched, in every interleaving."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.lifecycle.content import read_overlay
from breakglass.lifecycle.desired import desired
from breakglass.lifecycle.render import desired_state, disagreement, layered, render_baseline, render_delta
from breakglass.model.manifest import by_key
from laws import example
from laws.world import HALF_HOUR, World

overlays = st.lists(st.sampled_from(example.OVERLAYS), min_size=1, max_size=5)


@settings(max_examples=20)
@given(opened=overlays, data=st.data())
def test_law_3_overlap_is_algebra_not_bookkeeping(opened: list[str], data: st.DataObject) -> None:
    world = World()
    windows = {world.open(overlay).id: overlay for overlay in opened}
    world.apply("prod-eu")
    order = data.draw(st.permutations(sorted(windows)))
    while order:
        together = data.draw(st.integers(1, len(order)))
        world.close_early(*order[:together])
        world.expire()
        world.apply("prod-eu")
        for identity in order[:together]:
            del windows[identity]
        order = order[together:]
        assert world.servers["prod-eu"].state() == example.state(windows)
        assert world.on_main() == set(windows)


@settings(max_examples=20)
@given(lengths=st.lists(st.tuples(st.sampled_from(example.OVERLAYS), st.integers(1, 60)), min_size=2, max_size=5))
def test_the_agent_ends_each_window_at_its_own_expiry_and_leaves_the_others(lengths: list[tuple[str, int]]) -> None:
    world = World()
    windows = {world.open(overlay, timedelta(minutes=minutes)).id: (overlay, minutes) for overlay, minutes in lengths}
    world.apply("prod-eu")
    for minute in sorted({minutes for _, minutes in lengths}):
        world.clock.tick(world.forge.pulls[1].merged_at + timedelta(minutes=minute) - world.clock.now())  # type: ignore[operator]
        world.agent("prod-eu")
        left = {identity: overlay for identity, (overlay, minutes) in windows.items() if minutes > minute}
        assert world.servers["prod-eu"].state() == example.state(left)


@settings(max_examples=20)
@given(opened=overlays, data=st.data())
def test_deltas_commute(opened: list[str], data: st.DataObject) -> None:
    world = World()
    repository, tip = world.repository(), world.tip()
    baseline = render_baseline(repository, world.renderer, tip, "base")
    deltas = []
    for overlay in opened:
        activation, _ = world.ask(overlay)
        content = read_overlay(repository, tip, overlay)
        deltas.append(render_delta(world.renderer, activation, content, baseline if layered(content) else None))
    assert all(
        disagreement(one, {change.key: change.emergency for change in other}) is None
        for one in deltas
        for other in deltas
    )
    shuffled = data.draw(st.permutations(deltas))
    assert desired_state(baseline, shuffled) == desired_state(baseline, deltas)


def test_two_activations_of_one_overlay_live_side_by_side(world: World) -> None:
    one, other = world.open(), world.open()
    assert len(world.apply("prod-eu").open) == 2
    wanted = desired(world.repository(), world.renderer, "prod-eu", world.tip(), world.clock.now())
    assert by_key(wanted.objects) == world.servers["prod-eu"].state()
    assert world.servers["prod-eu"].state() == example.state({one.id: "db-from-bastion", other.id: "db-from-bastion"})


def with_a_rival() -> World:
    """A world with a second overlay that wants the object of `widen-metrics` in another state."""
    files = example.files()
    source, target = "overlays/emergency/widen-metrics/", "overlays/emergency/rival/"
    rival = {target + path.removeprefix(source): data for path, data in files.items() if path.startswith(source)}
    patch = json.loads(rival[f"{target}metrics.yaml"])
    patch["metadata"]["annotations"] = {"widened": "otherwise"}
    contract = json.dumps(example.contract("rival", [])).encode()
    return World(
        files={**files, **rival, f"{target}metrics.yaml": json.dumps(patch).encode(), f"{target}overlay.yaml": contract}
    )


def test_two_windows_that_want_one_object_in_different_states_are_not_open_together() -> None:
    world = with_a_rival()
    first = world.open("widen-metrics")
    world.clock.tick(timedelta(seconds=1))
    second = world.open("rival")
    applied = world.apply("prod-eu")
    assert [finding.id for finding in applied.refused[second.id]] == ["overlay-overlap"]
    assert world.servers["prod-eu"].state() == example.state({first.id: "widen-metrics"})
    world.close_early(first.id)
    world.expire()
    assert [item.activation for item in world.apply("prod-eu").open] == [second.id]
    assert f"activations/{second.id}/prod-eu/refused.json" in world.ledger()
    world.clock.tick(HALF_HOUR)
    assert (second.id, "prod-eu") in world.expire().waiting
    world.apply_everywhere()
    assert world.is_baseline("prod-eu")
    assert world.expire().waiting == []


@pytest.mark.parametrize("after", [timedelta(0), HALF_HOUR])
def test_a_change_of_the_overlay_on_main_does_not_reach_an_open_window(world: World, after: timedelta) -> None:
    activation = world.open()
    world.apply("prod-eu")
    world.commit({"overlays/emergency/db-from-bastion/policy.yaml": b"{}"})
    world.clock.tick(after)
    world.apply("prod-eu")
    still = {} if after else {activation.id: "db-from-bastion"}
    assert world.servers["prod-eu"].state() == example.state(still)
