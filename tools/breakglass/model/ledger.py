"""Events of the ledger: one file each, written once, never changed.

Paths on the ledger branch:

* `activations/<id>/evidence.json`: what the verdict stood on.
* `activations/<id>/verdict.json`: who approved, what was needed, and why it was refused if it was.
* `activations/<id>/<cluster>/opened.json`, `closed.json`, `refused.json`: what became of it in a cluster.
* `activations/<id>/<cluster>/swept-<digest>.json`: the residue that was listed for deletion there is gone.
* `drills/<overlay>/<time>-<cluster>.json`: receipt of a drill.
* `heartbeats/<job>.json`: the one file that is renewed; its history is the record.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from breakglass.model.cut import Cut
from breakglass.model.digest import Digest
from breakglass.model.document import Strict
from breakglass.model.errors import InvalidFile
from breakglass.model.evidence import Evidence
from breakglass.model.finding import Finding
from breakglass.model.inventory import ForeignChange
from breakglass.model.name import ActivationId, ClusterName, Login, OverlayName
from breakglass.model.time import Instant


class Disregarded(Strict):
    """An approval that did not count."""

    login: Login
    why: str


class Judged(Strict):
    """The verdict on an opening, as the applier came to it; `breakglass verdict` comes to it again."""

    kind: Literal["Verdict"] = "Verdict"
    activation: ActivationId
    commit: str
    approvedBy: list[Login]
    approvals: int = Field(description="How many distinct people had to approve.")
    teams: int = Field(description="From how many different teams.")
    reasons: list[str] = Field(description="Why so many.")
    disregarded: list[Disregarded]
    findings: list[str]


class Opened(Strict):
    """An activation's objects are in a cluster."""

    kind: Literal["Opened"] = "Opened"
    activation: ActivationId
    overlay: OverlayName
    cluster: ClusterName
    commit: str
    digest: str
    requestedBy: Login
    approvedBy: list[Login]
    openedAt: Instant
    appliedAt: Instant
    appliedAfterSeconds: float
    expiry: Instant
    objects: list[str]
    opens: list[str] = Field(default=[], description="What it opened, for people.")


class Closed(Strict):
    """An activation's objects are gone from a cluster, and the baseline is back."""

    kind: Literal["Closed"] = "Closed"
    activation: ActivationId
    overlay: OverlayName
    cluster: ClusterName
    closedAt: Instant
    closedBy: Literal["applier", "agent"]
    cause: str
    expiry: Instant
    lateSeconds: float = Field(description="Seconds between the expiry and the closing; negative where closed early.")
    baseline: Literal["proven"] = Field(
        description="Live objects equal the baseline; nothing closes without the proof."
    )
    foreign: list[ForeignChange] = Field(
        default=[], description="What others did inside the window to objects that the activation held."
    )
    kept: list[str] = Field(default=[], description="Objects left as others changed them, as the policy says.")
    livesOn: list[str] = Field(default=[], description="What outlives the closing, and until when; for people.")
    cut: Cut | None = Field(None, description="What was done about that; None where nobody asked for it.")


class Swept(Strict):
    """Residue that main lists for deletion is gone from a cluster."""

    kind: Literal["Swept"] = "Swept"
    activation: ActivationId
    cluster: ClusterName
    digest: Digest = Field(description="Of what is listed for this cluster.")
    sweptAt: Instant
    absent: list[str] = Field(default=[], description="Objects that are gone; what takes their name is another.")
    kept: list[str] = Field(default=[], description="Objects that the baseline holds by now.")


class Refusal(Strict):
    """An activation that reached main was not applied."""

    kind: Literal["Refused"] = "Refused"
    activation: ActivationId
    cluster: ClusterName
    refusedAt: Instant
    findings: list[str]


class Phase(Strict):
    """A timed part of a drill."""

    name: str
    seconds: float


class Drilled(Strict):
    """Receipt of a drill."""

    kind: Literal["Drilled"] = "Drilled"
    activation: ActivationId
    overlay: OverlayName
    cluster: ClusterName
    digest: str
    startedAt: Instant
    passed: bool
    phases: list[Phase]
    findings: list[str]


class Heartbeat(Strict):
    """A scheduled job ran."""

    kind: Literal["Heartbeat"] = "Heartbeat"
    job: str
    at: Instant


Event = Judged | Opened | Closed | Swept | Refusal | Drilled | Heartbeat | Evidence

_KINDS: dict[str, type[Event]] = {
    "Verdict": Judged,
    "Opened": Opened,
    "Closed": Closed,
    "Swept": Swept,
    "Refused": Refusal,
    "Drilled": Drilled,
    "Heartbeat": Heartbeat,
    "Evidence": Evidence,
}


def evidence_path(activation_id: str) -> str:
    """Path of an activation's evidence on the ledger."""
    return f"activations/{activation_id}/evidence.json"


def verdict_path(activation_id: str) -> str:
    """Path of the verdict on an activation on the ledger."""
    return f"activations/{activation_id}/verdict.json"


def opened_path(activation_id: str, cluster: str) -> str:
    """Path on the ledger of an activation's opening in a cluster."""
    return f"activations/{activation_id}/{cluster}/opened.json"


def closed_path(activation_id: str, cluster: str) -> str:
    """Path on the ledger of an activation's closing in a cluster."""
    return f"activations/{activation_id}/{cluster}/closed.json"


def event_path(event: Event, activation_id: str = "") -> str:
    """Path of an event on the ledger.

    Args:
        event: the event.
        activation_id: the activation, for evidence, which does not name it.
    """
    match event:
        case Judged():
            return verdict_path(event.activation)
        case Opened():
            return opened_path(event.activation, event.cluster)
        case Closed():
            return closed_path(event.activation, event.cluster)
        case Swept():
            digest = event.digest.removeprefix("sha256:")[:12]
            return f"activations/{event.activation}/{event.cluster}/swept-{digest}.json"
        case Refusal():
            return f"activations/{event.activation}/{event.cluster}/refused.json"
        case Drilled():
            return f"drills/{event.overlay}/{event.startedAt:%Y-%m-%dT%H-%M-%SZ}-{event.cluster}.json"
        case Heartbeat():
            return f"heartbeats/{event.job}.json"
        case Evidence():
            return evidence_path(activation_id)


def paths(*events: Event) -> dict[str, Event]:
    """Events by their path on the ledger (evidence excepted, which needs its activation)."""
    return {event_path(event): event for event in events}


def write_event(event: Event) -> bytes:
    """The bytes of an event's file."""
    return (json.dumps(event.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n").encode()


def read_event(content: bytes, where: str) -> Event:
    """Read one event.

    Raises:
        InvalidFile: the file is no event.
    """
    remedy = "the ledger is append-only; find out who changed it"
    try:
        data: Any = json.loads(content)
        return _KINDS[data["kind"]].model_validate(data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidFile(f"not an event of the ledger: {error}", where=where, remedy=remedy) from None


def describe_findings(findings: list[Finding] | tuple[Finding, ...]) -> list[str]:
    """Findings as the ledger keeps them: `id: message`; what is no Unicode (a path of git may not be) is escaped."""
    texts = (f"{finding.id}: {finding.message}" for finding in findings)
    return [text.encode("utf-8", "backslashreplace").decode() for text in texts]
