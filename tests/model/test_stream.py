"""Streams of manifests: what is read, what is refused and where, and what a stream may cost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model import stream
from breakglass.model.errors import Refused
from breakglass.model.source import Place, Source, SourcedManifest
from breakglass.model.stream import read_stream, refuse_twice
from model.bad_streams import BAD_STREAMS, HEAD

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
YAML_POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
JSON_POD = json.dumps(POD)


def read(text: str | bytes) -> list[dict[str, Any]]:
    content = text.encode() if isinstance(text, str) else text
    return [dict(manifest) for manifest in read_stream(content, "m.yaml")]


def data(text: str) -> Any:
    """The value of `data`, written as in a manifest."""
    (manifest,) = read(f"{HEAD}data: {text}\n")
    return manifest["data"]


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("", 0),
        ("\n---\n# nothing\n---\n\n--- # nothing\nnull\n---\n~\n...\n", 0),
        (YAML_POD, 1),
        (YAML_POD.removesuffix("\n"), 1),
        (f"---\n{YAML_POD}---\n{YAML_POD}---\n", 2),
        (f"---  # one\n{YAML_POD}---\t\n{YAML_POD}---", 2),
        (f"--- {JSON_POD}\n--- {JSON_POD}", 2),
        (f"# a comment\n{YAML_POD}...\n---\n{YAML_POD}", 2),
        (f"%YAML 1.1\n---\n{YAML_POD}...\n%YAML 1.1\n---\n{YAML_POD}", 2),
        (f"# a comment\n%YAML 1.1\n---\n{YAML_POD}", 1),
        (f"%TAG ! tag:yaml.org,2002:\n---\napiVersion: !str v1\n{YAML_POD.partition(chr(10))[2]}", 1),
        (f"﻿{YAML_POD}", 1),
        (YAML_POD.replace("\n", "\r\n") + "---\r\n" + YAML_POD.replace("\n", "\r\n"), 2),
        (YAML_POD.replace("\n", "\r") + "---\r" + YAML_POD.replace("\n", "\r"), 2),
        (JSON_POD, 1),
        (JSON_POD * 3, 3),
        (f"\n {JSON_POD}\n\n{json.dumps(POD, indent=2)}\n", 2),
        (f"{JSON_POD}\n---\n{YAML_POD}---\n{JSON_POD}\n{JSON_POD}", 4),
        (f"{JSON_POD} # a comment\n", 1),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a},}", 1),
        (f'{JSON_POD}{{apiVersion: v1, kind: Pod, "metadata": {{name: a}}}}', 2),
        ('{\n\t"apiVersion": "v1",\n\t"kind": "Pod", "metadata": {"name": "a"}}', 1),
    ],
)
def test_every_form_of_a_stream_is_read(text: str, objects: int) -> None:
    assert read(text) == [POD] * objects


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- " + JSON_POD,
        "apiVersion: v1\nkind: PodList\nmetadata: {resourceVersion: ''}\nitems: [{metadata: {name: a}}, "
        + JSON_POD
        + "]",
        json.dumps({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}, POD]}),
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [POD, {**POD, "kind": "PodList", "items": [POD]}]}),
    ],
)
def test_lists_are_flattened(text: str) -> None:
    assert read(text) == [POD, POD]


def test_an_empty_list_is_no_object_and_a_kind_that_only_ends_in_list_is_one() -> None:
    assert read("apiVersion: v1\nkind: PodList\nitems: []\n---\napiVersion: v1\nkind: PodList\nitems: null\n") == []
    allowed = {"apiVersion": "acme.example/v1", "kind": "AllowList", "metadata": {"name": "a"}}
    assert read(json.dumps(allowed)) == [allowed]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((word, True) for word in ("y", "Y", "yes", "on", "ON", "true", "TRUE")),
        *((word, False) for word in ("n", "N", "No", "off", "false", "False")),
        *((word, None) for word in ("", "~", "null", "NULL")),
        *(
            (word, word)
            for word in ("yEs", "tRUE", "nULL", "=", "nan", "inf", "Infinity", "<<", "_1", "0x", "0o8", "-x")
        ),
        *(
            (word, 31)
            for word in ("31", "+31", "0x1F", "0X1f", "0o37", "037", "0b11111", "3_1", "0x1_F", "31_", "31.0")
        ),
        *((word, 8) for word in ("08", "8e0", "0_8", ".8e1")),
        ("-0x1F", -31),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("1_0.5", 10.5),
        (".5", 0.5),
        (".1_0", 0.1),
        (".1__0", ".1__0"),
        ("1e400", "1e400"),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", 2.0**63),
        ("2026-11-23", "2026-11-23"),
        ("2026-11-23T12:30:45Z", "2026-11-23T12:30:45Z"),
        ("12:30:45", "12:30:45"),
        ("'yes'", "yes"),
        ('"1"', "1"),
        ("|\n  1", "1\n"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ('!!int "1"', 1),
        ("!!float 1", 1),
        ('!!bool "on"', True),
        ("!!map {a: !!seq [1]}", {"a": [1]}),
    ],
)
def test_scalars_are_what_kubectl_makes_of_them(written: str, value: object) -> None:
    found = data(written)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("written", "key"),
    [("on", "true"), ("n", "false"), ("0x10", "16"), ("1_0", "10"), ("'on'", "on"), ("2026-11-23", "2026-11-23")],
)
def test_keys_are_the_text_that_kubectl_makes_of_them(written: str, key: str) -> None:
    assert data(f"{{{written}: 1, a{written.strip(chr(39))}: 2}}")[key] == 1


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("{a: &x on, b: {*x : 1}}", {"a": True, "b": {"true": 1}}),
        ("{a: &x 1, b: &x 2, c: *x}", {"a": 1, "b": 2, "c": 2}),
        ("{a: &x {p: 1, q: 2}, b: {<<: *x, q: 3}}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        ("{<<: [{p: 1}, {p: 2, q: 2}], r: 3}", {"p": 1, "q": 2, "r": 3}),
        ("{r: 3, <<: {p: 1}}", {"p": 1, "r": 3}),
        ("{'<<': 1}", {"<<": 1}),
        ("{!!merge <<: {p: 1}}", {"p": 1}),
    ],
)
def test_aliases_and_merge_keys_are_followed(written: str, value: object) -> None:
    assert data(written) == value


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (HEAD.encode("utf-16"), 1, "not UTF-8"),
        (HEAD.encode() + b"data: {a: \xff}", 4, "not UTF-8"),
        (HEAD + "a: \0", 4, "control characters"),
        (HEAD + "a: [", 5, "did not find expected node content"),
        (HEAD + "a:\n\tb: 1", 5, "cannot start any token"),
        (f"{HEAD}---\n{HEAD}---\na: ]", 9, "did not find expected node content"),
        (f"%YAML 1.1\n---\n{HEAD}---\n{HEAD}a: 1\na: 2\n", 11, "'a' stands twice"),
        (HEAD + "a: 1\nb: 2\na: 3\n", 6, "'a' stands twice"),
        (HEAD + "a: {on: 1, 'true': 2}\n", 4, "'true' stands twice"),
        ('{"apiVersion": "v1",\n"kind": "Pod",\n"kind": "Node"}', 3, "'kind' stands twice"),
        (f'{JSON_POD}\n{JSON_POD}\n{{"a": 1,\n"a": 1}}', 4, "'a' stands twice"),
        (f"{YAML_POD}...\n{YAML_POD}", 5, "did not find expected <document start>"),
        (HEAD + "a: 1\n~: 2", 5, "no key"),
        (HEAD + "1.5: 2", 4, "no key"),
        (HEAD + "[a]: 2", 4, "no key"),
        (HEAD + "a: !secret x", 4, "tag !secret"),
        (HEAD + "a: !!binary aGk=", 4, "tag !!binary"),
        (HEAD + "a: !!set {x}", 4, "tag !!set"),
        (HEAD + "a: !!seq {x: 1}", 4, "tag !!seq"),
        (HEAD + "a: !!python/object/apply:os.getcwd []", 4, "tag !!python/object/apply:os.getcwd"),
        (HEAD + "a: !!int x", 4, "is not what its tag says"),
        (HEAD + "a: .nan", 4, "JSON has no"),
        (HEAD + "a: &a .inf", 4, "JSON has no"),
        ('{"apiVersion": "v1", "a": "NaN",\n"b": NaN}', 2, "NaN is no number"),
        ('{"a": "\\"-Infinity",\n"b": -Infinity}', 2, "-Infinity is no number"),
        ('{"a":\n1e999}', 2, "1e999 is no number"),
        ('{"a":\n' + "1" * 5000 + "}", 2, "is no number"),
        ('{"a": 1,\n"b": "\\ud800"}', 2, "invalid Unicode character"),
        (HEAD + "a: *x", 4, "no anchor &x"),
        (HEAD + "a: &x 1\n---\n" + HEAD + "a: *x", 9, "no anchor &x"),
        (HEAD + "a: &x [*x]", 4, "no anchor &x"),
        (HEAD + "a: &x {<<: *x}", 4, "no anchor &x"),
        (HEAD + "a:\n  <<: 1", 5, "takes a mapping"),
        (HEAD + "a:\n  <<: {b: 1}\n  <<: {c: 1}", 6, "<< stands twice"),
        (HEAD + "a:\n  b: 1\n  <<: {b: 1}", 6, "whether 'b' or << counts"),
        ("kind: Pod\nmetadata: {name: a}", 1, "without apiVersion"),
        ("apiVersion: v1\nmetadata: {name: a}", 1, "without kind"),
        ("apiVersion: ''\nkind: Pod\nmetadata: {name: a}", 1, "without apiVersion"),
        ("apiVersion: v1\nkind: [Pod]\nmetadata: {name: a}", 2, "kind is not text"),
        ("apiVersion: 1\nkind: Pod\nmetadata: {name: a}", 1, "apiVersion is not text"),
        ("apiVersion: v1\nkind: Pod", 1, "without metadata.name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}", 3, "without metadata.name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: a", 3, "metadata is not an object"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n  name: 1", 5, "metadata.name is not text"),
        ("# comment\n\n---\nkind: Pod", 4, "without apiVersion"),
        ("---\n---\ntext", 3, "no object"),
        ("- a", 1, "no object"),
        ("{}", 1, "without apiVersion"),
        ("apiVersion: v1\nkind: PodList\nitems: {}", 3, "items is not a list"),
        ("apiVersion: v1\nkind: PodList\nitems: ''", 3, "items is not a list"),
        ("apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- 1", 5, "no object"),
        ("apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {name: a}}\n- metadata: {}", 5, "without metadata.name"),
        ("apiVersion: v1\nkind: PodList\nitems:\n- kind: Pod\n  metadata: {name: a}", 4, "without apiVersion"),
        ("apiVersion: v1\nkind: List\nitems:\n- metadata: {name: a}", 4, "without kind"),
        ('{"apiVersion": "v1", "kind": "List", "items": [\n{"kind": "Pod"}]}', 2, "without apiVersion"),
        (f"{YAML_POD.replace(chr(10), chr(13) + chr(10))}a: 1\r\na: 2", 5, "'a' stands twice"),
    ],
)
def test_what_is_wrong_is_refused_at_its_line(content: str | bytes, line: int, words: str) -> None:
    with pytest.raises(Refused) as refused:
        read(content)
    assert refused.value.where == f"m.yaml:{line}"
    assert words in refused.value.what
    assert refused.value.remedy


def test_a_hundred_levels_are_read_and_one_more_is_not() -> None:
    for text in (f"{HEAD}a: {'[' * 99}{']' * 99}", f'{JSON_POD[:-1]}, "a": {"[" * 99}{"]" * 99}}}'):
        assert len(read(text)) == 1
        with pytest.raises(Refused, match="more than 100 values inside one another"):
            read(text.replace("[]", "[[]]"))


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LARGEST_INPUT", len(YAML_POD))
    assert read(YAML_POD) == [POD]
    with pytest.raises(Refused, match=r"m.yaml: more than 45 bytes"):
        read(YAML_POD + "\n")


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_bad_streams_are_refused_in_little_time_and_memory(name: str) -> None:
    make, line, words = BAD_STREAMS[name]
    reading = subprocess.run(
        [sys.executable, "-c", BOUNDED], input=make().encode(), capture_output=True, check=False, timeout=120
    )
    assert re.fullmatch(rf"m.yaml:{line}: .*{re.escape(words)}.*\n", reading.stdout.decode()), reading


BOUNDED = """
import resource, sys
from breakglass.model.errors import Refused
from breakglass.model.stream import read_stream
resource.setrlimit(resource.RLIMIT_AS, (512 * 1024 * 1024, -1))
resource.setrlimit(resource.RLIMIT_CPU, (10, -1))
try:
    read_stream(sys.stdin.buffer.read(), "m.yaml")
