"""What a permission amounts to: the ways from what RBAC says to what it does not say.

Sources: https://kubernetes.io/docs/concepts/security/rbac-good-practices/#privilege-escalation-risks,
https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/ and
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from breakglass.analysis.access.access import MASTERS, Access, Granted, UnseenRole
from breakglass.analysis.access.role import EVERY, GROUP, Binding, PolicyRule, Request
from breakglass.model.finding import Finding, Severity
from breakglass.model.inventory import NAMESPACE
from breakglass.model.manifest import ObjectKey

Reaches = Callable[[str], Iterable[tuple[str, str]]]
"""Namespace (empty: all of them) → its workloads, each with what it reaches, such as `data/postgres:5432`."""

_WRITE = "create update patch delete deletecollection"
_AUTHENTICATION = "authentication.k8s.io"
_CERTIFICATES = "certificates.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_EVERYBODY = {
    "User:system:anonymous": "it is everybody who reaches the API server, without a login",
    "Group:system:unauthenticated": "it is everybody who reaches the API server, without a login",
    "Group:system:authenticated": "it is everybody who can log in, and every ServiceAccount",
    "Group:system:serviceaccounts": "it is every workload of the cluster that has a token",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What is looked for in rules.

    Attributes:
        verbs: separated by spaces; one of them is enough.
        resources: separated by spaces; `userextras/` is every subresource of `userextras`.
        group: their API group; empty for the core group.
        clustered: they belong to no namespace, so that a RoleBinding gives none of it.
        namespace: the only one in which it matters; empty for any.
        name: the only object with which it matters; empty for any.
    """

    verbs: str
    resources: str
    group: str = ""
    clustered: bool = False
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Risk:
    """One way up.

    Attributes:
        finding: its id, the reason as message, remedy and severity.
        asks: one of them is enough.
        inside: how a subject stands in a pod by it, such as `may exec into`; empty where it does not.
    """

    finding: Finding
    asks: tuple[Ask, ...]
    inside: str = ""


@dataclass(frozen=True, slots=True)
class Escalation:
    """One way up that a subject has.

    Attributes:
        finding: as a reviewer reads it.
        subject: as in a contract.
        namespace: empty for the whole cluster.
        inside: how the subject stands in a pod by it, such as `may exec into`; empty where it does not.
        reaches: the pods it stands in and what they reach, such as `shop/api` and `data/postgres:5432`.
    """

    finding: Finding
    subject: str
    namespace: str
    inside: str = ""
    reaches: tuple[tuple[str, str], ...] = ()


def _risk(name: str, reason: str, remedy: str, *asks: Ask, inside: str = "", severity: Severity = "warning") -> Risk:
    return Risk(Finding(f"access-{name}", reason, remedy=remedy, severity=severity), asks, inside)


_NAME = "name the objects in resourceNames"
_DROP = "leave it to the platform's own controllers"

