"""A proxy in front of a control plane that interrupts a client at a chosen write and answers with chosen faults.

It listens on plain HTTP on loopback, so it needs no certificate, and speaks HTTPS to the API server. A request that
carries an `Authorization` header keeps it; any other is sent with the proxy's own credentials, for client-go sends none
over HTTP.

A fault can meet any request: `numbered` and `kind_of` choose, `by_chance` throws dice that fall the same way for the
same seed.
"""

import http.client
import json
import os
import random
import select
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from breakglass_lab.controlplane import ControlPlane, configuration

_UPSTREAM_SECONDS = 120.0
_CHUNK_BYTES = 65_536
_POLL_SECONDS = 0.05
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_COLLECTIONS = {"get": "list", "delete": "deletecollection"}
_APPLY = "application/apply-patch"
_PER_CONNECTION = ("connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """A request as the client sent it; `target` is path and query, header names are lower case.

    Attributes:
        number: among all requests, from 1, in order of arrival.
        write: among the writes, from 1; 0 for a read.
        earlier: how many requests of the same method and target came before.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    number: int = 0
    write: int = 0
    earlier: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """Parameters of the target."""
        return parse_qs(urlsplit(self.target).query)

    @property
    def is_write(self) -> bool:
        """Whether it may change something: any but a read, unless its query says `dryRun=All`."""
        return self.method in _VERBS and self.method != "GET" and self.query.get("dryRun") != ["All"]

    @property
    def resource(self) -> str:
        """What it is about, as RBAC names it: `networkpolicies`, `pods/eviction`; empty for a path of another kind."""
        names = self._names()
        return "/".join(names[:1] + names[2:])

    @property
    def verb(self) -> str:
        """What it does, as RBAC names it; `apply` for a server-side apply, which RBAC calls a patch."""
        if self.query.get("watch") in (["true"], ["1"]):
            return "watch"
        if self.method == "PATCH" and self.headers.get("content-type", "").startswith(_APPLY):
            return "apply"
        verb = _VERBS.get(self.method, self.method.lower())
        return _OF_COLLECTIONS.get(verb, verb) if len(self._names()) == 1 else verb

    def _names(self) -> list[str]:
        """Resource, name and subresource in the path, as far as there are any.

        See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris.
        """
        root, *names = self.path.strip("/").split("/")
        names = names[{"api": 1, "apis": 2}.get(root, len(names)) :]
        return names[2:] if names[:1] == ["namespaces"] and len(names) > 2 else names

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


@dataclass(frozen=True)
class Answer:
    """The fault of answering in the API server's place, which never sees the request."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """The fault of a connection reset without an answer, after the API server did its part where `forwarded`."""

    forwarded: bool = False


@dataclass(frozen=True)
class Truncated:
    """The fault of half an answer: the API server did its part, the client reads half of the promised bytes."""


@dataclass(frozen=True)
class Slow:
    """The fault of an answer that takes its time, as of an etcd that does: held back once the API server gave it."""

    seconds: float


Fault = Answer | Reset | Truncated | Slow
Chooses = Callable[[Request], bool]
"""Whether a fault is for a request."""


@dataclass(frozen=True)
class Rule:
    """`fault` instead of an answer, for the first `times` requests that match; for all of them where that is None."""

    matches: Chooses
    fault: Fault
    times: int | None = 1


def numbered(*numbers: int) -> Chooses:
    """The requests with these numbers, counted from 1 among all of them."""
    return lambda request: request.number in numbers


def kind_of(verb: str, resource: str) -> Chooses:
    """Requests of this verb and resource, named as `Request` names them."""
    return lambda request: (request.verb, request.resource) == (verb, resource)


def by_chance(probability: float, seed: object) -> Chooses:
    """Each request with this probability.

    The dice of a request are its method, its target, how often both came before, and the seed: in whatever order a
    client's threads ask, the same requests are chosen.
    """

    def chosen(request: Request) -> bool:
        dice = random.Random(f"{seed} {request.earlier} {request.method} {request.target}")
        return dice.random() < probability

    return chosen


def status(code: int, reason: str, message: str, *, retry_after: int | None = None) -> Answer:
    """A failure as the API server words it, without `reason` where that is empty; `retry_after` is in seconds.

    See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.
    """
    document: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    document |= {"message": message, **({"reason": reason} if reason else {}), "code": code}
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        document["details"] = {"retryAfterSeconds": retry_after}
        headers["Retry-After"] = str(retry_after)
    return Answer(code, json.dumps(document).encode(), headers)


def denied(webhook: str, why: str, *, code: int = 400, reason: str = "") -> Answer:
    """What the API server answers where an admission webhook says no; code and reason are the webhook's to choose.

    See https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response.
    """
    return status(code, reason, f'admission webhook "{webhook}" denied the request: {why}')


class Interruption:
    """The proxy, as a context manager.

    `rules` may be added to at any time; the first that matches and is not used up decides. `requests` are all that
    arrived, in order, and `writes` the writes among them: the first is number 1, and one that meets a fault counts as
    well.
    """

    def __init__(
        self, control_plane: ControlPlane, kubeconfig: Path, *, token: str | None = None, user: str | None = None
    ) -> None:
        """Write to `kubeconfig` how to reach the proxy; it authenticates with `token`, else as administrator.

        The administrator acts as `user` where that is given
        (https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/).
        """
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.writes: list[Request] = []
        self.ahead = timedelta(0)
        """How far the `Date` of every answer is ahead of the real one; may be set at any time."""
        self.kubeconfig = kubeconfig
        self._api_server = urlsplit(control_plane.server).netloc
        self._token, self._user = token, user
        self._administrator = control_plane.tls()
        self._anonymous = control_plane.tls(client_certificate=False)
        self._actions: dict[tuple[str, int], Callable[[], object]] = {}
        self._uses: Counter[int] = Counter()
        self._earlier: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._serving: list[threading.Thread] = []
        self._restarting: list[threading.Thread] = []
        self._listeners = [_Listener(self, 0)]
        self.server = f"http://{configuration.ADDRESS}:{self._listeners[0].server_port}"
        """URL of the proxy, `http://127.0.0.1:PORT`."""
        kubeconfig.write_text(configuration.kubeconfig(control_plane.name, self.server, None, {}), encoding="utf-8")

    def before(self, write: int, action: Callable[[], object]) -> None:
        """At write number `write` run `action` and reset the connection; the API server never sees that write."""
        self._actions["before", write] = action

    def after(self, write: int, action: Callable[[], object]) -> None:
        """Once the API server has answered write number `write` run `action` and reset the connection."""
        self._actions["after", write] = action

    def go_away(self) -> None:
        """Break every connection and refuse new ones, as an API server that ends."""
        gone = self._listeners[-1]
        gone.shutdown()
        gone.socket.close()
        # The next one has the port already, and does not listen yet.
        self._listeners.append(_Listener(self, gone.server_port))
        gone.disconnect()

    def come_back(self) -> None:
        """Take connections again after `go_away`."""
        listener = self._listeners[-1]
        listener.server_activate()
        self._serving.append(_started(listener.serve_forever, _POLL_SECONDS))

    def restart(self, seconds: float) -> None:
        """Go away now and come back after a while; an action as well."""
        self.go_away()
        self._restarting.append(_started(self._come_back_after, seconds))

    def _come_back_after(self, seconds: float) -> None:
        if not self._left.wait(seconds):
            self.come_back()

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        for thread in self._restarting:
            thread.join()
        for listener in self._listeners:
            if listener.listens:
                listener.shutdown()
            listener.disconnect()
            listener.server_close()
        for thread in self._serving:
            thread.join()

    def admit(self, request: Request) -> tuple[Request, Fault | None]:
        """Count `request`: the request with its numbers, and the fault it meets."""
        with self._lock:
            same = (request.method, request.target)
            write = len(self.writes) + 1 if request.is_write else 0
            request = replace(request, number=len(self.requests) + 1, write=write, earlier=self._earlier[same])
            self._earlier[same] += 1
            self.requests.append(request)
            if write:
                self.writes.append(request)
            for index, rule in enumerate(self.rules):
                if (rule.times is None or self._uses[index] < rule.times) and rule.matches(request):
                    self._uses[index] += 1
                    return request, rule.fault
            return request, None

    def interrupts(self, moment: str, number: int) -> bool:
        """Run the action set for this moment of write `number`, if any; whether there was one."""
        action = self._actions.pop((moment, number), None)
        if action is not None:
            action()
        return action is not None

    def hold(self, seconds: float) -> None:
        """Return after a while, or when the proxy ends."""
        self._left.wait(seconds)

    def has_token(self, request: Request) -> bool:
        """Whether a token says who asks, and no certificate."""
        return self._token is not None or "authorization" in request.headers

    def connection(self, *, with_token: bool) -> http.client.HTTPSConnection:
        """A new connection to the API server, with the administrator's certificate where there is no token."""
        context = self._anonymous if with_token else self._administrator
        connection = http.client.HTTPSConnection(self._api_server, context=context, timeout=_UPSTREAM_SECONDS)
        connection.connect()
        return connection

    def forward(self, request: Request, connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
        """Send `request` to the API server and return its answer."""
        headers = {name: value for name, value in request.headers.items() if name not in _PER_CONNECTION}
        if self._token is not None:
            headers.setdefault("authorization", f"Bearer {self._token}")
        if self._user is not None and not self.has_token(request):
            headers["impersonate-user"] = self._user
        connection.request(request.method, request.target, request.body or None, headers)
        return connection.getresponse()


def _started(work: Callable[[float], None], seconds: float) -> threading.Thread:
    thread = threading.Thread(target=work, args=(seconds,))
    thread.start()
    return thread


def _is_over(idle: socket.socket) -> bool:
    """Whether the other side closed a connection on which nobody waits for an answer."""
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))


