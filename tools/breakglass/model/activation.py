"""`activations/<id>.yaml`: this overlay, on these clusters, for this reason, this long. Immutable and single-use."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML

from breakglass.model.digest import Digest
from breakglass.model.document import Strict, invalid
from breakglass.model.finding import Finding
from breakglass.model.name import ActivationId, ClusterName, Login, OverlayName, single_line
from breakglass.model.overlay import OVERLAYS, Overlay
from breakglass.model.policy import API_VERSION, Policy
from breakglass.model.time import Duration, Instant, format_duration, format_instant

ACTIVATIONS = f"{OVERLAYS}/activations"
"""Directory of the activations, relative to the repository."""
SCHEMA_COMMENT = "# yaml-language-server: $schema=../../../docs/schemas/activation.json\n"

CLOCK_SKEW = timedelta(seconds=60)
"""How far a requester's clock may be ahead of the forge's."""


def _printable(value: object) -> object:
    if isinstance(value, str) and (len(value) > 1000 or not value.isprintable()):
        raise ValueError("a parameter is one line of at most 1000 printable characters")
    return value


Scalar = Annotated[
    str | int | Annotated[float, Field(allow_inf_nan=False)] | bool,
    AfterValidator(_printable),
]
"""Value of a parameter."""
ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]


class ActivationSpec(Strict):
    """What is asked for."""

    overlay: OverlayName
    digest: Digest = Field(description="Digest of the overlay's content that was reviewed.")
    clusters: list[ClusterName] = Field(min_length=1, max_length=50)
    parameters: dict[ParameterName, Scalar] = Field(default={}, max_length=50)
    reason: Annotated[str, AfterValidator(single_line)] = Field(max_length=500)
    incident: Annotated[str, AfterValidator(single_line)] = Field(max_length=100)
    requestedBy: Login
    requestedAt: Instant
    duration: Duration
    extends: ActivationId | None = Field(None, description="The activation that this one prolongs.")
    solo: bool = Field(False, description="Opened without an approval, as the policy's solo path allows.")


class Metadata(Strict):
    """The activation's id: the same as its file's name."""

    name: ActivationId


class Activation(Strict):
    """The file `activations/<id>.yaml`."""

    apiVersion: Literal["breakglass.dev/v1alpha1"]
    kind: Literal["Activation"]
    metadata: Metadata
    spec: ActivationSpec

    @property
    def id(self) -> str:
        """The activation's id."""
        return self.metadata.name


def new_activation(
    overlay: Overlay,
    *,
    digest: str,
    clusters: list[str],
    parameters: dict[str, Scalar],
    reason: str,
    incident: str,
    requested_by: str,
    requested_at: datetime,
    duration: timedelta,
    random: str,
    extends: str | None = None,
    solo: bool = False,
) -> Activation:
    """Make an activation; its id is `<date>-<overlay>-<random>`.

    Args:
        random: four hexadecimal digits that keep two activations of one overlay and day apart.
        extends: id of the activation that this one prolongs.
        solo: nobody is there to approve it.

    Raises:
        InvalidFile: a value is not acceptable.
    """
    spec: dict[str, Any] = {
        "overlay": overlay.name,
        "digest": digest,
        "clusters": clusters,
        "parameters": parameters,
        "reason": reason,
        "incident": incident,
        "requestedBy": requested_by,
        "requestedAt": requested_at.replace(microsecond=0),
        "duration": duration,
        "extends": extends,
        "solo": solo,
    }
    name = f"{requested_at:%Y-%m-%d}-{overlay.name}-{random}"
    data = {"apiVersion": API_VERSION, "kind": "Activation", "metadata": {"name": name}, "spec": spec}
    try:
        return Activation.model_validate(data)
    except ValidationError as error:
        raise invalid(error, "the request", {}) from None


def activation_file(activation_id: str) -> str:
    """Path of an activation inside the repository."""
    return f"{ACTIVATIONS}/{activation_id}.yaml"


def activation_id(path: str) -> str | None:
    """The id that a path stands for; None for a path that is no activation's."""
    directory, _, name = path.rpartition("/")
    if directory != ACTIVATIONS or not name.endswith(".yaml"):
        return None
    return name.removesuffix(".yaml") or None


