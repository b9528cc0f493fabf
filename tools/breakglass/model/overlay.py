"""`overlay.yaml`: what an emergency overlay promises - scope, limits, parameters, contract."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from breakglass.model.document import Strict
from breakglass.model.finding import Finding
from breakglass.model.name import ClusterName, KindName, NamespaceName, OverlayName, single_line
from breakglass.model.policy import Approvals, DurationLimits, Policy

OVERLAYS = "overlays/emergency"
"""Directory of the overlays, relative to the repository."""
CONTRACT_FILE = "overlay.yaml"

Workload = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
REQUESTER = "Requester"
"""The subject of a contract that is whoever asks: another user in every activation."""
Subject = Annotated[
    str,
    Field(
        pattern=r"^(User|Group):[^\s:][^\s]{0,250}$|^ServiceAccount:[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}$|^Requester$",
        description="User:NAME, Group:NAME, ServiceAccount:NAMESPACE/NAME, or Requester for whoever asks.",
    ),
]


def _canonical_cidr(written: str) -> str:
    try:
        network = ip_network(written)
    except ValueError as error:
        raise ValueError(f"not a CIDR: {error}") from None
    if str(network) != written:
        raise ValueError(f"write {network}")
    return written


class Scope(Strict):
    """Where the overlay may be opened, and what it may touch there."""

    clusters: list[ClusterName] = Field(min_length=1)
    namespaces: list[NamespaceName] = Field(min_length=1)
    kinds: list[KindName] = Field(min_length=1)


class LabelExpression(Strict):
    """One condition on one label, as in Kubernetes' label selectors."""

    key: str = Field(min_length=1, max_length=317)
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _values_where_needed(self) -> Self:
        if bool(self.values) != (self.operator in ("In", "NotIn")):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist take none")
        return self


class LabelSelector(Strict):
    """A label selector; without conditions it selects everything."""

    matchLabels: dict[str, str] = Field(default={})
    matchExpressions: list[LabelExpression] = Field(default=[])

    def __str__(self) -> str:
        equal = [f"{key}={value}" for key, value in self.matchLabels.items()]
        more = [" ".join([each.key, each.operator, *each.values]) for each in self.matchExpressions]
        return ",".join([*equal, *more]) or "any"


class PodsEnd(Strict):
    """Pods by their labels, those that no manifest holds included."""

    namespace: NamespaceName | None = Field(None, description="The namespace they are in.")
    namespaceSelector: LabelSelector | None = Field(None, description="The namespaces they are in; {} is every one.")
    podSelector: LabelSelector = Field(LabelSelector(), description="Which pods of those namespaces; {} is every one.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.namespace is None) == (self.namespaceSelector is None):
            raise ValueError("name either a namespace or a namespaceSelector")
        return self

    def __str__(self) -> str:
        return f"{self.namespace or f'({self.namespaceSelector})'}/({self.podSelector})"


class AddressesEnd(Strict):
    """Addresses outside the cluster."""

    cidr: Annotated[str, AfterValidator(_canonical_cidr)] = Field(
        description="Such as 198.51.100.0/24 or 2001:db8::/32."
    )

    def __str__(self) -> str:
        return self.cidr


End = Workload | PodsEnd | AddressesEnd
"""One end of a connection: `namespace/name` of a workload, pods by their labels, or addresses."""


class Connection(Strict):
    """Connections from one end to another; without a port, every port of the protocol."""

    source: End = Field(alias="from", description="namespace/name of a workload, pods by labels, or addresses.")
    destination: End = Field(alias="to", description="namespace/name of a workload, pods by labels, or addresses.")
    port: int | None = Field(None, ge=1, le=65535)
    endPort: int | None = Field(None, ge=1, le=65535, description="Last port of a range that begins with port.")
    protocol: Literal["TCP", "UDP", "SCTP", "*"] = Field("TCP", description="* is every protocol, on every port.")

    @model_validator(mode="after")
    def _ports_in_order(self) -> Self:
        if self.endPort is not None and (self.port is None or self.endPort < self.port):
            raise ValueError("endPort needs a port that is not above it")
        if self.protocol == "*" and self.port is not None:
            raise ValueError("a port belongs to one protocol")
        if isinstance(self.source, AddressesEnd) and isinstance(self.destination, AddressesEnd):
            raise ValueError("one of the two ends is in the cluster")
        return self

    def __str__(self) -> str:
        if self.protocol == "*":
            ports = "every port"
        elif self.port is None:
            ports = f"{self.protocol} every port"
        else:
            ports = f"{self.protocol} {self.port}" + (f"-{self.endPort}" if self.endPort else "")
        return f"{self.source} → {self.destination} {ports}"


class Endpoint(Strict):
    """A host and path that the outside can reach."""

    host: str = Field(pattern=r"^[a-z0-9*]([a-z0-9.*-]{0,251}[a-z0-9])?$")
    path: str = Field("/", pattern=r"^/[^\s]{0,500}$")

    def __str__(self) -> str:
        return f"{self.host}{self.path}"


class Grant(Strict):
    """A permission: this subject may use this verb on this resource in this namespace."""

    subject: Subject
    verb: str = Field(pattern=r"^[a-z]{1,63}$")
    resource: str = Field(
        pattern=r"^[a-z0-9]{1,63}(/[a-z0-9]{1,63})?$", description="Resource, or resource/subresource."
    )
    group: str = Field("", pattern=r"^[a-z0-9.-]{0,253}$", description="API group; empty for the core group.")
    namespace: NamespaceName

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.subject} may {self.verb} {resource} in {self.namespace}"


