"""Who can do this? The question as kubectl users put it, and every subject that a binding lets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from breakglass.analysis.access.access import Access, UnseenRole
from breakglass.analysis.access.role import Binding, PolicyRule, Request
from breakglass.model.errors import Refused

_CORE = """
bindings configmaps endpoints events limitranges persistentvolumeclaims pods podtemplates replicationcontrollers
resourcequotas secrets serviceaccounts services
"""
_CORE_CLUSTER = "componentstatuses namespaces nodes persistentvolumes"
_NAMESPACED = {
    "apps": "controllerrevisions daemonsets deployments replicasets statefulsets",
    "authorization.k8s.io": "localsubjectaccessreviews",
    "autoscaling": "horizontalpodautoscalers",
    "batch": "cronjobs jobs",
    "coordination.k8s.io": "leases",
    "discovery.k8s.io": "endpointslices",
    "gateway.networking.k8s.io": "backendtlspolicies gateways grpcroutes httproutes referencegrants tlsroutes",
    "networking.k8s.io": "ingresses networkpolicies",
    "policy": "poddisruptionbudgets",
    "rbac.authorization.k8s.io": "rolebindings roles",
    "resource.k8s.io": "resourceclaims resourceclaimtemplates",
    "storage.k8s.io": "csistoragecapacities",
}
_CLUSTERED = {
    "admissionregistration.k8s.io": "mutatingadmissionpolicies mutatingadmissionpolicybindings "
    "mutatingwebhookconfigurations validatingadmissionpolicies validatingadmissionpolicybindings "
    "validatingwebhookconfigurations",
    "apiextensions.k8s.io": "customresourcedefinitions",
    "apiregistration.k8s.io": "apiservices",
    "authentication.k8s.io": "selfsubjectreviews tokenreviews",
    "authorization.k8s.io": "selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
    "certificates.k8s.io": "certificatesigningrequests signers",
    "flowcontrol.apiserver.k8s.io": "flowschemas prioritylevelconfigurations",
    "gateway.networking.k8s.io": "gatewayclasses",
    "networking.k8s.io": "ingressclasses ipaddresses servicecidrs",
    "node.k8s.io": "runtimeclasses",
    "policy.networking.k8s.io": "adminnetworkpolicies baselineadminnetworkpolicies clusternetworkpolicies",
    "rbac.authorization.k8s.io": "clusterrolebindings clusterroles",
    "resource.k8s.io": "deviceclasses resourceslices",
    "scheduling.k8s.io": "priorityclasses",
    "storage.k8s.io": "csidrivers csinodes storageclasses volumeattachments volumeattributesclasses",
}


def _groups(table: dict[str, str]) -> dict[str, str]:
    return {resource: group for group, resources in table.items() for resource in resources.split()}


GROUPS = _groups({"": _CORE}) | _groups({"": _CORE_CLUSTER}) | _groups(_NAMESPACED) | _groups(_CLUSTERED)
"""Resource → its API group, where Kubernetes or the Gateway API brings it."""
# A RoleBinding does let somebody get its own namespace.
CLUSTERED = frozenset(_groups({"": _CORE_CLUSTER}) | _groups(_CLUSTERED)) - {"namespaces"}
"""Resources that belong to no namespace, so that no RoleBinding grants anything on them."""
# `bind` on a ClusterRole is asked in the namespace of the RoleBinding that refers to it.
_BOUND_IN_NAMESPACES = ("bind", "clusterroles")


@dataclass(frozen=True, slots=True)
class Question:
    """Who can do this?

    Attributes:
        verb: such as `get`.
        resource: `resource`, `resource/subresource` or a URL, without its group.
        group: API group, empty for the core group; None for any, where nobody knows whose the resource is.
        namespace: empty for the whole cluster; None for any place.
        name: of the object; empty where one object is enough.
    """

    verb: str
    resource: str
    group: str | None
    namespace: str | None = None
    name: str = ""

    @property
    def is_url(self) -> bool:
        """Whether it is about a path outside the resources."""
        return self.resource.startswith("/")

    @property
    def is_clustered(self) -> bool:
        """Whether only what is granted in the whole cluster counts."""
        if self.is_url:
            return True
        resource = self.resource.partition("/")[0]
        known = resource in CLUSTERED and self.group == GROUPS.get(resource)
        return known and (self.verb, self.resource) != _BOUND_IN_NAMESPACES

    def __str__(self) -> str:
        named = f" {self.name}" if self.name else ""
        place = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}{named}{place}"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a binding, its role, and the only objects the permission is about (empty: all)."""

    binding: Binding
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Able:
    """A subject that can; namespace is empty for the whole cluster."""

    subject: str
    namespace: str
    because: tuple[Reason, ...]


