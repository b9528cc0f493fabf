"""What the use cases need from the outside world, as Protocols; the adapters provide it, the tests replace it.

Every method raises only errors of `breakglass.model.errors`: `Unreachable` for what may pass, `Conflict` where somebody
else moved first, `Refused` for everything final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from breakglass.model.errors import InvalidFile
    from breakglass.model.evidence import Account, BranchRule, Move, Review, ReviewedCommit
    from breakglass.model.inventory import Inventory
    from breakglass.model.manifest import Manifest, ObjectKey
    from breakglass.model.source import SourcedManifest


Report = Callable[[str], None]
"""Takes one line of progress for people."""

Conclusion = Literal["success", "failure", "neutral"]
"""How a check ended."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; `committed_at` is the committer's time, aware UTC."""

    sha: str
    parents: tuple[str, ...]
    committed_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that differs between two commits; a mode is git's (`100644`), empty where the side has no such path."""

    path: str
    old_mode: str
    new_mode: str
    old_blob: str
    new_blob: str

    @property
    def status(self) -> Literal["added", "deleted", "modified"]:
        """What happened to the path."""
        if not self.old_mode:
            return "added"
        return "modified" if self.new_mode else "deleted"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of one path by a first-parent commit of a branch."""

    commit: Commit
    change: FileChange


class Repository(Protocol):
    """A git repository: reads of any commit, and commits made without a work tree."""

    def fetch(self, *refs: str) -> None:
        """Bring the remote's branches (and these refs) up to date; never shallow."""

    def tip(self, branch: str) -> str | None:
        """Commit of a branch of the remote, as last fetched; None where there is no such branch."""

    def resolve(self, revision: str) -> str:
        """Commit that a revision names. Raises NotFound."""

    def commit(self, sha: str) -> Commit:
        """One commit."""

    def files(self, commit: str, *directories: str) -> Mapping[str, bytes]:
        """Contents of all files under the directories (or single paths) of a commit, by path inside the repository.

        Raises:
            Refused: a symlink or a submodule stands among them.
        """

    def changes(self, before: str, after: str) -> tuple[FileChange, ...]:
        """Paths that differ between two commits' trees, without rename detection."""

    def merge_base(self, one: str, other: str) -> str:
        """The commit that both grew from. Raises NotFound."""

    def history(self, tip: str, directory: str) -> tuple[HistoryEntry, ...]:
        """Changes under a directory along the first-parent line to a commit, newest first."""

    def record(
        self,
        parent: str | None,
        changes: Mapping[str, bytes | None],
        message: str,
        *,
        author: tuple[str, str] | None = None,
    ) -> str:
        """Make a commit on top of a parent (None: the first of its branch) and return its sha.

        Args:
            changes: path → new content, or None to delete it.
            author: name and e-mail; git's own configuration where None.

        Raises:
            Refused: the tree would not change.
        """

    def push(self, commit: str, branch: str, *, create: bool = False) -> None:
        """Move a branch of the remote forward to a commit, never by force.

        Args:
            create: the branch must not exist yet.

        Raises:
            Conflict: the branch moved, or exists already.
        """


Permission = Literal["admin", "write", "read", "none"]
"""What an account may do in a repository; `maintain` is write, `triage` is read."""


