"""CustomResourceDefinitions that the example platform needs, out of the Go modules that publish them."""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from breakglass_lab.controlplane.progress import standard_error
from breakglass_lab.controlplane.toolchain import BuildError, cache_directory, go, only_one

_PINNED = Path(__file__).with_name("crds")
"""The Go module that pins the newest versions."""
_PINNED_V1ALPHA1 = _PINNED / "v1alpha1"
"""The Go module that pins the last version with AdminNetworkPolicy and BaselineAdminNetworkPolicy."""


def gateway_api_crds() -> list[dict[str, Any]]:
    """The CRDs of Gateway API's standard channel (https://gateway-api.sigs.k8s.io/concepts/versioning/).

    Parsed once and kept in the user's cache directory; Go is needed only the first time. Raises BuildError.
    """
    return _crds("sigs.k8s.io/gateway-api", "standard", _PINNED, standard_error())


def network_policy_api_crds() -> list[dict[str, Any]]:
    """ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy (https://network-policy-api.sigs.k8s.io/).

    Their experimental channel, which knows every field; cached like those of Gateway API. Raises BuildError.
    """
    module, progress = "sigs.k8s.io/network-policy-api", standard_error()
    return [crd for pinned in (_PINNED, _PINNED_V1ALPHA1) for crd in _crds(module, "experimental", pinned, progress)]


def _crds(module: str, channel: str, pinned: Path, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    digest = hashlib.sha256((pinned / "go.sum").read_bytes()).hexdigest()[:16]
    directory = cache_directory("crds")
    cached = directory / f"{module.rpartition('/')[2]}-{channel}-{digest}.json"
    if not cached.is_file():
        with only_one(directory / "lock", progress, f"the CRDs of {module}"):
            if not cached.is_file():
                published = _download(module, pinned, progress) / "config" / "crd" / channel
                _write_atomically(cached, json.dumps(_parse(published)))
    crds: list[dict[str, Any]] = json.loads(cached.read_text(encoding="utf-8"))
    return crds


def _download(module: str, pinned: Path, progress: Callable[[str], None]) -> Path:
    """The directory of the module in Go's module cache; go checks it against go.sum."""
    progress(f"downloading the CRDs of {module}")
    command = [go(progress), "mod", "download", "-json", module]
    answer = subprocess.run(command, cwd=pinned, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise BuildError(f"the Go module {module} cannot be downloaded:\n{answer.stdout}{answer.stderr}")
    return Path(json.loads(answer.stdout)["Dir"])


def _parse(directory: Path) -> list[dict[str, Any]]:
    documents = [
        document
        for path in sorted(directory.glob("*.yaml"))
        for document in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader)
    ]
    crds = [document for document in documents if document and document.get("kind") == "CustomResourceDefinition"]
    if not crds:
        raise BuildError(f"no CustomResourceDefinition in {directory}")
    return crds


def _write_atomically(path: Path, text: str) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(scratch).replace(path)
