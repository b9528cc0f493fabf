"""The picture as a graph for Graphviz: every arrow and every name, one line each.

Source: https://graphviz.org/doc/info/lang.html and https://graphviz.org/docs/attr-types/escString/.
"""

from __future__ import annotations

from collections.abc import Iterator

from breakglass.analysis.report.escape import visible
from breakglass.analysis.report.page import Page, Tone

_STYLES: dict[Tone, str] = {
    "danger": 'color="#cf222e", fontcolor="#cf222e", penwidth=2.5',
    "opened": 'color="#1a7f37", fontcolor="#1a7f37", penwidth=1.5',
    "closed": 'color="#6e7781", fontcolor="#6e7781", style=dashed, arrowhead=tee',
    "plain": 'color="#0969da", fontcolor="#0969da"',
}


def write(page: Page) -> Iterator[str]:
    """Whole lines. A set of names is one node, wherever it stands, and its own identifier."""
    yield "digraph {\n"
    yield f"  graph [rankdir=LR, labelloc=t, label={_string(visible(page.headline))}]\n"
    yield '  node [shape=box, style=rounded, fontname="Helvetica"]\n'
    yield '  edge [fontname="Helvetica"]\n'
    for arrow in page.arrows:
        ends = f"{_node(arrow.sources)} -> {_node(arrow.destinations)}"
        yield f"  {ends} [label={_string(visible(arrow.label))}, {_STYLES[arrow.tone]}]\n"
    yield "}\n"


def _node(names: tuple[str, ...]) -> str:
    return '"' + r"\n".join(_escaped(visible(name)) for name in names) + '"'


def _string(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """A name is also its node's label, so it is read twice: as a string and as a label, which knows HTML entities.

    A `%` at the start would make the node an anonymous one, with a number for a name.
    """
    return text.replace("\\", r"\\").replace('"', r"\"").replace("&", "&amp;").replace("%", "&#37;")
