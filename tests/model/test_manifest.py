"""Objects, keys and deltas: a delta, applied, is the other side."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.lifecycle.render import desired_state, disagreement
from breakglass.model.errors import Refused
from breakglass.model.manifest import ACTIVATION_LABEL, ObjectKey, by_key, delta, key_of, labelled

Object = dict[str, Any]


def config_map(name: str, value: int = 0, namespace: str | None = "shop") -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace is not None else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": str(value)}}


states = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4).map(
    lambda values: [config_map(name, value) for name, value in values.items()]
)


@given(states, states)
def test_a_baseline_with_the_delta_is_the_desired_state(before: list[Object], after: list[Object]) -> None:
    changes = delta(before, after)
    assert by_key(desired_state(before, [changes])) == by_key(after)
    assert [change.key for change in changes] == sorted(change.key for change in changes)
    assert all(change.baseline != change.emergency for change in changes)


@given(states)
def test_a_state_does_not_differ_from_itself(state: list[Object]) -> None:
    assert delta(state, reversed(state)) == ()


@given(states, st.lists(states, min_size=2, max_size=3))
def test_deltas_that_do_not_disagree_commute(before: list[Object], after: list[list[Object]]) -> None:
    deltas = [delta(before, state) for state in after]
    claims = [{change.key: change.emergency for change in changes} for changes in deltas]
    clash = any(disagreement(one, other) is not None for one in deltas for other in claims)
    results = {str(desired_state(before, ordered)) for ordered in permutations(deltas)}
    if not clash:
        assert len(results) == 1
    elif len(deltas) == 2:
        assert len(results) == 2


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [([], ["a"], "added"), (["a"], [], "removed"), (["a"], ["a"], "changed")],
)
def test_an_effect_is_added_changed_or_removed(before: list[str], after: list[str], effect: str) -> None:
    (change,) = delta([config_map(name, 1) for name in before], [config_map(name, 2) for name in after])
    assert change.effect == effect


@pytest.mark.parametrize(
    ("api_version", "namespace", "text"),
    [
        ("networking.k8s.io/v1", "data", "NetworkPolicy.networking.k8s.io data/x"),
        ("v1", "data", "NetworkPolicy data/x"),
        ("v1", None, "NetworkPolicy x"),
    ],
)
def test_a_key_is_group_kind_namespace_and_name_without_the_version(
    api_version: str, namespace: str | None, text: str
) -> None:
    manifest = {"apiVersion": api_version, "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": namespace}}
    assert str(key_of(manifest)) == text
    assert key_of({**manifest, "apiVersion": api_version.replace("v1", "v1beta1")}) == key_of(manifest)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"apiVersion": "v1", "kind": "X"},
        {"apiVersion": "v1", "kind": "X", "metadata": {}},
        {"apiVersion": "v1", "kind": "X", "metadata": "a"},
        {"apiVersion": "v1", "kind": "X", "metadata": {"name": ""}},
        {"apiVersion": "v1", "kind": "X", "metadata": {"name": 7}},
        {"apiVersion": "v1", "kind": ["X"], "metadata": {"name": "a"}},
        {"apiVersion": 1, "kind": "X", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "namespace": ["b"]}},
    ],
)
def test_what_has_no_key_is_no_object(manifest: Object) -> None:
    with pytest.raises(Refused):
        key_of(manifest)


def test_one_key_holds_one_object() -> None:
    with pytest.raises(Refused, match="twice"):
        by_key([config_map("a", 1), config_map("a", 2)])
    assert set(by_key([config_map("a"), config_map("a", namespace="data")])) == {
        ObjectKey("", "ConfigMap", "shop", "a"),
        ObjectKey("", "ConfigMap", "data", "a"),
    }


@pytest.mark.parametrize("labels", [None, {}, {"app": "x"}, {ACTIVATION_LABEL: "forged"}])
def test_an_added_object_carries_the_activation_and_keeps_its_labels(labels: dict[str, str] | None) -> None:
    manifest = config_map("a")
    manifest["metadata"]["labels"] = labels
    marked = labelled(manifest, "2026-11-23-x-7f3a")
    assert marked["metadata"]["labels"] == {**(labels or {}), ACTIVATION_LABEL: "2026-11-23-x-7f3a"}
    assert manifest["metadata"]["labels"] == labels
