"""Digests: whatever changes, moves or is renamed changes them."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from breakglass.model.digest import json_digest, overlay_digest

paths = st.binary(min_size=1, max_size=8).map(lambda path: path.decode("utf-8", "surrogateescape"))
contents = st.dictionaries(paths, st.binary(max_size=8), max_size=5)


@given(contents, contents)
def test_two_contents_have_one_digest_only_if_they_are_the_same(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (overlay_digest(one) == overlay_digest(other)) == (one == other)


@given(contents)
def test_the_order_of_files_does_not_matter(files: dict[str, bytes]) -> None:
    assert overlay_digest(dict(reversed(files.items()))) == overlay_digest(files)


@given(st.binary(min_size=1, max_size=8), st.binary(max_size=8), st.data())
def test_bytes_that_move_from_one_file_to_the_next_change_it(one: bytes, other: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(one) - 1))
    moved = {"a": one[:cut], "b": one[cut:] + other}
    assume(moved != {"a": one, "b": other})
    assert overlay_digest(moved) != overlay_digest({"a": one, "b": other})


@given(st.binary(max_size=8))
def test_a_content_that_moves_to_another_path_changes_it(content: bytes) -> None:
    assert overlay_digest({"a b": content}) != overlay_digest({"a": content})
    assert overlay_digest({"a/b": content}) != overlay_digest({"b/a": content})


def test_a_path_that_looks_like_two_entries_is_one() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert overlay_digest({f"a {empty}\n1 b": b""}) != overlay_digest({"a": b"", "b": b""})


def test_a_path_that_is_not_utf_8_has_a_digest_of_its_own() -> None:
    assert overlay_digest({"\udcff": b""}) != overlay_digest({"\udcfe": b""})


def test_the_digest_is_what_it_was() -> None:
    known = "sha256:afd31f3f247d2d4cb3267c3ab9a11cf456f07de4b2dcce9ffe5c38ffee184add"
    assert overlay_digest({}) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert overlay_digest({"overlay.yaml": b"a: 1\n"}) == known


def test_the_digest_of_data_does_not_depend_on_its_order() -> None:
    assert json_digest({"a": 1, "b": [1, 2]}) == json_digest({"b": [1, 2], "a": 1})
    assert json_digest([1, 2]) != json_digest([2, 1])
