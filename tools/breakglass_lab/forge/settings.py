"""What an administrator sets: Actions permissions and environments.

https://docs.github.com/en/rest/actions/permissions, https://docs.github.com/en/rest/deployments/environments and
https://docs.github.com/en/rest/deployments/branch-policies.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from breakglass_lab.forge import answers, environments
from breakglass_lab.forge.environments import BranchPolicy, Environment
from breakglass_lab.forge.exchange import Answer, Endpoint, Request, invalid, not_found
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.state import State, node_id

ALLOWED = ("all", "local_only", "selected")
TOKEN_LEVELS = ("read", "write")
LONGEST_WAIT = 43_200
"""Minutes."""
REVIEWER_LIMIT = 6


def actions_permissions(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET whether Actions run here and which actions they may use."""
    if not state.actions_enabled:
        return Answer(200, {"enabled": False})
    told = {"enabled": True, "allowed_actions": state.allowed_actions, "sha_pinning_required": state.sha_pinning}
    url = f"{state.repository_url}/actions/permissions/selected-actions"
    return Answer(200, told | ({"selected_actions_url": url} if state.allowed_actions == "selected" else {}))


def set_actions_permissions(state: State, request: Request) -> Answer:
    """PUT whether Actions run here; `allowed_actions` and `sha_pinning_required` stay when left out."""
    if "enabled" not in request.body:
        raise invalid("enabled", "missing_field")
    allowed = request.text("allowed_actions", state.allowed_actions)
    if allowed not in ALLOWED:
        raise invalid("allowed_actions")
    pinning = request.flag("sha_pinning_required") if "sha_pinning_required" in request.body else state.sha_pinning
    state.actions_enabled, state.allowed_actions, state.sha_pinning = request.flag("enabled"), allowed, pinning
    return Answer(204)


