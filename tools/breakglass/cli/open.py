"""`breakglass open`."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.cli.output import (
    DurationType,
    directory_option,
    emit_json,
    on_terminal,
    output_option,
    wiring,
)
from breakglass.model.errors import UsageError
from breakglass.model.time import format_duration, format_instant
from breakglass.wiring import Wiring, random_id

if TYPE_CHECKING:
    from breakglass.lifecycle.request import Prepared
    from breakglass.ports import PullRequest


@click.command(
    "open",
    epilog='Example: breakglass open db-from-bastion --for 30m --because "checkout down" --incident INC-4211',
)
@click.argument("overlay", required=False)
@click.option("clusters", "--cluster", multiple=True, help="Cluster to open on; may be given several times.")
@click.option("duration", "--for", type=DurationType(), help="How long; the overlay's default if not given.")
@click.option("reason", "--because", help="Why, for reviewers tonight and auditors next year.")
@click.option("--incident", help="Incident or ticket.")
@click.option(
    "parameters", "-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the overlay."
)
@click.option("parameters_json", "--parameters", metavar="JSON", help="All parameters at once, as a JSON object.")
@click.option("--requested-by", help="Login of the requester, where the token is not theirs.")
@click.option("--solo", is_flag=True, help="Nobody is there to approve: open alone, as far as the policy lets you.")
@click.option("--dry-run", is_flag=True, help="Check and show everything, open nothing.")
@directory_option
@output_option
def command(
    overlay: str | None,
    clusters: tuple[str, ...],
    duration: timedelta | None,
    reason: str | None,
    incident: str | None,
    parameters: tuple[str, ...],
    parameters_json: str | None,
    requested_by: str | None,
    solo: bool,
    dry_run: bool,
    directory: Path,
    output: str,
) -> None:
    """Ask for emergency access: check it, commit it, open the pull request, ask the approvers.

    Asks on a terminal for what is missing. Nothing changes in a cluster before the pull request is approved and merged.
    """
    from breakglass.lifecycle.content import overlay_names, read_overlay
    from breakglass.lifecycle.request import Request, prepare, production_clusters, submit

    wired = wiring(directory)
    repository = wired.repository
    repository.fetch()
    tip = repository.resolve(f"refs/remotes/origin/{wired.branch}")
    name = ask(overlay, "Overlay", "OVERLAY", list(overlay_names(repository, tip)))
    contract = read_overlay(repository, tip, name).overlay
    known, production = contract.spec, production_clusters(wired.policy, contract)
    chosen = clusters or (
        production if len(production) == 1 else (ask(None, "Cluster", "--cluster", list(production)),)
    )
    request = Request(
        overlay=name,
        clusters=chosen,
        parameters=parameters_of(parameters, known.parameters, given_json=parameters_json),
        reason=ask(reason, "Because", "--because"),
        incident=ask(incident, "Incident", "--incident"),
        requested_by=requested_by or ("dry-run" if dry_run and wired.token is None else wired.forge.whoami()),
        duration=duration,
        solo=solo,
    )
    prepared = prepare(
        repository,
        wired.renderer,
        wired.conditions,
        request,
        branch=wired.branch,
        ledger_branch=wired.ledger_branch,
        now=wired.clock.now(),
        random=random_id(),
    )
    author = wired.policy.spec.bot.login if requested_by else request.requested_by
    pull = None if dry_run else submit(prepared, repository, wired.forge, author)
    show(prepared, pull, output, wired)


def ask(value: str | None, question: str, flag: str, choices: list[str] | None = None) -> str:
    """The value given, or the answer of the person at the terminal.

    Raises:
        UsageError: it is missing and nobody can be asked.
    """
    if value is not None:
        return value
    if not on_terminal():
        hint = f": one of {', '.join(choices)}" if choices else ""
        raise UsageError(f"{flag} is missing{hint}", remedy="give it on the command line; nobody is here to be asked")
    answer: str = click.prompt(question, type=click.Choice(choices) if choices else str, err=True)
    return answer


def parameters_of(
    given: tuple[str, ...], schema: dict[str, Any], *, given_json: str | None = None, examples: bool = False
) -> dict[str, Any]:
    """Parameters by name: from the flags, then from the schema's examples if asked for, then from the person."""
    from breakglass.lifecycle.request import typed

    properties: dict[str, Any] = schema.get("properties", {})
    values = _json_object(given_json)
    for item in given:
        name, separator, text = item.partition("=")
        if not separator:
            raise UsageError(f"{item!r} is not NAME=VALUE", remedy="write --parameter sourceRange=203.0.113.0/24")
        values[name] = typed(text, properties.get(name, {}))
    for name in schema.get("required", []):
        if name not in values:
            details = properties.get(name, {})
            if examples and details.get("examples"):
                values[name] = details["examples"][0]
                continue
            question = f"{name} ({details['description']})" if "description" in details else name
            values[name] = typed(ask(None, question, f"--parameter {name}=…"), details)
    return values


def _json_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"--parameters is not JSON: {error}", remedy='write --parameters \'{"name": "value"}\''
        ) from None
    if not isinstance(values, dict):
        raise UsageError("--parameters is not a JSON object", remedy='write --parameters \'{"name": "value"}\'')
    return values


def show(prepared: Prepared, pull: PullRequest | None, output: str, wired: Wiring) -> None:
    """Print the opening pull request, or without one what it would be."""
    from breakglass.lifecycle.receipts import drilled
    from breakglass.lifecycle.request import body, title
    from breakglass.model.activation import activation_file, write_activation

    activation, spec = prepared.activation, prepared.activation.spec
    if output == "json":
        body_json = {
            "activation": activation.model_dump(mode="json"),
            "file": activation_file(activation.id),
            "branch": prepared.branch,
            "opens": list(prepared.checked.opens),
            "approvals": {"minimum": prepared.required.approvals, "approvers": list(prepared.approvers)},
            "pullRequest": None if pull is None else {"number": pull.number, "url": pull.url},
        }
        return emit_json("Opening", body_json)
    for line in prepared.checked.opens:
        click.echo(f"  {line}")
    click.echo("  contract  holds; nothing else changes")
    click.echo(f"  drilled   {drilled(prepared.drill, spec.requestedAt)}")
    asked = "" if pull is None else "  (asked)"
    if spec.solo:
        click.echo("  approvers nobody, where the policy lets you; somebody else must review it afterwards")
    else:
        click.echo(f"  approvers {prepared.required.approvals} of {', '.join(prepared.approvers)}{asked}")
    if prepared.merge_before is not None:
        click.echo(f"  prolongs  {spec.extends}; merge before {format_instant(prepared.merge_before)}")
    if pull is None:
        click.echo(f"  dry run   nothing was opened; {activation_file(activation.id)} would be:\n")
        click.echo(write_activation(activation).decode(), nl=False)
        click.echo(f"\n{title(activation)}\n\n{body(prepared)}", nl=False)
        return None
    reference = f"{wired.policy.spec.forge.repository}#{pull.number}"
    click.echo(f"  PR        {click.style(reference, bold=True)} {pull.url}")
    click.echo(f"            closes by itself {format_duration(spec.duration)} after the merge")
    click.echo(f"  early     breakglass close {activation.id}")
    return None
