"""A pull request that somebody asked with, as evidence, and the verdict on it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.verdict import Verdict, judge
from breakglass.model.activation import Activation, new_activation
from breakglass.model.document import read
from breakglass.model.evidence import Evidence, Review
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from laws import example
from ports.clock import NIGHT

FILES = example.files()
POLICY = read(FILES["breakglass.yaml"], "breakglass.yaml", Policy)
OVERLAY = read(FILES["overlays/emergency/db-from-bastion/overlay.yaml"], "overlay.yaml", Overlay)
HEAD, STALE, BASE = "a" * 40, "b" * 40, "d" * 40
MERGED = NIGHT + timedelta(minutes=5)
PEOPLE = ("ada", "grace", "barbara")


def evidence(**fields: Any) -> Evidence:
    """Evidence of an open pull request of `on-call` that nobody has looked at."""
    known = [{"login": login, "human": True, "suspended": False, "member": True} for login in (*PEOPLE, "linus")]
    values: dict[str, Any] = {
        "requestedBy": "on-call",
        "pullRequest": 7,
        "url": "https://forge.example.com/acme/platform/pull/7",
        "author": "on-call",
        "head": HEAD,
        "base": BASE,
        "merge": None,
        "mergedBy": None,
        "mergedAt": None,
        "commits": [commit()],
        "pushers": ["on-call"],
        "reviews": [],
        "owners": [example.TEAM],
        "teams": {example.TEAM: list(PEOPLE)},
        "accounts": known,
        "moves": [],
        "drilledAt": None,
        "unreviewed": [],
    }
    return Evidence.model_validate(values | fields)


def commit(author: str | None = "on-call", committer: str | None = "on-call", *emails: str) -> dict[str, Any]:
    """A commit of the pull request."""
    return {"sha": HEAD, "author": author, "committer": committer, "emails": list(emails)}


def review(login: str, second: int = 0, state: str = "APPROVED", **fields: Any) -> Review:
    """A review at so many seconds past the night's beginning; of the head, by a human, unless told otherwise."""
    at = NIGHT + timedelta(seconds=second)
    values = {"login": login, "human": True, "state": state, "commit": HEAD, "submittedAt": at}
    return Review.model_validate(values | fields)


def activation(overlay: Overlay = OVERLAY, **changes: Any) -> Activation:
    """What `on-call` asks for."""
    details: dict[str, Any] = {
        "digest": "sha256:" + "0" * 64,
        "clusters": ["prod-eu"],
        "parameters": {"ticket": "INC-1"},
        "reason": "checkout down",
        "incident": "INC-1",
        "requested_by": "on-call",
        "requested_at": NIGHT,
        "duration": timedelta(minutes=30),
        "random": "7f3a",
    }
    return new_activation(overlay, **(details | changes))


def verdict_on(
    told: Evidence, overlay: Overlay = OVERLAY, policy: Policy = POLICY, asked: Activation | None = None
) -> Verdict:
    """The verdict."""
    return judge(told, asked or activation(overlay), overlay, policy, CelConditions(), "activation.yaml", NIGHT)


def with_policy(**changes: Any) -> Policy:
    """The policy with other fields of its spec, as the file would say them."""
    data = POLICY.model_dump(mode="json", exclude_defaults=True)
    return Policy.model_validate({**data, "spec": {**data["spec"], **changes}})