def read_question(verb: str, resource: str, namespace: str | None = None, name: str = "") -> Question:
    """Read `get secrets`, `create pods/exec`, `get deployments.apps`, `update deployments.apps/scale`, `get /metrics`.

    Args:
        verb: such as `get`.
        resource: as above; without a group it is that of Kubernetes' own resource.
        namespace: None for any place.
        name: of the object; empty for any.

    Raises:
        Refused: it is not written so.
    """
    if not verb or not resource:
        raise Refused("verb and resource are asked for", remedy="write for example: get secrets")
    if resource.startswith("/"):
        if namespace or name:
            raise Refused(f"{resource} is a URL: it has neither namespace nor name", remedy="leave them out")
        return Question(verb, resource, "", None)
    plain, _, rest = resource.partition("/")
    plain, dot, group = plain.partition(".")
    # kubectl takes the group after the subresource as well: deployments/scale.apps.
    subresource, late_dot, late_group = rest.partition(".")
    if not plain or ("/" in resource and not subresource) or (dot and late_dot):
        raise Refused(f"{resource} is no resource", remedy="write resource, resource.group or resource/subresource")
    plain = plain.lower()
    known = group or late_group if dot or late_dot else GROUPS.get(plain)
    return Question(verb, f"{plain}/{subresource}" if subresource else plain, known, namespace, name)


def who_can(access: Access, question: Question) -> Iterator[Able]:
    """Every subject that a binding names and lets do it, ordered; system:masters can in any case and is not among them.

    Where a namespace is asked about, a subject of the whole cluster is among them once, as of the whole cluster.
    """
    found: defaultdict[tuple[str, str], list[Reason]] = defaultdict(list)
    for binding in access.bindings:
        if _is_elsewhere(binding, question):
            continue
        rules = [rule for rule in access.rules_of([binding]) if _lets(rule, question)]
        if rules:
            names = sorted({name for rule in rules for name in rule.names}) if all(r.names for r in rules) else ()
            for subject in binding.subjects:
                found[subject, binding.namespace].append(Reason(binding, tuple(names)))
    for subject, namespace in sorted(found):
        yield Able(subject, namespace, tuple(found[subject, namespace]))


def perhaps(access: Access, question: Question) -> tuple[UnseenRole, ...]:
    """Subjects of whom nobody can tell: they are bound to roles that no manifest holds; ordered."""
    return tuple(
        role
        for role in sorted(access.unseen())
        if not role.namespace or (not question.is_clustered and question.namespace in (None, role.namespace))
    )


def _is_elsewhere(binding: Binding, question: Question) -> bool:
    if not binding.namespace:
        return False
    return question.is_clustered or question.namespace not in (None, binding.namespace)


def _lets(rule: PolicyRule, question: Question) -> bool:
    if question.is_url:
        return rule.touches(Request(question.verb, url=question.resource))
    if question.name and rule.names and question.name not in rule.names:
        return False
    groups = rule.groups if question.group is None else (question.group,)
    return any(rule.touches(Request(question.verb, group, question.resource)) for group in groups)
