"""The example platform, running: clusters with its baseline, a forge with its repository, a runner, agents, people."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from breakglass.model.authentication import authentication_configuration
from breakglass.model.document import read
from breakglass.model.identity import AGENT, APPLIER
from breakglass.model.inventory import NAMESPACE
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.ruleset import ruleset_files, rulesets
from breakglass_lab.controlplane import Client, ControlPlane, ExistingCluster, assets, gateway_api_crds, install
from breakglass_lab.controlplane.processes import Group
from breakglass_lab.forge import (
    App,
    Forge,
    Organisation,
    Team,
    User,
    ruleset_of,
)
from breakglass_lab.issuer import Issuer
from breakglass_lab.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
"""The clone that this lab stands in: its own files are the example platform's."""
PARTS = (
    ".github",
    "CODEOWNERS",
    "base",
    "breakglass.yaml",
    "overlays",
    "pyproject.toml",
    "requirements",
    "tools/breakglass",
)
"""What of the clone becomes the platform's repository."""
PROGRAMS = Path(sys.executable).parent
"""Where breakglass, act and kubectl of this Python environment are."""

USERS = tuple(
    User(login, name, f"{login}@acme.example")
    for login, name in (
        ("robin", "Robin Oncall"),
        ("ines", "Ines Commander"),
        ("ivan", "Ivan Commander"),
        ("dana", "Dana Database"),
        ("sofia", "Sofia Security"),
        ("pat", "Pat Platform"),
    )
)
TEAMS = (
    Team("on-call", ("robin", "pat")),
    Team("incident-commanders", ("ines", "ivan")),
    Team("dba", ("dana",)),
    Team("security", ("sofia",)),
    Team("platform", ("pat", "sofia")),
)


