"""`breakglass verdict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.cli.output import directory_option, emit_findings, emit_json, finding_json, output_option, wiring

if TYPE_CHECKING:
    from breakglass.lifecycle.rejudge import Rejudged
    from breakglass.lifecycle.verdict import Verdict


@click.command("verdict", epilog="Example: breakglass verdict 2026-11-23-db-from-bastion-7f3a")
@click.argument("activation_id", metavar="ACTIVATION")
@directory_option
@output_option
def command(activation_id: str, directory: Path, output: str) -> int:
    """Judge the approval of ACTIVATION again: from its evidence on the ledger and the files on main, asking nobody.

    Exit code 1 if it is refused, or is not what the ledger says the applier came to.
    """
    from breakglass.lifecycle.rejudge import rejudge

    wired = wiring(directory)
    again = rejudge(wired.repository, wired.conditions, wired.branch, wired.ledger_branch, activation_id)
    if output == "json":
        emit_json("Verdict", _json(again))
    else:
        _show(again)
    return 0 if again.same and again.verdict.approved else 1


def explained(verdict: Verdict) -> list[str]:
    """What was needed, what is there, who else could, and what does not count, as lines for people."""
    by, could = ", ".join(verdict.approved_by) or "nobody", ", ".join(verdict.candidates) or "nobody"
    teams = f" of {verdict.needs.teams} different teams" if verdict.needs.teams else ""
    lines = [f"  approved  by {len(verdict.approved_by)} of {verdict.required}{teams}: {by}"]
    lines += [f"            {reason}" for reason in verdict.needs.reasons]
    if len(verdict.approved_by) < verdict.required:
        lines.append(f"  could     {could}")
    lines += [f"  ignored   {each.login} {each.why}" for each in verdict.ignored]
    return lines


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict for programs, its findings left out."""
    return {
        "required": verdict.required,
        "teams": verdict.needs.teams,
        "reasons": list(verdict.needs.reasons),
        "approvedBy": list(verdict.approved_by),
        "candidates": list(verdict.candidates),
        "ignored": [{"login": each.login, "why": each.why} for each in verdict.ignored],
    }


def _json(again: Rejudged) -> dict[str, Any]:
    return {
        "activation": again.activation,
        "commit": again.commit,
        "pullRequest": {"number": again.evidence.pullRequest, "url": again.evidence.url},
        "approved": again.verdict.approved,
        "approvals": verdict_json(again.verdict),
        "findings": [finding_json(finding) for finding in again.verdict.findings],
        "recorded": again.recorded.model_dump(mode="json") if again.recorded is not None else None,
        "same": again.same,
    }


def _show(again: Rejudged) -> None:
    evidence = again.evidence
    click.echo(f"{again.activation}  #{evidence.pullRequest} {evidence.url}")
    click.echo(f"  asked     by {evidence.requestedBy}, merged by {evidence.mergedBy} at {again.commit[:12]}")
    for line in explained(again.verdict):
        click.echo(line)
    emit_findings(again.verdict.findings)
    ledger = "as the ledger says" if again.same else "NOT what the ledger says"
    word = ("approved", "green") if again.verdict.approved else ("refused", "red")
    click.echo(f"{click.style(word[0], fg=word[1], bold=True)}, {ledger}")
