"""What a kill needs around it: the command in a process that is there at once, and a cluster that is soon as before."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from breakglass.adapters import kubernetes_inventory
from breakglass.model.inventory import Inventory
from breakglass_lab.controlplane import Client, ControlPlane

Object = dict[str, Any]
Key = tuple[str, str]
"""Collection and name."""

APPLIER = {"Impersonate-User": "breakglass:applier", "Impersonate-Group": "system:masters"}
"""Who may write everything, and is let by the admission policies."""
RESOURCES = {
    "/api/v1": ("configmaps", "serviceaccounts"),
    "/apis/networking.k8s.io/v1": ("networkpolicies", "ingresses"),
    "/apis/rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
    "/apis/coordination.k8s.io/v1": ("leases",),
}
"""What a state of the cluster consists of."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/breakglass/leases"
_SET_BY_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_TIMES = {"appliedAt", "appliedAfterSeconds", "closedAt"}
_COLLECTION = re.compile(r"(.*/)namespaces/[^/]+/([^/]+)")

_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(
    ["killing", "jsonschema", "ruamel.yaml", "breakglass.cli.apply", "breakglass.cli.failure", "breakglass.cli.output"]
    + [f"breakglass.adapters.{name}" for name in ("credentials", "git", "github", "kubernetes", "kustomize")]
    + ["breakglass.lifecycle.apply", "github"]
)


def _command(arguments: tuple[str, ...], directory: Path, environment: Mapping[str, str], output: Path) -> None:
    """Be `breakglass`, in a process of its own."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    with output.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    from breakglass.cli import main

    sys.argv = ["breakglass", *arguments]
    main()


@dataclass(frozen=True)
class Command:
    """`breakglass` in a directory: a real process, forked from one that has imported everything."""

    directory: Path
    environment: Mapping[str, str]
    output: Path

    def start(self, *arguments: str) -> BaseProcess:
        process = _fork.Process(target=_command, args=(arguments, self.directory, dict(self.environment), self.output))
        process.start()
        return process

    def run(self, *arguments: str) -> None:
        """Run it to its end, which must be a good one."""
        process = self.start(*arguments)
        process.join(100)
        assert process.exitcode == 0, self.output.read_text(encoding="utf-8")


class LaterClock:
    """A clock that is ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def sleep(self, duration: timedelta) -> None:
        # Nothing waits but the adapter, for the API server and for real.
        multiprocessing.Event().wait(duration.total_seconds())


State = Mapping[Key, Object]
"""The objects of a cluster, as the API server gave them."""


def state(cluster: ControlPlane) -> State:
    """All objects of `RESOURCES` outside the namespaces of Kubernetes itself."""
    found = {}
    with cluster.client() as client:
        for root, plurals in RESOURCES.items():
            for plural in plurals:
                listed = client.call("GET", f"{root}/{plural}")
                for item in listed["items"]:
                    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
                    if not namespace.startswith("kube-") and name != "kube-root-ca.crt":
                        kind = listed["kind"].removesuffix("List")
                        whole = {**item, "apiVersion": listed["apiVersion"], "kind": kind}
                        found[f"{root}/namespaces/{namespace}/{plural}", name] = whole
    return found


def restore(cluster: ControlPlane, wanted: State) -> None:
    """Make the cluster what it was: delete and create again what is not as wanted, with its managedFields."""
    present = state(cluster)
    with cluster.client() as client:
        for key in sorted(present.keys() | wanted.keys()):
            now, then = present.get(key), wanted.get(key)
            if _as_applied(now) == _as_applied(then):
                continue
            if now is not None:
                client.call("DELETE", "/".join(key), headers=APPLIER)
            if then is not None:
                _create(client, key, then)


def _create(client: Client, key: Key, item: Object) -> None:
    """Two requests: what is created belongs to who creates it."""
    metadata = {name: value for name, value in item["metadata"].items() if name not in _SET_BY_SERVER}
    client.call("POST", key[0], {**item, "metadata": metadata}, headers=APPLIER)
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": item["metadata"].get("managedFields", [{}])}]
    client.call("PATCH", "/".join(key), patch, headers={**APPLIER, "Content-Type": "application/json-patch+json"})


def _as_applied(item: Object | None) -> Object | None:
    """An object without what the API server adds, and who owns which of its fields."""
    if item is None:
        return None
    metadata = {name: value for name, value in item["metadata"].items() if name not in _SET_BY_SERVER}
    owned = {(entry["manager"], entry["operation"], json.dumps(entry.get("fieldsV1"))) for entry in _managers(item)}
    return {**item, "metadata": metadata, "owned": sorted(owned)}


def _managers(item: Object) -> list[Object]:
    return [entry for entry in item["metadata"].get("managedFields") or [] if "manager" in entry]


def told(objects: State) -> dict[str, str]:
    """Phase of every inventory, by activation."""
    return {item.activation: item.phase for item in inventories(objects)}


def inventories(objects: State) -> list[Inventory]:
    """Every inventory of a state; one that cannot be read is an error."""
    held = (item for (place, _), item in objects.items() if place == kubernetes_inventory.COLLECTION)
    return [kubernetes_inventory.read(item) for item in held if kubernetes_inventory.is_inventory(item)]


def granted(objects: State) -> dict[Key, Object | None]:
    """A state without what only tells of it: inventories and Leases."""
    recorded = {kubernetes_inventory.path(item.activation) for item in inventories(objects)}
    return {
        key: _as_applied(item) for key, item in objects.items() if key[0] != LEASES and "/".join(key) not in recorded
    }


def situation(objects: State) -> str:
    """All of a state that a process which begins now can mind, so that two of the same are one."""
    held = [item.model_dump(mode="json", exclude=_TIMES) for item in inventories(objects)]
    return json.dumps([sorted(granted(objects).items()), held], sort_keys=True)


def unrecorded(objects: State, baseline: State) -> set[str]:
    """Objects that are not as in the baseline, and that no inventory tells of."""
    now, then = granted(objects), granted(baseline)
    changed = {key for key in now.keys() | then.keys() if now.get(key) != then.get(key)}
    named = {f"{(now.get(key) or then[key])['kind']} {key[1]}" for key in changed}
    claims = (claim for item in inventories(objects) if item.phase != "closed" for claim in item.claims)
    return named - {f"{claim.kind} {claim.name}" for claim in claims}


def without_lease(objects: State) -> State:
    """A state in which nobody need wait for a writer that is dead."""
    return {key: item for key, item in objects.items() if key[0] != LEASES}


def unknown(paths: Iterable[str]) -> set[str]:
    """Paths of writes that are about nothing a state has; Events are told, and change nothing."""
    collections = [f"{root}/{plural}" for root, plurals in RESOURCES.items() for plural in plurals]
    expected = (*collections, "/apis/events.k8s.io/")
    return {path for path in paths if not _COLLECTION.sub(r"\1\2", path).startswith(expected)}
