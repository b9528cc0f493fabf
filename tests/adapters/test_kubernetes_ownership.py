"""Who gets fields back, as a table; that the API server takes the patch is proven against a real one."""

from __future__ import annotations

from typing import Any

import pytest

from breakglass.adapters.kubernetes_ownership import disowning_patch

Fields = dict[str, Any]
LIVE = {
    "metadata": {"name": "a", "finalizers": ["x", "y"], "labels": {"app": "web", "a.b/c": "d"}},
    "spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "web"}], "empty": {}, "list": [1, {"a": 1}]},
}


def entry(manager: str, fields: Fields, **more: Any) -> Fields:
    return {"manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields} | more


def after(now: list[Fields], *owners: Fields) -> list[Fields] | None:
    """managedFields after disowning, where they were these."""
    live = {**LIVE, "metadata": {**LIVE["metadata"], "resourceVersion": "7", "managedFields": now}}
    patch = disowning_patch(live, owners)
    if patch is None:
        return None
    assert patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert (patch[1]["op"], patch[1]["path"]) == ("replace", "/metadata/managedFields")
    return list(patch[1]["value"])


OURS = entry("breakglass", {"f:metadata": {"f:labels": {"f:app": {}}}})


def test_without_an_entry_of_ours_there_is_nothing_to_do() -> None:
    assert after([]) is None
    assert after([entry("platform", {})], entry("platform", {"f:spec": {}})) is None


def test_the_only_owner_leaves_one_empty_entry() -> None:
    # An empty list is documented to leave managedFields as they are.
    assert after([OURS]) == [{}]
    assert after([OURS], OURS) == [{}]


@pytest.mark.parametrize(
    ("former", "kept"),
    [
        ({"f:metadata": {"f:labels": {"f:app": {}, "f:gone": {}}}}, {"f:metadata": {"f:labels": {"f:app": {}}}}),
        ({"f:metadata": {"f:labels": {".": {}, "f:gone": {}}}}, {"f:metadata": {"f:labels": {".": {}}}}),
        ({"f:metadata": {"f:annotations": {".": {}, "f:a": {}}}}, None),
        ({"f:metadata": {"f:labels": {"f:a.b/c": {}}}}, {"f:metadata": {"f:labels": {"f:a.b/c": {}}}}),
        (
            {"f:metadata": {"f:finalizers": {".": {}, 'v:"x"': {}, 'v:"z"': {}}}},
            {"f:metadata": {"f:finalizers": {".": {}, 'v:"x"': {}}}},
        ),
        (
            {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:nodePort": {}}}}},
            {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}}}}},
        ),
        ({"f:spec": {"f:ports": {'k:{"port":443,"protocol":"TCP"}': {".": {}}}}}, None),
        ({"f:spec": {"f:empty": {}, "f:list": {"i:1": {"f:a": {}}, "i:2": {}, "i:-1": {}}}},
         {"f:spec": {"f:empty": {}, "f:list": {"i:1": {"f:a": {}}}}}),
        ({"f:spec": {"f:ports": {"k:nonsense": {}, "v:{": {}, "x:1": {}, "k:1": {}}}}, None),
        ({"f:spec": {"f:empty": {"v:1": {}, "f:a": {"f:b": {}}}}}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_former_owner_gets_what_is_still_there(former: Fields, kept: Fields | None) -> None:
    assert after([OURS], entry("platform", former)) == [{}] if kept is None else [entry("platform", kept)]


def test_what_an_owner_has_and_what_it_had_are_both_its_own() -> None:
    now = entry("platform", {"f:metadata": {"f:labels": {"f:a.b/c": {}}}, "f:spec": {"f:empty": {}}}, time="later")
    had = entry("platform", {"f:metadata": {"f:labels": {"f:app": {}}}}, time="earlier")
    both = {"f:metadata": {"f:labels": {"f:a.b/c": {}, "f:app": {}}}, "f:spec": {"f:empty": {}}}
    assert after([now, OURS], had) == [entry("platform", both, time="later")]


@pytest.mark.parametrize("other", [{"operation": "Update"}, {"subresource": "status"}, {"apiVersion": "v2"}])
def test_another_entry_of_the_same_manager_is_another_owner(other: Fields) -> None:
    now = entry("platform", {"f:spec": {"f:empty": {}}})
    had = entry("platform", {"f:metadata": {"f:labels": {"f:app": {}}}}, **other)
    assert after([now, OURS], had) == [now, had]


def test_all_entries_of_ours_go_and_none_comes_back() -> None:
    update = OURS | {"operation": "Update"}
    assert after([OURS, update, entry("platform", {"f:spec": {}})], update) == [entry("platform", {"f:spec": {}})]
