"""The arrows that are drawn: the few that matter most of however many there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from breakglass.analysis.report.escape import and_more, shortened, visible
from breakglass.analysis.report.order import TONES
from breakglass.analysis.report.page import Arrow, Tone


@dataclass(frozen=True, slots=True)
class Link:
    """Arrows of one tone between the same two boxes, drawn as one.

    Attributes:
        sources, destinations: names in the boxes.
        labels: what the arrows say, each once, in the order they came.
        tone: how it looks.
        arrows: how many were merged.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    labels: tuple[str, ...]
    tone: Tone
    arrows: int


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn.

    Attributes:
        links: the dangerous ones first, otherwise as they came.
        left_out: arrows that are not in `links`.
    """

    links: tuple[Link, ...]
    left_out: int


@dataclass(slots=True)
class _Merged:
    labels: dict[str, None]
    arrows: int = 0


def choose(arrows: Iterable[Arrow], limit: int) -> Picture:
    """Merge arrows between the same boxes and keep at most `limit` of them, holding no more than that of each tone."""
    kept: dict[Tone, dict[tuple[tuple[str, ...], tuple[str, ...]], _Merged]] = {tone: {} for tone in TONES}
    total = 0
    for arrow in arrows:
        total += 1
        merged, boxes = kept[arrow.tone], (arrow.sources, arrow.destinations)
        if boxes in merged or len(merged) < limit:
            link = merged.setdefault(boxes, _Merged({}))
            link.arrows += 1
            if arrow.label:
                link.labels[arrow.label] = None
    links = [
        Link(*boxes, tuple(link.labels), tone, link.arrows)
        for tone, merged in kept.items()
        for boxes, link in merged.items()
    ][:limit]
    return Picture(tuple(links), total - sum(link.arrows for link in links))


def folded(names: tuple[str, ...], count: int, length: int) -> list[str]:
    """At most `count` names, visible and of at most `length` characters each, and a line that tells of the others."""
    shown = [shortened(visible(name), length) for name in names[:count]]
    return [*shown, and_more(len(names) - count)] if len(names) > count else shown


def label_of(link: Link, count: int) -> str:
    """At most `count` labels in one visible line, with the number of the others."""
    shown = ", ".join(map(visible, link.labels[:count]))
    return f"{shown} {and_more(len(link.labels) - count)}" if len(link.labels) > count else shown
