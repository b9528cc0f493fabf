"""Who the applier is: one repository's jobs, by their OIDC tokens, said to an API server.

A file for `kube-apiserver --authentication-config`, not an object:
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration. Claims:
https://docs.github.com/en/actions/reference/security/oidc.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from breakglass.model.errors import NotFound, Refused
from breakglass.model.identity import APPLIER
from breakglass.model.policy import POLICY_FILE, Policy

ISSUER = "https://token.actions.githubusercontent.com"
ENVIRONMENT = "breakglass"
"""The environment of the jobs that write: its branch rule is one more lock on the same door."""
EVENTS = ("push", "schedule", "workflow_dispatch")
"""What starts these jobs; all of them run what the default branch holds, none of them what a pull request brings."""


def authentication_configuration(
    policy: Policy, cluster: str, *, issuer: str = ISSUER, certificate_authority: str | None = None
) -> Mapping[str, Any]:
    """The AuthenticationConfiguration of a cluster: the applier of this repository gets in, and nobody else.

    A token is accepted when the issuer signed it for the cluster's audience, to a job of the repository and owner with
    these ids (names change hands, ids do not), of `apply.yml` on the default branch (where the cluster is kept for
    drills: of `drill.yml` as well), in the environment `breakglass`, started by one of `EVENTS`. The user is
    `breakglass:applier`, in no group but `system:authenticated`; run and commit stand in the audit log. A claim that is
    missing is a CEL error, which refuses.

    Args:
        issuer: GitHub's, or that of a GitHub Enterprise Server.
        certificate_authority: PEM that the issuer's certificate chains to; the authorities of the system where None.

    Raises:
        NotFound: the policy knows no such cluster.
        Refused: the policy lacks the audience, or one of the ids.
    """
    spec = policy.spec
    if cluster not in spec.clusters:
        raise NotFound(
            f"the policy knows no cluster {cluster[:80]!r}", remedy=f"choose from {', '.join(spec.clusters)}"
        )
    settings, trust = spec.clusters[cluster], {}
    if settings.audience is None:
        remedy = f"add `audience: breakglass/{cluster}`, another one for each cluster"
        raise Refused(f"clusters.{cluster}.audience is missing", where=POLICY_FILE, remedy=remedy)
    if certificate_authority is not None:
        trust = {"certificateAuthority": certificate_authority}
    workflows = ["apply.yml", *(["drill.yml"] if settings.purpose == "drill" else [])]
    authenticator = {
        "issuer": {"url": issuer, **trust, "audiences": [settings.audience]},
        "claimValidationRules": [
            {"expression": expression, "message": f"{claim} is not that of the applier"}
            for claim, expression in _rules(policy, workflows).items()
        ],
        "claimMappings": {
            "username": {"expression": _cel(APPLIER)},
            "extra": [
                {"key": "breakglass.dev/run-id", "valueExpression": "claims.run_id"},
                {"key": "breakglass.dev/sha", "valueExpression": "claims.sha"},
            ],
        },
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [authenticator],
    }


def _rules(policy: Policy, workflows: Sequence[str]) -> dict[str, str]:
    """Claim → the CEL expression that holds for the applier alone."""
    forge = policy.spec.forge
    if forge.repositoryId is None or forge.ownerId is None:
        missing = "repositoryId" if forge.repositoryId is None else "ownerId"
        remedy = f"add both as `gh api repos/{forge.repository} --jq '.id, .owner.id'` tells them"
        raise Refused(f"forge.{missing} is missing", where=POLICY_FILE, remedy=remedy)
    ref = f"refs/heads/{forge.defaultBranch}"
    files = [f"/.github/workflows/{name}@{ref}" for name in workflows]
    return {
        "repository_id": f"claims.repository_id == {_cel(str(forge.repositoryId))}",
        "repository_owner_id": f"claims.repository_owner_id == {_cel(str(forge.ownerId))}",
        "ref": f"claims.ref == {_cel(ref)}",
        # The id above proves whose repository it is, so its name here may change.
        "workflow_ref": f"{_cel(files)}.exists(file, claims.workflow_ref == claims.repository + file)",
        "job_workflow_ref": "claims.job_workflow_ref == claims.workflow_ref",
        "environment": f"claims.environment == {_cel(ENVIRONMENT)}",
        "event_name": f"claims.event_name in {_cel(list(EVENTS))}",
    }


def _cel(value: str | list[str]) -> str:
    """A CEL literal: JSON's strings and lists are CEL's."""
    return json.dumps(value)
