"""Laws of the workflow files, checked on the files as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from breakglass import __version__
from breakglass.lifecycle.init import APP_PERMISSIONS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
CALLS = {"comment": "issue-comment"}
"""Workflows that call another verb than that of their name."""
VERBS = ("apply", "check", "comment", "drill", "expire", "open", "solo")
"""The workflows that call the tool, each the verb of its name but for `CALLS`."""


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "*",
    "a\nb",
    "--help",
    " \\",
    "${IFS}",
]


def load(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    return document


def workflow(name: str) -> dict[str, Any]:
    return load(ROOT / ".github" / "workflows" / f"{name}.yml")


JOBS = [
    pytest.param(file.stem, job, id=f"{file.stem}-{identifier}")
    for file in WORKFLOWS
    for identifier, job in load(file)["jobs"].items()
]


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def step(name: str, action: str) -> dict[str, Any]:
    return next(step for step in steps(name) if step.get("uses", "").startswith(action))


def script(name: str) -> str:
    return str(steps(name)[-1]["run"])


def test_there_is_a_workflow_for_each_verb_and_one_for_the_tests() -> None:
    assert [file.stem for file in WORKFLOWS] == sorted([*VERBS, "ci", "review"])


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_gives_no_permission_and_every_script_fails_early(file: Path) -> None:
    document = load(file)
    assert document["permissions"] == {}
    # GitHub runs `shell: bash` with -e and -o pipefail, other than the shell it takes by default.
    assert document["defaults"]["run"]["shell"] == "bash"


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_is_bounded_in_time_and_permissions(name: str, job: dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 30
    given = {} if name == "review" else {"contents": "read"}
    assert job["permissions"] == given | ({"id-token": "write"} if name in ("apply", "drill") else {})


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_only_jobs_in_the_environment_see_secrets(name: str, job: dict[str, Any]) -> None:
    assert ("secrets." in str(job)) == (job.get("environment") == "breakglass") == (name not in ("ci", "review"))
    for entry in job["steps"]:
        if not entry.get("uses", "").startswith("actions/create-github-app-token@"):
            assert "secrets" not in str(entry)


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_action_is_pinned_by_commit_and_says_which_version_that_is(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        if "uses:" in line and "./" not in line and "$/" not in line:
            assert re.search(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_an_action_has_one_version_everywhere() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in [*WORKFLOWS, *ACTIONS])
    pins = set(re.findall(r"uses: ([\w./-]+)@(\S+ # \S+)", text))
    assert len(pins) == len({action for action, _ in pins}) == 3


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_no_expression_stands_in_a_script(file: Path) -> None:
    document = load(file)
    entries = document["runs"]["steps"] if "runs" in document else steps(file.stem)
    for entry in entries:
        assert "${{" not in entry.get("run", "")
        checked = subprocess.run(["bash", "-n"], input=entry.get("run", ""), text=True, check=False)
        assert checked.returncode == 0


@pytest.mark.parametrize("name", VERBS)
def test_a_job_calls_one_verb(name: str) -> None:
    scripts = "\n".join(entry.get("run", "") for entry in steps(name))
    assert set(re.findall(r"\bbreakglass ([a-z][a-z-]*)", scripts)) == {CALLS.get(name, name)}
    assert len(re.findall(r"^ *breakglass\b", scripts, re.MULTILINE)) == 1
    assert len(workflow(name)["jobs"]) == 1


@pytest.mark.parametrize("name", VERBS)
def test_the_tool_is_that_of_main_with_the_whole_history_and_no_token_in_git(name: str) -> None:
    assert step(name, "actions/checkout@")["with"] == {
        "ref": "main",
        "fetch-depth": 0,
        "filter": "blob:none",
        "persist-credentials": False,
    }


def test_no_checkout_keeps_its_token() -> None:
    assert step("ci", "actions/checkout@")["with"] == {"persist-credentials": False}


def test_check_runs_nothing_of_the_pull_request() -> None:
    document = workflow("check")
    # Neither runs the pull request's own copy of the file, as `pull_request` would.
    assert set(document["on"]) == {"pull_request_target", "workflow_run"}
    assert {entry["uses"].partition("@")[0] for entry in steps("check") if "uses" in entry} == {
        "actions/checkout",
        "actions/create-github-app-token",
        "$/.github/actions/install",
    }
    assert script("check") == (
        'breakglass check --check-run --comment --job-summary "$GITHUB_STEP_SUMMARY" --pull-request="$PULL_REQUEST"'
    )
    # Of the event only the number reaches a step, and what the pull request's author writes reaches nothing.
    used = set(re.findall(r"github\.event[\w.\[\]]*", str(document["jobs"]) + str(document["concurrency"])))
    assert used == {
        "github.event.pull_request.number",
        "github.event.workflow_run.pull_requests[0].number",
        "github.event.workflow_run.pull_requests[0].base.ref",
        "github.event_name",
    }


def test_a_change_of_what_a_pull_request_goes_to_is_checked_again() -> None:
    assert workflow("check")["on"]["pull_request_target"] == {
        "branches": ["main"],
        "types": ["opened", "synchronize", "reopened", "edited"],
    }


def test_a_review_renews_the_check_and_its_own_workflow_does_and_may_nothing() -> None:
    assert workflow("check")["on"]["workflow_run"] == {"workflows": ["review"], "types": ["completed"]}
    review = workflow("review")
    assert review["name"] == "review"
    assert review["on"] == {"pull_request_review": {"types": ["submitted", "dismissed"]}}
    (job,) = review["jobs"].values()
    assert job["permissions"] == {}
    assert [entry["run"] for entry in job["steps"]] == ["true"]


@pytest.mark.parametrize("value", HOSTILE)
def test_check_hands_its_number_on_as_it_is(programs: Path, value: str) -> None:
    given = arguments("check", programs, {"PULL_REQUEST": value, "GITHUB_STEP_SUMMARY": "summary"})
    assert given[-1] == f"--pull-request={value}"
    assert not (programs.parent / "pwned").exists()


@pytest.mark.parametrize("value", [*HOSTILE, "", "0", "-1", "1e3", "0x10", "482; true"])
def test_check_takes_nothing_for_a_number_that_is_none(value: str) -> None:
    command = [Path(sys.executable).with_name("breakglass"), "check", "--check-run", f"--pull-request={value}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr


def test_each_production_cluster_has_an_applier_that_waits_only_for_itself() -> None:
    document = workflow("apply")
    assert document["on"] == {"push": {"branches": ["main"]}, "workflow_dispatch": None}
    job = document["jobs"]["apply"]
    assert "concurrency" not in document
    assert job["concurrency"] == {
        "group": "breakglass-apply-${{ matrix.cluster }}",
        "cancel-in-progress": False,
        "queue": "max",
    }
    assert job["strategy"]["fail-fast"] is False
    clusters = yaml.safe_load((ROOT / "breakglass.yaml").read_text(encoding="utf-8"))["spec"]["clusters"]
    production = [name for name, cluster in clusters.items() if cluster.get("purpose", "production") == "production"]
    assert job["strategy"]["matrix"] == {"cluster": production}


def minutes(field: str) -> list[int]:
    """The minutes of `FIRST-LAST/STEP`, the one form the schedule uses."""
    match = re.fullmatch(r"(\d+)-(\d+)/(\d+)", field)
    assert match is not None
    first, last, increment = map(int, match.groups())
    return list(range(first, last + 1, increment))


def test_expiry_is_looked_for_every_five_minutes_off_the_hour() -> None:
    (schedule,) = workflow("expire")["on"]["schedule"]
    minute, *rest = schedule["cron"].split()
    ticks = minutes(minute)
    assert rest == ["*"] * 4
    assert {following - tick for tick, following in zip(ticks, [*ticks[1:], ticks[0] + 60], strict=True)} == {5}
    assert not {0, 30} & set(ticks)


def test_closing_waits_for_nothing() -> None:
    document = workflow("expire")
    assert document["on"]["workflow_dispatch"] is None
    assert document["concurrency"] == {
        "group": "breakglass-expire-${{ github.run_id }}",
        "cancel-in-progress": False,
    }
    others = [
        str(workflow(name).get("concurrency")) + str(workflow(name)["jobs"]) for name in VERBS if name != "expire"
    ]
    assert not any("breakglass-expire" in other for other in others)


def test_no_workflow_waits_for_another() -> None:
    def prefix(group: str) -> str:
        return group.partition("${{")[0]

    groups = [prefix((workflow(name).get("concurrency") or workflow(name)["jobs"][name]["concurrency"])["group"])
              for name in VERBS]  # fmt: skip
    assert len(set(groups)) == len(VERBS)


@pytest.mark.parametrize(
    ("name", "permissions"),
    [
        ("apply", {"contents": "write", "members": "read", "pull-requests": "read"}),
        ("comment", {"actions": "write", "contents": "write", "issues": "write", "pull-requests": "write"}),
        ("check", {"checks": "write", "contents": "read", "members": "read", "pull-requests": "write"}),
        ("drill", {"contents": "write"}),
        (
            "expire",
            {"actions": "write", "checks": "write", "contents": "write", "issues": "write", "pull-requests": "write"},
        ),
        ("open", {"actions": "write", "contents": "write", "pull-requests": "write"}),
        (
            "solo",
            {"checks": "write", "contents": "write", "issues": "write", "members": "read", "pull-requests": "write"},
        ),
    ],
)
def test_what_starts_workflows_is_done_with_a_token_of_the_app_that_can_do_no_more(
    name: str, permissions: dict[str, str]
) -> None:
    token = step(name, "actions/create-github-app-token@")
    assert token["with"] == {
        "client-id": "${{ vars.BREAKGLASS_APP_ID }}",
        "private-key": "${{ secrets.BREAKGLASS_APP_KEY }}",
        **{f"permission-{permission}": level for permission, level in permissions.items()},
    }
    assert steps(name)[-1]["env"]["GITHUB_TOKEN"] == "${{ steps.app.outputs.token }}"


def test_the_app_is_granted_the_most_that_a_job_asks_for_and_the_page_says_so() -> None:
    most: dict[str, str] = {}
    for name in VERBS:
        for key, level in step(name, "actions/create-github-app-token@")["with"].items():
            permission = key.removeprefix("permission-").replace("-", " ")
            if key.startswith("permission-") and most.get(permission) != "write":
                most[permission] = level
    assert most == APP_PERMISSIONS
    page = (ROOT / "docs" / "adopting.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| ([a-z ]+) \| (read|write) \| ", page, re.MULTILINE)) == APP_PERMISSIONS
    (address,) = re.findall(r"settings/apps/new\?(\S+)\"", page)
    asked = dict(pair.split("=") for pair in address.split("&"))
    assert {name.replace(" ", "_"): level for name, level in APP_PERMISSIONS.items()}.items() <= asked.items()
    assert {level for level in asked.values() if level in ("read", "write")} == {"read", "write"}
    assert sum(level in ("read", "write") for level in asked.values()) == len(APP_PERMISSIONS)


def test_what_is_dispatched_has_at_most_25_inputs_of_text() -> None:
    for file in WORKFLOWS:
        inputs = (load(file)["on"].get("workflow_dispatch") or {}).get("inputs", {})
        assert len(inputs) <= 25
        assert {entry["type"] for entry in inputs.values()} <= {"string"}


def test_zizmor_finds_nothing() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [zizmor, "--offline", "--quiet", "--no-config", "--persona", "pedantic", ROOT / ".github"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with a `breakglass` that prints its arguments, one a NUL-terminated record."""
    directory = tmp_path / "programs"
    directory.mkdir()
    stub = directory / "breakglass"
    stub.write_text("#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'breakglass, version 1.2.3'; exit; fi\n"
                    'printf "%s\\0" "$@"\n')  # fmt: skip
    stub.chmod(0o755)
    return directory


