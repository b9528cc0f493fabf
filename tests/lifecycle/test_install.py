"""What the applier and the agent may do: no more than the policy allows and overlays use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.lifecycle.install import Installation, installation
from breakglass.lifecycle.permissions import Granted, Need, permissions
from breakglass.model.errors import InvalidFile, NotFound, Refused
from breakglass.model.manifest import Manifest
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.model.resource import plural_of, resources_of

ROOT = Path(__file__).parents[2]
RBAC = "rbac.authorization.k8s.io"
KINDS = (
    "NetworkPolicy.networking.k8s.io",
    "Ingress.networking.k8s.io",
    "ServiceAccount",
    f"Role.{RBAC}",
    f"RoleBinding.{RBAC}",
)
APPLIER, AGENT = "breakglass:applier", "agent"
GIVEN: dict[str, Any] = yaml.safe_load((ROOT / "breakglass.yaml").read_text())
CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "overlays/emergency/db-from-bastion/overlay.yaml").read_text())


def policy(**changes: Any) -> Policy:
    spec = {**GIVEN["spec"], **changes}
    return Policy.model_validate({**GIVEN, "spec": spec})


def contract(name: str, kinds: Iterable[str], namespaces: Iterable[str], **changes: Any) -> dict[str, Any]:
    scope = {"clusters": ["prod-eu"], "namespaces": list(namespaces), "kinds": list(kinds)}
    return {**CONTRACT, "metadata": {"name": name}, "spec": {**CONTRACT["spec"], "scope": scope, **changes}}


def overlay(
    name: str, objects: Iterable[Manifest], namespaces: Iterable[str] = ("shop",), **kustomization: Any
) -> dict[str, bytes]:
    """Files of an overlay that adds objects, and of its contract."""
    listed = list(objects)
    kinds = dict.fromkeys(_kind(each) for each in listed)
    root, component = (
        f"overlays/emergency/{name}",
        {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"},
    )
    changes = kustomization.pop("contract", {})
    files = {
        "overlay.yaml": contract(name, kinds, namespaces, **changes),
        "kustomization.yaml": {**component, "resources": ["objects.yaml"], **kustomization},
        "objects.yaml": {"apiVersion": "v1", "kind": "List", "items": listed},
    }
    return {f"{root}/{file}": yaml.safe_dump(content).encode() for file, content in files.items()}


def _kind(manifest: Manifest) -> str:
    group = manifest["apiVersion"].rpartition("/")[0]
    return f"{manifest['kind']}.{group}" if group else str(manifest["kind"])


def thing(kind: str, name: str, namespace: str = "shop", **content: Any) -> dict[str, Any]:
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **content}


def binding(kind: str, name: str, namespace: str = "shop") -> dict[str, Any]:
    reference = {"apiGroup": RBAC, "kind": kind, "name": name}
    return thing("RoleBinding", "bound", namespace, roleRef=reference, subjects=[{"kind": "User", "name": "x"}])


def rule(group: str, resource: str, verb: str, *names: str) -> dict[str, Any]:
    found: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    return {**found, "resourceNames": list(names)} if names else found


def made(*overlays: Mapping[str, bytes], of: Policy | None = None, **options: bool) -> Installation:
    files = {path: content for each in overlays for path, content in each.items()}

    def tree(directory: str) -> dict[str, bytes]:
        return {path: content for path, content in files.items() if path.startswith(f"{directory}/")}

    return installation(of or policy(), "prod-eu", tree, KustomizeRenderer(), **options)


Permission = tuple[str, str, str, str, str]
"""(namespace, group, resource, verb, name); empty for all of them."""


def held(objects: Iterable[Manifest], subject: str) -> set[Permission]:
    """What a subject may do, naively, binding by binding."""
    listed = list(objects)
    roles = {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in listed}
    found: set[Permission] = set()
    for each in listed:
        if not each["kind"].endswith("Binding") or "roleRef" not in each:
            continue
        if subject not in {one["name"] for one in each["subjects"]}:
            continue
        namespace, kind = each["metadata"].get("namespace", ""), each["roleRef"]["kind"]
        role = roles[kind, namespace if kind == "Role" else "", each["roleRef"]["name"]]
        for one in role["rules"]:
            for name in one.get("resourceNames", [""]):
                found |= {
                    (namespace, group, resource, verb, name)
                    for group in one["apiGroups"]
                    for resource in one["resources"]
                    for verb in one["verbs"]
                }
    return found


def granting(objects: Iterable[Manifest]) -> set[Permission]:
    """What the applier holds only to grant it, in any namespace."""
    plain = held(made().objects, APPLIER)
    usual = {"get", "list", "create", "patch", "delete"}
    own = {*(plural for plurals in resources_of(KINDS).values() for plural in plurals), "events"}
    residue = {"get", "list"}
    return {
        each
        for each in held(objects, APPLIER) - plain
        if not (each[2] in own and each[3] in usual and not each[4]) and not (each[3] in residue and not each[4])
    }


def test_without_overlays_nobody_may_open_anything() -> None:
    allowed = held(made().objects, APPLIER) | held(made().objects, AGENT)
    assert {each[0] for each in allowed} == {"", "breakglass"}
    assert {each for each in allowed if each[0] == "" and each[3] not in ("get", "list")} == {
        ("", "authorization.k8s.io", "subjectaccessreviews", "create", "")
    }


def test_a_role_is_granted_by_holding_what_it_allows() -> None:
    role = thing("Role", "r", rules=[rule("", "secrets", "get", "one")])
    objects = made(overlay("o", [role, binding("Role", "r")])).objects
    assert granting(objects) == {("shop", "", "secrets", "get", "one")}
    assert not {each for each in held(objects, AGENT) if each[2] == "secrets"}


def test_a_name_that_varies_with_the_activation_is_held_for_every_name() -> None:
    role = thing("Role", "r", rules=[rule("", "pods/exec", "create", "pod-activation", "other")])
    replaced = {
        "source": {"kind": "ConfigMap", "name": "breakglass-parameters", "fieldPath": "data.activation"},
        "targets": [
            {
                "select": {"kind": "Role"},
                "fieldPaths": ["rules.0.resourceNames.0"],
                "options": {"delimiter": "-", "index": 1},
            }
        ],
    }
    assert granting(made(overlay("o", [role], replacements=[replaced])).objects) == {
        ("shop", "", "pods/exec", "create", "")
    }


def test_a_name_that_is_a_parameter_is_held_for_every_name() -> None:
    role = thing("Role", "r", rules=[rule("", "pods/exec", "create", "NONE")])
    parameters = {
        "type": "object",
        "properties": {"pod": {"type": "string", "pattern": "^[a-z]+$"}},
        "additionalProperties": False,
    }
    replaced = {
        "source": {"kind": "ConfigMap", "name": "breakglass-parameters", "fieldPath": "data.pod"},
        "targets": [{"select": {"kind": "Role"}, "fieldPaths": ["rules.0.resourceNames.0"]}],
    }
    files = overlay("o", [role], replacements=[replaced], contract={"parameters": parameters})
    assert granting(made(files).objects) == {("shop", "", "pods/exec", "create", "")}


def test_a_role_that_only_a_parameter_names_is_refused() -> None:
    parameters = {"type": "object", "properties": {"role": {"type": "string"}}, "additionalProperties": False}
    replaced = {
        "source": {"kind": "ConfigMap", "name": "breakglass-parameters", "fieldPath": "data.role"},
        "targets": [{"select": {"kind": "RoleBinding"}, "fieldPaths": ["roleRef.name"]}],
    }
    files = overlay("o", [binding("ClusterRole", "x")], replacements=[replaced], contract={"parameters": parameters})
    with pytest.raises(Refused, match="would have to bind any"):
        made(files)


@pytest.mark.parametrize(("kind", "resource"), [("ClusterRole", "clusterroles"), ("Role", "roles")])
def test_a_role_of_the_baseline_is_bound_by_its_name_and_not_held(kind: str, resource: str) -> None:
    objects = made(overlay("o", [binding(kind, "view")])).objects
    assert granting(objects) == {("shop", RBAC, resource, "bind", "view")}


def test_grants_stay_in_the_namespace_where_they_are_granted() -> None:
    files = overlay("o", [binding("ClusterRole", "view", "data")], ["shop", "data"])
    assert granting(made(files).objects) == {("data", RBAC, "clusterroles", "bind", "view")}


def test_the_agent_brings_back_what_an_overlay_changes_but_never_grants() -> None:
    patch = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "ops"},
    }
    kinds = ["NetworkPolicy.networking.k8s.io", "Ingress.networking.k8s.io"]
    root = "overlays/emergency/lifts"
    component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "patches": [{"path": "p.yaml"}]}
    layered = {
        f"{root}/overlay.yaml": yaml.safe_dump(contract("lifts", kinds, ["ops"])).encode(),
        f"{root}/kustomization.yaml": yaml.safe_dump(component).encode(),
        f"{root}/p.yaml": yaml.safe_dump({**patch, "$patch": "delete"}).encode(),
    }
    adds = overlay("adds", [thing("Role", "r", "ops", rules=[]), binding("Role", "r", "ops")], ["ops"])
    written = {
        each for each in held(made(layered, adds).objects, AGENT) if each[0] == "ops" and each[3] in ("create", "patch")
    }
    assert {(each[2], each[3]) for each in written} == {
        ("networkpolicies", "create"),
        ("networkpolicies", "patch"),
        ("ingresses", "create"),
        ("ingresses", "patch"),
        ("events", "create"),
    }


def test_cutting_and_following_are_asked_for() -> None:
    files = overlay("o", [binding("ClusterRole", "view")])
    eviction = ("shop", "", "pods/eviction", "create", "")
    plain, cutting, following = made(files), made(files, cut=True), made(files, follow=True)
    assert eviction not in held(plain.objects, APPLIER) | held(plain.objects, AGENT)
    assert eviction in held(cutting.objects, APPLIER) & held(cutting.objects, AGENT)
    assert held(following.objects, APPLIER) == held(plain.objects, APPLIER)
    assert held(following.objects, AGENT) == held(plain.objects, AGENT) | held(plain.objects, APPLIER)


def test_overlays_for_other_clusters_give_nothing() -> None:
    files = overlay("o", [binding("ClusterRole", "view")])
    path = "overlays/emergency/o/overlay.yaml"
    files[path] = files[path].replace(b"prod-eu", b"prod-us")
    assert made(files).objects == made().objects


@pytest.mark.parametrize("kinds", [["Secret"], [*KINDS, "Secret"]])
def test_an_overlay_that_does_not_keep_to_the_policy_is_refused(kinds: list[str]) -> None:
    path = "overlays/emergency/o/overlay.yaml"
    with pytest.raises(Refused, match=r"scope\.kinds names Secret"):
        made({path: yaml.safe_dump(contract("o", kinds, ["shop"])).encode()})


def test_an_overlay_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidFile, match=r"o/overlay\.yaml"):
        made({"overlays/emergency/o/overlay.yaml": b"kind: Overlay\n"})


def test_a_cluster_that_is_none_is_refused() -> None:
    with pytest.raises(NotFound):
        installation(policy(), "prod-xx", lambda _: {}, KustomizeRenderer())


NAMESPACES = ("data", "ops", "shop")
subsets = st.lists(st.sampled_from(NAMESPACES), min_size=1, unique=True)
needs = st.lists(
    st.builds(
        lambda kinds, namespaces, restores, granted: Need(
            Overlay.model_validate(contract("o", kinds, namespaces)),
            restores,
            {
                name: Granted((rule("", "secrets", "get"),), frozenset({("roles", "r")}))
                for name in granted & set(namespaces)
            },
        ),
        st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
        subsets,
        st.booleans(),
        st.sets(st.sampled_from(NAMESPACES)),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(needs, st.lists(st.sampled_from(KINDS), min_size=1, unique=True), st.none() | subsets)
def test_exactly_the_scopes_within_the_policy_may_be_written(
    listed: list[Need], kinds: list[str], namespaces: list[str] | None
) -> None:
    rbac = permissions(policy(kinds=kinds, namespaces=namespaces), listed, cut=False, follow=False)
    objects = [manifest for _, manifest in rbac]
    for verb, whom in (("create", APPLIER), ("delete", APPLIER), ("delete", AGENT)):
        written = {(space, group, plural) for space, group, plural, used, _ in held(objects, whom) if used == verb}
        assert {each for each in written if each[0] not in ("", "breakglass") and each[2] != "events"} == {
            (space, kind.partition(".")[2], plural_of(kind.partition(".")[0]))
            for need in listed
            for space in need.overlay.spec.scope.namespaces
            for kind in need.overlay.spec.scope.kinds
            if kind in kinds and (namespaces is None or space in namespaces)
        }
    of_agent = held(objects, AGENT)
    assert {(each[0], each[1], each[2]) for each in of_agent if each[3] == "patch"} == {
        (space, kind.partition(".")[2], plural_of(kind.partition(".")[0]))
        for need in listed
        for space in need.overlay.spec.scope.namespaces
        for kind in need.overlay.spec.scope.kinds
        if need.restores and not kind.endswith(RBAC) and kind in kinds and (namespaces is None or space in namespaces)
    }
    assert not {each for each in of_agent if each[1] == RBAC and each[3] not in ("get", "list", "delete")}
    assert not {
        each for each in of_agent if each[2] == "secrets" or (each[3] in ("bind", "update") and each[0] != "breakglass")
    }


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("NetworkPolicy", "networkpolicies"),
        ("Ingress", "ingresses"),
        ("Gateway", "gateways"),
        ("Middleware", "middlewares"),
        ("HTTPRoute", "httproutes"),
        ("Endpoints", "endpoints"),
        ("Prefix", "prefixes"),
        ("Batch", "batches"),
        ("CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    ],
)
def test_the_plural_of_a_kind(kind: str, plural: str) -> None:
    assert plural_of(kind) == plural
