"""`breakglass init`: what it writes into an empty repository, and what it never touches."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from breakglass import __version__
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.adapters.templates import read_templates
from breakglass.adapters.worktree import read_files, write_files
from breakglass.cli.failure import run
from breakglass.cli.init import command
from breakglass.lifecycle.automation import AUTOMATION, INSTALL, PINS, automation
from breakglass.lifecycle.init import TEMPLATES
from breakglass.lifecycle.ownership import guarded
from breakglass.model.codeowners import parse
from breakglass.model.document import read
from breakglass.model.errors import Refused
from breakglass.model.manifest import key_of
from breakglass.model.policy import Policy
from breakglass.model.ruleset import ruleset_files, rulesets

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
ASKED = (
    "--repository=acme/shop",
    "--bot=acme-breakglass[bot]",
    "--app-id=42",
    "--cluster=prod-eu=clusters/prod-eu,https://prod-eu.example.com:6443",
    "--cluster=on=clusters/other",
    "--drill-cluster=practice=clusters/prod-eu",
    "--approver=@acme/dba",
    "--approver=@acme/incident-commanders",
    "--owner=@acme/platform",
    "--owner=@acme/security",
)
RULESETS = {f".github/rulesets/breakglass-{name}.json" for name in ("reviews", "integrity", "ledger", "ledger-writers")}
WRITTEN = {
    *AUTOMATION,
    PINS,
    "CODEOWNERS",
    "breakglass.yaml",
    *RULESETS,
    *(
        f"breakglass/{cluster}/{name}.yaml"
        for cluster in ("prod-eu", "on", "practice")
        for name in ("admission", "kustomization", "namespace", "rbac", "serviceaccount")
    ),
    "docs/schemas/activation.json",
    "docs/schemas/overlay.json",
    "docs/schemas/policy.json",
    "docs/schemas/review.json",
    "overlays/emergency/README.md",
    "overlays/emergency/activations/README.md",
    "overlays/emergency/reviews/README.md",
}
Init = Callable[..., int]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "somebody else's"
    subprocess.run(["git", "init", "--quiet", directory], check=True, timeout=60)
    return directory


@pytest.fixture
def init(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    """`init(*arguments)` → the exit code, in the repository."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["breakglass", str(repository), *arguments])
        return run(command)

    return call


def files(directory: Path) -> dict[str, bytes]:
    found = (
        path for path in directory.rglob("*") if path.is_file() and ".git" not in path.relative_to(directory).parts
    )
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def policy(directory: Path) -> Policy:
    return read((directory / "breakglass.yaml").read_bytes(), "breakglass.yaml", Policy)


def test_an_empty_repository_gets_everything(init: Init, repository: Path) -> None:
    assert init(*ASKED) == 0
    assert set(files(repository)) == WRITTEN
    spec = policy(repository).spec
    assert spec.forge.repository == "acme/shop"
    assert spec.bot.login == "acme-breakglass[bot]"
    assert {
        name: (item.baseline, item.server, item.audience, item.purpose) for name, item in spec.clusters.items()
    } == {
        "prod-eu": ("clusters/prod-eu", "https://prod-eu.example.com:6443", "breakglass/prod-eu", "production"),
        "on": ("clusters/other", None, "breakglass/on", "production"),
        "practice": ("clusters/prod-eu", None, "breakglass/practice", "drill"),
    }
    assert spec.approvals.approvers == ["@acme/dba", "@acme/incident-commanders"]


