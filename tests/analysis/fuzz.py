"""`make fuzz`: the engine and the naive evaluator on many random clusters, and differences between two states.

Every round has a seed of its own; a failure tells the one that finds it again at once.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable

from agreement import (
    PROFILES,
    befores_and_afters,
    check_difference,
    check_profile,
    check_questions,
    check_replicas,
    clusters_and_questions,
)
from hypothesis import HealthCheck, given, seed, settings

ROUND = 500
"""Clusters between two lines of progress."""
STATES = 100
"""Pairs of states, and clusters as other implementations read them, that go with these."""


def main() -> int:
    """Run rounds until enough clusters agree; 1 at the first failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=20_000, help="how many, at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="of the first round")
    asked = parser.parse_args()
    rounds, begin = -(-asked.clusters // ROUND), time.monotonic()
    for number in range(rounds):
        try:
            _round(asked.seed + number)
        except BaseException:
            _tell(f"failed; to repeat it: make fuzz ARGS='--seed {asked.seed + number} --clusters {ROUND}'")
            raise
        done = number + 1
        seconds = time.monotonic() - begin
        _tell(f"{done * ROUND:,} of {rounds * ROUND:,} clusters and {done * STATES:,} differences in {seconds:.0f} s")
    return 0


def _round(number: int) -> None:
    _run(given(clusters_and_questions())(lambda asked: check_questions(*asked)), number, ROUND)
    _run(
        given(clusters_and_questions(), PROFILES)(lambda asked, profile: check_profile(*asked, profile)), number, STATES
    )
    _run(given(clusters_and_questions())(lambda asked: check_replicas(asked[0], asked[1][:8])), number, STATES)
    _run(given(befores_and_afters())(lambda states: check_difference(*states)), number, STATES)


def _run(law: Callable[[], None], number: int, examples: int) -> None:
    many = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seed(number)(many(law))()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
