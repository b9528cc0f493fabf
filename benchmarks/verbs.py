"""`status` and `open`: what a person waits for at 02:13."""

from __future__ import annotations

import base64
import shutil
import sys

from measurement import Command, Figures, alternated, table
from scene import BREAKGLASS, CLUSTER, EMERGENCY, merged, platform

from breakglass_lab.platform import Platform

TITLE = "What a person waits for: `status` and `open`"
ROUNDS = 9
LIBRARIES = ("click", "git", "github", "jsonschema", "kubernetes.config", "pydantic", "ruamel.yaml", "urllib3")


def run() -> list[str]:
    """Both verbs beside the `git fetch` that both begin with, and what their libraries cost."""
    with platform(clusters=()) as on:
        merged(on)
        samples = alternated(_commands(on), ROUNDS)
    status, opening, fetch = samples.items()
    return [
        *table(dict([status, fetch])),
        *table(dict([opening, fetch])),
        "CPU time of a fresh Python that imports one library (they share much of what they import themselves):",
        "",
        *_libraries().table("library"),
    ]


def _libraries() -> Figures:
    commands = [Command("nothing", [sys.executable, "-c", "pass"])]
    commands += [Command(f"`{name}`", [sys.executable, "-c", f"import {name}"]) for name in LIBRARIES]
    figures = Figures()
    for name, samples in alternated(commands, ROUNDS).items():
        for sample in samples:
            figures.add(name, sample.cpu_seconds)
    return figures


def _commands(on: Platform) -> list[Command]:
    clone, environment = on.clone("robin"), on.environment("robin")
    request = ["open", EMERGENCY, "--cluster", CLUSTER, "--because", "a benchmark", "--incident", "INC-1", "--dry-run"]
    basic = base64.b64encode(f"x-access-token:{environment['GITHUB_TOKEN']}".encode()).decode()
    with_token = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{on.forge.url}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
    }
    git = shutil.which("git") or "git"
    return [
        Command("`breakglass status`", [BREAKGLASS, "status"], clone, environment),
        Command(f"`breakglass open {EMERGENCY} … --dry-run`", [BREAKGLASS, *request], clone, environment),
        Command("`git fetch`", [git, "fetch", "--quiet"], clone, environment | with_token),
    ]
