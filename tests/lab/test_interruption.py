"""The proxy that interrupts: what the API server and the client see of each fault."""

import base64
import http.client
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from breakglass_lab.controlplane import Client, ControlPlane, StatusError, install
from breakglass_lab.controlplane.certificates import Authority
from breakglass_lab.interruption import (
    Answer,
    Interruption,
    Request,
    Reset,
    Rule,
    Slow,
    Truncated,
    by_chance,
    denied,
    kind_of,
    numbered,
    status,
)

pytestmark = pytest.mark.lab

Eventually = Callable[[Callable[[], bool], str], None]
KUBECTL = Path(sys.executable).with_name("kubectl")


@pytest.fixture
def proxy(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Interruption]:
    with Interruption(control_plane, tmp_path / "kubeconfig of the proxy") as proxy:
        yield proxy


class Caller:
    """One kept connection to the proxy."""

    def __init__(self, proxy: Interruption) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(proxy.server).netloc, timeout=30)

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, Any]:
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content, {"Content-Type": "application/json"} | (headers or {}))
        answer = self.connection.getresponse()
        return answer, json.loads(answer.read() or b"null")


@pytest.fixture
def call(proxy: Interruption) -> Iterator[Caller]:
    caller = Caller(proxy)
    with closing(caller.connection):
        yield caller


@pytest.fixture
def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def names(control_plane: ControlPlane, path: str) -> set[str]:
    """The ConfigMaps of the test, as the API server itself tells."""
    with control_plane.client() as client:
        return {item["metadata"]["name"] for item in client.call("GET", path)["items"]} - {"kube-root-ca.crt"}


def test_it_passes_requests_on_and_counts_writes(
    proxy: Interruption, call: Caller, control_plane: ControlPlane, path: str
) -> None:
    assert call("POST", path, config_map("one"))[0].status == 201
    assert call("POST", f"{path}?dryRun=All", config_map("dry"))[0].status == 201
    assert call("GET", f"{path}/one")[1]["metadata"]["name"] == "one"
    assert call("DELETE", f"{path}/one")[0].status == 200
    assert call("GET", f"{path}/one")[1]["reason"] == "NotFound"
    assert [(write.method, write.path) for write in proxy.writes] == [("POST", path), ("DELETE", f"{path}/one")]
    assert names(control_plane, path) == set()


def test_before_a_write_it_never_arrives(
    proxy: Interruption, call: Caller, control_plane: ControlPlane, path: str
) -> None:
    seen: list[set[str]] = []
    proxy.before(2, lambda: seen.append(names(control_plane, path)))
    call("POST", path, config_map("one"))
    with pytest.raises(ConnectionResetError):
        call("POST", path, config_map("two"))
    assert (seen, names(control_plane, path)) == ([{"one"}], {"one"})


def test_after_a_write_it_is_done_and_nobody_told(
    proxy: Interruption, call: Caller, control_plane: ControlPlane, path: str
) -> None:
    seen: list[set[str]] = []
    proxy.after(1, lambda: seen.append(names(control_plane, path)))
    with pytest.raises(ConnectionResetError):
        call("POST", path, config_map("one"))
    assert seen == [{"one"}]


@pytest.mark.parametrize(("moment", "left"), [("before", {"a"}), ("after", {"a", "b"})])
def test_it_kills_an_applier_at_its_second_write(
    proxy: Interruption,
    control_plane: ControlPlane,
    namespace: str,
    path: str,
    tmp_path: Path,
    moment: str,
    left: set[str],
) -> None:
    manifests = tmp_path / "manifests.json"
    items = [{**config_map(name), "metadata": {"name": name, "namespace": namespace}} for name in "abc"]
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), encoding="utf-8")
    command = [KUBECTL, "--kubeconfig", proxy.kubeconfig, "apply", "--server-side", "--filename", manifests]
    started: list[subprocess.Popen[bytes]] = []
    getattr(proxy, moment)(2, lambda: started[0].kill())
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as applier:
        started.append(applier)
    assert applier.returncode == -signal.SIGKILL
    assert names(control_plane, path) == left


@pytest.mark.parametrize(
    ("code", "reason", "retry_after"),
    [
        (409, "Conflict", None),
        (422, "Invalid", None),
        (429, "TooManyRequests", 3),
        (500, "InternalError", None),
        (503, "ServiceUnavailable", 1),
    ],
)
def test_it_answers_as_the_api_server_would(
    proxy: Interruption,
    call: Caller,
    control_plane: ControlPlane,
    path: str,
    code: int,
    reason: str,
    retry_after: int | None,
) -> None:
    proxy.rules.append(
        Rule(lambda request: request.is_write, status(code, reason, "so it is", retry_after=retry_after))
    )
    answer, body = call("POST", path, config_map("one"))
    assert (answer.status, body["code"], body["reason"], body["message"]) == (code, code, reason, "so it is")
    assert answer.headers["Retry-After"] == (None if retry_after is None else str(retry_after))
    assert names(control_plane, path) == set()
    assert call("POST", path, config_map("one"))[0].status == 201, "the rule is used up"


