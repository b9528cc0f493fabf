"""What `plan` and `apply` print, for people and for programs, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from syrupy.assertion import SnapshotAssertion

from breakglass.cli import breakglass
from breakglass.lifecycle import apply as lifecycle
from breakglass.lifecycle.apply import Planned
from breakglass.lifecycle.plan import Ownership, Plan, Step
from breakglass.lifecycle.run import Applied
from breakglass.model.errors import BreakglassError, Refused, Unreachable
from breakglass.model.finding import Finding
from breakglass.model.inventory import ForeignChange, Inventory
from breakglass.model.managed_fields import FieldChange
from breakglass.model.manifest import Manifest, ObjectKey
from breakglass.wiring import Wiring

ROOT = Path(__file__).parents[2]
ADDS, LIFTS = "2026-11-23-db-from-bastion-7f3a", "2026-11-23-lift-isolation-0b1c"
REFUSED = {LIFTS: [Finding("approval-missing", "1 of 2 approvals (ines)", LIFTS, "ask another approver")]}
COMMIT = "8c7b3f6abbd8" + "0" * 28


def policy(namespace: str, name: str) -> tuple[ObjectKey, Manifest]:
    key = ObjectKey("networking.k8s.io", "NetworkPolicy", namespace, name)
    metadata = {"namespace": namespace, "name": name}
    return key, {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}


GRANT, GRANTED = policy("data", f"postgres-from-bastion-{ADDS}")
SHUT, SHUTTING = policy("ops", "default-deny")
OTHER, OTHERS = policy("data", "default-deny")
FOREIGN = ForeignChange(object=str(SHUT), what="changed", by="kubectl-edit", fields=["spec.egress", "spec.ingress"])
LONG = [{"to": [{"ipBlock": {"cidr": f"192.0.2.{number}/32"}}]} for number in range(9)]
EVERYTHING = Planned(
    COMMIT,
    {ADDS: "expired"},
    [LIFTS],
    [
        Plan(
            closing=(
                (Step("restored", OTHER, OTHERS, OTHERS, owners=()), Step("restored", SHUT, None, SHUTTING, owners=())),
                (Step("removed", GRANT, GRANTED, None),),
            ),
            foreign={ADDS: (FOREIGN,)},
        ),
        Plan(
            opening=(
                (Step("added", GRANT, None, GRANTED),),
                (
                    Step(
                        "changed",
                        SHUT,
                        SHUTTING,
                        SHUTTING,
                        (
                            FieldChange(("metadata", "labels", "acme.example/tier"), "a\n\x1b[31mb", None),
                            FieldChange(("spec", "egress"), None, LONG),
                        ),
                        (Ownership("spec.egress", "argocd-controller"),),
                    ),
                ),
            )
        ),
    ],
    REFUSED,
    ["main cannot be read, nothing was opened: git fetch: no answer"],
)


def inventory(**fields: Any) -> Inventory:
    data = {
        "activation": ADDS,
        "overlay": "db-from-bastion",
        "digest": "sha256:" + "a" * 64,
        "commit": COMMIT,
        "requestedBy": "robin",
        "approvedBy": ["dana", "ines"],
        "openedAt": "2026-11-23T02:13:00Z",
        "expiry": "2026-11-23T02:43:00Z",
        "phase": "open",
        "objects": [{"baseline": None, "emergency": dict(GRANTED)}],
        **fields,
    }
    return Inventory.model_validate(data)


CLOSED = inventory(activation=LIFTS, phase="closed", closedAt="2026-11-23T02:43:00Z", closedBy="agent", cause="expired")
OPENED = Applied(COMMIT, [inventory(foreign=[FOREIGN])], [CLOSED])
UNREACHABLE = Unreachable("no answer, 2 times", where="prod-eu", remedy="run it again")

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with a given outcome of the use case; nothing else of it is there."""
    monkeypatch.setattr(Wiring, "applier", lambda *_, **__: None)

    def run(outcome: object, *arguments: str) -> Result:
        monkeypatch.setattr(lifecycle, "plan", lambda _: outcome)
        monkeypatch.setattr(lifecycle, "apply", lambda _: outcome)
        monkeypatch.setattr(lifecycle, "apply_all", lambda _: outcome)
        given = [*arguments, "--directory", str(ROOT)]
        done = CliRunner().invoke(breakglass, given, standalone_mode=False)
        assert done.exception is None, done.exception
        return done

    return run


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_plan_of_everything(run: Run, snapshot: SnapshotAssertion, form: str) -> None:
    done = run(EVERYTHING, "plan", "prod-eu", "--output", form)
    assert (done.return_value, done.stdout, done.stderr) == snapshot


@pytest.mark.parametrize(
    ("planned", "code"),
    [
        (Planned(COMMIT), 0),
        (Planned(COMMIT, refused=REFUSED), 1),
        (Planned(COMMIT, refused=REFUSED, problems=["no answer"]), 4),
    ],
)
def test_a_plan_of_nothing_says_so_and_its_exit_code_whether_that_is_all(run: Run, planned: Planned, code: int) -> None:
    done = run(planned, "plan", "prod-eu")
    assert done.stdout.startswith("prod-eu at 8c7b3f6abbd8\n")
    assert done.stdout.endswith("nothing to write\n")
    assert done.return_value == code


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_apply_of_one_cluster(run: Run, snapshot: SnapshotAssertion, form: str) -> None:
    done = run(OPENED, "apply", "prod-eu", "--output", form)
    assert (done.return_value, done.stdout, done.stderr) == snapshot


RESULTS: dict[str, Applied | BreakglassError] = {
    "prod-eu": UNREACHABLE,
    "prod-us": OPENED,
    "drill": Applied(COMMIT, refused=REFUSED, problems=["nothing was opened: another holds the lease"]),
}


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_apply_of_several_clusters(
    run: Run, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    done = run(RESULTS, "apply", "--all", "--output", form)
    assert (done.return_value, done.stdout, done.stderr) == snapshot


@pytest.mark.parametrize(
    ("worst", "code"),
    [(Applied(COMMIT), 0), (Applied(COMMIT, refused=REFUSED), 1), (Refused("no credential"), 1), (UNREACHABLE, 4)],
)
def test_the_exit_code_is_the_worst_of_all(run: Run, worst: Applied | BreakglassError, code: int) -> None:
    results = {"prod-eu": Applied(COMMIT), "prod-us": worst, "drill": Applied(COMMIT)}
    assert run(results, "apply", "prod-eu", "prod-us", "drill").return_value == code
