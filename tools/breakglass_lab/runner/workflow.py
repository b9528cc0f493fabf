"""Workflow files: which events start them, which jobs they have, and the copy that act understands.

Only what the project's workflows use is understood; anything else is a WorkflowError, never a guess. Syntax:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from breakglass_lab.forge.events import Event
from breakglass_lab.runner.concurrency import Concurrency

PULL_REQUEST_TYPES = ("opened", "reopened", "synchronize")
"""The activity types of `pull_request` and `pull_request_target` that start a workflow which names none."""

NEVER_BROKEN = ("issue_comment", "pull_request_target", "workflow_run")
"""Events for which GitHub records no failed run of a file that is not valid."""

DEFAULT_TIMEOUT_MINUTES = 360

BASH = """bash -o pipefail -c 'bash --noprofile --norc -eo pipefail "$0" </dev/null 2>&1 | cat' {0}"""
"""How GitHub runs `shell: bash` (`jobs.<job_id>.steps[*].shell` of the syntax), and like there without a terminal."""

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_OPERAND = re.compile(r"'(?P<literal>[^'|=]*)'|(?P<path>[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|\[\d+\])+)")


class WorkflowError(Exception):
    """A workflow file is not valid, or uses what the lab does not know; says the file and the key."""


@dataclass(frozen=True)
class Workflow:
    """A workflow file: `path` in the repository, its `name`, and the parsed `document`."""

    path: str
    name: str
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One job of a workflow, one entry of its matrix: what GitHub decides before a runner takes it.

    `name` is what the check run is called. `permissions` is what GITHUB_TOKEN may do; `environment` the environment it
    runs in, or None. `timeout_seconds` is how long it may run.
    """

    id: str
    name: str
    matrix: Mapping[str, str]
    permissions: Mapping[str, str]
    environment: str | None
    concurrency: Concurrency | None
    timeout_seconds: float


def parse(path: str, text: str) -> Workflow:
    """Read a workflow file; WorkflowError when it is no workflow."""
    try:
        # YAML 1.2, in which the key `on` is no boolean.
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise WorkflowError(f"{path}: {error}") from error
    if not isinstance(document, dict) or "on" not in document or not isinstance(document.get("jobs"), dict):
        raise WorkflowError(f"{path}: not a workflow: `on` and `jobs` are needed")
    return Workflow(path, str(document.get("name", path)), document)


def starts(workflow: Workflow, event: Event) -> bool:
    """Tell whether an event starts a workflow, by its `on`: event names, branches and activity types."""
    if event.workflow is not None and event.workflow != workflow.path:
        return False
    triggers = workflow.document["on"]
    if isinstance(triggers, str):
        triggers = [triggers]
    if isinstance(triggers, list):
        triggers = dict.fromkeys(triggers)
    if event.name not in triggers:
        return False
    filters = triggers[event.name] or {}
    if event.name == "schedule":
        return event.payload.get("schedule") in (None, *(entry["cron"] for entry in filters))
    if event.name == "workflow_dispatch":
        return True
    unknown = set(filters) - {"branches", "types"} - ({"workflows"} if event.name == "workflow_run" else set())
    if unknown:
        raise WorkflowError(
            f"{workflow.path}: on.{event.name}: the lab knows branches and types, not {sorted(unknown)}"
        )
    plain = event.name in ("pull_request", "pull_request_target")
    types = filters.get("types", PULL_REQUEST_TYPES if plain else None)
    if types is not None and event.action not in ([types] if isinstance(types, str) else types):
        return False
    if event.name == "workflow_run" and event.payload["workflow_run"]["name"] not in filters.get("workflows", ()):
        return False
    patterns = filters.get("branches")
    return patterns is None or any(fnmatchcase(_branch(event), pattern) for pattern in patterns)


def _branch(event: Event) -> str:
    """The branch that `branches` filters: of a pull request its base, of a workflow_run that of the run before."""
    if event.name == "workflow_run":
        return str(event.payload["workflow_run"]["head_branch"])
    if event.name.startswith("pull_request"):
        return str(event.payload["pull_request"]["base"]["ref"])
    return event.ref.removeprefix("refs/heads/")


def inputs(workflow: Workflow, event: Event) -> dict[str, str]:
    """Return the inputs of a workflow_dispatch with the defaults filled in; empty for other events.

    Raises:
        WorkflowError: an input is unknown, or a required one is missing.
    """
    if event.name != "workflow_dispatch":
        return {}
    triggers = workflow.document["on"]
    declared = ((triggers.get("workflow_dispatch") or {}) if isinstance(triggers, dict) else {}).get("inputs", {})
    unknown = set(event.inputs) - set(declared)
    if unknown:
        raise WorkflowError(f"{workflow.path}: unexpected inputs {sorted(unknown)}")
    values = {name: str(event.inputs.get(name, entry.get("default", ""))) for name, entry in declared.items()}
    missing = [name for name, entry in declared.items() if entry.get("required") and not values[name]]
    if missing:
        raise WorkflowError(f"{workflow.path}: missing inputs {missing}")
    return values


def concurrency(workflow: Workflow, contexts: Mapping[str, Any]) -> Concurrency | None:
    """Return the group of a whole run, or None."""
    return _concurrency(workflow.document.get("concurrency"), contexts)


