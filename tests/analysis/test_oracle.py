"""Every cell of the truth tables that cyclonus' generator gave rise to."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.explain import explain
from breakglass.analysis.network.objects import read_network
from breakglass.analysis.network.portline import interval
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.network.reach import columns, part_at
from breakglass.analysis.network.space import Space
from breakglass.analysis.network.state import State

TABLES = Path(__file__).parent / "oracles" / "networkpolicy-truth-tables.json.gz"
CELLS = 123_669
SECONDS = 2
MATCHING_PODS = Profile(ip_blocks_match_pods=True)
VERDICTS = {"allow": "allowed", "deny": "blocked"}


def test_every_cell_of_the_truth_tables() -> None:
    begin, seen = time.process_time(), 0
    for step in json.loads(gzip.decompress(TABLES.read_bytes())):
        policies = _compiled(step)
        index, by_bit = policies.state.space.index, list(columns(policies))
        parts = {}
        for cell in step["table"]:
            seen += 1
            source, destination, key = cell["from"], cell["to"], cell["key"]
            # The tables tell what policies say; a pod reaches itself whatever they say.
            if source != destination:
                if (destination, key) not in parts:
                    parts[destination, key] = part_at(by_bit[index[f"{destination}[Pod]"]], _port(key))
                bit = index[f"{source}[Pod]"]
                _, sure, maybe = parts[destination, key]
                assert sure == maybe, _told(step, cell)
                assert bool(sure >> bit & 1) == (cell["combined"] == "allowed"), _told(step, cell)
    assert seen == CELLS
    assert time.process_time() - begin < SECONDS


def test_both_sides_of_every_cell_are_explained() -> None:
    seen = 0
    for step in json.loads(gzip.decompress(TABLES.read_bytes())):
        policies = _compiled(step)
        index = policies.state.space.index
        for cell in step["table"]:
            seen += 1
            ends = (index[f"{cell[side]}[Pod]"] for side in ("from", "to"))
            explanation = explain(policies, *ends, _port(cell["key"]))
            told = (cell["egress"], cell["ingress"], cell["combined"])
            verdicts = (explanation.egress, explanation.ingress, explanation.verdict)
            assert tuple(VERDICTS[verdict] for verdict in verdicts) == told, _told(step, cell)
            assert explanation.why, _told(step, cell)
    assert seen == CELLS


def _compiled(step: dict[str, Any]) -> CompiledPolicies:
    objects = read_network(_manifests(step))
    return CompiledPolicies(State(Space([objects]), objects), MATCHING_PODS)


def _port(key: str) -> int:
    protocol, port = key.split("/")
    return interval(protocol, int(port), int(port))[0]


def _told(step: dict[str, Any], cell: dict[str, Any]) -> str:
    return f"case {step['case']} step {step['step']} ({step['desc']}): {cell}"


def _manifests(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, labels in step["namespaces"].items():
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    for pod in step["pods"]:
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod["name"], "namespace": pod["ns"], "labels": pod["labels"]},
            "spec": {"containers": [{"name": "serve", "ports": PORTS}]},
            "status": {"podIP": pod["ip"]},
        }
    for policy in step["policies"]:
        yield {**policy, "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}


PORTS = [
    {"name": f"serve-{port}-{protocol.lower()}", "containerPort": port, "protocol": protocol}
    for port in (80, 81)
    for protocol in ("TCP", "UDP", "SCTP")
]
