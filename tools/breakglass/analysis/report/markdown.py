"""A page as GitHub shows it: in a comment on a pull request, in a job summary.

Source: https://github.github.com/gfm/ and
https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice, takewhile

from breakglass.analysis.report import mermaid
from breakglass.analysis.report.escape import and_more, shortened, visible
from breakglass.analysis.report.order import red_first, worst
from breakglass.analysis.report.page import Page, Table, Tone
from breakglass.model.finding import Finding, Severity

_SIGNS: dict[Severity, str] = {"error": "❌", "warning": "⚠️", "note": "ℹ️"}  # noqa: RUF001 - GitHub's own information sign
_TONES: dict[Tone, str] = {"danger": "🔴 ", "opened": "🟢 ", "closed": "⚪ ", "plain": ""}

_FOLDED = 1_000
"""So many folded rows are counted before they are written; where there are more, the count stands behind them."""

_TEXT = 300
"""Characters of a text where the whole is limited: one name must not take the place of everything else."""

_TAIL = 200
"""Bytes that what is said about left out rows, findings or pictures takes at most, with its folding."""

_REMEMBERED = 200
"""Characters of a word that is worth remembering: names stand in many rows."""

_PROSE = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[→×–+=-]")  # noqa: RUF001 - signs of sentences
_REFERENCE = re.compile(r"[0-9a-f]{7,40}|[A-Z][A-Z0-9]*-[0-9]+", re.IGNORECASE)
"""What GitHub may take for a commit, an issue (`GH-1`) or an autolink of the repository (`TICKET-1`)."""


def write(page: Page, limit: int | None = None, rows: int = 20) -> Iterator[str]:
    """Whole lines: the verdict, the findings, the tables, the picture.

    Args:
        limit: bytes of UTF-8 that the whole may take, at least 10,000. What does not fit is left out, and the text
            says how much: first folded rows, then the picture, then other rows, then findings; texts of more than 300
            characters lose their middle. Without a limit every row is written, and few are held.
        rows: of a table that are seen at once; the others are folded.
    """
    return _whole(page, rows) if limit is None else _limited(page, limit, rows)


def comment(page: Page, limit: int = 65_000) -> str:
    """The text of a comment, for which GitHub takes 65,536 characters, the marker of the sticky one included."""
    return "".join(write(page, limit))


def literal(text: str) -> str:
    """Text of manifests and people as one line that Markdown shows unchanged.

    Plain words stay as they are; any other word becomes a code span, which holds no link, mention, reference, image,
    formula, emoji or HTML.
    """
    return " ".join(
        _word_before(word) if len(word) <= _REMEMBERED else _word(word) for word in visible(text).split(" ")
    )


def _word(word: str) -> str:
    core = word.lstrip("(\"'")
    before, core = word[: len(word) - len(core)], core.rstrip(".,:;!?\"'" if "(" in core else ".,:;!?\"')")
    after = word[len(before) + len(core) :]
    plain = not core or (_PROSE.fullmatch(core) and not _REFERENCE.fullmatch(core))
    return before + (core if plain else _code(core)) + after


_word_before = lru_cache(maxsize=4_096)(_word)


def _code(text: str) -> str:
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _whole(page: Page, rows: int) -> Iterator[str]:
    yield _headline(page)
    yield from _findings(page.findings)
    for table in page.tables:
        lines = map(_row, table.rows)
        yield _heading(table) + (_columns(table) if (seen := list(islice(lines, rows))) else "none\n")
        yield from seen
        if not (hidden := list(islice(lines, _FOLDED))):
            continue
        following = next(lines, None)
        yield _fold(table, f"{len(hidden):,} more" if following is None else "more")
        yield from hidden
        total = len(hidden)
        for line in () if following is None else chain([following], lines):
            total += 1
            yield line
        yield _UNFOLD if following is None else f"{_UNFOLD}\n{total:,} more rows are folded above.\n"
    yield from _picture(page)


@dataclass(slots=True)
class _Section:
    """A table's rows as lines: those seen, those folded, the number of the others."""

    table: Table
    seen: list[str]
    folded: list[str]
    left_out: int


