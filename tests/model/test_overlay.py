"""Contracts and the policy: strict, and an overlay only narrows what the policy allows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.overlay import Contract, Overlay, contract_for, judge_overlay, promises
from breakglass.model.policy import Policy
from laws import example

Object = dict[str, Any]


def overlay(**spec: Any) -> Overlay:
    data = example.contract("db-from-bastion", [])
    data["spec"] |= spec
    return read(json.dumps(data).encode(), "overlay.yaml", Overlay)


def policy(**spec: Any) -> Policy:
    data = example.policy()
    data["spec"] |= spec
    return read(json.dumps(data).encode(), "breakglass.yaml", Policy)


def with_forge(**forge: Any) -> Policy:
    return policy(forge={"repository": "acme/platform", **forge})


def with_cluster(**cluster: Any) -> Policy:
    return policy(clusters={"prod-eu": {"baseline": "base", **cluster}})


def findings(directory: str = "db-from-bastion", **spec: Any) -> list[str]:
    return [finding.id for finding in judge_overlay(overlay(**spec), policy(), directory)]


def scope(**fields: Any) -> Object:
    return {"scope": {"clusters": ["prod-eu"], "namespaces": ["data"], "kinds": example.KINDS, **fields}}


def test_an_overlay_within_the_policy_has_no_findings() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (scope(clusters=["prod-eu", "nowhere"]), "overlay-cluster"),
        (scope(kinds=["Secret"]), "overlay-kind"),
        ({"duration": {"default": "30m", "maximum": "5h"}}, "overlay-duration"),
        ({"approvals": {"minimum": 1, "approvers": [example.TEAM]}}, "overlay-approvals"),
        ({"approvals": {"minimum": 2, "approvers": [example.TEAM, "@ada"]}}, "overlay-approvers"),
    ],
)
def test_an_overlay_only_narrows_what_the_policy_allows(spec: Object, found: str) -> None:
    assert findings(**spec) == [found]


def test_an_overlay_has_the_name_of_its_directory() -> None:
    assert findings("other") == ["overlay-name"]


@pytest.mark.parametrize(
    "spec",
    [
        {"summary": "a\nb"},
        {"summary": ""},
        {"more": 1},
        scope(clusters=[]),
        scope(namespaces=[]),
        scope(namespaces=["*"]),
        scope(namespaces=[""]),
        scope(kinds=["*"]),
        {"duration": {"default": "5h", "maximum": "4h"}},
        {"duration": {"default": "30m", "maximum": "999999999d"}},
        {"duration": {"default": 1800, "maximum": "4h"}},
        {"approvals": {"minimum": 0, "approvers": ["@ada"]}},
        {"approvals": {"minimum": 2, "approvers": []}},
        {"approvals": {"minimum": 2, "approvers": ["ada"]}},
        {"approvals": {"minimum": "2", "approvers": ["@ada"]}},
        {"parameters": {"type": "object"}},
        {"parameters": {"type": "object", "additionalProperties": True}},
        {"parameters": {"type": "string", "additionalProperties": False}},
        {"parameters": {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "text"}}}},
        {"parameters": {"type": "object", "additionalProperties": False, "$ref": "https://example.com/x"}},
        {"parameters": {"type": "object", "additionalProperties": False, "allOf": [{"$ref": "file:///etc/passwd"}]}},
        {"parameters": {"type": "object", "additionalProperties": False, "properties": {"a": {"$dynamicRef": "#x"}}}},
        {"contract": {}},
        {"contract": {"keepsShut": [example.OPENS]}},
        {"contract": {"opens": [{**example.OPENS, "port": 0}]}},
        {"contract": {"opens": [{**example.OPENS, "port": 65536}]}},
        {"contract": {"opens": [{**example.OPENS, "port": "5432"}]}},
        {"contract": {"opens": [{**example.OPENS, "from": "bastion"}]}},
        {"contract": {"opens": [{**example.OPENS, "protocol": "tcp"}]}},
        {"contract": {"exposes": [{"host": "a b"}]}},
        {"contract": {"exposes": [{"host": "a", "path": "x"}]}},
        {"contract": {"grants": [{"subject": "ada", "verb": "get", "resource": "pods", "namespace": "shop"}]}},
        {"contract": {"grants": [{"subject": "Requester:a", "verb": "get", "resource": "pods", "namespace": "shop"}]}},
        {"contract": {"grants": [{"subject": "requester", "verb": "get", "resource": "pods", "namespace": "shop"}]}},
        {"contract": {"grants": [{"subject": "Group:a", "verb": "*", "resource": "pods", "namespace": "shop"}]}},
        {"contract": {"grants": [{"subject": "Group:a", "verb": "get", "resource": "*", "namespace": "shop"}]}},
    ],
    ids=repr,
)
def test_a_contract_of_anything_else_is_refused(spec: Object) -> None:
    with pytest.raises(InvalidFile) as caught:
        overlay(**spec)
    assert (caught.value.where or "").startswith("overlay.yaml:")


def test_promises_are_sentences() -> None:
    grant = {"subject": "Group:acme:incident", "verb": "create", "resource": "pods/exec", "namespace": "shop"}
    role = {**grant, "resource": "roles", "group": "rbac.authorization.k8s.io"}
    data = {"opens": [example.OPENS], "exposes": [{"host": "*.example.com", "path": "/x"}], "grants": [grant, role]}
    assert promises(Contract.model_validate(data)) == [
        "ops/bastion → data/postgres TCP 5432",
        "*.example.com/x",
        "Group:acme:incident may create pods/exec in shop",
        "Group:acme:incident may create roles.rbac.authorization.k8s.io in shop",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: policy(more=1),
        lambda: policy(clusters={}),
        lambda: policy(clusters={"../x": {"baseline": "base"}}),
        lambda: policy(kinds=[]),
        lambda: policy(requestTimeToLive="25h"),
        lambda: policy(requestTimeToLive="0s"),
        lambda: policy(bot={"login": ""}),
        lambda: policy(duration={"default": "5h", "maximum": "4h"}),
        lambda: policy(approvals={"minimum": 11, "approvers": ["@ada"]}),
        lambda: policy(approvals={"minimum": True, "approvers": ["@ada"]}),
        lambda: with_forge(repository="acme"),
        lambda: with_forge(api="http://api.example.com"),
        lambda: with_forge(api="ftp://localhost"),
        lambda: with_forge(api="https://user:secret@api.example.com"),
        lambda: with_forge(defaultBranch="main\n"),
        lambda: with_forge(defaultBranch="a b"),
        lambda: with_cluster(baseline="../base"),
        lambda: with_cluster(baseline="/base"),
        lambda: with_cluster(baseline="https://github.com/acme/base"),
        lambda: with_cluster(server="http://prod-eu"),
        lambda: with_cluster(token="x"),
        lambda: with_cluster(purpose="test"),
    ],
)
def test_a_policy_of_anything_else_is_refused(make: Callable[[], Policy]) -> None:
    with pytest.raises(InvalidFile) as caught:
        make()
    assert (caught.value.where or "").startswith("breakglass.yaml:")


@pytest.mark.parametrize(
    "api", ["http://127.0.0.1:8080/api", "http://localhost:1", "https://github.example.com/api/v3"]
)
def test_only_loopback_is_spoken_to_in_the_clear(api: str) -> None:
    assert with_forge(api=api).spec.forge.api == api


def test_a_policy_does_not_change_once_it_is_read() -> None:
    read_once = policy()
    before = copy.deepcopy(read_once)
    with pytest.raises(ValueError, match="frozen"):
        read_once.spec.forge.repository = "acme/other"  # type: ignore[misc]
    assert read_once == before


def test_the_requester_of_a_contract_is_the_user_who_asked() -> None:
    def grants(*subjects: str) -> list[Object]:
        return [{"subject": each, "verb": "get", "resource": "pods", "namespace": "shop"} for each in subjects]

    written = {"grants": grants("Requester", "Group:dev"), "keepsDenied": grants("User:Requester", "Requester")}
    bound = contract_for(Contract.model_validate(written), "acme:robin")
    assert [each.subject for each in bound.grants] == ["User:acme:robin", "Group:dev"]
    assert [each.subject for each in bound.keepsDenied] == ["User:Requester", "User:acme:robin"]
    assert promises(Contract.model_validate(written))[0] == "Requester may get pods in shop"
