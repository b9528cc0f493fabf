"""Asking in a comment: who may is served in their own name, everybody is answered, and no words do anything else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.lifecycle.expire import EXPIRE_WORKFLOW
from breakglass.lifecycle.issue_comment import Answered, Answering, answer
from breakglass.lifecycle.request import SOLO_WORKFLOW
from breakglass.model.activation import Activation
from breakglass.model.document import read
from breakglass.model.errors import Unreachable
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.ports import IssueComment, PullRequest
from laws import example
from laws.world import World
from lifecycle.test_solo import BOUNDS, files
from ports.forge import InMemoryForge

ISSUE = 9
OPEN = "/breakglass open db-from-bastion on prod-eu for 30m with ticket=INC-1 because INC-4211 checkout is down"


@pytest.fixture
def world() -> World:
    return World(files=files(BOUNDS))


def comment(world: World, body: str, **fields: Any) -> IssueComment:
    made = IssueComment(
        id=4711,
        issue=ISSUE,
        author=example.ON_CALL,
        human=True,
        created=True,
        created_at=world.clock.now(),
        body=body,
    )
    return replace(made, **fields)


def told(world: World, said: IssueComment, actor: str | None = None, *, forge: Any = None) -> Answered:
    """A run of the workflow."""
    gate = world.gate()
    gate = replace(gate, forge=forge) if forge is not None else gate
    policy = read(world.files[POLICY_FILE], POLICY_FILE, Policy)
    answering = Answering(gate, world.renderer, world.clock, "main", policy, lambda _: None)
    return answer(answering, said, said.author if actor is None else actor)


def activation(world: World, pull: PullRequest | None) -> Activation:
    """The one file of an opening pull request."""
    assert pull is not None
    clone = world.repository()
    clone.fetch(f"refs/pull/{pull.number}/head")
    (change,) = clone.changes(clone.merge_base(world.tip(), pull.head), pull.head)
    assert change.status == "added"
    return read(clone.files(pull.head, change.path)[change.path], change.path, Activation)


def test_a_command_becomes_a_pull_request_in_the_authors_name_and_is_answered(world: World) -> None:
    said = comment(world, OPEN + "\r\n\r\nplease hurry")
    answered = told(world, said)
    assert answered.outcome == "done"
    made = activation(world, answered.pull)
    assert (made.spec.requestedBy, made.spec.reason, made.spec.incident) == ("on-call", "checkout is down", "INC-4211")
    assert (made.spec.clusters, made.spec.parameters) == (["prod-eu"], {"ticket": "INC-1"})
    assert made.spec.requestedAt == said.created_at
    assert answered.pull is not None
    assert answered.pull.author == example.BOT
    (reply,) = world.forge.replies[ISSUE]
    for words in (answered.pull.url, "opens     ops/bastion", "Needs 2 of", f"/breakglass close {made.id}"):
        assert words in reply
    world.approve(answered.pull)
    world.merge(answered.pull)
    assert [held.activation for held in world.apply("prod-eu").open] == [made.id]


def test_the_same_comment_told_twice_asks_once(world: World) -> None:
    said = comment(world, OPEN)
    first = told(world, said)
    world.clock.tick(timedelta(minutes=1))
    second = told(world, said)
    assert second.outcome == "done"
    assert second.pull == first.pull
    assert "asked already" in world.forge.replies[ISSUE][1]
    assert len(world.forge.pulls) == 1
    assert first.pull is not None
    world.approve(first.pull)
    world.merge(first.pull)
    third = told(world, said)
    assert (third.outcome, third.pull) == ("refused", None)
    assert "was used before" in third.body


def test_a_run_started_again_much_later_opens_nothing(world: World) -> None:
    said = comment(world, OPEN)
    world.clock.tick(timedelta(hours=3))
    answered = told(world, said)
    assert answered.outcome == "refused"
    assert "outlived its time to live" in answered.body
    assert world.forge.pulls == {}


def test_two_comments_are_two_requests(world: World) -> None:
    one, other = told(world, comment(world, OPEN)), told(world, comment(world, OPEN, id=4712))
    assert activation(world, one.pull).id != activation(world, other.pull).id


def test_a_branch_of_somebody_else_is_not_taken_for_ours(world: World) -> None:
    """The id follows from the comment's number, so that somebody may be there first."""
    first = told(world, comment(world, OPEN))
    assert first.pull is not None
    world.forge.pulls[first.pull.number] = replace(first.pull, author="mallory")
    answered = told(world, comment(world, OPEN))
    assert (answered.outcome, answered.pull) == ("refused", None)
    assert "write the command once more" in answered.body


@pytest.mark.parametrize("permission", ["read", "none"])
@pytest.mark.parametrize("line", [OPEN, "/breakglass close x", "/breakglass status", "/breakglass nonsense"])
def test_a_stranger_is_told_no_and_nothing_is_done(world: World, permission: Any, line: str) -> None:
    world.forge.permissions["mallory"] = permission
    answered = told(world, comment(world, line, author="mallory"))
    assert answered.outcome == "refused"
    assert "`mallory may not push to this repository" in world.forge.replies[ISSUE][0]
    assert (world.forge.pulls, world.forge.dispatched) == ({}, [])


