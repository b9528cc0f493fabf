"""What the rulesets demand of a change, and who may pass them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from breakglass_lab.forge import answers, codeowners
from breakglass_lab.forge.bare import ZERO
from breakglass_lab.forge.exchange import Identity
from breakglass_lab.forge.rulesets import BypassActor, BypassMode, Rule, Ruleset
from breakglass_lab.forge.state import DEFAULT_BRANCH, PullRequest, Review, RuleSuite, State

PASSING = ("success", "neutral", "skipped")
"""Conclusions that satisfy a required check."""


@dataclass(frozen=True)
class RefChange:
    """A ref that somebody wants to move from `old` to `new` (ZERO: absent)."""

    ref: str
    old: str
    new: str


@dataclass(frozen=True)
class Verdict:
    """What a ruleset says of a merge: the `violations`, and how the identity may pass it by."""

    ruleset: Ruleset
    violations: tuple[str, ...]
    bypass: BypassMode | None


def covers(ruleset: Ruleset, ref: str) -> bool:
    """Tell whether an active ruleset is about a full ref name."""

    def hit(pattern: str) -> bool:
        if pattern == "~ALL":
            return ref.startswith("refs/heads/")
        return ref == f"refs/heads/{DEFAULT_BRANCH}" if pattern == "~DEFAULT_BRANCH" else fnmatchcase(ref, pattern)

    return ruleset.enforcement == "active" and any(map(hit, ruleset.include)) and not any(map(hit, ruleset.exclude))


def rulesets_for(state: State, ref: str) -> list[Ruleset]:
    """Return the active rulesets that cover a full ref name."""
    return [ruleset for ruleset in state.rulesets.values() if covers(ruleset, ref)]


def rules_for(state: State, ref: str, kind: str) -> list[Rule]:
    """Return the rules of one type that are in force on a full ref name."""
    return [rule for ruleset in rulesets_for(state, ref) for rule in ruleset.rules if rule.type == kind]


def bypass(state: State, ruleset: Ruleset, identity: Identity) -> BypassMode | None:
    """Return how an identity may pass a ruleset by, the widest mode first, or None. A GITHUB_TOKEN never may."""
    modes = {actor.bypass_mode for actor in ruleset.bypass_actors if _is_actor(state, actor, identity)}
    widest: tuple[BypassMode, ...] = ("exempt", "always", "pull_request")
    return next((mode for mode in widest if mode in modes), None)


def _is_actor(state: State, actor: BypassActor, identity: Identity) -> bool:
    if actor.actor_type == "Integration":
        return identity.kind == "installation" and identity.app is not None and identity.app.id == actor.actor_id
    if identity.kind != "user":
        return False
    if actor.actor_type == "OrganizationAdmin":
        return identity.login in state.organisation.owners
    if actor.actor_type == "Team":
        teams = [team for team in state.organisation.teams if answers.team_id(state, team.slug) == actor.actor_id]
        return any(identity.login in team.members for team in teams)
    return state.organisation.role(state.repository, identity.login) == answers.ROLE_IDS.get(actor.actor_id or 0)


def merge_verdicts(state: State, pull: PullRequest, identity: Identity) -> list[Verdict]:
    """Return what every ruleset of the base branch says of merging a pull request as it stands."""
    return [
        Verdict(
            ruleset,
            tuple(violation for rule in ruleset.rules for violation in _merge_violations(state, pull, rule)),
            bypass(state, ruleset, identity),
        )
        for ruleset in rulesets_for(state, f"refs/heads/{pull.base_ref}")
    ]


def _merge_violations(state: State, pull: PullRequest, rule: Rule) -> list[str]:
    if rule.type == "pull_request":
        return review_violations(state, pull, rule.parameters)
    if rule.type == "required_status_checks":
        return check_violations(state, pull, rule.parameters)
    if rule.type == "update":
        return ["Cannot update this protected ref."]
    if rule.type == "merge_queue":
        return ["Changes must be made through the merge queue"]
    return []


def opinions(state: State, pull: PullRequest) -> dict[str, Review]:
    """Return the last review with a verdict of everybody who may push, by login."""
    verdicts = ("APPROVED", "CHANGES_REQUESTED", "DISMISSED")
    return {
        review.login: review
        for review in pull.reviews
        if review.state in verdicts and state.organisation.can_write(state.repository, review.login)
    }


def review_violations(state: State, pull: PullRequest, parameters: Mapping[str, Any]) -> list[str]:
    """Return what a `pull_request` rule still misses."""
    given = opinions(state, pull)
    approvals = {login: review for login, review in given.items() if review.state == "APPROVED"}
    count = parameters.get("required_approving_review_count", 0)
    found = []
    if any(review.state == "CHANGES_REQUESTED" for review in given.values()):
        found.append("Changes were requested by a reviewer with write access.")
    if len(approvals) < count:
        reviews = "review is" if count == 1 else "reviews are"
        found.append(f"At least {count} approving {reviews} required by reviewers with write access.")
    if parameters.get("require_last_push_approval") and not any(
        login != pull.last_pusher and review.commit_id == pull.head_sha for login, review in approvals.items()
    ):
        found.append("New changes require approval from someone other than the last pusher.")
    if parameters.get("require_code_owner_review"):
        found += [
            f"Waiting on code owner review from {' or '.join(owners)}."
            for owners in missing_owners(state, pull, approvals)
        ]
    for required in parameters.get("required_reviewers", ()):
        found += _required_reviewer_violations(state, pull, required, approvals)
    return found


def changed_paths(state: State, pull: PullRequest) -> list[str]:
    """Return every path a pull request touches, the old name of a renamed file included."""
    changes = state.bare.changes(pull.merge_base or pull.base_sha, pull.head_sha)
    return [path for change in changes for path in (change.previous_filename, change.filename) if path is not None]


def code_owners(state: State, base_ref: str) -> codeowners.CodeOwners | None:
    """Return the CODEOWNERS of a base branch, or None."""
    tip = state.bare.tip(f"refs/heads/{base_ref}")
    return None if tip is None else codeowners.read(state.bare, tip, lambda owner: is_owner(state, owner))


def is_owner(state: State, owner: str) -> bool:
    """Tell whether a CODEOWNERS name exists, may write, and (a team) is visible; an App never owns code."""
    logins, slug = owner_logins(state, owner), owner.partition("/")[2]
    if slug:
        team = state.organisation.team(slug)
        return (
            team is not None
            and not team.secret
            and state.organisation.team_role(state.repository, slug) in ("write", "admin")
        )
    return any(state.organisation.role(state.repository, login) in ("write", "admin") for login in logins)


def owner_logins(state: State, owner: str) -> tuple[str, ...]:
    """Return who can speak for a CODEOWNERS name: one user, or the members of a team."""
    organisation, slash, slug = owner.removeprefix("@").partition("/")
    if slash:
        team = state.organisation.team(slug) if organisation.lower() == state.organisation.login else None
        return () if team is None else team.members
    if owner.startswith("@"):
        user = state.organisation.user(organisation)
        return () if user is None else (user.login,)
    return tuple(user.login for user in state.organisation.users if user.email == owner)


def missing_owners(state: State, pull: PullRequest, approvals: Mapping[str, Review]) -> list[tuple[str, ...]]:
    """Return the sets of owners of which nobody has approved; a path without owners asks for nothing."""
    rules = code_owners(state, pull.base_ref)
    if rules is None:
        return []
    wanted = dict.fromkeys(rules.owners(path) for path in changed_paths(state, pull))
    return [
        owners
        for owners in wanted
        if owners and not any(login in approvals for owner in owners for login in owner_logins(state, owner))
    ]


def _required_reviewer_violations(
    state: State, pull: PullRequest, required: Mapping[str, Any], approvals: Mapping[str, Review]
) -> list[str]:
    patterns = codeowners.parse("", "\n".join(required["file_patterns"]), lambda _: True)
    team = next(
        (team for team in state.organisation.teams if answers.team_id(state, team.slug) == required["reviewer"]["id"]),
        None,
    )
    if team is None or not any(patterns.covers(path) for path in changed_paths(state, pull)):
        return []
    given = sum(login in approvals for login in team.members)
    if given >= required["minimum_approvals"]:
        return []
    return [
        f"Waiting on {required['minimum_approvals'] - given} approval(s) from {state.organisation.login}/{team.slug}."
    ]


def check_violations(state: State, pull: PullRequest, parameters: Mapping[str, Any]) -> list[str]:
    """Return what a `required_status_checks` rule still misses of a pull request."""
    base = state.bare.tip(f"refs/heads/{pull.base_ref}") or pull.base_sha
    behind = parameters.get("strict_required_status_checks_policy") and not state.bare.is_ancestor(base, pull.head_sha)
    return [
        *(["The head branch is not up to date with the base branch."] if behind else []),
        *missing_checks(state, pull.head_sha, parameters["required_status_checks"]),
    ]


def missing_checks(state: State, sha: str, required: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each required check that has not passed on a commit."""
    missing = []
    for check in required:
        outcome = check_outcome(state, sha, check["context"], check.get("integration_id"))
        if outcome not in PASSING:
            told = "expected" if outcome is None else f"{outcome}"
            missing.append(f'Required status check "{check["context"]}" is {told}.')
    return missing


