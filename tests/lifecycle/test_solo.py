"""Nobody there: what the policy bounds is merged by the machine, loudly; everything else is refused and explained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.approval import Gate
from breakglass.lifecycle.request import SOLO_WORKFLOW, Prepared, Request, body, prepare, submit
from breakglass.lifecycle.reviews import submit_review
from breakglass.lifecycle.solo import ALARM, Solo, merge_solo
from breakglass.model.activation import Activation, activation_file, write_activation
from breakglass.model.errors import Conflict, Refused, Unreachable
from breakglass.model.evidence import ReviewedCommit
from breakglass.ports import PullRequest
from laws import example
from laws.world import LEDGER, World
from ports.forge import InMemoryForge
from ports.remote import PLAIN

MINUTE = timedelta(minutes=1)
BOUNDS = {
    "requesters": [f"@{example.ON_CALL}"],
    "overlays": ["db-from-bastion"],
    "clusters": ["prod-eu"],
    "maximum": "30m",
    "reviewWithin": "24h",
}
DETAILS: dict[str, Any] = {
    "overlay": "db-from-bastion",
    "clusters": ("prod-eu",),
    "parameters": {"ticket": "INC-1"},
    "reason": "checkout down",
    "incident": "INC-4211",
    "requested_by": example.ON_CALL,
    "duration": 30 * MINUTE,
    "solo": True,
}


def files(bounds: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The repository, with this solo path in its policy."""
    held = example.files()
    policy = json.loads(held["breakglass.yaml"])
    policy["spec"] |= {} if bounds is None else {"solo": bounds}
    return held | {"breakglass.yaml": json.dumps(policy).encode()}


@pytest.fixture
def world() -> World:
    return World(files=files(BOUNDS))


def asked(world: World, random: str = "7f3a", **details: Any) -> Prepared:
    return prepare(
        world.repository(),
        world.renderer,
        CelConditions(),
        Request(**(DETAILS | details)),
        branch="main",
        ledger_branch=LEDGER,
        now=world.clock.now(),
        random=random,
    )


def submitted(world: World, prepared: Prepared, login: str = example.ON_CALL) -> PullRequest:
    return submit(prepared, world.repository(), InMemoryForge(world.forge, login), login)


def merged(world: World, pull: PullRequest, gate: Gate | None = None) -> Solo:
    return merge_solo(gate or world.gate(), world.renderer, world.clock, pull.number, "main")


def propose(world: World, activation: Activation, by: str = example.ON_CALL, **fields: Any) -> PullRequest:
    """Somebody opens a pull request with a file that they wrote by hand."""
    changed = activation.model_copy(update={"spec": activation.spec.model_copy(update=fields)})
    return world.propose(activation_file(changed.id), write_activation(changed), by)


def ids(done: Solo) -> set[str]:
    assert done.merge is None
    return {finding.id for finding in done.findings}


def test_alone_it_is_merged_told_and_opened(world: World) -> None:
    prepared = asked(world)
    assert prepared.required.approvals == 0
    assert "| Alone | nobody need approve" in body(prepared)
    pull = submitted(world, prepared)
    assert world.forge.dispatched == [SOLO_WORKFLOW]
    done = merged(world, pull)
    assert done.merge == world.tip()
    assert world.forge.alarms[ALARM] == ["Opened by one person alone"]
    assert "Merged without an approval" in world.forge.replies[pull.number][0]
    assert [conclusion for conclusion, _ in world.forge.checks[pull.head]] == ["success"]
    assert [held.activation for held in world.apply("prod-eu").open] == [prepared.activation.id]


def test_the_workflow_asks_for_others_and_it_opens_all_the_same(world: World) -> None:
    pull = submitted(world, asked(world), example.BOT)
    assert merged(world, pull).merge is not None
    assert world.apply("prod-eu").refused == {}


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"duration": 31 * MINUTE}, "31m is longer than alone one may open: 30m"),
        ({"clusters": ("prod-us",)}, "prod-us is not for opening alone"),
        ({"overlay": "widen-metrics", "parameters": {}}, "widen-metrics is not for opening alone"),
    ],
)
def test_what_the_policy_does_not_let_alone_is_not_even_asked(
    world: World, details: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        asked(world, **details)


def test_without_a_solo_path_nobody_opens_alone() -> None:
    world = World(files=files(None))
    with pytest.raises(Refused, match="the policy knows no solo path"):
        asked(world)
    activation = asked(world, solo=False).activation
    assert ids(merged(world, propose(world, activation, solo=True))) == {"solo-forbidden"}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"duration": 31 * MINUTE}, {"solo-bounds"}),
        ({"clusters": ["prod-us"]}, {"solo-bounds"}),
        ({"requestedBy": "mallory"}, {"solo-bounds", "approval-requester", "solo-hands"}),
        ({"digest": f"sha256:{'0' * 64}"}, {"activation-digest"}),
    ],
)
def test_a_file_by_hand_is_held_to_the_same_bounds_and_explained(
    world: World, fields: dict[str, Any], found: set[str]
) -> None:
    pull = propose(world, asked(world).activation, **fields)
    assert ids(merged(world, pull)) == found
    (reply,) = world.forge.replies[pull.number]
    assert all(f"`{each}`" in reply for each in found)
    assert (world.forge.alarms, world.forge.checks) == ({}, {})
    world.merge(pull)
    assert world.apply("prod-eu").open == world.apply("prod-us").open == []


def test_nobody_has_another_open_alone(world: World) -> None:
    pull = propose(world, asked(world).activation, by="mallory")
    assert ids(merged(world, pull)) == {"approval-requester", "solo-hands"}
    world.merge(pull)
    assert world.apply("prod-eu").open == []


