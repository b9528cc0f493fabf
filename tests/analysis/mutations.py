"""Valid policies, and small changes of them that an API server takes or refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
Path = tuple[str | int, ...]

ABSENT = object()
"""In place of a value: the field, or the item, is not there."""

_OTHER_TYPES: tuple[Any, ...] = (ABSENT, None, "", "x", 0, [], {}, [{}])
_UNKNOWN: tuple[Any, ...] = (None, {})
_NAMES = ("a" * 63, "a" * 64, "A_b.c", "-a", "a-", "a b", "a\n", "ü", "a/b", "a/", "/a", "A/b", "a/b/c", "a..b/c", "*")
_PREFIXES = (f"{'a' * 64}.x/y", f"{'a.' * 126}a/y", f"{'a.' * 126}ab/y")
_NUMBERS = (1, 79, 80, 81, 80.0, 80.5, 1e3, 0, -1, 65535, 65536, 2**31, 2**63, 2**64, "80", "http")
_PORT_NAMES = ("a" * 15, "a" * 16, "a-b", "a--b", "-a", "a-", "HTTP", "8a", "8-0", "a_b", "a\n", "ä")
_CIDRS = (
    *("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/32", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1/31", "255.255.255.255/32"),
    *("10.0.0.0", "10.0.0.0/", "/8", "10.0.0/8", "10.0.0.0.0/8", "10.0.0.256/32", "10.0.0.0/-1", "10.0.0.0/+8"),
    *("010.0.0.0/8", "10.00.0.0/8", "10.0.0.0/08", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0/8/8", "10.0.0.0/8.0"),
    *("10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "0x0a.0.0.0/8", "10.0.0.0/٨", "a.b.c.d/8", "any"),
    *("::/0", "::1/128", "::1/129", "::1/127", "fd00::/8", "FD00:0::/8", "00fd::/16", "000fd::/16", "fd00::1/8"),
    *("1:2:3:4:5:6:7::/112", "1::3:4:5:6:7:8/128", "::2:3:4:5:6:7:8/128", "1:2:3:4:5:6:7:8::/128", "1::2::3/128"),
    *(":1/128", "1:/16", ":::/0", "fd00::/٨", "fd00::%eth0/64", "fe80::%1/64", "[fd00::]/8", "fd00::g/128", "fd00/8"),
    *("::ffff:10.0.0.0/104", "::ffff:a00:0/104", "::ffff:0:0/95", "::fffe:a00:0/103", "::10.0.0.0/128", "64:ff9b::/96"),
    *("::1.2.3/128", "::1.2.3.04/128", "::1.2.3.4.5/128", "1.2.3.4::/32", "1:2:3:4:5:6:1.2.3.4/128"),
    *("0000:0000:0000:0000:0000:0000:0000:0000/128", "0000:0000:0000:0000:0000:0000:255.255.255.255/128"),
)
_DOMAIN_NAMES = (
    *(
        "kubernetes.io",
        "kubernetes.io.",
        "*.kubernetes.io",
        "a.*.io",
        "*",
        "*.io",
        "io",
        "a..b",
        ".a.b",
        "a.b..",
        "a-.b",
    ),
    *("a_b.c", "_a.b", "[.b", "a.b\n", "a.b c", "ä.io", "A.B", "1.2", "http://a.b", f"{'a' * 300}.io", "**.a.b"),
)
_SELECTORS: tuple[Any, ...] = (
    *({"matchLabels": {name: "x"}} for name in (*_NAMES, *_PREFIXES)),
    *({"matchLabels": {"app": value}} for value in (*_NAMES, None, 1, True)),
    *({"matchExpressions": [{"key": name, "operator": "Exists"}]} for name in ("", *_NAMES)),
    *({"matchExpressions": [{"key": "a", "operator": "In", "values": [value]}]} for value in (*_NAMES, None, 1)),
    *(
        {"matchExpressions": [{"key": "a", "operator": operator}]}
        for operator in ("In", "NotIn", "Exists", "exists", "")
    ),
    *(
        {"matchExpressions": [{"key": "a", "operator": operator, "values": ["b", "b"]}]}
        for operator in ("In", "NotIn", "Exists", "DoesNotExist", "Equals")
    ),
)
_OBJECT_NAMES = ("a.b", "a-b", "-a", "a.", "a..b", "A", "a_b", "a/b", "a\n", "ä", "9", "a" * 253, "a" * 254)


@dataclass(frozen=True)
class Mutation:
    """A policy that was changed in one place."""

    manifest: Manifest
    path: Path
    value: Any

    def __str__(self) -> str:
        shown = "absent" if self.value is ABSENT else json.dumps(self.value)
        return f"{self.manifest['kind']} {'.'.join(map(str, self.path))}: {shown[:200]}"


def changed(kind: str, path: Path, value: Any) -> Manifest:
    """A valid policy of the kind with another value at a path."""
    return _changed(VALID[kind], path, value).manifest


def mutations(kind: str) -> Iterator[Mutation]:
    """Every field of the kind with values of other types and left out; unknown fields; and what its rules are about."""
    valid = VALID[kind]
    for path in _paths(valid):
        if path and path[0] in ("metadata", "spec"):
            yield from (_changed(valid, path, value) for value in _OTHER_TYPES)
        if isinstance(_at(valid, path), dict):
            yield from (_changed(valid, (*path, "unknown"), value) for value in _UNKNOWN)
    for path, values in _VALUES[kind].items():
        yield from (_changed(valid, path, value) for value in values)


def paths(kind: str) -> list[Path]:
    """Every field and item of a valid policy of the kind; the whole is not among them."""
    return [path for path in _paths(VALID[kind]) if path]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


def _at(manifest: Manifest, path: Path) -> Any:
    value: Any = manifest
    for key in path:
        value = value[key]
    return value


def _changed(valid: Manifest, path: Path, value: Any) -> Mutation:
    manifest = json.loads(json.dumps(valid))
    parent = _at(manifest, path[:-1])
    if value is ABSENT:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return Mutation(manifest, path, value)


def pod_mutations() -> Iterator[Mutation]:
    """A Pod's labels and container ports, changed."""
    yield from (_changed(POD, ("metadata", "labels"), {name: "x"}) for name in (*_NAMES, *_PREFIXES, ""))
    yield from (_changed(POD, ("metadata", "labels"), {"a": value}) for value in (*_NAMES, None, 1, True))
    port = ("spec", "containers", 0, "ports", 0)
    for path in (("metadata", "labels"), port[:-1], port, *((*port, field) for field in _at(POD, port))):
        yield from (_changed(POD, path, value) for value in _OTHER_TYPES)
    yield from (_changed(POD, (*port, "containerPort"), value) for value in _NUMBERS)
    yield from (_changed(POD, (*port, "protocol"), value) for value in ("TCP", "SCTP", "tcp", "ICMP"))
    yield from (_changed(POD, (*port, "name"), value) for value in (*_PORT_NAMES, "80"))
    yield from (
        _changed(POD, port[:-1], [{"containerPort": 80, "name": name} for name in ("a", other)]) for other in "ab"
    )


