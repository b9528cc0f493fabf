"""Fifty clusters from one command, two of them dead: what the dead ones cost the others."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from statistics import median

import yaml
from measurement import Command, Figures, LimitMissed, measured
from scene import BREAKGLASS, add_overlay, commit, merged, plane_of, platform, reset

from breakglass_lab.fleet import Fleet
from breakglass_lab.platform import Platform

TITLE = "Fifty clusters"
ROUNDS = 3
WORKING = tuple(f"c{number:02}" for number in range(1, 49))
SILENT, REFUSING = "silent", "refusing"
OVERLAY = "everywhere"
LIMIT = 1.25
"""Times of what it takes without the dead ones until the last working cluster is open."""
WITHOUT, WITH, ONE = (
    f"`breakglass apply` of the {len(WORKING)} that work: all of them open",
    "`breakglass apply --all`, two of 50 dead: all that work open",
    f"`breakglass apply {WORKING[0]}` alone: open",
)
_INVENTORIES = "labelSelector=breakglass.dev/inventory"
_ACTIVATED = "labelSelector=breakglass.dev/activation"


def run() -> list[str]:
    """The same window in all clusters, with and without the dead ones among them.

    Raises:
        LimitMissed: the dead ones delay the others.
    """
    figures = Figures()
    with platform() as on:
        kubeconfig = on.directory / "fleet.kubeconfig"
        with Fleet(plane_of(on), WORKING, kubeconfig, silent=(SILENT,), refusing=(REFUSING,)) as fleet:
            _prepare(on, fleet)
            for number in range(ROUNDS + 1):
                # The first round warms up, and what it takes does not count.
                _once(on, fleet, figures if number > 0 else Figures())
    ratio = median(ours / others for ours, others in zip(figures.series[WITH], figures.series[WITHOUT], strict=True))
    lines = [
        f"{len(WORKING)} clusters work; `{SILENT}` accepts every connection and never answers, `{REFUSING}` refuses "
        "it. The working ones are one control plane behind a proxy that gives each namespaces of its own "
        "(`breakglass_lab.fleet`): the answers are the real API server's, but it, the proxy and the command share the "
        "cores of this machine. “Open” is when the API server had answered the last write to the last of them.",
        "",
        *figures.table("command"),
        f"With the dead ones the others take {ratio:.2f} times what they take without them; may take {LIMIT}.",
        "",
    ]
    if ratio > LIMIT:
        raise LimitMissed([f"two dead clusters delay the others {ratio:.2f} times; may {LIMIT}"], lines)
    return lines


def _prepare(on: Platform, fleet: Fleet) -> None:
    """A policy of all the clusters, and a merged activation for all of them."""
    fleet.add_namespaces("breakglass", "data", "ops")
    add_overlay(on, OVERLAY, (), ("NetworkPolicy.networking.k8s.io",), tuple(fleet.servers))
    show = ["git", "show", "main:breakglass.yaml"]
    policy = yaml.safe_load(subprocess.run(show, cwd=on.forge.bare, capture_output=True, check=True).stdout)
    policy["spec"]["clusters"] = {name: {"baseline": "base"} for name in fleet.servers}
    commit(on, "Name fifty clusters", {"breakglass.yaml": yaml.safe_dump(policy)})
    merged(on, OVERLAY, clusters=tuple(fleet.servers))


def _once(on: Platform, fleet: Fleet, figures: Figures) -> None:
    for name, clusters, code in ((WITHOUT, WORKING, 0), (WITH, ("--all",), 4), (ONE, WORKING[:1], 0)):
        _reset(on)
        fleet.last_write.clear()
        begin = time.monotonic()
        sample = measured(_command(on, fleet, name, clusters, code))
        _check(on, 1 if name == ONE else len(WORKING))
        figures.add(name, max(fleet.last_write.values()) - begin)
        figures.add(name.partition(":")[0] + ": the whole command", sample.seconds)


def _command(on: Platform, fleet: Fleet, name: str, clusters: Sequence[str], code: int) -> Command:
    arguments = [BREAKGLASS, "apply", *clusters, "--kubeconfig", str(fleet.kubeconfig)]
    return Command(name, arguments, on.clone(on.app.login), on.environment(on.app.login), codes=(code,))


def _check(on: Platform, expected: int) -> None:
    """Compare the number of open windows with what it must be.

    Raises:
        RuntimeError: it is another.
    """
    with plane_of(on).client() as client:
        items = client.call("GET", f"/api/v1/configmaps?{_INVENTORIES}")["items"]
    found = sum(item["metadata"]["annotations"]["breakglass.dev/phase"] == "open" for item in items)
    if found != expected:
        raise RuntimeError(f"{found} windows are open, not {expected}")


def _reset(on: Platform) -> None:
    policies = "/apis/networking.k8s.io/v1/namespaces/{}-{}/networkpolicies?" + _ACTIVATED
    reset(
        on,
        *(policies.format(space, name) for name in WORKING for space in ("data", "ops")),
        *(f"/api/v1/namespaces/breakglass-{name}/configmaps?{_INVENTORIES}" for name in WORKING),
    )