RISKS: tuple[Risk, ...] = (
    _risk(
        "escalate",
        "whoever may escalate writes roles with permissions they do not hold themselves",
        _DROP,
        Ask("escalate", "roles", GROUP),
        Ask("escalate", "clusterroles", GROUP, clustered=True),
    ),
    _risk(
        "bind",
        "whoever may bind gives themselves roles whose permissions they do not hold",
        _NAME,
        Ask("bind", "roles clusterroles", GROUP),
    ),
    _risk(
        "impersonate",
        "whoever may impersonate acts as somebody else, with all that those may do",
        _NAME,
        Ask("impersonate", "users groups", clustered=True),
        Ask("impersonate", "serviceaccounts"),
        Ask("impersonate", "userextras/ uids", _AUTHENTICATION, clustered=True),
        Ask("impersonate:user-info", "users groups uids userextras/", _AUTHENTICATION, clustered=True),
        Ask("impersonate:serviceaccount", "serviceaccounts", _AUTHENTICATION),
        Ask("impersonate:arbitrary-node impersonate:associated-node", "nodes", _AUTHENTICATION, clustered=True),
    ),
    _risk(
        "masters",
        "whoever acts as system:masters may do everything, whatever RBAC says",
        "leave system:masters out",
        Ask("impersonate", "groups", clustered=True, name="system:masters"),
        Ask("impersonate:user-info", "groups", _AUTHENTICATION, clustered=True, name="system:masters"),
        severity="error",
    ),
    _risk(
        "roles",
        "whoever writes roles and bindings decides who may do what, up to all that they may do themselves",
        _DROP,
        Ask(_WRITE, "roles rolebindings", GROUP),
        Ask(_WRITE, "clusterroles clusterrolebindings", GROUP, clustered=True),
    ),
    _risk(
        "tokens",
        "whoever has a ServiceAccount's token may do what it may, outside the pod as well",
        _NAME,
        Ask("create", "serviceaccounts/token"),
    ),
    _risk(
        "pods",
        "whoever makes pods runs their own programs with every ServiceAccount, Secret and volume of the namespace",
        "let them exec into pods that exist, or scale what runs",
        Ask("create update patch", "pods replicationcontrollers"),
        Ask("create update patch", "deployments statefulsets daemonsets replicasets", "apps"),
        Ask("create update patch", "jobs cronjobs", "batch"),
        inside="may run what they like as",
    ),
    _risk(
        "exec",
        "whoever may exec runs commands in a container, with the pod's ServiceAccount, Secrets and connections",
        _NAME,
        Ask("create get", "pods/exec"),
        inside="may exec into",
    ),
    _risk(
        "attach",
        "whoever may attach speaks to a container's main program, with the pod's connections",
        _NAME,
        Ask("create get", "pods/attach"),
        inside="may attach to",
    ),
    _risk(
        "ephemeral-containers",
        "whoever adds a container to a running pod has its ServiceAccount, Secrets and connections",
        _NAME,
        Ask("update patch", "pods/ephemeralcontainers"),
        inside="may add a container to",
    ),
    _risk(
        "port-forward",
        "a forwarded port comes from the node itself: no NetworkPolicy has to let it in",
        _NAME,
        Ask("create get", "pods/portforward"),
    ),
    _risk(
        "proxy",
        "what goes through the API server's proxy comes from the control plane, past an ingress and its login",
        _NAME,
        Ask("create get update patch delete", "pods/proxy services/proxy"),
    ),
    _risk(
        "node-proxy",
        "the kubelet's API runs commands in every pod of the node, unseen by admission and the audit log",
        _DROP,
        Ask("create get update patch delete", "nodes/proxy", clustered=True),
    ),
    _risk(
        "nodes",
        "whoever writes nodes decides which pods run where, and can draw others' pods to a node of their own",
        _DROP,
        Ask(_WRITE, "nodes nodes/status", clustered=True),
    ),
    _risk(
        "secrets",
        "whoever reads Secrets has every password and token in them; list and watch show their content as well",
        _NAME,
        Ask("get list watch", "secrets"),
    ),
    _risk(
        "volumes",
        "a PersistentVolume may be any directory of a node",
        "let them write PersistentVolumeClaims",
        Ask("create update patch", "persistentvolumes", clustered=True),
    ),
    _risk(
        "admission",
        "admission sees every object that is written, Secrets too, and may change or refuse it",
        _DROP,
        Ask(
            _WRITE,
            "validatingwebhookconfigurations mutatingwebhookconfigurations validatingadmissionpolicies "
            "validatingadmissionpolicybindings mutatingadmissionpolicies mutatingadmissionpolicybindings",
            _ADMISSION,
            clustered=True,
        ),
    ),
    _risk(
        "api-services",
        "an APIService takes over requests of everybody, with who they are",
        _DROP,
        Ask("create update patch", "apiservices", "apiregistration.k8s.io", clustered=True),
    ),
    _risk(
        "certificates-approve",
        "whoever approves certificate requests lets others in, under any name that the signer takes",
        _NAME,
        Ask("update patch", "certificatesigningrequests/approval", _CERTIFICATES, clustered=True),
        Ask("approve", "signers", _CERTIFICATES, clustered=True),
    ),
    _risk(
        "certificates-sign",
        "whoever signs certificates makes logins under any name and group",
        _NAME,
        Ask("update patch", "certificatesigningrequests/status", _CERTIFICATES, clustered=True),
        Ask("sign", "signers", _CERTIFICATES, clustered=True),
    ),
    _risk(
        "network",
        "whoever writes network policies opens connections by themselves",
        "let an emergency overlay open what is needed",
        Ask(_WRITE, "networkpolicies", "networking.k8s.io"),
        Ask(
            _WRITE,
            "clusternetworkpolicies adminnetworkpolicies baselineadminnetworkpolicies",
            "policy.networking.k8s.io",
            clustered=True,
        ),
    ),
    _risk(
        "namespaces",
        "a namespace's labels decide which network policies and which Pod Security level hold in it",
        _DROP,
        Ask("create update patch", "namespaces"),
    ),
    _risk(
        "inventory",
        "the inventories say what is removed when a window closes: without them, access may stay open",
        "keep everybody but the applier and the agent out of the namespace",
        Ask(_WRITE, "configmaps", namespace=NAMESPACE),
        Ask(_WRITE, "leases", "coordination.k8s.io", namespace=NAMESPACE),
    ),
)
"""In the order in which a reviewer reads them."""