def _policy(group: str, kind: str, name: str, spec: Manifest, **metadata: str) -> Manifest:
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, **metadata, "labels": {"a": "b"}, "annotations": {"a": "b"}},
        "spec": spec,
    }


_EXPRESSION = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}
_BOTH = {"namespaceSelector": {"matchLabels": {"team": "shop"}}, "podSelector": _EXPRESSION}


def _cluster_wide(allow: str, ports: str, number: Manifest, numbers: Manifest, name: Manifest) -> Manifest:
    return {
        "subject": {"namespaces": {"matchLabels": {"team": "shop"}}},
        "ingress": [{"name": "peers", "action": allow, "from": [{"namespaces": {}}, {"pods": _BOTH}], ports: [name]}],
        "egress": [
            {"action": "Deny", "to": [{"networks": ["10.0.0.0/8"]}, {"nodes": {}}], ports: [number, numbers]},
            {"action": allow, "to": [{"domainNames": ["*.kubernetes.io"]}]},
        ],
    }


_ADMIN = _cluster_wide(
    "Allow",
    "ports",
    {"portNumber": {"port": 80, "protocol": "TCP"}},
    {"portRange": {"start": 80, "end": 90, "protocol": "UDP"}},
    {"namedPort": "http"},
)
_CLUSTER = _cluster_wide(
    "Accept",
    "protocols",
    {"tcp": {"destinationPort": {"number": 80}}},
    {"udp": {"destinationPort": {"range": {"start": 80, "end": 90}}}},
    {"destinationNamedPort": "http"},
)
_NETWORK = {
    "podSelector": _EXPRESSION,
    "policyTypes": ["Ingress", "Egress"],
    "ingress": [
        {"from": [{"podSelector": {}}, _BOTH], "ports": [{"protocol": "UDP", "port": 80, "endPort": 90}]},
        {"ports": [{"port": "http"}]},
    ],
    "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
}
VALID: dict[str, Manifest] = {
    "NetworkPolicy": _policy("networking.k8s.io/v1", "NetworkPolicy", "p", _NETWORK, namespace="default"),
    "ClusterNetworkPolicy": _policy(
        "policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "p", {"tier": "Admin", "priority": 10, **_CLUSTER}
    ),
    "AdminNetworkPolicy": _policy(
        "policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", "p", {"priority": 10, **_ADMIN}
    ),
    "BaselineAdminNetworkPolicy": _policy(
        "policy.networking.k8s.io/v1alpha1",
        "BaselineAdminNetworkPolicy",
        "default",
        {**_ADMIN, "egress": _ADMIN["egress"][:1]},
    ),
}
"""One valid policy of every kind, with every field of its kind."""

