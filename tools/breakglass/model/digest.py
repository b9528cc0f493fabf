"""Digests: of an overlay's content, and of anything that can be written as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


def overlay_digest(files: Mapping[str, bytes]) -> str:
    """The digest of an overlay's content.

    Args:
        files: path relative to the overlay's directory → content, `overlay.yaml` included.

    Returns:
        `sha256:<hex>`; over the sorted paths and the SHA-256 of each content, so that no path or content can be
        moved across a boundary without changing it.
    """
    outer = hashlib.sha256()
    for path in sorted(files):
        # git's paths are bytes; those that are not UTF-8 come as surrogates.
        name = path.encode("utf-8", "surrogateescape")
        outer.update(b"%d %s %s\n" % (len(name), name, hashlib.sha256(files[path]).hexdigest().encode()))
    return f"sha256:{outer.hexdigest()}"


def json_digest(data: Any) -> str:
    """`sha256:<hex>` of data as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
