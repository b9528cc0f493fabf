"""Requests to an API server: one verified TLS connection pool, bounded answers, bounded retries, errors of the product.

The Kubernetes package is not imported here: its client costs a tenth of a second at start and sets no bound on an
answer. urllib3 is what it speaks through as well.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from breakglass.adapters.credentials import Access
from breakglass.adapters.retry import Passing, retried
from breakglass.model.errors import BreakglassError, Conflict, NotFound, Refused, Unreachable
from breakglass.ports import Clock

WORKERS = 8
"""Requests at once."""
LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes."""
_CONNECT_SECONDS, _REQUEST_SECONDS = 5.0, 10.0
_LONGEST_MESSAGE = 2000
_UNKNOWN_FIELD = "failed to create typed patch object"
"""Server-side apply answers 500 to a field that is not in the schema, though it is for the caller to correct."""


class RepeatedConflict(Conflict):
    """409 to a request that was sent more than once: an earlier one without an answer may have been carried out."""


class PathNotFound(NotFound):
    """404 that names no object: the path is not served, or something in between answered. It proves no absence."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `body` is sent as JSON, whatever the content type says (JSON is YAML)."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content: dict[str, Any] | None
    text: str


class Server:
    """A connection pool to one API server with its credential.

    Raises:
        Refused: the certificates of the access cannot be read.
    """

    def __init__(self, name: str, access: Access, clock: Clock) -> None:
        self.access, self.clock = access, clock
        self.description = f"the API server of {name}" if name else "the API server"
        self._authorization, self._renewal = access.authorization, Lock()
        self._pool = _pool(access)

    def exchange(self, request: Request) -> _Answer:
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

    def _renew(self, refused: str | None) -> str | None:
        with self._renewal:
            if self._authorization == refused and self.access.renew is not None:
                self._authorization = self.access.renew()
            return self._authorization

    def _send(self, request: Request, authorization: str | None) -> _Answer:
        headers = {"Accept": request.accept, "User-Agent": "breakglass", "Content-Type": request.content_type}
        if authorization:
            headers["Authorization"] = authorization
        url = self.access.server + request.path + ("?" + urlencode(request.query) if request.query else "")
        try:
            with self._pool.request(
                request.method, url, body=_encoded(request), headers=headers, preload_content=False
            ) as response:
                content = self._read(response)
                return _answer(response, content, self.description)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._fault(error) from error

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        end = self.clock.now() + timedelta(seconds=_REQUEST_SECONDS)
        content = bytearray()
        while chunk := response.read1(1024 * 1024):
            content += chunk
            if len(content) > LARGEST_ANSWER:
                raise Refused(
                    f"the answer of {self.description} is larger than {LARGEST_ANSWER} bytes", where=response.url
                )
            if self.clock.now() > end:
                raise Passing(f"the answer of {self.description} took longer than {_REQUEST_SECONDS:.0f} s")
        return bytes(content)

    def _fault(self, error: Exception) -> Exception:
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
    """Requests that belong together: they share the time there is for retries, and give up together on silence."""

    def __init__(self, server: Server, patience: timedelta) -> None:
        self._server, self._deadline = server, server.clock.now() + patience
        self._silence: Unreachable | None = None

    def call(self, request: Request, where: str) -> dict[str, Any]:
        """Send a request until it is answered and return the answer.

        Args:
            where: the object it is about, for errors.

        Raises:
            Unreachable: no answer, or only passing faults, until the deadline.
            NotFound: 404; PathNotFound where it names no object.
            Conflict: 409, and 410 (a list that went on too long).
            Refused: every other answer that is not a success.
        """
        if self._silence is not None:
            raise Unreachable(self._silence.what, where=where, remedy=self._silence.remedy)
        sent = 0

        def attempt() -> _Answer:
            nonlocal sent
            sent += 1
            return self._server.exchange(request)

        try:
            answer = retried(attempt, self._server.clock, self._deadline, where)
        except Unreachable as error:
            if isinstance(error.__cause__, Passing) and not error.__cause__.answered:
                self._silence = error
            raise
        if answer.content is None or answer.status >= 300:
            raise _error(answer, where, repeated=sent > 1, server=self._server)
        return answer.content

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
        "maxsize": WORKERS,
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


def _encoded(request: Request) -> bytes | None:
    if request.body is None:
        return None
    try:
        return json.dumps(request.body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise Refused(f"the object cannot be written as JSON: {error}", where=request.path) from None


def _answer(response: urllib3.BaseHTTPResponse, body: bytes, server: str) -> _Answer:
    """Read an answer strictly. Errors may also come as text, from a proxy in between."""
    is_json = response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"
    try:
        content = json.loads(body) if is_json else None
    except (ValueError, RecursionError):
        content = None
    answer = _Answer(
        response.status, content if isinstance(content, dict) else None, body[:300].decode(errors="replace")
    )
    passing = response.status == 429 or response.status >= 500
    if passing and not _message(answer).startswith(_UNKNOWN_FIELD):
        raise Passing(
            f"{server} answered {response.status}: {_message(answer)}",
            retry_after=_seconds(response.headers.get("Retry-After", "")),
            answered=True,
        )
    if response.status < 300 and answer.content is None:
        raise Passing(f"{server} answered {response.status} with something that is not JSON", answered=True)
    return answer


def _seconds(retry_after: str) -> float | None:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7 else None


def _message(answer: _Answer) -> str:
    """What the answer says: the message of a Status, or the beginning of its text, without control characters."""
    message = answer.content.get("message") if answer.content is not None else None
    text = message if isinstance(message, str) else answer.text
    return "".join(character if character.isprintable() else " " for character in text).strip()[:_LONGEST_MESSAGE]


def _error(answer: _Answer, where: str, *, repeated: bool, server: Server) -> BreakglassError:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/."""
    message = _message(answer) or f"{server.description} answered {answer.status}"
    match answer.status:
        case 401:
            return Refused(
                f"{server.description} does not accept the credential ({server.access.origin})",
                where=where,
                remedy="renew it; of a job's token, compare issuer and audience with the API server's authentication",
            )
        case 403:
            return Refused(
                message,
                where=where,
                remedy="if a permission is missing, grant it to the identity this runs as; then run again",
            )
        case 404:
            missing = NotFound if _names_object(answer) else PathNotFound
            return missing(message, where=where, remedy="create what is missing, then run again")
        case 409 | 410:
            error = RepeatedConflict if repeated else Conflict
            return error(message, where=where, remedy="somebody else changed it at the same time; run again")
        case _:
            return Refused(message, where=where, remedy="correct the object; the API server will not take it as it is")


def _names_object(answer: _Answer) -> bool:
    details = answer.content.get("details") if answer.content is not None else None
    return isinstance(details, dict) and bool(details.get("name"))


def _described(error: Exception) -> str:
    """The kind of a fault in words, without addresses of objects in memory."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "connection refused or no route"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "time-out"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "connection lost"
    return type(error).__name__
