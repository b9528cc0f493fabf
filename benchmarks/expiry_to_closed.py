"""Expiry → closed: how late the cluster is shut, by either of the two keys alone."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from measurement import Figures, duration
from scene import CLUSTER, Emergency, applier, approved, networkpolicies, plane_of, platform, requested
from timeline import watched

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.model.inventory import Inventory, InventoryObject
from breakglass.model.manifest import ACTIVATION_LABEL
from breakglass_lab.controlplane import ControlPlane
from breakglass_lab.platform import Platform, wait_for

TITLE = "Expiry → closed"
AGENT_ROUNDS, WORKFLOW_ROUNDS = 5, 3
AGENT_WINDOW, WORKFLOW_WINDOW = "15s", "25s"
WINDOWS, A_SECOND = 200, 2
"""How many windows end, and how many of them in one second."""
# The pod's directory of credentials is no option of the command: a pod has it where Kubernetes puts it.
IN_A_POD = """
import sys
from pathlib import Path
from breakglass.adapters import credentials
credentials.access_to.__kwdefaults__["service_account"] = Path(sys.argv.pop(1))
from breakglass.cli import main
main()
"""
EXPIRE_CRON = "3-58/5 * * * *"
NETWORKPOLICIES = "networking.k8s.io/v1/networkpolicies"


def run() -> list[str]:
    """Many windows, by the agent; then one at a time: by the agent alone, and by the workflow files alone."""
    return [
        f"Key 2, the agent in the cluster, {WINDOWS} windows of two objects, {A_SECOND} of them ending in each second: "
        "from the expiry to the last object's deletion, as a watch on the API server sees it.",
        "",
        *_many(),
        "Key 2, the agent in the cluster: from the expiry to the last emergency object observed absent.",
        "",
        *_by_agent().table("agent alone"),
        "Key 1, git: `expire.yml` is fired at the expiry (GitHub's scheduler, which may be minutes late, is not "
        "counted); it opens and merges the closing pull request, whose merge starts `apply.yml`.",
        "",
        *_by_workflows().table("workflows alone"),
    ]


def _many() -> list[str]:
    """The lateness of many windows with everything healthy, then the same with the forge and its scheduler gone."""
    lines = ["| windows end | p50 | p99 | max | agent, resident |", "|---|--:|--:|--:|--:|"]
    with platform(workflows=True) as on:
        lines.append(_row("with everything healthy", on))
        on.forge.close()
        lines.append(_row("with GitHub, git and the scheduler dead", on))
    return [*lines, ""]


def _row(name: str, on: Platform) -> str:
    lateness, resident = _ended(on)
    ordered = sorted(lateness)
    p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
    figures = " | ".join(duration(seconds) for seconds in (median(ordered), p99, ordered[-1]))
    return f"| {name} | {figures} | {resident / 2**20:.0f} MiB |"


def _ended(on: Platform) -> tuple[list[float], int]:
    """Open many windows in a cluster, and let its agent end them.

    Returns:
        Seconds from each expiry to the deletion of its last object; bytes that the agent holds with all of them open.
    """
    plane = plane_of(on)
    writer = KubernetesCluster(CLUSTER, access_to("", None, applier(on)), SystemClock())
    with _agent(plane) as process, _deletions(plane) as seen:
        begin = math.ceil(time.time()) + 30
        expiries = {number: begin + number // A_SECOND for number in range(WINDOWS)}
        windows = [_window(number, expiry) for number, expiry in expiries.items()]
        writer.inventories()
        for window in windows:
            writer.write_inventory(window)
        writer.apply(item.emergency for window in windows for item in window.objects if item.emergency is not None)
        if time.time() > begin:
            raise RuntimeError("the first windows ended before all were open")
        resident = _resident(process.pid)
        wait_for(lambda: len(seen) == 2 * WINDOWS, 60 + max(expiries.values()) - time.time(), "all shut")
    for inventory in writer.inventories():
        writer.delete_inventory(inventory.activation)
    writer.close()
    return [max(seen[name] for name in _names_of(number)) - expiry for number, expiry in expiries.items()], resident


def _window(number: int, expiry: float) -> Inventory:
    identity = f"2026-11-23-many-{number:04x}"
    objects = []
    for name, manifest in zip(_names_of(number), networkpolicies(2), strict=True):
        metadata = {"name": name, "namespace": "data", "labels": {ACTIVATION_LABEL: identity}}
        objects.append(InventoryObject(baseline=None, emergency={**manifest, "metadata": metadata}))
    end = datetime.fromtimestamp(expiry, UTC)
    return Inventory(
        activation=identity,
        overlay="many",
        digest="sha256:" + "a" * 64,
        commit="b" * 40,
        requestedBy="robin",
        approvedBy=["ines", "dana"],
        openedAt=end - timedelta(minutes=30),
        expiry=end,
        phase="open",
        objects=objects,
    )


def _names_of(number: int) -> tuple[str, str]:
    return f"many-{number}-a", f"many-{number}-b"


@contextmanager
def _agent(plane: ControlPlane) -> Iterator[subprocess.Popen[bytes]]:
    """The agent as a pod runs it: by its ServiceAccount's files alone."""
    address = urlsplit(plane.server)
    where = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
    with tempfile.TemporaryDirectory(prefix="breakglass-benchmark-") as account:
        (Path(account) / "token").write_text(plane.token("breakglass", "agent"), encoding="ascii")
        (Path(account) / "ca.crt").write_text(plane.certificate_authority, encoding="ascii")
        command = [sys.executable, "-c", IN_A_POD, account, "agent", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **where}, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _deletions(plane: ControlPlane) -> Iterator[dict[str, float]]:
    """When the API server tells each NetworkPolicy of `data` as deleted: name → Unix time, filled meanwhile."""
    seen: dict[str, float] = {}
    url = f"{plane.server}/apis/networking.k8s.io/v1/namespaces/data/networkpolicies?watch=true&resourceVersion=0"
    answer = urllib.request.urlopen(url, context=plane.tls(), timeout=600)

    def read() -> None:
        for line in answer:
            event = json.loads(line)
            if event["type"] == "DELETED":
                seen[event["object"]["metadata"]["name"]] = time.time()

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    yield seen
    # The thread ends with the process: closing a response that another thread reads would block here.


