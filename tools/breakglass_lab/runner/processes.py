"""The processes of a job: found by what they inherit, and ended together, at the latest when the runner ends.

As GitHub's runner does, each job gets its own RUNNER_TRACKING_ID in its environment. act gives each step a session of
its own, so the processes of a job are those in any session that a process with the job's id belongs to. Reads /proc:
Linux only.

Run as a program, this file is the guard: it reads `+ID` and `-ID` lines, and when its standard input ends because the
runner is gone, it kills the processes of the ids that are left and removes the directory it was given.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

VARIABLE = "RUNNER_TRACKING_ID"
_STATE, _SESSION = 0, 3
"""Fields of /proc/PID/stat after the command's name: proc_pid_stat(5)."""


@dataclass(frozen=True)
class Process:
    """A living process; `environment` is what it was started with, empty where it may not be read."""

    id: int
    session: int
    environment: tuple[bytes, ...]


def living() -> Iterator[Process]:
    """Yield the processes of the machine, zombies left out."""
    for directory in Path("/proc").iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            environment = (directory / "environ").read_bytes()
        except PermissionError:
            environment = b""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[_STATE] not in "ZX":
            yield Process(int(directory.name), int(fields[_SESSION]), tuple(environment.split(b"\0")))


def members(tracking_id: str, sessions: set[int] | None = None) -> list[int]:
    """Return the ids of a job's processes; `sessions`, where given, are sessions known to be the job's and grow."""
    known = set() if sessions is None else sessions
    mark = f"{VARIABLE}={tracking_id}".encode()
    processes = list(living())
    known.update(process.session for process in processes if mark in process.environment)
    return [process.id for process in processes if process.session in known]


def kill(tracking_id: str) -> None:
    """End every process of a job with SIGKILL, those included that are born meanwhile."""
    sessions: set[int] = set()
    while found := members(tracking_id, sessions):
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue


class Guard:
    """A child process that outlives the runner just long enough to end its jobs and to remove its `work` directory."""

    def __init__(self, work: Path) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def add(self, tracking_id: str) -> None:
        """Watch over a job's processes."""
        self._tell(f"+{tracking_id}")

    def remove(self, tracking_id: str) -> None:
        """Watch over a job no longer: its processes are gone."""
        self._tell(f"-{tracking_id}")

    def close(self) -> None:
        """End the guard, the processes it watches over, and the directory."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None:
            raise ValueError("the guard has no standard input")
        with self._lock:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def main() -> None:
    """Be the guard until standard input ends."""
    jobs: set[str] = set()
    for line in sys.stdin:
        tracking_id = line[1:].strip()
        if line[0] == "+":
            jobs.add(tracking_id)
        else:
            jobs.discard(tracking_id)
    for tracking_id in jobs:
        kill(tracking_id)
    shutil.rmtree(sys.argv[1])


if __name__ == "__main__":
    main()
