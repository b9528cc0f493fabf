"""What a job knows of its run: the `github` context, the GITHUB_ variables, and the workload its ID tokens speak for.

https://docs.github.com/en/actions/reference/workflows-and-actions/variables
"""

from __future__ import annotations

from typing import Any

from breakglass_lab.forge.events import Event
from breakglass_lab.forge.runs import Run
from breakglass_lab.issuer import Workload
from breakglass_lab.runner.run import JobRun
from breakglass_lab.runner.workflow import Workflow


def github(file: Workflow, event: Event, record: Run) -> dict[str, Any]:
    """Return the properties of the `github` context that decide names and concurrency groups."""
    # Set for these two events only, not for a review.
    pull = event.payload["pull_request"] if event.name in ("pull_request", "pull_request_target") else None
    return {
        "actor": event.actor,
        "base_ref": None if pull is None else pull["base"]["ref"],
        "event": event.payload,
        "event_name": event.name,
        "head_ref": None if pull is None else pull["head"]["ref"],
        "ref": event.ref,
        "ref_name": _ref_name(event),
        "repository": event.payload["repository"]["full_name"],
        "run_id": record.id,
        "sha": event.sha,
        "workflow": file.name,
    }


def variables(job: JobRun, server_url: str) -> dict[str, str]:
    """Return the variables that GitHub sets for every step and act 0.2.89 does not know by itself.

    `server_url` has no slash at the end; the APIs answer below it, as on GitHub Enterprise Server. SHA_REF is what act
    calls the commit.
    """
    run = job.run
    repository = run.event.payload["repository"]
    context = github(run.file, run.event, run.record)
    return {
        "GITHUB_API_URL": f"{server_url}/api/v3",
        "GITHUB_BASE_REF": context["base_ref"] or "",
        "GITHUB_GRAPHQL_URL": f"{server_url}/api/graphql",
        "GITHUB_HEAD_REF": context["head_ref"] or "",
        "GITHUB_REF": run.event.ref,
        "GITHUB_REF_NAME": context["ref_name"],
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_REPOSITORY": repository["full_name"],
        "GITHUB_REPOSITORY_ID": str(repository["id"]),
        "GITHUB_REPOSITORY_OWNER": repository["owner"]["login"],
        "GITHUB_REPOSITORY_OWNER_ID": str(repository["owner"]["id"]),
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": str(run.record.id),
        "GITHUB_RUN_NUMBER": str(run.record.number),
        "GITHUB_SERVER_URL": server_url,
        "GITHUB_TRIGGERING_ACTOR": run.event.actor,
        "GITHUB_WORKFLOW_REF": f"{repository['full_name']}/{run.file.path}@{run.event.ref}",
        "GITHUB_WORKFLOW_SHA": run.event.sha,
        "SHA_REF": run.event.sha,
    }


def workload(job: JobRun) -> Workload:
    """Return whom the job's ID tokens speak for."""
    run = job.run
    repository = run.event.payload["repository"]
    return Workload(
        repository=repository["full_name"],
        repository_id=str(repository["id"]),
        owner_id=str(repository["owner"]["id"]),
        ref=run.event.ref,
        sha=run.event.sha,
        workflow=run.file.path,
        workflow_name=run.file.name,
        event_name=run.event.name,
        actor=run.event.actor,
        run_id=str(run.record.id),
        run_number=str(run.record.number),
        environment=job.job.environment,
    )


def _ref_name(event: Event) -> str:
    return event.ref.removeprefix("refs/heads/").removeprefix("refs/pull/")