@dataclass
class Platform:
    """What runs; made by `running`.

    Attributes:
        directory: everything of it is under this directory.
        clusters: control planes by name.
        agents: the process of each cluster's agent.
    """

    directory: Path
    forge: Forge
    app: App
    runner: Runner | None
    clusters: Mapping[str, ControlPlane | ExistingCluster]
    agents: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _clones: dict[str, Path] = field(default_factory=dict)

    def clone(self, login: str) -> Path:
        """A person's clone of the platform's repository, made when first asked for."""
        if login not in self._clones:
            target = self.directory / "clones" / login
            self._git(None, login, "clone", "--quiet", self.forge.git_url, str(target))
            user = next((user for user in USERS if user.login == login), USERS[-1])
            self._git(target, login, "config", "user.name", user.name)
            self._git(target, login, "config", "user.email", user.email)
            self._clones[login] = target
        return self._clones[login]

    def refresh(self, login: str) -> None:
        """Bring a person's work tree to main as it is, whatever stands there."""
        clone = self.clone(login)
        self._git(clone, login, "fetch", "--quiet", "origin")
        self._git(clone, login, "checkout", "--quiet", "--force", "--detach", "origin/main")

    def breakglass(self, login: str, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the command as a person, in their clone.

        Args:
            code: the exit code it must have; None for any.

        Raises:
            RuntimeError: it had another; with its output.
        """
        result = subprocess.run(
            [str(PROGRAMS / "breakglass"), *arguments],
            cwd=self.clone(login),
            env=self.environment(login),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if code is not None and result.returncode != code:
            raise RuntimeError(
                f"breakglass {' '.join(arguments)}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
            )
        return result

    def environment(self, login: str) -> dict[str, str]:
        """The environment of a person's shell, or of the App's job."""
        return {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.directory),
            "GITHUB_TOKEN": self._app_token() if login == self.app.login else self.forge.token(login),
        }

    def _app_token(self) -> str:
        """An installation token, as a job of the App gets it."""
        now = int(time.time())
        claims = {"iat": now - 10, "exp": now + 300, "iss": str(self.app.id)}
        signed = jwt.encode(claims, self.app.private_key, algorithm="RS256")
        request = urllib.request.Request(
            f"{self.forge.api_url}/app/installations/{self.app.installation_id}/access_tokens",
            headers={"Authorization": f"Bearer {signed}"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.loads(answer.read())["token"])

    def call(self, login: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the forge's REST API as a person; `path` is relative to the repository.

        Raises:
            urllib.error.HTTPError: the forge refused.
        """
        return ask(self.forge, login, method, path, body)

    def approve(self, login: str, number: int) -> None:
        """Approve a pull request at its head."""
        head = self.call(login, "GET", f"/pulls/{number}")["head"]["sha"]
        self.call(login, "POST", f"/pulls/{number}/reviews", {"event": "APPROVE", "commit_id": head})

    def merge(self, login: str, number: int) -> str:
        """Merge a pull request at its head, as the button does, and return the merge commit."""
        pull = wait_for(lambda: _mergeable(self.call(login, "GET", f"/pulls/{number}")), 90, f"#{number} mergeable")
        return str(self.call(login, "PUT", f"/pulls/{number}/merge", {"sha": pull["head"]["sha"]})["sha"])

    def settle(self, seconds: float = 120) -> None:
        """Wait until every event was delivered and no workflow runs any more."""
        self.forge.settle()
        if self.runner is not None:
            self.runner.wait(timeout=seconds)

    def kubeconfig(self, cluster: str) -> Path:
        """A kubeconfig of the applier for a cluster, with the rights that it has there and no more."""
        path = self.directory / f"applier-{cluster}.kubeconfig"
        return path if path.exists() else self.clusters[cluster].kubeconfig_as(APPLIER, path)

    def client(self, cluster: str) -> Client:
        """A client of the applier for a cluster, as a context manager: inventories are nobody else's to write."""
        return self.clusters[cluster].client_as(APPLIER)

    def inventories(self, cluster: str) -> list[str]:
        """Activations with an inventory in a cluster, with their phase: `id phase`."""
        path = "/api/v1/namespaces/breakglass/configmaps?labelSelector=breakglass.dev%2Finventory%3Dtrue"
        with self.clusters[cluster].client() as client:
            items = client.call("GET", path)["items"]
        found = ((item["metadata"]["name"], item["metadata"]["annotations"]) for item in items)
        return sorted(f"{name.removeprefix('activation-')} {told['breakglass.dev/phase']}" for name, told in found)

    def names(self, cluster: str, resource: str, namespace: str) -> list[str]:
        """Names of a namespace's objects, for example of `networking.k8s.io/v1/networkpolicies`."""
        group, _, plural = resource.rpartition("/")
        root = f"/apis/{group}" if "." in group else f"/api/{group}"
        with self.clusters[cluster].client() as client:
            items = client.call("GET", f"{root}/namespaces/{namespace}/{plural}")["items"]
        return sorted(item["metadata"]["name"] for item in items)

    def may(self, cluster: str, group: str, verb: str, resource: str, namespace: str) -> bool:
        """Whether the API server lets a member of a group do this."""
        name, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "resource": name, "subresource": subresource, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": "somebody", "groups": [group], "resourceAttributes": attributes},
        }
        with self.clusters[cluster].client() as client:
            answer = client.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def start_agent(self, cluster: str, group: Group) -> None:
        """Start a cluster's agent with its ServiceAccount's token."""
        plane = self.clusters[cluster]
        kubeconfig = plane.kubeconfig_for(plane.token(NAMESPACE, AGENT), self.directory / f"agent-{cluster}.kubeconfig")
        command = [str(PROGRAMS / "breakglass"), "agent", "--kubeconfig", str(kubeconfig)]
        self.agents[cluster] = group.start(command, self.directory, self.directory / f"agent-{cluster}.log")

    def _git(self, directory: Path | None, login: str, *arguments: str) -> str:
        environment = self.environment(login)
        token = environment.pop("GITHUB_TOKEN")
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{self.forge.url}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {token}",
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory or self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