def check_outcome(state: State, sha: str, context: str, app_id: int | None) -> str | None:
    """Return the latest conclusion of a check on a commit (a status or a state of waiting counts too), or None if never
    reported.

    With `app_id`, only what that App reported counts; without, anybody's.
    """
    reported: list[tuple[int, str]] = [
        (run.id, run.conclusion or run.status)
        for run in state.check_runs.values()
        if run.head_sha == sha and run.name == context and app_id in (None, run.app_id)
    ]
    for status in state.statuses:
        creator = state.organisation.app(status.creator)
        if (status.sha, status.context) == (sha, context) and (app_id is None or (creator and creator.id == app_id)):
            reported.append((status.id, status.state))
    return max(reported)[1] if reported else None


def all_passing(state: State, sha: str) -> bool:
    """Tell whether everything ever reported on a commit, required or not, has passed."""
    names = {run.name for run in state.check_runs.values() if run.head_sha == sha}
    names |= {status.context for status in state.statuses if status.sha == sha}
    return all(check_outcome(state, sha, name, None) in PASSING for name in names)


def push_refusal(state: State, change: RefChange, identity: Identity) -> str | None:
    """Return why somebody may not move a ref directly, as far as can be told without the new objects, or None."""
    for ruleset in rulesets_for(state, change.ref):
        if bypass(state, ruleset, identity) in ("always", "exempt"):
            continue
        for rule in ruleset.rules:
            reason = _push_violation(state, change, rule)
            if reason is not None:
                return reason
    return None


