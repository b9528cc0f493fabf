"""The agent: exact, patient, and stopped by nothing that one window does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.lifecycle.agent import (
    LEASE,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    MOST_PROVEN,
    Agent,
    Closings,
    campaign,
    close_expired,
    close_once,
    growing_pause,
    run,
)
from breakglass.lifecycle.announcement import MOST_OBJECTS, Announcer, Notice
from breakglass.model.errors import NotApplied, Unreachable
from breakglass.model.inventory import Inventory, InventoryObject, unpack
from breakglass.model.manifest import ACTIVATION_LABEL, ObjectKey, key_of
from ports.clock import NIGHT, SettableClock
from ports.cluster import ApiServer, InMemoryCluster
from ports.writes import Killed, Writes

SECOND = timedelta(seconds=1)


class Night(SettableClock):
    """A clock that ends the process that sleeps past the end of the night."""

    def __init__(self) -> None:
        super().__init__()
        self.end = NIGHT

    def tick(self, duration: timedelta) -> None:
        super().tick(min(duration, self.end - self.now()))
        if self.now() >= self.end:
            raise Killed


@dataclass
class Told:
    """`Monitor` that remembers."""

    lateness: list[timedelta] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    looks: list[tuple[list[datetime], int]] = field(default_factory=list)
    leading: bool | None = None
    fetches: int = 0
    jobs: dict[str, datetime] = field(default_factory=dict)
    turns: int = 0

    def alive(self) -> None:
        self.turns += 1

    def leads(self, leading: bool) -> None:
        self.leading = leading

    def looked(self, *, ends: Sequence[datetime], unreadable: int) -> None:
        self.looks.append((list(ends), unreadable))

    def closed(self, lateness: timedelta) -> None:
        self.lateness.append(lateness)

    def failed(self, what: str) -> None:
        self.failures.append(what)

    def fetched(self) -> None:
        self.fetches += 1

    def scheduled(self, job: str, at: datetime) -> None:
        self.jobs[job] = at


class Scene:
    """One cluster in memory, and windows in it."""

    def __init__(self) -> None:
        self.clock, self.told, self.lines = Night(), Told(), list[str]()
        self.server = ApiServer("prod-eu", Writes(), self.clock)
        self.announcer = Announcer(InMemoryCluster(self.server), self.told, self.lines.append)

    def window(self, name: str, left: timedelta, objects: int = 1, *, phase: str = "open") -> Inventory:
        """Open a window that ends so long from now."""
        manifests = [policy(name, number) for number in range(objects)]
        self.server.install(manifests, "breakglass")
        inventory = Inventory(
            activation=f"2026-11-23-{name}-7f3a",
            overlay=name,
            digest="sha256:" + "a" * 64,
            commit="b" * 40,
            requestedBy="robin",
            approvedBy=["ada", "grace"],
            openedAt=NIGHT,
            expiry=self.clock.now() + left,
            phase=phase,
            objects=[InventoryObject(baseline=None, emergency=manifest) for manifest in manifests],
        )
        InMemoryCluster(self.server).write_inventory(inventory)
        return inventory

    def agent(self, cluster: InMemoryCluster | None = None, holder: str = "first", *, leading: bool = True) -> Agent:
        cluster = cluster or InMemoryCluster(self.server)
        lease = cluster.lease(LEASE, holder)
        if leading:
            lease.acquire(timedelta(0))
        return Agent(cluster, self.clock, lease, self.announcer, self.told, self.lines.append)

    def watch(self, agent: Agent | None = None, *, until: timedelta) -> None:
        """Let the agent run until so long after the night began."""
        self.clock.end = NIGHT + until
        with pytest.raises(Killed):
            run(agent or self.agent())

    def inventory(self, name: str) -> Inventory:
        identity = f"2026-11-23-{name}-7f3a"
        return unpack(self.server.inventories[identity][0], identity)

    def held(self, name: str) -> bool:
        return any(key.name.startswith(name) for key in self.server.objects)


def policy(name: str, number: int = 0) -> dict[str, Any]:
    metadata = {
        "name": f"{name}-{number}",
        "namespace": "data",
        "labels": {ACTIVATION_LABEL: f"2026-11-23-{name}-7f3a"},
    }
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {"a": number}}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_wakes_exactly_at_each_expiry(scene: Scene) -> None:
    ends = [timedelta(seconds=left) for left in (7, 7, 8, 95, 3600)]
    for number, left in enumerate(ends):
        scene.window(f"w{number}", left)
    scene.watch(until=timedelta(hours=2))
    assert scene.told.lateness == [timedelta(0)] * 5
    assert scene.told.failures == []
    assert scene.server.objects == {}
    assert [scene.inventory(f"w{number}").closedAt for number in range(5)] == [NIGHT + left for left in ends]
    assert {(scene.inventory(f"w{number}").closedBy, scene.inventory(f"w{number}").cause) for number in range(5)} == {
        ("agent", "expired")
    }


def test_it_does_not_poll_for_time(scene: Scene) -> None:
    scene.window("long", timedelta(hours=1))
    scene.watch(until=timedelta(minutes=59))
    assert len(scene.told.looks) == timedelta(minutes=59) / LONGEST_WAIT


def test_a_window_opened_while_it_waits_ends_on_time(scene: Scene) -> None:
    scene.server.while_waiting.append(lambda: scene.window("late", 5 * SECOND))
    scene.watch(until=timedelta(minutes=1))
    assert scene.told.lateness == [timedelta(0)]


@pytest.mark.parametrize(("ahead", "closed_after"), [(100, 200), (-100, 300), (0, 300)])
def test_a_window_is_over_by_the_later_of_two_clocks(scene: Scene, ahead: int, closed_after: int) -> None:
    scene.server.skew = timedelta(seconds=ahead)
    scene.window("skewed", timedelta(seconds=300))
    scene.watch(until=timedelta(seconds=400))
    assert scene.inventory("skewed").closedAt == NIGHT + timedelta(seconds=closed_after)
    assert scene.told.lateness == [timedelta(0)]
    assert len(scene.told.looks) < 20


@pytest.mark.parametrize("phase", ["opening", "open"])
def test_a_half_open_window_closes_like_an_open_one(scene: Scene, phase: str) -> None:
    scene.window("half", SECOND, phase=phase)
    scene.watch(until=3 * SECOND)
    assert not scene.held("half")


def test_a_window_that_does_not_close_delays_no_other(scene: Scene) -> None:
    scene.window("stuck", 10 * SECOND)
    scene.window("with", 10 * SECOND)
    for left in range(11, 60):
        scene.window(f"after{left}", timedelta(seconds=left))
    scene.server.held.add(key_of(policy("stuck")))
    scene.watch(until=timedelta(minutes=2))
    assert scene.told.lateness == [timedelta(0)] * 50
    assert scene.inventory("stuck").phase == "open"
    assert "closing" in scene.told.failures

    scene.server.finalize()
    again = scene.clock.now()
    scene.watch(until=timedelta(minutes=3))
    assert scene.inventory("stuck").phase == "closed"
    assert scene.inventory("stuck").closedAt - again <= LONGEST_PAUSE


def test_it_never_gives_up_and_never_hurries(scene: Scene) -> None:
    scene.window("stuck", SECOND)
    scene.server.denied.add(key_of(policy("stuck")))
    scene.watch(until=timedelta(hours=1))
    assert 3600 / 5 <= len(scene.told.failures) <= 3600 / 2.5 + 10
    assert any("stuck" in line for line in scene.lines)


class Broken(InMemoryCluster):
    """A client with a fault of our own: it falls over one object."""

    def get(self, keys: Any) -> Any:
        keys = list(keys)
        if any(key.name.startswith("broken") for key in keys):
            raise TypeError("nobody foresaw this")
        return super().get(keys)


def test_a_fault_of_our_own_in_one_window_keeps_no_other_open(scene: Scene) -> None:
    for name in ("broken", "fine"):
        scene.window(name, SECOND)
    scene.window("later", 2 * SECOND)
    scene.watch(scene.agent(Broken(scene.server)), until=timedelta(minutes=1))
    assert (scene.held("broken"), scene.held("fine"), scene.held("later")) == (True, False, False)
    assert scene.told.lateness == [timedelta(0)] * 2


def test_a_cluster_that_does_not_answer_is_asked_again_until_it_does(scene: Scene) -> None:
    scene.window("over", SECOND)
    agent = scene.agent()
    scene.server.unreachable = True
    scene.watch(agent, until=timedelta(minutes=10))
    assert set(scene.told.failures) == {"turn"}
    assert 600 / 5 <= len(scene.told.failures) <= 600 / 2.5 + 10
    scene.server.unreachable = False
    scene.watch(agent, until=timedelta(minutes=10) + LONGEST_PAUSE)
    assert not scene.held("over")


def test_a_watch_that_ends_at_once_makes_no_hot_loop(scene: Scene) -> None:
    class Unwatched(InMemoryCluster):
        def await_change(self, timeout: timedelta) -> bool:
            raise Unreachable(f"no watch today, not even for {timeout}")

    scene.window("over", 30 * SECOND)
    scene.watch(scene.agent(Unwatched(scene.server)), until=timedelta(minutes=1))
    assert not scene.held("over")
    assert scene.told.lateness[0] <= LONGEST_PAUSE
    assert len(scene.told.looks) < 40


def test_what_comes_back_after_the_closing_goes_again_within_a_minute(scene: Scene) -> None:
    scene.window("gone", SECOND)
    back = [lambda: None, lambda: None, lambda: scene.server.install([policy("gone")], "breakglass")]
    scene.server.while_waiting.extend(back)
    scene.watch(until=timedelta(minutes=3))
    assert scene.server.while_waiting == []
    assert not scene.held("gone")
    assert scene.told.lateness == [timedelta(0)], "proven again is not closed again"


def test_proving_once_more_gives_way_to_a_window_that_ends(scene: Scene) -> None:
    for number in range(MOST_PROVEN + 5):
        scene.window(f"shut{number}", timedelta(0), phase="closed")
    scene.window("ends", SECOND)
    cluster = InMemoryCluster(scene.server)
    closings, inventories = Closings(cluster, scene.clock), cluster.inventories()
    scene.clock.end += timedelta(hours=1)
    assert len(closings.due(inventories, timedelta(0))) == MOST_PROVEN
    scene.clock.tick(timedelta(seconds=0.6))
    assert closings.due(inventories, timedelta(0)) == ()
    assert closings.next_wake(inventories, timedelta(0)) == timedelta(seconds=0.4)
    scene.clock.tick(timedelta(seconds=0.4))
    assert [item.overlay for item in closings.due(inventories, timedelta(0))] == ["ends"]


def test_what_was_proven_in_the_future_is_proven_again(scene: Scene) -> None:
    """The clock was set back since."""
    shut = scene.window("shut", timedelta(0), phase="closed")
    closings = Closings(InMemoryCluster(scene.server), scene.clock, proven={shut.activation: NIGHT + SECOND})
    assert closings.due([shut], timedelta(0)) == (shut,)


def test_a_group_that_half_closes_is_told_of_once_each(scene: Scene) -> None:
    for name in ("stuck", "one", "two"):
        scene.window(name, SECOND)
    scene.server.held.add(key_of(policy("stuck")))
    scene.watch(until=10 * SECOND)
    assert scene.told.lateness == [timedelta(0)] * 2
    assert sorted(line for line in scene.lines if line.startswith("closed")) == [
        "closed 2026-11-23-one-7f3a (expired)",
        "closed 2026-11-23-two-7f3a (expired)",
    ]


def test_an_agent_without_the_lease_leaves_two_seconds_to_the_one_that_holds_it(scene: Scene) -> None:
    InMemoryCluster(scene.server).lease(LEASE, "other").acquire(timedelta(0))
    scene.window("over", 10 * SECOND)
    standby = scene.agent(leading=False)
    scene.watch(standby, until=12 * SECOND - timedelta(microseconds=1))
    assert scene.held("over")
    scene.watch(standby, until=13 * SECOND)
    assert not scene.held("over")
    assert scene.told.lateness == [2 * SECOND]


def test_the_campaign_goes_on_through_every_failure(scene: Scene) -> None:
    agent = scene.agent(leading=False)
    InMemoryCluster(scene.server).lease(LEASE, "other").acquire(timedelta(0))
    scene.clock.end = NIGHT + timedelta(minutes=5)
    with pytest.raises(Killed):
        campaign(agent)
    assert (agent.lease.held(), scene.told.leading) == (False, False)
    assert scene.told.failures == [], "another that leads is no failure"

    scene.server.unreachable = True
    scene.clock.end += timedelta(minutes=1)
    with pytest.raises(Killed):
        campaign(agent)
    assert set(scene.told.failures) == {"lease"}

    scene.server.unreachable = False
    scene.server.writes.deaths += 1
    scene.clock.end += timedelta(minutes=1)
    with pytest.raises(Killed):
        campaign(agent)
    assert (agent.lease.held(), scene.told.leading) == (True, True)


def test_every_object_has_its_event_and_many_have_fifty_and_one(scene: Scene) -> None:
    scene.window("few", SECOND, objects=2)
    scene.window("many", 2 * SECOND, objects=MOST_OBJECTS + 7)
    scene.watch(until=3 * SECOND)
    assert scene.server.events == [], "no Event is recorded in the way of a closing"
    scene.announcer.announce_all()
    told = [(about.kind, reason) for about, reason, _, _ in scene.server.events]
    assert told == [
        ("ConfigMap", "BreakglassClosed"),
        *[("NetworkPolicy", "BreakglassRemoved")] * 2,
        ("ConfigMap", "BreakglassClosed"),
        *[("NetworkPolicy", "BreakglassRemoved")] * MOST_OBJECTS,
        ("ConfigMap", "BreakglassMoreObjects"),
    ]
    about, _, note, warning = scene.server.events[-1]
    assert about == ObjectKey("", "ConfigMap", "breakglass", "activation-2026-11-23-many-7f3a")
    assert "7 more objects" in note
    assert not warning


def test_what_another_window_still_holds_is_not_told_as_removed(scene: Scene) -> None:
    first, second = scene.window("one", SECOND), scene.window("two", timedelta(hours=1))
    shared = first.model_copy(update={"objects": second.objects})
    cluster = InMemoryCluster(scene.server)
    cluster.inventories()
    cluster.write_inventory(shared)
    scene.watch(until=2 * SECOND)
    scene.announcer.announce_all()
    assert [reason for _, reason, _, _ in scene.server.events] == ["BreakglassClosed"]
    assert scene.held("two")


def test_a_window_that_stays_open_is_warned_of_again_and_again_but_ever_less(scene: Scene) -> None:
    scene.window("stuck", SECOND)
    scene.server.denied.add(key_of(policy("stuck")))
    scene.watch(until=timedelta(hours=1))
    scene.announcer.announce_all()
    assert {(reason, warning) for _, reason, _, warning in scene.server.events} == {("BreakglassNotClosed", True)}
    assert 5 <= len(scene.server.events) <= 12


def test_events_that_fail_or_find_no_room_are_counted_and_hold_up_nothing(scene: Scene) -> None:
    scene.server.unreachable = True
    notice = Notice(key_of(policy("a")), "BreakglassClosed", "…")
    scene.announcer.announce([notice] * 2003)
    assert scene.told.failures == ["event"] * 3
    scene.announcer.announce_all()
    assert scene.told.failures == ["event"] * 2003


@pytest.mark.parametrize("stuck", [True, False])
def test_one_look_closes_what_it_can_and_tells_the_rest(scene: Scene, stuck: bool) -> None:
    for name in ("one", "stuck", "two"):
        scene.window(name, SECOND)
    scene.window("open", timedelta(hours=1))
    scene.clock.end += timedelta(hours=2)
    scene.clock.tick(SECOND)
    if stuck:
        scene.server.denied.add(key_of(policy("stuck")))
        with pytest.raises(NotApplied, match="stuck"):
            close_once(InMemoryCluster(scene.server), scene.clock, scene.lines.append)
    else:
        closed = close_once(InMemoryCluster(scene.server), scene.clock, scene.lines.append)
        assert [item.overlay for item in closed] == ["one", "stuck", "two"]
        assert [reason for _, reason, _, _ in scene.server.events] == ["BreakglassClosed", "BreakglassRemoved"] * 3
    assert (scene.held("one"), scene.held("stuck"), scene.held("two"), scene.held("open")) == (
        False,
        stuck,
        False,
        True,
    )


def test_one_look_with_nothing_over_changes_nothing(scene: Scene) -> None:
    scene.window("open", timedelta(hours=1))
    before = list(scene.server.writes.log)
    assert close_expired(InMemoryCluster(scene.server), scene.clock) == ()
    assert scene.server.writes.log == before


def test_what_cannot_be_read_is_told_and_the_rest_closes(scene: Scene) -> None:
    scene.server.store_inventory("2026-11-23-torn-7f3a", b"torn")
    scene.window("fine", SECOND)
    scene.watch(until=3 * SECOND)
    assert not scene.held("fine")
    assert {unreadable for _, unreadable in scene.told.looks} == {1}
    assert any(line.startswith("cannot be closed from here") for line in scene.lines)


@given(st.integers(1, 10**6))
def test_pauses_grow_and_stay_bounded(failures: int) -> None:
    assert timedelta(0) < growing_pause(failures) <= LONGEST_PAUSE


STEPS: dict[str, Callable[[Night], None]] = {
    "forward": lambda clock: SettableClock.tick(clock, timedelta(hours=1)),
    "back": lambda clock: setattr(clock, "_time", clock.now() - timedelta(hours=1)),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_stepped_clock_is_noticed_within_a_minute(scene: Scene, step: str) -> None:
    """The wait is measured by a clock that does not step; what it was for is asked again when it ends."""
    scene.window("over", timedelta(minutes=30))
    scene.window("stuck", timedelta(hours=-2))
    scene.window("lately", 10 * SECOND)
    scene.server.denied.update((key_of(policy("stuck")), key_of(policy("lately"))))
    scene.server.while_waiting.extend([lambda: None] * 40 + [lambda: STEPS[step](scene.clock)])
    scene.watch(until=timedelta(hours=3))
    assert scene.server.while_waiting == []
    assert not scene.held("over")
    if step == "forward":
        assert scene.told.lateness[0] <= timedelta(hours=1)
    else:
        assert scene.told.lateness == [timedelta(0)]
    hours = 2 if step == "forward" else 4
    tried = [line for line in scene.lines if "2026-11-23-stuck-7f3a" in line]
    assert len(tried) > hours * 3600 / 4.3, "what does not close is tried all the time"
    assert len(scene.told.looks) < 20_000
