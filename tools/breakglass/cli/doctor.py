"""`breakglass doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.output import (
    directory_option,
    emit_findings,
    emit_json,
    finding_json,
    kubeconfig_option,
    output_option,
    wiring,
)


@click.command("doctor", epilog="Example: breakglass doctor --live")
@click.argument("revision", default="HEAD")
@click.option("--live", is_flag=True, help="Ask the forge and every cluster as well.")
@directory_option
@kubeconfig_option
@output_option
def command(revision: str, live: bool, directory: Path, kubeconfig: Path | None, output: str) -> int:
    """Say what is missing or misconfigured in the files of REVISION and on the remote, with the fix.

    Changes nothing. Exit code 1 if a finding is an error.
    """
    from breakglass.lifecycle.doctor import Surroundings, examine
    from breakglass.model.finding import refuses

    wired = wiring(directory, kubeconfig)
    findings = examine(
        Surroundings(
            repository=lambda: wired.repository,
            renderer=wired.renderer,
            forge=lambda: wired.forge,
            cluster=wired.cluster,
            templates=wired.templates,
            revision=revision,
            now=wired.clock.now(),
            live=live,
        )
    )
    errors = sum(finding.severity == "error" for finding in findings)
    if output == "json":
        body = {"healthy": not refuses(findings), "live": live, "findings": [finding_json(item) for item in findings]}
        emit_json("Doctor", body)
    else:
        emit_findings(findings)
        asked = "" if live else "; forge and clusters were not asked (--live)"
        found = f"{errors} errors, {len(findings) - errors} warnings and notes" if findings else "nothing is wrong"
        click.echo(f"{found}{asked}")
    return 1 if errors else 0
