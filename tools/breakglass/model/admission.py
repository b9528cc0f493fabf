"""What nobody but the applier and the agent may write, said to the API server as ValidatingAdmissionPolicies.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/. RBAC alone cannot say it: whoever
may write NetworkPolicies or ConfigMaps at all may write these as well. Two limits are Kubernetes' own: whoever may
delete the policies, or impersonate the applier, is not held by them, and both stand in the audit log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from breakglass.model.identity import AGENT_USER, APPLIER
from breakglass.model.inventory import NAMESPACE
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest
from breakglass.model.resource import resources_of

_GROUP = "admissionregistration.k8s.io"
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_INVENTORY_LABEL = "breakglass.dev/inventory"
_WRITES = ("CREATE", "UPDATE", "DELETE")
_OURS = f"request.userInfo.username in ['{APPLIER}', '{AGENT_USER}']"
# The last one is who all controllers are where they have no credentials of their own.
_CONTROLLERS = f"""\
{_OURS} ||
request.operation != 'CREATE' && request.userInfo.username in [
  'system:serviceaccount:kube-system:namespace-controller',
  'system:serviceaccount:kube-system:generic-garbage-collector',
  'system:kube-controller-manager'
]"""


def admission_policies(kinds: Iterable[str]) -> tuple[tuple[str, Manifest], ...]:
    """The policies and their bindings, each with a line of why.

    Args:
        kinds: what overlays may contain, as the policy writes it (`Kind.group`).
    """
    written = list(kinds)
    return (
        *_inventories(),
        *_policy(
            "breakglass-activations",
            "What an activation added is the applier's and the agent's, and so is the label that says so.",
            _resource_rules(written, _WRITES),
            {"has-the-label": _either(_has_label(ACTIVATION_LABEL))},
            _CONTROLLERS,
            f"objects with the label {ACTIVATION_LABEL} are written by breakglass alone",
        ),
        *_policy(
            "breakglass-field-manager",
            "Closing gives back what the field manager breakglass owns, so nobody else writes under that name.",
            _resource_rules(written, _WRITES[:2]),
            {"as-breakglass": "request.options.?fieldManager.orValue('') == 'breakglass'"},
            _OURS,
            "the field manager breakglass is that of breakglass alone",
        ),
    )


def _inventories() -> tuple[tuple[str, Manifest], ...]:
    """Inventories by name and by label, as they are read; all Leases of the namespace."""
    inventory = _either(f"it.metadata.name.startsWith('activation-') || {_has_label(_INVENTORY_LABEL)}")
    return _policy(
        "breakglass-inventories",
        "Who could change an inventory could keep a window open, or undo what the baseline holds.",
        [_resource_rule("", ["configmaps"], _WRITES), _resource_rule("coordination.k8s.io", ["leases"], _WRITES)],
        {"inventory-or-lease": f"request.resource.resource == 'leases' || {inventory}"},
        _CONTROLLERS,
        "inventories and Leases of breakglass are written by breakglass alone",
        namespace=NAMESPACE,
    )


def _resource_rules(kinds: Iterable[str], operations: Iterable[str]) -> list[dict[str, Any]]:
    return [_resource_rule(group, plurals, operations) for group, plurals in resources_of(kinds).items()]


def _resource_rule(group: str, plurals: list[str], operations: Iterable[str]) -> dict[str, Any]:
    # Without subresources: controllers write the status of what we made.
    return {"apiGroups": [group], "apiVersions": ["*"], "operations": list(operations), "resources": plurals}


def _has_label(label: str) -> str:
    return f"it.metadata.?labels[?'{label}'].hasValue()"


def _either(condition: str) -> str:
    """CEL: it holds for the object as it will be, or as it was; a creation has no old one, a deletion no new one."""
    return f"[object, oldObject].exists(it, it != null && ({condition}))"


def _policy(
    name: str,
    why: str,
    rules: list[dict[str, Any]],
    conditions: dict[str, str],
    allowed: str,
    message: str,
    *,
    namespace: str | None = None,
) -> tuple[tuple[str, Manifest], ...]:
    """A policy with its binding; objects that do not meet the conditions pay nothing more."""
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "matchConditions": [{"name": key, "expression": expression} for key, expression in conditions.items()],
        "validations": [{"expression": allowed, "message": message, "reason": "Forbidden"}],
    }
    binding: dict[str, Any] = {"policyName": name, "validationActions": ["Deny"]}
    if namespace is not None:
        binding["matchResources"] = {"namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: namespace}}}
    return (
        (why, _object("ValidatingAdmissionPolicy", name, spec)),
        ("", _object("ValidatingAdmissionPolicyBinding", name, binding)),
    )


def _object(kind: str, name: str, spec: dict[str, Any]) -> Manifest:
    return {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
