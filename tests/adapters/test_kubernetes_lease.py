"""The Lease against a real API server: who holds it when, and that nothing is written without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Event

import pytest
from api_server import Connect, Object, live_of, policy_in

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.adapters.kubernetes_http import Server
from breakglass.adapters.kubernetes_lease import COLLECTION, KubernetesLease
from breakglass.model.errors import Conflict, Unreachable
from breakglass.model.manifest import key_of
from breakglass_lab.controlplane import Client, ControlPlane
from breakglass_lab.interruption import Answer, Fault, Interruption, Reset, Rule, Truncated, status

pytestmark = pytest.mark.lab

AT_ONCE = timedelta(0)
A_SECOND = timedelta(seconds=1)
Hold = Callable[..., KubernetesLease]


@pytest.fixture
def hold(administrator: Access, namespace: str) -> Iterator[Hold]:
    """`hold(holder, access, duration)` → a Lease of the test's own."""
    with ExitStack() as leases:

        def make(holder: str, access: Access = administrator, duration: timedelta = A_SECOND) -> KubernetesLease:
            server = Server("prod-eu", access, SystemClock())
            leases.callback(server.close)
            lease = KubernetesLease(server, namespace, holder, duration)
            leases.callback(lease.abandon)
            return lease

        yield make


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[Client]:
    with control_plane.client() as client:
        yield client


@pytest.fixture
def through(proxy: Interruption) -> Access:
    """Access by way of the proxy."""
    return access_to("prod-eu", None, proxy.kubeconfig)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what


def spec_of(client: Client, name: str) -> Object:
    return dict(client.call("GET", f"{COLLECTION}/{name}")["spec"])


def steal(client: Client, name: str, thief: str = "thief") -> None:
    """Take a Lease as nobody should."""
    client.call(
        "PATCH",
        f"{COLLECTION}/{name}",
        {"spec": {"holderIdentity": thief}},
        headers={"Content-Type": "application/merge-patch+json"},
    )


def test_a_lease_tells_who_holds_it_and_how_often_it_changed_hands(hold: Hold, client: Client, namespace: str) -> None:
    first, second = hold("first"), hold("second")
    first.acquire(AT_ONCE)
    spec = spec_of(client, namespace)
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec.get("leaseTransitions", 0)) == ("first", 1, 0)
    assert spec["acquireTime"] == spec["renewTime"]
    first.release()
    assert spec_of(client, namespace)["holderIdentity"] == ""
    second.acquire(AT_ONCE)
    spec = spec_of(client, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)
    second.release()
    second.acquire(AT_ONCE)
    assert second.held()


def test_a_lease_is_renewed_while_it_is_held_and_not_after(hold: Hold, client: Client, namespace: str) -> None:
    lease, other = hold("first"), hold("second")
    lease.acquire(AT_ONCE)
    acquired = spec_of(client, namespace)["renewTime"]
    until(lambda: spec_of(client, namespace)["renewTime"] != acquired, "it is renewed")
    with pytest.raises(Conflict, match="first holds the lease since 2"):
        other.acquire(A_SECOND * 2)
    assert lease.held()
    lease.abandon()
    assert not lease.held()
    other.acquire(A_SECOND * 5)
    assert spec_of(client, namespace)["leaseTransitions"] == 1


def test_a_lease_of_another_is_over_by_our_clock_whatever_its_times_say(
    hold: Hold, client: Client, namespace: str
) -> None:
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "leaseTransitions": 7}
    for moment in ("2001-01-01T00:00:00.000000Z", "2101-01-01T00:00:00.000000Z"):
        times = {"acquireTime": moment, "renewTime": moment}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": namespace}}
        client.call("POST", COLLECTION, body | {"spec": spec | times})
        lease, begin = hold("next"), time.monotonic()
        with pytest.raises(Conflict, match=f"dead holds the lease since {moment}"):
            lease.acquire(A_SECOND / 2)
        lease.acquire(A_SECOND * 5)
        assert 1.5 < time.monotonic() - begin < 4
        assert spec_of(client, namespace)["leaseTransitions"] == 8
        lease.abandon()
        client.call("DELETE", f"{COLLECTION}/{namespace}")


def test_of_many_who_ask_at_once_one_gets_it(hold: Hold) -> None:
    leases = [hold(f"holder-{number}") for number in range(6)]

    def acquired(lease: KubernetesLease) -> bool:
        try:
            lease.acquire(AT_ONCE)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(acquired, leases)) == 1
    assert sum(lease.held() for lease in leases) == 1


@pytest.mark.parametrize("fault", [Reset(forwarded=True), Reset(), Truncated(), status(500, "InternalError", "no")])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_lost_answer_does_not_lose_the_lease(
    hold: Hold, proxy: Interruption, through: Access, fault: Fault, write: int
) -> None:
    lease = hold("first", through)
    proxy.rules.append(Rule(lambda request: request.write == write, fault))
    lease.acquire(AT_ONCE)
    until(lambda: len(proxy.writes) > write + 1, "it is renewed")
    until(lease.held, "it is still ours")
    lease.release()


