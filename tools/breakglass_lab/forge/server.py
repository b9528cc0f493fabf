"""The forge itself: its listener, the way of a request through it, and what the lab may do to it."""

import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import get_input_stream

from breakglass_lab.forge import apps, git_http, graphql, pages, payloads, rest
from breakglass_lab.forge.bare import ZERO, Bare, clean_environment
from breakglass_lab.forge.events import Event, Listener
from breakglass_lab.forge.exchange import ANONYMOUS, Identity, Refusal
from breakglass_lab.forge.faults import Fault, Faults
from breakglass_lab.forge.organisation import Organisation, Role
from breakglass_lab.forge.runs import Run, Runs
from breakglass_lab.forge.state import DEFAULT_BRANCH, Route, State, WorkflowState

API_PREFIX = "/api/v3"
GRAPHQL = "/api/graphql"
CHAIN_LIMIT = 3
BODY_LIMIT = 10_000_000
"""Bytes in a REST request."""

JSON_TYPE = [("Content-Type", "application/json; charset=utf-8")]

StartResponse = Callable[[str, list[tuple[str, str]]], object]


def utc_now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Served:
    """An answer ready to be sent."""

    status: int
    headers: list[tuple[str, str]]
    body: Iterable[bytes]
    identity: Identity = ANONYMOUS


