"""Manifests into a control plane by server-side apply, quickly and in an order that works."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from breakglass_lab.controlplane.client import Client, StatusError

_FIELD_MANAGER = "platform"
_THREADS = 6
_ESTABLISHED_SECONDS = 60.0
_POLL_SECONDS = 0.03
_FIRST = ("Namespace", "CustomResourceDefinition")
_LAST = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet")
_AGGREGATED = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}

Manifest = dict[str, Any]
Resources = dict[tuple[str, str], tuple[str, bool]]
"""(apiVersion, kind) → (plural name, whether it is namespaced)."""


class InstallError(Exception):
    """A manifest was refused or is of a kind the API server does not know."""


class Reachable(Protocol):
    """What has an API server."""

    def client(self) -> Client:
        """A client with an administrator's rights."""


def install(cluster: Reachable, manifests: Iterable[Manifest]) -> None:
    """Server-side-apply `manifests` as field manager `platform`; again is no error.

    Namespaces and CRDs come first, each CRD until it is Established, workloads last; within a step the order is free
    and requests run in parallel. Raises InstallError that names the first object refused.
    """
    steps: list[list[Manifest]] = [[], [], []]
    for manifest in manifests:
        kind = manifest["kind"]
        steps[0 if kind in _FIRST else 2 if kind in _LAST else 1].append(manifest)
    crds = [manifest for manifest in steps[0] if manifest["kind"] == "CustomResourceDefinition"]
    with cluster.client() as client, ThreadPoolExecutor(_THREADS) as threads:
        resources = discover(client) | _defined(crds)
        for step in steps:
            _each(threads, lambda manifest: _apply(client, resources, manifest), step)
            if step is steps[0]:
                _each(threads, lambda crd: _wait_established(client, crd["metadata"]["name"]), crds)


def _each(threads: ThreadPoolExecutor, action: Callable[[Manifest], None], manifests: Sequence[Manifest]) -> None:
    for _ in threads.map(action, manifests):
        pass


def discover(client: Client) -> Resources:
    """What the API server serves (https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery)."""
    return {
        (f"{group['metadata'].get('name', '')}/{version['version']}".lstrip("/"), resource["responseKind"]["kind"]): (
            resource["resource"],
            resource["scope"] == "Namespaced",
        )
        for path in ("/api", "/apis")
        for group in client.call("GET", path, headers=_AGGREGATED)["items"]
        for version in group["versions"]
        for resource in version["resources"]
    }


def _defined(crds: Sequence[Manifest]) -> Resources:
    return {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): (
            crd["spec"]["names"]["plural"],
            crd["spec"]["scope"] == "Namespaced",
        )
        for crd in crds
        for version in crd["spec"]["versions"]
    }


def _apply(client: Client, resources: Resources, manifest: Manifest) -> None:
    path = object_path(resources, manifest)
    try:
        client.call(
            "PATCH",
            path,
            manifest,
            query={"fieldManager": _FIELD_MANAGER, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
    except StatusError as error:
        raise InstallError(f"{path}: {error}") from error


def object_path(resources: Resources, manifest: Manifest) -> str:
    """The path of an object below the API server's address. Raises InstallError for a kind that is not served."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    if (version, kind) not in resources:
        raise InstallError(f"{kind} {metadata['name']}: the API server knows no {version} {kind}; install its CRD too")
    plural, namespaced = resources[version, kind]
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
    return f"{prefix}{scope}/{plural}/{metadata['name']}"


def _wait_established(client: Client, name: str) -> None:
    deadline = time.monotonic() + _ESTABLISHED_SECONDS
    while True:
        crd = client.call("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        conditions = {entry["type"]: entry for entry in crd.get("status", {}).get("conditions") or []}
        if conditions.get("Established", {}).get("status") == "True":
            return
        if time.monotonic() > deadline:
            raise InstallError(f"CustomResourceDefinition {name} is not Established: {list(conditions.values())}")
        time.sleep(_POLL_SECONDS)
