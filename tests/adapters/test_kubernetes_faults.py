"""What the adapter makes of an API server that refuses, fails, is away, or is not the one it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from api_server import (
    NETWORK_POLICIES,
    Connect,
    Object,
    Time,
    find,
    live_of,
    new_inventory,
    policy_in,
)

from breakglass.adapters import kubernetes_http
from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.model.errors import BreakglassError, Conflict, NotFound, Refused, Unreachable
from breakglass.model.manifest import ACTIVATION_LABEL, ObjectKey, key_of
from breakglass_lab.controlplane import ControlPlane, install
from breakglass_lab.interruption import (
    Answer,
    Fault,
    Interruption,
    Request,
    Reset,
    Rule,
    Slow,
    Truncated,
    denied,
    status,
)

pytestmark = pytest.mark.lab


def _service_account(control_plane: ControlPlane, namespace: str, rules: list[Object]) -> Access:
    """Access as the ServiceAccount `default` of a namespace, with these rules in it."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "few", "namespace": namespace}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"}
    subject = {"kind": "ServiceAccount", "name": "few", "namespace": namespace}
    install(
        control_plane,
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "few", "namespace": namespace}},
            {**role, "kind": "Role", "rules": rules},
            {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
        ],
    )
    return Access(
        "a test",
        control_plane.server,
        certificate_authority=control_plane.certificate_authority,
        authorization=f"Bearer {control_plane.token(namespace, 'few')}",
    )


def test_a_missing_permission_is_refused_and_named(
    control_plane: ControlPlane, connect: Connect, namespace: str
) -> None:
    rules = [{"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list"]}]
    cluster = connect(_service_account(control_plane, namespace, rules))
    with pytest.raises(Refused, match=r'cannot patch resource "networkpolicies".* in the namespace') as refused:
        cluster.apply([policy_in(namespace)])
    assert "grant" in str(refused.value.remedy)
    assert cluster.labelled([NETWORK_POLICIES], [namespace]) == {}
    with pytest.raises(Refused, match="at the cluster scope"):
        cluster.labelled([NETWORK_POLICIES])


def test_a_credential_that_is_not_accepted_is_refused(administrator: Access, connect: Connect) -> None:
    access = replace(administrator, client_certificate=None, client_key=None, authorization="Bearer nobody")
    with pytest.raises(Refused, match="does not accept the credential") as refused:
        connect(access).inventories()
    assert "nobody" not in f"{refused.value}{refused.value.remedy}{access!r}"


def test_a_credential_that_runs_out_is_renewed_once_for_all(
    proxy: Interruption, control_plane: ControlPlane, connect: Connect, namespace: str
) -> None:
    first, second = (f"Bearer {control_plane.token('default', 'default', seconds)}" for seconds in (3600, 7200))
    renewals: list[str] = []

    def renew() -> str:
        renewals.append(second)
        return second

    proxy.rules.append(Rule(_review_with(first), status(401, "Unauthorized", "Unauthorized"), times=100))
    proxy.rules.append(Rule(_review_with(second), status(403, "Forbidden", "seen"), times=100))
    cluster = connect(Access("a test", proxy.server, authorization=first, renew=renew))
    with ThreadPoolExecutor(8) as threads:
        for answer in [threads.submit(cluster.may, "Group:acme", "get", "pods", "", namespace) for _ in range(24)]:
            with pytest.raises(Refused, match="seen"):
                answer.result()
    assert renewals == [second]


def _review_with(credential: str) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        return request.path.endswith("subjectaccessreviews") and request.headers["authorization"] == credential

    return matches


