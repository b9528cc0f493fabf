"""git's smart HTTP protocol: rights and rules first, then `git http-backend` as a CGI process.

https://git-scm.com/docs/http-protocol and https://git-scm.com/docs/git-http-backend
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from breakglass_lab.forge import answers, apps
from breakglass_lab.forge.bare import ZERO, Bare, clean_environment
from breakglass_lab.forge.exchange import Identity, Refusal
from breakglass_lab.forge.protection import RefChange, fast_forward_only, push_refusal
from breakglass_lab.forge.refs import moved
from breakglass_lab.forge.state import State

CHUNK = 65_536
COMMAND_LIMIT = 1000
"""Refs in one push."""


@dataclass(frozen=True)
class GitRequest:
    """A request below the repository's git URL: `service` is what the path ends in (`/info/refs`, `/git-upload-pack`,
    …).
    """

    method: str
    service: str
    query: str
    content_type: str
    content_encoding: str
    protocol: str
    authorization: str
    body: IO[bytes]

    @property
    def writes(self) -> bool:
        """Tell whether this is part of a push."""
        return "git-receive-pack" in (self.service.removeprefix("/"), self.query.removeprefix("service="))


@dataclass(frozen=True)
class GitAnswer:
    """Status, headers and the body in pieces."""

    status: int
    headers: list[tuple[str, str]]
    body: Iterator[bytes]
    identity: Identity


def serve(state: State, request: GitRequest) -> GitAnswer:
    """Answer a git request; Refusal 401, 403 or 404 as git on GitHub gets them."""
    identity = _authorise(state, request)
    with tempfile.TemporaryFile() as body:
        shutil.copyfileobj(request.body, body)
        body.seek(0)
        if request.service != "/git-receive-pack":
            status, headers, out = _backend(state.bare, request, identity, body, {})
            return GitAnswer(status, headers, out, identity)
        with state.lock:
            return _receive(state, request, identity, body)


def _authorise(state: State, request: GitRequest) -> Identity:
    identity = apps.identify(state, request.authorization)
    if identity.kind in ("anonymous", "jwt"):
        raise Refusal(401, "Authentication required.")
    role = answers.role_of(state, identity)
    if identity.kind != "user" and "contents" not in identity.permissions:
        role = None
    if role is None:
        raise Refusal(404, "Repository not found.")
    if request.writes and role == "read":
        raise Refusal(403, "Write access to repository not granted.")
    return identity


def commands(body: IO[bytes]) -> list[RefChange]:
    """Return the ref updates at the start of a receive-pack request; Refusal 400 for anything malformed."""
    changes: list[RefChange] = []
    while len(changes) <= COMMAND_LIMIT:
        try:
            length = int(body.read(4), 16)
            line = body.read(length - 4).decode("utf-8") if length else ""
            if not line:
                return changes
            if not line.startswith("shallow "):
                old, new, ref = line.partition("\0")[0].rstrip("\n").split(" ", 2)
                changes.append(RefChange(ref, old, new))
        except ValueError as error:
            raise Refusal(400, "malformed receive-pack request") from error
    raise Refusal(400, "too many refs in one push")


def _receive(state: State, request: GitRequest, identity: Identity, body: IO[bytes]) -> GitAnswer:
    if request.content_encoding:
        raise Refusal(415, "a compressed push is not read here")
    wanted = commands(body)
    body.seek(0)
    reasons = [(change.ref, push_refusal(state, change, identity)) for change in wanted]
    refusal = "\n".join(
        f"error: GH013: Repository rule violations found for {ref}.\n- {reason}" for ref, reason in reasons if reason
    )
    only_forward = [change.ref for change in wanted if fast_forward_only(state, change.ref, identity)]
    with tempfile.TemporaryDirectory() as directory:
        received = Path(directory) / "received"
        environment = {
            "FORGE_REFUSAL": refusal,
            "FORGE_FAST_FORWARD_ONLY": " ".join(only_forward),
            "FORGE_ZERO": ZERO,
            "FORGE_RECEIVED": str(received),
        }
        status, headers, out = _backend(state.bare, request, identity, body, environment)
        answer = b"".join(out)
        lines = received.read_text(encoding="utf-8").splitlines() if received.exists() else []
    for line in lines:
        old, new, ref = line.split(" ", 2)
        moved(state, RefChange(ref, old, new), identity)
    return GitAnswer(status, headers, iter((answer,)), identity)


def _backend(
    bare: Bare, request: GitRequest, identity: Identity, body: IO[bytes], extra: dict[str, str]
) -> tuple[int, list[tuple[str, str]], Iterator[bytes]]:
    """Start `git http-backend` and return status, headers and what it writes; the process ends with the iterator."""
    size = body.seek(0, 2)
    body.seek(0)
    environment = clean_environment(
        {
            "GIT_PROJECT_ROOT": str(bare.path.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.protocol,
            "PATH_INFO": f"/{bare.path.name}{request.service}",
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.content_type,
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": request.content_encoding,
            "REMOTE_USER": identity.login,
            "REMOTE_ADDR": "127.0.0.1",
            **extra,
        }
    )
    process = subprocess.Popen(
        ["git", "-c", f"core.hooksPath={bare.path / 'hooks'}", "http-backend"],
        stdin=body,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    status, headers = 200, []
    assert process.stdout is not None
    while line := process.stdout.readline().decode("latin-1").strip():
        name, _, value = line.partition(": ")
        if name.lower() == "status":
            status = int(value.split(" ", 1)[0])
        else:
            headers.append((name, value))
    return status, headers, _drain(process)


def _drain(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield what a process writes, and see it ended whatever happens to the reader."""
    stdout: Any = process.stdout
    try:
        while chunk := stdout.read1(CHUNK):
            yield chunk
    finally:
        stdout.close()
        if process.poll() is None:
            process.kill()
        process.wait()
