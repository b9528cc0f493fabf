"""The API server takes the tokens of the applier's jobs and nobody else's, by what `breakglass install` writes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import jwt
import pytest
import yaml
from places import REPOSITORY

from breakglass.model.authentication import authentication_configuration
from breakglass.model.document import read
from breakglass.model.errors import NotFound, Refused
from breakglass.model.policy import Policy
from breakglass_lab.controlplane import ControlPlane, StatusError
from breakglass_lab.issuer import Issuer, Workload

CLUSTER, AUDIENCE = "drill", "breakglass/drill"
POLICY = read((REPOSITORY / "breakglass.yaml").read_bytes(), "breakglass.yaml", Policy)
APPLIER = Workload(
    repository=POLICY.spec.forge.repository,
    repository_id=str(POLICY.spec.forge.repositoryId),
    owner_id=str(POLICY.spec.forge.ownerId),
    ref="refs/heads/main",
    sha="0" * 40,
    workflow=".github/workflows/apply.yml",
    workflow_name="apply",
    event_name="push",
    actor="alice",
    run_id="5001",
    environment="breakglass",
)
DRILL = replace(APPLIER, workflow=".github/workflows/drill.yml", event_name="schedule")


def policy(**changes: Any) -> Policy:
    """The example platform's policy with other settings of the forge."""
    data = yaml.safe_load((REPOSITORY / "breakglass.yaml").read_text())
    data["spec"]["forge"] = {
        name: value for name, value in {**data["spec"]["forge"], **changes}.items() if value is not None
    }
    return Policy.model_validate(data)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with Issuer.start(tmp_path_factory.mktemp("an issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def control_plane(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    configuration = authentication_configuration(
        POLICY, CLUSTER, issuer=issuer.url, certificate_authority=issuer.certificate_authority
    )
    with ControlPlane.start(
        tmp_path_factory.mktemp("lab") / CLUSTER,
        name=CLUSTER,
        authentication_configuration=yaml.safe_dump(dict(configuration)),
        controller_manager=False,
    ) as control_plane:
        yield control_plane


def who_am_i(control_plane: ControlPlane, token: str) -> dict[str, Any]:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with control_plane.client(token) as client:
        answer = client.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    user: dict[str, Any] = answer["status"]["userInfo"]
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
def test_the_applier_is_known_by_its_name_and_its_run(user: dict[str, Any]) -> None:
    assert user["username"] == "breakglass:applier"
    assert user["groups"] == ["system:authenticated"]
    assert user["extra"]["breakglass.dev/run-id"] == ["5001"]
    assert user["extra"]["breakglass.dev/sha"] == ["0" * 40]


ACCEPTED = {
    "a drill, in a cluster for drills": DRILL,
    "started by hand": replace(APPLIER, event_name="workflow_dispatch"),
    "the repository was renamed": replace(APPLIER, repository="acme/renamed"),
}


@pytest.mark.lab
@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("workload", ACCEPTED.values(), ids=ACCEPTED)
def test_a_token_is_accepted(control_plane: ControlPlane, issuer: Issuer, workload: Workload) -> None:
    token = issuer.mint(workload.claims(), audience=AUDIENCE)
    assert who_am_i(control_plane, token)["username"] == "breakglass:applier"


def claims(**changes: str | None) -> dict[str, Any]:
    """The applier's claims with some changed, or taken out with None."""
    return {name: value for name, value in {**APPLIER.claims(), **changes}.items() if value is not None}


REFUSED = {
    "another repository of that name": claims(repository_id="1002"),
    "another owner of that name": claims(repository_owner_id="78"),
    "another branch": replace(APPLIER, ref="refs/heads/feature").claims(),
    "a tag of the branch's name": replace(APPLIER, ref="refs/tags/main").claims(),
    "a workflow of another branch": claims(workflow_ref="acme/platform/.github/workflows/apply.yml@refs/heads/x"),
    "a pull request": replace(APPLIER, event_name="pull_request", ref="refs/pull/7/merge").claims(),
    "a pull request that runs on main": claims(event_name="pull_request_target"),
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
    **{
        f"no {name}": claims(**{name: None})
        for name in (
            "repository_id",
            "repository_owner_id",
            "ref",
            "workflow_ref",
            "job_workflow_ref",
            "event_name",
            "run_id",
        )
    },
    "ids that are numbers": {**APPLIER.claims(), "repository_id": POLICY.spec.forge.repositoryId},
    "another issuer": claims(iss="https://127.0.0.1:1"),
    "GitHub's own issuer, by somebody else's key": claims(iss="https://token.actions.githubusercontent.com"),
}


@pytest.mark.lab
@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_claims_are_refused(control_plane: ControlPlane, issuer: Issuer, refused: dict[str, Any]) -> None:
    with pytest.raises(StatusError, match="401"):
        who_am_i(control_plane, issuer.mint(refused, audience=AUDIENCE))


def minted(issuer: Issuer, **changes: Any) -> str:
    return issuer.mint({**APPLIER.claims(), **changes}, audience=AUDIENCE)


def unsigned(issuer: Issuer) -> str:
    return jwt.encode(jwt.decode(minted(issuer), options={"verify_signature": False}), "", algorithm="none")


def with_another_payload(issuer: Issuer) -> str:
    """The signature of a token of another branch under the claims of a good one."""
    head, _, signature = issuer.mint(claims(ref="refs/heads/x"), audience=AUDIENCE).split(".")
    payload = json.dumps(jwt.decode(minted(issuer), options={"verify_signature": False})).encode()
    return f"{head}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.{signature}"


def of_another_key(issuer: Issuer) -> str:
    with_the_same_claims = jwt.decode(minted(issuer), options={"verify_signature": False})
    return jwt.encode(with_the_same_claims, "k" * 32, algorithm="HS256", headers={"kid": "breakglass-lab"})


TOKENS: dict[str, Callable[[Issuer], str]] = {
    "for another cluster": lambda issuer: issuer.mint(APPLIER.claims(), audience="breakglass/prod-us"),
    "expired": lambda issuer: issuer.mint(APPLIER.claims(), audience=AUDIENCE, seconds=-60),
    "not valid yet": lambda issuer: minted(issuer, nbf=int(time.time()) + 3600),
    "unsigned": unsigned,
    "forged": lambda issuer: minted(issuer)[:-8] + "AAAAAAAA",
    "signed for other claims": with_another_payload,
    "signed by another key": of_another_key,
}


@pytest.mark.lab
@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_is_refused(control_plane: ControlPlane, issuer: Issuer, token: Callable[[Issuer], str]) -> None:
    with pytest.raises(StatusError, match="401"):
        who_am_i(control_plane, token(issuer))


@pytest.mark.lab
@pytest.mark.usefixtures("user")
def test_another_issuer_s_token_of_the_same_claims_is_refused(
    control_plane: ControlPlane, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Issuer.start(tmp_path_factory.mktemp("an impostor")) as impostor:
        token = impostor.mint({**APPLIER.claims(), "iss": issuer.url}, audience=AUDIENCE)
    with pytest.raises(StatusError, match="401"):
        who_am_i(control_plane, token)


def rules(cluster: str, of: Policy = POLICY) -> str:
    (authenticator,) = authentication_configuration(of, cluster)["jwt"]
    return "\n".join(rule["expression"] for rule in authenticator["claimValidationRules"])


def test_production_admits_no_drill() -> None:
    assert "drill.yml" in rules("drill")
    assert "drill.yml" not in rules("prod-eu")
    assert "apply.yml" in rules("prod-eu")


def test_each_cluster_has_an_audience_of_its_own_and_github_s_issuer() -> None:
    issuers = [authentication_configuration(POLICY, name)["jwt"][0]["issuer"] for name in POLICY.spec.clusters]
    assert len({issuer["audiences"][0] for issuer in issuers}) == len(POLICY.spec.clusters)
    assert {issuer["url"] for issuer in issuers} == {"https://token.actions.githubusercontent.com"}


def test_the_branch_is_the_policy_s() -> None:
    assert "refs/heads/trunk" in rules("prod-eu", policy(defaultBranch="trunk"))
    assert "refs/heads/main" not in rules("prod-eu", policy(defaultBranch="trunk"))


@pytest.mark.parametrize("missing", ["repositoryId", "ownerId"])
def test_without_the_numbers_it_says_how_to_get_them(missing: str) -> None:
    with pytest.raises(Refused, match=f"forge.{missing} is missing") as refused:
        authentication_configuration(policy(**{missing: None}), "prod-eu")
    assert refused.value.remedy is not None
    assert "gh api repos/acme/platform --jq '.id, .owner.id'" in refused.value.remedy


def test_without_an_audience_there_is_nobody_to_admit() -> None:
    data = POLICY.model_dump(mode="json")
    del data["spec"]["clusters"]["prod-eu"]["audience"]
    with pytest.raises(Refused, match=r"clusters\.prod-eu\.audience is missing"):
        authentication_configuration(Policy.model_validate(data), "prod-eu")


def test_a_cluster_that_the_policy_does_not_know_is_named() -> None:
    with pytest.raises(NotFound, match="no cluster 'prod-xx'"):
        authentication_configuration(POLICY, "prod-xx")
