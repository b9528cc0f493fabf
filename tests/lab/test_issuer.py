"""The issuer that stands in for GitHub's; what an API server makes of its tokens is in tests/platform."""

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jwt
import pytest

from breakglass_lab.issuer import Issuer, Workload

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
