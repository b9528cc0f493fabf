"""The control plane of the lab is a real one: its version, rights, records, controllers, restarts and end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from breakglass_lab.controlplane import (
    Assets,
    Client,
    ControlPlane,
    InstallError,
    StartError,
    StatusError,
    assets,
    gateway_api_crds,
    install,
    network_policy_api_crds,
)
from breakglass_lab.controlplane import control_plane as control_plane_module
from breakglass_lab.controlplane.configuration import authentication
from breakglass_lab.controlplane.processes import free_port

pytestmark = pytest.mark.lab

Eventually = Callable[[Callable[[], bool], str], None]
KUBECTL = Path(sys.executable).with_name("kubectl")


def config_map(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def service_account(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def get(control_plane: ControlPlane, path: str) -> Any:
    with control_plane.client() as client:
        return client.call("GET", path)


def is_alive(pid: int) -> bool:
    """Whether a process exists that is more than a zombie nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def test_it_is_kubernetes_1_37_2(control_plane: ControlPlane) -> None:
    version = get(control_plane, "/version")
    assert (version["gitVersion"], version["major"], version["minor"]) == ("v1.37.2", "1", "37")


def test_rbac_refuses_an_unbound_service_account(control_plane: ControlPlane, namespace: str) -> None:
    install(control_plane, [service_account(namespace, "stranger")])
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with (
        control_plane.client(control_plane.token(namespace, "stranger")) as client,
        pytest.raises(StatusError) as refusal,
    ):
        client.call("GET", path)
    assert (refusal.value.code, refusal.value.reason) == (403, "Forbidden")
    assert f"system:serviceaccount:{namespace}:stranger" in str(refusal.value)