def test_the_workflows_run_for_the_clusters_of_the_policy(init: Init, repository: Path) -> None:
    init(*ASKED, "--branch=trunk")
    apply, check, drill = (
        YAML(typ="safe", pure=True).load(repository / f".github/workflows/{name}.yml")
        for name in ("apply", "check", "drill")
    )
    assert apply["jobs"]["apply"]["strategy"]["matrix"] == {"cluster": ["prod-eu", "on"]}
    # A reader of YAML 1.1 takes a plain `on` for a boolean.
    assert "cluster: [prod-eu, 'on']" in (repository / ".github/workflows/apply.yml").read_text()
    assert apply["on"]["push"] == {"branches": ["trunk"]}
    assert check["on"]["pull_request_target"]["branches"] == ["trunk"]
    assert "pull_requests[0].base.ref == 'trunk'" in check["jobs"]["check"]["if"]
    assert drill["on"]["workflow_dispatch"]["inputs"]["cluster"]["default"] == "practice"
    assert drill["concurrency"]["group"] == "breakglass-drill-${{ inputs.cluster || 'practice' }}"
    assert drill["jobs"]["drill"]["steps"][-1]["env"]["CLUSTER"] == "${{ inputs.cluster || 'practice' }}"
    for file in set((repository / ".github/workflows").iterdir()) - {repository / ".github/workflows/review.yml"}:
        assert set(re.findall(r"^ +ref: (\S+)", file.read_text(), re.MULTILINE)) == {"trunk"}


