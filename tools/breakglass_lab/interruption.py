"""A proxy in front of a control plane that interrupts a client at a chosen write and answers with chosen faults.

It listens on plain HTTP on loopback, so it needs no certificate, and speaks HTTPS to the API server. A request that
carries an `Authorization` header keeps it; any other is sent with the proxy's own credentials, for client-go sends none
over HTTP.
"""

import http.client
import json
import os
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from breakglass_lab.controlplane import ControlPlane, configuration

_UPSTREAM_SECONDS = 120.0
_CHUNK_BYTES = 65_536
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_PER_CONNECTION = ("connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """A request as the client sent it; `target` is path and query, header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def is_write(self) -> bool:
        """Whether it may change something: any but a read, unless its query says `dryRun=All`."""
        return self.method in _WRITES and parse_qs(urlsplit(self.target).query).get("dryRun") != ["All"]


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


Fault = Answer | Reset | Truncated


@dataclass(frozen=True)
class Rule:
    """`fault` instead of an answer, for the first `times` requests that match."""

    matches: Callable[[Request], bool]
    fault: Fault
    times: int = 1


def status(code: int, reason: str, message: str, *, retry_after: int | None = None) -> Answer:
    """A failure as the API server words it; `retry_after` is in seconds.

    See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.
    """
    document: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    document |= {"message": message, "reason": reason, "code": code}
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        document["details"] = {"retryAfterSeconds": retry_after}
        headers["Retry-After"] = str(retry_after)
    return Answer(code, json.dumps(document).encode(), headers)


class Interruption:
    """The proxy, as a context manager.

    `rules` may be added to at any time; the first that matches and is not used up decides. `writes` are the writes that
    arrived, in order: the first is number 1, and one that meets a fault counts as well.
    """

    def __init__(self, control_plane: ControlPlane, kubeconfig: Path, *, token: str | None = None) -> None:
        """Write to `kubeconfig` how to reach the proxy; it authenticates with `token`, else as administrator."""
        self.rules: list[Rule] = []
        self.writes: list[Request] = []
        self.kubeconfig = kubeconfig
        self._api_server = urlsplit(control_plane.server).netloc
        self._token = token
        self._administrator = control_plane.tls()
        self._anonymous = control_plane.tls(client_certificate=False)
        self._actions: dict[tuple[str, int], Callable[[], object]] = {}
        self._uses: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._listener = _Listener(self)
        self.server = f"http://{configuration.ADDRESS}:{self._listener.server_port}"
        """URL of the proxy, `http://127.0.0.1:PORT`."""
        kubeconfig.write_text(configuration.kubeconfig(control_plane.name, self.server, None, {}), encoding="utf-8")

    def before(self, write: int, action: Callable[[], object]) -> None:
        """At write number `write` run `action` and reset the connection; the API server never sees that write."""
        self._actions["before", write] = action

    def after(self, write: int, action: Callable[[], object]) -> None:
        """Once the API server has answered write number `write` run `action` and reset the connection."""
        self._actions["after", write] = action

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.disconnect()
        self._listener.server_close()

    def admit(self, request: Request) -> tuple[int, Fault | None]:
        """Count `request`: its number among the writes, 0 for a read, and the fault it meets."""
        with self._lock:
            if request.is_write:
                self.writes.append(request)
            number = len(self.writes) if request.is_write else 0
            for index, rule in enumerate(self.rules):
                if self._uses[index] < rule.times and rule.matches(request):
                    self._uses[index] += 1
                    return number, rule.fault
            return number, None

    def interrupts(self, moment: str, number: int) -> bool:
        """Run the action set for this moment of write `number`, if any; whether there was one."""
        action = self._actions.pop((moment, number), None)
        if action is not None:
            action()
        return action is not None

    def connect(self, request: Request) -> http.client.HTTPSConnection:
        """A new connection to the API server on which `request` and its answer travel."""
        has_token = self._token is not None or "authorization" in request.headers
        context = self._anonymous if has_token else self._administrator
        connection = http.client.HTTPSConnection(self._api_server, context=context, timeout=_UPSTREAM_SECONDS)
        headers = {name: value for name, value in request.headers.items() if name not in _PER_CONNECTION}
        if self._token is not None:
            headers.setdefault("authorization", f"Bearer {self._token}")
        connection.request(request.method, request.target, request.body or None, headers)
        return connection


class _Listener(ThreadingHTTPServer):
    """The listening socket; it remembers the open connections, for a kept one would hold its thread for ever."""

    daemon_threads = False

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption
        self._connections: set[socket.socket] = set()
        super().__init__((configuration.ADDRESS, 0), _Handler)

    @contextmanager
    def known(self, connection: socket.socket) -> Iterator[None]:
        """Remember `connection` as open."""
        self._connections.add(connection)
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

    def handle(self) -> None:
        """Serve requests until either side closes."""
        with self.server.known(self.connection):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""

    def _serve(self) -> None:
        request = self._read()
        interruption = self.server.interruption
        number, fault = interruption.admit(request)
        if interruption.interrupts("before", number) or fault == Reset(forwarded=False):
            self._reset()
        elif isinstance(fault, Answer):
            self._send(fault.status, list(fault.headers.items()), fault.body)
        else:
            try:
                self._forward(request, number, fault)
            except (OSError, http.client.HTTPException):
                # The API server is away, or the client is.
                self._reset()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names are the base class's

    def _read(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        return Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)

    def _forward(self, request: Request, number: int, fault: Fault | None) -> None:
        with closing(self.server.interruption.connect(request)) as upstream, self.server.known(upstream.sock):
            response = upstream.getresponse()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _PER_CONNECTION]
            if request.method == "GET" and fault is None and response.length is None:
                self._stream(response, headers)
                return
            body = response.read()
        if self.server.interruption.interrupts("after", number) or isinstance(fault, Reset):
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
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, response: http.client.HTTPResponse, headers: list[tuple[str, str]]) -> None:
        """Pass an answer of unknown length on as it comes: a watch never ends by itself."""
        self._send_headers(response.status, [*headers, ("Transfer-Encoding", "chunked")])
        while chunk := response.read1(_CHUNK_BYTES):
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # Close the descriptor itself: the files made of the socket would keep it open.
            os.close(self.connection.detach())
