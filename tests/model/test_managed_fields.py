"""Whose field is it, and is a live object as wanted: by tables of what API servers answer, and by law."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model.managed_fields import (
    FieldChange,
    changed_since,
    changes,
    is_ours,
    leftovers,
    no_longer_wanted,
    owners,
    paths,
)

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def entry(manager: str, fields: dict[str, Any], time: str = "2026-11-26T12:00:00Z", **more: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": "v1",
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


def live(spec: dict[str, Any], *entries: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": "a", "uid": "1", "managedFields": list(entries), **metadata},
        "spec": spec,
    }


# As kube-apiserver 1.37 writes it for a Deployment that kubectl applied and its controller updated.
DEPLOYMENT = entry(
    "kubectl",
    {
        "f:metadata": {"f:annotations": {".": {}, "f:example.com/a": {}}, "f:labels": {"f:app.kubernetes.io/name": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"api"}': {".": {}, "f:image": {}, "f:ports": {'k:{"containerPort":80}': {".": {}}}}
                    }
                }
            },
        },
    },
)


def test_paths_of_an_entry_end_at_values_and_at_lists() -> None:
    assert paths(DEPLOYMENT) == {
        ("metadata", "annotations", "example.com/a"),
        ("metadata", "labels", "app.kubernetes.io/name"),
        ("spec", "replicas"),
        ("spec", "template", "spec", "containers"),
    }
    assert paths(entry("x", {"f:metadata": {"f:finalizers": {".": {}, 'v:"a"': {}}}})) == {("metadata", "finalizers")}
    assert paths({"manager": "x"}) == frozenset()


@pytest.mark.parametrize(
    ("present", "wanted", "places"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "default": 2}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["spec.a"]),
        ({}, {"a": 1}, ["spec.a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 2, "c": 2}}, ["spec.a.b"]),
        ({"a": [{"b": 1, "default": 0}]}, {"a": [{"b": 1}]}, []),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}]}, ["spec.a"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 2}, {"b": 1}]}, ["spec.a"]),
        ({}, {"a": []}, []),
        ({"a": [1]}, {"a": []}, ["spec.a"]),
        ({"a": "[]"}, {"a": []}, ["spec.a"]),
        ({"a": 1}, {"a": None}, []),
        ({"a": {}}, {"a": {}}, []),
        ({}, {"a": {}}, ["spec.a"]),
        ({"a": {"b": 1}}, {"a": {}}, []),
        ({"example.com/a": 1}, {"example.com/a": 2}, ["spec[example.com/a]"]),
    ],
)
def test_a_field_is_as_wanted_where_the_live_object_holds_it(
    present: dict[str, Any], wanted: dict[str, Any], places: list[str]
) -> None:
    found = changes(live(present), {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": wanted})
    assert [change.place for change in found] == places


def test_status_and_identity_are_not_compared() -> None:
    wanted = {"apiVersion": "v2", "kind": "Thing", "metadata": {"name": "a", "creationTimestamp": None}, "status": {}}
    assert changes(live({}), wanted) == ()


def test_who_owns_a_field_or_something_in_it() -> None:
    thing = live(
        {"a": {"b": 1}}, entry("argocd", {"f:spec": {"f:a": {"f:b": {}}}}), entry("breakglass", {"f:spec": {"f:a": {}}})
    )
    assert owners(thing, FieldChange(("spec", "a"), {}, {})) == ("argocd",)
    assert owners(thing, FieldChange(("spec", "a", "b"), 1, 2)) == ("argocd",)
    assert owners(thing, FieldChange(("spec", "c"), 1, 2)) == ()
    assert is_ours(thing)
    assert not is_ours(live({}, entry("argocd", {})))


def test_a_status_update_is_no_change_of_the_object() -> None:
    status = entry("controller", {"f:status": {}}, subresource="status")
    early = entry("kubectl", {"f:spec": {"f:a": {}}}, "2026-11-26T11:59:59Z")
    late = entry("kubectl-edit", {"f:spec": {"f:b": {}}})
    ours = entry("breakglass", {"f:spec": {"f:c": {}}})
    timeless = {**late, "manager": "timeless", "time": None}
    assert changed_since(live({}, status, early, late, ours, timeless), NOON) == (late,)


def test_leftovers_are_what_only_the_emergency_has() -> None:
    baseline = {"metadata": {"name": "a", "labels": {"keep": "1"}}, "spec": {"a": 1}}
    emergency = {"metadata": {"name": "a", "labels": {"keep": "1", "wide": "1"}}, "spec": {"a": 1, "b": {"c": 2}}}
    still = live({"a": 1, "b": {"c": 9}}, labels={"keep": "1", "wide": "1"})
    assert [change.place for change in leftovers(still, emergency, baseline)] == ["metadata.labels.wide", "spec.b.c"]
    assert leftovers(live({"a": 1}, labels={"keep": "1"}), emergency, baseline) == ()


def test_what_we_own_and_no_longer_want() -> None:
    ours = entry("breakglass", {"f:spec": {"f:a": {}, "f:b": {}}})
    assert [change.place for change in no_longer_wanted(live({"a": 1, "b": 2}, ours), {"spec": {"a": 1}})] == ["spec.b"]
    theirs = entry("argocd", {"f:spec": {"f:b": {}}})
    assert no_longer_wanted(live({"a": 1, "b": 2}, theirs), {"spec": {"a": 1}}) == ()


names = st.sampled_from(["a", "b", "example.com/c"])
values = st.recursive(
    st.integers(0, 3) | st.booleans() | st.text(max_size=2),
    lambda inside: st.dictionaries(names, inside, min_size=1, max_size=3) | st.lists(inside, max_size=3),
    max_leaves=8,
)


def defaulted(value: Any) -> Any:
    """A value with more fields in every mapping, as an API server fills them in."""
    if isinstance(value, dict):
        return {**{name: defaulted(inside) for name, inside in value.items()}, "default": 0}
    return [defaulted(inside) for inside in value] if isinstance(value, list) else value


@given(st.dictionaries(names, values, max_size=3))
def test_defaults_change_nothing_and_the_bare_object_misses_them(spec: dict[str, Any]) -> None:
    bare = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec}
    full = {**bare, "spec": defaulted(spec)}
    assert changes(full, bare) == ()
    assert changes(bare, full) != ()


@given(st.dictionaries(names, values, max_size=3), st.dictionaries(names, values, max_size=3))
def test_every_change_names_a_field_that_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    metadata = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}}
    for change in changes({**metadata, "spec": before}, {**metadata, "spec": after}):
        present, wanted = [before], [after]
        for name in change.path[1:]:
            present.append(present[-1].get(name) if isinstance(present[-1], dict) else None)
            wanted.append(wanted[-1][name])
        assert present[-1] != wanted[-1]
