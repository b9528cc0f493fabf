"""What an opening needs: how many approvals, of how many teams, and what denies it, whoever approves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from breakglass.model.activation import Activation
from breakglass.model.errors import Refused
from breakglass.model.evidence import Evidence
from breakglass.model.finding import Finding
from breakglass.model.gate import Rule
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.ports import Conditions


@dataclass(frozen=True, slots=True)
class Required:
    """How many distinct people must approve, from how many teams, and why."""

    approvals: int
    teams: int
    reasons: tuple[str, ...]


def requirements(
    activation: Activation,
    overlay: Overlay,
    policy: Policy,
    evidence: Evidence | None,
    conditions: Conditions,
    variables: Mapping[str, Any],
    where: str,
) -> tuple[Required, list[Finding]]:
    """What an opening needs, and what denies it.

    A drill that is too old, or a solo opening that nobody reviewed, asks for one approval more and never blocks; a solo
    opening needs none but for that debt.

    Args:
        evidence: None before there is a pull request: drills, debts and rules about approvers do not count then.
        variables: see `variables_of`.
    """
    spec = policy.spec
    approvals, teams, reasons = max(overlay.spec.approvals.minimum, spec.approvals.minimum), 0, []
    findings = []
    for rule in spec.rules:
        if evidence is None and _of_approvers(rule):
            continue
        try:
            holds = conditions.holds(rule.when, variables)
        except Refused as error:
            findings.append(
                Finding("rule-unjudged", f"rule {rule.name}: {error.what}", where, "correct breakglass.yaml")
            )
            continue
        if holds and rule.deny is not None:
            message, remedy = f"rule {rule.name}: {rule.deny}", "see spec.rules of the policy"
            depends = _of_approvers(rule)
            findings.append(
                Finding("rule-approvers", message, where, remedy)
                if depends
                else Finding("rule-denied", message, where, remedy)
            )
        elif holds:
            approvals, teams = max(approvals, rule.approvals or 0), max(teams, rule.teams or 0)
            reasons.append(_asks(rule))
    if activation.spec.solo:
        approvals, teams, reasons = 0, 0, ["solo: nobody is there to approve"]
    if evidence is not None:
        more = _debts(activation, policy, evidence)
        approvals, reasons = approvals + len(more), [*reasons, *more]
    return Required(approvals, teams, tuple(reasons)), findings


def variables_of(
    activation: Activation,
    overlay: Overlay,
    policy: Policy,
    approvers: list[dict[str, Any]],
    at: datetime,
) -> dict[str, Any]:
    """What conditions may speak of; `docs/policy.md` lists it.

    Args:
        approvers: those whose approval counts: `login` and `teams`.
        at: when it was merged, or the time now.

    Raises:
        Refused: the policy's time zone is none.
    """
    spec = activation.spec
    now = at.astimezone(_zone(policy.spec.timeZone))
    clusters = [
        {"name": name, "purpose": policy.spec.clusters[name].purpose if name in policy.spec.clusters else "unknown"}
        for name in spec.clusters
    ]
    return {
        "request": {
            "id": activation.id,
            "reason": spec.reason,
            "duration": spec.duration,
            "requestedBy": spec.requestedBy,
            "requestedAt": spec.requestedAt,
            "parameters": dict(spec.parameters),
            "extends": spec.extends or "",
            "solo": spec.solo,
        },
        "overlay": {"name": spec.overlay, "kinds": list(overlay.spec.scope.kinds)},
        "clusters": clusters,
        "approvers": approvers,
        "incident": spec.incident,
        "time": {
            "now": now,
            "date": now.strftime("%Y-%m-%d"),
            "hour": now.hour,
            "minute": now.minute,
            "weekday": now.isoweekday(),
        },
    }


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused(f"{name} is no time zone", where="breakglass.yaml", remedy="correct spec.timeZone") from None


def _of_approvers(rule: Rule) -> bool:
    """Whether a rule speaks of those who approved, so that it can only be judged when they have."""
    return re.search(r"\bapprovers\b", rule.when) is not None


def _debts(activation: Activation, policy: Policy, evidence: Evidence) -> list[str]:
    days, more = policy.spec.approvals.drilledWithinDays, []
    now = evidence.mergedAt or activation.spec.requestedAt
    if days is not None and not activation.spec.solo:
        if evidence.drilledAt is None:
            more.append("one more: the overlay never passed a drill")
        elif now - evidence.drilledAt > timedelta(days=days):
            more.append(f"one more: the overlay's last passed drill is older than {days} days")
    if evidence.unreviewed:
        more.append(f"one more: nobody reviewed {', '.join(evidence.unreviewed)}")
    return more


def _asks(rule: Rule) -> str:
    asked = [f"{rule.approvals} approvals"] if rule.approvals is not None else []
    asked += [f"{rule.teams} different teams"] if rule.teams is not None else []
    return f"rule {rule.name}: {' of '.join(asked)}"
