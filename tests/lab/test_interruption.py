"""The proxy that interrupts: what the API server and the client see of each fault."""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from breakglass_lab.controlplane import Client, ControlPlane, install
from breakglass_lab.interruption import Answer, Interruption, Request, Reset, Rule, Truncated, status

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


def test_a_watch_streams(proxy: Interruption, call: Caller, path: str) -> None:
    with closing(Caller(proxy).connection) as watch:
        watch.request("GET", f"{path}?watch=true&fieldSelector=metadata.name=one")
        events = watch.getresponse()
        call("POST", path, config_map("one"))
        assert json.loads(events.readline())["type"] == "ADDED"
        call("DELETE", f"{path}/one")
        assert json.loads(events.readline())["type"] == "DELETED"


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
