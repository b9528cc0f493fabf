"""`breakglass.yaml`: clusters, limits, approvers, and what an overlay may contain."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from breakglass.model.document import Strict
from breakglass.model.gate import Rule, Solo
from breakglass.model.name import Approver, ClusterName, KindName, Login, NamespaceName, RelativePath, RepositoryName
from breakglass.model.time import Duration

API_VERSION = "breakglass.dev/v1alpha1"
POLICY_FILE = "breakglass.yaml"

Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
HttpUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?$", max_length=300)
]


class ForgeSettings(Strict):
    """Where the repository lives."""

    repository: RepositoryName = Field(description="owner/name of this repository on the forge.")
    api: HttpUrl = Field("https://api.github.com", description="Base address of GitHub's REST API.")
    defaultBranch: str = Field(
        "main", pattern=r"^[A-Za-z0-9]([._-]?[A-Za-z0-9]){0,99}$", description="The branch that opens and closes."
    )
    ledgerBranch: str = Field(
        "breakglass-ledger",
        pattern=r"^[A-Za-z0-9]([._-]?[A-Za-z0-9]){0,99}$",
        description="The append-only branch of evidence.",
    )

    repositoryId: int | None = Field(
        None, ge=1, description="Number of the repository, which a rename keeps: `gh api repos/OWNER/NAME --jq .id`."
    )
    ownerId: int | None = Field(None, ge=1, description="Number of the owner: `gh api users/OWNER --jq .id`.")
    vouched: list[Sha] = Field(
        [],
        max_length=100,
        description="Commits that somebody pushed to the default branch without a pull request, and that were looked "
        "at since: without an entry here nothing opens for seven days after such a push.",
    )

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        host = urlsplit(self.api).hostname
        if not self.api.startswith("https://") and host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("api must be https")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.ledgerBranch == self.defaultBranch:
            raise ValueError("the ledger needs a branch of its own")
        return self


class Bot(Strict):
    """The identity that opens and merges closing pull requests: a GitHub App of its own."""

    login: Login = Field(description="Login of the App, for example acme-breakglass[bot].")
    appId: int | None = Field(
        None, ge=1, description="The App's number: its check counts, and nobody else's of the same name."
    )


class ClusterSettings(Strict):
    """One cluster and how its API server is found; no credential stands here."""

    baseline: RelativePath = Field(description="The kustomize root that the cluster normally runs.")
    server: HttpUrl | None = Field(None, description="Address of the API server.")
    certificateAuthority: str | None = Field(
        None, max_length=20_000, description="PEM certificates that the API server's certificate chains to."
    )
    audience: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._:/-]{1,200}$",
        description="Audience of the OIDC tokens for this cluster, one a cluster.",
    )
    purpose: Literal["production", "drill"] = Field(
        "production", description="Drills run in clusters with the purpose drill."
    )


class DurationLimits(Strict):
    """How long a window may be."""

    default: Duration
    maximum: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.default > self.maximum:
            raise ValueError("the default duration is longer than the maximum")
        return self


class Approvals(Strict):
    """How many distinct humans must approve, and which humans count."""

    minimum: int = Field(ge=1, le=10, description="Distinct people; the author is never one of them.")
    approvers: list[Approver] = Field(min_length=1, description="Users (@login) and teams (@organisation/team).")
    drilledWithinDays: int | None = Field(
        None, ge=1, le=366, description="An overlay whose last passed drill is older needs one approval more."
    )


LabelName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")]


class PodLabels(Strict):
    """Pods by their labels."""

    matchLabels: dict[LabelName, LabelValue] = Field(
        min_length=1, description="Labels that the pods carry, all of them."
    )


class IngressController(Strict):
    """Pods that serve Ingresses and routes: what the outside comes through on its way to a workload."""

    namespace: NamespaceName = Field(description="The namespace that they run in.")
    podSelector: PodLabels = Field(description="Which pods of the namespace.")


class Conflicts(Strict):
    """What counts where somebody else writes the same fields."""

    opening: Literal["take", "refuse"] = Field(
        "take", description="A field that another field manager owns: take it for the window, or refuse to open."
    )
    closing: Literal["restore", "keep"] = Field(
        "restore",
        description="A baseline object that somebody else changed in the window: restore it, or keep their change. "
        "What an overlay added is deleted in any case, and what was changed is on the ledger.",
    )


class Requesters(Strict):
    """What the API servers call the people who ask."""

    userPrefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._:/@-]{0,100}$",
        description="Before the login: the user who asked as the clusters know them, for `breakglass creds`.",
    )


class PolicySpec(Strict):
    """What the policy says."""

    forge: ForgeSettings
    bot: Bot
    clusters: dict[ClusterName, ClusterSettings] = Field(min_length=1)
    duration: DurationLimits
    requestTimeToLive: Duration = Field(
        description="A request that is merged later than this after it was made opens nothing."
    )
    approvals: Approvals
    rules: list[Rule] = Field([], max_length=50, description="What denies an opening, or asks for more approvals.")
    timeZone: str = Field(
        "UTC", pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,60}$", description="IANA time zone of `time` in conditions."
    )
    solo: Solo | None = Field(None, description="Opening alone; nobody may where this is left out.")
    kinds: list[KindName] = Field(min_length=1, description="Kinds that an overlay may contain.")
    namespaces: list[NamespaceName] | None = Field(
        None, min_length=1, description="Namespaces that an overlay may touch; those that overlays name where left out."
    )
    conflicts: Conflicts = Field(Conflicts(), description="What counts where somebody else writes the same fields.")
    requesters: Requesters = Field(Requesters(), description="What the API servers call the people who ask.")
    ingressControllers: list[IngressController] = Field(
        [], max_length=100, description="Without any, the analysis takes a pod that no policy names."
    )

    @model_validator(mode="after")
    def _closable(self) -> Self:
        for name, cluster in self.clusters.items():
            if cluster.server is not None and not cluster.server.startswith("https://"):
                raise ValueError(f"clusters.{name}.server must be https")
        if self.requestTimeToLive > timedelta(days=1):
            raise ValueError("requestTimeToLive is at most 24h: an approval of yesterday is no approval of tonight")
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are named {twice[0]}")
        return self


class Policy(Strict):
    """The file `breakglass.yaml`."""

    apiVersion: Literal["breakglass.dev/v1alpha1"]
    kind: Literal["Policy"]
    spec: PolicySpec
