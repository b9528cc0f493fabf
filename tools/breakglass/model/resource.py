"""Kinds as RBAC and admission name them: by API group and plural."""

from __future__ import annotations

from collections.abc import Iterable

Resources = dict[str, list[str]]
"""API group (empty for the core group) → plurals, both in order."""


def plural_of(kind: str) -> str:
    """The resource of a kind, by the rule that Kubernetes' own kinds and well-made CRDs follow.

    https://pkg.go.dev/k8s.io/apimachinery/pkg/api/meta#UnsafeGuessKindToResource, but for `y` after a vowel
    (`gateways`). A CustomResourceDefinition may break the rule; then the first drill is refused.
    """
    name = kind.lower()
    if name in ("endpoints", "podmetrics"):
        return name
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def resources_of(kinds: Iterable[str]) -> Resources:
    """Resources of kinds written `Kind.group`, by group."""
    found: dict[str, set[str]] = {}
    for name in kinds:
        kind, _, group = name.partition(".")
        found.setdefault(group, set()).add(plural_of(kind))
    return {group: sorted(found[group]) for group in sorted(found)}
