"""The verdict: may this opening be applied? Pure: evidence, contract, policy in; who counts, who does not, why, out.

One human is one approval; who had a hand in it, bots and aliases are none. Empty sets refuse; a denial beats the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from breakglass.lifecycle.requirements import Required, requirements, variables_of
from breakglass.model.activation import Activation
from breakglass.model.evidence import Evidence, Review, entitled, members
from breakglass.model.finding import Finding
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.model.time import format_duration, format_instant
from breakglass.ports import Conditions

WATCHED = timedelta(days=7)
"""So long a push to main that nobody reviewed keeps everything from opening, unless the policy vouches for it."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """An approval that does not count, and why."""

    login: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who approved, what was needed, who else could, what does not count, and why it is refused if it is."""

    approved_by: tuple[str, ...]
    needs: Required
    candidates: tuple[str, ...]
    ignored: tuple[Ignored, ...]
    findings: tuple[Finding, ...]

    @property
    def approved(self) -> bool:
        """Whether the opening may be applied."""
        return not self.findings

    @property
    def required(self) -> int:
        """How many distinct people must approve."""
        return self.needs.approvals


def judge(
    evidence: Evidence,
    activation: Activation,
    overlay: Overlay,
    policy: Policy,
    conditions: Conditions,
    where: str,
    now: datetime | None = None,
) -> Verdict:
    """Count the approvals that count, and hold the request to the policy's rules.

    Args:
        evidence: what the forge said.
        activation: the request.
        overlay: contract of its overlay, in the merge commit.
        policy: policy in the base of the merge commit.
        where: the activation's path, for messages.
        now: the time where it is not merged yet; what is merged is judged by the time of its merge.

    Returns:
        The verdict; without findings it is approved.
    """
    people = _entitled(evidence, overlay, policy)
    ignored = _ignored(evidence, people)
    barred = {each.login.lower() for each in ignored}
    counted = tuple(sorted(login for login in people - barred if _latest(evidence, login) == "APPROVED"))
    at = evidence.mergedAt or now or activation.spec.requestedAt
    variables = variables_of(activation, overlay, policy, _approvers(counted, evidence), at)
    needs, denied = requirements(activation, overlay, policy, evidence, conditions, variables, where)
    findings = [
        *_people(evidence, people, counted, needs, policy, where),
        *denied,
        *(_solo(evidence, activation, policy, where) if activation.spec.solo else ()),
        *_moves(evidence, policy, where),
    ]
    return Verdict(counted, needs, tuple(sorted(people - barred - set(counted))), ignored, tuple(findings))


def _entitled(evidence: Evidence, overlay: Overlay, policy: Policy) -> frozenset[str]:
    """Who may approve: owners of the path who are approvers of the overlay, and had no hand in the pull request."""
    people = entitled(evidence.owners, overlay.spec.approvals.approvers, evidence.teams)
    return people - evidence.involved - {policy.spec.bot.login.lower()}


def _ignored(evidence: Evidence, entitled: frozenset[str]) -> tuple[Ignored, ...]:
    """People who said yes and do not count, each with the reason."""
    accounts = {account.login.lower(): account for account in evidence.accounts}
    found = []
    for login in sorted({review.login.lower() for review in evidence.reviews if review.state == "APPROVED"}):
        account = accounts.get(login)
        if login in evidence.involved:
            why = "had a hand in it: asked, wrote, committed, co-authored or pushed"
        elif login not in entitled:
            why = "is not both an owner of the path and an approver of the overlay"
        elif not any(review.human for review in evidence.reviews if review.login.lower() == login):
            why = "is no human"
        elif (said := _latest(evidence, login)) != "APPROVED":
            why = f"does not say so any more: {said}" if said else "approved another commit than the head, or too late"
        elif account is None or not account.human:
            why = "is no human that the forge knows"
        elif account.suspended:
            why = "is suspended"
        elif not account.member:
            why = "is an outside collaborator"
        else:
            continue
        found.append(Ignored(login, why))
    return tuple(found)


def _people(
    evidence: Evidence,
    entitled: frozenset[str],
    counted: tuple[str, ...],
    needs: Required,
    policy: Policy,
    where: str,
) -> list[Finding]:
    findings = []
    if evidence.author.lower() not in (evidence.requestedBy.lower(), policy.spec.bot.login.lower()):
        message = f"{evidence.author} opened the pull request for {evidence.requestedBy}"
        findings.append(Finding("approval-requester", message, where, "everyone asks for themselves"))
    if not entitled and needs.approvals:
        message = "nobody may approve this: no person both owns its path and is an approver of the overlay"
        findings.append(Finding("approval-nobody", message, where, "fix CODEOWNERS or the overlay's approvers"))
    blocking = sorted(login for login in entitled if _latest(evidence, login) == "CHANGES_REQUESTED")
    if blocking:
        message = f"{', '.join(blocking)} asked for changes"
        findings.append(Finding("approval-blocked", message, where, "settle it with them"))
    could = ", ".join(sorted(entitled - set(counted))) or "nobody"
    if len(counted) < needs.approvals:
        who = ", ".join(counted) or "nobody"
        message = f"{len(counted)} of {needs.approvals} approvals ({who}) on {evidence.head[:12]}"
        findings.append(Finding("approval-missing", message, where, f"ask {could}"))
    elif (teams := represented(counted, evidence.teams)) < needs.teams:
        message = f"the approvers stand for {teams} of {needs.teams} different teams"
        findings.append(Finding("approval-teams", message, where, f"ask somebody of another team: {could}"))
    if not evidence.pushers:
        message = (
            "nobody is known to have pushed the pull request's branch: it is of a fork, or the forge does not tell yet"
        )
        findings.append(Finding("approval-pusher", message, where, "push a branch of this repository, or ask again"))
    if evidence.unknown:
        message = f"commits by unknown people: {', '.join(evidence.unknown)}"
        findings.append(Finding("approval-unknown-author", message, where, "commit with an address the forge knows"))
    return findings


