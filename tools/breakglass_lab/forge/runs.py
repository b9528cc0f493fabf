"""Workflow runs and the check runs of their jobs, as the runner reports them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from breakglass_lab.forge.events import Event

if TYPE_CHECKING:
    from breakglass_lab.forge.state import CheckRun, State

RunStatus = Literal["queued", "in_progress", "completed", "waiting", "pending"]
Conclusion = Literal["success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"]


@dataclass(frozen=True)
class Run:
    """A workflow run: `workflow` is the path of its file, `head_sha` the commit its checks stand on."""

    id: int
    number: int
    name: str
    workflow: str
    event: str
    head_branch: str | None
    head_sha: str
    actor: str
    status: RunStatus
    conclusion: Conclusion | None
    created_at: datetime
    updated_at: datetime
    pull_request: int | None = None
    depth: int = 0


class Runs:
    """What the runner reports: runs of workflows, and their jobs as check runs of the App `github-actions`.

    `announce` is told of a run that was requested, is in progress or has completed; with the lock held.
    """

    def __init__(self, state: "State", announce: Callable[[Run, str], None]) -> None:
        self._state = state
        self._announce = announce

    def start(self, workflow: str, event: Event, name: str | None = None) -> Run:
        """Record a queued run of the workflow file at path `workflow` for an event.

        A workflow_dispatch already has its run: that one is returned. `name` is the workflow's own, else its path.
        """
        with self._state.lock:
            if event.run_id is not None:
                known = self._state.runs[event.run_id]
                run = self._replace(known, name=name or known.name)
            else:
                run = record_run(self._state, workflow, event, name)
            self._announce(run, "requested")
            return run

    def update(self, run_id: int, status: RunStatus, conclusion: Conclusion | None = None) -> Run:
        """Set the status of a run (`conclusion` with `completed`); KeyError for an unknown run."""
        with self._state.lock:
            run = self._replace(self._state.runs[run_id], status=status, conclusion=conclusion)
            if status in ("in_progress", "completed"):
                self._announce(run, status)
            return run

    def job(self, run_id: int, name: str, status: RunStatus, conclusion: Conclusion | None = None) -> "CheckRun":
        """Report a job: make or change the check run `name` on the run's head commit, by the App `github-actions`."""
        with self._state.lock:
            return self._state.report_job(self._state.runs[run_id], name, status, conclusion)

    def get(self, run_id: int) -> Run:
        """Return a run; KeyError when there is none."""
        with self._state.lock:
            return self._state.runs[run_id]

    def all(self) -> tuple[Run, ...]:
        """Return every run, oldest first."""
        with self._state.lock:
            return tuple(self._state.runs.values())

    def _replace(self, run: Run, **changes: Any) -> Run:
        self._state.runs[run.id] = replace(run, updated_at=self._state.now(), **changes)
        return self._state.runs[run.id]


def record_run(state: "State", workflow: str, event: Event, name: str | None = None) -> Run:
    """Add a queued run to the state and return it; call with the lock held."""
    pull = event.payload.get("pull_request")
    head = pull["head"] if pull is not None else {"ref": event.ref.removeprefix("refs/heads/"), "sha": event.sha}
    run = Run(
        id=state.new_id(),
        number=1 + sum(run.workflow == workflow for run in state.runs.values()),
        name=name or workflow,
        workflow=workflow,
        event=event.name,
        head_branch=head["ref"],
        head_sha=head["sha"],
        actor=event.actor,
        status="queued",
        conclusion=None,
        created_at=state.now(),
        updated_at=state.now(),
        pull_request=None if pull is None else pull["number"],
        depth=event.depth + 1 if event.name == "workflow_run" else 0,
    )
    state.runs[run.id] = run
    return run
