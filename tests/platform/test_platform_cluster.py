"""The platform on a real API server: it takes every object, and everybody may do what they need and no more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from manifests import by_key, delta
from places import KUBECTL, OVERLAYS, REQUESTER, Manifest, Render

from breakglass_lab.controlplane import ControlPlane, gateway_api_crds, install

pytestmark = pytest.mark.lab

APPLIER = ("--as=breakglass:applier",)
AGENT = ("--as=system:serviceaccount:breakglass:agent",)
INCIDENT = ("--as=alice", "--as-group=acme:incident", "--as-group=system:authenticated")
ROBIN = (f"--as={REQUESTER}", "--as-group=acme:incident", "--as-group=system:authenticated")
APPLY = ("apply", "--server-side", "--field-manager=breakglass", "--filename=-")
ACCOUNT = "incident-2026-11-23-exec-into-shop-7f3a"
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory, baseline: list[Manifest]) -> Iterator[Kubectl]:
    """`kubectl(*arguments, on=manifests)` in a cluster that holds the baseline."""
    with ControlPlane.start(tmp_path_factory.mktemp("platform") / "control plane", name="drill") as control_plane:
        install(control_plane, [*gateway_api_crds(), *baseline])

        def run(*arguments: str, on: list[Manifest] | None = None) -> subprocess.CompletedProcess[str]:
            command: list[str | Path] = [KUBECTL, f"--kubeconfig={control_plane.kubeconfig}", *arguments]
            items = json.dumps({"apiVersion": "v1", "kind": "List", "items": on or []})
            return subprocess.run(command, input=items, capture_output=True, text=True, timeout=60, check=False)

        yield run


def added(baseline: list[Manifest], after: list[Manifest]) -> list[Manifest]:
    return [manifest for manifest in delta(baseline, after).values() if manifest is not None]


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "lift-isolation"])
def test_the_applier_opens_and_the_agent_closes(
    overlay: str, kubectl: Kubectl, opened: Render, baseline: list[Manifest]
) -> None:
    objects = added(baseline, opened(overlay))
    done = kubectl(*APPLIER, *APPLY, on=objects)
    assert done.returncode == 0, done.stderr
    done = kubectl(*AGENT, "delete", "--filename=-", on=objects)
    assert done.returncode == 0, done.stderr
    assert kubectl(*AGENT, "get", "--filename=-", "--ignore-not-found", "--output=name", on=objects).stdout == ""


def test_the_applier_lifts_and_the_agent_brings_back(
    kubectl: Kubectl, opened: Render, baseline: list[Manifest]
) -> None:
    (lifted,) = delta(baseline, opened("lift-isolation"))
    objects = [by_key(baseline)[lifted]]
    assert kubectl(*APPLIER, "delete", "--filename=-", on=objects).returncode == 0
    done = kubectl(*AGENT, *APPLY, on=objects)
    assert done.returncode == 0, done.stderr


def test_the_inventory_is_theirs(kubectl: Kubectl) -> None:
    metadata = {"name": "activation-try", "namespace": "breakglass"}
    inventory = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"delta": "{}"}}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
    on: list[dict[str, Any]] = [inventory, lease]
    for whom in (APPLIER, AGENT):
        assert kubectl(*whom, "create", "--filename=-", on=[inventory]).returncode == 0
        assert kubectl(*whom, "create", "--dry-run=server", "--filename=-", on=[lease]).returncode == 0
        assert kubectl(*whom, "replace", "--filename=-", on=[inventory]).returncode == 0
        assert kubectl("delete", "--filename=-", on=on).returncode == 1
        assert kubectl(*whom, "delete", "--filename=-", on=[inventory]).returncode == 0


@pytest.mark.parametrize(
    ("whom", "binding"),
    [
        (AGENT, ["--namespace=shop", "--clusterrole=emergency-exec"]),
        (APPLIER, ["--namespace=shop", "--clusterrole=view"]),
        (APPLIER, ["--namespace=data", "--clusterrole=emergency-exec"]),
    ],
)
def test_nobody_grants_what_is_not_theirs_to_grant(kubectl: Kubectl, whom: tuple[str, ...], binding: list[str]) -> None:
    done = kubectl(*whom, "create", "rolebinding", "try", *binding, "--user=mallory", "--dry-run=server")
    assert done.returncode == 1
    assert "forbidden" in done.stderr


@pytest.mark.parametrize(
    ("whom", "question", "answer"),
    [
        (APPLIER, ["get", "secrets", "--namespace=shop"], "no"),
        (APPLIER, ["create", "pods", "--namespace=shop"], "no"),
        (APPLIER, ["delete", "networkpolicies", "--namespace=monitoring"], "no"),
        (APPLIER, ["create", "rolebindings", "--namespace=ops"], "no"),
        (APPLIER, ["update", "networkpolicies", "--namespace=ops"], "no"),
        (APPLIER, ["create", "middlewares.traefik.io", "--namespace=data"], "no"),
        (APPLIER, ["list", "pods", "--namespace=monitoring"], "no"),
        (APPLIER, ["list", "rolebindings", "--namespace=data"], "yes"),
        (APPLIER, ["create", "pods/eviction", "--namespace=shop"], "no"),
        (APPLIER, ["create", "subjectaccessreviews"], "yes"),
        (APPLIER, ["create", "events.events.k8s.io", "--namespace=ops"], "yes"),
        (AGENT, ["create", "events.events.k8s.io", "--namespace=ops"], "yes"),
        (AGENT, ["create", "networkpolicies", "--namespace=data"], "no"),
        (AGENT, ["create", "rolebindings", "--namespace=shop"], "no"),
        (AGENT, ["patch", "roles", "--namespace=shop"], "no"),
        (AGENT, ["create", "networkpolicies", "--namespace=ops"], "yes"),
        (AGENT, ["get", "secrets", "--namespace=breakglass"], "no"),
        (INCIDENT, ["create", "pods/exec", "--namespace=shop"], "no"),
    ],
)
def test_who_may_what_in_the_baseline(
    kubectl: Kubectl, whom: tuple[str, ...], question: list[str], answer: str
) -> None:
    verb, resource, *where = question
    resource, _, subresource = resource.partition("/")
    done = kubectl(*whom, "auth", "can-i", verb, resource, f"--subresource={subresource}", *where)
    assert done.stdout.strip() == answer, done.stderr


def test_a_token_is_had_by_who_asked_in_the_window_and_for_an_hour_at_most(
    kubectl: Kubectl, opened: Render, baseline: list[Manifest]
) -> None:
    objects = added(baseline, opened("exec-into-shop"))
    assert kubectl(*APPLIER, *APPLY, on=objects).returncode == 0
    token = ("--namespace=shop", "create", "token")
    assert kubectl(*ROBIN, *token, ACCOUNT).returncode == 0
    assert "forbidden" in kubectl(*INCIDENT, *token, ACCOUNT).stderr
    refused = kubectl(*ROBIN, *token, ACCOUNT, "--duration=61m")
    assert "one hour at most" in refused.stderr
    assert "forbidden" in kubectl(*ROBIN, *token, "web").stderr
    assert kubectl(*AGENT, "delete", "--filename=-", on=objects).returncode == 0
    assert "forbidden" in kubectl(*ROBIN, *token, ACCOUNT).stderr


def test_a_source_range_that_is_none_is_refused(kubectl: Kubectl) -> None:
    middleware = {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "Middleware",
        "metadata": {"name": "try", "namespace": "shop"},
        "spec": {"ipAllowList": {"sourceRange": ["everybody"]}},
    }
    assert "must be of type cidr" in kubectl(*APPLIER, *APPLY, "--dry-run=server", on=[middleware]).stderr
