"""The forge misbehaves when told to, tells what it was asked, and leaves nothing behind."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from forge_users import Api, Clone

from breakglass_lab.forge import Forge, Organisation

REPO = "/repos/acme/platform"


def test_a_fault_answers_instead_and_is_used_up(forge: Forge, api: Callable[..., Api]) -> None:
    fault = forge.fault(
        "GET", REPO, times=2, skip=1, status=503, headers={"Retry-After": "7"}, body={"message": "busy"}
    )
    answers = [api()("GET", REPO) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert (answers[1].headers["retry-after"], answers[1].json()) == ("7", {"message": "busy"})
    assert fault.hits == 2


def test_a_fault_can_cut_the_line_before_or_after_the_deed(forge: Forge, api: Callable[..., Api]) -> None:
    forge.fault("POST", f"{REPO}/issues", reset=True)
    forge.fault("POST", f"{REPO}/issues", reset=True, performed=True)
    forge.fault("POST", f"{REPO}/issues", status=502, performed=True)
    for title in ("never", "unheard"):
        with pytest.raises(httpx.TransportError):
            api()("POST", f"{REPO}/issues", {"title": title})
    assert api()("POST", f"{REPO}/issues", {"title": "denied"}).status_code == 502
    assert [issue["title"] for issue in api()("GET", f"{REPO}/issues", code=200)] == ["denied", "unheard"]
    assert [route.status for route in forge.routes if route.method == "POST"] == [None, None, 502]


def test_a_race_is_staged_between_two_requests(
    forge: Forge, api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    sha = pull()["head"]["sha"]
    api("bob")("POST", f"{REPO}/pulls/1/reviews", {"event": "APPROVE"}, 200)
    api()("GET", f"{REPO}/pulls/1")
    work = clone()
    forge.fault("PUT", f"{REPO}/pulls/1/merge", before=lambda: work.branch("topic", {"note.txt": "two\n"}))
    assert api()("PUT", f"{REPO}/pulls/1/merge", {"sha": sha}).status_code == 409


def test_faults_strike_git_too_and_can_be_cleared(forge: Forge, clone: Callable[..., Clone]) -> None:
    work = clone()
    forge.fault("GET", "/acme/platform.git/info/refs", times=1000, status=500)
    assert "500" in work.git("fetch", "origin", code=128)
    forge.faults.clear()
    work.git("fetch", "--quiet", "origin")


def test_the_route_log_keeps_requests_as_sent_without_credentials(
    forge: Forge, api: Callable[..., Api], app_token: Callable[..., str]
) -> None:
    token = app_token()
    api(token=token)("POST", f"{REPO}/issues?x=1", {"title": "late"}, 201)
    route = forge.routes[-1]
    assert (route.method, route.path, route.query, route.status) == ("POST", f"{REPO}/issues", {"x": "1"}, 201)
    assert (route.login, route.kind, route.app) == ("acme-breakglass[bot]", "installation", "acme-breakglass")
    assert route.body == b'{"title":"late"}'
    assert token not in str(forge.routes)


def test_many_at_once_are_served(api: Callable[..., Api]) -> None:
    client = api()

    def create(number: int) -> int:
        return int(client("POST", f"{REPO}/issues", {"title": str(number)}, 201)["number"])

    with ThreadPoolExecutor(16) as threads:
        numbers = list(threads.map(create, range(48)))
    assert sorted(numbers) == list(range(1, 49))


def children() -> set[str]:
    """Process ids of this process's children; other tests of it may have left some."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in listed.stdout.splitlines())
    return {pid for pid, parent, command, *_ in rows if parent == str(os.getpid()) and command != "ps"}


def test_closing_leaves_no_thread_and_no_process(tmp_path: Path, organisation: Organisation) -> None:
    before, running = set(threading.enumerate()), children()
    with Forge.start(tmp_path / "another forge", organisation) as forge:
        httpx.get(forge.url)
        url = forge.url
    assert set(threading.enumerate()) <= before
    assert children() <= running
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_closing_cuts_a_client_that_does_not_speak(tmp_path: Path, organisation: Organisation) -> None:
    forge = Forge.start(tmp_path / "another forge", organisation)
    with socket.create_connection(("127.0.0.1", int(forge.url.rpartition(":")[2]))) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\n")
        httpx.get(forge.url)
        forge.close()
        assert silent.recv(1) == b""