@pytest.mark.parametrize(
    ("fields", "actor"),
    [
        ({"body": "we should /breakglass open something"}, None),
        ({"body": f"> {OPEN}"}, None),
        ({"body": f"```\n{OPEN}\n```"}, None),
        ({"created": False}, None),
        ({"human": False}, None),
        ({}, "mallory"),
    ],
    ids=["no command", "quoted", "code block", "edited", "a bot", "started by another"],
)
def test_what_nobody_asked_is_ignored_without_asking_the_forge(
    world: World, fields: dict[str, Any], actor: str | None
) -> None:
    world.network(git=True, forge=False)
    said = replace(comment(world, OPEN), **fields)
    assert told(world, said, actor).outcome == "ignored"
    assert world.forge.replies == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/breakglass opne x", "word 2: expected one of open"),
        ("/breakglass open nowhere because INC-1 x", "there is no overlay"),
        ("/breakglass open db-from-bastion because INC-1 x with ticket=a", "meant for several clusters: none"),
        ("/breakglass open db-from-bastion on prod-eu because INC-1 x", "'ticket' is a required property"),
        (OPEN.replace("30m", "5h"), "longer than the maximum"),
        (OPEN.replace("prod-eu", "nowhere"), "unknown cluster nowhere"),
        (f"{OPEN} {'x' * 501}", "500"),
        ("/breakglass extend 2026-11-23-db-from-bastion-0000 for 30m because x", "ever reached main"),
        ("/breakglass close 2026-11-23-db-from-bastion-0000", "is not open on main"),
        (f"{OPEN.replace('prod-eu', 'prod-us')} solo", "prod-us is not for opening alone"),
    ],
)
def test_what_cannot_be_is_explained(world: World, line: str, words: str) -> None:
    answered = told(world, comment(world, line))
    assert answered.outcome == "refused"
    assert words in world.forge.replies[ISSUE][0]
    assert world.forge.replies[ISSUE][0].startswith("Nothing was done: `")
    assert world.forge.pulls == {}


def test_a_solo_request_is_handed_to_the_workflow_that_merges_it(world: World) -> None:
    answered = told(world, comment(world, f"{OPEN} solo"))
    assert activation(world, answered.pull).spec.solo
    assert world.forge.dispatched == [SOLO_WORKFLOW]
    assert "Nobody need approve it" in world.forge.replies[ISSUE][0]


def test_extending_makes_a_linked_activation(world: World) -> None:
    first = world.open()
    answered = told(world, comment(world, f"/breakglass extend {first.id} for 1h because it takes longer"))
    made = activation(world, answered.pull)
    assert (made.spec.extends, made.spec.duration, made.spec.reason) == (
        first.id,
        timedelta(hours=1),
        "it takes longer",
    )
    assert f"prolonging `{first.id}`" in world.forge.replies[ISSUE][0]


def test_closing_needs_no_approval_and_starts_its_merge(world: World) -> None:
    first = world.open()
    world.apply_everywhere()
    answered = told(world, comment(world, f"/breakglass close {first.id} because `solved` @acme/all"))
    assert answered.pull is not None
    assert world.forge.dispatched == [EXPIRE_WORKFLOW]
    assert told(world, comment(world, f"/breakglass close {first.id}")).pull == answered.pull, "twice is once"
    world.expire()
    assert world.on_main() == set()


def test_closing_works_on_a_broken_main(world: World) -> None:
    first = world.open()
    world.commit({"breakglass.yaml": b"a: ["})
    assert told(world, comment(world, f"/breakglass close {first.id}")).outcome == "done"


def test_status_tells_what_is_open(world: World) -> None:
    assert told(world, comment(world, "/breakglass status")).body == "Nothing is open.\n"
    first = world.open()
    world.apply_everywhere()
    for line in ("/breakglass status", f"/breakglass status {first.id}"):
        body = told(world, comment(world, line)).body
        assert f"| `{first.id}` | `prod-eu` | open | 30:00 left | `on-call` |" in body
    assert "never reached main" in told(world, comment(world, "/breakglass status 2026-x")).body


def test_help_shows_what_can_be_asked(world: World) -> None:
    assert OPEN.split(" because")[0].split(" with")[0] in told(world, comment(world, "/breakglass")).body


def test_what_may_work_later_is_told_and_fails_the_job(world: World) -> None:
    class Flaky(InMemoryForge):
        def author_of(self, login: str) -> tuple[str, str]:
            raise Unreachable(f"the forge does not know {login} now")

    with pytest.raises(Unreachable):
        told(world, comment(world, OPEN), forge=Flaky(world.forge, example.BOT))
    assert world.forge.replies[ISSUE] == ["Nothing was done: `the forge does not know acme-breakglass[bot] now`\n"]


HOSTILE = st.text(st.sampled_from("`|\\<>@[]()!*_#$;&{}'\"= axé🔥"), min_size=1, max_size=20).filter(str.strip)


@given(HOSTILE, HOSTILE)
def test_words_of_people_stay_words(one: str, other: str) -> None:
    """In the file they stand as they are; in the thread only within code spans, which hold no mention, link or HTML."""
    world = World(files=files(BOUNDS))
    lines = (f"{OPEN} {one}", f"/breakglass {one}", f"/breakglass open {one} because {other}")
    for number, line in enumerate(lines, 1):
        answered = told(world, comment(world, line, id=number))
        (reply,) = world.forge.replies.pop(ISSUE)
        outside = re.sub(r"(?s)(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", reply)
        assert not re.search(r"[@<>$\[\]|*]", re.sub(r"https://\S+", "", outside)), reply
        if line.startswith(OPEN) and answered.pull is not None:
            assert activation(world, answered.pull).spec.reason == " ".join(f"checkout is down {one}".split())


def test_nothing_reaches_main_by_a_comment_alone(world: World) -> None:
    before = world.tip()
    told(world, comment(world, OPEN))
    assert world.tip() == before
    assert world.on_main() == set()
