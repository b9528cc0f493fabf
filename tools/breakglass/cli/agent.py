"""`breakglass agent`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.output import emit_json, kubeconfig_option, output_option, progress, wiring


@click.command("agent", epilog="Example: breakglass agent --once")
@click.option("--once", is_flag=True, help="Close what is over and leave; exit code 4 if something stays open.")
@kubeconfig_option
@output_option
def command(once: bool, kubeconfig: Path | None, output: str) -> None:
    """Close expired windows from inside a cluster: needs its ServiceAccount, and neither git nor forge nor CI."""
    from breakglass.lifecycle.agent import close_expired, run

    wired = wiring(Path(), kubeconfig)
    clock, cluster = wired.clock, wired.own_cluster
    if not once:
        return run(cluster, clock, progress)
    closed = close_expired(cluster, clock)
    if output == "json":
        emit_json("Closed", {"closed": [item.activation for item in closed]})
    else:
        for item in closed:
            click.echo(f"  closed    {item.activation}")
    return None
