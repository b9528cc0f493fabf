"""The REST API: the route table, and what is the same for every endpoint: versions, limits, pages, errors."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from breakglass_lab.forge import (
    actions,
    activity,
    apps,
    checks,
    files,
    issues,
    merging,
    meta,
    pagination,
    people,
    pulls,
    repositories,
    reviews,
    rules,
    settings,
)
from breakglass_lab.forge.access import authorise
from breakglass_lab.forge.exchange import Answer, Endpoint, Identity, Refusal, Request, not_found
from breakglass_lab.forge.state import State

if TYPE_CHECKING:
    from breakglass_lab.forge.server import Incoming

Sent = tuple[int, list[tuple[str, str]], bytes]

VERSIONS = ("2022-11-28", "2026-03-10")
REMOVED = ("assignee", "merge_commit_sha", "rate")
"""Fields that answers of the later version have no more:
https://docs.github.com/en/rest/about-the-rest-api/breaking-changes.
"""
DOCUMENTATION = "https://docs.github.com/rest"

ENDPOINTS: tuple[Endpoint, ...] = (
    *meta.ENDPOINTS,
    *people.ENDPOINTS,
    *apps.ENDPOINTS,
    *repositories.ENDPOINTS,
    *files.ENDPOINTS,
    *pulls.ENDPOINTS,
    *reviews.ENDPOINTS,
    *merging.ENDPOINTS,
    *checks.ENDPOINTS,
    *issues.ENDPOINTS,
    *actions.ENDPOINTS,
    *activity.ENDPOINTS,
    *rules.ENDPOINTS,
    *settings.ENDPOINTS,
)


class Rest:
    """Answers REST requests from the route table."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._request_ids = count(1)
        self._map = Map(
            [Rule(endpoint.rule, methods=[endpoint.method], endpoint=endpoint) for endpoint in ENDPOINTS],
            strict_slashes=False,
            merge_slashes=False,
        )

    def serve(self, incoming: "Incoming", identity: Identity) -> Sent:
        """Return status, headers and body for a request; Refusal for what GitHub refuses."""
        version = incoming.headers.get("x-github-api-version", VERSIONS[0])
        if version not in VERSIONS:
            raise Refusal(400, f"API version {version} is not supported.")
        endpoint, values = self._match(incoming)
        with self._state.lock:
            authorise(self._state, identity, endpoint, values)
            meta.count(self._state, identity)
            request = Request(
                incoming.method, incoming.path, identity, values, incoming.query, incoming.headers, _body(incoming.body)
            )
            answer = endpoint.handler(self._state, request)
            headers = self._headers(identity, version, endpoint)
        return self._send(answer if version == VERSIONS[0] else _later(answer), request, headers)

    def refuse(self, refusal: Refusal, identity: Identity) -> Sent:
        """Return status, headers and body of an error."""
        body: dict[str, Any] = {"message": refusal.message}
        if refusal.errors is not None:
            body["errors"] = refusal.errors
        body |= {"documentation_url": DOCUMENTATION, "status": str(refusal.status)}
        with self._state.lock:
            headers = self._headers(identity, VERSIONS[0], None)
        return refusal.status, list(headers.items()), json.dumps(body).encode()

    def _match(self, incoming: "Incoming") -> tuple[Endpoint, Mapping[str, Any]]:
        try:
            endpoint, values = self._map.bind("").match(incoming.path, incoming.method)
        except HTTPException as error:
            raise not_found() from error
        return endpoint, values

    def _headers(self, identity: Identity, version: str, endpoint: Endpoint | None) -> dict[str, str]:
        needed = endpoint.permission if endpoint is not None else None
        return {
            "Content-Type": "application/json; charset=utf-8",
            "X-GitHub-Api-Version-Selected": version,
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": f"0B:{next(self._request_ids):X}",
            **meta.limit_headers(self._state, identity),
            **({"X-Accepted-GitHub-Permissions": "=".join(needed)} if needed is not None else {}),
        }

    def _send(self, answer: Answer, request: Request, headers: dict[str, str]) -> Sent:
        body, link = pagination.page(answer, request, self._state.api_url)
        headers |= {**answer.headers, **link}
        if body is None:
            del headers["Content-Type"]
            return answer.status, list(headers.items()), b""
        encoded = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        return answer.status, list(headers.items()), encoded


def _later(answer: Answer) -> Answer:
    """Return an answer as the later API version gives it: without the fields it removed."""

    def shorten(value: Any) -> Any:
        return {k: v for k, v in value.items() if k not in REMOVED} if isinstance(value, dict) else value

    body = list(map(shorten, answer.body)) if isinstance(answer.body, list) else shorten(answer.body)
    return replace(answer, body=body)


def _body(raw: bytes) -> Mapping[str, Any]:
    if not raw.strip():
        return {}
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "Problems parsing JSON") from error
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise Refusal(422, "Invalid request.\n\nFor 'links/0/schema', the request body is not an object.")
    return parsed
