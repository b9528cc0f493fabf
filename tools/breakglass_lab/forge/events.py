"""Events of the forge: what starts workflows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """What GitHub hands a workflow run.

    `name`: push, pull_request, pull_request_review, issue_comment, workflow_run, workflow_dispatch, repository_dispatch
    or schedule. `action`: of the payload, where it has one. `payload`: the webhook payload (JSON values). `ref` and
    `sha`: GITHUB_REF and GITHUB_SHA. `actor`: the login that caused it. `inputs`: of a workflow_dispatch. `workflow`
    and `run_id`: for a workflow_dispatch, the path of the one workflow to run and the id of the run that the forge has
    recorded for it. `target`: of a pull_request, the event that starts `pull_request_target` workflows: one webhook on
    GitHub, two triggers. `depth`: of a workflow_run, how many runs before it were started by one.
    """

    name: str
    payload: Mapping[str, Any]
    ref: str
    sha: str
    actor: str
    action: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    workflow: str | None = None
    run_id: int | None = None
    target: "Event | None" = None
    depth: int = 0


Listener = Callable[[Event], None]
