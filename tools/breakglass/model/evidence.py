"""Evidence of an approval, as fetched from the forge: all that a verdict stands on beside the repository itself.

It is kept on the ledger, so that the verdict can be judged again offline, years later, with the same answer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from breakglass.model.document import Strict
from breakglass.model.name import ActivationId, Approver, Login
from breakglass.model.time import Instant

Sha = str


class Review(Strict):
    """One review as GitHub tells it."""

    login: Login
    human: bool = Field(description="GitHub calls the account a User, not a Bot or an Organization.")
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    commit: Sha | None = Field(description="The head that was reviewed.")
    submittedAt: Instant


class Account(Strict):
    """One person behind an approval, as the forge knows them when asked."""

    login: Login
    human: bool = Field(description="A User, not a Bot or an Organization.")
    suspended: bool
    member: bool = Field(description="A member of the organisation, not an outside collaborator.")


class ReviewedCommit(Strict):
    """Who made one commit of the pull request: logins where the forge knows them, e-mail addresses where not."""

    sha: Sha
    author: Login | None
    committer: Login | None
    emails: list[str] = Field(description="Co-authors, and whoever the forge has no login for.")


class Move(Strict):
    """A branch was moved from one commit to another.

    https://docs.github.com/en/rest/repos/repos#list-repository-activities
    """

    how: Literal["push", "force_push", "branch_creation", "branch_deletion", "pr_merge", "merge_queue_merge"]
    before: Sha
    after: Sha
    by: Login | None
    at: Instant


class BranchRule(Strict):
    """A rule in force on the default branch, and the ruleset that it comes from."""

    type: str
    ruleset: int


class Evidence(Strict):
    """Everything the verdict on one opening stands on."""

    apiVersion: Literal["breakglass.dev/v1alpha1"] = "breakglass.dev/v1alpha1"
    kind: Literal["Evidence"] = "Evidence"
    requestedBy: Login
    pullRequest: int
    url: str
    author: Login
    head: Sha
    base: Sha = Field(description="The commit of main whose policy and CODEOWNERS count.")
    merge: Sha | None = Field(description="The commit of main; None while the pull request is open.")
    mergedBy: Login | None
    mergedAt: Instant | None
    commits: list[ReviewedCommit]
    pushers: list[Login] = Field(description="Who moved the pull request's branch.")
    reviews: list[Review]
    owners: list[Approver] = Field(description="Owners of the activation's path by CODEOWNERS in the base.")
    teams: dict[str, list[Login]] = Field(description="Members of every team named, as resolved at that moment.")
    accounts: list[Account] = Field(description="The people whose approval would count, as known at that moment.")
    moves: list[Move] = Field(description="Moves of main in the days before, newest first.")
    rules: list[BranchRule] | None = Field(None, description="Rulesets in force on main; None where nobody asked.")
    drilledAt: Instant | None = Field(description="When the overlay last passed a drill, by the ledger.")
    unreviewed: list[ActivationId] = Field(
        description="Solo openings that are past their term without a review on main."
    )

    @property
    def involved(self) -> frozenset[str]:
        """Logins, lower case, of everybody who had a hand in the pull request: they approve nothing of it."""
        makers = (login for commit in self.commits for login in (commit.author, commit.committer))
        names = (self.requestedBy, self.author, *self.pushers, *makers)
        return frozenset(name.lower() for name in names if name is not None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """E-mail addresses in the commits that belong to no account the forge told."""
        return tuple(sorted({email for commit in self.commits for email in commit.emails}))


def members(approvers: list[str], teams: dict[str, list[str]]) -> frozenset[str]:
    """The people behind users and teams, lower case; a team that was not resolved is nobody."""
    people: set[str] = set()
    for approver in approvers:
        name = approver.removeprefix("@")
        people.update(teams.get(approver, []) if "/" in name else [name])
    return frozenset(person.lower() for person in people)


def entitled(owners: list[str], approvers: list[str], teams: dict[str, list[str]]) -> frozenset[str]:
    """People who own a path and are approvers, lower case; teams that own by name need not be resolved twice."""
    names = {owner.lower() for owner in owners}
    both = [approver for approver in approvers if approver.lower() in names]
    others = [approver for approver in approvers if approver.lower() not in names]
    return members(both, teams) | (members(others, teams) & members(owners, teams))
