"""A contract holds, or every way in which it does not is a finding."""

from __future__ import annotations

from typing import Any

import pytest
from network_objects import Manifest, app, bind, ingress, namespace, pod, policy, rbac, rule, service

from breakglass.analysis.contract import assess
from breakglass.analysis.exposure.passage import Controller
from breakglass.model.overlay import Contract

ID = "2026-11-23-way-in-7f3a"

IN_SHOP = {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}

BASELINE = [
    namespace("shop"),
    namespace("data"),
    namespace("ops"),
    pod("shop/web", ("http", 80)),
    pod("data/db", ("sql", 5432)),
    pod("data/cache", ("redis", 6379)),
    pod("ops/bastion"),
    pod("edge/proxy"),
    policy("edge/to-shop", policyTypes=["Ingress", "Egress"], egress=[{"to": [{"namespaceSelector": IN_SHOP}]}]),
    policy("shop/deny", policyTypes=["Ingress", "Egress"]),
    policy("shop/proxy", ingress=[{"from": [{"namespaceSelector": {}, "podSelector": app("proxy")}]}]),
    policy("data/deny", policyTypes=["Ingress", "Egress"]),
    policy("ops/deny", policyTypes=["Ingress", "Egress"]),
    policy(
        "data/db", podSelector=app("db"), ingress=[{"from": [{"namespaceSelector": {}, "podSelector": app("web")}]}]
    ),
    policy("shop/web", podSelector=app("web"), policyTypes=["Egress"], egress=[{"ports": [{"port": 5432}]}]),
    service("shop/web", "web", 80),
    service("shop/admin", "web", 81),
    service("shop/lost", "nobody", 80),
    ingress("shop/web", "shop.example.com", "/", "web", 80),
    rbac("ClusterRole", "exec", rules=[rule("create", "pods/exec")]),
    rbac("ClusterRole", "look", rules=[rule("get", "pods")]),
    bind("shop/look", "ClusterRole/look", "Group:acme:dev"),
]


CONTROLLERS = (Controller("edge", {"app": "proxy"}),)
"""What serves Ingresses; every pod of the shop lets it in on its own ports."""


def to_db(name: str = "ops/way-in", port: int = 5432, to: Manifest | None = None) -> Manifest:
    peer = {"namespaceSelector": {}, "podSelector": to or app("db")}
    egress = [{"to": [peer], "ports": [{"port": port}]}]
    return policy(name, podSelector=app("bastion"), policyTypes=["Egress"], egress=egress)


def from_bastion(name: str = "data/way-in", **ports: Any) -> Manifest:
    peer = {"namespaceSelector": {}, "podSelector": app("bastion")}
    return policy(name, podSelector=app("db"), ingress=[{"from": [peer], **ports}])


def described(before: list[Manifest], after: list[Manifest], activation: str = "") -> tuple[str, ...]:
    contract = Contract.model_validate({"opens": [BASTION_TO_DB]})
    return assess(contract, before, after, "overlay.yaml", activation, CONTROLLERS).lines


def connection(source: str, destination: str, port: int, protocol: str = "TCP") -> Manifest:
    return {"from": source, "to": destination, "port": port, "protocol": protocol}


BASTION_TO_DB = connection("ops/bastion", "data/db", 5432)
WAY_IN = [to_db(), from_bastion()]


def grant(subject: str, verb: str, resource: str, space: str = "shop") -> Manifest:
    return {"subject": subject, "verb": verb, "resource": resource, "namespace": space}


def place(manifest: Manifest) -> str:
    return f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"


def judged(contract: Manifest, *added: Manifest, without: str = "", activation: str = "") -> list[str]:
    """Findings as `id: message`, warnings with `warning` before, for an overlay that adds and takes away a policy."""
    kept = [each for each in BASELINE if each["kind"] != "NetworkPolicy" or place(each) != without]
    after = [*kept, *added]
    found = assess(Contract.model_validate(contract), BASELINE, after, "overlay.yaml", activation, CONTROLLERS)
    for finding in (findings := found.findings):
        assert finding.where == "overlay.yaml"
        assert finding.remedy
        assert finding.id.startswith("contract-")
    return [
        ("warning " if each.severity == "warning" else "") + f"{each.id.removeprefix('contract-')}: {each.message}"
        for each in findings
    ]


