"""Events of an API server's audit log, as far as they tell who made what.

One line of the log is one JSON object, `Event` of `audit.k8s.io/v1`:
https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from breakglass.model.errors import InvalidFile
from breakglass.model.time import parse_instant

API_VERSION = "audit.k8s.io/v1"
_CREDENTIAL = "authentication.kubernetes.io/credential-id"
_ISSUED_CREDENTIAL = "authentication.kubernetes.io/issued-credential-id"
_LONGEST_MANAGER = 128
_REMEDY = "give the API server's own log, whole lines of it"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, as the API server saw them.

    Attributes:
        credentials: ids of the tokens shown (`JTI=…`); a TokenRequest's event names the id that it issued
            (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens).
    """

    name: str
    groups: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A request about an object that the API server has answered.

    Attributes:
        user: who authenticated.
        impersonated: as whom they acted; None where as themselves.
        resource: plural, as in paths.
        name: of the object; empty where the server chose it after the request was recorded (`generateName`).
        manager: the field manager that the request counts as: the one it names, or the start of its user agent
            (https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers).
        received_at: when the request came in, aware UTC, whole seconds.
        answered_at: when it was answered.
        code: HTTP status of the answer.
        issued: id of the token that the request was answered with; empty where it was none.
    """

    user: Actor
    impersonated: Actor | None
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    received_at: datetime
    answered_at: datetime
    code: int
    manager: str = ""
    issued: str = ""

    @property
    def created(self) -> bool:
        """Whether it made an object: a server-side apply that did is answered with 201 as well."""
        return self.code == 201 and not self.subresource and self.verb in ("create", "patch", "update")


def read_audit_event(line: bytes, where: str) -> AuditEvent | None:
    """Read one line of an audit log.

    Returns:
        The event; None where it is not about an object, or not the last of its request.

    Raises:
        InvalidFile: the line is no such event.
    """
    try:
        data = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidFile("this line is not JSON", where=where, remedy=_REMEDY) from None
    if not isinstance(data, dict) or (data.get("apiVersion"), data.get("kind")) != (API_VERSION, "Event"):
        raise InvalidFile(f"this line is not an Event of {API_VERSION}", where=where, remedy=_REMEDY)
    reader = _Reader(where)
    reference = reader.mapping(data, "objectRef")
    if reader.text(data, "stage") != "ResponseComplete" or not reference:
        return None
    impersonated = reader.mapping(data, "impersonatedUser")
    return AuditEvent(
        user=reader.actor(reader.mapping(data, "user")),
        impersonated=reader.actor(impersonated) if impersonated else None,
        verb=reader.text(data, "verb"),
        group=reader.text(reference, "apiGroup"),
        resource=reader.text(reference, "resource"),
        subresource=reader.text(reference, "subresource"),
        namespace=reader.text(reference, "namespace"),
        name=reader.text(reference, "name"),
        received_at=reader.instant(data, "requestReceivedTimestamp"),
        answered_at=reader.instant(data, "stageTimestamp"),
        code=reader.code(reader.mapping(data, "responseStatus")),
        manager=reader.manager(data),
        issued=reader.text(reader.mapping(data, "annotations"), _ISSUED_CREDENTIAL),
    )


class _Reader:
    """Reads fields strictly; the place is for complaints."""

    def __init__(self, where: str) -> None:
        self._where = where

    def mapping(self, parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = parent.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._refusal(f"{key} is not an object")
        return value

    def text(self, parent: Mapping[str, Any], key: str) -> str:
        value = parent.get(key, "")
        if not isinstance(value, str):
            raise self._refusal(f"{key} is not text")
        return value

    def texts(self, parent: Mapping[str, Any], key: str) -> frozenset[str]:
        values = parent.get(key) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._refusal(f"{key} is not a list of text")
        return frozenset(values)

    def actor(self, user: Mapping[str, Any]) -> Actor:
        name, extra = self.text(user, "username"), self.mapping(user, "extra")
        if not name:
            raise self._refusal("the user has no username")
        return Actor(name, self.texts(user, "groups"), self.texts(extra, _CREDENTIAL))

    def manager(self, data: Mapping[str, Any]) -> str:
        named = parse_qs(self.text(data, "requestURI").partition("?")[2]).get("fieldManager")
        return named[-1] if named else self.text(data, "userAgent").partition("/")[0][:_LONGEST_MANAGER]

    def instant(self, parent: Mapping[str, Any], key: str) -> datetime:
        try:
            return parse_instant(self.text(parent, key))
        except ValueError as error:
            raise self._refusal(f"{key}: {error}") from None

    def code(self, status: Mapping[str, Any]) -> int:
        code = status.get("code", 0)
        if not isinstance(code, int) or isinstance(code, bool):
            raise self._refusal("responseStatus.code is not a number")
        return code

    def _refusal(self, what: str) -> InvalidFile:
        return InvalidFile(what, where=self._where, remedy=_REMEDY)


def _no_constant(text: str) -> object:
    raise ValueError(text)
