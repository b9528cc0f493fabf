"""Requests to GitHub's REST API: bounded, only GET sent again, every failure one of the product's errors.

Failures: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from breakglass.adapters.github_answers import Answer
from breakglass.adapters.loopback import is_loopback
from breakglass.adapters.retry import Passing, retried
from breakglass.model.errors import BreakglassError, Conflict, NotFound, Refused, Unreachable
from breakglass.ports import Clock

if TYPE_CHECKING:
    from github import GithubException
    from github.Requester import Requester

TIMEOUT = 10
"""Seconds that GitHub has for one answer."""
PATIENCE = timedelta(seconds=20)
"""How long a GET is sent again, its waits included."""
MOST_PAGES = 100
"""Pages of 100 items that a list may have."""
SECONDARY_WAIT = 60.0
"""Seconds to wait after a limit that names no time."""


class NotYet(Unreachable):
    """GitHub says that this cannot be done yet (405), so that surely nothing was done."""


Body = Mapping[str, Any]
Read = TypeVar("Read", bound=Answer)


class GitHubClient:
    """Sends requests with one token.

    Args:
        api: base address of the REST API; https, or http on loopback.
        token: what authorises the requests; it appears in no error.
        clock: what waits between attempts.

    Raises:
        Refused: the address or the token cannot be used.
    """

    def __init__(self, api: str, token: str, clock: Clock) -> None:
        address = urlsplit(api)
        if address.scheme != "https" and not (address.scheme == "http" and is_loopback(address.hostname)):
            raise Refused("a token travels over https only", where=api, remedy="correct forge.api in the policy")
        if not re.fullmatch(r"[!-~]{1,2000}", token):
            raise Refused("there is no usable token for the forge", remedy="set GITHUB_TOKEN to a token of yours")
        self._api = api.rstrip("/")
        self._token = token
        self._clock = clock

    def get(self, path: str, model: type[Read], needs: str) -> Read:
        """One object, parsed.

        Args:
            path: what comes after the base address, beginning with a slash.
            model: what the answer must be.
            needs: the permission that the token needs, for the remedy.

        Raises:
            NotFound, Refused, Unreachable: see `_error`.
        """
        _, data = self._get(path, {}, needs)
        return self.parsed(data, model, path)

    def exists(self, path: str, needs: str) -> bool:
        """Whether GitHub answers yes (204) or no (404) to a question that has no other answer.

        Raises:
            Refused, Unreachable: see `_error`.
        """
        try:
            self._get(path, {}, needs)
        except NotFound:
            return False
        return True

    def list(self, path: str, model: type[Read], needs: str, **parameters: str) -> list[Read]:
        """All items of a list, every page of it, parsed.

        Raises:
            NotFound, Refused, Unreachable: see `_error`.
        """
        items: list[Read] = []
        place = {"page": "1"}
        for page in range(1, MOST_PAGES + 1):
            headers, data = self._get(path, {**parameters, "per_page": "100", **place}, needs)
            if not isinstance(data, list):
                raise Unreachable("GitHub answered no list", where=self._api + path, remedy="run it again")
            items += [self.parsed(item, model, path) for item in data]
            link = headers.get("link", "")
            if 'rel="next"' not in link:
                return items
            # Some lists are paged by a cursor: https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
            cursor = re.search(r'[?&]after=([^&>]+)[^>]*>; rel="next"', link)
            place = {"page": str(page + 1)} if cursor is None else {"after": unquote(cursor[1])}
        raise Refused(f"the list has more than {MOST_PAGES} pages", where=self._api + path)

    def send(self, verb: str, path: str, body: Body, needs: str) -> Any:
        """Change something, in exactly one attempt, and return the answer unparsed (None where it has no body).

        Raises:
            Unreachable: GitHub did not answer or was busy: whether it was done is unknown. 405 is one too.
            Conflict, NotFound, Refused: see `_error`.
        """
        try:
            return self._attempt(verb, path, {}, body, needs)[1]
        except Passing as fault:
            raise Unreachable(str(fault), where=self._api + path, remedy="run it again") from None

    def _get(self, path: str, parameters: Mapping[str, str], needs: str) -> tuple[dict[str, Any], Any]:
        return retried(
            lambda: self._attempt("GET", path, parameters, None, needs),
            self._clock,
            self._clock.now() + PATIENCE,
            self._api + path,
        )

    def _attempt(
        self, verb: str, path: str, parameters: Mapping[str, str], body: Body | None, needs: str
    ) -> tuple[dict[str, Any], Any]:
        from github import GithubException
        from requests import RequestException

        try:
            return self._requester.requestJsonAndCheck(verb, path, parameters=dict(parameters), input=body)
        except GithubException as error:
            raise self._error(error, path, needs) from None
        except RequestException as error:
            raise Passing(f"no answer from {self._api}: {type(error).__name__}") from None
        except (ValueError, AttributeError, RuntimeError):
            # What PyGithub trips over when an answer is not GitHub's.
            raise Passing(f"{self._api} does not answer as GitHub does", answered=True) from None

    @cached_property
    def _requester(self) -> Requester:
        from github import Auth, Github

        return Github(
            auth=Auth.Token(self._token),
            base_url=self._api,
            timeout=TIMEOUT,
            retry=0,
            seconds_between_requests=None,
            seconds_between_writes=None,
            user_agent="breakglass",
            lazy=True,
        ).requester

    def parsed(self, data: Any, model: type[Read], path: str) -> Read:
        """Read an answer into what it must be.

        Raises:
            Unreachable: it is something else; the error names the first field that does not fit.
        """
        try:
            return model.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            message = f"GitHub's answer is not a {model.__name__}: {place}: {first['msg']}"
            raise Unreachable(message, where=self._api + path, remedy="run it again") from None

    def _error(self, error: GithubException, path: str, needs: str) -> BreakglassError | Passing:
        """What a status stands for: limits and 5xx may pass, 401, 403, 404 and 422 are final, 409 is a conflict."""
        status, where = error.status, self._api + path
        headers = {name.lower(): str(value) for name, value in (error.headers or {}).items()}
        words = _words(error.data)
        limited = status in (403, 429) and (
            "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in words.lower()
        )
        if limited or status == 429:
            wait = self._wait(headers)
            return Passing(f"GitHub limits requests: {words}; wait {wait:.0f} s", retry_after=wait, answered=True)
        if status >= 500:
            wait = self._wait(headers) if "retry-after" in headers else 0.0
            asked = f"; wait {wait:.0f} s" if wait else ""
            return Passing(f"GitHub is out of order: {status} {words}{asked}", retry_after=wait, answered=True)
        if status == 401:
            return Refused(f"GitHub does not accept the token: {words}", where=where, remedy="renew the token")
        if status == 403:
            remedy = f"give the token the permission {needs}"
            return Refused(f"the token has no right to this: {words}", where=where, remedy=remedy)
        if status == 404:
            remedy = f"correct the name, or give the token the permission {needs}"
            return NotFound(f"GitHub finds nothing here, or hides it: {words}", where=where, remedy=remedy)
        if status == 405:
            # Answered to a merge that is not possible yet; it passes once mergeability and checks are known.
            return NotYet(f"GitHub does not merge this yet: {words}", where=where, remedy="run it again")
        if status == 409:
            return Conflict(f"GitHub says somebody was first: {words}", where=where, remedy="run it again")
        return Refused(f"GitHub refuses: {status} {words}", where=where)

    def _wait(self, headers: Mapping[str, str]) -> float:
        """Seconds to wait: `retry-after`, then `x-ratelimit-reset`, then a minute."""
        if re.fullmatch(r"\d{1,6}", headers.get("retry-after", ""), re.ASCII):
            return float(headers["retry-after"])
        if re.fullmatch(r"\d{1,12}", headers.get("x-ratelimit-reset", ""), re.ASCII):
            return max(1.0, float(headers["x-ratelimit-reset"]) - self._clock.now().timestamp())
        return SECONDARY_WAIT


def _words(data: Any) -> str:
    """GitHub's own words in an error: its message, and those of its single errors, on one printable line."""
    found: list[Any] = []
    if isinstance(data, Mapping):
        errors = data.get("errors")
        found = [data.get("message"), *(errors if isinstance(errors, list) else [])]
    words = [item.get("message") or item.get("code") if isinstance(item, Mapping) else item for item in found]
    line = "; ".join(re.sub(r"\s+", " ", word) for word in words if isinstance(word, str) and word)
    return "".join(character if character.isprintable() else "?" for character in line)[:500] or "no reason given"
