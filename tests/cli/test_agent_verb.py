"""`breakglass agent`: how it is called, and what it brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from breakglass.cli.agent import AddressType, command
from breakglass.model.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert AddressType().convert(text, None, None) == address


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "localhost", "localhost:", "localhost:x", "a:65536", "a:-1", "a:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"127\.0\.0\.1:8080"):
        AddressType().convert(text, None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["prod-eu"],
        ["--follow"],
        ["--once", "--follow", "prod-eu"],
        ["--once", "--listen", "127.0.0.1:0"],
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [*arguments, "--directory", str(tmp_path)])
    assert isinstance(result.exception, UsageError)


def test_the_plain_agent_loads_neither_git_nor_forge_nor_the_kubernetes_package() -> None:
    code = (
        "import breakglass.cli.agent, breakglass.lifecycle.agent, breakglass.adapters.kubernetes,"
        " breakglass.adapters.monitoring, breakglass.adapters.credentials, sys; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"git", "github", "kubernetes", "jsonschema"} & set(done.stdout.split())
