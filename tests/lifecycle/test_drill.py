"""Drills: the code of a real emergency, on purpose, and a receipt that does not flatter."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from breakglass.lifecycle.drill import Drill, drill
from breakglass.lifecycle.receipts import last_drill
from breakglass.model.errors import Refused
from breakglass.model.ledger import Drilled
from laws import example
from laws.world import LEDGER, World
from ports.cluster import InMemoryCluster
from ports.writes import Killed

OVERLAY = "overlays/emergency/db-from-bastion/overlay.yaml"


@pytest.fixture
def world() -> World:
    return World()


def setting(world: World, name: str = "prod-eu") -> Drill:
    cluster = InMemoryCluster(world.servers["prod-eu"])
    return Drill(name, cluster, world.repository(), world.renderer, world.clock, "main", LEDGER, lambda _: None)


def rehearse(world: World, overlay: str = "db-from-bastion", name: str = "prod-eu", random: str = "7f3a") -> Drilled:
    parameters = example.parameters_of(overlay)
    return drill(setting(world, name), overlay, parameters, requested_by=example.ON_CALL, random=random)


def test_a_drill_opens_probes_shuts_and_leaves_a_receipt(world: World) -> None:
    receipt = rehearse(world)
    assert (receipt.passed, receipt.findings) == (True, [])
    assert [phase.name for phase in receipt.phases] == ["baseline", "render", "open", "probe", "close", "prove"]
    assert world.is_baseline("prod-eu")
    assert world.inventories("prod-eu") == {}
    assert last_drill(world.repository(), LEDGER, "db-from-bastion") == receipt
    verbs = [write.verb for write in world.writes.log if write.place == "prod-eu" and "lease" not in write.verb]
    assert verbs == ["write inventory", "apply", "write inventory", "delete", "write inventory", "delete inventory"]


def test_a_contract_that_is_not_kept_fails_the_drill_and_it_is_shut_all_the_same() -> None:
    files = example.files()
    lying = json.loads(files[OVERLAY])
    lying["spec"]["contract"]["opens"] = [{**example.OPENS, "port": 9}]
    world = World(files={**files, OVERLAY: json.dumps(lying).encode()})
    receipt = rehearse(world)
    assert not receipt.passed
    assert receipt.findings
    assert world.is_baseline("prod-eu")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_grant_is_asked_of_the_api_server_itself(allowed: bool) -> None:
    files = example.files()
    granting = json.loads(files[OVERLAY])
    grant = {"subject": "Group:incident", "verb": "get", "resource": "pods", "namespace": "data"}
    granting["spec"]["contract"]["keepsDenied"] = [grant]
    world = World(files={**files, OVERLAY: json.dumps(granting).encode()})
    if allowed:
        world.servers["prod-eu"].granted.add(("Group:incident", "get", "pods", "", "data"))
    receipt = rehearse(world)
    assert [finding.split(":")[0] for finding in receipt.findings] == ["drill-access"] * allowed
    assert world.is_baseline("prod-eu")


def test_what_does_not_shut_is_in_the_receipt(world: World) -> None:
    cluster = setting(world).cluster
    apply = cluster.apply

    def held(manifests: object, *, dry_run: bool = False, force: bool = True) -> object:
        answers = apply(manifests, dry_run=dry_run, force=force)  # type: ignore[arg-type]
        world.servers["prod-eu"].held.update(() if dry_run else answers)
        return answers

    cluster.apply = held  # type: ignore[assignment, method-assign]
    live = Drill("prod-eu", cluster, world.repository(), world.renderer, world.clock, "main", LEDGER, lambda _: None)
    receipt = drill(live, "db-from-bastion", {"ticket": "x"}, requested_by=example.ON_CALL, random="7f3a")
    assert not receipt.passed
    assert {finding.split(":")[0] for finding in receipt.findings} == {"drill-close", "drill-residue"}
    assert len(world.inventories("prod-eu")) == 1


def test_a_drill_that_dies_is_ended_by_the_agent(world: World) -> None:
    world.writes.kill(3, "after")
    with pytest.raises(Killed):
        rehearse(world)
    world.writes.spare()
    world.clock.tick(timedelta(minutes=10))
    world.agent("prod-eu")
    assert world.is_baseline("prod-eu")


def test_a_drill_that_takes_too_long_is_a_failure(world: World) -> None:
    world.writes.meanwhile("apply", lambda: world.clock.tick(timedelta(minutes=4)))
    assert [finding.split(":")[0] for finding in rehearse(world).findings] == ["drill-slow"]


@pytest.mark.parametrize("name", ["prod-xx", "production"])
def test_only_a_cluster_for_drills_is_drilled_in(name: str) -> None:
    files = example.files()
    policy = json.loads(files["breakglass.yaml"])
    policy["spec"]["clusters"]["production"] = {"baseline": "base"}
    world = World(files={**files, "breakglass.yaml": json.dumps(policy).encode()})
    with pytest.raises(Refused, match="not a cluster for drills"):
        rehearse(world, name=name)
    assert world.writes.log == []


def test_an_unknown_overlay_is_refused_before_anything_is_written(world: World) -> None:
    with pytest.raises(Refused, match="no overlay"):
        drill(setting(world), "nowhere", {}, requested_by=example.ON_CALL, random="7f3a")
    assert world.writes.log == []


def test_the_requester_of_the_contract_is_whoever_drills() -> None:
    files = example.files()
    granting, policy = json.loads(files[OVERLAY]), json.loads(files["breakglass.yaml"])
    grant = {"subject": "Requester", "verb": "get", "resource": "pods", "namespace": "data"}
    granting["spec"]["contract"]["keepsDenied"] = [grant]
    policy["spec"]["requesters"] = {"userPrefix": "acme:"}
    world = World(
        files={**files, OVERLAY: json.dumps(granting).encode(), "breakglass.yaml": json.dumps(policy).encode()}
    )
    world.servers["prod-eu"].granted.add((f"User:{example.ON_CALL}", "get", "pods", "", "data"))
    assert rehearse(world).passed
    world.servers["prod-eu"].granted.add((f"User:acme:{example.ON_CALL}", "get", "pods", "", "data"))
    (finding,) = rehearse(world, random="7f3b").findings
    assert f"User:acme:{example.ON_CALL} may get pods in data" in finding
