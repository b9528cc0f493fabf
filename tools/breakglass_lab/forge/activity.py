"""Who moved which branch when. https://docs.github.com/en/rest/repos/repos#list-repository-activities."""

import base64
import binascii
from datetime import timedelta
from typing import get_args
from urllib.parse import quote, urlencode

from breakglass_lab.forge import answers
from breakglass_lab.forge.exchange import Answer, Endpoint, Request, invalid
from breakglass_lab.forge.pagination import page_size
from breakglass_lab.forge.repositories import READ, REPO
from breakglass_lab.forge.state import Activity, ActivityType, State

PERIODS = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "quarter": timedelta(days=90),
    "year": timedelta(days=365),
}


def list_activity(state: State, request: Request) -> Answer:
    """GET the moves of branches, newest first unless `direction=asc`, page by page with cursors, never by number."""
    found = _selected(state, request)
    position = {entry.id: index for index, entry in enumerate(found)}
    size = page_size(request)
    first, end = 0, size
    if "after" in request.query:
        first = _place(request, "after", position) + 1
        end = first + size
    elif "before" in request.query:
        end = _place(request, "before", position)
        first = max(0, end - size)
    part = found[first:end]
    cursors = {}
    if part and first > 0:
        cursors["prev"] = ("before", part[0])
    if part and end < len(found):
        cursors["next"] = ("after", part[-1])
    kept = {key: value for key, value in request.query.items() if key not in ("after", "before")}
    url = state.api_url + quote(request.path)
    links = [
        f'<{url}?{urlencode({**kept, key: _cursor(entry)})}>; rel="{name}"' for name, (key, entry) in cursors.items()
    ]
    return Answer(200, [answers.activity(state, entry) for entry in part], {"Link": ", ".join(links)} if links else {})


def _selected(state: State, request: Request) -> list[Activity]:
    query = request.query
    period, kind = query.get("time_period"), query.get("activity_type")
    direction = query.get("direction", "desc")
    if period is not None and period not in PERIODS:
        raise invalid("time_period")
    if kind is not None and kind not in get_args(ActivityType):
        raise invalid("activity_type")
    if direction not in ("asc", "desc"):
        raise invalid("direction")
    ref, actor = query.get("ref"), query.get("actor")
    found = [
        entry
        for entry in state.activities
        if ref in (None, entry.ref, entry.ref.removeprefix("refs/heads/"))
        and (actor is None or actor.lower() == (entry.actor or "").lower())
        and (period is None or entry.at >= state.now() - PERIODS[period])
        and kind in (None, entry.type)
    ]
    return found if direction == "asc" else found[::-1]


def _cursor(entry: Activity) -> str:
    return base64.urlsafe_b64encode(f"v1:{entry.id}".encode()).decode("ascii")


def _place(request: Request, key: str, position: dict[int, int]) -> int:
    """Return where in the list the entry of a cursor stands; Refusal 422 for what is no cursor of this list."""
    try:
        version, _, number = base64.urlsafe_b64decode(request.query[key]).decode("ascii").partition(":")
        place = position.get(int(number)) if version == "v1" else None
    except (binascii.Error, ValueError) as error:
        raise invalid(key) from error
    if place is None:
        raise invalid(key)
    return place


ENDPOINTS = (Endpoint("GET", f"{REPO}/activity", list_activity, READ),)
