"""A page for a browser that needs nothing else, may load nothing else, and reads without its script.

Source: https://html.spec.whatwg.org/ and https://www.w3.org/TR/CSP3/.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

from breakglass.analysis.report import svg
from breakglass.analysis.report.escape import markup
from breakglass.analysis.report.order import red_first, worst
from breakglass.analysis.report.page import Page, Table
from breakglass.model.finding import Finding

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--muted:#59636e;--box:#f6f8fa;--edge:#d1d9e0;
--danger:#cf222e;--danger-pale:#ffebe9;--warning:#9a6700;--warning-pale:#fff8c5;--opened:#1a7f37;--opened-pale:#dafbe1;
--closed:#59636e;--closed-pale:#eff1f3;--plain:#0969da}
@media screen and (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#f0f6fc;--muted:#9198a1;--box:#151b23;
--edge:#3d444d;--danger:#ff7b72;--danger-pale:#3b1719;--warning:#d29922;--warning-pale:#322a12;--opened:#3fb950;
--opened-pale:#11291a;--closed:#9198a1;--closed-pale:#212830;--plain:#58a6ff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.5rem 4rem;max-width:76rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{margin:0 0 1.5rem;padding:.2rem 0 .2rem 1rem;border-left:5px solid var(--opened);font-size:1.5rem;line-height:1.35}
h1.error{border-color:var(--danger)}
h1.warning{border-color:var(--warning)}
h2{margin:2.5rem 0 .75rem;font-size:1.15rem}
.danger>h2{color:var(--danger)}
.findings{margin:0;padding:0;list-style:none}
.findings li{display:grid;grid-template-columns:5.5rem 1fr;padding:.6rem 0;border-bottom:1px solid var(--edge)}
.findings p{margin:0;overflow-wrap:anywhere}
.findings p+p{color:var(--muted);font-size:.87rem}
.severity{align-self:start;justify-self:start;padding:0 .6rem;border:1px solid;border-radius:1rem;font-size:.8rem}
.severity.error{color:var(--danger);background:var(--danger-pale)}
.severity.warning{color:var(--warning);background:var(--warning-pale)}
.severity.note{color:var(--closed);background:var(--closed-pale)}
figure{margin:2.5rem 0 0;border:1px solid var(--edge);border-radius:8px;overflow-x:auto}
figure svg{display:block;max-width:100%;height:auto;min-width:44rem;margin:0 auto}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.9rem}
th,td{padding:.45rem .75rem;border-bottom:1px solid var(--edge);text-align:left;vertical-align:top;
overflow-wrap:anywhere}
td{min-width:8.5rem}
th{white-space:nowrap;background:var(--box);border-top:1px solid var(--edge);color:var(--muted);font-weight:600}
.danger table{border-left:3px solid var(--danger)}
.opened table{border-left:3px solid var(--opened)}
.closed table{border-left:3px dashed var(--closed)}
.plain table{border-left:3px solid var(--plain)}
label{display:block;margin:2.5rem 0 -1rem;color:var(--muted);font-size:.9rem}
label[hidden]{display:none}
input{width:22rem;max-width:100%;margin-left:.5rem;padding:.35rem .6rem;border:1px solid var(--edge);border-radius:6px;
background:var(--paper);color:var(--ink);font:inherit}
.none{color:var(--muted)}
@media print{body{padding:0;max-width:none;font-size:10pt}label{display:none}figure{border:0}figure svg{min-width:0}
tr,li{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}}
"""

_SCRIPT = """
const label = document.querySelector("label"), rows = [...document.querySelectorAll("tbody tr")];
label.hidden = rows.length === 0;
label.querySelector("input").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
});
"""


def write(page: Page) -> Iterator[str]:
    """Whole lines: the verdict, the findings, the picture, the tables."""
    headline = markup(page.headline)
    verdict = worst(page.findings) if page.findings else "passed"
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{headline}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
    yield f'<h1 class="{verdict}">{headline}</h1>\n'
    yield from _findings(page)
    yield from _figure(page)
    yield '<label hidden>Only rows with<input type="search" autocomplete="off"></label>\n'
    for table in page.tables:
        yield from _table(table)
    yield f"</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"


def _policy() -> str:
    """Nothing but these style sheets and this script, by their hashes."""
    styles = f"{_hash(_STYLE)} {_hash(svg.STYLE)}"
    return f"default-src 'none'; style-src {styles}; script-src {_hash(_SCRIPT)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _findings(page: Page) -> Iterator[str]:
    if not page.findings:
        return
    yield '<ul class="findings">\n'
    for finding in red_first(page.findings):
        yield f'<li><span class="severity {finding.severity}">{finding.severity}</span>{_said(finding)}</li>\n'
    yield "</ul>\n"


def _said(finding: Finding) -> str:
    context = " · ".join(markup(text) for text in (finding.id, finding.where, finding.remedy) if text)
    return f"<div><p>{markup(finding.message)}</p><p>{context}</p></div>"


def _figure(page: Page) -> Iterator[str]:
    lines = svg.drawing(page.arrows, "Who reaches whom")
    if first := next(lines, ""):
        yield "<figure>\n" + first
        yield from lines
        yield "</figure>\n"


def _table(table: Table) -> Iterator[str]:
    yield f'<section class="{table.tone}">\n<h2>{markup(table.title)}</h2>\n'
    rows = iter(table.rows)
    if (first := next(rows, None)) is None:
        yield '<p class="none">none</p>\n</section>\n'
        return
    headings = "".join(f'<th scope="col">{markup(column)}</th>' for column in table.columns)
    yield f'<div class="scroll"><table>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{_row(first)}'
    yield from map(_row, rows)
    yield "</tbody>\n</table></div>\n</section>\n"


def _row(cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<td>{markup(cell)}</td>" for cell in cells) + "</tr>\n"