@dataclass(frozen=True, slots=True)
class IssueComment:
    """A comment under an issue or pull request, as the event that tells of it was made.

    Attributes:
        id: the comment's number, which no other comment ever has.
        issue: number of the issue or pull request.
        created: whether the event is its making, not an edit or a deletion.
        human: whether its author is a User, and wrote it without an App.
    """

    id: int
    issue: int
    author: str
    human: bool
    created: bool
    created_at: datetime
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the forge tells it."""

    number: int
    url: str
    title: str
    author: str
    state: Literal["open", "closed"]
    head: str
    head_branch: str
    same_repository: bool
    base_branch: str
    merged_at: datetime | None
    merged_by: str | None
    merge_commit: str | None


class Forge(Protocol):
    """GitHub, or what speaks like it."""

    def whoami(self) -> str:
        """Login behind the token."""

    def author_of(self, login: str) -> tuple[str, str]:
        """Name and e-mail address by which the forge knows a commit as this account's."""

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        """Open a pull request from a branch of the same repository to the default branch."""

    def ask_reviewers(self, number: int, approvers: Iterable[str]) -> None:
        """Request reviews of users (`@login`) and teams (`@organisation/team`)."""

    def pull_request(self, number: int) -> PullRequest:
        """One pull request. Raises NotFound."""

    def open_pull_requests(self) -> tuple[PullRequest, ...]:
        """All open pull requests to the default branch."""

    def pull_request_of(self, merge: str) -> PullRequest | None:
        """The merged pull request that made a commit of the default branch; None where there is none."""

    def reviews(self, number: int) -> tuple[Review, ...]:
        """All reviews of a pull request."""

    def commits(self, number: int) -> tuple[ReviewedCommit, ...]:
        """The commits of a pull request, and who made them."""

    def account(self, login: str, *, member: bool = False) -> Account:
        """One account as it is now.

        Args:
            member: it is known as a member of the organisation already, from a team.

        Raises:
            NotFound: there is no such account.
        """

    def permission(self, login: str) -> Permission:
        """What an account may do in the repository, whatever gives it that right."""

    def moves(self, branch: str, since: datetime) -> tuple[Move, ...]:
        """Who moved a branch how, newest first; also of a branch that is gone."""

    def rules(self, branch: str) -> tuple[BranchRule, ...]:
        """Rules of rulesets in force on a branch."""

    def team(self, approver: str) -> tuple[str, ...]:
        """Logins of the active members of `@organisation/team`."""

    def merge(self, number: int, head: str, title: str, message: str) -> str:
        """Merge a pull request at exactly this head, by REST, and return the merge commit once `merged_at` is set.

        Raises:
            Conflict: the head moved.
            Unreachable: it is still not mergeable, or not merged, when the time for it is over.
        """

    def close_pull_request(self, number: int) -> None:
        """Close a pull request without merging it."""

    def comment(self, number: int, marker: str, body: str) -> None:
        """Write or renew the one comment of a pull request that carries a marker."""

    def reply(self, number: int, body: str) -> None:
        """Write a new comment under an issue or pull request."""

    def report_check(self, head: str, conclusion: Conclusion, title: str, summary: str) -> None:
        """Report the App's check `breakglass` of a commit; only an App's token may."""

    def alarm(self, marker: str, title: str, body: str, *, quiet: timedelta = timedelta(0)) -> str:
        """Open the issue that carries a marker, or comment on it where it is open already; returns its address.

        Args:
            quiet: write nothing more where something was written there this short a time ago.
        """

    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow of the default branch by its file name."""


class Conditions(Protocol):
    """Conditions of the policy, in the Common Expression Language."""

    def holds(self, expression: str, variables: Mapping[str, Any]) -> bool:
        """Whether a condition holds.

        Args:
            variables: by name; text, numbers, booleans, datetimes, timedeltas, and lists and maps of them.

        Raises:
            Refused: it is no expression, cannot be evaluated with these variables, or is no boolean.
        """


class Renderer(Protocol):
    """kustomize."""

    def render(self, files: Mapping[str, bytes], root: str) -> tuple[Manifest, ...]:
        """Build the kustomize root `root` among the files.

        Raises:
            Refused: kustomize refused; its own words are in the error.
        """


class Manifests(Protocol):
    """Manifests by path, of no commit in particular."""

    def read(self, path: str) -> tuple[SourcedManifest, ...]:
        """Every object of a file, a directory, a kustomize root, or standard input (`-`); none stands twice.

        Raises:
            NotFound: there is nothing at the path.
            Refused: with `file:line`: something there cannot be read, is no manifest, or stands twice.
        """

    def read_both(self, before: str, after: str) -> tuple[tuple[SourcedManifest, ...], tuple[SourcedManifest, ...]]:
        """Both sides of a comparison, each as `read` reads it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A ServiceAccount's token; `expiry` is when the API server says it ends, aware UTC."""

    value: str = field(repr=False)
    expiry: datetime


class Lease(Protocol):
    """A Lease of one cluster, taken by at most one holder at a time; renewed by itself while it is held."""

    def acquire(self, patience: timedelta) -> None:
        """Take the Lease, at once where it is free or its holder has not renewed it in time.

        Raises:
            Conflict: another still holds it when the patience is over; the error names the holder and since when.
        """

    def held(self) -> bool:
        """Whether it is surely ours: not any more once another took it, or it could not be renewed in time."""

    def release(self) -> None:
        """Give it up, so that the next one need not wait; a Lease of another stays as it is."""


