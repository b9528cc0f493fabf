"""The agent as a process of its own against a real API server: exact, whoever dies, hangs or is told to end."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from emergency import agree, ask

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.model.inventory import Inventory, InventoryObject
from breakglass.model.manifest import ACTIVATION_LABEL
from breakglass_lab.controlplane import ControlPlane, gateway_api_crds, install
from breakglass_lab.platform import PROGRAMS, ROOT, running, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

LATE_SECONDS = 1.0
"""Seen on a laptop: 0.02. A machine that runs other tests meanwhile may be slow."""
STANDBY_SECONDS = 2.0
LARGEST_RESIDENT = 60 * 2**20
POLICIES = "/apis/networking.k8s.io/v1/namespaces/data/networkpolicies"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/breakglass/leases/agent"
# The pod's directory of credentials is no option of the command: a pod has it where Kubernetes puts it.
IN_A_POD = """
import sys
from pathlib import Path
from breakglass.adapters import credentials
credentials.access_to.__kwdefaults__["service_account"] = Path(sys.argv.pop(1))
from breakglass.cli import main
main()
"""


class Site:
    """A cluster with the platform's baseline, and windows that the applier opens in it."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self.plane, self.directory = plane, directory
        applier = access_to("", None, plane.kubeconfig_as("breakglass:applier", directory / "applier.kubeconfig"))
        self.applier = KubernetesCluster("prod-eu", applier, SystemClock())
        self.kubeconfig = plane.kubeconfig_for(plane.token("breakglass", "agent"), directory / "agent.kubeconfig")

    def open(self, name: str, seconds: float, objects: int = 2) -> Inventory:
        """Open a window that ends at the first whole second that is so many seconds away."""
        expiry = datetime.fromtimestamp(math.ceil(time.time() + seconds), UTC)
        identity = f"2026-11-23-{name}-7f3a"
        manifests: list[dict[str, Any]] = [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {
                    "name": f"{name}-{number}",
                    "namespace": "data",
                    "labels": {ACTIVATION_LABEL: identity},
                },
                "spec": {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"]},
            }
            for number in range(objects)
        ]
        inventory = Inventory(
            activation=identity,
            overlay=name,
            digest="sha256:" + "a" * 64,
            commit="b" * 40,
            requestedBy="robin",
            approvedBy=["ines", "dana"],
            openedAt=expiry - timedelta(minutes=30),
            expiry=expiry,
            phase="open",
            objects=[InventoryObject(baseline=None, emergency=manifest) for manifest in manifests],
        )
        self.applier.inventories()
        self.applier.write_inventory(inventory)
        self.applier.apply(manifests)
        return inventory

    def lateness(self, window: Inventory, patience: float = 30) -> float:
        """Seconds from the expiry until the last object of a window is observed absent."""
        prefix = f"{window.overlay}-"
        with self.plane.client() as client:
            wait_for(
                lambda: (
                    not any(
                        item["metadata"]["name"].startswith(prefix) for item in client.call("GET", POLICIES)["items"]
                    )
                ),
                (window.expiry - datetime.now(UTC)).total_seconds() + patience,
                f"{window.overlay} shut",
            )
        return (datetime.now(UTC) - window.expiry).total_seconds()

    def closed_by(self, window: Inventory) -> str | None:
        found = {item.activation: item for item in self.applier.inventories()}
        return found[window.activation].closedBy

    def holder(self) -> str:
        """Who holds the agents' Lease; empty where nobody does."""
        with self.plane.client() as client:
            return str(client.call("GET", LEASE)["spec"].get("holderIdentity") or "")

    def clear(self) -> None:
        """Shut every window that a test left open, and forget them all."""
        inventories = self.applier.inventories()
        live = self.applier.get(key for inventory in inventories for key in inventory.claims)
        self.applier.delete(manifest for manifest in live.values() if manifest is not None)
        for inventory in inventories:
            self.applier.delete_inventory(inventory.activation)


