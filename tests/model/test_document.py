"""The strict reading of YAML: what is refused, and where the message points."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.model.document import LARGEST_FILE, Strict, load, read
from breakglass.model.errors import InvalidFile


class Inner(Strict):
    port: int
    name: str = "x"


class Outer(Strict):
    kind: str
    inner: list[Inner]


def refusal(content: bytes, model: Any = None) -> InvalidFile:
    with pytest.raises(InvalidFile) as caught:
        load(content, "a.yaml") if model is None else read(content, "a.yaml", model)
    return caught.value


def test_data_comes_with_the_line_of_every_value() -> None:
    data, lines = load(b"kind: A\ninner:\n  - port: 1\n  - port: 2\n    name: b\n", "a.yaml")
    assert data == {"kind": "A", "inner": [{"port": 1}, {"port": 2, "name": "b"}]}
    assert lines["kind",] == 1
    assert lines["inner", 1, "name"] == 5


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"a: 1\nb: 2\na: 3\n", "a.yaml:3", "duplicate key"),
        (b"a:\n  b: 1\n  b: 1\n", "a.yaml:3", "duplicate key"),
        (b"a: &x 1\nb: 2\n", "a.yaml:1", "anchors"),
        (b"a: 1\nb: *x\n", "a.yaml:2", "anchors"),
        (b"a: &x [1]\nb: [*x, *x]\n", "a.yaml:1", "anchors"),
        (b"a: 1\nb: !!python/object:os.system x\n", "a.yaml:2", "tags"),
        (b"a: !x 1\n", "a.yaml:1", "tags"),
        (b"a: !!str 1\n", "a.yaml:1", "tags"),
        (b"a: 1\n---\nb: 2\n", "a.yaml:2", "several documents"),
        (b"a: 1\nb: \xff\n", "a.yaml:2", "UTF-8"),
        (b"a: 1\nb: [\n", "a.yaml:3", "not YAML"),
        (b"a: 1\n\tb: 2\n", "a.yaml:2", "not YAML"),
        (b"a: \x00\n", "a.yaml", "not YAML"),
    ],
)
def test_what_is_refused_is_refused_with_its_line(content: bytes, where: str, what: str) -> None:
    error = refusal(content)
    assert (error.where, what in error.what) == (where, True)
    assert error.remedy


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "anchors" in refusal("\n".join(lines).encode()).what


def test_a_file_is_read_up_to_256_kibibytes() -> None:
    fitting = b"a: " + b"x" * (LARGEST_FILE - 3)
    assert load(fitting, "a.yaml")[0] == {"a": "x" * (LARGEST_FILE - 3)}
    assert "at most 262144" in refusal(b"a: " + b"x" * 257 * 1024).what


@pytest.mark.parametrize("content", [b"[" * 3_000, b"{a: " * 3_000, b"- " * 3_000, b"? " * 3_000])
def test_nesting_without_end_is_refused(content: bytes) -> None:
    refusal(content)


def test_every_complaint_is_told_with_its_line_in_order() -> None:
    error = refusal(b"kind: 7\nextra: 1\ninner:\n  - port: x\n  - name: y\n", Outer)
    assert error.where == "a.yaml:1"
    told = str(error).splitlines()
    assert [line.split(": ")[0] for line in told] == ["a.yaml:1", "a.yaml:2", "a.yaml:4", "a.yaml:5"]
    assert "extra" in told[1]


@pytest.mark.parametrize(
    "content", [b"", b"null\n", b"[]\n", b"text\n", b"kind: true\ninner: []\n", b"kind: a\ninner: [{port: '1'}]\n"]
)
def test_another_type_is_not_made_to_fit(content: bytes) -> None:
    refusal(content, Outer)


def test_words_that_older_yaml_took_for_truth_are_text() -> None:
    assert load(b"a: [yes, no, on, off, 012, 1_000, 1:30]\n", "a.yaml")[0]["a"][:4] == ["yes", "no", "on", "off"]


@settings(max_examples=150)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.lists(st.sampled_from("ab:-?,[]{}&*!|>'\"% \n#<0.~@`"), max_size=30).map(lambda text: "".join(text).encode())
)
@case(b"? [a]\n: 1\n")
@case(b"? {a: b}\n: 1\n")
@case(b"<<: {a: 1}\nb: 2\n")
@case(b"a: 2026-13-45\n")
@case(b"a: 0o9\nb: 0x\nc: .e5\n")
@case(b"a: " + b"9" * 5000)
@case(b"a: 2026-11-23T02:13:00+99:99\n")
@case(b"%YAML 9.9\n---\na\n")
@case(b"\xef\xbb\xbfa: 1\n")
@case(b"a: =\n")
def test_whatever_stands_in_a_file_it_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidFile):
        read(content, "a.yaml", Outer)