def test_the_client_of_the_lab_asks_again_when_told_to(
    proxy: Interruption, control_plane: ControlPlane, path: str
) -> None:
    initializing = status(429, "TooManyRequests", "storage is (re)initializing", retry_after=0)
    proxy.rules.append(Rule(lambda request: request.is_write, initializing, times=2))
    with Client(proxy.server, control_plane.tls()) as client:
        client.call("POST", path, config_map("one"))
    assert (len(proxy.writes), names(control_plane, path)) == (3, {"one"})


def test_the_first_rule_that_matches_and_is_left_decides(proxy: Interruption, call: Caller, path: str) -> None:
    def deletes(request: Request) -> bool:
        return request.method == "DELETE"

    proxy.rules += [Rule(deletes, Answer(418, b"1"), times=2), Rule(lambda _: True, Answer(418, b"2"))]
    answers = [call(method, path)[1] for method in ("DELETE", "GET", "DELETE")]
    assert answers == [1, 2, 1]
    assert call("GET", path)[0].status == 200


@pytest.mark.parametrize("forwarded", [False, True])
def test_it_resets_a_connection(
    proxy: Interruption, call: Caller, control_plane: ControlPlane, path: str, forwarded: bool
) -> None:
    proxy.rules.append(Rule(lambda request: request.is_write, Reset(forwarded)))
    with pytest.raises(ConnectionResetError):
        call("POST", path, config_map("one"))
    assert names(control_plane, path) == ({"one"} if forwarded else set())


def test_it_sends_half_an_answer(proxy: Interruption, call: Caller, control_plane: ControlPlane, path: str) -> None:
    proxy.rules.append(Rule(lambda request: request.is_write, Truncated()))
    with pytest.raises(http.client.IncompleteRead) as half:
        call("POST", path, config_map("one"))
    assert half.value.expected is not None
    assert abs(len(half.value.partial) - half.value.expected) <= 1
    assert names(control_plane, path) == {"one"}


@pytest.mark.parametrize(
    ("method", "target", "content_type", "verb", "resource"),
    [
        ("GET", "/api/v1/namespaces/a/pods/b", "", "get", "pods"),
        ("GET", "/api/v1/namespaces/a/pods?limit=5", "", "list", "pods"),
        ("GET", "/api/v1/pods?watch=1", "", "watch", "pods"),
        ("GET", "/api/v1/namespaces/a/pods?watch=true", "", "watch", "pods"),
        ("GET", "/api/v1/namespaces", "", "list", "namespaces"),
        ("GET", "/api/v1/namespaces/a", "", "get", "namespaces"),
        ("DELETE", "/api/v1/namespaces/a", "", "delete", "namespaces"),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", "", "create", "pods/eviction"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "", "update", "leases"),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b", "application/json-patch+json", "patch", "deployments"),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b", "application/apply-patch+yaml", "apply", "deployments"),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments", "", "deletecollection", "deployments"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/b", "", "get", "clusterroles"),
        ("GET", "/apis", "", "get", ""),
        ("GET", "/readyz", "", "get", ""),
    ],
)
def test_a_request_is_named_as_rbac_names_it(
    method: str, target: str, content_type: str, verb: str, resource: str
) -> None:
    request = Request(method, target, {"content-type": content_type}, b"")
    assert (request.verb, request.resource) == (verb, resource)


def test_any_request_can_be_met_by_its_number_or_kind(proxy: Interruption, call: Caller, path: str) -> None:
    proxy.rules += [
        Rule(numbered(2, 4), Answer(418, b"1"), times=None),
        Rule(kind_of("delete", "configmaps"), Answer(418, b"2")),
    ]
    asked = [("GET", path), ("GET", path), ("DELETE", f"{path}/a"), ("DELETE", f"{path}/a"), ("DELETE", f"{path}/a")]
    assert [call(method, target)[0].status for method, target in asked] == [200, 418, 418, 418, 404]
    assert [str(request) for request in proxy.requests] == [
        f"list {path}",
        f"list {path}",
        *[f"delete {path}/a"] * 3,
    ]
    assert [(request.number, request.write, request.earlier) for request in proxy.requests] == [
        (1, 0, 0),
        (2, 0, 1),
        (3, 1, 0),
        (4, 2, 1),
        (5, 3, 2),
    ]


