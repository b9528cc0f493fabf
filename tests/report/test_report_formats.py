"""Every format says the same: red first, honest about what it leaves out, a stream where there is much."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, SMALL, large
from readers import SVG, dot_edges, html, markdown_tables, mermaid_links

from breakglass.analysis.report import dot, markdown, mermaid, svg, text
from breakglass.analysis.report import html as html_writer
from breakglass.analysis.report.page import Arrow, Page, Table
from breakglass.model.finding import Finding

WRITERS = {
    "text": text.write,
    "markdown": markdown.write,
    "mermaid": mermaid.write,
    "dot": dot.write,
    "svg": svg.write,
    "html": html_writer.write,
}
NOTHING = Page("Nothing changes.")


class Counted:
    """Rows that know how many were asked for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.taken = 0

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for number in range(self.rows):
            self.taken += 1
            yield (f"shop/api-{number}", "data/postgres", "TCP 5432")


def table_of(rows: Iterable[tuple[str, ...]]) -> Table:
    return Table("Opens", ("from", "to", "ports"), rows, "opened")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("page", [NOTHING, SMALL, HOSTILE, large()], ids=["nothing", "small", "hostile", "large"])
def test_lines_are_whole_and_the_same_every_time(name: str, page: Page) -> None:
    once = list(WRITERS[name](page))
    assert once == list(WRITERS[name](page))
    assert all(line.endswith("\n") for line in once)


@pytest.mark.parametrize("name", ["text", "markdown", "svg", "html"])
def test_the_verdict_comes_first_and_red_findings_before_others(name: str) -> None:
    written = "".join(WRITERS[name](SMALL))
    places = [written.index(said) for said in ("sources", "isolation-flip", "contract-missing")]
    assert places == sorted(places)


def test_the_first_line_of_markdown_is_the_verdict_with_its_sign() -> None:
    worse = Page("X.", (Finding("a", "b", severity="warning"),))
    assert next(markdown.write(SMALL)).startswith("❌ **3 sources can newly reach `data/postgres` on TCP 5432;")
    assert next(markdown.write(worse)) == "⚠️ **X.**\n\n"
    assert next(markdown.write(NOTHING)) == "✅ **Nothing changes.**\n\n"


def test_a_terminal_shows_severity_id_place_message_and_remedy() -> None:
    assert list(text.write(SMALL))[:5] == [
        "3 sources can newly reach data/postgres on TCP 5432; everything closes at 10:43Z.\n",
        "\n",
        "error isolation-flip  overlays/x/networkpolicy.yaml:12: "
        "data/postgres is not isolated for ingress any more: every pod may reach it.\n",
        "      name the sources in spec.ingress[].from\n",
        "warning contract-missing  overlays/x/overlay.yaml:8: The overlay promises nothing.\n",
    ]


def test_colour_is_the_only_difference_that_colour_makes() -> None:
    plain, painted = "".join(text.write(SMALL)), "".join(text.write(SMALL, colour=True))
    assert "\x1b" not in plain
    assert "\x1b[1;31merror\x1b[0m isolation-flip" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain


@pytest.mark.parametrize(
    ("name", "lines", "held"), [("text", 1_400, 2_000), ("markdown", 1_100, 1_100), ("html", 600, 600)]
)
def test_rows_are_a_stream(name: str, lines: int, held: int) -> None:
    rows = Counted(100_000)
    list(islice(WRITERS[name](Page("x", tables=(table_of(rows),))), lines))
    assert lines // 2 < rows.taken <= held


def test_arrows_of_dot_are_a_stream() -> None:
    rows = Counted(100_000)
    arrows = (Arrow((source,), (destination,), ports) for source, destination, ports in rows)
    assert len(list(islice(dot.write(Page("x", arrows=arrows)), 50))) == 50
    assert rows.taken == 46


def test_columns_are_aligned_and_never_narrower_than_before() -> None:
    rows = [("a", "b", "c")] * 999 + [("aaaaaaaa", "b", "c")] + [("a", "b", "c")] * 3
    lines = list(text.write(Page("x", tables=(table_of(rows),))))
    assert lines[2] == "from      to  ports\n"
    assert lines[3] == lines[-1] == "a         b   c\n"


@pytest.mark.parametrize(("rows", "summary"), [(20, None), (21, "1 more"), (1_020, "1,000 more"), (1_021, "more")])
def test_markdown_folds_what_is_beyond_the_first_rows(rows: int, summary: str | None) -> None:
    written = "".join(markdown.write(Page("x", tables=(table_of(Counted(rows)),))))
    assert len(markdown_tables(written)) == rows
    assert re.findall("<summary>(.*)</summary>", written) == ([] if summary is None else [summary])
    assert ("1,001 more rows are folded above." in written) == (rows == 1_021)


