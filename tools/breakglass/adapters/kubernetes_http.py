"""Requests to an API server: one verified TLS connection pool, bounded answers, bounded retries, errors of the product.

The Kubernetes package is not imported here: its client costs a tenth of a second at start and sets no bound on an
answer. urllib3 is what it speaks through as well.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from breakglass.adapters.credentials import Access
from breakglass.adapters.kubernetes_answers import Answer, error_of, read_answer
from breakglass.adapters.retry import Passing, retried
from breakglass.model.errors import Conflict, Refused, Unreachable
from breakglass.ports import Clock, Lease

WORKERS = 16
"""Requests at once: with more than eight nobody waits for etcd to store one after the other, and API priority and
fairness, which a 429 speaks for, has many more seats
(https://kubernetes.io/docs/concepts/cluster-administration/flow-control/)."""
LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes."""
_CONNECT_SECONDS, _REQUEST_SECONDS = 5.0, 10.0
_CHUNK = 1024 * 1024
# A Lease is renewed, and it and the inventories are watched, also while every worker waits for an answer.
_CONNECTIONS = WORKERS + 4


class LeaseLost(Conflict):
    """A write was not sent, because the Lease that fences it is not held any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `body` is sent as JSON, whatever the content type says (JSON is YAML).

    Attributes:
        harmless: it changes nothing, though its method could: a dry run, or a question that is a POST.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"
    accept: str = "application/json"
    harmless: bool = False

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET" and not self.harmless


@dataclass(frozen=True, slots=True)
class Dated:
    """The header `Date` of an answer, and our time before the request and after the answer, aware UTC."""

    date: str
    sent: datetime
    received: datetime


class Server:
    """A connection pool to one API server with its credential.

    Attributes:
        dated: when the last answer was given, by the API server's clock and by ours; None before the first.

    Raises:
        Refused: the certificates of the access cannot be read.
    """

    def __init__(self, name: str, access: Access, clock: Clock) -> None:
        self.access, self.clock = access, clock
        self.description = f"the API server of {name}" if name else "the API server"
        self.dated: Dated | None = None
        self._authorization, self._renewal = access.authorization, Lock()
        self._pool = _pool(access)
        self._urlopen, self._root = _way(self._pool, access)

    def exchange(self, request: Request) -> Answer:
        """Send a request once, and once more with a fresh credential where this one was refused.

        Raises:
            Passing: no answer, or one that says to come again.
            Refused: the server's certificate is not trusted, or the answer is too large.
        """
        authorization = self._authorization
        answer = self._send(request, authorization)
        if answer.status == 401 and self.access.renew is not None:
            answer = self._send(request, self._renew(authorization))
        return answer

    def stream(self, request: Request, *, connect: float, read: float) -> urllib3.BaseHTTPResponse:
        """Send a request whose answer goes on; its status is for the caller to judge, and it is for him to close.

        Args:
            connect: seconds to wait for a connection.
            read: seconds to wait for each piece of the answer.

        Raises:
            Passing: no answer.
            Refused: the server's certificate is not trusted.
        """
        authorization, timeout = self._authorization, urllib3.Timeout(connect=connect, read=read)
        response = self._open(request, authorization, timeout=timeout)
        if response.status == 401 and self.access.renew is not None:
            response.close()
            response.release_conn()
            response = self._open(request, self._renew(authorization), timeout=timeout)
        return response

    def _renew(self, refused: str | None) -> str | None:
        with self._renewal:
            if self._authorization == refused and self.access.renew is not None:
                self._authorization = self.access.renew()
            return self._authorization

    def _send(self, request: Request, authorization: str | None) -> Answer:
        sent = self.clock.now()
        with self._open(request, authorization) as response:
            try:
                body = self._read(response)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self.fault(error) from error
            headers = response.headers
            self.dated = Dated(headers.get("Date", ""), sent, self.clock.now())
            return read_answer(response.status, headers, body, self.description)

    def _open(self, request: Request, authorization: str | None, **settings: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": request.accept, "User-Agent": "breakglass", "Content-Type": request.content_type}
        if authorization:
            headers["Authorization"] = authorization
        url = self._root + request.path + (_encoded_query(*request.query.items()) if request.query else "")
        body = _encoded(request)
        try:
            return self._urlopen(
                request.method, url, body=body, headers=headers, redirect=False, preload_content=False, **settings
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self.fault(error) from error

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        end = self.clock.now() + timedelta(seconds=_REQUEST_SECONDS)
        content = b""
        while chunk := response.read1(_CHUNK):
            content = content + chunk if content else chunk
            if len(content) > LARGEST_ANSWER:
                raise Refused(
                    f"the answer of {self.description} is larger than {LARGEST_ANSWER} bytes", where=response.url
                )
            if self.clock.now() > end:
                raise Passing(f"the answer of {self.description} took longer than {_REQUEST_SECONDS:.0f} s")
        return content

    def fault(self, error: Exception) -> Exception:
        """What a failed request means: Passing, or Refused where the server's certificate is not trusted."""
        causes = [error, error.__cause__, error.__context__, *error.args]
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Refused(
                    f"the certificate of {self.description} is not trusted: {cause.verify_message}",
                    where=self.access.server,
                    remedy="set certificateAuthority of the cluster, or of the kubeconfig, to what signed it",
                )
        return Passing(f"{self.description} did not answer ({_described(error)})")

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()


class Operation:
    """Requests that belong together: they share the time there is for retries, and give up together on silence.

    Args:
        fence: the Lease that every write asks before it is sent; None where none is needed.
    """

    def __init__(self, server: Server, patience: timedelta, fence: Lease | None = None) -> None:
        self._server, self._patience, self._fence = server, patience, fence
        self._deadline = server.clock.now() + patience
        self._silence: Unreachable | None = None

    def call(self, request: Request, where: str) -> dict[str, Any]:
        """Send a request until it is answered and return the answer.

        Args:
            where: the object it is about, for errors.

        Raises:
            Unreachable: no answer, or only passing faults, until the deadline.
            NotFound: 404; PathNotFound where it names no object.
            Conflict: 409, and 410 (a list that went on too long); LeaseLost for a write that the fence keeps back.
            Refused: every other answer that is not a success.
        """
        if self._silence is not None:
            raise Unreachable(self._silence.what, where=where, remedy=self._silence.remedy)
        sent = 0

        def attempt() -> Answer:
            nonlocal sent
            if self._fence is not None and request.writes and not self._fence.held():
                raise LeaseLost(
                    "the lease of this cluster is not held any more, so nothing more is written",
                    where=where,
                    remedy="another process writes now; run again when it is done",
                )
            sent += 1
            return self._server.exchange(request)

        try:
            answer = retried(attempt, self._server.clock, self._deadline, where)
        except Unreachable as error:
            if isinstance(error.__cause__, Passing) and not error.__cause__.answered:
                self._silence = error
            raise
        if answer.content is None or answer.status >= 300:
            server, origin = self._server.description, self._server.access.origin
            raise error_of(answer, where, repeated=sent > 1, server=server, origin=origin)
        return answer.content

    def again(self) -> Operation:
        """An operation like this one, that begins now."""
        return Operation(self._server, self._patience, self._fence)

    @property
    def clock(self) -> Clock:
        """The clock of the server."""
        return self._server.clock

    @property
    def deadline(self) -> datetime:
        """When this gives up, aware UTC."""
        return self._deadline


def _pool(access: Access) -> urllib3.PoolManager:
    settings: dict[str, Any] = {
        "maxsize": _CONNECTIONS,
        "block": True,
        "retries": False,
        "timeout": urllib3.Timeout(connect=_CONNECT_SECONDS, read=_REQUEST_SECONDS),
        "ssl_context": _tls(access),
    }
    if access.server_name:
        settings |= {"server_hostname": access.server_name, "assert_hostname": access.server_name}
    if not access.proxy:
        return urllib3.PoolManager(**settings)
    try:
        credential = urlsplit(access.proxy)
        if credential.username:
            user = f"{credential.username}:{credential.password or ''}"
            settings["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=user)
        return urllib3.ProxyManager(access.proxy, **settings)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise Refused(f"the proxy cannot be used: {type(error).__name__}", where=access.origin) from None


def _way(pool: urllib3.PoolManager, access: Access) -> tuple[Callable[..., urllib3.BaseHTTPResponse], str]:
    """How to send, and what stands before each path: without a proxy the host's own pool, which parses no address."""
    if access.proxy:
        return pool.urlopen, access.server
    return pool.connection_from_url(access.server).urlopen, urlsplit(access.server).path


def _tls(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.certificate_authority)
        if access.client_certificate and access.client_key:
            # The ssl module reads a key from a file only.
            with tempfile.TemporaryDirectory(prefix="breakglass-") as scratch:
                pair = Path(scratch) / "client.pem"
                pair.write_text(f"{access.client_certificate}\n{access.client_key}", encoding="ascii")
                context.load_cert_chain(pair)
    except (ssl.SSLError, ValueError) as error:
        raise Refused(
            f"the certificates for the API server cannot be read: {error}",
            where=access.origin,
            remedy="certificateAuthority, client certificate and key are PEM",
        ) from None
    return context


@lru_cache(maxsize=64)
def _encoded_query(*items: tuple[str, str]) -> str:
    return f"?{urlencode(items)}"


def _encoded(request: Request) -> bytes | None:
    if request.body is None:
        return None
    try:
        return json.dumps(request.body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise Refused(f"the object cannot be written as JSON: {error}", where=request.path) from None


def _described(error: Exception) -> str:
    """The kind of a fault in words, without addresses of objects in memory."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "connection refused or no route"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "time-out"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "connection lost"
    return type(error).__name__
