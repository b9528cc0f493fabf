"""`Remote` on a real bare repository, by plain git commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ports.remote import SUBMODULE, Entry

_NOBODY = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "forge",
    "GIT_AUTHOR_EMAIL": "forge@example.com",
    "GIT_COMMITTER_NAME": "forge",
    "GIT_COMMITTER_EMAIL": "forge@example.com",
}


@dataclass(frozen=True)
class GitRemote:
    """A bare repository in a directory."""

    directory: Path

    @classmethod
    def create(cls, directory: Path) -> GitRemote:
        """Make a bare repository without commits."""
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", directory], check=True)
        return cls(directory)

    def clone(self, directory: Path) -> Path:
        """A clone of it, with somebody to commit as."""
        subprocess.run(["git", "clone", "--quiet", self.directory, directory], check=True, capture_output=True)
        for name, value in (("user.name", "on-call"), ("user.email", "on-call@example.com")):
            subprocess.run(["git", "-C", directory, "config", name, value], check=True)
        return directory

    def ref(self, name: str) -> str | None:
        done = self._attempt("rev-parse", "--verify", "--quiet", name)
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def set_ref(self, name: str, commit: str | None) -> None:
        self._git("update-ref", *(["-d", name] if commit is None else [name, commit]))

    def commit(
        self, parents: tuple[str, ...], changes: Mapping[str, Entry | None], at: datetime, message: str = "change"
    ) -> str:
        index = self.directory / "test-index"
        index.unlink(missing_ok=True)
        environment = {"GIT_INDEX_FILE": str(index)}
        self._git("read-tree", parents[0] if parents else "--empty", environment=environment)
        lines = b""
        for path, entry in changes.items():
            mode, blob = ("0", "0" * 40) if entry is None else (entry[0], self._blob(*entry))
            lines += f"{mode} {blob}\t".encode() + path.encode("utf-8", "surrogateescape") + b"\0"
        self._git("update-index", "-z", "--index-info", stdin=lines, environment=environment)
        tree = self._git("write-tree", "--missing-ok", environment=environment)
        return self._commit(tree, parents, at, message)

    def merge(self, tip: str, head: str, at: datetime, message: str) -> str:
        return self._commit(self._git("merge-tree", "--write-tree", tip, head), (tip, head), at, message)

    def commits(self, tip: str, head: str) -> tuple[str, ...]:
        return tuple(self._git("rev-list", head, f"^{tip}").split())

    def _commit(self, tree: str, parents: tuple[str, ...], at: datetime, message: str) -> str:
        dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{int(at.timestamp())} +0000")
        options = [option for parent in parents for option in ("-p", parent)]
        return self._git("commit-tree", *options, "-m", message, tree, environment=dates)

    def _blob(self, mode: str, content: bytes) -> str:
        return content.decode() if mode == SUBMODULE else self._git("hash-object", "-w", "--stdin", stdin=content)

    def _git(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        done = self._attempt(*arguments, stdin=stdin, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def _attempt(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        given = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", "--git-dir", str(self.directory), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, check=False, env={**given, **_NOBODY, **(environment or {})}
        )
