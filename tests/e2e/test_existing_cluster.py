"""The lab on a cluster that is there already: used, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from breakglass_lab.controlplane import ControlPlane, ExistingClusterError
from breakglass_lab.platform import running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path / "theirs", name="theirs") as started:
        yield started


def namespaces(cluster: ControlPlane) -> set[str]:
    with cluster.client() as client:
        items = client.call("GET", NAMESPACES)["items"]
    return {item["metadata"]["name"] for item in items if item["status"]["phase"] == "Active"}


def test_what_was_installed_is_deleted_again(cluster: ControlPlane, tmp_path: Path) -> None:
    before = namespaces(cluster)
    with running(tmp_path / "lab", print, kubeconfig=cluster.kubeconfig, agents=False) as platform:
        assert namespaces(cluster) > before
        platform.call("pat", "POST", "/actions/workflows/apply.yml/dispatches", {"ref": "main"})
        platform.settle()
        assert platform.runner is not None
        assert [(job.matrix["cluster"], job.conclusion) for job in platform.runner.runs] == [("prod-eu", "success")]
    assert namespaces(cluster) == before


def test_a_cluster_with_such_objects_is_not_touched(cluster: ControlPlane, tmp_path: Path) -> None:
    with cluster.client() as client:
        client.call("POST", NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    before = namespaces(cluster)
    with (
        pytest.raises(ExistingClusterError, match="already has Namespace shop"),
        running(tmp_path / "lab", print, kubeconfig=cluster.kubeconfig),
    ):
        pytest.fail("it must not start")
    assert namespaces(cluster) == before
