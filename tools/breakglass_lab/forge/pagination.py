"""Pages of lists. https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api."""

from typing import Any
from urllib.parse import quote, urlencode

from breakglass_lab.forge.exchange import Answer, Request

PAGE_SIZE, PAGE_LIMIT = 30, 100


def page_size(request: Request) -> int:
    """Return how many items a page holds, as the request asks."""
    return min(_number(request, "per_page", PAGE_SIZE), PAGE_LIMIT)


def page(answer: Answer, request: Request, api_url: str) -> tuple[Any, dict[str, str]]:
    """Return the part of a list a request asks for, and the Link header that leads to the others."""
    if answer.items is False:
        return answer.body, {}
    items = answer.body if answer.items is True else answer.body[answer.items]
    size = page_size(request)
    page, last = _number(request, "page", 1), max(1, -(-len(items) // size))
    part = items[(page - 1) * size : page * size]
    targets = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    if page <= 1:
        del targets["prev"], targets["first"]
    if page >= last:
        del targets["next"], targets["last"]
    url = api_url + quote(request.path)
    links = [
        f'<{url}?{urlencode({**request.query, "page": number})}>; rel="{name}"' for name, number in targets.items()
    ]
    body = part if answer.items is True else {**answer.body, answer.items: part}
    return body, {"Link": ", ".join(links)} if links else {}


def _number(request: Request, key: str, default: int) -> int:
    text = request.query.get(key, "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else default