def test_a_bound_service_account_may_do_what_its_role_says(
    control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    install(control_plane, [service_account(namespace, "reader"), binding])

    def may_read() -> bool:
        with control_plane.client(control_plane.token(namespace, "reader")) as client:
            return bool(client.call("GET", f"/api/v1/namespaces/{namespace}/configmaps")["kind"] == "ConfigMapList")

    eventually(lambda: not _raises(StatusError, may_read), "the binding counts")


def _raises(kind: type[Exception], action: Callable[[], object]) -> bool:
    try:
        action()
    except kind:
        return True
    return False


def test_anonymous_may_ask_for_health_and_nothing_else(control_plane: ControlPlane) -> None:
    with Client(control_plane.server, control_plane.tls(client_certificate=False)) as client:
        assert client.answers("/readyz")
        with pytest.raises(StatusError) as refusal:
            client.call("GET", "/version")
    assert refusal.value.code == 401


def test_the_audit_log_tells_who_changed_what(
    control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    install(control_plane, [config_map(namespace, "audited")])

    def records() -> list[dict[str, Any]]:
        with control_plane.audit_log.open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event.get("objectRef", {}).get("name") == "audited"]

    eventually(lambda: bool(records()), "the audit log has the write")
    (event,) = records()
    assert (event["verb"], event["user"]["username"], event["responseStatus"]["code"]) == ("patch", "admin", 201)
    assert event["objectRef"]["namespace"] == namespace
    assert "requestObject" not in event


def test_kubeconfigs_are_private_and_kubectl_takes_them(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    install(control_plane, [service_account(namespace, "caller")])
    path = control_plane.kubeconfig_for(control_plane.token(namespace, "caller"), tmp_path / "of a caller")
    assert [stat.S_IMODE(file.stat().st_mode) for file in (path, control_plane.kubeconfig)] == [0o600, 0o600]
    applier = control_plane.kubeconfig_as("breakglass:applier", tmp_path / "of a user")
    assert stat.S_IMODE(applier.stat().st_mode) == 0o600
    who = {}
    for kubeconfig in (path, applier, control_plane.kubeconfig):
        command = [KUBECTL, "--kubeconfig", kubeconfig, "--context", "prod-eu", "auth", "whoami", "--output", "json"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        who[kubeconfig] = json.loads(answer.stdout)["status"]["userInfo"]["username"]
    assert who == {
        path: f"system:serviceaccount:{namespace}:caller",
        applier: "breakglass:applier",
        control_plane.kubeconfig: "admin",
    }


def test_a_user_by_certificate_has_what_rbac_gives_to_the_name_and_the_groups(control_plane: ControlPlane) -> None:
    namespaces = "/api/v1/namespaces"
    with control_plane.client_as("alice") as client, pytest.raises(StatusError, match="403"):
        client.call("GET", namespaces)
    with control_plane.client_as("alice", ("system:masters",)) as client:
        assert client.call("GET", namespaces)["items"]


def test_controllers_make_pods_and_collect_garbage(
    control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    install(control_plane, [deployment])
    pods = f"/api/v1/namespaces/{namespace}/pods"
    eventually(lambda: len(get(control_plane, pods)["items"]) == 2, "the Deployment has two pods")
    assert {pod["status"]["phase"] for pod in get(control_plane, pods)["items"]} == {"Pending"}
    with control_plane.client() as client:
        client.call("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    eventually(lambda: not get(control_plane, pods)["items"], "the pods are collected")


def test_a_deleted_namespace_goes_away(control_plane: ControlPlane, namespace: str, eventually: Eventually) -> None:
    with control_plane.client() as client:
        client.call("DELETE", f"/api/v1/namespaces/{namespace}")
    gone = f"/api/v1/namespaces/{namespace}"
    eventually(lambda: _raises(StatusError, lambda: get(control_plane, gone)), "the namespace is gone")


def test_crds_and_their_objects_install_in_one_call_and_twice(control_plane: ControlPlane, namespace: str) -> None:
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {"hostnames": ["shop.example.com"]},
    }
    manifests = [route, *network_policy_api_crds(), *gateway_api_crds()]
    install(control_plane, manifests)
    install(control_plane, manifests)
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/shop"
    (entry,) = get(control_plane, path)["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("platform", "Apply")
    assert get(control_plane, "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies")["items"] == []


def test_install_names_what_it_cannot_install(control_plane: ControlPlane, namespace: str) -> None:
    unknown = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    with pytest.raises(InstallError, match=r"Widget w: .*example\.com/v1 Widget"):
        install(control_plane, [unknown])
    with pytest.raises(InstallError, match=r"configmaps/bad: 500 .*|configmaps/bad: 4\d\d .*"):
        install(control_plane, [{**config_map(namespace, "bad"), "data": {"key": ["not", "text"]}}])


def test_an_api_server_that_restarts_keeps_port_and_data(control_plane: ControlPlane, namespace: str) -> None:
    install(control_plane, [config_map(namespace, "kept")])
    path, server = f"/api/v1/namespaces/{namespace}/configmaps/kept", control_plane.server
    before = get(control_plane, path)["metadata"]["uid"]
    control_plane.stop_api_server()
    try:
        with control_plane.client() as client:
            assert not client.answers("/readyz")
        assert "kube-apiserver" not in control_plane.pids
    finally:
        control_plane.start_api_server()
    assert (control_plane.server, get(control_plane, path)["metadata"]["uid"]) == (server, before)


_START_AND_WAIT = """
import json, sys, threading
from pathlib import Path
from breakglass_lab.controlplane import ControlPlane
started = []
def start():
    started.append(ControlPlane.start(Path(sys.argv[1]), name="lab"))
# A thread that ends: its processes must not end with it.
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(json.dumps(started[0].pids), flush=True)
threading.Event().wait()
"""


def test_nothing_outlives_a_killed_parent(tmp_path: Path, eventually: Eventually) -> None:
    command = [sys.executable, "-c", _START_AND_WAIT, str(tmp_path / "control plane")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert sorted(pids) == ["etcd", "kube-apiserver", "kube-controller-manager"]
        assert all(is_alive(pid) for pid in pids.values())
        parent.kill()
    eventually(lambda: not any(is_alive(pid) for pid in pids.values()), f"{pids} are gone")


def test_the_command_runs_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "breakglass_lab.controlplane"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        kubeconfig = Path(process.stdout.readline().rstrip())
        cluster = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert cluster["server"].startswith("https://127.0.0.1:")
    assert list(tmp_path.iterdir()) == []


def test_ports_taken_meanwhile_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # etcd asks for two ports, the API server for one.
        ports = iter([port, free_port(), free_port(), port, free_port(), free_port(), port, free_port()])
        monkeypatch.setattr(control_plane_module, "free_port", lambda: next(ports))
        with ControlPlane.start(tmp_path, name="lab", controller_manager=False) as control_plane:
            assert get(control_plane, "/version")["major"] == "1"
            assert not control_plane.server.endswith(f":{port}")
        assert next(ports, None) is None


def test_a_component_that_fails_shows_its_log(tmp_path: Path) -> None:
    broken = Assets(("/bin/sh", "-c", "echo no space left on device; exit 3"), ("unused",), None)
    with pytest.raises(StartError, match=r"etcd ended with 3(.|\n)*etcd\.log:\nno space left on device"):
        ControlPlane.start(tmp_path, name="lab", assets=broken, controller_manager=False)


def test_a_directory_holds_one_control_plane(control_plane: ControlPlane) -> None:
    with pytest.raises(FileExistsError):
        ControlPlane.start(control_plane.kubeconfig.parent, name="second", assets=assets(str))


def test_stop_ends_everything_and_may_be_called_again(tmp_path: Path) -> None:
    control_plane = ControlPlane.start(tmp_path, name="lab", controller_manager=False)
    pids = control_plane.pids
    control_plane.stop()
    control_plane.stop()
    assert not any(is_alive(pid) for pid in pids.values())
    assert control_plane.pids == {}


def test_a_given_authentication_configuration_gets_the_health_paths() -> None:
    given = "kind: AuthenticationConfiguration\napiVersion: apiserver.config.k8s.io/v1\njwt: [{issuer: {}}]\n"
    document = yaml.safe_load(authentication(given))
    assert document["jwt"] == [{"issuer": {}}]
    assert [entry["path"] for entry in document["anonymous"]["conditions"]] == ["/livez", "/readyz", "/healthz"]
    assert yaml.safe_load(authentication(given + "anonymous: {enabled: false}\n"))["anonymous"] == {"enabled": False}


@pytest.mark.parametrize("text", ["kind: Pod", "- a list", "", "a: [broken"])
def test_anything_else_is_no_authentication_configuration(text: str) -> None:
    with pytest.raises(ValueError, match="authentication configuration"):
        authentication(text)
