"""The issuer, and the API server that verifies its tokens."""

import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jwt
import pytest

from breakglass_lab.controlplane import ControlPlane, StatusError
from breakglass_lab.issuer import Issuer, Workload, authentication_configuration

AUDIENCE = "breakglass-prod-eu"
APPLIER = Workload(
    repository="acme/platform",
    repository_id="1001",
    owner_id="77",
    ref="refs/heads/main",
    sha="0" * 40,
    workflow=".github/workflows/apply.yml",
    workflow_name="apply",
    event_name="push",
    actor="alice",
    run_id="5001",
    environment="breakglass",
)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with Issuer.start(tmp_path_factory.mktemp("an issuer")) as issuer:
        yield issuer


def get(issuer: Issuer, url: str, authorization: str = "") -> dict[str, Any]:
    context = ssl.create_default_context(cafile=issuer.certificate_authority_file)
    request = Request(url, headers={"Authorization": authorization} if authorization else {})
    with urlopen(request, timeout=10, context=context) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def keys(issuer: Issuer) -> jwt.PyJWKSet:
    discovery = get(issuer, f"{issuer.url}/.well-known/openid-configuration")
    assert discovery["issuer"] == issuer.url
    return jwt.PyJWKSet.from_dict(get(issuer, discovery["jwks_uri"]))


def test_a_job_gets_a_token_with_the_claims_of_github(issuer: Issuer) -> None:
    request = issuer.admit(APPLIER)
    token = get(issuer, f"{request.url}&audience={AUDIENCE}", f"bearer {request.token}")["value"]
    key = keys(issuer)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer.url)
    assert claims["sub"] == "repo:acme@77/platform@1001:environment:breakglass"
    assert claims["workflow_ref"] == "acme/platform/.github/workflows/apply.yml@refs/heads/main"
    assert claims["exp"] - claims["iat"] == 300
    assert all(isinstance(value, str) for name, value in claims.items() if name not in ("exp", "iat", "nbf"))


def test_a_job_without_an_environment_has_its_ref_in_sub_and_no_environment() -> None:
    claims = replace(APPLIER, environment=None).claims()
    assert claims["sub"] == "repo:acme@77/platform@1001:ref:refs/heads/main"
    assert "environment" not in claims


def test_each_token_is_another(issuer: Issuer) -> None:
    tokens = [issuer.mint(APPLIER.claims(), audience=AUDIENCE) for _ in range(2)]
    assert len({jwt.decode(token, options={"verify_signature": False})["jti"] for token in tokens}) == 2


@pytest.mark.parametrize("authorization", ["", "bearer ", "bearer wrong", "basic {token}"])
def test_who_has_no_request_token_gets_no_token(issuer: Issuer, authorization: str) -> None:
    request = issuer.admit(APPLIER)
    with pytest.raises(HTTPError, match="401"):
        get(issuer, f"{request.url}&audience=x", authorization.format(token=request.token))


def test_a_job_that_ended_gets_no_token(issuer: Issuer) -> None:
    request = issuer.admit(APPLIER)
    issuer.dismiss(request)
    with pytest.raises(HTTPError, match="401"):
        get(issuer, f"{request.url}&audience=x", f"bearer {request.token}")


@pytest.fixture(scope="module")
def control_plane(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    configuration = authentication_configuration(
        issuer,
        audience=AUDIENCE,
        repository_id=APPLIER.repository_id,
        owner_id=APPLIER.owner_id,
        workflows=[".github/workflows/apply.yml", ".github/workflows/drill.yml"],
    )
    with ControlPlane.start(
        tmp_path_factory.mktemp("lab") / "prod-eu",
        name="prod-eu",
        authentication_configuration=configuration,
        controller_manager=False,
    ) as control_plane:
        yield control_plane


def who_am_i(control_plane: ControlPlane, token: str) -> dict[str, Any]:
    with control_plane.client(token) as client:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        user: dict[str, Any] = client.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)[
            "status"
        ]["userInfo"]
    return user


