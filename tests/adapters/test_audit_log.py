"""The audit log is read strictly: hostile or broken files are refused with `file:line`, nothing is skipped silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breakglass.adapters import audit_log
from breakglass.adapters.audit_log import read_audit_log
from breakglass.model.errors import InvalidFile, NotFound

EVENT: dict[str, Any] = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "level": "Metadata",
    "auditID": "1",
    "stage": "ResponseComplete",
    "requestURI": "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles?fieldManager=kubectl-create",
    "verb": "create",
    "user": {"username": "admin", "groups": ["system:masters"], "extra": {}},
    "impersonatedUser": {"username": "alice", "groups": ["acme:incident"]},
    "userAgent": "kubectl/v1.37.0 (linux/amd64)",
    "objectRef": {"resource": "roles", "apiGroup": "rbac.authorization.k8s.io", "namespace": "shop", "name": "a"},
    "responseStatus": {"code": 201},
    "requestReceivedTimestamp": "2026-11-23T02:13:00.000001Z",
    "stageTimestamp": "2026-11-23T02:13:00.999999Z",
}


def log(directory: Path, *lines: Any, end: str = "\n") -> Path:
    file = directory / "audit.log"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(texts) + end)
    return file


def test_a_write_is_read_with_its_maker(tmp_path: Path) -> None:
    (event,) = read_audit_log(log(tmp_path, EVENT))
    assert event.created
    assert event.impersonated is not None
    assert (event.user.name, event.impersonated.name) == ("admin", "alice")
    assert event.impersonated.groups == {"acme:incident"}
    assert (event.group, event.resource, event.namespace, event.name) == (
        "rbac.authorization.k8s.io",
        "roles",
        "shop",
        "a",
    )
    assert event.manager == "kubectl-create"
    assert f"{event.received_at:%H:%M:%S}" == f"{event.answered_at:%H:%M:%S}" == "02:13:00"


def test_the_user_agent_stands_for_the_manager(tmp_path: Path) -> None:
    (event,) = read_audit_log(log(tmp_path, EVENT | {"requestURI": "/apis/x"}))
    assert event.manager == "kubectl"


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "ResponseStarted"},
        {"objectRef": None},
        {"verb": "watch"},
    ],
)
def test_what_is_no_finished_write_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    assert list(read_audit_log(log(tmp_path, EVENT | change))) == []


@pytest.mark.parametrize(
    ("change", "created"),
    [
        ({"responseStatus": {"code": 403}}, False),
        ({"verb": "patch"}, True),
        ({"verb": "patch", "responseStatus": {"code": 200}}, False),
        ({"objectRef": EVENT["objectRef"] | {"subresource": "token"}}, False),
        ({"responseStatus": None}, False),
    ],
)
def test_only_201_made_an_object(tmp_path: Path, change: dict[str, Any], created: bool) -> None:
    (event,) = read_audit_log(log(tmp_path, EVENT | change))
    assert event.created is created


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": NaN}', "not JSON"),
        ("[]", "not an Event"),
        ({"kind": "Event", "apiVersion": "v1"}, "not an Event"),
        (EVENT | {"apiVersion": "audit.k8s.io/v1beta1"}, "not an Event"),
        (EVENT | {"user": "admin"}, "user is not an object"),
        (EVENT | {"user": {}}, "no username"),
        (EVENT | {"user": {"username": 1}}, "username is not text"),
        (EVENT | {"user": {"username": "a", "groups": "b"}}, "groups is not a list of text"),
        (EVENT | {"user": {"username": "a", "groups": [1]}}, "groups is not a list of text"),
        (EVENT | {"impersonatedUser": {"groups": ["a"]}}, "no username"),
        (EVENT | {"verb": ["create"]}, "verb is not text"),
        (EVENT | {"objectRef": ["a"]}, "objectRef is not an object"),
        (EVENT | {"objectRef": {"resource": 1}}, "resource is not text"),
        (EVENT | {"responseStatus": {"code": "201"}}, "code is not a number"),
        (EVENT | {"responseStatus": {"code": True}}, "code is not a number"),
        (EVENT | {"stageTimestamp": "yesterday"}, "stageTimestamp"),
        (EVENT | {"requestReceivedTimestamp": "2026-11-23T02:13:00"}, "requestReceivedTimestamp"),
        (EVENT | {"annotations": []}, "annotations is not an object"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_place(tmp_path: Path, line: Any, message: str) -> None:
    file = log(tmp_path, EVENT, line, EVENT)
    with pytest.raises(InvalidFile, match=message) as refused:
        list(read_audit_log(file))
    assert refused.value.where == f"{file}:2"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(b"\xff\xfe{}\n")
    with pytest.raises(InvalidFile, match="not JSON"):
        list(read_audit_log(file))


def test_a_log_that_ends_in_a_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="cut off") as refused:
        list(read_audit_log(log(tmp_path, EVENT, EVENT, end="")))
    assert refused.value.where is not None
    assert refused.value.where.endswith(":2")


def test_what_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = log(tmp_path, EVENT, EVENT)
    monkeypatch.setattr(audit_log, "MOST_EVENTS", 1)
    with pytest.raises(InvalidFile, match="more than 1 writes"):
        list(read_audit_log(file))
    monkeypatch.setattr(audit_log, "LONGEST_LINE", 100)
    with pytest.raises(InvalidFile, match="longer than 100 bytes"):
        list(read_audit_log(file))
    monkeypatch.setattr(audit_log, "LARGEST_LOG", 100)
    with pytest.raises(InvalidFile, match="more than 100 bytes"):
        list(read_audit_log(file))


def test_what_is_no_file_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotFound):
            list(read_audit_log(path))
