"""What verbs share: their common options, and printing the one result on stdout, as text or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from breakglass.model.finding import Finding
from breakglass.model.policy import API_VERSION
from breakglass.model.time import parse_duration
from breakglass.wiring import Wiring

Function = TypeVar("Function", bound=Callable[..., Any])
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


class DurationType(click.ParamType[timedelta]):
    """A duration on the command line, such as 30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it, or fail as a usage error."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def output_option(function: Function) -> Function:
    """`--output text|json`."""
    choice = click.Choice(["text", "json"])
    return click.option(
        "-o", "--output", type=choice, default="text", show_default=True, help="For people, or for programs."
    )(function)


def directory_option(function: Function) -> Function:
    """`--directory`: the clone."""
    return click.option(
        "-C",
        "--directory",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        default=Path(),
        help="The clone to work in.",
    )(function)


def kubeconfig_option(function: Function) -> Function:
    """`--kubeconfig`: a way into a cluster."""
    return click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Kubeconfig to reach the cluster with, instead of OIDC or the pod's ServiceAccount.",
    )(function)


def wiring(directory: Path, kubeconfig: Path | None = None, *, closing: bool = False) -> Wiring:
    """The wiring of a verb; `closing` where it must work on a clone whose policy is broken."""
    return Wiring(directory, kubeconfig, closing)


def progress(line: str) -> None:
    """Tell people on stderr what goes on."""
    click.echo(f"  {line}", err=True)


def emit_json(kind: str, body: dict[str, Any]) -> None:
    """Print a result for programs: one JSON document, schema-versioned by apiVersion and kind."""
    click.echo(json.dumps({"apiVersion": API_VERSION, "kind": kind, **body}, indent=2, ensure_ascii=False))


def emit_findings(findings: Iterable[Finding]) -> None:
    """Print findings for people: severity, id, place, message, remedy."""
    for finding in findings:
        severity = click.style(finding.severity, fg=_COLOURS[finding.severity], bold=True)
        place = f"{finding.where}: " if finding.where else ""
        click.echo(f"{severity} {finding.id}  {place}{finding.message}")
        if finding.remedy:
            click.echo(f"      {finding.remedy}")


def finding_json(finding: Finding) -> dict[str, str]:
    """A finding for programs."""
    return {
        "id": finding.id,
        "severity": finding.severity,
        "where": finding.where,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def on_terminal() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines with aligned columns; styles do not count for the width."""
    widths = [max(len(click.unstyle(row[index])) for row in rows) for index in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