def write_activation(activation: Activation) -> bytes:
    """The bytes of the activation's file, ending in a line break, with the schema comment on top."""
    yaml = YAML(pure=True)
    yaml.width = 4096
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(activation.model_dump(mode="json", exclude_defaults=True), stream)
    return (SCHEMA_COMMENT + stream.getvalue()).encode()


def judge_activation(activation: Activation, overlay: Overlay, digest: str, policy: Policy, file: str) -> list[Finding]:
    """Check a request against the overlay's contract and the policy, all of one commit.

    Args:
        activation: the request.
        overlay: the contract of the overlay it names.
        digest: digest of that overlay's content in the commit.
        policy: the policy in the commit.
        file: path of the activation, for messages.
    """
    from jsonschema import Draft202012Validator

    spec, limits = activation.spec, overlay.spec
    findings = []
    if file != activation_file(activation.id):
        message = f"metadata.name is {activation.id}, which does not fit the file's name"
        findings.append(Finding("activation-name", message, file, "let `breakglass open` write the file"))
    if spec.digest != digest:
        message = f"the overlay {spec.overlay} changed since this request was made ({spec.digest} is not {digest})"
        findings.append(Finding("activation-digest", message, file, "close this pull request and open a new one"))
    maximum = min(limits.duration.maximum, policy.spec.duration.maximum)
    if spec.duration > maximum:
        message = f"{format_duration(spec.duration)} is longer than the maximum of {format_duration(maximum)}"
        findings.append(Finding("activation-duration", message, file, f"ask for {format_duration(maximum)} or less"))
    for cluster in spec.clusters:
        if cluster not in policy.spec.clusters:
            known = ", ".join(policy.spec.clusters)
            findings.append(Finding("activation-cluster", f"unknown cluster {cluster}", file, f"choose from {known}"))
        elif cluster not in limits.scope.clusters:
            known = ", ".join(limits.scope.clusters)
            message = f"the overlay {spec.overlay} is not meant for {cluster}"
            findings.append(Finding("activation-cluster", message, file, f"choose from {known}"))
    if len(set(spec.clusters)) != len(spec.clusters):
        findings.append(Finding("activation-cluster", "a cluster is named twice", file, "name each once"))
    for problem in Draft202012Validator(limits.parameters).iter_errors(spec.parameters):
        place = ".".join(["parameters", *map(str, problem.path)])
        message = f"{place}: {problem.message}"
        findings.append(Finding("activation-parameters", message, file, f"see spec.parameters of {spec.overlay}"))
    return findings


def expiry(activation: Activation, opened_at: datetime, policy: Policy) -> datetime:
    """When the window ends: absolute, UTC, never moved.

    Args:
        activation: the request.
        opened_at: committer time of the first-parent commit that added its file.
        policy: the policy in that commit.

    Returns:
        `opened_at + duration`, and never later than `requestedAt + requestTimeToLive + duration`.
    """
    spec = activation.spec
    return min(opened_at + spec.duration, spec.requestedAt + policy.spec.requestTimeToLive + spec.duration)


def requester_of(activation: Activation, policy: Policy) -> str:
    """The user who asked, as the API servers know them.

    Args:
        policy: the policy in the commit that added the activation.
    """
    return policy.spec.requesters.userPrefix + activation.spec.requestedBy


def judge_times(activation: Activation, opened_at: datetime, policy: Policy, file: str) -> list[Finding]:
    """Check when a request was merged against when it was made.

    Args:
        opened_at: when it was merged, or the time now where it is not merged yet.
    """
    spec, limit = activation.spec, policy.spec.requestTimeToLive
    if opened_at >= spec.requestedAt + limit:
        message = (
            f"the request of {format_instant(spec.requestedAt)} outlived its time to live of {format_duration(limit)}"
        )
        return [Finding("activation-stale", message, file, "open a new request")]
    if spec.requestedAt > opened_at + CLOCK_SKEW:
        message = f"requestedAt {format_instant(spec.requestedAt)} lies in the future"
        return [Finding("activation-future", message, file, "set the clock right and open a new request")]
    return []