def test_chance_needs_nothing_but_the_seed() -> None:
    requests = [Request("GET", f"/{name}", {}, b"", number, earlier=number) for number, name in enumerate("ab" * 500)]
    for probability in (0, 0.1, 1):
        chosen = [request for request in requests if by_chance(probability, 7)(request)]
        assert abs(len(chosen) - 1000 * probability) <= 40
        late = [Request("GET", request.target, {}, b"", 9, earlier=request.earlier) for request in chosen]
        assert all(map(by_chance(probability, 7), late))
    some = [request.number for request in requests if by_chance(0.1, 7)(request)]
    assert some != [request.number for request in requests if by_chance(0.1, 8)(request)]


def test_it_holds_an_answer_back(proxy: Interruption, call: Caller, control_plane: ControlPlane, path: str) -> None:
    proxy.rules.append(Rule(lambda request: request.is_write, Slow(0.3)))
    begin = time.monotonic()
    assert call("POST", path, config_map("one"))[0].status == 201
    assert time.monotonic() - begin >= 0.3
    assert names(control_plane, path) == {"one"}


@pytest.mark.parametrize("fault", [None, Answer(418)])
def test_its_clock_can_be_wrong(proxy: Interruption, call: Caller, path: str, fault: Answer | None) -> None:
    if fault is not None:
        proxy.rules.append(Rule(lambda _: True, fault, times=None))
    for ahead in (timedelta(0), timedelta(hours=3), timedelta(minutes=-5)):
        proxy.ahead = ahead
        answer, _ = call("GET", path)
        (date,) = answer.headers.get_all("Date") or []
        assert abs(parsedate_to_datetime(date) - datetime.now(UTC) - ahead) < timedelta(seconds=5)


