"""GitHub behind `Forge`, by its REST API.

PyGithub carries the requests: authentication, connections, errors. Its objects are not used: they complete themselves
by further requests and let null through; answers are parsed strictly by `github_answers` instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import quote

from breakglass.adapters.github_answers import (
    Account,
    Activity,
    Collaborator,
    Comment,
    Committed,
    Issue,
    Pull,
    Reviewed,
    RuleInForce,
)
from breakglass.adapters.github_client import GitHubClient, NotYet
from breakglass.model.errors import Conflict, NotFound, Refused, Unreachable
from breakglass.model.evidence import Account as KnownAccount
from breakglass.model.evidence import BranchRule, Move, Review, ReviewedCommit
from breakglass.model.ruleset import CHECK
from breakglass.ports import Clock, Conclusion, Permission, PullRequest

MERGE_PATIENCE = timedelta(seconds=60)
"""How long a merge may take: GitHub computes mergeability when first asked, and checks may still run."""
COMMIT_LIMIT = 250
"""GitHub lists no more commits of a pull request: https://docs.github.com/en/rest/pulls/pulls."""

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=0.25), timedelta(seconds=2)
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(?!\.\.?$)[A-Za-z0-9_.-]{1,100}", re.ASCII)
_APPROVER = re.compile(r"@([A-Za-z0-9][A-Za-z0-9_-]{0,98})(?:/([A-Za-z0-9][A-Za-z0-9_.-]{0,98}))?", re.ASCII)
_WORKFLOW = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,98}\.ya?ml", re.ASCII)
_MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}", re.ASCII)

_LABEL = "breakglass"
_LONGEST_TITLE, _LONGEST_SUMMARY = 200, 65_000
_PERIODS = (("day", timedelta(days=1)), ("week", timedelta(days=7)), ("month", timedelta(days=30)))

_READ, _WRITE = "pull_requests: read", "pull_requests: write"


