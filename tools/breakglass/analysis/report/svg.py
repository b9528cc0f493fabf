"""The picture as an SVG that needs nothing else: no font, script, link or image from elsewhere.

Source: https://www.w3.org/TR/SVG2/ and, for screen readers, https://www.w3.org/TR/svg-aam-1.0/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from breakglass.analysis.report.escape import and_more, markup, markup_shown, shortened, visible
from breakglass.analysis.report.layout import LABEL_SIZE, LINE, PILL, Box, Curve, Layout, arrange
from breakglass.analysis.report.measure import width, wrapped
from breakglass.analysis.report.order import TONES, red_first, worst
from breakglass.analysis.report.page import Arrow, Page, Tone
from breakglass.analysis.report.picture import Link, Picture, choose, folded, label_of
from breakglass.model.finding import Finding, Severity

_ARROWS = 40
_FINDINGS = 10
_MARGIN = 28
_LEAST_WIDTH = 760
_HEADLINE_SIZE = 19
_HEADLINE_WIDTH = 22
"""Size at which plain letters are as wide as the bold ones of the headline."""

_TEXT_SIZE = 13
_BADGE = 30
_SEVERITY = 74
_NAMES_TOLD = 40
_WORKLOAD = re.compile(r"(?P<namespace>[a-z0-9.…-]+/)?(?P<name>[^/\[\]]+)(?P<kind>\[[A-Za-z]+\])?")

_WORDS: dict[Tone, str] = {"danger": "dangerous", "opened": "opens", "closed": "closes", "plain": "allowed"}

_LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "muted": "#59636e",
    "box": "#f6f8fa",
    "edge": "#d1d9e0",
    "danger": "#cf222e",
    "opened": "#1a7f37",
    "closed": "#6e7781",
    "plain": "#0969da",
    "warning": "#9a6700",
    "danger-pale": "#ffebe9",
    "opened-pale": "#dafbe1",
    "closed-pale": "#eff1f3",
    "plain-pale": "#ddf4ff",
    "warning-pale": "#fff8c5",
}
_DARK = {
    "paper": "#0d1117",
    "ink": "#f0f6fc",
    "muted": "#9198a1",
    "box": "#151b23",
    "edge": "#3d444d",
    "danger": "#ff7b72",
    "opened": "#3fb950",
    "closed": "#9198a1",
    "plain": "#58a6ff",
    "warning": "#d29922",
    "danger-pale": "#3b1719",
    "opened-pale": "#11291a",
    "closed-pale": "#212830",
    "plain-pale": "#10233f",
    "warning-pale": "#322a12",
}


def _colours(palette: dict[str, str]) -> str:
    """Rules for one palette; values are written out, for not every viewer knows variables."""
    rules = [
        f".bg-paper{{fill:{palette['paper']}}}",
        f".bg-ink{{fill:{palette['ink']}}}",
        f".bg-muted{{fill:{palette['muted']}}}",
        f".bg-box{{fill:{palette['box']};stroke:{palette['edge']}}}",
        f".bg-rule{{stroke:{palette['edge']}}}",
    ]
    for name in (*TONES, "warning"):
        rules += [
            f".bg-line-{name}{{stroke:{palette[name]}}}",
            f".bg-text-{name}{{fill:{palette[name]}}}",
            f".bg-pale-{name}{{fill:{palette[name + '-pale']};stroke:{palette[name]}}}",
        ]
    return "".join(rules)


STYLE = (
    ".bg-picture text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}"
    f".bg-headline{{font-size:{_HEADLINE_SIZE}px;font-weight:600}}"
    f".bg-text{{font-size:{_TEXT_SIZE}px}}"
    f".bg-small{{font-size:{LABEL_SIZE}px}}"
    ".bg-strong{font-weight:600}"
    ".bg-curve{fill:none}"
    ".bg-line-danger{stroke-width:3}"
    ".bg-line-opened{stroke-width:1.75}"
    ".bg-line-closed{stroke-width:1.75;stroke-dasharray:7 5}"
    ".bg-line-plain{stroke-width:1.25}"
    ".bg-end{stroke-dasharray:none}"
    + _colours(_LIGHT)
    + "@media screen and (prefers-color-scheme:dark){"
    + _colours(_DARK)
    + "}"
)
"""The style sheet inside the picture; a page that holds it allows it by its hash."""


def write(page: Page) -> Iterator[str]:
    """Whole lines of a document: headline, findings, at most 40 arrows, legend."""
    picture = choose(page.arrows, _ARROWS)
    layout = arrange(picture, _LEAST_WIDTH) if picture.links else None
    inner = layout.width if layout else _LEAST_WIDTH
    header, top = _header(page, inner)
    yield from _document(page.headline, picture, layout, header, inner, top)


def drawing(arrows: Iterable[Arrow], title: str) -> Iterator[str]:
    """Whole lines of an element to stand in a page that tells the rest; none without arrows."""
    picture = choose(arrows, _ARROWS)
    if picture.links:
        layout = arrange(picture, _LEAST_WIDTH)
        yield from _document(title, picture, layout, [], layout.width, _MARGIN)


def _document(
    title: str, picture: Picture, layout: Layout | None, header: list[str], inner: int, top: int
) -> Iterator[str]:
    body = list(_body(picture, layout, top)) if layout else []
    height = (top + 24 + layout.height + 52 if layout else top) + _MARGIN // 2
    whole = inner + 2 * _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bg-picture" width="{whole}" height="{height}"'
        f' viewBox="0 0 {whole} {height}" role="img" aria-labelledby="bg-title bg-desc" lang="en">\n'
    )
    yield f'<title id="bg-title">{markup(title)}</title>\n'
    yield f'<desc id="bg-desc">{" ".join(_told(picture))}</desc>\n'
    yield f"<style>{STYLE}</style>\n"
    yield f'<rect class="bg-paper" width="{whole}" height="{height}"/>\n'
    yield from chain(header, body)
    yield "</svg>\n"


def _told(picture: Picture) -> Iterator[str]:
    """The picture in words, marked up."""
    for link in picture.links:
        ends = (", ".join(folded(names, 6, 80)) for names in (link.sources, link.destinations))
        yield markup_shown(f"{' → '.join(ends)}: {shortened(label_of(link, 6), 200)} ({_WORDS[link.tone]}).")
    if picture.left_out:
        yield f"{picture.left_out:,} more arrows are not drawn."


def _header(page: Page, inner: int) -> tuple[list[str], int]:
    """The headline and the findings as elements, and the height where they end."""
    severity = worst(page.findings)
    headline = wrapped(visible(page.headline), _HEADLINE_WIDTH, inner - _BADGE - 12, 3)
    lines = [_badge(severity, _MARGIN + 13, _MARGIN + 13)]
    y = _MARGIN + 20
    for line in headline:
        lines.append(_text(_MARGIN + _BADGE + 12, y, line, "bg-headline bg-ink", page.headline))
        y += 26
    y += 14
    findings = red_first(page.findings)
    for finding in findings[:_FINDINGS]:
        lines += _finding(finding, inner, y)
        y += LINE * (len(_message(finding, inner)) + len(_context(finding, inner))) + 10
    if len(findings) > _FINDINGS:
        lines.append(_text(_MARGIN, y, f"{and_more(len(findings) - _FINDINGS)} findings", "bg-text bg-muted"))
        y += LINE
    y += 4
    lines.append(f'<path class="bg-rule" d="M{_MARGIN} {y}h{inner}"/>\n')
    return lines, y + 26


def _badge(severity: Severity, x: int, y: int) -> str:
    name = {"error": "danger", "warning": "warning", "note": "opened"}[severity]
    sign = "M0 -7v8M0 5v1" if severity != "note" else "M-6 0l4 4l8 -8"
    return (
        f'<g transform="translate({x} {y})"><circle class="bg-pale-{name}" r="13" stroke-width="1.5"/>'
        f'<path class="bg-line-{name}" fill="none" stroke-linecap="round" stroke-width="2.5" d="{sign}"/></g>\n'
    )


def _message(finding: Finding, inner: int) -> list[str]:
    return wrapped(visible(finding.message), _TEXT_SIZE, inner - _SEVERITY, 3)


def _context(finding: Finding, inner: int) -> list[str]:
    said = " · ".join(visible(text) for text in (finding.id, finding.where, finding.remedy) if text)
    return wrapped(said, LABEL_SIZE, inner - _SEVERITY, 2)


def _finding(finding: Finding, inner: int, y: int) -> Iterator[str]:
    name = {"error": "danger", "warning": "warning", "note": "closed"}[finding.severity]
    yield _pill(_MARGIN, y - 14, _SEVERITY - 12, finding.severity, name)
    for line in _message(finding, inner):
        yield _text(_MARGIN + _SEVERITY, y, line, "bg-text bg-ink", finding.message)
        y += LINE
    whole = " · ".join(text for text in (finding.id, finding.where, finding.remedy) if text)
    for line in _context(finding, inner):
        yield _text(_MARGIN + _SEVERITY, y, line, "bg-small bg-muted", whole)
        y += LINE


def _body(picture: Picture, layout: Layout, top: int) -> Iterator[str]:
    yield _text(_MARGIN, top, "FROM", "bg-small bg-strong bg-muted")
    yield _text(_MARGIN + layout.destinations[0].x, top, "TO", "bg-small bg-strong bg-muted")
    yield f'<g transform="translate({_MARGIN} {top + 12})">\n'
    for curve in reversed(layout.curves):
        yield _curve(curve, layout)
    for curve in layout.curves:
        if curve.label:
            yield _pill(layout.labels, curve.start - PILL // 2, curve.label_width, curve.label, curve.link.tone)
    for box in (*layout.sources, *layout.destinations):
        yield from _box(box)
    yield "</g>\n"
    yield from _legend(picture, top + layout.height + 52)


def _curve(curve: Curve, layout: Layout) -> str:
    """A line under the label, a curve behind the lane of labels, and a head: a bar where something closes."""
    tone = curve.link.tone
    left, right = layout.sources[0].width, layout.destinations[0].x - (7 if tone == "closed" else 9)
    bend = (right - layout.lane) // 2
    path = (
        f"M{left} {curve.start}H{layout.lane}"
        f"C{layout.lane + bend} {curve.start} {right - bend} {curve.end} {right} {curve.end}"
    )
    head = f"M{right} {curve.end - 5}v10" if tone == "closed" else f"M{right} {curve.end - 4}l8 4l-8 4z"
    fill = "" if tone == "closed" else f"bg-text-{tone} "
    return (
        f"<g><title>{markup_shown(_said(curve.link))}</title>"
        f'<path class="bg-curve bg-line-{tone}" d="{path}"/>'
        f'<path class="{fill}bg-line-{tone} bg-end" stroke-width="1" d="{head}"/></g>\n'
    )


def _said(link: Link) -> str:
    return f"{shortened(label_of(link, 20), 400)} ({_WORDS[link.tone]})"


def _pill(x: int, y: int, pill_width: int, text: str, name: str) -> str:
    return (
        f'<rect class="bg-pale-{name}" x="{x}" y="{y}" width="{pill_width}" height="{PILL}" rx="10"/>'
        f'<text class="bg-small bg-text-{name}" x="{x + pill_width // 2}" y="{y + 14}" text-anchor="middle">'
        f"{markup_shown(text)}</text>\n"
    )


def _box(box: Box) -> Iterator[str]:
    lines = len(box.shown) + bool(box.more)
    yield f'<rect class="bg-box" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="7"/>\n'
    y = box.y + (box.height - lines * LINE) // 2 + 14
    for name, shown in zip(box.names, box.shown, strict=False):
        yield _name(box.x + 12, y, shown, name)
        y += LINE
    if box.more:
        told = box.names[len(box.shown) : len(box.shown) + _NAMES_TOLD]
        hidden = ", ".join(told) + (" …" if len(told) + len(box.shown) < len(box.names) else "")
        yield _text(box.x + 12, y, box.more, "bg-text bg-muted", hidden)


def _name(x: int, y: int, shown: str, name: str) -> str:
    match = _WORKLOAD.fullmatch(shown)
    if match is None:
        return _text(x, y, shown, "bg-text bg-ink", name)
    namespace, kind = (
        f'<tspan class="bg-muted">{match[part]}</tspan>' if match[part] else "" for part in ("namespace", "kind")
    )
    parts = f"{namespace}{markup_shown(match['name'])}{kind}"
    return f'<text class="bg-text bg-ink" x="{x}" y="{y}">{_tooltip(shown, name)}{parts}</text>\n'


def _text(x: int, y: int, shown: str, classes: str, whole: str = "") -> str:
    return f'<text class="{classes}" x="{x}" y="{y}">{_tooltip(shown, whole)}{markup_shown(shown)}</text>\n'


def _tooltip(shown: str, whole: str) -> str:
    """What is not shown whole is told whole to the pointer."""
    return f"<title>{markup(whole)}</title>" if whole and visible(whole) != shown else ""


def _legend(picture: Picture, y: int) -> Iterator[str]:
    x = _MARGIN
    for tone in TONES:
        if any(link.tone == tone for link in picture.links):
            yield f'<path class="bg-curve bg-line-{tone}" d="M{x} {y - 4}h34"/>\n'
            yield _text(x + 42, y, _WORDS[tone], "bg-small bg-muted")
            x += 42 + width(_WORDS[tone], LABEL_SIZE) + 24
    if picture.left_out:
        yield _text(x, y, f"{picture.left_out:,} more arrows are not drawn", "bg-small bg-strong bg-ink")
