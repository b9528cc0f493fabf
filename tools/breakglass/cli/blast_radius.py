"""`breakglass blast-radius`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.analysis import (
    controllers_from,
    emit,
    emit_page,
    exit_code_option,
    exit_on_difference,
    policy_option,
    profile_from,
    profile_options,
    read_inputs,
)
from breakglass.model.errors import UsageError


@click.command("blast-radius", epilog="Example: breakglass blast-radius base after.yaml --closes 2026-11-23T02:43:00Z")
@click.argument("before")
@click.argument("after")
@click.option("--closes", metavar="INSTANT", default="", help="When it closes again, a UTC instant.")
@profile_options
@policy_option
@exit_code_option
@click.option(
    "--repository", metavar="OWNER/NAME", default="acme/platform", help="Whose docs/findings.md SARIF refers to."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "markdown", "svg", "dot", "html", "sarif"]),
    default="text",
    show_default=True,
    help="For people, programs, as a picture, a page, or for code scanning.",
)
def command(
    before: str,
    after: str,
    closes: str,
    cni: str,
    ip_blocks_match_pods: str,
    policy: Path | None,
    exit_code: bool,
    repository: str,
    output: str,
) -> None:
    """Tell what AFTER opens against BEFORE: connections, exposure and access on one page, the worst first.

    BEFORE and AFTER are files or directories of manifests, kustomize roots, or - for standard input.
    """
    from breakglass.analysis.blast_radius import blast_radius, read_side
    from breakglass.analysis.report.blast_radius_page import blast_radius_json, page_of_blast_radius, sarif_of

    closing = f"at {_instant(closes)}" if closes else ""
    old, new = read_inputs(before, after)
    profile = profile_from(cni, ip_blocks_match_pods)
    radius = blast_radius(read_side(old), read_side(new), controllers_from(policy), profile)
    page = page_of_blast_radius(radius, closing)
    if output == "json":
        emit(blast_radius_json(radius, page, closing))
    elif output == "sarif":
        emit([sarif_of(page, repository)])
    else:
        emit_page(page, output)
    exit_on_difference(exit_code, bool(radius))


def _instant(written: str) -> str:
    from breakglass.model.time import format_instant, parse_instant

    try:
        return format_instant(parse_instant(written))
    except ValueError as error:
        raise UsageError(str(error)) from None