def run(text: str, path: str, variables: dict[str, str], directory: Path) -> str:
    """Run a script as GitHub runs `shell: bash` and return what it printed."""
    file = directory / "script.sh"
    file.write_text(text)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", file],
        env={"PATH": path, **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def arguments(name: str, programs: Path, variables: dict[str, str]) -> list[str]:
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return run(script(name), path, variables, programs.parent).split("\0")[:-1]


@pytest.mark.parametrize("value", HOSTILE)
def test_open_hands_inputs_on_as_they_are(programs: Path, value: str) -> None:
    inputs = {"OVERLAY": value, "CLUSTERS": "prod-eu", "DURATION": value, "REASON": value, "INCIDENT": value}
    given = arguments("open", programs, {**inputs, "PARAMETERS": value, "GITHUB_TRIGGERING_ACTOR": "alice"})
    assert given == [
        "open",
        f"--because={value}",
        f"--incident={value}",
        "--requested-by=alice",
        "--cluster=prod-eu",
        f"--for={value}",
        f"--parameters={value}",
        "--",
        value,
    ]
    assert not (programs.parent / "pwned").exists()


@pytest.mark.parametrize(("value", "alone"), [("solo", True), ("", False), ("Solo", False), ("$(touch pwned)", False)])
def test_open_asks_alone_only_where_somebody_wrote_so(programs: Path, value: str, alone: bool) -> None:
    inputs = {"OVERLAY": "o", "CLUSTERS": "c", "DURATION": "", "REASON": "r", "INCIDENT": "i", "PARAMETERS": ""}
    given = arguments("open", programs, {**inputs, "SOLO": value, "GITHUB_TRIGGERING_ACTOR": "alice"})
    assert ("--solo" in given) == alone
    assert given[-2:] == ["--", "o"]
    assert not (programs.parent / "pwned").exists()


@pytest.mark.parametrize("value", HOSTILE)
def test_solo_hands_its_number_on_as_it_is(programs: Path, value: str) -> None:
    assert arguments("solo", programs, {"PULL_REQUEST": value}) == ["solo", "--", value]


def test_a_comment_reaches_no_script() -> None:
    document = workflow("comment")
    assert document["on"] == {"issue_comment": {"types": ["created"]}}
    assert script("comment") == "breakglass issue-comment"
    (job,) = document["jobs"].values()
    assert job["if"] == "startsWith(github.event.comment.body, '/breakglass')"
    # Only the condition, and the number in the group, look at the event.
    assert "github.event" not in str(job["steps"])
    assert "env" not in job
    assert set(steps("comment")[-1]["env"]) == {"GITHUB_TOKEN"}


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ("prod-eu", ["prod-eu"]),
        ("prod-eu,prod-us", ["prod-eu", "prod-us"]),
        ("prod-eu, prod-us", ["prod-eu", "prod-us"]),
        ("prod-eu\nprod-us", ["prod-eu\nprod-us"]),
        ("$(touch pwned),*", ["$(touchpwned)", "*"]),
        ("--help", ["--help"]),
    ],
)
def test_open_splits_clusters_at_commas_and_drops_none(programs: Path, clusters: str, expected: list[str]) -> None:
    inputs = {"OVERLAY": "o", "CLUSTERS": clusters, "DURATION": "", "REASON": "r", "INCIDENT": "i", "PARAMETERS": ""}
    given = arguments("open", programs, {**inputs, "GITHUB_TRIGGERING_ACTOR": "alice"})
    assert given[4:] == [*(f"--cluster={cluster}" for cluster in expected), "--", "o"]


