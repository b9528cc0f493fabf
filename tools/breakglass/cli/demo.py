"""`breakglass demo`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import click

from breakglass.cli.output import output_option
from breakglass.model.errors import Refused


@click.command("demo", epilog="Example: breakglass demo --keep")
@click.option("--keep", is_flag=True, help="Leave everything running, to be explored with kubectl, git and breakglass.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Play on this cluster instead of building one; what is installed there is deleted again.",
)
@output_option
def command(keep: bool, kubeconfig: Path | None, output: str) -> int:
    """Play the whole life of an emergency access on a real API server, real git and the real workflows."""
    if importlib.util.find_spec("breakglass_lab") is None:
        raise Refused(
            "the lab is not installed", remedy="install breakglass with the extra `lab`, or run `make demo` in a clone"
        )
    arguments = [f"--output={output}", *(["--keep"] if keep else [])]
    arguments += ["--kubeconfig", str(kubeconfig)] if kubeconfig is not None else []
    return subprocess.run([sys.executable, "-m", "breakglass_lab.demo", *arguments], check=False).returncode
