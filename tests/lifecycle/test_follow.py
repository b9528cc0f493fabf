"""Pull mode: main is followed from inside the cluster, by the same apply as in CI."""

from __future__ import annotations

from datetime import timedelta

import pytest

from breakglass.lifecycle import ledger
from breakglass.lifecycle.follow import LONGEST_DRIFT, Follower, follow, follow_once
from breakglass.model.errors import BreakglassError, NotApplied
from breakglass.model.manifest import ObjectKey
from laws.world import LEDGER, World
from lifecycle.test_agent import Night, Told
from ports.writes import Killed

INTERVAL = timedelta(seconds=30)


class Scene:
    """A world whose cluster follows main."""

    def __init__(self) -> None:
        self.clock, self.told, self.lines = Night(), Told(), list[str]()
        self.clock.end += timedelta(days=1)
        self.world = World(clock=self.clock)
        self.follower = Follower(
            lambda: self.world.applier("prod-eu"), self.clock, self.told, self.lines.append, INTERVAL
        )

    def round(self) -> int:
        """Follow once, and tell how often the cluster was applied to."""
        before = len(self.lines)
        follow_once(self.follower)
        self.clock.tick(INTERVAL)
        return len(self.lines) - before


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_merged_opens_and_what_is_over_is_recorded(scene: Scene) -> None:
    scene.round()
    activation = scene.world.open(duration=timedelta(minutes=10))
    scene.round()
    assert scene.world.inventories("prod-eu")[activation.id].phase == "open"
    scene.clock.tick(timedelta(minutes=10))
    scene.world.agent("prod-eu")
    scene.round()
    assert scene.world.inventories("prod-eu") == {}
    assert f"activations/{activation.id}/prod-eu/closed.json" in scene.world.ledger()


def test_nothing_is_applied_while_nothing_changes_but_drift_is_put_right(scene: Scene) -> None:
    activation = scene.world.open()
    scene.round()
    assert [scene.round() for _ in range(8)] == [0] * 8
    server = scene.world.servers["prod-eu"]
    opened = next(key for key in server.objects if activation.id in key.name)
    del server.objects[opened]
    for _ in range(LONGEST_DRIFT // INTERVAL):
        scene.round()
    assert opened in server.objects


def test_it_verifies_what_it_pulls(scene: Scene) -> None:
    activation, pull = scene.world.ask()
    scene.world.merge(pull)
    follow_once(scene.follower)
    assert scene.world.inventories("prod-eu") == {}
    assert f"activations/{activation.id}/prod-eu/refused.json" in scene.world.ledger()


@pytest.mark.parametrize(("git", "forge"), [(False, True), (True, False)])
def test_a_round_that_fails_is_tried_again(scene: Scene, git: bool, forge: bool) -> None:
    activation = scene.world.open()
    scene.world.network(git=git, forge=forge)
    for _ in range(3):
        with pytest.raises(BreakglassError):
            follow_once(scene.follower)
    scene.world.network(git=True, forge=True)
    follow_once(scene.follower)
    assert scene.world.inventories("prod-eu")[activation.id].phase == "open"


def test_it_follows_for_ever_and_counts(scene: Scene) -> None:
    scene.world.lose_the_network()
    scene.clock.end = scene.clock.now() + 10 * INTERVAL
    with pytest.raises(Killed):
        follow(scene.follower)
    assert scene.told.failures == ["apply"] * 10
    assert scene.told.fetches == 0
    assert len(scene.lines) == 10


def test_a_fault_of_our_own_ends_nothing(scene: Scene) -> None:
    def broken() -> None:
        raise TypeError("nobody foresaw this")

    scene.follower.applier = broken
    scene.clock.end = scene.clock.now() + 2 * INTERVAL
    with pytest.raises(Killed):
        follow(scene.follower)
    assert scene.told.failures == ["apply"] * 2


def test_a_cluster_that_is_not_as_main_says_is_a_failed_round(scene: Scene) -> None:
    activation = scene.world.open()
    denied = ObjectKey("networking.k8s.io", "NetworkPolicy", "data", f"postgres-from-bastion-{activation.id}")
    server = scene.world.servers["prod-eu"]
    server.denied.add(denied)
    with pytest.raises(NotApplied):
        follow_once(scene.follower)
    server.denied.clear()
    follow_once(scene.follower)
    assert denied in server.objects


def test_the_silence_of_the_scheduled_job_can_be_seen(scene: Scene) -> None:
    at = scene.clock.now()
    ledger.heartbeat(scene.world.repository(), LEDGER, "expire", at)
    scene.round()
    scene.round()
    assert scene.told.jobs == {"expire": at}
    assert scene.told.fetches == 2
