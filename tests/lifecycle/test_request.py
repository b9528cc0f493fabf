"""Opening: what is asked for becomes a pull request that says what it says, whatever words people choose."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.request import Prepared, Request, body, literal, prepare, submit, title
from breakglass.model.activation import activation_file, write_activation
from breakglass.model.errors import BreakglassError, Conflict, NotFound, Refused, Unreachable
from laws import example
from laws.world import LEDGER, World
from ports.forge import InMemoryForge

DETAILS: dict[str, Any] = {
    "overlay": "db-from-bastion",
    "clusters": ("prod-eu",),
    "parameters": {"ticket": "INC-1"},
    "reason": "checkout down, need psql",
    "incident": "INC-4211",
    "requested_by": example.ON_CALL,
}


@pytest.fixture
def world() -> World:
    return World()


def prepared(world: World, **details: Any) -> Prepared:
    return prepare(
        world.repository(),
        world.renderer,
        CelConditions(),
        Request(**(DETAILS | details)),
        branch="main",
        ledger_branch=LEDGER,
        now=world.clock.now(),
        random="7f3a",
    )


def test_a_request_becomes_one_file_on_a_branch_of_its_own(world: World) -> None:
    asked = prepared(world)
    assert asked.activation.id == "2026-11-23-db-from-bastion-7f3a"
    assert asked.activation.spec.duration == timedelta(minutes=30)
    assert asked.checked.opens == ("opens     ops/bastion → data/postgres TCP 5432",)
    assert (asked.required.approvals, asked.approvers, asked.drill) == (2, (example.TEAM,), None)
    pull = submit(asked, world.repository(), InMemoryForge(world.forge, example.ON_CALL), author=example.ON_CALL)
    clone = world.repository()
    clone.fetch(f"refs/pull/{pull.number}/head")
    (change,) = clone.changes(world.tip(), pull.head)
    assert (change.path, change.status, change.new_mode) == (activation_file(asked.activation.id), "added", "100644")
    assert clone.files(pull.head, change.path)[change.path] == write_activation(asked.activation)
    assert world.forge.asked[pull.number] == (example.TEAM,)


def test_the_pull_request_opens_what_it_said_once_it_is_approved(world: World) -> None:
    pull = submit(
        prepared(world), world.repository(), InMemoryForge(world.forge, example.ON_CALL), author=example.ON_CALL
    )
    world.approve(pull)
    world.merge(pull)
    assert [item.activation for item in world.apply("prod-eu").open] == ["2026-11-23-db-from-bastion-7f3a"]


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"overlay": "nowhere"}, "there is no overlay"),
        ({"overlay": "../x"}, "there is no overlay"),
        ({"overlay": ".."}, "there is no overlay"),
        ({"overlay": "activations"}, "there is no overlay"),
        ({"overlay": ""}, "there is no overlay"),
        ({"clusters": ("nowhere",)}, "unknown cluster"),
        ({"clusters": ()}, "clusters"),
        ({"parameters": {}}, "ticket"),
        ({"parameters": {"ticket": "x", "more": "y"}}, "more"),
        ({"duration": timedelta(hours=5)}, "longer than the maximum"),
        ({"duration": timedelta(days=999_999_999)}, "out of bounds"),
        ({"duration": timedelta(seconds=-1)}, "out of bounds"),
        ({"reason": "a\nb"}, "line breaks"),
        ({"reason": "x" * 501}, "500"),
        ({"requested_by": "a b"}, "login"),
    ],
    ids=repr,
)
def test_a_request_that_cannot_be_is_refused_and_nothing_is_pushed(
    world: World, details: dict[str, Any], message: str
) -> None:
    before = dict(world.remote.refs)  # type: ignore[attr-defined]
    with pytest.raises(Refused, match=message):
        prepared(world, **details)
    assert world.remote.refs == before  # type: ignore[attr-defined]


def test_every_finding_is_in_the_refusal_not_the_first(world: World) -> None:
    with pytest.raises(Refused) as caught:
        prepared(world, clusters=("nowhere",), duration=timedelta(hours=5), parameters={})
    assert [word in str(caught.value) for word in ("unknown cluster", "longer than", "ticket")] == [True] * 3


def test_without_main_nothing_can_be_asked(world: World) -> None:
    world.remote.set_ref("refs/heads/main", None)
    with pytest.raises(NotFound, match="no branch main"):
        prepared(world)


@pytest.mark.parametrize("error", [Unreachable, Conflict])
def test_a_request_that_cannot_be_submitted_opens_nothing(world: World, error: type[BreakglassError]) -> None:
    asked, clone, forge = prepared(world), world.repository(), InMemoryForge(world.forge, example.ON_CALL)
    if error is Conflict:
        world.remote.set_ref(f"refs/heads/{asked.branch}", world.tip())
    else:
        world.lose_the_network()
    with pytest.raises(error):
        submit(asked, clone, forge, author=example.ON_CALL)
    assert world.forge.pulls == {}


def test_the_body_tells_a_reviewer_what_two_minutes_need(world: World) -> None:
    told = body(prepared(world))
    for words in ("opens     ops/bastion → data/postgres TCP 5432", "checkout down, need psql", "INC-4211", "30m"):
        assert words in told
    assert "| Needs | 2 of `@acme/incident-commanders` |" in told
    assert "| Drilled | never |" in told
    assert "breakglass close 2026-11-23-db-from-bastion-7f3a" in told


def test_the_title_is_one_line(world: World) -> None:
    assert title(prepared(world).activation) == "Open db-from-bastion on prod-eu for 30m (INC-4211)"


@given(st.text(st.sampled_from("`|\\<>@[]()!*_#\n ax"), min_size=1, max_size=20).filter(str.strip))
def test_words_of_people_are_shown_as_they_are_and_do_nothing(text: str) -> None:
    # A code span ends at the first run of exactly as many backticks: https://spec.commonmark.org/0.31.2/#code-spans
    shown = literal(text)
    assert "\n" not in shown
    opening = re.match("`+", shown)
    assert opening is not None
    runs = [run for run in re.findall("`+", shown) if len(run) == len(opening.group())]
    assert len(runs) == 2
    assert shown.endswith(runs[-1])
    # Every bar is escaped, so that none divides a cell: https://github.github.com/gfm/#tables-extension-
    assert re.search(r"(?<!\\)\|", shown) is None