def test_a_push_to_the_machines_pull_request_does_not_make_it_somebody_elses(world: World) -> None:
    """mallory asks for herself through the workflow, then writes the name of who may into the file."""
    activation = asked(world).activation
    pull = propose(world, activation, by=example.BOT, requestedBy="mallory")
    assert "solo-bounds" in ids(merged(world, pull))
    head = world.remote.commit(
        (pull.head,), {activation_file(activation.id): (PLAIN, write_activation(activation))}, world.clock.now()
    )
    world.remote.set_ref(f"refs/heads/{pull.head_branch}", head)
    world.forge.moved(pull.head_branch, "push", head, "mallory")
    assert ids(merged(world, pull)) == {"solo-hands"}
    world.merge(pull)
    assert world.apply("prod-eu").open == []


@pytest.mark.parametrize("hand", ["author", "committer"])
def test_a_commit_by_somebody_else_is_a_hand_too(world: World, hand: str) -> None:
    pull = submitted(world, asked(world))
    makers = {"author": example.ON_CALL, "committer": example.ON_CALL} | {hand: "mallory"}
    world.forge.commits[pull.number] = (ReviewedCommit(sha=pull.head, emails=[], **makers),)
    assert ids(merged(world, pull)) == {"solo-hands"}


def test_what_takes_approvals_is_never_merged_here(world: World) -> None:
    pull = submitted(world, asked(world, solo=False))
    world.approve(pull)
    with pytest.raises(Refused, match="no request to open alone"):
        merged(world, pull)
    closing = world.close_early(world.open().id)
    with pytest.raises(Refused, match="no request to open alone"):
        merged(world, closing)


def test_somebody_who_objects_is_heard(world: World) -> None:
    pull = submitted(world, asked(world))
    world.forge.review(pull.number, "ada", "CHANGES_REQUESTED")
    assert ids(merged(world, pull)) == {"approval-blocked"}


def test_a_push_to_main_keeps_this_shut_too(world: World) -> None:
    pull = submitted(world, asked(world))
    world.forge.moved("main", "push", world.commit({"README.md": b"x"}), "mallory")
    assert ids(merged(world, pull)) == {"main-moved"}


def test_a_review_that_is_owed_asks_for_an_approval_and_is_paid_by_a_review(world: World) -> None:
    first = asked(world)
    assert merged(world, submitted(world, first)).merge is not None
    world.clock.tick(timedelta(hours=25))
    second = submitted(world, asked(world, "0002"))
    assert ids(merged(world, second)) == {"approval-missing"}
    assert "1 approvals" in world.forge.replies[second.number][0]

    _, review = submit_review(
        world.repository(),
        InMemoryForge(world.forge, "ada"),
        "main",
        first.activation.id,
        reviewed_by="ada",
        now=world.clock.now(),
        justified=True,
        summary="right to open",
        follow_ups=(),
    )
    world.merge(review, "barbara")
    assert merged(world, second).merge is not None


def test_with_a_debt_one_approval_is_enough(world: World) -> None:
    assert merged(world, submitted(world, asked(world))).merge is not None
    world.clock.tick(timedelta(hours=25))
    prepared = asked(world, "0002")
    asked_id, second = prepared.activation.id, submitted(world, prepared)
    world.approve(second, "ada")
    assert merged(world, second).merge is not None
    assert [held.activation for held in world.apply("prod-eu").open] == [asked_id]


def test_what_cannot_be_told_is_not_opened(world: World) -> None:
    class Mute(InMemoryForge):
        def alarm(self, marker: str, title: str, body: str, *, quiet: timedelta = timedelta(0)) -> str:
            del marker, title, body, quiet
            raise Unreachable("issues are out of order")

    pull, before = submitted(world, asked(world)), world.tip()
    gate = replace(world.gate(), forge=Mute(world.forge, example.BOT))
    with pytest.raises(Unreachable):
        merged(world, pull, gate)
    assert world.tip() == before


def test_a_push_between_the_verdict_and_the_merge_is_not_merged(world: World) -> None:
    class Slow(InMemoryForge):
        def alarm(self, marker: str, title: str, body: str, *, quiet: timedelta = timedelta(0)) -> str:
            head = world.remote.commit((pull.head,), {"x": (PLAIN, b"x")}, world.clock.now())
            world.remote.set_ref(f"refs/heads/{pull.head_branch}", head)
            return super().alarm(marker, title, body, quiet=quiet)

    pull, before = submitted(world, asked(world)), world.tip()
    with pytest.raises(Conflict):
        merged(world, pull, replace(world.gate(), forge=Slow(world.forge, example.BOT)))
    assert world.tip() == before


def test_github_may_take_a_while_to_tell_who_pushed(world: World) -> None:
    pull = submitted(world, asked(world))
    told, begin = world.forge.moves.pop(pull.head_branch), world.clock.now()

    class Late(InMemoryForge):
        def moves(self, branch: str, since: Any) -> Any:
            if world.clock.now() - begin >= timedelta(seconds=6):
                world.forge.moves[pull.head_branch] = told
            return super().moves(branch, since)

    assert merged(world, pull, replace(world.gate(), forge=Late(world.forge, example.BOT))).merge is not None
    other = submitted(world, asked(world, "0002"))
    del world.forge.moves[other.head_branch]
    assert ids(merged(world, other)) == {"approval-pusher"}


def test_what_is_closed_is_not_merged(world: World) -> None:
    pull = submitted(world, asked(world))
    InMemoryForge(world.forge, "ada").close_pull_request(pull.number)
    with pytest.raises(Refused, match="is closed"):
        merged(world, pull)
