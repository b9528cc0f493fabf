"""`breakglass drill`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from breakglass.cli.open import parameters_of
from breakglass.cli.output import directory_option, emit_json, kubeconfig_option, output_option, progress, wiring
from breakglass.model.errors import UsageError
from breakglass.wiring import random_id

if TYPE_CHECKING:
    from breakglass.model.ledger import Drilled


@click.command("drill", epilog="Example: breakglass drill db-from-bastion --cluster drill")
@click.argument("overlay", required=False)
@click.option("--cluster", required=True, help="A cluster that the policy keeps for drills.")
@click.option("every", "--all", is_flag=True, help="Every overlay that is meant for the cluster.")
@click.option(
    "parameters", "-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the overlay."
)
@directory_option
@kubeconfig_option
@output_option
def command(
    overlay: str | None,
    cluster: str,
    every: bool,
    parameters: tuple[str, ...],
    directory: Path,
    kubeconfig: Path | None,
    output: str,
) -> int:
    """Open, probe and close an overlay in a cluster meant for it, through the code of a real emergency, timed.

    The receipt lands on the ledger. Exit code 1 if the contract did not hold, something stayed open, or it took long.
    """
    from breakglass.lifecycle.content import overlay_names, read_overlay
    from breakglass.lifecycle.drill import Drill, drill

    if every == (overlay is not None):
        raise UsageError("name one overlay, or give --all")
    wired = wiring(directory, kubeconfig)
    wired.settings(cluster)
    repository = wired.repository
    repository.fetch()
    tip = repository.resolve(f"refs/remotes/origin/{wired.branch}")
    setting = Drill(
        cluster,
        wired.cluster(cluster),
        repository,
        wired.renderer,
        wired.clock,
        wired.branch,
        wired.ledger_branch,
        progress,
        wired.holder,
    )
    receipts = []
    for name in overlay_names(repository, tip) if every else [overlay or ""]:
        spec = read_overlay(repository, tip, name).overlay.spec
        if every and cluster not in spec.scope.clusters:
            continue
        values = parameters_of(parameters, spec.parameters, examples=every)
        receipts.append(drill(setting, name, values, requested_by=wired.policy.spec.bot.login, random=random_id()))
    if output == "json":
        emit_json("Drills", {"drills": [receipt.model_dump(mode="json") for receipt in receipts]})
    else:
        for receipt in receipts:
            _show(receipt)
    return 0 if all(receipt.passed for receipt in receipts) else 1


def _show(receipt: Drilled) -> None:
    word = (
        click.style("passed", fg="green", bold=True) if receipt.passed else click.style("failed", fg="red", bold=True)
    )
    phases = ", ".join(f"{phase.name} {phase.seconds:.2f} s" for phase in receipt.phases)
    click.echo(f"{word}  {receipt.overlay} on {receipt.cluster}: {phases}")
    for finding in receipt.findings:
        click.echo(f"  {finding}")