@pytest.fixture(scope="module")
def user(control_plane: ControlPlane, issuer: Issuer) -> dict[str, Any]:
    """Who the applier's token is; the API server fetches the issuer's keys in the background after it is ready."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return who_am_i(control_plane, issuer.mint(APPLIER.claims(), audience=AUDIENCE))
        except StatusError as error:
            if error.code != 401 or time.monotonic() > deadline:
                raise
        Event().wait(0.05)


@pytest.mark.lab
def test_the_api_server_knows_the_applier(user: dict[str, Any]) -> None:
    assert user["username"] == "breakglass:applier"
    assert user["groups"] == ["system:authenticated"]
    assert user["extra"]["breakglass.dev/run-id"] == ["5001"]
    assert user["extra"]["breakglass.dev/sha"] == ["0" * 40]


@pytest.mark.lab
@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    "workload",
    [
        replace(APPLIER, workflow=".github/workflows/drill.yml", event_name="schedule"),
        replace(APPLIER, event_name="workflow_dispatch"),
        pytest.param(replace(APPLIER, repository="acme/renamed"), id="the repository was renamed"),
    ],
)
def test_the_api_server_accepts(control_plane: ControlPlane, issuer: Issuer, workload: Workload) -> None:
    assert (
        who_am_i(control_plane, issuer.mint(workload.claims(), audience=AUDIENCE))["username"] == "breakglass:applier"
    )


def claims(**changes: str | None) -> dict[str, Any]:
    """The applier's claims with some changed, or taken out with None."""
    return {name: value for name, value in {**APPLIER.claims(), **changes}.items() if value is not None}


REFUSED = {
    "another repository of that name": claims(repository_id="1002"),
    "another owner of that id": claims(repository_owner_id="78"),
    "another branch": replace(APPLIER, ref="refs/heads/feature").claims(),
    "a workflow of another branch": claims(workflow_ref="acme/platform/.github/workflows/apply.yml@refs/heads/x"),
    "a pull request": replace(APPLIER, event_name="pull_request", ref="refs/pull/7/merge").claims(),
    "an event that never applies": claims(event_name="issue_comment"),
    "another workflow": replace(APPLIER, workflow=".github/workflows/check.yml").claims(),
    "a workflow whose name ends alike": claims(
        workflow_ref="evil/acme/platform/.github/workflows/apply.yml@refs/heads/main"
    ),
    "a reusable workflow of somebody else": claims(
        job_workflow_ref="evil/x/.github/workflows/apply.yml@refs/heads/main"
    ),
    "another environment": replace(APPLIER, environment="staging").claims(),
    "no environment": replace(APPLIER, environment=None).claims(),
    **{f"no {name}": claims(**{name: None}) for name in ("repository_id", "ref", "workflow_ref", "event_name")},
    "another issuer": claims(iss="https://127.0.0.1:1"),
}


@pytest.mark.lab
@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_the_api_server_refuses(control_plane: ControlPlane, issuer: Issuer, refused: dict[str, Any]) -> None:
    with pytest.raises(StatusError, match="401"):
        who_am_i(control_plane, issuer.mint(refused, audience=AUDIENCE))


def unsigned(issuer: Issuer) -> str:
    token = issuer.mint(APPLIER.claims(), audience=AUDIENCE)
    return jwt.encode(jwt.decode(token, options={"verify_signature": False}), "", algorithm="none")


@pytest.mark.lab
@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda issuer: issuer.mint(APPLIER.claims(), audience="breakglass-prod-us"), id="other audience"),
        pytest.param(lambda issuer: issuer.mint(APPLIER.claims(), audience=AUDIENCE, seconds=-60), id="expired"),
        pytest.param(unsigned, id="unsigned"),
        pytest.param(lambda issuer: issuer.mint(APPLIER.claims(), audience=AUDIENCE)[:-8] + "AAAAAAAA", id="forged"),
    ],
)
def test_the_api_server_refuses_a_token(control_plane: ControlPlane, issuer: Issuer, token: Any) -> None:
    with pytest.raises(StatusError, match="401"):
        who_am_i(control_plane, token(issuer))
