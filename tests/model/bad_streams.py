"""Input that costs more than it can be worth, or that is only half there: what each is, and where it is refused.

The tests of the reader and of every verb that reads manifests share it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
_OBJECT = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}\n'


def _laughs() -> str:
    lines = [
        f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n"
        for below, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return HEAD + "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(lines)


def _merged_laughs() -> str:
    keys = ", ".join(f"k{number}: 1" for number in range(1000))
    return HEAD + f"a: &a {{{keys}}}\nb:\n" + "- {<<: *a}\n" * 100_000


def _list(items: int) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}] * items})


BAD_STREAMS: Mapping[str, tuple[Callable[[], str], int, str]] = {
    "billion laughs": (_laughs, 9, "the aliases stand for more than"),
    "a long text many times": (
        lambda: HEAD + f"a: &a {'x' * 1_000_000}\nb:\n" + "- *a\n" * 100_000,
        22,
        "the aliases stand for more than",
    ),
    "many keys merged many times": (_merged_laughs, 1370, "the aliases stand for more than"),
    "100,000 documents": (lambda: "---\na: 1\n" * 100_000, 100_003, "more than 50000 documents"),
    "100,000 empty documents": (lambda: "---\n" * 100_000, 50_002, "more than 50000 documents"),
    "100,000 objects of JSON": (lambda: _OBJECT * 100_000, 50_001, "more than 50000 objects"),
    "100,000 objects in a list": (lambda: _list(100_000), 1, "more than 50000 objects"),
    "a million lists in one another": (lambda: HEAD + "a: " + "[" * 1_000_000, 4, "more than 100 values inside"),
    "a million lists in one another, in blocks": (
        lambda: HEAD + "a:\n" + "- " * 1_000_000,
        5,
        "more than 100 values inside",
    ),
    "a million objects of JSON in one another": (lambda: '{"a":' * 1_000_000, 1, "more than 100 values inside"),
    "eleven million numbers": (lambda: '{"a": [' + "1," * 11_000_000 + "1]}", 1, "more than 10000000 values"),
    "half a document, at a key": (lambda: "apiVersion: v1\nki", 3, "could not find expected ':'"),
    "half a document, at a value": (lambda: "apiVersion: v1\nkind: Po", 1, "without metadata.name"),
    "half a document, in a mapping": (lambda: HEAD + "data: {a: b", 5, "did not find expected ',' or '}'"),
    "half a document, in a text": (lambda: HEAD + "data: {a: 'b", 4, "unexpected end of stream"),
    "half a document of JSON": (lambda: '{"apiVersion": "v1",\n"ki', 2, "unexpected end of stream"),
}
"""Name -> the text, the line that the complaint names, and words of it."""
