"""The machine a job runs on: fresh for each job, with what GitHub would give that job and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from breakglass_lab.forge import Forge, environments
from breakglass_lab.forge.environments import Environment
from breakglass_lab.forge.runs import Conclusion
from breakglass_lab.issuer import Issuer, TokenRequest
from breakglass_lab.runner import act, contexts, processes
from breakglass_lab.runner.run import JobRun
from breakglass_lab.runner.workflow import for_act

SUCCEEDED = "Job succeeded"
"""What act's log says at the end of a job that ran well; one that its `if` skipped ends well without it."""


class Machine:
    """Runs jobs, any number at a time, each with its own directories, tokens and session of processes."""

    def __init__(
        self,
        forge: Forge,
        issuer: Issuer,
        secrets: Mapping[str | None, Mapping[str, str]],
        variables: Mapping[str | None, Mapping[str, str]],
        path: Path,
        environment: Mapping[str, str],
        work: Path,
        guard: processes.Guard,
    ) -> None:
        self._forge = forge
        self._issuer = issuer
        self._secrets = secrets
        self._variables = variables
        self._path = path
        self._environment = environment
        self._work = work
        self._guard = guard

    def run(self, job: JobRun, began: Callable[[JobRun], None]) -> Conclusion:
        """Run a job to its end and set its `seconds`; `began` hears of it once its processes exist.

        A job whose machine dies has failed. One that outlives its `timeout-minutes` is killed and was cancelled. One
        whose ref may not use the environment it names fails before it has a machine.
        """
        job.environment = self._environment_of(job)
        if job.environment is not None and not environments.admits(
            self._forge.state, job.environment, job.run.event.ref
        ):
            told = f'"{job.run.event.ref}" is not allowed to deploy to {job.environment.name}'
            job.log.write_text(f"{told} due to environment protection rules.\n", encoding="utf-8")
            job.seconds = 0.0
            return "failure"
        request = self._token_request(job)
        work = Path(tempfile.mkdtemp(prefix="job-", dir=self._work))
        try:
            command = act.command(self._layout(job, request), work, self._path / "act")
            environment = {
                **act.process_environment(work, self._path, self._issuer.certificate_authority_file),
                processes.VARIABLE: job.tracking_id,
            }
            return self._execute(job, command, environment, began)
        finally:
            if request is not None:
                self._issuer.dismiss(request)
            shutil.rmtree(work)

    def _environment_of(self, job: JobRun) -> Environment | None:
        """Return the environment a job names, made where there is none yet, or None."""
        name, state = job.job.environment, self._forge.state
        if name is None:
            return None
        with state.lock:
            return environments.find(state, name) or environments.create(state, name)

    def _execute(
        self, job: JobRun, command: list[str], environment: Mapping[str, str], began: Callable[[JobRun], None]
    ) -> Conclusion:
        start = time.monotonic()
        self._guard.add(job.tracking_id)
        with job.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            began(job)
            try:
                status = process.wait(job.job.timeout_seconds)
            except subprocess.TimeoutExpired:
                status = None
            # A machine ends with its job: nothing that a step left in the background stays.
            processes.kill(job.tracking_id)
            process.wait()
        self._guard.remove(job.tracking_id)
        job.seconds = time.monotonic() - start
        return "cancelled" if status is None else _conclusion(status, job.log)

    def _token_request(self, job: JobRun) -> TokenRequest | None:
        if not job.run.trusted or job.job.permissions.get("id-token") != "write":
            return None
        return self._issuer.admit(contexts.workload(job))

    def _layout(self, job: JobRun, request: TokenRequest | None) -> act.Layout:
        run, name = job.run, None if job.environment is None else job.environment.name
        environment = {
            **self._environment,
            **contexts.variables(job, self._forge.url),
            processes.VARIABLE: job.tracking_id,
        }
        if request is not None:
            environment["ACTIONS_ID_TOKEN_REQUEST_URL"] = request.url
            environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = request.token
        secrets = {"GITHUB_TOKEN": self._forge.workflow_token(_token_permissions(job))}
        variables: dict[str, str] = {}
        for scope in dict.fromkeys((None, name)) if run.trusted else ():
            secrets.update(self._secrets.get(scope, {}))
            variables.update(self._variables.get(scope, {}))
        self_repository = f"{run.event.payload['repository']['full_name']}@{run.event.sha}"
        return act.Layout(
            workflow=for_act(run.file, job.job, self_repository),
            job=job.job.id,
            matrix=job.matrix,
            event=run.event.name,
            payload=run.payload,
            actor=run.event.actor,
            environment=environment,
            secrets=secrets,
            variables=variables,
            self_repository=self_repository,
            checkout=run.checkout,
        )


def _token_permissions(job: JobRun) -> dict[str, str]:
    """What GITHUB_TOKEN may do, in the words of the API; a pull request from a fork reads at most."""
    return {
        name.replace("-", "_"): level if job.run.trusted else "read"
        for name, level in job.job.permissions.items()
        if name != "id-token" and level != "none"
    }


def _conclusion(status: int, log: Path) -> Conclusion:
    if status != 0:
        return "failure"
    return "success" if SUCCEEDED in log.read_text(encoding="utf-8", errors="replace") else "skipped"
