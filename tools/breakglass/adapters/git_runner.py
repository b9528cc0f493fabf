"""The one place that starts `git`: clean environment, no hooks, no prompts, few protocols, bounded in time.

Nothing of the caller's `GIT_*` reaches git. Commands that stay on this machine may use no transport at all, so a
partial clone never fetches behind anyone's back. A token travels in the environment of the child only, never in
arguments.
Environment variables: https://git-scm.com/docs/git#_environment_variables (git 2.31 or newer).
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from breakglass.adapters.loopback import is_loopback
from breakglass.model.errors import BreakglassError, Conflict, NotFound, Refused, Unreachable

_SETTINGS = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("user.useConfigOnly", "true"),
)
_IDENTITY = "git config --global user.name 'Your Name' && git config --global user.email you@example.com"
_MEANINGS: tuple[tuple[str, type[BreakglassError], str], ...] = (
    (r"\[rejected\]|cannot lock ref|failed to update ref|incorrect old value|already exists", Conflict, "run it again"),
    (r"Please tell me who you are|auto-detection is disabled|empty ident name", Refused, _IDENTITY),
    (r"transport '.*' not allowed", Refused, "use an https or ssh address for the remote"),
    (
        r"returned error: 40[13]|Authentication failed|prompts disabled|could not read (Username|Password)"
        r"|Permission denied|Host key verification failed",
        Refused,
        "give git a token or key with contents: write on this repository",
    ),
    (
        r"returned error: 404|[Rr]epository .*not found|does not appear to be a git repository|couldn't find remote ref"
        r"|No such remote|not our ref|bad object|[Nn]ot a valid object",
        NotFound,
        "correct the name or address, or fetch first",
    ),
    (
        r"returned error: (429|5\d\d)|HTTP (429|5\d\d)|Could not resolve|Failed to connect|Couldn't connect"
        r"|[Tt]imed out|Connection (refused|reset|closed)|Network is unreachable|No route to host|Empty reply|early EOF"
        r"|hung up",
        Unreachable,
        "run it again when the remote answers",
    ),
)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a git command ended: exit code, standard output, and its words without secrets and control characters."""

    code: int
    output: bytes
    words: str


