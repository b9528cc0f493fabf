"""`breakglass plan` against the real API server: it tells what `apply` then writes, no more and no less."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from emergency import agree, ask
from killing import LEASES, LaterClock, restore, state, without_lease

from breakglass.adapters import clock, kubernetes_inventory
from breakglass.cli import breakglass
from breakglass_lab.interruption import Interruption, Request
from breakglass_lab.platform import PROGRAMS, Platform, running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

HOURS = timedelta(hours=5)
"""After this every window is over."""
NOT_PLANNED = (LEASES, kubernetes_inventory.COLLECTION, "/apis/events.k8s.io/")
"""Writes about the run itself: what nobody reviews."""
WIDENING = "bastion-to-registry"
"""An overlay that changes a baseline object, which none of the example platform does."""
OVERLAY = {
    "kustomization.yaml": """
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - path: default-deny.yaml
""",
    "default-deny.yaml": """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: default-deny
  namespace: ops
  annotations:
    acme.example/incident: 'yes'
spec:
  egress:
    - to:
        - ipBlock:
            cidr: 192.0.2.0/24
      ports:
        - port: 443
          protocol: TCP
""",
    "overlay.yaml": f"""
apiVersion: breakglass.dev/v1alpha1
kind: Overlay
metadata:
  name: {WIDENING}
spec:
  summary: the bastion to the registry, and to nothing else
  scope:
    clusters: [prod-eu]
    namespaces: [ops]
    kinds: [NetworkPolicy.networking.k8s.io]
  duration: {{default: 15m, maximum: 1h}}
  approvals: {{minimum: 2, approvers: ['@acme/incident-commanders', '@acme/security']}}
  parameters: {{type: object, properties: {{}}, additionalProperties: false}}
  contract:
    opens:
      - {{from: ops/bastion, to: {{cidr: 192.0.2.0/24}}, port: 443, protocol: TCP}}
    keepsShut:
      - {{from: ops/bastion, to: data/redis, port: 6379, protocol: TCP}}
""",
}
APPROVERS = {"db-from-bastion": ("ines", "dana")}


@dataclass
class Applier:
    """The applier of prod-eu: it reaches the API server through a proxy that counts."""

    platform: Platform
    directory: Path
    writes: list[Request] = field(default_factory=list)

    def run(self, *arguments: str, ahead: timedelta = timedelta(0), code: int = 0) -> str:
        """What a verb prints; its writes are in `writes` afterwards.

        In this process, so that its clock can be ahead.
        """
        login = self.platform.app.login
        kubeconfig = self.directory / "kubeconfig of the proxy"
        with (
            Interruption(self.platform.clusters["prod-eu"], kubeconfig, user="breakglass:applier") as proxy,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.chdir(self.platform.clone(login))
            for name, value in self.platform.environment(login).items():
                patch.setenv(name, value)
            patch.setattr(clock, "SystemClock", lambda: LaterClock(ahead))
            given = [*arguments, "prod-eu", "--kubeconfig", str(kubeconfig)]
            done = CliRunner().invoke(breakglass, given, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        assert (done.return_value or 0) == code, done.output
        self.writes = proxy.writes
        return done.stdout

    def plan(self, ahead: timedelta = timedelta(0)) -> dict[str, Any]:
        """The plan as JSON, which is made without a write and says the same as the text."""
        plan: dict[str, Any] = json.loads(self.run("plan", "--output", "json", ahead=ahead))
        assert self.writes == []
        assert (plan["kind"], plan["cluster"], plan["refused"], plan["problems"]) == ("Plan", "prod-eu", {}, [])
        return plan

    def planned_writes(self) -> list[tuple[str, str]]:
        """Verb and path of every write of the last run but those about the run itself, in order."""
        return [(write.verb, write.path) for write in self.writes if not write.path.startswith(NOT_PLANNED)]

    def applied(self) -> dict[str, Any]:
        """What the last run applied, whole, by the name a plan gives it."""
        bodies = [json.loads(write.body) for write in self.writes if write.verb == "apply"]
        return {policy(body["metadata"]["namespace"], body["metadata"]["name"])[0]: body for body in bodies}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("plans")
    with running(directory, print, clusters=("prod-eu",), workflows=False, agents=False) as started:
        add_overlay(started, directory / "work tree")
        yield started


def add_overlay(platform: Platform, tree: Path) -> None:
    """Put the overlay on main, past every rule."""
    git = ["git", "-c", "user.name=Pat Platform", "-c", "user.email=pat@acme.example"]
    subprocess.run([*git, "clone", "--quiet", platform.forge.bare, tree], check=True)
    root = tree / "overlays" / "emergency" / WIDENING
    root.mkdir()
    for name, content in OVERLAY.items():
        (root / name).write_text(content, encoding="utf-8")
    for arguments in (["add", "--all"], ["commit", "--quiet", "--message", f"Add {WIDENING}"]):
        subprocess.run([*git, *arguments], cwd=tree, check=True)
    platform.forge.seed(tree)


@pytest.fixture
def applier(platform: Platform, tmp_path: Path) -> Iterator[Applier]:
    """An applier; afterwards main, the ledger and the cluster are as before."""
    bare, plane = platform.forge.state.bare, platform.clusters["prod-eu"]
    main, before = bare.line("rev-parse", "refs/heads/main"), without_lease(state(plane))
    yield Applier(platform, tmp_path)
    refs = f"update refs/heads/main {main}\ndelete refs/heads/breakglass-ledger\n"
    bare.run("update-ref", "--stdin", stdin=refs.encode())
    now = state(plane)
    leases = {key: now[key] for key in now.keys() - without_lease(now).keys()}
    restore(plane, {**before, **leases})


def merged(applier: Applier, overlay: str, *options: str) -> str:
    """A request that is approved and merged; its id."""
    request = ask(applier.platform, overlay, *options)
    agree(applier.platform, request, *APPROVERS.get(overlay, ("ines", "sofia")))
    return request.id


def effects(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(step["effect"], step["object"]) for step in plan["steps"]]


def targets(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What each object of a plan will be, where it is not deleted."""
    return {step["object"]: step["target"] for step in plan["steps"] if step["target"] is not None}


