"""When the jobs of workflow runs and their steps begin and end, read off the runner while they run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from breakglass_lab.platform import Platform
from breakglass_lab.runner.run import JobRun

_EVERY_SECONDS = 0.02
_STEP = re.compile(r"\] (?:⭐ Run Main|  ✅  Success - Main) (?P<name>[^\[\n]+?)(?: \[[^\]\n]*\])?$", re.MULTILINE)


@dataclass
class Times:
    """One job: when it was first seen, when its machine began, and its steps; by `time.monotonic`."""

    job: JobRun
    seen: float
    began: float = 0.0
    steps: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Name of a step → its begin and its end; the end is 0 while it runs."""


@dataclass
class Timeline:
    """The jobs since the watch began, by name, the latest of a name."""

    jobs: dict[str, Times] = field(default_factory=dict)


@contextmanager
def watched(on: Platform) -> Iterator[Timeline]:
    """Watch the jobs that begin from now on.

    Raises:
        ValueError: the platform runs no workflows.
    """
    if on.runner is None:
        raise ValueError("there is no runner to watch")
    runner, timeline, over = on.runner, Timeline(), Event()
    before = len(runner.runs)

    def watch() -> None:
        while not over.wait(_EVERY_SECONDS):
            for job in runner.runs[before:]:
                _look(timeline, job)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield timeline
    finally:
        over.set()
        thread.join()


def _look(timeline: Timeline, job: JobRun) -> None:
    now = time.monotonic()
    known = timeline.jobs.get(job.name)
    if known is None or known.job is not job:
        known = timeline.jobs[job.name] = Times(job, now)
    if job.status != "queued" and not known.began:
        known.began = now
    log = job.log.read_text(encoding="utf-8", errors="replace") if job.log.exists() else ""
    for found in _STEP.finditer(log):
        name, ended = found["name"], "Success" in found.group()
        begin, end = known.steps.get(name, (now, 0.0))
        known.steps[name] = (begin, end or (now if ended else 0.0))