POD: Manifest = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default", "labels": {"a": "b"}},
    "spec": {
        "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 80, "name": "http", "protocol": "UDP"}]},
        ]
    },
}

_METADATA: dict[Path, tuple[Any, ...]] = {
    ("metadata", "name"): _OBJECT_NAMES,
    ("metadata", "labels"): (
        *({name: "x"} for name in (*_NAMES, *_PREFIXES)),
        *({"a": value} for value in (*_NAMES, None, 1)),
    ),
    ("metadata", "annotations"): (
        *({name: "x"} for name in (*_NAMES, *_PREFIXES)),
        *({"a": value} for value in ("a\n", None, 1, "x" * 262_143, "x" * 262_144)),
    ),
    ("metadata", "creationTimestamp"): (None,),
}
_ONE_PEER: Manifest = {"namespaces": {}}
_ALLOW_ALL: dict[str, Manifest] = {
    "ClusterNetworkPolicy": {"action": "Accept", "to": [_ONE_PEER]},
    "AdminNetworkPolicy": {"action": "Allow", "to": [_ONE_PEER]},
    "BaselineAdminNetworkPolicy": {"action": "Allow", "to": [_ONE_PEER]},
}
_DENY = ("spec", "egress", 0)


def _cluster_wide_values(kind: str, most: int, ports: str) -> dict[Path, tuple[Any, ...]]:
    rule = _ALLOW_ALL[kind]
    port = _at(VALID[kind], (*_DENY, ports, 0))
    return {
        ("spec", "egress"): ([rule] * most, [rule] * (most + 1)),
        ("spec", "subject"): ({"pods": _BOTH}, {"pods": {"podSelector": {}}}, {"namespaces": {}, "pods": _BOTH}),
        ("spec", "subject", "namespaces"): _SELECTORS,
        ("spec", "ingress", 0, "action"): ("Accept", "Allow", "Deny", "Pass", "deny"),
        ("spec", "ingress", 0, "name"): ("x" * 100, "x" * 101, "ü" * 100),
        ("spec", "ingress", 0, "from", 0): ({"nodes": {}}, {"networks": ["::/0"]}, {"namespaces": {}, "pods": _BOTH}),
        ("spec", "ingress", 0, "from", 1, "pods"): (
            {"podSelector": {}},
            {"podSelector": {}, "namespaceSelector": None},
        ),
        (*_DENY, "to"): ([_ONE_PEER] * most, [_ONE_PEER] * (most + 1)),
        (*_DENY, "to", 0): ({"domainNames": ["a.b"]}, {"namespaces": None, "nodes": {}}, {"networks": []}),
        (*_DENY, "to", 0, "networks"): (
            *([cidr] for cidr in _CIDRS),
            *([f"10.{number}.0.0/16" for number in range(count)] for count in (25, 26)),
            ["10.0.0.0/8", "10.0.0.0/8"],
            ["10.0.0.0/8", "10.0.0.1/8"],
        ),
        (*_DENY, ports): ([port] * most, [port] * (most + 1)),
        (*_DENY, ports, 0): (_at(VALID[kind], ("spec", "ingress", 0, ports, 0)), {"icmp": {}}),
        ("spec", "ingress", 0, ports, 0): ({"icmp": {}},),
    }


def _domain_names(ports: str, named: str) -> dict[Path, tuple[Any, ...]]:
    return {
        ("spec", "egress", 1, ports): ([{named: "http"}],),
        ("spec", "egress", 1, "action"): ("Deny", "Pass"),
        ("spec", "egress", 1, "to", 0, "domainNames"): (
            *([name] for name in _DOMAIN_NAMES),
            [f"{number}.io" for number in range(26)],
            ["a.b", "a.b"],
        ),
    }