def escalations(before: Access, after: Access, reaches: Reaches | None = None) -> Iterator[Escalation]:
    """The ways up that the second has and the first has not; the red ones (severity `error`) are of every kind first.

    Args:
        before: the RBAC without the change.
        after: with it.
        reaches: what the workloads of a namespace reach; None where nobody asks.

    Raises:
        Refused: the rules of a subject overlap in too many ways to compare.
    """
    for key in sorted(after.naming(MASTERS) - before.naming(MASTERS)):
        yield _masters(key)
    granted = tuple(after.beyond(before))
    for item in granted:
        yield from _wide(item)
    for role in sorted(after.unseen() - before.unseen()):
        yield _unseen(role)
    for item in granted:
        for way in _ways_up(item.rules, item.namespace if item.namespace in ("", NAMESPACE) else _ANY_NAMESPACE):
            yield _told(way, item, reaches)


def everything(rules: Iterable[PolicyRule]) -> bool:
    """Whether a rule grants every verb on every resource."""
    return any(
        EVERY in rule.verbs and EVERY in rule.groups and EVERY in rule.resources and not rule.names for rule in rules
    )


def place_of(namespace: str) -> str:
    """A namespace, or the whole cluster, for people."""
    return namespace or "the whole cluster"


def subject_name(subject: str) -> str:
    """A subject as pages and JSON spell it: `User/NAME`, `Group/NAME`, `ServiceAccount/NAMESPACE/NAME`."""
    return subject.replace(":", "/", 1)


def describe_rule(rule: PolicyRule) -> str:
    """A rule as text behind "may", such as `get, list pods named web`."""
    verbs = "use every verb on" if EVERY in rule.verbs else few(rule.verbs)
    what = few("every URL" if url == EVERY else url for url in rule.urls)
    what = what or few("every resource" if each == EVERY else each for each in rule.resources)
    groups = few("every API group" if group == EVERY else group or "the core group" for group in rule.groups)
    of = f" of {groups}" if any(rule.groups) else ""
    return f"{verbs} {what}{of}" + (f" named {few(rule.names)}" if rule.names else "")


def describe_binding(binding: Binding) -> str:
    """A binding as text, such as `RoleBinding shop/web → Role web`."""
    namespace, name = binding.namespace, binding.key.name
    return (
        f"{binding.key.kind} {f'{namespace}/{name}' if namespace else name} → {binding.role.kind} {binding.role.name}"
    )


def few(words: Iterable[str], between: str = ", ", most: int = 5) -> str:
    """Words in a line, so many at most."""
    words = tuple(words)
    return between.join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _red(name: str, item: Granted, message: str, remedy: str) -> Escalation:
    told = f"{subject_name(item.subject)} {message}"
    return Escalation(Finding(f"access-{name}", told, _because(item), remedy), item.subject, item.namespace)


def _because(item: Granted) -> str:
    return few(map(describe_binding, item.bindings))


def _wide(item: Granted) -> Iterator[Escalation]:
    """What is red whatever it is about: wildcards, the whole cluster, everybody."""
    where = place_of(item.namespace)
    if everything(item.rules):
        message = f"may do everything in {where}: every verb on every resource, with every way up that there is"
        yield _red("wildcard", item, message, "name verbs and resources")
    elif stars := [rule for rule in item.rules if EVERY in (*rule.verbs, *rule.groups, *rule.resources, *rule.urls)]:
        shown = few(map(describe_rule, stars), "; ")
        message = f"may {shown} in {where}: a wildcard also grants what nobody has thought of yet"
        yield _red("wildcard", item, message, "name verbs and resources")
    if not item.namespace and any(rule.resources for rule in item.rules):
        message = "is granted permissions in the whole cluster: in every namespace, also in those to come"
        yield _red("whole-cluster", item, message, "bind it in one namespace, by a RoleBinding")
    if item.subject in _EVERYBODY:
        message = f"is granted permissions in {where}: {_EVERYBODY[item.subject]}"
        yield _red("everybody", item, message, "bind it to a group of people")


