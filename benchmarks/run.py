"""Run the benchmarks and write RESULTS.md beside this file.

Usage: python benchmarks/run.py [NAME …]

Without names all of them run. With names only their sections are written anew. Each benchmark is a module here with a
title and a function `run`, which returns its section as lines of Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from measurement import LimitMissed

NAMES = (
    "startup",
    "verbs",
    "codeowners",
    "connectivity",
    "blast_radius",
    "render",
    "reconcile",
    "fifty_clusters",
    "merge_to_applied",
    "expiry_to_closed",
)
RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """\
# Benchmarks

Written by `make benchmark` (all) or `python benchmarks/run.py NAME …` (single ones); do not edit.

Each command is a fresh process, measured from outside: wall time, CPU seconds of it and of all it started, peak
resident memory of the largest of them. Commands of one table ran in turn (A B A B …) after one round that does not
count; a ratio is taken within each round, then the median of the ratios. On a machine that does other things as well,
ratios say more than times.
"""


def facts() -> str:
    """The machine, in one line; nothing that names it."""
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    kernel = re.match(r"[0-9.]+", platform.release())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, "
        f"{platform.system()} {kernel.group() if kernel else ''} {platform.machine()}, git {git}, "
        f"load {os.getloadavg()[0]:.1f} before"
    )


def section(name: str) -> tuple[str, str]:
    """Run one benchmark; its section of RESULTS.md, and which limits it did not keep."""
    benchmark, known, missed = importlib.import_module(name), facts(), ""
    try:
        lines: list[str] = benchmark.run()
    except LimitMissed as error:
        lines, missed = error.lines, str(error)
    text = "\n".join([f"## {benchmark.TITLE}", "", f"`python benchmarks/run.py {name}`  ", known, "", *lines])
    return text, missed


def write(sections: dict[str, str]) -> None:
    """Write RESULTS.md: these sections new, the others as they stand there."""
    present = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    for part in re.split(r"(?m)^(?=## )", present)[1:]:
        command = re.search(r"`python benchmarks/run\.py (\w+)`", part)
        if command is not None and command.group(1) in NAMES:
            sections.setdefault(command.group(1), part)
    bodies = [sections[name].strip() for name in NAMES if name in sections]
    RESULTS.write_text("\n\n".join([HEAD.strip(), *bodies]) + "\n", encoding="utf-8")


def main() -> None:
    """Run the benchmarks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"one of {', '.join(NAMES)}")
    missed = []
    for name in parser.parse_args().names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        text, told = section(name)
        write({name: text})
        print(text)
        missed += [told] if told else []
    if missed:
        sys.exit("limits missed:\n" + "\n".join(missed))


if __name__ == "__main__":
    main()