class _Listener(ThreadingHTTPServer):
    """The listening socket; it remembers the open connections, for a kept one would hold its thread for ever."""

    daemon_threads = False

    def __init__(self, interruption: Interruption, port: int) -> None:
        """Take the port, any where it is 0; `server_activate` begins to listen."""
        self.interruption = interruption
        self.listens = False
        self._connections: set[socket.socket] = set()
        super().__init__((configuration.ADDRESS, port), _Handler, bind_and_activate=False)
        self.server_bind()

    def server_activate(self) -> None:
        """Listen."""
        super().server_activate()
        self.listens = True

    def shutdown(self) -> None:
        """Take no more connections."""
        super().shutdown()
        self.listens = False

    @contextmanager
    def known(self, connection: socket.socket) -> Iterator[None]:
        """Remember `connection` as open."""
        self._connections.add(connection)
        if not self.listens:
            self.disconnect()
        try:
            yield
        finally:
            self._connections.discard(connection)

    def disconnect(self) -> None:
        """Shut every open connection, to clients and to the API server."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is what this proxy is for; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        """Begin without a connection to the API server."""
        super().setup()
        self._open = ExitStack()
        self._upstreams: dict[bool, http.client.HTTPSConnection] = {}

    def handle(self) -> None:
        """Serve requests until either side closes; the connections to the API server are kept as long."""
        with self._open, self.server.known(self.connection):
            super().handle()

    def _upstream(self, request: Request) -> http.client.HTTPSConnection:
        """A connection to the API server that it has not closed meanwhile."""
        with_token = self.server.interruption.has_token(request)
        kept = self._upstreams.get(with_token)
        if kept is None or kept.sock is None or _is_over(kept.sock):
            kept = self._open.enter_context(closing(self.server.interruption.connection(with_token=with_token)))
            self._open.enter_context(self.server.known(kept.sock))
            self._upstreams[with_token] = kept
        return kept

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""

    def _serve(self) -> None:
        interruption = self.server.interruption
        request, fault = interruption.admit(self._read())
        if interruption.interrupts("before", request.write) or fault == Reset(forwarded=False):
            self._reset()
        elif isinstance(fault, Answer):
            date = format_datetime(datetime.now(UTC), usegmt=True)
            self._send(fault.status, [("Date", date), *fault.headers.items()], fault.body)
        else:
            try:
                self._forward(request, fault)
            except (OSError, http.client.HTTPException):
                # The API server is away, or the client is.
                self._reset()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names are the base class's

    def _read(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        return Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)

    def _forward(self, request: Request, fault: Fault | None) -> None:
        interruption = self.server.interruption
        response = interruption.forward(request, self._upstream(request))
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _PER_CONNECTION]
        if isinstance(fault, Slow):
            interruption.hold(fault.seconds)
        if request.method == "GET" and response.length is None and not isinstance(fault, Reset):
            self._stream(response, headers, cut=isinstance(fault, Truncated))
            return
        body = b"" if request.verb == "watch" else response.read()
        if interruption.interrupts("after", request.write) or isinstance(fault, Reset):
            self._reset()
        else:
            self._send(response.status, headers, body, len(body) // 2 if isinstance(fault, Truncated) else None)

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes, stop_at: int | None = None) -> None:
        """Send an answer; of the body only the first `stop_at` bytes, and then close, where that is given."""
        self._send_headers(status, [*headers, ("Content-Length", str(len(body)))])
        self.wfile.write(body[:stop_at])
        self.close_connection = self.close_connection or stop_at is not None

    def _send_headers(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, self._moved(value) if name == "Date" else value)
        self.end_headers()

    def _moved(self, date: str) -> str:
        return format_datetime(parsedate_to_datetime(date) + self.server.interruption.ahead, usegmt=True)

    def _stream(self, response: http.client.HTTPResponse, headers: list[tuple[str, str]], *, cut: bool) -> None:
        """Pass an answer of unknown length on as it comes: a watch never ends by itself.

        Args:
            cut: end in the middle of the first chunk.
        """
        self._send_headers(response.status, [*headers, ("Transfer-Encoding", "chunked")])
        while chunk := response.read1(_CHUNK_BYTES):
            frame = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
            if cut:
                self.wfile.write(frame[: len(frame) // 2])
                self.close_connection = True
                return
            self.wfile.write(frame)
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # Close the descriptor itself: the files made of the socket would keep it open.
            os.close(self.connection.detach())