class _Room:
    """Bytes that are left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str, reserve: int = 0) -> bool:
        """Whether the text fits and leaves the reserve; then it is counted."""
        left = self.left - len(text.encode())
        if left >= reserve:
            self.left = left
        return left >= reserve


def _limited(page: Page, limit: int, rows: int) -> Iterator[str]:
    room = _Room(limit - 2 * _TAIL)
    headline = _headline(replace(page, headline=_brief(page.headline)))
    room.take(headline)
    findings = list(_findings(map(_brief_finding, page.findings)))
    seen = list(takewhile(lambda line: room.take(line, limit // 2), findings))
    for table in page.tables:
        room.take(_heading(table) + 2 * _columns(table), _TAIL)
        room.left -= _TAIL
    sections = [_read(table, rows, room) for table in page.tables]
    picture = "".join(_picture(page))
    drawn = not picture or room.take(picture)
    for section in sections:
        kept = list(takewhile(room.take, section.folded))
        section.left_out += len(section.folded) - len(kept)
        section.folded = kept
    yield headline
    yield from seen
    if len(findings) > len(seen):
        yield f"* {and_more(len(findings) - len(seen))} findings, which do not fit here\n"
    for section in sections:
        yield from _section(section)
    yield picture if drawn else "\nThe picture does not fit here.\n"


def _read(table: Table, rows: int, room: _Room) -> _Section:
    """Take as many rows as are seen; hold as many of the others as might fit."""
    section = _Section(table, [], [], 0)
    waiting = room.left
    for row in table.rows:
        if section.left_out:
            section.left_out += 1
            continue
        line = _row(map(_brief, row))
        if len(section.seen) < rows and not section.folded and room.take(line):
            section.seen.append(line)
        elif len(line) <= waiting:
            section.folded.append(line)
            waiting -= len(line)
        else:
            section.left_out = 1
    return section


def _section(section: _Section) -> Iterator[str]:
    count = len(section.folded) + section.left_out
    yield _heading(section.table) + (_columns(section.table) if section.seen else "" if count else "none\n")
    yield from section.seen
    if section.folded:
        yield _fold(section.table, f"{count:,} more")
        yield from section.folded
        yield _UNFOLD
    if section.left_out:
        yield f"\n{section.left_out:,} more rows do not fit here.\n"


def _brief(text: str) -> str:
    return shortened(text, _TEXT)


def _brief_finding(finding: Finding) -> Finding:
    return replace(finding, message=_brief(finding.message), where=_brief(finding.where), remedy=_brief(finding.remedy))


def _headline(page: Page) -> str:
    sign = _SIGNS[worst(page.findings)] if page.findings else "✅"
    return f"{sign} **{literal(page.headline)}**\n\n"


def _findings(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in red_first(findings):
        place = f" {literal(finding.where)}:" if finding.where else ""
        remedy = f" ({literal(finding.remedy)})" if finding.remedy else ""
        yield f"* {_SIGNS[finding.severity]} {_code(visible(finding.id))}{place} {literal(finding.message)}{remedy}\n"


def _heading(table: Table) -> str:
    return f"\n#### {_TONES[table.tone]}{literal(table.title)}\n\n"


def _columns(table: Table) -> str:
    return _row(table.columns) + "|" + "---|" * len(table.columns) + "\n"


def _row(cells: Iterable[str]) -> str:
    """Only code spans hold a `|`, and a table takes the backslash away before it reads the span."""
    return "| " + " | ".join(literal(cell).replace("|", r"\|") for cell in cells) + " |\n"


def _fold(table: Table, summary: str) -> str:
    return f"\n<details><summary>{summary}</summary>\n\n{_columns(table)}"


_UNFOLD = "\n</details>\n"


def _picture(page: Page) -> Iterator[str]:
    lines = mermaid.write(page)
    if first := next(lines, ""):
        yield from ("\n```mermaid\n", first, *lines, "```\n")
