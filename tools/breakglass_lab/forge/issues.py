"""Issues and comments; a pull request takes comments as an issue does. https://docs.github.com/en/rest/issues."""

from dataclasses import replace
from typing import Any

from breakglass_lab.forge import answers, payloads
from breakglass_lab.forge.events import Event
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid, not_found
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.state import Comment, Issue, State

COMMENT_LIMIT = 65_536
"""Characters in a body."""


def create(state: State, request: Request) -> Answer:
    """POST an issue."""
    title = request.text("title")
    if not title.strip():
        raise invalid("title", "missing_field", "Issue")
    labels, assignees = tuple(request.texts("labels")), tuple(request.texts("assignees"))
    body = request.text("body") if request.body.get("body") is not None else None
    now = state.now()
    issue = Issue(state.new_id(), state.new_number(), title, body, request.identity.login, labels, assignees, now, now)
    state.issues[issue.number] = issue
    return Answer(201, answers.issue(state, issue))


def _find(state: State, request: Request) -> Issue:
    issue = state.issues.get(request.values["number"])
    if issue is None:
        raise not_found()
    return issue


def get(state: State, request: Request) -> Answer:
    """GET an issue; a pull request is one too."""
    if request.values["number"] in state.pulls:
        return Answer(200, answers.pull_as_issue(state, state.pulls[request.values["number"]]))
    return Answer(200, answers.issue(state, _find(state, request)))


def list_issues(state: State, request: Request) -> Answer:
    """GET the issues in a state, newest first; `labels` (comma separated) must all be there."""
    wanted = request.query.get("state", "open")
    labels = set(filter(None, request.query.get("labels", "").split(",")))
    found = [
        issue
        for issue in reversed(state.issues.values())
        if wanted in ("all", "open" if issue.closed_at is None else "closed") and labels <= set(issue.labels)
    ]
    return Answer(200, [answers.issue(state, issue) for issue in found], items=True)


def update(state: State, request: Request) -> Answer:
    """PATCH title, body or state of an issue."""
    issue = _find(state, request)
    told: dict[str, Any] = {key: request.text(key) for key in ("title", "body") if key in request.body}
    wanted = request.text("state", "open" if issue.closed_at is None else "closed")
    if wanted not in ("open", "closed"):
        raise invalid("state", resource="Issue")
    closed_at = None if wanted == "open" else issue.closed_at or state.now()
    state.issues[issue.number] = replace(issue, **told, closed_at=closed_at, updated_at=state.now())
    return get(state, request)


def _body(request: Request) -> str:
    body = request.text("body")
    if not body.strip() or len(body) > COMMENT_LIMIT:
        raise invalid("body", "custom", "IssueComment", "body is blank or too long")
    return body


def list_comments(state: State, request: Request) -> Answer:
    """GET the comments on an issue or a pull request, oldest first."""
    number = request.values["number"]
    if number not in state.issues and number not in state.pulls:
        raise not_found()
    found = [comment for comment in state.comments.values() if comment.issue == number]
    return Answer(200, [answers.comment(state, comment) for comment in found], items=True)


def create_comment(state: State, request: Request) -> Answer:
    """POST a comment on an issue or a pull request."""
    number = request.values["number"]
    if number not in state.issues and number not in state.pulls:
        raise not_found()
    now = state.now()
    comment = Comment(state.new_id(), number, request.identity.login, _body(request), now, now)
    state.comments[comment.id] = comment
    if number in state.issues:
        state.issues[number] = replace(state.issues[number], updated_at=now)
    _emit(state, payloads.issue_comment(state, comment, "created", request.identity), request)
    return Answer(201, answers.comment(state, comment))


def _emit(state: State, event: Event | None, request: Request) -> None:
    if event is not None:
        state.emit(event, request.identity)


def _find_comment(state: State, request: Request) -> Comment:
    comment = state.comments.get(request.values["comment_id"])
    if comment is None:
        raise not_found()
    return comment


def get_comment(state: State, request: Request) -> Answer:
    """GET a comment."""
    return Answer(200, answers.comment(state, _find_comment(state, request)))


def update_comment(state: State, request: Request) -> Answer:
    """PATCH a comment; its author or somebody who may push."""
    comment = _find_comment(state, request)
    if request.identity.login != comment.author and answers.role_of(state, request.identity) == "read":
        raise Refusal(403, "Must have push access to change somebody else's comment.")
    edited = replace(comment, body=_body(request), updated_at=state.now())
    state.comments[comment.id] = edited
    extra = {"changes": {"body": {"from": comment.body}}}
    _emit(state, payloads.issue_comment(state, edited, "edited", request.identity, extra), request)
    return get_comment(state, request)


ISSUE = f"{REPO}/issues/<int:number>"
COMMENT = f"{REPO}/issues/comments/<int:comment_id>"
READ, WRITE = ("issues", "read"), ("issues", "write")

ENDPOINTS = (
    Endpoint("GET", f"{REPO}/issues", list_issues, READ),
    Endpoint("POST", f"{REPO}/issues", create, WRITE),
    Endpoint("GET", ISSUE, get, READ),
    Endpoint("PATCH", ISSUE, update, WRITE, "write"),
    Endpoint("GET", f"{ISSUE}/comments", list_comments, READ, also="pull_requests"),
    Endpoint("POST", f"{ISSUE}/comments", create_comment, WRITE, also="pull_requests"),
    Endpoint("GET", COMMENT, get_comment, READ, also="pull_requests"),
    Endpoint("PATCH", COMMENT, update_comment, WRITE, also="pull_requests"),
)
