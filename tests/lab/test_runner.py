"""The runner: workflow files run by act on a machine that has what GitHub would give it, and no more."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass import __version__
from breakglass_lab.forge import App, Event, Forge, Organisation, Role, User, environments
from breakglass_lab.issuer import Issuer
from breakglass_lab.runner import JobRun, Runner, WorkflowError, processes, workflow
from breakglass_lab.runner.concurrency import Concurrency, Groups

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
BREAKGLASS = """\
#!/bin/bash
# Writes down how it was called; waits while the gate is closed.
set -eu
calls={calls}
if [[ "$1" == --version ]]; then echo "breakglass {version}"; exit; fi
call="$calls/$GITHUB_RUN_ID-${{CLUSTER:-}}"
printf '%s\\0' "$@" >"$call.arguments"
env -0 >"$call.environment"
cp .git/config "$call.config"
git rev-list --count HEAD >"$call.commits"
git rev-list --objects --all --missing=print | grep -c '^?' >"$call.missing" || true
if [[ -n "${{ACTIONS_ID_TOKEN_REQUEST_URL:-}}" ]]; then
  python {ask} "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=lab" "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" >"$call.token"
fi
echo "+$1 ${{CLUSTER:-}}" >>"$calls/order"
while [[ -e "$calls/closed" ]]; do sleep 0.02; done
echo "-$1 ${{CLUSTER:-}}" >>"$calls/order"
"""
ASK = """\
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "bearer " + sys.argv[2]})
print(json.load(urllib.request.urlopen(request, timeout=10))["value"], end="")
"""


@dataclass(frozen=True)
class Call:
    """How the stub of the tool was called by a job."""

    arguments: list[str]
    environment: Mapping[str, str]
    config: str
    commits: int
    missing: int
    token: str | None


@dataclass
class Lab:
    """A forge with the project's workflows, and a runner whose `breakglass` is a stub."""

    forge: Forge
    runner: Runner
    app: App
    work: Path
    calls: Path
    commits: int = 1
    _counter: int = field(default=0)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Alice", "-c", "user.email=alice@example.com"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.work), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.work, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str]) -> str:
        for name, text in files.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=a change")
        return self.git("rev-parse", "HEAD")

    def push(self, branch: str = "main") -> None:
        token = self.forge.token("alice")
        url = self.forge.git_url.replace("http://", f"http://x-access-token:{token}@")
        self.git("push", "--quiet", url, f"HEAD:refs/heads/{branch}")
        self.forge.settle()

    def change(self) -> str:
        """Push another commit to main."""
        self._counter += 1
        commit = self.commit({"note": str(self._counter)})
        self.push()
        return commit

    def ask(self, method: str, path: str, body: object = None, login: str = "alice", token: str = "") -> Any:
        request = Request(
            self.forge.api_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.forge.token(login)}"},
        )
        with urlopen(request, timeout=10) as answer:
            content = answer.read()
        self.forge.settle()
        return json.loads(content) if content else None

    def close_gate(self) -> None:
        (self.calls / "closed").touch()

    def open_gate(self) -> None:
        (self.calls / "closed").unlink()

    @property
    def order(self) -> list[str]:
        file = self.calls / "order"
        return file.read_text().splitlines() if file.exists() else []

    def call(self, job: JobRun) -> Call:
        stem = f"{job.run.record.id}-{job.matrix.get('cluster', '')}"

        def content(suffix: str) -> str:
            return (self.calls / f"{stem}.{suffix}").read_text()

        token = self.calls / f"{stem}.token"
        return Call(
            arguments=content("arguments").split("\0")[:-1],
            environment=dict(entry.split("=", 1) for entry in content("environment").split("\0")[:-1]),
            config=content("config"),
            commits=int(content("commits")),
            missing=int(content("missing")),
            token=token.read_text() if token.exists() else None,
        )

    def check_runs(self, commit: str) -> dict[str, str | None]:
        runs = self.ask("GET", f"/repos/acme/platform/commits/{commit}/check-runs")["check_runs"]
        return {run["name"]: run["conclusion"] for run in runs}


