"""`breakglass status`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.cli.output import columns, directory_option, emit_json, output_option, wiring
from breakglass.model.time import countdown, format_instant

if TYPE_CHECKING:
    from breakglass.lifecycle.audit import Status

_COLOURS = {"open": "green", "pending": "yellow", "late": "red", "refused": "red", "closed": None}
_FETCH_EVERY = timedelta(seconds=10)


@click.command("status", epilog="Example: breakglass status --watch")
@click.option("--watch", is_flag=True, help="Count down, and look again every ten seconds, until Ctrl-C.")
@click.option("every", "--all", is_flag=True, help="Closed and refused ones too.")
@directory_option
@output_option
def command(watch: bool, every: bool, directory: Path, output: str) -> int:
    """What is open, where, how long still, who asked, who approved, and what is late. From git alone.

    Exit code 4 if a closing is late.
    """
    from breakglass.lifecycle.audit import status, stories

    wired = wiring(directory, closing=True)
    fetched = wired.clock.now()
    wired.repository.fetch()
    told = stories(wired.repository, wired.branch, wired.ledger_branch)
    while True:
        now = wired.clock.now()
        rows = [row for row in status(told, now) if every or row.condition in ("open", "pending", "late")]
        if output == "json":
            emit_json("Status", {"at": format_instant(now), "activations": [_json(row, now) for row in rows]})
        else:
            _show(rows, now, watch)
        if not watch:
            return 4 if any(row.condition == "late" for row in rows) else 0
        wired.clock.sleep(timedelta(seconds=1))
        if wired.clock.now() - fetched >= _FETCH_EVERY:
            fetched = wired.clock.now()
            wired.repository.fetch()
            told = stories(wired.repository, wired.branch, wired.ledger_branch)


def _show(rows: list[Status], now: datetime, watch: bool) -> None:
    if watch:
        click.clear()
    if not rows:
        click.echo("nothing is open")
        return
    for line in columns([_row(row, now) for row in rows]):
        click.echo(line)


def _row(row: Status, now: datetime) -> tuple[str, ...]:
    window, spec = row.story.window, row.activation.spec
    left = window.expiry - now if window.expiry is not None else timedelta(0)
    time = f"{countdown(left)} left" if left > timedelta(0) else f"over for {countdown(-left)}"
    opened = row.story.opened.get(row.cluster)
    approved = f"approved by {len(opened.approvedBy)}" if opened is not None else ""
    applied = f"applied {opened.appliedAfterSeconds:.1f} s after merge" if opened is not None else ""
    condition = click.style(row.condition, fg=_COLOURS[row.condition], bold=True)
    ended = "" if row.condition in ("closed", "refused") else time
    return (row.cluster, spec.overlay, condition, ended, f"asked by @{spec.requestedBy}", approved, applied, window.id)


def _json(row: Status, now: datetime) -> dict[str, Any]:
    window, spec = row.story.window, row.activation.spec
    opened, closed = row.story.opened.get(row.cluster), row.story.closed.get(row.cluster)
    return {
        "activation": window.id,
        "cluster": row.cluster,
        "overlay": spec.overlay,
        "condition": row.condition,
        "requestedBy": spec.requestedBy,
        "approvedBy": list(row.story.approved_by),
        "openedAt": format_instant(window.opened.committed_at),
        "expiry": format_instant(window.expiry) if window.expiry is not None else None,
        "secondsLeft": int((window.expiry - now).total_seconds()) if window.expiry is not None else None,
        "appliedAfterSeconds": opened.appliedAfterSeconds if opened is not None else None,
        "closedAt": format_instant(closed.closedAt) if closed is not None else None,
    }
