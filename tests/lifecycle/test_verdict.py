"""Evidence: who is behind users and teams, which review of a person counts, and what stands in the verdict."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.evidence import Evidence, Review, Verdict, judge, members, required_approvals
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from laws import example
from ports.clock import NIGHT

HEAD, STALE = "a" * 40, "b" * 40
FILES = example.files()
POLICY = read(FILES["breakglass.yaml"], "breakglass.yaml", Policy)
OVERLAY = read(FILES["overlays/emergency/db-from-bastion/overlay.yaml"], "overlay.yaml", Overlay)
MERGED = NIGHT + timedelta(minutes=5)


def review(login: str, second: int = 0, state: str = "APPROVED", **fields: Any) -> dict[str, Any]:
    at = NIGHT + timedelta(seconds=second)
    return {"login": login, "human": True, "state": state, "commit": HEAD, "submittedAt": at} | fields


def verdict(*reviews: dict[str, Any], overlay: Overlay = OVERLAY, **fields: Any) -> Verdict:
    values: dict[str, Any] = {
        "requestedBy": "on-call",
        "pullRequest": 7,
        "url": "https://forge.example.com/acme/platform/pull/7",
        "author": "on-call",
        "head": HEAD,
        "merge": "c" * 40,
        "mergedBy": "ada",
        "mergedAt": MERGED,
        "authors": ["on-call"],
        "unknownAuthors": [],
        "reviews": [Review(**each) for each in reviews],
        "owners": [example.TEAM],
        "teams": {example.TEAM: ["ada", "grace", "barbara"]},
    }
    return judge(Evidence(**(values | fields)), overlay, POLICY, "activation.yaml")


def test_a_user_is_one_person_a_team_is_its_members_and_an_unresolved_team_is_nobody() -> None:
    teams = {"@acme/dba": ["Ada", "grace"], "@acme/empty": []}
    assert members(["@Linus", "@acme/dba"], teams) == {"linus", "ada", "grace"}
    assert members(["@acme/unknown", "@acme/empty"], teams) == frozenset()
    assert members([], teams) == frozenset()


def test_a_user_with_the_name_of_a_team_is_not_the_team() -> None:
    assert members(["@dba"], {"@dba": ["mallory"], "@acme/dba": ["mallory"]}) == {"dba"}


@pytest.mark.parametrize(
    ("second", "counts"),
    [(-1, True), (0, True), (1, False), (3600, False)],
    ids=["before", "at the very second", "a second after", "an hour after"],
)
def test_a_review_after_the_merge_does_not_count(second: int, counts: bool) -> None:
    at = int((MERGED - NIGHT).total_seconds()) + second
    assert verdict(review("ada"), review("grace", at)).approved is counts


def test_nothing_that_is_said_after_the_merge_takes_an_approval_back() -> None:
    late = int((MERGED - NIGHT).total_seconds()) + 1
    said = [review("ada"), review("grace"), review("grace", late, "CHANGES_REQUESTED")]
    assert verdict(*said).approved
    assert not verdict(*said, merge=None, mergedAt=None).approved


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["APPROVED"], []),
        (["CHANGES_REQUESTED", "APPROVED"], []),
        (["DISMISSED", "APPROVED"], []),
        (["APPROVED", "COMMENTED"], []),
        (["APPROVED", "PENDING"], []),
        (["APPROVED", "CHANGES_REQUESTED"], ["approval-blocked", "approval-missing"]),
        (["APPROVED", "DISMISSED"], ["approval-missing"]),
        (["CHANGES_REQUESTED", "DISMISSED"], ["approval-missing"]),
        (["COMMENTED"], ["approval-missing"]),
        ([], ["approval-missing"]),
    ],
    ids=" then ".join,
)
def test_a_persons_last_word_counts_in_whatever_order_it_is_told(states: list[str], expected: list[str]) -> None:
    said = [review("grace", second, state) for second, state in enumerate(states)]
    for order in (said, said[::-1]):
        assert [finding.id for finding in verdict(review("ada"), *order).findings] == expected


def test_an_approval_of_another_commit_that_came_last_takes_the_one_of_the_head_back() -> None:
    assert not verdict(review("ada"), review("grace"), review("grace", 1, commit=STALE)).approved


def test_what_a_program_says_in_a_persons_name_does_not_count() -> None:
    assert verdict(review("ada"), review("grace", human=False)).approved_by == ("ada",)
    assert verdict(review("ada"), review("grace"), review("grace", 1, "CHANGES_REQUESTED", human=False)).approved


def test_whoever_may_not_approve_may_not_block_either() -> None:
    assert verdict(review("ada"), review("grace"), review("mallory", 1, "CHANGES_REQUESTED")).approved


def test_the_verdict_names_who_approved_and_who_else_could() -> None:
    found = verdict(review("GRACE"))
    assert (found.approved_by, found.required, found.candidates) == (("grace",), 2, ("ada", "barbara"))
    (finding,) = found.findings
    assert finding.message == f"1 of 2 approvals (grace) on {HEAD[:12]}"
    assert finding.remedy == "ask ada, barbara"
    assert finding.where == "activation.yaml"


@pytest.mark.parametrize(("minimum", "required"), [(1, 2), (2, 2), (3, 3)])
def test_the_larger_number_of_approvals_is_required(minimum: int, required: int) -> None:
    approvals = OVERLAY.spec.approvals.model_copy(update={"minimum": minimum})
    overlay = OVERLAY.model_copy(update={"spec": OVERLAY.spec.model_copy(update={"approvals": approvals})})
    assert required_approvals(overlay, POLICY) == required
    assert verdict(review("ada"), review("grace"), overlay=overlay).approved is (required == 2)


@pytest.mark.parametrize("names", [["on-call", "Grace"], ["grace"]])
def test_a_co_author_does_not_approve(names: list[str]) -> None:
    found = verdict(review("ada"), review("grace"), authors=names)
    assert found.approved_by == ("ada",)
    assert "grace" not in found.candidates


@given(st.permutations(["ada", "grace", "barbara"]), st.lists(st.booleans(), min_size=3, max_size=3))
def test_one_more_name_among_the_authors_never_helps(people: list[str], involved: list[bool]) -> None:
    said = [review(person, second) for second, person in enumerate(people)]
    authors = [person for person, hand in zip(people, involved, strict=True) if hand]
    assert set(verdict(*said, authors=authors).approved_by) == set(people) - set(authors)


def test_evidence_can_be_judged_again_from_what_was_written() -> None:
    evidence = Evidence(
        requestedBy="on-call",
        pullRequest=7,
        url="u",
        author="on-call",
        head=HEAD,
        merge=None,
        mergedBy=None,
        mergedAt=None,
        authors=[],
        unknownAuthors=[],
        reviews=[Review(**review("ada")), Review(**review("grace"))],
        owners=[example.TEAM],
        teams={example.TEAM: ["ada", "grace"]},
    )
    again = read(json.dumps(evidence.model_dump(mode="json")).encode(), "evidence.json", Evidence)
    assert again == evidence
    assert judge(again, OVERLAY, POLICY, "x").approved


@pytest.mark.parametrize(
    "changes", [{"state": "approved"}, {"login": "a b"}, {"human": 1}, {"submittedAt": "2026-11-23T02:13:00"}, {"x": 1}]
)
def test_a_review_of_anything_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Review(**(review("ada") | changes))


def test_evidence_that_is_not_whole_is_refused() -> None:
    with pytest.raises(InvalidFile):
        read(b"apiVersion: breakglass.dev/v1alpha1\nkind: Evidence\nrequestedBy: on-call\n", "evidence.json", Evidence)
