"""Many clusters out of one control plane: a proxy gives each of them namespaces of its own, so fifty fit a machine.

A request to the cluster `c07` finds the namespace `data` where the API server has `data-c07`, in paths, bodies and
answers; a list over all namespaces shows only its own. What belongs to no namespace, and names of Namespaces in their
own objects, are the control plane's and shared. Every answer is the real API server's.

The proxy speaks plain HTTP on loopback, as `kubectl proxy` does, and gives a user's name and an administrator's rights.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from breakglass_lab.controlplane import ControlPlane, configuration, install

_UPSTREAM_SECONDS = 120.0
_BACKLOG = 64
_READS = ("GET", "HEAD")
_PER_CONNECTION = ("connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "accept-encoding")
_IN_PATH = re.compile(r"/namespaces/([^/?]+)")
_IN_BODY = re.compile(rb'("namespace"\s*:\s*"[^"]+)"')


class Fleet:
    """The clusters, as a context manager.

    Attributes:
        kubeconfig: a kubeconfig with one context a cluster, named like it.
        last_write: cluster → when the API server had answered its last write, Leases aside, by `time.monotonic`.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        names: Iterable[str],
        kubeconfig: Path,
        *,
        silent: Iterable[str] = (),
        refusing: Iterable[str] = (),
        user: str = "breakglass:applier",
    ) -> None:
        """Listen, and write the kubeconfig.

        Args:
            names: the clusters that work.
            silent: more clusters, which accept every connection and never answer.
            refusing: more clusters, where nothing listens.
            user: whose name the API server reads.
        """
        self.control_plane, self.kubeconfig, self.names = control_plane, kubeconfig, tuple(names)
        self.identity = {"Impersonate-User": user, "Impersonate-Group": "system:masters"}
        self.last_write: dict[str, float] = {}
        self._listener = _Listener(self)
        self._silent = socket.create_server((configuration.ADDRESS, 0), backlog=_BACKLOG)
        # Bound and not listening: nobody else gets the port, and the kernel refuses connections to it.
        self._refusing = socket.socket()
        self._refusing.bind((configuration.ADDRESS, 0))
        working = {name: f"{_address(self._listener.socket)}/{name}" for name in self.names}
        unwell = dict.fromkeys(silent, _address(self._silent)) | dict.fromkeys(refusing, _address(self._refusing))
        self.servers: Mapping[str, str] = working | unwell
        """Cluster → URL of its API server, `http://127.0.0.1:PORT` with or without a path."""
        kubeconfig.write_text(_kubeconfig(self.servers), encoding="utf-8")

    def add_namespaces(self, *namespaces: str) -> None:
        """Make these namespaces in every cluster that works."""
        install(
            self.control_plane,
            (
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-{name}"}}
                for name in self.names
                for namespace in namespaces
            ),
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.disconnect()
        self._listener.server_close()
        self._silent.close()
        self._refusing.close()


class _Listener(ThreadingHTTPServer):
    """The listening socket; it remembers the open connections, for a kept one would hold its thread for ever."""

    daemon_threads = False
    request_queue_size = _BACKLOG

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.connections: set[socket.socket] = set()
        super().__init__((configuration.ADDRESS, 0), _Handler)

    def disconnect(self) -> None:
        """Shut every open connection, to clients and to the API server."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, with a connection to the API server of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        """Connect, once for all requests of this connection."""
        super().setup()
        plane = self.server.fleet.control_plane
        self._upstream = http.client.HTTPSConnection(
            urlsplit(plane.server).netloc, context=plane.tls(), timeout=_UPSTREAM_SECONDS
        )
        self._upstream.connect()
        self._sockets = {self.connection, self._upstream.sock}
        self.server.connections |= self._sockets

    def finish(self) -> None:
        """Close both connections."""
        self.server.connections -= self._sockets
        self._upstream.close()
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        """Serve requests until either side closes."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        _, cluster, target = self.path.split("/", 2)
        suffix = f"-{cluster}"
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _PER_CONNECTION}
        headers |= self.server.fleet.identity
        path = _IN_PATH.sub(rf"/namespaces/\g<1>{suffix}", f"/{target}")
        self._upstream.request(self.command, path, _outwards(body, suffix) or None, headers)
        answer = self._upstream.getresponse()
        if self.command not in _READS and "/leases" not in path:
            self.server.fleet.last_write[cluster] = time.monotonic()
        if answer.length is None and "watch" in path:
            self._stream(answer, suffix)
            return
        content = answer.read()
        if self.command == "GET" and not _IN_PATH.search(path):
            content = _own(content, suffix)
        content = _inwards(content, suffix)
        self._head(answer, [("Content-Length", str(len(content)))])
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names are the base class's

    def _head(self, answer: http.client.HTTPResponse, more: list[tuple[str, str]]) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _PER_CONNECTION:
                self.send_header(name, value)
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, answer: http.client.HTTPResponse, suffix: str) -> None:
        """Pass a watch on line by line, for it never ends by itself."""
        self._head(answer, [("Transfer-Encoding", "chunked")])
        while line := answer.readline():
            line = _inwards(line, suffix)
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")


def _outwards(body: bytes, suffix: str) -> bytes:
    """A body as the API server is to see it."""
    return _IN_BODY.sub(rb'\g<1>%b"' % suffix.encode(), body)


def _inwards(body: bytes, suffix: str) -> bytes:
    """A body as the cluster is to be seen."""
    return re.sub(rb'("namespace"\s*:\s*"[^"]+)%b"' % re.escape(suffix.encode()), rb'\g<1>"', body)


def _own(body: bytes, suffix: str) -> bytes:
    """A list over all namespaces with what is of this cluster, or of no namespace; any other answer as it is."""
    answer = json.loads(body) if body.startswith(b"{") else None
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        return body
    spaces = (item["metadata"].get("namespace") for item in answer["items"])
    answer["items"] = [
        item
        for item, space in zip(answer["items"], spaces, strict=True)
        if space is None or str(space).endswith(suffix)
    ]
    return json.dumps(answer).encode()


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _kubeconfig(servers: Mapping[str, str]) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in servers.items()],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "proxy"}} for name in servers],
    }
    return yaml.safe_dump(document)
