"""Start-up: what every verb costs before it does anything."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from measurement import Command, alternated, table

from breakglass_lab.platform import PROGRAMS

TITLE = "Start-up of the command"
ROUNDS = 15
LIMIT_SECONDS = 0.120
LIBRARIES = ("git", "github", "jsonschema", "kubernetes", "pydantic", "ruamel", "urllib3", "yaml")
MODULES = "import sys, breakglass.cli; print(*sys.modules)"


def run() -> list[str]:
    """`breakglass --version` beside two tools that are single binaries, and beside an empty Python.

    Start-up waits for nothing, so its CPU time is what it takes where nothing else runs: that is held to the limit.

    Raises:
        RuntimeError: it is not.
    """
    commands = [
        Command("`breakglass --version`", [str(PROGRAMS / "breakglass"), "--version"]),
        Command("`kubectl version --client`", [str(PROGRAMS / "kubectl"), "version", "--client"]),
        Command("`gh --version`", [str(PROGRAMS / "gh"), "--version"]),
        Command("`python -c pass`", [sys.executable, "-c", "pass"]),
    ]
    samples = alternated(commands, ROUNDS)
    found = median(sample.cpu_seconds for sample in samples[commands[0].name])
    if found > LIMIT_SECONDS:
        raise RuntimeError(f"breakglass --version took {found * 1000:.0f} ms, more than {LIMIT_SECONDS * 1000:.0f} ms")
    modules = subprocess.run([sys.executable, "-c", MODULES], capture_output=True, text=True, check=True).stdout.split()
    loaded = [name for name in LIBRARIES if name in modules]
    return [
        *table(samples),
        f"The limit of {LIMIT_SECONDS * 1000:.0f} ms is kept (by the CPU time: start-up waits for nothing). "
        f"{len(modules)} modules are imported, of {', '.join(LIBRARIES)} {', '.join(loaded) or 'none'}: each is "
        "imported by the verb that needs it.",
        "",
    ]