@pytest.mark.parametrize("value", HOSTILE)
def test_drill_hands_inputs_on_as_they_are(programs: Path, value: str) -> None:
    given = arguments("drill", programs, {"OVERLAY": value, "CLUSTER": value})
    assert given == ["drill", f"--cluster={value}", "--", value]


def test_a_scheduled_drill_drills_all(programs: Path) -> None:
    assert arguments("drill", programs, {"OVERLAY": "", "CLUSTER": "drill"}) == ["drill", "--cluster=drill", "--all"]


@pytest.mark.parametrize(
    ("source", "found", "present"),
    [
        ("1.2.3", True, "true"),
        ("1.2.4", True, "false"),
        ("11.2.3", True, "false"),
        ("1.2.3", False, "false"),
        (None, True, "true"),
        (None, False, "false"),
    ],
)
def test_the_install_action_installs_unless_the_version_of_the_checkout_is_there(
    programs: Path, tmp_path: Path, source: str | None, found: bool, present: str
) -> None:
    (action,) = ACTIONS
    look, python, install = load(action)["runs"]["steps"]
    if source is not None:
        (tmp_path / "tools" / "breakglass").mkdir(parents=True)
        (tmp_path / "tools" / "breakglass" / "__init__.py").write_text(f'"""Doc."""\n\n__version__ = "{source}"\n')
    without = [entry for entry in os.environ["PATH"].split(os.pathsep) if not (Path(entry) / "breakglass").exists()]
    path = os.pathsep.join([str(programs), *without] if found else without)
    run(look["run"], path, {"GITHUB_OUTPUT": str(tmp_path / "output")}, tmp_path)
    assert (tmp_path / "output").read_text() == f"present={present}\n"
    assert python["if"] == install["if"] == f"steps.{look['id']}.outputs.present != 'true'"


def test_the_install_action_finds_the_version_of_this_checkout() -> None:
    found = re.findall(r'^__version__ = "(.+)"$', (ROOT / "tools/breakglass/__init__.py").read_text(), re.MULTILINE)
    assert found == [__version__]


def test_what_builds_the_package_is_pinned_to_what_the_tests_use() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return set(re.findall(r"^\S.*(?:\n +--hash.*)+", text, re.MULTILINE))

    assert pins("build.txt") <= pins("development.txt")
    assert any(pin.startswith("hatchling==") for pin in pins("build.txt"))
