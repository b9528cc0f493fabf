"""Random emergencies with foreign hands, faults and death in them, on a real API server: all laws hold in 300 runs."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from breakglass_lab.controlplane import ControlPlane
from chaos.scenario import EVENTS, scenario
from chaos.soak import run_many, told

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

RUNS = 300
FIRST = 0 if os.environ.get("CI") else secrets.randbelow(10**9)
"""The same runs every time where CI is set, new ones at a desk."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("chaos"), name="prod-eu") as started:
        yield started


def test_the_laws_hold_whatever_happens(plane: ControlPlane) -> None:
    seen, failures = Counter[str](), []
    for result in run_many(plane, range(FIRST, FIRST + RUNS), workers=2):
        seen += result.seen
        failures += [told(result)] if result.problems else []
    assert not failures, "\n\n".join(failures[:3])
    enough = {
        "opened": 300,
        "closed": 200,
        "deaths": 50,
        "faults": 100,
        "foreign": 50,
        "meanwhile": 50,
        "refused": 10,
    }
    assert {what: seen[what] for what in enough if seen[what] < enough[what]} == {}, "these runs show too little"


def test_a_seed_makes_the_same_run_again(plane: ControlPlane) -> None:
    seeds = [FIRST, FIRST + 1, FIRST + 2]
    first, second = ([result.story for result in run_many(plane, seeds, workers=1)] for _ in range(2))
    assert first == second


def test_everything_that_may_happen_happens() -> None:
    made = [scenario(seed, ("a", "b"), "-x0") for seed in range(100)]
    assert {event.name for each in made for event in each.events} == EVENTS.keys()
    assert {manifest["kind"] for each in made for manifest in each.baseline} == {"ConfigMap", "NetworkPolicy", "Role"}
    overlays = [content for each in made for path, content in each.files.items() if path.startswith("overlays/")]
    for kind in (b'"resources"', b'"patches"', b'"$patch": "delete"'):
        assert any(kind in content for content in overlays)
