"""`breakglass apply`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.output import directory_option, emit_json, kubeconfig_option, output_option, progress, wiring
from breakglass.model.ledger import describe_findings

NOT_CONVERGED = 4


@click.command("apply", epilog="Example: breakglass apply prod-eu")
@click.argument("cluster")
@directory_option
@kubeconfig_option
@output_option
def command(cluster: str, directory: Path, kubeconfig: Path | None, output: str) -> int:
    """Bring CLUSTER to what main says now: close what is over, open what is approved, verify, record.

    Exit code 1 if an activation was refused, 4 if something is not converged yet (run it again).
    """
    from breakglass.lifecycle.apply import Applier, apply

    wired = wiring(directory, kubeconfig, closing=True)
    applier = Applier(
        name=cluster,
        cluster=wired.cluster(cluster),
        repository=wired.repository,
        forge=wired.forge,
        renderer=wired.renderer,
        clock=wired.clock,
        branch=wired.branch,
        ledger_branch=wired.ledger_branch,
        report=progress,
    )
    applied = apply(applier)
    if output == "json":
        body = {
            "cluster": cluster,
            "commit": applied.commit,
            "open": [item.activation for item in applied.open],
            "closed": [item.activation for item in applied.closed],
            "refused": {name: describe_findings(findings) for name, findings in applied.refused.items()},
            "problems": applied.problems,
        }
        emit_json("Applied", body)
    else:
        click.echo(f"{cluster} at {applied.commit[:12] or 'an unknown commit'}")
        for item in applied.open:
            click.echo(f"  open      {item.activation}  until {item.expiry:%H:%M:%S}Z, {len(item.objects)} objects")
        for item in applied.closed:
            click.echo(f"  closed    {item.activation}  {item.cause}, baseline proven")
        for name, findings in applied.refused.items():
            for line in describe_findings(findings):
                click.echo(f"  {click.style('refused', fg='red')}   {name}  {line}")
        for problem in applied.problems:
            click.echo(f"  {click.style('problem', fg='red')}   {problem}", err=True)
    return NOT_CONVERGED if applied.problems else 1 if applied.refused else 0
