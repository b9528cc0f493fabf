"""The page of a pull request: the blast radius of a change to 1,240 objects, beside the two kustomize builds of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from measurement import Command, LimitMissed, alternated, table
from scene import BREAKGLASS, KUBECTL

TITLE = "Blast radius of a pull request"
ROUNDS = 5
APPLICATIONS, NAMESPACES = 240, 20
LIMIT = 1.25
"""Times of the slower of the two builds, which run side by side, that the whole command may take."""


def run() -> list[str]:
    """Both roots built side by side by kustomize alone, and the whole command."""
    with tempfile.TemporaryDirectory(prefix="breakglass-benchmark-") as name:
        directory = Path(name)
        count = _write(directory)
        together = f'"{KUBECTL}" kustomize before >before.out & "{KUBECTL}" kustomize after >after.out & wait'
        samples = alternated(
            [
                Command(
                    "`breakglass blast-radius before after`", [BREAKGLASS, "blast-radius", "before", "after"], directory
                ),
                Command("both `kubectl kustomize` side by side", ["/bin/sh", "-c", together], directory),
                Command("`kubectl kustomize after` alone", [KUBECTL, "kustomize", "after"], directory),
            ],
            ROUNDS,
        )
    ours, both, _ = samples.values()
    ratio = median(our.seconds / other.seconds for our, other in zip(ours, both, strict=True))
    lines = [
        f"{count:,} objects before, one more after. The two builds run at once, in the command as in the peer; the "
        f"command may take {LIMIT} times what they take. It takes {ratio:.2f} times.",
        "",
        *table(samples),
    ]
    if ratio > LIMIT:
        raise LimitMissed([f"blast-radius takes {ratio:.2f} times the builds; may take {LIMIT}"], lines)
    return lines


def _write(directory: Path) -> int:
    """Two kustomize roots: a platform, and the same with one NetworkPolicy more; the number of objects before."""
    objects = list(_platform())
    opening = _policy("opening", "team-3", "app-3", 9)
    for name, resources, manifests in (
        ("before", ["all.yaml"], objects),
        ("after", ["../before", "opening.yaml"], [opening]),
    ):
        root = directory / name
        root.mkdir()
        (root / "kustomization.yaml").write_text(yaml.safe_dump({"resources": resources}), encoding="utf-8")
        (root / resources[-1]).write_text(yaml.dump_all(manifests, Dumper=yaml.CSafeDumper), encoding="utf-8")
    return len(objects)


def _platform() -> Iterator[Mapping[str, Any]]:
    for number in range(NAMESPACES):
        yield _object("v1", "Namespace", f"team-{number}")
        role = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
        yield _object("rbac.authorization.k8s.io/v1", "Role", "look", f"team-{number}") | role
    for number in range(APPLICATIONS):
        yield from _application(f"app-{number}", f"team-{number % NAMESPACES}", (number + 1) % NAMESPACES)


def _application(name: str, namespace: str, neighbour: int) -> Iterator[Mapping[str, Any]]:
    container = {
        "name": "main",
        "image": "registry.example.com/app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"SETTING_{number}", "value": str(number)} for number in range(8)],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, "containers": [container]}}
    yield _object("apps/v1", "Deployment", name, namespace) | {
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    }
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    yield _object("v1", "Service", name, namespace) | {"spec": {"selector": labels, "ports": ports}}
    yield _object("v1", "ServiceAccount", name, namespace)
    yield _object("v1", "ConfigMap", name, namespace) | {"data": {f"key-{number}": "value" for number in range(6)}}
    yield _policy(name, namespace, name, neighbour)


def _policy(name: str, namespace: str, app: str, source: int) -> Mapping[str, Any]:
    """A NetworkPolicy: the application is reached from one other namespace, and reaches its own."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"team-{source}"}}}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, namespace) | {
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [peer], "ports": [{"port": 8080}]}],
            "egress": [{"to": [{"namespaceSelector": {}}]}],
        }
    }


def _object(version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
