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

import bare_client
import yaml

from breakglass_lab.controlplane import ControlPlane, install
from breakglass_lab.platform import PROGRAMS, ROOT, Platform, running

CLUSTER = "prod-eu"
BREAKGLASS, KUBECTL = str(PROGRAMS / "breakglass"), str(PROGRAMS / "kubectl")
EMERGENCY = "db-from-bastion"
"""The overlay that is opened where its content does not matter."""
LEDGER = "refs/heads/breakglass-ledger"

_OVERLAYS = "overlays/emergency"
_APPLIER, _ADMINISTRATORS = "breakglass:applier", "system:masters"
_RBAC = "rbac.authorization.k8s.io"
_COLLECTIONS = (
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    f"/apis/{_RBAC}/v1/namespaces/{{}}/rolebindings",
    f"/apis/{_RBAC}/v1/namespaces/{{}}/roles",
    "/api/v1/namespaces/{}/serviceaccounts",
)
_LEFT_OVER = (
    *(
        f"{collection.format(space)}?labelSelector=breakglass.dev/activation"
        for collection in _COLLECTIONS
        for space in ("data", "ops")
    ),
    "/api/v1/namespaces/breakglass/configmaps?labelSelector=breakglass.dev/inventory",
    "/api/v1/namespaces/data/secrets?labelSelector=owner%3Dhelm",
)
"""What an opening leaves in the cluster, whoever did it."""

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


def plane_of(on: Platform) -> ControlPlane:
    """The platform's first control plane."""
    plane = on.clusters[CLUSTER]
    if not isinstance(plane, ControlPlane):
        raise TypeError("the benchmarks run on a control plane of the lab")
    return plane


def applier(on: Platform) -> Path:
    """A kubeconfig of the applier, with the rights that the example platform gives it and no others."""
    return plane_of(on).kubeconfig_as(_APPLIER, on.directory / "applier.kubeconfig")


def administrator(on: Platform) -> Path:
    """A kubeconfig with the applier's name, for admission, and an administrator's rights."""
    return plane_of(on).kubeconfig_as(_APPLIER, on.directory / "administrator.kubeconfig", (_ADMINISTRATORS,))


def requested(
    on: Platform, overlay: str = EMERGENCY, duration: str = "30m", clusters: Sequence[str] = (CLUSTER,)
) -> Emergency:
    """Open a pull request for an overlay."""
    chosen = [word for cluster in clusters for word in ("--cluster", cluster)]
    options = (*chosen, "--for", duration, "--because", "a benchmark", "--incident", "INC-1")
    opening = json.loads(on.breakglass("robin", "open", overlay, *options, "--output", "json").stdout)
    return Emergency(opening["activation"]["metadata"]["name"], opening["pullRequest"]["number"])


def approved(on: Platform, emergency: Emergency) -> None:
    """Give a request the approvals it needs, once its checks passed."""
    on.settle()
    for login in ("ines", "dana"):
        on.approve(login, emergency.number)


def merged(
    on: Platform, overlay: str = EMERGENCY, duration: str = "30m", clusters: Sequence[str] = (CLUSTER,)
) -> Emergency:
    """Request, approve and merge an overlay; nothing is applied yet."""
    emergency = requested(on, overlay, duration, clusters)
    approved(on, emergency)
    on.merge("ines", emergency.number)
    return emergency


def delta(on: Platform) -> list[dict[str, Any]]:
    """The objects that main's open windows add to the cluster."""
    on.breakglass("robin", "status", code=None)  # fetches main
    told = on.breakglass("robin", "render", CLUSTER, "--delta", "--output", "json").stdout
    return [change["emergency"] for change in json.loads(told)["delta"]]


def reset(on: Platform, *more: str) -> None:
    """Take the emergency objects and inventories out of the cluster, the ledger out of the forge: as never applied.

    Args:
        more: collections to empty as well, with their query.
    """
    bare_client.send(administrator(on), [("DELETE", target, None) for target in (*_LEFT_OVER, *more)])
    subprocess.run(["git", "update-ref", "-d", LEDGER], cwd=on.forge.bare, check=True)


def add_overlay(
    on: Platform, name: str, manifests: Manifests, kinds: Sequence[str], clusters: Sequence[str] = (CLUSTER,)
) -> None:
    """Put an overlay on main: what `db-from-bastion` promises and does, and these objects beside it."""
    source = ROOT / _OVERLAYS / EMERGENCY
    contract = yaml.safe_load((source / "overlay.yaml").read_bytes())
    contract["metadata"]["name"] = name
    contract["spec"]["scope"] |= {"kinds": list(kinds), "clusters": list(clusters)}
    kustomization = yaml.safe_load((source / "kustomization.yaml").read_bytes())
    more = {"more.yaml": yaml.dump_all(manifests, Dumper=yaml.CSafeDumper)} if manifests else {}
    kustomization["resources"] += more
    files = more | {
        "overlay.yaml": yaml.safe_dump(contract),
        "kustomization.yaml": yaml.safe_dump(kustomization),
        "networkpolicies.yaml": (source / "networkpolicies.yaml").read_text(encoding="utf-8"),
    }
    commit(on, f"Add {name}", {f"{_OVERLAYS}/{name}/{file}": text for file, text in files.items()})


def commit(on: Platform, message: str, files: Mapping[str, str]) -> None:
    """Write files of main, by path. Without a pull request, so before anybody clones the forge's repository."""
    with tempfile.TemporaryDirectory(prefix="breakglass-benchmark-") as tree:
        _git(Path(tree), "clone", "--quiet", str(on.forge.bare), ".")
        for path, text in files.items():
            target = Path(tree, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        _git(Path(tree), "add", "--all")
        identity = ("-c", "user.name=Pat Platform", "-c", "user.email=pat@acme.example")
        _git(Path(tree), *identity, "commit", "--quiet", "--message", message)
        made = _git(Path(tree), "rev-parse", "HEAD").strip()
        _git(on.forge.bare, "fetch", "--quiet", str(tree), made)
        _git(on.forge.bare, "update-ref", "refs/heads/main", made)


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


def mixed(count: int) -> list[dict[str, Any]]:
    """As many ServiceAccounts, Roles, RoleBindings (of nobody) and Ingresses (to nowhere), all in `data`."""
    manifests: list[dict[str, Any]] = []
    for number in range(count):
        name = f"absent-{number}"
        metadata = {"name": name, "namespace": "data"}
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": [f"c-{number}"]}]
        role = {"apiGroup": _RBAC, "kind": "Role", "name": name}
        rule = {"host": f"{name}.example.com"}
        manifests += [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
            {"apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": []},
            {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {"rules": [rule]}},
        ]
    return manifests


def allow_mixed(on: Platform) -> None:
    """Let the applier write the kinds of `mixed` in `data`, where the example platform opens none of them."""
    metadata = {"name": "breakglass-benchmark", "namespace": "data"}
    verbs = ["get", "list", "create", "patch", "delete"]
    rules = [
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": verbs},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": verbs},
        {"apiGroups": [_RBAC], "resources": ["roles", "rolebindings"], "verbs": [*verbs, "escalate", "bind"]},
    ]
    role = {"apiGroup": _RBAC, "kind": "Role", "name": metadata["name"]}
    subjects = [{"apiGroup": _RBAC, "kind": "User", "name": _APPLIER}]
    version = f"{_RBAC}/v1"
    install(
        plane_of(on),
        [
            {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules},
            {
                "apiVersion": version,
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": role,
                "subjects": subjects,
            },
        ],
    )


def _git(directory: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=True).stdout


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