def test_zizmor_finds_nothing_in_what_is_written(init: Init, repository: Path) -> None:
    init(*ASKED)
    zizmor = [PROGRAMS / "zizmor", "--offline", "--quiet", "--no-config", "--persona", "pedantic", ".github"]
    done = subprocess.run(zizmor, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_cluster_for_drills_there_is_no_drill(init: Init, repository: Path) -> None:
    assert init(*(flag for flag in ASKED if "drill" not in flag)) == 0
    drill = {path for path in WRITTEN if path.startswith("breakglass/practice/")}
    assert set(files(repository)) == WRITTEN - drill - {".github/workflows/drill.yml"}


def test_for_its_own_policy_this_repository_is_what_init_would_write() -> None:
    own = read((ROOT / "breakglass.yaml").read_bytes(), "breakglass.yaml", Policy)
    templates = read_templates(TEMPLATES)
    assert automation(own, templates) == {path: templates[path] for path in AUTOMATION}


def test_the_rulesets_are_those_of_the_policy(init: Init, repository: Path) -> None:
    init(*ASKED, "--branch=trunk")
    made = {path: json.loads((repository / path).read_bytes()) for path in RULESETS}
    assert tuple(sorted(made.values(), key=str)) == tuple(sorted(rulesets(policy(repository)), key=str))
    (required,) = (rule for rule in made[".github/rulesets/breakglass-integrity.json"]["rules"] if "parameters" in rule)
    assert required["parameters"]["required_status_checks"] == [{"context": "breakglass", "integration_id": 42}]
    assert made[".github/rulesets/breakglass-integrity.json"]["bypass_actors"] == []
    assert made[".github/rulesets/breakglass-reviews.json"]["conditions"]["ref_name"]["include"] == ["refs/heads/trunk"]


def test_without_the_number_of_the_app_there_are_no_rulesets_and_the_next_step_says_so(
    init: Init, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(*(flag for flag in ASKED if "app-id" not in flag), "--output=json") == 0
    assert set(files(repository)) == WRITTEN - RULESETS
    steps = json.loads(capsys.readouterr().out)["next"]
    assert any(step["command"] == "gh api apps/acme-breakglass --jq .id && breakglass init" for step in steps)
    changed = (repository / "breakglass.yaml").read_text().replace("[bot]\n", "[bot]\n    appId: 42\n")
    (repository / "breakglass.yaml").write_text(changed)
    assert init() == 0
    assert set(files(repository)) == WRITTEN


def test_the_rulesets_of_this_repository_are_those_of_its_policy() -> None:
    own = read((ROOT / "breakglass.yaml").read_bytes(), "breakglass.yaml", Policy)
    standing = {f".github/rulesets/{path.name}": path.read_bytes() for path in (ROOT / ".github/rulesets").iterdir()}
    assert standing == ruleset_files(own)


def test_a_second_init_changes_nothing(init: Init, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(*ASKED)
    before = {path: (repository / path).stat().st_mtime_ns for path in WRITTEN}
    capsys.readouterr()
    assert init("--output=json", *ASKED) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], set(told["unchanged"])) == ([], WRITTEN)
    assert {path: (repository / path).stat().st_mtime_ns for path in WRITTEN} == before


def test_the_policy_that_stands_there_counts(init: Init, repository: Path) -> None:
    init(*ASKED)
    (repository / ".github/workflows/expire.yml").unlink()
    changed = (repository / "breakglass.yaml").read_text().replace("maximum: 4h", "maximum: 2h")
    (repository / "breakglass.yaml").write_text(changed)
    assert init() == 0
    assert set(files(repository)) == WRITTEN
    assert (repository / "breakglass.yaml").read_text() == changed


def test_a_dry_run_writes_nothing_and_says_what_it_would(
    init: Init, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(*ASKED, "--dry-run", "--output=json") == 0
    assert files(repository) == {}
    assert set(json.loads(capsys.readouterr().out)["written"]) == WRITTEN


def test_a_file_that_differs_is_never_overwritten(
    init: Init, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "breakglass/prod-eu").mkdir(parents=True)
    (repository / "breakglass/prod-eu/rbac.yaml").write_text("ours\n")
    (repository / "breakglass.yaml").write_text("ours too\n")
    assert init(*ASKED) == 1
    assert files(repository) == {"breakglass/prod-eu/rbac.yaml": b"ours\n", "breakglass.yaml": b"ours too\n"}
    told = capsys.readouterr().err
    assert "breakglass/prod-eu/rbac.yaml" in told
    assert "breakglass.yaml" in told
    assert init(*ASKED, "--force") == 0
    assert policy(repository).spec.forge.repository == "acme/shop"
    assert b"ours" not in files(repository)["breakglass/prod-eu/rbac.yaml"]


@pytest.mark.parametrize("link", [".github", "breakglass.yaml", "docs/schemas"])
def test_nothing_is_written_through_a_symlink(init: Init, repository: Path, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("theirs\n")
    (repository / link).parent.mkdir(exist_ok=True)
    (repository / link).symlink_to(elsewhere / "file" if link.endswith(".yaml") else elsewhere)
    assert init(*ASKED, "--force") == 1
    assert files(elsewhere) == {"file": b"theirs\n"}
    assert set(files(repository)) <= {link}


def test_a_failure_while_writing_leaves_everything_as_it_was(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "kept").write_bytes(b"as it was")
    before = Path.write_bytes

    def failing(self: Path, content: bytes) -> int:
        if self.name == "fails":
            before(self, b"half")
            raise OSError(28, "No space left on device", str(self))
        return before(self, content)

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(Refused, match="No space left on device; nothing was written"):
        write_files(repository, {"kept": b"new", "a/b/new": b"new", "c/fails": b"new"})
    monkeypatch.undo()
    assert files(repository) == {"kept": b"as it was"}
    assert sorted(path.name for path in repository.iterdir()) == [".git", "kept"]
    assert read_files(repository, ["kept", "a/b/new"]) == {"kept": b"as it was"}


def test_every_path_that_can_open_something_gets_two_owners(init: Init, repository: Path) -> None:
    init(*ASKED)
    codeowners = parse((repository / "CODEOWNERS").read_bytes(), "CODEOWNERS")
    assert codeowners.skipped == ()
    for path in guarded(policy(repository), "CODEOWNERS")[:-1]:
        for file in path.files:
            assert codeowners.owners(file) == ("@acme/platform", "@acme/security"), file
    activations = codeowners.owners("overlays/emergency/activations/2026-11-23-x-7f3a.yaml")
    assert activations == ("@acme/dba", "@acme/incident-commanders")


def test_without_owners_the_approvers_own_everything(init: Init, repository: Path) -> None:
    init(*(flag for flag in ASKED if "owner" not in flag))
    codeowners = parse((repository / "CODEOWNERS").read_bytes(), "CODEOWNERS")
    assert codeowners.owners(".github/workflows/apply.yml") == ("@acme/dba", "@acme/incident-commanders")


@pytest.mark.parametrize("place", ["CODEOWNERS", ".github/CODEOWNERS", "docs/CODEOWNERS"])
@pytest.mark.parametrize("end", ["\n", ""])
def test_codeowners_is_added_to_where_github_reads_it(init: Init, repository: Path, place: str, end: str) -> None:
    existing = (
        f"* @acme/everyone @acme/platform\n*.yaml @acme/yaml @acme/platform\n/overlays/ @acme/platform @acme/x{end}"
    )
    (repository / place).parent.mkdir(exist_ok=True)
    (repository / place).write_text(existing)
    assert init(*ASKED) == 0
    text = (repository / place).read_text()
    assert text.startswith(f"{existing.rstrip()}\n\n# Break-glass access")
    codeowners = parse(text.encode(), place)
    assert codeowners.owners(place) == ("@acme/platform", "@acme/security")
    assert codeowners.owners("overlays/other/x") == ("@acme/platform", "@acme/x")
    assert init(*ASKED) == 0
    assert (repository / place).read_text() == text


@pytest.mark.parametrize(
    ("existing", "told"),
    [
        ("/overlays/emergency/mine/ @acme/a @acme/b\n", "/overlays/emergency/mine/ has no effect"),
        ("/overlays/emergency/*.md @acme/a @acme/b\n", "/overlays/emergency/*.md has no effect"),
        (".github/workflows/ @acme/a @acme/b\n", ".github/workflows/ has no effect"),
        ("/breakglass.yaml @acme/a @acme/b\n*.yaml @acme/a\n", "too few owners"),
        ("/.github/ @acme/a\n", "too few owners"),
        ("/.github/ @acme/a @acme/A\n", "too few owners"),
    ],
)
def test_a_line_of_codeowners_that_would_shadow_or_be_shadowed_refuses(
    init: Init, repository: Path, existing: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "CODEOWNERS").write_text(existing)
    assert init(*ASKED, "--force") == 1
    assert files(repository) == {"CODEOWNERS": existing.encode()}
    assert told in capsys.readouterr().err


def test_a_line_of_their_own_is_kept(init: Init, repository: Path) -> None:
    (repository / "CODEOWNERS").write_text(".github/ @acme/a @acme/b\n")
    assert init(*ASKED) == 0
    codeowners = parse((repository / "CODEOWNERS").read_bytes(), "CODEOWNERS")
    assert codeowners.owners(".github/workflows/apply.yml") == ("@acme/a", "@acme/b")


def test_two_codeowners_files_refuse(init: Init, repository: Path) -> None:
    (repository / ".github").mkdir()
    (repository / ".github/CODEOWNERS").write_text("* @acme/a @acme/b\n")
    (repository / "CODEOWNERS").write_text("* @acme/a @acme/b\n")
    assert init(*ASKED) == 1
    assert set(files(repository)) == {".github/CODEOWNERS", "CODEOWNERS"}


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--approver=@acme/only"], 1),
        (["--approver=@acme/only", "--owner=not an owner", "--owner=@acme/b"], 1),
    ],
)
def test_too_few_or_wrong_owners_refuse(init: Init, repository: Path, flags: list[str], code: int) -> None:
    kept = [flag for flag in ASKED if "approver" not in flag and "owner" not in flag]
    assert init(*kept, *flags) == code
    assert files(repository) == {}


@pytest.mark.parametrize(
    ("replaced", "flag", "told"),
    [
        ("--repository", "--repository=no-slash", "is not a repository"),
        ("--repository", None, "--repository is missing"),
        ("--bot", "--bot=two words", "is not a login"),
        ("--bot", None, "--bot is missing"),
        ("--cluster", None, "--cluster is missing"),
        ("--cluster", "--cluster=prod", "NAME=BASELINE"),
        ("--cluster", "--cluster=Prod=base", "is not a cluster's name"),
        ("--cluster", "--cluster=prod=../elsewhere", "is not a path inside the repository"),
        ("--cluster", "--cluster=prod=base,http://prod.example.com", "must be https"),
        ("--cluster", "--cluster=practice=base", "named twice"),
        ("--approver", "--approver=acme", "is not an approver"),
        ("--approver", None, "--approver is missing"),
    ],
)
def test_wrong_and_missing_flags_are_usage_errors(
    init: Init, repository: Path, replaced: str, flag: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [given for given in ASKED if not given.startswith(f"{replaced}=")]
    assert init(*kept, *([flag] if flag is not None else [])) == 2
    assert told in capsys.readouterr().err
    assert files(repository) == {}


def test_what_is_missing_is_asked_on_a_terminal(init: Init, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["acme/shop", "acme[bot]", "a=clusters/a b=clusters/b", "@acme/x @acme/y"])
    monkeypatch.setattr("breakglass.cli.open.on_terminal", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: next(answers))
    assert init() == 0
    assert list(policy(repository).spec.clusters) == ["a", "b"]
    assert policy(repository).spec.approvals.approvers == ["@acme/x", "@acme/y"]


def test_only_the_top_of_a_repository_is_written_to(repository: Path) -> None:
    below = repository / "below"
    below.mkdir()
    done = subprocess.run(
        [PROGRAMS / "breakglass", "init", below, *ASKED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "git init" in done.stderr
    assert files(repository) == {}


def test_the_tool_s_own_repository_is_left_alone(init: Init, repository: Path) -> None:
    (repository / "tools/breakglass").mkdir(parents=True)
    (repository / "tools/breakglass/__init__.py").write_text("")
    assert init(*ASKED) == 1
    assert set(files(repository)) == {"tools/breakglass/__init__.py"}


def test_the_clusters_part_renders_and_holds_nothing_of_the_example_platform(init: Init, repository: Path) -> None:
    init(*ASKED)
    written = {path: content for path, content in files(repository).items() if path.startswith("breakglass/on/")}
    keys = [key_of(manifest) for manifest in KustomizeRenderer().render(written, "breakglass/on")]
    assert {key.namespace for key in keys} == {"", "breakglass"}
    assert {str(key) for key in keys} >= {
        "Namespace breakglass",
        "ServiceAccount breakglass/agent",
        "Role.rbac.authorization.k8s.io breakglass/breakglass-inventory",
        "ClusterRoleBinding.rbac.authorization.k8s.io breakglass-questions",
        "ValidatingAdmissionPolicy.admissionregistration.k8s.io breakglass-activations",
    }


def test_the_clusters_part_is_what_install_writes(init: Init, repository: Path, tmp_path: Path) -> None:
    init(*ASKED)
    shutil.copytree(ROOT / "overlays/emergency/db-from-bastion", repository / "overlays/emergency/db-from-bastion")
    contract = repository / "overlays/emergency/db-from-bastion/overlay.yaml"
    contract.write_text(re.sub(r"\n      - (prod-us|drill)$", "", contract.read_text(), flags=re.MULTILINE))
    assert init() == 1
    assert init("--force") == 0
    for cluster, opens in (("prod-eu", True), ("on", False)):
        into = tmp_path / cluster
        install = [PROGRAMS / "breakglass", "install", cluster, "--into", into, "-C", repository]
        subprocess.run(install, check=True, capture_output=True, timeout=60)
        assert files(into) == files(repository / "breakglass" / cluster)
        assert (b"namespace: ops" in (into / "rbac.yaml").read_bytes()) is opens


def test_what_people_add_to_the_clusters_part_stays(init: Init, repository: Path) -> None:
    init(*ASKED)
    kustomization = repository / "breakglass/prod-eu/kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + "  # The process itself.\n  - agent.yaml\n")
    written = kustomization.read_text()
    assert init(*ASKED) == 0
    assert kustomization.read_text() == written


def test_no_page_links_to_what_is_not_there(init: Init, repository: Path) -> None:
    init(*ASKED)
    for page in repository.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert "db-from-bastion" not in text
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (page.parent / link).exists(), link


def test_the_tool_is_pinned_by_the_hash_of_its_wheel(init: Init, repository: Path, tmp_path: Path) -> None:
    wheel = tmp_path / f"breakglass-{__version__}-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    assert init(*ASKED, f"--wheel={wheel}") == 0
    pins = (repository / PINS).read_text()
    digest = hashlib.sha256(b"a wheel").hexdigest()
    assert pins.startswith(f"breakglass=={__version__} \\\n    --hash=sha256:{digest}\n")
    assert pins.endswith((ROOT / "requirements/product.txt").read_text())
    assert all("--hash=" in block for block in re.findall(r"^\S+==.*(?:\n +.*)*", pins, re.MULTILINE))
    assert init() == 0
    assert (repository / PINS).read_text() == pins


def test_another_version_s_wheel_is_refused(init: Init, repository: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "breakglass-0.0.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    assert init(*ASKED, f"--wheel={wheel}") == 2
    assert files(repository) == {}


def test_without_a_wheel_the_tool_is_not_pinned_and_that_is_said(
    init: Init, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(*ASKED)
    assert (repository / PINS).read_text().splitlines()[0] == f"breakglass=={__version__}"
    assert "--wheel" in capsys.readouterr().out


@pytest.mark.parametrize("elsewhere", [True, False])
def test_one_install_action_serves_the_tool_s_repository_and_others(tmp_path: Path, elsewhere: bool) -> None:
    """Run its scripts with a `python` and a `breakglass` that only tell how they were called."""
    look, _, install = YAML(typ="safe", pure=True).load(ROOT / INSTALL)["runs"]["steps"]
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in {"python": 'echo "$@" >> calls', "breakglass": f"echo breakglass {__version__}"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    marker = PINS if elsewhere else "tools/breakglass/__init__.py"
    (tmp_path / marker).parent.mkdir(parents=True)
    text = "breakglass==0.0.1 \\\n    --hash=sha256:00\nclick==8.3.0\n" if elsewhere else '__version__ = "0.0.1"\n'
    (tmp_path / marker).write_text(text)
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "GITHUB_OUTPUT": str(tmp_path / "output")}
    for step in (look, install):
        subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "output").read_text() == "present=false\n"
    pinned = "-m pip install --require-hashes --no-deps --only-binary=:all: -r"
    assert (tmp_path / "calls").read_text().splitlines() == (
        [f"{pinned} {PINS}"]
        if elsewhere
        else [
            f"{pinned} requirements/product.txt -r requirements/build.txt",
            "-m pip install --no-deps --no-build-isolation .",
        ]
    )


def test_the_wheel_brings_the_templates_along(tmp_path: Path) -> None:
    build = [PROGRAMS / "hatchling", "build", "--target", "wheel", "--directory", tmp_path]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packaged = {name for name in archive.namelist() if name.startswith("breakglass/templates/")}
        assert packaged == {f"breakglass/templates/{path}" for path in TEMPLATES}
        archive.extractall(tmp_path / "installed")
    code = (
        "import json; from breakglass.adapters.templates import read_templates; from breakglass.lifecycle.init import"
        " TEMPLATES; import breakglass; print(json.dumps([breakglass.__file__, {path: content.decode()"
        " for path, content in read_templates(TEMPLATES).items()}]))"
    )
    # A directory on PYTHONPATH stands before the editable installation.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=60)
    place, templates = json.loads(done.stdout)
    assert place.startswith(str(tmp_path))
    assert templates == {path: (ROOT / path).read_text(encoding="utf-8") for path in TEMPLATES}
