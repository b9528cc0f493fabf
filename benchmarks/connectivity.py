"""Connectivity of large clusters: held to its limits, and beside network-config-analyzer on the same directories."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import peer
import yaml
from clusters import write_cluster
from measurement import Command, LimitMissed, Sample, alternated, duration, spread

from breakglass_lab.platform import PROGRAMS

TITLE = "Connectivity"
BREAKGLASS = str(PROGRAMS / "breakglass")
PEER_SECONDS = 600
TIMES_FASTER = 100
ROUNDS = 5
LARGE_ROUNDS = 2

JSON = ("--output", "json")

# The peer never lets an ipBlock match a pod.
LIKE_THE_PEER = ("--ip-blocks-match-pods", "no")


@dataclass(frozen=True)
class Limited:
    """A command of ours, and what it may take: seconds and bytes, where that is limited."""

    command: Command
    seconds: float | None = None
    peak_bytes: float | None = None


def run() -> list[str]:
    """Agree with the peer on a small cluster, measure what has limits, then run side by side.

    Raises:
        RuntimeError: we and the peer do not agree.
        LimitMissed: a limit is not kept.
    """
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="breakglass-benchmark-") as scratch:
        directory = Path(scratch)
        pairs, changed = _agree(directory)
        before, after = _clusters(directory, 1000, 50, 200)
        lines = [
            "Made-up clusters of ten namespaces (`benchmarks/clusters.py`): every pod differs from every other one in "
            "what the policies see of it. The change adds policies, the last of each namespace a default deny.",
            "",
            *_limits(directory, before, after, missed),
            f"Beside {peer.NAME}, each writing a row a connection, which the peer does quicker than what else it can "
            f"write; every round counts. A command that was not done after {PEER_SECONDS} s was stopped: it takes "
            "*more than* its figures say. Of a cluster of 20 pods and 20 policies both say the same: "
            f"{pairs} pairs of pods are connected, by the same ports of TCP, UDP and SCTP, and the second ten policies "
            f"change {changed} pairs.",
            "",
        ]
        lines += _beside("200 pods", *_clusters(directory, 200, 50, 200), 2, missed)
        lines += _beside("1,000 pods", before, after, 1, missed, TIMES_FASTER)
    if missed:
        raise LimitMissed(missed, lines)
    return lines


def _ours(name: str, *arguments: str) -> Command:
    """A verb with its arguments, and what the tables call it."""
    return Command(f"`breakglass connectivity {name}`", [BREAKGLASS, "connectivity", *arguments])


def _clusters(directory: Path, pods: int, before: int, after: int, *, default_deny: bool = True) -> tuple[Path, Path]:
    """A cluster before and after a change that adds policies."""
    first, second = directory / f"{pods}-{before}", directory / f"{pods}-{after}"
    if not second.exists():
        write_cluster(first, pods, before)
        write_cluster(second, pods, after, default_deny=default_deny)
    return first, second


def _limits(directory: Path, before: Path, after: Path, missed: list[str]) -> list[str]:
    """Our own commands, on clusters as large as the limits say."""
    difference, mapped = ["diff", str(before), str(after)], ["map", str(after)]
    large = ["diff", *(str(path) for path in _clusters(directory, 10_000, 250, 1000))]
    every_change = _ours("diff BEFORE AFTER --output json", *difference, *JSON)
    every_connection = _ours("map AFTER --output json", *mapped, *JSON)
    large_summary = _ours("diff BEFORE AFTER --summary --output json", *large, "--summary", *JSON)
    changes, changes_bytes = _rows(every_change, directory)
    connections, connections_bytes = _rows(every_connection, directory)
    rectangles, rectangles_bytes = _rows(large_summary, directory)
    return [
        "1,000 pods, 50 → 200 policies:",
        "",
        *_kept(
            [
                Limited(_ours("diff BEFORE AFTER --summary", *difference, "--summary"), 1, 100e6),
                Limited(_ours("diff BEFORE AFTER --summary --output json", *difference, "--summary", *JSON), 1, 100e6),
                Limited(every_change, 1.5, 120e6),
                Limited(every_connection),
            ],
            ROUNDS,
            missed,
        ),
        f"The whole difference is {changes:,} pairs, {_megabytes(changes_bytes)} of JSON; the whole map is "
        f"{connections:,} pairs, {_megabytes(connections_bytes)}.",
        "",
        "10,000 pods, 250 → 1,000 policies:",
        "",
        *_kept(
            [
                Limited(_ours("diff BEFORE AFTER --summary", *large, "--summary"), 15, 1500e6),
                Limited(large_summary, 15, 1500e6),
            ],
            LARGE_ROUNDS,
            missed,
        ),
        f"The summary is {rectangles:,} rectangles, {_megabytes(rectangles_bytes)} of JSON.",
        "",
        "The limits are held against the quickest run, as what else the machine does only lengthens the others, and "
        "against the largest peak.",
        "",
    ]


def _rows(command: Command, directory: Path) -> tuple[int, int]:
    """How many pairs or rectangles the JSON that it writes has, and how many bytes."""
    path = directory / "stream.json"
    with path.open("wb") as file:
        subprocess.run(command.arguments, stdout=file, check=True)
    written = path.read_bytes()
    path.unlink()
    return written.count(b'"destination'), len(written)


def _kept(limited: Sequence[Limited], rounds: int, missed: list[str]) -> list[str]:
    """Measure the commands; a table of what they took and may take. What takes more is added to `missed`."""
    samples = alternated([item.command for item in limited], rounds)
    lines = ["| command | median | min-max | CPU | peak | may take |", "|---|--:|--:|--:|--:|--:|"]
    for item in limited:
        runs = samples[item.command.name]
        told = ""
        if item.seconds is not None and item.peak_bytes is not None:
            quickest, peak = min(run.seconds for run in runs), max(run.peak_bytes for run in runs)
            told = limits = f"{item.seconds:g} s, {_megabytes(item.peak_bytes)}"
            if quickest > item.seconds or peak > item.peak_bytes:
                told = f"{limits}: **missed**"
                missed.append(f"{item.command.name} takes {duration(quickest)}, {_megabytes(peak)}; may take {limits}")
        lines.append(f"{_taken(item.command.name, runs)} | {told} |")
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    return [*lines, ""]


def _beside(pods: str, before: Path, after: Path, rounds: int, missed: list[str], least: float = 0) -> list[str]:
    """We and the peer in turn: the map, then the difference. If we are not `least` times faster, `missed` says so."""
    lines = [
        f"{pods}, 50 → 200 policies:",
        "",
        "| command | median | min-max | CPU | peak | CPU: this ÷ ours | peak: this ÷ ours |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, ours, theirs in (
        ("map AFTER", ["map", str(after)], peer.map_arguments(after)),
        ("diff BEFORE AFTER", ["diff", str(before), str(after)], peer.difference_arguments(before, after)),
    ):
        our = _ours(f"{name} --output json", *ours, *LIKE_THE_PEER, *JSON)
        their = Command(f"`nca {theirs[1]}`", theirs, codes=(0, 1), limit=PEER_SECONDS, stoppable=True)
        samples = alternated([our, their], rounds, warm_up=False)
        pairs = list(zip(samples[our.name], samples[their.name], strict=True))
        cpu = median(other.cpu_seconds / own.cpu_seconds for own, other in pairs)
        peak = median(other.peak_bytes / own.peak_bytes for own, other in pairs)
        more = "> " if any(other.stopped for _, other in pairs) else ""
        lines += [
            f"{_taken(our.name, samples[our.name])} |  |  |",
            f"{_taken(their.name, samples[their.name], more)} | **{more}{cpu:,.0f}** | **{more}{peak:.1f}** |",
        ]
        if cpu < least:
            missed.append(f"{our.name} is {more}{cpu:.0f} times faster than the peer; should be {least:g}")
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    return [*lines, ""]


def _taken(name: str, runs: Sequence[Sample], more: str = "") -> str:
    """The first cells of a row."""
    cpu = duration(median(run.cpu_seconds for run in runs))
    peak = _megabytes(median(run.peak_bytes for run in runs))
    return f"| {name} | {more}{spread([run.seconds for run in runs])} | {more}{cpu} | {more}{peak}"


def _megabytes(size: float) -> str:
    return f"{size / 10**6:,.0f} MB"


def _agree(directory: Path) -> tuple[int, int]:
    """Compare what we and the peer say of a small cluster.

    Returns:
        How many pairs of pods are connected, and how many a change changes.

    Raises:
        RuntimeError: we do not say the same.
    """
    before, after = _clusters(directory, 20, 10, 20, default_deny=False)
    pods = {f"{pod['namespace']}/{pod['name']}" for path in after.glob("*/pods.yaml") for pod in _metadata(path)}
    rows = _answer("map", str(after))["connections"]
    our_map = {pair: _ports(row["ports"]) for row in rows if (pair := _pair(row, pods))}
    their_map = peer.connections(_output(peer.map_arguments(after)), pods)
    _same("connections", {pair for pair in our_map | their_map if our_map.get(pair) != their_map.get(pair)})
    rows = _answer("diff", str(before), str(after))["changes"]
    our_changes = {pair for row in rows if (pair := _pair(row, pods))}
    their_changes = peer.changed_pairs(_output(peer.difference_arguments(before, after)), pods)
    _same("changes", our_changes ^ their_changes)
    return len(our_map), len(our_changes)


def _same(what: str, differing: set[peer.Pair]) -> None:
    if differing:
        some = ", ".join(" → ".join(pair) for pair in sorted(differing)[:5])
        raise RuntimeError(f"{peer.NAME} and we do not agree about {what} of {len(differing)} pairs: {some} …")


def _metadata(path: Path) -> list[dict[str, Any]]:
    return [document["metadata"] for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def _answer(*arguments: str) -> Any:
    return json.loads(_output(_ours("", *arguments, *LIKE_THE_PEER, *JSON).arguments))


def _output(arguments: Sequence[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def _pair(row: dict[str, Any], pods: set[str]) -> peer.Pair | None:
    """The two ends of a row, when both are pods."""
    source, destination = (row[end].removesuffix("[Pod]") for end in ("source", "destination"))
    return (source, destination) if source in pods and destination in pods else None


def _ports(rows: Sequence[dict[str, Any]]) -> peer.Ports:
    found: peer.Ports = {}
    for row in rows:
        found[row["protocol"]] = found.get(row["protocol"], 0) | peer.bits(row["from"], row["to"])
    return found