def program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with Issuer.start(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture
def start(tmp_path: Path, issuer: Issuer, app: App) -> Iterator[Callable[[Mapping[str, str]], Lab]]:
    """Starts a lab, in a path with spaces, whose main has the project's workflows or those given."""

    def begin(files: Mapping[str, str] | None = None) -> Lab:
        directory = tmp_path / "a lab"
        calls, programs, work = tmp_path / "calls", directory / "bin", directory / "work"
        for made in (calls, programs, work):
            made.mkdir(parents=True)
        (programs / "act").symlink_to(Path(sys.executable).with_name("act"))
        program(programs / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (calls / "ask.py").write_text(ASK)
        program(programs / "breakglass", BREAKGLASS.format(calls=calls, version=__version__, ask=calls / "ask.py"))
        users = tuple(User(login, login.title(), f"{login}@example.com") for login in ("alice", "bob"))
        rights: dict[str, dict[str, Role]] = {"platform": {"@alice": "write", "@bob": "write"}}
        organisation = Organisation(users=users, apps=(app,), rights=rights)
        forge = stack.enter_context(Forge.start(directory / "forge", organisation))
        secrets = {None: {"ALL": "for-all"}, "breakglass": {"BREAKGLASS_APP_KEY": app.private_key}}
        variables = {None: {"GREETING": "hello"}, "breakglass": {"BREAKGLASS_APP_ID": str(app.id)}}
        logs = directory / "logs"
        runner = stack.enter_context(
            Runner.start(forge, logs, secrets=secrets, variables=variables, issuer=issuer, path=programs)
        )
        lab = Lab(forge, runner, app, work, calls)
        lab.git("init", "--quiet", "--initial-branch=main")
        if files is None:
            shutil.copytree(ROOT / ".github", work / ".github")
            shutil.copytree(ROOT / "tools" / "breakglass", work / "tools" / "breakglass")
        lab.commit(files or {"note": "first"})
        forge.seed(work)
        return lab

    with ExitStack() as stack:
        yield begin


Start = Callable[..., Lab]


def conclusions(lab: Lab) -> list[tuple[str, str | None]]:
    return [(job.name, job.conclusion) for job in lab.runner.runs]


def test_a_push_to_main_applies_to_each_cluster(start: Start) -> None:
    lab = start()
    commit = lab.change()
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("apply (prod-eu)", "success"), ("apply (prod-us)", "success")]
    assert lab.check_runs(commit) == dict(conclusions(lab))
    assert [run.conclusion for run in lab.forge.runs.all()] == ["success"]
    call = lab.call(lab.runner.runs[0])
    assert call.arguments == ["apply", "prod-eu"]
    assert call.environment["GITHUB_SHA"] == commit
    assert call.environment["GITHUB_REF"] == "refs/heads/main"
    assert call.environment["GITHUB_EVENT_NAME"] == "push"
    assert call.environment["GITHUB_API_URL"] == lab.forge.api_url
    assert all(job.seconds is not None and job.seconds < SECONDS for job in lab.runner.runs)


def test_a_push_to_another_branch_starts_nothing(start: Start) -> None:
    lab = start()
    lab.commit({"note": "second"})
    lab.push("feature")
    lab.runner.wait(timeout=SECONDS)
    assert lab.runner.runs == ()


def test_the_checkout_has_all_commits_no_old_blobs_and_no_credentials(start: Start) -> None:
    lab = start()
    lab.commit({"note": "second"})
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    call = lab.call(lab.runner.runs[0])
    assert call.commits == 3
    assert call.missing > 0
    assert "extraheader" not in call.config.lower()


def test_a_job_in_the_environment_gets_a_token_of_the_app_and_an_identity(start: Start, issuer: Issuer) -> None:
    lab = start()
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    job = lab.runner.runs[0]
    call = lab.call(job)
    token = call.environment["GITHUB_TOKEN"]
    lab.ask("POST", "/repos/acme/platform/git/refs", {"ref": "refs/heads/x", "sha": lab.git("rev-parse", "HEAD")},
            token=token)  # fmt: skip
    assert token not in job.log.read_text()
    assert call.token is not None
    claims = jwt.decode(call.token, options={"verify_signature": False})
    assert claims["workflow_ref"] == "acme/platform/.github/workflows/apply.yml@refs/heads/main"
    assert (claims["environment"], claims["event_name"], claims["aud"]) == ("breakglass", "push", "lab")
    assert claims["run_id"] == str(job.run.record.id)
    assert claims["iss"] == issuer.url


def test_nothing_of_the_callers_environment_reaches_a_job(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    monkeypatch.setenv("GH_TOKEN", "mine")
    lab = start()
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    call = lab.call(lab.runner.runs[0])
    assert not {"KUBECONFIG", "GH_TOKEN", "VIRTUAL_ENV", "PYTHONPATH"} & set(call.environment)
    assert call.environment["HOME"] != str(Path.home())
    assert app_key_lines(lab).isdisjoint(" ".join(call.environment.values()).splitlines())


def app_key_lines(lab: Lab) -> set[str]:
    return {line for line in lab.app.private_key.splitlines() if not line.startswith("-")}


def pull_request(lab: Lab, files: Mapping[str, str]) -> str:
    """Open a pull request of a commit with these files and return the commit."""
    lab.git("checkout", "--quiet", "-B", "proposal", "main")
    commit = lab.commit(files)
    lab.push("proposal")
    lab.ask("POST", "/repos/acme/platform/pulls", {"title": "t", "head": "proposal", "base": "main"})
    return commit


def test_a_pull_request_is_checked_by_mains_workflow_with_the_apps_token(start: Start) -> None:
    lab = start()
    stand_in = {".github/actions/install/action.yml": "this is not an action", ".github/workflows/check.yml": "neither"}
    commit = pull_request(lab, stand_in)
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("check", "success")]
    assert lab.check_runs(commit) == {"check": "success"}
    call = lab.call(lab.runner.runs[0])
    assert call.arguments[:4] == ["check", "--check-run", "--comment", "--job-summary"]
    assert call.arguments[4:] == [call.environment["GITHUB_STEP_SUMMARY"], "--pull-request=1"]
    assert call.environment["GITHUB_REF"] == "refs/heads/main"
    assert call.token is None
    assert "BREAKGLASS_APP_KEY" not in (lab.runner.runs[0].log.read_text())
    token = call.environment["GITHUB_TOKEN"]
    lab.ask("POST", "/repos/acme/platform/issues/1/comments", {"body": "checked"}, token=token)
    done = {"name": "breakglass", "head_sha": commit, "conclusion": "success"}
    lab.ask("POST", "/repos/acme/platform/check-runs", done, token=token)


SHOW = """\
name: show
on: pull_request
permissions: {pull-requests: write, id-token: write}
jobs:
  show:
    runs-on: ubuntu-24.04
    steps:
      - run: echo "secret=[$SECRET] variable=[$VARIABLE] identity=[${ACTIONS_ID_TOKEN_REQUEST_URL:-}]"
        shell: bash
        env:
          SECRET: ${{ secrets.ALL }}
          VARIABLE: ${{ vars.GREETING }}
"""


@pytest.mark.parametrize("fork", [False, True])
def test_a_fork_gets_no_secret_no_identity_and_a_token_that_reads(
    start: Start, monkeypatch: pytest.MonkeyPatch, fork: bool
) -> None:
    lab = start({".github/workflows/show.yml": SHOW})
    asked: list[Mapping[str, str]] = []
    token = lab.forge.workflow_token
    monkeypatch.setattr(lab.forge, "workflow_token", lambda permissions: (asked.append(permissions), token({}))[1])
    events: list[Event] = []
    lab.forge.subscribe(events.append)
    pull_request(lab, {"note": "second"})
    lab.runner.wait(timeout=SECONDS)
    if fork:
        event = next(event for event in events if event.name == "pull_request")
        event.payload["pull_request"]["head"]["repo"]["id"] += 1
        lab.forge.state.pending_events.append(event)
        lab.ask("GET", "/repos/acme/platform")
        lab.runner.wait(timeout=SECONDS)
    log = lab.runner.runs[-1].log.read_text()
    assert asked[-1] == {"pull_requests": "read" if fork else "write"}
    assert ("secret=[] variable=[] identity=[]" in log) == fork
    assert ("secret=[***] variable=[hello] identity=[https://" in log) == (not fork)


TRIGGER = """\
name: {name}
on: {on}
permissions: {{id-token: write}}
jobs:
  {name}:
    runs-on: ubuntu-24.04
    environment: {environment}
    steps:
      - shell: bash
        run: |
          echo "at $GITHUB_REF $GITHUB_SHA base=[$GITHUB_BASE_REF] by $GITHUB_ACTOR from {version}"
          echo "key=[${{KEY:+given}}] identity=[${{ACTIONS_ID_TOKEN_REQUEST_URL:+given}}] told=[$TOLD]"
        env:
          KEY: ${{{{ secrets.BREAKGLASS_APP_KEY }}}}
          TOLD: {told}
"""
TARGET_FILE = ".github/workflows/target.yml"


def trigger(name: str, on: str, environment: str = "breakglass", told: str = "", version: str = "main") -> str:
    return TRIGGER.format(name=name, on=on, environment=environment, told=told, version=version)


@pytest.mark.parametrize("base", ["main", "release"])
def test_pull_request_target_runs_mains_workflow_on_main_with_secrets(start: Start, base: str) -> None:
    number = "${{ github.event.pull_request.number }}"
    lab = start({TARGET_FILE: trigger("target", "pull_request_target", told=number)})
    main = lab.git("rev-parse", "HEAD")
    lab.push("release")
    lab.git("checkout", "--quiet", "-B", "proposal", "main")
    edited = trigger("target", "pull_request_target", version="the proposal")
    commit = lab.commit({TARGET_FILE: edited, ".github/workflows/other.yml": edited})
    lab.push("proposal")
    lab.ask("POST", "/repos/acme/platform/pulls", {"title": "t", "head": "proposal", "base": base})
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("target", "success")]
    log = lab.runner.runs[0].log.read_text()
    assert f"at refs/heads/main {main} base=[{base}] by alice from main" in log
    assert "key=[given] identity=[given] told=[1]" in log
    assert lab.check_runs(commit) == {"target": "success"}