def jobs(workflow: Workflow, contexts: Mapping[str, Any]) -> list[Job]:
    """Return the jobs of a run, one for each entry of a matrix, in the order of the file.

    `contexts` are GitHub's: `github`, `inputs`, `vars`.
    """
    default = workflow.document.get("permissions", {})
    return [
        _job(workflow, identifier, document, entry, default, contexts)
        for identifier, document in workflow.document["jobs"].items()
        for entry in _matrix(workflow, identifier, document)
    ]


def _job(
    workflow: Workflow,
    identifier: str,
    document: Mapping[str, Any],
    matrix: Mapping[str, str],
    default: object,
    contexts: Mapping[str, Any],
) -> Job:
    where = f"{workflow.path}: jobs.{identifier}"
    for key in ("needs", "container", "services", "uses"):
        if key in document:
            raise WorkflowError(f"{where}.{key}: the lab does not know this")
    permissions = document.get("permissions", default)
    if not isinstance(permissions, dict):
        raise WorkflowError(f"{where}.permissions: must name each permission")
    environment = document.get("environment")
    environment = environment["name"] if isinstance(environment, dict) else environment
    known = {**contexts, "matrix": matrix}
    suffix = f" ({', '.join(matrix.values())})" if matrix else ""
    return Job(
        id=identifier,
        name=evaluate(document["name"], known) if "name" in document else identifier + suffix,
        matrix=matrix,
        permissions=permissions,
        # An empty name is no environment: what an expression comes to may be one.
        environment=None if environment is None else evaluate(environment, known) or None,
        concurrency=_concurrency(document.get("concurrency"), known),
        timeout_seconds=60.0 * document.get("timeout-minutes", DEFAULT_TIMEOUT_MINUTES),
    )


def _matrix(workflow: Workflow, identifier: str, document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    matrix = (document.get("strategy") or {}).get("matrix", {})
    if not all(isinstance(values, list) and key not in ("include", "exclude") for key, values in matrix.items()):
        raise WorkflowError(f"{workflow.path}: jobs.{identifier}.strategy.matrix: the lab knows lists of values only")
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, map(str, values), strict=True))


def _concurrency(value: object, contexts: Mapping[str, Any]) -> Concurrency | None:
    if value is None:
        return None
    key = {"group": value} if isinstance(value, str) else value
    if not isinstance(key, dict) or not {"group"} <= set(key) <= {"group", "cancel-in-progress", "queue"}:
        raise WorkflowError(f"concurrency: {value!r} is not understood")
    cancel = key.get("cancel-in-progress", False)
    return Concurrency(
        group=evaluate(key["group"], contexts),
        cancel_in_progress=evaluate(cancel, contexts) == "true" if isinstance(cancel, str) else bool(cancel),
        keep_pending=key.get("queue") == "max",
    )


def evaluate(text: str, contexts: Mapping[str, Any]) -> str:
    """Replace each `${{ expression }}`; known are properties, entries (`[0]`), 'literals', `==` and `||`.

    https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
    """
    return _EXPRESSION.sub(lambda match: _text(_either(match[1], contexts)), text)


def _either(expression: str, contexts: Mapping[str, Any]) -> object:
    value: object = None
    for alternative in expression.split("||"):
        sides = [_operand(side.strip(), contexts) for side in alternative.split("==")]
        value = sides[0] if len(sides) == 1 else all(side == sides[0] for side in sides)
        if value:
            break
    return value


def _operand(text: str, contexts: Mapping[str, Any]) -> object:
    match = _OPERAND.fullmatch(text)
    if match is None:
        raise WorkflowError(f"the lab does not understand the expression {text!r}")
    if match["literal"] is not None:
        return match["literal"]
    value: Any = contexts
    for name, index in re.findall(r"([\w-]+)|\[(\d+)\]", match["path"]):
        # As on GitHub, what is not there is null.
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def for_act(workflow: Workflow, job: Job, self_repository: str) -> str:
    """Return the workflow with this one job, as JSON (which is YAML), in the words act 0.2.89 knows.

    Taken out is `concurrency`, which the runner keeps itself: act refuses its `queue`. `uses: $/path`, the repository
    at the commit of the workflow, becomes a path in `self_repository` (`OWNER/REPOSITORY@COMMIT`). Scripts for bash run
    without the terminal that act would give them.
    """
    repository, _, commit = self_repository.partition("@")
    document = dict(workflow.document["jobs"][job.id])
    document.pop("concurrency", None)
    shell = workflow.document.get("defaults", {}).get("run", {}).get("shell")
    document["steps"] = [_step(dict(step), f"{repository}/{{}}@{commit}", shell) for step in document["steps"]]
    top = {key: value for key, value in workflow.document.items() if key not in ("concurrency", "jobs")}
    return json.dumps({**top, "jobs": {job.id: document}}, ensure_ascii=False)


def _step(step: dict[str, Any], self_repository: str, shell: str | None) -> dict[str, Any]:
    if step.get("uses", "").startswith("$/"):
        step["uses"] = self_repository.format(step["uses"][2:])
    if "run" in step and step.get("shell", shell) == "bash":
        step["shell"] = BASH
    return step
