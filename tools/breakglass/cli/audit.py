"""`breakglass audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.analysis.report.escape import visible
from breakglass.cli.output import columns, directory_option, emit_json, output_option, wiring
from breakglass.model.errors import UsageError
from breakglass.model.time import format_duration, format_instant, parse_instant

if TYPE_CHECKING:
    from breakglass.lifecycle.audit import Story
    from breakglass.model.evidence import Evidence
    from breakglass.model.ledger import Closed, Opened


@click.group("audit", epilog="Example: breakglass audit log")
def command() -> None:
    """Who could reach what, when, and who said so: from a clone alone, no forge and no cluster asked."""


@command.command("log", epilog="Example: breakglass audit log --at 2026-11-23T02:20:00Z")
@click.option("--at", metavar="INSTANT", help="Only what was open at this UTC instant.")
@directory_option
@output_option
def log(at: str | None, directory: Path, output: str) -> None:
    """List every activation that ever reached main, oldest first."""
    from breakglass.lifecycle.audit import stories

    wired = wiring(directory, closing=True)
    told = stories(wired.repository, wired.branch, wired.ledger_branch)
    if at is not None:
        try:
            time = parse_instant(at)
        except ValueError as error:
            raise UsageError(str(error)) from None
        told = tuple(item for item in told if item.open_at(time))
    if output == "json":
        return emit_json("AuditLog", {"activations": [_json(item) for item in told]})
    if not told:
        return click.echo("no activation" + (" was open then" if at else " ever reached main"))
    for line in columns([_row(item) for item in told]):
        click.echo(line)
    return None


def _row(told: Story) -> tuple[str, ...]:
    window = told.window
    spec = window.activation.spec if window.activation is not None else None
    ended = max((event.closedAt for event in told.closed.values()), default=None)
    approved = ", ".join(f"@{login}" for login in told.approved_by)
    return (
        format_instant(window.opened.committed_at),
        format_instant(ended) if ended is not None and len(told.closed) == len(told.opened) else "-",
        window.id,
        f"@{spec.requestedBy}" if spec is not None else "-",
        f"approved by {approved}" if approved else "not approved",
        spec.incident if spec is not None else "-",
    )


@command.command("show", epilog="Example: breakglass audit show 2026-11-23-db-from-bastion-7f3a")
@click.argument("activation_id", metavar="ACTIVATION")
@directory_option
@output_option
def show(activation_id: str, directory: Path, output: str) -> None:
    """Tell the whole story of one activation."""
    from breakglass.lifecycle.audit import story

    wired = wiring(directory, closing=True)
    told = story(wired.repository, wired.branch, wired.ledger_branch, activation_id)
    if output == "json":
        return emit_json("AuditStory", _json(told))
    return _tell(told)


def _tell(told: Story) -> None:
    window = told.window
    click.secho(window.id, bold=True)
    if window.activation is not None:
        spec = window.activation.spec
        asked = f"@{spec.requestedBy} at {format_instant(spec.requestedAt)}: {spec.reason} ({spec.incident})"
        _line("asked", asked)
        _line("overlay", f"{spec.overlay} {spec.digest[:19]}… for {format_duration(spec.duration)}")
    if told.evidence is not None:
        _tell_evidence(told.evidence)
    _line("main", f"{window.opened.sha[:12]} at {format_instant(window.opened.committed_at)}")
    for finding in window.findings:
        _line("void", finding.message)
    for opened in told.opened.values():
        _tell_opened(opened)
    for cluster, refusal in told.refused.items():
        _line("refused", f"{cluster} at {format_instant(refusal.refusedAt)}: {'; '.join(refusal.findings)}")
    if window.expiry is not None:
        _line("expiry", format_instant(window.expiry))
    for closed in told.closed.values():
        _tell_closed(closed)
    if window.closed is not None:
        _line("recorded", f"{window.closed.sha[:12]} at {format_instant(window.closed.committed_at)}")


def _tell_evidence(evidence: Evidence) -> None:
    for review in evidence.reviews:
        bound = "the merged head" if review.commit == evidence.head else f"another head {(review.commit or '')[:12]}"
        _line("review", f"@{review.login} {review.state} at {format_instant(review.submittedAt)} on {bound}")
    _line("merged", f"by @{evidence.mergedBy} from head {evidence.head[:12]}, {evidence.url}")


def _tell_opened(event: Opened) -> None:
    approved = ", ".join(f"@{login}" for login in event.approvedBy)
    _line("opened", f"{event.cluster} {event.appliedAfterSeconds:.1f} s after the merge, approved by {approved}")
    for line in (*event.opens, *event.objects):
        _line("", f"  {line}")


def _tell_closed(event: Closed) -> None:
    when = f"{event.lateSeconds:.0f} s after the expiry" if event.lateSeconds >= 0 else "before the expiry"
    at = f"{event.cluster} at {format_instant(event.closedAt)} by the {event.closedBy} ({event.cause}), {when}"
    _line("closed", f"{at}; baseline {event.baseline}")
    for change in event.foreign:
        _line("", f"  foreign: {visible(str(change))}{' (kept)' if change.object in event.kept else ''}")
    for sentence in event.livesOn:
        _line("", f"  {sentence}")
    if event.cut is not None:
        _line("", f"  cut: evicted {', '.join(event.cut.evicted) or 'nothing'}")
        for sentence in event.cut.left:
            _line("", f"  not cut: {sentence}")


def _line(word: str, text: str) -> None:
    click.echo(f"  {word:<9} {text}")


def _json(told: Story) -> dict[str, Any]:
    window = told.window
    return {
        "id": window.id,
        "activation": window.activation.model_dump(mode="json") if window.activation is not None else None,
        "openedBy": window.opened.sha,
        "openedAt": format_instant(window.opened.committed_at),
        "closedBy": window.closed.sha if window.closed is not None else None,
        "expiry": format_instant(window.expiry) if window.expiry is not None else None,
        "void": [finding.message for finding in window.findings],
        "approvedBy": list(told.approved_by),
        "evidence": told.evidence.model_dump(mode="json") if told.evidence is not None else None,
        "clusters": {
            "opened": {name: event.model_dump(mode="json") for name, event in told.opened.items()},
            "closed": {name: event.model_dump(mode="json") for name, event in told.closed.items()},
            "refused": {name: event.model_dump(mode="json") for name, event in told.refused.items()},
        },
    }