def policy(namespace: str, name: str) -> tuple[str, str]:
    """A NetworkPolicy as a plan names it, and its path."""
    return (
        f"NetworkPolicy.networking.k8s.io {namespace}/{name}",
        f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}",
    )


ISOLATION, ISOLATION_PATH = policy("ops", "default-deny")


def added(identity: str) -> list[tuple[str, str]]:
    """What db-from-bastion adds, in order."""
    return [policy("data", f"postgres-from-bastion-{identity}"), policy("ops", f"bastion-to-postgres-{identity}")]


def edit(platform: Platform, manager: str, patch: object) -> None:
    """Somebody else changes the isolation of the bastion with kubectl."""
    kubeconfig = ["--kubeconfig", str(platform.clusters["prod-eu"].kubeconfig)]
    what = ["--namespace", "ops", "patch", "networkpolicy", "default-deny", "--type", "merge"]
    given = [*kubeconfig, *what, "--field-manager", manager, "--patch", json.dumps(patch)]
    subprocess.run([PROGRAMS / "kubectl", *given], check=True, capture_output=True, timeout=60)


def isolation(platform: Platform) -> dict[str, Any]:
    with platform.clusters["prod-eu"].client() as client:
        live: dict[str, Any] = client.call("GET", ISOLATION_PATH)
    return live


def test_before_an_opening_it_tells_what_is_added_and_apply_writes_that(applier: Applier) -> None:
    identity = merged(applier, "db-from-bastion")
    names, paths = zip(*added(identity), strict=True)
    plan = applier.plan()
    assert (plan["opening"], plan["closing"], plan["foreign"]) == ([identity], {}, {})
    assert sorted(effects(plan)) == [("added", name) for name in names]
    assert applier.run("plan").splitlines() == [
        f"prod-eu at {plan['commit'][:12]}",
        f"  opens     {identity}",
        *(f"+ added     {step['object']}" for step in plan["steps"]),
        "2 added, 0 changed, 0 removed, 0 restored",
    ]

    applier.run("apply")
    assert sorted(applier.planned_writes()) == [("apply", path) for path in paths]
    assert applier.applied() == targets(plan)
    assert applier.run("plan").endswith("\nnothing to write\n")
    applier.run("apply")
    assert applier.planned_writes() == []