def represented(approvers: tuple[str, ...], teams: Mapping[str, list[str]]) -> int:
    """For how many different teams the approvers stand, each person for one at most: a maximum matching."""
    places = {login: _teams_of(login, teams) for login in approvers}
    standing: dict[str, str] = {}

    def place(login: str, tried: set[str]) -> bool:
        for team in places[login]:
            if team not in tried:
                tried.add(team)
                if team not in standing or place(standing[team], tried):
                    standing[team] = login
                    return True
        return False

    return sum(place(login, set()) for login in approvers)


def _solo(evidence: Evidence, activation: Activation, policy: Policy, where: str) -> list[Finding]:
    """Hold a solo opening to the bounds of the policy, and to one pair of hands: nobody has another open alone."""
    spec, solo = activation.spec, policy.spec.solo
    findings = solo_bounds(activation, policy, where)
    if solo is None:
        return findings
    if spec.requestedBy.lower() not in members(solo.requesters, evidence.teams):
        message = f"{spec.requestedBy} may not open alone"
        findings.append(Finding("solo-bounds", message, where, "see spec.solo.requesters of the policy"))
    others = evidence.involved - {spec.requestedBy.lower(), policy.spec.bot.login.lower()}
    if others:
        message = f"{', '.join(sorted(others))} had a hand in what {spec.requestedBy} asks to open alone"
        findings.append(Finding("solo-hands", message, where, "open a new request, or ask for approvals"))
    return findings


def solo_bounds(activation: Activation, policy: Policy, where: str) -> list[Finding]:
    """Hold a solo opening to the policy, whoever asks: overlay, clusters, duration."""
    spec, solo = activation.spec, policy.spec.solo
    if solo is None:
        return [Finding("solo-forbidden", "the policy knows no solo path", where, "ask for approvals")]
    problems = []
    if spec.overlay not in solo.overlays:
        problems.append(f"{spec.overlay} is not for opening alone")
    problems += [f"{name} is not for opening alone" for name in spec.clusters if name not in solo.clusters]
    if spec.duration > solo.maximum:
        longest = format_duration(solo.maximum)
        problems.append(f"{format_duration(spec.duration)} is longer than alone one may open: {longest}")
    return [
        Finding("solo-bounds", each, where, "see spec.solo of the policy, or ask for approvals") for each in problems
    ]


def _moves(evidence: Evidence, policy: Policy, where: str) -> list[Finding]:
    """A push to main that no pull request brought keeps everything shut until it was looked at."""
    findings = []
    for move in evidence.moves:
        direct = move.how in ("push", "force_push", "branch_deletion")
        recent = evidence.mergedAt is None or move.at > evidence.mergedAt - WATCHED
        if direct and recent and move.after not in policy.spec.forge.vouched:
            how = "by force" if move.how == "force_push" else "without a pull request"
            who, when = move.by or "nobody known", format_instant(move.at)
            message = f"main was moved to {move.after[:12]} {how}, by {who} at {when}"
            remedy = "look at what it brought, then name the commit in spec.forge.vouched of the policy"
            findings.append(Finding("main-moved", message, where, remedy))
    return findings


def _approvers(counted: tuple[str, ...], evidence: Evidence) -> list[dict[str, Any]]:
    return [{"login": login, "teams": _teams_of(login, evidence.teams)} for login in counted]


def _teams_of(login: str, teams: Mapping[str, list[str]]) -> list[str]:
    return sorted(team for team, people in teams.items() if login in map(str.lower, people))


def _latest(evidence: Evidence, login: str) -> str | None:
    """A person's latest review that says yes or no, made before the merge; a yes counts for the merged head only."""
    reviews = [
        review
        for review in sorted(evidence.reviews, key=lambda review: review.submittedAt)
        if review.human
        and review.login.lower() == login
        and review.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED")
        and (evidence.mergedAt is None or review.submittedAt <= evidence.mergedAt)
    ]
    if not reviews or not _stands(reviews[-1], evidence.head):
        return None
    return reviews[-1].state


def _stands(review: Review, head: str) -> bool:
    return review.state != "APPROVED" or review.commit == head
