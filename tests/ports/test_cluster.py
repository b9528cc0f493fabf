"""What every `Cluster` does; the one in memory passes here only if the API server does the same."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.lifecycle.closing import not_returned
from breakglass.model.errors import Conflict, NotApplied, Refused
from breakglass.model.inventory import Inventory, InventoryObject
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, key_of
from breakglass.ports import Cluster
from breakglass_lab.controlplane import ControlPlane, install
from ports.clock import NIGHT
from ports.cluster import ApiServer, InMemoryCluster, LeaseRecord
from ports.writes import Writes

Object = dict[str, Any]
CONFIG_MAPS = [("", "ConfigMap")]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/breakglass/leases"
AT_ONCE = timedelta(0)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """An API server with a namespace of the test's own.

    Attributes:
        client: makes a new client, as a new process has one.
        install: applies as somebody else, who is called `platform`.
        hold: keeps an object, by a finalizer, from going.
        let_go: takes the finalizer away.
        protect: makes of a pod one that runs, and that a PodDisruptionBudget does not let go.
        die_holding: leaves a Lease behind that nobody renews.
        meanwhile: works while a client waits for a change.
        events: Events of the namespace as (kind, name, reason, note, whether a warning).
    """

    namespace: str
    client: Callable[[], Cluster]
    install: Callable[[Object], None]
    hold: Callable[[Object], None]
    let_go: Callable[[Object], None]
    protect: Callable[[Object], None]
    die_holding: Callable[[str], None]
    meanwhile: Callable[[Callable[[], object]], AbstractContextManager[object]]
    events: Callable[[], list[tuple[object, ...]]]

    def config_map(self, name: str = "a", **data: str) -> Object:
        return self.object("ConfigMap", name) | {"data": data}

    def object(self, kind: str, name: str) -> Object:
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": self.namespace}}

    def pod(self, name: str) -> Object:
        manifest = self.object("Pod", name)
        manifest["metadata"]["labels"] = {"app": name}
        return manifest | {"spec": {"containers": [{"name": "main", "image": "example.com/image"}]}}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("control plane"), name="prod-eu") as started:
        install(started, [_namespace("breakglass")])
        yield started


@pytest.fixture(params=["memory", pytest.param("api server", marks=pytest.mark.lab)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    namespace = f"test-{next(_numbers)}"
    if request.param == "memory":
        yield _in_memory(namespace)
        return
    plane: ControlPlane = request.getfixturevalue("control_plane")
    install(plane, [_namespace(namespace)])
    with ExitStack() as clients:
        yield _real(plane, namespace, clients)


def _in_memory(namespace: str) -> Site:
    server = ApiServer("prod-eu", Writes())

    def die_holding(name: str) -> None:
        server.leases[name] = LeaseRecord("dead", NIGHT, deaths=-1)

    def meanwhile(work: Callable[[], object]) -> AbstractContextManager[object]:
        server.while_waiting.append(work)
        return nullcontext()

    return Site(
        namespace,
        lambda: InMemoryCluster(server),
        lambda manifest: server.install([manifest]),
        lambda manifest: server.held.add(key_of(manifest)),
        lambda _: server.finalize(),
        lambda pod: server.budgeted.add(key_of(pod)),
        die_holding,
        meanwhile,
        lambda: [(about.kind, about.name, *told) for about, *told in server.events],
    )


def _real(plane: ControlPlane, namespace: str, clients: ExitStack) -> Site:
    administrator = clients.enter_context(plane.client())

    def client() -> Cluster:
        access = access_to("prod-eu", None, plane.kubeconfig)
        limits = {"patience": timedelta(seconds=5), "deletion": timedelta(seconds=0.3)}
        cluster = KubernetesCluster("prod-eu", access, SystemClock(), **limits)
        clients.callback(cluster.close)
        return cluster

    def hold(manifest: Object) -> None:
        install(plane, [{**manifest, "metadata": {**manifest["metadata"], "finalizers": ["example.com/hold"]}}])

    def protect(pod: Object) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/status"
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        patch = {"Content-Type": "application/merge-patch+json"}
        administrator.call("PATCH", path, {"status": ready}, headers=patch)
        budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
        spec = {"minAvailable": 1, "selector": {"matchLabels": pod["metadata"]["labels"]}}
        body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "one"}, "spec": spec}
        administrator.call("POST", budgets, body)
        while "observedGeneration" not in (administrator.call("GET", f"{budgets}/one").get("status") or {}):
            pass

    def die_holding(name: str) -> None:
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2026-11-23T02:13:00.000000Z"}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        administrator.call("POST", LEASES, body)

    @contextmanager
    def meanwhile(work: Callable[[], object]) -> Iterator[object]:
        with ThreadPoolExecutor(1) as threads:
            yield threads.submit(work)

    def events() -> list[tuple[object, ...]]:
        items = administrator.call("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
        return [
            (
                item["regarding"]["kind"],
                item["regarding"]["name"],
                item["reason"],
                item["note"],
                item["type"] != "Normal",
            )
            for item in items
        ]

    return Site(
        namespace,
        client,
        lambda item: install(plane, [item]),
        hold,
        lambda item: install(plane, [item]),
        protect,
        die_holding,
        meanwhile,
        events,
    )


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def data_of(cluster: Cluster, manifest: Object) -> object:
    """The data of a ConfigMap as it is now; None where it is absent."""
    key = key_of(manifest)
    live = cluster.get([key])[key]
    return None if live is None else live.get("data", {})


def read(cluster: Cluster, manifest: Object) -> Object:
    """An object as it is now, which must be there."""
    key = key_of(manifest)
    live = cluster.get([key])[key]
    assert live is not None
    return dict(live)


def remove(cluster: Cluster, manifest: Object) -> None:
    """Delete an object as it is now; absent is fine."""
    cluster.delete(live for live in cluster.get([key_of(manifest)]).values() if live is not None)


def managers_of(cluster: Cluster, manifest: Object) -> dict[str, Object]:
    """Field managers that apply an object, with what they own."""
    entries = read(cluster, manifest)["metadata"].get("managedFields", [])
    assert all(entry["operation"] == "Apply" and entry["fieldsType"] == "FieldsV1" for entry in entries)
    return {entry["manager"]: entry["fieldsV1"] for entry in entries}


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
    remove(cluster, manifest)
    assert data_of(cluster, manifest) is None
    remove(cluster, manifest)


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


def test_disowning_leaves_the_values_for_others(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1", b="2")
    cluster.apply([manifest])
    cluster.disown({key_of(manifest): (), key_of(site.config_map("absent")): ()})
    assert data_of(cluster, manifest) == {"a": "1", "b": "2"}
    cluster.apply([site.config_map(c="3")])
    assert data_of(cluster, manifest) == {"a": "1", "b": "2", "c": "3"}
    site.install(site.config_map(a="9"))
    assert data_of(cluster, manifest) == {"a": "9", "b": "2", "c": "3"}


def test_a_baseline_that_closing_brings_back_is_proven_and_no_longer_ours(site: Site) -> None:
    cluster, baseline = site.client(), site.config_map(a="1", b="2")
    emergency = site.config_map(a="emergency", b="2", more="3")
    key, window = (
        key_of(baseline),
        inventory("closing", objects=[InventoryObject(baseline=baseline, emergency=emergency)]),
    )
    site.install(baseline)
    cluster.apply([emergency])
    assert not_returned(cluster, window) == {key: f"{key} differs in data.a, data.more"}
    cluster.apply([baseline])
    assert not_returned(cluster, window) == {key: f"{key} is as it should be, and breakglass owns it still"}
    cluster.disown({key: ()})
    assert not_returned(cluster, window) == {}
    remove(cluster, baseline)
    assert not_returned(cluster, window) == {key: f"{key} is missing"}


def test_what_somebody_puts_into_a_map_that_is_one_value_is_a_difference(site: Site) -> None:
    cluster = site.client()
    metadata = {"name": "p", "namespace": site.namespace}
    everybody = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}
    baseline = {**everybody, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    widened = {**everybody, "spec": {"podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Ingress"]}}
    window = inventory("atomic", objects=[InventoryObject(baseline=baseline, emergency=None)])
    site.install(baseline)
    assert not_returned(cluster, window) == {}
    site.install(widened)
    assert list(not_returned(cluster, window)) == [key_of(baseline)]


def test_an_object_that_a_finalizer_holds_is_not_absent(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    site.install(manifest)
    site.hold(manifest)
    for _ in range(2):
        with pytest.raises(NotApplied, match="finalizer"):
            remove(cluster, manifest)
        assert data_of(cluster, manifest) == {"a": "1"}
    site.let_go(manifest)
    remove(cluster, manifest)
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


def test_an_inventory_that_no_object_can_hold_is_refused(site: Site) -> None:
    cluster = site.client()
    noise = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(40_000))
    item = InventoryObject(baseline=None, emergency=site.config_map(noise=noise))
    with pytest.raises(Refused, match="ConfigMap"):
        cluster.write_inventory(inventory(site.namespace, objects=[item]))
    assert [item for item in cluster.inventories() if item.activation == site.namespace] == []


def test_only_the_object_that_was_read_is_deleted(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    cluster.apply([manifest])
    before = read(cluster, manifest)
    site.install(site.config_map(b="2"))
    with pytest.raises(Conflict):
        cluster.delete([before])
    assert data_of(cluster, manifest) == {"a": "1", "b": "2"}
    identity = {"name": "a", "namespace": site.namespace, "uid": before["metadata"]["uid"]}
    cluster.delete([{**manifest, "metadata": identity}])
    assert data_of(cluster, manifest) is None
    cluster.delete([before])
    cluster.apply([manifest])
    with pytest.raises(Conflict):
        cluster.delete([{**manifest, "metadata": identity}])
    assert data_of(cluster, manifest) == {"a": "1"}
    with pytest.raises(Refused, match="uid"):
        cluster.delete([manifest])


def test_one_object_that_was_changed_keeps_no_other_from_being_deleted(site: Site) -> None:
    cluster = site.client()
    manifests = [site.config_map(f"map-{number}", a="1") for number in range(12)]
    cluster.apply(manifests)
    before = [read(cluster, manifest) for manifest in manifests]
    site.install(site.config_map("map-3", b="2"))
    with pytest.raises(Conflict, match="map-3"):
        cluster.delete(before)
    left = [key.name for key, live in cluster.get(map(key_of, manifests)).items() if live is not None]
    assert left == ["map-3"]


def test_apply_without_force_takes_nothing_from_another_manager(site: Site) -> None:
    cluster = site.client()
    site.install(site.config_map(theirs="1", both="1"))
    cluster.apply([site.config_map(both="1", mine="1")], force=False)
    with pytest.raises(Conflict, match="platform"):
        cluster.apply([site.config_map(theirs="2", mine="2")], force=False)
    assert data_of(cluster, site.config_map()) == {"theirs": "1", "both": "1", "mine": "1"}


def test_apply_to_a_state_that_is_gone_is_a_conflict(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    site.install(manifest)
    version = read(cluster, manifest)["metadata"]["resourceVersion"]
    based = site.config_map(a="2")
    based["metadata"]["resourceVersion"] = version
    cluster.apply([based])
    assert data_of(cluster, manifest) == {"a": "2"}
    site.install(site.config_map(a="9"))
    with pytest.raises(Conflict):
        cluster.apply([based])
    assert data_of(cluster, manifest) == {"a": "9"}
    remove(cluster, manifest)
    with pytest.raises(Conflict):
        cluster.apply([based])
    assert data_of(cluster, manifest) is None


def test_managed_fields_tell_who_owns_what(site: Site) -> None:
    cluster = site.client()
    site.install(site.config_map(theirs="1", shared="1"))
    cluster.apply([site.config_map(mine="1", shared="2")])
    fields = managers_of(cluster, site.config_map())
    assert fields == {
        "platform": {"f:data": {"f:theirs": {}}},
        "breakglass": {"f:data": {"f:mine": {}, "f:shared": {}}},
    }
    (entry, _) = read(cluster, site.config_map())["metadata"]["managedFields"]
    assert (entry["apiVersion"], len(entry["time"])) == ("v1", len("2026-11-23T02:13:00Z"))


def test_disowning_lets_former_owners_own_their_fields_again(site: Site) -> None:
    cluster, key = site.client(), key_of(site.config_map())
    site.install(site.config_map(shared="1", gone="1", theirs="1"))
    before = read(cluster, site.config_map())["metadata"]["managedFields"]
    cluster.apply([site.config_map(shared="2", gone="2", mine="2")])
    cluster.apply([site.config_map(shared="1", mine="2")])
    cluster.disown({key: before})
    assert managers_of(cluster, site.config_map()) == {"platform": {"f:data": {"f:shared": {}, "f:theirs": {}}}}
    with pytest.raises(Conflict, match="platform"):
        cluster.apply([site.config_map(shared="3")], force=False)
    site.install(site.config_map(shared="1"))
    assert data_of(cluster, site.config_map()) == {"shared": "1", "mine": "2"}


def test_a_former_owner_of_everything_comes_back(site: Site) -> None:
    cluster, key = site.client(), key_of(site.config_map())
    site.install(site.config_map(a="1"))
    before = read(cluster, site.config_map())["metadata"]["managedFields"]
    cluster.apply([site.config_map(a="2")])
    assert list(managers_of(cluster, site.config_map())) == ["breakglass"]
    cluster.apply([site.config_map(a="1")])
    cluster.disown({key: before})
    assert managers_of(cluster, site.config_map()) == {"platform": {"f:data": {"f:a": {}}}}
    assert read(cluster, site.config_map())["metadata"]["managedFields"] == before


def test_a_lease_has_one_holder(site: Site) -> None:
    first, second = (site.client().lease(site.namespace, holder) for holder in ("first", "second"))
    assert not first.held()
    first.acquire(AT_ONCE)
    assert first.held()
    with pytest.raises(Conflict, match=r"first holds the lease since 20\d\d-"):
        second.acquire(AT_ONCE)
    assert not second.held()
    second.release()
    assert first.held()
    first.release()
    assert not first.held()
    second.acquire(AT_ONCE)
    assert second.held()
    first.release()
    assert second.held()
    second.release()


def test_a_lease_that_nobody_renews_is_taken_after_its_duration(site: Site) -> None:
    lease = site.client().lease(site.namespace, "next")
    site.die_holding(site.namespace)
    with pytest.raises(Conflict, match="dead"):
        lease.acquire(AT_ONCE)
    lease.acquire(timedelta(seconds=15))
    assert lease.held()
    lease.release()


def test_a_fence_lets_nothing_through_without_the_lease(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    lease = cluster.lease(site.namespace, "me")
    lease.acquire(AT_ONCE)
    with cluster.fenced(lease):
        cluster.apply([manifest])
        live = read(cluster, manifest)
        lease.release()
        for write in (
            lambda: cluster.apply([site.config_map(a="2")]),
            lambda: cluster.delete([live]),
            lambda: cluster.disown({key_of(manifest): ()}),
            lambda: cluster.write_inventory(inventory(site.namespace)),
        ):
            with pytest.raises(Conflict, match="lease"):
                write()
        assert cluster.apply([site.config_map(a="2")], dry_run=True)[key_of(manifest)]["data"] == {"a": "2"}
        assert read(cluster, manifest) == live
    cluster.apply([site.config_map(a="2")])
    assert data_of(cluster, manifest) == {"a": "2"}


def test_waiting_ends_when_an_inventory_changes_or_the_time_is_over(site: Site) -> None:
    cluster, other = site.client(), site.client()
    cluster.inventories()
    assert not cluster.await_change(timedelta(seconds=0.1))
    work: tuple[Callable[[], object], ...] = (
        lambda: other.write_inventory(inventory(site.namespace)),
        lambda: other.write_inventory(inventory(site.namespace, phase="open")),
        lambda: other.delete_inventory(site.namespace),
    )
    for change in work:
        with site.meanwhile(change):
            assert cluster.await_change(timedelta(seconds=30))
        assert cluster.await_change(timedelta(seconds=30))
        cluster.inventories()
        assert not cluster.await_change(timedelta(seconds=0.1))


def test_a_pod_is_evicted_unless_a_budget_keeps_it(site: Site) -> None:
    cluster = site.client()
    free, kept = site.pod("free"), site.pod("kept")
    for pod in (free, kept):
        site.install(pod)
    site.protect(kept)
    with pytest.raises(NotApplied, match="disruption budget"):
        cluster.evict([key_of(pod) for pod in (free, kept, site.pod("absent"))])
    left = [key.name for key, live in cluster.get(map(key_of, (free, kept))).items() if live is not None]
    assert left == ["kept"]


def test_a_token_is_that_of_a_service_account(site: Site) -> None:
    cluster, account = site.client(), site.object("ServiceAccount", "operator")
    with pytest.raises(Refused, match="operator"):
        cluster.token(key_of(account), timedelta(hours=1))
    site.install(account)
    long, short = (cluster.token(key_of(account), lifetime) for lifetime in (timedelta(hours=1), timedelta(minutes=1)))
    assert timedelta(minutes=49) < long.expiry - short.expiry < timedelta(minutes=51)
    assert long.value not in repr(long)
    assert long.value != short.value


def test_events_are_recorded_also_of_what_is_gone(site: Site) -> None:
    cluster, manifest = site.client(), site.config_map(a="1")
    cluster.apply([manifest])
    cluster.record_event(key_of(manifest), "WindowOpened", "opened until 02:43")
    cluster.record_event(key_of(site.config_map("gone")), "WindowClosed", "closed late", warning=True)
    told = [event for event in site.events() if str(event[2]).startswith("Window")]
    assert sorted(told) == [
        ("ConfigMap", "a", "WindowOpened", "opened until 02:43", False),
        ("ConfigMap", "gone", "WindowClosed", "closed late", True),
    ]


def test_two_clocks_that_agree_have_no_skew(site: Site) -> None:
    assert site.client().clock_skew() == timedelta(0)


def test_fields_go_whoever_owns_them(site: Site) -> None:
    shared = site.config_map(kept="1", gone="1")
    shared["metadata"]["annotations"] = {"example.com/gone": "1"}
    site.install(shared)
    cluster = site.client()
    cluster.apply([shared])
    key = key_of(shared)
    absent = key_of(site.config_map("absent"))
    gone = [("data", "gone"), ("metadata", "annotations", "example.com/gone"), ("data", "never")]
    cluster.remove_fields({key: gone, absent: [("data", "x")]})
    assert data_of(cluster, shared) == {"kept": "1"}
    live = cluster.get([key])[key]
    assert live is not None
    assert not live["metadata"].get("annotations")
    cluster.remove_fields({key: [("data", "gone")]})
    assert data_of(cluster, shared) == {"kept": "1"}


def test_of_a_secret_a_list_tells_the_metadata_alone(site: Site) -> None:
    metadata = {"name": "s", "namespace": site.namespace, "annotations": {"example.com/a": "1"}}
    site.install({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "hunter2"}})
    site.install(site.config_map(shown="1"))
    listed = site.client().list([("", "Secret"), *CONFIG_MAPS], [site.namespace])
    secret, config_map = (next(item for item in listed if item["metadata"]["name"] == name) for name in ("s", "a"))
    assert "hunter2" not in str(secret)
    assert not {"data", "stringData"} & secret.keys()
    assert secret["metadata"]["annotations"] == {"example.com/a": "1"}
    assert config_map["data"] == {"shown": "1"}