def test_every_request_carries_the_credential(
    proxy: Interruption, control_plane: ControlPlane, connect: Connect
) -> None:
    # Release 36.0.0 of the Kubernetes package sent none.
    seen: list[str | None] = []

    def look(request: Request) -> bool:
        seen.append(request.headers.get("authorization"))
        return False

    proxy.rules.append(Rule(look, Reset()))
    token = control_plane.token("default", "default")
    cluster = connect(access_to("prod-eu", None, control_plane.kubeconfig_for(token, proxy.kubeconfig)))
    through = connect(Access("a test", proxy.server, authorization=f"Bearer {token}"))
    for each in (cluster, through):
        with pytest.raises(Refused, match="system:serviceaccount:default:default"):
            each.get([ObjectKey(*NETWORK_POLICIES, "default", "nothing")])
    assert len(seen) >= 3
    assert set(seen) == {f"Bearer {token}"}


def test_an_api_server_that_is_not_trusted_gets_no_credential(administrator: Access, connect: Connect) -> None:
    clock = Time()
    with pytest.raises(Refused, match="is not trusted"):
        connect(replace(administrator, certificate_authority=None), clock).inventories()
    assert clock.slept == 0


_FAULTS: dict[str, Fault] = {
    "429": status(429, "TooManyRequests", "wait", retry_after=2),
    "500": status(500, "InternalError", "a webhook failed"),
    "502 with text": Answer(502, b"<h1>bad gateway</h1>", {"Content-Type": "text/html"}),
    "503": status(503, "ServiceUnavailable", "starting"),
    "504": status(504, "Timeout", "etcd is slow"),
    "reset before": Reset(),
    "reset after": Reset(forwarded=True),
    "half an answer": Truncated(),
    "200 with text": Answer(200, b"<h1>log in</h1>", {"Content-Type": "text/html"}),
    "200 with a list": Answer(200, b"[]", {"Content-Type": "application/json"}),
    "200 with no JSON": Answer(200, b'{"kind":', {"Content-Type": "application/json"}),
}
_FINAL: dict[str, tuple[Answer, type[BreakglassError]]] = {
    "400": (status(400, "BadRequest", "no"), Refused),
    "403": (status(403, "Forbidden", "no"), Refused),
    "404": (status(404, "NotFound", "no"), NotFound),
    "409": (status(409, "Conflict", "the object has been modified"), Conflict),
    "410": (status(410, "Expired", "too old"), Conflict),
    "413": (status(413, "RequestEntityTooLarge", "no"), Refused),
    "422": (status(422, "Invalid", "spec.x: Invalid value"), Refused),
    "a webhook that denies": (denied("policy.example.com", "not here"), Refused),
    "a webhook that denies with 403": (denied("policy.example.com", "no", code=403, reason="Forbidden"), Refused),
    "302": (Answer(302, b"", {"Location": "https://example.com/"}), Refused),
}


@pytest.mark.parametrize("fault", _FAULTS.values(), ids=_FAULTS)
def test_a_fault_that_passes_is_survived(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str, fault: Fault
) -> None:
    policy, inventory = policy_in(namespace, **{ACTIVATION_LABEL: "one"}), new_inventory()
    key = key_of(policy)
    opened = inventory.model_copy(update={"phase": "open"})
    calls: list[tuple[str, Callable[[], object]]] = [
        ("PATCH", lambda: interrupted.apply([policy])),
        ("GET", lambda: interrupted.get([key])),
        ("GET", lambda: interrupted.labelled([NETWORK_POLICIES])),
        ("PATCH", lambda: interrupted.disown({key: ()})),
        ("DELETE", lambda: interrupted.delete([live_of(cluster, key)])),
        ("POST", lambda: interrupted.write_inventory(inventory)),
        ("GET", interrupted.inventories),
        ("PUT", lambda: interrupted.write_inventory(opened)),
        ("DELETE", lambda: interrupted.delete_inventory(inventory.activation)),
        ("POST", lambda: interrupted.may("Group:acme", "get", "pods", "", namespace)),
    ]
    met: list[str] = []
    for method, call in calls:
        proxy.rules.append(Rule(_meeting(method, met), fault))
        call()
    assert met == [method for method, _ in calls]
    assert live_of(cluster, key) is None
    assert find(cluster, inventory) is None


