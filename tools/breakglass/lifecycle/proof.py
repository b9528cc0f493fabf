"""Proof: live objects against the state they should have, after the API server's own defaulting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breakglass.lifecycle.plan import without_server_fields
from breakglass.model.manifest import Manifest, ObjectKey
from breakglass.ports import Cluster


def differences(
    cluster: Cluster,
    expected: Mapping[ObjectKey, Manifest | None],
    live: Mapping[ObjectKey, Manifest | None] | None = None,
) -> dict[ObjectKey, str]:
    """Objects that are not as expected.

    Absent means observed absent. Present means that a server-side dry run of the expected object would change nothing.

    Args:
        live: the objects as they are, where they were read already.

    Returns:
        One sentence for each object that is not; an empty answer is the proof.
    """
    live = cluster.get(expected) if live is None else live
    present = [manifest for key, manifest in expected.items() if manifest is not None and live[key] is not None]
    would_be = cluster.apply(present, dry_run=True) if present else {}
    sentences: dict[ObjectKey, str] = {}
    for key, manifest in expected.items():
        found = live[key]
        if manifest is None:
            if found is not None:
                sentences[key] = f"{key} is still there"
        elif found is None:
            sentences[key] = f"{key} is missing"
        elif without_server_fields(found) != without_server_fields(would_be[key]):
            differing = _differing(without_server_fields(would_be[key]), without_server_fields(found))
            sentences[key] = f"{key} differs in {', '.join(differing)}"
    return sentences


def _differing(expected: Any, found: Any, path: str = "") -> list[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        return [place for name in names for place in _differing(expected.get(name), found.get(name), f"{path}.{name}")]
    return [path.removeprefix(".") or "the object"]
