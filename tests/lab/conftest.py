"""One control plane for all tests of the lab, in a directory with a space in its name."""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from breakglass_lab.controlplane import ControlPlane, install

_DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("control plane"), name="prod-eu") as control_plane:
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    install(control_plane, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    return name


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """Wait until a condition holds, and fail with the given words when it does not within a minute."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not within {_DEADLINE_SECONDS:.0f} s: {what}"
            time.sleep(_POLL_SECONDS)

    return wait
