"""What was done to end what outlives a closing."""

from __future__ import annotations

from pydantic import Field

from breakglass.model.document import Strict


class Cut(Strict):
    """Pods were evicted, because connections or streams of theirs may have begun in the window."""

    evicted: list[str] = Field(default=[], description="Pods that were told to go; their owners start others.")
    left: list[str] = Field(default=[], description="What was not cut, and why.")
