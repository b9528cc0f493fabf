"""Reading RBAC objects: what the API server refuses is refused at its line, and aggregation is followed to its end."""

from __future__ import annotations

import time

import pytest
import yaml
from network_objects import Manifest, bind, rbac, rule

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.role import MOST_AGGREGATIONS, PolicyRule, cluster_role, default_roles, read_roles
from breakglass.model.errors import Refused
from breakglass.model.source import Source, SourcedManifest

PERSON = "User:kim"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def aggregating(name: str, label: str, **labels: str) -> Manifest:
    found = rbac("ClusterRole", name, rules=[rule("delete", "nodes")], metadata={"labels": labels})
    return found | {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "yes"}}]}}


BINDING = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: b
roleRef:
  kind: ClusterRole
  name: r
subjects:
- kind: ServiceAccount
  namespace: shop
  name: api
"""
ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: r
  namespace: shop
rules:
- verbs: [get]
  apiGroups: ['']
  resources: [pods]
"""


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "complaint"),
    [
        (BINDING, "name: b\n", "name: a/b\n", 4, "'a/b' is no name"),
        (BINDING, "name: b\n", "name: ..\n", 4, "'..' is no name"),
        (BINDING, "name: b\n", "name: 100%\n", 4, "'100%' is no name"),
        (BINDING, "/v1\n", "/v1beta1\n", 1, "is no version that an API server still takes"),
        (BINDING, "  name: r\n", "  name: r/s\n", 5, "roleRef names the ClusterRole r/s"),
        (BINDING, "  kind: ClusterRole\n", "  kind: Role\n", 5, "roleRef names the Role r"),
        (BINDING, "  kind: ClusterRole\n", "  kind: ClusterRole\n  apiGroup: v1\n", 7, "is of the API group v1"),
        (BINDING, "  kind: ClusterRole\n", "  kind: ClusterRole\n  group: x\n", 7, "unknown field group"),
        (BINDING, "  namespace: shop\n", "", 10, "the ServiceAccount api is in no namespace"),
        (BINDING, "  name: api\n", "  name: system:api\n", 11, "'system:api' is no name of a ServiceAccount"),
        (BINDING, "  name: api\n", "  name: api\n  apiGroup: rbac.authorization.k8s.io\n", 12, "is not of the"),
        (BINDING, "kind: ServiceAccount\n", "kind: User\n  apiGroup: ''\n", 0, ""),
        (BINDING, "kind: ServiceAccount\n", "kind: User\n  apiGroup: v1\n", 10, "a User is not of the API group v1"),
        (BINDING, "kind: ServiceAccount\n", "kind: Robot\n", 9, "a subject of kind Robot"),
        (BINDING, "subjects:", "subject:", 8, "unknown field subject"),
        (ROLE, "namespace: shop", "namespace: Shop", 5, "'Shop' is no namespace's name"),
        (ROLE, "verbs: [get]", "verbs: []", 7, "a rule needs verbs"),
        (ROLE, "apiGroups: ['']", "apiGroups: []", 7, "a rule needs apiGroups with resources"),
        (ROLE, "resources: [pods]", "nonResourceURLs: [/a]", 9, "about resources or about nonResourceURLs"),
        (ROLE, "apiGroups: ['']\n  resources: [pods]", "nonResourceURLs: [/a]", 8, "belong to no namespace"),
        (ROLE, "rules:", "aggregationRule: {}\nrules:", 6, "unknown field aggregationRule"),
        (ROLE, "resources: [pods]", "resources: [pods]\n  resourceName: [x]", 10, "unknown field resourceName"),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses_is_refused_at_its_line(
    text: str, old: str, new: str, line: int, complaint: str
) -> None:
    assert old in text
    written = text.replace(old, new)
    manifest = SourcedManifest(yaml.safe_load(written), Source("rbac.yaml", 1, written))
    if not complaint:
        Access([manifest])
        return
    with pytest.raises(Refused, match=complaint) as refusal:
        Access([manifest])
    assert str(refusal.value.where).startswith(f"rbac.yaml:{line}: ")


def test_an_aggregation_rule_selects_something() -> None:
    with pytest.raises(Refused, match="needs a clusterRoleSelector"):
        read_roles([rbac("ClusterRole", "r", aggregationRule={"clusterRoleSelectors": []})])


def test_stars_at_the_end_of_a_url_are_one() -> None:
    found = read_roles([rbac("ClusterRole", "r", rules=[{"verbs": ["get"], "nonResourceURLs": ["/a**", "/b*c"]}])])
    assert found[cluster_role("r")] == (PolicyRule(("get",), urls=("/a*", "/b*c")),)


def test_roles_that_all_aggregate_each_other_are_followed_in_time() -> None:
    """300! ways lead through them."""
    circle = [aggregating(f"r{number}", "all", all="yes") for number in range(300)]
    leaf = rbac("ClusterRole", "leaf", rules=[rule("get", "pods")], metadata={"labels": {"all": "yes"}})
    begun = time.monotonic()
    found = read_roles([*circle, leaf])
    assert time.monotonic() - begun < 5
    assert {rules for key, rules in found.items()} == {(PolicyRule(("get",), ("",), ("pods",)),)}


def test_too_many_aggregations_are_refused() -> None:
    count = int(MOST_AGGREGATIONS**0.5) + 1
    with pytest.raises(Refused, match="too many to follow"):
        read_roles([aggregating(f"r{number}", "none") for number in range(count)])


def test_cluster_admin_is_everything_wherever_it_is_bound() -> None:
    access = Access([bind("shop/b", "ClusterRole/cluster-admin", PERSON)])
    assert access.may(PERSON, "create", "pods/exec", "", "shop").allowed
    assert not access.may(PERSON, "create", "pods/exec", "", "data").allowed
    assert access.unseen() == frozenset()


def test_a_cluster_admin_of_the_manifests_is_what_they_say() -> None:
    own = rbac("ClusterRole", "cluster-admin", rules=[rule("get", "pods")])
    access = Access([own, bind("b", "ClusterRole/cluster-admin", PERSON)])
    assert access.may(PERSON, "get", "pods", "", "shop").allowed
    assert not access.may(PERSON, "delete", "pods", "", "shop").allowed


@pytest.mark.parametrize(
    ("into", "bound", "expected"),
    [
        ("view", "view", True),
        ("view", "edit", True),
        ("view", "admin", True),
        ("edit", "view", False),
        ("edit", "admin", True),
        ("admin", "edit", False),
    ],
)
def test_what_the_manifests_add_to_a_default_role_is_known_and_the_rest_is_not(
    into: str, bound: str, *, expected: bool
) -> None:
    labels = {f"{AGGREGATE}{into}": "true"}
    added = rbac("ClusterRole", "gadgets", rules=[rule("get", "gadgets", "example.com")], metadata={"labels": labels})
    access = Access([added, bind("shop/b", f"ClusterRole/{bound}", PERSON)])
    assert access.may(PERSON, "get", "gadgets", "example.com", "shop").allowed == expected
    assert {role.role for role in access.unseen()} == {bound}


def test_default_roles_say_nothing_of_roles_that_the_manifests_hold() -> None:
    own = [rbac("ClusterRole", name, rules=[rule("get", "pods")]) for name in ("cluster-admin", "view")]
    assert cluster_role("view") not in default_roles(own)
    assert cluster_role("cluster-admin") not in default_roles(own)


@pytest.mark.parametrize(
    "user", ["system:serviceaccount:shop", "system:serviceaccount:shop:", "system:serviceaccount::api"]
)
def test_a_user_that_is_no_service_account_stays_a_user(user: str) -> None:
    granted = rbac("ClusterRole", "r", rules=[rule("get", "pods")])
    access = Access([granted, bind("b", "ClusterRole/r", f"User:{user}")])
    assert access.may(f"User:{user}", "get", "pods", "", "shop").allowed
    assert [item.subject for item in access.granted()] == [f"User:{user}"]
