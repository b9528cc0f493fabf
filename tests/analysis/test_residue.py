"""Whose an object is, trap by trap: names used again, controllers, forged owners and labels, tokens handed on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.analysis.residue import Emergency, Piece, residue, trail
from breakglass.model.audit_event import Actor, AuditEvent
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, key_of
from breakglass.model.time import format_instant

BEGIN = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
END = BEGIN + timedelta(minutes=30)
ID = "2026-11-23-exec-into-shop-7f3a"
ACCOUNT = f"system:serviceaccount:shop:incident-{ID}"
EMERGENCY = Emergency(ID, BEGIN, END, frozenset({ACCOUNT, "robin"}), frozenset({"acme:incident"}))
INSIDE = BEGIN + timedelta(minutes=5)
ROLE = ("rbac.authorization.k8s.io", "roles")


def role(name: str = "a", at: datetime = INSIDE, **metadata: Any) -> dict[str, Any]:
    return live("rbac.authorization.k8s.io/v1", "Role", name, at, **metadata)


def live(api_version: str, kind: str, name: str, at: datetime = INSIDE, **metadata: Any) -> dict[str, Any]:
    common = {"name": name, "namespace": "shop", "uid": f"uid-{kind}-{name}", "creationTimestamp": format_instant(at)}
    entry = {"manager": "kubectl", "operation": "Update", "time": format_instant(at)}
    return {"apiVersion": api_version, "kind": kind, "metadata": {**common, "managedFields": [entry], **metadata}}


def event(
    who: Actor | str, resource: tuple[str, str] = ROLE, name: str = "a", at: datetime = INSIDE, **more: Any
) -> AuditEvent:
    details: dict[str, Any] = {"verb": "create", "code": 201, "subresource": "", "manager": "kubectl"}
    details |= {"impersonated": None, "answered_at": at, "received_at": at, "namespace": "shop"}
    user = Actor(who) if isinstance(who, str) else who
    return AuditEvent(user=user, group=resource[0], resource=resource[1], name=name, **(details | more))


def found(
    objects: Iterable[Manifest],
    events: Iterable[AuditEvent] | None = None,
    kept: Iterable[Manifest] = (),
    owners: Iterable[Manifest] = (),
) -> list[Piece]:
    objects = list(objects)
    owning = {str(each["metadata"]["uid"]): each for each in (*objects, *owners)}
    told = None if events is None else trail(EMERGENCY, events)
    return list(residue(EMERGENCY, objects, [key_of(each) for each in kept], owning, told))


def owned_by(owner: Manifest, **more: Any) -> dict[str, Any]:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    return {"ownerReferences": [{**reference, "uid": owner["metadata"]["uid"], "controller": True, **more}]}


@pytest.mark.parametrize(
    ("who", "told"),
    [
        (ACCOUNT, f"made by {ACCOUNT} at"),
        ("robin", "made by robin at"),
        (Actor("eve", frozenset({"acme:incident", "other"})), "made by eve of acme:incident at"),
    ],
)
def test_whoever_was_let_in_is_named(who: Actor | str, told: str) -> None:
    (piece,) = found([role()], [event(who)])
    assert piece.certain
    assert piece.evidence.startswith(told)


def test_acting_as_another_hides_nobody() -> None:
    as_robin = event("admin", impersonated=Actor("robin"))
    as_admin = event("robin", impersonated=Actor("admin"))
    assert found([role()], [as_robin])[0].evidence.startswith("made by admin as robin at")
    assert found([role()], [as_admin])[0].evidence.startswith("made by robin as admin at")


@pytest.mark.parametrize(
    "who", ["pat", f"{ACCOUNT}x", "system:serviceaccount:data:incident", Actor("x", frozenset({"acme:incidents"}))]
)
def test_a_bystander_is_none_of_them(who: Actor | str) -> None:
    assert found([role()], [event(who)]) == []


@pytest.mark.parametrize("at", [BEGIN - timedelta(seconds=1), END + timedelta(seconds=1)])
def test_those_who_were_let_in_count_inside_the_window_only(at: datetime) -> None:
    assert found([role(at=at)], [event("robin", at=at)]) == []


@pytest.mark.parametrize("at", [BEGIN, END])
def test_the_bounds_belong_to_the_window(at: datetime) -> None:
    assert len(found([role(at=at)], [event("robin", at=at)])) == 1
    assert len(found([role(at=at)])) == 1


def test_a_failed_request_made_nothing() -> None:
    (piece,) = found([role()], [event("robin", code=403)])
    assert not piece.certain


def test_the_last_who_made_the_name_counts() -> None:
    later = INSIDE + timedelta(seconds=30)
    hers, his = event("robin"), event("pat", at=later)
    assert found([role(at=later)], [hers, his]) == []
    assert len(found([role(at=INSIDE)], [hers, his])) == 1
    same_second = [event("robin"), event("pat")]
    assert found([role()], same_second) == [], "the later of two in one second, in the log's order"


def test_what_git_or_an_open_window_holds_is_kept() -> None:
    assert found([role()], [event("robin")], kept=[role()]) == []


def test_an_account_made_in_the_window_acts_for_its_maker_for_ever() -> None:
    made = event(ACCOUNT, ("", "serviceaccounts"), "sleeper")
    sleeper = Actor("system:serviceaccount:shop:sleeper")
    after = END + timedelta(days=3)
    (piece,) = found([role(at=after)], [made, event(sleeper, at=after)])
    assert piece.evidence.startswith(f"made by {sleeper.name}, which {ACCOUNT} made at")
    assert found([role(at=after)], [event(sleeper, at=after)]) == []


def test_a_token_handed_on_is_known_by_its_id() -> None:
    minted = event(ACCOUNT, ("", "serviceaccounts"), "default", subresource="token", issued="JTI=1")
    default = "system:serviceaccount:shop:default"
    stolen = Actor(default, credentials=frozenset({"JTI=1"}))
    (piece,) = found([role()], [minted, event(stolen)])
    assert piece.evidence.startswith(f"made by {default} with a token that {ACCOUNT} minted at")
    assert found([role()], [minted, event(Actor(default, credentials=frozenset({"JTI=2"})))]) == []
    (told,) = trail(EMERGENCY, [minted]).tokens
    assert told.startswith(f"{ACCOUNT} minted a token for {default} at 2026-11-23T02:18:00Z")


def test_a_token_of_the_window_s_own_account_is_no_residue() -> None:
    account = ACCOUNT.rpartition(":")[2]
    minted = event("robin", ("", "serviceaccounts"), account, subresource="token", issued="JTI=1")
    assert trail(EMERGENCY, [minted]).tokens == []
    own = Actor(ACCOUNT, credentials=frozenset({"JTI=1"}))
    assert found([role()], [minted, event(own)])[0].evidence.startswith(f"made by {ACCOUNT} at")


def test_the_order_of_the_files_does_not_matter() -> None:
    made = event(ACCOUNT, ("", "serviceaccounts"), "sleeper")
    later = INSIDE + timedelta(seconds=1)
    by_it = event("system:serviceaccount:shop:sleeper", at=later)
    assert len(found([role(at=later)], [by_it, made])) == 1


def test_without_a_log_only_the_time_speaks() -> None:
    (piece,) = found([role(), role("before", BEGIN - timedelta(seconds=1)), role("after", END + timedelta(seconds=1))])
    assert (piece.key.name, piece.certain) == ("a", False)
    assert piece.evidence == "made in the window by manager kubectl at 2026-11-23T02:18:00Z"


def test_a_log_that_does_not_tell_says_so() -> None:
    (piece,) = found([role()], [])
    assert piece.evidence.endswith("; the audit log does not tell by whom")


def test_the_label_of_the_activation_without_an_inventory_is_residue() -> None:
    labelled = role(at=END + timedelta(hours=1), labels={ACTIVATION_LABEL: ID})
    (piece,) = found([labelled], [event("breakglass:applier", at=END + timedelta(hours=1))])
    assert piece.certain
    assert "no inventory names it" in piece.evidence
    assert found([labelled], None, kept=[labelled]) == []
    assert found([role(at=END + timedelta(hours=1), labels={ACTIVATION_LABEL: "another"})]) == []


def test_a_pod_of_a_controller_that_was_there_is_none() -> None:
    deployment = live("apps/v1", "Deployment", "web", BEGIN - timedelta(days=1))
    replicas = live("apps/v1", "ReplicaSet", "web-1", **owned_by(deployment))
    pod = live("v1", "Pod", "web-1-x", **owned_by(replicas))
    assert found([deployment, replicas, pod], []) == []


def test_of_a_workload_made_in_the_window_only_the_top_is_listed() -> None:
    deployment = live("apps/v1", "Deployment", "miner")
    replicas = live("apps/v1", "ReplicaSet", "miner-1", **owned_by(deployment))
    pod = live("v1", "Pod", "miner-1-x", **owned_by(replicas))
    assert [piece.key.kind for piece in found([deployment, replicas, pod])] == ["Deployment"]


def test_an_owner_of_another_kind_excuses_where_git_has_it_or_it_was_there() -> None:
    young = live("argoproj.io/v1alpha1", "Rollout", "web")
    old = live("argoproj.io/v1alpha1", "Rollout", "web", BEGIN - timedelta(days=1))
    pod = live("v1", "Pod", "web-x", **owned_by(young))
    assert len(found([pod], owners=[young])) == 1
    assert found([pod], kept=[young], owners=[young]) == []
    assert found([pod], owners=[old]) == []
    assert len(found([pod])) == 1, "an owner that nobody could read is no excuse"
    assert len(found([live("v1", "Pod", "web-x", **owned_by(old, controller=False))], owners=[old])) == 1


def test_a_forged_owner_does_not_help_against_the_log() -> None:
    old = live("apps/v1", "Deployment", "web", BEGIN - timedelta(days=1))
    (piece,) = found([old, role(**owned_by(old))], [event("robin")])
    assert piece.key.kind == "Role"


def test_owners_in_a_circle_end() -> None:
    one = live("example.com/v1", "Thing", "one")
    other = live("example.com/v1", "Thing", "other", **owned_by(one))
    one["metadata"] |= owned_by(other)
    pod = live("v1", "Pod", "x", **owned_by(one))
    assert len(found([pod], owners=[one, other])) == 1


def test_a_name_that_the_server_gave_is_matched_by_second_and_manager() -> None:
    pod = live("v1", "Pod", "shell-x", generateName="shell-")
    pods = ("", "pods")
    hers = event("robin", pods, "")
    (piece,) = found([pod], [hers])
    assert (piece.certain, "by the time" in piece.evidence) == (True, True)
    controllers = event("system:serviceaccount:kube-system:replicaset-controller", pods, "", manager="kcm")
    assert (
        found(
            [live("v1", "Pod", "web-x", generateName="web-", managedFields=[{"manager": "kcm"}])], [hers, controllers]
        )
        == []
    )
    assert len(found([pod], [hers, event("pat", pods, "")])) == 1, "of two who may have made it, the worse"
    assert not found([live("v1", "Pod", "named")], [hers])[0].certain


def debugged(*managers: tuple[str, str, datetime]) -> dict[str, Any]:
    entries = [
        {
            "manager": manager,
            "subresource": "ephemeralcontainers",
            "time": format_instant(at),
            "fieldsV1": {"f:spec": {"f:ephemeralContainers": {".": {}, f'k:{{"name":"{name}"}}': {".": {}}}}},
        }
        for manager, name, at in managers
    ]
    pod = live("v1", "Pod", "api", BEGIN - timedelta(days=1), managedFields=entries)
    return pod | {"spec": {"ephemeralContainers": [{"name": name} for _, name, _ in managers]}}


def test_ephemeral_containers_are_named_with_who_added_them() -> None:
    pod = debugged(("old", "a", BEGIN - timedelta(hours=1)), ("kubectl-debug", "b", INSIDE))
    (piece,) = found([pod], kept=[pod])
    assert (piece.containers, piece.certain) == (("b",), False)
    asked = {"verb": "patch", "code": 200, "subresource": "ephemeralcontainers"}
    (piece,) = found([pod], [event("robin", ("", "pods"), "api", **asked)], kept=[pod])
    assert (piece.containers, piece.certain) == (("b",), True)
    assert piece.evidence == "an ephemeral container was added by robin at 2026-11-23T02:18:00Z (audit log)"
    assert found([pod], [event("pat", ("", "pods"), "api", **asked)]) == []


@given(st.lists(st.tuples(st.sampled_from(["robin", "pat", ACCOUNT]), st.integers(-5, 40)), max_size=6))
def test_law_nobody_else_s_object_is_certain_and_none_of_theirs_is_missed(makers: list[tuple[str, int]]) -> None:
    objects, events = [], []
    for number, (who, minute) in enumerate(makers):
        at = BEGIN + timedelta(minutes=minute)
        objects.append(role(f"r{number}", at))
        events.append(event(who, name=f"r{number}", at=at))
    theirs = {f"r{n}" for n, (who, minute) in enumerate(makers) if who != "pat" and 0 <= minute <= 30}
    assert {piece.key.name for piece in found(objects, events)} == theirs
    assert all(isinstance(piece.key, ObjectKey) and piece.certain for piece in found(objects, events))