@dataclass
class Process:
    """A running agent."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.text("/metrics"), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def end(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(10)


class Agents:
    """Starts agents, and ends those that still run."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site, self.directory, self.started = site, directory, list[Process]()

    def start(
        self, *options: str, kubeconfig: Path | None = None, environment: dict[str, str] | None = None
    ) -> Process:
        kubeconfig = kubeconfig or self.site.kubeconfig
        command = [str(PROGRAMS / "breakglass"), "agent", "--kubeconfig", str(kubeconfig), *options]
        return self.run(command, environment or {})

    def start_leading(self) -> Process:
        """Start one, and wait until it holds the Lease."""
        started = self.start()
        wait_for(lambda: started.metric("breakglass_leader") == 1, 30, "leading")
        return started

    def start_in_a_pod(self) -> Process:
        """Start it as a pod does: by its ServiceAccount's files, without a kubeconfig and what it takes to read one."""
        account = self.directory / "serviceaccount"
        account.mkdir()
        (account / "token").write_text(self.site.plane.token("breakglass", "agent"))
        (account / "ca.crt").write_text(self.site.plane.certificate_authority)
        address = urlsplit(self.site.plane.server)
        where = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
        return self.run([sys.executable, "-c", IN_A_POD, str(account), "agent"], where)

    def run(self, command: list[str], environment: dict[str, str]) -> Process:
        log = self.directory / f"agent-{len(self.started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--listen", "127.0.0.1:0"],
                cwd=self.directory,
                env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **environment},
                stdout=output,
                stderr=output,
            )
        started = Process(process, log, 0)
        self.started.append(started)
        found = wait_for(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text()), 30, log.read_text())
        started.port = int(found[1])
        wait_for(lambda: not math.isnan(started.metric("breakglass_last_heartbeat_timestamp_seconds")), 30, "a turn")
        return started

    def close(self) -> None:
        for started in self.started:
            if started.process.poll() is None:
                started.end()
        self.site.clear()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("an agent's cluster")
    rendered = subprocess.run([PROGRAMS / "kubectl", "kustomize", ROOT / "base"], capture_output=True, check=True)
    baseline = [manifest for manifest in yaml.safe_load_all(rendered.stdout) if manifest]
    with ControlPlane.start(directory / "plane", name="prod-eu") as plane:
        install(plane, [*gateway_api_crds(), *baseline])
        site = Site(plane, directory)
        yield site
        site.applier.close()


@pytest.fixture
def agents(site: Site, tmp_path: Path) -> Iterator[Agents]:
    with ExitStack() as stack:
        started = Agents(site, tmp_path)
        stack.callback(started.close)
        yield started


def test_it_ends_each_window_at_its_expiry_and_tells_so(site: Site, agents: Agents) -> None:
    before = site.open("before", 4)
    agent = agents.start_leading()
    windows = [site.open(f"w{number}", 2 + number) for number in range(3)]
    assert agent.text("/healthz") == "ok\n"
    lateness = [site.lateness(window) for window in windows]
    assert max(lateness) < LATE_SECONDS, lateness
    assert site.lateness(before) < 30
    wait_for(lambda: [site.closed_by(window) for window in windows] == ["agent"] * 3, 10, "recorded")
    wait_for(lambda: agent.metric("breakglass_open_windows") == 0, 10, "looked again")
    assert agent.metric('breakglass_closings_total{result="closed"}') == 4
    assert agent.metric('breakglass_closings_total{result="failed"}') == 0
    assert agent.metric('breakglass_failures_total{operation="turn"}') == 0
    assert math.isnan(agent.metric("breakglass_next_expiry_seconds"))
    with site.plane.client() as client:
        reasons = wait_for(lambda: _reasons(client, "data", "w0-"), 10, "Events about the objects")
        assert reasons == {"BreakglassRemoved"}
        assert _reasons(client, "breakglass", "activation-2026-11-23-w0-7f3a") == {"BreakglassClosed"}