def _resident(pid: int) -> int:
    """Bytes of memory that a process has resident."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def _by_agent() -> Figures:
    figures = Figures()
    with platform(agents=True) as on:
        for _ in range(AGENT_ROUNDS):
            emergency = requested(on, duration=AGENT_WINDOW)
            approved(on, emergency)
            on.merge("ines", emergency.number)
            on.breakglass(on.app.login, "apply", CLUSTER, "--kubeconfig", str(applier(on)))
            expiry = _expiry(on, emergency)
            _await_absence(on, emergency)
            figures.add("expiry → closed", (datetime.now(UTC) - expiry).total_seconds())
    return figures


def _by_workflows() -> Figures:
    figures = Figures()
    with platform(clusters=("prod-eu", "prod-us"), workflows=True) as on:
        for _ in range(WORKFLOW_ROUNDS):
            _add_phases(on, _expired(on), figures)
    return figures


def _expired(on: Platform) -> Emergency:
    """An emergency that was opened by the workflow, at the moment of its expiry."""
    emergency = requested(on, duration=WORKFLOW_WINDOW)
    approved(on, emergency)
    on.merge("ines", emergency.number)
    wait_for(lambda: f"{emergency.id} open" in on.inventories(CLUSTER), 120, "open")
    expiry = _expiry(on, emergency)
    on.settle()
    wait_for(lambda: datetime.now(UTC) >= expiry, 60, "over")
    return emergency


def _add_phases(on: Platform, emergency: Emergency, figures: Figures) -> None:
    with watched(on) as timeline:
        begin = time.monotonic()
        on.forge.fire_schedule(EXPIRE_CRON)
        _await_absence(on, emergency)
        closed = time.monotonic()
        on.settle()
        recorded = time.monotonic()
    expire, apply = timeline.jobs["expire"], timeline.jobs[f"apply ({CLUSTER})"]
    check, checked = timeline.jobs["check"], timeline.jobs["check"].steps["Check the pull request"][1]
    expiring, applying = expire.steps["Expire"][0], apply.steps["Apply"][0]
    figures.add("event, start of `expire.yml`, its first steps (forge and runner)", expiring - begin)
    figures.add("`breakglass expire` until the closing pull request is open (**ours**)", check.seen - expiring)
    figures.add("its required check, by `check.yml` (runner and **ours**)", checked - check.seen)
    figures.add("`breakglass expire` merges, delivery of the event (**ours** and forge)", apply.seen - checked)
    figures.add("start of `apply.yml`, its first steps (runner)", applying - apply.seen)
    figures.add("`breakglass apply` until the cluster is shut (**ours**)", closed - applying)
    figures.add("**expiry → closed**", closed - begin)
    figures.add("from then until it is recorded and seen by `breakglass expire`", recorded - closed)


def _expiry(on: Platform, emergency: Emergency) -> datetime:
    """When a window ends, as its inventory in the cluster says."""
    path = f"/api/v1/namespaces/breakglass/configmaps/activation-{emergency.id}"
    with on.clusters[CLUSTER].client() as client:
        told = client.call("GET", path)["metadata"]["annotations"]["breakglass.dev/expiry"]
    return datetime.fromisoformat(told)


def _await_absence(on: Platform, emergency: Emergency) -> None:
    """Return when the cluster holds no object of the emergency any more."""
    wait_for(
        lambda: not any(emergency.id in name for space in ("data", "ops") for name in _names(on, space)), 180, "shut"
    )


def _names(on: Platform, namespace: str) -> list[str]:
    return on.names(CLUSTER, NETWORKPOLICIES, namespace)
