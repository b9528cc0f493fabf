"""Where the example platform stands, and what its renders are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]

REPOSITORY = Path(__file__).parents[2]
EMERGENCY = REPOSITORY / "overlays" / "emergency"
OVERLAYS = sorted(path.parent.name for path in EMERGENCY.glob("*/overlay.yaml"))
KUBECTL = Path(sys.executable).parent / "kubectl"
REQUESTER = "robin"
PARAMETERS = {"ingress-to-admin": {"sourceRange": "198.51.100.0/24"}}
