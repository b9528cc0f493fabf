"""Proof: live objects against the state they should have, after the API server's own defaulting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breakglass.model.manifest import Manifest, ObjectKey
from breakglass.ports import Cluster

_SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


def differences(cluster: Cluster, expected: Mapping[ObjectKey, Manifest | None]) -> dict[ObjectKey, str]:
    """Objects that are not as expected.

    Absent means observed absent. Present means that a server-side dry run of the expected object would change nothing.

    Returns:
        One sentence for each object that is not; an empty answer is the proof.
    """
    live = cluster.get(expected)
    present = [manifest for key, manifest in expected.items() if manifest is not None and live[key] is not None]
    would_be = cluster.apply(present, dry_run=True)
    sentences: dict[ObjectKey, str] = {}
    for key, manifest in expected.items():
        found = live[key]
        if manifest is None:
            if found is not None:
                sentences[key] = f"{key} is still there"
        elif found is None:
            sentences[key] = f"{key} is missing"
        elif _comparable(found) != _comparable(would_be[key]):
            places = ", ".join(_differing(_comparable(would_be[key]), _comparable(found)))
            sentences[key] = f"{key} differs in {places}"
    return sentences


def _comparable(manifest: Manifest) -> dict[str, Any]:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _SERVER_FIELDS}
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def _differing(expected: Any, found: Any, path: str = "") -> list[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        return [place for name in names for place in _differing(expected.get(name), found.get(name), f"{path}.{name}")]
    return [path.removeprefix(".") or "the object"]
