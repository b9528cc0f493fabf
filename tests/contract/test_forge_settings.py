"""What an administrator sets: Actions permissions, environments, merge settings, disabled workflows, a merge queue."""

from collections.abc import Callable
from typing import Any

import pytest
from forge_users import Api

from breakglass_lab.forge import App, Forge, answers, environments
from breakglass_lab.forge.environments import BranchPolicy, Environment

REPO = "/repos/acme/platform"
PERMISSIONS = f"{REPO}/actions/permissions"
ENVIRONMENT = f"{REPO}/environments/breakglass"
POLICIES = f"{ENVIRONMENT}/deployment-branch-policies"
CUSTOM = {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}}
PROTECTED = {"deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False}}


def test_actions_permissions_are_an_administrators(api: Callable[..., Api], app_token: Callable[..., str]) -> None:
    adam = api("adam")
    read = adam("GET", PERMISSIONS, code=200)
    assert read == {"enabled": True, "allowed_actions": "all", "sha_pinning_required": False}
    adam("PUT", PERMISSIONS, {"enabled": True, "sha_pinning_required": True}, 204)
    assert adam("GET", PERMISSIONS, code=200)["sha_pinning_required"] is True
    adam("PUT", PERMISSIONS, {"enabled": False}, 204)
    assert adam("GET", PERMISSIONS, code=200) == {"enabled": False}
    for path in (PERMISSIONS, f"{PERMISSIONS}/workflow"):
        assert api("ann")("GET", path).status_code == 403
        assert api("ann")("PUT", path, {"enabled": True}).status_code == 403
        assert api(token=app_token())("GET", path).status_code == 403
    assert adam("PUT", PERMISSIONS, {"enabled": True, "allowed_actions": "some"}).status_code == 422
    assert adam("PUT", PERMISSIONS, {}).status_code == 422


def test_a_jobs_token_opens_and_approves_only_where_that_is_set(
    forge: Forge, api: Callable[..., Api], pull: Callable[..., Any]
) -> None:
    pull()
    adam, job = api("adam"), api(token=forge.workflow_token({"contents": "write", "pull_requests": "write"}))
    tokens = adam("GET", f"{PERMISSIONS}/workflow", code=200)
    assert tokens == {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False}
    approval, reviews = {"event": "APPROVE"}, f"{REPO}/pulls/1/reviews"
    told = "GitHub Actions is not permitted to approve pull requests."
    assert job("POST", reviews, approval, 422)["errors"] == [told]
    job("POST", reviews, {"event": "COMMENT", "body": "fine"}, 200)
    assert job("POST", f"{REPO}/pulls", {"title": "T", "head": "topic", "base": "main"}).status_code == 403
    adam("PUT", f"{PERMISSIONS}/workflow", {"can_approve_pull_request_reviews": True}, 204)
    assert job("POST", reviews, approval, 200)["user"]["type"] == "Bot"


def test_an_environment_is_put_whole(api: Callable[..., Api]) -> None:
    adam = api("adam")
    adam("PUT", ENVIRONMENT, CUSTOM | {"wait_timer": 5}, 200)
    adam("POST", POLICIES, {"name": "main"}, 200)
    shown = adam("PUT", ENVIRONMENT, CUSTOM, 200)
    assert [rule["type"] for rule in shown["protection_rules"]] == ["branch_policy"]
    listed = api("rita")("GET", f"{REPO}/environments", code=200)
    assert [one["name"] for one in listed["environments"]] == ["breakglass"]
    assert [policy["name"] for policy in adam("GET", POLICIES, code=200)["branch_policies"]] == ["main"]
    assert adam("POST", POLICIES, {"name": "main"}).status_code == 303
    assert adam("PUT", f"{REPO}/environments/BreakGlass", PROTECTED, 200)["id"] == shown["id"]
    assert adam("POST", POLICIES, {"name": "release"}).status_code == 404
    assert adam("PUT", ENVIRONMENT, None, 200)["deployment_branch_policy"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"wait_timer": -1},
        {"wait_timer": 50_000},
        {"deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": True}},
        {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": False}},
        {"reviewers": [{"type": "User", "id": 1}]},
    ],
)
def test_an_environment_that_cannot_be_is_422(api: Callable[..., Api], body: dict[str, Any]) -> None:
    assert api("adam")("PUT", ENVIRONMENT, body).status_code == 422


def test_environments_are_an_administrators(api: Callable[..., Api], app_token: Callable[..., str]) -> None:
    for who in (api("ann"), api(token=app_token())):
        assert who("PUT", ENVIRONMENT, CUSTOM).status_code == 403
    assert api("ann")("GET", ENVIRONMENT).status_code == 404


