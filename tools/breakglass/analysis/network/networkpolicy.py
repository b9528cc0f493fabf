"""NetworkPolicy objects (networking.k8s.io/v1) as data, as strict as the API server.

Semantics: https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/; what is refused:
`pkg/apis/networking/validation` of Kubernetes 1.37, with its strict decoding of fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breakglass.analysis.field import (
    is_port_name,
    known,
    mapping,
    mappings,
    namespace_of,
    place,
    text,
    texts,
    whole,
)
from breakglass.analysis.metadata import check_metadata
from breakglass.analysis.network.cidr import read_cidr
from breakglass.analysis.network.policy import Block, BlockPeer, Direction, Peer, PodPeer, Policy, Rule, RulePort
from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS
from breakglass.analysis.selector import read_selector
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

API_VERSION = "networking.k8s.io/v1"

_SIDES: dict[Direction, str] = {"ingress": "from", "egress": "to"}
_TYPES: dict[Direction, str] = {"ingress": "Ingress", "egress": "Egress"}


def read_network_policy(manifest: Manifest) -> Policy:
    """Read one NetworkPolicy.

    Raises:
        Refused: another version of the kind, or what the API server would refuse.
    """
    where, namespace = place(manifest), namespace_of(manifest)
    if manifest["apiVersion"] != API_VERSION:
        message = f"{manifest['apiVersion'][:80]} is no version of NetworkPolicy that is read"
        raise where.refusal(message, manifest, "apiVersion", f"write it in {API_VERSION}")
    known(manifest, {"apiVersion", "kind", "metadata", "spec"}, "the object", where)
    check_metadata(manifest, where, namespaced=True)
    spec = mapping(manifest, "spec", where)
    known(spec, {"podSelector", "ingress", "egress", "policyTypes"}, "the policy", where)
    # Rules of a direction that policyTypes leaves out do nothing, yet must be right.
    rules = {direction: _read_rules(spec, direction, namespace, where) for direction in _SIDES}
    types = _read_types(spec, where) or (("Ingress", "Egress") if rules["egress"] else ("Ingress",))
    return Policy(
        kind="NetworkPolicy",
        name=f"{namespace}/{key_of(manifest).name}",
        tier="networkpolicy",
        priority=0,
        subject=PodPeer(namespace, None, read_selector(mapping(spec, "podSelector", where), where)),
        rules={direction: found for direction, found in rules.items() if _TYPES[direction] in types},
    )


def _read_types(spec: Mapping[str, Any], where: Place) -> tuple[str, ...]:
    types = texts(spec, "policyTypes", where)
    if unknown := sorted(set(types) - set(_TYPES.values())):
        raise where.refusal(f"policyTypes names {unknown[0][:80] or 'nothing'}", spec, "policyTypes")
    if len(types) > len(_TYPES):
        raise where.refusal(f"policyTypes has {len(types)} items; the API server takes two", spec, "policyTypes")
    return types


def _read_rules(spec: Mapping[str, Any], direction: Direction, namespace: str, where: Place) -> tuple[Rule, ...]:
    return tuple(
        _read_rule(rule, f"{direction}[{number}]", _SIDES[direction], namespace, where)
        for number, rule in enumerate(mappings(spec, direction, where))
    )


def _read_rule(rule: Mapping[str, Any], name: str, side: str, namespace: str, where: Place) -> Rule:
    known(rule, {side, "ports"}, "the rule", where)
    peers = tuple(_read_peer(peer, namespace, where) for peer in mappings(rule, side, where))
    ports = tuple(_read_port(port, where) for port in mappings(rule, "ports", where))
    return Rule(name, "accept", peers or None, ports or None)


def _read_peer(peer: Mapping[str, Any], namespace: str, where: Place) -> Peer:
    known(peer, {"namespaceSelector", "podSelector", "ipBlock"}, "the peer", where)
    given = {key for key, value in peer.items() if value is not None}
    if not given or ("ipBlock" in given and len(given) > 1):
        raise where.refusal("a peer is either an ipBlock or selectors", peer, "ipBlock")
    if "ipBlock" in given:
        return _read_block(mapping(peer, "ipBlock", where), where)
    selectors = {key: read_selector(mapping(peer, key, where), where) for key in given}
    namespaces = selectors.get("namespaceSelector")
    return PodPeer(namespace if namespaces is None else None, namespaces, selectors.get("podSelector"))


def _read_block(written: Mapping[str, Any], where: Place) -> BlockPeer:
    known(written, {"cidr", "except"}, "the ipBlock", where)
    block = _cidr(text(written, "cidr", where), written, "cidr", where)
    exceptions = tuple(_cidr(item, written, "except", where) for item in texts(written, "except", where))
    for exception in exceptions:
        # Equal ones are refused too: the API server asks for a strict subset.
        if exception == block or not _inside(exception, block):
            raise where.refusal(f"except {exception} does not lie inside {block}", written, "except")
    return BlockPeer(block, exceptions)


def _cidr(written: str, parent: Mapping[str, Any], key: str, where: Place) -> Block:
    try:
        return read_cidr(written)
    except ValueError as error:
        raise where.refusal(f"ipBlock: {error}", parent, key) from None


def _inside(inner: Block, outer: Block) -> bool:
    return inner.version == outer.version and inner.network_address in outer and inner.broadcast_address in outer


def _read_port(port: Mapping[str, Any], where: Place) -> RulePort:
    known(port, {"protocol", "port", "endPort"}, "the port", where)
    protocol, last = _protocol(port, where), whole(port, "endPort", where)
    if last is not None and not isinstance(port.get("port"), int):
        raise where.refusal("endPort needs a port that is a number", port, "endPort")
    if isinstance(port.get("port"), str):
        return RulePort(protocol, _port_name(port, where), 0)
    first = whole(port, "port", where)
    if first is None:
        return RulePort(protocol, None, 0)
    last = first if last is None else last
    if not 1 <= first <= last <= LAST_PORT:
        raise where.refusal(f"port and endPort are no range of ports (1 to {LAST_PORT})", port, "port")
    return RulePort(protocol, first, last)


def _protocol(port: Mapping[str, Any], where: Place) -> str:
    # Empty text is no default: only what is absent means TCP.
    protocol = "TCP" if port.get("protocol") is None else text(port, "protocol", where)
    if protocol not in PROTOCOLS:
        raise where.refusal(f"{protocol[:80] or 'nothing'} is no protocol of a NetworkPolicy", port, "protocol")
    return protocol


def _port_name(port: Mapping[str, Any], where: Place) -> str:
    name = text(port, "port", where)
    if not is_port_name(name):
        raise where.refusal(f"{name[:80]!r} is no name of a port", port, "port")
    return name