class Contract(Strict):
    """What opening changes for the better, and what it must leave shut."""

    opens: list[Connection] = Field(default=[])
    keepsShut: list[Connection] = Field(default=[])
    exposes: list[Endpoint] = Field(default=[])
    keepsPrivate: list[Endpoint] = Field(default=[])
    grants: list[Grant] = Field(default=[])
    keepsDenied: list[Grant] = Field(default=[])

    @model_validator(mode="after")
    def _promises_something(self) -> Self:
        if not (self.opens or self.exposes or self.grants):
            raise ValueError("the contract promises nothing; fill opens, exposes or grants")
        return self


def _schema_of_object(schema: dict[str, Any]) -> dict[str, Any]:
    # Imported here: it is a third of the start-up of verbs that read no contract.
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from None
    except RecursionError:
        raise ValueError("the schema of parameters is nested too deeply") from None
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise ValueError("the schema of parameters needs type: object and additionalProperties: false")
    if _references_elsewhere(schema):
        raise ValueError("the schema of parameters may not use $ref")
    return schema


def _references_elsewhere(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "$ref" in schema or "$dynamicRef" in schema or any(map(_references_elsewhere, schema.values()))
    return isinstance(schema, list) and any(map(_references_elsewhere, schema))


class OverlaySpec(Strict):
    """What the overlay promises."""

    summary: Annotated[str, AfterValidator(single_line)] = Field(max_length=200)
    scope: Scope
    duration: DurationLimits
    approvals: Approvals
    parameters: Annotated[dict[str, Any], AfterValidator(_schema_of_object)] = Field(
        default={"type": "object", "additionalProperties": False},
        description="JSON Schema (2020-12) of the activation's parameters.",
    )
    contract: Contract


class Metadata(Strict):
    """The overlay's name: the same as its directory's."""

    name: OverlayName


class Overlay(Strict):
    """The file `overlay.yaml`."""

    apiVersion: Literal["breakglass.dev/v1alpha1"]
    kind: Literal["Overlay"]
    metadata: Metadata
    spec: OverlaySpec

    @property
    def name(self) -> str:
        """The overlay's name."""
        return self.metadata.name


def promises(contract: Contract) -> list[str]:
    """What a contract opens, exposes and grants, one sentence each."""
    return [str(promise) for promise in (*contract.opens, *contract.exposes, *contract.grants)]


def contract_for(contract: Contract, requester: str) -> Contract:
    """A contract as it binds in one activation: the subject `Requester` is the user who asked.

    Args:
        requester: that user as the API servers know them.
    """

    def named(grants: list[Grant]) -> list[Grant]:
        user = {"subject": f"User:{requester}"}
        return [each.model_copy(update=user) if each.subject == REQUESTER else each for each in grants]

    return contract.model_copy(update={"grants": named(contract.grants), "keepsDenied": named(contract.keepsDenied)})


def overlay_file(name: str) -> str:
    """Path of an overlay's contract inside the repository."""
    return f"{OVERLAYS}/{name}/{CONTRACT_FILE}"


def judge_overlay(overlay: Overlay, policy: Policy, directory: str) -> list[Finding]:
    """Check a contract against the policy: an overlay may only narrow what the policy allows.

    Args:
        overlay: the contract.
        policy: the policy of the same commit.
        directory: name of the directory the contract stands in.
    """
    file, spec, limits = overlay_file(directory), overlay.spec, policy.spec
    findings = []
    if overlay.name != directory:
        message = f"metadata.name is {overlay.name}, the directory is {directory}"
        findings.append(Finding("overlay-name", message, file, "give both the same name"))
    for cluster in sorted(set(spec.scope.clusters) - set(limits.clusters)):
        message = f"scope.clusters names {cluster}, which the policy does not know"
        findings.append(Finding("overlay-cluster", message, file, "add it to breakglass.yaml, or remove it here"))
    for kind in sorted(set(spec.scope.kinds) - set(limits.kinds)):
        message = f"scope.kinds names {kind}, which the policy does not allow in overlays"
        findings.append(Finding("overlay-kind", message, file, "remove it, or let the policy's owners allow it"))
    if spec.duration.maximum > limits.duration.maximum:
        findings.append(
            Finding(
                "overlay-duration", "duration.maximum is above the policy's maximum", file, "lower duration.maximum"
            )
        )
    for approver in sorted(set(spec.approvals.approvers) - set(limits.approvals.approvers)):
        message = f"approvals.approvers names {approver}, who may approve nothing by the policy"
        findings.append(Finding("overlay-approvers", message, file, "add them to breakglass.yaml, or remove them here"))
    if spec.approvals.minimum < limits.approvals.minimum:
        findings.append(
            Finding(
                "overlay-approvals", "approvals.minimum is below the policy's minimum", file, "raise approvals.minimum"
            )
        )
    return findings
