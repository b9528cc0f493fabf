"""What several clusters' threads share of main: one repository that is asked one thing at a time, one push for many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event, Lock
from typing import Any

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.apply import apply_all
from breakglass.lifecycle.main import Main
from laws import example
from laws.world import LEDGER, World

THREADS = 8


def test_a_repository_is_never_asked_two_things_at_once() -> None:
    world = World()
    inside, another, begin = Lock(), Event(), Barrier(THREADS)

    class Alone:
        """A repository that fails where two threads are in it."""

        def __init__(self) -> None:
            self.repository = world.repository()

        def files(self, commit: str, *directories: str) -> Any:
            if not inside.acquire(blocking=False):
                another.set()
                raise AssertionError("two threads at once")
            try:
                another.wait(0.05)
                return self.repository.files(commit, *directories)
            finally:
                inside.release()

    alone: Any = Alone()
    main = Main(alone, lambda: world.forge, world.renderer, CelConditions(), "main", LEDGER)  # type: ignore[arg-type, return-value]

    def read(_: int) -> int:
        begin.wait()
        return len(main.repository.files(world.first))

    with ThreadPoolExecutor(THREADS) as threads:
        assert len(set(threads.map(read, range(THREADS)))) == 1


def test_clusters_that_share_main_are_all_open_and_all_recorded() -> None:
    world = World()
    activation = world.open()
    first = world.applier("prod-eu")
    appliers = {name: replace(world.applier(name), main=first.main) for name in example.CLUSTERS}
    results = apply_all({name: lambda applier=applier: applier for name, applier in appliers.items()})  # type: ignore[misc]
    assert [getattr(result, "problems", None) for result in results.values()] == [[], []]
    for name in example.CLUSTERS:
        assert f"activations/{activation.id}/{name}/opened.json" in world.ledger()
