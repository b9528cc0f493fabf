"""`breakglass creds` as people, programs and kubectl call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from breakglass.cli import breakglass, creds
from breakglass.lifecycle import credential
from breakglass.model.errors import NotFound, Refused
from laws import example
from laws.world import HALF_HOUR, World
from ports.cluster import ApiServer, InMemoryCluster
from ports.forge import InMemoryForge
from ports.writes import Writes

V1 = json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {}})
SERVER = "https://prod-eu.k8s.example.com"
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "data", "name": "incident"}}
ROOT = Path("/clone of the platform")
SECRET = "token-1"  # what the cluster in memory gives first
Run = Callable[..., Result]


def files() -> dict[str, bytes]:
    """The example platform with an overlay that adds a ServiceAccount."""
    policy, contract = example.policy(), example.contract("one", [])
    policy["spec"]["clusters"]["prod-eu"]["server"] = SERVER
    component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "resources": ["account.yaml"]}
    held = {"overlay.yaml": contract, "kustomization.yaml": component, "account.yaml": ACCOUNT}
    overlay = {f"overlays/emergency/one/{name}": json.dumps(data).encode() for name, data in held.items()}
    return {**example.files(), **overlay, "breakglass.yaml": json.dumps(policy).encode()}


@pytest.fixture
def world() -> World:
    return World(files=files())


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(activation, *options, login=…, environment…)` in a world whose prod-eu holds the activation's account."""

    def call(identity: str, *options: str, login: str = example.ON_CALL, **environment: str) -> Result:
        server = ApiServer("prod-eu", Writes(), clock=world.clock)
        server.install([ACCOUNT | {"metadata": {"namespace": "data", "name": f"incident-{identity}"}}])
        wired = SimpleNamespace(
            repository=world.repository(),
            renderer=world.renderer,
            forge=InMemoryForge(world.forge, login),
            clock=world.clock,
            branch="main",
            root=ROOT,
            cluster={"prod-eu": InMemoryCluster(server)}.__getitem__,
        )
        monkeypatch.setattr(creds, "wiring", lambda *_: wired)
        unset = dict.fromkeys((creds.CALLED_BY_KUBECTL, "BREAKGLASS_CREDS", "KUBECONFIG"))
        return CliRunner(env={**unset, **environment}).invoke(breakglass, ["creds", identity, *options])

    return call


def opened(world: World, **request: Any) -> str:
    activation, pull = world.ask("one", clusters=["prod-eu"], **request)
    world.approve(pull)
    world.merge(pull)
    return activation.id


def test_people_are_told_how_to_use_it_and_how_it_ends(world: World, run: Run) -> None:
    identity = opened(world)
    done = run(identity)
    assert done.stdout.splitlines() == [
        f"prod-eu  ServiceAccount data/incident-{identity}  30:00 left",
        f"  use it     kubectl --kubeconfig <(breakglass creds {identity} --cluster prod-eu -o kubeconfig) get pods",
        "  the token  goes to kubectl, each time kubectl asks; it is not shown here and stands in no file",
        "  it ends    with the window: the closing deletes its ServiceAccount; refused within 10 s",
    ]
    world.clock.tick(HALF_HOUR * 0.9)
    assert run(identity).stdout.splitlines()[-1].endswith("lives 10m, no API server gives a shorter one")


def test_programs_get_json_without_a_token(world: World, run: Run) -> None:
    identity = opened(world)
    assert json.loads(run(identity, "-o", "json").stdout) == {
        "apiVersion": "breakglass.dev/v1alpha1",
        "kind": "Credential",
        "activation": identity,
        "cluster": "prod-eu",
        "serviceAccount": {"namespace": "data", "name": f"incident-{identity}"},
        "expiry": "2026-11-23T02:43:00Z",
        "secondsLeft": 1800,
        "endedByClosingOnly": False,
    }


@pytest.mark.parametrize(
    ("options", "environment"), [(["-o", "exec-credential"], {}), ([], {"KUBERNETES_EXEC_INFO": V1})]
)
def test_kubectl_gets_the_token_and_nothing_else(
    world: World, run: Run, options: list[str], environment: dict[str, str]
) -> None:
    done = run(opened(world), *options, **environment)
    assert json.loads(done.stdout) == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"expirationTimestamp": "2026-11-23T02:43:00Z", "token": SECRET},
    }
    assert done.stderr == ""


@pytest.mark.parametrize("output", ["text", "json", "kubeconfig"])
def test_no_other_output_asks_for_a_token(world: World, run: Run, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential, "mint", pytest.fail)
    assert run(opened(world), "--output", output).exit_code == 0


def test_a_kubeconfig_calls_this_command_from_anywhere(
    world: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, program = opened(world), tmp_path / "bin" / "breakglass"
    program.parent.mkdir()
    program.touch(mode=0o755)
    (tmp_path / "own").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bin/breakglass"])

    def plugin(*options: str, **environment: str) -> dict[str, Any]:
        done = run(identity, "-o", "kubeconfig", *options, **environment)
        found: dict[str, Any] = yaml.safe_load(done.stdout)["users"][0]["user"]["exec"]
        return found

    which = ["--cluster", "prod-eu", "--service-account", f"data/incident-{identity}", "--directory", str(ROOT)]
    arguments = ["creds", identity, *which, "--output", "exec-credential"]
    assert (plugin()["command"], plugin()["args"], plugin()["env"]) == (str(program), arguments, [])
    assert plugin("--kubeconfig", "own")["args"] == [*arguments, "--kubeconfig", str(tmp_path / "own")]
    assert plugin(KUBECONFIG="a:b")["env"] == [{"name": "KUBECONFIG", "value": "a:b"}]
    monkeypatch.setattr("sys.argv", ["/nowhere/__main__.py"])
    assert plugin()["command"] == "breakglass"


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ([], {"KUBERNETES_EXEC_INFO": "{}"}, "the caller speaks None"),
        (["-o", "exec-credential"], {"BREAKGLASS_CREDS": "1"}, "asks this command for its credential"),
        (["--cluster", "prod-us"], {}, "is not open on 'prod-us'"),
        (["--service-account", "web"], {}, "adds no ServiceAccount 'web'"),
    ],
)
def test_a_refusal_prints_no_result(
    world: World, run: Run, options: list[str], environment: dict[str, str], message: str
) -> None:
    done = run(opened(world), *options, **environment)
    assert isinstance(done.exception, Refused)
    assert message in done.exception.what
    assert done.exception.remedy
    assert done.stdout == ""


def test_nobody_else_gets_anything(world: World, run: Run) -> None:
    identity = opened(world)
    for output in ("text", "json", "kubeconfig", "exec-credential"):
        done = run(identity, "-o", output, login="ada")
        assert isinstance(done.exception, Refused)
        assert done.stdout == ""
        assert isinstance(run("2026-11-23-one-ffff", "-o", output).exception, NotFound)