ENVIRONMENTS = ["breakglass", "BreakGlass", "{name: breakglass}", "${{ 'breakglass' }}"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_pull_request_that_names_an_environment_gets_nothing_of_it(start: Start, environment: str) -> None:
    lab = start()
    stolen = trigger("stolen", "pull_request", environment)
    commit = pull_request(lab, {".github/workflows/stolen.yml": stolen})
    lab.runner.wait(timeout=SECONDS)
    # Main's own check runs as well, with main's workflow.
    assert lab.check_runs(commit) == {"check": "success", "stolen": "failure"}
    (job,) = (job for job in lab.runner.runs if job.name == "stolen")
    told = job.log.read_text()
    assert told == ('"refs/pull/1/merge" is not allowed to deploy to breakglass due to environment protection rules.\n')


def test_a_branch_that_an_environment_does_not_admit_gets_nothing_of_it(start: Start) -> None:
    lab = start({".github/workflows/push.yml": trigger("push", "push")})
    lab.commit({"note": "second"})
    lab.push("feature")
    lab.push("main")
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("push", "failure"), ("push", "success")]
    assert "key=[given]" in lab.runner.runs[1].log.read_text()


def test_an_environment_for_all_branches_gives_its_secrets_to_a_pull_request(start: Start) -> None:
    lab = start({".github/workflows/show.yml": trigger("show", "pull_request")})
    known = environments.find(lab.forge.state, "breakglass")
    assert known is not None
    environments.put(lab.forge.state, replace(known, restriction=None))
    pull_request(lab, {"note": "second"})
    lab.runner.wait(timeout=SECONDS)
    assert "key=[given]" in lab.runner.runs[0].log.read_text()


