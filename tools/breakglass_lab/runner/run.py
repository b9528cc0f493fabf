"""Workflow runs and their jobs, as the runner keeps them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breakglass_lab.forge.environments import Environment
from breakglass_lab.forge.events import Event
from breakglass_lab.forge.runs import Conclusion, Run, RunStatus
from breakglass_lab.runner import processes
from breakglass_lab.runner.concurrency import Concurrency
from breakglass_lab.runner.workflow import Job, Workflow


@dataclass(eq=False)
class WorkflowRun:
    """A run of a workflow file: `record` is the forge's, `checkout` holds the `.github` of the event's commit."""

    record: Run
    event: Event
    file: Workflow
    inputs: Mapping[str, str]
    checkout: Path
    concurrency: Concurrency | None
    jobs: list[JobRun] = field(default_factory=list)

    @property
    def payload(self) -> dict[str, Any]:
        """The event's payload as a job finds it in GITHUB_EVENT_PATH."""
        return {**self.event.payload, **({"inputs": dict(self.inputs)} if self.inputs else {})}

    @property
    def trusted(self) -> bool:
        """Tell whether the run gets secrets: one that runs the code of a pull request from a fork does not."""
        pull = self.event.payload.get("pull_request")
        if pull is None or self.event.name == "pull_request_target":
            return True
        repository = pull["head"]["repo"]
        return repository is not None and bool(repository["id"] == self.event.payload["repository"]["id"])

    @property
    def conclusion(self) -> Conclusion:
        """What a run concludes when its jobs have: the worst of them."""
        conclusions = {job.conclusion for job in self.jobs}
        ranked: tuple[Conclusion, ...] = ("failure", "cancelled", "success")
        return next((conclusion for conclusion in ranked if conclusion in conclusions), "skipped")


@dataclass(eq=False)
class JobRun:
    """One job of a run, one entry of its matrix.

    `conclusion` is None until it is over, `seconds` is the time from start to end of its machine. `log` is what act
    printed, with secrets masked; a job that never ran has none. `environment` is the forge's, from when the job begins.
    `tracking_id` marks its processes.
    """

    run: WorkflowRun = field(repr=False)
    job: Job
    log: Path
    status: RunStatus = "queued"
    conclusion: Conclusion | None = None
    seconds: float | None = None
    cancelled: bool = False
    killed: bool = False
    environment: Environment | None = None
    tracking_id: str = field(default_factory=lambda: f"github_{uuid.uuid4()}")

    @property
    def workflow(self) -> str:
        """The path of the workflow file."""
        return self.run.file.path

    @property
    def name(self) -> str:
        """The name of the check run."""
        return self.job.name

    @property
    def matrix(self) -> Mapping[str, str]:
        """The entry of the matrix."""
        return self.job.matrix

    @property
    def concurrency(self) -> Concurrency | None:
        """The group of the job."""
        return self.job.concurrency

    def kill(self) -> None:
        """End the job's machine: SIGKILL to every process of it, without notice. Nothing happens when none runs."""
        self.killed = True
        processes.kill(self.tracking_id)
