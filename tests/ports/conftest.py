"""Both repositories: the real git adapter and the one in memory, behind one set of assertions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from breakglass.adapters.git import GitRepository
from breakglass.ports import Repository
from ports.clock import NIGHT, SettableClock
from ports.git_remote import GitRemote
from ports.remote import PLAIN, InMemoryRemote, Remote
from ports.repository import InMemoryRepository


@dataclass(frozen=True)
class Hosting:
    """A remote with one commit on main, and a maker of clones of it."""

    remote: Remote
    clone: Callable[[], Repository]

    def grow(self, branch: str, files: dict[str, bytes | None]) -> str:
        """Somebody else adds a commit to a branch of the remote."""
        tip = self.remote.ref(f"refs/heads/{branch}")
        entries = {path: None if content is None else (PLAIN, content) for path, content in files.items()}
        sha = self.remote.commit((tip,) if tip else (), entries, NIGHT)
        self.remote.set_ref(f"refs/heads/{branch}", sha)
        return sha


@pytest.fixture(params=["git", "memory"])
def hosting(request: pytest.FixtureRequest, tmp_path: Path) -> Hosting:
    if request.param == "memory":
        memory = InMemoryRemote()
        hosted = Hosting(memory, lambda: InMemoryRepository(memory, SettableClock()))
    else:
        remote, numbers = GitRemote.create(tmp_path / "bare repository"), itertools.count()
        hosted = Hosting(remote, lambda: GitRepository(remote.clone(tmp_path / f"clone {next(numbers)}")))
    hosted.grow("main", {"base/a.yaml": b"one\n", "base/b.yaml": b"two\n", "README.md": b"hello\n"})
    return hosted
