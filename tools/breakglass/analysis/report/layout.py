"""Where the boxes and arrows of a picture stand: two columns, little crossing, nothing over anything else.

A label stands in a lane of its own beside the source, at the height where its arrow starts, so labels meet neither each
other nor a curve. Lengths are pixels, from the picture's upper left corner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from breakglass.analysis.report.escape import and_more, visible
from breakglass.analysis.report.measure import fitted, width
from breakglass.analysis.report.picture import Link, Picture, label_of

NAME_SIZE = 13
LABEL_SIZE = 12
LINE = 20
PILL = 20
"""Height of a label."""

_NAMES = 6
_LABELS = 3
_NAME_WIDTH = 350
_LABEL_WIDTH = 190
_PADDING = 12
_GAP = 16
_STUB = 18
_CURVES = 170
_SOURCE_PITCH = 26
_DESTINATION_PITCH = 14
_SWEEPS = 6

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A set of names.

    Attributes:
        names: all of them.
        shown: lines of text, visible and fitted: the first names, one each.
        more: what stands under them where names were left out, else nothing.
        x, y, width, height: the rectangle.
    """

    names: Names
    shown: tuple[str, ...]
    more: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Curve:
    """An arrow.

    Attributes:
        link: what it stands for.
        label: visible and fitted; empty for none.
        label_width: of the pill around it.
        start, end: heights at the source and at the destination.
    """

    link: Link
    label: str
    label_width: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture's geometry.

    Attributes:
        sources, destinations: the columns, from top to bottom.
        curves: in the order of the links.
        labels: where labels begin.
        lane: where labels end and curves begin.
        width, height: of the whole.
    """

    sources: tuple[Box, ...]
    destinations: tuple[Box, ...]
    curves: tuple[Curve, ...]
    labels: int
    lane: int
    width: int
    height: int


def arrange(picture: Picture, least_width: int) -> Layout:
    """The geometry of a picture that has links, at least so wide."""
    links = picture.links
    left, right = _ordered(links)
    left_size = {names: _size(names, links, _source, _SOURCE_PITCH) for names in left}
    right_size = {names: _size(names, links, _destination, _DESTINATION_PITCH) for names in right}
    left_width = max(box_width for box_width, _ in left_size.values())
    right_width = max(box_width for box_width, _ in right_size.values())
    labels = [fitted(label_of(link, _LABELS), LABEL_SIZE, _LABEL_WIDTH) for link in links]
    pills = [width(label, LABEL_SIZE) + 16 if label else 0 for label in labels]
    lane = left_width + _STUB + max(pills)
    whole = max(least_width, lane + _CURVES + right_width)

    left_y, right_y = _heights(links, left, right, left_size, right_size)
    starts = _slots(links, _source, _destination, left_y, left_size, right, _SOURCE_PITCH)
    ends = _slots(links, _destination, _source, right_y, right_size, left, _DESTINATION_PITCH)
    return Layout(
        tuple(_box(names, 0, left_y[names], left_width, left_size[names][1]) for names in left),
        tuple(_box(names, whole - right_width, right_y[names], right_width, right_size[names][1]) for names in right),
        tuple(Curve(*each) for each in zip(links, labels, pills, starts, ends, strict=True)),
        left_width + _STUB,
        lane,
        whole,
        max(left_y[left[-1]] + left_size[left[-1]][1], right_y[right[-1]] + right_size[right[-1]][1]),
    )


def _source(link: Link) -> Names:
    return link.sources


def _destination(link: Link) -> Names:
    return link.destinations


End = Callable[[Link], Names]
Sizes = dict[Names, tuple[int, int]]


def _ordered(links: Sequence[Link]) -> tuple[list[Names], list[Names]]:
    """Both columns in the order with the fewest crossings that some sweeps of the barycentre heuristic find.

    Source: K. Sugiyama, S. Tagawa, M. Toda: Methods for visual understanding of hierarchical system structures, 1981.
    """
    left, right = list(dict.fromkeys(map(_source, links))), list(dict.fromkeys(map(_destination, links)))
    best = (_crossings(links, left, right), left, right)
    for _ in range(_SWEEPS):
        right = sorted(right, key=_barycentre(links, _destination, _source, left))
        left = sorted(left, key=_barycentre(links, _source, _destination, right))
        best = min(best, (_crossings(links, left, right), left, right), key=lambda found: found[0])
    return best[1], best[2]


def _barycentre(links: Sequence[Link], near: End, far: End, column: Sequence[Names]) -> Callable[[Names], float]:
    places = {names: place for place, names in enumerate(column)}

    def mean(names: Names) -> float:
        found = [places[far(link)] for link in links if near(link) == names]
        return sum(found) / len(found)

    return mean


def _crossings(links: Sequence[Link], left: Sequence[Names], right: Sequence[Names]) -> int:
    above = {names: place for place, names in enumerate(left)}
    below = {names: place for place, names in enumerate(right)}
    ends = [(above[link.sources], below[link.destinations]) for link in links]
    return sum((one[0] - other[0]) * (one[1] - other[1]) < 0 for one, other in combinations(ends, 2))


def _size(names: Names, links: Sequence[Link], near: End, pitch: int) -> tuple[int, int]:
    """Width and height of a box: room for its names and for its arrows."""
    shown, more = _text(names)
    lines = [*shown, more] if more else shown
    arrows = sum(near(link) == names for link in links)
    widest = max((width(line, NAME_SIZE) for line in lines), default=0)
    return max(widest, 60) + 2 * _PADDING, max(len(lines) * LINE + _PADDING, arrows * pitch + _PADDING)


def _text(names: Names) -> tuple[list[str], str]:
    shown = [fitted(visible(name), NAME_SIZE, _NAME_WIDTH) for name in names[:_NAMES]]
    return shown, and_more(len(names) - _NAMES) if len(names) > _NAMES else ""


def _box(names: Names, x: int, y: int, box_width: int, height: int) -> Box:
    shown, more = _text(names)
    return Box(names, tuple(shown), more, x, y, box_width, height)


def _heights(
    links: Sequence[Link], left: Sequence[Names], right: Sequence[Names], left_size: Sizes, right_size: Sizes
) -> tuple[dict[Names, int], dict[Names, int]]:
    """The upper edges of all boxes: the longer column is stacked, the shorter one stands beside what it belongs to."""
    tall, long = (
        sum(size[name][1] + _GAP for name in column) for column, size in ((left, left_size), (right, right_size))
    )
    if tall >= long:
        left_y = _stacked(left, left_size)
        return left_y, _beside(links, right, right_size, _destination, _source, left_y, left_size, tall - _GAP)
    right_y = _stacked(right, right_size)
    return _beside(links, left, left_size, _source, _destination, right_y, right_size, long - _GAP), right_y


def _stacked(column: Sequence[Names], sizes: Sizes) -> dict[Names, int]:
    tops: dict[Names, int] = {}
    y = 0
    for names in column:
        tops[names] = y
        y += sizes[names][1] + _GAP
    return tops


def _beside(
    links: Sequence[Link],
    column: Sequence[Names],
    sizes: Sizes,
    near: End,
    far: End,
    far_y: dict[Names, int],
    far_size: Sizes,
    height: int,
) -> dict[Names, int]:
    """Each box as near to the mean height of its other ends as the boxes above and below it and the height allow."""
    tops: dict[Names, int] = {}
    y = 0
    for names in column:
        others = [far_y[far(link)] + far_size[far(link)][1] // 2 for link in links if near(link) == names]
        tops[names] = max(y, sum(others) // len(others) - sizes[names][1] // 2)
        y = tops[names] + sizes[names][1] + _GAP
    for names in reversed(column):
        tops[names] = min(tops[names], height - sizes[names][1])
        height = tops[names] - _GAP
    return tops


def _slots(
    links: Sequence[Link],
    near: End,
    far: End,
    tops: dict[Names, int],
    sizes: Sizes,
    other_column: Sequence[Names],
    pitch: int,
) -> list[int]:
    """The height at which each link meets its box: one below the other, in the order of the other ends."""
    heights = [0] * len(links)
    for names, top in tops.items():
        here = [number for number, link in enumerate(links) if near(link) == names]
        here.sort(key=lambda number: other_column.index(far(links[number])))
        first = top + (sizes[names][1] - (len(here) - 1) * pitch) // 2
        for place, number in enumerate(here):
            heights[number] = first + place * pitch
    return heights
