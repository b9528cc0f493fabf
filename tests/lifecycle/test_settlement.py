"""Adopting: what is written into the baseline is read there as it was in the cluster, and people's lines stay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.lifecycle.settlement import adopted, with_resource, yaml_of
from breakglass.model.errors import Refused
from breakglass.model.stream import read_stream

OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {
        "name": "a",
        "namespace": "shop",
        "uid": "1",
        "resourceVersion": "2",
        "creationTimestamp": "2026-11-23T02:13:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [],
        "labels": {"breakglass.dev/activation": "x", "app": "a"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    },
    "secrets": [{"name": "a-token"}],
    "automountServiceAccountToken": False,
}


def test_what_the_api_server_added_does_not_go_into_git() -> None:
    assert adopted(OBJECT) == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "a", "namespace": "shop", "labels": {"app": "a"}},
        "automountServiceAccountToken": False,
    }


TRAPS = ("yes", "on", "0x10", "0o10", "1_000", "1e3", "~", "null", "<<", "=", "2026-11-23", "12:30:45", " a", "a: b")
CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
TEXT = st.one_of(st.sampled_from(TRAPS), st.text(CHARACTERS, max_size=20))


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=4))
def test_law_any_text_comes_back_as_it_was(data: dict[str, str]) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
    assert [dict(each) for each in read_stream(yaml_of(manifest), "adopted.yaml")] == [manifest]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("resources:\n- a # the first\n# and more\n", "resources:\n- a # the first\n# and more\n- adopted/x.yaml\n"),
        ("# ours\nresources:\n  - a\n", "# ours\nresources:\n  - a\n  - adopted/x.yaml\n"),
        ("namespace: shop\n", "namespace: shop\nresources:\n- adopted/x.yaml\n"),
        ("resources: [a, 'b']\n", "resources: [a, 'b', adopted/x.yaml]\n"),
        ("resources:\n- adopted/x.yaml\n", "resources:\n- adopted/x.yaml\n"),
    ],
)
def test_a_kustomization_gets_one_line_and_keeps_its_own(before: str, after: str) -> None:
    assert with_resource(before.encode(), "kustomization.yaml", "adopted/x.yaml").decode() == after


def test_a_kustomization_without_a_list_is_refused() -> None:
    with pytest.raises(Refused, match="not a list"):
        with_resource(b"resources: a\n", "base/kustomization.yaml", "adopted/x.yaml")
