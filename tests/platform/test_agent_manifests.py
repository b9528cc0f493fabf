"""What the agent is installed with: manifests, image recipe, alerts - each held to the thing that it names."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from places import KUBECTL, REPOSITORY, Manifest
from prometheus_client.parser import text_string_to_metric_families

from breakglass import __version__
from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import SERVICE_ACCOUNT
from breakglass.adapters.monitoring import LATENESS, PrometheusMonitor
from breakglass.cli import agent as verb

EXAMPLES = REPOSITORY / "docs" / "examples" / "agent"
RULES = REPOSITORY / "base" / "monitoring" / "breakglass-rules.yaml"
CONTAINERFILE = (REPOSITORY / "Containerfile").read_text(encoding="utf-8")
ALERTS = {
    "BreakglassClosingLate",
    "BreakglassAgentSilent",
    "BreakglassHeartbeatOld",
    "BreakglassApplyFailing",
    "BreakglassInventoryUnreadable",
}


def documents(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def pull_mode(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The Deployment with the component of pull mode."""
    root = tmp_path_factory.mktemp("an installation")
    (root / "agent.yaml").write_bytes((REPOSITORY / "base/breakglass/agent.yaml").read_bytes())
    for path in (EXAMPLES / "follow").iterdir():
        (root / "follow").mkdir(exist_ok=True)
        (root / "follow" / path.name).write_bytes(path.read_bytes())
    (root / "kustomization.yaml").write_text(json.dumps({"resources": ["agent.yaml"], "components": ["follow"]}))
    done = subprocess.run([KUBECTL, "kustomize", root], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return next(item for item in yaml.safe_load_all(done.stdout) if item["kind"] == "Deployment")


@pytest.fixture(params=["deployment", "cronjob", "pull mode"])
def pod(request: pytest.FixtureRequest) -> Manifest:
    if request.param == "pull mode":
        return request.getfixturevalue("pull_mode")["spec"]["template"]["spec"]
    if request.param == "deployment":
        return documents(REPOSITORY / "base/breakglass/agent.yaml")[0]["spec"]["template"]["spec"]
    return documents(EXAMPLES / "cronjob.yaml")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_the_arguments_are_ones_that_the_command_takes(pod: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(verb.command, "callback", lambda **options: calls.append(options))
    name, *arguments = pod["containers"][0]["args"]
    assert name == "agent"
    arguments = ["--directory=." if argument.startswith("--directory") else argument for argument in arguments]
    done = CliRunner().invoke(verb.command, arguments)
    assert (done.exit_code, len(calls)) == (0, 1), done.output


def test_every_pod_is_restricted_and_has_its_token_where_it_is_looked_for(pod: Manifest) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "agent"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        assert container["image"].startswith("registry.acme.example/"), "nobody publishes it: nothing may be pulled"
        assert container["image"].endswith(f":{__version__}")
        assert container["resources"]["limits"]["memory"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["token"]["mountPath"] == str(SERVICE_ACCOUNT)
    sources = next(volume for volume in pod["volumes"] if volume["name"] == "token")["projected"]["sources"]
    paths = [sources[0]["serviceAccountToken"]["path"], sources[1]["configMap"]["items"][0]["path"]]
    assert paths == ["token", "ca.crt"]
    assert {mount["name"] for mount in mounts.values()} <= {volume["name"] for volume in pod["volumes"]}


def test_two_agents_are_probed_where_they_listen() -> None:
    spec = documents(REPOSITORY / "base/breakglass/agent.yaml")[0]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 2
    assert f"--listen=0.0.0.0:{container['ports'][0]['containerPort']}" in container["args"]
    assert container["livenessProbe"]["httpGet"] == container["readinessProbe"]["httpGet"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": container["ports"][0]["name"]}


def test_every_copied_path_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    paths = [path for line in copied for path in line.split()]
    assert paths
    for path in paths:
        assert (REPOSITORY / path).exists(), path


def test_what_the_package_is_built_from_is_copied() -> None:
    """The wheel brings the templates of `breakglass init` along: they must be in the image's build as well."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    sources = re.findall(r'^"([^"]+)" = "breakglass/templates/', project, re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    paths = [path for line in copied for path in line.split()]
    assert sources
    for source in [*sources, "tools/breakglass", "tools/breakglass_lab", "README.md", "LICENSE"]:
        assert any(source == path or source.startswith(f"{path}/") for path in paths), source


def test_packages_are_installed_by_hash_and_nobody_is_root() -> None:
    installs = re.findall(r"pip install (.+?) -r \S+", CONTAINERFILE)
    assert len(installs) == 2
    assert all("--require-hashes --no-deps" in install for install in installs)
    last = re.findall(r"^(FROM|USER) (\S+)", CONTAINERFILE, re.MULTILINE)[-1]
    assert last == ("USER", "65532:65532")


def rules() -> list[Manifest]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def test_every_alert_leads_to_its_page() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    assert {rule["alert"] for rule in rules()} == ALERTS
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/operations.md#{rule['alert'].lower()}")
        assert re.search(rf"^#+ {rule['alert']}$", page, re.MULTILINE), rule["alert"]


def test_every_metric_of_an_alert_is_one_that_the_agent_tells() -> None:
    monitor = PrometheusMonitor(SystemClock())
    monitor.scheduled("expire", SystemClock().now())
    families = list(text_string_to_metric_families(monitor.metrics().decode()))
    told = {sample.name for family in families for sample in family.samples}
    labels = {
        (sample.name, *label) for family in families for sample in family.samples for label in sample.labels.items()
    }
    for rule in rules():
        for name, selector in re.findall(r"\b(breakglass_\w+)(?:\{(\w+=\"[^\"]+\")\})?", rule["expr"]):
            assert name in told, rule["alert"]
            if selector:
                key, _, value = selector.partition("=")
                assert (name, key, value.strip('"')) in labels, rule["alert"]
    assert 10.0 in LATENESS


def test_prometheus_loads_the_rules_and_finds_the_agents(baseline: list[Manifest]) -> None:
    found = {
        (item["kind"], item["metadata"]["name"]): item
        for item in baseline
        if item["metadata"].get("namespace") == "monitoring"
    }
    configuration = yaml.safe_load(found["ConfigMap", "prometheus"]["data"]["prometheus.yml"])
    pod = found["Deployment", "prometheus"]["spec"]["template"]["spec"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == "rules"]
    held = found["ConfigMap", volume["configMap"]["name"]]["data"]
    assert yaml.safe_load(held["breakglass-rules.yaml"])["groups"][0]["name"] == "breakglass"
    (mount,) = [item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "rules"]
    assert configuration["rule_files"] == [f"{mount['mountPath']}/*.yaml"]
    (job,) = [item for item in configuration["scrape_configs"] if item["job_name"] == "breakglass"]
    assert job["dns_sd_configs"][0]["names"] == ["agent.breakglass.svc.cluster.local"]
    service = documents(REPOSITORY / "base/breakglass/agent.yaml")[1]
    assert (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]) == (
        "None",
        job["dns_sd_configs"][0]["port"],
    )
