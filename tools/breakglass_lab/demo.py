"""The demo: the whole life of an emergency access, on a real API server, real git and the real workflow files."""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from breakglass.lifecycle.comment import MARKER
from breakglass.model.manifest import ACTIVATION_LABEL
from breakglass.model.policy import API_VERSION
from breakglass.model.time import parse_instant
from breakglass_lab.platform import USERS, Platform, running, wait_for

CLUSTER = "prod-eu"
GROUP = "acme:incident"
EXPIRE_CRON = "3-58/5 * * * *"
LATEST = timedelta(seconds=1)
"""How late a window may end; later than this the demo fails."""


@dataclass
class Narrator:
    """Prints each step with its time to `out`; remembers the figures for the summary."""

    out: TextIO
    started: float = field(default_factory=time.monotonic)
    figures: dict[str, str] = field(default_factory=dict)

    def chapter(self, title: str) -> None:
        """Begin a step."""
        heading = f"\033[1m{title}\033[0m" if self.out.isatty() else title
        print(f"\n{time.monotonic() - self.started:6.1f} s  {heading}", file=self.out, flush=True)

    def say(self, text: str) -> None:
        """Tell something of the step."""
        for line in text.rstrip().splitlines():
            print(f"          {line}", file=self.out, flush=True)

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Time a part and remember the figure."""
        begin = time.monotonic()
        yield
        self.figures[what] = f"{time.monotonic() - begin:.1f} s"


def play(platform: Platform, tell: Narrator) -> None:
    """Play the life from the first request to the story that git tells afterwards.

    Raises:
        RuntimeError: something was not as it should be, or a window ended more than `LATEST` late.
    """
    pace = _drill(platform, tell) if "drill" in platform.clusters else 2.5
    why = ("--because", "checkout down, need psql")
    before = _allowed(platform, tell, "before")
    with ThreadPoolExecutor(2) as watchers:
        first = _open(platform, tell, "db-from-bastion", "--for", f"{16 + 6 * pace:.0f}s", *why)
        _approve_and_merge(platform, tell, first, ("ines", "dana"))
        first_end = watchers.submit(_lateness, platform, first.id)
        second = _killed_applier(platform, tell)
        _allowed(platform, tell, "during")
        tell.say(platform.breakglass("robin", "status", code=None).stdout)
        _close_early(platform, tell, second)
        third = _open(platform, tell, "db-from-bastion", "--for", f"{8 + 3 * pace:.0f}s", *why)
        _agree(platform, tell, third, ("ines", "dana"))
        _merge_and_kill(platform, third)
        third_end = watchers.submit(_lateness, platform, third.id)
        _outage(platform, tell)
        _expiry(platform, tell, "The first window ends by itself", first.id, first_end)
        _expiry(platform, tell, "The window whose applier is dead ends by itself", third.id, third_end)
    _recovery(platform, tell)
    after = _allowed(platform, tell, "after")
    if after != before:
        raise RuntimeError(f"the cluster does not allow the same as before: {after} is not {before}")
    _history(platform, tell, first)
    _nothing_failed(platform)


def _nothing_failed(platform: Platform) -> None:
    """Every job must have succeeded, but for those that were killed on purpose or had nothing to do."""
    jobs = platform.runner.runs if platform.runner is not None else ()
    failed = [job for job in jobs if job.conclusion not in ("success", "skipped") and not job.killed]
    if failed:
        logs = "\n".join(
            f"{job.name}: {job.conclusion}\n{job.log.read_text(errors='replace')[-2000:]}" for job in failed
        )
        raise RuntimeError(f"workflow jobs failed:\n{logs}")


def _drill(platform: Platform, tell: Narrator) -> float:
    """Drill, and return the seconds it took: how long windows must be for what follows on a machine of this speed."""
    tell.chapter(
        "A drill, on another day: the workflow drill.yml opens, probes and closes db-from-bastion in the cluster drill"
    )
    inputs = {"overlay": "db-from-bastion", "cluster": "drill"}
    begin = time.monotonic()
    platform.call("pat", "POST", "/actions/workflows/drill.yml/dispatches", {"ref": "main", "inputs": inputs})
    platform.settle()
    pace = time.monotonic() - begin
    receipt = _ledger(platform, "drills/db-from-bastion/")[-1]
    for phase in receipt["phases"]:
        tell.say(f"{phase['name']:<13} {phase['seconds']:.2f} s")
    tell.say("passed" if receipt["passed"] else f"FAILED {receipt['findings']}")
    if not receipt["passed"]:
        raise RuntimeError("the drill failed")
    return pace


def _allowed(platform: Platform, tell: Narrator, when: str) -> dict[str, Any]:
    """What the cluster allows, asked of its API server."""
    tell.chapter(f"What {CLUSTER} allows {when}")
    database = platform.names(CLUSTER, "networking.k8s.io/v1/networkpolicies", "data")
    bastion = platform.names(CLUSTER, "networking.k8s.io/v1/networkpolicies", "ops")
    may_exec = platform.may(CLUSTER, GROUP, "create", "pods/exec", "shop")
    tell.say(f"NetworkPolicies in data  {', '.join(database)}")
    tell.say(f"NetworkPolicies in ops   {', '.join(bastion)}")
    tell.say(f"exec into shop           {GROUP}: {'yes' if may_exec else 'no'}")
    tell.say(f"inventories              {', '.join(platform.inventories(CLUSTER)) or 'none'}")
    return {"data": database, "ops": bastion, "exec": may_exec}


@dataclass(frozen=True)
class _Opening:
    id: str
    number: int


def _open(platform: Platform, tell: Narrator, overlay: str, *options: str) -> _Opening:
    arguments = ["open", overlay, "--cluster", CLUSTER, "--incident", "INC-4211", *options]
    shown = " ".join(f'"{word}"' if " " in word else word for word in arguments)
    tell.chapter(f"@robin asks: breakglass {shown}")
    with tell.measured(f"open {overlay}: command to pull request"):
        result = platform.breakglass("robin", *arguments)
    tell.say(result.stdout)
    number = re.search(r"#(\d+)", result.stdout)
    identity = re.search(r"breakglass close (\S+)", result.stdout)
    if number is None or identity is None:
        raise RuntimeError(f"no pull request in: {result.stdout}")
    return _Opening(identity.group(1), int(number.group(1)))


def _approve_and_merge(platform: Platform, tell: Narrator, opening: _Opening, approvers: tuple[str, ...]) -> None:
    """Wait for the check, approve, merge, and see the cluster change."""
    _agree(platform, tell, opening, approvers)
    platform.merge(approvers[0], opening.number)
    with tell.measured(f"merge → {CLUSTER} open (workflow and all)"):
        wait_for(lambda: f"{opening.id} open" in platform.inventories(CLUSTER), 60, "open in the cluster")
    tell.say(f"merged by @{approvers[0]}; the workflow apply.yml opened it in {CLUSTER}")
    platform.settle()


def _agree(platform: Platform, tell: Narrator, opening: _Opening, approvers: tuple[str, ...]) -> None:
    platform.settle()
    tell.say(f"check.yml says on #{opening.number}: {_verdict(platform, opening)}")
    for login in approvers:
        platform.approve(login, opening.number)
    tell.say(f"approved by {' and '.join(f'@{login}' for login in approvers)}")


def _verdict(platform: Platform, opening: _Opening) -> str:
    """The first line of the page that the check wrote on the pull request, without its marks."""
    comments = platform.call("robin", "GET", f"/issues/{opening.number}/comments")
    found = (re.search(r"\*\*(.+)\*\*", comment["body"]) for comment in comments if MARKER in comment["body"])
    headline = next(filter(None, found), None)
    if headline is None:
        raise RuntimeError(f"the check wrote no page on #{opening.number}")
    return headline[1].replace("`", "")


def _killed_applier(platform: Platform, tell: Narrator) -> _Opening:
    """A second activation beside the first; the applier is killed in its middle, and the next run converges."""
    opening = _open(platform, tell, "exec-into-shop", "--for", "30m", "--because", "look at a stuck worker")
    _agree(platform, tell, opening, ("ines", "sofia"))
    plan = _planned(platform, opening)
    _merge_and_kill(platform, opening)
    tell.chapter(f"What the applier set out to write: breakglass plan {CLUSTER}, when it asked GitHub who approved")
    tell.say(plan.result(timeout=0))
    tell.chapter("The applier is killed (SIGKILL) as soon as its first write is in the cluster")
    tell.say(f"inventories              {', '.join(platform.inventories(CLUSTER))}")
    platform.call("pat", "POST", "/actions/workflows/apply.yml/dispatches", {"ref": "main"})
    platform.settle()
    tell.say("apply.yml runs again and converges:")
    tell.say(f"inventories              {', '.join(platform.inventories(CLUSTER))}")
    return opening


def _planned(platform: Platform, opening: _Opening) -> Future[str]:
    """The plan of the cluster when its applier asks for the reviews of an opening, so before its first write."""
    plan: Future[str] = Future()
    kubeconfig = str(platform.kubeconfig(CLUSTER))
    platform.refresh("pat")

    def ask() -> None:
        done = platform.breakglass("pat", "plan", CLUSTER, "--kubeconfig", kubeconfig, code=None)
        plan.set_result(done.stdout + done.stderr)

    platform.forge.fault("GET", rf".*/pulls/{opening.number}/reviews", before=ask)
    return plan


def _merge_and_kill(platform: Platform, opening: _Opening) -> None:
    """Merge, and kill the applier as soon as the cluster has an inventory of the activation."""
    runner = platform.runner
    if runner is None:
        raise RuntimeError("the demo needs the runner")
    seen = len(runner.runs)
    platform.merge("ines", opening.number)

    def running_apply() -> Any:
        jobs = [
            job for job in runner.runs[seen:] if job.matrix.get("cluster") == CLUSTER and job.status == "in_progress"
        ]
        return jobs and any(line.startswith(opening.id) for line in platform.inventories(CLUSTER)) and jobs[0]

    wait_for(running_apply, 60, "an applier that writes").kill()
    platform.settle()


def _close_early(platform: Platform, tell: Narrator, opening: _Opening) -> None:
    tell.chapter(f"@robin is done early: breakglass close {opening.id}")
    with tell.measured("early close: command → cluster closed, recorded"):
        tell.say(platform.breakglass("robin", "close", opening.id).stdout)
        platform.settle()
    tell.say(f"inventories              {', '.join(platform.inventories(CLUSTER)) or 'none'}")


def _outage(platform: Platform, tell: Narrator) -> None:
    """From here on the forge answers nobody, and its scheduler fires nothing."""
    tell.chapter("The applier is killed once more; GitHub is cut off, and its scheduled job stops")
    tell.say(f"inventories              {', '.join(platform.inventories(CLUSTER))}")
    platform.forge.fault(".*", ".*", times=sys.maxsize, reset=True)
    try:
        platform.call("robin", "GET", "/pulls")
    except (OSError, http.client.HTTPException) as error:
        tell.say(f"GitHub, asked by @robin   {error}")
    else:
        raise RuntimeError("the forge still answers")
    tell.say("no run of the applier or of expire.yml will come; what is left is the agent in the cluster")


def _expiry(platform: Platform, tell: Narrator, title: str, identity: str, end: Future[timedelta]) -> None:
    """A window ends by the clock, closed by the agent alone."""
    tell.chapter(title)
    late = end.result()
    told = f"{late / timedelta(milliseconds=1):.0f} ms"
    tell.say(f"the agent in the cluster closed it {told} after its expiry: no git, no GitHub, no CI")
    tell.say(f"inventories              {', '.join(platform.inventories(CLUSTER))}")
    tell.figures[f"{title[0].lower()}{title[1:]}: expiry → closed"] = told
    if abs(late) > LATEST:
        raise RuntimeError(f"{identity} ended {told} after its expiry")


def _lateness(platform: Platform, identity: str) -> timedelta:
    """How long after its expiry a window's objects are gone and its inventory says closed; waits for that."""
    inventories = "/api/v1/namespaces/breakglass/configmaps?labelSelector=breakglass.dev%2Finventory"
    objects = f"/apis/networking.k8s.io/v1/networkpolicies?labelSelector={ACTIVATION_LABEL}%3D{identity}"
    with platform.clusters[CLUSTER].client() as client:

        def told() -> dict[str, str]:
            found = (item["metadata"] for item in client.call("GET", inventories)["items"])
            return next((item["annotations"] for item in found if item["name"] == f"activation-{identity}"), {})

        expiry = parse_instant(told()["breakglass.dev/expiry"])
        # It may end too early as well; before that nobody needs to ask.
        time.sleep(max(0.0, (expiry - LATEST * 2 - datetime.now(UTC)).total_seconds()))
        while told().get("breakglass.dev/phase", "closed") != "closed" or client.call("GET", objects)["items"]:
            if datetime.now(UTC) > expiry + timedelta(seconds=60):
                raise RuntimeError(f"{identity} is open a minute after its expiry")
            time.sleep(0.005)
        return datetime.now(UTC) - expiry


