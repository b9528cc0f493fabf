"""What the benchmarks play on: the lab's example platform, an emergency on it, and overlays of a hundred objects."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from breakglass_lab.platform import PROGRAMS, ROOT, Platform, running

CLUSTER = "prod-eu"
BREAKGLASS, KUBECTL = str(PROGRAMS / "breakglass"), str(PROGRAMS / "kubectl")
EMERGENCY = "db-from-bastion"
"""The overlay that is opened where its content does not matter."""
LEDGER = "refs/heads/breakglass-ledger"

_OVERLAYS = "overlays/emergency"
_ACTIVATED = {"labelSelector": "breakglass.dev/activation"}
_COLLECTIONS = (
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "/api/v1/namespaces/{}/serviceaccounts",
)
_INVENTORIES = "/api/v1/namespaces/breakglass/configmaps"

Manifests = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Emergency:
    """A request: the activation's id, and the number of its pull request."""

    id: str
    number: int


@contextmanager
def platform(
    *, clusters: tuple[str, ...] = (CLUSTER,), workflows: bool = False, agents: bool = False
) -> Iterator[Platform]:
    """Run the example platform in a directory of its own, which is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="breakglass-benchmark-") as directory,
        running(Path(directory), _tell, clusters=clusters, workflows=workflows, agents=agents) as started,
    ):
        yield started


def requested(on: Platform, overlay: str = EMERGENCY, duration: str = "30m") -> Emergency:
    """Open a pull request for an overlay."""
    options = ("--cluster", CLUSTER, "--for", duration, "--because", "a benchmark", "--incident", "INC-1")
    opening = json.loads(on.breakglass("robin", "open", overlay, *options, "--output", "json").stdout)
    return Emergency(opening["activation"]["metadata"]["name"], opening["pullRequest"]["number"])


def approved(on: Platform, emergency: Emergency) -> None:
    """Give a request the approvals it needs, once its checks passed."""
    on.settle()
    for login in ("ines", "dana"):
        on.approve(login, emergency.number)


def merged(on: Platform, overlay: str = EMERGENCY, duration: str = "30m") -> Emergency:
    """Request, approve and merge an overlay; nothing is applied yet."""
    emergency = requested(on, overlay, duration)
    approved(on, emergency)
    on.merge("ines", emergency.number)
    return emergency


def delta(on: Platform) -> list[dict[str, Any]]:
    """The objects that main's open windows add to the cluster."""
    on.breakglass("robin", "status", code=None)  # fetches main
    told = on.breakglass("robin", "render", CLUSTER, "--delta", "--output", "json").stdout
    return [change["emergency"] for change in json.loads(told)["delta"]]


def reset(on: Platform) -> None:
    """Take the emergency objects and inventories out of the cluster, the ledger out of the forge: as never applied."""
    with on.clusters[CLUSTER].client() as client:
        for collection in _COLLECTIONS:
            for namespace in ("data", "ops"):
                client.call("DELETE", collection.format(namespace), query=_ACTIVATED)
        client.call("DELETE", _INVENTORIES, query={"labelSelector": "breakglass.dev/inventory"})
    subprocess.run(["git", "update-ref", "-d", LEDGER], cwd=on.forge.bare, check=True)


def add_overlay(on: Platform, name: str, manifests: Manifests, kinds: Sequence[str]) -> None:
    """Put an overlay on main: what `db-from-bastion` promises and does, and these objects beside it.

    It goes into the forge's repository without a pull request, so before anybody clones it.
    """
    source = ROOT / _OVERLAYS / EMERGENCY
    contract = yaml.safe_load((source / "overlay.yaml").read_bytes())
    contract["metadata"]["name"] = name
    contract["spec"]["scope"]["kinds"] = list(kinds)
    kustomization = yaml.safe_load((source / "kustomization.yaml").read_bytes())
    kustomization["resources"].append("more.yaml")
    files = {
        "overlay.yaml": yaml.safe_dump(contract),
        "kustomization.yaml": yaml.safe_dump(kustomization),
        "networkpolicies.yaml": (source / "networkpolicies.yaml").read_text(encoding="utf-8"),
        "more.yaml": yaml.safe_dump_all([dict(manifest) for manifest in manifests]),
    }
    with tempfile.TemporaryDirectory(prefix="breakglass-benchmark-") as tree:
        _git(Path(tree), "clone", "--quiet", str(on.forge.bare), ".")
        directory = Path(tree) / _OVERLAYS / name
        directory.mkdir()
        for file, text in files.items():
            (directory / file).write_text(text, encoding="utf-8")
        _git(Path(tree), "add", "--all")
        identity = ("-c", "user.name=Pat Platform", "-c", "user.email=pat@acme.example")
        _git(Path(tree), *identity, "commit", "--quiet", "--message", f"Add {name}")
        commit = _git(Path(tree), "rev-parse", "HEAD").strip()
        _git(on.forge.bare, "fetch", "--quiet", str(tree), commit)
        _git(on.forge.bare, "update-ref", "refs/heads/main", commit)


def networkpolicies(count: int) -> list[dict[str, Any]]:
    """NetworkPolicies of the namespace `data`, for pods that are not there: they open nothing."""
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"absent-{number}", "namespace": "data"},
            "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": f"absent-{number}"}},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": f"caller-{number}"}}}],
                        "ports": [{"protocol": "TCP", "port": 5432}],
                    }
                ],
            },
        }
        for number in range(count)
    ]


def accounts(count: int) -> list[dict[str, Any]]:
    """As many ServiceAccounts, Roles and RoleBindings (which bind nobody) in the namespace `data`."""
    rbac = "rbac.authorization.k8s.io"
    manifests: list[dict[str, Any]] = []
    for number in range(count):
        metadata = {"name": f"absent-{number}", "namespace": "data"}
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": [f"c-{number}"]}]
        role = {"apiGroup": rbac, "kind": "Role", "name": f"absent-{number}"}
        manifests += [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
            {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": []},
        ]
    return manifests


def _git(directory: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=True).stdout


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
