"""What the API server's objects say, and what it is asked, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from breakglass.model.errors import Refused, Unreachable
from breakglass.model.manifest import Manifest, ObjectKey
from breakglass.model.time import parse_instant
from breakglass.ports import Token

REPORTER = "breakglass.dev/breakglass"
"""Who reports an Event."""
SHORTEST_TOKEN = 600
"""Seconds."""
PROBE_USER = "breakglass-probe"
"""User of an access review that asks about a group."""

_LONGEST_NOTE = 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


def metadata_of(live: Mapping[str, Any], name: str) -> str:
    """A text of an object's metadata.

    Raises:
        Unreachable: the answer is not an object.
    """
    metadata = live.get("metadata")
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    if not isinstance(value, str) or not value:
        raise Unreachable(f"the API server's answer has no metadata.{name}", remedy="run it again")
    return value


def delete_options(preconditions: Mapping[str, str]) -> dict[str, Any]:
    """DeleteOptions that delete only what still has this uid or resourceVersion; dependents go in the background."""
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    return {**options, "preconditions": dict(preconditions)}


def held_by(live: Manifest) -> str:
    """Why an object that was deleted is still there, in words."""
    metadata = live["metadata"]
    finalizers = [*(metadata.get("finalizers") or []), *((live.get("spec") or {}).get("finalizers") or [])]
    if "deletionTimestamp" not in metadata:
        return "it is not marked as deleted"
    conditions = (live.get("status") or {}).get("conditions") or []
    messages = [str(condition.get("message")) for condition in conditions if condition.get("status") == "True"]
    if live.get("kind") == "Namespace":
        return f"the namespace is terminating: {'; '.join(messages) or 'its content is being deleted'}"
    return f"held by the finalizers {', '.join(map(str, finalizers))}" if finalizers else "it is being deleted"


def access_review(subject: str, verb: str, resource: str, group: str, namespace: str) -> dict[str, Any]:
    """A SubjectAccessReview of `User:name`, `Group:name` or `ServiceAccount:namespace/name`.

    A ServiceAccount and every user that is logged in are members of groups by themselves
    (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-subjects).

    Args:
        resource: plural, with a subresource after a slash: `pods/exec`.

    Raises:
        Refused: the subject is none of the three.
    """
    kind, _, name = subject.partition(":")
    space, _, account = name.partition("/")
    groups = ["system:authenticated"]
    if kind == "User" and name:
        user = name
    elif kind == "Group" and name:
        user, groups = PROBE_USER, [name, *groups]
    elif kind == "ServiceAccount" and space and account:
        user = f"system:serviceaccount:{space}:{account}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{space}", *groups]
    else:
        raise Refused(
            f"{subject!r} is not a subject", remedy="write User:name, Group:name or ServiceAccount:namespace/name"
        )
    plural, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "namespace": namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }


def eviction(pod: ObjectKey) -> dict[str, Any]:
    """An Eviction (https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/)."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }


def event(
    name: str, about: Mapping[str, Any], reason: str, note: str, *, warning: bool, at: datetime, instance: str
) -> dict[str, Any]:
    """An Event (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).

    Args:
        about: an ObjectReference.
        note: what is longer than the API server takes is cut.
        instance: which process reports it.
    """
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": about.get("namespace") or "default"},
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "reportingController": REPORTER,
        "reportingInstance": instance,
        "action": reason,
        "reason": reason,
        "type": "Warning" if warning else "Normal",
        "note": _shortened(note),
        "regarding": dict(about),
    }


def _shortened(note: str) -> str:
    content = note.encode()
    if len(content) <= _LONGEST_NOTE:
        return note
    return content[: _LONGEST_NOTE - len("…".encode())].decode(errors="ignore") + "…"


def token_request(lifetime: timedelta) -> dict[str, Any]:
    """A TokenRequest; the API server takes no lifetime below ten minutes.

    https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
    """
    seconds = max(SHORTEST_TOKEN, int(lifetime.total_seconds()))
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }


def token_of(answer: Mapping[str, Any], where: str) -> Token:
    """The token of an answered TokenRequest.

    Raises:
        Unreachable: there is none in it; what is there instead is not told.
    """
    status = answer.get("status")
    value, expiry = (
        (status.get("token"), status.get("expirationTimestamp")) if isinstance(status, Mapping) else ("", "")
    )
    try:
        if isinstance(value, str) and _TOKEN.fullmatch(value):
            return Token(value, parse_instant(str(expiry)))
    except ValueError:
        pass
    raise Unreachable("the API server's answer holds no token", where=where, remedy="run it again")