@contextmanager
def running(
    directory: Path,
    report: Callable[[str], None],
    *,
    clusters: tuple[str, ...] = ("prod-eu", "prod-us", "drill"),
    workflows: bool = True,
    agents: bool = True,
    kubeconfig: Path | None = None,
) -> Iterator[Platform]:
    """Start the example platform; on leaving, everything ends.

    Args:
        directory: an existing empty directory; everything is under it.
        report: takes lines of progress.
        clusters: which of the policy's clusters to run.
        workflows: whether events start the workflow files.
        agents: whether each cluster has its agent.
        kubeconfig: an existing cluster to be the only one, named prod-eu, instead of control planes of the lab. What
            the example platform brings is installed and deleted again; its jobs act as the applier by impersonation
            instead of OIDC.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        app = App()
        forge = stack.enter_context(Forge.start(directory / "forge", _organisation(app, checked=workflows)))
        issuer = stack.enter_context(Issuer.start(directory / "issuer"))
        planes: dict[str, ControlPlane | ExistingCluster] = {}
        if kubeconfig is None:
            planes.update(_control_planes(stack, directory, clusters, forge, issuer, report))
        else:
            planes["prod-eu"] = _existing(stack, kubeconfig, report)
        _seed(directory, forge, app, planes, complete=kubeconfig is None)
        platform = Platform(directory, forge, app, None, planes)
        if workflows:
            machine = {} if kubeconfig is None else {"KUBECONFIG": str(platform.kubeconfig("prod-eu").resolve())}
            platform.runner = stack.enter_context(_runner(directory, forge, issuer, app, machine))
        if agents:
            group = Group()
            stack.callback(lambda: [process.wait() for process in platform.agents.values()])
            stack.callback(group.close)
            for name in planes:
                platform.start_agent(name, group)
        report(f"forge {forge.url}, clusters {', '.join(planes)}")
        yield platform


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask until a condition holds, and return what it gave.

    Raises:
        TimeoutError: it did not within the seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s: not {what}")
        time.sleep(0.05)


def ask(forge: Forge, login: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Ask the forge's REST API as a person; see `Platform.call`."""
    request = urllib.request.Request(
        f"{forge.api_url}/repos/acme/platform{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {forge.token(login)}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def _mergeable(pull: dict[str, Any]) -> dict[str, Any] | None:
    return pull if pull["mergeable"] is not None and pull["mergeable_state"] in ("clean", "unstable") else None


def _organisation(app: App, *, checked: bool) -> Organisation:
    """The people and the rulesets that `init` makes.

    Args:
        checked: workflows run; where none does, nothing reports the check that the rulesets would ask for.
    """
    rights = {
        "platform": {
            "@acme/on-call": "write",
            "@acme/incident-commanders": "write",
            "@acme/dba": "write",
            "@acme/security": "write",
            "@acme/platform": "admin",
        }
    }
    policy = read((ROOT / POLICY_FILE).read_bytes(), POLICY_FILE, Policy)
    bot = policy.spec.bot.model_copy(update={"appId": app.id})
    made = rulesets(policy.model_copy(update={"spec": policy.spec.model_copy(update={"bot": bot})}))
    if not checked:
        made = tuple(
            each | {"rules": [rule for rule in each["rules"] if rule["type"] != "required_status_checks"]}
            for each in made
        )
    kept = tuple(map(ruleset_of, made))
    return Organisation("acme", USERS, TEAMS, (app,), rights=rights, rulesets=kept)  # type: ignore[arg-type]


def _control_planes(
    stack: ExitStack,
    directory: Path,
    names: tuple[str, ...],
    forge: Forge,
    issuer: Issuer,
    report: Callable[[str], None],
) -> dict[str, ControlPlane]:
    """Start the clusters side by side, each with the baseline as the team's own tool applied it."""
    if not names:
        return {}
    built = assets(report)
    manifests = [*gateway_api_crds(), *_baseline()]
    policy = _policy(forge)

    def start(name: str) -> ControlPlane:
        configuration = authentication_configuration(
            policy, name, issuer=issuer.url, certificate_authority=issuer.certificate_authority
        )
        authentication = yaml.safe_dump(dict(configuration), sort_keys=False)
        plane = ControlPlane.start(
            directory / name, name=name, authentication_configuration=authentication, assets=built
        )
        stack.callback(plane.stop)
        install(plane, manifests)
        report(f"cluster {name} is ready at {plane.server}")
        return plane

    with ThreadPoolExecutor(len(names)) as threads:
        return dict(zip(names, threads.map(start, names), strict=True))


def _policy(forge: Forge) -> Policy:
    """The example platform's policy, with the numbers by which this forge knows the repository."""
    policy = read((ROOT / POLICY_FILE).read_bytes(), POLICY_FILE, Policy)
    settings = policy.spec.forge.model_copy(update=_numbers(forge))
    return policy.model_copy(update={"spec": policy.spec.model_copy(update={"forge": settings})})


def _numbers(forge: Forge) -> dict[str, int]:
    repository = ask(forge, "pat", "GET", "")
    return {"repositoryId": int(repository["id"]), "ownerId": int(repository["owner"]["id"])}


def _existing(stack: ExitStack, kubeconfig: Path, report: Callable[[str], None]) -> ExistingCluster:
    """The user's own cluster, with the baseline until the lab ends."""
    cluster = ExistingCluster(kubeconfig, "prod-eu")
    stack.callback(cluster.stop)
    cluster.install([*gateway_api_crds(), *_baseline()])
    report(f"cluster prod-eu is {cluster.server}, with the example platform installed for now")
    return cluster


def _baseline() -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(PROGRAMS / "kubectl"), "kustomize", str(ROOT / "base")], capture_output=True, timeout=60, check=True
    )
    return [manifest for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader) if manifest]


