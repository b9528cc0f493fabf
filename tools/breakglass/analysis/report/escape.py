"""Text of manifests and people is hostile until shown: what nobody can see is made visible, what is long is cut."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from html import escape
from itertools import pairwise

_MARKS_IN_A_ROW = 2
_REMEMBERED = 200
"""Characters of a text that is worth remembering: names stand in many rows, long texts only once."""

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols without ink, which `str.isprintable` lets pass."""


def visible(text: str) -> str:
    """Text in which every character has ink: `⟨U+202E⟩` stands for one that has none or moves its neighbours.

    Those are control, format (bidirectional, zero-width), surrogate, private and unassigned characters, line breaks,
    every space but the single one inside, fillers, variation selectors, stacked combining marks, and `⟨` itself. So
    the result is one line, and no two texts have the same.

    Source: https://www.unicode.org/reports/tr36/ sections 2.5 and 3.
    """
    return _shown_before(text) if len(text) <= _REMEMBERED else _shown(text)


def _shown(text: str) -> str:
    if text.isascii() and text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text
    marks = 0
    shown: list[str] = []
    for before, char in pairwise(f" {text}"):
        marks = marks + 1 if unicodedata.category(char).startswith("M") else 0
        lost = char == " " == before or marks > _MARKS_IN_A_ROW or (marks and before == " ") or _inkless(char)
        shown.append(f"⟨U+{ord(char):04X}⟩" if lost else char)
    if shown[-1] == " ":
        shown[-1] = "⟨U+0020⟩"
    return "".join(shown)


_shown_before = lru_cache(maxsize=4_096)(_shown)


def _inkless(char: str) -> bool:
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef" or "\u180b" <= char <= "\u180f"
    return not char.isprintable() or char == "⟨" or char in _BLANK or selector or char in "\u034f\u17b4\u17b5"


def markup(text: str) -> str:
    """Text as content or quoted attribute of XML and HTML."""
    return markup_shown(visible(text))


def markup_shown(text: str) -> str:
    """Visible text as content or quoted attribute of XML and HTML."""
    return escape(text)


def shortened(text: str, length: int) -> str:
    """Visible text of at most so many characters: what is longer loses its middle to `…`, for names differ at the ends.

    Args:
        length: at least 3.
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"


def and_more(count: int) -> str:
    """What stands where so many were left out."""
    return f"and {count:,} more"


def columns_of(text: str) -> int:
    """Columns of a terminal that a visible text takes: two for wide characters of East Asia, none for marks.

    Source: https://www.unicode.org/reports/tr11/.
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char).startswith("M") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )
