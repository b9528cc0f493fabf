"""`residue/<activation>.yaml`: what an emergency left behind in clusters, for the applier to delete.

A person reviews it like everything that changes a cluster. The uid makes it exact: whatever else takes the name later
is another object.
"""

from __future__ import annotations

import io
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from ruamel.yaml import YAML

from breakglass.model.document import Strict
from breakglass.model.manifest import ObjectKey
from breakglass.model.name import ActivationId, ClusterName, NamespaceName, single_line
from breakglass.model.overlay import OVERLAYS

RESIDUE = f"{OVERLAYS}/residue"
"""Directory of the residue to delete, relative to the repository."""
MOST_OBJECTS = 500
"""Objects of one file: a person reads it."""


class ResidueObject(Strict):
    """One object to delete."""

    cluster: ClusterName
    group: str = Field("", pattern=r"^[a-z0-9.-]{0,253}$", description="API group; empty for the core group.")
    kind: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$")
    namespace: NamespaceName | Literal[""] = Field("", description="Empty for an object of the whole cluster.")
    name: str = Field(pattern=r"^[^/%\s]{1,253}$")
    uid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Of this object and no other of its name.")
    evidence: Annotated[str, AfterValidator(single_line)] = Field(max_length=1000, description="Who made it, and when.")

    @property
    def key(self) -> ObjectKey:
        """The object's key."""
        return ObjectKey(self.group, self.kind, self.namespace, self.name)


class ResidueSpec(Strict):
    """What to delete."""

    reason: Annotated[str, AfterValidator(single_line)] = Field(max_length=500)
    delete: list[ResidueObject] = Field(min_length=1, max_length=MOST_OBJECTS)


class Metadata(Strict):
    """The activation that left it: the same as the file's name."""

    name: ActivationId


class Residue(Strict):
    """The file `residue/<activation>.yaml`."""

    apiVersion: Literal["breakglass.dev/v1alpha1"]
    kind: Literal["Residue"]
    metadata: Metadata
    spec: ResidueSpec

    @property
    def activation(self) -> str:
        """Id of the activation that left it."""
        return self.metadata.name


def residue_file(activation_id: str) -> str:
    """Path of an activation's residue inside the repository."""
    return f"{RESIDUE}/{activation_id}.yaml"


def write_residue(residue: Residue) -> bytes:
    """The bytes of the file, ending in a line break."""
    yaml = YAML(pure=True)
    yaml.width = 4096
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(residue.model_dump(mode="json"), stream)
    return stream.getvalue().encode()
