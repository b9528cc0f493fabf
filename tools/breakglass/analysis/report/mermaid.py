"""The picture as a Mermaid flowchart, which GitHub draws by itself.

Source: https://mermaid.js.org/syntax/flowchart.html (entity codes, links, linkStyle).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from breakglass.analysis.report.escape import shortened
from breakglass.analysis.report.order import TONES
from breakglass.analysis.report.page import Page, Tone
from breakglass.analysis.report.picture import Picture, choose, folded, label_of

_ARROWS = 20
_NAMES = 4
_LABELS = 4
_LENGTH = 60
_CHARACTERS = 40_000
"""Mermaid draws nothing at all of more than 50,000 characters (`maxTextSize`)."""

_LINES: dict[Tone, str] = {"danger": "==>", "opened": "-->", "closed": "-.->", "plain": "-->"}
_STYLES: dict[Tone, str] = {
    "danger": "stroke:#e5484d,stroke-width:3px",
    "opened": "stroke:#2da44e,stroke-width:2px",
    "closed": "stroke:#8b949e,stroke-width:2px",
    "plain": "stroke:#4493f8,stroke-width:1.5px",
}
_UNSAFE = re.compile(r"(?!(?<=[A-Za-z0-9])-(?=[A-Za-z0-9]))[^A-Za-z0-9 ,/]")

_READ_AFTERWARDS = re.compile(r"(?<=\$)\$|:(?=fa-)|[ﬂ¶]")


def write(page: Page) -> Iterator[str]:
    """Whole lines of a flowchart of at most 20 arrows; none where there is nothing to draw."""
    picture = choose(page.arrows, _ARROWS)
    if picture.links:
        yield from _flowchart(picture)


def literal(text: str) -> str:
    """Visible text inside a quoted string: every character that Mermaid or its Markdown may read is an entity code.

    Formulas (`$$`), icons (`fa:fa-lock`) and its own marks (`ﬂ°`, `¶ß`) are looked for when the codes are characters
    again, so they are shown by their numbers.
    """
    numbered = _READ_AFTERWARDS.sub(lambda char: f"⟨U+{ord(char[0]):04X}⟩", text)
    return _UNSAFE.sub(lambda char: f"#{ord(char[0])};", numbered)


def _flowchart(picture: Picture) -> Iterator[str]:
    yield "flowchart LR\n"
    boxes: dict[tuple[str, tuple[str, ...]], str] = {}
    drawn: list[Tone] = []
    left_out = picture.left_out
    written = 0
    for link in picture.links:
        lines: list[str] = []
        ends = []
        for side, names in (("s", link.sources), ("d", link.destinations)):
            end = boxes.get((side, names))
            if end is None:
                end = f"{side}{len(boxes)}"
                lines.append(f'  {end}["{_box(names)}"]\n')
            ends.append(end)
        label = literal(shortened(label_of(link, _LABELS), 2 * _LENGTH))
        lines.append(f"  {ends[0]} {_LINES[link.tone]}" + (f'|"{label}"|' if label else "") + f" {ends[1]}\n")
        size = sum(map(len, lines))
        if written + size > _CHARACTERS:
            left_out += link.arrows
            continue
        written += size
        boxes |= {("s", link.sources): ends[0], ("d", link.destinations): ends[1]}
        drawn.append(link.tone)
        yield from lines
    yield from _styles(drawn)
    if left_out:
        yield f'  more["{left_out:,} more not drawn"]\n  style more fill:none,stroke:none\n'


def _box(names: tuple[str, ...]) -> str:
    return "<br/>".join(map(literal, folded(names, _NAMES, _LENGTH))) or " "


def _styles(drawn: list[Tone]) -> Iterator[str]:
    for tone in TONES:
        numbers = ",".join(str(number) for number, each in enumerate(drawn) if each == tone)
        if numbers:
            yield f"  linkStyle {numbers} {_STYLES[tone]}\n"