def _seed(
    directory: Path, forge: Forge, app: App, planes: Mapping[str, ControlPlane | ExistingCluster], *, complete: bool
) -> None:
    """Make the platform's repository: this clone's own files, with the addresses of what runs here.

    Args:
        complete: every cluster of the policy runs; otherwise apply.yml is narrowed to those that do.
    """
    tree = directory / "seed"
    for part in PARTS:
        source, target = ROOT / part, tree / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    _address(tree / POLICY_FILE, forge, app, planes)
    fitted = read((tree / POLICY_FILE).read_bytes(), POLICY_FILE, Policy)
    for path, content in ruleset_files(fitted).items():
        (tree / path).write_bytes(content)
    if not complete:
        apply = tree / ".github" / "workflows" / "apply.yml"
        text = apply.read_text(encoding="utf-8")
        apply.write_text(re.sub(r"cluster: \[.*\]", f"cluster: [{', '.join(planes)}]", text), encoding="utf-8")
    identity = ["-c", "user.name=Pat Platform", "-c", "user.email=pat@acme.example"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "Add the platform and its emergency overlays"],
    ):
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        subprocess.run(["git", *identity, *arguments], cwd=tree, env=environment, check=True, timeout=60)
    forge.seed(tree)


def _address(policy: Path, forge: Forge, app: App, planes: Mapping[str, ControlPlane | ExistingCluster]) -> None:
    text = YAML()
    text.width = 4096
    text.preserve_quotes = True
    data = text.load(policy)
    data["spec"]["forge"] |= {"api": forge.api_url, **_numbers(forge)}
    data["spec"]["bot"] |= {"login": app.login, "appId": app.id}
    for name, plane in planes.items():
        data["spec"]["clusters"][name]["server"] = plane.server
        data["spec"]["clusters"][name]["certificateAuthority"] = LiteralScalarString(plane.certificate_authority)
    text.dump(data, policy)


def _runner(directory: Path, forge: Forge, issuer: Issuer, app: App, environment: Mapping[str, str]) -> Runner:
    return Runner.start(
        forge,
        directory / "runs",
        secrets={"breakglass": {"BREAKGLASS_APP_KEY": app.private_key}},
        variables={None: {"BREAKGLASS_APP_ID": str(app.id)}},
        issuer=issuer,
        path=PROGRAMS,
        environment=environment,
    )
