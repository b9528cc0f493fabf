"""Every answer of the forge, judged by GitHub's own API description: no field missing, wrong or unknown."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest
from forge_users import Api, Clone
from github_schema import VERSIONS, NotGitHub, assert_requests_are_githubs, check_answer, operation

from breakglass_lab.forge import App, Event, Forge
from breakglass_lab.forge.answers import team_id
from breakglass_lab.forge.exchange import Endpoint
from breakglass_lab.forge.rest import ENDPOINTS

REPO = "/repos/acme/platform"


def _life(
    forge: Forge, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
) -> dict[str, Any]:
    """Leave something of every kind on the forge and return the names of it."""
    number = pull("topic", "overlays/emergency/one.yaml")["number"]
    head = api()("GET", f"{REPO}/pulls/{number}", code=200)["head"]["sha"]
    robot = api(token=app_token())
    review = api("ines")("POST", f"{REPO}/pulls/{number}/reviews", {"event": "APPROVE", "body": "yes"}, 200)
    comment = api()("POST", f"{REPO}/issues/{number}/comments", {"body": "drilled"}, 201)
    issue = api()("POST", f"{REPO}/issues", {"title": "late", "labels": ["breakglass"]}, 201)
    check = robot("POST", f"{REPO}/check-runs", {"name": "check", "head_sha": head, "conclusion": "success"}, 201)
    api()("POST", f"{REPO}/statuses/{head}", {"state": "success", "context": "ci"}, 201)
    payload = {"pull_request": {"number": number, "head": {"ref": "topic", "sha": head}}}
    event = Event("pull_request", payload, "refs/pull/1/merge", head, "ann")
    run = forge.runs.start(".github/workflows/apply.yml", event, "apply")
    forge.runs.job(run.id, "apply", "completed", "success")
    second = pull("second")["number"]
    assert api()("PUT", f"{REPO}/pulls/{second}/merge", {}).status_code == 405
    assert api()("PUT", f"{REPO}/pulls/{second}/merge", {}).status_code == 405
    ruleset = api()("GET", f"{REPO}/rulesets", code=200)[0]["id"]
    forge.state.change_user("bob", outside=True)
    settings = {
        "wait_timer": 5,
        "prevent_self_review": True,
        "reviewers": [
            {"type": "User", "id": forge.state.account_id("ines")},
            {"type": "Team", "id": team_id(forge.state, "incident-commanders")},
        ],
        "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
    }
    api("adam")("PUT", f"{REPO}/environments/breakglass", settings, 200)
    api("adam")("POST", f"{REPO}/environments/breakglass/deployment-branch-policies", {"name": "main"}, 200)
    return {
        "number": number,
        "sha": head,
        "ref": "heads/main",
        "review_id": review["id"],
        "comment_id": comment["id"],
        "check_run_id": check["id"],
        "run_id": run.id,
        "ruleset_id": ruleset,
        "issue": issue["number"],
    }


PATHS = (
    "/user",
    "/users/bob",
    "/users/acme-breakglass[bot]",
    "/orgs/acme",
    "/orgs/acme/members",
    "/orgs/acme/teams",
    "/orgs/acme/teams/incident-commanders",
    "/orgs/acme/teams/incident-commanders/members",
    "/orgs/acme/teams/incident-commanders/memberships/ines",
    "/rate_limit",
    REPO,
    f"{REPO}/teams",
    f"{REPO}/collaborators",
    f"{REPO}/collaborators/ann/permission",
    f"{REPO}/contents/",
    f"{REPO}/contents/README.md",
    f"{REPO}/branches",
    f"{REPO}/branches/main",
    f"{REPO}/git/ref/heads/main",
    f"{REPO}/git/matching-refs/heads/",
    f"{REPO}/git/commits/{{sha}}",
    f"{REPO}/commits",
    f"{REPO}/commits/{{sha}}",
    f"{REPO}/commits/{{sha}}/pulls",
    f"{REPO}/commits/{{sha}}/check-runs",
    f"{REPO}/commits/{{sha}}/status",
    f"{REPO}/commits/{{sha}}/statuses",
    f"{REPO}/compare/main...topic",
    f"{REPO}/codeowners/errors",
    f"{REPO}/check-runs/{{check_run_id}}",
    f"{REPO}/pulls",
    f"{REPO}/pulls/{{number}}",
    f"{REPO}/pulls/{{number}}/files",
    f"{REPO}/pulls/{{number}}/commits",
    f"{REPO}/pulls/{{number}}/reviews",
    f"{REPO}/pulls/{{number}}/reviews/{{review_id}}",
    f"{REPO}/pulls/{{number}}/requested_reviewers",
    f"{REPO}/issues",
    f"{REPO}/issues/{{issue}}",
    f"{REPO}/issues/{{number}}/comments",
    f"{REPO}/issues/comments/{{comment_id}}",
    f"{REPO}/actions/workflows",
    f"{REPO}/actions/workflows/apply.yml",
    f"{REPO}/actions/workflows/apply.yml/runs",
    f"{REPO}/actions/runs",
    f"{REPO}/actions/runs/{{run_id}}",
    f"{REPO}/actions/runs/{{run_id}}/jobs",
    f"{REPO}/rulesets",
    f"{REPO}/rulesets/{{ruleset_id}}",
    f"{REPO}/rulesets/rule-suites",
    f"{REPO}/rules/branches/main",
    f"{REPO}/activity",
    f"{REPO}/issues/{{number}}",
    f"{REPO}/actions/permissions",
    f"{REPO}/actions/permissions/workflow",
    f"{REPO}/environments",
    f"{REPO}/environments/breakglass",
    f"{REPO}/environments/breakglass/deployment-branch-policies",
    "/orgs/acme/outside_collaborators",
)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_get_answers_as_the_description_says(
    version: str, forge: Forge, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
) -> None:
    names = _life(forge, api, app_token, pull)
    client = api("adam", version=version)
    mistakes = []
    for template in PATHS:
        path = template.format_map(names)
        response = client("GET", path)
        assert response.status_code == 200, (path, response.text)
        try:
            assert check_answer(version, "GET", path, response.content) not in ([], None), path
        except NotGitHub as mistake:
            mistakes.append(str(mistake))
    assert not mistakes, "\n\n".join(mistakes)
    assert_requests_are_githubs(forge.routes)


@pytest.mark.parametrize("version", VERSIONS)
def test_apps_answer_as_the_description_says(version: str, app: App, forge: Forge, api: Callable[..., Api]) -> None:
    now = int(time.time())
    signed = jwt.encode({"iat": now, "exp": now + 60, "iss": str(app.id)}, app.private_key, algorithm="RS256")
    client = api(token=signed, version=version)
    tokens = f"/app/installations/{app.installation_id}/access_tokens"
    requests = (
        ("GET", "/app", None),
        ("GET", "/app/installations", None),
        ("GET", f"/app/installations/{app.installation_id}", None),
        ("GET", f"{REPO}/installation", None),
        ("GET", "/orgs/acme/installation", None),
        ("POST", tokens, {"permissions": {"contents": "read"}, "repositories": ["platform"]}),
    )
    for method, path, body in requests:
        response = client(method, path, body)
        check_answer(version, method, path, response.content)
    reached = api(token=response.json()["token"], version=version)("GET", "/installation/repositories")
    check_answer(version, "GET", "/installation/repositories", reached.content)
    assert_requests_are_githubs(forge.routes)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_change_answers_as_the_description_says(
    version: str, forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api], app_token: Callable[..., str]
) -> None:
    sha = clone().branch("topic", {"note.txt": "one\n"})
    clone().branch("other", {"other.txt": "one\n"})
    ann, bob, adam = (api(login, version=version) for login in ("ann", "bob", "adam"))
    robot = api(token=app_token(), version=version)

    def change(who: Api, method: str, path: str, body: object, code: int) -> Any:
        response = who(method, path, body)
        assert response.status_code == code, response.text
        check_answer(version, method, path, response.content)
        return response.json() if response.content else None

    change(adam, "PATCH", REPO, {"description": "the platform", "allow_auto_merge": False}, 200)
    change(adam, "PATCH", REPO, {"delete_branch_on_merge": True}, 200)
    actions = {"enabled": True, "allowed_actions": "selected", "sha_pinning_required": True}
    change(adam, "PUT", f"{REPO}/actions/permissions", actions, 204)
    change(adam, "GET", f"{REPO}/actions/permissions", None, 200)
    tokens = {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": True}
    change(adam, "PUT", f"{REPO}/actions/permissions/workflow", tokens, 204)
    change(ann, "PUT", f"{REPO}/actions/workflows/apply.yml/disable", None, 204)
    change(ann, "PUT", f"{REPO}/actions/workflows/apply.yml/enable", None, 204)
    environment = f"{REPO}/environments/breakglass"
    custom = {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}}
    change(adam, "PUT", environment, custom, 200)
    policies = f"{environment}/deployment-branch-policies"
    policy = change(adam, "POST", policies, {"name": "main", "type": "branch"}, 200)["id"]
    change(adam, "DELETE", f"{policies}/{policy}", None, 204)
    change(adam, "DELETE", environment, None, 204)
    membership = "/orgs/acme/teams/readers/memberships/bob"
    forge.state.organisation = replace(forge.state.organisation, owners=("adam",))
    change(adam, "PUT", membership, {"role": "member"}, 200)
    change(adam, "DELETE", membership, None, 204)
    change(ann, "POST", f"{REPO}/git/refs", {"ref": "refs/heads/new", "sha": sha}, 201)
    change(ann, "PATCH", f"{REPO}/git/refs/heads/new", {"sha": sha, "force": True}, 200)
    change(ann, "DELETE", f"{REPO}/git/refs/heads/new", None, 204)
    pulls = f"{REPO}/pulls"
    number = change(ann, "POST", pulls, {"title": "T", "head": "topic", "base": "main"}, 201)["number"]
    change(ann, "PATCH", f"{pulls}/{number}", {"state": "closed", "title": "U"}, 200)
    change(ann, "PATCH", f"{pulls}/{number}", {"state": "open"}, 200)
    change(ann, "POST", f"{pulls}/{number}/requested_reviewers", {"reviewers": ["ines"]}, 201)
    change(ann, "DELETE", f"{pulls}/{number}/requested_reviewers", {"reviewers": ["ines"]}, 200)
    review = change(bob, "POST", f"{pulls}/{number}/reviews", {"body": "soon"}, 200)["id"]
    change(bob, "POST", f"{pulls}/{number}/reviews/{review}/events", {"event": "APPROVE"}, 200)
    change(ann, "PUT", f"{pulls}/{number}/reviews/{review}/dismissals", {"message": "stale"}, 200)
    check = change(robot, "POST", f"{REPO}/check-runs", {"name": "check", "head_sha": sha}, 201)["id"]
    change(robot, "PATCH", f"{REPO}/check-runs/{check}", {"conclusion": "success"}, 200)
    change(ann, "POST", f"{REPO}/statuses/{sha}", {"state": "pending"}, 201)
    comment = change(ann, "POST", f"{REPO}/issues/{number}/comments", {"body": "one"}, 201)["id"]
    change(ann, "PATCH", f"{REPO}/issues/comments/{comment}", {"body": "two"}, 200)
    issue = change(ann, "POST", f"{REPO}/issues", {"title": "late"}, 201)["number"]
    change(ann, "PATCH", f"{REPO}/issues/{issue}", {"state": "closed"}, 200)
    change(robot, "POST", f"{REPO}/dispatches", {"event_type": "expired", "client_payload": {"id": "a"}}, 204)
    branch_rules = {"ref_name": {"include": ["refs/heads/x"], "exclude": []}}
    rules = {"name": "x", "enforcement": "active", "conditions": branch_rules, "rules": [{"type": "deletion"}]}
    ruleset = change(adam, "POST", f"{REPO}/rulesets", rules, 201)["id"]
    change(adam, "PUT", f"{REPO}/rulesets/{ruleset}", {"enforcement": "disabled"}, 200)
    change(adam, "DELETE", f"{REPO}/rulesets/{ruleset}", None, 204)
    ann("GET", f"{pulls}/{number}")
    change(robot, "PUT", f"{pulls}/{number}/merge", {"sha": sha, "merge_method": "squash"}, 200)
    change(ann, "GET", f"{pulls}/{number}/merge", None, 204)
    assert_requests_are_githubs(forge.routes)


def test_dispatch_answers_with_the_run_when_asked(forge: Forge, api: Callable[..., Api]) -> None:
    path = f"{REPO}/actions/workflows/apply.yml/dispatches"
    asked = {"ref": "main", "inputs": {"cluster": "prod-eu"}, "return_run_details": True}
    details = api()("POST", path, asked, 200)
    later = api(version="2026-03-10")("POST", path, {"ref": "main", "inputs": {"cluster": "prod-eu"}})
    check_answer("2026-03-10", "POST", path, later.content)
    assert details.keys() == later.json().keys()
    assert details["workflow_run_id"] in [run.id for run in forge.runs.all()]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.rule}")
def test_every_endpoint_of_the_forge_exists_on_github(endpoint: Endpoint) -> None:
    path = re.sub(r"<int:\w+>", "1", re.sub(r"<(?:path:)?\w+>", "x", endpoint.rule))
    assert operation("2022-11-28", endpoint.method, path).method == endpoint.method


def test_a_list_comes_in_pages_with_links(forge: Forge, api: Callable[..., Api]) -> None:
    for title in ("a", "b", "c"):
        api()("POST", f"{REPO}/issues", {"title": title}, 201)
    first = api()("GET", f"{REPO}/issues", per_page=2)
    assert [issue["title"] for issue in first.json()] == ["c", "b"]
    assert first.links["next"]["url"].startswith(forge.api_url)
    second = first.links["next"]["url"].removeprefix(forge.api_url)
    last = api()("GET", second)
    assert [issue["title"] for issue in last.json()] == ["a"]
    assert set(last.links) == {"first", "prev"}


def test_errors_have_githubs_form(api: Callable[..., Api]) -> None:
    for path, code in (("/user", 401), (REPO, 404)):
        body = api(None)("GET", path, code=code)
        assert body["status"] == str(code)
        assert body["documentation_url"].startswith("https://docs.github.com/rest")
    assert api(token="ghp_unknown")("GET", REPO, code=401)["message"] == "Bad credentials"
    assert api()("GET", "/repos/acme/elsewhere", code=404)["message"] == "Not Found"
    response = api().client.post(f"{REPO}/pulls", content=b"{")
    assert (response.status_code, response.json()["message"]) == (400, "Problems parsing JSON")
