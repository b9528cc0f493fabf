"""Law 8: from a clone alone - who could reach what, when, who said so, and when it really ended."""

from __future__ import annotations

import copy
import itertools
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.audit import Story, status, stories, story
from breakglass.lifecycle.rejudge import rejudge
from laws import example
from laws.world import HALF_HOUR, LEDGER, World


def told(world: World) -> dict[str, Story]:
    """Every story, from a fresh clone, with no forge and no cluster left to ask."""
    clone = world.repository()
    world.lose_the_network()
    try:
        return {item.window.id: item for item in stories(clone, "main", LEDGER)}
    finally:
        world.network(git=True, forge=True)


def test_law_8_history_answers(world: World) -> None:
    activation, pull = world.ask()
    world.clock.tick(timedelta(minutes=1))
    world.approve(pull, "ada", "grace")
    world.clock.tick(timedelta(minutes=1))
    merge = world.merge(pull, "barbara")
    merged = world.clock.now()
    world.clock.tick(timedelta(seconds=3))
    world.apply_everywhere()
    world.clock.tick(HALF_HOUR)
    world.agent("prod-eu")
    world.clock.tick(timedelta(minutes=5))
    world.apply_everywhere()
    world.expire()
    item = told(world)[activation.id]
    window = item.window
    assert window.activation == activation
    assert (window.opened.sha, window.opened.committed_at, window.expiry) == (merge, merged, merged + HALF_HOUR)
    assert window.closed is not None
    assert item.approved_by == ("ada", "grace")
    assert item.evidence is not None
    assert (item.evidence.head, item.evidence.merge, item.evidence.mergedBy) == (pull.head, merge, "barbara")
    assert {review.commit for review in item.evidence.reviews} == {pull.head}
    opened = item.opened["prod-eu"]
    assert opened.opens == ["ops/bastion → data/postgres TCP 5432"]
    assert opened.objects == [f"NetworkPolicy.networking.k8s.io data/postgres-from-bastion-{activation.id}"]
    assert (opened.appliedAt, opened.appliedAfterSeconds) == (merged + timedelta(seconds=3), 3.0)
    ends = {cluster: (end.closedBy, end.closedAt, end.lateSeconds) for cluster, end in item.closed.items()}
    assert ends == {
        "prod-eu": ("agent", merged + HALF_HOUR + timedelta(seconds=3), 3.0),
        "prod-us": ("applier", merged + HALF_HOUR + timedelta(minutes=5, seconds=3), 303.0),
    }


def test_the_verdict_can_be_judged_again_from_the_ledger_alone(world: World) -> None:
    activation = world.open()
    world.apply("prod-eu")
    item = told(world)[activation.id]
    assert item.evidence is not None
    clone = world.repository()
    world.lose_the_network()
    again = rejudge(clone, CelConditions(), "main", LEDGER, activation.id)
    assert again.same
    assert (again.verdict.approved, again.verdict.approved_by) == (True, item.approved_by)


@settings(max_examples=15)
@given(
    lives=st.lists(
        st.tuples(st.sampled_from(example.OVERLAYS), st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=4
    ),
    by_agent=st.sets(st.integers(0, 25)),
)
def test_law_8_whether_the_glass_was_broken_at_any_minute(
    lives: list[tuple[str, int, int]], by_agent: set[int]
) -> None:
    world = World()
    broken: dict[datetime, set[str]] = {}

    def minute() -> None:
        world.agent("prod-eu") if len(broken) in by_agent else world.apply("prod-eu")
        live = world.inventories("prod-eu").values()
        broken[world.clock.now()] = {item.activation for item in live if item.phase == "open"}
        world.clock.tick(timedelta(minutes=1))

    for overlay, duration, pause in lives:
        world.open(overlay, timedelta(minutes=duration))
        world.apply("prod-eu")
        for _ in range(pause):
            minute()
    world.clock.tick(timedelta(minutes=10))
    world.apply("prod-eu")
    history = told(world)
    for time, ids in broken.items():
        assert {identity for identity, item in history.items() if "prod-eu" in item.open_at(time)} == ids


def test_an_activation_that_was_refused_tells_why(world: World) -> None:
    activation, pull = world.ask()
    world.approve(pull, "ada")
    world.merge(pull)
    world.apply("prod-eu")
    item = told(world)[activation.id]
    assert item.opened == {}
    assert item.refused["prod-eu"].findings[0].startswith("approval-missing: 1 of 2 approvals (ada)")


def test_a_window_that_ended_before_it_was_applied_is_told_missed(world: World) -> None:
    activation = world.open()
    world.clock.tick(HALF_HOUR)
    world.apply_everywhere()
    item = told(world)[activation.id]
    assert [refusal.findings for refusal in item.refused.values()] == [
        ["missed: the window ended before it was applied here"]
    ] * 2


def test_the_first_record_of_an_event_stays(world: World) -> None:
    activation = world.open()
    world.apply_everywhere()
    before = copy.deepcopy(world.ledger())
    world.clock.tick(timedelta(minutes=1))
    world.apply_everywhere()
    assert world.ledger() == before
    assert story(world.repository(), "main", LEDGER, activation.id).window.id == activation.id


def test_the_ledger_only_ever_grows(world: World) -> None:
    tips = []
    for overlay in example.OVERLAYS:
        world.open(overlay)
        world.apply_everywhere()
        world.clock.tick(HALF_HOUR)
        world.apply_everywhere()
        world.expire()
        tips.append(world.repository().tip(LEDGER))
    clone = world.repository()
    for before, after in itertools.pairwise(tips):
        assert before is not None
        assert after is not None
        assert clone.merge_base(before, after) == before
        changes = clone.changes(before, after)
        assert {change.status for change in changes if not change.path.startswith("heartbeats/")} == {"added"}


def test_status_tells_open_late_closed_and_refused(world: World) -> None:
    def conditions() -> set[tuple[str, str]]:
        items = status(tuple(told(world).values()), world.clock.now())
        return {(item.cluster, item.condition) for item in items}

    world.open()
    assert conditions() == {("prod-eu", "pending"), ("prod-us", "pending")}
    world.apply("prod-eu")
    assert conditions() == {("prod-eu", "open"), ("prod-us", "pending")}
    world.clock.tick(HALF_HOUR)
    assert conditions() == {("prod-eu", "late"), ("prod-us", "late")}
    world.apply("prod-eu")
    assert conditions() == {("prod-eu", "closed"), ("prod-us", "late")}
    world.apply("prod-us")
    assert conditions() == {("prod-eu", "closed"), ("prod-us", "refused")}
