"""`breakglass exposure` from files to what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from breakglass.cli import breakglass

SHOP = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop}
spec:
  rules:
    - host: shop.example.com
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: web, port: {number: 80}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {}
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: edge}}
"""
MORE = SHOP.replace("shop.example.com", "admin.example.com").split("---")[0]
MORE = MORE.replace("name: shop,", "name: admin,")
POLICY = (Path(__file__).parents[2] / "breakglass.yaml").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("before.yaml", SHOP), ("after.yaml", f"{SHOP}---\n{MORE}")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(breakglass, ["exposure", *arguments], catch_exceptions=False)


@pytest.mark.usefixtures("place")
def test_a_map_in_every_format() -> None:
    (found,) = json.loads(run("map", "before.yaml", "--output", "json").stdout)["exposures"]
    assert (found["host"], found["workloads"], found["network"]) == ("shop.example.com", ["shop/web[Pod]"], "unknown")
    for output in ("text", "markdown", "svg", "dot"):
        done = run("map", "before.yaml", "--output", output)
        assert (done.exit_code, done.stderr) == (0, "")
        assert "shop.example.com" in done.stdout


def test_the_ingress_controllers_are_those_of_the_policy(place: Path) -> None:
    (place / "other.yaml").write_text(POLICY.replace("namespace: edge", "namespace: apart"), encoding="utf-8")
    (found,) = json.loads(run("map", "before.yaml", "-o", "json", "--policy", "other.yaml").stdout)["exposures"]
    assert found["network"] == "blocked"
    (place / "breakglass.yaml").write_text(POLICY, encoding="utf-8")
    (found,) = json.loads(run("map", "before.yaml", "-o", "json").stdout)["exposures"]
    assert found["network"] == "open"


@pytest.mark.usefixtures("place")
def test_a_difference() -> None:
    done = run("diff", "before.yaml", "after.yaml", "--output", "json", "--exit-code")
    document = json.loads(done.stdout)
    assert done.exit_code == 1
    assert document["schema"] == "breakglass.dev/exposure-diff/v1alpha1"
    assert [each["host"] for each in document["exposed"]] == ["admin.example.com"]
    assert (document["hidden"], document["changed"]) == ([], [])
    assert run("diff", "before.yaml", "after.yaml").exit_code == 0
    same = run("diff", "after.yaml", "after.yaml", "--exit-code")
    assert (same.exit_code, same.stdout) == (0, "Nothing changes for the outside.\n")
    assert "1 way in hidden." in run("diff", "after.yaml", "before.yaml").stdout
