"""Apply of a hundred objects, side by side with `kubectl apply --server-side` on the same control plane."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from measurement import Command, Figures, alternated, table
from scene import (
    BREAKGLASS,
    CLUSTER,
    KUBECTL,
    Manifests,
    accounts,
    add_overlay,
    delta,
    merged,
    networkpolicies,
    platform,
    reset,
)

from breakglass_lab.platform import Platform

TITLE = "Apply of 100 objects"
ROUNDS = 7
ADAPTER = Path(__file__).with_name("apply_adapter.py")
BASIC = ("ServiceAccount", "Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io")
NETWORKPOLICY = "NetworkPolicy.networking.k8s.io"
SETS: dict[str, tuple[Manifests, Sequence[str]]] = {
    "100 NetworkPolicies": (networkpolicies(98), (NETWORKPOLICY,)),
    "25 each of NetworkPolicies, ServiceAccounts, Roles, RoleBindings": (
        [*networkpolicies(23), *accounts(25)],
        (NETWORKPOLICY, *BASIC),
    ),
}
"""Beside the two NetworkPolicies of the emergency itself."""


def run() -> list[str]:
    """Both sets: the first write, and applied again with nothing to change."""
    lines = [
        "`breakglass apply` fetches main, proves the approvals on the forge, renders, judges the scope, writes the "
        "inventory, applies, and writes the ledger; the adapter alone and kubectl only apply. All of them apply the "
        "same objects to the same API server. kubectl has its discovery cached, breakglass never.",
        "",
    ]
    for number, (what, (manifests, kinds)) in enumerate(SETS.items()):
        with platform() as on:
            add_overlay(on, f"hundred-{number}", manifests, kinds)
            merged(on, f"hundred-{number}")
            lines += [f"### {what}", "", *_compared(on)]
    return lines


def _compared(on: Platform) -> list[str]:
    objects = delta(on)
    as_json, as_yaml = on.directory / "objects.json", on.directory / "objects.list.json"
    as_json.write_text(json.dumps(objects), encoding="utf-8")
    as_yaml.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}), encoding="utf-8")
    if len(objects) != 100:
        raise RuntimeError(f"the overlay renders {len(objects)} objects")
    environment, kubeconfig = on.environment(on.app.login), str(on.clusters[CLUSTER].kubeconfig)
    server_side = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        str(as_yaml),
        "--kubeconfig",
        kubeconfig,
    ]
    adapter = [sys.executable, str(ADAPTER), kubeconfig, str(as_json)]
    commands = [
        Command(
            f"`breakglass apply {CLUSTER}`",
            [BREAKGLASS, "apply", CLUSTER, "--kubeconfig", kubeconfig],
            on.clone(on.app.login),
            environment,
        ),
        Command("the adapter alone (`apply_adapter.py`)", adapter, None, environment),
        Command("`kubectl apply --server-side`", [KUBECTL, *server_side], None, environment),
    ]
    reset(on)
    first = alternated(commands, ROUNDS, before=lambda: reset(on))
    inside = Figures()
    for _ in range(ROUNDS):
        reset(on)
        inside.add("`KubernetesCluster.apply`, first write", _inside(adapter))
        inside.add("`KubernetesCluster.apply`, nothing to change", _inside(adapter))
    reset(on)
    return [
        *("The first write:", "", *table(first)),
        *("The adapter beside kubectl:", "", *table(dict(list(first.items())[1:]))),
        *("Again, with nothing to change:", "", *table(alternated(commands, ROUNDS))),
        *("Within the adapter's process, without its start-up:", "", *inside.table("call")),
    ]


def _inside(adapter: Sequence[str]) -> float:
    return float(subprocess.run(adapter, capture_output=True, text=True, check=True).stdout)
