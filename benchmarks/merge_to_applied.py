"""Merge → applied: from the click on the merge button to the open window in the cluster, by the real workflow file."""

from __future__ import annotations

import time

from measurement import Command, Figures, alternated, table
from scene import BREAKGLASS, CLUSTER, EMERGENCY, approved, merged, platform, requested, reset
from timeline import Times, watched

from breakglass_lab.platform import Platform, wait_for

TITLE = "Merge → applied"
ROUNDS = 3
ALONE_ROUNDS = 9
JOB, STEPS = f"apply ({CLUSTER})", ("Check out main", "Install breakglass", "Create the App's token")


def run() -> list[str]:
    """The whole way in its phases, and the applier alone on a merged commit."""
    figures = Figures()
    with platform(clusters=("prod-eu", "prod-us"), workflows=True) as on:
        for _ in range(ROUNDS):
            _once(on, figures)
    return [
        f"The lab's forge and the real `apply.yml`, run by act for two clusters side by side; {ROUNDS} times "
        f"`{EMERGENCY}`. On GitHub the phases of forge and runner take what GitHub and its runners take.",
        "",
        *figures.table("phase"),
        "The applier alone, on a merged commit: nothing is applied yet, then all of it is.",
        "",
        *_alone(),
    ]


def _once(on: Platform, figures: Figures) -> None:
    emergency = requested(on)
    approved(on, emergency)
    with watched(on) as timeline:
        begin = time.monotonic()
        on.merge("ines", emergency.number)
        wait_for(lambda: f"{emergency.id} open" in on.inventories(CLUSTER), 120, "open")
        opened = time.monotonic()
        on.settle()
    _add_phases(figures, timeline.jobs[JOB], begin, opened)
    on.breakglass("robin", "close", emergency.id)
    on.settle()


def _add_phases(figures: Figures, job: Times, begin: float, opened: float) -> None:
    applying, applied = job.steps["Apply"]
    first, *_ = (job.steps[name][0] for name in STEPS)
    figures.add("merge, and delivery of its event (forge)", job.seen - begin)
    figures.add("start of the job until its first step (runner)", first - job.seen)
    for name in STEPS:
        figures.add(f"step “{name}” (runner)", job.steps[name][1] - job.steps[name][0])
    figures.add("`breakglass apply` until the window is open (**ours**)", opened - applying)
    figures.add("**merge → applied**", opened - begin)
    figures.add("`breakglass apply` from then: verify, write the ledger", max(0.0, applied - opened))


def _alone() -> list[str]:
    with platform() as on:
        merged(on)
        kubeconfig = str(on.clusters[CLUSTER].kubeconfig)
        command = Command(
            f"`breakglass apply {CLUSTER}`",
            [BREAKGLASS, "apply", CLUSTER, "--kubeconfig", kubeconfig],
            on.clone(on.app.login),
            on.environment(on.app.login),
        )
        (first,) = alternated([command], ALONE_ROUNDS, before=lambda: reset(on)).values()
        (again,) = alternated([command], ALONE_ROUNDS).values()
    return table({f"{command.name}, opens": first, f"{command.name}, nothing to do": again})
