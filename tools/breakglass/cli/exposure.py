"""`breakglass exposure`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.cli.analysis import (
    analysis_output_option,
    controllers_from,
    emit,
    emit_page,
    exit_code_option,
    exit_on_difference,
    policy_option,
    read_input,
    read_inputs,
)

if TYPE_CHECKING:
    from breakglass.analysis.exposure.exposure import Exposure
    from breakglass.analysis.exposure.passage import Controller
    from breakglass.model.manifest import Manifest


@click.group("exposure", epilog="Example: breakglass exposure map base")
def command() -> None:
    """What the outside reaches, before and after: hosts, paths and ports, what stands in front, and what is behind."""


@command.command("map", epilog="Example: breakglass exposure map base --output svg > exposure.svg")
@click.argument("path")
@policy_option
@analysis_output_option
def exposure_map(path: str, policy: Path | None, output: str) -> None:
    """Tell everything that the manifests in PATH expose."""
    from breakglass.analysis.report.exposure_page import map_document, page_of_exposure_map

    manifests = read_input(path)
    found = _exposed(manifests, controllers_from(policy))
    if output == "json":
        return _emit(map_document(found))
    return emit_page(page_of_exposure_map(found), output)


@command.command("diff", epilog="Example: breakglass exposure diff base emergency.yaml --exit-code")
@click.argument("before")
@click.argument("after")
@exit_code_option
@policy_option
@analysis_output_option
def exposure_diff(before: str, after: str, exit_code: bool, policy: Path | None, output: str) -> None:
    """Tell what AFTER exposes and BEFORE does not, what it hides, and what it changes."""
    from breakglass.analysis.exposure.exposure import exposure_difference
    from breakglass.analysis.report.exposure_page import difference_document, page_of_exposure_difference

    old, new = read_inputs(before, after)
    controllers = controllers_from(policy)
    difference = exposure_difference(_exposed(old, controllers), _exposed(new, controllers))
    if output == "json":
        _emit(difference_document(difference))
    else:
        emit_page(page_of_exposure_difference(difference), output)
    exit_on_difference(exit_code, bool(difference))


def _exposed(manifests: Sequence[Manifest], controllers: Sequence[Controller]) -> frozenset[Exposure]:
    from breakglass.analysis.exposure.exposure import exposed
    from breakglass.analysis.exposure.passage import PolicyWay
    from breakglass.analysis.network.objects import read_network

    return exposed(manifests, PolicyWay(read_network(manifests), controllers))


def _emit(document: dict[str, Any]) -> None:
    import json

    emit(json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(document))
    emit("\n")
