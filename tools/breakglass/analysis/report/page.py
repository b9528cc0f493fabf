"""What a page says, before anybody decides how it looks: every format is written from this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from breakglass.model.finding import Finding

Tone = Literal["danger", "opened", "closed", "plain"]
"""`danger` is what a reviewer must not miss; `opened` and `closed` are the two directions of a change."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind.

    Attributes:
        title: what the rows are, as a heading.
        columns: a heading for each column.
        rows: cells of text, one row after another; may be a generator, which is read once. Text of manifests and
            people stands in the cells as it is: every format escapes it.
        tone: how the rows look.
    """

    title: str
    columns: tuple[str, ...]
    rows: Iterable[tuple[str, ...]]
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Arrow:
    """One line of the picture, from a box on the left to a box on the right.

    Attributes:
        sources: names of what stands in the left box.
        destinations: names of what stands in the right box.
        label: what the line says, such as `TCP 5432`.
        tone: how it looks.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    label: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        headline: the verdict in one sentence.
        findings: what a reviewer must see first, the worst first.
        tables: the details.
        arrows: the picture; may be a generator, which is read once.
    """

    headline: str
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    arrows: Iterable[Arrow] = ()
