"""Every emergency overlay renders to its own small delta, does what its contract says, and nothing else."""

from __future__ import annotations

import re

import kubernetes.client
import pytest
from jsonschema import Draft202012Validator
from manifests import Key, by_key, delta, of_kind
from permissions import Permission, permissions
from places import EMERGENCY, OVERLAYS, REQUESTER, Manifest, Render
from reachability import Connection, reachable

from breakglass.model.document import read
from breakglass.model.kustomization import inspect_overlay
from breakglass.model.overlay import Overlay, judge_overlay
from breakglass.model.policy import Policy

DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
MIDDLEWARES = "traefik.ingress.kubernetes.io/router.middlewares"
ALLOWED = {"apiVersion", "kind", "resources", "patches", "replacements", "labels"}


def connections(listed: list[Manifest]) -> set[Connection]:
    between_workloads = [each for each in listed if isinstance(each["from"], str) and isinstance(each["to"], str)]
    return {Connection(each["from"], each["to"], each["protocol"], each["port"]) for each in between_workloads}


def granted(listed: list[Manifest]) -> set[tuple[str, str, str, str, str]]:
    """A contract's grants in the activation at hand, whose requester is a user by name."""
    subjects = [f"User:{REQUESTER}" if each["subject"] == "Requester" else each["subject"] for each in listed]
    return {
        (subject, each["verb"], each.get("group", ""), each["resource"], each["namespace"])
        for subject, each in zip(subjects, listed, strict=True)
    }


def without_suffix(found: set[Permission], activation: str) -> set[tuple[str, str, str, str, str]]:
    """A contract names the overlay's own ServiceAccount as the manifests do, without the activation."""
    return {(each.subject.removesuffix(f"-{activation}"), *each[1:5]) for each in found}