def _reasons(client: Any, namespace: str, about: str) -> set[str]:
    events = client.call("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    return {event["reason"] for event in events if event["regarding"]["name"].startswith(about)}


def test_told_to_end_it_ends_within_a_second_and_gives_up_the_lease(site: Site, agents: Agents) -> None:
    agent = agents.start_leading()
    begin = time.monotonic()
    assert agent.end() == 0
    assert time.monotonic() - begin < 1
    assert site.holder() == ""


def test_an_api_server_that_comes_back_finds_the_agent_waiting(site: Site, agents: Agents) -> None:
    agent = agents.start()
    window = site.open("outage", 2)
    site.plane.stop_api_server()
    wait_for(lambda: agent.metric('breakglass_failures_total{operation="turn"}') > 0, 60, "failing")
    site.plane.start_api_server()
    back = datetime.now(UTC)
    site.lateness(window, 60)
    assert (datetime.now(UTC) - back).total_seconds() < 10
    assert agent.metric('breakglass_closings_total{result="closed"}') == 1


def test_a_forge_that_never_answers_delays_no_closing(site: Site, agents: Agents, tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    subprocess.run(["git", "init", "--quiet", str(clone)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        policy = yaml.safe_load((ROOT / "breakglass.yaml").read_text())
        policy["spec"]["forge"]["api"] = address
        (clone / "breakglass.yaml").write_text(json.dumps(policy))
        remote = ("remote", "add", "origin", f"{address}/acme/platform.git")
        subprocess.run(["git", "-C", str(clone), *remote], check=True)
        (tmp_path / "token").write_text("a-token")
        options = ("--follow", "prod-eu", "--directory", str(clone), "--interval", "1s", "--token-file")
        agent = agents.start(*options, str(tmp_path / "token"))
        silent.settimeout(60)
        asked, _ = silent.accept()
        with asked:
            window = site.open("hanging", 2)
            assert site.lateness(window) < LATE_SECONDS + STANDBY_SECONDS * (agent.metric("breakglass_leader") == 0)
            assert math.isnan(agent.metric("breakglass_last_fetch_timestamp_seconds"))


def test_it_stays_small_with_fifty_open_windows(site: Site, agents: Agents) -> None:
    for number in range(50):
        site.open(f"many{number}", 3600)
    agent = agents.start_in_a_pod()
    wait_for(lambda: agent.metric("breakglass_open_windows") == 50, 30, "looked")
    resident = agent.metric("process_resident_memory_bytes")
    assert resident < LARGEST_RESIDENT, f"{resident / 2**20:.1f} MiB"


@pytest.mark.parametrize("fate", [signal.SIGSTOP, signal.SIGKILL])
def test_the_second_agent_closes_what_the_first_cannot(site: Site, agents: Agents, fate: signal.Signals) -> None:
    first, second = agents.start_leading(), agents.start()
    leader, window = site.holder(), site.open("two", 3)
    first.process.send_signal(fate)
    assert second.metric("breakglass_leader") == 0
    assert site.holder() == leader, "closing does not wait until the Lease is over"
    lateness = site.lateness(window)
    assert STANDBY_SECONDS <= lateness < STANDBY_SECONDS + LATE_SECONDS
    wait_for(lambda: site.closed_by(window) == "agent", 10, "recorded")


def test_told_to_end_it_does_not_wait_for_an_api_server_that_is_gone(site: Site, agents: Agents) -> None:
    agent = agents.start()
    os.kill(site.plane.pids["kube-apiserver"], signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert agent.end() == 0
        assert time.monotonic() - begin < 1
    finally:
        os.kill(site.plane.pids["kube-apiserver"], signal.SIGCONT)


def test_pull_mode_opens_what_was_merged_and_records_what_it_closed(tmp_path: Path) -> None:
    with running(tmp_path / "platform", print, clusters=("prod-eu",), workflows=False, agents=False) as platform:
        plane = platform.clusters["prod-eu"]
        assert isinstance(plane, ControlPlane)
        site = Site(plane, tmp_path)
        agents = Agents(site, tmp_path)
        kubeconfig = plane.kubeconfig_as("breakglass:applier", tmp_path / "follower.kubeconfig")
        environment = platform.environment(platform.app.login)
        clone = platform.clone(platform.app.login)
        try:
            agent = agents.start(
                "--follow",
                "prod-eu",
                "--directory",
                str(clone),
                "--interval",
                "1s",
                kubeconfig=kubeconfig,
                environment=environment,
            )
            request = ask(platform, "db-from-bastion", "--for", "10s")
            agree(platform, request, "ines", "dana")
            wait_for(lambda: f"{request.id} open" in platform.inventories("prod-eu"), 60, agent.log.read_text())
            (inventory,) = site.applier.inventories()
            site.lateness(inventory)
            wait_for(lambda: platform.inventories("prod-eu") == [], 60, agent.log.read_text())
            assert agent.metric("breakglass_failed_applies_total") == 0, agent.log.read_text()
            assert agent.metric("breakglass_last_fetch_timestamp_seconds") > 0
        finally:
            agents.close()
            site.applier.close()