def _recovery(platform: Platform, tell: Narrator) -> None:
    """What happened in the cluster while nobody looked comes on the ledger."""
    tell.chapter("GitHub is back, and its scheduler wakes up")
    platform.forge.faults.clear()
    platform.forge.fire_schedule(EXPIRE_CRON)
    platform.settle()
    tell.say("expire.yml opened and merged the closing pull request, apply.yml recorded what the agent had done")


def _history(platform: Platform, tell: Narrator, opening: _Opening) -> None:
    platform.breakglass("robin", "status", code=0)
    tell.chapter(f"A year later, from a clone alone: breakglass audit show {opening.id}")
    tell.say(platform.breakglass("robin", "audit", "show", opening.id).stdout)
    tell.chapter("main and the ledger")
    tell.say(_git(platform, "log", "--first-parent", "--format=%h %cI %<(22,trunc)%an %s", "main"))
    tell.say("")
    tell.say(_git(platform, "log", "--format=%h %cI %<(22,trunc)%an %s", "breakglass-ledger"))


def _git(platform: Platform, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=platform.forge.bare, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def _ledger(platform: Platform, prefix: str) -> list[Any]:
    names = _git(platform, "ls-tree", "-r", "--name-only", "breakglass-ledger", prefix).splitlines()
    return [json.loads(_git(platform, "show", f"breakglass-ledger:{name}")) for name in sorted(names)]


def _keep(platform: Platform, tell: Narrator) -> None:
    """Leave everything running until Ctrl-C, and say how to look at it."""
    clone = platform.clone("robin")
    tell.chapter("Everything keeps running until Ctrl-C. Explore it:")
    tell.say(f"forge        {platform.forge.url}")
    for name, plane in platform.clusters.items():
        tell.say(f"{name:<12} kubectl --kubeconfig '{plane.kubeconfig}' get networkpolicies -A")
    for user in USERS[:3]:
        tell.say(f"as @{user.login:<8} export GITHUB_TOKEN={platform.forge.token(user.login)}")
    tell.say(f"clone        cd '{clone}' && breakglass status")
    threading.Event().wait()


def main() -> int:
    """Run the demo; exit code 0 when the whole life was seen."""
    parser = argparse.ArgumentParser(prog="breakglass demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--kubeconfig", type=Path, help="play on this cluster instead of building control planes")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="json: the story on stderr")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tell = Narrator(sys.stderr if arguments.output == "json" else sys.stdout)
    directory = Path(tempfile.mkdtemp(prefix="breakglass-demo-"))
    try:
        tell.chapter("Starting clusters, forge, runner and agents")
        with running(directory, tell.say, kubeconfig=arguments.kubeconfig) as platform:
            begun = time.monotonic()
            play(platform, tell)
            tell.chapter("Figures")
            for what, figure in tell.figures.items():
                tell.say(f"{figure:>7}  {what}")
            whole, start = time.monotonic() - begun, time.monotonic() - tell.started
            tell.say(f"{whole:5.1f} s  the whole life; {start:.1f} s with the start")
            if arguments.output == "json":
                figures = {
                    "apiVersion": API_VERSION,
                    "kind": "Demo",
                    "figures": tell.figures,
                    "seconds": round(start, 1),
                }
                print(json.dumps(figures, indent=2), flush=True)  # noqa: T201
            if arguments.keep:
                _keep(platform, tell)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
