"""What a plain scalar of YAML means to kubectl: YAML 1.1 as `go.yaml.in/yaml/v2` resolves it, on its way to JSON.

`yes`, `on` and `y` are booleans; `0x1F`, `0o17`, `017`, `0b11` and `1_000` are whole numbers; `0.0` is the whole number
that JSON makes of it; times stay text, and so does a number that no 64 bits can hold.
https://github.com/yaml/go-yaml/blob/v2.4.4/resolve.go, https://github.com/kubernetes-sigs/yaml/blob/v1.6.0/yaml.go
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

_T = TypeVar("_T")
Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_WHOLE = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_POINT_FLOAT = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?", re.ASCII)
_LONGEST_NUMBER = 400
_MOST_REMEMBERED = 1 << 16
_LONGEST_REMEMBERED = 64


def plain(text: str) -> Scalar:
    """The value of a plain scalar (one without quotes or tag) as it stands in JSON.

    Raises:
        ValueError: it is `.nan` or `.inf`, which JSON cannot hold.
    """
    value = _value(text)
    return json_number(value) if isinstance(value, float) else value


def plain_key(text: str) -> str:
    """The key that a plain scalar is in JSON, where every key is text: `true` for `on`, `16` for `0x10`.

    Raises:
        ValueError: it is null or a number with a fraction; kubectl refuses the one and rounds the other.
    """
    return text if isinstance(value := _value(text), str) else key_of_value(value)


def key_of_value(value: object) -> str:
    """The key that a value is in JSON.

    Raises:
        ValueError: as for `plain_key`.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        raise ValueError("null, a fraction, a list or a mapping is no key")
    return str(value)


def json_number(value: float) -> int | float:
    """A number as JSON takes it from Go: whole where nothing is lost.

    Raises:
        ValueError: JSON cannot hold it.
    """
    if not math.isfinite(value):
        raise ValueError("JSON has no infinity and nothing that is not a number")
    return int(value) if value.is_integer() and -(2.0**63) <= value < 2.0**63 else value


def _value(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return _finite(text) if _POINT_FLOAT.fullmatch(text) else text
    if text[0] not in "+-0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    digits = text.replace("_", "")
    whole = _whole(digits)
    if whole is not None:
        return whole
    found = _finite(digits) if _FLOAT.fullmatch(digits) else digits
    return text if isinstance(found, str) else found


def _whole(digits: str) -> int | float | None:
    found = _WHOLE.fullmatch(digits)
    if found is None:
        return None
    sign, *written = found.groups()
    base, number = next((base, number) for base, number in zip(_BASES, written, strict=True) if number is not None)
    value = -int(number, base) if sign == "-" else int(number, base)
    if -(1 << 63) <= value < 1 << 63:
        return value
    # Without a sign Go finds room in its 64 bits for some more, which JSON then makes a float of.
    return float(value) if not sign and value < 1 << 64 else None


def _finite(digits: str) -> Scalar:
    value = float(digits)
    return value if math.isfinite(value) else digits


class _Remembered(dict[str, _T], Generic[_T]):
    """What a function makes of short texts: few of them stand in manifests over and over."""

    def __init__(self, function: Callable[[str], _T]) -> None:
        self._function = function

    def __missing__(self, text: str) -> _T:
        value = self._function(text)
        if len(text) <= _LONGEST_REMEMBERED:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[text] = value
        return value


PLAIN: Mapping[str, Scalar] = _Remembered(plain)
"""`plain`, remembered."""
PLAIN_KEYS: Mapping[str, str] = _Remembered(plain_key)
"""`plain_key`, remembered."""
