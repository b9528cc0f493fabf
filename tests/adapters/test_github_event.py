"""The event of a comment: read strictly from its file, in GitHub's own shape, and refused where it is anything else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from breakglass.adapters import github_event
from breakglass.adapters.github_event import read_issue_comment
from breakglass.model.errors import Refused


def event(**fields: Any) -> dict[str, Any]:
    """As GitHub sends it: far more fields than are needed."""
    return {
        "action": "created",
        "issue": {"number": 7, "title": "down", "user": {"login": "robin", "id": 1, "type": "User"}},
        "comment": {
            "id": 4711,
            "node_id": "IC_x",
            "user": {"login": "robin", "id": 1, "type": "User", "site_admin": False},
            "body": "/breakglass status",
            "created_at": "2026-11-23T02:13:00Z",
            "author_association": "MEMBER",
            "performed_via_github_app": None,
        },
        "repository": {"id": 5, "full_name": "acme/platform"},
        "sender": {"login": "robin", "id": 1, "type": "User"},
    } | fields


def commented(**fields: Any) -> dict[str, Any]:
    return event(comment=event()["comment"] | fields)


def written(tmp_path: Path, data: Any) -> Path:
    file = tmp_path / "event.json"
    file.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return file


def test_what_is_needed_is_read(tmp_path: Path) -> None:
    comment = read_issue_comment(written(tmp_path, event()), "Acme/Platform")
    assert (comment.id, comment.issue, comment.author) == (4711, 7, "robin")
    assert comment.human
    assert comment.created
    assert comment.created_at == datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
    assert comment.body == "/breakglass status"
    assert "status" not in repr(comment)


@pytest.mark.parametrize(
    ("data", "human", "created"),
    [
        (event(action="edited"), True, False),
        (event(action="deleted"), True, False),
        (commented(user={"login": "ci[bot]", "id": 2, "type": "Bot"}), False, True),
        (commented(user={"login": "acme", "id": 2, "type": "Organization"}), False, True),
        (commented(performed_via_github_app={"id": 9, "slug": "chat"}), False, True),
    ],
    ids=["edited", "deleted", "bot", "organisation", "through an app"],
)
def test_who_wrote_it_and_what_happened_to_it_is_told(
    tmp_path: Path, data: dict[str, Any], human: bool, created: bool
) -> None:
    comment = read_issue_comment(written(tmp_path, data), "acme/platform")
    assert (comment.human, comment.created) == (human, created)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        event(action=1),
        event(issue={}),
        event(issue={"number": "7"}),
        event(issue={"number": 0}),
        event(comment=None),
        event(repository={"full_name": "mallory/platform"}),
        event(repository=None),
        commented(id=True),
        commented(id="4711"),
        commented(body=None),
        commented(body=["/breakglass status"]),
        commented(user=None),
        commented(user={"login": "robin\n", "id": 1, "type": "User"}),
        commented(user={"login": "$(id)", "id": 1, "type": "User"}),
        commented(created_at="now"),
        commented(created_at="2026-11-23T02:13:00"),
    ],
)
def test_anything_else_is_refused_without_a_word_of_it(tmp_path: Path, data: Any) -> None:
    with pytest.raises(Refused) as caught:
        read_issue_comment(written(tmp_path, data), "acme/platform")
    assert "$(id)" not in str(caught.value)
    assert "/breakglass" not in str(caught.value)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        read_issue_comment(tmp_path / "none.json", "acme/platform")
    monkeypatch.setattr(github_event, "LARGEST_EVENT", 10)
    with pytest.raises(Refused, match="more than 10 bytes"):
        read_issue_comment(written(tmp_path, event()), "acme/platform")
