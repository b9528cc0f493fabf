"""Many clusters out of one control plane: each sees its own, and two of them are dead in their own ways."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from breakglass_lab.controlplane import ControlPlane
from breakglass_lab.fleet import Fleet

pytestmark = pytest.mark.lab
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def fleet(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    kubeconfig = tmp_path_factory.mktemp("fleet") / "kubeconfig"
    with Fleet(control_plane, ("c1", "c2"), kubeconfig, silent=("silent",), refusing=("refusing",)) as fleet:
        fleet.add_namespaces("data")
        yield fleet


@pytest.fixture
def call(fleet: Fleet) -> Call:
    """`call(cluster, method, path, body)` → the answer of its API server, parsed."""

    def call(cluster: str, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(fleet.servers[cluster] + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=2) as answer:
            return json.loads(answer.read())

    return call


CONFIG_MAPS = "/api/v1/namespaces/data/configmaps"


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "data"}}


def test_what_one_cluster_holds_no_other_sees(fleet: Fleet, call: Call, control_plane: ControlPlane) -> None:
    for cluster in fleet.names:
        written = call(cluster, "POST", CONFIG_MAPS, config_map(f"of-{cluster}"))
        assert written["metadata"]["namespace"] == "data"
        assert fleet.last_write[cluster] > 0

    for cluster in fleet.names:
        for path in (CONFIG_MAPS, "/api/v1/configmaps"):
            items = call(cluster, "GET", path)["items"]
            found = {item["metadata"]["name"] for item in items} - {"kube-root-ca.crt"}
            assert found == {f"of-{cluster}"}
            assert {item["metadata"]["namespace"] for item in items} == {"data"}
    with control_plane.client() as client:
        assert client.exists("/api/v1/namespaces/data-c1/configmaps/of-c1")
        assert not client.exists("/api/v1/namespaces/data-c2/configmaps/of-c1")


def test_the_user_is_the_applier(call: Call) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    told = call("c1", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)

    assert told["status"]["userInfo"]["username"] == "breakglass:applier"


def test_a_watch_is_passed_on_as_it_comes(fleet: Fleet, call: Call) -> None:
    with urllib.request.urlopen(f"{fleet.servers['c1']}{CONFIG_MAPS}?watch=true&timeoutSeconds=60", timeout=5) as watch:
        call("c1", "POST", CONFIG_MAPS, config_map("watched"))
        events = (json.loads(line)["object"]["metadata"] for line in watch)
        assert next(event for event in events if event["name"] == "watched")["namespace"] == "data"


def test_a_silent_cluster_does_not_answer_and_a_refusing_one_refuses(call: Call) -> None:
    with pytest.raises(TimeoutError):
        call("silent", "GET", "/version")
    with pytest.raises(urllib.error.URLError, match="refused"):
        call("refusing", "GET", "/version")


def test_each_cluster_is_a_context_of_the_kubeconfig(fleet: Fleet) -> None:
    text = fleet.kubeconfig.read_text(encoding="utf-8")

    assert [name for name in ("c1", "c2", "silent", "refusing") if f"server: {fleet.servers[name]}\n" in text] == list(
        fleet.servers
    )
