"""Evidence of an approval, as fetched from the forge, and the verdict on it; both can be judged again offline.

One human is one approval; author, committers, co-authors, bots and aliases are none. Empty sets refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from breakglass.model.document import Strict
from breakglass.model.finding import Finding
from breakglass.model.name import Approver, Login
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.model.time import Instant

Sha = str


class Review(Strict):
    """One review as GitHub tells it."""

    login: Login
    human: bool = Field(description="GitHub calls the account a User, not a Bot or an Organization.")
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    commit: Sha | None = Field(description="The head that was reviewed.")
    submittedAt: Instant


class Evidence(Strict):
    """Everything the verdict on one opening stands on."""

    apiVersion: Literal["breakglass.dev/v1alpha1"] = "breakglass.dev/v1alpha1"
    kind: Literal["Evidence"] = "Evidence"
    requestedBy: Login
    pullRequest: int
    url: str
    author: Login
    head: Sha
    merge: Sha | None = Field(description="The commit of main; None while the pull request is open.")
    mergedBy: Login | None
    mergedAt: Instant | None
    authors: list[str] = Field(
        description="Logins or e-mail addresses of the commits' authors, committers, co-authors."
    )
    unknownAuthors: list[str] = Field(description="E-mail addresses in the commits that belong to no known account.")
    reviews: list[Review]
    owners: list[Approver] = Field(description="Owners of the activation's path by CODEOWNERS in the base.")
    teams: dict[str, list[Login]] = Field(description="Members of every team named, as resolved at that moment.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who approved, how many were needed, who else could, and why it is refused if it is."""

    approved_by: tuple[str, ...]
    required: int
    candidates: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def approved(self) -> bool:
        """Whether the opening may be applied."""
        return not self.findings


def members(approvers: list[str], teams: dict[str, list[str]]) -> frozenset[str]:
    """The people behind users and teams, lower case; a team that was not resolved is nobody."""
    people: set[str] = set()
    for approver in approvers:
        name = approver.removeprefix("@")
        people.update(teams.get(approver, []) if "/" in name else [name])
    return frozenset(person.lower() for person in people)


def required_approvals(overlay: Overlay, policy: Policy) -> int:
    """How many distinct people must approve an activation of this overlay."""
    return max(overlay.spec.approvals.minimum, policy.spec.approvals.minimum)


def judge(evidence: Evidence, overlay: Overlay, policy: Policy, where: str) -> Verdict:
    """Count the approvals that count.

    Args:
        evidence: what the forge said.
        overlay: contract of the activation's overlay, in the merge commit.
        policy: policy in the base of the merge commit.
        where: the activation's path, for messages.

    Returns:
        The verdict; without findings it is approved.
    """
    owners = members(evidence.owners, evidence.teams)
    approvers = members(overlay.spec.approvals.approvers, evidence.teams)
    bot = policy.spec.bot.login
    involved = {name.lower() for name in [evidence.requestedBy, evidence.author, *evidence.authors, bot]}
    entitled = (owners & approvers) - involved
    counted = sorted(login for login in entitled if _latest(evidence, login) == "APPROVED")
    required = required_approvals(overlay, policy)
    findings = []
    if evidence.author.lower() not in (evidence.requestedBy.lower(), bot.lower()):
        message = f"{evidence.author} opened the pull request for {evidence.requestedBy}"
        findings.append(Finding("approval-requester", message, where, "everyone asks for themselves"))
    if not entitled:
        message = "nobody may approve this: no person both owns its path and is an approver of the overlay"
        findings.append(Finding("approval-nobody", message, where, "fix CODEOWNERS or the overlay's approvers"))
    blocking = sorted(login for login in entitled if _latest(evidence, login) == "CHANGES_REQUESTED")
    if blocking:
        message = f"{', '.join(blocking)} asked for changes"
        findings.append(Finding("approval-blocked", message, where, "settle it with them"))
    if len(counted) < required:
        message = f"{len(counted)} of {required} approvals ({', '.join(counted) or 'nobody'}) on {evidence.head[:12]}"
        could = ", ".join(sorted(entitled - set(counted))) or "nobody"
        findings.append(Finding("approval-missing", message, where, f"ask {could}"))
    if evidence.unknownAuthors:
        message = f"commits by unknown people: {', '.join(evidence.unknownAuthors)}"
        findings.append(Finding("approval-unknown-author", message, where, "commit with an address the forge knows"))
    return Verdict(tuple(counted), required, tuple(sorted(entitled - set(counted))), tuple(findings))


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
    if not reviews or (reviews[-1].state == "APPROVED" and reviews[-1].commit != evidence.head):
        return None
    return reviews[-1].state
