"""Names that come from files, flags and pull requests, and what they may be made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?(\[bot\])?", re.ASCII)
_APPROVER = re.compile(r"@[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98})(/[A-Za-z0-9][A-Za-z0-9_.-]{0,98})?", re.ASCII)
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}(\.[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?)?", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9_.-]{1,100}", re.ASCII)
_FILE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*", re.ASCII)

LONGEST_OVERLAY_NAME = 40
"""Characters; an activation id (date + overlay + random) must fit a label value of 63."""


def _checker(pattern: re.Pattern[str], longest: int, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if len(text) > longest or pattern.fullmatch(text) is None:
            shown = text if len(text) <= 80 else text[:77] + "..."
            raise ValueError(f"{shown!r} is not {what}")
        return text

    return AfterValidator(check)


OverlayName = Annotated[
    str, _checker(_DNS_LABEL, LONGEST_OVERLAY_NAME, "an overlay's name (a-z, 0-9 and -, at most 40 characters)")
]
ActivationId = Annotated[str, _checker(_DNS_LABEL, 63, "an activation's id (a-z, 0-9 and -, at most 63 characters)")]
ClusterName = Annotated[str, _checker(_DNS_LABEL, 63, "a cluster's name (a-z, 0-9 and -, at most 63 characters)")]
NamespaceName = Annotated[str, _checker(_DNS_LABEL, 63, "a namespace (a-z, 0-9 and -, at most 63 characters)")]
Login = Annotated[str, _checker(_LOGIN, 110, "a login")]
Approver = Annotated[str, _checker(_APPROVER, 201, "an approver; write @user or @organisation/team")]
KindName = Annotated[
    str,
    _checker(
        _KIND, 300, "a kind; write Kind.group such as NetworkPolicy.networking.k8s.io, or Kind alone in the core group"
    ),
]
RepositoryName = Annotated[str, _checker(_REPOSITORY, 201, "a repository; write owner/name")]
RelativePath = Annotated[str, _checker(_FILE_PATH, 400, "a path inside the repository")]


def single_line(text: str) -> str:
    """Accept text that people wrote for people: one line, printable, no surrounding space.

    Raises:
        ValueError: the text holds a line break, another control or an invisible formatting character.
    """
    if text != text.strip() or not text:
        raise ValueError("write something, without space around it")
    if not text.isprintable():
        raise ValueError("line breaks, control and invisible characters are not allowed")
    return text
