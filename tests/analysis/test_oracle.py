"""Every cell of the truth tables that cyclonus' generator gave rise to."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from breakglass.analysis.connectivity import Network

TABLES = Path(__file__).parent / "oracles" / "networkpolicy-truth-tables.json.gz"
CELLS = 123_669


def test_every_cell_of_the_truth_tables() -> None:
    seen = 0
    for step in json.loads(gzip.decompress(TABLES.read_bytes())):
        network = Network(_manifests(step))
        for cell in step["table"]:
            seen += 1
            protocol, port = cell["key"].split("/")
            verdict = network.verdict(cell["from"], cell["to"], int(port), protocol)
            where = f"case {step['case']} step {step['step']} ({step['desc']}): {cell}"
            assert verdict.egress == (cell["egress"] == "allowed"), where
            assert verdict.ingress == (cell["ingress"] == "allowed"), where
            # The tables tell what policies say; a pod reaches itself whatever they say.
            assert verdict.allowed == (cell["combined"] == "allowed" or cell["from"] == cell["to"]), where
    assert seen == CELLS


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
