"""How a cluster is reached: kubeconfigs, the OIDC token of a job, the ServiceAccount of a pod."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from breakglass.adapters.credentials import access_to
from breakglass.model.errors import Refused, Unreachable
from breakglass.model.policy import ClusterSettings

SERVER = "https://prod-eu.k8s.example.com"
SETTINGS = ClusterSettings(
    baseline="base", server=SERVER, audience="breakglass/prod-eu", certificateAuthority="an authority"
)
Write = Callable[..., Path]


class Time:
    """A clock that nothing moves but sleeping."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, duration: timedelta) -> None:
        self.time += duration


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(contexts, current, user=…, **cluster)` → a kubeconfig in a directory with a space in its name."""

    def make(contexts: list[str], current: str = "", user: Any = None, **cluster: Any) -> Path:
        path = tmp_path / "a directory" / "config"
        path.parent.mkdir(exist_ok=True)
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": current,
            "clusters": [
                {"name": name, "cluster": {"server": f"https://{name}.k8s.example.com", **cluster}} for name in contexts
            ],
            "users": [{"name": "me", "user": {"token": "secret-token"} if user is None else user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in contexts],
        }
        path.write_text(yaml.safe_dump(kubeconfig))
        return path

    return make


def test_the_context_named_like_the_cluster_is_taken(write: Write) -> None:
    path = write(["prod-us", "prod-eu"], "prod-us")
    for access in (
        access_to("prod-eu", None, path, environment={}),
        access_to("prod-eu", None, environment={"KUBECONFIG": f"/nonexistent:{path}"}),
    ):
        assert access.server == SERVER
        assert access.authorization == "Bearer secret-token"
    assert access_to("prod-eu", None, path, context="prod-us", environment={}).server != SERVER


def test_the_current_context_is_taken_only_where_it_cannot_be_another_cluster(write: Write) -> None:
    path = write(["work", "prod-us"], "prod-us")
    variable = {"KUBECONFIG": str(path)}
    with pytest.raises(Refused, match="may be another cluster"):
        access_to("prod-eu", SETTINGS, environment=variable)
    same = SETTINGS.model_copy(update={"server": "https://prod-us.k8s.example.com/"})
    for access in (
        access_to("prod-eu", same, environment=variable),
        access_to("prod-eu", SETTINGS, path, environment={}),
        access_to("", None, environment=variable),
    ):
        assert access.server == "https://prod-us.k8s.example.com"


def test_a_kubeconfig_without_a_current_context_is_enough(write: Write) -> None:
    assert access_to("prod-eu", None, write(["prod-eu"]), environment={}).server == SERVER
    with pytest.raises(Refused, match="no context drill"):
        access_to("drill", None, write(["prod-eu"]), environment={})


def test_the_default_kubeconfig_comes_last(write: Write, tmp_path: Path) -> None:
    path = write(["prod-eu"])
    (tmp_path / ".kube").mkdir()
    path.rename(tmp_path / ".kube" / "config")
    assert access_to("prod-eu", None, environment={"HOME": str(tmp_path)}).server == SERVER
    with pytest.raises(Refused, match="nothing says how"):
        access_to("prod-eu", None, environment={"HOME": str(tmp_path / "nobody")})


def test_secrets_are_in_no_repr_and_in_no_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    user = {"client-certificate-data": "Y2VydGlmaWNhdGU=", "client-key-data": "c2VjcmV0LWtleQ=="}
    access = access_to("prod-eu", None, write(["prod-eu"], user=user), environment={})
    assert (access.client_certificate, access.client_key) == ("certificate", "secret-key")
    assert "secret-key" not in repr(access)
    assert not list(scratch.iterdir())
    again = access_to("prod-eu", None, write(["prod-eu"], user=user), environment={})
    assert again.client_key == "secret-key"
    assert "secret-token" not in repr(access_to("prod-eu", None, write(["prod-eu"]), environment={}))


_PLUGIN = """
import json, pathlib, sys
count = pathlib.Path(sys.argv[1])
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
status = {"token": f"token-{number}"}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def test_threads_read_kubeconfigs_at_the_same_time(write: Write) -> None:
    names = ["prod-eu", "prod-us"]
    authority = base64.b64encode(b"an authority").decode()
    files = write(names, **{"certificate-authority-data": authority})
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: access_to(names[number % 2], None, files), range(100)))
    assert [access.server for access in found] == [f"https://{name}.k8s.example.com" for name in names] * 50
    assert {access.certificate_authority for access in found} == {"an authority"}


def test_an_exec_plugin_gives_a_fresh_token_when_asked_again(write: Write, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = tmp_path / "plugin.py"
    script.write_text(_PLUGIN)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(script), str(count)],
    }
    access = access_to("prod-eu", None, write(["prod-eu"], user={"exec": plugin}), environment={})
    assert access.authorization == "Bearer token-1"
    assert access.renew is not None
    assert access.renew() == "Bearer token-2"


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({}, {}, "no credential"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}}, {}, "no credential"),
        (None, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
        (None, {"server": "http://prod-eu.k8s.example.com"}, "is not https"),
        (None, {"server": "ftp://127.0.0.1"}, "is not https"),
        (None, {"server": "https://[::1"}, "cannot be read"),
        ({"token": "two\r\nlines: yes"}, {}, "no token has"),
        (None, {"certificate-authority": "nothing.crt"}, "cannot be read"),
        (None, {"certificate-authority-data": "%%%"}, "is empty"),
        ("text", {}, "cannot be read"),
    ],
)
def test_a_kubeconfig_that_is_not_safe_or_not_readable_is_refused(
    write: Write, user: Any, cluster: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        access_to("prod-eu", None, write(["prod-eu"], user=user, **cluster), environment={})


@pytest.mark.parametrize("content", [b"", b"[]", b"contexts: 7", b"{", b"\xff\xfe", b"a: &a [*a]", None])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refused, match="kubeconfig"):
        access_to("prod-eu", None, path, environment={})


def test_plain_http_is_for_loopback_only_and_needs_no_credential(write: Write) -> None:
    # `kubectl proxy` adds its own credential.
    access = access_to("prod-eu", None, write(["prod-eu"], user={}, server="http://127.0.0.1:8001"), environment={})
    assert access.server == "http://127.0.0.1:8001"


class _Issuer(ThreadingHTTPServer):
    """What a job asks for its OIDC token: it gives these answers in turn and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        super().__init__(("127.0.0.1", 0), _IssuerHandler)
        self.answers = list(answers)
        self.asked: list[tuple[str | None, dict[str, list[str]]]] = []


class _IssuerHandler(BaseHTTPRequestHandler):
    server: _Issuer

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Authorization"], parse_qs(urlsplit(self.path).query)))
        status, body = self.server.answers.pop(0)
        self.send_response_only(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def _job(*answers: tuple[int, object]) -> Iterator[tuple[_Issuer, dict[str, str]]]:
    """An issuer and the environment of a job that asks it."""
    with _Issuer(*answers) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield (
                server,
                {
                    "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{server.server_port}/token?api-version=2.0",
                    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-token",
                },
            )
        finally:
            server.shutdown()
            thread.join()


def test_a_job_asks_for_a_token_of_the_clusters_audience() -> None:
    with _job((503, b""), (200, b"<h1>"), (200, {"value": "a.b.c"}), (200, {"value": "d.e.f"})) as (
        server,
        environment,
    ):
        access = access_to("prod-eu", SETTINGS, environment=environment, clock=Time())
        assert (access.server, access.certificate_authority) == (SERVER, "an authority")
        assert access.authorization == "Bearer a.b.c"
        assert access.renew is not None
        assert access.renew() == "Bearer d.e.f"
    query = {"api-version": ["2.0"], "audience": ["breakglass/prod-eu"]}
    assert server.asked == [("Bearer request-token", query)] * 4
    assert "a.b.c" not in repr(access)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([(403, b"")], Refused),
        ([(302, b"")], Refused),
        ([(200, {"value": "two\nlines"})], Refused),
        ([(200, {"value": 7})], Refused),
        ([(500, b"")] * 60, Unreachable),
        ([(200, {})] * 60, Unreachable),
        ([(200, b"x" * 1_000_000)] * 60, Unreachable),
    ],
)
def test_a_job_that_gets_no_token_says_so(answers: list[tuple[int, object]], error: type[Exception]) -> None:
    with _job(*answers) as (_, environment), pytest.raises(error, match="OIDC token"):
        access_to("prod-eu", SETTINGS, environment=environment, clock=Time())


def test_a_job_without_an_audience_in_the_policy_has_no_way_in() -> None:
    settings = SETTINGS.model_copy(update={"audience": None})
    with _job() as (server, environment), pytest.raises(Refused, match="nothing says how"):
        access_to("prod-eu", settings, environment=environment)
    assert not server.asked


def test_a_pod_reads_its_token_again_when_it_is_replaced(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    (tmp_path / "token").write_text("first\n")
    with pytest.raises(Refused, match="cannot be read"):
        access_to("", None, environment=environment, service_account=tmp_path)
    (tmp_path / "ca.crt").write_text("an authority")
    access = access_to("", None, environment=environment, service_account=tmp_path)
    assert (access.server, access.certificate_authority) == ("https://10.96.0.1:443", "an authority")
    assert access.authorization == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    assert access.renew is not None
    assert access.renew() == "Bearer second"
    environment["KUBERNETES_SERVICE_HOST"] = "fd00::1"
    assert access_to("", None, environment=environment, service_account=tmp_path).server == "https://[fd00::1]:443"


def test_a_proxy_is_used_where_the_environment_names_one(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", "k8s.example.com")
    assert access_to("prod-eu", None, write(["prod-eu"]), environment={}).proxy is None
    elsewhere = write(["prod-eu"], server="https://api.example.org")
    assert access_to("prod-eu", None, elsewhere, environment={}).proxy == "http://proxy.example.com:3128"
    here = write(["prod-eu"], server="https://127.0.0.1:6443")
    assert access_to("prod-eu", None, here, environment={}).proxy is None
