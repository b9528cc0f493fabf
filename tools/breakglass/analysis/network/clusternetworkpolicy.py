"""ClusterNetworkPolicy objects (policy.networking.k8s.io/v1alpha2) as data, as strict as the API server.

Semantics: https://network-policy-api.sigs.k8s.io/; what is refused: the CRD of its experimental channel, v0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breakglass.analysis.field import known, mapping, place, text
from breakglass.analysis.network.cluster_wide_policy import (
    Dialect,
    named_port,
    only,
    port_range,
    read_rules,
    read_spec,
    read_subject,
    whole_number,
)
from breakglass.analysis.network.policy import Policy, RulePort, Tier
from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_TIERS: dict[str, Tier] = {"Admin": "admin", "Baseline": "baseline"}
_LAST_PRIORITY = 1000


def read_cluster_network_policy(manifest: Manifest) -> Policy:
    """Read one ClusterNetworkPolicy.

    Raises:
        Refused: another version of the kind, what the API server would refuse, or what has no meaning.
    """
    where = place(manifest)
    spec = read_spec(manifest, _DIALECT, frozenset({"tier", "priority"}))
    tier = _TIERS.get(text(spec, "tier", where))
    if tier is None:
        raise where.refusal(f"tier is none of {', '.join(_TIERS)}", spec, "tier")
    return Policy(
        kind="ClusterNetworkPolicy",
        name=key_of(manifest).name,
        tier=tier,
        priority=whole_number(spec, "priority", where, 0, _LAST_PRIORITY),
        subject=read_subject(spec, _DIALECT, where),
        rules=read_rules(spec, _DIALECT, where),
    )


def _read_port(port: Mapping[str, Any], where: Place) -> RulePort:
    kind = only(port, {*_PROTOCOLS, "destinationNamedPort"}, "the protocol", where)
    if kind == "destinationNamedPort":
        return named_port(port, kind, where)
    protocol = mapping(port, kind, where)
    destination = mapping(protocol, only(protocol, {"destinationPort"}, kind, where), where)
    if only(destination, {"number", "range"}, "destinationPort", where) == "number":
        number = whole_number(destination, "number", where, 1, LAST_PORT)
        return RulePort(_PROTOCOLS[kind], number, number)
    numbers = mapping(destination, "range", where)
    known(numbers, {"start", "end"}, "the range", where)
    first, last = port_range(numbers, where)
    if first == last:
        raise where.refusal("start and end of a range are not the same port", destination, "range", "write a number")
    return RulePort(_PROTOCOLS[kind], first, last)


_PROTOCOLS = {protocol.lower(): protocol for protocol in PROTOCOLS}
_DIALECT = Dialect(
    api_version="policy.networking.k8s.io/v1alpha2",
    actions={"Accept": "accept", "Deny": "deny", "Pass": "pass"},
    most=25,
    ports="protocols",
    read_port=_read_port,
    egress_peers=frozenset({"namespaces", "pods", "nodes", "networks", "domainNames"}),
    needs_namespaces=False,
)
