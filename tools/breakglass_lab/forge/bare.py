"""The bare repository: every git command the forge runs, and what it says."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ZERO = "0" * 40
"""The object id that means "no object" in a ref update."""

PRE_RECEIVE = """\
#!/bin/sh
# The http layer says in the environment what a rule forbids; a push that does not come from it is the lab's own.
if [ -n "$FORGE_REFUSAL" ]; then
    echo "$FORGE_REFUSAL" >&2
    exit 1
fi
while read -r old new ref; do
    case " $FORGE_FAST_FORWARD_ONLY " in *" $ref "*)
        if [ "$old" = "$FORGE_ZERO" ] || [ "$new" = "$FORGE_ZERO" ]; then
            continue
        fi
        if ! git merge-base --is-ancestor "$old" "$new"; then
            echo "error: GH013: Repository rule violations found for $ref." >&2
            echo "- Cannot force-push to this branch" >&2
            exit 1
        fi ;;
    esac
done
exit 0
"""

POST_RECEIVE = """\
#!/bin/sh
# Tells the http layer which refs really changed.
[ -z "$FORGE_RECEIVED" ] || cat >"$FORGE_RECEIVED"
"""

CONFIGURATION = """\
[http]
	receivepack = true
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[receive]
	hideRefs = refs/pull
	fsckObjects = true
	autogc = false
[gc]
	auto = 0
"""


class GitError(Exception):
    """A git command failed; carries what it wrote to standard error."""


class RefMovedError(Exception):
    """A ref did not hold the expected object: somebody else was faster."""


@dataclass(frozen=True)
class Person:
    """The name, email address and time (UTC) in a commit."""

    name: str
    email: str
    at: datetime


@dataclass(frozen=True)
class Commit:
    """A commit object."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str


@dataclass(frozen=True)
class FileChange:
    """One file of a diff: `status` in GitHub's words, `sha` of the new blob (of the old one when removed), `patch` None
    when binary.
    """

    filename: str
    previous_filename: str | None
    status: str
    sha: str
    additions: int
    deletions: int
    patch: str | None


@dataclass(frozen=True)
class TreeEntry:
    """An entry of a tree: `kind` is blob, tree or commit; `size` in bytes, 0 for a tree."""

    mode: str
    kind: str
    sha: str
    size: int
    path: str


STATUSES = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "C": "copied", "T": "changed"}


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a git process: nothing of the caller's GIT_*, no configuration from outside the
    repository.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "FORGE_"))}
    return kept | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"} | dict(extra or {})


