"""The rulesets that a repository needs on GitHub, made from the policy; `init` writes them, `doctor` compares them.

*reviews*: main changes by pull requests that code owners approved; the App may pass it by, in mode `pull_request`, so
that a closing waits for nobody. *integrity*: the App's own check passed, no force push, no deletion, and nobody passes
it by. *ledger*: nobody rewrites or deletes the ledger. *ledger writers*: nobody but the App moves it.

https://docs.github.com/en/rest/repos/rules#create-a-repository-ruleset
"""

from __future__ import annotations

from typing import Any

from breakglass.model.errors import Refused
from breakglass.model.policy import POLICY_FILE, Policy

CHECK = "breakglass"
"""Name of the check run that the integrity ruleset requires, reported by the project's own App."""

Ruleset = dict[str, Any]
"""A ruleset in GitHub's own words: what `POST /repos/{owner}/{repo}/rulesets` takes."""


def rulesets(policy: Policy) -> tuple[Ruleset, ...]:
    """The rulesets of a policy.

    Raises:
        Refused: the policy does not name the App by its number, which bypass and check are bound to.
    """
    app, forge = policy.spec.bot.appId, policy.spec.forge
    if app is None:
        raise Refused(
            "spec.bot.appId is missing: the rulesets cannot name the App",
            where=POLICY_FILE,
            remedy=f"gh api apps/{policy.spec.bot.login.removesuffix('[bot]')} --jq .id",
        )
    main, ledger = f"refs/heads/{forge.defaultBranch}", f"refs/heads/{forge.ledgerBranch}"
    kept = [{"type": "deletion"}, {"type": "non_fast_forward"}]
    return (
        _ruleset("breakglass reviews", main, [_REVIEWS], [_bypass(app, "pull_request")]),
        _ruleset("breakglass integrity", main, [*kept, _check(app)], []),
        _ruleset("breakglass ledger", ledger, kept, []),
        _ruleset(
            "breakglass ledger writers", ledger, [{"type": "creation"}, {"type": "update"}], [_bypass(app, "always")]
        ),
    )


_REVIEWS = {
    "type": "pull_request",
    "parameters": {
        "allowed_merge_methods": ["merge", "squash"],
        "dismiss_stale_reviews_on_push": True,
        "require_code_owner_review": True,
        "require_last_push_approval": True,
        "required_approving_review_count": 1,
        "required_review_thread_resolution": False,
    },
}


def _check(app: int) -> dict[str, Any]:
    parameters = {
        # A closing made on an older tip must not wait for another to be merged.
        "strict_required_status_checks_policy": False,
        "do_not_enforce_on_create": False,
        "required_status_checks": [{"context": CHECK, "integration_id": app}],
    }
    return {"type": "required_status_checks", "parameters": parameters}


def _bypass(app: int, mode: str) -> dict[str, Any]:
    return {"actor_id": app, "actor_type": "Integration", "bypass_mode": mode}


def _ruleset(name: str, ref: str, rules: list[dict[str, Any]], bypass: list[dict[str, Any]]) -> Ruleset:
    return {
        "name": name,
        "target": "branch",
        "enforcement": "active",
        "conditions": {"ref_name": {"include": [ref], "exclude": []}},
        "rules": rules,
        "bypass_actors": bypass,
    }
