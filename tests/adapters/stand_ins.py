"""People and time of the adapters' tests: a clone that somebody works in, and a clock that nobody waits for."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path


@dataclass(frozen=True)
class Clone:
    """A directory with git in it, driven as a person would."""

    directory: Path

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git and return what it wrote, one line without its end."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        people = {
            f"GIT_{who}_{what}": "ann@acme.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.directory, env=clean | people, input=stdin, capture_output=True, check=True
        )
        return os.fsdecode(done.stdout).strip()

    def commit(self, files: Mapping[str, str | None], message: str = "change") -> str:
        """Commit files (None removes one) and return the sha."""
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


@dataclass
class Waits:
    """A clock that moves only when somebody sleeps on it; keeps how long each sleep was."""

    at: datetime = field(default_factory=lambda: datetime(2026, 11, 23, 2, 13, tzinfo=UTC))
    slept: list[timedelta] = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    def sleep(self, duration: timedelta) -> None:
        self.slept.append(duration)
        self.at += duration
