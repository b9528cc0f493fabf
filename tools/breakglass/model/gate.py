"""What the policy says about the gate beyond a number: rules in CEL, and the solo path."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from breakglass.model.document import Strict
from breakglass.model.name import Approver, ClusterName, OverlayName, single_line
from breakglass.model.time import Duration

RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Expression = Annotated[str, Field(min_length=1, max_length=1000)]
"""A condition in the Common Expression Language: https://github.com/google/cel-spec/blob/master/doc/langdef.md."""
Line = Annotated[str, AfterValidator(single_line), Field(max_length=300)]


class Rule(Strict):
    """A rule of the gate: where its condition holds, it denies or asks for more.

    No rule takes from what others ask, so no order of rules matters, and one that denies beats them all.
    """

    name: RuleName
    when: Expression = Field(
        "true",
        description="Condition in CEL over request, overlay, clusters, approvers, incident and time; one that cannot "
        "be evaluated, or is no boolean, refuses.",
    )
    deny: Line | None = Field(None, description="Why it is denied, for whoever asked.")
    approvals: int | None = Field(None, ge=1, le=10, description="How many distinct people must approve.")
    teams: int | None = Field(
        None, ge=2, le=10, description="How many different teams the approvers must come from, each standing for one."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        asks = self.approvals is not None or self.teams is not None
        if (self.deny is None) != asks:
            raise ValueError("a rule either denies, or says how many approvals or teams it asks for")
        return self


class Solo(Strict):
    """Opening alone, where nobody is there to approve: short, loud, and reviewed afterwards."""

    requesters: list[Approver] = Field(min_length=1, description="Who may: users (@login) and teams.")
    overlays: list[OverlayName] = Field(min_length=1, description="What may be opened so.")
    clusters: list[ClusterName] = Field(min_length=1, description="Where.")
    maximum: Duration = Field(description="The longest window; at most one hour.")
    reviewWithin: Duration = Field(
        description="After this without a review on main, every opening needs one approval more."
    )

    @model_validator(mode="after")
    def _short(self) -> Self:
        if self.maximum > timedelta(hours=1):
            raise ValueError("solo.maximum is at most 1h: for longer there is time to find somebody")
        return self