def test_an_unknown_environment_is_made_and_holds_nothing(start: Start) -> None:
    lab = start({".github/workflows/show.yml": trigger("show", "pull_request", "preview")})
    pull_request(lab, {"note": "second"})
    lab.runner.wait(timeout=SECONDS)
    assert "key=[] identity=[given]" in lab.runner.runs[0].log.read_text()
    assert environments.find(lab.forge.state, "preview") is not None


def test_a_comment_runs_mains_workflow_on_main(start: Start) -> None:
    told = "${{ github.event.comment.body }} ${{ github.event.issue.pull_request.url }}"
    lab = start({".github/workflows/comment.yml": trigger("comment", "{issue_comment: {types: [created]}}", told=told)})
    main = lab.git("rev-parse", "HEAD")
    pull_request(lab, {".github/workflows/comment.yml": trigger("comment", "issue_comment", version="the proposal")})
    path = "/repos/acme/platform/issues"
    written = lab.ask("POST", f"{path}/1/comments", {"body": "/breakglass status"}, login="bob")
    lab.ask("PATCH", f"{path}/comments/{written['id']}", {"body": "/breakglass open"}, login="bob")
    lab.ask("POST", path, {"title": "late"})
    lab.ask("POST", f"{path}/2/comments", {"body": "on an issue"})
    own = lab.forge.workflow_token({"issues": "write"})
    lab.ask("POST", f"{path}/1/comments", {"body": "by a job"}, token=own)
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("comment", "success")] * 2
    first, second = (job.log.read_text() for job in lab.runner.runs)
    assert f"at refs/heads/main {main} base=[] by bob from main" in first
    pulls = f"{lab.forge.api_url}/repos/acme/platform/pulls/1"
    assert f"key=[given] identity=[given] told=[/breakglass status {pulls}]" in first
    assert "told=[on an issue ]" in second