@pytest.mark.parametrize(
    ("pattern", "kind", "ref", "admitted"),
    [
        ("main", "branch", "refs/heads/main", True),
        ("main", "branch", "refs/heads/Main", False),
        ("main", "branch", "refs/pull/1/merge", False),
        ("main", "branch", "refs/tags/main", False),
        ("*", "branch", "refs/heads/topic", True),
        ("*", "branch", "refs/heads/topic/one", False),
        ("*", "branch", "refs/pull/1/merge", False),
        ("*/*", "branch", "refs/heads/topic/one", True),
        ("refs/pull/*/merge", "branch", "refs/pull/1/merge", True),
        ("v?", "tag", "refs/tags/v1", True),
        ("**/x", "branch", "refs/heads/a/b/x", True),
    ],
)
def test_the_ref_that_runs_decides(forge: Forge, pattern: str, kind: Any, ref: str, admitted: bool) -> None:
    now = forge.state.now()
    environment = Environment(1, "e", now, now, "custom", (BranchPolicy(2, pattern, kind),))
    assert environments.admits(forge.state, environment, ref) is admitted


def test_protected_branches_are_those_of_a_ruleset(forge: Forge) -> None:
    now = forge.state.now()
    environment = Environment(1, "e", now, now, "protected")
    admitted = [environments.admits(forge.state, environment, f"refs/{ref}") for ref in ("heads/main", "heads/x")]
    assert admitted == [True, False]
    assert not environments.admits(forge.state, environment, "refs/pull/1/merge")


def test_the_branch_of_a_merged_pull_request_goes_if_that_is_set(
    forge: Forge, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
) -> None:
    assert api("adam")("GET", REPO, code=200)["delete_branch_on_merge"] is False
    shown = api("adam")("PATCH", REPO, {"delete_branch_on_merge": True, "allow_auto_merge": True}, 200)
    assert (shown["delete_branch_on_merge"], shown["allow_auto_merge"]) == (True, True)
    pull()
    robot = api(token=app_token())
    robot("GET", f"{REPO}/pulls/1")
    robot("PUT", f"{REPO}/pulls/1/merge", {}, 200)
    assert forge.state.bare.tip("refs/heads/topic") is None
    kinds = [entry["activity_type"] for entry in robot("GET", f"{REPO}/activity", code=200)]
    assert kinds[:2] == ["branch_deletion", "pr_merge"]
    assert robot("GET", f"{REPO}/pulls/1", code=200)["merged"] is True


def test_a_disabled_workflow_is_seen_and_takes_no_dispatch(forge: Forge, api: Callable[..., Api]) -> None:
    workflow = f"{REPO}/actions/workflows/apply.yml"
    inputs = {"ref": "main", "inputs": {"cluster": "prod-eu"}}
    forge.set_workflow_state(".github/workflows/apply.yml", "disabled_inactivity")
    (listed,) = api()("GET", f"{REPO}/actions/workflows", code=200)["workflows"]
    assert listed["state"] == "disabled_inactivity"
    told = api()("POST", f"{workflow}/dispatches", inputs, 422)["message"]
    assert told == "Cannot trigger a 'workflow_dispatch' on a disabled workflow"
    api()("PUT", f"{workflow}/enable", None, 204)
    api()("POST", f"{workflow}/dispatches", inputs, 204)
    api()("PUT", f"{workflow}/disable", None, 204)
    assert api()("GET", workflow, code=200)["state"] == "disabled_manually"
    assert api("rita")("PUT", f"{workflow}/enable").status_code == 403


def test_a_merge_queue_lets_nobody_merge_directly(
    forge: Forge, api: Callable[..., Api], pull: Callable[..., Any]
) -> None:
    forge.state.rulesets.clear()
    queue = {
        "check_response_timeout_minutes": 60,
        "grouping_strategy": "ALLGREEN",
        "max_entries_to_build": 5,
        "max_entries_to_merge": 5,
        "merge_method": "MERGE",
        "min_entries_to_merge": 1,
        "min_entries_to_merge_wait_minutes": 5,
    }
    body = {
        "name": "queue",
        "enforcement": "active",
        "conditions": {"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}},
        "rules": [{"type": "merge_queue", "parameters": queue}],
    }
    created = api("adam")("POST", f"{REPO}/rulesets", body, 201)
    assert created["rules"] == body["rules"]
    (rule,) = api()("GET", f"{REPO}/rules/branches/main", code=200)
    assert rule["type"] == "merge_queue"
    pull()
    api()("GET", f"{REPO}/pulls/1")
    assert "merge queue" in api()("PUT", f"{REPO}/pulls/1/merge", {}, 405)["message"]


def test_an_app_tells_its_permissions_and_events(forge: Forge) -> None:
    app = App(events=("pull_request",), permissions={"metadata": "read"})
    for shown in (answers.app(forge.state, app), answers.installation(forge.state, app)):
        assert (shown["permissions"], shown["events"]) == ({"metadata": "read"}, ["pull_request"])
