"""Rendering: a cluster's desired state and delta, beside kustomize alone and beside `kubectl diff`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from measurement import Command, Figures, alternated, table
from scene import BREAKGLASS, CLUSTER, KUBECTL, delta, merged, platform

from breakglass.adapters.git import GitRepository
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.lifecycle.content import read_overlay
from breakglass.lifecycle.render import render_delta
from breakglass.lifecycle.windows import all_windows
from breakglass.model.kustomization import inspect_baseline
from breakglass_lab.platform import Platform

TITLE = "Render"
ROUNDS = 9
BASELINE = "base"


def run() -> list[str]:
    """The whole commands, then the parts of one render within a process."""
    with platform() as on:
        merged(on)
        objects = on.directory / "objects.json"
        objects.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": delta(on)}), encoding="utf-8")
        full, changes, kustomize, difference = alternated(_commands(on, objects), ROUNDS).items()
        inside = _inside(on.clone("robin"))
    return [
        "The desired state: kustomize builds the baseline alone; `breakglass render` reads it from a commit, inspects "
        "it, builds it, and lays the open windows of the history over it.",
        "",
        *table(dict([full, kustomize])),
        "What would change: `kubectl diff --server-side` asks the API server about the objects of the delta, which it "
        "is given rendered; `breakglass render --delta` renders them and asks no cluster.",
        "",
        *table(dict([changes, difference])),
        "Within one process, libraries imported:",
        "",
        *inside.table("part"),
    ]


def _commands(on: Platform, objects: Path) -> list[Command]:
    clone, environment = on.clone("robin"), on.environment("robin")
    kubeconfig = str(on.clusters[CLUSTER].kubeconfig)
    return [
        Command(f"`breakglass render {CLUSTER}`", [BREAKGLASS, "render", CLUSTER], clone, environment),
        Command(
            f"`breakglass render {CLUSTER} --delta`", [BREAKGLASS, "render", CLUSTER, "--delta"], clone, environment
        ),
        Command(f"`kubectl kustomize {BASELINE}`", [KUBECTL, "kustomize", BASELINE], clone, environment),
        Command(
            "`kubectl diff --server-side`",
            [KUBECTL, "diff", "--server-side", "--filename", str(objects), "--kubeconfig", kubeconfig],
            None,
            environment,
            codes=(1,),  # there are differences
        ),
    ]


def _inside(clone: Path) -> Figures:
    """The parts of a render, timed in this process."""
    figures, renderer = Figures(), KustomizeRenderer()
    for _ in range(ROUNDS):
        moments = [time.perf_counter()]
        repository = GitRepository(clone)
        tip = repository.resolve("refs/remotes/origin/main")
        files = repository.files(tip, BASELINE)
        moments.append(time.perf_counter())
        inspect_baseline(files, BASELINE)
        moments.append(time.perf_counter())
        renderer.render(files, BASELINE)
        moments.append(time.perf_counter())
        window = next(item for item in all_windows(repository, tip) if item.activation is not None)
        moments.append(time.perf_counter())
        if window.activation is not None:
            content = read_overlay(repository, window.opened.sha, window.activation.spec.overlay)
            render_delta(renderer, window.activation, content, None)
        moments.append(time.perf_counter())
        names = (
            "read the baseline's files from git",
            "inspect its kustomizations",
            "kustomize, and parse what it wrote",
            "find the windows in the history",
            "read, inspect and render the overlay",
        )
        for name, begin, end in zip(names, moments, moments[1:], strict=False):
            figures.add(name, end - begin)
    return figures
