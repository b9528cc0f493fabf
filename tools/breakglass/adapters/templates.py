"""The files of this version that other repositories get: this project's own, brought along in the wheel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import breakglass
from breakglass.model.errors import Refused

_PACKAGE = Path(breakglass.__file__).parent


def read_templates(paths: Iterable[str]) -> dict[str, bytes]:
    """Read templates by their path in this project.

    They stand in the package's directory `templates` where it was installed from a wheel, else in the clone itself.

    Raises:
        Refused: one of them is missing.
    """
    packaged = _PACKAGE / "templates"
    root = packaged if packaged.is_dir() else _PACKAGE.parents[1]
    try:
        return {path: (root / path).read_bytes() for path in paths}
    except OSError as error:
        message = f"this installation lacks the template {error.filename}"
        raise Refused(message, remedy="install breakglass again, from its wheel or its clone") from None