def test_a_lease_that_cannot_be_renewed_is_not_held_before_another_can_have_it(
    hold: Hold, proxy: Interruption, through: Access
) -> None:
    lease, other = hold("first", through, A_SECOND * 2), hold("second")
    lease.acquire(AT_ONCE)
    proxy.go_away()
    taken = Event()
    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(lambda: (other.acquire(A_SECOND * 10), taken.set()))
        until(lambda: not lease.held(), "it is not held any more")
        assert not taken.is_set()
        taking.result()
    proxy.come_back()
    assert not lease.held()
    until(lambda: not lease.held() and other.held(), "the other has it")


def test_a_lease_that_could_not_be_renewed_for_a_while_is_held_again_if_nobody_took_it(
    hold: Hold, proxy: Interruption, through: Access, client: Client, namespace: str
) -> None:
    lease = hold("first", through)
    lease.acquire(AT_ONCE)
    acquired = spec_of(client, namespace)["acquireTime"]
    proxy.go_away()
    until(lambda: not lease.held(), "it is not held any more")
    proxy.come_back()
    until(lease.held, "it is held again")
    assert spec_of(client, namespace)["acquireTime"] == acquired


def test_a_stolen_lease_is_lost_at_once(hold: Hold, client: Client, namespace: str) -> None:
    lease = hold("first", duration=timedelta(minutes=10))
    lease.acquire(AT_ONCE)
    steal(client, namespace)
    until(lambda: not lease.held(), "the watch tells")
    lease.release()
    assert spec_of(client, namespace)["holderIdentity"] == "thief"


def test_a_stolen_lease_is_lost_also_to_one_of_the_same_name(hold: Hold) -> None:
    lease, again = hold("first", duration=timedelta(minutes=10)), hold("first", duration=timedelta(minutes=10))
    lease.acquire(AT_ONCE)
    again.acquire(AT_ONCE)
    until(lambda: not lease.held(), "the watch tells")
    assert again.held()


@pytest.mark.parametrize(
    "fault", [status(410, "Expired", "too old"), Reset(), Truncated(), Answer(200, b"<h1>"), status(500, "No", "no")]
)
def test_without_a_watch_the_next_renewal_notices(
    hold: Hold, proxy: Interruption, through: Access, client: Client, namespace: str, fault: Fault
) -> None:
    proxy.rules.append(Rule(lambda request: request.verb == "watch", fault, times=None))
    lease = hold("first", through)
    lease.acquire(AT_ONCE)
    steal(client, namespace)
    until(lambda: not lease.held(), "the renewal tells")
    lease.release()
    assert spec_of(client, namespace)["holderIdentity"] == "thief"


def test_a_lease_that_was_deleted_is_lost(hold: Hold, client: Client, namespace: str) -> None:
    lease = hold("first")
    lease.acquire(AT_ONCE)
    client.call("DELETE", f"{COLLECTION}/{namespace}")
    until(lambda: not lease.held(), "the renewal tells")
    lease.release()


def test_an_api_server_that_is_away_gives_no_lease(hold: Hold, proxy: Interruption, through: Access) -> None:
    lease = hold("first", through)
    proxy.go_away()
    with pytest.raises(Unreachable):
        lease.acquire(AT_ONCE)
    assert not lease.held()
    proxy.come_back()


def test_a_lease_stolen_in_the_middle_of_an_apply_stops_it_before_the_next_write(
    proxy: Interruption, through: Access, connect: Connect, client: Client, namespace: str
) -> None:
    cluster = connect(through)
    lease = cluster.lease(namespace, "first")
    lease.acquire(AT_ONCE)
    told: list[int] = []

    def stolen() -> None:
        steal(client, namespace)
        until(lambda: not lease.held(), "the watch tells")
        told.append(len(proxy.writes))

    proxy.before(40, stolen)
    policies = [policy_in(namespace, f"policy-{number}") for number in range(200)]
    with cluster.fenced(lease), pytest.raises(Conflict, match="lease of this cluster is not held") as conflict:
        cluster.apply(policies)
    assert conflict.value.exit_code == 4
    # Each of the other seven threads may have asked just before the watch told, and sent just after.
    assert 40 <= len(proxy.writes) <= told[0] + 7
    assert sum(live is not None for live in cluster.get(map(key_of, policies)).values()) < len(proxy.writes)


def test_reads_and_dry_runs_pass_the_fence(cluster: KubernetesCluster, namespace: str) -> None:
    policy = policy_in(namespace)
    lease = cluster.lease(namespace, "nobody")
    with cluster.fenced(lease):
        assert key_of(policy) in cluster.apply([policy], dry_run=True)
        assert live_of(cluster, key_of(policy)) is None
        assert cluster.inventories() is not None
        assert cluster.may("Group:system:masters", "delete", "nodes", "", "")
        lease.acquire(AT_ONCE)
        assert key_of(policy) in cluster.apply([policy])
        lease.release()
