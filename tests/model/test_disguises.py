"""What the product reads is what GitHub and kustomize read: text that two readers could take for two things."""

from __future__ import annotations

import json
from typing import Any

import pytest

from breakglass.model.codeowners import parse
from breakglass.model.document import load, read
from breakglass.model.errors import InvalidFile, Refused
from breakglass.model.manifest import labelled
from breakglass.model.overlay import Overlay
from laws import example
from laws.asked import evidence

ACTIVATION = "overlays/emergency/activations/2026-11-23-x-7f3a.yaml"


@pytest.mark.parametrize(
    "separator", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"], ids=ascii
)
def test_only_a_line_feed_begins_a_line_of_codeowners(separator: str) -> None:
    found = parse(f"* @acme/security\n# harmless{separator}/overlays/ @mallory\n".encode(), "CODEOWNERS")
    assert found.owners(ACTIVATION) == ("@acme/security",)


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000", "\u200b"], ids=ascii)
def test_only_ascii_space_parts_a_line_of_codeowners(space: str) -> None:
    found = parse(f"* @acme/security\n/overlays/ @ada{space}@mallory\n".encode(), "CODEOWNERS")
    assert found.owners(ACTIVATION) == ("@acme/security",)
    assert [line for line, _ in found.skipped] == [2]


def test_lines_may_end_as_on_windows() -> None:
    found = parse(b"* @ada @grace\r\n\r\n/x @mallory\r\n", "CODEOWNERS")
    assert (found.owners("y"), found.owners("x"), found.skipped) == (("@ada", "@grace"), ("@mallory",), ())


@pytest.mark.parametrize("owner", ["@" + "a" * 100, "@acme/" + "a" * 100], ids=["user", "team"])
def test_every_owner_that_is_read_can_stand_in_evidence(owner: str) -> None:
    owned = parse(f"* {owner[:-1]}\n* {owner}\n".encode(), "CODEOWNERS")
    assert [line for line, _ in owned.skipped] == [2]
    evidence(owners=list(owned.owners("x")))


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "~", "2026-11-23", "<<", "[a]", "{a: b}"])
def test_a_key_is_text_for_json_knows_no_other(key: str) -> None:
    with pytest.raises(InvalidFile, match="a key is no text") as caught:
        load(f"a: 1\nb:\n  ? {key}\n  : {{c: 1}}\n".encode(), "a.yaml")
    assert caught.value.where == "a.yaml:3"


@pytest.mark.parametrize("key", ["'1'", "on", "yes", '"null"', "a b"])
def test_a_quoted_key_is_text(key: str) -> None:
    assert list(load(f"{key}: 1\n".encode(), "a.yaml")[0]) == [key.strip("'\"")]


@pytest.mark.parametrize("labels", [["a"], "a", 7])
def test_labels_that_kustomize_lets_through_are_refused(labels: Any) -> None:
    manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "labels": labels}}
    with pytest.raises(Refused) as caught:
        labelled(manifest, "2026-11-23-x-7f3a")
    assert caught.value.where == "ServiceAccount a"


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    contract = example.contract("x", [])
    nested: dict[str, Any] = {}
    for _ in range(160):
        nested = {"not": nested}
    contract["spec"]["parameters"]["not"] = nested
    with pytest.raises(InvalidFile):
        read(json.dumps(contract).encode(), "overlay.yaml", Overlay)
