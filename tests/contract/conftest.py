"""A forge with a small organisation, and people who work on it with real git."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from forge_users import Api, Clock, Clone, git

from breakglass_lab.forge import App, Forge, Organisation, Ruleset, Team, User, platform_rulesets

CODEOWNERS = """\
*                     @ann @bob
/overlays/emergency/  @acme/incident-commanders
/docs/
"""

WORKFLOW = """\
name: apply
on:
  push: {branches: [main]}
  workflow_dispatch:
    inputs:
      cluster: {type: choice, options: [prod-eu, prod-us], required: true}
      reason: {type: string, default: none given}
jobs: {}
"""


@pytest.fixture(scope="session")
def app() -> App:
    return App()


@pytest.fixture
def rulesets(app: App) -> tuple[Ruleset, ...]:
    return platform_rulesets(app.id)


@pytest.fixture
def organisation(app: App, rulesets: tuple[Ruleset, ...]) -> Organisation:
    people = ("ann", "bob", "ines", "ivan", "rita", "adam", "oscar", "sven")
    return Organisation(
        users=tuple(User(login, login.capitalize(), f"{login}@acme.example") for login in people),
        teams=(
            Team("incident-commanders", ("ines", "ivan")),
            Team("readers", ("rita",)),
            Team("ghosts", ("sven",), secret=True),
        ),
        apps=(app,),
        rights={
            "platform": {
                "@ann": "write",
                "@bob": "write",
                "@sven": "write",
                "@adam": "admin",
                "@acme/incident-commanders": "write",
                "@acme/readers": "read",
                "@acme/ghosts": "write",
            }
        },
        rulesets=rulesets,
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the commit every forge here starts with; nobody changes it."""
    source = Clone(tmp_path_factory.mktemp("seed"))
    source.git("init", "--quiet", "--initial-branch=main")
    source.git("config", "user.name", "Ann")
    source.git("config", "user.email", "ann@acme.example")
    files = {"CODEOWNERS": CODEOWNERS, ".github/workflows/apply.yml": WORKFLOW, "README.md": "platform\n"}
    source.commit(files, "start")
    return source.directory


@pytest.fixture
def forge(tmp_path: Path, organisation: Organisation, clock: Clock, seed: Path) -> Iterator[Forge]:
    with Forge.start(tmp_path / "the forge", organisation, clock=clock) as forge:
        forge.seed(seed)
        yield forge


@pytest.fixture
def clone(forge: Forge, tmp_path: Path) -> Callable[..., Clone]:
    """Return a function that gives somebody's clone (a new one each time if `fresh`), with a token of theirs or the one
    given.
    """

    clones: dict[tuple[str, str | None], Clone] = {}

    def make(login: str = "ann", token: str | None = None, fresh: bool = False) -> Clone:
        if (login, token) in clones and not fresh:
            return clones[login, token]
        directory = tmp_path / f"clone of {login} {len(list(tmp_path.iterdir()))}"
        url = forge.git_url.replace("http://", f"http://x-access-token:{token or forge.token(login)}@")
        person = (f"user.name={login.capitalize()}", f"user.email={login}@acme.example")
        git(tmp_path, "clone", "--quiet", "--config", person[0], "--config", person[1], url, str(directory))
        clones[login, token] = Clone(directory)
        return clones[login, token]

    return make


@pytest.fixture
def api(forge: Forge) -> Iterator[Callable[..., Api]]:
    """Return a function that gives a client of the REST API as somebody, or with the token given."""
    clients: dict[tuple[str | None, str | None, str], Api] = {}

    def make(login: str | None = "ann", token: str | None = None, version: str = "2022-11-28") -> Api:
        key = (None if token else login, token, version)
        if key not in clients:
            credential = token or (None if login is None else forge.token(login))
            headers = {"X-GitHub-Api-Version": version, "Accept": "application/vnd.github+json"}
            if credential is not None:
                headers["Authorization"] = f"Bearer {credential}"
            # There is no TLS on loopback, and reading the certificate authorities takes longer than a test.
            clients[key] = Api(httpx.Client(base_url=forge.api_url, headers=headers, verify=False, timeout=30))
        return clients[key]

    yield make
    for api in clients.values():
        api.client.close()


@pytest.fixture
def pull(clone: Callable[..., Clone], api: Callable[..., Api]) -> Callable[..., Any]:
    """Return a function that opens a pull request of ann's and gives it back as the API did."""

    def make(branch: str = "topic", path: str = "note.txt", content: str = "one\n") -> Any:
        clone().branch(branch, {path: content})
        body = {"title": f"Add {path}", "head": branch, "base": "main", "body": "because"}
        return api()("POST", "/repos/acme/platform/pulls", body, 201)

    return make


@pytest.fixture
def app_token(app: App, api: Callable[..., Api]) -> Callable[..., str]:
    """Return a function that gets an installation token, optionally with fewer permissions."""

    def make(**permissions: str) -> str:
        now = int(time.time())
        claims = {"iat": now - 30, "exp": now + 300, "iss": str(app.id)}
        signed = jwt.encode(claims, app.private_key, algorithm="RS256")
        path = f"/app/installations/{app.installation_id}/access_tokens"
        body = {"permissions": permissions} if permissions else None
        token: str = api(None, signed)("POST", path, body, 201)["token"]
        return token

    return make