def test_a_contract_that_holds() -> None:
    shut = [connection("ops/bastion", "data/cache", 6379), connection("shop/web", "data/cache", 6379)]
    assert judged({"opens": [BASTION_TO_DB], "keepsShut": shut}, *WAY_IN) == []


def test_what_is_promised_must_open() -> None:
    assert judged({"opens": [BASTION_TO_DB]}, to_db()) == [
        "still-shut: ops/bastion → data/db TCP 5432 is still shut: egress: NetworkPolicy ops/way-in egress[0] accepts; "
        "ingress: isolated by NetworkPolicy data/db, data/deny, and no rule of it accepts"
    ]


def test_what_is_promised_must_have_been_shut() -> None:
    opens = [BASTION_TO_DB, connection("shop/web", "data/db", 5432)]
    assert judged({"opens": opens}, *WAY_IN) == [
        "opens-nothing: shop/web → data/db TCP 5432 is open in the baseline already"
    ]


def test_nothing_else_may_open() -> None:
    assert judged({"opens": [BASTION_TO_DB]}, *WAY_IN, to_db("ops/wide", 5433)) == [
        "opened-beyond: the overlay also opens ops/bastion → data/db TCP 5433, which the contract does not promise"
    ]


def test_ports_that_nobody_named_are_not_overlooked() -> None:
    wide = policy("ops/way-in", podSelector=app("bastion"), policyTypes=["Egress"], egress=[{}])
    found = judged({"opens": [BASTION_TO_DB]}, wide, from_bastion())
    assert found[0] == (
        "opened-beyond: the overlay also opens ops/bastion → data/db SCTP every port, TCP 1-5431, TCP 5433-65535, "
        "UDP every port, which the contract does not promise"
    )
    assert found[1] == (
        "opened-outside: the overlay also opens ops/bastion → every address every port, which no manifest holds and "
        "the contract does not promise"
    )
    assert len(found) == 2


def test_the_internet_is_not_overlooked() -> None:
    everybody = policy("data/way-in", podSelector=app("db"), ingress=[{"ports": [{"port": 5432}]}])
    assert judged({"opens": [BASTION_TO_DB]}, to_db(), everybody) == [
        "opened-outside: the overlay also opens every address → data/db TCP 5432, which no manifest holds and the "
        "contract does not promise"
    ]


EVERYWHERE = [
    {"from": "ops/bastion", "to": {"cidr": "0.0.0.0/0"}, "protocol": "*"},
    {"from": "ops/bastion", "to": {"cidr": "::/0"}, "protocol": "*"},
    {"from": {"cidr": "0.0.0.0/0"}, "to": "ops/bastion", "protocol": "*"},
    {"from": {"cidr": "::/0"}, "to": "ops/bastion", "protocol": "*"},
]


def test_lifting_isolation_is_said_and_must_be_promised() -> None:
    # The web's egress is open to everybody on 5432: with its isolation the bastion loses the shelter from it.
    opens = [BASTION_TO_DB, connection("shop/web", "ops/bastion", 5432)]
    lifted = [
        "warning isolation-lifted: the overlay lifts the isolation of ops/bastion (egress): NetworkPolicy ops/deny",
        "warning isolation-lifted: the overlay lifts the isolation of ops/bastion (ingress): NetworkPolicy ops/deny",
    ]
    ports = {"ports": [{"port": 5432}]}
    assert judged({"opens": [*opens, *EVERYWHERE]}, from_bastion(**ports), without="ops/deny") == lifted
    found = judged({"opens": opens}, from_bastion(**ports), without="ops/deny")
    assert {each.split(":")[0] for each in found} == {"opened-outside", "warning isolation-lifted"}


