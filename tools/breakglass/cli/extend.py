"""`breakglass extend`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from breakglass.cli.open import ask, show
from breakglass.cli.output import DurationType, directory_option, output_option, wiring
from breakglass.wiring import random_id


@click.command(
    "extend",
    epilog='Example: breakglass extend 2026-11-23-db-from-bastion-7f3a --for 30m --because "the restore takes longer"',
)
@click.argument("activation")
@click.option(
    "duration", "--for", type=DurationType(), required=True, help="How long the new window is, from its merge."
)
@click.option("reason", "--because", help="Why it takes longer.")
@click.option("--requested-by", help="Login of the requester, where the token is not theirs.")
@click.option("--dry-run", is_flag=True, help="Check and show everything, open nothing.")
@directory_option
@output_option
def command(
    activation: str,
    duration: timedelta,
    reason: str | None,
    requested_by: str | None,
    dry_run: bool,
    directory: Path,
    output: str,
) -> None:
    """Ask for longer: a new activation of the same overlay, clusters and parameters, linked to the one that is open.

    It is approved like any other, and must be merged while the first is open. From the first opening to the last end
    the chain is no longer than one window may be.
    """
    from breakglass.lifecycle.request import prepare, prolong, submit

    wired = wiring(directory)
    wired.repository.fetch()
    why = ask(reason, "Because", "--because")
    by = requested_by or ("dry-run" if dry_run and wired.token is None else wired.forge.whoami())
    prepared = prepare(
        wired.repository,
        wired.renderer,
        wired.conditions,
        prolong(wired.repository, wired.branch, activation, duration, why, by),
        branch=wired.branch,
        ledger_branch=wired.ledger_branch,
        now=wired.clock.now(),
        random=random_id(),
    )
    author = wired.policy.spec.bot.login if requested_by else by
    pull = None if dry_run else submit(prepared, wired.repository, wired.forge, author)
    show(prepared, pull, output, wired)
