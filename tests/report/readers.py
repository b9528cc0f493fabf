"""Strict readers of what the writers emit: each takes the subset that it knows, and nothing else."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

from markdown_it import MarkdownIt
from markdown_it.token import Token

Rows = list[tuple[str, ...]]
SVG = "{http://www.w3.org/2000/svg}"


def original(shown: str) -> str:
    """The text of which `shown` is the visible form."""
    return re.sub(r"⟨U\+([0-9A-F]{4,6})⟩", lambda match: chr(int(match[1], 16)), shown)


def terminal_table(lines: list[str]) -> Rows:
    """Rows under a heading line; a column begins where its heading does."""
    starts = [match.start() for match in re.finditer(r"\S+", lines[0])]
    rows = []
    for line in lines[1:]:
        cells, column = [""] * len(starts), 0
        for char in line:
            cells[max(index for index, start in enumerate(starts) if start <= column)] += char
            mark = unicodedata.category(char).startswith("M")
            column += 0 if mark else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        rows.append(tuple(cell.rstrip(" ") for cell in cells))
    return rows


def markdown_tables(text: str) -> Rows:
    """The cells of every table's body; fails where anything but words and code spans came of a text."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rows: Rows = []
    tokens = parser.parse(text)
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            rows.append(())
        elif token.type == "td_open":
            rows[-1] += (inline_text(following),)
        elif token.type == "html_block":
            assert re.fullmatch(r"<details><summary>[\w, ]+</summary>\n?|</details>\n?", token.content)
        else:
            assert not token.type.startswith(("html", "blockquote", "hr", "code_block", "ordered")), token
    return [row for row in rows if row]