@pytest.mark.parametrize(
    ("opens", "added", "expected"),
    [
        pytest.param(
            [{"from": {"cidr": "198.51.100.0/24"}, "to": "data/db", "port": 5432}], "198.51.100.0/24", "", id="a block"
        ),
        pytest.param(
            [{"from": {"cidr": "198.51.100.0/25"}, "to": "data/db", "port": 5432}],
            "198.51.100.0/24",
            "opened-outside",
            id="half of the block",
        ),
        pytest.param(
            [{"from": {"cidr": "198.51.0.0/16"}, "to": "data/db", "port": 5432}],
            "198.51.100.0/24",
            "still-shut",
            id="more than the block",
        ),
        pytest.param(
            [
                {
                    "from": {"cidr": "198.51.100.0/24"},
                    "to": {"namespace": "data", "podSelector": {"matchLabels": {"app": "db"}}},
                    "port": 5432,
                }
            ],
            "198.51.100.0/24",
            "",
            id="a block and a selector",
        ),
        pytest.param(
            [{"from": {"cidr": "198.51.100.0/24"}, "to": {"namespace": "data"}, "port": 5432}],
            "198.51.100.0/24",
            "still-shut",
            id="every pod of the namespace must open",
        ),
        pytest.param(
            [{"from": {"cidr": "198.51.100.0/24"}, "to": {"namespace": "nowhere"}, "port": 5432}],
            "198.51.100.0/24",
            "unknown-workload opened-outside",
            id="a selector that matches nothing",
        ),
        pytest.param(
            [{"from": {"cidr": "198.51.100.0/24"}, "to": "data/db", "port": 5430, "endPort": 5440}],
            "198.51.100.0/24",
            "still-shut",
            id="a range of which one port opens",
        ),
    ],
)
def test_addresses_and_selectors_are_promised_exactly(opens: list[Manifest], added: str, expected: str) -> None:
    from_block = policy(
        "data/way-in",
        podSelector=app("db"),
        ingress=[{"from": [{"ipBlock": {"cidr": added}}], "ports": [{"port": 5432}]}],
    )
    assert " ".join(each.split(":")[0] for each in judged({"opens": opens}, from_block)) == expected


def test_what_is_to_stay_shut_may_be_a_block() -> None:
    everybody = policy("data/way-in", podSelector=app("db"), ingress=[{"ports": [{"port": 5432}]}])
    shut = [{"from": {"cidr": "192.0.2.0/24"}, "to": "data/db", "port": 5432}]
    found = judged({"opens": [BASTION_TO_DB], "keepsShut": shut}, to_db(), everybody)
    assert [each.split(":")[0] for each in found] == ["shut-broken", "opened-outside"]
    assert found[0].startswith(
        "shut-broken: 192.0.2.0/24 → data/db TCP 5432 is to stay shut, and the overlay opens it (192.0.2.0/24 → "
    )


def test_a_promise_that_depends_on_the_implementation_is_not_kept() -> None:
    # The db's address lies in the block: whether the bastion reaches it so is the implementation's to say.
    holds = [each for each in BASELINE if each["metadata"]["name"] != "db" or each["kind"] != "Pod"]
    before = [*holds, pod("data/db", ("sql", 5432), ip="10.1.2.3")]
    block = [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 5432}]}]
    out = policy("ops/way-in", podSelector=app("bastion"), policyTypes=["Egress"], egress=block)
    contract = Contract.model_validate({"opens": [BASTION_TO_DB]})
    found = assess(contract, before, [*before, out, from_bastion()], "overlay.yaml", "", CONTROLLERS).findings
    assert [each.id for each in found][:1] == ["contract-still-shut"]
    denied = Contract.model_validate(
        {"opens": [connection("ops/bastion", "data/cache", 1)], "keepsShut": [BASTION_TO_DB]}
    )
    found = assess(denied, before, [*before, out, from_bastion()], "overlay.yaml", "", CONTROLLERS).findings
    assert "contract-shut-broken" in {each.id for each in found}


def test_what_is_to_stay_shut_must_stay_shut() -> None:
    opens, shut = connection("ops/bastion", "data/db", 5432), connection("ops/bastion", "data/db", 5433)
    found = judged({"opens": [opens], "keepsShut": [shut]}, *WAY_IN, to_db("ops/wide", 5433))
    assert found == [
        "shut-broken: ops/bastion → data/db TCP 5433 is to stay shut, and the overlay opens it: egress: NetworkPolicy "
        "ops/wide egress[0] accepts; ingress: NetworkPolicy data/way-in ingress[0] accepts"
    ]


def test_what_is_to_stay_shut_must_have_been_shut() -> None:
    shut = connection("shop/web", "data/db", 5432)
    assert judged({"opens": [BASTION_TO_DB], "keepsShut": [shut]}, *WAY_IN) == [
        "shut-untrue: shop/web → data/db TCP 5432 is to stay shut, and is open in the baseline"
    ]


