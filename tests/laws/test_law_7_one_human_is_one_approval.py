"""Law 7: author, committer, co-authors, bots and aliases are no approvals; empty sets refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model.evidence import Review, ReviewedCommit
from laws import example
from laws.asked import HEAD, OVERLAY, STALE, commit, evidence, review, verdict_on
from laws.world import World
from ports.clock import NIGHT

PEOPLE = ("ada", "grace", "barbara", "linus", "mallory", example.BOT)

spellings = st.sampled_from(PEOPLE[:5]).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()]))
reviews = st.lists(
    st.builds(
        Review,
        login=st.sampled_from(PEOPLE[:5]).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()])),
        human=st.sampled_from([True, True, True, False]),
        state=st.sampled_from(["APPROVED", "APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]),
        commit=st.sampled_from([HEAD, HEAD, STALE, None]),
        submittedAt=st.integers(0, 9).map(lambda minute: NIGHT + timedelta(minutes=minute)),
    ),
    max_size=8,
)
groups = st.lists(st.sampled_from(PEOPLE[:5]), unique=True)


def approval(login: str, minute: int = 0, state: str = "APPROVED", **fields: Any) -> Review:
    return review(login, minute * 60, state, **fields)


def findings(**fields: Any) -> list[str]:
    return [finding.id for finding in verdict_on(evidence(**fields)).findings]


@given(said=reviews, owners=groups, approvers=groups, involved=st.lists(spellings, max_size=2))
def test_law_7_one_human_is_one_approval(
    said: list[Review], owners: list[str], approvers: list[str], involved: list[str]
) -> None:
    teams = {"@acme/owners": owners, example.TEAM: approvers}
    known = [{"login": login, "human": True, "suspended": False, "member": True} for login in PEOPLE]
    commits = [commit(name) for name in ("on-call", *involved)]
    asked = evidence(reviews=said, owners=["@acme/owners"], teams=teams, commits=commits, accounts=known)
    verdict = verdict_on(asked)
    yes = set()
    for human in set(owners) & set(approvers) - {name.lower() for name in involved}:
        own = [item for item in said if item.human and item.login.lower() == human]
        last = [item for item in own if item.state not in ("COMMENTED", "PENDING")]
        last.sort(key=lambda item: item.submittedAt)
        if last and last[-1].state == "APPROVED" and last[-1].commit == HEAD:
            yes.add(human)
    assert set(verdict.approved_by) == yes
    assert not verdict.approved or len(yes) >= 2


def test_two_distinct_owners_who_are_approvers_are_enough() -> None:
    assert findings(reviews=[approval("ada"), approval("grace", 1)]) == []


@pytest.mark.parametrize(
    "second",
    [
        approval("ada", 1),
        approval("ADA", 1),
        approval("on-call", 1),
        approval("grace", 1, human=False),
        approval("grace", 1, commit=STALE),
        approval("grace", 1, commit=None),
        approval("grace", 1, state="DISMISSED"),
        approval("grace", 1, state="COMMENTED"),
        approval("grace", 1, state="PENDING"),
        approval("mallory", 1),
    ],
    ids=["same", "other case", "author", "bot", "stale", "no commit", "dismissed", "comment", "pending", "stranger"],
)
def test_what_is_no_second_approval(second: Review) -> None:
    assert findings(reviews=[approval("ada"), second]) == ["approval-missing"]


@pytest.mark.parametrize(
    "fields",
    [
        {"requestedBy": "Grace", "author": "GRACE"},
        {"commits": [commit(), commit("GRACE")]},
        {"commits": [commit("on-call", "GRACE")]},
        {"pushers": ["on-call", "GRACE"]},
    ],
    ids=["requester", "author", "committer", "pusher"],
)
def test_whoever_had_a_hand_in_it_does_not_count(fields: dict[str, Any]) -> None:
    assert findings(reviews=[approval("ada"), approval("grace")], **fields) == ["approval-missing"]


def test_the_bot_does_not_count_even_where_it_is_listed() -> None:
    teams = {example.TEAM: ["ada", example.BOT]}
    assert findings(reviews=[approval("ada"), approval(example.BOT)], teams=teams) == ["approval-missing"]


def test_one_human_in_two_teams_is_one_human() -> None:
    teams = {example.TEAM: ["ada"], "@acme/dba": ["ada", "Ada"]}
    said = [approval("ada"), approval("Ada", 1)]
    assert "approval-missing" in findings(reviews=said, owners=[example.TEAM, "@acme/dba"], teams=teams)


@pytest.mark.parametrize(
    "fields",
    [
        {"owners": []},
        {"teams": {}},
        {"teams": {example.TEAM: []}},
        {"owners": ["@mallory"]},
        {"teams": {example.TEAM: ["on-call"]}},
    ],
    ids=["no owners", "unresolved team", "empty team", "owner is no approver", "only the author"],
)
def test_an_empty_set_refuses(fields: dict[str, Any]) -> None:
    said = [approval("ada"), approval("grace"), approval("mallory")]
    assert "approval-nobody" in findings(reviews=said, **fields)


def test_a_change_asked_for_blocks_until_the_same_person_approves() -> None:
    said = [approval("ada"), approval("grace", 1), approval("barbara", 2, state="CHANGES_REQUESTED", commit=STALE)]
    assert findings(reviews=said) == ["approval-blocked"]
    assert findings(reviews=[*said, approval("barbara", 3)]) == []
    assert findings(reviews=[*said, approval("barbara", 3, state="COMMENTED")]) == ["approval-blocked"]


def test_an_approval_that_was_taken_back_does_not_count() -> None:
    said = [approval("ada"), approval("grace"), approval("grace", 1, state="CHANGES_REQUESTED")]
    assert set(findings(reviews=said)) == {"approval-blocked", "approval-missing"}


def test_a_commit_of_somebody_unknown_refuses() -> None:
    said = [approval("ada"), approval("grace")]
    assert findings(reviews=said, commits=[commit("on-call", "on-call", "x@example.com")]) == [
        "approval-unknown-author"
    ]


def test_nobody_asks_in_the_name_of_another() -> None:
    said = [approval("ada"), approval("grace")]
    assert findings(reviews=said, author="mallory") == ["approval-requester"]
    assert findings(reviews=said, author=example.BOT) == []


def test_the_stricter_of_policy_and_overlay_counts() -> None:
    approvals = OVERLAY.spec.approvals.model_copy(update={"minimum": 3})
    strict = OVERLAY.model_copy(update={"spec": OVERLAY.spec.model_copy(update={"approvals": approvals})})
    verdict = verdict_on(evidence(reviews=[approval("ada"), approval("grace")]), strict)
    assert (verdict.required, verdict.approved) == (3, False)
    assert verdict.candidates == ("barbara",)


@pytest.mark.parametrize("login", ["grace", "GRACE"])
def test_a_commander_who_wrote_a_commit_of_the_pull_request_does_not_open_it(world: World, login: str) -> None:
    activation, pull = world.ask()
    own = ReviewedCommit(sha=pull.head, author="on-call", committer=login, emails=[])
    world.forge.commits[pull.number] = (own,)
    world.approve(pull)
    world.merge(pull)
    assert "approval-missing" in [item.id for item in world.apply("prod-eu").refused[activation.id]]
    assert world.is_baseline("prod-eu")
