"""Processes that do not outlive the one that started them, and ports for them."""

import os
import random
import signal
import socket
import subprocess
from pathlib import Path

from breakglass_lab.controlplane.configuration import ADDRESS

# Below the ranges from which systems take ports for outgoing connections, which come and go all the time.
_PORTS = range(10_000, 30_000)
_PORT_ATTEMPTS = 100
_STOP_SECONDS = 20.0
# `read` ends when the only writer of the pipe is gone, whatever it died of; then the whole process group is killed.
_WATCH = ("/bin/sh", "-c", "read -r line; kill -KILL 0")


def free_port() -> int:
    """A TCP port nobody listens on just now; another process may still take it first, so be ready to try again."""
    for _ in range(_PORT_ATTEMPTS):
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free TCP port on {ADDRESS} in {_PORT_ATTEMPTS} attempts")


class Group:
    """A process group that is killed when this process ends, even by SIGKILL.

    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started a process ends.
    """

    def __init__(self) -> None:
        self._watch = subprocess.Popen(
            _WATCH, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        )

    def start(self, command: list[str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start `command` in `directory` with both output streams appended to `log`."""
        # A clean environment: etcd takes every ETCD_* variable as a setting.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self._watch.pid,
            )

    def close(self) -> None:
        """Kill what is left of the group."""
        if self._watch.stdin is not None:
            self._watch.stdin.close()
        self._watch.wait()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask `process` to end, and kill it when it has not after 20 seconds."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log file; invalid UTF-8 is replaced."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
