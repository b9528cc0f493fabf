"""The sweep deletes what main lists, and never anything else, whatever the file says and whatever fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from breakglass.lifecycle.sweep import Sweep, Sweeper, command, sweep
from breakglass.lifecycle.windows import all_windows
from breakglass.model.manifest import ObjectKey, key_of
from breakglass.model.residue import residue_file
from laws import example
from laws.world import World
from ports.cluster import InMemoryCluster

LEFT = example.network_policy("data", "left", "postgres", "bastion")


@dataclass
class Site:
    """The small platform with one activation on main, and a policy that somebody left behind."""

    world: World = field(default_factory=World)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = self.world.open().id
        self.install(LEFT)

    def install(self, *manifests: dict[str, Any]) -> None:
        self.world.servers["prod-eu"].install(manifests, "somebody")

    def item(self, manifest: dict[str, Any] = LEFT, **changes: str) -> dict[str, str]:
        key = key_of(manifest)
        live = self.world.servers["prod-eu"].objects.get(key)
        names = {"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name}
        uid = live.uid if live is not None else "gone"
        return {"cluster": "prod-eu", **names, "uid": uid, "evidence": "made by eve", **changes}

    def list(self, *items: dict[str, str], file: str | None = None, **changes: Any) -> None:
        data = {
            "apiVersion": "breakglass.dev/v1alpha1",
            "kind": "Residue",
            "metadata": {"name": self.id},
            "spec": {"reason": "left behind", "delete": list(items)},
        }
        self.world.commit({file or residue_file(self.id): json.dumps({**data, **changes}).encode()})

    def sweep(self, *told: str) -> Sweep:
        world, repository = self.world, self.world.repository()
        sweeper = Sweeper(
            name="prod-eu",
            cluster=InMemoryCluster(world.servers["prod-eu"]),
            repository=repository,
            clock=world.clock,
            commit=world.tip(),
            history=all_windows(repository, world.tip()),
            baseline=lambda: example.BASELINE,
            report=self.lines.append,
        )
        return sweep(sweeper, told)

    def names(self) -> set[str]:
        return {key.name for key in self.world.servers["prod-eu"].objects}


@pytest.fixture
def site() -> Site:
    return Site()


def test_what_is_listed_goes_and_is_recorded_once(site: Site) -> None:
    site.list(site.item())
    done = site.sweep()
    assert [key.name for key in done.deleted] == ["left"]
    assert "left" not in site.names()
    assert "made by eve" in site.lines[0]
    ((path, event),) = done.events.items()
    assert path.startswith(f"activations/{site.id}/prod-eu/swept-")
    assert event.model_dump()["absent"] == ["NetworkPolicy.networking.k8s.io data/left"]
    again = site.sweep()
    assert (again.deleted, [*again.events]) == ([], [path]), "killed before the record: it is made now"
    assert site.sweep(path) == Sweep()


def test_more_that_is_listed_later_is_swept_as_well(site: Site) -> None:
    site.list(first := site.item())
    (path,) = site.sweep().events
    more = example.network_policy("data", "more", None, None)
    site.install(more)
    site.list(first, site.item(more))
    done = site.sweep(path)
    assert [key.name for key in done.deleted] == ["more"]
    assert path not in done.events


def test_nothing_goes_without_its_uid(site: Site) -> None:
    site.list(site.item(uid="another"))
    assert site.sweep().deleted == []
    assert "left" in site.names()


def test_nothing_goes_that_the_baseline_holds(site: Site) -> None:
    site.install(example.METRICS)
    site.list(site.item(example.METRICS))
    done = site.sweep()
    assert (done.deleted, done.problems) == ([], [])
    (event,) = done.events.values()
    assert event.model_dump()["kept"] == [str(key_of(example.METRICS))]
    assert "metrics" in site.names()


def test_nothing_goes_that_is_listed_for_another_cluster(site: Site) -> None:
    site.list(site.item(cluster="prod-us"))
    assert site.sweep() == Sweep()


@pytest.mark.parametrize(
    "manifest",
    [
        example.network_policy("ops", "elsewhere", None, None),
        example.deployment("data", "miner", 1),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell", "namespace": "data"}},
    ],
    ids=["another namespace", "another kind", "a pod"],
)
def test_what_is_not_the_appliers_stays_with_the_command_for_it(site: Site, manifest: dict[str, Any]) -> None:
    site.install(manifest)
    site.list(site.item(manifest), site.item())
    done = site.sweep()
    assert [key.name for key in done.deleted] == ["left"], "the others go"
    (problem,) = done.problems
    assert "the applier deletes no" in problem
    assert command(key_of(manifest), site.item(manifest)["uid"], manifest["apiVersion"]) in problem
    assert done.events == {}, "not done yet"
    assert manifest["metadata"]["name"] in site.names()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {"name": "2026-11-23-another-0000"}}, "does not fit the file's name"),
        ({"spec": {"reason": "x", "delete": []}}, "delete"),
        ({"kind": "Activation"}, "kind"),
        ({"more": 1}, "more"),
    ],
)
def test_a_file_that_is_none_deletes_nothing_and_hides_no_other(
    site: Site, changes: dict[str, Any], message: str
) -> None:
    site.list(site.item(), **changes)
    done = site.sweep()
    assert done.deleted == []
    assert message in done.problems[0]


def test_residue_of_no_activation_deletes_nothing(site: Site) -> None:
    stranger = "2026-11-23-another-0000"
    site.list(site.item(), file=residue_file(stranger), metadata={"name": stranger})
    assert "ever reached main" in site.sweep().problems[0]
    assert "left" in site.names()


def test_an_object_that_cannot_be_deleted_now_is_tried_again(site: Site) -> None:
    server = site.world.servers["prod-eu"]
    server.denied.add(key_of(LEFT))
    site.list(site.item())
    assert "the next run tries again" in site.sweep().problems[0]
    server.denied.clear()
    assert len(site.sweep().deleted) == 1


def test_the_command_names_the_object_and_its_uid() -> None:
    pod, role = ObjectKey("", "Pod", "shop", "x"), ObjectKey("rbac.authorization.k8s.io", "ClusterRole", "", "a:b")
    assert "kubectl delete --raw /api/v1/namespaces/shop/pods/x --filename -" in command(pod, "1", "v1")
    told = command(role, "1", "rbac.authorization.k8s.io/v1")
    assert "/apis/rbac.authorization.k8s.io/v1/clusterroles/a:b" in told
    assert '"uid": "1"' in told
