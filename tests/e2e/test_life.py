"""The whole life of one emergency access, driven by the workflow files on a real API server, real git, real expiry."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from emergency import agree, ask
from github_schema import assert_requests_are_githubs

from breakglass_lab.platform import Platform, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

EXPIRE_CRON = "3-58/5 * * * *"
DATA = "networking.k8s.io/v1/networkpolicies"


def conclusions(platform: Platform, since: int) -> set[tuple[str, str | None]]:
    assert platform.runner is not None
    return {(job.workflow.rpartition("/")[2], job.conclusion) for job in platform.runner.runs[since:]}


def ledger(platform: Platform, path: str) -> Any:
    command = ["git", "show", f"breakglass-ledger:{path}"]
    shown = subprocess.run(command, cwd=platform.forge.bare, capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)


def test_one_emergency_from_the_request_to_the_proof_of_baseline(platform: Platform) -> None:
    assert platform.runner is not None
    begin = len(platform.runner.runs)
    before = platform.names("prod-eu", DATA, "data"), platform.names("prod-eu", DATA, "ops")

    request = ask(platform, "db-from-bastion", "--for", "25s")
    identity = request.id
    platform.settle()
    assert ("check.yml", "success") in conclusions(platform, begin)
    comments = platform.call("robin", "GET", f"/issues/{request.number}/comments")
    (page,) = [comment["body"] for comment in comments if "breakglass-check" in comment["body"]]
    opens = (
        "Opens `ops/bastion[Deployment]` → `data/postgres[StatefulSet]` TCP 5432; nothing is red; closes by itself 25s"
    )
    assert f"**The check passed. {opens} after the merge**" in page
    assert "| yes | keeps shut | `shop/web` → `data/postgres` TCP 5432 |" in page
    assert "```mermaid" in page
    assert platform.names("prod-eu", DATA, "data") == before[0], "nothing opens before the merge"

    agree(platform, request, "ines", "dana")
    wait_for(lambda: f"{identity} open" in platform.inventories("prod-eu"), 60, "open")
    assert f"postgres-from-bastion-{identity}" in platform.names("prod-eu", DATA, "data")
    assert platform.inventories("prod-us") == [], "only the cluster asked for opens"

    wait_for(
        lambda: (platform.names("prod-eu", DATA, "data"), platform.names("prod-eu", DATA, "ops")) == before, 60, "shut"
    )
    platform.settle()
    opened = ledger(platform, f"activations/{identity}/prod-eu/opened.json")
    assert opened["approvedBy"] == ["dana", "ines"]

    platform.forge.fire_schedule(EXPIRE_CRON)
    platform.settle()
    closed = ledger(platform, f"activations/{identity}/prod-eu/closed.json")
    assert closed["cause"] == "expired"
    assert closed["closedBy"] == "agent", "the cluster's own key closed it before any workflow ran"
    assert 0 <= closed["lateSeconds"] <= 5
    assert closed["baseline"] == "proven"
    assert platform.inventories("prod-eu") == []
    subject = subprocess.run(
        ["git", "log", "-1", "--format=%an %s", "main"],
        cwd=platform.forge.bare,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.fullmatch(rf"acme-breakglass\[bot\] Close {identity}.*\n", subject), "a closing merged by the App"
    # Skipped: comments that are no command, and reviews of what is merged by now.
    assert {conclusion for _, conclusion in conclusions(platform, begin)} == {"success", "skipped"}
    assert {name for name, conclusion in conclusions(platform, begin) if conclusion == "skipped"} <= {
        "check.yml",
        "comment.yml",
    }

    story = platform.breakglass("robin", "audit", "show", identity, "--output", "json", code=None)
    platform.breakglass("robin", "status")
    told = json.loads(platform.breakglass("robin", "audit", "show", identity, "--output", "json").stdout)
    assert story.returncode in (0, 1)
    assert told["evidence"]["reviews"][0]["state"] == "APPROVED"
    assert told["approvedBy"] == ["dana", "ines"]


def test_a_review_renews_the_apps_check_and_the_comment(platform: Platform) -> None:
    request = ask(platform, "db-from-bastion", "--for", "10s")
    platform.settle()
    assert app_check(platform, request.number) == ("success", "An opening, 0 of 2 approvals")
    platform.approve("ines", request.number)
    platform.settle()
    assert app_check(platform, request.number) == ("success", "An opening, 1 of 2 approvals")
    comments = platform.call("robin", "GET", f"/issues/{request.number}/comments")
    (page,) = [comment["body"] for comment in comments if "breakglass-check" in comment["body"]]
    assert "1 of 2" in page
    assert platform.call("robin", "GET", f"/pulls/{request.number}")["mergeable_state"] != "blocked"
    platform.call("robin", "PATCH", f"/pulls/{request.number}", {"state": "closed"})


def app_check(platform: Platform, number: int) -> tuple[str, str]:
    """Conclusion and title of the App's check run of a pull request's head."""
    head = platform.call("robin", "GET", f"/pulls/{number}")["head"]["sha"]
    found = platform.call("robin", "GET", f"/commits/{head}/check-runs?check_name=breakglass")["check_runs"]
    (run,) = [run for run in found if run["app"]["id"] == platform.app.id]
    return run["conclusion"], run["output"]["title"]


def test_opening_from_a_phone_asks_in_the_name_of_who_started_the_workflow(platform: Platform) -> None:
    assert platform.runner is not None
    begin = len(platform.runner.runs)
    inputs = {
        "overlay": "ingress-to-admin",
        "clusters": "prod-eu",
        "reason": "refund stuck; $(id) `id`",
        "incident": "INC-7",
        "parameters": '{"sourceRange": "198.51.100.0/24"}',
    }
    platform.call("robin", "POST", "/actions/workflows/open.yml/dispatches", {"ref": "main", "inputs": inputs})
    platform.settle()
    told = conclusions(platform, begin) - {("comment.yml", "skipped")}
    assert told == {("open.yml", "success"), ("check.yml", "success")}
    (pull,) = platform.call("robin", "GET", "/pulls?state=open")
    assert pull["user"]["login"] == platform.app.login
    checked = platform.breakglass("robin", "check", "--pull-request", str(pull["number"]), "--output", "json").stdout
    identity = json.loads(checked)["activation"]
    shown = subprocess.run(
        ["git", "show", f"{pull['head']['sha']}:overlays/emergency/activations/{identity}.yaml"],
        cwd=platform.forge.bare,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "requestedBy: robin" in shown
    assert "refund stuck; $(id) `id`" in shown
    kubeconfig = str(platform.kubeconfig("prod-eu"))
    dry_run = ("check", pull["head"]["sha"], "--cluster", "prod-eu", "--kubeconfig", kubeconfig)
    assert "passed" in platform.breakglass("robin", *dry_run).stdout
    platform.call("robin", "PATCH", f"/pulls/{pull['number']}", {"state": "closed"})
    platform.settle()


def test_every_request_so_far_was_one_that_github_knows(platform: Platform) -> None:
    assert_requests_are_githubs(platform.forge.routes)


def test_a_merge_without_the_second_approval_opens_nothing_and_says_so(platform: Platform) -> None:
    request = ask(platform, "db-from-bastion")
    identity = request.id
    platform.settle()
    agree(platform, request, "ines")  # GitHub lets one code owner suffice; the applier does not
    platform.settle()
    assert platform.inventories("prod-eu") == []
    refused = ledger(platform, f"activations/{identity}/prod-eu/refused.json")
    assert refused["findings"][0].startswith("approval-missing: 1 of 2 approvals (ines)")
    platform.breakglass("robin", "close", identity)
    platform.settle()
    assert "no activation" not in platform.breakglass("robin", "audit", "show", identity).stdout
    assert platform.breakglass("robin", "status").stdout == "nothing is open\n"


def test_closing_one_of_two_leaves_the_other_untouched(platform: Platform) -> None:
    requests = [ask(platform, "exec-into-shop"), ask(platform, "exec-into-shop")]
    platform.settle()
    for request in requests:
        agree(platform, request, "ines", "sofia")
    platform.settle()
    first, second = (request.id for request in requests)
    assert platform.inventories("prod-eu") == sorted([f"{first} open", f"{second} open"])
    platform.breakglass("robin", "close", first)
    platform.settle()
    assert platform.inventories("prod-eu") == [f"{second} open"]
    accounts = platform.names("prod-eu", "v1/serviceaccounts", "shop")
    assert f"incident-{second}" in accounts
    assert f"incident-{first}" not in accounts
    assert platform.may("prod-eu", "acme:incident", "create", "pods/exec", "shop")
    platform.breakglass("robin", "close", second)
    platform.settle()
    assert not platform.may("prod-eu", "acme:incident", "create", "pods/exec", "shop")
    assert platform.inventories("prod-eu") == []