class GitHubForge:
    """`Forge` of one repository on GitHub.

    Args:
        repository: owner/name.
        token: what authorises the requests; it appears in no error.
        clock: what waits while a merge is not possible yet.
        api: base address of the REST API; https, or http on loopback.
        default_branch: the branch that pull requests go to.

    Raises:
        Refused: repository, address or token cannot be used.
    """

    def __init__(
        self,
        *,
        repository: str,
        token: str,
        clock: Clock,
        api: str = "https://api.github.com",
        default_branch: str = "main",
    ) -> None:
        if not _REPOSITORY.fullmatch(repository):
            raise Refused(f"{repository[:80]!r} is not a repository", remedy="write owner/name")
        self._repository = repository
        self._default_branch = default_branch
        self._clock = clock
        self._client = GitHubClient(api, token, clock)
        self._base = f"/repos/{repository}"
        # https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
        self._of_app = token.startswith("ghs_")

    def whoami(self) -> str:
        """Login behind the token.

        Raises:
            Refused: the token belongs to no user (an App's or a workflow's does not).
        """
        return self._client.get("/user", Account, "of a user").login

    def author_of(self, login: str) -> tuple[str, str]:
        """Name and e-mail address by which GitHub knows a commit as this account's.

        https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address
        """
        account = self._client.get(f"/users/{quote(login, safe='')}", Account, f"of {login}")
        return account.login, f"{account.id}+{account.login}@users.noreply.github.com"

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        """Open a pull request from a branch of the same repository to the default branch.

        Raises:
            Refused: there is one already, or the branch brings nothing; in GitHub's words.
        """
        content = {"title": title, "head": branch, "base": self._default_branch, "body": body}
        answer = self._client.send("POST", f"{self._base}/pulls", content, _WRITE)
        return self._client.parsed(answer, Pull, f"{self._base}/pulls").told(self._repository)

    def ask_reviewers(self, number: int, approvers: Iterable[str]) -> None:
        """Request reviews of users (`@login`) and teams (`@organisation/team`); of nobody is fine.

        Raises:
            Refused: one of them cannot review: no rights, or the author.
        """
        names = [_approver(approver) for approver in approvers]
        users = [name for name, team in names if team is None]
        teams = [team for _, team in names if team is not None]
        if names:
            content = {"reviewers": users, "team_reviewers": teams}
            self._client.send("POST", f"{self._pull_path(number)}/requested_reviewers", content, _WRITE)

    def pull_request(self, number: int) -> PullRequest:
        """One pull request. Raises NotFound."""
        return self._pull(number).told(self._repository)

    def open_pull_requests(self) -> tuple[PullRequest, ...]:
        """All open pull requests to the default branch."""
        pulls = self._client.list(f"{self._base}/pulls", Pull, _READ, state="open", base=self._default_branch)
        return tuple(pull.told(self._repository) for pull in pulls)

    def pull_request_of(self, merge: str) -> PullRequest | None:
        """The merged pull request that made a commit of the default branch; None where there is none."""
        if not _SHA.fullmatch(merge):
            raise Refused(f"{merge[:80]!r} is no full commit sha")
        pulls = self._client.list(f"{self._base}/commits/{merge}/pulls", Pull, _READ)
        made = [pull for pull in pulls if pull.merged_at is not None and pull.merge_commit_sha == merge]
        # The list does not say who merged.
        return self.pull_request(made[0].number) if made else None

    def reviews(self, number: int) -> tuple[Review, ...]:
        """All submitted reviews of a pull request, oldest first."""
        reviews = self._client.list(f"{self._pull_path(number)}/reviews", Reviewed, _READ)
        return tuple(told for review in reviews if (told := review.told()) is not None)

    def commits(self, number: int) -> tuple[ReviewedCommit, ...]:
        """The commits of a pull request, and who made them: logins, and e-mail addresses that GitHub has no login for.

        Raises:
            Refused: it has so many commits that GitHub does not list them all.
        """
        commits = self._client.list(f"{self._pull_path(number)}/commits", Committed, _READ)
        if len(commits) >= COMMIT_LIMIT:
            message = f"#{number} has {COMMIT_LIMIT} commits or more, which GitHub does not list in full"
            raise Refused(message, where=f"#{number}", remedy="open a pull request with one commit")
        return tuple(commit.told() for commit in commits)

    def team(self, approver: str) -> tuple[str, ...]:
        """Logins of the active members of `@organisation/team`, child teams included.

        Raises:
            NotFound: there is no such team, or the token may not see it.
        """
        organisation, team = _approver(approver)
        if team is None:
            raise Refused(f"{approver} is not a team", remedy="write @organisation/team")
        path = f"/orgs/{organisation}/teams/{team}/members"
        return tuple(account.login for account in self._client.list(path, Account, "members: read", role="all"))

    def account(self, login: str, *, member: bool = False) -> KnownAccount:
        """One account as it is now.

        Args:
            member: it is known as a member of the organisation already, from a team.

        Raises:
            NotFound: there is no such account.
        """
        found = self._client.get(f"/users/{quote(login, safe='')}", Account, f"of {login}")
        return found.told(member=member or self._is_member(found.login))

    def _is_member(self, login: str) -> bool:
        organisation = self._repository.partition("/")[0]
        return self._client.exists(f"/orgs/{organisation}/members/{quote(login, safe='')}", "members: read")

    def permission(self, login: str) -> Permission:
        """What an account may do in the repository; `none` also for one that GitHub does not know.

        https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
        """
        path = f"{self._base}/collaborators/{quote(login, safe='')}/permission"
        try:
            return self._client.get(path, Collaborator, "metadata: read").permission
        except NotFound:
            return "none"

    def moves(self, branch: str, since: datetime) -> tuple[Move, ...]:
        """Who moved a branch how, newest first; also of a branch that is gone.

        https://docs.github.com/en/rest/repos/repos#list-repository-activities
        """
        age = self._clock.now() - since
        period = next((name for name, length in _PERIODS if age <= length), "year")
        found = self._client.list(
            f"{self._base}/activity", Activity, "contents: read", ref=f"refs/heads/{branch}", time_period=period
        )
        return tuple(told for each in found if (told := each.told()).at >= since)

    def rules(self, branch: str) -> tuple[BranchRule, ...]:
        """Rules of rulesets in force on a branch. https://docs.github.com/en/rest/repos/rules#get-rules-for-a-branch."""
        path = f"{self._base}/rules/branches/{quote(branch, safe='')}"
        return tuple(each.told() for each in self._client.list(path, RuleInForce, "metadata: read"))

    def merge(self, number: int, head: str, title: str, message: str) -> str:
        """Merge a pull request at exactly this head, by REST, and return the merge commit once `merged_at` is set.

        Raises:
            Conflict: the head moved, or main moved so that it conflicts.
            Refused: it is closed, or the token may not merge it.
            Unreachable: it is still not mergeable, or not merged, when the time for it is over.
        """
        content = {"sha": head, "merge_method": "merge", "commit_title": title, "commit_message": message}
        deadline, pause, accepted, asked = self._clock.now() + MERGE_PATIENCE, _FIRST_PAUSE, False, False
        while True:
            reason, known = "GitHub took it, and does not show it merged", True
            try:
                if not accepted:
                    self._client.send("PUT", f"{self._pull_path(number)}/merge", content, "contents: write")
                    accepted = True
            except NotYet as error:
                # The first no tells nothing: only now does GitHub begin to compute whether it can be merged.
                reason, known, asked = error.what, asked, True
            except Unreachable as error:
                reason = error.what
            # What GitHub shows counts, not a status code: an answer may be lost after the merge.
            merged = _merged(self._pull(number), head) if known else None
            if merged is not None:
                return merged
            if self._clock.now() >= deadline:
                raise Unreachable(f"not merged yet: {reason}", where=f"#{number}", remedy="run it again")
            self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def close_pull_request(self, number: int) -> None:
        """Close a pull request without merging it."""
        self._client.send("PATCH", self._pull_path(number), {"state": "closed"}, _WRITE)

    def comment(self, number: int, marker: str, body: str) -> None:
        """Write or renew the one comment of a pull request that carries a marker; copies by others do not count."""
        line = _marked(marker)
        path = f"{self._base}/issues/{number}/comments"
        comments = self._client.list(path, Comment, _READ)
        mine = next((one for one in comments if (one.body or "").startswith(line) and self._is_mine(one.user)), None)
        verb, target = ("POST", path) if mine is None else ("PATCH", f"{self._base}/issues/comments/{mine.id}")
        self._client.send(verb, target, {"body": f"{line}\n{body}"}, _WRITE)

    def reply(self, number: int, body: str) -> None:
        """Write a new comment under an issue or pull request."""
        self._client.send("POST", f"{self._base}/issues/{number}/comments", {"body": body}, "issues: write")

    def report_check(self, head: str, conclusion: Conclusion, title: str, summary: str) -> None:
        """Report the App's check of a commit; only an App's token may. https://docs.github.com/en/rest/checks/runs."""
        output = {"title": title[:_LONGEST_TITLE], "summary": summary[:_LONGEST_SUMMARY]}
        content = {"name": CHECK, "head_sha": head, "status": "completed", "conclusion": conclusion, "output": output}
        self._client.send("POST", f"{self._base}/check-runs", content, "checks: write")

    def alarm(self, marker: str, title: str, body: str, *, quiet: timedelta = timedelta(0)) -> str:
        """Open the issue that carries a marker, or comment on it where it is open already; returns its address.

        Args:
            quiet: write nothing more where something was written there this short a time ago, by anybody.
        """
        line = _marked(marker)
        issues = self._client.list(f"{self._base}/issues", Issue, "issues: read", state="open", labels=_LABEL)
        found = next((one for one in issues if (one.body or "").startswith(line) and self._is_mine(one.user)), None)
        if found is None:
            content = {"title": title, "body": f"{line}\n{body}", "labels": [_LABEL]}
            answer = self._client.send("POST", f"{self._base}/issues", content, "issues: write")
            return self._client.parsed(answer, Issue, f"{self._base}/issues").html_url
        if not quiet or self._clock.now() - found.updated_at >= quiet:
            self.reply(found.number, body)
        return found.html_url

    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow of the default branch by its file name."""
        if not _WORKFLOW.fullmatch(workflow):
            raise Refused(f"{workflow[:80]!r} is no file name of a workflow")
        content = {"ref": self._default_branch, "inputs": dict(inputs)}
        path = f"{self._base}/actions/workflows/{workflow}/dispatches"
        self._client.send("POST", path, content, "actions: write")

    def _pull(self, number: int) -> Pull:
        return self._client.get(self._pull_path(number), Pull, _READ)

    def _pull_path(self, number: int) -> str:
        return f"{self._base}/pulls/{number}"

    @cached_property
    def _user(self) -> str | None:
        """Login of the user behind the token; None for an App's or a workflow's token, which begin with `ghs_`."""
        if self._of_app:
            return None
        try:
            return self.whoami()
        except Refused:
            return None

    def _is_mine(self, author: Account | None) -> bool:
        """Whether the token's owner wrote it: the user, or for a token of no user a bot (people cannot post as one)."""
        if author is None:
            return False
        return author.type == "Bot" if self._user is None else author.login == self._user


