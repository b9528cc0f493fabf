"""Expiry → closed: how late the cluster is shut, by either of the two keys alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from measurement import Figures
from scene import CLUSTER, Emergency, approved, platform, requested
from timeline import watched

from breakglass_lab.platform import Platform, wait_for

TITLE = "Expiry → closed"
AGENT_ROUNDS, WORKFLOW_ROUNDS = 5, 3
# An agent sees what opened while it sleeps after ten seconds at the latest: a window is longer than that.
AGENT_WINDOW, WORKFLOW_WINDOW = "15s", "25s"
EXPIRE_CRON = "3-58/5 * * * *"
NETWORKPOLICIES = "networking.k8s.io/v1/networkpolicies"


def run() -> list[str]:
    """The agent alone, without forge or workflow; then the workflow files alone, without agents."""
    return [
        "Key 2, the agent in the cluster: from the expiry to the last emergency object observed absent.",
        "",
        *_by_agent().table("agent alone"),
        "Key 1, git: `expire.yml` is fired at the expiry (GitHub's scheduler, which may be minutes late, is not "
        "counted); it opens and merges the closing pull request, whose merge starts `apply.yml`.",
        "",
        *_by_workflows().table("workflows alone"),
    ]


def _by_agent() -> Figures:
    figures = Figures()
    with platform(agents=True) as on:
        for _ in range(AGENT_ROUNDS):
            emergency = requested(on, duration=AGENT_WINDOW)
            approved(on, emergency)
            on.merge("ines", emergency.number)
            on.breakglass(on.app.login, "apply", CLUSTER, "--kubeconfig", str(on.clusters[CLUSTER].kubeconfig))
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
