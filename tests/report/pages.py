"""Pages that the tests write: a small one, a large one, and one whose every text attacks the format it stands in."""

from __future__ import annotations

from breakglass.analysis.report.page import Arrow, Page, Table
from breakglass.model.finding import Finding

ATTACKS = (
    "a|b",
    "a\\|b",
    "\\",
    "`code`",
    "``",
    "**bold**",
    "_em_ ~~gone~~",
    "[link](https://evil.example)",
    "![image](x)",
    "https://evil.example",
    "www.evil.example",
    "ada@evil.example",
    "@acme/security",
    "acme/shop#1",
    "#123",
    "GH-123",
    "3bb4a81",
    ":smile:",
    "$x$ $$y$$",
    "<script>alert(1)</script>",
    "</text></svg><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "&amp; &#64;ada &lt;b&gt;",
    "]]>",
    "-->",
    "--> <!--",
    "</details>",
    "line\nfeed\r\ntab\t",
    "\x1b[31mred\x1b[0m",
    "\x07\x08\x7f\x9b31m\x00",
    "shop\u202e\u2066tib\u2069",
    "zero\u200bwidth\u200d\ufeff",
    "soft\u00adhyphen\u00a0space\u2028\u2029",
    "⟨U+202E⟩",
    "z\u0300\u0301\u0302\u0303algo",
    "\u0301",
    "\u3164",
    "\U000e0041\ufe0f",
    "\ud800",
    "end",
    'x"]; click s0 "javascript:alert(1)"',
    "%%{init: {}}%%",
    "%1",
    "fa:fa-lock",
    "\ufb02°°35¶ß",
    "#quot;",
    "1. x",
    "- x",
    "> x",
    "# x",
    "\\N \\G \\l",
    "日本語",
    "😀",
    "  two  spaces  ",
    "",
)

SMALL = Page(
    "3 sources can newly reach data/postgres on TCP 5432; everything closes at 10:43Z.",
    (
        Finding("contract-missing", "The overlay promises nothing.", "overlays/x/overlay.yaml:8", severity="warning"),
        Finding(
            "isolation-flip",
            "data/postgres is not isolated for ingress any more: every pod may reach it.",
            "overlays/x/networkpolicy.yaml:12",
            "name the sources in spec.ingress[].from",
        ),
    ),
    (
        Table(
            "Opens",
            ("from", "to", "ports"),
            (
                ("ops/bastion[Deployment], ops/shell[Pod]", "data/postgres[StatefulSet]", "TCP 5432"),
                ("0.0.0.0-255.255.255.255", "shop/web[Deployment]", "TCP 443"),
            ),
            "opened",
        ),
        Table("Closes", ("from", "to", "ports"), (), "closed"),
    ),
    (
        Arrow(("ops/bastion[Deployment]", "ops/shell[Pod]"), ("data/postgres[StatefulSet]",), "TCP 5432", "opened"),
        Arrow(("0.0.0.0-255.255.255.255",), ("shop/web[Deployment]", "shop/api[Deployment]"), "TCP 443", "danger"),
        Arrow(("shop/api[Deployment]",), ("data/postgres[StatefulSet]",), "TCP 6432", "closed"),
    ),
)

HOSTILE = Page(
    f"Opens {ATTACKS[0]} to {ATTACKS[7]} {ATTACKS[19]} {ATTACKS[30]}",
    tuple(Finding("finding", f"Names {attack}", attack, f"remove {attack}") for attack in ATTACKS),
    (Table(f"Opens {ATTACKS[19]}", ("from", "to"), tuple((attack, f"x{attack}") for attack in ATTACKS), "danger"),),
    tuple(Arrow((attack,), (f"x{attack}", "data/postgres[StatefulSet]"), attack, "danger") for attack in ATTACKS[:40]),
)


def large() -> Page:
    """60 arrows between sets of up to 9 long names, 30 rows, 13 findings."""
    names = [
        f"{namespace}/{name}-{number}[{kind}]"
        for number in range(3)
        for namespace in ("shop", "payments-production-europe-west")
        for name, kind in (("web-frontend-of-the-checkout-with-a-long-name", "Deployment"), ("postgres", "StatefulSet"))
    ]
    tones = ("plain", "closed", "opened", "danger", "opened")
    arrows = tuple(
        Arrow(
            tuple(names[number % 12 : number % 12 + 1 + number % 9]) or ("{ingress-controller}",),
            tuple(names[(number * 7) % 11 : (number * 7) % 11 + 1 + number % 4]),
            ("TCP 5432", "TCP 443", "UDP 53, TCP 53", "TCP 1-65535, UDP 1-65535, SCTP 1-65535")[number % 4],
            tones[number % 5],
        )
        for number in range(60)
    )
    rows = tuple((", ".join(arrow.sources), ", ".join(arrow.destinations), arrow.label) for arrow in arrows[:30])
    findings = tuple(
        Finding(f"finding-{number}", "Wrong." * (1 + number % 3), f"base/x.yaml:{number + 1}", severity=severity)
        for number, severity in zip(range(13), ("note", "warning", "error", "note") * 4, strict=False)
    )
    return Page("60 connections change.", findings, (Table("Opens", ("from", "to", "ports"), rows, "opened"),), arrows)
