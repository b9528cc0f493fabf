"""Helm, built from its Go module into the user's cache directory, and how it opens and closes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from breakglass_lab.controlplane.toolchain import BuildError, cache_directory, go, only_one

MODULE = Path(__file__).with_name("helm")
"""Pins Helm and all it is made of, with hashes."""
NAME = "Helm 4.3.1"
_PACKAGE = "helm.sh/helm/v4/cmd/helm"


def program() -> str | None:
    """The path of the command, built when it is not there yet, in some minutes; None where it cannot be had."""
    pins = hashlib.sha256((MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()).hexdigest()[:12]
    directory = cache_directory("helm", pins)
    binary = directory / "helm"
    with only_one(directory / ".lock", _tell, NAME):
        if binary.exists():
            return str(binary)
        _tell(f"building {NAME}")
        try:
            command = [go(_tell), "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(binary)]
            environment = {**os.environ, "CGO_ENABLED": "0"}
            subprocess.run([*command, _PACKAGE], cwd=MODULE, env=environment, check=True, stdout=sys.stderr)
        except (BuildError, subprocess.CalledProcessError) as error:
            _tell(f"{NAME} cannot be built: {error}")
            return None
    return str(binary)


def write_chart(directory: Path, manifests: str) -> None:
    """Write a chart of manifests, YAML, that hold no template."""
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text("apiVersion: v2\nname: emergency\nversion: 1.0.0\n", encoding="utf-8")
    (directory / "templates" / "all.yaml").write_text(manifests, encoding="utf-8")


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
