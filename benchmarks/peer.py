"""The peer beside which connectivity is measured, in a virtualenv of its own, and how to read what it says."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from breakglass_lab.controlplane.toolchain import cache_directory, only_one

NAME = "network-config-analyzer 2.1.0"
REQUIREMENTS = Path(__file__).parents[1] / "requirements" / "peer.txt"

# Of its formats the one that it writes fastest: a line a connection, not minimised to firewall rules.
_FORMAT = ("--output_format", "txt_no_fw_rules", "--output_endpoints", "pods")
_CONNECTION = re.compile(r"(\S+) => (\S+) : (.+)")
_PORTS = re.compile(r"\{protocols:(TCP|UDP|SCTP),dst_ports:([0-9,-]+)\}")

Pair = tuple[str, str]
Ports = dict[str, int]
"""Protocol → its ports, as a set of bits."""


def program() -> str:
    """The path of its command; installed, from pins with hashes, when it is not there yet.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    directory = cache_directory("peer", f"{sys.implementation.cache_tag}-{pins}")
    done = directory / ".installed"
    with only_one(directory / ".lock", lambda line: print(line, file=sys.stderr), NAME):
        if not done.exists():
            print(f"installing {NAME} (pins with hashes: requirements/peer.txt)", file=sys.stderr, flush=True)
            venv.create(directory, with_pip=True)
            install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
            command = [str(directory / "bin" / "python"), "-m", "pip", *install, "-r", str(REQUIREMENTS)]
            subprocess.run(command, check=True, stdout=sys.stderr)
            done.touch()
    return str(directory / "bin" / "nca")


def map_arguments(cluster: Path) -> list[str]:
    """Its command for the connections that a cluster allows; it ends with 0."""
    return [program(), "--connectivity", "--resource_list", str(cluster), *_FORMAT]


def difference_arguments(before: Path, after: Path) -> list[str]:
    """Its command for the connections that a change opens and closes; it ends with 1 when there are any."""
    resources = ["--resource_list", str(after), "--base_resource_list", str(before)]
    return [program(), "--semantic_diff", *resources, *_FORMAT]


def connections(answer: str, pods: Iterable[str]) -> dict[Pair, Ports]:
    """The connections between these pods in its answer to the first command.

    It may name a pair in several lines; what they allow adds up.

    Raises:
        ValueError: a line that nobody has seen yet.
    """
    known, found = set(pods), defaultdict[Pair, Ports](dict)
    for source, destination, said in _CONNECTION.findall(answer):
        if source not in known or destination not in known:
            continue
        pair = found[source, destination]
        if said == "All connections":
            pair.update({protocol: bits(1, 65535) for protocol in ("TCP", "UDP", "SCTP")})
            continue
        match = _PORTS.fullmatch(said)
        if match is None:
            raise ValueError(f"{NAME} says {said!r} of {source} => {destination}")
        for ports in match[2].split(","):
            first, _, last = ports.partition("-")
            pair[match[1]] = pair.get(match[1], 0) | bits(int(first), int(last or first))
    return dict(found)


def changed_pairs(answer: str, pods: Iterable[str]) -> set[Pair]:
    """The pairs of these pods of which its answer to the second command says that something changed."""
    known = set(pods)
    return {
        (source, destination)
        for source, destination, _ in _CONNECTION.findall(answer)
        if source in known and destination in known
    }


def bits(first: int, last: int) -> int:
    """The ports from the first to the last, as a set of bits."""
    return (1 << last + 1) - (1 << first)