def test_a_probe_must_name_what_exists() -> None:
    shut = [connection("ops/bastino", "data/db", 5432), connection("ops/bastion", "data/db", 5423)]
    assert judged({"opens": [BASTION_TO_DB], "keepsShut": shut}, *WAY_IN) == [
        "unknown-workload: ops/bastino → data/db TCP 5432: there is no workload ops/bastino",
        "warning undeclared-port: ops/bastion → data/db TCP 5423: no container of data/db declares TCP 5423",
    ]


def test_what_the_overlay_shuts_is_said() -> None:
    found = judged({"opens": [BASTION_TO_DB]}, *WAY_IN, without="shop/web")
    assert found == [
        "warning shuts: the overlay shuts shop/web → data/db, every address TCP 5432, which the baseline lets through",
    ]


def test_the_first_policy_that_isolates_is_said() -> None:
    free = [*BASELINE, pod("free/a"), pod("free/b")]
    added = [*free, *WAY_IN, policy("free/p", podSelector=app("a"), policyTypes=["Egress"])]
    findings = assess(Contract.model_validate({"opens": [BASTION_TO_DB]}), free, added, "overlay.yaml").findings
    assert [(each.id, each.severity, each.message) for each in findings] == [
        (
            "contract-shuts",
            "warning",
            "the overlay shuts free/a → free/b, every address every port, which the baseline lets through",
        ),
        (
            "contract-isolates",
            "warning",
            "the overlay isolates free/a (egress), which the baseline leaves open: NetworkPolicy free/p",
        ),
    ]


HOST = {"host": "*.emergency.example.com", "path": "/"}


def emergency(
    service_name: str = "admin", port: int = 81, host: str = f"{ID}.emergency.example.com", path: str = "/"
) -> Manifest:
    return ingress("shop/admin", host, path, service_name, port)


@pytest.mark.parametrize(
    ("contract", "added", "expected"),
    [
        ({"exposes": [HOST]}, emergency(), ""),
        ({"exposes": [HOST], "keepsPrivate": [{"host": "admin.example.com"}]}, emergency(), ""),
        ({"exposes": [{**HOST, "path": "/admin"}]}, emergency(), "exposed-beyond"),
        ({"exposes": [HOST]}, emergency("lost", 80), "still-private"),
        ({"exposes": [HOST]}, emergency(path="/login"), "still-private"),
        ({"exposes": [HOST]}, emergency("admin", 82), "still-private"),
        ({"exposes": [HOST]}, emergency(host="admin.example.com"), "still-private exposed-beyond"),
        ({"exposes": [HOST], "keepsPrivate": [{"host": "admin.example.com"}]}, emergency(host=""), "private-broken"),
        (
            {"exposes": [HOST], "keepsPrivate": [{"host": "x.example.com"}]},
            emergency(host="x.example.com"),
            "still-private private-broken",
        ),
        (
            {"exposes": [HOST], "keepsPrivate": [{"host": "shop.example.com", "path": "/x"}]},
            emergency(),
            "private-untrue",
        ),
        ({"exposes": [{"host": "shop.example.com"}]}, emergency(host="shop.example.com"), "exposes-nothing"),
    ],
)
def test_endpoints(contract: Manifest, added: Manifest, expected: str) -> None:
    assert " ".join(each.split(":")[0] for each in judged(contract, added, activation=ID)) == expected


def test_the_overlay_s_own_service_loses_its_suffix() -> None:
    added = [emergency(f"own-{ID}", 82), service(f"shop/own-{ID}", "web", 82)]
    assert judged({"exposes": [HOST]}, *added, activation=ID) == []
    assert described(BASELINE, [*BASELINE, *added], ID) == (f"exposes   {ID}.emergency.example.com/ → shop/own:82",)


def test_a_workload_that_the_overlay_brings_was_shut() -> None:
    found = judged({"opens": [BASTION_TO_DB]}, *WAY_IN, pod("free/tool"))
    assert (
        "opened-beyond: the overlay also opens shop/web → free/tool TCP 5432, which the contract does not promise"
        in found
    )
    assert {each.split(":")[0] for each in found} == {"opened-beyond", "opened-outside"}


INCIDENT = "Group:acme:incident"
EXEC = grant(INCIDENT, "create", "pods/exec")


