"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1), as strict as the API server.

Semantics: https://network-policy-api.sigs.k8s.io/; what is refused: the CRDs of their experimental channel, v0.1.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from breakglass.analysis.network.policy import Policy, RulePort
from breakglass.analysis.network.ports import LAST_PORT, PROTOCOLS
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_LAST_PRIORITY = 1000
_AFTER_EVERY_PRIORITY = _LAST_PRIORITY + 1
_BASELINE_NAME = "default"


def read_admin_network_policy(manifest: Manifest) -> Policy:
    """Read one AdminNetworkPolicy, or the one BaselineAdminNetworkPolicy, which comes last in its tier.

    Raises:
        Refused: another version of the kind, what the API server would refuse, or what has no meaning.
    """
    return _read_baseline(manifest) if key_of(manifest).kind == "BaselineAdminNetworkPolicy" else _read_admin(manifest)


def _read_admin(manifest: Manifest) -> Policy:
    where, spec = place(manifest), read_spec(manifest, _ADMIN, frozenset({"priority"}))
    return Policy(
        kind="AdminNetworkPolicy",
        name=key_of(manifest).name,
        tier="admin",
        priority=whole_number(spec, "priority", where, 0, _LAST_PRIORITY),
        subject=read_subject(spec, _ADMIN, where),
        rules=read_rules(spec, _ADMIN, where),
    )


def _read_baseline(manifest: Manifest) -> Policy:
    where, spec, name = place(manifest), read_spec(manifest, _BASELINE, frozenset()), key_of(manifest).name
    if name != _BASELINE_NAME:
        message = f"there is one BaselineAdminNetworkPolicy, named {_BASELINE_NAME}"
        raise where.refusal(message, mapping(manifest, "metadata", where), "name")
    return Policy(
        kind="BaselineAdminNetworkPolicy",
        name=name,
        tier="baseline",
        priority=_AFTER_EVERY_PRIORITY,
        subject=read_subject(spec, _BASELINE, where),
        rules=read_rules(spec, _BASELINE, where),
    )


def _read_port(port: Mapping[str, Any], where: Place) -> RulePort:
    kind = only(port, {"portNumber", "portRange", "namedPort"}, "the port", where)
    if kind == "namedPort":
        return named_port(port, kind, where)
    written = mapping(port, kind, where)
    known(written, {"protocol", "port"} if kind == "portNumber" else {"protocol", "start", "end"}, kind, where)
    protocol = "TCP" if written.get("protocol") is None else text(written, "protocol", where)
    if protocol not in PROTOCOLS:
        raise where.refusal(f"{protocol[:80] or 'nothing'} is no protocol of {kind}", written, "protocol")
    if kind == "portNumber":
        number = whole_number(written, "port", where, 1, LAST_PORT)
        return RulePort(protocol, number, number)
    return RulePort(protocol, *port_range(written, where))


_ADMIN = Dialect(
    api_version="policy.networking.k8s.io/v1alpha1",
    actions={"Allow": "accept", "Deny": "deny", "Pass": "pass"},
    most=100,
    ports="ports",
    read_port=_read_port,
    egress_peers=frozenset({"namespaces", "pods", "nodes", "networks", "domainNames"}),
    needs_namespaces=True,
)
_BASELINE = replace(
    _ADMIN,
    actions={"Allow": "accept", "Deny": "deny"},
    egress_peers=_ADMIN.egress_peers - {"domainNames"},
)
