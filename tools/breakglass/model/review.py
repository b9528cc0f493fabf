"""`overlays/emergency/reviews/<id>.yaml`: somebody looked at an activation afterwards, and says what came of it."""

from __future__ import annotations

import io
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from ruamel.yaml import YAML

from breakglass.model.document import Strict
from breakglass.model.name import ActivationId, Login, single_line
from breakglass.model.overlay import OVERLAYS
from breakglass.model.time import Instant

REVIEWS = f"{OVERLAYS}/reviews"
"""Directory of the reviews, relative to the repository."""
SCHEMA_COMMENT = "# yaml-language-server: $schema=../../../docs/schemas/review.json\n"

Line = Annotated[str, AfterValidator(single_line), Field(max_length=500)]


class ReviewSpec(Strict):
    """What the review found."""

    reviewedBy: Login = Field(description="Not who asked for the activation.")
    reviewedAt: Instant
    justified: bool = Field(description="Whether opening was right.")
    summary: Line
    followUps: list[Line] = Field([], max_length=50, description="What is to be done, one line each.")


class Metadata(Strict):
    """The activation that was reviewed."""

    name: ActivationId


class ActivationReview(Strict):
    """The file `reviews/<id>.yaml`."""

    apiVersion: Literal["breakglass.dev/v1alpha1"]
    kind: Literal["Review"]
    metadata: Metadata
    spec: ReviewSpec


def write_review(review: ActivationReview) -> bytes:
    """The bytes of the review's file, ending in a line break, with the schema comment on top."""
    yaml = YAML(pure=True)
    yaml.width = 4096
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(review.model_dump(mode="json", exclude_defaults=True), stream)
    return (SCHEMA_COMMENT + stream.getvalue()).encode()


def reviewed_id(path: str) -> str | None:
    """The id of the activation that a path holds a review of; None for a path that is no review's."""
    directory, _, name = path.rpartition("/")
    return name.removesuffix(".yaml") or None if directory == REVIEWS and name.endswith(".yaml") else None


def review_file(activation_id: str) -> str:
    """Path of an activation's review inside the repository."""
    return f"{REVIEWS}/{activation_id}.yaml"
