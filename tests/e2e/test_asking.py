"""Where people ask: a comment opens, extends and closes through the workflow files; alone it opens within bounds."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from emergency import Request, agree, ask
from github_schema import assert_requests_are_githubs

from breakglass_lab.forge import User
from breakglass_lab.platform import Platform, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

OPEN = "/breakglass open db-from-bastion on prod-eu for 15m because INC-4211 checkout is down"
HOSTILE = "$(touch PWNED) `touch PWNED` ; touch PWNED ' \" | ${IFS} * && touch PWNED #"
"""Words that a shell would act upon; PWNED becomes a path outside of every work directory."""


@pytest.fixture(scope="module")
def thread(platform: Platform) -> int:
    """An issue that people talk under."""
    return int(platform.call("robin", "POST", "/issues", {"title": "INC-4211", "body": "checkout is down"})["number"])


def say(platform: Platform, thread: int, body: str, login: str = "robin") -> list[str]:
    """Comment, and return what was answered once the workflow is through."""
    before = len(_comments(platform, thread))
    platform.call(login, "POST", f"/issues/{thread}/comments", {"body": body})
    platform.settle()
    return [comment["body"] for comment in _comments(platform, thread)[before + 1 :]]


def _comments(platform: Platform, thread: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.call("robin", "GET", f"/issues/{thread}/comments?per_page=100")
    return found


def newest(platform: Platform) -> Request:
    """The opening pull request that was made last, and the id of its activation."""
    pull = platform.call("robin", "GET", "/pulls?state=open")[0]
    assert pull["user"]["login"] == platform.app.login
    return Request(pull["head"]["ref"].removeprefix("breakglass/open/"), pull["number"])


def file_of(platform: Platform, request: Request) -> str:
    command = ["git", "show", f"refs/pull/{request.number}/head:overlays/emergency/activations/{request.id}.yaml"]
    return subprocess.run(command, cwd=platform.forge.bare, capture_output=True, text=True, check=True).stdout


def log_of(platform: Platform, workflow: str) -> str:
    assert platform.runner is not None
    return "\n".join(
        job.log.read_text(encoding="utf-8") for job in platform.runner.runs if job.workflow.endswith(f"/{workflow}")
    )


def pwned(platform: Platform) -> Path:
    return platform.directory.parent / "pwned"


def test_a_comment_opens_extends_tells_and_closes(platform: Platform, thread: int) -> None:
    (answer,) = say(platform, thread, f"{OPEN}\r\n\r\nplease")
    request = newest(platform)
    assert f"/pull/{request.number}" in answer
    assert "requestedBy: robin" in file_of(platform, request)
    agree(platform, request, "ines", "dana")
    platform.settle()
    assert platform.inventories("prod-eu") == [f"{request.id} open"]

    (answer,) = say(platform, thread, f"/breakglass extend {request.id} for 20m because it takes longer", "pat")
    longer = newest(platform)
    assert f"prolonging `{request.id}`" in answer
    assert f"extends: {request.id}" in file_of(platform, longer)
    agree(platform, longer, "ines", "dana")
    platform.settle()
    assert platform.inventories("prod-eu") == sorted([f"{request.id} open", f"{longer.id} open"])

    (answer,) = say(platform, thread, "/breakglass status")
    assert f"| `{longer.id}` | `prod-eu` | open |" in answer
    for identity in (request.id, longer.id):
        (answer,) = say(platform, thread, f"/breakglass close {identity} because it is solved", "sofia")
        assert f"Closing `{identity}`" in answer
    wait_for(lambda: platform.inventories("prod-eu") == [], 60, "shut")


def test_what_is_no_command_gets_no_answer(platform: Platform, thread: int) -> None:
    for body in ("thanks!", f"> {OPEN}", f"```\n{OPEN}\n```"):
        assert say(platform, thread, body) == []


def test_a_stranger_is_told_no_and_nothing_is_opened(platform: Platform, thread: int) -> None:
    organisation = platform.forge.state.organisation
    rights = {name: {**held, "@mallory": "read"} for name, held in organisation.rights.items()}
    stranger = User("mallory", "Mallory", "mallory@example.com", outside=True)
    platform.forge.state.organisation = replace(organisation, users=(*organisation.users, stranger), rights=rights)
    before = len(platform.call("robin", "GET", "/pulls?state=all"))
    (answer,) = say(platform, thread, OPEN, "mallory")
    assert "mallory may not push to this repository" in answer
    assert len(platform.call("robin", "GET", "/pulls?state=all")) == before


@pytest.mark.parametrize(
    "line",
    [
        f"/breakglass {HOSTILE}",
        f"/breakglass open {HOSTILE}",
        f"/breakglass open db-from-bastion on {HOSTILE} because INC-1 x",
        f"/breakglass open db-from-bastion on prod-eu for {HOSTILE} because INC-1 x",
        f"/breakglass open db-from-bastion with a={HOSTILE} because INC-1 x",
        f"/breakglass extend {HOSTILE} for 30m because x",
        f"/breakglass close {HOSTILE}",
    ],
)
def test_metacharacters_of_a_shell_are_words(platform: Platform, thread: int, line: str) -> None:
    (answer,) = say(platform, thread, line.replace("PWNED", str(pwned(platform))))
    assert answer.startswith("Nothing was done: `word ")
    assert not pwned(platform).exists()


def test_metacharacters_in_a_reason_stand_in_the_file_as_they_are(platform: Platform, thread: int) -> None:
    words = HOSTILE.replace("PWNED", str(pwned(platform)))
    (answer,) = say(platform, thread, f"{OPEN} {words}")
    assert "Asked in" in answer
    request = newest(platform)
    written = yaml.safe_load(file_of(platform, request))
    assert written["spec"]["reason"] == f"checkout is down {words}"
    assert not pwned(platform).exists()
    platform.call("robin", "PATCH", f"/pulls/{request.number}", {"state": "closed"})


def test_nobody_there_and_it_opens_all_the_same_loudly(platform: Platform) -> None:
    request = ask(platform, "db-from-bastion", "--for", "10m", "--solo")
    platform.settle(180)
    assert platform.call("robin", "GET", f"/pulls/{request.number}")["merged"]
    assert platform.inventories("prod-eu") == [f"{request.id} open"]
    (issue,) = [
        issue for issue in platform.call("robin", "GET", "/issues?labels=breakglass") if "alone" in issue["title"]
    ]
    assert "`robin` opens `db-from-bastion`" in issue["body"]
    platform.breakglass("robin", "close", request.id)
    platform.settle()
    assert platform.inventories("prod-eu") == []

    platform.breakglass("robin", "review", request.id, "--summary", "x", code=1)
    platform.breakglass("sofia", "review", request.id, "--summary", "right to open", "--follow-up", "two on call")
    platform.settle()
    pulls = platform.call("robin", "GET", "/pulls?state=open")
    (review,) = [pull for pull in pulls if pull["head"]["ref"].startswith("breakglass/review/")]
    platform.approve("pat", review["number"])
    platform.merge("pat", review["number"])
    platform.settle()
    path = f"main:overlays/emergency/reviews/{request.id}.yaml"
    shown = subprocess.run(["git", "show", path], cwd=platform.forge.bare, capture_output=True, text=True, check=True)
    assert yaml.safe_load(shown.stdout)["spec"]["reviewedBy"] == "sofia"


def test_alone_beyond_the_policy_is_not_merged_whoever_starts_the_workflow(platform: Platform) -> None:
    platform.breakglass("robin", "open", "db-from-bastion", "--cluster=prod-eu", "--for=20m", "--solo",
                        "--because=x", "--incident=INC-1", code=1)  # fmt: skip
    request = ask(platform, "db-from-bastion")
    inputs = {"pull-request": str(request.number)}
    platform.call("robin", "POST", "/actions/workflows/solo.yml/dispatches", {"ref": "main", "inputs": inputs})
    platform.settle()
    assert not platform.call("robin", "GET", f"/pulls/{request.number}")["merged"]
    assert "is no request to open alone" in log_of(platform, "solo.yml")
    platform.call("robin", "PATCH", f"/pulls/{request.number}", {"state": "closed"})


def test_every_request_of_these_was_one_that_github_knows(platform: Platform) -> None:
    assert_requests_are_githubs(platform.forge.routes)
