"""One life on a real bare repository, with real clones and the real kustomize: the laws hold there, too."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from breakglass.adapters.git import GitRepository
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.lifecycle.audit import stories
from breakglass.model.errors import NotFound
from laws import example
from laws.world import HALF_HOUR, LEDGER, World
from ports.git_remote import GitRemote


@pytest.fixture
def world(tmp_path: Path) -> World:
    remote, numbers = GitRemote.create(tmp_path / "acme platform.git"), itertools.count()
    return World(
        remote=remote,
        renderer=KustomizeRenderer(),
        cloned=lambda: GitRepository(remote.clone(tmp_path / f"clone {next(numbers)}")),
    )


def test_windows_open_end_by_the_clock_are_recorded_and_told(world: World) -> None:
    windows = {world.open(overlay).id: overlay for overlay in example.OVERLAYS}
    early = world.open("lift-isolation", 3 * HALF_HOUR)
    world.apply("prod-eu")
    assert world.servers["prod-eu"].state() == example.state(windows)
    world.writes.kill(4, "after")
    assert world.killed(lambda: world.apply("prod-us"))
    world.close_early(early.id)
    assert world.expire().closed == [early.id]
    world.apply_everywhere()
    for server in world.servers.values():
        assert server.state() == example.state(windows)
    world.clock.tick(HALF_HOUR)
    world.agent("prod-us")
    assert world.is_baseline("prod-us")
    assert sorted(world.expire().closed) == sorted(windows)
    world.apply_everywhere()
    assert world.on_main() == set()
    assert world.expire().waiting == []
    told = {item.window.id: item for item in stories(world.repository(), "main", LEDGER)}
    assert told.keys() == {*windows, early.id}
    for item in told.values():
        assert item.approved_by == ("ada", "grace")
        assert item.closed.keys() == item.opened.keys()
        assert item.closed.keys() | item.refused.keys() == set(example.CLUSTERS)
        assert item.evidence is not None
    assert all(world.is_baseline(cluster) and not world.inventories(cluster) for cluster in example.CLUSTERS)


def test_what_was_merged_too_late_or_by_nobody_opens_nothing(world: World) -> None:
    _, late = world.ask()
    world.approve(late)
    lonely, pull = world.ask("lift-isolation")
    world.clock.tick(timedelta(hours=2))
    world.merge(late)
    _, fresh = world.ask("widen-metrics")
    world.merge(fresh)
    applied = world.apply("prod-eu")
    assert {finding.id for findings in applied.refused.values() for finding in findings} == {
        "activation-stale",
        "approval-missing",
    }
    assert world.is_baseline("prod-eu")
    assert world.forge.current(pull.number).state == "open"
    with pytest.raises(NotFound):
        world.close_early(lonely.id)
