"""The wire between the product and a real API server: it counts, kills, breaks, and lets others in between."""

from __future__ import annotations

import io
import json
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode, urlsplit

import urllib3

from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.ports import Clock
from breakglass_lab.interruption import Answer, Fault, Reset, Truncated, denied, status
from ports.writes import Killed, Moment

DENIED = denied("night.acme.example", "not tonight")
FAULTS: tuple[Fault, ...] = (
    status(409, "Conflict", "the object has been modified"),
    status(422, "Invalid", "it is invalid tonight"),
    status(429, "TooManyRequests", "the server has received too many requests", retry_after=1),
    status(500, "InternalError", "etcdserver: request timed out"),
    status(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
    DENIED,
    Answer(502, b"<html>bad gateway</html>", {"Content-Type": "text/html"}),
    Reset(forwarded=False),
    Reset(forwarded=True),
    Truncated(),
)
_JSON = "application/json"


class ApiServer:
    """A real API server, for the lab's own hands: requests as administrator over kept connections.

    Args:
        space: the namespace that stands for `breakglass`, so that many runs share the API server.
    """

    def __init__(self, kubeconfig: Path, space: str) -> None:
        self.access, self.space = access_to(CLUSTER_NAME, None, kubeconfig), space
        self._served: dict[str, tuple[int, dict[str, str], bytes]] = {}
        address = urlsplit(self.access.server)
        self.pool = urllib3.HTTPSConnectionPool(
            str(address.hostname), address.port, maxsize=16, retries=False, timeout=60, ssl_context=_tls(self.access)
        )

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = _JSON, **query: str
    ) -> dict[str, Any] | None:
        """Send a request; None where the object, or its place, is not there.

        Raises:
            AssertionError: the API server refused.
        """
        target = path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body)
        answer = self.pool.urlopen(method, target, body=content, headers={"Content-Type": content_type})
        if answer.status == 404:
            return None
        assert answer.status < 300, f"{method} {target}: {answer.status} {answer.data.decode(errors='replace')}"
        found: dict[str, Any] = json.loads(answer.data)
        return found

    def ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None, **settings: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send a request of the product; what the API server serves it says once, for that stays."""
        if method != "GET" or "/namespaces/" in url:
            return self.pool.urlopen(method, url, body=body, headers=headers, **settings)
        if url not in self._served:
            answer = self.pool.urlopen(method, url, headers=headers)
            self._served[url] = answer.status, dict(answer.headers), answer.data
        code, served, content = self._served[url]
        return urllib3.HTTPResponse(io.BytesIO(content), served, code, preload_content=False)

    def close(self) -> None:
        self.pool.close()


CLUSTER_NAME = "prod-eu"


def _tls(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.certificate_authority)
    # The ssl module reads certificates from files only.
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{access.client_certificate}\n{access.client_key}")
        file.flush()
        context.load_cert_chain(file.name)
    return context


@dataclass
class Trouble:
    """What befalls one process of the product.

    Attributes:
        kill: it dies at this write, counted from 1.
        chance: probability that a request meets a fault.
        denied: resource that a webhook lets nobody write.
        meanwhile: at this request, counted from 1, somebody else does something first.
        ahead: how many seconds the API server's clock is ahead.
    """

    dice: Random
    kill: tuple[int, Moment] | None = None
    chance: float = 0.0
    denied: str = ""
    meanwhile: tuple[int, Callable[[], object]] | None = None
    ahead: float = 0.0

    @property
    def quiet(self) -> bool:
        """Whether nothing befalls it."""
        return self.kill is None and self.chance == 0.0 and not self.denied and self.meanwhile is None

    def fault(self, place: str, *, is_write: bool) -> Fault | None:
        """The fault of the next request, if it meets one."""
        if self.denied and is_write and f"/{self.denied}" in place and "/namespaces/breakglass/" not in place:
            return DENIED
        return self.dice.choice(FAULTS) if self.dice.random() < self.chance else None


@dataclass
class Wire:
    """The connection of one process of the product, in place of its own pool.

    Attributes:
        log: every request, in order, with what befell it.
        requests, writes: how many there were.
    """

    server: ApiServer
    clock: Clock
    trouble: Trouble
    log: list[str] = field(default_factory=list)
    requests: int = 0
    writes: int = 0
    dead: bool = False

    def urlopen(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> urllib3.BaseHTTPResponse:
        """What the product calls for every request."""
        if "watch=true" in url:
            # It comes from a thread of the product whenever that runs: nothing that counts may depend on it.
            return self._send(method, url, body, headers, **settings)
        if self.dead:
            raise Killed
        self.requests += 1
        if self.trouble.meanwhile is not None and self.trouble.meanwhile[0] == self.requests:
            self.trouble.meanwhile[1]()
        return self._write(method, url, body, headers, settings)

    def _write(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None, settings: dict[str, Any]
    ) -> urllib3.BaseHTTPResponse:
        is_write = method != "GET" and "dryRun=All" not in url
        self.writes += is_write
        if is_write:
            self._die_at("before")
        fault = self.trouble.fault(url, is_write=is_write)
        self.log.append(f"{method} {url.partition('?')[0]}" + (f" met {_name(fault)}" if fault else ""))
        if isinstance(fault, Answer):
            return urllib3.HTTPResponse(
                io.BytesIO(fault.body), self._dated(fault.headers), fault.status, preload_content=False
            )
        if fault == Reset(forwarded=False):
            raise urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
        answer = self._send(method, url, body, headers, **settings)
        if is_write:
            self._die_at("after")
        if isinstance(fault, Reset):
            answer.drain_conn()
            raise urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
        return _half(answer) if isinstance(fault, Truncated) else answer

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None, **settings: Any
    ) -> urllib3.BaseHTTPResponse:
        place = url.replace("/namespaces/breakglass/", f"/namespaces/{self.server.space}/")
        if body is not None:
            body = body.replace(b'"namespace": "breakglass"', f'"namespace": "{self.server.space}"'.encode())
        answer = self.server.ask(method, place, body, headers, **settings)
        answer.headers["Date"] = self._dated({})["Date"]
        return answer

    def _dated(self, headers: Mapping[str, str]) -> dict[str, str]:
        now = self.clock.now() + timedelta(seconds=self.trouble.ahead)
        return {**headers, "Date": format_datetime(now, usegmt=True)}

    def _die_at(self, moment: Moment) -> None:
        if self.trouble.kill == (self.writes, moment):
            self.dead = True
            self.log.append(f"died {moment} it")
            raise Killed

    def connection_from_url(self, url: str) -> Wire:
        """As `urllib3.PoolManager` has it."""
        del url
        return self

    def clear(self) -> None:
        """As `urllib3.PoolManager` has it: the connections are the lab's."""


def _name(fault: Fault) -> str:
    if isinstance(fault, Answer):
        return str(fault.status)
    return repr(fault)


def _half(answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    content = answer.data if answer.data is not None else answer.read()
    headers = {**answer.headers, "Content-Length": str(len(content))}
    return urllib3.HTTPResponse(
        io.BytesIO(content[: len(content) // 2]), headers, answer.status, preload_content=False, request_method="GET"
    )


@contextmanager
def connected(server: ApiServer, clock: Clock, trouble: Trouble) -> Iterator[tuple[KubernetesCluster, Wire]]:
    """A client of the product, as a new process has one, over a wire."""
    wire = Wire(server, clock, trouble)
    with patch.object(urllib3, "PoolManager", lambda **_: wire):
        cluster = KubernetesCluster(CLUSTER_NAME, server.access, clock, deletion=timedelta(seconds=0.3))
    try:
        yield cluster, wire
    finally:
        cluster.close()
