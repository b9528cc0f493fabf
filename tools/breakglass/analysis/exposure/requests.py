"""Requests by host and path, as Ingresses, routes and contracts name them.

Sources: https://kubernetes.io/docs/concepts/services-networking/ingress/#path-types and
https://gateway-api.sigs.k8s.io/reference/spec/ (Hostname, HTTPPathMatch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EVERY_HOST = "*"

PathType = Literal["Prefix", "Exact", "RegularExpression", "ImplementationSpecific"]
"""The last two are patterns: what they match is nobody's to say, so they include nothing and may meet everything."""

_PATTERNS = ("RegularExpression", "ImplementationSpecific")


@dataclass(frozen=True, slots=True, order=True)
class Requests:
    """A set of requests.

    Attributes:
        host: a name, `*.suffix`, or `*` for every host; empty where nobody looks at a host, only at the port.
        path: the path, what it begins with, or a pattern; empty where nobody looks at it.
        path_type: how the path is meant.
        deep: `*.suffix` stands for one or more labels (Gateway API), not for exactly one (Ingress).
    """

    host: str
    path: str = "/"
    path_type: PathType = "Prefix"
    deep: bool = False

    def __str__(self) -> str:
        mark = "~" if self.path_type == "RegularExpression" else ""
        return f"{self.host}{mark}{self.path}"

    def includes(self, other: Requests) -> bool:
        """Whether every request of the other is surely one of these."""
        return _includes_host(self, other) and _includes_path(self, other)

    def meets(self, other: Requests) -> bool:
        """Whether some request may be one of both."""
        hosts = _includes_host(self, other) or _includes_host(other, self)
        return hosts and _paths_meet(self, other)


def common_host(one: str, other: str) -> str:
    """The hosts that two of the Gateway API have in common, itself one such host; empty where there are none.

    Args:
        one: a name, `*.suffix` for one or more labels, or `*`.
        other: likewise.
    """
    left, right = Requests(one, deep=True), Requests(other, deep=True)
    if _includes_host(left, right):
        return other
    return one if _includes_host(right, left) else ""


def _includes_host(outer: Requests, inner: Requests) -> bool:
    if outer.host == EVERY_HOST:
        return bool(inner.host)
    if not outer.host.startswith("*.") or not inner.host.endswith(outer.host[1:]):
        return inner.host == outer.host
    if inner.host == outer.host:
        return outer.deep or not inner.deep
    return outer.deep or "." not in inner.host.removesuffix(outer.host[1:])


def _includes_path(outer: Requests, inner: Requests) -> bool:
    if outer.path_type in _PATTERNS:
        return (inner.path_type, inner.path) == (outer.path_type, outer.path)
    if outer.path_type == "Exact":
        return inner.path_type == "Exact" and inner.path == outer.path
    beginning = outer.path.rstrip("/")
    if inner.path_type in _PATTERNS:
        return not beginning
    return inner.path.rstrip("/") == beginning or inner.path.startswith(f"{beginning}/")


def _paths_meet(one: Requests, other: Requests) -> bool:
    if one.path_type in _PATTERNS or other.path_type in _PATTERNS:
        return True
    return _includes_path(one, other) or _includes_path(other, one)
