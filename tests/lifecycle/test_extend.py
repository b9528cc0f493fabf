"""Prolonging: a new activation of the same while the one before is open, no chain longer than one window may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.approval import judge_content
from breakglass.lifecycle.check import check, check_pull_request
from breakglass.lifecycle.content import read_overlay, read_policy
from breakglass.lifecycle.extend import judge_extension, latest_merge
from breakglass.lifecycle.request import Prepared, body, prepare, prolong, submit
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.activation import Activation, activation_file, write_activation
from breakglass.model.errors import NotFound, Refused
from breakglass.ports import PullRequest
from laws.world import HALF_HOUR, LEDGER, World
from ports.forge import InMemoryForge

MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE


@pytest.fixture
def world() -> World:
    return World()


def asked(world: World, extends: str, duration: timedelta = HALF_HOUR, random: str = "7f3a") -> Prepared:
    clone = world.repository()
    return prepare(
        clone,
        world.renderer,
        CelConditions(),
        prolong(clone, "main", extends, duration, "takes longer", "grace"),
        branch="main",
        ledger_branch=LEDGER,
        now=world.clock.now(),
        random=random,
    )


def submitted(world: World, prepared: Prepared) -> PullRequest:
    return submit(prepared, world.repository(), InMemoryForge(world.forge, "grace"), "grace")


def extended(world: World, extends: str, duration: timedelta = HALF_HOUR, random: str = "7f3a") -> Activation:
    """An extension that is approved and merged, not applied."""
    prepared = asked(world, extends, duration, random)
    pull = submitted(world, prepared)
    world.approve(pull, "ada", "barbara")
    world.merge(pull)
    return prepared.activation


def changed(activation: Activation, **fields: Any) -> Activation:
    return activation.model_copy(update={"spec": activation.spec.model_copy(update=fields)})


def ids(world: World, activation: Activation) -> list[str]:
    """What the check of a branch says that adds an activation as somebody wrote it."""
    pull = world.propose(activation_file(activation.id), write_activation(activation), by="grace")
    checked = check(world.repository(), world.renderer, world.tip(), pull.head, world.clock.now())
    return [finding.id for finding in checked.findings]


def test_an_extension_is_the_same_again_and_linked(world: World) -> None:
    first = world.open()
    world.clock.tick(20 * MINUTE)
    prepared = asked(world, first.id)
    spec = prepared.activation.spec
    assert (spec.extends, spec.requestedBy, spec.reason) == (first.id, "grace", "takes longer")
    for name in ("overlay", "clusters", "parameters", "incident", "digest"):
        assert getattr(spec, name) == getattr(first.spec, name)
    assert b"extends:" in write_activation(prepared.activation)
    assert prepared.required.approvals == 2
    assert f"| Extends | `{first.id}`; merged after 2026-11-23T02:43:00Z it opens nothing |" in body(prepared)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, []),
        ({"clusters": ["prod-eu"]}, ["extend-other"]),
        ({"parameters": {"ticket": "INC-2"}}, ["extend-other"]),
        ({"extends": "2026-11-23-db-from-bastion-ffff"}, ["extend-unknown"]),
        ({"extends": "2026-11-23-db-from-bastion-7f3a"}, ["extend-unknown"]),
        ({"duration": 4 * HOUR}, ["extend-maximum"]),
        ({"extends": None, "duration": 4 * HOUR}, []),
    ],
)
def test_an_extension_written_by_hand_is_held_to_what_it_prolongs(
    world: World, fields: dict[str, Any], found: list[str]
) -> None:
    first = world.open()
    world.clock.tick(MINUTE)
    assert ids(world, changed(asked(world, first.id).activation, **fields)) == found


def test_another_overlay_prolongs_nothing(world: World) -> None:
    first = world.open()
    other, _ = world.ask("widen-metrics")
    assert ids(world, changed(other, extends=first.id)) == ["extend-other"]


def test_what_is_over_or_closed_or_void_is_not_prolonged(world: World) -> None:
    over, closed, edited = world.open(), world.open(), world.open()
    template = asked(world, over.id).activation
    world.commit({activation_file(closed.id): None})
    world.commit({activation_file(edited.id): write_activation(edited) + b"\n"})
    assert ids(world, changed(template, extends=closed.id)) == ["extend-over"]
    assert ids(world, changed(template, extends=edited.id)) == ["extend-over"]
    world.clock.tick(HALF_HOUR)
    assert ids(world, template) == ["extend-over"]
    with pytest.raises(Refused, match="is expired, not open"):
        asked(world, over.id)


def test_what_never_was_is_not_prolonged(world: World) -> None:
    with pytest.raises(NotFound, match="ever reached main"):
        asked(world, "2026-11-23-db-from-bastion-0000")


def test_the_chain_counts_from_its_first_link(world: World) -> None:
    link = world.open(duration=HOUR).id
    for number in (1, 2, 3):
        world.clock.tick(50 * MINUTE)
        link = extended(world, link, HOUR, f"a00{number}").id
    world.clock.tick(50 * MINUTE)
    # 200 minutes since the first opening; four hours are the maximum.
    with pytest.raises(Refused, match="at most 4h are allowed") as caught:
        asked(world, link, HOUR)
    assert caught.value.remedy is not None
    assert "ask for 40m or less" in caught.value.remedy
    assert asked(world, link, 40 * MINUTE).activation.spec.extends == link


def test_the_applier_judges_the_chain_again_at_the_merge(world: World) -> None:
    first = world.open()
    world.apply_everywhere()
    prepared = asked(world, first.id)
    pull = submitted(world, prepared)
    world.approve(pull, "ada", "barbara")
    world.clock.tick(HALF_HOUR)
    world.merge(pull)
    applied = world.apply("prod-eu")
    assert [finding.id for finding in applied.refused[prepared.activation.id]] == ["extend-over"]
    assert world.is_baseline("prod-eu")


def test_an_extension_that_nobody_approved_opens_nothing(world: World) -> None:
    first = world.open()
    pull = submitted(world, prepared := asked(world, first.id))
    world.merge(pull)
    assert "approval-missing" in [each.id for each in world.apply("prod-eu").refused[prepared.activation.id]]


def test_a_link_that_was_refused_carries_no_chain(world: World) -> None:
    """A file on main that prolongs what never was is no way around the maximum."""
    first = world.open()
    template = asked(world, first.id).activation
    loose = changed(template, extends="2026-11-23-db-from-bastion-ffff")
    loose = loose.model_copy(update={"metadata": template.metadata.model_copy(update={"name": f"{template.id}0"})})
    world.commit({activation_file(loose.id): write_activation(loose)})
    assert ids(world, changed(template, extends=loose.id)) == ["extend-unknown"]


def test_one_that_names_itself_is_no_chain(world: World) -> None:
    first = world.open()
    template = asked(world, first.id).activation
    itself = changed(template, extends=template.id)
    world.commit({activation_file(itself.id): write_activation(itself)})
    windows = all_windows(world.repository(), world.tip())
    (window,) = [window for window in windows if window.id == itself.id]
    _, findings = judge_content(world.repository(), window)
    assert [finding.id for finding in findings] == ["extend-unknown"]
    overlay, policy = _contract(world)
    after = changed(template, extends=itself.id)
    found = judge_extension(after, overlay, policy, windows, world.clock.now(), "x")
    assert [finding.id for finding in found] == ["extend-unknown"]


def test_the_check_of_the_pull_request_says_the_same(world: World) -> None:
    first = world.open()
    pull = submitted(world, asked(world, first.id))
    world.clock.tick(HALF_HOUR)
    _, checked = check_pull_request(world.gate(), world.renderer, pull.number, "main", world.clock.now())
    assert "extend-over" in [finding.id for finding in checked.findings]
    assert not checked.passed


def _contract(world: World) -> tuple[Any, Any]:
    clone = world.repository()
    return read_overlay(clone, world.first, "db-from-bastion").overlay, read_policy(clone, world.first)


minutes = st.integers(1, 240).map(lambda number: number * MINUTE)


@given(st.lists(st.tuples(minutes, st.floats(0, 1)), min_size=1, max_size=8), minutes)
def test_no_chain_is_longer_than_the_maximum(links: list[tuple[timedelta, float]], first: timedelta) -> None:
    """Whatever lengths people ask for and whenever they are merged: what is not refused ends within the maximum."""
    world = World()
    overlay, policy = _contract(world)
    base, _ = world.ask(duration=first)
    begin = world.clock.now()
    (opened,) = _windows(world, [(base, begin)])
    windows = [opened]
    for number, (duration, share) in enumerate(links):
        before = windows[-1]
        assert before.expiry is not None
        at = before.opened.committed_at + (before.expiry - before.opened.committed_at) * share
        at = at.replace(microsecond=0)
        metadata = base.metadata.model_copy(update={"name": f"{base.id}-{number}"})
        link = changed(base, extends=before.id, duration=duration, requestedAt=at)
        link = link.model_copy(update={"metadata": metadata})
        latest = latest_merge(link, overlay, policy, windows)
        refused = bool(judge_extension(link, overlay, policy, windows, at, "x"))
        assert latest is not None
        assert refused == (at >= before.expiry or at + duration - begin > 4 * HOUR)
        assert refused or at <= latest
        if not refused:
            windows += _windows(world, [(link, at)])
    last = windows[-1].expiry
    assert last is not None
    assert last - begin <= 4 * HOUR


def _windows(world: World, activations: list[tuple[Activation, Any]]) -> Iterator[Window]:
    """Windows as main would hold them, opened at these times."""
    _, policy = _contract(world)
    commit = world.repository().commit(world.first)
    for activation, at in activations:
        opened = replace(commit, committed_at=at)
        yield Window(activation.id, activation, policy, opened, None, at + activation.spec.duration, ())
