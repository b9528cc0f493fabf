"""Which events start workflows, and whether their payloads are GitHub's."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from forge_users import Api, Clone
from githubkit_schemas.v2022_11_28.webhooks import WebhookNamespace

from breakglass_lab.forge import Event, Forge

REPO = "/repos/acme/platform"
PULLS = f"{REPO}/pulls"


@pytest.fixture
def events(forge: Forge) -> Callable[[], list[Event]]:
    """Return a function that gives the events since it was last called."""
    seen: list[Event] = []
    forge.subscribe(seen.append)

    def take() -> list[Event]:
        forge.settle()
        taken = list(seen)
        seen.clear()
        return taken

    return take


def names(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.name, event.action) for event in events]


Events = Callable[[], list[Event]]


def test_the_life_of_a_pull_request_by_users(
    events: Events, api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any], forge: Forge
) -> None:
    pull()
    assert names(events()) == [("push", None), ("pull_request", "opened")]
    clone().branch("topic", {"note.txt": "two\n"})
    push, synchronize = events()
    assert (push.payload["forced"], synchronize.action) == (True, "synchronize")
    assert synchronize.payload["after"] == push.sha
    assert (synchronize.ref, synchronize.sha) == ("refs/pull/1/merge", forge.state.bare.tip("refs/pull/1/merge"))
    api("bob")("POST", f"{PULLS}/1/reviews", {"event": "APPROVE"}, 200)
    api()("PATCH", f"{PULLS}/1", {"state": "closed"}, 200)
    api()("PATCH", f"{PULLS}/1", {"state": "open"}, 200)
    expected = [("pull_request_review", "submitted"), ("pull_request", "closed"), ("pull_request", "reopened")]
    assert names(events()) == expected
    api()("GET", f"{PULLS}/1")
    merged = api()("PUT", f"{PULLS}/1/merge", {}, 200)
    push, closed = events()
    assert (push.name, push.ref, push.sha) == ("push", "refs/heads/main", merged["sha"])
    assert (closed.action, closed.payload["pull_request"]["merged"]) == ("closed", True)


def test_a_jobs_token_starts_nothing_but_dispatches(
    events: Events, forge: Forge, api: Callable[..., Api], clone: Callable[..., Clone]
) -> None:
    forge.state.workflows_may_approve = True
    permissions = {"contents": "write", "pull_requests": "write", "actions": "write"}
    token = forge.workflow_token(permissions)
    job = api(token=token)
    clone(token=token).branch("topic", {"docs/note.txt": "one\n"})
    job("POST", PULLS, {"title": "T", "head": "topic", "base": "main"}, 201)
    job("POST", f"{REPO}/git/refs", {"ref": "refs/heads/x", "sha": forge.state.bare.tip("refs/heads/topic")}, 201)
    forge.state.rulesets.clear()
    job("GET", f"{PULLS}/1")
    job("PUT", f"{PULLS}/1/merge", {}, 200)
    assert names(events()) == []
    workflow = f"{REPO}/actions/workflows/apply.yml/dispatches"
    job("POST", workflow, {"ref": "main", "inputs": {"cluster": "prod-eu"}}, 204)
    job("POST", f"{REPO}/dispatches", {"event_type": "expired"}, 204)
    assert names(events()) == [("workflow_dispatch", None), ("repository_dispatch", "expired")]


def test_an_apps_token_starts_workflows(
    events: Events, api: Callable[..., Api], clone: Callable[..., Clone], app_token: Callable[..., str]
) -> None:
    token = app_token()
    clone(token=token).branch("topic", {"docs/note.txt": "one\n"})
    robot = api(token=token)
    robot("POST", PULLS, {"title": "T", "head": "topic", "base": "main"}, 201)
    robot("GET", f"{PULLS}/1")
    robot("PUT", f"{PULLS}/1/merge", {}, 200)
    expected = [("push", None), ("pull_request", "opened"), ("push", None), ("pull_request", "closed")]
    seen = events()
    assert names(seen) == expected
    assert {event.actor for event in seen} == {"acme-breakglass[bot]"}


def test_every_payload_is_githubs(
    events: Events,
    api: Callable[..., Api],
    clone: Callable[..., Clone],
    pull: Callable[..., Any],
    app_token: Callable[..., str],
) -> None:
    pull()
    clone().branch("topic", {"note.txt": "two\n"})
    api("bob")("POST", f"{PULLS}/1/reviews", {"event": "APPROVE"}, 200)
    api()("PATCH", f"{PULLS}/1", {"state": "closed"}, 200)
    api()("PATCH", f"{PULLS}/1", {"state": "open"}, 200)
    api()("GET", f"{PULLS}/1")
    api()("PUT", f"{PULLS}/1/merge", {}, 200)
    clone().git("push", "--quiet", "origin", ":topic")
    comment = api("bob")("POST", f"{REPO}/issues/1/comments", {"body": "/breakglass status"}, 201)["id"]
    api("bob")("PATCH", f"{REPO}/issues/comments/{comment}", {"body": "never mind"}, 200)
    api()("POST", f"{REPO}/issues", {"title": "late", "labels": ["breakglass"]}, 201)
    api(token=app_token())("POST", f"{REPO}/issues/2/comments", {"body": "by the App"}, 201)
    workflow = f"{REPO}/actions/workflows/apply.yml/dispatches"
    api()("POST", workflow, {"ref": "main", "inputs": {"cluster": "prod-eu"}}, 204)
    api(token=app_token())("POST", f"{REPO}/dispatches", {"event_type": "expired", "client_payload": {"id": "x"}}, 204)
    seen = events()
    assert {event.name for event in seen} == {
        "push",
        "pull_request",
        "pull_request_review",
        "issue_comment",
        "workflow_dispatch",
        "repository_dispatch",
    }
    for event in seen:
        WebhookNamespace.parse(event.name, json.dumps(dict(event.payload)))


def test_a_run_announces_itself_to_the_default_branch(events: Events, forge: Forge, pull: Callable[..., Any]) -> None:
    pull()
    opened = events()[1]
    run = forge.runs.start(".github/workflows/check.yml", opened, "check")
    forge.runs.update(run.id, "in_progress")
    forge.runs.update(run.id, "completed", "failure")
    seen = events()
    assert names(seen) == [("workflow_run", action) for action in ("requested", "in_progress", "completed")]
    for event in seen:
        WebhookNamespace.parse(event.name, json.dumps(dict(event.payload)))
        assert (event.ref, event.sha) == ("refs/heads/main", forge.state.bare.tip("refs/heads/main"))
    shown = seen[-1].payload["workflow_run"]
    head = opened.payload["pull_request"]["head"]["sha"]
    assert (shown["name"], shown["event"], shown["conclusion"]) == ("check", "pull_request", "failure")
    assert (shown["head_sha"], shown["head_branch"]) == (head, "topic")
    (reference,) = shown["pull_requests"]
    assert (reference["number"], reference["head"]["sha"], reference["base"]["ref"]) == (1, head, "main")


def test_a_comment_is_an_event_unless_a_job_wrote_it(
    events: Events, forge: Forge, api: Callable[..., Api], pull: Callable[..., Any]
) -> None:
    pull()
    api("bob")("POST", f"{REPO}/issues", {"title": "late"}, 201)
    events()
    job = api(token=forge.workflow_token({"issues": "write"}))
    job("POST", f"{REPO}/issues/1/comments", {"body": "by a job"}, 201)
    assert events() == []
    for number in (1, 2):
        api("bob")("POST", f"{REPO}/issues/{number}/comments", {"body": "/breakglass status"}, 201)
    on_pull, on_issue = events()
    assert (on_pull.name, on_pull.action, on_pull.actor) == ("issue_comment", "created", "bob")
    assert (on_pull.ref, on_pull.sha) == ("refs/heads/main", forge.state.bare.tip("refs/heads/main"))
    assert on_pull.payload["issue"]["pull_request"]["url"].endswith("/pulls/1")
    assert "pull_request" not in on_issue.payload["issue"]
    assert on_issue.payload["comment"]["body"] == "/breakglass status"
    assert on_issue.payload["sender"]["login"] == "bob"


def test_a_pull_request_has_its_target_on_the_default_branch(
    events: Events, forge: Forge, api: Callable[..., Api], clone: Callable[..., Clone]
) -> None:
    clone().branch("release", {"release.txt": "one\n"})
    clone().branch("topic", {"note.txt": "one\n"}, base="origin/release")
    events()
    api()("POST", PULLS, {"title": "T", "head": "topic", "base": "release"}, 201)
    (opened,) = events()
    assert opened.target is not None
    assert (opened.target.name, opened.target.action) == ("pull_request_target", "opened")
    assert (opened.target.ref, opened.target.sha) == ("refs/heads/main", forge.state.bare.tip("refs/heads/main"))
    assert opened.target.payload == opened.payload


def test_a_schedule_runs_on_the_default_branch(events: Events, forge: Forge) -> None:
    forge.fire_schedule("7,22 * * * *")
    (event,) = events()
    assert (event.name, event.ref, event.actor) == ("schedule", "refs/heads/main", "ann")
    assert (event.payload["schedule"], event.sha) == ("7,22 * * * *", forge.state.bare.tip("refs/heads/main"))


class TestDispatch:
    PATH = f"{REPO}/actions/workflows/apply.yml/dispatches"

    def test_defaults_are_filled_in_and_a_run_is_recorded(
        self, events: Events, forge: Forge, api: Callable[..., Api]
    ) -> None:
        api()("POST", self.PATH, {"ref": "main", "inputs": {"cluster": "prod-us"}}, 204)
        (event,) = events()
        assert event.inputs == {"cluster": "prod-us", "reason": "none given"}
        assert event.workflow == ".github/workflows/apply.yml"
        assert event.run_id is not None
        assert forge.runs.start(event.workflow, event, "apply").id == event.run_id
        assert [run.status for run in forge.runs.all()] == ["queued"]

    @pytest.mark.parametrize(
        "body",
        [
            {"ref": "main"},
            {"ref": "nowhere", "inputs": {"cluster": "prod-eu"}},
            {"ref": "main", "inputs": {"cluster": "elsewhere"}},
            {"ref": "main", "inputs": {"cluster": "prod-eu", "other": "x"}},
            {"ref": "main", "inputs": {f"i{n}": "x" for n in range(26)}},
            {"inputs": {}},
        ],
    )
    def test_what_the_workflow_does_not_take_is_422(
        self, events: Events, api: Callable[..., Api], body: dict[str, Any]
    ) -> None:
        assert api()("POST", self.PATH, body).status_code == 422
        assert events() == []

    def test_an_unknown_workflow_is_404_and_a_reader_is_403(self, api: Callable[..., Api]) -> None:
        body = {"ref": "main", "inputs": {"cluster": "prod-eu"}}
        assert api()("POST", self.PATH.replace("apply", "other"), body).status_code == 404
        assert api("rita")("POST", self.PATH, body).status_code == 403


def test_what_a_listener_raises_comes_out(forge: Forge, pull: Callable[..., Any]) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError(event.name)

    forge.subscribe(fail)
    pull()
    with pytest.raises(RuntimeError, match=r"push|pull_request"):
        forge.settle()
    with pytest.raises(RuntimeError):
        forge.close()
