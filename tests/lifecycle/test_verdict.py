"""The verdict: whose review counts, how many are needed, what denies, and that it can be come to again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from breakglass.lifecycle.verdict import Verdict, represented
from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.evidence import Evidence, Review, members
from breakglass.model.overlay import Overlay
from laws import example
from laws.asked import BASE, HEAD, MERGED, OVERLAY, STALE, activation, commit, evidence, review, verdict_on, with_policy
from ports.clock import NIGHT


def verdict(*reviews: Review, overlay: Overlay = OVERLAY, **fields: Any) -> Verdict:
    merged = {"merge": "c" * 40, "mergedBy": "ada", "mergedAt": MERGED}
    return verdict_on(evidence(reviews=list(reviews), **(merged | fields)), overlay)


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
    found = verdict(review("ada"), review("grace"), overlay=overlay)
    assert (found.required, found.approved) == (required, required == 2)


@pytest.mark.parametrize("names", [["on-call", "Grace"], ["grace"]])
def test_a_co_author_does_not_approve(names: list[str]) -> None:
    found = verdict(review("ada"), review("grace"), commits=[commit(name) for name in names])
    assert found.approved_by == ("ada",)
    assert "grace" not in found.candidates


@given(st.permutations(["ada", "grace", "barbara"]), st.lists(st.booleans(), min_size=3, max_size=3))
def test_one_more_name_among_the_authors_never_helps(people: list[str], involved: list[bool]) -> None:
    said = [review(person, second) for second, person in enumerate(people)]
    authors = [person for person, hand in zip(people, involved, strict=True) if hand]
    commits = [commit(name) for name in authors]
    assert set(verdict(*said, commits=commits).approved_by) == set(people) - set(authors)


def test_evidence_can_be_judged_again_from_what_was_written() -> None:
    told = evidence(reviews=[review("ada"), review("grace")])
    again = read(json.dumps(told.model_dump(mode="json")).encode(), "evidence.json", Evidence)
    assert again == told
    assert verdict_on(again) == verdict_on(told)
    assert verdict_on(again).approved


@pytest.mark.parametrize(
    "changes", [{"state": "approved"}, {"login": "a b"}, {"human": 1}, {"submittedAt": "2026-11-23T02:13:00"}, {"x": 1}]
)
def test_a_review_of_anything_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Review(**(review("ada").model_dump() | changes))


def test_evidence_that_is_not_whole_is_refused() -> None:
    with pytest.raises(InvalidFile):
        read(b"apiVersion: breakglass.dev/v1alpha1\nkind: Evidence\nrequestedBy: on-call\n", "evidence.json", Evidence)


def account(login: str, **fields: Any) -> dict[str, Any]:
    return {"login": login, "human": True, "suspended": False, "member": True} | fields


@pytest.mark.parametrize(
    ("grace", "why"),
    [
        ({"suspended": True}, "is suspended"),
        ({"member": False}, "is an outside collaborator"),
        ({"human": False}, "is no human that the forge knows"),
        ({"login": "other"}, "is no human that the forge knows"),
    ],
    ids=["suspended", "outside", "program", "unknown"],
)
def test_an_account_that_may_not_count_is_told_with_the_reason(grace: dict[str, Any], why: str) -> None:
    found = verdict(review("ada"), review("grace"), accounts=[account("ada"), account("grace") | grace])
    assert found.approved_by == ("ada",)
    assert [(each.login, each.why) for each in found.ignored] == [("grace", why)]
    assert "grace" not in found.candidates


def test_every_approval_that_does_not_count_is_told_with_the_reason() -> None:
    said = [review("on-call"), review("mallory"), review("ada", commit=STALE), review("grace", human=False)]
    told = {each.login: each.why for each in verdict(*said).ignored}
    assert set(told) == {"on-call", "mallory", "ada", "grace"}
    assert "had a hand in it" in told["on-call"]
    assert "not both an owner of the path and an approver" in told["mallory"]
    assert "another commit than the head" in told["ada"]
    assert told["grace"] == "is no human"


def test_whoever_pushed_the_branch_does_not_approve_it() -> None:
    found = verdict(review("ada"), review("grace"), pushers=["on-call", "Grace"])
    assert found.approved_by == ("ada",)


def test_a_branch_that_nobody_is_known_to_have_pushed_refuses() -> None:
    found = verdict(review("ada"), review("grace"), pushers=[])
    assert [finding.id for finding in found.findings] == ["approval-pusher"]


def test_an_owner_by_name_need_not_be_resolved_as_a_team_and_others_must_own_too() -> None:
    dba = {"@acme/dba": ["linus"]}
    approvals = OVERLAY.spec.approvals.model_copy(update={"approvers": [example.TEAM, "@acme/dba"]})
    overlay = OVERLAY.model_copy(update={"spec": OVERLAY.spec.model_copy(update={"approvals": approvals})})
    teams = {example.TEAM: ["ada"], **dba}
    said = [review("ada"), review("linus")]
    assert verdict(*said, overlay=overlay, teams=teams).approved_by == ("ada",)
    owners = [example.TEAM, "@Acme/DBA"]
    assert verdict(*said, overlay=overlay, teams=teams, owners=owners).approved_by == ("ada", "linus")


# Moves of main.


def move(how: str, minutes_before: float, after: str = "e" * 40) -> dict[str, Any]:
    at = MERGED - timedelta(minutes=minutes_before)
    return {"how": how, "before": BASE, "after": after, "by": "mallory", "at": at}


@pytest.mark.parametrize("how", ["push", "force_push", "branch_deletion"])
def test_main_that_somebody_pushed_opens_nothing_for_a_week(how: str) -> None:
    said = (review("ada"), review("grace"))
    found = verdict(*said, moves=[move(how, 1)])
    assert [finding.id for finding in found.findings] == ["main-moved"]
    assert "mallory" in found.findings[0].message
    assert verdict(*said, moves=[move(how, 7 * 24 * 60)]).approved
    assert not verdict(*said, moves=[move(how, 7 * 24 * 60 - 1)]).approved


@pytest.mark.parametrize("how", ["pr_merge", "merge_queue_merge", "branch_creation"])
def test_main_that_a_pull_request_moved_opens(how: str) -> None:
    assert verdict(review("ada"), review("grace"), moves=[move(how, 1)]).approved


def test_a_push_that_was_looked_at_since_opens() -> None:
    told = evidence(reviews=[review("ada"), review("grace")], moves=[move("push", 1)], mergedAt=MERGED)
    forge = {"repository": "acme/platform"}
    assert verdict_on(told, policy=with_policy(forge=forge | {"vouched": ["e" * 40]})).approved
    assert not verdict_on(told, policy=with_policy(forge=forge | {"vouched": ["f" * 40]})).approved


# Rules of the policy.


def ruled(*rules: dict[str, Any], by: tuple[str, ...] = ("ada", "grace"), teams: Any = None, **asked: Any) -> Verdict:
    told = evidence(reviews=[review(login) for login in by], **({} if teams is None else {"teams": teams}))
    return verdict_on(told, policy=with_policy(rules=list(rules)), asked=activation(**asked))


def rule(when: str, **says: Any) -> dict[str, Any]:
    return {"name": "a-rule", "when": when, **says}


@pytest.mark.parametrize(
    "when",
    [
        "request.id.startsWith('2026-11-23-db-from-bastion')",
        "request.reason.contains('checkout')",
        "request.duration == duration('30m')",
        "request.requestedBy == 'on-call'",
        "request.requestedAt <= time.now",
        "request.parameters.ticket == 'INC-1'",
        "request.extends == ''",
        "!request.solo",
        "overlay.name == 'db-from-bastion'",
        "'NetworkPolicy.networking.k8s.io' in overlay.kinds",
        "clusters.exists(c, c.name == 'prod-eu' && c.purpose == 'drill')",
        "approvers.all(a, '@acme/incident-commanders' in a.teams) && size(approvers) == 2",
        "incident.matches('^INC-[0-9]+$')",
        "time.date == '2026-11-23' && time.hour == 2 && time.minute == 13 && time.weekday == 1",
    ],
)
def test_a_rule_may_speak_of_everything_that_is_documented(when: str) -> None:
    (finding,) = ruled(rule(when, deny="not tonight")).findings
    assert finding.id in ("rule-denied", "rule-approvers")
    assert finding.message == "rule a-rule: not tonight"
    assert ruled(rule(f"!({when})", deny="not tonight")).approved


@pytest.mark.parametrize(
    "when",
    [
        "nothing == 1",
        "request.nothing",
        "request.duration > 30",
        "'yes'",
        "1",
        "while (",
        "request.reason.matches('[')",
    ],
)
def test_a_rule_that_cannot_be_judged_refuses(when: str) -> None:
    assert [finding.id for finding in ruled(rule(when, deny="x")).findings] == ["rule-unjudged"]
    assert not ruled(rule(when, approvals=1)).approved


def test_a_denial_beats_every_approval_and_every_other_rule() -> None:
    everybody = ("ada", "grace", "barbara")
    found = ruled(rule("true", deny="frozen"), {"name": "mild", "approvals": 1}, by=everybody)
    assert [finding.id for finding in found.findings] == ["rule-denied"]


@pytest.mark.parametrize(("minutes", "needed"), [(30, 2), (61, 3)])
def test_a_rule_asks_for_more_by_the_duration(minutes: int, needed: int) -> None:
    found = ruled(rule("request.duration > duration('1h')", approvals=3), duration=timedelta(minutes=minutes))
    assert (found.required, found.approved) == (needed, needed == 2)
    assert ("rule a-rule: 3 approvals" in found.needs.reasons) is (needed == 3)


def test_a_rule_asks_for_less_in_vain() -> None:
    assert ruled(rule("true", approvals=1), by=("ada",)).required == 2


def test_two_teams_are_two_people_of_different_teams() -> None:
    both = rule("true", teams=2)
    one_team = {example.TEAM: ["ada", "grace"], "@acme/dba": ["linus"]}
    assert [finding.id for finding in ruled(both, teams=one_team).findings] == ["approval-teams"]
    overlap = {example.TEAM: ["ada", "grace"], "@acme/dba": ["ada"]}
    assert ruled(both, teams=overlap).approved


@given(
    st.lists(st.sampled_from("abc"), unique=True),
    st.dictionaries(st.sampled_from(["@o/x", "@o/y", "@o/z"]), st.lists(st.sampled_from("abcd"), unique=True)),
)
def test_nobody_stands_for_two_teams(people: list[str], teams: dict[str, list[str]]) -> None:
    found = represented(tuple(people), teams)
    assert found <= min(len(people), sum(bool(set(team) & set(people)) for team in teams.values()))
    assert found >= (1 if any(set(team) & set(people) for team in teams.values()) else 0)


def test_the_time_of_a_rule_is_that_of_the_policys_zone_summer_time_included() -> None:
    policy = with_policy(timeZone="Europe/Berlin", rules=[rule("time.hour == 3", deny="night")])
    told = evidence(reviews=[review("ada"), review("grace")])
    assert not verdict_on(told, policy=policy).approved
    summer = NIGHT.replace(month=7)
    merged = told.model_copy(update={"mergedAt": summer, "reviews": [], "merge": "c" * 40})
    assert "rule-denied" not in [finding.id for finding in verdict_on(merged, policy=policy).findings]


def test_a_rule_about_approvers_is_judged_when_they_have_approved() -> None:
    one = rule("size(approvers) < 2", deny="two of us")
    assert [finding.id for finding in ruled(one, by=("ada",)).findings] == ["approval-missing", "rule-approvers"]
    assert ruled(one).approved


@given(st.sampled_from(["true", "false", "request.solo", "time.hour < 6", "nothing"]), st.integers(1, 4), st.booleans())
def test_one_more_rule_never_opens_what_was_refused(when: str, approvals: int, deny: bool) -> None:
    for by in ((), ("ada",), ("ada", "grace")):
        before = ruled(by=by)
        after = ruled(rule(when, **({"deny": "no"} if deny else {"approvals": approvals})), by=by)
        assert before.approved or not after.approved


# Drills and debts raise the number of approvals and never block outright.


@pytest.mark.parametrize(("days", "needed"), [(None, 3), (31, 3), (29, 2)], ids=["never", "too old", "fresh"])
def test_a_drill_that_is_too_old_asks_for_one_more(days: int | None, needed: int) -> None:
    approvals = {"minimum": 2, "approvers": [example.TEAM], "drilledWithinDays": 30}
    drilled = None if days is None else NIGHT - timedelta(days=days)
    told = evidence(reviews=[review(login) for login in ("ada", "grace", "barbara")], drilledAt=drilled)
    found = verdict_on(told, policy=with_policy(approvals=approvals))
    assert (found.required, found.approved) == (needed, True)


SOLO = {
    "requesters": ["@on-call"],
    "overlays": ["db-from-bastion"],
    "clusters": ["prod-eu"],
    "maximum": "15m",
    "reviewWithin": "24h",
}


def alone(*by: str, policy: dict[str, Any] | None = None, owing: tuple[str, ...] = (), **asked: Any) -> Verdict:
    details: dict[str, Any] = {"solo": True, "duration": timedelta(minutes=15)}
    told = evidence(reviews=[review(login) for login in by], unreviewed=list(owing))
    solo = with_policy(**({"solo": SOLO} if policy is None else policy))
    return verdict_on(told, policy=solo, asked=activation(**(details | asked)))


def test_somebody_entitled_opens_alone_within_the_bounds() -> None:
    found = alone()
    assert (found.required, found.approved, found.approved_by) == (0, True, ())


@pytest.mark.parametrize(
    "asked",
    [
        {"duration": timedelta(minutes=16)},
        {"clusters": ["prod-us"]},
        {"clusters": ["prod-eu", "prod-us"]},
        {"requested_by": "mallory"},
    ],
    ids=["too long", "another cluster", "one cluster more", "somebody else"],
)
def test_nobody_opens_alone_beyond_the_bounds(asked: dict[str, Any]) -> None:
    assert "solo-bounds" in {finding.id for finding in alone(**asked).findings}


def test_nobody_opens_alone_where_the_policy_knows_no_such_path() -> None:
    assert [finding.id for finding in alone(policy={}).findings] == ["solo-forbidden"]


def test_a_denial_beats_the_solo_path_as_well() -> None:
    frozen = {"solo": SOLO, "rules": [rule("true", deny="frozen")]}
    assert [finding.id for finding in alone(policy=frozen).findings] == ["rule-denied"]


def test_an_unpaid_review_asks_for_one_more_even_of_a_solo_opening() -> None:
    owing = ("2026-11-20-db-from-bastion-0001",)
    found = alone(owing=owing)
    assert [finding.id for finding in found.findings] == ["approval-missing"]
    assert any("2026-11-20-db-from-bastion-0001" in reason for reason in found.needs.reasons)
    assert alone("ada", owing=owing).approved
    told = evidence(reviews=[review(login) for login in ("ada", "grace", "barbara")], unreviewed=list(owing))
    assert (verdict_on(told).required, verdict_on(told).approved) == (3, True)
