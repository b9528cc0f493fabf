"""A watch that ends exactly when it should: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Event, Timer
from typing import Any

import urllib3

from breakglass.adapters.kubernetes_answers import error_of, read_answer
from breakglass.adapters.kubernetes_http import LARGEST_ANSWER, Request, Server
from breakglass.adapters.retry import Passing
from breakglass.model.errors import BreakglassError

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 150.0
"""A bookmark comes every minute or so; a connection without one is dead, whatever the sockets say."""
_CHUNK = 65_536
_KINDS = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}


class Watch:
    """What happens to the objects of one collection; iterate over it once.

    Args:
        path: the collection.
        query: what to select, and from which resourceVersion on.
        seconds: how long to watch; the iteration ends then, whatever happens.
    """

    def __init__(self, server: Server, path: str, query: Mapping[str, str], seconds: float) -> None:
        self._server, self._path = server, path
        self._end = time.monotonic() + seconds
        self._query = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(math.ceil(seconds) + 1),
        }
        self._closed = Event()
        self._response: urllib3.BaseHTTPResponse | None = None

    @property
    def over(self) -> bool:
        """Whether the time is over, or it was closed here: not because the API server ended it."""
        return self._closed.is_set() or time.monotonic() >= self._end

    def close(self) -> None:
        """End the iteration of another thread now."""
        self._closed.set()
        # Read once: the iterating thread may take it away meanwhile.
        response = self._response
        if response is not None:
            # What cannot be shut is over already.
            with suppress(OSError, ValueError, RuntimeError):
                response.shutdown()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Objects as they were created, changed or deleted, until the time is over or the API server ends the watch.

        Raises:
            Passing: the API server does not answer, or says to come again.
            Conflict: it does not know any more what came after the resourceVersion.
            Refused: it does not let the caller watch.
        """
        if self.over:
            return
        response = self._begin()
        if response is None:
            return
        alarm = Timer(max(0.0, self._end - time.monotonic()), self.close)
        alarm.daemon = True
        alarm.start()
        try:
            yield from self._changes(response)
        finally:
            alarm.cancel()
            self._response = None
            response.close()
            response.release_conn()

    def _begin(self) -> urllib3.BaseHTTPResponse | None:
        """The answer whose body is the watch; None where the time was over first."""
        left = self._end - time.monotonic()
        try:
            response = self._server.stream(
                Request("GET", self._path, self._query),
                connect=min(_CONNECT_SECONDS, left),
                read=min(_SILENCE_SECONDS, left),
            )
        except Passing:
            if self.over:
                return None
            raise
        self._response = response
        if response.status >= 300:
            raise self._refusal(response)
        return response

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> BreakglassError:
        server = self._server
        with response:
            try:
                body = response.read1(_CHUNK)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise server.fault(error) from error
            answer = read_answer(response.status, response.headers, body, server.description)
        return error_of(answer, self._path, repeated=False, server=server.description, origin=server.access.origin)

    def _changes(self, response: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
        for line in self._lines(response):
            event = _json(line)
            item = event.get("object")
            if event.get("type") not in _KINDS or not isinstance(item, dict):
                # An error, such as 410, or nonsense: whoever watches has to read again.
                return
            if event["type"] != "BOOKMARK":
                yield item

    def _lines(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """Whole lines, until the answer ends in any way."""
        rest = b""
        while not self.over and len(rest) < LARGEST_ANSWER:
            try:
                chunk = response.read1(_CHUNK)
            except (urllib3.exceptions.HTTPError, OSError, ValueError):
                return
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _json(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}
