"""The baseline renders to a platform that is shut except for what it needs."""

from __future__ import annotations

import kubernetes.client
import pytest
from manifests import Key, by_key, of_kind
from permissions import Permission, permissions
from places import REPOSITORY, Manifest
from reachability import NAME_SERVER, Connection, reachable

NAMESPACES = {"breakglass", "data", "edge", "monitoring", "ops", "shop"}
APPLIER, AGENT = "User:breakglass:applier", "ServiceAccount:breakglass/agent"
WRITING = {"create", "update", "patch"}
NEEDED = {
    ("edge/traefik", "shop/web", 8080),
    ("edge/traefik", "edge/oauth2-proxy", 4180),
    ("shop/web", "shop/api", 8080),
    ("shop/api", "data/postgres", 5432),
    ("shop/api", "data/redis", 6379),
    ("shop/worker", "data/postgres", 5432),
    ("shop/worker", "data/redis", 6379),
    ("monitoring/prometheus", "breakglass/agent", 8080),
    ("monitoring/prometheus", "edge/traefik", 9100),
    ("monitoring/prometheus", "shop/api", 9100),
    ("monitoring/prometheus", "shop/web", 9100),
    ("monitoring/prometheus", "shop/worker", 9100),
}


def pod_templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {
        f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}": manifest["spec"]["template"]["spec"]
        for manifest in of_kind(manifests, "Deployment", "StatefulSet")
    }


def test_every_object_is_one_kubernetes_knows(baseline: list[Manifest]) -> None:
    for manifest in baseline:
        group = manifest["apiVersion"].rpartition("/")[0]
        if group.startswith("gateway."):
            continue
        getattr(kubernetes.client, f"V1{manifest['kind']}").model_validate(manifest)


def test_every_namespaced_object_says_its_namespace(baseline: list[Manifest]) -> None:
    everywhere = {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "GatewayClass",
        "IngressClass",
        "Namespace",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    for key, manifest in by_key(baseline).items():
        assert (manifest["kind"] in everywhere) == (not key.namespace), key
        assert key.namespace in {"", *NAMESPACES}, key


def test_every_namespace_enforces_restricted_pods(baseline: list[Manifest]) -> None:
    labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in of_kind(baseline, "Namespace")}
    assert labels.keys() == NAMESPACES
    assert {each["pod-security.kubernetes.io/enforce"] for each in labels.values()} == {"restricted"}


@pytest.mark.parametrize("namespace", sorted(NAMESPACES))
def test_every_namespace_denies_by_default(baseline: list[Manifest], namespace: str) -> None:
    spec = by_key(baseline)[Key("NetworkPolicy.networking.k8s.io", namespace, "default-deny")]["spec"]
    assert spec["podSelector"] == {}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    ports = {(port["protocol"], port["port"]) for rule in spec.get("egress", []) for port in rule["ports"]}
    assert ports <= {("UDP", 53), ("TCP", 53)}


def test_exactly_the_needed_connections_are_open(baseline: list[Manifest]) -> None:
    found = {each for each in reachable(baseline) if each.destination != str(NAME_SERVER)}
    assert found == {Connection(source, destination, "TCP", port) for source, destination, port in NEEDED}


def test_every_rule_names_its_peers_but_the_front_door(baseline: list[Manifest]) -> None:
    unnamed = set()
    for policy in of_kind(baseline, "NetworkPolicy"):
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                named = [each for each in rule.get(peers, []) if "ipBlock" in each or each.get("podSelector")]
                if not named or named != rule[peers] or not rule.get("ports"):
                    unnamed.add((policy["metadata"]["namespace"], policy["metadata"]["name"], direction))
    assert unnamed == {("edge", "traefik", "ingress")}


def test_names_resolve_but_for_the_data_and_the_agent(baseline: list[Manifest]) -> None:
    resolving = {each.source for each in reachable(baseline) if each.destination == str(NAME_SERVER)}
    assert resolving == {name for name in pod_templates(baseline) if not name.startswith(("breakglass/", "data/"))}


def test_the_back_office_is_a_service_that_nobody_reaches(baseline: list[Manifest]) -> None:
    admin = by_key(baseline)[Key("Service", "shop", "admin")]["spec"]
    assert admin["selector"] == {"app.kubernetes.io/name": "api"}
    assert [port["port"] for port in admin["ports"]] == [9090]
    assert not [each for each in reachable(baseline) if each[1::2] == ("shop/api", 9090)]
    routes = list(of_kind(baseline, "Ingress", "HTTPRoute"))
    assert len(routes) == 3
    assert "'name': 'admin'" not in str(routes)


