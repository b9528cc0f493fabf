"""`breakglass connectivity`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from breakglass.cli.analysis import (
    analysis_output_option,
    emit,
    emit_page,
    exit_code_option,
    exit_on_difference,
    profile_from,
    profile_options,
    read_input,
    read_inputs,
    summary_option,
)

if TYPE_CHECKING:
    from breakglass.analysis.comparison import Network
    from breakglass.model.manifest import Manifest


@click.group("connectivity", epilog="Example: breakglass connectivity diff before/ after/ --summary")
def command() -> None:
    """Who reaches whom, before and after, by every kind of network policy.

    PATH is a file or directory of manifests, a kustomize root, or - for standard input.
    """


@command.command("map", epilog="Example: breakglass connectivity map base --summary")
@click.argument("path")
@profile_options
@summary_option
@analysis_output_option
def connectivity_map(path: str, cni: str, ip_blocks_match_pods: str, summary: bool, output: str) -> None:
    """Print every allowed connection between the workloads and addresses of PATH."""
    from breakglass.analysis.comparison import Map
    from breakglass.analysis.report import connectivity_json, connectivity_page

    manifests = read_input(path)
    connections = Map(_network(manifests), profile_from(cni, ip_blocks_match_pods)).connections()
    if output == "json":
        write = connectivity_json.map_summary_json if summary else connectivity_json.map_json
        emit(write(connections))
    else:
        emit_page(connectivity_page.page_of_map(connections, summary=summary), output)


@command.command("diff", epilog="Example: breakglass connectivity diff base after.yaml --summary --exit-code")
@click.argument("before")
@click.argument("after")
@profile_options
@summary_option
@click.option("--why", is_flag=True, help="Name the rules behind every pair in JSON as well; rectangles always do.")
@exit_code_option
@analysis_output_option
def connectivity_diff(
    before: str,
    after: str,
    cni: str,
    ip_blocks_match_pods: str,
    summary: bool,
    why: bool,
    exit_code: bool,
    output: str,
) -> None:
    """Print what AFTER opens and closes against BEFORE, isolation flips, and the rule behind each."""
    from breakglass.analysis.comparison import Comparison
    from breakglass.analysis.report import connectivity_json, connectivity_page

    old, new = read_inputs(before, after)
    comparison = Comparison(_network(old), _network(new), profile_from(cni, ip_blocks_match_pods))
    connections, flips = comparison.connections(), comparison.isolation_flips()
    if output != "json":
        emit_page(connectivity_page.page_of_diff(comparison, connections, summary=summary), output)
    elif summary:
        emit(connectivity_json.diff_summary_json(connections, flips, comparison.cause))
    else:
        emit(connectivity_json.diff_json(connections, flips, comparison.cause if why else None))
    exit_on_difference(exit_code, bool(bool(flips) or any(connections.cells)))


@command.command("query", epilog="Example: breakglass connectivity query base --probes probes.json")
@click.argument("path")
@click.option(
    "--probes",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help='Questions: [{"id": 1, "from": "shop/web-0", "to": "shop/api[Service]", "port": 80, "protocol": "TCP"}].',
)
@profile_options
@analysis_output_option
def connectivity_query(path: str, probes: Path, cni: str, ip_blocks_match_pods: str, output: str) -> None:
    """Answer single questions about PATH, each with the rule that decides in every tier."""
    from breakglass.analysis.comparison import Map
    from breakglass.analysis.exposure.service import read_services
    from breakglass.analysis.probe import Prober, read_probes
    from breakglass.analysis.report import connectivity_json, connectivity_page

    asked = read_probes(probes.read_bytes(), str(probes))
    manifests = read_input(path)
    prober = Prober(
        Map(_network(manifests), profile_from(cni, ip_blocks_match_pods)).policies, read_services(manifests)
    )
    answers = [prober.answer(probe) for probe in asked]
    if output == "json":
        emit(connectivity_json.query_json(answers))
    else:
        emit_page(connectivity_page.page_of_query(answers), output)


def _network(manifests: Sequence[Manifest]) -> Network:
    from breakglass.analysis.comparison import read_network_and_routes

    return read_network_and_routes(manifests)
