"""Those who use a forge in these tests: a clone with real git, a plain REST client, a clock."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx


def git(directory: Path, *arguments: str, code: int = 0) -> str:
    """Run git as nobody in particular; return what it wrote, both streams."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment = kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).strip()


@dataclass(frozen=True)
class Clone:
    """Somebody's clone of the repository."""

    directory: Path

    def git(self, *arguments: str, code: int = 0) -> str:
        """Run git in the clone; the exit code must be `code`."""
        return git(self.directory, *arguments, code=code)

    def commit(self, files: Mapping[str, str | None], message: str = "change") -> str:
        """Write files (None removes) and commit them; return the commit."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(content, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str, files: Mapping[str, str | None], base: str = "origin/main") -> str:
        """Make a branch with one commit, push it, and return the commit."""
        self.git("fetch", "--quiet", "origin")
        self.git("checkout", "--quiet", "-B", name, base)
        commit = self.commit(files, f"work on {name}")
        self.git("push", "--quiet", "--force", "origin", name)
        return commit


@dataclass(frozen=True)
class Api:
    """A plain HTTP client of the REST API, with one token."""

    client: httpx.Client

    def __call__(self, method: str, path: str, body: object = None, code: int | None = None, **query: Any) -> Any:
        """Send a request below the API's root; return the answer, or with `code` its JSON after checking the status."""
        response = self.client.request(method, path, json=body, params=query or None)
        if code is None:
            return response
        assert response.status_code == code, response.text
        return response.json() if response.content else None


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now
