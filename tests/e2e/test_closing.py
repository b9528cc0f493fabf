"""Closing works in every bad state of main: the closing pull request merges, and the cluster closes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emergency import agree, ask

from breakglass_lab.platform import PROGRAMS, Platform, running, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

OVERLAY = "overlays/emergency/db-from-bastion"
ACTIVATIONS = "overlays/emergency/activations"


@dataclass(frozen=True)
class Repository:
    """A work tree whose commits go straight to main, past every rule: what must not happen, and does."""

    directory: Path

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Mallory", "-c", "user.email=mallory@acme.example"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, path: str, content: bytes) -> None:
        file = self.directory / path
        file.unlink(missing_ok=True)
        file.write_bytes(content)

    def link(self, path: str, target: str) -> None:
        (self.directory / path).unlink(missing_ok=True)
        (self.directory / path).symlink_to(target)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("closings")
    with running(directory, print, clusters=("prod-eu",), workflows=False, agents=False) as started:
        yield started


def every_activation(repository: Repository, content: Callable[[bytes], bytes]) -> None:
    for file in (repository.directory / ACTIVATIONS).glob("*.yaml"):
        repository.write(f"{ACTIVATIONS}/{file.name}", content(file.read_bytes()))


BAD_STATES: dict[str, Callable[[Repository], Any]] = {
    "the policy is not YAML": lambda r: r.write("breakglass.yaml", b"{"),
    "the policy is gone": lambda r: (r.directory / "breakglass.yaml").unlink(),
    "the policy is a symlink": lambda r: r.link("breakglass.yaml", "/etc/passwd"),
    "the overlay changed": lambda r: r.write(f"{OVERLAY}/networkpolicies.yaml", b"kind: Nothing\n"),
    "the overlay is gone": lambda r: shutil.rmtree(r.directory / OVERLAY),
    "a symlink stands in the overlay": lambda r: r.link(f"{OVERLAY}/networkpolicies.yaml", "/etc/passwd"),
    "a remote base stands in the baseline": lambda r: r.write(
        "base/kustomization.yaml", b"resources: [https://example.com/x]\n"
    ),
    "the activation was edited": lambda r: every_activation(r, lambda content: content.replace(b"30m", b"90m")),
    "the activation is not UTF-8": lambda r: every_activation(r, lambda content: b"\xff\xfe" + content),
    "the activation has duplicate keys": lambda r: every_activation(r, lambda content: content + b"kind: Activation\n"),
    "CODEOWNERS is gone": lambda r: (r.directory / "CODEOWNERS").unlink(),
    "a file with a strange name stands among the activations": lambda r: r.write(f"{ACTIVATIONS}/$(id)\n.yaml", b"x"),
}


@pytest.fixture
def repository(platform: Platform, tmp_path: Path) -> Iterator[Repository]:
    """A work tree of main; afterwards main is good again, without activations."""
    tree = Repository(tmp_path / "work tree")
    tree.directory.mkdir()
    tree.git("clone", "--quiet", str(platform.forge.bare), ".")
    good = tree.git("rev-parse", "HEAD")
    yield tree
    tree.git("fetch", "--quiet", "origin", "main")
    tree.git("checkout", "--quiet", "--force", "--detach", "origin/main")
    tree.git("rm", "-r", "--quiet", ".")
    tree.git("checkout", good, "--", ".")
    tree.git("commit", "--quiet", "--allow-empty", "--message", "Repair")
    platform.forge.seed(tree.directory)
    # Pushes to main keep everything from opening for seven days: they are over for the next test.
    platform.forge.state.activities.clear()
    refresh(platform)


def refresh(platform: Platform) -> None:
    for login in ("robin", platform.app.login):
        platform.refresh(login)


@pytest.mark.parametrize("state", BAD_STATES)
def test_closing_works_although(platform: Platform, repository: Repository, state: str) -> None:
    identity = merged(platform)
    kubeconfig = str(platform.kubeconfig("prod-eu"))
    platform.breakglass(platform.app.login, "apply", "prod-eu", "--kubeconfig", kubeconfig)
    assert platform.inventories("prod-eu") == [f"{identity} open"]
    repository.git("pull", "--quiet", "--ff-only")
    BAD_STATES[state](repository)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", state)
    platform.forge.seed(repository.directory)
    refresh(platform)

    closing = json.loads(platform.breakglass("robin", "close", identity, "-o", "json").stdout)
    platform.breakglass("robin", "check", "--pull-request", str(closing["pullRequest"]["number"]))
    # Nobody applies here, so the machine cannot see the cluster closed yet: exit code 4.
    platform.breakglass(platform.app.login, "expire", "--patience", "1s", code=4)
    platform.breakglass(platform.app.login, "apply", "prod-eu", "--kubeconfig", kubeconfig, code=None)
    assert platform.inventories("prod-eu") == []
    policies = platform.names("prod-eu", "networking.k8s.io/v1/networkpolicies", "data")
    assert policies == ["default-deny", "postgres", "redis"]
    repository.git("fetch", "--quiet", "origin", "main")
    assert identity not in repository.git("ls-tree", "--name-only", "origin/main", f"{ACTIVATIONS}/")


def merged(platform: Platform, *options: str) -> str:
    request = ask(platform, "db-from-bastion", *options)
    agree(platform, request, "ines", "dana")
    return request.id


def test_expire_run_twice_at_once_merges_one_closing(platform: Platform, repository: Repository) -> None:
    identity = merged(platform, "--for", "1s")
    over = datetime.now(UTC) + timedelta(seconds=1)
    wait_for(lambda: datetime.now(UTC) >= over, 5, "the window is over")
    command = [str(PROGRAMS / "breakglass"), "expire", "--patience", "1s"]
    environment = platform.environment(platform.app.login)
    clones = [platform.clone(platform.app.login), platform.clone("pat")]
    both = [
        subprocess.Popen(command, cwd=clone, env=environment, stderr=subprocess.PIPE, text=True) for clone in clones
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [4, 4], told  # nobody applies here: not seen closed
    repository.git("fetch", "--quiet", "origin", "main")
    subjects = repository.git("log", "--first-parent", "--format=%s", "HEAD..origin/main").splitlines()
    assert [subject for subject in subjects if subject.startswith(f"Close {identity}")] == [f"Close {identity}"]
    assert platform.call("pat", "GET", "/pulls?state=open") == [], "no closing is left behind"
