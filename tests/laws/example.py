"""A platform small enough to know by heart: its files, its baseline, and what each overlay makes of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from breakglass.model.manifest import ObjectKey, key_of

Object = dict[str, Any]

CLUSTERS = ("prod-eu", "prod-us")
OVERLAYS = ("db-from-bastion", "lift-isolation", "widen-metrics")
ON_CALL, BOT = "on-call", "acme-breakglass[bot]"
TEAM = "@acme/incident-commanders"
COMMANDERS = ("ada", "grace", "barbara")
ACTIVATIONS = "overlays/emergency/activations"


def network_policy(namespace: str, name: str, pods: str | None, clients: str | None) -> Object:
    """Lets pods of the app `clients` into port 5432 of the app `pods`; None is all pods, and nobody."""
    peers = [] if clients is None else [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": clients}}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {} if pods is None else {"matchLabels": {"app": pods}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": 5432}]}] if peers else [],
        },
    }


def deployment(namespace: str, name: str, port: int) -> Object:
    pod = {"containers": [{"name": name, "image": name, "ports": [{"containerPort": port}]}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


DEFAULT_DENY = network_policy("data", "default-deny", None, None)
METRICS = network_policy("data", "metrics", "postgres", "prometheus")
BASELINE = (
    deployment("data", "postgres", 5432),
    deployment("ops", "bastion", 22),
    deployment("data", "cache", 6379),
    DEFAULT_DENY,
    METRICS,
)

KINDS = ["NetworkPolicy.networking.k8s.io"]
OPENS = {"from": "ops/bastion", "to": "data/postgres", "port": 5432}
_EVERYBODY = ({"namespaceSelector": {}}, {"cidr": "0.0.0.0/0"}, {"cidr": "::/0"})
LIFTS = [{"from": source, "to": "data/cache", "protocol": "*"} for source in _EVERYBODY]

_COMPONENT = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
_TICKET = {
    "source": {"kind": "ConfigMap", "name": "breakglass-parameters", "fieldPath": "data.ticket"},
    "targets": [
        {
            "select": {"kind": "NetworkPolicy", "name": "postgres-from-bastion"},
            "fieldPaths": ["metadata.annotations.ticket"],
        }
    ],
}


def _added(ticket: str) -> Object:
    policy = network_policy("data", "postgres-from-bastion", "postgres", "bastion")
    policy["metadata"]["annotations"] = {"ticket": ticket}
    return policy


def _metrics_patch() -> Object:
    patch = network_policy("data", "metrics", "postgres", "bastion")
    del patch["spec"]["podSelector"], patch["spec"]["policyTypes"]
    patch["metadata"]["annotations"] = {"widened": "yes"}
    return patch


def contract(name: str, parameters: list[str], maximum: str = "4h", opens: Sequence[Object] = (OPENS,)) -> Object:
    schema = {"type": "object", "additionalProperties": False, "required": parameters}
    return {
        "apiVersion": "breakglass.dev/v1alpha1",
        "kind": "Overlay",
        "metadata": {"name": name},
        "spec": {
            "summary": f"the overlay {name}",
            "scope": {"clusters": list(CLUSTERS), "namespaces": ["data"], "kinds": KINDS},
            "duration": {"default": "30m", "maximum": maximum},
            "approvals": {"minimum": 2, "approvers": [TEAM]},
            "parameters": schema | {"properties": {parameter: {"type": "string"} for parameter in parameters}},
            "contract": {"opens": list(opens)},
        },
    }


def policy() -> Object:
    return {
        "apiVersion": "breakglass.dev/v1alpha1",
        "kind": "Policy",
        "spec": {
            "forge": {"repository": "acme/platform"},
            "bot": {"login": BOT},
            "clusters": {name: {"baseline": "base", "purpose": "drill"} for name in CLUSTERS},
            "duration": {"default": "30m", "maximum": "4h"},
            "requestTimeToLive": "2h",
            "approvals": {"minimum": 2, "approvers": [TEAM]},
            "kinds": KINDS,
        },
    }


def files() -> dict[str, bytes]:
    """The repository; JSON is YAML, and quick to write."""
    overlays: Mapping[str, Mapping[str, Any]] = {
        "db-from-bastion": {
            "overlay.yaml": contract("db-from-bastion", ["ticket"]),
            "kustomization.yaml": _COMPONENT | {"resources": ["policy.yaml"], "replacements": [_TICKET]},
            "policy.yaml": _added("none"),
        },
        "lift-isolation": {
            "overlay.yaml": contract("lift-isolation", [], opens=LIFTS),
            "kustomization.yaml": _COMPONENT | {"patches": [{"path": "default-deny.yaml"}]},
            "default-deny.yaml": {name: DEFAULT_DENY[name] for name in ("apiVersion", "kind", "metadata")}
            | {"$patch": "delete"},
        },
        "widen-metrics": {
            "overlay.yaml": contract("widen-metrics", []),
            "kustomization.yaml": _COMPONENT | {"patches": [{"path": "metrics.yaml"}]},
            "metrics.yaml": _metrics_patch(),
        },
    }
    named = {
        f"overlays/emergency/{name}/{file}": data for name, held in overlays.items() for file, data in held.items()
    }
    base = {f"base/{index}.yaml": manifest for index, manifest in enumerate(BASELINE)}
    root = {"base/kustomization.yaml": {"resources": [path.removeprefix("base/") for path in base]}}
    data = {"breakglass.yaml": policy(), **base, **root, **named}
    content = {path: (json.dumps(value, indent=1) + "\n").encode() for path, value in data.items()}
    owners = f"* {TEAM}\n/{ACTIVATIONS}/ {TEAM}\n".encode()
    return {**content, "CODEOWNERS": owners, f"{ACTIVATIONS}/README.md": b"activations\n"}


def parameters_of(overlay: str) -> dict[str, Any]:
    """Parameters that the overlay takes."""
    return {"ticket": "INC-1"} if overlay == "db-from-bastion" else {}


def state(windows: Mapping[str, str]) -> dict[ObjectKey, Object]:
    """Every object that a cluster should hold, written down by hand.

    Args:
        windows: id of each open window → its overlay.
    """
    objects = {key_of(manifest): copy.deepcopy(manifest) for manifest in BASELINE}
    for identity, overlay in windows.items():
        if overlay == "db-from-bastion":
            added = _added("INC-1")
            added["metadata"]["name"] += f"-{identity}"
            added["metadata"]["labels"] = {"breakglass.dev/activation": identity}
            objects[key_of(added)] = added
        elif overlay == "lift-isolation":
            objects.pop(key_of(DEFAULT_DENY), None)
        else:
            widened = network_policy("data", "metrics", "postgres", "bastion")
            widened["metadata"]["annotations"] = {"widened": "yes"}
            objects[key_of(widened)] = widened
    return objects