class GitRunner:
    """Runs git in one repository.

    Args:
        directory: the repository, bare or not, or a directory inside its work tree.
        remote: name of the remote for `network` commands.
        token: a forge token for the remote over https; None leaves authentication to git's own configuration.
        timeout: seconds that one command may take.

    Raises:
        Refused: git is not installed, or the directory is no repository.
    """

    def __init__(self, directory: Path, *, remote: str, token: str | None, timeout: float) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", remote):
            raise Refused(f"{remote!r} is no name of a remote")
        if not directory.is_dir():
            raise NotFound("there is no such directory", where=str(directory), remedy="name a clone of the repository")
        self._directory = directory
        self._remote = remote
        self._basic = base64.b64encode(f"x-access-token:{token}".encode()).decode() if token is not None else None
        self._secrets = tuple(filter(None, (token, self._basic)))
        self._timeout = timeout
        self._git_dir: str | None = None
        found = self.attempt("rev-parse", "--absolute-git-dir", "--git-path", "shallow")
        if found.code:
            raise Refused(f"not a git repository: {found.words}", where=str(directory), remedy="run this in a clone")
        self._git_dir, shallow = os.fsdecode(found.output).splitlines()
        self._shallow_file = directory / shallow

    @property
    def git_dir(self) -> str:
        """Absolute path of the repository's git directory."""
        return str(self._git_dir)

    def refuse_shallow(self) -> None:
        """Refuse a clone without its history: expiry and audit are read from it.

        Raises:
            Refused: the clone is shallow.
        """
        if self._shallow_file.exists():
            raise Refused("the clone is shallow; expiry needs history", remedy="run `git fetch --unshallow`")

    def run(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None, network: bool = False
    ) -> bytes:
        """Run a command and return its standard output.

        Args:
            arguments: the command and its arguments; callers separate operands with `--` or `--end-of-options`.
            stdin: what it reads.
            environment: variables on top of the clean environment.
            network: the command talks to the remote.

        Raises:
            Unreachable: the remote did not answer, or the command took too long.
            Conflict: a ref moved or exists already.
            NotFound: the remote, repository or ref does not exist.
            Refused: everything else, in git's words.
        """
        finished = self.attempt(*arguments, stdin=stdin, environment=environment, network=network)
        if finished.code:
            raise meaning(arguments[0], finished.words)
        return finished.output

    def attempt(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None, network: bool = False
    ) -> Finished:
        """Run a command and return how it ended, whatever its exit code. Raises Unreachable when it takes too long."""
        with self._popen(arguments, self._environment(network) | dict(environment or {}), subprocess.PIPE) as process:
            try:
                output, complaints = process.communicate(stdin, self._timeout)
            except BaseException as error:
                # git's own children (ssh, git-remote-https) hold the pipes open: the whole group has to go.
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    message = f"git {arguments[0]} did not finish within {self._timeout:g} s"
                    raise Unreachable(message, remedy="run it again") from None
                raise
        return Finished(process.returncode, output, self._sanitised(complaints))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that stays, without network; it ends when its standard input is closed."""
        return self._popen(arguments, self._environment(network=False), subprocess.DEVNULL)

    def _popen(self, arguments: Sequence[str], environment: Mapping[str, str], stderr: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                ["git", *arguments],  # noqa: S607  # git is found on PATH
                cwd=self._directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Refused("git is not installed", remedy="install git 2.31 or newer") from None
        except ValueError as error:
            raise Refused(f"git {arguments[0]}: {error}") from None

    def _environment(self, network: bool) -> dict[str, str]:
        settings = [*_SETTINGS, *(self._credentials if network else ())]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        clean |= {
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": ":".join(sorted(self._protocols)) if network else "none",
            "GIT_ASKPASS": "",
            "GIT_CONFIG_COUNT": str(len(settings)),
            "GIT_NO_LAZY_FETCH": "0" if network else "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
        }
        for index, (key, value) in enumerate(settings):
            clean |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
        if not network:
            # The system's configuration may hold the proxy and the credential helper; nothing else needs it.
            clean["GIT_CONFIG_NOSYSTEM"] = "1"
        if self._git_dir is not None:
            clean["GIT_DIR"] = self._git_dir
        return clean

    @cached_property
    def _urls(self) -> frozenset[str]:
        names = [
            self.run("remote", "get-url", "--all", *push, "--", self._remote).decode("utf-8", "surrogateescape")
            for push in ((), ("--push",))
        ]
        return frozenset(line for text in names for line in text.splitlines())

    @cached_property
    def _protocols(self) -> frozenset[str]:
        """Protocols for the remote: plain http only on loopback, files only where the remote is a path."""
        allowed = {"https", "ssh"}
        if any(urlsplit(url).scheme == "http" and is_loopback(urlsplit(url).hostname) for url in self._urls):
            allowed.add("http")
        if any(url.startswith("file://") or re.match(r"[^:]*(/|$)", url) for url in self._urls):
            allowed.add("file")
        return frozenset(allowed)

    @cached_property
    def _credentials(self) -> tuple[tuple[str, str], ...]:
        """Configuration that sends the token, replaces any other Authorization header, and asks no helper."""
        if self._basic is None:
            return ()
        settings = [("credential.helper", "")]
        for url in sorted(self._urls):
            if urlsplit(url).scheme in self._protocols & {"http", "https"}:
                key = f"http.{_without_user(url)}.extraHeader"
                settings += [(key, ""), (key, f"Authorization: Basic {self._basic}")]
        return tuple(settings)

    def _sanitised(self, complaints: bytes) -> str:
        text = complaints.decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = re.sub(r"://[^/@\s]+@", "://", text)
        lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if not line.startswith("hint:"))
        printable = ("".join(c if c.isprintable() else "?" for c in line) for line in lines if line)
        return "; ".join(printable)[:2000]


def meaning(command: str, words: str) -> BreakglassError:
    """The error that git's words stand for."""
    for pattern, kind, remedy in _MEANINGS:
        if re.search(pattern, words):
            return kind(f"git {command}: {words}", remedy=remedy)
    return Refused(f"git {command}: {words or 'failed without a word'}")


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
