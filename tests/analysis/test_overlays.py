"""The overlays of this repository keep their contracts, rendered by kustomize itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from network_objects import Manifest, policy

from breakglass.analysis.contract import assess
from breakglass.analysis.exposure.passage import Controller
from breakglass.model.document import read
from breakglass.model.overlay import Overlay, contract_for

REPOSITORY = Path(__file__).parents[2]
EMERGENCY = REPOSITORY / "overlays" / "emergency"
KUBECTL = Path(sys.executable).parent / "kubectl"
REQUESTER = "robin"
PARAMETERS = {"sourceRange": "198.51.100.0/24"}


def kustomize(directory: Path) -> list[Manifest]:
    done = subprocess.run([KUBECTL, "kustomize", directory], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]


@pytest.fixture(scope="module")
def baseline() -> list[Manifest]:
    return kustomize(REPOSITORY / "base")


def activation_of(overlay: str) -> str:
    return f"2026-11-23-{overlay}-7f3a"


def opened(overlay: str, baseline: list[Manifest], scratch: Path) -> list[Manifest]:
    """The desired state while the overlay is open; one that patches is layered on the baseline."""
    activation = activation_of(overlay)
    shutil.copytree(EMERGENCY / overlay, scratch / overlay)
    patches = "patches" in yaml.safe_load((EMERGENCY / overlay / "kustomization.yaml").read_text())
    metadata = {"name": "breakglass-parameters", "annotations": {"config.kubernetes.io/local-config": "true"}}
    data = {**PARAMETERS, "activation": activation, "requestedBy": REQUESTER, "requester": REQUESTER}
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}]
    items += baseline if patches else []
    wrapper = {"resources": ["list.yaml"], "components": [f"../{overlay}"]}
    suffix = {} if patches else {"nameSuffix": f"-{activation}"}
    (scratch / "wrapper").mkdir()
    (scratch / "wrapper" / "list.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    (scratch / "wrapper" / "kustomization.yaml").write_text(json.dumps({**wrapper, **suffix}))
    rendered = kustomize(scratch / "wrapper")
    return rendered if patches else [*baseline, *rendered]


CONTROLLERS = (Controller("edge", {"app.kubernetes.io/name": "traefik"}),)

EXPECTED = {
    "db-from-bastion": ("opens     ops/bastion → data/postgres TCP 5432",),
    "exec-into-shop": (
        "grants    Group:acme:incident may create pods/exec in shop",
        "grants    Group:acme:incident may get pods in shop",
        "grants    Group:acme:incident may get pods/exec in shop",
        "grants    Group:acme:incident may get pods/log in shop",
        "grants    Group:acme:incident may list pods in shop",
        "grants    ServiceAccount:shop/incident may create pods/exec in shop",
        "grants    ServiceAccount:shop/incident may get pods in shop",
        "grants    ServiceAccount:shop/incident may get pods/exec in shop",
        "grants    ServiceAccount:shop/incident may get pods/log in shop",
        "grants    ServiceAccount:shop/incident may list pods in shop",
        "grants    User:robin may create serviceaccounts/token incident in shop",
    ),
    "ingress-to-admin": (
        "opens     edge/traefik → shop/api TCP 9090",
        "exposes   2026-11-23-ingress-to-admin-7f3a.emergency.example.com/ → shop/admin:9090",
    ),
    "lift-isolation": (
        "opens     kube-system/k8s-app=kube-dns, every address → ops/bastion every port",
        "opens     ops/bastion → edge/traefik TCP 8000, TCP 8443",
        "opens     ops/bastion → every address every port",
        "opens     ops/bastion → kube-system/k8s-app=kube-dns SCTP every port, TCP 1-52, TCP 54-65535, UDP 1-52, "
        "UDP 54-65535",
        "opens     ops/bastion → monitoring/prometheus TCP 9090",
    ),
}


def test_every_overlay_is_expected_to_do_something() -> None:
    assert {path.parent.name for path in EMERGENCY.glob("*/overlay.yaml")} == EXPECTED.keys()


@pytest.mark.parametrize("overlay", sorted(EXPECTED))
def test_the_overlay_keeps_its_contract(overlay: str, baseline: list[Manifest], tmp_path: Path) -> None:
    file = EMERGENCY / overlay / "overlay.yaml"
    contract = contract_for(read(file.read_bytes(), file.name, Overlay).spec.contract, REQUESTER)
    after, activation = opened(overlay, baseline, tmp_path / "with space"), activation_of(overlay)
    found = assess(contract, baseline, after, file.name, activation, CONTROLLERS)
    findings = found.findings
    assert [finding for finding in findings if finding.id != "contract-isolation-lifted"] == []
    assert bool(findings) == (overlay == "lift-isolation")
    assert found.lines == EXPECTED[overlay]
    # The same overlay with one policy that opens the database to everybody is refused.
    wide = policy("data/wide", ingress=[{}])
    assert "contract-opened-outside" in {
        finding.id
        for finding in assess(contract, baseline, [*after, wide], file.name, activation, CONTROLLERS).findings
    }
