"""What the use cases need from the outside world, as Protocols; the adapters provide it, the tests replace it.

Every method raises only errors of `breakglass.model.errors`: `Unreachable` for what may pass, `Conflict` where somebody
else moved first, `Refused` for everything final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from breakglass.model.errors import InvalidFile
    from breakglass.model.evidence import Review
    from breakglass.model.inventory import Inventory
    from breakglass.model.manifest import Manifest, ObjectKey
    from breakglass.model.source import SourcedManifest


Report = Callable[[str], None]
"""Takes one line of progress for people."""


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


@dataclass(frozen=True, slots=True)
class Contribution:
    """Who made one commit of a pull request: logins where the forge knows them, e-mail addresses where not."""

    sha: str
    author: str | None
    committer: str | None
    emails: tuple[str, ...]


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

    def contributions(self, number: int) -> tuple[Contribution, ...]:
        """Who made the commits of a pull request."""

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

    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow of the default branch by its file name."""


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
        """

    def delete_inventory(self, activation_id: str) -> None:
        """Delete the inventory of an activation; absent is fine.

        Raises:
            Conflict: another writer changed it meanwhile.
        """

    def get(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, Manifest | None]:
        """Read objects as they are now; None is observed absence."""

    def apply(self, manifests: Iterable[Manifest], *, dry_run: bool = False) -> Mapping[ObjectKey, Manifest]:
        """Server-side apply as field manager `breakglass`, with force; returns the server's answers."""

    def release(self, keys: Iterable[ObjectKey]) -> None:
        """Give up the ownership that `apply` took of these objects, leaving their values."""

    def delete(self, keys: Iterable[ObjectKey]) -> None:
        """Delete objects and return when each is observed absent; absent is fine.

        Raises:
            NotApplied: an object is still there when the time for it is over; the error says what holds it.
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
        """All objects of these kinds (group, kind), for probes and `doctor`; namespaces as for `labelled`."""


class Clock(Protocol):
    """Time. The product has one source of it and nothing moves it."""

    def now(self) -> datetime:
        """The time now, aware UTC."""

    def sleep(self, duration: timedelta) -> None:
        """Return after the duration."""
