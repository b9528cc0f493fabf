"""Random interleavings of everything that people, machines and death do, on two clusters, against a set of windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from breakglass.lifecycle.apply import apply
from breakglass.lifecycle.windows import all_windows
from breakglass.ports import PullRequest
from laws import example
from laws.world import World
from ports.writes import Moment

TIME_TO_LIVE = timedelta(hours=2)
FOR_EVER = timedelta(hours=12)

one_cluster = st.sampled_from(example.CLUSTERS)
some_clusters = st.sampled_from([example.CLUSTERS, ("prod-eu",), ("prod-us",)])
overlays = st.sampled_from(example.OVERLAYS)
# Few different times, so that windows often end together, and at the very second when somebody looks.
minutes = st.sampled_from([10, 20, 30]).map(lambda amount: timedelta(minutes=amount))
approvers = st.sampled_from([("grace", "barbara"), ("ada", "grace"), ("ada", "mallory", "on-call"), ("grace",)])
outages = st.sampled_from(["none", "none", "forge", "all"])
moments = st.sampled_from(["before", "after"])


@dataclass
class Request:
    """What the model knows of one activation: `approvals` are those that count."""

    overlay: str
    clusters: tuple[str, ...]
    duration: timedelta
    approvals: set[str]
    at: datetime
    pull: PullRequest
    merged: datetime | None = None
    on_main: bool = False

    def opens(self, now: datetime) -> bool:
        """Whether main, the clock and the approvals say that it should be open."""
        if self.merged is None or not self.on_main or now >= self.merged + self.duration:
            return False
        return len(self.approvals) >= 2 and self.merged < self.at + TIME_TO_LIVE


class Interleavings(RuleBasedStateMachine):
    """The model is a set of (activation, cluster, expiry): what an applier opened and nobody has ended since.

    Where an applier died, the cluster is somewhere between two states of the model until the next apply; the laws that
    hold there are checked all the same.
    """

    waiting = Bundle("waiting")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.requests: dict[str, Request] = {}
        self.open: set[tuple[str, str, datetime]] = set()
        self.between: set[str] = set()

    @initialize(windows=st.lists(st.tuples(overlays, minutes), min_size=2, max_size=4))
    def begin(self, windows: list[tuple[str, timedelta]]) -> None:
        for overlay, duration in windows:
            self.merge(self.ask(overlay, example.CLUSTERS, duration, example.ON_CALL, example.COMMANDERS))
        self.apply("prod-eu", "none")

    @rule(
        target=waiting,
        overlay=overlays,
        clusters=some_clusters,
        duration=minutes,
        by=st.sampled_from([example.ON_CALL, "ada"]),
        approvers=approvers,
    )
    def ask(
        self, overlay: str, clusters: tuple[str, ...], duration: timedelta, by: str, approvers: tuple[str, ...]
    ) -> str:
        activation, pull = self.world.ask(overlay, clusters, duration, by)
        self.world.approve(pull, *approvers)
        count = set(approvers) & set(example.COMMANDERS) - {by}
        self.requests[activation.id] = Request(overlay, clusters, duration, count, self.world.clock.now(), pull)
        return activation.id

    @rule(request=consumes(waiting))
    def merge(self, request: str) -> None:
        self.world.merge(self.requests[request].pull)
        self.requests[request].merged = self.world.clock.now()
        self.requests[request].on_main = True

    @rule(duration=minutes)
    def tick(self, duration: timedelta) -> None:
        self.world.clock.tick(duration)

    @rule(cluster=one_cluster, outage=outages)
    def apply(self, cluster: str, outage: str) -> None:
        applier = self.world.applier(cluster)
        self.world.network(git=outage != "all", forge=outage == "none")
        applied = apply(applier)
        self.world.network(git=True, forge=True)
        if outage == "none":
            assert applied.problems == []
            self.between.discard(cluster)
            self.now_open(cluster, self.requests)
        elif outage == "forge":
            self.now_open(cluster, {identity for identity, place, _ in self.open if place == cluster})
        else:
            self.nothing_expired(cluster)

    @rule(cluster=one_cluster, number=st.integers(1, 15), moment=moments)
    def die_in_apply(self, cluster: str, number: int, moment: Moment) -> None:
        self.world.writes.kill(number, moment)
        if self.world.killed(lambda: self.world.apply(cluster)):
            self.between.add(cluster)
        else:
            self.between.discard(cluster)
            self.now_open(cluster, self.requests)

    @rule(cluster=one_cluster, number=st.integers(1, 6), moment=moments)
    def agent(self, cluster: str, number: int, moment: Moment) -> None:
        self.world.writes.kill(number, moment)
        if self.world.killed(lambda: self.world.agent(cluster)):
            self.world.agent(cluster)
        self.nothing_expired(cluster)

    @precondition(lambda self: any(request.on_main for request in self.requests.values()))
    @rule(data=st.data())
    def close_early(self, data: st.DataObject) -> None:
        there = sorted(identity for identity, request in self.requests.items() if request.on_main)
        identity = data.draw(st.sampled_from(there))
        self.world.close_early(identity)
        self.expire(9, "after")
        assert not self.requests[identity].on_main

    @rule(number=st.integers(1, 5), moment=moments)
    def expire(self, number: int, moment: Moment) -> None:
        self.world.writes.kill(number, moment)
        if self.world.killed(self.world.expire):
            self.world.expire()
        now = self.world.clock.now()
        windows = all_windows(self.world.repository(), self.world.tip())
        assert {window.id for window in windows if window.state(now) in ("expired", "void")} == set()
        on_main = self.world.on_main()
        for identity, request in self.requests.items():
            request.on_main = identity in on_main

    def now_open(self, cluster: str, among: Iterable[str]) -> None:
        """An apply looked at these."""
        now, found = self.world.clock.now(), set()
        for identity in among:
            request = self.requests[identity]
            if cluster in request.clusters and request.merged is not None and request.opens(now):
                found.add((identity, cluster, request.merged + request.duration))
        self.open = found | {window for window in self.open if window[1] != cluster}

    def nothing_expired(self, cluster: str) -> None:
        """Somebody closed what the inventories of a cluster say is over."""
        now = self.world.clock.now()
        self.open = {window for window in self.open if window[1] != cluster or now < window[2]}
        inventories = self.world.inventories(cluster).values()
        assert [item.activation for item in inventories if item.phase != "closed" and item.expired(now)] == []

    @invariant()
    def live_objects_are_the_baseline_and_the_open_windows(self) -> None:
        for cluster in set(example.CLUSTERS) - self.between:
            overlays = {
                identity: self.requests[identity].overlay for identity, place, _ in self.open if place == cluster
            }
            assert self.world.servers[cluster].state() == example.state(overlays)

    @invariant()
    def nothing_is_there_without_a_record(self) -> None:
        for cluster in example.CLUSTERS:
            assert self.world.unrecorded(cluster) == set()

    def teardown(self) -> None:
        self.world.clock.tick(FOR_EVER)
        for cluster in example.CLUSTERS:
            self.world.agent(cluster)
            assert self.world.is_baseline(cluster)
        self.expire(9, "after")
        self.world.apply_everywhere()
        assert self.world.expire().waiting == []
        assert self.world.on_main() == set()
        ledger = self.world.ledger()
        for cluster in example.CLUSTERS:
            assert self.world.inventories(cluster) == {}
            for identity in [name for name, item in self.requests.items() if item.merged and cluster in item.clusters]:
                ended = {f"activations/{identity}/{cluster}/{end}.json" for end in ("closed", "refused")}
                assert ended & ledger.keys()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=40, stateful_step_count=30)
