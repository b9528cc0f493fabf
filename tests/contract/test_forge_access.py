"""Credentials: whose they are, how long they live, what they reach, and what they are told of the rest."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from forge_users import Api, Clock

from breakglass_lab.forge import App, Forge

REPO = "/repos/acme/platform"


def signed(app: App, key: str | None = None, algorithm: str = "RS256", **claims: Any) -> str:
    now = int(time.time())
    told = {"iat": now - 10, "exp": now + 300, "iss": str(app.id), **claims}
    return jwt.encode({k: v for k, v in told.items() if v is not None}, key or app.private_key, algorithm=algorithm)


def test_an_app_proves_itself_by_a_jwt_and_nothing_else(app: App, api: Callable[..., Api]) -> None:
    assert api(token=signed(app))("GET", "/app", code=200)["slug"] == app.slug
    now = int(time.time())
    wrong = (
        signed(app, key=App().private_key),
        signed(app, exp=now - 60),
        signed(app, exp=now + 3600),
        signed(app, iat=now + 600),
        signed(app, iss="1"),
        signed(app, exp=None),
        signed(app, key="a" * 32, algorithm="HS256"),
        "a.b.c",
    )
    for token in wrong:
        assert api(token=token)("GET", "/app").status_code == 401
    assert api()("GET", "/app").status_code == 401
    assert api(token=signed(app))("GET", REPO).status_code == 401


def test_an_installation_token_lives_one_hour(
    clock: Clock, api: Callable[..., Api], app_token: Callable[..., str]
) -> None:
    client = api(token=app_token())
    clock.now += timedelta(minutes=59, seconds=59)
    client("GET", REPO, code=200)
    clock.now += timedelta(seconds=1)
    assert client("GET", REPO, code=401)["message"] == "Bad credentials"


def test_an_installation_token_holds_no_more_than_was_asked_for(
    api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
) -> None:
    pull()
    client = api(token=app_token(contents="read", pull_requests="read"))
    client("GET", f"{REPO}/pulls/1", code=200)
    refused = client("PATCH", f"{REPO}/pulls/1", {"state": "closed"}, 403)
    assert refused["message"] == "Resource not accessible by integration"
    assert client("GET", "/orgs/acme/teams/readers").status_code == 403


@pytest.mark.parametrize(
    "permissions", [{"administration": "read"}, {"contents": "admin"}, {"members": "write"}, {"contents": 1}]
)
def test_an_app_gets_nothing_it_was_not_granted(app: App, api: Callable[..., Api], permissions: object) -> None:
    path = f"/app/installations/{app.installation_id}/access_tokens"
    assert api(token=signed(app))("POST", path, {"permissions": permissions}).status_code == 422
    assert api(token=signed(app))("POST", path, {"repositories": ["elsewhere"]}).status_code == 422
    assert api(token=signed(app))("POST", path.replace(str(app.installation_id), "1"), {}).status_code == 404


def test_an_installation_belongs_to_no_user_and_is_no_collaborator(
    api: Callable[..., Api], app_token: Callable[..., str]
) -> None:
    client = api(token=app_token())
    assert client("GET", "/user").status_code == 403
    assert client("GET", f"{REPO}/collaborators/acme-breakglass[bot]/permission").status_code == 404


@pytest.mark.parametrize(
    ("login", "permission"),
    [("ann", "write"), ("ines", "write"), ("rita", "read"), ("adam", "admin"), ("oscar", "none")],
)
def test_permissions_come_directly_or_by_team(api: Callable[..., Api], login: str, permission: str) -> None:
    shown = api()("GET", f"{REPO}/collaborators/{login}/permission", code=200)
    assert (shown["permission"], shown["user"]["login"]) == (permission, login)


def test_what_a_token_may_not_see_is_not_there(api: Callable[..., Api]) -> None:
    for client in (api(None), api("oscar")):
        assert client("GET", REPO, code=404)["message"] == "Not Found"
        assert client("PUT", f"{REPO}/pulls/1/merge", {}).status_code == 404
    assert api("ann")("GET", "/orgs/acme/teams/ghosts").status_code == 404
    assert api("sven")("GET", "/orgs/acme/teams/ghosts").status_code == 200
    assert api("rita")("POST", f"{REPO}/git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}).status_code == 403


def test_a_jobs_token_holds_its_permissions(forge: Forge, api: Callable[..., Api], pull: Callable[..., Any]) -> None:
    pull()
    nothing, reader = (api(token=forge.workflow_token(p)) for p in ({}, {"pull_requests": "read", "issues": "none"}))
    nothing("GET", REPO, code=200)
    assert nothing("GET", f"{REPO}/contents/README.md").status_code == 403
    reader("GET", f"{REPO}/pulls/1", code=200)
    assert reader("POST", f"{REPO}/issues", {"title": "x"}).status_code == 403


def test_a_jobs_token_has_a_thousand_requests_an_hour(forge: Forge, clock: Clock, api: Callable[..., Api]) -> None:
    client = api(token=forge.workflow_token({}))
    first = client("GET", REPO)
    limits = {key: first.headers[f"x-ratelimit-{key}"] for key in ("limit", "remaining", "used", "resource")}
    assert limits == {"limit": "1000", "remaining": "999", "used": "1", "resource": "core"}
    key = ("workflow", "github-actions[bot]")
    forge.state.usage[key] = (1000, forge.state.usage[key][1])
    refused = client("GET", REPO)
    assert (refused.status_code, refused.headers["x-ratelimit-remaining"]) == (403, "0")
    clock.now += timedelta(hours=1)
    assert client("GET", REPO).status_code == 200
