"""What the forge remembers beside git: pull requests, reviews, checks, comments, tokens. One lock guards all of it."""

import base64
import itertools
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

from breakglass_lab.forge.bare import ZERO, Bare, Person
from breakglass_lab.forge.events import Event
from breakglass_lab.forge.exchange import Identity, Kind
from breakglass_lab.forge.organisation import App, Organisation, Team, User
from breakglass_lab.forge.rulesets import GITHUB_ACTIONS_ID, Ruleset
from breakglass_lab.forge.runs import Conclusion, Run, RunStatus

if TYPE_CHECKING:
    from breakglass_lab.forge.environments import Environment

ACTIONS_LOGIN = "github-actions[bot]"
ACTIONS_ACCOUNT_ID = 41_898_282
DEFAULT_BRANCH = "main"

WorkflowState = Literal["active", "disabled_inactivity", "disabled_manually"]
ReviewState = Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]


@dataclass(frozen=True)
class Route:
    """A request as it was sent, and how it ended: the route log.

    `path` has no query, and for the REST API no `/api/v3`. `login` is empty for nobody; `kind` tells a user's token
    from an App's installation token, a job's GITHUB_TOKEN or a JWT; `app` is the App's slug. `headers` (lower-case
    names) hold no credential. `body` is empty for git traffic. `status` is None when the connection was cut.
    """

    method: str
    path: str
    query: Mapping[str, str]
    status: int | None
    login: str
    kind: Kind
    app: str | None
    headers: Mapping[str, str]
    body: bytes
    at: datetime
    api: bool


@dataclass(frozen=True)
class Review:
    """A review of a pull request, bound to the commit it was given on."""

    id: int
    login: str
    body: str
    state: ReviewState
    commit_id: str
    submitted_at: datetime


@dataclass(frozen=True)
class PullRequest:
    """A pull request; `merge_base` is where its review began, `mergeability_read` the (head, base) whose mergeability
    was computed.
    """

    id: int
    number: int
    title: str
    body: str | None
    author: str
    head_ref: str
    head_sha: str
    base_ref: str
    base_sha: str
    merge_base: str | None
    created_at: datetime
    updated_at: datetime
    draft: bool = False
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    merged_by: str | None = None
    merge_commit_sha: str | None = None
    last_pusher: str = ""
    reviews: tuple[Review, ...] = ()
    requested_users: tuple[str, ...] = ()
    requested_teams: tuple[str, ...] = ()
    mergeability_read: tuple[str, str] | None = None

    @property
    def open(self) -> bool:
        """Tell whether it can still be merged."""
        return self.closed_at is None


@dataclass(frozen=True)
class Issue:
    """An issue that is no pull request."""

    id: int
    number: int
    title: str
    body: str | None
    author: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None


@dataclass(frozen=True)
class Comment:
    """A comment on an issue or a pull request."""

    id: int
    issue: int
    author: str
    body: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class CheckRun:
    """A check run on a commit; `app_id` is who reported it."""

    id: int
    head_sha: str
    name: str
    app_id: int
    status: RunStatus
    conclusion: Conclusion | None
    started_at: datetime
    completed_at: datetime | None
    external_id: str = ""
    details_url: str | None = None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    run_id: int | None = None


@dataclass(frozen=True)
class CommitStatus:
    """A commit status, the older sibling of a check run."""

    id: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    creator: str
    created_at: datetime


@dataclass(frozen=True)
class RuleSuite:
    """What the rulesets said to one change of a ref: the audit trail of bypasses."""

    id: int
    ref: str
    before: str
    after: str
    actor: str
    result: Literal["pass", "fail", "bypass"]
    at: datetime


ActivityType = Literal["push", "force_push", "branch_creation", "branch_deletion", "pr_merge", "merge_queue_merge"]


@dataclass(frozen=True)
class Activity:
    """One move of a branch, as the activity view keeps it; `actor` None is nobody who still exists."""

    id: int
    ref: str
    before: str
    after: str
    type: ActivityType
    actor: str | None
    at: datetime