def _meeting(method: str, met: list[str]) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        if request.method == method:
            met.append(method)
        return request.method == method

    return matches


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("fault", _FAULTS.values(), ids=_FAULTS)
def test_a_fault_that_stays_is_unreachable_in_bounded_time(
    proxy: Interruption, connect: Connect, namespace: str, fault: Fault, method: str
) -> None:
    clock = Time()
    cluster = connect(access_to("prod-eu", None, proxy.kubeconfig), clock)
    proxy.rules.append(Rule(lambda request: request.method == method, fault, times=10_000))
    with pytest.raises(Unreachable, match="prod-eu") as unreachable:
        cluster.apply([policy_in(namespace, f"policy-{number}") for number in range(20)])
    assert unreachable.value.exit_code == 4
    assert 5 < clock.slept < 45


@pytest.mark.parametrize(("answer", "error"), _FINAL.values(), ids=_FINAL)
@pytest.mark.parametrize("method", ["PATCH", "DELETE", "POST"])
def test_an_answer_that_is_final_is_not_asked_for_again(
    proxy: Interruption,
    connect: Connect,
    cluster: KubernetesCluster,
    namespace: str,
    answer: Answer,
    error: type[BreakglassError],
    method: str,
) -> None:
    clock = Time()
    interrupted = connect(access_to("prod-eu", None, proxy.kubeconfig), clock)
    live = cluster.apply([policy_in(namespace)])
    calls: dict[str, Callable[[], object]] = {
        "PATCH": lambda: interrupted.apply([policy_in(namespace, "other")]),
        "DELETE": lambda: interrupted.delete(live.values()),
        "POST": lambda: interrupted.write_inventory(new_inventory()),
    }
    proxy.rules.append(Rule(lambda request: request.method == method, answer, times=None))
    with pytest.raises(error):
        calls[method]()
    assert clock.slept == 0
    assert [request.method for request in proxy.writes] == [method]


def test_an_api_server_that_restarts_in_the_middle_is_waited_for(
    proxy: Interruption, connect: Connect, cluster: KubernetesCluster, namespace: str
) -> None:
    patient = connect(access_to("prod-eu", None, proxy.kubeconfig))
    policies = [policy_in(namespace, f"policy-{number}") for number in range(200)]
    proxy.after(100, lambda: proxy.restart(1.5))
    answers = patient.apply(policies)
    assert len(answers) == 200
    assert cluster.get(answers) == answers
    proxy.before(len(proxy.writes) + 100, lambda: proxy.restart(1.5))
    patient.delete(answers.values())
    assert cluster.get(answers) == dict.fromkeys(answers)


def test_slow_answers_are_waited_for(
    proxy: Interruption, connect: Connect, cluster: KubernetesCluster, namespace: str
) -> None:
    patient = connect(access_to("prod-eu", None, proxy.kubeconfig))
    proxy.rules.append(Rule(lambda request: request.resource == "networkpolicies", Slow(0.3), times=None))
    answers = patient.apply([policy_in(namespace, f"policy-{number}") for number in range(24)])
    patient.delete(answers.values())
    assert cluster.get(answers) == dict.fromkeys(answers)


