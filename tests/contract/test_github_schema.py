"""The judge of requests refuses what GitHub would not know."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from github_schema import NotGitHub, assert_requests_are_githubs, check_answer, check_request

from breakglass_lab.forge import Route

REPO = "/repos/acme/platform"
MERGE = Route(
    method="PUT",
    path=f"{REPO}/pulls/1/merge",
    query={},
    status=200,
    login="ann",
    kind="user",
    app=None,
    headers={},
    body=b'{"sha":"abc","merge_method":"merge"}',
    at=datetime(2026, 11, 23, tzinfo=UTC),
    api=True,
)


@pytest.mark.parametrize(
    "route",
    [
        MERGE,
        replace(MERGE, body=b""),
        replace(MERGE, method="GET", path=f"{REPO}/pulls", query={"head": "acme:x", "page": "2"}, body=b""),
        replace(MERGE, method="GET", path=f"{REPO}/contents/a/b/c.yaml", query={"ref": "main"}, body=b""),
        replace(MERGE, headers={"x-github-api-version": "2026-03-10"}),
    ],
)
def test_githubs_requests_pass(route: Route) -> None:
    check_request(route)


@pytest.mark.parametrize(
    "route",
    [
        replace(MERGE, body=b'{"sha":"abc","method":"merge"}'),
        replace(MERGE, body=b'{"sha":1}'),
        replace(MERGE, body=b'{"merge_method":"octopus"}'),
        replace(MERGE, body=b"{"),
        replace(MERGE, method="POST"),
        replace(MERGE, path=f"{REPO}/pulls/1/merges"),
        replace(MERGE, query={"force": "true"}),
        replace(MERGE, headers={"x-github-api-version": "2027-01-01"}),
        replace(MERGE, method="POST", path=f"{REPO}/pulls", body=b'{"title":"x","head":"y"}'),
        replace(MERGE, method="DELETE", path=f"{REPO}/git/refs/heads/x", body=b'{"force":true}'),
    ],
)
def test_others_do_not(route: Route) -> None:
    with pytest.raises(NotGitHub):
        check_request(route)
    with pytest.raises(AssertionError):
        assert_requests_are_githubs([MERGE, route])


def test_git_traffic_is_not_judged() -> None:
    assert_requests_are_githubs([replace(MERGE, path="/acme/platform.git/info/refs", api=False)])


@pytest.mark.parametrize(
    "answer",
    [
        b'{"merged":true,"message":"x"}',
        b'{"sha":"x","merged":1,"message":""}',
        b'{"sha":"x","merged":true,"message":"","at":""}',
    ],
)
def test_an_answer_with_a_field_missing_wrong_or_unknown_is_found(answer: bytes) -> None:
    check_answer("2022-11-28", "PUT", MERGE.path, b'{"sha":"x","merged":true,"message":""}')
    with pytest.raises(NotGitHub):
        check_answer("2022-11-28", "PUT", MERGE.path, answer)
