"""A page on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from breakglass.analysis.report.escape import columns_of, visible
from breakglass.analysis.report.order import red_first
from breakglass.analysis.report.page import Page, Table, Tone
from breakglass.model.finding import Finding, Severity

_WIDEST = 100
"""Columns that a cell may take of all rows: a longer one stands out of its own row alone."""
_BLOCK = 1_000
"""Rows that are aligned with each other; so many are held at a time."""

_BOLD = "1"
_SEVERITIES: dict[Severity, str] = {"error": "1;31", "warning": "1;33", "note": "1;36"}
_TONES: dict[Tone, str] = {"danger": "31", "opened": "32", "closed": "36", "plain": ""}


def write(page: Page, colour: bool = False) -> Iterator[str]:
    """Whole lines without trailing spaces: the verdict, the findings, the tables.

    Columns lie two spaces apart and are aligned over blocks of 1,000 rows; a cell never holds two spaces in a row.

    Args:
        colour: with ANSI escape sequences (ECMA-48 SGR).
    """
    paint = _painted if colour else _bare
    yield paint(visible(page.headline), _BOLD) + "\n"
    if page.findings:
        yield "\n"
    for finding in red_first(page.findings):
        yield from _finding(finding, colour)
    for table in page.tables:
        yield "\n" + paint(visible(table.title), _BOLD) + "\n"
        yield from _table(table, colour)


def _finding(finding: Finding, colour: bool) -> Iterator[str]:
    severity = (_painted if colour else _bare)(finding.severity, _SEVERITIES[finding.severity])
    place = f"{visible(finding.where)}: " if finding.where else ""
    yield f"{severity} {visible(finding.id)}  {place}{visible(finding.message)}\n"
    if finding.remedy:
        yield f"      {visible(finding.remedy)}\n"


def _table(table: Table, colour: bool) -> Iterator[str]:
    paint = _painted if colour else _bare
    heading = list(map(visible, table.columns))
    widths = list(map(columns_of, heading))
    rows = iter(table.rows)
    first = True
    while block := list(islice(rows, _BLOCK)):
        columns = [list(map(visible, cells)) for cells in zip(*block, strict=True)]
        widths = [
            max(width, *(min(columns_of(cell), _WIDEST) for cell in cells))
            for width, cells in zip(widths, columns, strict=True)
        ]
        if first:
            yield paint(_line(map(_padded, heading, widths)), _BOLD) + "\n"
            first = False
        padded = [[_padded(cell, width) for cell in cells] for cells, width in zip(columns, widths, strict=True)]
        for cells in zip(*padded, strict=True):
            yield paint(_line(cells), _TONES[table.tone]) + "\n"
    if first:
        yield "none\n"


def _line(padded: Iterable[str]) -> str:
    return "  ".join(padded).rstrip(" ")


def _padded(cell: str, width: int) -> str:
    return cell.ljust(width) if cell.isascii() else cell + " " * (width - columns_of(cell))


def _bare(text: str, _: str) -> str:
    return text


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text