def markdown_lines(text: str) -> list[str]:
    """The text of each paragraph, item, heading and cell."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [inline_text(token) for token in parser.parse(text) if token.type == "inline"]


def inline_text(token: Token) -> str:
    text = ""
    for child in token.children or []:
        assert child.type in {"text", "code_inline", "strong_open", "strong_close"}, child
        if child.type == "text":
            assert not re.search(
                r"[@#<>&_*`$|~\\\[\]]|://|www\.\w|:\w+:|\b[0-9a-f]{7,40}\b|[A-Za-z]-\d+\b", child.content
            )
        text += child.content
    return text


class _Html(HTMLParser):
    """Cells, and everything that a browser might run or load."""

    TAGS = re.compile(
        "html|head|meta|title|style|script|body|main|h[12]|ul|li|div|p|span|figure|label|input|section"
        "|table|thead|tbody|tr|th|td|svg|desc|rect|g|path|circle|text|tspan"
    )
    ATTRIBUTES = re.compile(
        "lang|charset|http-equiv|content|name|class|id|role|aria-labelledby|hidden|type|autocomplete|scope"
        "|xmlns|viewbox|width|height|x|y|d|r|rx|transform|text-anchor|fill|stroke-linecap|stroke-width"
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: Rows = []
        self.inside: dict[str, list[str]] = {"style": [], "script": [], "h1": []}
        self.stack: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert self.TAGS.fullmatch(tag)
        assert all(self.ATTRIBUTES.fullmatch(name) for name, _ in attrs)
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        if tag == "tr":
            self.rows.append(())
        elif tag == "td":
            self.rows[-1] += ("",)
        elif tag in self.inside:
            self.inside[tag].append("")
        if tag not in {"meta", "input"}:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "td":
            self.rows[-1] = (*self.rows[-1][:-1], self.rows[-1][-1] + data)
        elif self.stack and self.stack[-1] in self.inside:
            self.inside[self.stack[-1]][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def html(text: str) -> _Html:
    """A document, every element of it closed."""
    reader = _Html()
    reader.feed(text)
    reader.close()
    assert reader.stack == []
    reader.rows = [row for row in reader.rows if row]
    return reader


def svg_names(text: str) -> list[str]:
    """The names in the boxes of a drawing, the left column first, whole even where they are shown shortened."""
    names = []
    for element in ElementTree.fromstring(text).iter(f"{SVG}text"):  # our own text, not of a stranger
        if "bg-text" in (element.get("class") or "").split() and "bg-muted" not in (element.get("class") or ""):
            title = element.find(f"{SVG}title")
            names.append("".join(element.itertext()) if title is None else title.text or "")
    return names


_DOT = re.compile(r'\s*(?:(->|[{}\[\]=,])|([A-Za-z_][A-Za-z0-9_]*|[0-9]+(?:\.[0-9]+)?)|"((?:[^"\\\n]|\\["\\nNG])*)")')


def dot_edges(text: str) -> list[tuple[list[str], list[str], str]]:
    """Edges of a graph: names of the sources, names of the destinations, label.

    Source: https://graphviz.org/doc/info/lang.html
    """
    tokens: list[tuple[str, str]] = []
    place = 0
    while text[place:].strip():
        match = _DOT.match(text, place)
        assert match is not None, text[place : place + 80]
        kind = ("sign", "word", "string")[match.lastindex - 1] if match.lastindex else ""
        tokens.append((kind, match[match.lastindex or 0]))
        place = match.end()
    assert tokens[:2] == [("word", "digraph"), ("sign", "{")]
    assert tokens[-1] == ("sign", "}")
    edges = []
    for index, token in enumerate(tokens):
        if token != ("sign", "->"):
            continue
        ends = (tokens[index - 1], tokens[index + 1])
        assert [kind for kind, _ in ends] == ["string", "string"]
        assert tokens[index + 2 : index + 5] == [("sign", "["), ("word", "label"), ("sign", "=")]
        source, destination, label = (_dot_lines(each) for each in (ends[0][1], ends[1][1], tokens[index + 5][1]))
        edges.append((source, destination, "".join(label)))
    assert not any(kind == "string" and value.startswith("%") for kind, value in tokens)
    return edges


def _dot_lines(raw: str) -> list[str]:
    """What a string shows as a label: escapes and HTML entities read, one text for each line."""
    assert not re.search(r"&(?!amp;|#37;)", raw)
    text = re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), raw)
    return text.replace("&#37;", "%").replace("&amp;", "&").split("\n")


_MERMAID_TEXT = r"(?:[A-Za-z0-9 ,/]|(?<=[A-Za-z0-9])-(?=[A-Za-z0-9])|#[0-9]{1,7};)*"
_MERMAID_BOX = re.compile(rf'  ([sd][0-9]+)\["({_MERMAID_TEXT}(?:<br/>{_MERMAID_TEXT})*)"\]')
_MERMAID_LINK = re.compile(rf'  (s[0-9]+) (==>|-->|-\.->)(?:\|"({_MERMAID_TEXT})"\|)? (d[0-9]+)')
_MERMAID_STYLE = re.compile(r"  linkStyle [0-9,]+ stroke:#[0-9a-f]{6},stroke-width:[0-9.]+px")
_MERMAID_MORE = re.compile(r'  more\["([0-9,]+) more not drawn"\]')


def mermaid_links(text: str) -> tuple[list[tuple[list[str], list[str], str]], int]:
    """Links of a flowchart (names of the sources, names of the destinations, label), and how many are not drawn."""
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    boxes: dict[str, list[str]] = {}
    links, more = [], 0
    for line in lines:
        if match := _MERMAID_BOX.fullmatch(line):
            assert match[1] not in boxes
            boxes[match[1]] = [_mermaid_decoded(name) for name in match[2].split("<br/>")]
        elif match := _MERMAID_LINK.fullmatch(line):
            links.append((boxes[match[1]], boxes[match[4]], _mermaid_decoded(match[3] or "")))
        elif match := _MERMAID_MORE.fullmatch(line):
            more = int(match[1].replace(",", ""))
        else:
            assert _MERMAID_STYLE.fullmatch(line) or line == "  style more fill:none,stroke:none", line
    return links, more


def _mermaid_decoded(text: str) -> str:
    decoded = re.sub(r"#([0-9]+);", lambda match: chr(int(match[1])), text)
    assert not re.search(r"\$\$|fa:fa-|[ﬂ¶]", decoded), "read again by Mermaid after it decoded the codes"
    return decoded