class Cluster(Protocol):
    """One cluster's API server. Objects are addressed by key; the adapter knows versions and resources."""

    def inventories(self) -> tuple[Inventory, ...]:
        """All inventories in the cluster that can be read."""

    def unreadable_inventories(self) -> tuple[InvalidFile, ...]:
        """What the last `inventories` could not read, one error an inventory."""

    def write_inventory(self, inventory: Inventory) -> None:
        """Create the inventory of an activation, or replace it as it was last read or written here.

        Raises:
            Conflict: another writer created or changed it meanwhile.
            Refused: it is larger than an object of the API server can be; nothing was written.
        """

    def delete_inventory(self, activation_id: str) -> None:
        """Delete the inventory of an activation; absent is fine.

        Raises:
            Conflict: another writer changed it meanwhile.
        """

    def await_change(self, timeout: timedelta) -> bool:
        """Wait until an inventory changes after the last `inventories`, and no longer than the timeout.

        Returns:
            Whether it is time to read them again: something changed, or the API server ended the watch.

        Raises:
            Unreachable: the API server does not answer.
        """

    def get(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, Manifest | None]:
        """Read objects as they are now, many of one kind and namespace by one list; None is observed absence."""

    def apply(
        self, manifests: Iterable[Manifest], *, dry_run: bool = False, force: bool = True
    ) -> Mapping[ObjectKey, Manifest]:
        """Server-side apply as field manager `breakglass`, several at once in no order; returns the server's answers.

        A manifest with metadata.resourceVersion is applied to that state of the object only.

        Args:
            force: take fields that another field manager owns.

        Raises:
            Conflict: an object is in another state than its resourceVersion, or without force: another field manager
                owns a field; the error names both.
        """

    def disown(self, owners: Mapping[ObjectKey, Sequence[Manifest]]) -> None:
        """Give up the ownership that `apply` took of objects, leaving their values; absent objects are fine.

        Args:
            owners: object → entries of managedFields, as they were before `apply` took fields from them. They own
                those fields again, as far as they still exist.
        """

    def remove_fields(self, fields: Mapping[ObjectKey, Sequence[tuple[str, ...]]]) -> None:
        """Remove fields of live objects, whoever owns them; absent objects and fields are fine.

        Args:
            fields: object → paths of the fields, as names from the object's top down.

        Raises:
            Conflict: others write an object all the time.
        """

    def delete(self, objects: Iterable[Manifest]) -> None:
        """Delete live objects and return when each is observed absent; absent is fine.

        Each is deleted only with its metadata.uid, and its metadata.resourceVersion where it has one.

        Raises:
            Conflict: an object is not as it was read any more.
            NotApplied: an object is still there when the time for it is over; the error says what holds it.
        """

    def evict(self, pods: Iterable[ObjectKey]) -> None:
        """Evict pods by the Eviction API, which minds PodDisruptionBudgets; absent is fine.

        Raises:
            NotApplied: a budget, or something else, does not let a pod go now.
        """

    def labelled(
        self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None
    ) -> Mapping[ObjectKey, str]:
        """Objects of these kinds (group, kind) that carry the activation label, with its value.

        Args:
            namespaces: where to look for namespaced kinds; all of them where None, which needs cluster-wide rights.
        """

    def may(self, subject: str, verb: str, resource: str, group: str, namespace: str) -> bool:
        """Whether the API server lets a subject do this (SubjectAccessReview).

        Args:
            subject: `User:name`, `Group:name` or `ServiceAccount:namespace/name`.
            resource: plural, with a subresource after a slash: `pods/exec`.
        """

    def list(self, kinds: Iterable[tuple[str, str]], namespaces: Iterable[str] | None = None) -> tuple[Manifest, ...]:
        """All objects of these kinds (group, kind), of Secrets the metadata alone; namespaces as for `labelled`."""

    def token(self, account: ObjectKey, lifetime: timedelta) -> Token:
        """A token of a ServiceAccount (TokenRequest), asked for as whoever this process is in the cluster.

        Raises:
            Refused: there is no such ServiceAccount, or the cluster does not let this caller have the token.
        """

    def record_event(self, about: ObjectKey, reason: str, note: str, *, warning: bool = False) -> None:
        """Record a Kubernetes Event (events.k8s.io/v1) about an object, which need not exist any more.

        Args:
            reason: one word in CamelCase.
            note: a sentence for people.
        """

    def lease(self, name: str, holder: str) -> Lease:
        """A Lease of the namespace `breakglass`, to be held as `holder`."""

    def fenced(self, lease: Lease) -> AbstractContextManager[None]:
        """Within this context every write of this object asks first whether the Lease is held.

        Raises:
            Conflict: by the write, which is not sent, where it is not.
        """

    def clock_skew(self) -> timedelta:
        """How far the API server's clock is ahead of ours, at least, by the header `Date` of its last answer.

        Zero where the measure, which is one second and the way of the request, leaves room for none.
        """


class Clock(Protocol):
    """Time. The product has one source of it and nothing moves it."""

    def now(self) -> datetime:
        """The time now, aware UTC."""

    def sleep(self, duration: timedelta) -> None:
        """Return after the duration."""


class Monitor(Protocol):
    """Where a process that runs for ever tells how it is, for those who watch it; nothing of it waits or fails."""

    def alive(self) -> None:
        """The loop that closes goes round, whatever became of the turn."""

    def leads(self, leading: bool) -> None:
        """Whether this process holds the Lease of those that do the same."""

    def looked(self, *, ends: Sequence[datetime], unreadable: int) -> None:
        """All inventories were read.

        Args:
            ends: expiry of each window that is not closed.
            unreadable: how many inventories could not be read.
        """

    def closed(self, lateness: timedelta) -> None:
        """A window was closed, so long after its expiry."""

    def failed(self, what: Literal["turn", "closing", "event", "lease", "apply"]) -> None:
        """Something failed and is tried again; an Event is left out."""

    def fetched(self) -> None:
        """The repository was fetched."""

    def scheduled(self, job: str, at: datetime) -> None:
        """A scheduled job last ran then, as the ledger tells."""