def _push_violation(state: State, change: RefChange, rule: Rule) -> str | None:
    created, deleted = change.old == ZERO, change.new == ZERO
    if rule.type == "deletion" and deleted:
        return "Cannot delete this branch"
    if rule.type == "creation" and created:
        return "Cannot create ref due to creations being restricted."
    if created or deleted:
        return None
    if rule.type == "update":
        return "Cannot update this protected ref."
    if rule.type == "pull_request":
        return "Changes must be made through a pull request."
    if rule.type == "merge_queue":
        return "Changes must be made through the merge queue"
    if rule.type == "required_status_checks":
        missing = missing_checks(state, change.new, rule.parameters["required_status_checks"])
        return missing[0] if missing else None
    return None


def fast_forward_only(state: State, ref: str, identity: Identity) -> bool:
    """Tell whether an identity may not rewrite a ref."""
    return any(
        rule.type == "non_fast_forward"
        for ruleset in rulesets_for(state, ref)
        if bypass(state, ruleset, identity) not in ("always", "exempt")
        for rule in ruleset.rules
    )


def note_suite(state: State, change: RefChange, actor: str, result: Literal["pass", "fail", "bypass"]) -> None:
    """Write down what the rulesets said to a change of a ref they cover."""
    if rulesets_for(state, change.ref):
        suite = RuleSuite(state.new_id(), change.ref, change.old, change.new, actor, result, state.now())
        state.rule_suites.append(suite)
