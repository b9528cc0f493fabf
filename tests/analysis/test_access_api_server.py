"""RBAC against the real API server: what it refuses is refused, and what it lets through is what we say."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from network_objects import Manifest, bind, namespace, rbac, rule

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.role import GROUP, PolicyRule
from breakglass.analysis.access.rules import uncovered
from breakglass.model.errors import Refused
from breakglass_lab.controlplane import Client, ControlPlane, StatusError, install

pytestmark = pytest.mark.lab

THREADS = 6
COLLECTIONS = {
    "Role": f"/apis/{GROUP}/v1/namespaces/shop/roles",
    "ClusterRole": f"/apis/{GROUP}/v1/clusterroles",
    "RoleBinding": f"/apis/{GROUP}/v1/namespaces/shop/rolebindings",
    "ClusterRoleBinding": f"/apis/{GROUP}/v1/clusterrolebindings",
}


def urls(verbs: str, *paths: str) -> Manifest:
    return {"verbs": verbs.split(), "nonResourceURLs": list(paths)}


def aggregating(name: str, *, own: Manifest, **labels: str) -> Manifest:
    found = rbac("ClusterRole", name, rules=[own], metadata={"labels": labels})
    return found | {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"into-{name}": "yes"}}]}}


NASTY = [
    rbac("ClusterRole", "plain", rules=[rule("get list", "pods secrets"), rule("get", "deployments", "apps")]),
    rbac("ClusterRole", "sub", rules=[rule("create get", "pods/exec"), rule("update", "*/scale", "apps")]),
    rbac("ClusterRole", "no-wildcard", rules=[rule("get", "pods/*"), rule("get", "*/*", "apps")]),
    rbac("ClusterRole", "every-verb", rules=[rule("*", "configmaps"), rule("create", "secrets", names=("one",))]),
    rbac("ClusterRole", "named", rules=[rule("get list delete", "secrets pods/log", names=("one", "*", ""))]),
    rbac("ClusterRole", "every-group", rules=[rule("list", "deployments", "*"), rule("watch", "*", "batch")]),
    rbac("ClusterRole", "paths", rules=[urls("get", "/a/*", "/b", "/c**", "*/d"), urls("*", "/e*")]),
    rbac("Role", "shop/own", rules=[rule("patch", "pods services"), rule("*", "*", "batch")]),
    rbac("Role", "data/own", rules=[rule("delete", "pods")]),
    aggregating("top", own=rule("delete", "nodes")),
    aggregating("middle", own=rule("delete", "services"), **{"into-top": "yes"}),
    rbac("ClusterRole", "leaf", rules=[rule("get", "nodes")], metadata={"labels": {"into-middle": "yes"}}),
    rbac(
        "ClusterRole",
        "wider-view",
        rules=[rule("get", "gadgets", "example.com")],
        metadata={"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
    ),
    bind("shop/plain", "ClusterRole/plain", "User:kim", "ServiceAccount:api"),
    bind("shop/own", "Role/own", "Group:acme:incident"),
    bind("data/own", "Role/own", "ServiceAccount:shop/api"),
    bind("data/missing", "Role/missing", "User:kim"),
    bind("shop/paths", "ClusterRole/paths", "User:kim"),
    bind("shop/view", "ClusterRole/view", "User:lee"),
    bind("data/admin", "ClusterRole/cluster-admin", "User:lee"),
    bind("data/edit", "ClusterRole/admin", "Group:system:serviceaccounts:shop"),
    bind("sub", "ClusterRole/sub", "Group:system:serviceaccounts"),
    bind("no-wildcard", "ClusterRole/no-wildcard", "User:kim"),
    bind("every-verb", "ClusterRole/every-verb", "Group:system:authenticated"),
    bind("named", "ClusterRole/named", "User:system:serviceaccount:shop:api", "User:system:anonymous"),
    bind("every-group", "ClusterRole/every-group", "Group:system:unauthenticated"),
    bind("paths", "ClusterRole/paths", "Group:acme:incident", "Group:system:serviceaccounts:data"),
    bind("top", "ClusterRole/top", "User:kim"),
    bind("missing", "ClusterRole/missing", "User:kim"),
]

EVERYBODY = "system:authenticated"
SUBJECTS = {
    "User:kim": ("kim", [EVERYBODY]),
    "User:lee": ("lee", [EVERYBODY]),
    "Group:acme:incident": ("", ["acme:incident", EVERYBODY]),
    "Group:system:authenticated": ("", [EVERYBODY]),
    "Group:system:unauthenticated": ("", ["system:unauthenticated"]),
    "User:system:anonymous": ("system:anonymous", ["system:unauthenticated"]),
    "ServiceAccount:shop/api": (
        "system:serviceaccount:shop:api",
        ["system:serviceaccounts", "system:serviceaccounts:shop", EVERYBODY],
    ),
    "ServiceAccount:data/api": (
        "system:serviceaccount:data:api",
        ["system:serviceaccounts", "system:serviceaccounts:data", EVERYBODY],
    ),
    "Group:system:serviceaccounts:shop": ("", ["system:serviceaccounts:shop", "system:serviceaccounts", EVERYBODY]),
}
"""As in a contract → the user and the groups that the API server would see."""
QUESTIONS = [
    *product(
        ("get", "list", "create", "delete", "deletecollection", "update", "patch"),
        (
            *(("", each) for each in ("pods", "pods/exec", "pods/log", "secrets", "configmaps", "services", "nodes")),
            *(("apps", each) for each in ("deployments", "deployments/scale", "pods", "replicasets/status")),
            *(("batch", each) for each in ("jobs", "jobs/status")),
            *(("example.com", each) for each in ("gadgets", "deployments")),
            (GROUP, "rolebindings"),
        ),
        ("", "one", "two", "*"),
        ("", "shop", "data", "elsewhere"),
    )
]
PATHS = ["/", "/a", "/a/", "/a/b", "/b", "/b/c", "/c", "/cd", "/x/d", "*/d", "/e", "/eee", "/healthz", "/version/"]


@dataclass(frozen=True)
class Question:
    subject: str
    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    def review(self) -> Manifest:
        user, groups = SUBJECTS[self.subject]
        resource, _, subresource = self.resource.partition("/")
        asked: Manifest = {"nonResourceAttributes": {"verb": self.verb, "path": self.path}}
        if not self.path:
            asked = {
                "resourceAttributes": {
                    "verb": self.verb,
                    "group": self.group,
                    "resource": resource,
                    "subresource": subresource,
                    "name": self.name,
                    "namespace": self.namespace,
                }
            }
        spec = {"user": user, "groups": groups, **asked}
        return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}

    def rule(self) -> PolicyRule:
        """What is asked, as a rule of one piece."""
        if self.path:
            return PolicyRule((self.verb,), urls=(self.path,))
        return PolicyRule((self.verb,), (self.group,), (self.resource,), (self.name,))


def questions() -> list[Question]:
    """A few thousand of them, the same every time."""
    asked = [
        Question(subject, verb, group, resource, name, place)
        for subject in SUBJECTS
        for verb, (group, resource), name, place in QUESTIONS
    ]
    paths = [Question(subject, verb, path=path) for subject in SUBJECTS for verb in ("get", "put") for path in PATHS]
    return [*random.Random(0).sample(asked, 4000), *paths]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with ControlPlane.start(tmp_path_factory.mktemp("access") / "control plane", name="access") as control_plane:
        install(control_plane, [namespace("shop"), namespace("data")])
        with control_plane.client() as client:
            yield client


@pytest.fixture(scope="module")
def live(client: Client) -> list[Manifest]:
    """Every RBAC object of a cluster that holds the nasty ones, as the API server tells them."""
    for manifest in NASTY:
        path = COLLECTIONS[manifest["kind"]].replace("/shop/", f"/{manifest['metadata'].get('namespace')}/")
        client.call("POST", path, manifest, query={"fieldValidation": "Strict"})
    return [
        {"apiVersion": f"{GROUP}/v1", "kind": kind, **item}
        for kind, collection in COLLECTIONS.items()
        for item in client.call("GET", collection.replace("/namespaces/shop", ""))["items"]
    ]


def test_the_api_server_says_the_same(client: Client, live: list[Manifest]) -> None:
    def answer(asked: Question) -> bool:
        status = client.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked.review())["status"]
        return bool(status["allowed"])

    # The controller manager writes the rules of aggregating roles, and the authorizer hears of them.
    deadline = time.monotonic() + 60
    for late in (
        Question("User:kim", "get", "", "nodes"),
        Question("User:lee", "get", "example.com", "gadgets", "", "shop"),
    ):
        while not answer(late):
            assert time.monotonic() < deadline, f"not aggregated within a minute: {late}"
    access = Access(live)
    asked = questions()
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(answer, asked))
    ours = [
        not uncovered((each.rule(),), access.rules_of(access.applying(each.subject, each.namespace))) for each in asked
    ]
    different = [each for each, said, found in zip(asked, answers, ours, strict=True) if said != found]
    assert not different
    assert min(answers.count(True), answers.count(False)) > 400


def test_what_somebody_may_do_to_one_object_they_may(live: list[Manifest]) -> None:
    """`may` is the exact answer for some name, less requests that carry none: to create one named object is nothing."""
    access = Access(live)
    for subject, place in product(SUBJECTS, ("", "shop", "data")):
        rules = access.rules_of(access.applying(subject, place))
        for verb, (group, resource) in {(verb, what) for verb, what, _, _ in QUESTIONS}:
            nameless = verb in ("create", "deletecollection") and "/" not in resource
            names = ("one", "*", "", "other") if not nameless else ("other",)
            exact = any(not uncovered((PolicyRule((verb,), (group,), (resource,), (name,)),), rules) for name in names)
            assert access.may(subject, verb, resource, group, place).allowed == exact, (subject, verb, resource, place)


VALID = [
    rbac("Role", "r", rules=[rule("get", "pods", names=("one",))], metadata={"labels": {"app": "x"}}),
    rbac("ClusterRole", "r", rules=[rule("get", "pods"), urls("get", "/a")]),
    aggregating("r", own=rule("get", "pods")),
    bind("shop/b", "ClusterRole/r", "User:kim"),
    bind("shop/b", "Role/r", "ServiceAccount:data/api"),
    bind("b", "ClusterRole/r", "Group:acme", "ServiceAccount:data/api"),
]
ABSENT = object()
VALUES: tuple[Any, ...] = (ABSENT, None, "", "x", "X", "a b", "a/b", "a%b", ".", "..", "a:b", "*", "a" * 254, 0, True)
VALUES += (
    [],
    {},
    [{}],
    ["x"],
    [""],
    [None],
    {"x": "y"},
    "Role",
    "ClusterRole",
    "User",
    "Group",
    "ServiceAccount",
    GROUP,
)

RULES = (
    urls("get", "/a"),
    urls("get"),
    {**urls("get", "/a"), **rule("get", "pods")},
    {**urls("get", "/a"), "apiGroups": [""]},
    {**urls("get", "/a"), "resourceNames": ["x"]},
    {"verbs": ["get"], "resourceNames": ["x"]},
    {"verbs": ["get"], "apiGroups": [""]},
    {"verbs": ["get"], "resources": ["pods"]},
)


def mutations(valid: Manifest) -> Iterator[tuple[str, Manifest]]:
    """The object with one value replaced, left out, or one unknown field more."""
    for path in paths(valid):
        if path[0] in ("apiVersion", "kind") or path in (("metadata",), ("metadata", "namespace")):
            continue
        for value in (*VALUES, *(RULES if path[:1] == ("rules",) and len(path) == 2 else ())):
            changed = copy.deepcopy(valid)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]  # type: ignore[index]
            if value is ABSENT:
                del parent[path[-1]]  # type: ignore[arg-type]
            else:
                parent[path[-1]] = value  # type: ignore[index]
            yield f"{valid['kind']} {path} = {'ABSENT' if value is ABSENT else value!r}", changed
    for path in [(), *(path for path in paths(valid) if path[0] not in ("metadata", "apiVersion", "kind"))]:
        changed = copy.deepcopy(valid)
        parent = changed
        for step in path:
            parent = parent[step]  # type: ignore[index]
        if isinstance(parent, dict):
            parent["extra"] = "x"
            yield f"{valid['kind']} {path} with a field more", changed


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in pairs:
        yield (*path, step)
        yield from paths(inner, (*path, step))


STRICTER = (" = None", "[None]")
"""An empty item of a list is unfinished; the API server reads a rule, a subject or a text without content."""


@pytest.mark.parametrize("valid", VALID, ids=lambda valid: valid["kind"])
def test_refused_by_both_or_neither(client: Client, valid: Manifest) -> None:
    def difference(mutation: tuple[str, Manifest]) -> str:
        what, manifest = mutation
        refused = complaint = ""
        try:
            Access([manifest])
        except Refused as error:
            complaint = str(error)
        try:
            query = {"dryRun": "All", "fieldValidation": "Strict"}
            client.call("POST", COLLECTIONS[valid["kind"]], manifest, query=query)
        except StatusError as error:
            refused = str(error)
        excused = complaint and not refused and what.endswith(STRICTER)
        same = bool(refused) == bool(complaint) or excused
        return "" if same else f"{what}\n    API server: {refused or 'taken'}\n    reader: {complaint or 'taken'}"

    with ThreadPoolExecutor(THREADS) as threads:
        different = [told for told in threads.map(difference, mutations(valid)) if told]
    assert not different, "\n".join(different)