class Bare:
    """A bare git repository on disk; objects are read fresh, commits are remembered as they never change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._commits: dict[str, Commit] = {}

    @classmethod
    def create(cls, path: Path, default_branch: str) -> "Bare":
        """Make an empty bare repository with the forge's configuration and hooks."""
        bare = cls(path)
        path.mkdir(parents=True)
        bare.run("init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}", ".")
        with (path / "config").open("a", encoding="utf-8") as config:
            config.write(CONFIGURATION)
        (path / "hooks").mkdir()
        for name, script in (("pre-receive", PRE_RECEIVE), ("post-receive", POST_RECEIVE)):
            hook = path / "hooks" / name
            hook.write_text(script, encoding="utf-8")
            hook.chmod(0o755)
        return bare

    def attempt(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git in the repository and return how it ended."""
        return subprocess.run(
            ["git", "-c", f"core.hooksPath={self.path / 'hooks'}", *arguments],
            cwd=self.path,
            env=clean_environment(environment),
            input=stdin,
            capture_output=True,
            check=False,
        )

    def run(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """Run git in the repository and return its standard output; GitError when it fails."""
        done = self.attempt(*arguments, stdin=stdin, environment=environment)
        if done.returncode != 0:
            raise GitError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def line(self, *arguments: str) -> str:
        """Run git and return its output as one line of text."""
        return self.run(*arguments).decode("utf-8", "surrogateescape").strip()

    def tip(self, ref: str) -> str | None:
        """Return the object a full ref name points at, or None."""
        done = self.attempt("rev-parse", "--quiet", "--verify", "--end-of-options", ref)
        return done.stdout.decode("ascii").strip() if done.returncode == 0 else None

    def refs(self, prefix: str) -> dict[str, str]:
        """Return full ref names and their objects under a prefix such as `refs/heads`."""
        out = self.line("for-each-ref", "--format=%(refname) %(objectname)", prefix)
        return dict(line.split(" ", 1) for line in out.splitlines())

    def valid_ref(self, ref: str) -> bool:
        """Tell whether a full ref name is one git accepts."""
        return self.attempt("check-ref-format", ref).returncode == 0

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a branch name, tag name, full ref or object id means, or None."""
        if (
            not revision
            or revision.startswith("-")
            or any(mark in revision for mark in ("..", "^", "~", ":", "@{", "\0"))
        ):
            return None
        for candidate in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            done = self.attempt("rev-parse", "--quiet", "--verify", "--end-of-options", f"{candidate}^{{commit}}")
            if done.returncode == 0:
                return done.stdout.decode("ascii").strip()
        return None

    def update_ref(self, ref: str, new: str, old: str) -> None:
        """Move a ref from `old` to `new` in one step (ZERO: absent); RefMovedError when it does not hold `old`."""
        arguments = ("-d", ref, old) if new == ZERO else (ref, new, old)
        if self.attempt("update-ref", *arguments).returncode != 0:
            raise RefMovedError(ref)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Tell whether one commit is reachable from another."""
        return self.attempt("merge-base", "--is-ancestor", ancestor, descendant).returncode == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor, or None for unrelated histories."""
        done = self.attempt("merge-base", one, other)
        return done.stdout.decode("ascii").strip() if done.returncode == 0 else None

    def merge_tree(self, base: str, head: str) -> str | None:
        """Merge two commits without a work tree; return the tree, or None when they conflict."""
        done = self.attempt("merge-tree", "--write-tree", base, head)
        if done.returncode not in (0, 1):
            return None
        return done.stdout.decode("utf-8", "replace").splitlines()[0] if done.returncode == 0 else None

    def commit_tree(self, tree: str, parents: Sequence[str], author: Person, committer: Person, message: str) -> str:
        """Write a commit and return its id."""
        environment = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_AUTHOR_DATE": f"{int(author.at.timestamp())} +0000",
            "GIT_COMMITTER_NAME": committer.name,
            "GIT_COMMITTER_EMAIL": committer.email,
            "GIT_COMMITTER_DATE": f"{int(committer.at.timestamp())} +0000",
        }
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        out = self.run("commit-tree", tree, *arguments, stdin=message.encode(), environment=environment)
        return out.decode("ascii").strip()

    def commit(self, sha: str) -> Commit:
        """Return the commit of a full id; GitError when there is none."""
        known = self._commits.get(sha)
        if known is None:
            known = next(self.log("--no-walk", sha))
        return known

    def log(self, *arguments: str) -> Iterator[Commit]:
        """Yield the commits `git log` selects, newest first."""
        layout = "%H%x00%T%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ce%x00%ct%x00%B%x00%x01"
        out = self.run("log", f"--format={layout}", *arguments).decode("utf-8", "replace")
        for record in out.split("\x00\x01")[:-1]:
            commit = _commit(record.lstrip("\n").split("\0"))
            self._commits[commit.sha] = commit
            yield commit

    def changes(self, old: str, new: str) -> list[FileChange]:
        """Return what changed between two commits, renames detected, in git's order."""
        raw = self.run("diff", "--raw", "-z", "-M", "--no-abbrev", old, new).decode("utf-8", "surrogateescape")
        fields = iter(raw.split("\0")[:-1])
        return [self._change(old, new, header, fields) for header in fields]

    def _change(self, old: str, new: str, header: str, fields: Iterator[str]) -> FileChange:
        _, _, old_sha, new_sha, letter = header.split(" ")
        first = next(fields)
        previous = first if letter[0] in "RC" else None
        filename = next(fields) if previous is not None else first
        paths = [filename] if previous is None else [previous, filename]
        patch = self.run("diff", "-M", "--no-color", old, new, "--", *(f":(literal){path}" for path in paths))
        hunks = patch.decode("utf-8", "replace").partition("\n@@")[2]
        body = f"@@{hunks}".removesuffix("\n") if hunks else None
        lines = body.splitlines() if body is not None else []
        return FileChange(
            filename=filename,
            previous_filename=previous,
            status=STATUSES[letter[0]],
            sha=old_sha if letter == "D" else new_sha,
            additions=sum(line.startswith("+") for line in lines),
            deletions=sum(line.startswith("-") for line in lines),
            patch=body,
        )

    def empty_tree(self) -> str:
        """Return the id of the tree with nothing in it."""
        return self.run("hash-object", "-w", "-t", "tree", "--stdin").decode("ascii").strip()

    def changed_names(self, old: str | None, new: str) -> dict[str, list[str]]:
        """Return the paths a commit added (A), removed (D) and modified (M); `old` None compares with nothing."""
        span = ["--root", new] if old is None else [old, new]
        out = self.run("diff-tree", "-r", "-z", "--no-commit-id", "--no-renames", "--name-status", *span)
        words = out.decode("utf-8", "surrogateescape").split("\0")[:-1]
        names: dict[str, list[str]] = {"A": [], "D": [], "M": []}
        for letter, path in zip(words[::2], words[1::2], strict=True):
            names["M" if letter == "T" else letter].append(path)
        return names

    def entries(self, commit: str, path: str = "") -> list[TreeEntry]:
        """Return the entry at `path`, or for a path that ends in "/" (or is empty) what the directory holds."""
        pathspec = ["--", path] if path else []
        out = self.run("ls-tree", "-l", "-z", "--full-tree", commit, *pathspec).decode("utf-8", "surrogateescape")
        return [_entry(record) for record in out.split("\0")[:-1]]

    def blob(self, sha: str) -> bytes:
        """Return the bytes of a blob."""
        return self.run("cat-file", "blob", sha)

    def file(self, commit: str, path: str) -> bytes | None:
        """Return the bytes of a file at a commit, or None when there is no such file."""
        found = next(
            (entry for entry in self.entries(commit, path) if entry.path == path and entry.kind == "blob"), None
        )
        return None if found is None else self.blob(found.sha)


def _commit(fields: Sequence[str]) -> Commit:
    sha, tree, parents, author, author_email, authored, committer, committer_email, committed, message = fields[:10]
    return Commit(
        sha=sha,
        tree=tree,
        parents=tuple(parents.split()),
        author=Person(author, author_email, datetime.fromtimestamp(int(authored), UTC)),
        committer=Person(committer, committer_email, datetime.fromtimestamp(int(committed), UTC)),
        message=message.rstrip("\n"),
    )


def _entry(record: str) -> TreeEntry:
    head, path = record.split("\t", 1)
    mode, kind, sha, size = head.split()
    return TreeEntry(mode, kind, sha, 0 if size == "-" else int(size), path)
