"""Waiting for a change of the inventories: at once when there is one, and never longer than asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from api_server import Connect, find, new_inventory

from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.model.errors import Refused, Unreachable
from breakglass_lab.controlplane import ControlPlane, install
from breakglass_lab.interruption import Answer, Fault, Interruption, Reset, Rule, Slow, Truncated, status

pytestmark = pytest.mark.lab

LONG = timedelta(minutes=5)


@pytest.fixture
def watching(proxy: Interruption, connect: Connect) -> KubernetesCluster:
    """A client by way of the proxy, with the clock of the machine."""
    return connect(access_to("prod-eu", None, proxy.kubeconfig), patience=timedelta(seconds=2))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what


def watches(proxy: Interruption) -> int:
    return sum(request.verb == "watch" for request in proxy.requests)


def test_a_change_ends_the_wait_at_once(
    watching: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption
) -> None:
    inventory = new_inventory()
    changes: list[Callable[[], object]] = [
        lambda: cluster.write_inventory(inventory),
        lambda: cluster.write_inventory(inventory.model_copy(update={"phase": "open"})),
        lambda: cluster.delete_inventory(inventory.activation),
    ]
    with ThreadPoolExecutor(1) as threads:
        for number, change in enumerate(changes, 1):
            watching.inventories()
            waiting = threads.submit(watching.await_change, LONG)
            until(lambda number=number: watches(proxy) == number, "it watches")
            assert not waiting.done()
            change()
            begin = time.monotonic()
            assert waiting.result(30)
            assert time.monotonic() - begin < 2


def test_a_change_before_the_wait_is_not_missed(watching: KubernetesCluster, cluster: KubernetesCluster) -> None:
    inventory = new_inventory()
    assert watching.await_change(LONG)
    watching.inventories()
    cluster.write_inventory(inventory)
    assert watching.await_change(LONG)
    assert find(watching, inventory) == inventory
    cluster.delete_inventory(inventory.activation)
    assert watching.await_change(LONG)


def test_the_wait_ends_exactly_when_it_should(cluster: KubernetesCluster, watching: KubernetesCluster) -> None:
    for client in (cluster, watching):
        client.inventories()
        for seconds in (0.0, 0.02, 0.4, 1.1):
            begin = time.monotonic()
            assert not client.await_change(timedelta(seconds=seconds))
            late = time.monotonic() - begin - seconds
            assert 0 <= late < 0.1


def test_other_config_maps_are_no_change(
    watching: KubernetesCluster, control_plane: ControlPlane, proxy: Interruption
) -> None:
    watching.inventories()
    with ThreadPoolExecutor(1) as threads:
        begin = time.monotonic()
        waiting = threads.submit(watching.await_change, timedelta(seconds=2))
        until(lambda: watches(proxy) == 1, "it watches")
        metadata = {"name": "other", "namespace": "breakglass"}
        install(control_plane, [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}])
        assert not waiting.result(30)
        assert 2 <= time.monotonic() - begin < 2.15
    with control_plane.client() as client:
        client.call("DELETE", "/api/v1/namespaces/breakglass/configmaps/other")


def test_other_requests_pass_while_one_waits(watching: KubernetesCluster, proxy: Interruption) -> None:
    watching.inventories()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(watching.await_change, LONG)
        until(lambda: watches(proxy) == 1, "it watches")
        for _ in range(20):
            watching.inventories()
        inventory = new_inventory()
        watching.write_inventory(inventory)
        assert waiting.result(30)
        watching.delete_inventory(inventory.activation)


_EVENT = b'{"type": "%s", "object": {"kind": "Status", "code": %d, "metadata": {"name": "activation-x"}}}\n'
_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "fault",
    {
        "410": status(410, "Expired", "too old resource version"),
        "410 as an event": Answer(200, _EVENT % (b"ERROR", 410), _JSON),
        "500 as an event": Answer(200, _EVENT % (b"ERROR", 500), _JSON),
        "the end": Answer(200, b"", _JSON),
        "nonsense": Answer(200, b"[]\n{}\n", _JSON),
        "text": Answer(200, b"<h1>log in</h1>\n", _JSON),
        "half an event": Truncated(),
    }.items(),
    ids=lambda fault: fault[0],
)
def test_what_ends_a_watch_is_a_reason_to_read_again(
    watching: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, fault: tuple[str, Fault]
) -> None:
    proxy.rules.append(Rule(lambda request: request.verb == "watch", fault[1], times=None))
    watching.inventories()
    inventory = new_inventory()
    cluster.write_inventory(inventory)
    assert watching.await_change(LONG)
    cluster.delete_inventory(inventory.activation)


@pytest.mark.parametrize("fault", [Reset(), status(503, "ServiceUnavailable", "starting"), status(429, "Busy", "wait")])
def test_what_passes_is_tried_again_and_what_stays_is_unreachable(
    watching: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, fault: Fault
) -> None:
    watching.inventories()
    proxy.rules.append(Rule(lambda request: request.verb == "watch", fault, times=2))
    inventory = new_inventory()
    cluster.write_inventory(inventory)
    assert watching.await_change(LONG)
    cluster.delete_inventory(inventory.activation)
    proxy.rules.append(Rule(lambda request: request.verb == "watch", fault, times=None))
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="inventories in breakglass"):
        watching.await_change(LONG)
    assert time.monotonic() - begin < 4


def test_an_answer_that_is_late_keeps_nobody_longer_than_he_asked(
    watching: KubernetesCluster, proxy: Interruption
) -> None:
    watching.inventories()
    proxy.rules.append(Rule(lambda request: request.verb == "watch", Slow(60), times=None))
    begin = time.monotonic()
    assert not watching.await_change(timedelta(seconds=0.5))
    assert 0.5 <= time.monotonic() - begin < 0.7


def test_an_api_server_that_goes_away_ends_the_wait(watching: KubernetesCluster, proxy: Interruption) -> None:
    watching.inventories()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(watching.await_change, LONG)
        until(lambda: watches(proxy) == 1, "it watches")
        proxy.go_away()
        # It may have gone before the first byte of the answer.
        with suppress(Unreachable):
            assert waiting.result(30)
        with pytest.raises(Unreachable):
            watching.await_change(LONG)
    proxy.come_back()


def test_who_may_not_watch_is_refused(administrator: Access, control_plane: ControlPlane, connect: Connect) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "lister", "namespace": "breakglass"}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lister"}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "breakglass"}
    install(
        control_plane,
        [
            {**role, "kind": "Role", "rules": rules},
            {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
        ],
    )
    token = f"Bearer {control_plane.token('breakglass', 'default')}"
    authority = administrator.certificate_authority
    cluster = connect(Access("a test", administrator.server, certificate_authority=authority, authorization=token))
    cluster.inventories()
    with pytest.raises(Refused, match="cannot watch"):
        cluster.await_change(LONG)
