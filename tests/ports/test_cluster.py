"""What every `Cluster` does; the one in memory passes here only if the API server does the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.lifecycle.proof import differences
from breakglass.model.errors import Conflict, NotApplied
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, key_of
from breakglass.ports import Cluster
from breakglass_lab.controlplane import ControlPlane, install
from ports.clock import NIGHT
from ports.cluster import ApiServer, InMemoryCluster
from ports.writes import Writes

Object = dict[str, Any]
CONFIG_MAPS = [("", "ConfigMap")]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """An API server with a namespace of the test's own.

    Attributes:
        client: makes a new client, as a new process has one.
        install: applies as somebody else, who is called `platform`.
        hold: keeps an object, by a finalizer, from going.
        let_go: takes the finalizer away.
    """

    namespace: str
    client: Callable[[], Cluster]
    install: Callable[[Object], None]
    hold: Callable[[Object], None]
    let_go: Callable[[Object], None]

    def config_map(self, name: str = "a", **data: str) -> Object:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("control plane"), name="prod-eu") as started:
        install(started, [_namespace("breakglass")])
        yield started


@pytest.fixture(params=["memory", pytest.param("api server", marks=pytest.mark.lab)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    namespace = f"test-{next(_numbers)}"
    if request.param == "memory":
        server = ApiServer("prod-eu", Writes())
        yield Site(
            namespace,
            lambda: InMemoryCluster(server),
            lambda manifest: server.install([manifest]),
            lambda manifest: server.held.add(key_of(manifest)),
            lambda _: server.finalize(),
        )
        return
    plane: ControlPlane = request.getfixturevalue("control_plane")
    install(plane, [_namespace(namespace)])
    clients: list[KubernetesCluster] = []

    def client() -> Cluster:
        access = access_to("prod-eu", None, plane.kubeconfig)
        clients.append(KubernetesCluster("prod-eu", access, SystemClock(), deletion=timedelta(seconds=0.3)))
        return clients[-1]

    def hold(manifest: Object) -> None:
        install(plane, [{**manifest, "metadata": {**manifest["metadata"], "finalizers": ["example.com/hold"]}}])

    yield Site(namespace, client, lambda item: install(plane, [item]), hold, lambda item: install(plane, [item]))
    for each in clients:
        each.close()


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def data_of(cluster: Cluster, manifest: Object) -> object:
    """The data of a ConfigMap as it is now; None where it is absent."""
    key = key_of(manifest)
    live = cluster.get([key])[key]
    return None if live is None else live.get("data", {})


def inventory(identity: str, **fields: Any) -> Inventory:
    return Inventory(
        activation=identity,
        overlay="db-from-bastion",
        digest="sha256:" + "0" * 64,
        commit="0" * 40,
        requestedBy="on-call",
        approvedBy=["ada", "grace"],
        openedAt=NIGHT,
        expiry=NIGHT + timedelta(minutes=30),
        phase="opening",
        objects=[],
    ).model_copy(update=fields)


def test_what_is_applied_is_there_and_what_is_deleted_is_absent(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    assert data_of(cluster, manifest) is None
    answers = cluster.apply([manifest])
    assert answers[key_of(manifest)]["data"] == {"a": "1"}
    assert data_of(cluster, manifest) == {"a": "1"}
    cluster.delete([key_of(manifest)])
    assert data_of(cluster, manifest) is None
    cluster.delete([key_of(manifest)])


def test_a_dry_run_changes_nothing(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    assert cluster.apply([manifest], dry_run=True)[key_of(manifest)]["data"] == {"a": "1"}
    assert data_of(cluster, manifest) is None


def test_applying_less_takes_back_what_was_applied_and_no_more(site: Site) -> None:
    cluster = site.client()
    site.install(site.config_map(theirs="1", shared="1", both="1"))
    cluster.apply([site.config_map(mine="1", shared="2", both="1")])
    assert data_of(cluster, site.config_map()) == {"theirs": "1", "shared": "2", "both": "1", "mine": "1"}
    cluster.apply([site.config_map()])
    assert data_of(cluster, site.config_map()) == {"theirs": "1", "both": "1"}


def test_releasing_leaves_the_values_for_others(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1", b="2")
    cluster.apply([manifest])
    cluster.release([key_of(manifest), key_of(site.config_map("absent"))])
    assert data_of(cluster, manifest) == {"a": "1", "b": "2"}
    cluster.apply([site.config_map(c="3")])
    assert data_of(cluster, manifest) == {"a": "1", "b": "2", "c": "3"}
    site.install(site.config_map(a="9"))
    assert data_of(cluster, manifest) == {"a": "9", "b": "2", "c": "3"}


def test_a_baseline_that_closing_brings_back_is_proven_and_no_longer_ours(site: Site) -> None:
    cluster, baseline = site.client(), site.config_map(a="1", b="2")
    key = key_of(baseline)
    site.install(baseline)
    cluster.apply([site.config_map(a="emergency", b="2", more="3")])
    assert differences(cluster, {key: baseline}) == {key: f"{key} differs in data.a, data.more"}
    cluster.apply([baseline])
    assert differences(cluster, {key: baseline}) == {}
    cluster.release([key])
    assert differences(cluster, {key: baseline}) == {}
    assert differences(cluster, {key: None}) == {key: f"{key} is still there"}
    cluster.delete([key])
    assert differences(cluster, {key: baseline}) == {key: f"{key} is missing"}


def test_an_object_that_a_finalizer_holds_is_not_absent(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    site.install(manifest)
    site.hold(manifest)
    for _ in range(2):
        with pytest.raises(NotApplied, match="finalizer"):
            cluster.delete([key_of(manifest)])
        assert data_of(cluster, manifest) == {"a": "1"}
    site.let_go(manifest)
    cluster.delete([key_of(manifest)])
    assert data_of(cluster, manifest) is None


def test_what_carries_the_activation_label_is_found(site: Site) -> None:
    cluster, marked = site.client(), site.config_map("marked")
    marked["metadata"]["labels"] = {ACTIVATION_LABEL: "x"}
    cluster.apply([marked, site.config_map("plain", a="1")])
    assert cluster.labelled(CONFIG_MAPS, [site.namespace]) == {key_of(marked): "x"}
    assert cluster.labelled(CONFIG_MAPS, []) == {}
    names = {item["metadata"]["name"] for item in cluster.list(CONFIG_MAPS, [site.namespace])}
    assert names - {"kube-root-ca.crt"} == {"marked", "plain"}


def test_an_inventory_is_read_as_it_was_written_until_it_is_deleted(site: Site) -> None:
    cluster, written = site.client(), inventory(site.namespace)
    kept: Manifest = site.config_map(a="1")
    cluster.write_inventory(written)
    assert [item for item in site.client().inventories() if item.activation == site.namespace] == [written]
    cluster.write_inventory(written.model_copy(update={"phase": "open"}))
    cluster.apply([kept])
    cluster.delete_inventory(site.namespace)
    cluster.delete_inventory(site.namespace)
    assert [item for item in cluster.inventories() if item.activation == site.namespace] == []
    assert cluster.unreadable_inventories() == ()


def test_an_inventory_has_one_writer_at_a_time(site: Site) -> None:
    first, second, blind = site.client(), site.client(), site.client()
    first.write_inventory(inventory(site.namespace))
    with pytest.raises(Conflict):
        blind.write_inventory(inventory(site.namespace, phase="closed"))
    second.inventories()
    second.write_inventory(inventory(site.namespace, phase="open"))
    with pytest.raises(Conflict):
        first.write_inventory(inventory(site.namespace, phase="closed"))
    with pytest.raises(Conflict):
        first.delete_inventory(site.namespace)
    (kept,) = [item for item in first.inventories() if item.activation == site.namespace]
    assert kept.phase == "open"
    first.delete_inventory(site.namespace)