def test_what_an_overlay_takes_away_is_removed_in_the_plan_and_by_apply(applier: Applier) -> None:
    identity = merged(applier, "lift-isolation")
    plan = applier.plan()
    assert (plan["opening"], effects(plan)) == ([identity], [("removed", ISOLATION)])
    told = [f"- removed   {ISOLATION}", "0 added, 0 changed, 1 removed, 0 restored"]
    assert applier.run("plan").splitlines()[2:] == told

    applier.run("apply")
    assert applier.planned_writes() == [("delete", ISOLATION_PATH)]
    assert applier.run("plan").endswith("\nnothing to write\n")


def test_what_somebody_else_changed_in_a_window_is_told_with_its_owner_and_put_right(applier: Applier) -> None:
    identity = merged(applier, WIDENING)
    (opened,) = applier.plan()["steps"]
    assert (opened["effect"], opened["object"]) == ("changed", ISOLATION)
    fields = ["metadata.annotations[acme.example/incident]", "spec.egress"]
    assert [change["field"] for change in opened["fields"]] == fields
    applier.run("apply")
    assert applier.planned_writes() == [("apply", ISOLATION_PATH)]
    elsewhere = [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]
    annotated = {"annotations": {"acme.example/incident": "no"}}
    edit(applier.platform, "mallory", {"metadata": annotated, "spec": {"egress": elsewhere}})

    plan = applier.plan()
    (step,) = plan["steps"]
    assert (step["effect"], step["object"]) == ("changed", ISOLATION)
    assert [(change["field"], change["before"]) for change in step["fields"]] == list(
        zip(fields, ("no", elsewhere), strict=True)
    )
    assert step["conflicts"] == [{"field": field, "manager": "mallory"} for field in fields]
    (change,) = plan["foreign"][identity]
    assert (change["object"], change["what"], change["by"]) == (ISOLATION, "changed", "mallory")
    told = applier.run("plan").splitlines()
    assert told[1:4] == [
        f"  opens     {identity}",
        f"  foreign   {identity}  {ISOLATION} was changed by mallory: {', '.join(change['fields'])}",
        f"~ changed   {ISOLATION}",
    ]
    assert f'    {fields[0]}: "no" -> "yes"' in told
    assert f"    conflict {fields[1]} is owned by mallory" in told

    applier.run("apply")
    assert applier.planned_writes() == [("apply", ISOLATION_PATH)]
    assert applier.applied() == targets(plan)
    live = isolation(applier.platform)
    assert live["metadata"]["annotations"]["acme.example/incident"] == "yes"
    assert live["spec"]["egress"] == step["fields"][1]["after"]
    assert effects(applier.plan()) == []


def test_after_the_expiry_it_restores_first_then_removes_and_apply_does_so_in_that_order(applier: Applier) -> None:
    adds, changes = merged(applier, "db-from-bastion"), merged(applier, WIDENING)
    before = isolation(applier.platform)
    applier.run("apply")
    assert isolation(applier.platform)["spec"] != before["spec"]

    plan = applier.plan(HOURS)
    assert plan["closing"] == {adds: "expired", changes: "expired"}
    names, paths = zip(*added(adds), strict=True)
    (restored, *removed) = effects(plan)
    assert (restored, sorted(removed)) == (("restored", ISOLATION), [("removed", name) for name in names])
    told = applier.run("plan", ahead=HOURS).splitlines()
    assert told[1:3] == [f"  closes    {each}  expired" for each in sorted((adds, changes))]
    assert told[-1] == "0 added, 0 changed, 2 removed, 1 restored"

    applier.run("apply", ahead=HOURS)
    (first, second, *rest) = applier.planned_writes()
    assert [first, second] == [("apply", ISOLATION_PATH), ("patch", ISOLATION_PATH)], "restored, and given back"
    assert sorted(rest) == [("delete", path) for path in paths]
    assert applier.applied() == targets(plan)
    after = isolation(applier.platform)
    assert after["spec"] == before["spec"]
    assert "annotations" not in after["metadata"]
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {
        entry["manager"] for entry in before["metadata"]["managedFields"]
    }
    assert applier.run("plan", ahead=HOURS).endswith("\nnothing to write\n")
