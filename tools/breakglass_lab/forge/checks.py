"""Check runs and commit statuses. https://docs.github.com/en/rest/checks and
https://docs.github.com/en/rest/commits/statuses.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from breakglass_lab.forge import answers
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid, not_found
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.state import CheckRun, CommitStatus, State, reporter

STATUSES = ("queued", "in_progress", "completed")
CONCLUSIONS = ("success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required")
STATES = ("error", "failure", "pending", "success")


def _resolve(state: State, revision: str) -> str:
    sha = state.bare.resolve(revision)
    if sha is None:
        raise Refusal(422, f"No commit found for SHA: {revision}")
    return sha


def _time(request: Request, key: str) -> datetime | None:
    if key not in request.body:
        return None
    try:
        return datetime.fromisoformat(request.text(key))
    except ValueError as error:
        raise invalid(key, resource="CheckRun") from error


def _told(state: State, request: Request) -> dict[str, Any]:
    """Return the fields of a check run that a request sets."""
    told: dict[str, Any] = {key: request.text(key) for key in ("external_id", "details_url") if key in request.body}
    output = request.body.get("output", {})
    if not isinstance(output, dict) or (output and not isinstance(output.get("summary"), str)):
        raise invalid("output", resource="CheckRun")
    told |= {key: output[key] for key in ("title", "summary", "text") if key in output}
    if _time(request, "started_at") is not None:
        told["started_at"] = _time(request, "started_at")
    conclusion, status = request.body.get("conclusion"), request.body.get("status")
    if conclusion is not None and conclusion not in CONCLUSIONS:
        raise invalid("conclusion", resource="CheckRun")
    if status is not None and status not in STATUSES:
        raise invalid("status", resource="CheckRun")
    if conclusion is not None:
        return told | {
            "status": "completed",
            "conclusion": conclusion,
            "completed_at": _time(request, "completed_at") or state.now(),
        }
    if status == "completed":
        raise invalid("conclusion", "missing_field", "CheckRun")
    return told if status is None else told | {"status": status, "conclusion": None, "completed_at": None}


def create(state: State, request: Request) -> Answer:
    """POST a check run; only an App (or a job's GITHUB_TOKEN, as `github-actions`) may."""
    if request.identity.kind == "user":
        raise Refusal(403, "You must authenticate via a GitHub App.")
    sha = _resolve(state, request.text("head_sha"))
    run = CheckRun(
        state.new_id(), sha, request.text("name"), reporter(request.identity), "queued", None, state.now(), None
    )
    state.check_runs[run.id] = replace(run, **_told(state, request))
    return Answer(201, answers.check_run(state, state.check_runs[run.id]))


def update(state: State, request: Request) -> Answer:
    """PATCH a check run; only the App that made it may."""
    run = state.check_runs.get(request.values["check_run_id"])
    if run is None:
        raise not_found()
    if request.identity.kind == "user" or run.app_id != reporter(request.identity):
        raise Refusal(
            403, f"Invalid app_id `{run.app_id}` - check run can only be modified by the GitHub App that created it."
        )
    told = _told(state, request) | ({"name": request.text("name")} if "name" in request.body else {})
    state.check_runs[run.id] = replace(run, **told)
    return Answer(200, answers.check_run(state, state.check_runs[run.id]))


def get(state: State, request: Request) -> Answer:
    """GET one check run."""
    run = state.check_runs.get(request.values["check_run_id"])
    if run is None:
        raise not_found()
    return Answer(200, answers.check_run(state, run))


def list_runs(state: State, request: Request) -> Answer:
    """GET the check runs of a commit: the latest of each App and name unless `filter=all`."""
    sha, query = _resolve(state, request.values["ref"]), request.query
    found = [
        run
        for run in sorted(state.check_runs.values(), key=lambda run: run.id, reverse=True)
        if run.head_sha == sha
        and query.get("check_name") in (None, run.name)
        and query.get("status") in (None, run.status)
        and query.get("app_id") in (None, str(run.app_id))
    ]
    if query.get("filter", "latest") == "latest":
        found = list({(run.app_id, run.name): run for run in reversed(found)}.values())[::-1]
    return Answer(
        200,
        {"total_count": len(found), "check_runs": [answers.check_run(state, run) for run in found]},
        items="check_runs",
    )


def create_status(state: State, request: Request) -> Answer:
    """POST a commit status."""
    sha, value = _resolve(state, request.values["sha"]), request.text("state")
    if value not in STATES:
        raise invalid("state", resource="Status")
    told = {
        key: request.text(key) if request.body.get(key) is not None else None for key in ("description", "target_url")
    }
    context = request.text("context", "default")
    status = CommitStatus(
        state.new_id(),
        sha,
        value,
        context,
        told["description"],
        told["target_url"],
        request.identity.login,
        state.now(),
    )
    state.statuses.append(status)
    return Answer(201, answers.commit_status(state, status))


def list_statuses(state: State, request: Request) -> Answer:
    """GET every status of a commit, newest first."""
    sha = _resolve(state, request.values["ref"])
    found = [answers.commit_status(state, status) for status in reversed(state.statuses) if status.sha == sha]
    return Answer(200, found, items=True)


def combined(state: State, request: Request) -> Answer:
    """GET the combined status of a commit: the latest of each context."""
    sha = _resolve(state, request.values["ref"])
    latest = {status.context: status for status in state.statuses if status.sha == sha}
    values = {status.state for status in latest.values()}
    overall = "failure" if values & {"error", "failure"} else "pending" if values != {"success"} else "success"
    body = {
        "state": overall,
        "statuses": [answers.simple_commit_status(state, status) for status in latest.values()],
        "sha": sha,
        "total_count": len(latest),
        "repository": answers.minimal_repository(state),
        "commit_url": f"{state.repository_url}/commits/{sha}",
        "url": f"{state.repository_url}/commits/{sha}/status",
    }
    return Answer(200, body, items="statuses")


ENDPOINTS = (
    Endpoint("GET", f"{REPO}/commits/<path:ref>/check-runs", list_runs, ("checks", "read")),
    Endpoint("GET", f"{REPO}/commits/<path:ref>/status", combined, ("statuses", "read")),
    Endpoint("GET", f"{REPO}/commits/<path:ref>/statuses", list_statuses, ("statuses", "read")),
    Endpoint("POST", f"{REPO}/statuses/<sha>", create_status, ("statuses", "write"), "write"),
    Endpoint("POST", f"{REPO}/check-runs", create, ("checks", "write"), "write"),
    Endpoint("GET", f"{REPO}/check-runs/<int:check_run_id>", get, ("checks", "read")),
    Endpoint("PATCH", f"{REPO}/check-runs/<int:check_run_id>", update, ("checks", "write"), "write"),
)
