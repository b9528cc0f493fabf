"""A small Kubernetes API client: JSON over HTTPS with kept connections, safe to share between threads."""

import json
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import urllib3

_TIMEOUT_SECONDS = 60.0
_CONNECTIONS = 8
# A 429 means that nothing was done, and says when to ask again: storage of a new CRD takes a moment to initialize.
_WHEN_TOLD_TO = urllib3.Retry(
    total=30, connect=0, read=0, redirect=0, other=0, status=30, allowed_methods=None, raise_on_status=False
)


class StatusError(Exception):
    """The API server answered with an error.

    `code` is the HTTP status, `reason` the machine-readable reason in the answer's Status object, such as `Forbidden`
    (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason = code, reason


class Client:
    """Calls one API server; `token` authenticates with a bearer token, else the client certificate in `tls` does.

    `impersonate` names the user to act as, which whoever is authenticated must be allowed to.
    A context manager: leaving it closes the kept connections.
    """

    def __init__(
        self, server: str, tls: ssl.SSLContext, token: str | None = None, *, impersonate: str | None = None
    ) -> None:
        self._server = server
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._headers |= {"Impersonate-User": impersonate} if impersonate else {}
        self._pool = urllib3.PoolManager(
            ssl_context=tls, maxsize=_CONNECTIONS, block=True, retries=_WHEN_TOLD_TO, timeout=_TIMEOUT_SECONDS
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send `body` as JSON and return the answer parsed; ask again, up to 30 times, where the answer says when.

        Raises StatusError for an HTTP status of 400 and above, urllib3.exceptions.HTTPError when there is no answer,
        ValueError when the answer is not JSON.
        """
        answer = self._pool.request(
            method,
            f"{self._server}{path}{'?' + urlencode(query) if query else ''}",
            body=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, "Content-Type": "application/json", **(headers or {})},
        )
        if answer.status >= 400:
            raise _error(answer.status, answer.data)
        return json.loads(answer.data)

    def exists(self, path: str) -> bool:
        """Whether a GET of `path` finds something. Raises StatusError for any other answer than 404."""
        try:
            self.call("GET", path)
        except StatusError as error:
            if error.code == 404:
                return False
            raise
        return True

    def token(self, namespace: str, service_account: str, seconds: int) -> str:
        """A fresh token of a ServiceAccount (TokenRequest), valid for `seconds`; the API server wants 600 at least.

        Raises StatusError when the ServiceAccount is missing or `seconds` is out of range.
        """
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return str(self.call("POST", path, request)["status"]["token"])

    def answers(self, path: str) -> bool:
        """Whether a GET of `path` is answered with 200, within a second or so."""
        try:
            return self._pool.request("GET", f"{self._server}{path}", timeout=2.0, retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.clear()


def _error(code: int, body: bytes) -> StatusError:
    try:
        status = json.loads(body)
        return StatusError(code, str(status["reason"]), str(status["message"]))
    except (ValueError, TypeError, KeyError):
        return StatusError(code, "Unknown", body.decode(errors="replace")[:1000])