def test_selectors_ports_and_service_accounts_refer_to_what_is_there(baseline: list[Manifest]) -> None:
    objects = by_key(baseline)
    templates = {
        each["metadata"]["namespace"]: [] for each in of_kind(baseline, "Deployment", "StatefulSet", "Service")
    }
    for workload in of_kind(baseline, "Deployment", "StatefulSet"):
        template = workload["spec"]["template"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        templates[workload["metadata"]["namespace"]].append(template)
        account = Key("ServiceAccount", workload["metadata"]["namespace"], template["spec"]["serviceAccountName"])
        assert account in objects
    for service in of_kind(baseline, "Service"):
        selector = service["spec"]["selector"].items()
        selected = [
            template
            for template in templates[service["metadata"]["namespace"]]
            if selector <= template["metadata"]["labels"].items()
        ]
        assert len(selected) == 1, service["metadata"]
        named = {port["name"] for port in selected[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_pods_run_restricted_and_pinned(baseline: list[Manifest]) -> None:
    for name, pod in pod_templates(baseline).items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod.get("automountServiceAccountToken") is False or name == "edge/traefik", name
        for container in pod["containers"]:
            image, _, tag = container["image"].rpartition(":")
            assert "/" in image, name
            assert tag[-1].isdigit(), name
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name
            assert container["readinessProbe"], name


def test_no_role_uses_a_wildcard(baseline: list[Manifest]) -> None:
    for role in of_kind(baseline, "Role", "ClusterRole"):
        assert "*" not in str(role["rules"]), role["metadata"]


def test_the_emergency_role_is_bound_to_nobody(baseline: list[Manifest]) -> None:
    assert Key("ClusterRole.rbac.authorization.k8s.io", "", "emergency-exec") in by_key(baseline)
    bound = {each["roleRef"]["name"] for each in of_kind(baseline, "RoleBinding", "ClusterRoleBinding")}
    assert "emergency-exec" not in bound
    assert not [each for each in permissions(baseline) if each.subject == "Group:acme:incident"]


def test_only_the_front_door_reads_secrets(baseline: list[Manifest]) -> None:
    readers = {(each.subject, each.namespace) for each in permissions(baseline) if each.resource == "secrets"}
    assert readers == {("ServiceAccount:edge/traefik", "edge"), ("ServiceAccount:edge/traefik", "shop")}


def test_the_applier_grants_one_role_and_its_tokens_and_no_more(baseline: list[Manifest]) -> None:
    of_applier = {each for each in permissions(baseline) if each.subject == APPLIER}
    rbac = "rbac.authorization.k8s.io"
    unlike_writing = {each for each in of_applier if each.verb in {"bind", "escalate", "impersonate"}}
    assert unlike_writing == {Permission(APPLIER, "bind", rbac, "clusterroles", "shop", "emergency-exec")}
    for each in of_applier:
        if each.verb in {"create", "patch", "update", "delete"} and each.resource != "subjectaccessreviews":
            assert each.namespace in {"breakglass", "data", "edge", "ops", "shop"}, each
            assert each.resource not in {"pods", "pods/exec", "secrets", "deployments", "statefulsets"}, each


def test_the_agent_closes_and_grants_nothing(baseline: list[Manifest]) -> None:
    of_agent = {(each.verb, each.resource, each.namespace) for each in permissions(baseline) if each.subject == AGENT}
    for namespace in ("data", "edge", "ops", "shop"):
        assert {(verb, "networkpolicies", namespace) for verb in ("get", "list", "delete")} <= of_agent
    # Where an overlay takes a policy away, it is brought back.
    assert {each[2] for each in of_agent if each[:2] == ("patch", "networkpolicies")} == {"ops"}
    written = {resource for verb, resource, namespace in of_agent if verb in WRITING and namespace != "breakglass"}
    assert written == {"networkpolicies", "events"}
    assert not {verb for verb, _, _ in of_agent} & {"bind", "escalate", "impersonate"}
    assert not [resource for _, resource, _ in of_agent if resource.startswith(("pods", "secrets"))]


def test_no_file_of_the_baseline_is_left_out_of_it() -> None:
    for kustomization in REPOSITORY.glob("base/**/kustomization.yaml"):
        text = kustomization.read_text()
        for path in kustomization.parent.rglob("*.yaml"):
            listed = path.relative_to(kustomization.parent)
            if path != kustomization and (kustomization.parent / listed.parts[0]).is_file():
                assert f"- {listed}" in text, path