def _marked(marker: str) -> str:
    """The first line of what carries a marker; nobody sees it."""
    if not _MARKER.fullmatch(marker):
        raise Refused(f"{marker[:80]!r} is no marker")
    return f"<!-- breakglass: {marker} -->"


def _merged(pull: Pull, head: str) -> str | None:
    """The merge commit of a pull request merged at a head; None while it is open and may still be merged."""
    where = f"#{pull.number}"
    if pull.head.sha != head:
        message = f"its head moved from {head[:12]} to {pull.head.sha[:12]}"
        raise Conflict(message, where=where, remedy="look at it again")
    if pull.merged_at is not None and pull.merge_commit_sha is not None:
        return pull.merge_commit_sha
    if pull.state == "closed" and pull.merged_at is None:
        raise Refused("it is closed without having been merged", where=where, remedy="open a new one")
    if pull.mergeable is False:
        raise Conflict("it conflicts with the default branch", where=where, remedy="make it again on the current tip")
    return None


def _approver(text: str) -> tuple[str, str | None]:
    """Split `@login` or `@organisation/team`."""
    found = _APPROVER.fullmatch(text)
    if found is None:
        raise Refused(f"{text[:80]!r} is not an approver", remedy="write @user or @organisation/team")
    return found[1], found[2]
