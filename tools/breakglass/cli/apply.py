"""`breakglass apply`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.analysis.report.escape import visible
from breakglass.cli.failure import show
from breakglass.cli.output import (
    columns,
    directory_option,
    emit_json,
    kubeconfig_option,
    output_option,
    progress,
    wiring,
)
from breakglass.model.errors import BreakglassError
from breakglass.model.ledger import describe_findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from breakglass.lifecycle.run import Applied, Applier
    from breakglass.model.inventory import Inventory
    from breakglass.wiring import Wiring

NOT_CONVERGED = 4


@click.command("apply", epilog="Example: breakglass apply prod-eu")
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@click.option("every", "--all", is_flag=True, help="Every cluster of the policy, at once.")
@click.option("--cut", is_flag=True, help="After a closing, evict pods whose connections may have begun in the window.")
@directory_option
@kubeconfig_option
@output_option
def command(
    clusters: tuple[str, ...], every: bool, cut: bool, directory: Path, kubeconfig: Path | None, output: str
) -> int:
    """Bring each CLUSTER to what main says now: close what is over, open what is approved, verify, record.

    What it writes is what `breakglass plan` prints. Several clusters are done at once, and a dead one delays no other.

    Exit code 1 if an activation was refused, 4 if something is not converged yet (run it again).
    """
    from breakglass.lifecycle.apply import apply, apply_all

    if every == bool(clusters):
        raise click.UsageError("name one or more clusters, or give --all")
    wired = wiring(directory, kubeconfig, closing=True)
    names = tuple(wired.policy.spec.clusters) if every else tuple(dict.fromkeys(clusters))
    if len(names) == 1:
        applied = apply(wired.applier(names[0], progress, cut=cut))
        if output == "json":
            emit_json("Applied", _body(names[0], applied))
        else:
            _show(names[0], applied)
        return _code(applied)
    for name in names:
        wired.settings(name)
    begun = time.monotonic()
    results = apply_all({name: _applier(wired, name, cut) for name in names})
    if output == "json":
        bodies = [_body(name, result) for name, result in results.items()]
        emit_json("AppliedClusters", {"clusters": bodies})
    else:
        _show_all(results, time.monotonic() - begun)
    return max((_code(result) for result in results.values()), default=0)


def _applier(wired: Wiring, name: str, cut: bool) -> Callable[[], Applier]:
    return lambda: wired.applier(name, lambda line: progress(f"{name}: {line}"), cut=cut)


def _code(result: Applied | BreakglassError) -> int:
    if isinstance(result, BreakglassError):
        return result.exit_code
    return NOT_CONVERGED if result.problems else 1 if result.refused else 0


def _body(name: str, result: Applied | BreakglassError) -> dict[str, Any]:
    if isinstance(result, BreakglassError):
        return {"cluster": name, "error": str(result), "remedy": result.remedy, "exitCode": result.exit_code}
    return {
        "cluster": name,
        "commit": result.commit,
        "open": [item.activation for item in result.open],
        "closed": [item.activation for item in result.closed],
        "livesOn": result.lives_on,
        "refused": {name: describe_findings(findings) for name, findings in result.refused.items()},
        "problems": result.problems,
    }


def _show(name: str, applied: Applied) -> None:
    click.echo(f"{name} at {applied.commit[:12] or 'an unknown commit'}")
    for item in applied.open:
        click.echo(f"  open      {item.activation}  until {item.expiry:%H:%M:%S}Z, {len(item.objects)} objects")
        _show_foreign(item)
    for item in applied.closed:
        click.echo(f"  closed    {item.activation}  {item.cause}, baseline proven")
        _show_closed(item, applied.lives_on.get(item.activation, []))
    for identity, findings in applied.refused.items():
        for line in describe_findings(findings):
            click.echo(f"  {click.style('refused', fg='red')}   {identity}  {line}")
    for problem in applied.problems:
        click.echo(f"  {click.style('problem', fg='red')}   {problem}", err=True)


def _show_foreign(item: Inventory) -> None:
    for change in item.foreign:
        click.echo(f"  {click.style('foreign', fg='yellow')}   {item.activation}  {visible(str(change))}")


def _show_closed(item: Inventory, lives_on: list[str]) -> None:
    _show_foreign(item)
    for sentence in lives_on:
        click.echo(f"            {sentence}")
    if item.cut is not None:
        click.echo(f"            evicted {len(item.cut.evicted)} pods")
        for sentence in item.cut.left:
            click.echo(f"            not cut: {sentence}")


def _show_all(results: dict[str, Applied | BreakglassError], seconds: float) -> None:
    """One table, the clusters in the order asked for; details of what went wrong below it."""
    rows: list[tuple[str, ...]] = [("CLUSTER", "RESULT", "OPEN", "CLOSED", "REFUSED", "PROBLEMS")]
    for name, result in results.items():
        if isinstance(result, BreakglassError):
            rows.append((name, click.style("failed", fg="red"), "-", "-", "-", "1"))
            continue
        counts = (len(result.open), len(result.closed), len(result.refused), len(result.problems))
        word = ("converged", "refused", "", "", "not converged")[_code(result)]
        colour = {0: "green", 1: "yellow", NOT_CONVERGED: "red"}[_code(result)]
        rows.append((name, click.style(word, fg=colour), *map(str, counts)))
    for line in columns(rows):
        click.echo(line)
    converged = sum(_code(result) == 0 for result in results.values())
    click.echo(f"{converged} of {len(results)} converged in {seconds:.1f} s")
    for name, result in results.items():
        if isinstance(result, BreakglassError):
            click.echo(f"{name}:", err=True)
            show(result)
        elif _code(result):
            _show(name, result)
