"""`breakglass access`: what it prints, where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from breakglass.cli.access import command
from breakglass.model.errors import Refused

ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: shell}
rules:
- verbs: [create, get]
  apiGroups: [""]
  resources: [pods/exec]
"""
BINDING = """\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shell, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shell}
subjects: [{kind: Group, name: "acme:incident"}]
"""


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`before/` without the binding, `after/` with it."""
    for name, text in (("before", ROLE), ("after", ROLE + BINDING)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rbac.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)


def access(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_the_difference_as_json() -> None:
    done = access("diff", "before", "after", "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(each["subject"], each["namespace"]) for each in found["granted"]] == [("Group/acme:incident", "shop")]
    assert [each["id"] for each in found["escalations"]] == ["access-exec"]
    assert found["revoked"] == []


@pytest.mark.parametrize(
    ("compared", "code"), [(("before", "after"), 1), (("after", "before"), 1), (("after", "after"), 0)]
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_the_exit_code_tells_a_difference_where_it_is_asked_to(
    compared: tuple[str, str], code: int, output: str
) -> None:
    assert access("diff", *compared, "--output", output, "--exit-code").exit_code == code
    assert access("diff", *compared, "--output", output).exit_code == 0


@pytest.mark.parametrize("output", ["text", "markdown", "svg", "dot"])
@pytest.mark.parametrize(
    "arguments", [("diff", "before", "after"), ("map", "after"), ("who-can", "create", "pods/exec", "after")]
)
def test_every_output(output: str, arguments: tuple[str, ...]) -> None:
    done = access(*arguments, "--output", output)
    assert done.exit_code == 0, done.output
    assert "acme:incident" in done.stdout


def test_the_map() -> None:
    (row,) = json.loads(access("map", "after", "--output", "json").stdout)["granted"]
    assert row["because"] == [{"binding": "RoleBinding shop/shell", "role": "ClusterRole shell"}]


def test_who_can_asks_the_directory_it_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "after")
    done = access("who-can", "get", "pods/exec", "--namespace", "shop", "--output", "json")
    assert [each["subject"] for each in json.loads(done.stdout)["subjects"]] == ["Group/acme:incident"]
    done = access("who-can", "get", "pods/exec", "--namespace", "data", "--output", "json")
    assert json.loads(done.stdout)["subjects"] == []


@pytest.mark.parametrize("output", ["text", "json"])
def test_what_cannot_be_read_prints_nothing(tmp_path: Path, output: str) -> None:
    (tmp_path / "after" / "rbac.yaml").write_text(ROLE.replace("verbs: [create, get]", "verbs: []"))
    done = access("diff", "before", "after", "--output", output)
    assert isinstance(done.exception, Refused)
    assert "rbac.yaml:5" in str(done.exception)
    assert done.stdout == ""
