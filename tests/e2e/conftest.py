"""The example platform, running, for the tests that drive the workflow files and the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from breakglass_lab.platform import Platform, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Two production clusters with agents, the forge and the runner."""
    directory: Path = tmp_path_factory.mktemp("the platform")
    with running(directory, print, clusters=("prod-eu", "prod-us", "drill")) as started:
        yield started
