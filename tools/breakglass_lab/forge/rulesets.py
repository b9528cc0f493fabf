"""Repository rulesets: what a branch demands, and who may pass it by.

https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GITHUB_ACTIONS_ID = 15368
"""The id of the App `github-actions`, whose check runs are those of workflow jobs."""

ActorType = Literal["Integration", "OrganizationAdmin", "RepositoryRole", "Team"]
BypassMode = Literal["always", "pull_request", "exempt"]


@dataclass(frozen=True)
class BypassActor:
    """Who may pass a ruleset by: `actor_id` is an App's, team's or role's id."""

    actor_type: ActorType
    actor_id: int | None
    bypass_mode: BypassMode = "pull_request"


@dataclass(frozen=True)
class Rule:
    """One rule in GitHub's own words: `type` and `parameters` as in the REST API."""

    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ruleset:
    """Rules for the branches whose full ref matches a pattern of `include` (fnmatch, or `~DEFAULT_BRANCH`, `~ALL`)."""

    name: str
    include: tuple[str, ...]
    rules: tuple[Rule, ...]
    bypass_actors: tuple[BypassActor, ...] = ()
    exclude: tuple[str, ...] = ()
    enforcement: Literal["active", "evaluate", "disabled"] = "active"


def ruleset_of(told: Mapping[str, Any]) -> Ruleset:
    """Return a ruleset that is told in GitHub's own words, as `POST /repos/{owner}/{repo}/rulesets` takes it."""
    return Ruleset(
        told["name"],
        tuple(told["conditions"]["ref_name"]["include"]),
        tuple(Rule(rule["type"], rule.get("parameters", {})) for rule in told["rules"]),
        tuple(BypassActor(each["actor_type"], each["actor_id"], each["bypass_mode"]) for each in told["bypass_actors"]),
        tuple(told["conditions"]["ref_name"]["exclude"]),
    )


def platform_rulesets(
    app_id: int, checks: tuple[str, ...] = (), checks_app_id: int | None = GITHUB_ACTIONS_ID
) -> tuple[Ruleset, ...]:
    """Return the rulesets of a repository that uses breakglass.

    `reviews`: the default branch changes only by pull requests approved by code owners; the App `app_id` may pass it by
    when it merges a pull request. `history`: nobody rewrites or deletes the default branch; `checks` must have passed,
    reported by the App `checks_app_id` (None: by anyone). `ledger`: nobody rewrites or deletes `breakglass-ledger`.
    """
    reviews = Rule(
        "pull_request",
        {
            "allowed_merge_methods": ["merge", "squash"],
            "dismiss_stale_reviews_on_push": True,
            "require_code_owner_review": True,
            "require_last_push_approval": True,
            "required_approving_review_count": 1,
            "required_review_thread_resolution": False,
        },
    )
    kept = (Rule("deletion"), Rule("non_fast_forward"))
    pinned = {} if checks_app_id is None else {"integration_id": checks_app_id}
    required = Rule(
        "required_status_checks",
        {
            "strict_required_status_checks_policy": False,
            "required_status_checks": [{"context": name, **pinned} for name in checks],
        },
    )
    return (
        Ruleset("reviews", ("~DEFAULT_BRANCH",), (reviews,), (BypassActor("Integration", app_id),)),
        Ruleset("history", ("~DEFAULT_BRANCH",), (*kept, required) if checks else kept),
        Ruleset("ledger", ("refs/heads/breakglass-ledger",), kept),
    )
