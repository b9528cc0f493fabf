"""What GitHub answers, read strictly: only the fields that are needed, each of the type it must have.

Answers: https://docs.github.com/en/rest (`pulls`, `issues/comments`, `teams/members`). A deleted account is null there
and `ghost` here, as on GitHub's own pages.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from breakglass.model.evidence import Account as KnownAccount
from breakglass.model.evidence import BranchRule, Move, Review, ReviewedCommit
from breakglass.model.name import Login
from breakglass.model.time import Instant
from breakglass.ports import Permission, PullRequest

GHOST = "ghost"
WEB_FLOW = "web-flow"
"""Committer of what is merged or edited on GitHub's pages, signed by GitHub: no person."""

Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]

_CO_AUTHOR = re.compile(r"^[ \t]*co-authored-by[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"<([^<>\s]+)>\s*$")


class Answer(BaseModel):
    """Base of every answer: fields that are not needed are ignored, the others strict."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, defer_build=True)


class Account(Answer):
    """A user, a bot or an organisation."""

    login: Login
    id: int
    type: str = "User"
    suspended_at: str | None = None

    def told(self, *, member: bool) -> KnownAccount:
        """As the model tells it.

        Args:
            member: of the organisation.
        """
        suspended = self.suspended_at is not None
        return KnownAccount(login=self.login, human=self.type == "User", suspended=suspended, member=member)


class Collaborator(Answer):
    """What an account may do in a repository; `role_name` says it finer, and is not needed."""

    permission: Permission


class Repository(Answer):
    """Where a branch lives."""

    full_name: str


class Branch(Answer):
    """One end of a pull request."""

    ref: str
    sha: Sha
    repo: Repository | None = None


class Pull(Answer):
    """A pull request; in lists without `merged_by` and `mergeable`."""

    number: int = Field(ge=1)
    html_url: str = Field(pattern=r"^https?://[!-~]{1,2000}$")
    title: str
    user: Account | None
    state: Literal["open", "closed"]
    head: Branch
    base: Branch
    merged_at: Instant | None = None
    merged_by: Account | None = None
    merge_commit_sha: Sha | None = None
    mergeable: bool | None = None

    def told(self, repository: str) -> PullRequest:
        """As the port tells it.

        Args:
            repository: owner/name that the forge was asked about.
        """
        home = self.head.repo.full_name.lower() if self.head.repo is not None else None
        return PullRequest(
            number=self.number,
            url=self.html_url,
            title=self.title,
            author=self.user.login if self.user is not None else GHOST,
            state=self.state,
            head=self.head.sha,
            head_branch=self.head.ref,
            same_repository=home == repository.lower(),
            base_branch=self.base.ref,
            merged_at=self.merged_at,
            merged_by=self.merged_by.login if self.merged_by is not None else None,
            # Before the merge this is a test merge that nobody approved.
            merge_commit=self.merge_commit_sha if self.merged_at is not None else None,
        )


class Reviewed(Answer):
    """A review; a pending one has no time yet."""

    user: Account | None
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]
    commit_id: Sha | None = None
    submitted_at: Instant | None = None

    def told(self) -> Review | None:
        """As the model tells it; None for one that was not submitted."""
        if self.submitted_at is None:
            return None
        return Review(
            login=self.user.login if self.user is not None else GHOST,
            human=self.user is not None and self.user.type == "User",
            state=self.state,
            commit=self.commit_id,
            submittedAt=self.submitted_at,
        )


class Person(Answer):
    """Author or committer as git has them."""

    email: str


class Nobody(Answer):
    """The empty object that GitHub answers for an account it does not know."""

    model_config = ConfigDict(extra="forbid")


class Verification(Answer):
    """Whether GitHub trusts a commit's signature."""

    verified: bool


class GitCommit(Answer):
    """The commit as git has it."""

    message: str
    author: Person | None
    committer: Person | None
    verification: Verification | None = None


class Committed(Answer):
    """A commit of a pull request."""

    sha: Sha
    author: Account | Nobody | None
    committer: Account | Nobody | None
    commit: GitCommit

    def told(self) -> ReviewedCommit:
        """As the port tells it: every person that may have had a hand in it, by login or else by e-mail address."""
        author = self.author.login if isinstance(self.author, Account) else None
        committer = self.committer.login if isinstance(self.committer, Account) else None
        emails = co_authors(self.commit.message)
        if author is None:
            emails.append(_address(self.commit.author))
        if committer == WEB_FLOW and self.commit.verification is not None and self.commit.verification.verified:
            committer = None
        elif committer is None:
            emails.append(_address(self.commit.committer))
        return ReviewedCommit(sha=self.sha, author=author, committer=committer, emails=list(dict.fromkeys(emails)))


class Activity(Answer):
    """A branch was moved; an account that is gone is null."""

    activity_type: Literal["push", "force_push", "branch_creation", "branch_deletion", "pr_merge", "merge_queue_merge"]
    before: Sha
    after: Sha
    timestamp: Instant
    actor: Account | None

    def told(self) -> Move:
        """As the model tells it."""
        by = self.actor.login if self.actor is not None else None
        return Move(how=self.activity_type, before=self.before, after=self.after, by=by, at=self.timestamp)


class RuleInForce(Answer):
    """A rule of a ruleset that holds for a branch."""

    type: str = Field(max_length=100)
    ruleset_id: int

    def told(self) -> BranchRule:
        """As the model tells it."""
        return BranchRule(type=self.type, ruleset=self.ruleset_id)


class Issue(Answer):
    """An issue, or a pull request in a list of issues."""

    number: int = Field(ge=1)
    html_url: str = Field(pattern=r"^https?://[!-~]{1,2000}$")
    updated_at: Instant
    body: str | None = None
    user: Account | None


class Comment(Answer):
    """A comment on a pull request."""

    id: int = Field(ge=1)
    body: str | None = None
    user: Account | None


def co_authors(message: str) -> list[str]:
    """E-mail addresses of a message's `Co-authored-by` lines; a line without an address counts as it stands."""
    lines = _CO_AUTHOR.findall(message)
    return [_printable(address[1] if (address := _ADDRESS.search(line)) else line) for line in lines]


def _address(person: Person | None) -> str:
    return _printable(person.email if person is not None else "")


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in text.strip())
    return shown[:200] or "(no address)"
