"""Receipts of drills: when an overlay was last rehearsed, and how that went."""

from __future__ import annotations

from datetime import datetime

from breakglass.lifecycle.ledger import read_ledger
from breakglass.model.ledger import Drilled
from breakglass.ports import Repository


def last_drill(repository: Repository, ledger_branch: str, overlay: str, *, passed: bool = False) -> Drilled | None:
    """Receipt of an overlay's last drill; None where there is none.

    Args:
        passed: the last one that passed.
    """
    receipts = [
        event
        for event in read_ledger(repository, ledger_branch, f"drills/{overlay}").values()
        if isinstance(event, Drilled) and (event.passed or not passed)
    ]
    return max(receipts, key=lambda receipt: receipt.startedAt, default=None)


def drilled(drill: Drilled | None, now: datetime) -> str:
    """When an overlay was last drilled and how long that took, for people."""
    if drill is None:
        return "never"
    days = (now - drill.startedAt).days
    when = "today" if days <= 0 else "yesterday" if days == 1 else f"{days} days ago"
    seconds = {phase.name: phase.seconds for phase in drill.phases}
    if not drill.passed:
        return f"{when}, and it failed"
    return f"{when}, open in {seconds.get('open', 0):.1f} s, shut in {seconds.get('close', 0):.1f} s"
