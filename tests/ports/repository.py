"""A clone in memory."""

from __future__ import annotations

from collections.abc import Mapping

from breakglass.model.errors import Conflict, NotFound, Refused, Unreachable
from breakglass.ports import Clock, Commit, FileChange, HistoryEntry
from ports.remote import PLAIN, SUBMODULE, SYMLINK, Entry, InMemoryRemote
from ports.writes import Writes


class InMemoryRepository:
    """`Repository`: a clone of an `InMemoryRemote`; it knows only the commits that it made or fetched."""

    def __init__(self, remote: InMemoryRemote, clock: Clock, writes: Writes | None = None) -> None:
        self._remote, self._clock = remote, clock
        self._writes = writes or Writes()
        self._tips: dict[str, str] = {}
        self._known: set[str] = set()
        self.fetch()

    def fetch(self, *refs: str) -> None:
        self._answer()
        heads = {name: sha for name, sha in self._remote.refs.items() if name.startswith("refs/heads/")}
        for ref in refs:
            wanted = self._remote.ref(ref)
            if wanted is None:
                raise NotFound(f"the remote has no {ref}")
            self._learn(wanted)
        for sha in heads.values():
            self._learn(sha)
        self._tips = {name.removeprefix("refs/heads/"): sha for name, sha in heads.items()}

    def tip(self, branch: str) -> str | None:
        return self._tips.get(branch)

    def resolve(self, revision: str) -> str:
        tip = self._tips.get(revision.removeprefix("refs/remotes/").removeprefix("origin/"))
        return tip if tip is not None else self.commit(revision).sha

    def commit(self, sha: str) -> Commit:
        if sha not in self._known:
            raise NotFound(f"there is no commit {sha[:80]!r}")
        return self._remote.metadata[sha]

    def files(self, commit: str, *directories: str) -> Mapping[str, bytes]:
        tree = self._remote.trees[self.commit(commit).sha]
        found = {}
        for path, (mode, content) in tree.items():
            for directory in directories:
                below = path == directory or path.startswith(f"{directory}/")
                if mode in (SYMLINK, SUBMODULE) and (below or directory.startswith(f"{path}/")):
                    raise Refused("a symlink or submodule is not allowed here", where=path)
                if below:
                    found[path] = content
        return found

    def changes(self, before: str, after: str) -> tuple[FileChange, ...]:
        return self._remote.changes(self.commit(before).sha, self.commit(after).sha)

    def merge_base(self, one: str, other: str) -> str:
        found = self._remote.merge_base(self.commit(one).sha, self.commit(other).sha)
        if found is None:
            raise NotFound("no common ancestor")
        return found

    def history(self, tip: str, directory: str) -> tuple[HistoryEntry, ...]:
        entries: list[HistoryEntry] = []
        commit = self.commit(tip)
        while True:
            before = commit.parents[0] if commit.parents else ""
            entries += [
                HistoryEntry(commit, change)
                for change in self._remote.changes(before, commit.sha)
                if change.path == directory or change.path.startswith(f"{directory}/")
            ]
            if not before:
                return tuple(entries)
            commit = self.commit(before)

    def record(
        self,
        parent: str | None,
        changes: Mapping[str, bytes | None],
        message: str,
        *,
        author: tuple[str, str] | None = None,
    ) -> str:
        del author
        parents = () if parent is None else (self.commit(parent).sha,)
        entries: dict[str, Entry | None] = {
            path: None if content is None else (PLAIN, content) for path, content in changes.items()
        }
        sha = self._remote.commit(parents, entries, self._clock.now(), message)
        if not self._remote.trees[sha] if parent is None else self._remote.trees[sha] == self._remote.trees[parent]:
            raise Refused("nothing would change")
        self._known.add(sha)
        return sha

    def push(self, commit: str, branch: str, *, create: bool = False) -> None:
        self._answer()
        name, sha = f"refs/heads/{branch}", self.commit(commit).sha
        with self._writes.one("git", "push", branch):
            current = self._remote.ref(name)
            if current is not None and (create or current not in self._remote.ancestors(sha)):
                raise Conflict(f"the branch {branch} moved, or exists already")
            self._remote.set_ref(name, sha)
        self._tips[branch] = sha

    def _learn(self, sha: str) -> None:
        waiting = [sha]
        while waiting:
            current = waiting.pop()
            if current not in self._known:
                self._known.add(current)
                waiting += self._remote.metadata[current].parents

    def _answer(self) -> None:
        if self._remote.unreachable:
            raise Unreachable("the remote does not answer")