class State:
    """Everything the handlers read and change; hold `lock` while doing so."""

    def __init__(
        self, organisation: Organisation, repository: str, bare: Bare, clock: Callable[[], datetime], url: str
    ) -> None:
        self.organisation = organisation
        self.repository = repository
        self.bare = bare
        self.clock = clock
        self.url = url
        self.lock = RLock()
        self.created_at = self.now()
        self.description: str | None = None
        self.allow_auto_merge = False
        self.delete_branch_on_merge = False
        self.pulls: dict[int, PullRequest] = {}
        self.issues: dict[int, Issue] = {}
        self.comments: dict[int, Comment] = {}
        self.check_runs: dict[int, CheckRun] = {}
        self.statuses: list[CommitStatus] = []
        self.runs: dict[int, Run] = {}
        self.rulesets: dict[int, Ruleset] = {}
        self.rule_suites: list[RuleSuite] = []
        self.environments: dict[str, Environment] = {}
        self.actions_enabled = True
        self.allowed_actions = "all"
        self.sha_pinning = False
        self.default_workflow_permissions = "read"
        self.workflows_may_approve = False
        self.workflow_states: dict[str, WorkflowState] = {}
        self.activities: list[Activity] = []
        self.tokens: dict[str, Identity] = {}
        self.pushers: dict[str, str] = {}
        self.usage: dict[tuple[str, str], tuple[int, int]] = {}
        self.pending_events: list[Event] = []
        self._ids = itertools.count(5_000_001)
        self._numbers = itertools.count(1)
        for ruleset in organisation.rulesets:
            self.rulesets[self.new_id()] = ruleset

    @property
    def api_url(self) -> str:
        """Where the REST API answers, without a slash at the end."""
        return f"{self.url}/api/v3"

    @property
    def full_name(self) -> str:
        """OWNER/REPOSITORY."""
        return f"{self.organisation.login}/{self.repository}"

    @property
    def repository_url(self) -> str:
        """The REST URL of the repository."""
        return f"{self.api_url}/repos/{self.full_name}"

    @property
    def html_url(self) -> str:
        """Where a person reads the repository."""
        return f"{self.url}/{self.full_name}"

    def now(self) -> datetime:
        """Return the forge's time, UTC, in whole seconds as GitHub gives it."""
        return self.clock().astimezone(UTC).replace(microsecond=0)

    def new_id(self) -> int:
        """Return an id never given before."""
        return next(self._ids)

    def new_number(self) -> int:
        """Return the next number of an issue or pull request."""
        return next(self._numbers)

    def app_by_id(self, app_id: int) -> App | None:
        """Return the App of an id, or None."""
        return next((app for app in self.organisation.apps if app.id == app_id), None)

    def account_id(self, login: str) -> int:
        """Return the stable id of a user, App account, or the organisation itself."""
        if login == ACTIONS_LOGIN:
            return ACTIONS_ACCOUNT_ID
        logins = [self.organisation.login, *(user.login for user in self.organisation.users)]
        logins += [app.login for app in self.organisation.apps]
        return 900_001 + logins.index(login) if login in logins else 900_000

    def person(self, login: str) -> Person:
        """Return the name and address a commit made on the forge by `login` carries, at the forge's time."""
        user = self.organisation.user(login)
        if user is not None:
            return Person(user.name, user.email, self.now())
        return Person(login, f"{self.account_id(login)}+{login}@users.noreply.github.com", self.now())

    def login_of(self, email: str) -> str | None:
        """Return the account a commit's address belongs to, or None."""
        local = email.removesuffix("@users.noreply.github.com")
        if local != email:
            return local.partition("+")[2] or local
        return next((user.login for user in self.organisation.users if user.email.lower() == email.lower()), None)

    def contributed(self, login: str) -> bool:
        """Tell whether somebody is the author of a commit on the default branch."""
        tip = self.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
        if tip is None:
            return False
        address = f"--author=<{self.person(login).email}>"
        return bool(self.bare.line("log", "--format=%H", "--max-count=1", "--fixed-strings", address, tip))

    def change_user(self, login: str, **changes: Any) -> User:
        """Replace fields of a user and return them; KeyError for nobody."""
        user = self.organisation.user(login)
        if user is None:
            raise KeyError(login)
        changed = replace(user, **changes)
        users = tuple(changed if known is user else known for known in self.organisation.users)
        self.organisation = replace(self.organisation, users=users)
        return changed

    def change_team(self, slug: str, change: Callable[[tuple[str, ...]], Iterable[str]]) -> Team:
        """Replace the members of a team by what `change` makes of them and return it; KeyError for none."""
        team = self.organisation.team(slug)
        if team is None:
            raise KeyError(slug)
        changed = replace(team, members=tuple(change(team.members)))
        teams = tuple(changed if known is team else known for known in self.organisation.teams)
        self.organisation = replace(self.organisation, teams=teams)
        return changed

    def issue_token(self, prefix: str, identity: Identity) -> str:
        """Make a token for an identity and return it."""
        token = f"{prefix}_{secrets.token_hex(18)}"
        with self.lock:
            self.tokens[token] = identity
        return token

    def emit(self, event: Event, identity: Identity, even_for_workflows: bool = False) -> None:
        """Queue an event for delivery after the request, unless the identity starts no workflows."""
        if identity.starts_workflows or even_for_workflows:
            self.pending_events.append(event)

    def take_events(self) -> list[Event]:
        """Return the queued events and forget them."""
        events, self.pending_events = self.pending_events, []
        return events

    def change_pull(self, number: int, **changes: Any) -> PullRequest:
        """Replace fields of a pull request, note the time, and return it."""
        self.pulls[number] = replace(self.pulls[number], updated_at=self.now(), **changes)
        return self.pulls[number]

    def report_job(self, run: Run, name: str, status: RunStatus, conclusion: Conclusion | None) -> CheckRun:
        """Make or change the check run of a job of a workflow run and return it."""
        known = next((c for c in self.check_runs.values() if (c.run_id, c.name) == (run.id, name)), None)
        completed_at = self.now() if status == "completed" else None
        if known is None:
            url = f"{self.html_url}/actions/runs/{run.id}"
            known = CheckRun(
                self.new_id(), run.head_sha, name, GITHUB_ACTIONS_ID, status, conclusion, self.now(), completed_at,
                details_url=url, run_id=run.id,
            )  # fmt: skip
        self.check_runs[known.id] = replace(known, status=status, conclusion=conclusion, completed_at=completed_at)
        return self.check_runs[known.id]

    def note_activity(self, ref: str, before: str, after: str, actor: str | None, *, merged: bool = False) -> None:
        """Write down that a branch has moved (ZERO: absent); `merged`: by the merge of a pull request."""
        if not ref.startswith("refs/heads/"):
            return
        kind: ActivityType = "push"
        if ZERO in (before, after):
            kind = "branch_creation" if before == ZERO else "branch_deletion"
        elif merged:
            kind = "pr_merge"
        elif not self.bare.is_ancestor(before, after):
            kind = "force_push"
        self.activities.append(Activity(self.new_id(), ref, before, after, kind, actor, self.now()))

    def note_seed(self, ref: str, before: str, after: str) -> None:
        """Write down what the lab itself put on a branch; again, before anybody has moved it, is one creation."""
        known = [activity for activity in self.activities if activity.ref == ref]
        if len(known) == 1 and known[0].actor is None:
            self.activities.remove(known[0])
            before = ZERO
        self.note_activity(ref, before, after, None)

    def open_pulls(self) -> list[PullRequest]:
        """Return the pull requests that are open, oldest first."""
        return [pull for pull in self.pulls.values() if pull.open]


def node_id(kind: str, identifier: object) -> str:
    """Return a global node id in the form GitHub used for years."""
    return base64.b64encode(f"0{len(kind)}:{kind}{identifier}".encode()).decode("ascii")


def reporter(identity: Identity) -> int:
    """Return the App id under which an identity reports check runs (a job's token reports as `github-actions`)."""
    return identity.app.id if identity.app is not None else GITHUB_ACTIONS_ID
