"""Whatever a manifest is called, it stays one cell: what is read back is what was written, in every format."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import ATTACKS, HOSTILE
from readers import (
    dot_edges,
    html,
    markdown_lines,
    markdown_tables,
    mermaid_links,
    original,
    svg_names,
    terminal_table,
)

from breakglass.analysis.report import dot, markdown, mermaid, sarif, svg, text
from breakglass.analysis.report import html as html_writer
from breakglass.analysis.report.escape import columns_of, shortened, visible
from breakglass.analysis.report.page import Arrow, Page, Table
from breakglass.model.finding import Finding

ANY = st.one_of(
    st.sampled_from(ATTACKS),
    st.text(st.characters(codec=None), max_size=5),
    st.text(st.sampled_from("`|\\*_~[]()<>&\"'#@;:%${}-= \n\ufb02\u202eaf1"), max_size=5),
)
CELLS = st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=4)
NAMES = st.text(st.sampled_from("`|\\*_~[]()<>&\"'#@;:%${}-= \n\u202eafé日1/"), min_size=1, max_size=5)
ARROWS = st.lists(
    st.builds(
        Arrow,
        st.tuples(NAMES) | st.tuples(NAMES, NAMES),
        st.tuples(NAMES),
        NAMES,
        st.sampled_from(["danger", "closed"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda arrow: (arrow.sources, arrow.destinations),
)


def page_of(cells: list[tuple[str, ...]]) -> Page:
    return Page("Headline.", (), (Table("Table", ("aa", "bb", "cc"), cells),))


def originals(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [tuple(map(original, row)) for row in rows]


@given(st.text(st.characters(codec=None)) | ANY)
def test_visible_text_is_one_line_of_ink_and_can_be_read_back(written: str) -> None:
    shown = visible(written)
    assert shown.isprintable()
    assert shown == shown.strip(" ")
    assert "  " not in shown
    assert original(shown) == written


@pytest.mark.parametrize(
    "char", [chr(code) for code in range(sys.maxunicode + 1) if chr(code) in "\u115f\u2800\u3164\ufe0f\u034f\u180e⟨"]
)
def test_letters_without_ink_are_told(char: str) -> None:
    assert visible(f"a{char}b") == f"a⟨U+{ord(char):04X}⟩b"


def test_marks_stay_where_people_write_them() -> None:
    assert visible("naïve nai\u0308ve हिन्दी ไทย") == "naïve nai\u0308ve हिन्दी ไทย"
    assert visible("a" + "\u0301" * 4) == "a\u0301\u0301⟨U+0301⟩⟨U+0301⟩"


@given(ANY, st.integers(3, 20))
def test_shortened_text_keeps_both_ends(written: str, length: int) -> None:
    short = shortened(written, length)
    assert len(short) == min(length, len(written))
    assert written == short or (written.startswith(short.split("…")[0]) and written.endswith(short[-1]))


@given(CELLS)
def test_cells_of_a_terminal(cells: list[tuple[str, ...]]) -> None:
    lines = "".join(text.write(page_of(cells))).split("\n")
    assert lines[:3] == ["Headline.", "", "Table"]
    assert originals(terminal_table(lines[3:-1])) == cells
    assert all(line == line.rstrip() and (line.isprintable()) for line in lines)


@given(CELLS)
def test_cells_of_markdown(cells: list[tuple[str, ...]]) -> None:
    assert originals(markdown_tables("".join(markdown.write(page_of(cells), rows=2)))) == cells
    assert originals(markdown_tables(markdown.comment(page_of(cells)))) == cells


@given(ANY)
def test_sentences_of_markdown(written: str) -> None:
    finding = Finding("x", f"a{written}b", f"{written}z", f"c{written}d")
    lines = markdown_lines("".join(markdown.write(Page(f"A{written}b", (finding,)))))
    assert list(map(original, lines)) == [f"❌ A{written}b", f"❌ x {written}z: a{written}b (c{written}d)"]


@given(CELLS)
def test_cells_of_html(cells: list[tuple[str, ...]]) -> None:
    assert originals(html("".join(html_writer.write(page_of(cells)))).rows) == cells


@given(ARROWS)
def test_names_of_dot(arrows: list[Arrow]) -> None:
    read = dot_edges("".join(dot.write(Page("x", arrows=arrows))))
    assert [
        (tuple(map(original, source)), tuple(map(original, to)), original(label)) for source, to, label in read
    ] == [(arrow.sources, arrow.destinations, arrow.label) for arrow in arrows]


@given(ARROWS)
def test_names_of_mermaid(arrows: list[Arrow]) -> None:
    read, more = mermaid_links("".join(mermaid.write(Page("x", arrows=arrows))))
    assert more == 0
    assert sorted(
        (tuple(map(original, source)), tuple(map(original, to)), original(label)) for source, to, label in read
    ) == sorted((arrow.sources, arrow.destinations, arrow.label) for arrow in arrows)


@given(ARROWS)
def test_names_of_the_drawing(arrows: list[Arrow]) -> None:
    read = [original(name) for name in svg_names("".join(svg.drawing(arrows, "x")))]
    sides = ({arrow.sources for arrow in arrows}, {arrow.destinations for arrow in arrows})
    assert sorted(read) == sorted(name for side in sides for names in side for name in names)


@pytest.mark.parametrize("attack", ATTACKS, ids=ascii)
def test_every_attack_alone(attack: str) -> None:
    page = Page(attack, (Finding("x", attack, attack, attack),), (Table(attack, ("aa",), ((attack,),)),))
    arrow = Arrow((attack or "x",), ("b",), attack)
    assert originals(html("".join(html_writer.write(page))).rows) == [(attack,)]
    assert originals(markdown_tables("".join(markdown.write(page)))) == [(attack,)]
    assert [original(name) for name in svg_names("".join(svg.drawing((arrow,), attack)))] == [attack or "x", "b"]
    [(source, _, _)], _ = mermaid_links("".join(mermaid.write(Page(attack, arrows=(arrow,)))))
    assert list(map(original, source)) == [attack or "x"]
    assert original(dot_edges("".join(dot.write(Page(attack, arrows=(arrow,)))))[0][2]) == attack
    assert json.loads(sarif.write(page.findings, {"x": attack}, documentation="https://breakglass.dev/findings"))


def test_a_hostile_page_runs_and_loads_nothing() -> None:
    read = html("".join(html_writer.write(HOSTILE)))
    assert len(read.inside["script"]) == 1
    assert read.inside["h1"] == [visible(HOSTILE.headline)]
    assert "\x1b" not in "".join(text.write(HOSTILE))


def test_columns_count_what_a_terminal_shows() -> None:
    assert [columns_of(shown) for shown in ("abc", "日本", "nai\u0308ve", "")] == [3, 4, 5, 0]
