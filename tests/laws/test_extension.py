"""Prolonging in the world: the first ends by its own clock, the second goes on, and then there is the baseline."""

from __future__ import annotations

from datetime import timedelta

import pytest

from breakglass.model.activation import activation_file, write_activation
from laws import example
from laws.world import HALF_HOUR, World

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("overlay", example.OVERLAYS)
@pytest.mark.parametrize("agent", [False, True], ids=["applier", "agent"])
def test_the_first_expires_the_second_goes_on_and_the_baseline_is_proven(overlay: str, agent: bool) -> None:
    world = World()
    first = world.open(overlay)
    world.apply_everywhere()
    world.clock.tick(20 * MINUTE)

    again, _ = world.ask(overlay)
    linked = again.model_copy(update={"spec": again.spec.model_copy(update={"extends": first.id})})
    pull = world.propose(activation_file(linked.id), write_activation(linked))
    world.approve(pull)
    world.merge(pull)
    for cluster in example.CLUSTERS:
        applied = world.apply(cluster)
        assert (applied.problems, applied.refused) == ([], {})
        assert {identity: held.phase for identity, held in world.inventories(cluster).items()} == {
            first.id: "open",
            linked.id: "open",
        }

    world.clock.tick(10 * MINUTE)  # the first is over
    for cluster in example.CLUSTERS:
        if agent:
            world.agent(cluster)
        assert world.apply(cluster).problems == []
        phases = {identity: held.phase for identity, held in world.inventories(cluster).items()}
        assert phases.get(first.id, "closed") == "closed"
        assert phases[linked.id] == "open"
        assert not world.is_baseline(cluster), "the second is open, and what it opens is there"
    world.expire()
    assert world.on_main() == {linked.id}

    world.clock.tick(20 * MINUTE)  # the second is over
    for cluster in example.CLUSTERS:
        if agent:
            world.agent(cluster)
        assert world.apply(cluster).problems == []
        assert world.is_baseline(cluster)
    world.expire()
    assert world.on_main() == set()
    told = world.ledger()
    for cluster in example.CLUSTERS:
        assert b'"baseline": "proven"' in told[f"activations/{linked.id}/{cluster}/closed.json"]


def test_an_extension_ends_by_its_own_clock_not_by_the_first() -> None:
    world = World()
    first = world.open(duration=HALF_HOUR)
    world.clock.tick(29 * MINUTE)
    again, _ = world.ask(duration=HALF_HOUR)
    linked = again.model_copy(update={"spec": again.spec.model_copy(update={"extends": first.id})})
    pull = world.propose(activation_file(linked.id), write_activation(linked))
    world.approve(pull)
    world.merge(pull)
    assert [held.activation for held in world.apply("prod-eu").open] == [first.id, linked.id]
    expiries = {identity: held.expiry for identity, held in world.inventories("prod-eu").items()}
    assert expiries[linked.id] - expiries[first.id] == 29 * MINUTE
