"""Who a credential stands for: user tokens, Apps' JWTs and installation tokens, a job's GITHUB_TOKEN.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.types import Options

from breakglass_lab.forge import answers
from breakglass_lab.forge.access import LEVELS
from breakglass_lab.forge.exchange import ANONYMOUS, Answer, Endpoint, Identity, Refusal, Request, invalid, not_found
from breakglass_lab.forge.organisation import App
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.state import ACTIONS_LOGIN, State

TOKEN_LIFE = timedelta(hours=1)
JWT_LIFE = timedelta(minutes=10)
SKEW = timedelta(seconds=60)
CLAIMS: Options = {"require": ["exp", "iat", "iss"], "verify_iat": False}
WORKFLOW_LIMIT = 1000


def credential(authorization: str) -> str:
    """Return the token in an Authorization header (Bearer, token, or Basic as git does); empty for none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        username, _, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "malformed"
    return username if password in ("", "x-oauth-basic") else password


def identify(state: State, authorization: str) -> Identity:
    """Return who an Authorization header stands for; Refusal 401 for a bad or expired credential."""
    token = credential(authorization)
    if not authorization:
        return ANONYMOUS
    if token.count(".") == 2:
        return Identity("", "jwt", app=_app_of(state, token))
    identity = state.tokens.get(token)
    if identity is None or (identity.expires_at is not None and identity.expires_at <= state.now()):
        raise Refusal(401, "Bad credentials")
    user = state.organisation.user(identity.login) if identity.kind == "user" else None
    if user is not None and user.suspended_at is not None:
        raise Refusal(403, "Sorry. Your account was suspended.")
    return identity


def _app_of(state: State, token: str) -> App:
    """Return the App that signed a JWT: RS256, issued by its id, good for ten minutes by the machine's clock (SDKs sign
    by it).
    """
    undecodable = Refusal(401, "A JSON web token could not be decoded")
    try:
        issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
        app = next(
            app for app in state.organisation.apps if issuer in (str(app.id), answers.app(state, app)["client_id"])
        )
        claims = jwt.decode(token, _public_key(app), algorithms=["RS256"], options=CLAIMS, leeway=5)
    except (jwt.InvalidTokenError, StopIteration) as error:
        raise undecodable from error
    now = datetime.now(UTC)
    if claims["exp"] > (now + JWT_LIFE + SKEW).timestamp():
        raise Refusal(401, "'Expiration time' claim ('exp') is too far in the future")
    if claims["iat"] > (now + SKEW).timestamp():
        raise Refusal(
            401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        )
    return app


def _public_key(app: App) -> RSAPublicKey:
    key = load_pem_private_key(app.private_key.encode(), None).public_key()
    assert isinstance(key, RSAPublicKey)
    return key


def user_token(state: State, login: str) -> str:
    """Return a new token of a user; KeyError when there is none of that login."""
    user = state.organisation.user(login)
    if user is None:
        raise KeyError(login)
    return state.issue_token("github_pat", Identity(user.login, "user"))


def workflow_token(state: State, permissions: Mapping[str, str]) -> str:
    """Return what a job gets as GITHUB_TOKEN: metadata may always be read."""
    granted = {"metadata": "read", **{name: level for name, level in permissions.items() if level != "none"}}
    return state.issue_token("ghs", Identity(ACTIONS_LOGIN, "workflow", permissions=granted, limit=WORKFLOW_LIMIT))


def get_app(state: State, request: Request) -> Answer:
    """GET the App a JWT belongs to."""
    return Answer(200, answers.app(state, _app(request)))


def _app(request: Request) -> App:
    if request.identity.app is None:
        raise Refusal(401, "A JSON web token could not be decoded")
    return request.identity.app


def installations(state: State, request: Request) -> Answer:
    """GET the installations of the App."""
    return Answer(200, [answers.installation(state, _app(request))], items=True)


def installation(state: State, request: Request) -> Answer:
    """GET the installation of the App: by id, or the one on the repository or organisation."""
    app = _app(request)
    if request.values.get("installation_id", app.installation_id) != app.installation_id:
        raise not_found()
    if request.values.get("org", state.organisation.login).lower() != state.organisation.login:
        raise not_found()
    return Answer(200, answers.installation(state, app))


def create_token(state: State, request: Request) -> Answer:
    """POST a token of the installation: one hour, with the permissions asked for, never more than the App has."""
    app = _app(request)
    if request.values["installation_id"] != app.installation_id:
        raise not_found()
    asked = request.body.get("permissions") or dict(app.permissions)
    if not isinstance(asked, dict):
        raise invalid("permissions")
    for name, level in asked.items():
        held = app.permissions.get(name)
        if level not in LEVELS or held is None or LEVELS.index(level) > LEVELS.index(held):
            raise Refusal(422, "The permissions requested are not granted to this installation.")
    repositories = request.texts("repositories")
    if any(name != state.repository for name in repositories):
        raise Refusal(
            422, "There is at least one repository that does not exist or is not accessible to the parent installation."
        )
    expires_at = state.now() + TOKEN_LIFE
    granted = {"metadata": "read", **asked}
    token = state.issue_token("ghs", Identity(app.login, "installation", app, granted, expires_at))
    body = {
        "token": token,
        "expires_at": answers.stamp(expires_at),
        "permissions": granted,
        "repository_selection": "selected",
    }
    return Answer(201, body | ({"repositories": [answers.repository(state)]} if repositories else {}))


def installation_repositories(state: State, request: Request) -> Answer:
    """GET the repositories an installation token reaches."""
    if request.identity.kind not in ("installation", "workflow"):
        raise Refusal(
            403,
            "You must authenticate with an installation access token.",
        )
    shown = [answers.repository(state)]
    return Answer(200, {"total_count": 1, "repositories": shown}, items="repositories")


ENDPOINTS = (
    Endpoint("GET", "/app", get_app, jwt=True),
    Endpoint("GET", "/app/installations", installations, jwt=True),
    Endpoint("GET", "/app/installations/<int:installation_id>", installation, jwt=True),
    Endpoint("POST", "/app/installations/<int:installation_id>/access_tokens", create_token, jwt=True),
    Endpoint("GET", f"{REPO}/installation", installation, jwt=True),
    Endpoint("GET", "/orgs/<org>/installation", installation, jwt=True),
    Endpoint("GET", "/installation/repositories", installation_repositories),
)
