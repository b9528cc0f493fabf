"""Prolonging: a new activation that names the one before, approved like any other; the chain of them is bounded.

Pure: activations in, findings out. The check before the pull request, the one on it, and the applier's at the merge
commit all ask `judge_extension`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from breakglass.lifecycle.windows import Window
from breakglass.model.activation import Activation, expiry
from breakglass.model.digest import json_digest
from breakglass.model.finding import Finding
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.model.time import format_duration, format_instant


def judge_extension(
    activation: Activation, overlay: Overlay, policy: Policy, windows: Iterable[Window], at: datetime, file: str
) -> list[Finding]:
    """Hold an activation that prolongs another to its chain; one that prolongs nothing is fine.

    The one before must be open, of the same overlay, clusters and parameters; from the opening of the first link to the
    new end it must not be longer than one window may be.

    Args:
        overlay: contract of the overlay.
        windows: every activation in the history of main before it.
        at: when it was merged, or the time now where it is not merged yet.
        file: its path, for messages.
    """
    spec = activation.spec
    if spec.extends is None:
        return []
    known = {window.id: window for window in windows}
    chain = _chain(spec.extends, known)
    if not chain:
        message = f"{spec.extends} never reached main, or what it prolongs did not"
        return [Finding("extend-unknown", message, file, "open a new request without extends")]
    findings = _judge_last(activation, chain[0], at, file)
    opened, end = chain[-1].opened.committed_at, expiry(activation, at, policy)
    longest = maximum(activation, overlay, policy)
    if end - opened > longest:
        message = (
            f"the chain that {chain[-1].id} began at {format_instant(opened)} would be {format_duration(end - opened)} "
            f"long, until {format_instant(end)}; at most {format_duration(longest)} are allowed"
        )
        left = opened + longest - at
        remedy = f"ask for {format_duration(left)} or less" if left >= timedelta(seconds=1) else "open a new request"
        findings.append(Finding("extend-maximum", message, file, remedy))
    return findings


def maximum(activation: Activation, overlay: Overlay, policy: Policy) -> timedelta:
    """How long a chain may be from the opening of its first link; alone nobody prolongs beyond the bound of alone."""
    longest = min(overlay.spec.duration.maximum, policy.spec.duration.maximum)
    solo = policy.spec.solo
    return min(longest, solo.maximum) if activation.spec.solo and solo is not None else longest


def latest_merge(
    activation: Activation, overlay: Overlay, policy: Policy, windows: Iterable[Window]
) -> datetime | None:
    """Before when an extension must be merged: after that the one before is over, or the chain too long.

    Returns:
        None where it prolongs nothing that main knows.
    """
    chain = _chain(activation.spec.extends, {window.id: window for window in windows})
    if not chain or chain[0].expiry is None:
        return None
    bound = chain[-1].opened.committed_at + maximum(activation, overlay, policy) - activation.spec.duration
    return min(chain[0].expiry, bound)


def _chain(identity: str | None, known: dict[str, Window]) -> list[Window]:
    """The windows from the one prolonged back to the first; empty where a link is missing, cannot be read, or loops."""
    chain: list[Window] = []
    while identity is not None:
        window = known.pop(identity, None)
        if window is None or window.activation is None:
            return []
        chain.append(window)
        identity = window.activation.spec.extends
    return chain


def _judge_last(activation: Activation, before: Window, at: datetime, file: str) -> list[Finding]:
    findings = []
    state = before.state(at)
    if state != "open":
        message = f"{before.id} is {state}, not open, at {format_instant(at)}"
        findings.append(Finding("extend-over", message, file, "open a new request without extends"))
    if before.activation is None:
        return findings
    mine, other = activation.spec, before.activation.spec
    differs = [
        name
        for name, same in (
            ("overlay", mine.overlay == other.overlay),
            ("clusters", sorted(mine.clusters) == sorted(other.clusters)),
            ("parameters", json_digest(mine.parameters) == json_digest(other.parameters)),
        )
        if not same
    ]
    if differs:
        message = f"it has not the {', '.join(differs)} of {before.id}"
        findings.append(Finding("extend-other", message, file, "let `breakglass extend` write the file"))
    return findings
