"""`make soak`: many random emergencies on one real API server, in several processes.

A failure tells the command that plays it again.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from breakglass.adapters import kubernetes_parallel
from breakglass.lifecycle import apply as applying
from breakglass.model import document
from breakglass_lab.controlplane import ControlPlane, install
from chaos.run import Result, clean, play
from chaos.scenario import scenario
from chaos.wire import ApiServer

BATCH = 10
"""Seeds that a process takes at once."""
_TOLD = 200

_worker: tuple[ApiServer, tuple[str, str]] | None = None


def run_many(plane: ControlPlane, seeds: Iterable[int], workers: int) -> Iterator[Result]:
    """Play the scenarios of these seeds, in any order."""
    waiting = list(seeds)
    batches = [waiting[begin : begin + BATCH] for begin in range(0, len(waiting), BATCH)]
    names = [name for number in range(workers) for name in _names(number)]
    install(plane, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    with ProcessPoolExecutor(workers, context, _begin, (plane.kubeconfig, numbers)) as processes:
        for results in processes.map(_play, batches):
            yield from results


def _names(number: int) -> tuple[str, str, str]:
    """Namespaces of a process: one for the records, two to write in."""
    return f"chaos-{number}", f"chaos-{number}-data", f"chaos-{number}-ops"


def _begin(kubeconfig: Path, numbers: Any) -> None:
    """What a process does once."""
    global _worker
    space, *namespaces = _names(numbers.get())
    _worker = ApiServer(kubeconfig, space), (namespaces[0], namespaces[1])
    # In order, so that the same seed makes the same run; and nobody waits for another writer for real.
    kubernetes_parallel.WORKERS = 1
    applying.WRITER_PATIENCE = timedelta(0)
    parse = cache(document.load)

    def load(content: bytes, file: str) -> tuple[Any, document.Lines]:
        data, lines = parse(content, file)
        return copy.deepcopy(data), lines

    document.load = load


def _play(seeds: list[int]) -> list[Result]:
    assert _worker is not None
    server, namespaces = _worker
    results = []
    for number, seed in enumerate(seeds):
        with patch("breakglass.adapters.retry._random", Random(seed)):
            results.append(play(server, scenario(seed, namespaces, f"-x{number}"), namespaces))
        if results[-1].problems or number == len(seeds) - 1:
            clean(server, namespaces)
    return results


def told(result: Result) -> str:
    """A failure for people."""
    lines = [*result.story[-_TOLD:], *(f"seed {result.seed}: {problem}" for problem in result.problems)]
    return "\n".join([*lines, f"to repeat it: make soak ARGS='--seed {result.seed} --runs 1'"])


def main() -> int:
    """Play runs; 1 where a law did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="of the first run")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--story", action="store_true", help="tell what happened, also where all is well")
    asked = parser.parse_args()
    failed, seen, begin = [], Counter[str](), time.monotonic()
    with (
        tempfile.TemporaryDirectory() as directory,
        ControlPlane.start(Path(directory) / "plane", name="prod-eu") as plane,
    ):
        for number, result in enumerate(run_many(plane, range(asked.seed, asked.seed + asked.runs), asked.workers), 1):
            seen += result.seen
            if result.problems or asked.story:
                _tell(told(result))
            failed += [result.seed] if result.problems else []
            if number % 100 == 0 or number == asked.runs:
                seconds = time.monotonic() - begin
                _tell(f"{number:,} of {asked.runs:,} runs, {len(failed)} failed, {seconds:.0f} s: {_counts(seen)}")
    if failed:
        _tell(f"failed seeds: {', '.join(map(str, failed))}")
    return 1 if failed else 0


def _counts(seen: Counter[str]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in sorted(seen.items()))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
