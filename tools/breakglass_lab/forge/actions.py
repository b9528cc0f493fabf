"""Workflows, their dispatch and their runs. https://docs.github.com/en/rest/actions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from breakglass_lab.forge import answers, payloads
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid, not_found
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.runs import Run, record_run
from breakglass_lab.forge.state import DEFAULT_BRANCH, State

DIRECTORY = ".github/workflows"
INPUT_LIMIT = 25


def workflow_files(state: State, commit: str) -> list[str]:
    """Return the paths of the workflow files at a commit."""
    entries = state.bare.entries(commit, f"{DIRECTORY}/")
    return [entry.path for entry in entries if entry.kind == "blob" and entry.path.endswith((".yml", ".yaml"))]


def definition(state: State, commit: str, path: str) -> Mapping[str, Any]:
    """Return a workflow file as data (YAML 1.2: `on` is a word); empty when it cannot be read."""
    content = state.bare.file(commit, path)
    try:
        loaded = YAML(typ="safe", pure=True).load(content or b"")
    except (YAMLError, UnicodeDecodeError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _find(state: State, request: Request) -> str:
    """Return the path of the workflow a request names by id or file name, on the default branch; Refusal 404."""
    tip = state.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
    named = request.values["workflow_id"]
    for path in workflow_files(state, tip) if tip is not None else []:
        if named in (path.rpartition("/")[2], path, str(answers.workflow_id(path))):
            return path
    raise not_found()


def _name(state: State, path: str) -> str:
    tip = state.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
    name = None if tip is None else definition(state, tip, path).get("name")
    return name if isinstance(name, str) else path


def list_workflows(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET the workflow files of the default branch."""
    tip = state.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
    paths = workflow_files(state, tip) if tip is not None else []
    shown = [answers.workflow(state, path, _name(state, path)) for path in paths]
    return Answer(200, {"total_count": len(shown), "workflows": shown}, items="workflows")


def get_workflow(state: State, request: Request) -> Answer:
    """GET a workflow by id or file name."""
    path = _find(state, request)
    return Answer(200, answers.workflow(state, path, _name(state, path)))