class _QuietHandler(WSGIRequestHandler):
    """Serves without a line on the terminal for every request: the route log keeps them."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class _Listener(ThreadedWSGIServer):
    """A threaded server that cuts what is still connected when it closes, and waits for its threads."""

    daemon_threads = False
    multithread = True

    def __init__(self, host: str, app: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(host, 0, app, _QuietHandler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, known while it lasts."""
        self.connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.discard(request)

    def server_close(self) -> None:
        """Cut the connections that are still there, then close and join."""
        for connection in tuple(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client has gone already
                continue
        super().server_close()


class Forge:
    """A GitHub stand-in: one organisation, one repository, on loopback. A context manager; `close` ends everything it
    started.

    `url` is the root (`/api/v3` and `OWNER/REPO.git` below it), `bare` the path of the real repository, `routes` the
    log of every request, `runs` where the runner reports, `state` everything it remembers.
    """

    def __init__(
        self, directory: Path, organisation: Organisation, repository: str, clock: Callable[[], datetime]
    ) -> None:
        bare = Bare.create(directory / f"{repository}.git", DEFAULT_BRANCH)
        self._listener = _Listener("127.0.0.1", self._wsgi)
        self.url = f"http://127.0.0.1:{self._listener.port}"
        self.state = State(organisation, repository, bare, clock, self.url)
        self.runs = Runs(self.state, self._announce)
        self.routes: list[Route] = []
        self.faults = Faults()
        self._rest = rest.Rest(self.state)
        self._subscribers: list[Listener] = []
        self._deliveries: list[Future[None]] = []
        self._delivery = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forge-events")
        self._servers: list[tuple[_Listener, threading.Thread]] = []
        self._closed = False
        self._serve(self._listener)

    @classmethod
    def start(
        cls,
        directory: Path,
        organisation: Organisation,
        repository: str = "platform",
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Create the bare repository `directory/REPOSITORY.git`, listen on a free port of 127.0.0.1 and return the
        forge.
        """
        return cls(directory, organisation, repository, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def api_url(self) -> str:
        """The root of the REST API; what PyGithub takes as `base_url`."""
        return self.state.api_url

    @property
    def git_url(self) -> str:
        """The URL to clone; user name `x-access-token`, password a token."""
        return f"{self.state.html_url}.git"

    @property
    def bare(self) -> Path:
        """The bare repository on disk."""
        return self.state.bare.path

    def token(self, login: str) -> str:
        """Return a new token of a user; KeyError when there is none of that login."""
        return apps.user_token(self.state, login)

    def workflow_token(self, permissions: Mapping[str, str]) -> str:
        """Return what a job with these `permissions` gets as GITHUB_TOKEN."""
        return apps.workflow_token(self.state, permissions)

    def suspend(self, login: str) -> None:
        """Suspend a user, now: their tokens are refused from here on; KeyError for nobody."""
        with self.state.lock:
            self.state.change_user(login, suspended_at=self.state.now())

    def unsuspend(self, login: str) -> None:
        """Let a suspended user act again; KeyError for nobody."""
        with self.state.lock:
            self.state.change_user(login, suspended_at=None)

    def join_team(self, slug: str, login: str) -> None:
        """Make somebody a member of a team; again is no error. KeyError for no such team."""
        with self.state.lock:
            self.state.change_team(slug, lambda members: dict.fromkeys((*members, login)))

    def leave_team(self, slug: str, login: str) -> None:
        """Take somebody out of a team; KeyError for no such team."""
        with self.state.lock:
            self.state.change_team(slug, lambda members: (member for member in members if member != login))

    def grant(self, owner: str, role: Role | None) -> None:
        """Give a CODEOWNERS name (`@LOGIN`, `@ORGANISATION/TEAM`) a role on the repository; None takes it away."""
        with self.state.lock:
            organisation = self.state.organisation
            held = {**organisation.rights.get(self.state.repository, {}), owner: role}
            rights = {name: known for name, known in held.items() if known is not None}
            self.state.organisation = replace(
                organisation, rights={**organisation.rights, self.state.repository: rights}
            )

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called with every event, in order, one at a time, on a thread of the forge's own."""
        self._subscribers.append(listener)

    def settle(self, timeout: float = 30.0) -> None:
        """Wait (at most `timeout` seconds) until every event so far was delivered; raise what a listener raised."""
        with self.state.lock:
            pending = list(self._deliveries)
        done, late = wait(pending, timeout=timeout)
        if late:
            raise TimeoutError(f"{len(late)} events were not delivered in {timeout} s")
        for delivery in done:
            delivery.result()

    def fire_schedule(self, cron: str) -> None:
        """Let the clock of `schedule` strike: one event for the line `cron`, on the default branch."""
        with self.state.lock:
            tip = self.state.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
            if tip is None:
                raise LookupError(f"there is no {DEFAULT_BRANCH} yet")
            self.state.pending_events.append(payloads.schedule(self.state, cron, tip))
            self._deliver()

    def set_workflow_state(self, path: str, state: WorkflowState) -> None:
        """Enable or disable the workflow file at `path`, or let it have fallen asleep (`disabled_inactivity`), once
        every event so far was delivered.
        """
        self.settle()
        with self.state.lock:
            self.state.workflow_states[path] = state

    def fault(self, method: str, path: str, **options: Any) -> Fault:
        """Put a `Fault` in force and return it; `options` are its fields."""
        return self.faults.add(Fault(method, path, **options))

    def seed(self, source: Path, revision: str = "HEAD", branch: str = DEFAULT_BRANCH) -> str:
        """Push a commit of a local repository straight to a branch, past every rule, without events; return its id.

        The activity view shows it, by nobody: a creation as long as nobody else has moved the branch.
        """
        before = self.state.bare.tip(f"refs/heads/{branch}") or ZERO
        subprocess.run(
            ["git", "push", "--quiet", "--force", str(self.bare), f"{revision}:refs/heads/{branch}"],
            cwd=source,
            env=clean_environment(),
            check=True,
            capture_output=True,
        )
        tip = self.state.bare.tip(f"refs/heads/{branch}")
        assert tip is not None
        with self.state.lock:
            if tip != before:
                self.state.note_seed(f"refs/heads/{branch}", before, tip)
        return tip

    def listen_on_socket(self, path: Path) -> None:
        """Serve on a Unix socket too (gh reaches a plain-http host only so: its setting `http_unix_socket`)."""
        self._serve(_Listener(f"unix://{path}", self._wsgi))

    def close(self) -> None:
        """Stop listening, end what still runs, deliver what was queued; raise what a listener raised."""
        for server, thread in self._servers:
            server.shutdown()
            server.server_close()
            thread.join()
        self._servers.clear()
        with self.state.lock:
            self._closed = True
        self._delivery.shutdown(wait=True)
        deliveries, self._deliveries = self._deliveries, []
        for delivery in deliveries:
            delivery.result()

    def _serve(self, server: _Listener) -> None:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="forge")
        self._servers.append((server, thread))
        thread.start()

    def _announce(self, run: Run, action: str) -> None:
        """Let a workflow run start others, not more than three in a row: `workflow_run` of
        https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows.
        """
        event = payloads.workflow_run(self.state, run, action) if run.depth < CHAIN_LIMIT else None
        if event is not None:
            self.state.pending_events.append(event)
            self._deliver()

    def _deliver(self) -> None:
        """Hand the queued events to the listeners; call with the lock held, so that their order is kept."""
        for event in self.state.take_events():
            if self._closed:
                return
            self._deliveries.append(self._delivery.submit(self._call_subscribers, event))

    def _call_subscribers(self, event: Event) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber(event)

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        incoming = _incoming(environ)
        fault = self.faults.strike(incoming.method, incoming.path)
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is None or fault.performed or fault.effect == "serve":
            served = self._serve_request(incoming)
        else:
            served = Served(200, [], ())
        if fault is not None and fault.effect != "serve":
            served = Served(fault.status or 502, *_faulty(fault), served.identity)
        reset = fault is not None and fault.effect == "reset"
        self._log(incoming, served, None if reset else served.status)
        if reset:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("cut by a fault")
        start_response(f"{served.status} {HTTPStatus(served.status).phrase}", served.headers)
        return served.body

    def _serve_request(self, incoming: "Incoming") -> Served:
        if incoming.api or incoming.path == GRAPHQL:
            return self._serve_api(incoming)
        git = re.fullmatch(
            rf"/{re.escape(self.state.full_name)}(?:\.git)?(/info/refs|/git-[a-z-]+-pack)", incoming.path
        )
        if git is not None:
            return self._serve_git(incoming, git[1])
        return self._serve_page(incoming.path)

    def _serve_api(self, incoming: "Incoming") -> Served:
        identity = ANONYMOUS
        try:
            identity = apps.identify(self.state, incoming.headers.get("authorization", ""))
            if incoming.path == GRAPHQL and not incoming.api:
                told = graphql.serve(self.state, incoming.body, identity)
                status, headers, body = 200, JSON_TYPE, json.dumps(told).encode()
            else:
                status, headers, body = self._rest.serve(incoming, identity)
        except Refusal as refusal:
            status, headers, body = self._rest.refuse(refusal, identity)
        with self.state.lock:
            self._deliver()
        return Served(status, headers, (body,), identity)

    def _serve_git(self, incoming: "Incoming", service: str) -> Served:
        request = git_http.GitRequest(
            method=incoming.method,
            service=service,
            query=incoming.query_string,
            content_type=incoming.headers.get("content-type", ""),
            content_encoding=incoming.headers.get("content-encoding", ""),
            protocol=incoming.headers.get("git-protocol", ""),
            authorization=incoming.headers.get("authorization", ""),
            body=incoming.stream,
        )
        try:
            answer = git_http.serve(self.state, request)
        except Refusal as refusal:
            challenge = [("WWW-Authenticate", 'Basic realm="GitHub"')] if refusal.status == 401 else []
            body = f"{refusal.message}\n".encode()
            return Served(refusal.status, [("Content-Type", "text/plain; charset=utf-8"), *challenge], (body,))
        with self.state.lock:
            self._deliver()
        return Served(answer.status, answer.headers, answer.body, answer.identity)

    def _serve_page(self, path: str) -> Served:
        html = [("Content-Type", "text/html; charset=utf-8")]
        with self.state.lock:
            if path == "/" or path == f"/{self.state.full_name}":
                return Served(200, html, (pages.index(self.state).encode(),))
            wanted = re.fullmatch(rf"/{re.escape(self.state.full_name)}/pull/([0-9]{{1,9}})", path)
            pull = self.state.pulls.get(int(wanted[1])) if wanted is not None else None
            if pull is not None:
                return Served(200, html, (pages.pull_page(self.state, pull).encode(),))
        return Served(404, html, (b"<!doctype html><title>Not found</title>Not found",))

    def _log(self, incoming: "Incoming", served: Served, status: int | None) -> None:
        identity = served.identity
        route = Route(
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            status=status,
            login=identity.login,
            kind=identity.kind,
            app=None if identity.app is None else identity.app.slug,
            headers={key: value for key, value in incoming.headers.items() if key != "authorization"},
            body=incoming.body,
            at=self.state.now(),
            api=incoming.api,
        )
        self.routes.append(route)


@dataclass(frozen=True)
class Incoming:
    """A request as it came in: `path` decoded, for the API without its prefix; `headers` with lower-case names."""

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    body: bytes
    stream: Any
    api: bool

    @property
    def query(self) -> dict[str, str]:
        """The query as pairs, the last of a name wins."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))


def _incoming(environ: Mapping[str, Any]) -> Incoming:
    path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
    api = path == API_PREFIX or path.startswith(f"{API_PREFIX}/")
    headers = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }
    stream = get_input_stream(dict(environ))
    return Incoming(
        method=environ["REQUEST_METHOD"],
        path=(path.removeprefix(API_PREFIX) or "/") if api else path,
        query_string=environ.get("QUERY_STRING", ""),
        headers=headers,
        body=stream.read(BODY_LIMIT) if api or path == GRAPHQL else b"",
        stream=stream,
        api=api,
    )


def _faulty(fault: Fault) -> tuple[list[tuple[str, str]], tuple[bytes]]:
    """Return headers and body of the answer a fault gives: bytes as they are, anything else as JSON."""
    told = fault.body if fault.body is not None else {"message": HTTPStatus(fault.status or 502).phrase}
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", **fault.headers}
    return list(headers.items()), (body,)
