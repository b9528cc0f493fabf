"""Events of the forge start workflow files, as GitHub does it; see `Runner`."""

from __future__ import annotations

import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Self

from breakglass_lab.forge import Event, Forge, environments
from breakglass_lab.forge.bare import ZERO, Bare
from breakglass_lab.forge.runs import Conclusion, Run
from breakglass_lab.issuer import Issuer
from breakglass_lab.runner import contexts, processes, workflow
from breakglass_lab.runner.concurrency import Groups
from breakglass_lab.runner.machine import Machine
from breakglass_lab.runner.run import JobRun, WorkflowRun
from breakglass_lab.runner.workflow import WorkflowError

OWN_TESTS = frozenset({".github/workflows/ci.yml"})
"""Workflows that are never run: those that would run the tests in the tests."""

STOP_SECONDS = 30
"""How long the end of killed jobs may take."""

Settings = Mapping[str | None, Mapping[str, str]]
"""Names to values by environment; those of the repository stand under None."""


class Runner:
    """Listens to a forge and runs its workflows; a context manager that ends everything it started."""

    def __init__(
        self,
        forge: Forge,
        directory: Path,
        *,
        secrets: Settings,
        variables: Settings,
        issuer: Issuer,
        path: Path,
        environment: Mapping[str, str],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._forge = forge
        self._directory = directory
        self._variables = variables
        self._work = Path(tempfile.mkdtemp(prefix="breakglass-runner-", dir=_directory_without_spaces()))
        self._guard = processes.Guard(self._work)
        self._machine = Machine(forge, issuer, secrets, variables, path, environment, self._work, self._guard)
        # The lock is never held while the forge is asked: it has one of its own.
        self._condition = Condition()
        self._groups: Groups[WorkflowRun | JobRun] = Groups()
        self._unfinished: set[WorkflowRun] = set()
        self._runs: list[JobRun] = []
        self._threads: list[Thread] = []
        self._stopped = False
        self._checkouts: dict[str, Path] = {}
        self._files: dict[Path, workflow.Workflow] = {}
        for name in dict.fromkeys((*secrets, *variables)):
            if name is not None:
                environments.create_for_default_branch(forge.state, name)
        self._checkout_lock = Lock()
        forge.subscribe(self._listen)

    @classmethod
    def start(
        cls,
        forge: Forge,
        directory: Path,
        *,
        secrets: Settings,
        variables: Settings,
        issuer: Issuer,
        path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Begin to listen.

        Args:
            forge: whose events start workflows.
            directory: where the logs go, one file a job.
            secrets: what `secrets` holds, by environment. An environment that the forge does not know yet is made, for
                the default branch alone.
            variables: what `vars` holds, by environment.
            issuer: who signs the ID tokens of jobs.
            path: directory of the programs under test, `act` among them; first on a job's PATH.
            environment: variables that the machines themselves bring into every job, as a self-hosted runner's do.
        """
        return cls(
            forge,
            directory,
            secrets=secrets,
            variables=variables,
            issuer=issuer,
            path=path,
            environment=environment or {},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill what runs, cancel what waits, and start nothing more; again is no error."""
        with self._condition:
            if self._stopped:
                return
            self._stopped = True
        for job in self.runs:
            if job.status == "in_progress":
                job.kill()
        try:
            with self._condition:
                if not self._condition.wait_for(lambda: not self._unfinished, STOP_SECONDS):
                    raise TimeoutError(f"killed jobs did not end within {STOP_SECONDS} s")
            for thread in self._threads:
                thread.join()
        finally:
            self._guard.close()

    @property
    def runs(self) -> tuple[JobRun, ...]:
        """Every job that ran, runs or waits, oldest first."""
        with self._condition:
            return tuple(self._runs)

    def wait(self, *, timeout: float, until: Callable[[Sequence[JobRun]], bool] | None = None) -> None:
        """Wait until nothing runs or waits any more, or until `until` says yes to the jobs there are.

        Raises:
            TimeoutError: that did not come about within `timeout` seconds; says what is not over.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._condition:
                done = self._condition.wait_for(
                    lambda: until(tuple(self._runs)) if until is not None else not self._unfinished,
                    deadline - time.monotonic(),
                )
                open_jobs = [f"{job.name} {job.status} ({job.log})" for job in self._runs if job.conclusion is None]
            if not done:
                raise TimeoutError(f"after {timeout} s: {', '.join(open_jobs) or 'no job is left'}")
            if until is not None:
                return
            # What the last jobs did may start further ones: their events are delivered a moment later.
            self._forge.settle(max(deadline - time.monotonic(), 0))
            with self._condition:
                if not self._unfinished:
                    return

    def _listen(self, event: Event) -> None:
        """Start what an event starts; the workflow files are those of the event's commit."""
        if self._stopped or event.sha == ZERO or not self._forge.state.actions_enabled:
            # Of a branch that was deleted the workflow files are gone too.
            return
        checkout = self._checkout(event.sha)
        for file in sorted((checkout / ".github" / "workflows").glob("*.y*ml")):
            path = str(file.relative_to(checkout))
            state = self._forge.state.workflow_states.get(path, "active")
            if path not in OWN_TESTS and state == "active":
                self._begin(path, event, checkout)
        if event.target is not None:
            self._listen(event.target)

    def _checkout(self, commit: str) -> Path:
        """The directory that holds a commit's `.github`, extracted once."""
        with self._checkout_lock:
            if commit not in self._checkouts:
                directory = self._work / "checkouts" / commit
                directory.mkdir(parents=True)
                bare = Bare(self._forge.bare)
                if bare.run("ls-tree", "--name-only", commit, "--", ".github"):
                    archive = bare.run("archive", "--format=tar", commit, "--", ".github")
                    _extract(archive, directory)
                self._checkouts[commit] = directory
            return self._checkouts[commit]

    def _begin(self, path: str, event: Event, checkout: Path) -> None:
        """Start one workflow file, if the event starts it. A file that is not valid is a failed run without jobs."""
        record: Run | None = None
        try:
            file = self._file(path, checkout)
            if not workflow.starts(file, event):
                return
            record = self._forge.runs.start(path, event, file.name)
            run = self._workflow_run(file, event, record, checkout)
        except WorkflowError as error:
            if record is None and event.name in workflow.NEVER_BROKEN:
                return
            record = record or self._forge.runs.start(path, event)
            (self._directory / f"{record.id}.log").write_text(f"{error}\n", encoding="utf-8")
            self._forge.runs.update(record.id, "completed", "failure")
            return
        with self._condition:
            if self._stopped:
                return
            self._runs += run.jobs
            self._unfinished.add(run)
        self._enter(run)

    def _file(self, path: str, checkout: Path) -> workflow.Workflow:
        """Return a workflow file, read once; WorkflowError when it is none."""
        if checkout / path not in self._files:
            self._files[checkout / path] = workflow.parse(path, (checkout / path).read_text(encoding="utf-8"))
        return self._files[checkout / path]

    def _workflow_run(self, file: workflow.Workflow, event: Event, record: Run, checkout: Path) -> WorkflowRun:
        inputs = workflow.inputs(file, event)
        known = {
            "github": contexts.github(file, event, record),
            "inputs": inputs,
            "vars": self._variables.get(None, {}),
        }
        run = WorkflowRun(record, event, file, inputs, checkout, workflow.concurrency(file, known))
        for number, job in enumerate(workflow.jobs(file, known)):
            run.jobs.append(JobRun(run, job, self._directory / f"{record.id}-{number}-{Path(file.path).stem}.log"))
        return run

    def _enter(self, entrant: WorkflowRun | JobRun) -> None:
        """Let a run or a job begin, or wait for its turn in its concurrency group."""
        with self._condition:
            entry = self._groups.enter(entrant)
        for other in entry.cancelled:
            self._cancel(other)
        if entry.stopped is not None:
            self._interrupt(entry.stopped)
        if entry.starts:
            self._start(entrant)

    def _start(self, entrant: WorkflowRun | JobRun) -> None:
        if isinstance(entrant, WorkflowRun):
            self._forge.runs.update(entrant.record.id, "in_progress")
            for job in entrant.jobs:
                self._forge.runs.job(entrant.record.id, job.name, "queued")
            for job in entrant.jobs:
                self._enter(job)
            return
        thread = Thread(target=self._run, args=(entrant,), name=entrant.name)
        with self._condition:
            self._threads.append(thread)
        thread.start()

    def _run(self, job: JobRun) -> None:
        """Run a job on its machine; a thread's work."""
        conclusion: Conclusion = "failure"
        try:
            if not (job.cancelled or self._stopped):
                self._forge.runs.job(job.run.record.id, job.name, "in_progress")
                conclusion = self._machine.run(job, self._began)
            if job.cancelled or self._stopped:
                conclusion = "cancelled"
        finally:
            self._finish(job, conclusion)

    def _began(self, job: JobRun) -> None:
        with self._condition:
            job.status = "in_progress"
            unwanted = job.cancelled or self._stopped
            self._condition.notify_all()
        if unwanted:
            job.kill()

    def _interrupt(self, running: WorkflowRun | JobRun) -> None:
        """Cancel what runs, because something newer with `cancel-in-progress` came."""
        for job in running.jobs if isinstance(running, WorkflowRun) else [running]:
            with self._condition:
                job.cancelled = True
                began = job.status == "in_progress"
            if began:
                job.kill()

    def _cancel(self, pending: WorkflowRun | JobRun) -> None:
        """Cancel what waits, because something newer took its place."""
        if isinstance(pending, JobRun):
            self._finish(pending, "cancelled", held=False)
            return
        for job in pending.jobs:
            self._forge.runs.job(pending.record.id, job.name, "completed", "cancelled")
            with self._condition:
                job.status, job.conclusion = "completed", "cancelled"
        self._finish_run(pending, held=False)

    def _finish(self, job: JobRun, conclusion: Conclusion, *, held: bool = True) -> None:
        """Conclude a job; if it `held` its concurrency group, the next one begins."""
        self._forge.runs.job(job.run.record.id, job.name, "completed", conclusion)
        with self._condition:
            job.status, job.conclusion = "completed", conclusion
            following = self._groups.leave(job) if held else None
            last = all(other.conclusion is not None for other in job.run.jobs)
            self._condition.notify_all()
        if following is not None:
            self._start(following)
        if last:
            self._finish_run(job.run)

    def _finish_run(self, run: WorkflowRun, *, held: bool = True) -> None:
        self._forge.runs.update(run.record.id, "completed", run.conclusion)
        with self._condition:
            following = self._groups.leave(run) if held else None
            self._unfinished.discard(run)
            self._condition.notify_all()
        if following is not None:
            self._start(following)


def _directory_without_spaces() -> str | None:
    """Where work directories go: act splits the paths of its scripts at spaces. None is the system's choice."""
    return "/tmp" if " " in tempfile.gettempdir() else None


def _extract(archive: bytes, directory: Path) -> None:
    """Write an archive's plain files below a directory. `extractall` can refuse the rest since Python 3.11.4 only."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            content = files.extractfile(member) if member.isfile() else None
            if content is not None:
                target = directory / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
