"""`breakglass solo`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.output import directory_option, emit_findings, emit_json, finding_json, output_option, wiring


@click.command("solo", epilog="Example: breakglass solo 482")
@click.argument("pull_request", type=click.IntRange(min=1), metavar="PULL-REQUEST")
@directory_option
@output_option
def command(pull_request: int, directory: Path, output: str) -> int:
    """Merge an opening pull request that nobody need approve, where the policy lets its requester open alone.

    For the workflow, with the App's token. Everybody is told first. Exit code 1 if it may not be merged, with every
    reason; then it takes approvals, as any other.
    """
    from breakglass.lifecycle.solo import merge_solo

    wired = wiring(directory)
    wired.repository.fetch()
    done = merge_solo(wired.gate, wired.renderer, wired.clock, pull_request, wired.branch)
    if output == "json":
        body = {
            "activation": done.activation.id,
            "pullRequest": {"number": done.pull.number, "url": done.pull.url},
            "merge": done.merge,
            "findings": [finding_json(finding) for finding in done.findings],
        }
        emit_json("Solo", body)
    else:
        emit_findings(done.findings)
        click.echo(f"  {done.activation.id} {'opens alone' if done.merge else 'does not open alone'}: {done.pull.url}")
    return 0 if done.merge is not None else 1