def _masters(binding: ObjectKey) -> Escalation:
    message = "a binding names system:masters: its members may do everything, whatever RBAC says"
    return Escalation(Finding("access-masters", message, str(binding), "leave it out"), MASTERS, binding.namespace)


def _unseen(role: UnseenRole) -> Escalation:
    subject, where = subject_name(role.subject), place_of(role.namespace)
    message = (
        f"{subject} is given the ClusterRole {role.role} in {where}: no manifest holds it, nobody sees what it grants"
    )
    finding = Finding(
        "access-unseen-role", message, f"ClusterRole {role.role}", "bind a role of the manifests", "warning"
    )
    return Escalation(finding, role.subject, role.namespace)


@dataclass(frozen=True, slots=True)
class _Way:
    """A risk that rules hold: what of it they grant, as text, and the names they confine it to (empty: none)."""

    risk: Risk
    what: str
    names: frozenset[str]


_ANY_NAMESPACE = "*"


@lru_cache(maxsize=4096)
def _ways_up(rules: tuple[PolicyRule, ...], namespace: str) -> tuple[_Way, ...]:
    found = []
    for risk in RISKS:
        # Verbs → the resources on which they are granted.
        what: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        granting: list[PolicyRule] = []
        for ask in risk.asks:
            if (ask.clustered and namespace) or (ask.namespace and namespace not in ("", ask.namespace)):
                continue
            for resource in ask.resources.split():
                verbs = {verb: match for verb in ask.verbs.split() if (match := _granting(rules, ask, verb, resource))}
                matching = [rule for match in verbs.values() for rule in match]
                granting += matching
                if matching:
                    what[tuple(verbs)].append(_described(resource, ask.group, _names(matching)))
        if what:
            said = "; ".join(f"{few(verbs)} {few(resources)}" for verbs, resources in what.items())
            found.append(_Way(risk, said, _names(granting)))
    return tuple(found)


def _granting(rules: Iterable[PolicyRule], ask: Ask, verb: str, resource: str) -> list[PolicyRule]:
    return [
        rule
        for rule in rules
        if (not ask.name or not rule.names or ask.name in rule.names)
        and any(rule.touches(Request(verb, ask.group, each)) for each in _resources(resource, rule))
    ]


def _resources(resource: str, rule: PolicyRule) -> tuple[str, ...]:
    """The resource, or those of its subresources that a rule may be about."""
    if not resource.endswith("/"):
        return (resource,)
    return (f"{resource}any", *(resource + each.partition("/")[2] for each in rule.resources if "/" in each))


def _names(rules: Iterable[PolicyRule]) -> frozenset[str]:
    """The only objects that the rules are about; empty where one of them is about all."""
    rules = tuple(rules)
    named = all(rule.names for rule in rules)
    return frozenset(name for rule in rules for name in rule.names) if named else frozenset()


def _described(resource: str, group: str, names: frozenset[str]) -> str:
    return (f"{resource}.{group}" if group else resource) + (f" named {few(sorted(names))}" if names else "")


def _told(way: _Way, item: Granted, reaches: Reaches | None) -> Escalation:
    subject, finding = subject_name(item.subject), way.risk.finding
    message = f"{subject} may {way.what} in {place_of(item.namespace)}: {finding.message}"
    inside = reaches(item.namespace) if way.risk.inside and reaches is not None else ()
    stood = tuple(
        (workload, destination)
        for workload, destination in inside
        if not way.names or any(_is_pod_of(name, workload) for name in way.names)
    )
    told = replace(finding, message=message, where=_because(item))
    return Escalation(told, item.subject, item.namespace, way.risk.inside, stood)


def _is_pod_of(pod: str, workload: str) -> bool:
    """Whether a pod of this name may be the workload's: controllers lengthen the name."""
    name = workload.partition("/")[2].partition("[")[0]
    return pod == name or pod.startswith(f"{name}-")
