"""The GraphQL operations that `gh pr create`, `list` and `view` send, known by name; any other is refused, not guessed.

An answer holds every field these commands know, whatever a query selects: gh takes what it asked for.
https://docs.github.com/en/graphql
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from breakglass_lab.forge import answers, pulls
from breakglass_lab.forge.access import authorise
from breakglass_lab.forge.exchange import Identity, Refusal, Request
from breakglass_lab.forge.state import DEFAULT_BRANCH, CheckRun, PullRequest, Review, State, node_id

Variables = Mapping[str, Any]
Json = dict[str, Any]

FILTERS = (("headBranch", "headRefName"), ("state", "states"))
"""What the list of pull requests and the search for those of a branch call the same variables."""

PERMISSIONS = {"read": "READ", "write": "WRITE", "admin": "ADMIN", None: None}


def serve(state: State, raw: bytes, identity: Identity) -> Json:
    """Return the answer to a GraphQL request: `data`, or GraphQL's `errors` (status 200); Refusal 400, 401."""
    if identity.kind not in ("user", "installation", "workflow"):
        raise Refusal(401, "This endpoint requires you to be authenticated.")
    try:
        request = json.loads(raw)
        types = re.findall(r"(\w+)\s*:\s*__type\(", request["query"])
        name = re.search(r"\b(?:query|mutation)\s+(\w+)", request["query"])
        variables = request.get("variables") or {}
        operation = OPERATIONS.get(name[1]) if name is not None else None
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(400, "Problems parsing JSON") from error
    if types:
        # gh asks which fields a type has, to leave out those that an older server lacks: none of them is here.
        return {"data": {alias: {"fields": []} for alias in types}}
    if operation is None:
        return _errors("NOT_IMPLEMENTED", "this forge answers no such operation")
    with state.lock:
        try:
            return {"data": operation(state, variables, identity)}
        except Refusal as refusal:
            return _errors("FORBIDDEN" if refusal.status == 403 else "UNPROCESSABLE", _told(refusal))


def _errors(kind: str, message: str) -> Json:
    return {"data": None, "errors": [{"type": kind, "path": [], "message": message}]}


def _told(refusal: Refusal) -> str:
    first = refusal.errors[0] if refusal.errors else None
    return str(first.get("message", first)) if isinstance(first, dict) else refusal.message


def _request(state: State, identity: Identity, body: Mapping[str, Any], method: str = "GET") -> Request:
    """Return the REST request that the operation amounts to, after checking that the identity may send it."""
    values = {"owner": state.organisation.login, "repo": state.repository}
    endpoint = next(e for e in pulls.ENDPOINTS if (e.method, e.rule) == (method, pulls.PULLS))
    authorise(state, identity, endpoint, values)
    return Request(method, "/graphql", identity, values, {}, {}, body)


def _repository_info(state: State, variables: Variables, identity: Identity) -> Json:
    _request(state, identity, variables)
    shown = answers.repository(state)
    return {
        "repository": {
            "id": shown["node_id"],
            "databaseId": shown["id"],
            "name": state.repository,
            "owner": {"login": state.organisation.login},
            "sshUrl": shown["ssh_url"],
            "description": state.description or "",
            "hasIssuesEnabled": True,
            "hasWikiEnabled": False,
            "viewerPermission": PERMISSIONS[answers.role_of(state, identity)],
            "defaultBranchRef": {"name": DEFAULT_BRANCH},
            "parent": None,
            "mergeCommitAllowed": True,
            "rebaseMergeAllowed": False,
            "squashMergeAllowed": True,
        }
    }


def _list(state: State, variables: Variables, identity: Identity) -> Json:
    _request(state, identity, variables)
    base = variables.get("baseBranch")
    head, wanted = (variables.get(one, variables.get(other)) for one, other in FILTERS)
    found = [
        pull
        for pull in reversed(state.pulls.values())
        if base in (None, "", pull.base_ref)
        and head in (None, "", pull.head_ref)
        and (not wanted or _state(pull) in wanted)
    ]
    shown = [_pull(state, pull) for pull in found[: int(variables.get("limit") or 30)]]
    return {"repository": {"pullRequests": {**_connection(shown), "totalCount": len(found)}}}


def _by_number(state: State, variables: Variables, identity: Identity) -> Json:
    _request(state, identity, variables)
    pull = state.pulls.get(variables["pr_number"])
    if pull is None:
        raise Refusal(404, f"Could not resolve to a PullRequest with the number of {variables['pr_number']}.")
    return {"repository": {"pullRequest": _pull(state, pull)}}


def _no_project_items(state: State, variables: Variables, identity: Identity) -> Json:
    _request(state, identity, variables)
    return {"repository": {"pullRequest": {"projectItems": _connection([])}}}


