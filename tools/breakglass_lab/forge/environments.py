"""Deployment environments: which refs may use them.

https://docs.github.com/en/actions/reference/workflows-and-actions/deployments-and-environments. Reviewers and timers
are kept and told, but no job waits for them here.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from breakglass_lab.forge.protection import rulesets_for
from breakglass_lab.forge.state import DEFAULT_BRANCH, State

Restriction = Literal["protected", "custom"]


@dataclass(frozen=True)
class BranchPolicy:
    """A pattern of branch or tag names that may use an environment; `*` stops at slashes."""

    id: int
    name: str
    type: Literal["branch", "tag"] = "branch"


@dataclass(frozen=True)
class Environment:
    """An environment. `restriction` None lets every ref in; `protected` those a ruleset covers, `custom` those of
    `policies`.

    `reviewers` are pairs of "User" or "Team" and an id; `wait_timer` is in minutes.
    """

    id: int
    name: str
    created_at: datetime
    updated_at: datetime
    restriction: Restriction | None = None
    policies: tuple[BranchPolicy, ...] = ()
    wait_timer: int = 0
    reviewers: tuple[tuple[str, int], ...] = ()
    prevent_self_review: bool = False


def find(state: State, name: str) -> Environment | None:
    """Return the environment of a name, whose letter case does not count, or None."""
    return state.environments.get(name.casefold())


def put(state: State, environment: Environment) -> Environment:
    """Keep an environment under its name, and return it."""
    state.environments[environment.name.casefold()] = environment
    return environment


def create(state: State, name: str) -> Environment:
    """Make an environment that every ref may use, as GitHub does for a job that names an unknown one."""
    return put(state, Environment(state.new_id(), name, state.now(), state.now()))


def create_for_default_branch(state: State, name: str) -> Environment:
    """Make an environment that only the default branch may use, unless there is one of that name already."""
    known = find(state, name)
    if known is not None:
        return known
    policy = BranchPolicy(state.new_id(), DEFAULT_BRANCH)
    return put(state, Environment(state.new_id(), name, state.now(), state.now(), "custom", (policy,)))


def admits(state: State, environment: Environment, ref: str) -> bool:
    """Tell whether a job that runs on a full ref (`refs/pull/N/merge` for a pull request) may use an environment."""
    if environment.restriction is None:
        return True
    if environment.restriction == "protected":
        return ref.startswith("refs/heads/") and bool(rulesets_for(state, ref))
    kind, name = ("tag", ref.removeprefix("refs/tags/")) if ref.startswith("refs/tags/") else ("branch", ref)
    return any(
        policy.type == kind and _expression(policy.name).fullmatch(name.removeprefix("refs/heads/"))
        for policy in environment.policies
    )


def _expression(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*|\?)", pattern)))
