"""`breakglass codeowners`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from breakglass.cli.output import columns, directory_option, emit_findings, emit_json, finding_json, output_option
from breakglass.model.errors import NotFound, UsageError

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_file_option = click.option(
    "--file",
    type=_FILE,
    metavar="FILE",
    help="This CODEOWNERS file, instead of the one that GitHub reads in the clone.",
)


@click.group("codeowners", epilog="Example: breakglass codeowners match base/kustomization.yaml")
def command() -> None:
    """Who owns a path, as GitHub reads CODEOWNERS: the last line that matches decides."""


@command.command("match", epilog="Example: git ls-files | breakglass codeowners match -")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@_file_option
@directory_option
@output_option
def match(paths: tuple[str, ...], file: Path | None, directory: Path, output: str) -> None:
    """Tell the line that decides about each PATH, and its owners; - reads paths from stdin, one a line.

    A PATH is one of the repository, from its top, with or without / or ./ before it. JSON is a list with one answer for
    each PATH, in their order; pattern and line are null where no line matches.
    """
    from breakglass.analysis.report.escape import visible
    from breakglass.model.codeowners import parse

    content, name = _read(file, directory)
    codeowners = parse(content, name)
    asked = [path for given in paths for path in (_lines_of_stdin() if given == "-" else [given])]
    found = [(path, codeowners.match(_inside(path))) for path in asked]
    if output == "json":
        answers = [
            {
                "path": path,
                "pattern": rule.pattern if rule is not None else None,
                "line": rule.line if rule is not None else None,
                "owners": list(rule.owners) if rule is not None else [],
            }
            for path, rule in found
        ]
        # In ASCII, for a name in git need not be UTF-8.
        click.echo(json.dumps(answers, indent=2))
        return
    rows = [
        (visible(path), f"{name}:{rule.line}", visible(rule.pattern), " ".join(rule.owners) or "nobody")
        if rule is not None
        else (visible(path), "-", "-", "nobody")
        for path, rule in found
    ]
    for line in columns([("PATH", "LINE", "PATTERN", "OWNERS"), *rows]):
        click.echo(line)


@command.command("lint", epilog="Example: breakglass codeowners lint")
@_file_option
@directory_option
@output_option
def lint(file: Path | None, directory: Path, output: str) -> int:
    """Tell what GitHub skips, ignores or never reaches in CODEOWNERS; exit code 1 if an error is found."""
    from breakglass.analysis.report.escape import visible
    from breakglass.lifecycle.ownership import lint as judge
    from breakglass.model.codeowners import parse
    from breakglass.model.finding import refuses

    content, name = _read(file, directory)
    ignored = [] if file is not None else [place for place in _present(directory) if place != name]
    findings = judge(parse(content, name), ignored)
    if output == "json":
        emit_json("CodeownersLint", {"file": name, "findings": [finding_json(finding) for finding in findings]})
    else:
        shown = (replace(found, message=visible(found.message), remedy=visible(found.remedy)) for found in findings)
        emit_findings(shown)
        if not findings:
            click.echo(f"{name}: nothing to find fault with")
    return 1 if refuses(findings) else 0


def _read(file: Path | None, directory: Path) -> tuple[bytes, str]:
    """The file given, or the one that GitHub reads among those of the work tree, and its name."""
    if file is not None:
        return file.read_bytes(), str(file)
    present = _present(directory)
    if not present:
        raise NotFound(f"there is no CODEOWNERS in {directory.resolve()}", remedy="name one with --file")
    return (_top(directory) / present[0]).read_bytes(), present[0]


def _present(directory: Path) -> list[str]:
    from breakglass.model.codeowners import LOCATIONS

    return [place for place in LOCATIONS if (_top(directory) / place).is_file()]


def _top(directory: Path) -> Path:
    """The top of the work tree that a directory is in; the directory itself where it is in none."""
    start = directory.resolve()
    return next((place for place in (start, *start.parents) if (place / ".git").exists()), start)


def _inside(path: str) -> str:
    """A path as git names it."""
    name = path.removeprefix("./").removeprefix("/")
    if not name or ".." in name.split("/"):
        raise UsageError(f"{path[:80]!r} is no path inside the repository", remedy="name it from the repository's top")
    return name


def _lines_of_stdin() -> list[str]:
    text = sys.stdin.buffer.read().decode("utf-8", errors="surrogateescape")
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]