@pytest.mark.parametrize(
    ("contract", "added", "expected"),
    [
        ({"grants": [EXEC]}, [bind("shop/exec", "ClusterRole/exec", INCIDENT)], ""),
        ({"grants": [EXEC]}, [bind("data/exec", "ClusterRole/exec", INCIDENT)], "still-denied granted-beyond"),
        ({"grants": [EXEC]}, [bind("exec", "ClusterRole/exec", INCIDENT)], "granted-beyond"),
        ({"grants": [EXEC]}, [bind("shop/exec", "ClusterRole/exec", INCIDENT, "User:kim")], "granted-beyond"),
        ({"grants": [grant("Group:acme:dev", "get", "pods")]}, [], "grants-nothing"),
        (
            {"grants": [EXEC], "keepsDenied": [grant(INCIDENT, "get", "pods")]},
            [bind("shop/exec", "ClusterRole/exec", INCIDENT), bind("shop/l", "ClusterRole/look", INCIDENT)],
            "denied-broken",
        ),
        (
            {"grants": [EXEC], "keepsDenied": [grant("Group:acme:dev", "get", "pods")]},
            [bind("shop/exec", "ClusterRole/exec", INCIDENT)],
            "denied-untrue",
        ),
        (
            {"grants": [EXEC], "keepsDenied": [grant("ServiceAccount:shop/nobody", "get", "pods")]},
            [bind("shop/exec", "ClusterRole/exec", INCIDENT)],
            "unknown-subject",
        ),
        (
            {"grants": [EXEC], "keepsDenied": [grant("ServiceAccount:shop/default", "get", "pods", "nowhere")]},
            [bind("shop/exec", "ClusterRole/exec", INCIDENT)],
            "unknown-namespace",
        ),
        (
            {"grants": [EXEC]},
            [bind("shop/exec", "ClusterRole/exec", INCIDENT), bind("shop/edit", "ClusterRole/edit", INCIDENT)],
            "unknown-role",
        ),
    ],
)
def test_grants(contract: Manifest, added: list[Manifest], expected: str) -> None:
    assert " ".join(each.split(":")[0] for each in judged(contract, *added)) == expected


def test_a_namespace_that_only_holds_something_exists() -> None:
    denied = {"grants": [EXEC], "keepsDenied": [grant(INCIDENT, "get", "pods", "free")]}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "free", "name": "a"}}
    assert judged(denied, bind("shop/e", "ClusterRole/exec", INCIDENT), account) == []


def own_account(suffix: str) -> list[Manifest]:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "shop", "name": f"inc{suffix}"}}
    return [account, bind(f"shop/inc{suffix}", "ClusterRole/exec", f"ServiceAccount:shop/inc{suffix}")]


def test_the_overlay_s_own_objects_lose_their_suffix() -> None:
    contract = {"grants": [grant("ServiceAccount:shop/inc", "create", "pods/exec")]}
    assert judged(contract, *own_account(f"-{ID}"), activation=ID) == []
    assert judged(contract, *own_account("-another"), activation=ID) != []
    denied = {"grants": [EXEC], "keepsDenied": contract["grants"]}
    added = [*own_account(f"-{ID}"), bind("shop/e", "ClusterRole/exec", INCIDENT)]
    assert [each.split(":")[0] for each in judged(denied, *added, activation=ID)] == ["denied-broken"]


def test_a_group_with_the_suffix_is_another_group() -> None:
    found = judged({"grants": [EXEC]}, bind("shop/e", "ClusterRole/exec", f"{INCIDENT}-{ID}"), activation=ID)
    assert [each.split(":")[0] for each in found] == ["still-denied", "granted-beyond"]


def test_the_description() -> None:
    after = [*BASELINE, *WAY_IN, emergency(), *own_account(f"-{ID}")]
    lines = (
        "opens     ops/bastion → data/db TCP 5432",
        f"exposes   {ID}.emergency.example.com/ → shop/admin:81",
        "grants    ServiceAccount:shop/inc may create pods/exec in shop",
    )
    assert described(BASELINE, after, ID) == lines
    assert described(after, BASELINE) == (
        "shuts     ops/bastion → data/db TCP 5432",
        f"hides     {ID}.emergency.example.com/ → shop/admin:81",
        f"revokes   ServiceAccount:shop/inc-{ID} may create pods/exec in shop",
    )
    assert described(after, after, ID) == ()
