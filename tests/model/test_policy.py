"""The policy: where it stands on its own, apart from any overlay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.policy import Policy
from laws import example


def policy(forge: dict[str, Any] | None = None, **spec: Any) -> Policy:
    data = example.policy()
    data["spec"] |= spec
    data["spec"]["forge"] |= forge or {}
    return read(json.dumps(data, indent=1).encode(), "breakglass.yaml", Policy)


@pytest.mark.parametrize(
    "forge",
    [{"ledgerBranch": "main"}, {"defaultBranch": "breakglass-ledger"}, {"defaultBranch": "x", "ledgerBranch": "x"}],
)
def test_the_ledger_has_a_branch_of_its_own(forge: dict[str, Any]) -> None:
    with pytest.raises(InvalidFile, match="the ledger needs a branch of its own"):
        policy(forge)


@pytest.mark.parametrize(
    "api",
    [
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "http://[",
        "https://api.example.com/\n",
        "https://api.example.com/a b",
        "https://api.example.com/?a=b",
        "//api.example.com",
        "",
    ],
)
def test_nothing_that_looks_like_loopback_is_spoken_to_in_the_clear(api: str) -> None:
    with pytest.raises(InvalidFile):
        policy({"api": api})


def test_every_complaint_about_a_policy_is_told_with_its_line() -> None:
    with pytest.raises(InvalidFile) as caught:
        policy(requestTimeToLive="soon", kinds=[], clusters={"prod-eu": {"baseline": "../base"}})
    told = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert told == ["spec.clusters.prod-eu.baseline", "spec.requestTimeToLive", "spec.kinds"]


@pytest.mark.parametrize(("length", "accepted"), [("24h", True), ("24h1s", False), ("7s", True)])
def test_a_request_lives_a_day_at_most(length: str, accepted: bool) -> None:
    if accepted:
        policy(requestTimeToLive=length)
    else:
        with pytest.raises(InvalidFile, match="at most 24h"):
            policy(requestTimeToLive=length)