def test_a_review_runs_the_pull_requests_workflow_on_its_merge(start: Start) -> None:
    told = "${{ github.event.review.state }}"
    review = "{pull_request_review: {types: [submitted, dismissed]}}"
    lab = start({".github/workflows/review.yml": trigger("review", review, '""', told)})
    edited = {".github/workflows/review.yml": trigger("review", review, '""', told, version="the proposal")}
    commit = pull_request(lab, edited)
    reviews = "/repos/acme/platform/pulls/1/reviews"
    given = lab.ask("POST", reviews, {"event": "APPROVE"}, login="bob")
    lab.runner.wait(timeout=SECONDS)
    lab.ask("PUT", f"{reviews}/{given['id']}/dismissals", {"message": "no"})
    lab.runner.wait(timeout=SECONDS)
    merge = lab.forge.state.bare.tip("refs/pull/1/merge")
    for job, state in zip(lab.runner.runs, ("approved", "dismissed"), strict=True):
        log = job.log.read_text()
        assert f"at refs/pull/1/merge {merge} base=[] by" in log
        assert "from the proposal" in log
        assert f"key=[] identity=[given] told=[{state}]" in log
    assert lab.check_runs(commit) == {"review": "success"}


def test_a_finished_run_starts_another_on_main_with_what_it_was(start: Start) -> None:
    run = "github.event.workflow_run"
    told = f"${{{{ {run}.event }}}} ${{{{ {run}.conclusion }}}} ${{{{ {run}.pull_requests[0].number }}}}"
    after = "{workflow_run: {workflows: [check], types: [completed]}}"
    lab = start(
        {
            ".github/workflows/check.yml": trigger("check", "pull_request", '""'),
            ".github/workflows/after.yml": trigger("after", after, told=told),
        }
    )
    main = lab.git("rev-parse", "HEAD")
    pull_request(lab, {".github/workflows/after.yml": trigger("after", after, version="the proposal")})
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("check", "success"), ("after", "success")]
    log = lab.runner.runs[1].log.read_text()
    assert f"at refs/heads/main {main} base=[] by alice from main" in log
    assert "key=[given] identity=[given] told=[pull_request success 1]" in log


def test_runs_start_each_other_three_times_and_no_more(start: Start) -> None:
    again = "{push: {}, workflow_run: {workflows: [again], types: [requested]}}"
    lab = start({".github/workflows/again.yml": trigger("again", again, '""')})
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    assert len(lab.runner.runs) == 4


@pytest.mark.parametrize("state", ["disabled_inactivity", "disabled_manually"])
def test_a_disabled_workflow_is_not_run(start: Start, state: Any) -> None:
    lab = start({".github/workflows/push.yml": trigger("push", "{push: {}, schedule: [{cron: 1 1 1 1 1}]}")})
    lab.forge.set_workflow_state(".github/workflows/push.yml", state)
    lab.change()
    lab.forge.fire_schedule("1 1 1 1 1")
    lab.forge.set_workflow_state(".github/workflows/push.yml", "active")
    lab.runner.wait(timeout=SECONDS)
    assert lab.runner.runs == ()


def test_nothing_runs_where_actions_are_off(start: Start) -> None:
    lab = start({".github/workflows/push.yml": trigger("push", "push")})
    lab.forge.state.actions_enabled = False
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    assert lab.runner.runs == ()


def test_a_schedule_runs_the_workflow_of_its_line(start: Start) -> None:
    lab = start()
    lab.forge.fire_schedule("0 0 1 1 *")
    lab.forge.fire_schedule("3-58/5 * * * *")
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("expire", "success")]
    assert lab.call(lab.runner.runs[0]).arguments == ["expire"]


