"""`breakglass plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.analysis.report.escape import visible
from breakglass.cli.output import directory_option, emit_json, kubeconfig_option, output_option, progress, wiring
from breakglass.model.ledger import describe_findings

if TYPE_CHECKING:
    from breakglass.lifecycle.apply import Planned
    from breakglass.lifecycle.plan import Step

_MARKS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red"), "restored": ("<", "cyan")}
_LONGEST_VALUE = 160


@click.command("plan", epilog="Example: breakglass plan prod-eu")
@click.argument("cluster")
@directory_option
@kubeconfig_option
@output_option
def command(cluster: str, directory: Path, kubeconfig: Path | None, output: str) -> int:
    """Print what `breakglass apply` would write in CLUSTER now, object by object and field by field; write nothing.

    Exit code 1 if an activation would be refused, 4 if the plan cannot be made whole.
    """
    from breakglass.lifecycle.apply import plan

    planned = plan(wiring(directory, kubeconfig, closing=True).applier(cluster, progress))
    if output == "json":
        emit_json("Plan", _body(cluster, planned))
    else:
        _show(cluster, planned)
    return 4 if planned.problems else 1 if planned.refused else 0


def _body(cluster: str, planned: Planned) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "commit": planned.commit,
        "closing": planned.closing,
        "opening": planned.opening,
        "steps": [_step(step) for each in planned.plans for step in each.steps],
        "foreign": {
            identity: [change.model_dump(mode="json", exclude={"live"}) for change in changes]
            for each in planned.plans
            for identity, changes in each.foreign.items()
        },
        "refused": {identity: describe_findings(findings) for identity, findings in planned.refused.items()},
        "problems": planned.problems,
    }


def _step(step: Step) -> dict[str, Any]:
    fields = [{"field": change.place, "before": change.before, "after": change.after} for change in step.fields]
    conflicts = [{"field": conflict.field, "manager": conflict.manager} for conflict in step.conflicts]
    return {
        "effect": step.effect,
        "object": str(step.key),
        "target": step.target,
        "fields": fields,
        "conflicts": conflicts,
    }


def _show(cluster: str, planned: Planned) -> None:
    click.echo(f"{cluster} at {planned.commit[:12] or 'an unknown commit'}")
    for identity, cause in planned.closing.items():
        click.echo(f"  closes    {identity}  {cause}")
    for identity in planned.opening:
        click.echo(f"  opens     {identity}")
    for identity, findings in planned.refused.items():
        for line in describe_findings(findings):
            click.echo(f"  {click.style('refuses', fg='red')}   {identity}  {line}")
    for each in planned.plans:
        for identity, changes in each.foreign.items():
            for change in changes:
                click.echo(f"  {click.style('foreign', fg='yellow')}   {identity}  {visible(str(change))}")
        for step in each.steps:
            _show_step(step)
    steps = [step for each in planned.plans for step in each.steps]
    counts = (f"{sum(step.effect == effect for step in steps)} {effect}" for effect in _MARKS)
    click.echo(", ".join(counts) if steps else "nothing to write")
    for problem in planned.problems:
        click.echo(f"  {click.style('problem', fg='red')}   {problem}", err=True)


def _show_step(step: Step) -> None:
    mark, colour = _MARKS[step.effect]
    click.echo(click.style(f"{mark} {step.effect:<9} {step.key}", fg=colour))
    if step.live is None or step.target is None:
        return
    for change in step.fields:
        click.echo(f"    {visible(change.place)}: {_value(change.before)} -> {_value(change.after)}")
    for conflict in step.conflicts:
        told = visible(f"{conflict.field} is owned by {conflict.manager}")
        click.echo(f"    {click.style('conflict', fg='yellow')} {told}")
    if not step.fields:
        click.echo("    its fields are as they should be; breakglass gives them back to their owners")


def _value(value: Any) -> str:
    if value is None:
        return "(absent)"
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