class Webhook(BaseHTTPRequestHandler):
    """An admission webhook that says what its path says: `/CODE/REASON`; neither where the reason is `none`."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, code, reason = urlsplit(self.path).path.split("/")
        told = {"message": "not tonight"} | ({} if reason == "none" else {"code": int(code), "reason": reason})
        review["response"] = {"uid": review["request"]["uid"], "allowed": False, "status": told}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def webhook_of(control_plane: ControlPlane, namespace: str, directory: Path, path: str) -> Iterator[None]:
    """The API server asks a webhook about the ConfigMaps of a namespace."""
    authority = Authority("webhook")
    pair = authority.server("127.0.0.1")
    (directory / "pair.pem").write_text(pair.certificate + pair.key, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "pair.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        bundle = base64.b64encode(authority.certificate.encode()).decode()
        hook = {
            "name": "night.acme.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"url": f"https://127.0.0.1:{server.server_port}{path}", "caBundle": bundle},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
        }
        configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        manifest = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        with control_plane.client() as client:
            client.call("POST", configurations, {**manifest, "metadata": {"name": namespace}, "webhooks": [hook]})
            try:
                yield
            finally:
                client.call("DELETE", f"{configurations}/{namespace}")
                server.shutdown()
                thread.join()


@pytest.mark.parametrize(("code", "reason"), [(400, "none"), (403, "Forbidden"), (422, "Invalid")])
def test_a_webhook_that_rejects_is_worded_as_the_api_server_words_it(
    proxy: Interruption,
    call: Caller,
    control_plane: ControlPlane,
    namespace: str,
    path: str,
    tmp_path: Path,
    eventually: Eventually,
    code: int,
    reason: str,
) -> None:
    def refused() -> bool:
        try:
            with control_plane.client() as client:
                client.call("POST", f"{path}?dryRun=All", config_map("probe"))
        except StatusError:
            return True
        return False

    with webhook_of(control_plane, namespace, tmp_path, f"/{code}/{reason}"):
        eventually(refused, "the API server asks the webhook")
        real, real_status = call("POST", path, config_map("one"))
    chosen = {} if reason == "none" else {"code": code, "reason": reason}
    proxy.rules.append(Rule(lambda request: request.is_write, denied("night.acme.example", "not tonight", **chosen)))
    ours, our_status = call("POST", path, config_map("one"))
    assert (ours.status, our_status) == (real.status, real_status)


def test_a_watch_streams(proxy: Interruption, call: Caller, path: str) -> None:
    with closing(Caller(proxy).connection) as watch:
        watch.request("GET", f"{path}?watch=true&fieldSelector=metadata.name=one")
        events = watch.getresponse()
        call("POST", path, config_map("one"))
        assert json.loads(events.readline())["type"] == "ADDED"
        call("DELETE", f"{path}/one")
        assert json.loads(events.readline())["type"] == "DELETED"


def test_a_watch_can_be_cut_in_an_event(proxy: Interruption, call: Caller, path: str) -> None:
    proxy.rules.append(Rule(kind_of("watch", "configmaps"), Truncated()))
    with closing(Caller(proxy).connection) as watch:
        watch.request("GET", f"{path}?watch=true&fieldSelector=metadata.name=one")
        events = watch.getresponse()
        call("POST", path, config_map("one"))
        length, _, half = events.fp.read().partition(b"\r\n")
        assert half.startswith(b'{"type":"ADDED"')
        assert 0 < len(half) < int(length, 16)


def test_a_watch_can_be_reset(proxy: Interruption, path: str) -> None:
    proxy.rules.append(Rule(kind_of("watch", "configmaps"), Reset(forwarded=True)))
    with closing(Caller(proxy).connection) as watch:
        watch.request("GET", f"{path}?watch=true")
        with pytest.raises(ConnectionResetError):
            watch.getresponse()


def test_an_api_server_that_restarts_breaks_connections_and_refuses_new_ones(
    proxy: Interruption, control_plane: ControlPlane, path: str, eventually: Eventually
) -> None:
    idle, watching = Caller(proxy), Caller(proxy).connection
    with closing(idle.connection), closing(watching):
        idle("GET", path)
        watching.request("GET", f"{path}?watch=true&fieldSelector=metadata.name=one")
        events = watching.getresponse()
        proxy.go_away()
        assert _has_ended(events)
        with pytest.raises(ConnectionRefusedError):
            Caller(proxy)("GET", path)
        proxy.come_back()
        proxy.before(1, lambda: proxy.restart(0.2))
        with closing((broken := Caller(proxy)).connection), pytest.raises(ConnectionError):
            broken("POST", path, config_map("one"))
        with pytest.raises(ConnectionRefusedError):
            Caller(proxy)("GET", path)

        def is_back() -> bool:
            try:
                with closing((caller := Caller(proxy)).connection):
                    return caller("GET", path)[0].status == 200
            except ConnectionRefusedError:
                return False

        eventually(is_back, "the proxy listens again")
    assert names(control_plane, path) == set()


def test_it_can_end_while_it_restarts(control_plane: ControlPlane, tmp_path: Path) -> None:
    with Interruption(control_plane, tmp_path / "kubeconfig") as proxy:
        proxy.restart(60)
    with pytest.raises(ConnectionRefusedError):
        Caller(proxy)("GET", "/")


def test_the_administrator_can_act_as_a_user(control_plane: ControlPlane, path: str, tmp_path: Path) -> None:
    with Interruption(control_plane, tmp_path / "kubeconfig", user="breakglass:applier") as proxy:
        caller = Caller(proxy)
        with closing(caller.connection):
            answer, body = caller("GET", path)
    assert answer.status == 403
    assert 'User "breakglass:applier" cannot list' in body["message"]


@pytest.mark.parametrize("whose", ["client", "proxy"])
def test_a_token_is_used_and_not_the_administrator(
    control_plane: ControlPlane, namespace: str, path: str, tmp_path: Path, whose: str
) -> None:
    metadata = {"name": "stranger", "namespace": namespace}
    install(control_plane, [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}])
    token = control_plane.token(namespace, "stranger")
    headers = {"Authorization": f"Bearer {token}"} if whose == "client" else {}
    with Interruption(control_plane, tmp_path / "kubeconfig", token=token if whose == "proxy" else None) as proxy:
        caller = Caller(proxy)
        with closing(caller.connection):
            answer, body = caller("GET", path, headers=headers)
    assert answer.status == 403
    assert f"system:serviceaccount:{namespace}:stranger" in body["message"]


def test_an_api_server_that_is_away_resets(call: Caller, control_plane: ControlPlane, path: str) -> None:
    control_plane.stop_api_server()
    try:
        with pytest.raises(ConnectionResetError):
            call("GET", path)
    finally:
        control_plane.start_api_server()
    call.connection.close()
    assert call("GET", path)[0].status == 200


def test_leaving_ends_kept_connections_and_watches(control_plane: ControlPlane, path: str, tmp_path: Path) -> None:
    with Interruption(control_plane, tmp_path / "kubeconfig") as proxy:
        idle, watching = Caller(proxy).connection, Caller(proxy).connection
        for connection, target in ((idle, path), (watching, f"{path}?watch=true")):
            connection.request("GET", target)
        idle.getresponse().read()
        events = watching.getresponse()
    with closing(idle), closing(watching):
        while not _has_ended(events):
            pass
        with pytest.raises(OSError, match=r"."):
            Caller(proxy)("GET", path)


def _has_ended(events: http.client.HTTPResponse) -> bool:
    try:
        return events.readline() == b""
    except (http.client.HTTPException, ConnectionError):
        return True
