"""`breakglass close`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.output import directory_option, emit_json, output_option, progress, wiring


@click.command("close", epilog="Example: breakglass close 2026-11-23-db-from-bastion-7f3a")
@click.argument("ids", nargs=-1, required=True, metavar="ACTIVATION...")
@click.option("reason", "--because", default="Not needed any more.", help="Why it closes before its time.")
@directory_option
@output_option
def command(ids: tuple[str, ...], reason: str, directory: Path, output: str) -> None:
    """Close activations before their time: makes the closing pull request and starts its merge. Needs no approval."""
    from breakglass.lifecycle.expire import EXPIRE_WORKFLOW, Lane, request_closing

    wired = wiring(directory, closing=True)
    bot = wired.policy.spec.bot.login
    lane = Lane(wired.repository, wired.forge, wired.clock, wired.branch, wired.ledger_branch, bot, progress)
    wired.repository.fetch()
    pull = request_closing(lane, ids, reason)
    wired.forge.dispatch(EXPIRE_WORKFLOW, {})
    if output == "json":
        emit_json("Closing", {"activations": list(ids), "pullRequest": {"number": pull.number, "url": pull.url}})
    else:
        click.echo(f"  PR        {wired.policy.spec.forge.repository}#{pull.number} {pull.url}")
        click.echo(
            f"            merged by {wired.policy.spec.bot.login} as soon as its checks pass; see breakglass status"
        )