def workflow_permissions(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET what GITHUB_TOKEN may do unless a workflow says otherwise, and whether it may approve pull requests."""
    body = {
        "default_workflow_permissions": state.default_workflow_permissions,
        "can_approve_pull_request_reviews": state.workflows_may_approve,
    }
    return Answer(200, body)


def set_workflow_permissions(state: State, request: Request) -> Answer:
    """PUT the same; what is left out stays."""
    level = request.text("default_workflow_permissions", state.default_workflow_permissions)
    if level not in TOKEN_LEVELS:
        raise invalid("default_workflow_permissions")
    if "can_approve_pull_request_reviews" in request.body:
        state.workflows_may_approve = request.flag("can_approve_pull_request_reviews")
    state.default_workflow_permissions = level
    return Answer(204)


def _find(state: State, request: Request) -> Environment:
    found = environments.find(state, request.values["name"])
    if found is None:
        raise not_found()
    return found


def _url(state: State, shown: Environment) -> str:
    return f"{state.repository_url}/environments/{quote(shown.name, safe='')}"


def _rule(identifier: int, kind: str, **rest: Any) -> answers.Json:
    return {"id": identifier, "node_id": node_id("Gate", identifier), "type": kind, **rest}


def _reviewer(state: State, kind: str, identifier: int) -> answers.Json:
    organisation = state.organisation
    if kind == "User":
        login = next(user.login for user in organisation.users if state.account_id(user.login) == identifier)
        return {"type": kind, "reviewer": answers.account(state, login)}
    team = next(team for team in organisation.teams if answers.team_id(state, team.slug) == identifier)
    return {"type": kind, "reviewer": answers.team(state, team)}


def _shown(state: State, shown: Environment) -> answers.Json:
    """Return an environment; the ids of its rules follow from its own."""
    rules = []
    if shown.wait_timer:
        rules.append(_rule(10 * shown.id + 1, "wait_timer", wait_timer=shown.wait_timer))
    if shown.reviewers:
        reviewers = [_reviewer(state, kind, identifier) for kind, identifier in shown.reviewers]
        told = {"prevent_self_review": shown.prevent_self_review, "reviewers": reviewers}
        rules.append(_rule(10 * shown.id + 2, "required_reviewers", **told))
    if shown.restriction is not None:
        rules.append(_rule(10 * shown.id + 3, "branch_policy"))
    protected = shown.restriction == "protected"
    policy = {"protected_branches": protected, "custom_branch_policies": not protected}
    return {
        "id": shown.id,
        "node_id": node_id("Environment", shown.id),
        "name": shown.name,
        "url": _url(state, shown),
        "html_url": f"{state.html_url}/deployments/activity_log?environments_filter={quote(shown.name)}",
        "created_at": answers.stamp(shown.created_at),
        "updated_at": answers.stamp(shown.updated_at),
        "protection_rules": rules,
        "deployment_branch_policy": None if shown.restriction is None else policy,
    }


def list_environments(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET the environments."""
    shown = [_shown(state, environment) for environment in state.environments.values()]
    return Answer(200, {"total_count": len(shown), "environments": shown}, items="environments")


def get_environment(state: State, request: Request) -> Answer:
    """GET an environment."""
    return Answer(200, _shown(state, _find(state, request)))


def put_environment(state: State, request: Request) -> Answer:
    """PUT an environment as it shall be: what is left out is taken away."""
    known = environments.find(state, request.values["name"])
    known = known or Environment(state.new_id(), request.values["name"], state.now(), state.now())
    wait = request.body.get("wait_timer") or 0
    if not isinstance(wait, int) or not 0 <= wait <= LONGEST_WAIT:
        raise invalid("wait_timer", resource="Environment")
    changed = replace(
        known,
        updated_at=state.now(),
        restriction=_restriction(request),
        wait_timer=wait,
        reviewers=_reviewers(state, request),
        prevent_self_review=request.flag("prevent_self_review"),
    )
    return Answer(200, _shown(state, environments.put(state, changed)))


def _restriction(request: Request) -> environments.Restriction | None:
    policy = request.body.get("deployment_branch_policy")
    if policy is None:
        return None
    flags = (policy.get("protected_branches"), policy.get("custom_branch_policies")) if isinstance(policy, dict) else ()
    if flags == (True, False):
        return "protected"
    if flags == (False, True):
        return "custom"
    raise invalid("deployment_branch_policy", resource="Environment")


def _reviewers(state: State, request: Request) -> tuple[tuple[str, int], ...]:
    given = request.body.get("reviewers") or []
    users = {state.account_id(user.login) for user in state.organisation.users}
    teams = {answers.team_id(state, team.slug) for team in state.organisation.teams}
    known = {"User": users, "Team": teams}
    if not isinstance(given, list) or len(given) > REVIEWER_LIMIT:
        raise invalid("reviewers", resource="Environment")
    if not all(isinstance(one, dict) and one.get("id") in known.get(str(one.get("type")), ()) for one in given):
        raise invalid("reviewers", resource="Environment")
    return tuple((one["type"], one["id"]) for one in given)


def delete_environment(state: State, request: Request) -> Answer:
    """DELETE an environment."""
    del state.environments[_find(state, request).name.casefold()]
    return Answer(204)


def _shown_policy(policy: BranchPolicy) -> answers.Json:
    node = node_id("Gate", policy.id)
    return {"id": policy.id, "node_id": node, "name": policy.name, "type": policy.type}


def list_policies(state: State, request: Request) -> Answer:
    """GET the patterns of branches and tags that may use an environment."""
    shown = [_shown_policy(policy) for policy in _find(state, request).policies]
    return Answer(200, {"total_count": len(shown), "branch_policies": shown}, items="branch_policies")


def create_policy(state: State, request: Request) -> Answer:
    """POST a pattern; 303 when it is there already, 404 when the environment has no custom policies."""
    environment, name = _find(state, request), request.text("name")
    kind = request.text("type", "branch")
    if environment.restriction != "custom":
        raise not_found()
    if kind not in ("branch", "tag") or not name:
        raise invalid("name", resource="DeploymentBranchPolicy")
    known = next((policy for policy in environment.policies if (policy.name, policy.type) == (name, kind)), None)
    if known is not None:
        return Answer(303, headers={"Location": f"{_url(state, environment)}/deployment-branch-policies/{known.id}"})
    policy = BranchPolicy(state.new_id(), name, "tag" if kind == "tag" else "branch")
    environments.put(state, replace(environment, policies=(*environment.policies, policy), updated_at=state.now()))
    return Answer(200, _shown_policy(policy))


def delete_policy(state: State, request: Request) -> Answer:
    """DELETE a pattern."""
    environment, identifier = _find(state, request), request.values["policy_id"]
    left = tuple(policy for policy in environment.policies if policy.id != identifier)
    if left == environment.policies:
        raise not_found()
    environments.put(state, replace(environment, policies=left, updated_at=state.now()))
    return Answer(204)


PERMISSIONS = f"{REPO}/actions/permissions"
ENVIRONMENT = f"{REPO}/environments/<name>"
POLICIES = f"{ENVIRONMENT}/deployment-branch-policies"
READ = ("actions", "read")
ADMIN_READ, ADMIN_WRITE = ("administration", "read"), ("administration", "write")

ENDPOINTS = (
    Endpoint("GET", PERMISSIONS, actions_permissions, ADMIN_READ, "admin"),
    Endpoint("PUT", PERMISSIONS, set_actions_permissions, ADMIN_WRITE, "admin"),
    Endpoint("GET", f"{PERMISSIONS}/workflow", workflow_permissions, ADMIN_READ, "admin"),
    Endpoint("PUT", f"{PERMISSIONS}/workflow", set_workflow_permissions, ADMIN_WRITE, "admin"),
    Endpoint("GET", f"{REPO}/environments", list_environments, READ),
    Endpoint("GET", ENVIRONMENT, get_environment, READ),
    Endpoint("PUT", ENVIRONMENT, put_environment, ADMIN_WRITE, "admin"),
    Endpoint("DELETE", ENVIRONMENT, delete_environment, ADMIN_WRITE, "admin"),
    Endpoint("GET", POLICIES, list_policies, READ),
    Endpoint("POST", POLICIES, create_policy, ADMIN_WRITE, "admin"),
    Endpoint("DELETE", f"{POLICIES}/<int:policy_id>", delete_policy, ADMIN_WRITE, "admin"),
)
