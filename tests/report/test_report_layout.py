"""Nothing in the picture lies over anything else, and what is drawn is what matters most."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.analysis.report.layout import PILL, Box, arrange
from breakglass.analysis.report.measure import fitted, width, wrapped
from breakglass.analysis.report.page import Arrow, Tone
from breakglass.analysis.report.picture import Link, Picture, choose

TONES: st.SearchStrategy[Tone] = st.sampled_from(["danger", "opened", "closed", "plain"])
SETS = st.lists(st.sampled_from(["a", "b/c[Pod]", "d" * 90, "日本" * 20, "e", "f", "g", "h"]), min_size=1, unique=True)
ARROWS = st.lists(
    st.builds(Arrow, SETS.map(tuple), SETS.map(tuple), st.sampled_from(["", "TCP 1", "UDP 5" * 30]), TONES), max_size=60
)


@given(ARROWS, st.integers(1, 40))
def test_every_arrow_is_drawn_or_counted(arrows: list[Arrow], limit: int) -> None:
    picture = choose(iter(arrows), limit)
    assert sum(link.arrows for link in picture.links) + picture.left_out == len(arrows)
    assert len(picture.links) <= limit
    groups = {(arrow.tone, arrow.sources, arrow.destinations) for arrow in arrows}
    assert len(picture.links) == min(limit, len(groups))
    for link in picture.links:
        same = [
            a for a in arrows if (a.tone, a.sources, a.destinations) == (link.tone, link.sources, link.destinations)
        ]
        assert link.arrows == len(same)
        assert link.labels == tuple(dict.fromkeys(arrow.label for arrow in same if arrow.label))


@given(ARROWS)
def test_dangerous_arrows_are_never_left_out_for_others(arrows: list[Arrow]) -> None:
    tones = [link.tone for link in choose(arrows, 5).links]
    assert tones == sorted(tones, key=["danger", "opened", "closed", "plain"].index)


@given(ARROWS.filter(bool))
def test_boxes_labels_and_curves_keep_apart(arrows: list[Arrow]) -> None:
    layout = arrange(choose(arrows, 40), 700)
    for column in (layout.sources, layout.destinations):
        assert all(above.y + above.height < below.y for above, below in pairwise(column))
        assert column[0].y >= 0
        assert column[-1].y + column[-1].height <= layout.height
        assert all(_fits(box) for box in column)
    left, right = ({box.names: box for box in column} for column in (layout.sources, layout.destinations))
    for curve in layout.curves:
        source, destination = left[curve.link.sources], right[curve.link.destinations]
        assert source.y < curve.start - PILL // 2 < curve.start + PILL // 2 < source.y + source.height
        assert destination.y < curve.end < destination.y + destination.height
        assert layout.labels + curve.label_width <= layout.lane < destination.x
        assert source.x + source.width < layout.labels
    starts = sorted(curve.start for curve in layout.curves)
    assert all(below - above >= PILL for above, below in pairwise(starts))
    ends = sorted(curve.end for curve in layout.curves)
    assert all(below - above >= 10 for above, below in pairwise(ends))


def _fits(box: Box) -> bool:
    lines = [*box.shown, box.more]
    return all(width(line, 13) + 24 <= box.width for line in lines) and len(lines) * 20 <= box.height + 20


def link(source: str, destination: str) -> Link:
    return Link((source,), (destination,), ("TCP 1",), "plain", 1)


@pytest.mark.parametrize("ends", [("a1", "b2", "c1", "d2"), ("b2", "a1", "a2")], ids=["boxes", "slots"])
def test_arrows_do_not_cross_where_they_need_not(ends: tuple[str, ...]) -> None:
    links = tuple(link(source, destination) for source, destination in ends)
    layout = arrange(Picture(links, 0), 700)
    heights = [curve.end for curve in sorted(layout.curves, key=lambda curve: curve.start)]
    assert heights == sorted(heights)


def test_a_box_beside_a_longer_column_stands_at_the_height_of_its_sources() -> None:
    layout = arrange(Picture(tuple(link(source, "x") for source in "abcdefgh"), 0), 700)
    box = layout.destinations[0]
    assert abs((box.y + box.height // 2) - layout.height // 2) <= 1


@given(st.text(st.sampled_from("iMa 日é𒐫"), max_size=400), st.integers(120, 400), st.integers(1, 3))
def test_wrapped_text_fits_and_keeps_its_ends(text: str, pixels: int, lines: int) -> None:
    broken = wrapped(text, 13, pixels, lines)
    assert len(broken) <= lines
    assert all(width(line, 13) <= pixels for line in broken)
    if "…" not in "".join(broken):
        assert " ".join(broken) == text


def test_what_fits_is_left_alone() -> None:
    assert fitted("data/postgres[StatefulSet]", 13, 300) == "data/postgres[StatefulSet]"
    assert fitted("a" * 50 + "b" * 50, 13, 100) == "aaaaa…bbbbb"