def test_there_are_four() -> None:
    assert OVERLAYS == ["db-from-bastion", "exec-into-shop", "ingress-to-admin", "lift-isolation"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_product_accepts_the_overlay(overlay: str) -> None:
    repository = EMERGENCY.parents[1]
    files = {str(path.relative_to(repository)): path.read_bytes() for path in (EMERGENCY / overlay).iterdir()}
    root = f"overlays/emergency/{overlay}"
    contract = read(files[f"{root}/overlay.yaml"], f"{root}/overlay.yaml", Overlay)
    policy = read((repository / "breakglass.yaml").read_bytes(), "breakglass.yaml", Policy)
    assert judge_overlay(contract, policy, overlay) == []
    assert inspect_overlay(files, root) == []
    assert policy.spec.clusters.keys() == set(contract.spec.scope.clusters)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_delta_stays_in_its_scope(
    overlay: str, opened: Render, baseline: list[Manifest], overlays: dict[str, Manifest]
) -> None:
    scope = overlays[overlay]["scope"]
    changed = delta(baseline, opened(overlay))
    assert {key.kind for key in changed} == set(scope["kinds"])
    assert {key.namespace for key in changed} == set(scope["namespaces"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_one_kubernetes_knows_under_a_valid_name(
    overlay: str, opened: Render, baseline: list[Manifest]
) -> None:
    for key, manifest in delta(baseline, opened(overlay)).items():
        assert DNS_SUBDOMAIN.fullmatch(key.name), key
        assert len(key.name) <= 253, key
        if manifest is not None and key.kind.partition(".")[2] not in {
            "gateway.networking.k8s.io",
            "traefik.io",
        }:
            getattr(kubernetes.client, f"V1{manifest['kind']}").model_validate(manifest)


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "lift-isolation"])
def test_what_only_adds_touches_nothing_of_the_baseline(overlay: str, opened: Render, baseline: list[Manifest]) -> None:
    before, after = by_key(baseline), by_key(opened(overlay))
    assert before.items() <= after.items()
    activation = f"-2026-11-23-{overlay}-7f3a"
    assert all(key.name.endswith(activation) for key in after.keys() - before.keys())
    assert "activation" not in str([after[key] for key in after.keys() - before.keys()])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_exactly_what_the_contract_opens_opens(
    overlay: str, opened: Render, baseline: list[Manifest], overlays: dict[str, Manifest]
) -> None:
    contract = overlays[overlay]["contract"]
    before, after = reachable(baseline), reachable(opened(overlay))
    assert after - before == connections(contract.get("opens", []))
    assert before <= after
    assert not after & connections(contract.get("keepsShut", []))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_exactly_what_the_contract_grants_is_granted(
    overlay: str, opened: Render, baseline: list[Manifest], overlays: dict[str, Manifest]
) -> None:
    contract = overlays[overlay]["contract"]
    before, after = permissions(baseline), permissions(opened(overlay))
    new = without_suffix(after - before, f"2026-11-23-{overlay}-7f3a")
    assert new == granted(contract.get("grants", []))
    assert before <= after
    everything = without_suffix(after, f"2026-11-23-{overlay}-7f3a")
    assert not everything & granted(contract.get("keepsDenied", []))


def test_two_activations_live_side_by_side(opened: Render, baseline: list[Manifest]) -> None:
    first, second = "2026-11-23-ingress-to-admin-7f3a", "2026-11-23-ingress-to-admin-c0de"
    alone = opened("ingress-to-admin", first)
    both = opened("ingress-to-admin", second, {"sourceRange": "203.0.113.64/26"}, on=alone)
    of_first, of_second = delta(baseline, alone), delta(alone, both)
    assert len(of_first) == len(of_second)
    assert {first not in str(manifest) for manifest in of_second.values()} == {True}
    ranges = {
        key.name: manifest["spec"]["ipAllowList"]["sourceRange"]
        for key, manifest in delta(baseline, both).items()
        if manifest is not None and "ipAllowList" in manifest["spec"]
    }
    assert ranges == {
        f"admin-source-range-{first}": ["198.51.100.0/24"],
        f"admin-source-range-{second}": ["203.0.113.64/26"],
    }
    assert hosts(both) - hosts(baseline) == {f"{first}.emergency.example.com", f"{second}.emergency.example.com"}


def hosts(manifests: list[Manifest]) -> set[str]:
    of_ingresses = {rule["host"] for each in of_kind(manifests, "Ingress") for rule in each["spec"]["rules"]}
    return of_ingresses | {host for each in of_kind(manifests, "HTTPRoute") for host in each["spec"]["hostnames"]}


def test_the_emergency_host_is_isolated_from_the_primary_one(opened: Render, baseline: list[Manifest]) -> None:
    after = opened("ingress-to-admin")
    new = hosts(after) - hosts(baseline)
    assert new == {"2026-11-23-ingress-to-admin-7f3a.emergency.example.com"}
    assert DNS_LABEL.fullmatch(new.pop().split(".")[0])
    listeners = {each["name"]: each["hostname"] for each in next(of_kind(baseline, "Gateway"))["spec"]["listeners"]}
    assert listeners == {"shop": "shop.example.com", "emergency": "*.emergency.example.com"}
    of_listener = {
        parent["sectionName"]: each["spec"]["hostnames"]
        for each in of_kind(after, "HTTPRoute")
        for parent in each["spec"]["parentRefs"]
    }
    assert of_listener == {
        "shop": ["shop.example.com"],
        "emergency": ["2026-11-23-ingress-to-admin-7f3a.emergency.example.com"],
    }


def test_both_routes_lead_through_the_source_range_and_then_the_identity_check(
    opened: Render, baseline: list[Manifest]
) -> None:
    added = delta(baseline, opened("ingress-to-admin"))
    middlewares = {
        key.name: each["spec"] for key, each in added.items() if each and key.kind == "Middleware.traefik.io"
    }
    (ingress,) = (each for key, each in added.items() if each and key.kind.startswith("Ingress."))
    (route,) = (each for key, each in added.items() if each and key.kind.startswith("HTTPRoute."))
    (rule,) = route["spec"]["rules"]
    (reference,) = rule["filters"]
    named = reference["extensionRef"]
    assert (named["group"], named["kind"]) == ("traefik.io", "Middleware")
    assert ingress["metadata"]["annotations"][MIDDLEWARES] == f"shop-{named['name']}@kubernetescrd"
    chain = [middlewares[each["name"]] for each in middlewares[named["name"]]["chain"]["middlewares"]]
    assert [list(each) for each in chain] == [["ipAllowList"], ["forwardAuth"]]
    service = re.fullmatch(
        r"http://([a-z0-9-]+)\.([a-z]+)\.svc\.cluster\.local:4180/", chain[1]["forwardAuth"]["address"]
    )
    assert service
    assert Key("Service", service[2], service[1]) in by_key(baseline)


def test_a_token_can_be_had_for_the_incident_account_alone_and_by_who_asked_alone(
    opened: Render, baseline: list[Manifest]
) -> None:
    new = permissions(opened("exec-into-shop")) - permissions(baseline)
    tokens = {(each.subject, each.name) for each in new if each.resource == "serviceaccounts/token"}
    assert tokens == {(f"User:{REQUESTER}", "incident-2026-11-23-exec-into-shop-7f3a")}


def test_lifting_takes_one_default_deny_away(opened: Render, baseline: list[Manifest]) -> None:
    lifted = Key("NetworkPolicy.networking.k8s.io", "ops", "default-deny")
    assert delta(baseline, opened("lift-isolation")) == {lifted: None}


def test_lifting_and_the_database_path_do_not_undo_each_other(
    opened: Render, baseline: list[Manifest], overlays: dict[str, Manifest]
) -> None:
    database = opened("db-from-bastion")
    both = opened("lift-isolation", on=database)
    swapped = opened("db-from-bastion", "2026-11-23-db-from-bastion-c0de", on=opened("lift-isolation", "x"))
    assert reachable(both) == reachable(swapped)
    # What the database path gave, names included, stays. It isolates the bastion by itself, so lifting adds nothing.
    assert (
        reachable(both)
        == reachable(database)
        == reachable(baseline) | connections(overlays["db-from-bastion"]["contract"]["opens"])
    )


@pytest.mark.parametrize("good", ["198.51.100.0/24", "10.0.0.0/16", "203.0.113.7/32", "255.255.255.255/32"])
def test_a_source_range_is_accepted(good: str, overlays: dict[str, Manifest]) -> None:
    schema = overlays["ingress-to-admin"]["parameters"]
    assert list(Draft202012Validator(schema).iter_errors({"sourceRange": good})) == []


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"sourceRange": 1},
        {"sourceRange": "198.51.100.0/24", "host": "shop.example.com"},
        *(
            {"sourceRange": text}
            for text in (
                "",
                "0.0.0.0/0",
                "10.0.0.0/8",
                "198.51.100.0/15",
                "198.51.100.0",
                "198.51.100/24",
                "198.51.100.0.0/24",
                "198.51.100.256/24",
                "098.51.100.0/24",
                "198.51.100.0/33",
                "198.51.100.0/24\n",
                " 198.51.100.0/24",
                "198.51.100.0/24,0.0.0.0/0",
                "2001:db8::/32",
            )
        ),
    ],
)
def test_a_source_range_is_refused(bad: Manifest, overlays: dict[str, Manifest]) -> None:
    assert list(Draft202012Validator(overlays["ingress-to-admin"]["parameters"]).iter_errors(bad))
