"""What the API server's objects say, as pure functions: order of writing, ownership, what holds a deletion, reviews."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from breakglass.model.errors import Refused, Unreachable
from breakglass.model.manifest import Manifest, ObjectKey

FIELD_MANAGER = "breakglass"
PROBE_USER = "breakglass-probe"
"""User of an access review that asks about a group."""

_KINDS_IN_ORDER = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("ServiceAccount", "ConfigMap", "Secret"),
    ("Role", "ClusterRole"),
    ("RoleBinding", "ClusterRoleBinding"),
    ("NetworkPolicy",),
    ("Service",),
    (),
    ("Ingress", "HTTPRoute"),
)
_RANKS = {kind: rank for rank, kinds in enumerate(_KINDS_IN_ORDER) for kind in kinds}
_RANK_OF_OTHERS = _KINDS_IN_ORDER.index(())


def by_rank(keys: Iterable[ObjectKey]) -> tuple[tuple[ObjectKey, ...], ...]:
    """Group objects in the order to write them, so that what one names is there before it."""
    ordered = sorted(keys, key=_rank)
    return tuple(tuple(group) for _, group in groupby(ordered, key=_rank))


def _rank(key: ObjectKey) -> int:
    return _RANKS.get(key.kind, _RANK_OF_OTHERS)


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


def disowning_patch(live: Manifest) -> list[dict[str, Any]] | None:
    """A JSON patch that takes the field manager's entries away; None where it has none.

    An empty list would keep managedFields as they are, one empty entry empties them
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields).
    """
    entries = live["metadata"].get("managedFields") or []
    others = [entry for entry in entries if entry.get("manager") != FIELD_MANAGER]
    if len(others) == len(entries):
        return None
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata_of(live, "resourceVersion")},
        {"op": "replace", "path": "/metadata/managedFields", "value": others or [{}]},
    ]


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
