"""A forge in memory, over any remote: pull requests, reviews, teams; merges are real commits of that remote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from breakglass.model.errors import Conflict, NotFound, Refused, Unreachable
from breakglass.model.evidence import Account, BranchRule, Move, Review, ReviewedCommit
from breakglass.ports import Clock, Conclusion, Permission, PullRequest
from ports.remote import Remote
from ports.writes import Writes

How = Literal["push", "force_push", "branch_creation", "branch_deletion", "pr_merge", "merge_queue_merge"]
State = Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED"]


@dataclass
class ForgeServer:
    """What all users of the forge share.

    Attributes:
        teams: `@organisation/team` → logins.
        commits: pull request → what its commits say; the author's own where absent.
        moves: branch → who moved it, oldest first.
        suspended, outside: logins of accounts that are so.
        permissions: login → what they may do in the repository; whoever is not there may write.
        checks: head → conclusion and title of the App's check, in order.
        alarms: marker → titles of what was written there.
        alarmed: marker → when that was last.
        dispatched: workflows started, in order.
        unreachable: nobody gets an answer.
    """

    remote: Remote
    clock: Clock
    writes: Writes = field(default_factory=Writes)
    default_branch: str = "main"
    teams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    reviews: dict[int, list[Review]] = field(default_factory=lambda: defaultdict(list))
    commits: dict[int, tuple[ReviewedCommit, ...]] = field(default_factory=dict)
    moves: dict[str, list[Move]] = field(default_factory=lambda: defaultdict(list))
    suspended: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    permissions: dict[str, Permission] = field(default_factory=dict)
    checks: dict[str, list[tuple[Conclusion, str]]] = field(default_factory=lambda: defaultdict(list))
    alarms: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    alarmed: dict[str, datetime] = field(default_factory=dict)
    replies: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    comments: dict[tuple[int, str], str] = field(default_factory=dict)
    asked: dict[int, tuple[str, ...]] = field(default_factory=dict)
    dispatched: list[str] = field(default_factory=list)
    unreachable: bool = False

    def review(self, number: int, login: str, state: State = "APPROVED", *, human: bool = True) -> None:
        """A person says something about the pull request as it is now."""
        head = self.current(number).head
        review = Review(login=login, human=human, state=state, commit=head, submittedAt=self.clock.now())
        self.reviews[number].append(review)

    def moved(self, branch: str, how: How, after: str, by: str) -> None:
        """Somebody moved a branch."""
        move = Move(how=how, before="0" * 40, after=after, by=by, at=self.clock.now())
        self.moves[branch].append(move)

    def current(self, number: int) -> PullRequest:
        """The pull request, its head as its branch is now."""
        if number not in self.pulls:
            raise NotFound(f"there is no pull request #{number}")
        pull = self.pulls[number]
        head = self.remote.ref(f"refs/heads/{pull.head_branch}") if pull.state == "open" else None
        if head is not None and head != pull.head:
            pull = self.pulls[number] = replace(pull, head=head)
            self.remote.set_ref(f"refs/pull/{number}/head", head)
        return pull

    def merge(self, number: int, login: str, head: str | None = None) -> str:
        """Merge into the default branch, whoever asks and whatever was approved: the worst that may happen."""
        branch = f"refs/heads/{self.default_branch}"
        with self.writes.one("forge", "merge", number):
            pull, tip = self.current(number), self.remote.ref(branch)
            if head is not None and pull.head != head:
                raise Conflict(f"the head of #{number} moved")
            if pull.state != "open" or tip is None:
                raise Refused(f"#{number} is {pull.state}")
            merge = self.remote.merge(tip, pull.head, self.clock.now(), f"Merge pull request #{number}")
            self.remote.set_ref(branch, merge)
            self.moved(self.default_branch, "pr_merge", merge, login)
            self.pulls[number] = replace(
                pull, state="closed", merged_at=self.clock.now(), merged_by=login, merge_commit=merge
            )
        return merge


class InMemoryForge:
    """`Forge`: one user's view of a `ForgeServer`."""

    def __init__(self, server: ForgeServer, login: str) -> None:
        self._server, self._login = server, login

    def whoami(self) -> str:
        self._answer()
        return self._login

    def author_of(self, login: str) -> tuple[str, str]:
        self._answer()
        return login, f"{login}@users.noreply.example.com"

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        self._answer()
        del body
        head = self._server.remote.ref(f"refs/heads/{branch}")
        if head is None:
            raise Refused(f"there is no branch {branch}")
        with self._server.writes.one("forge", "open pull request", branch):
            main = self._server.remote.ref(f"refs/heads/{self._server.default_branch}")
            if main is not None and not self._server.remote.commits(main, head):
                raise Refused(f"No commits between {self._server.default_branch} and {branch}")
            if any(pull.head_branch == branch for pull in self.open_pull_requests()):
                raise Refused(f"a pull request from {branch} exists already")
            number = len(self._server.pulls) + 1
            pull = PullRequest(
                number=number,
                url=f"https://forge.example.com/acme/platform/pull/{number}",
                title=title,
                author=self._login,
                state="open",
                head=head,
                head_branch=branch,
                same_repository=True,
                base_branch=self._server.default_branch,
                merged_at=None,
                merged_by=None,
                merge_commit=None,
            )
            self._server.pulls[number] = pull
            self._server.remote.set_ref(f"refs/pull/{number}/head", head)
            self._server.moved(branch, "branch_creation", head, self._login)
        return pull

    def ask_reviewers(self, number: int, approvers: Iterable[str]) -> None:
        self._answer()
        self._server.asked[number] = tuple(approvers)

    def pull_request(self, number: int) -> PullRequest:
        self._answer()
        return self._server.current(number)

    def open_pull_requests(self) -> tuple[PullRequest, ...]:
        self._answer()
        pulls = (self._server.current(number) for number in self._server.pulls)
        return tuple(pull for pull in pulls if pull.state == "open")

    def pull_request_of(self, merge: str) -> PullRequest | None:
        self._answer()
        return next((pull for pull in self._server.pulls.values() if pull.merge_commit == merge), None)

    def reviews(self, number: int) -> tuple[Review, ...]:
        self._answer()
        return tuple(self._server.reviews[number])

    def commits(self, number: int) -> tuple[ReviewedCommit, ...]:
        self._answer()
        pull = self.pull_request(number)
        own = ReviewedCommit(sha=pull.head, author=pull.author, committer=pull.author, emails=[])
        return self._server.commits.get(number, (own,))

    def account(self, login: str, *, member: bool = False) -> Account:
        self._answer()
        del member
        suspended, member = login in self._server.suspended, login not in self._server.outside
        return Account(login=login, human=True, suspended=suspended, member=member)

    def permission(self, login: str) -> Permission:
        self._answer()
        return self._server.permissions.get(login, "write")

    def moves(self, branch: str, since: datetime) -> tuple[Move, ...]:
        self._answer()
        return tuple(move for move in reversed(self._server.moves[branch]) if move.at >= since)

    def rules(self, branch: str) -> tuple[BranchRule, ...]:
        self._answer()
        del branch
        return (BranchRule(type="pull_request", ruleset=1), BranchRule(type="non_fast_forward", ruleset=2))

    def team(self, approver: str) -> tuple[str, ...]:
        self._answer()
        if approver not in self._server.teams:
            raise NotFound(f"there is no team {approver}")
        return self._server.teams[approver]

    def merge(self, number: int, head: str, title: str, message: str) -> str:
        self._answer()
        del title, message
        return self._server.merge(number, self._login, head)

    def close_pull_request(self, number: int) -> None:
        self._answer()
        with self._server.writes.one("forge", "close pull request", number):
            self._server.pulls[number] = replace(self._server.current(number), state="closed")

    def comment(self, number: int, marker: str, body: str) -> None:
        self._answer()
        self._server.comments[number, marker] = body

    def reply(self, number: int, body: str) -> None:
        self._answer()
        self._server.replies[number].append(body)

    def report_check(self, head: str, conclusion: Conclusion, title: str, summary: str) -> None:
        self._answer()
        del summary
        self._server.checks[head].append((conclusion, title))

    def alarm(self, marker: str, title: str, body: str, *, quiet: timedelta = timedelta(0)) -> str:
        self._answer()
        del body
        now, last = self._server.clock.now(), self._server.alarmed.get(marker)
        if last is None or now - last >= quiet:
            self._server.alarms[marker].append(title)
            self._server.alarmed[marker] = now
        return f"https://forge.example.com/acme/platform/issues/{marker}"

    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None:
        self._answer()
        del inputs
        self._server.dispatched.append(workflow)

    def _answer(self) -> None:
        if self._server.unreachable:
            raise Unreachable("the forge does not answer")
