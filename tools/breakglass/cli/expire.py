"""`breakglass expire`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from breakglass.cli.output import DurationType, directory_option, emit_json, output_option, progress, wiring

NOT_CLOSED = 4


@click.command("expire", epilog="Example: breakglass expire")
@click.option(
    "--patience", type=DurationType(), default="4m", show_default=True, help="How long to wait for the clusters."
)
@directory_option
@output_option
def command(patience: timedelta, directory: Path, output: str) -> int:
    """Open and merge the closing pull request of all that is over, and see the clusters closed.

    Idempotent, safe to run twice at once. Exit code 4 if something is not closed, or not seen closed; an issue tells it
    then, once an hour.
    """
    from breakglass.lifecycle.expire import Lane, expire

    wired = wiring(directory, closing=True)
    bot = wired.policy.spec.bot.login
    lane = Lane(wired.repository, wired.forge, wired.clock, wired.branch, wired.ledger_branch, bot, progress)
    expired = expire(lane, patience)
    if output == "json":
        body = {
            "pullRequests": [{"number": pull.number, "url": pull.url} for pull in expired.merged],
            "closed": expired.closed,
            "waiting": [{"activation": name, "cluster": cluster} for name, cluster in expired.waiting],
            "problems": expired.problems,
            "alarm": expired.alarm,
        }
        emit_json("Expired", body)
    else:
        for name in expired.closed:
            click.echo(f"  closed    {name}")
        if not expired.closed and not expired.problems:
            click.echo("  nothing is over")
        for problem in expired.problems:
            click.echo(f"  {click.style('problem', fg='red')}   {problem}", err=True)
        if expired.alarm is not None:
            click.echo(f"  told in   {expired.alarm}", err=True)
    return NOT_CLOSED if expired.problems else 0