except Refused as refused:
    print(refused)
"""


def test_a_label_of_a_megabyte_is_read_for_the_analysis_to_refuse() -> None:
    (manifest,) = read(f"{YAML_POD.replace('name: a', 'name: a, labels: {a: ' + 'x' * 1_000_000 + '}')}")
    assert len(manifest["metadata"]["labels"]["a"]) == 1_000_000


def _yaml(objects: list[Any], **style: bool) -> str:
    text: str = yaml.dump_all(objects, Dumper=Dumper, **style)
    return text


class Dumper(yaml.CSafeDumper):
    """Quotes all text: PyYAML knows not everything that is a number to kubectl."""


Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


JSON_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.sampled_from(
    ["yes", "0x1F", "1e3", "<<", "~", "---", "a\n---\nb", "%YAML", "\n...\n", "{", "&a", "1_0", "2026-11-23", "a: b"]
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | JSON_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(JSON_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES, min_size=1, max_size=4), st.booleans())
def test_what_is_written_as_yaml_or_json_is_read_back(values: list[Any], flow: bool) -> None:
    objects = [{**POD, "spec": value} for value in values]
    assert read("\n".join(json.dumps(item) for item in objects)) == objects
    assert read(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1)) == objects
    assert read(_yaml(objects, default_flow_style=flow, allow_unicode=True)) == objects
    assert read("%YAML 1.1\n---\n" + _yaml(objects, default_flow_style=flow)) == objects


PIECES = [
    YAML_POD,
    f"{JSON_POD}\n",
    "# nothing\n",
    "",
    "null\n",
    "{a: [\n",
    "a: |\n  ---\n  b\n",
    f"{HEAD}a: '\n---'\n",
]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_document_by_document_or_at_once_the_same_is_read(documents: list[str]) -> None:
    text = "".join(f"---\n{document}" for document in documents)
    assert _read_or_refused(text) == _read_or_refused(f"%YAML 1.1\n{text}")


def _read_or_refused(text: str) -> object:
    try:
        return read(text)
    except Refused:
        return "refused"


def test_equal_documents_share_their_values_and_each_keeps_its_place() -> None:
    memory: dict[str, Any] = {}
    (before,) = read_stream(YAML_POD.encode(), "before.yaml", memory)
    _, after = read_stream(f"---\n{HEAD}---\n{YAML_POD}".encode(), "after.yaml", memory)
    assert before == after
    assert before["metadata"] is after["metadata"]
    assert (str(Place(before)), str(Place(after))) == ("before.yaml:1: Pod a", "after.yaml:6: Pod a")
    assert set(memory) == {YAML_POD, HEAD}


def test_what_was_refused_is_not_remembered() -> None:
    memory: dict[str, Any] = {}
    for file in ("a.yaml", "b.yaml"):
        with pytest.raises(Refused, match=f"{file}:2: an object without apiVersion"):
            read_stream(b"---\nkind: Pod\n", file, memory)


def test_aliases_can_be_forbidden() -> None:
    with pytest.raises(Refused, match=r"m.yaml:4: anchors and aliases are not allowed"):
        read_stream(f"{HEAD}a: &x 1".encode(), "m.yaml", aliases=False)


def test_a_field_of_an_object_is_found_again_wherever_it_was_read() -> None:
    text = f"---\n{HEAD}---\n"
    text += "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n"
    text += "- apiVersion: v1\n  kind: Pod\n  metadata:\n    labels: {}\n    name: b\n"
    config, first, second = read_stream(text.encode(), "m.yaml")
    assert Place(config).of(config["metadata"], "name") == "m.yaml:4: ConfigMap a"
    assert [str(Place(item)) for item in (config, first, second)] == [
        "m.yaml:2: ConfigMap a",
        "m.yaml:9: Pod a",
        "m.yaml:13: Pod b",
    ]
    assert Place(second).of(second["metadata"], "name") == "m.yaml:17: Pod b"
    assert Place(second).of(second["metadata"], "absent") == "m.yaml:15: Pod b"


def test_a_place_without_lines_is_the_file() -> None:
    rendered = SourcedManifest(POD, Source("base", 0, ""))
    assert str(Place(rendered)) == Place(rendered).of(rendered, "kind") == "base: Pod a"


@pytest.mark.parametrize(
    ("one", "other", "twice"),
    [
        (("v1", "a"), ("v1", "a"), True),
        (("v1", "a"), ("v1", "a, namespace: default"), True),
        (("v1", "a"), ("v1", "a, namespace: shop"), False),
        (("apps/v1", "a"), ("apps/v2", "a"), True),
        (("apps/v1", "a"), ("v1", "a"), False),
        (("v1", "a"), ("v1", "b"), False),
    ],
)
def test_an_object_that_stands_twice_is_refused_with_both_places(
    one: tuple[str, str], other: tuple[str, str], twice: bool
) -> None:
    found = []
    for file, (version, name) in (("one.yaml", one), ("other.yaml", other)):
        text = f"---\napiVersion: {version}\nkind: Pod\nmetadata: {{name: {name}}}\n"
        found += read_stream(text.encode(), file)
    if twice:
        with pytest.raises(Refused, match=r"^other.yaml:2: Pod.* this object stands at one.yaml:2 already$"):
            refuse_twice(found)
    else:
        refuse_twice(found)