def test_a_dispatch_hands_its_inputs_to_one_workflow(start: Start) -> None:
    lab = start()
    inputs = {
        "overlay": "db-from-bastion",
        "clusters": "prod-eu, prod-us",
        "reason": "it's $(down) `now`",
        "incident": "INC-1",
        "parameters": '{"a": 1}',
    }
    dispatch = "/repos/acme/platform/actions/workflows/open.yml/dispatches"
    lab.ask("POST", dispatch, {"ref": "main", "inputs": inputs}, login="bob")
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("open", "success")]
    assert lab.call(lab.runner.runs[0]).arguments == [
        "open",
        "--because=it's $(down) `now`",
        "--incident=INC-1",
        "--requested-by=bob",
        "--cluster=prod-eu",
        "--cluster=prod-us",
        '--parameters={"a": 1}',
        "--",
        "db-from-bastion",
    ]
    assert [(run.id, run.conclusion) for run in lab.forge.runs.all()] == [(lab.runner.runs[0].run.record.id, "success")]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something outside of the runner is so."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def running(count: int) -> Callable[[Any], bool]:
    return lambda jobs: sum(job.status == "in_progress" for job in jobs) == count


def test_appliers_of_a_cluster_wait_for_each_other_and_none_is_cancelled(start: Start) -> None:
    lab = start()
    lab.close_gate()
    for _ in range(3):
        lab.change()
    lab.runner.wait(timeout=SECONDS, until=running(2))
    assert Counter(job.status for job in lab.runner.runs) == {"in_progress": 2, "queued": 4}
    lab.open_gate()
    lab.runner.wait(timeout=SECONDS)
    assert {job.conclusion for job in lab.runner.runs} == {"success"}
    for cluster in ("prod-eu", "prod-us"):
        assert [line for line in lab.order if line.endswith(cluster)] == [f"+apply {cluster}", f"-apply {cluster}"] * 3


WAIT = """\
name: wait
on: {{push: {{branches: [main]}}}}
permissions: {{}}
concurrency: {{group: "Wait", cancel-in-progress: {cancel}}}
jobs:
  wait:
    runs-on: ubuntu-24.04
    steps:
      - shell: bash
        run: while [[ -e "{calls}/closed" ]]; do sleep 0.02; done
"""


@pytest.mark.parametrize(
    ("cancel", "expected"),
    [("false", ["success", "cancelled", "success"]), ("true", ["cancelled", "cancelled", "success"])],
)
def test_without_queue_max_a_newer_run_takes_the_place_of_the_pending_one(
    start: Start, tmp_path: Path, cancel: str, expected: list[str]
) -> None:
    lab = start({".github/workflows/wait.yml": WAIT.format(calls=tmp_path / "calls", cancel=cancel)})
    lab.close_gate()
    lab.change()
    lab.runner.wait(timeout=SECONDS, until=running(1))
    lab.change()
    lab.change()
    lab.runner.wait(timeout=SECONDS, until=lambda jobs: sum(job.conclusion == "cancelled" for job in jobs) >= 1)
    lab.open_gate()
    lab.runner.wait(timeout=SECONDS)
    assert [job.conclusion for job in lab.runner.runs] == expected
    assert [run.conclusion for run in lab.forge.runs.all()] == expected


def test_a_killed_job_leaves_no_process_and_the_next_one_runs(start: Start) -> None:
    lab = start()
    lab.close_gate()
    lab.change()
    lab.change()
    eventually(lambda: len(lab.order) == 2)
    first = lab.runner.runs[0]
    # act, its step, and what the step runs.
    assert len(processes.members(first.tracking_id)) > 2
    first.kill()
    assert processes.members(first.tracking_id) == []
    lab.open_gate()
    lab.runner.wait(timeout=SECONDS)
    assert [job.conclusion for job in lab.runner.runs] == ["failure", "success", "success", "success"]


LITTER = """\
name: litter
on: push
permissions: {}
jobs:
  litter:
    runs-on: ubuntu-24.04
    steps:
      - shell: bash
        run: |
          nohup sleep 600 >/dev/null 2>&1 </dev/null &
          echo "left $!"
"""