def numbers(pattern: str, written: str) -> int:
    return sum(int(number.replace(",", "")) for number in re.findall(pattern, written))


@given(
    st.lists(st.lists(st.integers(1, 4_000), max_size=200), min_size=1, max_size=3),
    st.lists(st.integers(0, 3_000), max_size=80),
    st.integers(10_000, 70_000),
    st.sampled_from(["a", "日", "\u202e", "`"]),
)
def test_a_comment_keeps_to_its_limit_and_counts_what_is_missing(
    tables: list[list[int]], findings: list[int], limit: int, char: str
) -> None:
    page = Page(
        char * 500,
        tuple(Finding("finding", char * length) for length in findings),
        tuple(Table("Opens", ("a", "b"), tuple((char * length, "x") for length in rows)) for rows in tables),
        [Arrow((char * 50 + str(number),), ("x",), "TCP 1") for number in range(30)],
    )
    written = markdown.comment(page, limit)
    assert len(written.encode()) <= limit
    assert len(markdown_tables(written)) + numbers(r"([\d,]+) more rows do not fit", written) == sum(map(len, tables))
    told = len(re.findall(r"(?m)^\* ❌", written)) + numbers(r"and ([\d,]+) more findings", written)
    assert told == len(findings)
    assert ("```mermaid" in written) != ("The picture does not fit" in written)


def test_a_comment_gives_up_folded_rows_before_the_picture_and_that_before_rows_that_are_seen() -> None:
    page = Page("x", tables=(table_of([(f"{number}", "x" * 200, "y" * 200) for number in range(5_000)]),))
    page = replace(page, arrows=large().arrows)
    roomy, tight = markdown.comment(page), markdown.comment(page, 15_000)
    assert "```mermaid" in roomy
    assert "<summary>4,980 more</summary>" in roomy
    assert 20 < len(markdown_tables(roomy)) < 5_000
    assert "```mermaid" not in tight
    assert len(markdown_tables(tight)) >= 20


def test_nothing_is_folded_away_where_everything_fits() -> None:
    assert "do not fit" not in markdown.comment(large(), 1_000_000)
    assert "".join(markdown.write(SMALL)) == markdown.comment(SMALL)


def test_mermaid_stays_below_what_it_would_draw_at_all() -> None:
    wide = "😀" * 90
    arrows = [Arrow(tuple(f"{number}{wide}{each}" for each in range(9)), ("b",), wide) for number in range(30)]
    written = "".join(mermaid.write(Page("x", arrows=arrows)))
    links, more = mermaid_links(written)
    assert len(written) < 50_000
    assert len(links) + more == 30
    assert "and 5 more" in links[0][0]


def test_nothing_to_draw_is_no_picture() -> None:
    assert list(mermaid.write(NOTHING)) == []
    assert list(svg.drawing((), "x")) == []
    assert dot_edges("".join(dot.write(NOTHING))) == []
    assert "<figure>" not in "".join(html_writer.write(NOTHING))


@pytest.mark.parametrize("page", [NOTHING, SMALL, HOSTILE, large()], ids=["nothing", "small", "hostile", "large"])
def test_the_picture_is_well_formed_and_told_to_screen_readers(page: Page) -> None:
    root = ElementTree.fromstring("".join(svg.write(page)))
    assert root.get("role") == "img"
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    arrows = len([*root.iter(f"{SVG}g")]) - 1 - bool(page.arrows)
    assert (description.text or "").count("(dangerous).") + (description.text or "").count("s).") >= arrows > -2
    assert not {element.tag for element in root.iter()} & {f"{SVG}{tag}" for tag in ("script", "a", "image", "use")}


def test_the_picture_tells_how_much_it_leaves_out() -> None:
    written = "".join(svg.write(large()))
    drawn = written.count('class="bg-curve') - written.count("h34")
    assert drawn == 40
    assert "more arrows are not drawn" in written
    assert "and 3 more findings" in written


def test_the_page_allows_its_own_style_and_script_and_nothing_else() -> None:
    read = html("".join(html_writer.write(SMALL)))
    hashes = {
        kind: [f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in read.inside[kind]]
        for kind in ("style", "script")
    }
    assert read.policy.split("; ") == [
        "default-src 'none'",
        f"style-src {' '.join(hashes['style'])}",
        f"script-src {hashes['script'][0]}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
