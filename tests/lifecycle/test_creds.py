"""Whose token may be had, of which ServiceAccount, for how long."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.lifecycle.check import Checked, check
from breakglass.lifecycle.content import read_overlay
from breakglass.lifecycle.credential import (
    LONGEST,
    SHORTEST,
    Account,
    exec_credential,
    find_account,
    judge_exec_info,
    kubeconfig,
    mint,
)
from breakglass.lifecycle.render import render_delta
from breakglass.model.activation import Activation, activation_file, write_activation
from breakglass.model.errors import BreakglassError, NotFound, Refused
from breakglass.model.manifest import ObjectKey
from breakglass.model.policy import ClusterSettings
from breakglass.model.time import format_instant
from laws import example
from laws.world import World
from ports.clock import NIGHT, SettableClock
from ports.cluster import ApiServer, InMemoryCluster
from ports.writes import Writes

MINUTE = timedelta(minutes=1)
SERVER = "https://prod-eu.k8s.example.com"
COMPONENT = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}


def account(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}


def overlay(name: str, *manifests: dict[str, Any], maximum: str = "4h", **component: Any) -> dict[str, bytes]:
    """Files of an overlay."""
    held = {
        "overlay.yaml": example.contract(name, [], maximum),
        "kustomization.yaml": COMPONENT | (component or {"resources": ["objects.yaml"]}),
        "objects.yaml": {"apiVersion": "v1", "kind": "List", "items": list(manifests)},
    }
    return {f"overlays/emergency/{name}/{file}": json.dumps(data).encode() for file, data in held.items()}


@pytest.fixture
def world() -> World:
    """The example platform with overlays that add one ServiceAccount, two, and one beside a patch."""
    files = example.files() | overlay("one", account("data", "incident"))
    files |= overlay("two", account("data", "reader"), account("ops", "reader"))
    files |= overlay("layered", account("data", "incident"), resources=["objects.yaml"], patches=[{"path": "p.yaml"}])
    removed = {name: example.DEFAULT_DENY[name] for name in ("apiVersion", "kind", "metadata")} | {"$patch": "delete"}
    files["overlays/emergency/layered/p.yaml"] = json.dumps(removed).encode()
    return World(files=files)


def find(world: World, identity: str, caller: str = example.ON_CALL, cluster: str = "prod-eu", **which: Any) -> Account:
    now = world.clock.now()
    return find_account(world.repository(), world.renderer, "main", identity, caller, now, cluster=cluster, **which)


def test_the_requester_finds_the_account_that_the_window_adds(world: World) -> None:
    activation = world.open("one")
    found = find(world, activation.id)
    assert found.key == ObjectKey("", "ServiceAccount", "data", f"incident-{activation.id}")
    assert (found.cluster, found.expiry) == ("prod-eu", NIGHT + 30 * MINUTE)


def test_a_clone_from_before_the_merge_hears_of_it(world: World) -> None:
    clone = world.repository()
    clone.fetch()
    identity, now = world.open("one").id, world.clock.now()
    found = find_account(clone, world.renderer, "main", identity, example.ON_CALL, now, cluster="prod-us")
    assert found.cluster == "prod-us"


def test_an_account_beside_a_patch_goes_with_the_closing_as_well(world: World) -> None:
    assert find(world, world.open("layered").id).key == ObjectKey("", "ServiceAccount", "data", "incident")


def test_a_login_is_written_in_any_case(world: World) -> None:
    assert find(world, world.open("one").id, example.ON_CALL.upper())


def closed(world: World, activation: Activation) -> None:
    world.commit({activation_file(activation.id): None})


def edited(world: World, activation: Activation) -> None:
    world.commit({activation_file(activation.id): write_activation(activation) + b"\n"})


NOT_OPEN: dict[str, tuple[Callable[[World, Activation], object], str]] = {
    "closed early": (closed, "is closed"),
    "over": (lambda world, _: world.clock.tick(30 * MINUTE), "ended at 2026-11-23T02:43:00Z"),
    "over and closed": (lambda world, one: (world.clock.tick(30 * MINUTE), closed(world, one)), "is closed"),
    "edited on main": (edited, "is void: activation-edited"),
    "merged in the future": (lambda world, _: setattr(world, "clock", SettableClock(NIGHT - MINUTE)), "begins at"),
}


@pytest.mark.parametrize("case", NOT_OPEN)
def test_a_window_that_is_not_open_has_no_token(world: World, case: str) -> None:
    activation = world.open("one")
    happens, message = NOT_OPEN[case]
    happens(world, activation)
    with pytest.raises(Refused, match=message) as refused:
        find(world, activation.id)
    assert refused.value.remedy


def test_the_last_second_of_a_window_is_open_and_the_next_is_not(world: World) -> None:
    activation = world.open("one")
    world.clock.tick(30 * MINUTE - timedelta(seconds=1))
    assert find(world, activation.id)
    world.clock.tick(timedelta(seconds=1))
    with pytest.raises(Refused, match="ended"):
        find(world, activation.id)


@pytest.mark.parametrize("caller", ["ada", "on-cal", "on-call2", example.BOT, ""])
def test_nobody_but_the_requester_has_the_token(world: World, caller: str) -> None:
    activation = world.open("one")
    with pytest.raises(Refused, match=f"@on-call asked for {activation.id}, and you are @") as refused:
        find(world, activation.id, caller)
    assert refused.value.remedy == "open a request of your own"


def test_a_request_that_is_not_merged_is_no_activation(world: World) -> None:
    activation, _ = world.ask("one")
    for identity in (activation.id, "2026-11-23-one-ffff", "../../breakglass"):
        with pytest.raises(NotFound, match="there was never an activation"):
            find(world, identity)


def test_one_of_the_clusters_of_the_activation_is_named(world: World) -> None:
    activation = world.open("one")
    with pytest.raises(Refused, match="is open on prod-eu, prod-us"):
        find_account(
            world.repository(), world.renderer, "main", activation.id, example.ON_CALL, world.clock.now(), cluster=None
        )
    with pytest.raises(Refused, match="is not open on 'drill'"):
        find(world, activation.id, cluster="drill")
    one, pull = world.ask("one", clusters=["prod-us"])
    world.approve(pull)
    world.merge(pull)
    now = world.clock.now()
    assert find_account(world.repository(), world.renderer, "main", one.id, example.ON_CALL, now).cluster == "prod-us"


def test_an_overlay_without_an_account_of_its_own_has_no_token(world: World) -> None:
    for name in ("db-from-bastion", "lift-isolation"):
        with pytest.raises(Refused, match="would outlive the window") as refused:
            find(world, world.open(name).id)
        assert refused.value.remedy


def test_an_account_that_the_overlay_changes_stays_and_has_no_token() -> None:
    files = example.files() | overlay("one", patches=[{"path": "patch.yaml"}])
    changed = account("data", "web") | {"automountServiceAccountToken": True}
    files["overlays/emergency/one/patch.yaml"] = json.dumps(changed).encode()
    files["base/0.yaml"] = json.dumps(account("data", "web")).encode()
    world = World(files=files)
    with pytest.raises(Refused, match="would outlive the window"):
        find(world, world.open("one").id)


def test_one_of_two_accounts_is_named(world: World) -> None:
    identity = world.open("two").id
    for wanted in (None, "reader", f"reader-{identity}"):
        with pytest.raises(Refused, match=r"adds data/reader-.*, ops/reader-"):
            find(world, identity, name=wanted)
    for wanted in ("ops/reader", f"ops/reader-{identity}"):
        assert find(world, identity, name=wanted).key.namespace == "ops"
    for wanted in ("", "web", "shop/reader", "reader-"):
        with pytest.raises(NotFound, match="adds no ServiceAccount"):
            find(world, identity, name=wanted)


def applied(found: Account, clock: SettableClock) -> InMemoryCluster:
    """A cluster that holds the account."""
    server = ApiServer("prod-eu", Writes(), clock=clock)
    server.install([account(found.key.namespace, found.key.name)])
    return InMemoryCluster(server)


@pytest.mark.parametrize(
    ("window", "lifetime", "outlived"),
    [
        (240, LONGEST, False),
        (61, LONGEST, False),
        (60, LONGEST, False),
        (30, 30 * MINUTE, False),
        (10, SHORTEST, False),
        (9, SHORTEST, True),
        (1, SHORTEST, True),
    ],
)
def test_a_token_is_asked_for_no_longer_than_the_window(
    world: World, window: int, lifetime: timedelta, outlived: bool
) -> None:
    found = find(world, world.open("one", window * MINUTE).id)
    now = world.clock.now()
    assert (found.lifetime(now), found.outlived(now)) == (lifetime, outlived)
    answer = exec_credential(mint(applied(found, world.clock), found, now))
    told = NIGHT + min(window * MINUTE, LONGEST)
    assert answer["status"]["expirationTimestamp"] == format_instant(told)


@given(window=st.integers(1, 4 * 3600), late=st.integers(0, 4 * 3600))
def test_no_credential_claims_to_outlive_the_window(window: int, late: int) -> None:
    now = NIGHT + timedelta(seconds=min(late, window - 1))
    expiry = NIGHT + timedelta(seconds=window)
    found = Account("one", ObjectKey("", "ServiceAccount", "data", "incident"), "prod-eu", settings(), expiry)
    given_out = mint(applied(found, SettableClock(now)), found, now)
    assert now < given_out.expiry <= expiry
    assert SHORTEST <= found.lifetime(now) <= LONGEST
    assert found.outlived(now) == (given_out.token.expiry > expiry)


def test_a_window_that_is_not_applied_yet_has_no_token(world: World) -> None:
    found = find(world, world.open("one").id)
    with pytest.raises(BreakglassError):
        mint(InMemoryCluster(world.servers["prod-eu"]), found, world.clock.now())


def test_the_token_stands_in_the_answer_to_kubectl_alone(world: World) -> None:
    found = replace(find(world, world.open("one").id), settings=settings(server=SERVER))
    given_out = mint(applied(found, world.clock), found, world.clock.now())
    assert exec_credential(given_out)["status"]["token"] == given_out.token.value
    told = [repr(given_out), repr(found), str(given_out), str(kubeconfig(found, "breakglass", ["creds"], {}))]
    assert [text for text in told if given_out.token.value in text] == []


def settings(**fields: Any) -> ClusterSettings:
    return ClusterSettings.model_validate({"baseline": "base", **fields})


def test_a_kubeconfig_leads_to_the_cluster_by_this_command(world: World) -> None:
    found = find(world, world.open("one").id)
    with pytest.raises(Refused, match="does not say where the API server of prod-eu is"):
        kubeconfig(found, "breakglass", [], {})
    found = replace(found, settings=settings(server=SERVER, certificateAuthority="PEM"))
    written = kubeconfig(found, "/bin/breakglass", ["creds", found.activation], {"KUBECONFIG": "/own"})
    (cluster,), (user,), (context,) = written["clusters"], written["users"], written["contexts"]
    assert cluster["cluster"] == {"server": SERVER, "certificate-authority-data": "UEVN"}
    assert user["user"]["exec"] | {"installHint": ""} == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/breakglass",
        "args": ["creds", found.activation],
        "env": [{"name": "KUBECONFIG", "value": "/own"}],
        "interactiveMode": "Never",
        "installHint": "",
    }
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"], "namespace": "data"}
    assert written["current-context"] == context["name"]
    system = kubeconfig(replace(found, settings=settings(server=SERVER)), "breakglass", [], {})
    assert system["clusters"][0]["cluster"] == {"server": SERVER}


ASKED_FOR = {
    "source": {"kind": "ConfigMap", "name": "breakglass-parameters", "fieldPath": "data.requester"},
    "targets": [{"select": {"kind": "RoleBinding", "name": "token"}, "fieldPaths": ["subjects.0.name"]}],
}
TOKEN_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"namespace": "data", "name": "token"},
    "rules": [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}],
}
TOKEN_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"namespace": "data", "name": "token"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "token"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "data"}}


def binding_world(contract: dict[str, Any]) -> World:
    """The example platform with an overlay whose tokens the requester may have; clusters call people `acme:login`."""
    files = example.files() | overlay(
        "one",
        account("data", "incident"),
        TOKEN_ROLE,
        TOKEN_BINDING,
        resources=["objects.yaml"],
        replacements=[ASKED_FOR],
    )
    kinds = ["ServiceAccount", "Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io"]
    written, policy = example.contract("one", []), example.policy()
    written["spec"] |= {"contract": contract, "scope": written["spec"]["scope"] | {"kinds": kinds}}
    # An activation cannot say itself who asked for it.
    text = {"type": "string"}
    properties = {"requester": text, "requestedBy": text, "activation": text}
    written["spec"]["parameters"] = {"type": "object", "properties": properties, "additionalProperties": False}
    policy["spec"] |= {"kinds": kinds, "requesters": {"userPrefix": "acme:"}}
    files["overlays/emergency/one/overlay.yaml"] = json.dumps(written).encode()
    files["breakglass.yaml"] = json.dumps(policy).encode()
    files["base/namespace.yaml"] = json.dumps(NAMESPACE).encode()
    root = json.loads(files["base/kustomization.yaml"])
    files["base/kustomization.yaml"] = json.dumps({"resources": [*root["resources"], "namespace.yaml"]}).encode()
    return World(files=files, renderer=KustomizeRenderer())


def token_for(subject: str) -> dict[str, str]:
    return {"subject": subject, "verb": "create", "resource": "serviceaccounts/token", "namespace": "data"}


def checked(world: World) -> Checked:
    _, pull = world.ask("one")
    return check(world.repository(), world.renderer, world.tip(), pull.head, world.clock.now())


def test_the_check_names_the_user_who_may_have_the_token() -> None:
    found = checked(binding_world({"grants": [token_for("Requester")], "keepsDenied": [token_for("Group:dev")]}))
    assert found.findings == []
    assert found.opens == ("grants    User:acme:on-call may create serviceaccounts/token in data",)


@pytest.mark.parametrize(
    ("contract", "ids"),
    [
        ({"grants": [token_for("User:on-call")]}, {"contract-still-denied", "contract-granted-beyond"}),
        (
            {"grants": [token_for("User:acme:on-call")], "keepsDenied": [token_for("Requester")]},
            {"contract-denied-broken"},
        ),
    ],
)
def test_a_contract_that_is_wrong_about_the_requester_does_not_pass(contract: dict[str, Any], ids: set[str]) -> None:
    assert {finding.id for finding in checked(binding_world(contract)).findings} == ids


def test_an_account_is_found_beside_a_binding_of_the_requester() -> None:
    world = binding_world({"grants": [token_for("Requester")]})
    identity = world.open("one").id
    assert find(world, identity).key.name == f"incident-{identity}"


@pytest.mark.parametrize("parameters", [{}, {"requester": "mallory", "requestedBy": "mallory", "activation": "x"}])
def test_the_binding_names_who_asked_whatever_the_activation_says(parameters: dict[str, str]) -> None:
    world = binding_world({"grants": [token_for("Requester")]})
    activation, _ = world.ask("one")
    asked = activation.spec.model_copy(update={"parameters": parameters})
    activation = activation.model_copy(update={"spec": asked})
    content = read_overlay(world.repository(), world.tip(), "one")
    changes = render_delta(world.renderer, activation, content, None, "acme:on-call")
    (binding,) = [each.emergency for each in changes if each.key.kind == "RoleBinding"]
    assert binding is not None
    assert [subject["name"] for subject in binding["subjects"]] == ["acme:on-call"]
    with pytest.raises(Refused, match="requester"):
        render_delta(world.renderer, activation, content, None)


V1 = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {"interactive": False}}


@pytest.mark.parametrize("info", ["", "{", "[]", "null", "{}", json.dumps(V1 | {"apiVersion": "v1beta1"})])
def test_only_a_caller_that_understands_the_answer_gets_one(info: str) -> None:
    judge_exec_info(json.dumps(V1))
    with pytest.raises(Refused, match=r"breakglass client\.authentication\.k8s\.io/v1"):
        judge_exec_info(info)