def test_what_a_job_leaves_running_ends_with_it(start: Start) -> None:
    lab = start({".github/workflows/litter.yml": LITTER})
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("litter", "success")]
    (left,) = left_running(lab)
    assert left not in {process.id for process in processes.living()}


def left_running(lab: Lab) -> list[int]:
    return [int(found) for found in re.findall(r"left (\d+)", lab.runner.runs[0].log.read_text())]


STUBBORN = """\
name: stubborn
on: push
permissions: {}
jobs:
  stubborn:
    runs-on: ubuntu-24.04
    steps:
      - shell: bash
        run: |
          # Hears of no hangup and has nothing of the environment that marks a job.
          nohup env -i "$(command -v sleep)" 600 >/dev/null 2>&1 </dev/null &
          echo "left $!"
          wait
"""


def test_a_killed_job_takes_along_what_hides(start: Start) -> None:
    lab = start({".github/workflows/stubborn.yml": STUBBORN})
    lab.change()
    eventually(lambda: bool(lab.runner.runs) and lab.runner.runs[0].log.exists() and bool(left_running(lab)))
    (left,) = left_running(lab)
    lab.runner.runs[0].kill()
    assert left not in {process.id for process in processes.living()}
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("stubborn", "failure")]


def test_when_the_runner_is_killed_jobs_end_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    lines = [
        "import os, pathlib, subprocess, sys, time",
        "from breakglass_lab.runner.processes import Guard",
        "guard = Guard(pathlib.Path(sys.argv[1]))",
        "guard.add('github_1')",
        "environment = {**os.environ, 'RUNNER_TRACKING_ID': 'github_1'}",
        "job = subprocess.Popen(['sh', '-c', 'env -i sleep 600 & wait'], env=environment, start_new_session=True)",
        "print('started', flush=True)",
        "time.sleep(600)",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines), tmp_path / "work"], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "started\n"
        eventually(lambda: len(processes.members("github_1")) == 2)
        runner.send_signal(signal.SIGKILL)
    eventually(lambda: processes.members("github_1") == [])
    eventually(lambda: not (tmp_path / "work").exists())


def test_stopping_ends_what_runs_and_what_waits(start: Start) -> None:
    lab = start()
    lab.close_gate()
    lab.change()
    lab.change()
    eventually(lambda: len(lab.order) == 2)
    lab.runner.stop()
    assert {job.conclusion for job in lab.runner.runs} == {"cancelled"}
    assert [processes.members(job.tracking_id) for job in lab.runner.runs] == [[]] * 4


ENDS = """\
name: ends
on: push
permissions: {}
jobs:
  bad: {runs-on: ubuntu-24.04, steps: [{run: "false"}]}
  good: {runs-on: ubuntu-24.04, steps: [{run: "true"}]}
  late: {runs-on: ubuntu-24.04, timeout-minutes: 0.005, steps: [{run: sleep 600}]}
  none: {runs-on: ubuntu-24.04, if: github.ref == 'refs/heads/other', steps: [{run: "false"}]}
"""


def test_a_job_concludes_as_it_ends(start: Start) -> None:
    lab = start({".github/workflows/ends.yml": ENDS})
    commit = lab.change()
    lab.runner.wait(timeout=SECONDS)
    expected = {"bad": "failure", "good": "success", "late": "cancelled", "none": "skipped"}
    assert dict(conclusions(lab)) == expected
    assert lab.check_runs(commit) == expected
    assert [run.conclusion for run in lab.forge.runs.all()] == ["failure"]


PLACE = """\
name: place
on: push
permissions: {}
jobs:
  place:
    runs-on: ubuntu-24.04
    steps:
      - shell: bash
        run: |
          for descriptor in 0 1 2; do if [[ -t $descriptor ]]; then echo "terminal $descriptor"; fi; done
          echo "secret=[$SECRET] variable=[$VARIABLE] shared=[$SHARED] token=[${GITHUB_TOKEN:-}]"
          echo "then" | false | cat
          echo "never"
        env:
          SECRET: ${{ secrets.BREAKGLASS_APP_KEY }}
          VARIABLE: ${{ vars.BREAKGLASS_APP_ID }}
          SHARED: ${{ vars.GREETING }}
"""