def dispatch(state: State, request: Request) -> Answer:
    """POST a workflow_dispatch. 204, or 200 with the run when `return_run_details` (always with API version
    2026-03-10).
    """
    path = _find(state, request)
    if state.workflow_states.get(path, "active") != "active":
        raise Refusal(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    ref = request.text("ref").removeprefix("refs/heads/")
    sha = state.bare.tip(f"refs/heads/{ref}")
    if sha is None:
        raise Refusal(422, f"No ref found for: {ref}")
    inputs = _inputs(definition(state, sha, path), request)
    event = payloads.workflow_dispatch(state, path, ref, sha, inputs, request.identity)
    run = record_run(state, path, event, _name(state, path))
    state.emit(replace(event, run_id=run.id), request.identity, even_for_workflows=True)
    later = request.headers.get("x-github-api-version", "") >= "2026-03-10"
    if not later and not request.flag("return_run_details"):
        return Answer(204)
    shown = answers.run(state, run)
    return Answer(200, {"workflow_run_id": run.id, "run_url": shown["url"], "html_url": shown["html_url"]})


def enable(state: State, request: Request) -> Answer:
    """PUT a workflow back to work."""
    state.workflow_states[_find(state, request)] = "active"
    return Answer(204)


def disable(state: State, request: Request) -> Answer:
    """PUT a workflow out of work."""
    state.workflow_states[_find(state, request)] = "disabled_manually"
    return Answer(204)


def _inputs(workflow: Mapping[str, Any], request: Request) -> dict[str, str]:
    """Return the inputs of a dispatch, defaults filled in; Refusal 422 for what the workflow does not take."""
    triggers = workflow.get("on")
    declared: Any = triggers.get("workflow_dispatch") if isinstance(triggers, dict) else None
    if not (isinstance(triggers, dict | list) and "workflow_dispatch" in triggers) and triggers != "workflow_dispatch":
        raise Refusal(422, "Workflow does not have 'workflow_dispatch' trigger")
    known: Mapping[str, Any] = (declared or {}).get("inputs") or {}
    given = request.body.get("inputs") or {}
    if not isinstance(given, dict) or len(given) > INPUT_LIMIT:
        raise invalid("inputs")
    unexpected = sorted(set(given) - set(known))
    if unexpected:
        raise Refusal(422, f"Unexpected inputs provided: {unexpected}")
    return {name: _input(name, declaration or {}, given.get(name)) for name, declaration in known.items()}


def _input(name: str, declaration: Mapping[str, Any], given: object) -> str:
    if given is None or given == "":
        if declaration.get("required") and "default" not in declaration:
            raise Refusal(422, f"Required input '{name}' not provided")
        given = declaration.get("default", "")
    value = str(given).lower() if isinstance(given, bool) else str(given)
    if declaration.get("type") == "choice" and value not in map(str, declaration.get("options", ())):
        raise Refusal(422, f"Provided value '{value}' for input '{name}' not in the list of allowed values")
    return value


def repository_dispatch(state: State, request: Request) -> Answer:
    """POST a repository_dispatch: `event_type` and at most ten keys of `client_payload`."""
    payload = request.body.get("client_payload", {})
    if not isinstance(payload, dict) or len(payload) > 10:
        raise invalid("client_payload")
    tip = state.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
    if tip is None:
        raise not_found()
    event = payloads.repository_dispatch(state, request.text("event_type"), payload, tip, request.identity)
    state.emit(event, request.identity, even_for_workflows=True)
    return Answer(204)


def _runs_answer(state: State, request: Request, runs: list[Run]) -> Answer:
    query = request.query
    found = [
        run
        for run in reversed(runs)
        if query.get("event") in (None, run.event)
        and query.get("branch") in (None, run.head_branch)
        and query.get("head_sha") in (None, run.head_sha)
        and query.get("actor") in (None, run.actor)
        and query.get("status") in (None, run.status, run.conclusion)
    ]
    body = {"total_count": len(found), "workflow_runs": [answers.run(state, run) for run in found]}
    return Answer(200, body, items="workflow_runs")


def list_runs(state: State, request: Request) -> Answer:
    """GET the runs, newest first; `event`, `branch`, `head_sha`, `actor` and `status` select."""
    return _runs_answer(state, request, list(state.runs.values()))


def list_workflow_runs(state: State, request: Request) -> Answer:
    """GET the runs of one workflow."""
    path = _find(state, request)
    return _runs_answer(state, request, [run for run in state.runs.values() if run.workflow == path])


def _find_run(state: State, request: Request) -> Run:
    run = state.runs.get(request.values["run_id"])
    if run is None:
        raise not_found()
    return run


def get_run(state: State, request: Request) -> Answer:
    """GET a run."""
    return Answer(200, answers.run(state, _find_run(state, request)))


def list_jobs(state: State, request: Request) -> Answer:
    """GET the jobs of a run."""
    run = _find_run(state, request)
    jobs = [answers.job(state, run, check) for check in state.check_runs.values() if check.run_id == run.id]
    return Answer(200, {"total_count": len(jobs), "jobs": jobs}, items="jobs")


ACTIONS = f"{REPO}/actions"
READ, WRITE = ("actions", "read"), ("actions", "write")

ENDPOINTS = (
    Endpoint("GET", f"{ACTIONS}/workflows", list_workflows, READ),
    Endpoint("GET", f"{ACTIONS}/workflows/<workflow_id>", get_workflow, READ),
    Endpoint("PUT", f"{ACTIONS}/workflows/<workflow_id>/enable", enable, WRITE, "write"),
    Endpoint("PUT", f"{ACTIONS}/workflows/<workflow_id>/disable", disable, WRITE, "write"),
    Endpoint("POST", f"{ACTIONS}/workflows/<workflow_id>/dispatches", dispatch, WRITE, "write"),
    Endpoint("GET", f"{ACTIONS}/workflows/<workflow_id>/runs", list_workflow_runs, READ),
    Endpoint("GET", f"{ACTIONS}/runs", list_runs, READ),
    Endpoint("GET", f"{ACTIONS}/runs/<int:run_id>", get_run, READ),
    Endpoint("GET", f"{ACTIONS}/runs/<int:run_id>/jobs", list_jobs, READ),
    Endpoint("POST", f"{REPO}/dispatches", repository_dispatch, ("contents", "write"), "write"),
)
