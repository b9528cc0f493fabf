"""The applier is killed (SIGKILL) before and after each of its writes: the next run converges, or the agent alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from emergency import agree, ask

from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.lifecycle.agent import close_expired
from breakglass_lab.interruption import Interruption
from breakglass_lab.platform import PROGRAMS, Platform, running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

When = Literal["before", "after"]
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
INVENTORIES = "/api/v1/namespaces/breakglass/configmaps"
OPENING_WRITES = 4  # the inventory, two NetworkPolicies, the inventory's phase
CLOSING_WRITES = 4  # two NetworkPolicies, the inventory's phase, the inventory


@dataclass(frozen=True)
class At:
    """A clock that stands still."""

    time: datetime

    def now(self) -> datetime:
        return self.time

    def sleep(self, duration: timedelta) -> None:
        raise AssertionError(f"nothing should wait {duration}")


@dataclass(frozen=True)
class Emergency:
    """One merged opening, and the objects of the cluster while it is open, to begin every case from."""

    platform: Platform
    id: str
    open_objects: list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emergency]:
    with running(
        tmp_path_factory.mktemp("kills"), print, clusters=("prod-eu",), workflows=False, agents=False
    ) as platform:
        request = ask(platform, "db-from-bastion")
        agree(platform, request, "ines", "dana")
        assert apply(platform).returncode == 0
        yield Emergency(platform, request.id, emergency_objects(platform))


def apply(platform: Platform, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    used = kubeconfig or platform.clusters["prod-eu"].kubeconfig
    return platform.breakglass(platform.app.login, "apply", "prod-eu", "--kubeconfig", str(used), code=None)


def emergency_objects(platform: Platform) -> list[tuple[str, dict[str, Any]]]:
    """What an opening adds to the cluster, with the collection each stands in, without what the server sets."""
    found = []
    collections = [INVENTORIES, POLICIES.format("data"), POLICIES.format("ops")]
    with platform.clusters["prod-eu"].client() as client:
        for collection in collections:
            for item in client.call("GET", collection)["items"]:
                labels = item["metadata"].get("labels", {})
                if "breakglass.dev/inventory" in labels or "breakglass.dev/activation" in labels:
                    for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
                        item["metadata"].pop(field, None)
                    found.append((collection, item))
    return found


def set_objects(platform: Platform, objects: list[tuple[str, dict[str, Any]]]) -> None:
    """Make exactly these the emergency objects of the cluster."""
    with platform.clusters["prod-eu"].client() as client:
        for collection, item in emergency_objects(platform):
            client.call("DELETE", f"{collection}/{item['metadata']['name']}")
        for collection, item in objects:
            client.call("POST", collection, item)


def killed_apply(platform: Platform, write: int, when: When, directory: Path) -> list[str]:
    """Run the applier through a proxy that kills it at one of its writes; the paths of its writes."""
    with Interruption(platform.clusters["prod-eu"], directory / "kubeconfig") as proxy:
        command = [str(PROGRAMS / "breakglass"), "apply", "prod-eu", "--kubeconfig", str(proxy.kubeconfig)]
        process = subprocess.Popen(
            command,
            cwd=platform.clone(platform.app.login),
            env=platform.environment(platform.app.login),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        arm = proxy.before if when == "before" else proxy.after
        arm(write, process.kill)
        assert process.wait(60) == -9, f"the applier made fewer than {write} writes"
        return [request.path for request in proxy.writes]


def names(platform: Platform) -> list[str]:
    return sorted(item["metadata"]["name"] for _, item in emergency_objects(platform))


WHENS: tuple[When, ...] = ("before", "after")
OPENING = [(write, when) for write in range(1, OPENING_WRITES + 1) for when in WHENS]
CLOSING = [(write, when) for write in range(1, CLOSING_WRITES + 1) for when in WHENS]


@pytest.mark.parametrize(("write", "when"), OPENING)
def test_killed_while_opening_the_next_run_opens(opened: Emergency, write: int, when: When, tmp_path: Path) -> None:
    platform = opened.platform
    set_objects(platform, [])
    writes = killed_apply(platform, write, when, tmp_path)
    assert writes[0] == INVENTORIES, "the inventory is written before the first object"
    assert apply(platform).returncode == 0
    assert names(platform) == sorted(item["metadata"]["name"] for _, item in opened.open_objects)
    assert platform.inventories("prod-eu") == [f"{opened.id} open"]


@pytest.mark.parametrize(("write", "when"), OPENING)
def test_killed_while_opening_the_agent_alone_ends_the_window(
    opened: Emergency, write: int, when: When, tmp_path: Path
) -> None:
    platform = opened.platform
    set_objects(platform, [])
    killed_apply(platform, write, when, tmp_path)
    in_an_hour = At(datetime.now(UTC) + timedelta(hours=1))
    close_expired(
        KubernetesCluster("prod-eu", access_to("prod-eu", None, platform.clusters["prod-eu"].kubeconfig), in_an_hour),
        in_an_hour,
    )
    assert [name for name in names(platform) if "bastion" in name and not name.startswith("activation-")] == []
    assert platform.inventories("prod-eu") in ([], [f"{opened.id} closed"])


@pytest.mark.parametrize(("write", "when"), CLOSING)
def test_killed_while_closing_the_next_run_closes(closing: Emergency, write: int, when: When, tmp_path: Path) -> None:
    platform = closing.platform
    set_objects(platform, closing.open_objects)
    killed_apply(platform, write, when, tmp_path)
    assert apply(platform).returncode == 0
    assert names(platform) == []


@pytest.fixture(scope="module")
def closing(opened: Emergency) -> Emergency:
    """The same emergency after its closing pull request was merged; the cluster has not heard of it yet."""
    platform = opened.platform
    platform.breakglass("robin", "close", opened.id, code=None)
    pulls = platform.call("pat", "GET", "/pulls?state=open")
    platform.approve("ines", pulls[0]["number"])
    platform.merge("ines", pulls[0]["number"])
    return opened
