"""How wide text is, by classes of characters: an estimate for the widest of the usual sans-serif fonts, so that no
text meets another whichever font the reader has."""

from __future__ import annotations

import unicodedata

from breakglass.analysis.report.escape import shortened

_THOUSANDTHS = (
    dict.fromkeys("ijlI|!'.,:; `", 350)
    | dict.fromkeys('frt()[]/-"\\⟨⟩', 420)
    | dict.fromkeys("cksvxyzJL_", 560)
    | dict.fromkeys("wABCDGHKNOQRUVX→+=<>~^#", 800)
    | dict.fromkeys("mMW@%…—&", 1000)
)
_LETTER = 650
_OTHER = 900
_IDEOGRAPH = 1_300
_BEYOND = 3_000
"""Cuneiform and its like."""


def width(text: str, size: int) -> int:
    """Pixels that visible text takes at most, at a font size in pixels."""
    return -(-sum(map(_thousandths, text)) * size // 1_000)


def _thousandths(char: str) -> int:
    known = _THOUSANDTHS.get(char)
    if known is not None:
        return known
    if char.isascii():
        return _LETTER
    if unicodedata.east_asian_width(char) in "WF":
        return _IDEOGRAPH
    if ord(char) > 0xFFFF:
        return _BEYOND
    return _OTHER * len(unicodedata.normalize("NFKD", char))


def fitted(text: str, size: int, pixels: int) -> str:
    """Visible text that is not wider than so many pixels; the middle of what is longer becomes `…`."""
    if len(text) > pixels:
        text = shortened(text, pixels)
    length = len(text)
    while length > 3 and width(text, size) > pixels:
        length -= max(1, length // 20)
        text = shortened(text, length)
    return text


def wrapped(text: str, size: int, pixels: int, lines: int) -> list[str]:
    """Visible text broken at spaces into at most so many lines; the last one loses its middle where there is more."""
    broken: list[str] = []
    words = text.split(" ")
    while words and len(broken) < lines - 1:
        line = words.pop(0)
        while words and width(f"{line} {words[0]}", size) <= pixels:
            line += f" {words.pop(0)}"
        broken.append(fitted(line, size, pixels))
    return [*broken, fitted(" ".join(words), size, pixels)] if words else broken
