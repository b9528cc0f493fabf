"""The example platform, rendered by the real kustomize."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from places import EMERGENCY, KUBECTL, OVERLAYS, PARAMETERS, REPOSITORY, REQUESTER, Manifest, Render


def kustomize(directory: Path) -> list[Manifest]:
    """Render a directory; a test fails with what kustomize said."""
    done = subprocess.run([KUBECTL, "kustomize", directory], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def baseline() -> list[Manifest]:
    return kustomize(REPOSITORY / "base")


@pytest.fixture(scope="session")
def overlays() -> dict[str, Manifest]:
    return {name: yaml.safe_load((EMERGENCY / name / "overlay.yaml").read_text())["spec"] for name in OVERLAYS}


@pytest.fixture
def opened(tmp_path: Path, baseline: list[Manifest]) -> Render:
    """`opened(overlay, activation, parameters, on=manifests)` → everything a cluster holds while the window is open."""

    def render(
        overlay: str,
        activation: str | None = None,
        parameters: Mapping[str, str] | None = None,
        on: list[Manifest] | None = None,
    ) -> list[Manifest]:
        below = baseline if on is None else on
        activation = activation or f"2026-11-23-{overlay}-7f3a"
        scratch = tmp_path / "a path with spaces" / activation
        shutil.copytree(EMERGENCY / overlay, scratch / overlay)
        resources = {"parameters.yaml": _parameters(activation, parameters or PARAMETERS.get(overlay, {}))}
        layered = "patches" in yaml.safe_load((EMERGENCY / overlay / "kustomization.yaml").read_text())
        if layered:
            resources["baseline.yaml"] = {"apiVersion": "v1", "kind": "List", "items": below}
        wrapper = {"resources": sorted(resources), "components": [f"../{overlay}"]}
        if not layered:
            wrapper["nameSuffix"] = f"-{activation}"
        for name, content in {**resources, "kustomization.yaml": wrapper}.items():
            path = scratch / "wrapper" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
        rendered = kustomize(scratch / "wrapper")
        return rendered if layered else below + rendered

    return render


def _parameters(activation: str, parameters: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "breakglass-parameters",
            "annotations": {"config.kubernetes.io/local-config": "true"},
        },
        "data": {**parameters, "activation": activation, "requestedBy": REQUESTER, "requester": REQUESTER},
    }
