"""`breakglass apply --all`: several clusters at once, one of which accepts every connection and never answers."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest
import yaml
from click.testing import CliRunner
from emergency import Request, agree

from breakglass.adapters import kubernetes_http
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.cli import breakglass
from breakglass_lab.platform import PROGRAMS, Platform, running, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

SILENT, LIVE = "prod-eu", ("prod-us", "drill")
"""The silent one is the policy's first: who took them in turn would come to the others after it."""


class SilentServer:
    """Accepts every connection and says nothing, as a context manager."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._connections: list[socket.socket] = []
        self._accepting = Thread(target=self._accept)

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"https://{host}:{port}"

    def has_client(self) -> bool:
        """Whether somebody waits for an answer right now."""
        return any(map(_is_open, self._connections))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._connections.append(connection)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for each in (self._listener, *self._connections):
            each.close()


def _is_open(connection: socket.socket) -> bool:
    """What the client sent is read away; then nothing says that it is there, an end or an error that it is gone."""
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@dataclass(frozen=True)
class Site:
    """The platform with one activation for the clusters that live, and a kubeconfig for all three."""

    platform: Platform
    silent: SilentServer
    kubeconfig: Path
    identity: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("several")
    with (
        running(directory, print, clusters=LIVE, workflows=False, agents=False) as platform,
        SilentServer() as silent,
    ):
        kubeconfig = directory / "kubeconfig of all"
        kubeconfig.write_text(yaml.safe_dump(merged_kubeconfig(platform, silent)), encoding="utf-8")
        clusters = [option for name in LIVE for option in ("--cluster", name)]
        why = ("--because", "checkout down", "--incident", "INC-4211", "--output", "json")
        told = json.loads(platform.breakglass("robin", "open", "db-from-bastion", *clusters, *why).stdout)
        request = Request(told["activation"]["metadata"]["name"], told["pullRequest"]["number"])
        agree(platform, request, "ines", "dana")
        yield Site(platform, silent, kubeconfig, request.id)


def merged_kubeconfig(platform: Platform, silent: SilentServer) -> dict[str, Any]:
    """A context for each cluster, named like it."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    parts = [yaml.safe_load(platform.kubeconfig(name).read_text(encoding="utf-8")) for name in LIVE]
    parts.append(
        {
            "clusters": [{"name": SILENT, "cluster": {"server": silent.address}}],
            "users": [{"name": SILENT, "user": {"token": "nobody-reads-this"}}],
            "contexts": [{"name": SILENT, "context": {"cluster": SILENT, "user": SILENT}}],
        }
    )
    for name, part in zip((*LIVE, SILENT), parts, strict=True):
        context = {"cluster": name, "user": name}
        merged.setdefault("clusters", []).append({**part["clusters"][0], "name": name})
        merged.setdefault("users", []).append({**part["users"][0], "name": name})
        merged.setdefault("contexts", []).append({"name": name, "context": context})
    return merged


def test_the_others_are_open_while_the_silent_one_is_still_waited_for(site: Site) -> None:
    login = site.platform.app.login
    with subprocess.Popen(
        [PROGRAMS / "breakglass", "apply", "--all", "--kubeconfig", site.kubeconfig],
        cwd=site.platform.clone(login),
        env=site.platform.environment(login),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for name in LIVE:
            wait_for(lambda name=name: site.platform.inventories(name) == [f"{site.identity} open"], 60, f"{name} open")
        wait_for(site.silent.has_client, 5, "waiting for the silent one")
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 4, errors
    head, *rows, last = output.splitlines()
    assert head.split() == ["CLUSTER", "RESULT", "OPEN", "CLOSED", "REFUSED", "PROBLEMS"]
    assert [row.split() for row in rows] == [
        ["prod-eu", "failed", "-", "-", "-", "1"],
        ["prod-us", "converged", "1", "0", "0", "0"],
        ["drill", "converged", "1", "0", "0", "0"],
    ]
    assert last.startswith("2 of 3 converged in ")
    assert f"  prod-us: open {site.identity} " in errors
    assert "prod-eu:\n" in errors


def test_programs_get_one_document_with_every_cluster(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_http, "_REQUEST_SECONDS", 0.5)
    monkeypatch.setitem(KubernetesCluster.__init__.__kwdefaults__, "patience", kubernetes_http.timedelta(seconds=1))
    monkeypatch.chdir(site.platform.clone(site.platform.app.login))
    for name, value in site.platform.environment(site.platform.app.login).items():
        monkeypatch.setenv(name, value)
    given = ["apply", "--all", "--output", "json", "--kubeconfig", str(site.kubeconfig)]
    done = CliRunner().invoke(breakglass, given, standalone_mode=False)
    assert done.exception is None
    assert done.return_value == 4
    document = json.loads(done.stdout)
    assert document["kind"] == "AppliedClusters"
    silent, *live = document["clusters"]
    assert (silent["cluster"], silent["exitCode"], silent.keys()) == (
        "prod-eu",
        4,
        {"cluster", "error", "remedy", "exitCode"},
    )
    assert [(each["cluster"], each["open"], each["problems"]) for each in live] == [
        (name, [site.identity], []) for name in LIVE
    ]
    assert len({each["commit"] for each in live}) == 1
