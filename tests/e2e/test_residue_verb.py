"""`breakglass residue` as people run it: a clone, a kubeconfig, the API server's log; then a pull request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from emergency import agree, ask

from breakglass.model.document import read
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass_lab.controlplane import ControlPlane
from breakglass_lab.platform import Platform, running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("after closing")
    with running(directory, print, clusters=("prod-eu",), workflows=False, agents=False) as started:
        yield started


def test_residue_is_told_and_its_deletion_asked_for(platform: Platform) -> None:
    plane = platform.clusters["prod-eu"]
    assert isinstance(plane, ControlPlane)
    request = ask(platform, "exec-into-shop")
    agree(platform, request, "ines", "sofia")
    where = (request.id, "prod-eu", "--kubeconfig", str(plane.kubeconfig))
    log = ("--audit-log", str(plane.audit_log))
    clean = platform.breakglass("robin", "residue", *where, *log)
    assert "clean     nothing was left behind\n" in clean.stdout

    policy = read((platform.clone("robin") / POLICY_FILE).read_bytes(), POLICY_FILE, Policy)
    robin = {"Impersonate-User": f"{policy.spec.requesters.userPrefix}robin", "Impersonate-Group": "system:masters"}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    role: dict[str, Any] = {"metadata": {"name": "left"}, "rules": rules}
    with plane.client() as admin:
        admin.call("POST", ROLES, role, headers=robin)
        admin.call("POST", "/api/v1/namespaces/shop/secrets", {"metadata": {"name": "copy"}}, headers=robin)
    told = platform.breakglass("robin", "residue", *where, *log, code=1).stdout
    assert "residue   Role.rbac.authorization.k8s.io shop/left\n" in told
    assert "by hand: echo" in told.partition("Secret shop/copy")[2]
    asked = platform.breakglass("robin", "residue", *where, *log, "--delete-all", "--output", "json", code=1)
    answer = json.loads(asked.stdout)
    assert [(piece["kind"], piece["certain"], piece["byHand"] is None) for piece in answer["residue"]] == [
        ("Secret", True, False),
        ("Role", True, True),
    ]
    files = platform.call("robin", "GET", f"/pulls/{answer['pullRequest']['number']}/files")
    assert [file["filename"] for file in files] == [f"overlays/emergency/residue/{request.id}.yaml"]
    assert "uid: " in files[0]["patch"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("2026-11-23-x-0000", "prod-eu"), 1, "ever reached main"),
        (("2026-11-23-x-0000", "nowhere"), 1, "the policy knows no cluster"),
        (("2026-11-23-x-0000", "prod-eu", "--adopt-all", "--delete-all"), 2, "exclude each other"),
        (("2026-11-23-x-0000", "prod-eu", "--audit-log", "/nonexistent"), 2, "does not exist"),
    ],
)
def test_a_wrong_call_is_told(platform: Platform, arguments: tuple[str, ...], code: int, message: str) -> None:
    kubeconfig = ("--kubeconfig", str(platform.clusters["prod-eu"].kubeconfig))
    assert message in platform.breakglass("robin", "residue", *arguments, *kubeconfig, code=code).stderr
