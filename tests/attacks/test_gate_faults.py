"""GitHub out of order, in every call that the gate makes: nothing opens; when it is back, what was approved opens.

The calls are not listed by hand: a first run is watched, and every route that it asked is broken in every way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from attacks.scene import Scene, cluster, organisation, seeded
from breakglass.adapters.clock import SystemClock
from breakglass_lab.forge import Forge
from laws import example

LIMITED = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}
WAYS: dict[str, dict[str, Any]] = {
    "403": {"status": 403, "body": {"message": "Resource not accessible by integration"}},
    "404": {"status": 404, "body": {"message": "Not Found"}},
    "409": {"status": 409, "body": {"message": "Conflict"}},
    "422": {"status": 422, "body": {"message": "Validation Failed"}},
    "500": {"status": 500, "body": {"message": "Server Error"}},
    "503": {"status": 503, "body": b"<html>Unicorn!</html>"},
    "secondary limit": {"status": 403, "headers": {"retry-after": "3600"}, "body": LIMITED},
    "limit": {"status": 429, "headers": {"x-ratelimit-remaining": "0"}, "body": LIMITED},
    "no JSON": {"status": 200, "body": b"<html>"},
    "cut off": {"status": 200, "body": b'[{"id": 1, "us'},
    "null": {"status": 200, "body": b"null"},
    "of another shape": {"status": 200, "body": b'[{"sha": 1}]'},
    "a reset": {"reset": True},
}
"""How a call goes wrong; each holds for as long as anybody asks."""


class Hurried(SystemClock):
    """A clock whose sleeps take no time and are over when they say."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def sleep(self, duration: timedelta) -> None:
        self.ahead += duration


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Everything as it should be: asked for, approved, checked, merged."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with Forge.start(tmp_path / "forge", organisation()) as forge:
        seeded(forge, tmp_path / "seed")
        made = Scene(tmp_path, forge, cluster(), clock=Hurried)
        _, number = made.ask()
        made.approve(number)
        assert made.check(number) == []
        made.merge(number)
        yield made


def asked(scene: Scene, since: int) -> list[tuple[str, str]]:
    """Every API call since then, by method and path, each once."""
    calls = ((route.method, route.path) for route in scene.forge.routes[since:])
    return list(dict.fromkeys(call for call in calls if call[1].startswith("/") and ".git" not in call[1]))


def test_no_call_that_goes_wrong_opens_anything(scene: Scene) -> None:
    since = len(scene.forge.routes)
    scene.judge()
    routes = [call for call in asked(scene, since) if "/access_tokens" not in call[1]]
    assert len(routes) >= 8, routes
    for method, path in routes:
        for way, fault in WAYS.items():
            where = f"{way} of {method} {path}"
            body = fault.get("body")
            told = {**fault, "body": json.dumps(body).encode() if isinstance(body, dict) else body}
            struck = scene.forge.fault(method, _exactly(path), times=1000, **told)
            applied = scene.apply()
            scene.forge.faults.clear()
            assert struck.hits, f"nobody asked: {where}"
            assert not applied.open, f"opened in spite of {where}"
            assert applied.refused or applied.problems, f"silent about {where}"
            assert scene.server.state() == example.state({}), where
    assert scene.apply().open


def _exactly(path: str) -> str:
    return path.replace(".", r"\.").replace("[", r"\[").replace("]", r"\]")
