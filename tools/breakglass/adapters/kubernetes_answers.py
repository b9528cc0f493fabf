"""What an API server answers: read strictly, and told as the errors of the product."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from breakglass.adapters.retry import Passing
from breakglass.model.errors import BreakglassError, Conflict, NotFound, Refused

_LONGEST_MESSAGE = 2000
_LONGEST_TEXT = 300
_UNKNOWN_FIELD = "failed to create typed patch object"
"""Server-side apply answers 500 to a field that is not in the schema, though it is for the caller to correct."""
_BUDGET = "DisruptionBudget"
"""Reason of the cause where a PodDisruptionBudget does not let a pod go."""


class RepeatedConflict(Conflict):
    """409 to a request that was sent more than once: an earlier one without an answer may have been carried out."""


class PathNotFound(NotFound):
    """404 that names no object: the path is not served, or something in between answered. It proves no absence."""


class HeldByBudget(Passing):
    """429 of an eviction: a PodDisruptionBudget does not let the pod go now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is final; the content may be a credential and stays out of the repr.

    Attributes:
        content: the JSON object; None where it is none.
        text: how it begins.
    """

    status: int
    content: dict[str, Any] | None = field(repr=False)
    text: str = field(repr=False)


def read_answer(status: int, headers: Mapping[str, str], body: bytes, server: str) -> Answer:
    """Read an answer strictly. Errors may also come as text, from a proxy in between.

    Raises:
        Passing: it says to come again, or is a success without the JSON object that belongs to it.
    """
    content = _json_object(headers.get("Content-Type", ""), body)
    if status < 300:
        if content is None:
            raise Passing(f"{server} answered {status} with something that is not JSON", answered=True)
        return Answer(status, content, "")
    answer = Answer(status, content, body[:_LONGEST_TEXT].decode(errors="replace"))
    if (status == 429 or status >= 500) and not _message(answer).startswith(_UNKNOWN_FIELD):
        fault = HeldByBudget if _BUDGET in _causes(answer) else Passing
        reason = f"{server} answered {status}: {_message(answer)}"
        raise fault(reason, retry_after=_seconds(headers.get("Retry-After", "")), answered=True)
    return answer


def error_of(answer: Answer, where: str, *, repeated: bool, server: str, origin: str) -> BreakglassError:
    """The error that an answer without success is.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/

    Args:
        where: the object it is about.
        repeated: whether the request was sent before.
        server: the API server, in words.
        origin: where its credential is from.
    """
    message = _message(answer) or f"{server} answered {answer.status}"
    match answer.status:
        case 401:
            return Refused(
                f"{server} does not accept the credential ({origin})",
                where=where,
                remedy="renew it; of a job's token, compare issuer and audience with the API server's authentication",
            )
        case 403:
            return Refused(
                message,
                where=where,
                remedy="if a permission is missing, grant it to the identity this runs as; then run again",
            )
        case 404:
            missing = NotFound if _names_object(answer) else PathNotFound
            return missing(message, where=where, remedy="create what is missing, then run again")
        case 409 | 410:
            error = RepeatedConflict if repeated else Conflict
            return error(message, where=where, remedy="somebody else changed it at the same time; run again")
        case _:
            return Refused(message, where=where, remedy="correct the object; the API server will not take it as it is")


def _json_object(content_type: str, body: bytes) -> dict[str, Any] | None:
    if content_type != "application/json" and content_type.partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _seconds(retry_after: str) -> float | None:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7 else None


def _message(answer: Answer) -> str:
    """What the answer says: the message of a Status, or the beginning of its text, without control characters."""
    message = answer.content.get("message") if answer.content is not None else None
    text = message if isinstance(message, str) else answer.text
    return "".join(character if character.isprintable() else " " for character in text).strip()[:_LONGEST_MESSAGE]


def _details(answer: Answer) -> Mapping[str, Any]:
    details = answer.content.get("details") if answer.content is not None else None
    return details if isinstance(details, dict) else {}


def _names_object(answer: Answer) -> bool:
    return bool(_details(answer).get("name"))


def _causes(answer: Answer) -> set[object]:
    causes = _details(answer).get("causes")
    return {cause.get("reason") for cause in causes if isinstance(cause, dict)} if isinstance(causes, list) else set()
