"""Who may do what, naively, grant by grant, from the RBAC specification.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from manifests import Manifest, of_kind


class Permission(NamedTuple):
    """One verb on one resource; namespace is empty where it holds in all, name where it holds for every object."""

    subject: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str


def permissions(manifests: list[Manifest]) -> set[Permission]:
    """Every permission that the bindings of a render give."""
    found: set[Permission] = set()
    for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
        namespace = binding["metadata"].get("namespace", "")
        for rule in _rules(manifests, binding["roleRef"], namespace):
            for subject in binding["subjects"]:
                found.update(_granted(_subject(subject), rule, namespace))
    return found


def _rules(manifests: list[Manifest], reference: dict[str, str], namespace: str) -> list[dict[str, Any]]:
    place = namespace if reference["kind"] == "Role" else ""
    for role in of_kind(manifests, reference["kind"]):
        if role["metadata"]["name"] == reference["name"] and role["metadata"].get("namespace", "") == place:
            return role["rules"]
    raise AssertionError(f"{namespace}: a binding refers to {reference}, which is not there")


def _granted(subject: str, rule: dict[str, Any], namespace: str) -> Iterator[Permission]:
    for verb in rule["verbs"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    yield Permission(subject, verb, group, resource, namespace, name)


def _subject(subject: dict[str, str]) -> str:
    if subject["kind"] == "ServiceAccount":
        return f"ServiceAccount:{subject['namespace']}/{subject['name']}"
    return f"{subject['kind']}:{subject['name']}"
