"""A random platform, and what happens on it, made from a seed alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from breakglass.model.manifest import ObjectKey, key_of
from laws import example

Object = dict[str, Any]

CLUSTER = "prod-eu"
OVERLAYS = ("one", "two", "three")
KINDS = ("ConfigMap", "NetworkPolicy.networking.k8s.io", "Role.rbac.authorization.k8s.io")
EVENTS = {
    "open": 4,
    "apply": 6,
    "agent": 3,
    "tick": 4,
    "foreign": 4,
    "close early": 2,
    "expire": 1,
    "move the baseline": 1,
}
"""What may happen, and how often in comparison."""


@dataclass(frozen=True)
class Event:
    """One thing that happens; whatever is left open about it is drawn from its own seed."""

    name: str
    seed: int

    def dice(self) -> Random:
        return Random(self.seed)


@dataclass(frozen=True)
class Scenario:
    """A platform, and what happens on it in order.

    Attributes:
        seed: makes all of it again.
        suffix: in the names of all objects, and in no other's.
        baseline: the objects of the cluster.
        files: the repository.
    """

    seed: int
    suffix: str
    baseline: tuple[Object, ...]
    files: dict[str, bytes]
    events: tuple[Event, ...]


def scenario(seed: int, namespaces: tuple[str, str], suffix: str) -> Scenario:
    """The scenario of a seed, in two namespaces that exist.

    Args:
        suffix: of the names of all objects.
    """
    dice = Random(seed)
    names = [f"{kind}-{number}{suffix}" for kind in ("config", "policy", "role") for number in range(2)]
    baseline = tuple(_object(dice, name, dice.choice(namespaces)) for name in dice.sample(names, dice.randint(2, 5)))
    overlays = {name: _overlay(dice, name, baseline, namespaces, suffix) for name in OVERLAYS}
    names = ["open", "apply", *dice.choices(list(EVENTS), list(EVENTS.values()), k=dice.randint(2, 8))]
    events = [Event(name, dice.getrandbits(32)) for name in names]
    return Scenario(seed, suffix, baseline, _files(dice, baseline, overlays, namespaces), tuple(events))


def moved(manifest: Object) -> Object:
    """A baseline object as the team changes it."""
    after = copy.deepcopy(manifest)
    annotations = after["metadata"].setdefault("annotations", {})
    annotations["moved"] = str(int(annotations.get("moved", "0")) + 1)
    return after


def _object(dice: Random, name: str, namespace: str) -> Object:
    metadata: Object = {"name": name, "namespace": namespace}
    if dice.random() < 0.3:
        metadata["labels"] = {"team": "data"}
    if name.startswith("config"):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": _data(dice, "base")}
    if name.startswith("role"):
        body = {"rules": _rules(dice)}
        return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, **body}
    body = {"spec": _isolation(dice)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, **body}


def _data(dice: Random, value: str) -> Object:
    return dict.fromkeys(dice.sample(["a", "b", "c"], dice.randint(1, 2)), value)


def _rules(dice: Random) -> list[Object]:
    """Rules that contain each other: with and without names, one verb or two."""
    rule: Object = {"apiGroups": [""], "resources": ["pods"], "verbs": dice.sample(["get", "list"], dice.randint(1, 2))}
    if dice.random() < 0.5:
        rule["resourceNames"] = ["postgres"]
    return [rule] * dice.randint(0, 1)


def _isolation(dice: Random) -> Object:
    """A policy that lets somebody in, or nobody; peers and ports that contain each other."""
    spec: Object = {"podSelector": dice.choice([{}, {"matchLabels": {"app": "postgres"}}]), "policyTypes": ["Ingress"]}
    rule: Object = {"from": [{"podSelector": {"matchLabels": {"app": "bastion"}}}]}
    if dice.random() < 0.5:
        rule["from"][0]["namespaceSelector"] = {}
    if dice.random() < 0.5:
        rule["ports"] = [{"protocol": "TCP", "port": 5432}]
    return {**spec, "ingress": [rule]} if dice.random() < 0.7 else spec


def _overlay(
    dice: Random, name: str, baseline: tuple[Object, ...], namespaces: tuple[str, str], suffix: str
) -> dict[str, Object | list[Object]]:
    """Files of an overlay that adds, changes or removes, or does several of these."""
    kustomization: Object = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    files: dict[str, Object | list[Object]] = {}
    layered = dice.random() < 0.6
    if not layered or dice.random() < 0.3:
        number = dice.randint(1, 3)
        kinds = dice.sample(["config", "policy", "role"], number)
        files["added.yaml"] = _list(_object(dice, f"{kind}-{name}{suffix}", dice.choice(namespaces)) for kind in kinds)
        kustomization["resources"] = ["added.yaml"]
    if layered:
        touched = dice.sample(baseline, dice.randint(1, min(2, len(baseline))))
        patches = {f"patch-{number}.yaml": _patch(dice, manifest) for number, manifest in enumerate(touched)}
        files |= patches
        kustomization["patches"] = [{"path": path} for path in patches]
    return {**files, "kustomization.yaml": kustomization}


def _list(items: Iterable[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def _patch(dice: Random, manifest: Object) -> Object:
    metadata = {name: manifest["metadata"][name] for name in ("name", "namespace")}
    patch: Object = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata}
    if dice.random() < 0.4:
        return {**patch, "$patch": "delete"}
    if dice.random() < 0.3:
        metadata["annotations"] = {"widened": "yes"}
    match manifest["kind"]:
        case "ConfigMap":
            return {**patch, "data": _data(dice, "emergency")}
        case "Role":
            return {**patch, "rules": _rules(dice)}
        case _:
            return {**patch, "spec": {"ingress": [], **_isolation(dice)}}


def _files(
    dice: Random,
    baseline: tuple[Object, ...],
    overlays: dict[str, dict[str, Object | list[Object]]],
    namespaces: tuple[str, str],
) -> dict[str, bytes]:
    policy = example.policy()
    policy["spec"] |= {"kinds": list(KINDS)}
    if dice.random() < 0.3:
        policy["spec"]["conflicts"] = {
            "opening": dice.choice(["take", "take", "refuse"]),
            "closing": dice.choice(["restore", "keep"]),
        }
    base = base_files(baseline)
    data: dict[str, Any] = {"breakglass.yaml": policy}
    for name, files in overlays.items():
        contract = example.contract(name, [])
        contract["spec"]["scope"] |= {"namespaces": list(namespaces), "kinds": list(KINDS)}
        data |= {f"overlays/emergency/{name}/{file}": content for file, content in files.items()}
        data[f"overlays/emergency/{name}/overlay.yaml"] = contract
    owners = f"* {example.TEAM}\n/{example.ACTIVATIONS}/ {example.TEAM}\n".encode()
    rest = {"CODEOWNERS": owners, f"{example.ACTIVATIONS}/README.md": b"activations\n"}
    return {**_written(data), **base, **rest}


def base_files(baseline: Iterable[Object]) -> dict[str, bytes]:
    """The files of a baseline."""
    named = {f"{number}.yaml": manifest for number, manifest in enumerate(baseline)}
    return _written({f"base/{file}": manifest for file, manifest in named.items()}) | _written(
        {"base/kustomization.yaml": {"resources": list(named)}}
    )


def _written(data: dict[str, Any]) -> dict[str, bytes]:
    """JSON is YAML, and quick to write."""
    return {path: (json.dumps(value, indent=1) + "\n").encode() for path, value in data.items()}


def keys(manifests: Iterable[Object]) -> list[ObjectKey]:
    """Keys of manifests, in their order."""
    return [key_of(manifest) for manifest in manifests]
