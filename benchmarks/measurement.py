"""Measuring whole processes as users run them, one after the other in turn, and writing what came out as Markdown."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

LAUNCH = Path(__file__).with_name("launch.py")


class LimitMissed(Exception):
    """Something takes more than it may. The measured section is written all the same.

    Attributes:
        lines: the section.
    """

    def __init__(self, missed: Sequence[str], lines: list[str]) -> None:
        super().__init__("\n".join(missed))
        self.lines = lines


@dataclass(frozen=True)
class Command:
    """A command to measure.

    Attributes:
        name: what the table calls it.
        arguments: the program, by its absolute path, and its arguments.
        codes: exit codes that count as success.
        limit: whole seconds after which it is killed.
        stoppable: whether that is a result: it takes more than this.
    """

    name: str
    arguments: Sequence[str]
    directory: Path | None = None
    environment: Mapping[str, str] | None = None
    codes: tuple[int, ...] = (0,)
    limit: int = 300
    stoppable: bool = False


@dataclass(frozen=True)
class Sample:
    """One run: wall and CPU time in seconds, peak resident memory in bytes; a stopped one takes more than these."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stopped: bool = False


@dataclass
class Figures:
    """Named series of seconds, in the order in which the names came up."""

    series: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        """Add a figure to its series."""
        self.series.setdefault(name, []).append(seconds)

    def table(self, heading: str) -> list[str]:
        """The series as Markdown: median, least and greatest."""
        rows = [f"| {name} | {spread(seconds)} |" for name, seconds in self.series.items()]
        return [f"| {heading} | median | min-max |", "|---|--:|--:|", *rows, ""]


def measured(command: Command) -> Sample:
    """Run a command once, in a fresh process.

    Raises:
        RuntimeError: it ended with an exit code that is no success, or took too long.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCH), str(command.limit), *command.arguments],
        cwd=command.directory,
        env=None if command.environment is None else dict(command.environment),
        capture_output=True,
        text=True,
        timeout=command.limit + 60,
        check=True,
    )
    code, seconds, cpu_seconds, peak = done.stdout.split()
    stopped = int(code) == -signal.SIGKILL and float(seconds) >= command.limit
    if stopped and not command.stoppable:
        raise RuntimeError(f"{command.name}: not done after {command.limit} s\n{done.stderr}")
    if not stopped and int(code) not in command.codes:
        raise RuntimeError(f"{command.name}: exit code {code}\n{done.stderr}")
    return Sample(float(seconds), float(cpu_seconds), int(peak), stopped)


def alternated(
    commands: Sequence[Command], rounds: int, before: Callable[[], None] | None = None, *, warm_up: bool = True
) -> dict[str, list[Sample]]:
    """Run the commands in turn, A B A B …, so that what else the machine does meets all alike.

    Args:
        rounds: how often.
        before: brings the world back to where every run begins.
        warm_up: one more round before them, which does not count.

    Returns:
        Name → samples; the samples of one round have one index.
    """
    samples: dict[str, list[Sample]] = {command.name: [] for command in commands}
    for number in range(0 if warm_up else 1, rounds + 1):
        for command in commands:
            if before is not None:
                before()
            sample = measured(command)
            if number > 0:
                samples[command.name].append(sample)
    return samples


def table(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """The samples as Markdown. The first command is ours; the ratios are ours to each other one, round by round."""
    ours, *_ = samples.values()
    lines = [
        "| command | median | min-max | CPU | peak | time: ours ÷ this | CPU: ours ÷ this |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, runs in samples.items():
        time, cpu = "", ""
        if runs is not ours:
            time = _ratio([our.seconds / run.seconds for our, run in zip(ours, runs, strict=True)])
            cpu = _ratio([our.cpu_seconds / run.cpu_seconds for our, run in zip(ours, runs, strict=True)])
        cpu_seconds = duration(median(run.cpu_seconds for run in runs))
        peak = median(run.peak_bytes for run in runs) / 2**20
        taken = spread([run.seconds for run in runs])
        lines.append(f"| {name} | {taken} | {cpu_seconds} | {peak:.0f} MiB | {time} | {cpu} |")
    return [*lines, ""]


def _ratio(ratios: Sequence[float]) -> str:
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"


def spread(seconds: Sequence[float]) -> str:
    """Median, and least to greatest, as two cells of a table."""
    return f"{duration(median(seconds))} | {duration(min(seconds))}-{duration(max(seconds))}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    return f"{seconds * 1000:.0f} ms" if seconds < 9.9995 else f"{seconds:.1f} s"
