"""An OpenID Connect issuer on loopback, in the place of `https://token.actions.githubusercontent.com`.

It signs the ID tokens of workflow jobs with GitHub's claims; a real API server verifies them by the configuration that
`breakglass install` writes. Claims: https://docs.github.com/en/actions/reference/security/oidc.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from breakglass_lab.controlplane.certificates import Authority, KeyPair

LIFETIME_SECONDS = 300
"""How long an ID token lives; GitHub's live five minutes."""

KEY_ID = "breakglass-lab"


@dataclass(frozen=True)
class Workload:
    """The job an ID token speaks for; every field becomes a claim. Ids are GitHub's numbers as text.

    `workflow` is the file's path, `.github/workflows/apply.yml`; `ref` its branch, `refs/heads/main`. `environment` is
    None for a job without one.
    """

    repository: str
    repository_id: str
    owner_id: str
    ref: str
    sha: str
    workflow: str
    workflow_name: str
    event_name: str
    actor: str
    run_id: str
    environment: str | None = None
    run_number: str = "1"
    run_attempt: str = "1"

    def claims(self) -> dict[str, str]:
        """Return GitHub's claims, all text, without the issuer, audience and times.

        `sub` has the form of repositories created after 2026-07-15: owner and repository with their ids.
        """
        owner, name = self.repository.split("/")
        workflow_ref = f"{self.repository}/{self.workflow}@{self.ref}"
        context = "pull_request" if self.event_name == "pull_request" else f"ref:{self.ref}"
        claims = {
            "sub": f"repo:{owner}@{self.owner_id}/{name}@{self.repository_id}:{context}",
            "repository": self.repository,
            "repository_id": self.repository_id,
            "repository_owner": owner,
            "repository_owner_id": self.owner_id,
            "repository_visibility": "private",
            "ref": self.ref,
            "ref_type": "branch",
            "ref_protected": "true" if self.ref == "refs/heads/main" else "false",
            "sha": self.sha,
            "workflow": self.workflow_name,
            "workflow_ref": workflow_ref,
            "workflow_sha": self.sha,
            "job_workflow_ref": workflow_ref,
            "job_workflow_sha": self.sha,
            "event_name": self.event_name,
            "actor": self.actor,
            "run_id": self.run_id,
            "run_number": self.run_number,
            "run_attempt": self.run_attempt,
            "runner_environment": "github-hosted",
        }
        if self.environment is not None:
            claims["sub"] = f"repo:{owner}@{self.owner_id}/{name}@{self.repository_id}:environment:{self.environment}"
            claims["environment"] = self.environment
        return claims


@dataclass(frozen=True)
class TokenRequest:
    """What a job with `id-token: write` gets: ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN."""

    url: str
    token: str


class Issuer:
    """A running issuer; a context manager that stops it.

    `url` is the issuer (https on loopback), `certificate_authority` the PEM text its certificate chains to, and
    `certificate_authority_file` the same in a file.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._workloads: dict[str, Workload] = {}
        self._lock = Lock()
        authority = Authority("breakglass lab issuer")
        self.certificate_authority = authority.certificate
        self.certificate_authority_file = directory / "issuer-ca.pem"
        self.certificate_authority_file.write_text(self.certificate_authority)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = _server_context(directory, authority.server("127.0.0.1")).wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, name="issuer", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Start an issuer with a fresh key and certificate authority; its files go into `directory`."""
        return cls(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def mint(self, claims: Mapping[str, Any], *, audience: str, seconds: int = LIFETIME_SECONDS) -> str:
        """Return a JWT signed with RS256, valid from now for `seconds`; a negative number makes it expired.

        `claims` override those the issuer adds (iss, aud, iat, nbf, exp, jti).
        """
        now = int(time.time())
        base = {
            "iss": self.url,
            "aud": audience,
            "iat": now + min(seconds, 0),
            "nbf": now + min(seconds, 0),
            "exp": now + seconds,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode({**base, **claims}, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def admit(self, workload: Workload) -> TokenRequest:
        """Let one job ask for its ID tokens until `dismiss`."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._workloads[token] = workload
        return TokenRequest(f"{self.url}/token?api-version=2.0", token)

    def dismiss(self, request: TokenRequest) -> None:
        """End a job's right to ask: its request token is worth nothing afterwards."""
        with self._lock:
            self._workloads.pop(request.token, None)

    def _issue(self, authorization: str, query: str) -> tuple[HTTPStatus, dict[str, Any]]:
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            workload = self._workloads.get(token) if scheme.lower() == "bearer" else None
        if workload is None:
            return HTTPStatus.UNAUTHORIZED, {"message": "the request token is not one of a running job"}
        owner = workload.repository.split("/")[0]
        audience = parse_qs(query).get("audience", [f"https://github.com/{owner}"])[-1]
        return HTTPStatus.OK, {"value": self.mint(workload.claims(), audience=audience)}

    def _answer(self, path: str, query: str, authorization: str) -> tuple[HTTPStatus, dict[str, Any]]:
        if path == "/.well-known/openid-configuration":
            return HTTPStatus.OK, {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/.well-known/jwks",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
            }
        if path == "/.well-known/jwks":
            key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            return HTTPStatus.OK, {"keys": [{**key, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]}
        if path == "/token":
            return self._issue(authorization, query)
        return HTTPStatus.NOT_FOUND, {"message": "not found"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                status, body = answer(parts.path, parts.query, self.headers.get("Authorization", ""))
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
                """Say nothing: the API server asks again and again."""

        return Handler


def _server_context(directory: Path, pair: KeyPair) -> ssl.SSLContext:
    """A TLS server context; the ssl module reads keys from files only."""
    file = directory / "issuer.pem"
    file.touch(mode=0o600)
    file.write_text(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