def test_a_job_outside_of_the_environment_has_nothing_of_it_no_terminal_and_pipefail(start: Start) -> None:
    lab = start({".github/workflows/place.yml": PLACE})
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    assert conclusions(lab) == [("place", "failure")]
    log = lab.runner.runs[0].log.read_text()
    assert "| secret=[] variable=[] shared=[hello] token=[]" in log
    assert "| terminal" not in log
    assert "| never" not in log


SELF = """\
name: self
on: push
permissions: {}
jobs:
  self:
    runs-on: ubuntu-24.04
    steps:
      - uses: $/.github/actions/greet
"""
GREET = "runs: {{using: composite, steps: [{{shell: bash, run: 'echo {word} from this commit'}}]}}\n"


def test_the_self_repository_is_the_one_of_the_events_commit(start: Start) -> None:
    lab = start({".github/workflows/self.yml": SELF, ".github/actions/greet/action.yml": GREET.format(word="old")})
    lab.commit({".github/actions/greet/action.yml": GREET.format(word="new")})
    lab.push()
    lab.runner.wait(timeout=SECONDS)
    assert "new from this commit" in lab.runner.runs[0].log.read_text()


@pytest.mark.parametrize("text", ["on: [", "on: push", "- on", "on: push\njobs: {a: {needs: b, steps: []}}"])
def test_a_workflow_file_that_is_not_valid_is_a_failed_run(start: Start, text: str) -> None:
    lab = start({".github/workflows/broken.yml": text})
    lab.change()
    lab.runner.wait(timeout=SECONDS)
    assert lab.runner.runs == ()
    assert [(run.workflow, run.conclusion) for run in lab.forge.runs.all()] == [
        (".github/workflows/broken.yml", "failure")
    ]


CONTEXTS = {
    "github": {"ref": "refs/heads/main", "event": {"number": 7, "pulls": [{"number": 8}]}},
    "inputs": {"cluster": ""},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("a-${{ github.ref }}-b", "a-refs/heads/main-b"),
        ("${{github.event.number}}", "7"),
        ("${{ github.event.nothing.at.all }}", ""),
        ("${{ github.event.nothing.number || github.event.pulls[0].number }}", "8"),
        ("${{ github.event.pulls[1].number }}", ""),
        ("${{ github.event.number[0] }}", ""),
        ("${{ inputs.cluster || 'drill' }}", "drill"),
        ("${{ github.ref == 'refs/heads/main' }}", "true"),
        ("${{ github.ref == 'x' || github.event.number }}", "7"),
    ],
)
def test_expressions(text: str, value: str) -> None:
    assert workflow.evaluate(text, CONTEXTS) == value


@pytest.mark.parametrize("text", ["${{ hashFiles('x') }}", "${{ github.ref && 'x' }}", "${{ github }}", "${{ }}"])
def test_an_expression_the_lab_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(WorkflowError, match="does not understand"):
        workflow.evaluate(text, CONTEXTS)


@dataclass(eq=False)
class Entrant:
    concurrency: Concurrency | None


@given(
    st.lists(
        st.one_of(
            st.builds(Concurrency, st.sampled_from(["a", "A", "b"]), st.booleans(), st.booleans()),
            st.none(),
            st.integers(0, 3),
        )
    )
)
def test_a_group_never_has_two_that_run_and_forgets_nobody(steps: list[Concurrency | int | None]) -> None:
    groups: Groups[Entrant] = Groups()
    running: list[Entrant] = []
    waiting: list[Entrant] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(running):
                following = groups.leave(leaving := running.pop(step))
                same = [one for one in waiting if one.concurrency and same_group(one, leaving)]
                assert following is (same[0] if same else None)
                if following is not None:
                    waiting.remove(following)
                    running.append(following)
            continue
        entrant = Entrant(step)
        entry = groups.enter(entrant)
        rivals = [one for one in running if same_group(one, entrant)]
        assert entry.starts == (not rivals)
        if step is not None and rivals:
            others = [one for one in waiting if same_group(one, entrant)]
            assert list(entry.cancelled) == ([] if step.keep_pending else others)
            assert entry.stopped is (rivals[0] if step.cancel_in_progress else None)
        waiting = [one for one in waiting if one not in entry.cancelled]
        (running if entry.starts else waiting).append(entrant)


def same_group(one: Entrant, other: Entrant) -> bool:
    if one.concurrency is None or other.concurrency is None:
        return False
    return one.concurrency.group.lower() == other.concurrency.group.lower()
