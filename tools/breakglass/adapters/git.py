"""git: one guarded runner writes, fetches and pushes; GitPython reads. No work tree is touched and HEAD never moves."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from breakglass.adapters.git_objects import SHA, GitObjects, full, pathspec
from breakglass.adapters.git_runner import GitRunner, meaning
from breakglass.model.errors import Conflict, NotFound, Refused
from breakglass.ports import Commit, FileChange, HistoryEntry

_BRANCH = re.compile(r"(?!.*(\.\.|//|/\.))[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}(?<![./])", re.ASCII)
_REF = re.compile(r"(?!.*(\.\.|//|/\.))refs/[A-Za-z0-9._/-]{1,200}(?<![./])", re.ASCII)
_WHO = ("AUTHOR", "COMMITTER")
_RAW = ("--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--no-color")


class GitRepository:
    """`Repository` of a local clone, bare or not, partial or not.

    Args:
        directory: the clone, or a directory inside its work tree.
        remote: the remote that `fetch`, `tip` and `push` mean.
        token: a forge token for the remote over https; None leaves authentication to git's own configuration.
        timeout: seconds that one git command may take.

    Raises:
        Refused: git is not installed, or the directory is no repository.
    """

    def __init__(
        self, directory: Path, *, remote: str = "origin", token: str | None = None, timeout: float = 60.0
    ) -> None:
        self._remote = remote
        self._runner = GitRunner(directory, remote=remote, token=token, timeout=timeout)
        self._objects = GitObjects(self._runner, remote)
        self._git = self._runner.run

    def fetch(self, *refs: str) -> None:
        """Bring the remote's branches up to date, and the objects of these refs (`refs/pull/7/head`, or a commit).

        Raises:
            Refused: the clone is shallow, or a ref is none.
            Unreachable, NotFound: see `GitRunner.run`.
        """
        self._runner.refuse_shallow()
        for ref in refs:
            if not _REF.fullmatch(ref) and not SHA.fullmatch(ref):
                raise Refused(f"{ref[:80]!r} is no ref")
        branches = f"+refs/heads/*:refs/remotes/{self._remote}/*"
        options = ("--prune", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--quiet")
        self._git("fetch", *options, "--end-of-options", self._remote, branches, *refs, network=True)

    def tip(self, branch: str) -> str | None:
        """Commit of a branch of the remote, as last fetched; None where there is no such branch."""
        ref = f"{self._tracking(branch)}^{{commit}}"
        found = self._runner.attempt("rev-parse", "--verify", "--quiet", "--end-of-options", ref)
        return found.output.decode().strip() if found.code == 0 else None

    def resolve(self, revision: str) -> str:
        """Commit that a revision names. Raises NotFound."""
        found = self._runner.attempt("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if found.code:
            raise NotFound(f"there is no commit {revision[:80]!r}", remedy="name a commit or branch, or fetch first")
        return found.output.decode().strip()

    def commit(self, sha: str) -> Commit:
        """One commit, by its full sha. Raises NotFound."""
        return self._objects.commit(sha)

    def files(self, commit: str, *directories: str) -> Mapping[str, bytes]:
        """Contents of all files under the directories (or single paths) of a commit, by path inside the repository.

        Raises:
            NotFound: there is no such commit.
            Refused: a symlink or a submodule stands among them, or a file is larger than 16 MiB.
        """
        return self._objects.files(commit, *directories)

    def changes(self, before: str, after: str) -> tuple[FileChange, ...]:
        """Paths that differ between two commits' trees, without rename detection.

        Raises:
            NotFound: there is no such commit.
        """
        output = self._git("diff-tree", "-r", *_RAW, "--end-of-options", full(before), full(after))
        fields = iter(output.split(b"\0")[:-1])
        return tuple(_change(header, next(fields)) for header in fields)

    def merge_base(self, one: str, other: str) -> str:
        """The commit that both grew from. Raises NotFound."""
        found = self._runner.attempt("merge-base", "--end-of-options", full(one), full(other))
        if found.code:
            raise NotFound(f"{one[:12]} and {other[:12]} have no common ancestor", remedy="fetch first")
        return found.output.decode().strip()

    def history(self, tip: str, directory: str) -> tuple[HistoryEntry, ...]:
        """Changes under a directory along the first-parent line to a commit, newest first.

        Raises:
            Refused: the clone is shallow.
            NotFound: there is no such commit.
        """
        self._runner.refuse_shallow()
        walk = ("--first-parent", "--diff-merges=first-parent", "--root", "--no-show-signature", "--no-notes")
        layout = ("--encoding=UTF-8", "--format=%H%x00%P%x00%ct%x00%B")
        output = self._git("log", *walk, *_RAW, *layout, "--end-of-options", full(tip), "--", pathspec(directory))
        return tuple(_entries(iter(output.split(b"\0")[:-1])))

    def record(
        self,
        parent: str | None,
        changes: Mapping[str, bytes | None],
        message: str,
        *,
        author: tuple[str, str] | None = None,
    ) -> str:
        """Make a commit on top of a parent (None: the first of its branch) and return its sha; its time is now.

        Args:
            changes: path → new content (of a plain file), or None to delete it.
            author: name and e-mail of author and committer; git's own configuration where None.

        Raises:
            Refused: the tree would not change, a path is not acceptable, or nobody is configured as author.
        """
        with tempfile.TemporaryDirectory(prefix="breakglass-") as scratch:
            index = {"GIT_INDEX_FILE": f"{scratch}/index"}
            self._git("read-tree", *(["--empty"] if parent is None else [full(parent)]), environment=index)
            lines = b"".join(self._index_lines(changes, Path(scratch)))
            finished = self._runner.attempt("update-index", "-z", "--index-info", stdin=lines, environment=index)
            if finished.code or "Ignoring path" in finished.words:
                # git skips a path that it does not like (`../x`, `.git/x`) with a word, and goes on.
                raise Refused(f"git update-index: {finished.words}", remedy="choose another path")
            # In a partial clone the index names blobs that are not here.
            tree = self._git("write-tree", "--missing-ok", environment=index).decode().strip()
        before = None if parent is None else self._git("rev-parse", f"{parent}^{{tree}}").decode().strip()
        if tree == before or not changes:
            raise Refused("nothing would change", remedy="nothing is to be done")
        parents = [] if parent is None else ["-p", parent]
        written = self._git("commit-tree", *parents, tree, stdin=message.encode(), environment=_identity(author))
        return written.decode().strip()

    def push(self, commit: str, branch: str, *, create: bool = False) -> None:
        """Move a branch of the remote forward to a commit, never by force.

        Args:
            create: the branch must not exist yet.

        Raises:
            Conflict: the branch moved, or exists already.
            Refused: the remote does not let us.
            Unreachable: the remote did not answer; whether the branch moved is unknown.
        """
        tracking, ref = self._tracking(branch), f"refs/heads/{branch}"
        # An empty expectation lets the server itself refuse where the branch exists.
        lease = [f"--force-with-lease={ref}:"] if create else []
        options = ("--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *lease)
        finished = self._runner.attempt(
            "push", *options, "--end-of-options", self._remote, f"{full(commit)}:{ref}", network=True
        )
        report = finished.output.decode("utf-8", "replace")
        if finished.code:
            reason = "".join(re.findall(r"^!\t\S+\t([^\n]*)", report, re.MULTILINE))
            raise meaning("push", f"{branch} {reason}; {finished.words}" if reason else finished.words)
        if create and re.search(r"^=\t", report, re.MULTILINE):
            raise Conflict(f"the branch {branch} exists already", remedy="choose a fresh name")
        self._git("update-ref", "--end-of-options", tracking, commit)

    def _tracking(self, branch: str) -> str:
        if not _BRANCH.fullmatch(branch):
            raise Refused(f"{branch[:80]!r} is no name of a branch")
        return f"refs/remotes/{self._remote}/{branch}"

    def _index_lines(self, changes: Mapping[str, bytes | None], scratch: Path) -> Iterator[bytes]:
        """Lines for `update-index --index-info`; contents go into the object store in one go."""
        contents = {path: content for path, content in changes.items() if content is not None}
        for number, content in enumerate(contents.values()):
            (scratch / str(number)).write_bytes(content)
        names = "".join(f"{scratch}/{number}\n" for number in range(len(contents)))
        hashed = self._git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names.encode())
        blobs = dict(zip(contents, hashed.split(), strict=True))
        for path in changes:
            encoded = path.encode("utf-8", "surrogateescape")
            if b"\0" in encoded:
                raise Refused(f"{path!r} is no path")
            mode, blob = (b"100644", blobs[path]) if path in blobs else (b"0", b"0" * 40)
            yield mode + b" " + blob + b"\t" + encoded + b"\0"


def _entries(fields: Iterator[bytes]) -> Iterator[HistoryEntry]:
    """Parse `git log -z --raw` with the layout of `history`: four fields a commit, then two a change."""
    commit = None
    for field in fields:
        header = field.lstrip(b"\n")
        if header.startswith(b":") and commit is not None:
            yield HistoryEntry(commit, _change(header, next(fields)))
        else:
            parents, seconds, message = next(fields), next(fields), next(fields)
            at = datetime.fromtimestamp(int(seconds), UTC)
            commit = Commit(header.decode(), tuple(parents.decode().split()), at, message.decode("utf-8", "replace"))


def _change(header: bytes, path: bytes) -> FileChange:
    """Parse one raw record. Format: https://git-scm.com/docs/git-diff-tree#_raw_output_format."""
    old_mode, new_mode, old_blob, new_blob, _ = header.decode().removeprefix(":").split(" ")
    return FileChange(
        path.decode("utf-8", "surrogateescape"),
        "" if old_mode == "000000" else old_mode,
        "" if new_mode == "000000" else new_mode,
        old_blob.strip("0") and old_blob,
        new_blob.strip("0") and new_blob,
    )


def _identity(author: tuple[str, str] | None) -> dict[str, str]:
    if author is None:
        return {}
    name, email = author
    return {f"GIT_{who}_NAME": name for who in _WHO} | {f"GIT_{who}_EMAIL": email for who in _WHO}
