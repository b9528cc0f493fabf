"""What ClusterNetworkPolicy and its predecessors have in common: subject, rules and peers, read as their CRDs say.

CRDs are stricter and laxer than the kinds that are built into the API server: null is an item of no list, lists have
bounds, and objects exactly one field; yet what is inside a selector they do not look into. Where they let in what has
no meaning (such a selector, domain names in a rule that denies), it is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.analysis.field import known, mapping, mappings, place, text, texts
from breakglass.analysis.metadata import check_metadata
from breakglass.analysis.network.cidr import read_cidr
from breakglass.analysis.network.policy import (
    Action,
    Block,
    Direction,
    DomainNamesPeer,
    NetworksPeer,
    NodesPeer,
    Peer,
    PodPeer,
    Rule,
    RulePort,
)
from breakglass.analysis.network.ports import LAST_PORT
from breakglass.analysis.selector import Selector, read_selector
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_SIDES: dict[Direction, str] = {"ingress": "from", "egress": "to"}
_WITHOUT_PORT_NAMES = (NetworksPeer, NodesPeer, DomainNamesPeer)
_LONGEST_RULE_NAME = 100
_LONGEST_CIDR = 43
_MOST_NAMES = 25
"""CIDRs or domain names of one peer."""
_DOMAIN_NAME = re.compile(
    r"(\*\.)?([a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?"
)
"""As the CRDs write it, `A-z` included."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of the kinds writes what they all mean.

    Attributes:
        api_version: the one that is read.
        actions: what the words for actions mean.
        most: the most rules of a direction, peers of a rule and ports of a rule.
        ports: the field of a rule's ports.
        read_port: reads one of them.
        egress_peers: the fields that an egress rule's peer may have; an ingress rule's may have namespaces and pods.
        needs_namespaces: whether `pods` must say a namespaceSelector; else its absence means every namespace.
    """

    api_version: str
    actions: Mapping[str, Action]
    most: int
    ports: str
    read_port: Callable[[Mapping[str, Any], Place], RulePort]
    egress_peers: frozenset[str]
    needs_namespaces: bool


def read_spec(manifest: Manifest, dialect: Dialect, fields: frozenset[str]) -> Mapping[str, Any]:
    """The policy's `spec`, once version, metadata and the names of its fields are seen to be right.

    Args:
        manifest: the object.
        dialect: of its kind.
        fields: what the spec may have besides `subject`, `ingress` and `egress`.

    Raises:
        Refused: another version of the kind, or an unknown field.
    """
    where, kind = place(manifest), key_of(manifest).kind
    if manifest["apiVersion"] != dialect.api_version:
        message = f"{manifest['apiVersion'][:80]} is no version of {kind} that is read"
        raise where.refusal(message, manifest, "apiVersion", f"write it in {dialect.api_version}")
    known(manifest, {"apiVersion", "kind", "metadata", "spec", "status"}, "the object", where)
    check_metadata(manifest, where, namespaced=False)
    spec = _required(manifest, "spec", where)
    known(spec, {"subject", "ingress", "egress", *fields}, "the policy", where)
    return spec


def read_subject(spec: Mapping[str, Any], dialect: Dialect, where: Place) -> PodPeer:
    """The pods that the policy is about.

    Raises:
        Refused: not exactly one of namespaces and pods, or a selector that is none.
    """
    subject = _required(spec, "subject", where)
    only(subject, {"namespaces", "pods"}, "the subject", where)
    return _read_pods(subject, dialect, where)


def read_rules(spec: Mapping[str, Any], dialect: Dialect, where: Place) -> dict[Direction, tuple[Rule, ...]]:
    """The rules of every direction that has some.

    Raises:
        Refused: what the CRD refuses, or what has no meaning.
    """
    rules: dict[Direction, tuple[Rule, ...]] = {}
    for direction in _SIDES:
        written = enumerate(_items(spec, direction, where, 0, dialect.most))
        found = tuple(_read_rule(rule, direction, number, dialect, where) for number, rule in written)
        if found:
            rules[direction] = found
    return rules


def only(parent: Mapping[str, Any], keys: set[str], what: str, where: Place) -> str:
    """The one field that an object has; one that is null is not there.

    Raises:
        Refused: it has none, several, or an unknown one.
    """
    known(parent, keys, what, where)
    given = [key for key in sorted(keys) if parent.get(key) is not None]
    if len(given) != 1:
        has = " and ".join(given) or "nothing"
        message = f"{what} says {has}, and must say one of {', '.join(sorted(keys))}"
        raise where.refusal(message, parent, next(iter(parent), ""))
    return given[0]


def whole_number(parent: Mapping[str, Any], key: str, where: Place, first: int, last: int) -> int:
    """A whole number that must be there, and lie between two.

    Raises:
        Refused: it is missing, something else, or outside.
    """
    value = parent.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not first <= value <= last:
        raise where.refusal(f"{key} is no whole number from {first} to {last}", parent, key)
    return value


def port_range(parent: Mapping[str, Any], where: Place) -> tuple[int, int]:
    """`start` and `end`; other fields are the caller's.

    Raises:
        Refused: one of them is no port, or they are reversed.
    """
    first, last = (whole_number(parent, key, where, 1, LAST_PORT) for key in ("start", "end"))
    if first > last:
        raise where.refusal("start is greater than end", parent, "start")
    return first, last


def named_port(parent: Mapping[str, Any], key: str, where: Place) -> RulePort:
    """A port by its container port's name; one that no container port can have matches nothing.

    Raises:
        Refused: it is not text, or empty, which says nothing at all.
    """
    name = text(parent, key, where)
    if not name:
        raise where.refusal(f"{key} is empty", parent, key)
    return RulePort(None, name, 0)


def _read_rule(rule: Mapping[str, Any], direction: Direction, number: int, dialect: Dialect, where: Place) -> Rule:
    side = _SIDES[direction]
    known(rule, {"name", "action", side, dialect.ports}, "the rule", where)
    action = dialect.actions.get(text(rule, "action", where))
    if action is None:
        raise where.refusal(f"the rule's action is none of {', '.join(dialect.actions)}", rule, "action")
    peers = _read_peers(rule, side, dialect, where)
    ports = _read_ports(rule, dialect, where)
    if action != "accept" and any(isinstance(peer, DomainNamesPeer) for peer in peers):
        raise where.refusal("domainNames are for rules that accept", rule, side)
    if any(isinstance(peer, _WITHOUT_PORT_NAMES) for peer in peers) and any(port.protocol is None for port in ports):
        raise where.refusal("networks, nodes and domainNames have no ports with names", rule, dialect.ports)
    return Rule(f"{direction}[{number}] {_rule_name(rule, where)}".rstrip(), action, peers, ports or None)


def _rule_name(rule: Mapping[str, Any], where: Place) -> str:
    name = text(rule, "name", where)
    if len(name) > _LONGEST_RULE_NAME:
        raise where.refusal(f"the rule's name has more than {_LONGEST_RULE_NAME} characters", rule, "name")
    return name


def _read_peers(rule: Mapping[str, Any], side: str, dialect: Dialect, where: Place) -> tuple[Peer, ...]:
    fields = {"namespaces", "pods"} if side == "from" else set(dialect.egress_peers)
    return tuple(_read_peer(peer, fields, dialect, where) for peer in _items(rule, side, where, 1, dialect.most))


def _read_ports(rule: Mapping[str, Any], dialect: Dialect, where: Place) -> tuple[RulePort, ...]:
    least = 0 if rule.get(dialect.ports) is None else 1
    written = _items(rule, dialect.ports, where, least, dialect.most)
    return tuple(dialect.read_port(port, where) for port in written)


def _read_peer(peer: Mapping[str, Any], fields: set[str], dialect: Dialect, where: Place) -> Peer:
    kind = only(peer, fields, "the peer", where)
    if kind == "nodes":
        return NodesPeer(_read_selector(peer, kind, where))
    if kind == "networks":
        return NetworksPeer(tuple(_read_network(network, peer, where) for network in _names(peer, kind, where)))
    if kind == "domainNames":
        return DomainNamesPeer(tuple(_read_domain_name(name, peer, where) for name in _names(peer, kind, where)))
    return _read_pods(peer, dialect, where)


def _read_pods(parent: Mapping[str, Any], dialect: Dialect, where: Place) -> PodPeer:
    if parent.get("pods") is None:
        return PodPeer(None, _read_selector(parent, "namespaces", where), None)
    pods = mapping(parent, "pods", where)
    known(pods, {"namespaceSelector", "podSelector"}, "pods", where)
    needed = ("namespaceSelector", "podSelector") if dialect.needs_namespaces else ("podSelector",)
    for key in needed:
        _required(pods, key, where)
    return PodPeer(None, _read_selector(pods, "namespaceSelector", where), _read_selector(pods, "podSelector", where))


def _read_selector(parent: Mapping[str, Any], key: str, where: Place) -> Selector:
    selector = mapping(parent, key, where)
    equal = mapping(selector, "matchLabels", where)
    for name, value in equal.items():
        # The API server would drop the label, and so select more than is written.
        if value is None:
            raise where.refusal(f"matchLabels.{name[:80]} has no value", equal, name, 'write "" for the empty one')
    return read_selector(selector, where)


def _names(parent: Mapping[str, Any], key: str, where: Place) -> tuple[str, ...]:
    names = texts(parent, key, where)
    _count(len(names), parent, key, where, 1, _MOST_NAMES)
    if len(set(names)) < len(names):
        raise where.refusal(f"{key} says the same twice", parent, key)
    return names


def _read_network(written: str, peer: Mapping[str, Any], where: Place) -> Block:
    if len(written) > _LONGEST_CIDR:
        raise where.refusal(f"a CIDR has at most {_LONGEST_CIDR} characters", peer, "networks")
    try:
        return read_cidr(written, host_bits=True)
    except ValueError as error:
        raise where.refusal(f"networks: {error}", peer, "networks") from None


def _read_domain_name(name: str, peer: Mapping[str, Any], where: Place) -> str:
    if not _DOMAIN_NAME.fullmatch(name):
        raise where.refusal(f"{name[:80]!r} is no domain name", peer, "domainNames")
    return name


def _required(parent: Mapping[str, Any], key: str, where: Place) -> Mapping[str, Any]:
    if parent.get(key) is None:
        raise where.refusal(f"{key} is missing", parent, key)
    return mapping(parent, key, where)


def _items(parent: Mapping[str, Any], key: str, where: Place, least: int, most: int) -> list[Mapping[str, Any]]:
    items = mappings(parent, key, where)
    _count(len(items), parent, key, where, least, most)
    return items


def _count(count: int, parent: Mapping[str, Any], key: str, where: Place, least: int, most: int) -> None:
    if not least <= count <= most:
        raise where.refusal(f"{key} has {count} items, and must have {least} to {most}", parent, key)
