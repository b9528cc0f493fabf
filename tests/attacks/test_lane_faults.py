"""GitHub out of order, in every call that closing makes: it gets there, or says so loudly; when it is back, it closes.

The calls are not listed by hand: a first run is watched, and every route that it asked is broken in every way.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from attacks.scene import APP, Person, Scene, cluster, organisation, seeded
from attacks.test_gate_faults import WAYS, Hurried, asked
from breakglass.lifecycle.expire import Expired, Lane, expire
from breakglass.model.activation import ACTIVATIONS, activation_file, write_activation
from breakglass_lab.forge import Forge
from laws.world import LEDGER

CLOSING = ("403", "409", "500", "no JSON", "a reset")
"""Of the ways to go wrong those that differ for a write. No cluster runs here: nothing is ever seen closed."""


class Late(Hurried):
    """A clock by which what was just opened is over."""

    ahead = timedelta(minutes=31)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A forge whose rulesets hold, with a workflow to dispatch."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with Forge.start(tmp_path / "forge", organisation()) as forge:
        seeded(forge, tmp_path / "seed")
        made = Scene(tmp_path, forge, cluster(), clock=Late)
        put(made, {".github/workflows/apply.yml": b"name: apply\non: workflow_dispatch\njobs: {}\n"})
        yield made


def put(scene: Scene, content: dict[str, bytes]) -> None:
    """Bring files to main, past every rule."""
    seed = Person("adam", scene.forge, scene.directory / "seed")
    seed.git("fetch", "--quiet", scene.forge.git_url, "main")
    seed.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    seed.commit(content, "by hand")
    scene.forge.seed(seed.directory)


def over(scene: Scene) -> str:
    """An activation on main whose window is over by the lane's clock; its path."""
    present = on_main(scene)
    if present:
        return present[0]
    activation = scene.activation()
    put(scene, {activation_file(activation.id): write_activation(activation)})
    return activation_file(activation.id)


def on_main(scene: Scene) -> list[str]:
    command = ["git", "ls-tree", "-r", "--name-only", "main", f"{ACTIVATIONS}/"]
    told = subprocess.run(command, cwd=scene.forge.bare, capture_output=True, text=True, check=True).stdout
    return [path for path in told.splitlines() if path.endswith(".yaml")]


def run(scene: Scene) -> Expired:
    """The scheduled job runs once and does not wait for clusters."""
    clone, app = scene.clone("lane"), scene.app()
    return expire(Lane(clone, app, Late(), "main", LEDGER, APP.login, [].append), timedelta(0))


def test_no_call_that_goes_wrong_keeps_it_open_in_silence(scene: Scene) -> None:
    over(scene)
    since = len(scene.forge.routes)
    assert run(scene).closed
    calls = {(method, _any(path)) for method, path in asked(scene, since) if "/access_tokens" not in path}
    assert {"POST", "PUT"} <= {method for method, _ in calls}
    for method, path in sorted(calls):
        for way in CLOSING:
            body = WAYS[way].get("body")
            fault = {**WAYS[way], "body": json.dumps(body).encode() if isinstance(body, dict) else body}
            file = over(scene)
            scene.forge.fault(method, path, times=1000, **fault)
            expired = run(scene)
            scene.forge.faults.clear()
            where = f"{way} of {method} {path}"
            told = [problem for problem in expired.problems if "seen closed" not in problem]
            assert told or file not in on_main(scene), f"open and silent: {where}"
            assert not expired.problems or expired.alarm or "issues" in path, f"no alarm: {where}"
    over(scene)
    assert run(scene).closed
    assert on_main(scene) == []


def _any(path: str) -> str:
    """A path as a pattern for all numbers and commits in it."""
    return re.sub(r"[0-9a-f]{40}", "[0-9a-f]{40}", re.sub(r"/[0-9]+(?=/|$)", "/[0-9]+", re.escape(path)))
