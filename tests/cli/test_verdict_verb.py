"""`breakglass verdict`: the same answer from the ledger, and a ledger that was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from syrupy.assertion import SnapshotAssertion

from breakglass.cli.verdict import command
from breakglass.model.ledger import evidence_path, verdict_path
from breakglass.ports import Repository
from breakglass.wiring import Wiring
from laws.world import LEDGER, World
from ports.remote import PLAIN


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which one window was opened, and a clone of it that asks nobody."""
    made = World()
    (tmp_path / "breakglass.yaml").write_bytes(made.files["breakglass.yaml"])
    monkeypatch.chdir(tmp_path)

    def clone(_wiring: Wiring) -> Repository:
        made.network(git=True, forge=False)
        return made.repository()

    monkeypatch.setattr(Wiring, "repository", property(clone))
    return made


def opened(world: World) -> str:
    activation, pull = world.ask()
    world.approve(pull, "ada", "grace")
    world.forge.review(pull.number, "on-call")
    world.merge(pull)
    assert world.apply("prod-eu").open
    return activation.id


def told(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    assert (done.return_value or 0) == code
    return done.output


def test_a_verdict_is_told_with_its_reasons(world: World, snapshot: SnapshotAssertion) -> None:
    identity = opened(world)
    assert told(identity) == snapshot
    answer = json.loads(told(identity, "--output", "json"))
    assert (answer["approved"], answer["same"]) == (True, True)
    assert answer["approvals"]["ignored"][0]["login"] == "on-call"


def rewrite(world: World, path: str, **changes: object) -> None:
    """Somebody rewrites a file of the ledger."""
    clone = world.repository()
    tip = clone.tip(LEDGER)
    assert tip is not None
    event = json.loads(clone.files(tip, path)[path]) | changes
    made = world.remote.commit((tip,), {path: (PLAIN, json.dumps(event).encode())}, world.clock.now())
    world.remote.set_ref(f"refs/heads/{LEDGER}", made)


def test_a_verdict_that_somebody_rewrote_is_seen(world: World) -> None:
    identity = opened(world)
    rewrite(world, verdict_path(identity), approvedBy=["ada", "mallory"])
    assert "NOT what the ledger says" in told(identity, code=1)


def test_evidence_that_somebody_rewrote_is_seen(world: World) -> None:
    identity = opened(world)
    rewrite(world, evidence_path(identity), reviews=[])
    assert "refused" in told(identity, code=1)


def test_evidence_of_another_merge_is_none(world: World) -> None:
    identity = opened(world)
    rewrite(world, evidence_path(identity), merge="c" * 40)
    done = CliRunner().invoke(command, [identity], standalone_mode=False)
    assert "of another merge" in str(done.exception)