def _create(state: State, variables: Variables, identity: Identity) -> Json:
    told = variables["input"]
    body = {"title": told["title"], "body": told.get("body"), "draft": told.get("draft", False)}
    body |= {"base": told["baseRefName"], "head": told["headRefName"]}
    created = pulls.create(state, _request(state, identity, body, "POST")).body
    return {"createPullRequest": {"pullRequest": {"id": created["node_id"], "url": created["html_url"]}}}


OPERATIONS: Mapping[str, Callable[[State, Variables, Identity], Json]] = {
    "RepositoryInfo": _repository_info,
    "PullRequestList": _list,
    "PullRequestForBranch": _list,
    "PullRequestByNumber": _by_number,
    "PullRequestProjectItems": _no_project_items,
    "PullRequestCreate": _create,
}


def _connection(nodes: list[Json]) -> Json:
    return {"nodes": nodes, "totalCount": len(nodes), "pageInfo": {"hasNextPage": False, "endCursor": None}}


def _state(pull: PullRequest) -> str:
    return "MERGED" if pull.merged_at is not None else "OPEN" if pull.open else "CLOSED"


def _person(login: str) -> Json:
    return {"__typename": "User", "id": node_id("User", login), "login": login, "name": login}


def _pull(state: State, pull: PullRequest) -> Json:
    owner = state.organisation.login
    teams = [
        {"__typename": "Team", "organization": {"login": owner}, "name": slug, "slug": slug}
        for slug in pull.requested_teams
    ]
    asked = [*map(_person, pull.requested_users), *teams]
    comments = [comment for comment in state.comments.values() if comment.issue == pull.number]
    files = pulls.files_of(state, pull)
    mergeable = pulls.know_mergeability(state, pull) and pull.open
    checks = [_check(state, run) for run in state.check_runs.values() if run.head_sha == pull.head_sha]
    rollup = {"contexts": _connection(checks)} if checks else None
    return {
        "id": node_id("PullRequest", pull.id),
        "url": f"{state.html_url}/pull/{pull.number}",
        "number": pull.number,
        "title": pull.title,
        "state": _state(pull),
        "body": pull.body or "",
        "author": _person(pull.author),
        "autoMergeRequest": None,
        "isDraft": pull.draft,
        "maintainerCanModify": False,
        "mergeable": ("MERGEABLE" if pulls.mergeable(state, pull) else "CONFLICTING") if mergeable else "UNKNOWN",
        "additions": sum(file.additions for file in files),
        "deletions": sum(file.deletions for file in files),
        "commits": {"totalCount": sum(1 for _ in state.bare.log(f"{pull.merge_base}..{pull.head_sha}"))},
        "baseRefName": pull.base_ref,
        "headRefName": pull.head_ref,
        "headRepositoryOwner": {"id": node_id("Organization", owner), "login": owner},
        "headRepository": {"id": "", "name": state.repository, "nameWithOwner": state.full_name},
        "isCrossRepository": False,
        "reviewRequests": _connection([{"requestedReviewer": one} for one in asked]),
        "reviews": _connection([_review(state, review) for review in pull.reviews if review.state != "PENDING"]),
        "assignees": _connection([]),
        "labels": _connection([]),
        "projectCards": _connection([]),
        "milestone": None,
        "comments": _connection([_comment(state, comment.id) for comment in comments]),
        "reactionGroups": [],
        "createdAt": answers.stamp(pull.created_at),
        "statusCheckRollup": {"nodes": [{"commit": {"statusCheckRollup": rollup}}]},
    }


def _review(state: State, review: Review) -> Json:
    return {
        "id": node_id("PullRequestReview", review.id),
        "author": {"login": review.login},
        "authorAssociation": answers.association(state, review.login),
        "submittedAt": answers.stamp(review.submitted_at),
        "body": review.body,
        "state": review.state,
        "commit": {"oid": review.commit_id},
        "reactionGroups": [],
    }


def _comment(state: State, identifier: int) -> Json:
    comment = state.comments[identifier]
    return {
        "id": node_id("IssueComment", identifier),
        "author": _person(comment.author),
        "authorAssociation": answers.association(state, comment.author),
        "body": comment.body,
        "createdAt": answers.stamp(comment.created_at),
        "includesCreatedEdit": False,
        "isMinimized": False,
        "minimizedReason": "",
        "reactionGroups": [],
        "url": answers.comment(state, comment)["html_url"],
        "viewerDidAuthor": False,
    }


def _check(state: State, run: CheckRun) -> Json:
    workflow = state.runs[run.run_id].name if run.run_id is not None else ""
    return {
        "__typename": "CheckRun",
        "name": run.name,
        "checkSuite": {"workflowRun": {"workflow": {"name": workflow}}},
        "status": run.status.upper(),
        "conclusion": (run.conclusion or "").upper(),
        "startedAt": answers.stamp(run.started_at),
        "completedAt": answers.optional_stamp(run.completed_at),
        "detailsUrl": run.details_url or "",
    }
