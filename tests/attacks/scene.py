"""The scene of an attack: the lab's forge with the rulesets that `init` makes, people with real git, and an applier.

Two walls are tried. The forge's rulesets are the first; where they hold, an administrator takes them away and merges
all the same, so that the second, the applier's own verdict, is tried too. What counts in the end is the cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt

from breakglass.adapters.cel import CelConditions
from breakglass.adapters.clock import SystemClock
from breakglass.adapters.git import GitRepository
from breakglass.adapters.github import GitHubForge
from breakglass.lifecycle.apply import apply
from breakglass.lifecycle.approval import Gate
from breakglass.lifecycle.check import check_pull_request
from breakglass.lifecycle.content import read_overlay
from breakglass.lifecycle.main import Main
from breakglass.lifecycle.run import Applied, Applier
from breakglass.model.activation import Activation, activation_file, new_activation, write_activation
from breakglass.model.document import read
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.ruleset import rulesets
from breakglass.ports import Clock
from breakglass_lab.forge import App, Forge, Organisation, Team, User, ruleset_of
from laws import example
from laws.world import LEDGER
from ports.cluster import ApiServer, InMemoryCluster
from ports.renderer import PureRenderer
from ports.writes import Writes

APP = App()
CLUSTER = "prod-eu"
PEOPLE = ("on-call", *example.COMMANDERS, "mallory", "eve", "adam", "olaf")
"""`mallory` may write and approves nothing; `eve` is a commander whom `mallory` owns; `adam` administers; `olaf` is an
outside collaborator."""

OLAFS = "overlays/emergency/widen-metrics/overlay.yaml"
"""The overlay that an outside collaborator is an approver of."""

Files = Mapping[str, str | bytes | None]


@dataclass
class Person:
    """Somebody with an account, a clone and a token."""

    login: str
    forge: Forge
    directory: Path

    def git(self, *arguments: str, message: str | None = None) -> str:
        """Run git in the clone, as this person; RuntimeError with git's words where it fails."""
        name = self.login
        identity = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", f"{name}@acme.example"))
        }
        token = self.forge.token(self.login)
        header = f"http.{self.forge.url}/.extraHeader=Authorization: Bearer {token}"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment = clean | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(
            ["git", "-c", header, *arguments],
            cwd=self.directory,
            env=environment,
            input=message,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def commit(self, files: Files, message: str = "request", author: str | None = None) -> str:
        """Commit files on what is checked out (None removes one) and return the sha."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all")
        name = author or self.login
        who = f"--author={name} <{name}@acme.example>"
        self.git("commit", "--quiet", "--allow-empty", "--file=-", who, message=message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str, files: Files, message: str = "request", author: str | None = None) -> str:
        """Push a branch with one commit on main's tip, and return the commit."""
        self.git("fetch", "--quiet", "origin")
        self.git("checkout", "--quiet", "--force", "-B", name, "origin/main")
        commit = self.commit(files, message, author)
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{name}")
        return commit

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the forge; httpx.HTTPStatusError where it refuses. `path` is relative to the repository."""
        headers = {"Authorization": f"Bearer {self.forge.token(self.login)}"}
        url = f"{self.forge.api_url}/repos/acme/platform{path}"
        answer = httpx.request(method, url, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def open(self, branch: str) -> int:
        """Open a pull request to main and return its number."""
        body = {"title": f"merge {branch}", "head": branch, "base": "main", "body": ""}
        return int(self.call("POST", "/pulls", body)["number"])

    def approve(self, number: int, commit: str | None = None) -> None:
        """Approve a pull request at its head, or at another commit."""
        head = commit or self.call("GET", f"/pulls/{number}")["head"]["sha"]
        self.call("POST", f"/pulls/{number}/reviews", {"event": "APPROVE", "commit_id": head})


@dataclass
class Scene:
    """What an attack plays in.

    Attributes:
        held: what the forge's rulesets said, where they kept a merge from happening.
        clock: makes the clock of each machine.
    """

    directory: Path
    forge: Forge
    server: ApiServer
    held: list[str] = field(default_factory=list)
    clock: Callable[[], Clock] = SystemClock
    _people: dict[str, Person] = field(default_factory=dict)
    _requests: int = 0

    def person(self, login: str) -> Person:
        """Somebody, with a clone of their own."""
        if login not in self._people:
            directory = self.directory / "clones" / login
            directory.parent.mkdir(parents=True, exist_ok=True)
            someone = Person(login, self.forge, directory.parent)
            someone.git("clone", "--quiet", self.forge.git_url, str(directory))
            self._people[login] = Person(login, self.forge, directory)
        return self._people[login]

    def activation(self, overlay: str = "db-from-bastion", by: str = "on-call", **changes: Any) -> Activation:
        """A request, as `breakglass open` would make it, but for the changes."""
        self._requests += 1
        clone = self.clone("on-call")
        clone.fetch()
        content = read_overlay(clone, clone.resolve("refs/remotes/origin/main"), overlay)
        details: dict[str, Any] = {
            "digest": content.digest,
            "clusters": [CLUSTER],
            "parameters": example.parameters_of(overlay),
            "reason": "checkout down",
            "incident": "INC-1",
            "requested_by": by,
            "requested_at": datetime.now(UTC),
            "duration": timedelta(minutes=30),
            "random": f"{self._requests:04x}",
        }
        return new_activation(content.overlay, **(details | changes))

    def ask(self, by: str = "on-call", **changes: Any) -> tuple[Activation, int]:
        """Somebody opens the pull request that `breakglass open` opens."""
        activation = self.activation(by=by, **changes)
        return activation, self.propose({activation_file(activation.id): write_activation(activation)}, by)

    def propose(self, files: Files, by: str = "on-call", **how: Any) -> int:
        """Somebody opens a pull request with one commit."""
        branch = f"request-{by}-{self._requests}-{len(self.forge.state.pulls)}"
        self.person(by).branch(branch, files, **how)
        return self.person(by).open(branch)

    def approve(self, number: int, *logins: str) -> None:
        """People say yes at the head."""
        for login in logins or example.COMMANDERS[:2]:
            self.person(login).approve(number)

    def check(self, number: int) -> list[str]:
        """What check.yml does on main: judge the pull request and report the App's check; ids of the errors found."""
        gate = Gate(self.clone("bot"), self.app(), CelConditions(), LEDGER)
        pull, checked = check_pull_request(gate, PureRenderer(), number, "main", SystemClock().now())
        conclusion = "success" if checked.passed else "failure"
        self.app().report_check(pull.head, conclusion, conclusion, conclusion)
        return [finding.id for finding in checked.findings if finding.severity == "error"]

    def merge(self, number: int, by: str = "on-call") -> None:
        """Merge as somebody; where the rulesets hold, an administrator takes them away and merges."""
        head = self.person(by).call("GET", f"/pulls/{number}")["head"]["sha"]
        try:
            self.person(by).call("PUT", f"/pulls/{number}/merge", {"sha": head})
        except httpx.HTTPStatusError as error:
            self.held.append(error.response.json()["message"])
            self.take_rulesets_away()
            self.person("adam").call("PUT", f"/pulls/{number}/merge", {"sha": head})

    def take_rulesets_away(self) -> None:
        """An administrator disables every ruleset."""
        for ruleset in self.person("adam").call("GET", "/rulesets"):
            self.person("adam").call("PUT", f"/rulesets/{ruleset['id']}", {"enforcement": "disabled"})

    def apply(self) -> Applied:
        """The applier runs once, with the App's token, as apply.yml runs it."""
        cluster = InMemoryCluster(self.server)
        return apply(Applier(CLUSTER, cluster, self._main(), self.clock(), "applier", [].append))

    def judge(self) -> None:
        """Ask for the approval of everything on main, as the applier does, and open nothing."""
        main = self._main()
        main.read()
        for window in main.windows:
            assert main.approval(window).findings == ()

    def _main(self) -> Main:
        app = self.app()
        return Main(self.clone("applier"), lambda: app, PureRenderer(), CelConditions(), "main", LEDGER)

    def refusals(self) -> set[str]:
        """Run the applier, see that it opened nothing, and tell the ids of everything it refused for."""
        applied = self.apply()
        assert not applied.open, f"it opened {[item.activation for item in applied.open]}"
        assert self.server.state() == example.state({}), "the cluster is not at its baseline"
        return {finding.id for findings in applied.refused.values() for finding in findings}

    def app(self) -> GitHubForge:
        """The forge, as the App asks it."""
        return GitHubForge(
            repository="acme/platform", token=app_token(self.forge), clock=self.clock(), api=self.forge.api_url
        )

    def clone(self, name: str) -> GitRepository:
        """A fresh clone with the App's token."""
        directory = self.directory / "machines" / f"{name}-{time.monotonic_ns()}"
        directory.parent.mkdir(parents=True, exist_ok=True)
        token = app_token(self.forge)
        header = f"http.{self.forge.url}/.extraHeader=Authorization: Bearer {token}"
        subprocess.run(["git", "-c", header, "clone", "--quiet", self.forge.git_url, str(directory)], check=True)
        return GitRepository(directory, token=token)


def app_token(forge: Forge) -> str:
    """An installation token of the App with the rights that apply.yml and check.yml ask for."""
    now = int(time.time())
    claims = {"iat": now - 10, "exp": now + 300, "iss": str(APP.id)}
    signed = jwt.encode(claims, APP.private_key, algorithm="RS256")
    answer = httpx.post(
        f"{forge.api_url}/app/installations/{APP.installation_id}/access_tokens",
        headers={"Authorization": f"Bearer {signed}"},
        timeout=30,
    )
    return str(answer.raise_for_status().json()["token"])


def files() -> dict[str, bytes]:
    """The repository: the example of the laws, with the App's number and rules of the gate."""
    held = example.files()
    policy = json.loads(held[POLICY_FILE])
    policy["spec"]["bot"] = {"login": APP.login, "appId": APP.id}
    policy["spec"]["rules"] = [
        {"name": "ticket", "when": "!incident.matches('^INC-[0-9]+$')", "deny": "an incident is INC- and a number"},
        {"name": "long", "when": "request.duration > duration('1h')", "approvals": 3},
    ]
    policy["spec"]["solo"] = {
        "requesters": ["@on-call"],
        "overlays": ["db-from-bastion"],
        "clusters": [CLUSTER],
        "maximum": "15m",
        "reviewWithin": "24h",
    }
    return held | {
        POLICY_FILE: (json.dumps(policy, indent=1) + "\n").encode(),
        OLAFS: (json.dumps(_with_olaf(json.loads(held[OLAFS])), indent=1) + "\n").encode(),
        "CODEOWNERS": f"* {example.TEAM} @olaf\n/{example.ACTIVATIONS}/ {example.TEAM} @olaf\n".encode(),
        ".github/workflows/check.yml": b"name: check\non: pull_request_target\njobs: {}\n",
    }


def _with_olaf(contract: dict[str, Any]) -> dict[str, Any]:
    contract["spec"]["approvals"]["approvers"].append("@olaf")
    return contract


def organisation() -> Organisation:
    """The people, what they may, and the rulesets of the policy."""
    policy = read(files()[POLICY_FILE], POLICY_FILE, Policy)
    users = [User(login, login.title(), f"{login}@acme.example", outside=login == "olaf") for login in PEOPLE]
    rights = {f"@{login}": "write" for login in ("on-call", "mallory", "olaf")}
    rights |= {"@adam": "admin", example.TEAM: "write"}
    team = Team(example.TEAM.partition("/")[2], (*example.COMMANDERS, "eve"))
    made = tuple(map(ruleset_of, rulesets(policy)))
    return Organisation("acme", tuple(users), (team,), (APP,), rights={"platform": rights}, rulesets=made)  # type: ignore[dict-item]


def seeded(forge: Forge, directory: Path) -> None:
    """Put the repository on the forge."""
    seed = Person("adam", forge, directory)
    directory.mkdir()
    seed.git("init", "--quiet", "--initial-branch=main")
    seed.commit(files(), "Add the platform")
    forge.seed(directory)


def cluster() -> ApiServer:
    """A cluster with the baseline."""
    server = ApiServer(CLUSTER, Writes(), SystemClock())
    server.install(example.BASELINE)
    return server
