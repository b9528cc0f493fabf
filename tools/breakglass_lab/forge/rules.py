"""Rulesets over REST, and their audit trail. https://docs.github.com/en/rest/repos/rules."""

from typing import Any

from breakglass_lab.forge import answers
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid, not_found
from breakglass_lab.forge.protection import bypass, rulesets_for
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.rulesets import GITHUB_ACTIONS_ID, BypassActor, Rule, Ruleset
from breakglass_lab.forge.state import State

RULE_TYPES = (
    "creation",
    "deletion",
    "merge_queue",
    "non_fast_forward",
    "pull_request",
    "required_status_checks",
    "update",
)
"""What the forge enforces; a rule of another type is refused, not ignored. A merge queue is never worked off here."""

BYPASS = {None: "never", "always": "always", "exempt": "exempt", "pull_request": "pull_requests_only"}


def _shown(state: State, request: Request, identifier: int) -> answers.Json:
    ruleset = state.rulesets[identifier]
    with_actors = answers.role_of(state, request.identity) == "admin"
    with_actors |= request.identity.permissions.get("administration") in ("read", "write")
    return answers.ruleset(state, identifier, ruleset, BYPASS[bypass(state, ruleset, request.identity)], with_actors)


def list_rulesets(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET the rulesets, without their rules."""
    shown = [answers.simple_ruleset(state, identifier, ruleset) for identifier, ruleset in state.rulesets.items()]
    return Answer(200, shown, items=True)


def _find(state: State, request: Request) -> int:
    identifier: int = request.values["ruleset_id"]
    if identifier not in state.rulesets:
        raise not_found()
    return identifier


def get(state: State, request: Request) -> Answer:
    """GET a ruleset; who may pass it by is shown only to those who may administer the repository."""
    return Answer(200, _shown(state, request, _find(state, request)))


def create(state: State, request: Request) -> Answer:
    """POST a ruleset."""
    ruleset = _ruleset(request, None)
    identifier = state.new_id()
    state.rulesets[identifier] = ruleset
    return Answer(201, _shown(state, request, identifier))


def update(state: State, request: Request) -> Answer:
    """PUT a ruleset; what is left out stays."""
    identifier = _find(state, request)
    state.rulesets[identifier] = _ruleset(request, state.rulesets[identifier])
    return Answer(200, _shown(state, request, identifier))


def delete(state: State, request: Request) -> Answer:
    """DELETE a ruleset."""
    del state.rulesets[_find(state, request)]
    return Answer(204)


def _ruleset(request: Request, before: Ruleset | None) -> Ruleset:
    if request.text("target", "branch") != "branch":
        raise invalid("target", resource="RepositoryRuleset")
    enforcement = request.text("enforcement", None if before is None else before.enforcement)
    if enforcement not in ("active", "evaluate", "disabled"):
        raise invalid("enforcement", resource="RepositoryRuleset")
    known = before or Ruleset("", (), ())
    names = request.body.get("conditions", {}).get("ref_name", {})
    return Ruleset(
        name=request.text("name", None if before is None else before.name),
        include=tuple(names.get("include", known.include)),
        exclude=tuple(names.get("exclude", known.exclude)),
        rules=tuple(map(_rule, request.body["rules"])) if "rules" in request.body else known.rules,
        bypass_actors=tuple(map(_actor, request.body["bypass_actors"]))
        if "bypass_actors" in request.body
        else known.bypass_actors,
        enforcement=enforcement,  # type: ignore[arg-type]
    )


def _rule(given: dict[str, Any]) -> Rule:
    if given.get("type") not in RULE_TYPES:
        raise Refusal(422, "Validation Failed", [f"Invalid rule '{given.get('type')}'"])
    return Rule(given["type"], given.get("parameters", {}))


def _actor(given: dict[str, Any]) -> BypassActor:
    if (given.get("actor_type"), given.get("actor_id")) == ("Integration", GITHUB_ACTIONS_ID):
        raise Refusal(
            422, "Validation Failed", ["Actor GitHub Actions integration must be installed on the repository owner"]
        )
    return BypassActor(given["actor_type"], given.get("actor_id"), given.get("bypass_mode", "always"))


def branch_rules(state: State, request: Request) -> Answer:
    """GET the rules in force on a branch, each with the ruleset it comes from."""
    ref = f"refs/heads/{request.values['branch']}"
    covering = rulesets_for(state, ref)
    shown = [
        {
            "type": rule.type,
            **({"parameters": dict(rule.parameters)} if rule.parameters else {}),
            "ruleset_source_type": "Repository",
            "ruleset_source": state.full_name,
            "ruleset_id": identifier,
        }
        for identifier, ruleset in state.rulesets.items()
        if ruleset in covering
        for rule in ruleset.rules
    ]
    return Answer(200, shown, items=True)


def rule_suites(state: State, request: Request) -> Answer:
    """GET what the rulesets said to changes of refs, newest first (`ref`, `actor_name`, `rule_suite_result` select)."""
    query = request.query
    ref = query.get("ref")
    found = [
        answers.rule_suite(state, suite)
        for suite in reversed(state.rule_suites)
        if ref in (None, suite.ref, suite.ref.removeprefix("refs/heads/"))
        and query.get("actor_name") in (None, suite.actor)
        and query.get("rule_suite_result", "all") in ("all", suite.result)
    ]
    return Answer(200, found, items=True)


READ, ADMIN = ("metadata", "read"), ("administration", "write")
RULESET = f"{REPO}/rulesets/<int:ruleset_id>"

ENDPOINTS = (
    Endpoint("GET", f"{REPO}/rulesets", list_rulesets, READ),
    Endpoint("POST", f"{REPO}/rulesets", create, ADMIN, "admin"),
    Endpoint("GET", f"{REPO}/rulesets/rule-suites", rule_suites, ADMIN, "write"),
    Endpoint("GET", RULESET, get, READ),
    Endpoint("PUT", RULESET, update, ADMIN, "admin"),
    Endpoint("DELETE", RULESET, delete, ADMIN, "admin"),
    Endpoint("GET", f"{REPO}/rules/branches/<path:branch>", branch_rules, READ),
)
