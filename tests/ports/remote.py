"""The remote of a repository, for tests: what the forge and people do to it beside `Repository`; here in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from breakglass.ports import Commit, FileChange

PLAIN, EXECUTABLE, SYMLINK, SUBMODULE = "100644", "100755", "120000", "160000"

Entry = tuple[str, bytes]
"""Mode and content of a path; the content of a submodule is its commit's sha."""
Tree = Mapping[str, Entry]


class Remote(Protocol):
    """A bare repository as its server sees it."""

    def ref(self, name: str) -> str | None:
        """Commit of a full ref name."""

    def set_ref(self, name: str, commit: str | None) -> None:
        """Move a ref anywhere, or delete it."""

    def commit(
        self, parents: tuple[str, ...], changes: Mapping[str, Entry | None], at: datetime, message: str = "change"
    ) -> str:
        """Make a commit: the first parent's tree with these changes."""

    def merge(self, tip: str, head: str, at: datetime, message: str) -> str:
        """Make the merge commit of a head into a tip that it does not conflict with."""

    def commits(self, tip: str, head: str) -> tuple[str, ...]:
        """Commits of a head that a tip does not have."""


@dataclass
class InMemoryRemote:
    """`Remote` in memory.

    Attributes:
        unreachable: the network is down.
    """

    trees: dict[str, Tree] = field(default_factory=dict)
    metadata: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    unreachable: bool = False
    _differences: dict[tuple[str, str], tuple[FileChange, ...]] = field(default_factory=dict)

    def ref(self, name: str) -> str | None:
        return self.refs.get(name)

    def set_ref(self, name: str, commit: str | None) -> None:
        if commit is None:
            self.refs.pop(name, None)
        else:
            self.refs[name] = commit

    def commit(
        self, parents: tuple[str, ...], changes: Mapping[str, Entry | None], at: datetime, message: str = "change"
    ) -> str:
        tree = dict(self.trees[parents[0]]) if parents else {}
        for path, entry in changes.items():
            if entry is None:
                tree.pop(path, None)
            else:
                tree[path] = entry
        sha = hashlib.sha1(repr((parents, sorted(tree.items()), at, message)).encode()).hexdigest()
        self.trees[sha] = tree
        self.metadata[sha] = Commit(sha, parents, at.replace(microsecond=0), message)
        return sha

    def merge(self, tip: str, head: str, at: datetime, message: str) -> str:
        base = self.merge_base(tip, head)
        paths = [change.path for change in self.changes(base or "", head)]
        return self.commit((tip, head), {path: self.trees[head].get(path) for path in paths}, at, message)

    def commits(self, tip: str, head: str) -> tuple[str, ...]:
        have = set(self.ancestors(tip))
        return tuple(sha for sha in self.ancestors(head) if sha not in have)

    def ancestors(self, sha: str) -> Iterator[str]:
        """A commit and all that it grew from, nearest first."""
        seen, waiting = {sha}, [sha]
        while waiting:
            current = waiting.pop(0)
            yield current
            fresh = [parent for parent in self.metadata[current].parents if parent not in seen]
            seen.update(fresh)
            waiting += fresh

    def merge_base(self, one: str, other: str) -> str | None:
        """The nearest commit that both grew from."""
        have = set(self.ancestors(one))
        return next((sha for sha in self.ancestors(other) if sha in have), None)

    def changes(self, before: str, after: str) -> tuple[FileChange, ...]:
        """Paths that differ between two commits; an empty sha stands for the empty tree."""
        if (before, after) not in self._differences:
            old, new = self.trees.get(before, {}), self.trees[after]
            paths = {path for path, _ in old.items() ^ new.items()}
            ordered = sorted(paths, key=lambda path: path.encode("utf-8", "surrogateescape"))
            self._differences[before, after] = tuple(_change(path, old.get(path), new.get(path)) for path in ordered)
        return self._differences[before, after]


def _change(path: str, old: Entry | None, new: Entry | None) -> FileChange:
    return FileChange(path, old[0] if old else "", new[0] if new else "", _blob(old), _blob(new))


def _blob(entry: Entry | None) -> str:
    """Object name of a blob, as git makes it."""
    if entry is None:
        return ""
    mode, content = entry
    return content.decode() if mode == SUBMODULE else hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
