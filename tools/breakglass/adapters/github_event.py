"""The event that started a workflow, as GitHub's runner leaves it in a file: read strictly, never handed to a shell.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from breakglass.adapters.github_answers import Account, Answer
from breakglass.model.errors import Refused
from breakglass.model.time import Instant
from breakglass.ports import IssueComment

LARGEST_EVENT = 25_000_000
"""Bytes; GitHub caps payloads at 25 MB."""


class _App(Answer):
    id: int


class _Comment(Answer):
    id: int = Field(ge=1)
    user: Account
    body: str
    created_at: Instant
    performed_via_github_app: _App | None = None


class _Issue(Answer):
    number: int = Field(ge=1)


class _Repository(Answer):
    full_name: str


class _Event(Answer):
    action: str
    issue: _Issue
    comment: _Comment
    repository: _Repository


def read_issue_comment(file: Path, repository: str) -> IssueComment:
    """The comment that an `issue_comment` event tells of.

    Args:
        file: what `GITHUB_EVENT_PATH` names.
        repository: owner/name that it must be of.

    Raises:
        Refused: it cannot be read, is no such event, or of another repository.
    """
    remedy = "run this in a workflow on issue_comment"
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_EVENT + 1)
    except OSError as error:
        raise Refused(f"the event cannot be read: {error.strerror}", where=str(file), remedy=remedy) from None
    if len(content) > LARGEST_EVENT:
        raise Refused(f"the event has more than {LARGEST_EVENT} bytes", where=str(file), remedy=remedy)
    try:
        event = _Event.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Refused(f"no issue_comment event: {place}: {first['type']}", where=str(file), remedy=remedy) from None
    if event.repository.full_name.lower() != repository.lower():
        raise Refused(f"the event is not of {repository}", where=str(file), remedy=remedy)
    comment = event.comment
    return IssueComment(
        id=comment.id,
        issue=event.issue.number,
        author=comment.user.login,
        human=comment.user.type == "User" and comment.performed_via_github_app is None,
        created=event.action == "created",
        created_at=comment.created_at,
        body=comment.body,
    )