def test_an_answer_that_never_ends_is_tried_again(
    proxy: Interruption, connect: Connect, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    monkeypatch.setattr(kubernetes_http, "_REQUEST_SECONDS", 0.2)
    patient = connect(access_to("prod-eu", None, proxy.kubeconfig))
    proxy.rules.append(Rule(lambda request: request.method == "PATCH", Slow(60)))
    policy = policy_in(namespace)
    assert key_of(policy) in patient.apply([policy])
    assert len(proxy.writes) == 2


@pytest.mark.parametrize(
    "ahead", [timedelta(hours=-3), timedelta(seconds=-20), timedelta(seconds=20), timedelta(days=1)]
)
def test_the_skew_of_the_clocks_is_measured_and_never_overstated(
    proxy: Interruption, connect: Connect, ahead: timedelta
) -> None:
    cluster = connect(access_to("prod-eu", None, proxy.kubeconfig))
    proxy.ahead = ahead
    for _ in range(2):
        skew = cluster.clock_skew()
        assert (skew > timedelta(0)) == (ahead > timedelta(0))
        assert abs(ahead) - timedelta(seconds=2.5) <= abs(skew) <= abs(ahead)
        cluster.inventories()
    proxy.ahead = timedelta(0)
    cluster.inventories()
    assert cluster.clock_skew() == timedelta(0)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 02:13:00 GMT", "Mon, 23 Nov 2026 02:13:00"])
def test_a_date_that_is_none_tells_no_skew(connect: Connect, date: str) -> None:
    with _stub(b'{"gitVersion": "v1"}') as (server, access):
        server.date = date
        assert connect(access).clock_skew() == timedelta(0)


def test_one_object_that_meets_a_fault_keeps_no_other(
    interrupted: KubernetesCluster, cluster: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    broken = status(500, "InternalError", "failed calling webhook")
    proxy.rules.append(Rule(lambda request: request.path.endswith("/policy-0"), broken, times=10_000))
    policies = [policy_in(namespace, f"policy-{number}") for number in range(20)]
    with pytest.raises(Unreachable, match=r"policy-0: .*failed calling webhook"):
        interrupted.apply(policies)
    live = cluster.get(map(key_of, policies))
    assert [key.name for key, item in live.items() if item is None] == ["policy-0"]


def test_a_404_that_names_no_object_proves_no_absence(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    # A load balancer without a backend answers like this.
    text = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
    keys = [ObjectKey(*NETWORK_POLICIES, namespace, "nothing"), ObjectKey("", "Pod", namespace, "nothing")]
    assert interrupted.get(keys) == dict.fromkeys(keys)
    proxy.rules.append(Rule(lambda request: request.path.endswith("/nothing"), text, times=100))
    with pytest.raises(Unreachable, match="does not serve it"):
        interrupted.get(keys[:1])
    proxy.rules.append(Rule(lambda _: True, text, times=100))
    with pytest.raises(BreakglassError):
        interrupted.get(keys[1:])
    with pytest.raises(BreakglassError):
        interrupted.delete_inventory("nothing")


class _Stub(ThreadingHTTPServer):
    """An API server in name only: it answers every GET with `body`, or with silence until `over` where that is None."""

    daemon_threads = True

    def __init__(self, body: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _StubHandler)
        self.body, self.over, self.requests, self.date = body, Event(), 0, ""


class _StubHandler(BaseHTTPRequestHandler):
    server: _Stub

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.server.body is None:
            self.server.over.wait(60)
            self.close_connection = True
            return
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Date", self.server.date)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def _stub(body: bytes | None) -> Iterator[tuple[_Stub, Access]]:
    with _Stub(body) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server, Access("a test", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def test_an_api_server_that_never_answers_is_given_up_for_all_objects_together(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_http, "_REQUEST_SECONDS", 0.05)
    with _stub(None) as (server, access):
        policies = [policy_in("shop", f"policy-{number}") for number in range(100)]
        with pytest.raises(Unreachable, match=r"time-out.*and 90 more"):
            connect(access, Time()).apply(policies)
        assert 3 < server.requests < 40


def test_an_api_server_that_is_not_there_is_unreachable(connect: Connect) -> None:
    with _stub(b"") as (_, access):
        pass
    clock = Time()
    with pytest.raises(Unreachable, match="connection refused"):
        connect(access, clock).inventories()
    assert 5 < clock.slept <= 20


def test_an_answer_without_bounds_is_refused(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_http, "LARGEST_ANSWER", 100_000)
    with (
        _stub(b'{"items": [' + b" " * 1_000_000 + b"]}") as (_, access),
        pytest.raises(Refused, match="larger than 100000 bytes"),
    ):
        connect(access, Time()).inventories()
