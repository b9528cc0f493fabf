"""One emergency on the example platform, as people make it: asked for, approved, merged."""

from __future__ import annotations

import json
from dataclasses import dataclass

from breakglass_lab.platform import Platform


@dataclass(frozen=True)
class Request:
    """An opening pull request."""

    id: str
    number: int


def ask(platform: Platform, overlay: str, *options: str) -> Request:
    """Robin asks for an overlay on prod-eu."""
    why = ("--because", "checkout down", "--incident", "INC-4211")
    answer = platform.breakglass("robin", "open", overlay, "--cluster", "prod-eu", *why, *options, "--output", "json")
    opening = json.loads(answer.stdout)
    return Request(opening["activation"]["metadata"]["name"], opening["pullRequest"]["number"])


def agree(platform: Platform, request: Request, *approvers: str) -> None:
    """The approvers say yes, and the first of them merges."""
    for login in approvers:
        platform.approve(login, request.number)
    platform.merge(approvers[0], request.number)
