"""RBAC: the traps as tables, its laws as properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_objects import Manifest, bind, rbac, rule

from breakglass.analysis.access.access import Access, Permission, UnseenRole, newly_granted
from breakglass.model.errors import Refused

# No deadline: the machine may be busy.
UNHURRIED = settings(deadline=None, max_examples=100)

PERSON = "User:kim"


def role(name: str, *rules: Manifest, kind: str = "ClusterRole", **metadata: object) -> Manifest:
    return rbac(kind, name, rules=list(rules), metadata=metadata)


def may(subject: str, verb: str, resource: str, namespace: str, *manifests: Manifest, group: str = "") -> bool:
    return Access(manifests).may(subject, verb, resource, group, namespace).allowed


@pytest.mark.parametrize(
    ("granted", "verb", "resource", "group", "expected"),
    [
        (rule("get", "pods"), "get", "pods", "", True),
        (rule("get", "pods"), "list", "pods", "", False),
        (rule("get", "pods"), "get", "secrets", "", False),
        (rule("get", "pods"), "get", "pods", "apps", False),
        (rule("*", "pods"), "delete", "pods", "", True),
        (rule("get", "*"), "get", "pods", "", True),
        (rule("get", "*"), "get", "pods/exec", "", True),
        (rule("get", "pods", "*"), "get", "pods", "apps", True),
        (rule("get", "pods"), "get", "pods/exec", "", False),
        (rule("get", "pods/exec"), "get", "pods", "", False),
        (rule("get", "pods/*"), "get", "pods/exec", "", False),
        (rule("update", "*/scale", "apps"), "update", "deployments/scale", "apps", True),
        (rule("update", "*/scale", "apps"), "update", "deployments", "apps", False),
        (rule("get", "secrets", names=("one",)), "get", "secrets", "", True),
        (rule("create", "secrets", names=("one",)), "create", "secrets", "", False),
        (rule("*", "secrets", names=("one",)), "deletecollection", "secrets", "", False),
        (rule("create", "serviceaccounts/token", names=("one",)), "create", "serviceaccounts/token", "", True),
    ],
)
def test_what_a_rule_grants(granted: Manifest, verb: str, resource: str, group: str, *, expected: bool) -> None:
    objects = [role("r", granted), bind("shop/b", "ClusterRole/r", PERSON)]
    assert may(PERSON, verb, resource, "shop", *objects, group=group) == expected


@pytest.mark.parametrize(
    ("bound", "asked", "expected"),
    [
        ("User:kim", "User:kim", True),
        ("User:kim", "Group:kim", False),
        ("Group:system:authenticated", "User:kim", True),
        ("Group:system:authenticated", "Group:acme:incident", True),
        ("Group:system:authenticated", "ServiceAccount:shop/api", True),
        ("Group:system:authenticated", "User:system:anonymous", False),
        ("Group:system:unauthenticated", "User:system:anonymous", True),
        ("Group:system:serviceaccounts", "ServiceAccount:shop/api", True),
        ("Group:system:serviceaccounts", "Group:system:serviceaccounts:shop", True),
        ("Group:system:serviceaccounts", "User:kim", False),
        ("Group:system:serviceaccounts:shop", "ServiceAccount:shop/api", True),
        ("Group:system:serviceaccounts:data", "ServiceAccount:shop/api", False),
        ("User:system:serviceaccount:shop:api", "ServiceAccount:shop/api", True),
        ("ServiceAccount:shop/api", "User:system:serviceaccount:shop:api", True),
        ("ServiceAccount:api", "ServiceAccount:shop/api", True),
        ("ServiceAccount:data/api", "ServiceAccount:shop/api", False),
        ("User:nobody", "Group:system:masters", True),
    ],
)
def test_whom_a_binding_means(bound: str, asked: str, *, expected: bool) -> None:
    objects = [role("r", rule("get", "pods")), bind("shop/b", "ClusterRole/r", bound)]
    assert may(asked, "get", "pods", "shop", *objects) == expected


def test_a_role_binding_narrows_a_cluster_role_to_its_namespace() -> None:
    objects = [role("r", rule("get", "pods")), bind("shop/b", "ClusterRole/r", PERSON)]
    assert may(PERSON, "get", "pods", "shop", *objects)
    assert not may(PERSON, "get", "pods", "data", *objects)
    assert not may(PERSON, "get", "pods", "", *objects)


def test_a_cluster_role_binding_is_every_namespace() -> None:
    objects = [role("r", rule("get", "pods")), bind("b", "ClusterRole/r", PERSON)]
    assert all(may(PERSON, "get", "pods", namespace, *objects) for namespace in ("shop", "data", ""))


def test_a_role_is_its_namespace_s() -> None:
    objects = [role("shop/r", rule("get", "pods"), kind="Role"), bind("data/b", "Role/r", PERSON)]
    assert not may(PERSON, "get", "pods", "data", *objects)
    assert not may(PERSON, "get", "pods", "shop", *objects)


def test_aggregation_is_transitive_and_replaces_own_rules() -> None:
    def aggregating(name: str, label: str, **labels: str) -> Manifest:
        found = role(name, rule("delete", "nodes"), labels=labels)
        return {**found, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "yes"}}]}}

    objects = [
        aggregating("top", "into-top", **{"into-middle": "yes"}),
        aggregating("middle", "into-middle", **{"into-top": "yes"}),
        role("leaf", rule("get", "pods"), labels={"into-middle": "yes"}),
        bind("b", "ClusterRole/top", PERSON),
    ]
    assert may(PERSON, "get", "pods", "shop", *objects)
    assert not may(PERSON, "delete", "nodes", "", *objects)


def test_because_names_binding_and_role() -> None:
    decision = Access([role("r", rule("get", "pods")), bind("shop/b", "ClusterRole/r", PERSON)]).may(
        PERSON, "get", "pods", "", "shop"
    )
    assert decision.because == (
        "RoleBinding.rbac.authorization.k8s.io shop/b gives User:kim the ClusterRole.rbac.authorization.k8s.io r",
    )


def granted(before: list[Manifest], after: list[Manifest]) -> list[str]:
    return [str(permission) for permission in newly_granted(Access(before), Access(after))]


def test_newly_granted_is_what_is_not_covered() -> None:
    before = [role("r", rule("get list", "pods")), bind("shop/b", "ClusterRole/r", PERSON)]
    more = [
        role("shop/more", rule("get create", "pods pods/exec"), kind="Role"),
        bind("shop/more", "Role/more", PERSON),
    ]
    assert granted(before, [*before, *more]) == [
        "User:kim may create pods in shop",
        "User:kim may create pods/exec in shop",
        "User:kim may get pods/exec in shop",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (rule("*", "pods"), rule("get", "pods"), []),
        (rule("get", "pods"), rule("*", "pods"), ["User:kim may * pods in shop"]),
        (rule("get", "*"), rule("get", "pods/log"), []),
        (rule("get", "*/log"), rule("get", "pods/log"), []),
        (rule("get", "pods/log"), rule("get", "*/log"), ["User:kim may get */log in shop"]),
        (rule("get", "pods"), rule("get", "pods", names=("one",)), []),
        (rule("get", "pods", names=("one",)), rule("get", "pods"), ["User:kim may get pods in shop"]),
        (
            rule("get", "pods", names=("one",)),
            rule("get", "pods", names=("two",)),
            ["User:kim may get pods two in shop"],
        ),
        (rule("get", "pods"), rule("get", "pods", "metrics.k8s.io"), ["User:kim may get pods.metrics.k8s.io in shop"]),
        (rule("get", "pods"), rule("create", "pods", names=("one",)), []),
    ],
)
def test_what_one_rule_covers_of_another(old: Manifest, new: Manifest, expected: list[str]) -> None:
    binding = bind("shop/b", "ClusterRole/r", PERSON)
    assert granted([role("r", old), binding], [role("r", new), binding]) == expected


def test_the_whole_cluster_covers_a_namespace_and_a_group_its_members() -> None:
    wide = [role("r", rule("get", "pods")), bind("b", "ClusterRole/r", "Group:system:serviceaccounts")]
    assert granted(wide, [*wide, bind("shop/b", "ClusterRole/r", "ServiceAccount:shop/api")]) == []
    assert granted(wide, [*wide, bind("b2", "ClusterRole/r", PERSON)]) == ["User:kim may get pods in the whole cluster"]


def test_urls() -> None:
    def reader(*urls: str) -> Manifest:
        return role("r", {"verbs": ["get"], "nonResourceURLs": list(urls)})

    binding = bind("b", "ClusterRole/r", PERSON)
    assert granted([], [reader("/metrics"), binding]) == ["User:kim may get /metrics in the whole cluster"]
    assert granted([reader("/health/*"), binding], [reader("/health/live"), binding]) == []
    assert granted([reader("/health/live"), binding], [reader("/health/*"), binding]) != []
    assert granted([], [reader("/metrics"), bind("shop/b", "ClusterRole/r", PERSON)]) == []


def test_a_role_that_no_manifest_holds() -> None:
    access = Access([bind("shop/b", "ClusterRole/edit", PERSON), bind("shop/c", "Role/gone", PERSON)])
    assert access.unseen() == {UnseenRole(PERSON, "edit", "shop")}
    assert not access.may(PERSON, "get", "pods", "", "shop").allowed
    assert access.permissions() == ()


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (role("r", {"verbs": ["get"], "resources": ["pods"]}), "a rule needs apiGroups with resources"),
        (role("r", {"resources": ["pods"], "apiGroups": [""]}), "a rule needs verbs"),
        (role("r", {"verbs": "get", "resources": ["pods"], "apiGroups": [""]}), "verbs is not a list"),
        (role("r", {"verbs": ["get"], "resource": ["pods"]}), "unknown field resource"),
        (bind("b", "Role/r", PERSON), "roleRef names the Role r"),
        (bind("shop/b", "Node/r", PERSON), "roleRef names the Node r"),
        (bind("shop/b", "ClusterRole/r", "Robot:x"), "a subject of kind Robot"),
    ],
)
def test_what_the_api_server_would_refuse(manifest: Manifest, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        Access([manifest])


def test_a_rule_of_a_trillion_permissions_is_refused() -> None:
    words = " ".join(f"x{number}" for number in range(10_000))
    huge = role("r", rule(words, words, names=tuple(words.split())))
    with pytest.raises(Refused, match="more than 1,000,000 permissions"):
        newly_granted(Access([]), Access([huge, bind("b", "ClusterRole/r", PERSON)]))


def test_a_subject_that_is_none() -> None:
    with pytest.raises(Refused, match="kim is no subject"):
        Access([]).may("kim", "get", "pods", "", "shop")


RULES = st.builds(
    rule,
    st.sampled_from(["get", "list", "get list", "*", "create"]),
    st.sampled_from(["pods", "pods/exec", "*", "*/exec", "secrets"]),
    st.sampled_from(["", "apps", "*"]),
    st.sampled_from([(), ("one",), ("one", "two")]),
)
BINDINGS = st.sampled_from([("shop/b", "shop"), ("data/b", "data"), ("b", "")])
SUBJECTS = st.sampled_from([PERSON, "Group:acme:incident", "ServiceAccount:shop/api", "Group:system:serviceaccounts"])


@st.composite
def grants(draw: st.DrawFn) -> list[Manifest]:
    found = []
    for index in range(draw(st.integers(0, 3))):
        name, _ = draw(BINDINGS)
        found += [role(f"r{index}", draw(RULES)), bind(f"{name}{index}", f"ClusterRole/r{index}", draw(SUBJECTS))]
    return found


@UNHURRIED
@given(grants(), grants())
def test_nothing_is_new_where_nothing_changed_or_was_taken(one: list[Manifest], other: list[Manifest]) -> None:
    assert granted(one, one) == []
    assert granted([], one) == [str(permission) for permission in Access(one).permissions()]
    assert set(granted(one, other)) <= set(granted([], other))


@UNHURRIED
@given(grants(), st.data())
def test_what_may_be_done_is_a_permission(objects: list[Manifest], data: st.DataObject) -> None:
    access = Access(objects)
    for permission in access.permissions():
        concrete = Permission(
            permission.subject,
            permission.verb.replace("*", "get"),
            permission.resource.replace("*/", "pods/").replace("*", "pods"),
            permission.group.replace("*", "apps"),
            permission.namespace or data.draw(st.sampled_from(["shop", "", "data"])),
            permission.name,
        )
        assert access.may(
            concrete.subject, concrete.verb, concrete.resource, concrete.group, concrete.namespace
        ).allowed