def _ports_of_v1alpha1() -> dict[Path, tuple[Any, ...]]:
    return {
        (*_DENY, "ports", 0, "portNumber", "port"): _NUMBERS,
        (*_DENY, "ports", 0, "portNumber", "protocol"): ("SCTP", "tcp", "ICMP"),
        (*_DENY, "ports", 1, "portRange", "start"): _NUMBERS,
        (*_DENY, "ports", 1, "portRange", "end"): _NUMBERS,
        ("spec", "ingress", 0, "ports", 0, "namedPort"): _PORT_NAMES,
    }


_VALUES: dict[str, dict[Path, tuple[Any, ...]]] = {
    "NetworkPolicy": {
        **_METADATA,
        ("spec", "podSelector"): _SELECTORS,
        ("spec", "policyTypes"): (
            *([], ["Ingress"], ["Egress"], ["Ingress", "Ingress"], ["Egress", "Ingress", "Egress"], ["ingress"], [""]),
        ),
        ("spec", "ingress", 0): ({}, {"from": []}, {"ports": []}, {"to": []}),
        ("spec", "ingress", 0, "from", 0): (
            *({"ipBlock": None, "podSelector": {}}, {"ipBlock": {"cidr": "::/0"}, "podSelector": {}}, {"ipBlock": {}}),
        ),
        ("spec", "ingress", 0, "ports", 0): ({}, {"endPort": 80}, {"protocol": "SCTP"}, {"port": "a", "endPort": 80}),
        ("spec", "ingress", 0, "ports", 0, "port"): _NUMBERS,
        ("spec", "ingress", 0, "ports", 0, "endPort"): _NUMBERS,
        ("spec", "ingress", 0, "ports", 0, "protocol"): ("TCP", "SCTP", "tcp", "ICMP"),
        ("spec", "ingress", 1, "ports", 0, "port"): (*_PORT_NAMES, *_NUMBERS),
        ("spec", "egress", 0, "to", 0, "ipBlock"): tuple({"cidr": cidr} for cidr in _CIDRS),
        ("spec", "egress", 0, "to", 0, "ipBlock", "except"): tuple(
            [cidr] for cidr in (*_CIDRS, "10.0.0.0/9", "11.0.0.0/9")
        ),
        ("metadata", "namespace"): (ABSENT, None, ""),
        ("status",): ({}, None),
    },
    "ClusterNetworkPolicy": {
        **_METADATA,
        **_cluster_wide_values("ClusterNetworkPolicy", 25, "protocols"),
        **_domain_names("protocols", "destinationNamedPort"),
        ("spec", "priority"): (0, 1000, 1001, -1, 1.0, 1.5, 2**40),
        ("spec", "tier"): ("Baseline", "admin", "NetworkPolicy"),
        (*_DENY, "protocols", 0): (
            *({"tcp": {}}, {"tcp": {"destinationPort": {}}}, {"tcp": None, "sctp": {"destinationPort": {"number": 1}}}),
        ),
        (*_DENY, "protocols", 0, "tcp", "destinationPort"): ({"number": 80, "range": {"start": 1, "end": 2}},),
        (*_DENY, "protocols", 0, "tcp", "destinationPort", "number"): _NUMBERS,
        (*_DENY, "protocols", 1, "udp", "destinationPort", "range", "start"): (*_NUMBERS, 90, 91),
        (*_DENY, "protocols", 1, "udp", "destinationPort", "range", "end"): _NUMBERS,
        ("spec", "ingress", 0, "protocols", 0, "destinationNamedPort"): _PORT_NAMES,
        ("metadata", "namespace"): ("default", "No"),
        ("status",): ({"conditions": []}, None),
    },
    "AdminNetworkPolicy": {
        **_cluster_wide_values("AdminNetworkPolicy", 100, "ports"),
        **_domain_names("ports", "namedPort"),
        **_ports_of_v1alpha1(),
        ("spec", "priority"): (0, 1000, 1001, -1, 1.0, 1.5, 2**40),
    },
    "BaselineAdminNetworkPolicy": {
        **_ports_of_v1alpha1(),
        ("metadata", "name"): ("a", "default"),
        ("spec", "ingress", 0, "action"): ("Accept", "Allow", "Deny", "Pass"),
        ("spec", "priority"): (1,),
        (*_DENY, "to", 0): ({"domainNames": ["a.b"]}, {"networks": ["10.0.0.1/8"]}),
        (*_DENY, "ports", 0): ({"namedPort": "http"},),
    },
}
