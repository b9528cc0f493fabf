"""CODEOWNERS: the owners of many paths by many rules, beside trying every rule from the last to the first."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable
from random import Random

from measurement import LimitMissed

from breakglass.model.codeowners import Codeowners, parse
from breakglass.model.codeowners_pattern import expression

TITLE = "CODEOWNERS"
RULES, PATHS, TRIED = 5_000, 50_000, 50
LIMIT_SECONDS = 2.0
SEED = 20261126


def run() -> list[str]:
    """5,000 rules and 50,000 paths; the peer tries every rule, on the first paths alone, for it would take minutes.

    Raises:
        LimitMissed: a mix of rules took longer than the limit of CPU time.
    """
    random = Random(SEED)
    paths = [_path(random) for _ in range(PATHS)]
    lines = [
        f"{RULES:,} rules, {PATHS:,} paths; reading the file included. The peer compiles the same expressions and "
        f"tries them from the last to the first, on {TRIED} of the paths.",
        "",
        "| rules | CPU, all paths | a path | the peer, a path | ratio |",
        "|---|---|---|---|---|",
    ]
    missed = 0.0
    for name, make in (("mixed", _mixed), *_WORST.items()):
        text = "".join(f"{make(random)} @acme/team-{number % 40}\n" for number in range(RULES)).encode()
        begin = time.process_time()
        codeowners = parse(text, "CODEOWNERS")
        owned = [codeowners.match(path) for path in paths]
        took = time.process_time() - begin
        peer = _peer(codeowners, paths[:TRIED], [rule.line if rule else 0 for rule in owned[:TRIED]])
        each = took / PATHS
        lines.append(f"| {name} | {took:.2f} s | {each * 1e6:.0f} µs | {peer * 1e6:,.0f} µs | {peer / each:,.0f} |")
        missed = max(missed, took)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines += [
        "",
        f"Peak memory of the process: {peak:.0f} MiB. The limit is {LIMIT_SECONDS:.0f} s for each.",
        "",
    ]
    if missed > LIMIT_SECONDS:
        raise LimitMissed([f"{missed:.1f} s of CPU for one of the mixes, more than {LIMIT_SECONDS:.0f} s"], lines)
    return lines


def _peer(codeowners: Codeowners, paths: list[str], expected: list[int]) -> float:
    """Seconds of CPU for a path."""
    compiled = [(rule.line, expression(rule.pattern)) for rule in reversed(codeowners.rules)]
    begin = time.process_time()
    found = [next((line for line, tried in compiled if tried.fullmatch(path)), 0) for path in paths]
    took = time.process_time() - begin
    if found != expected:
        raise RuntimeError("the peer finds other owners")
    return took / len(paths)


_WORDS = [f"{a}{b}" for a, b in itertools.product(("svc", "lib", "app", "doc", "ops", "web"), range(120))]
_ENDINGS = ("go", "py", "ts", "md", "yaml", "tf", "sql", "rs", "proto", "sh")


def _path(random: Random) -> str:
    directories = [random.choice(_WORDS) for _ in range(random.randint(1, 5))]
    return "/".join([*directories, f"{random.choice(_WORDS)}.{random.choice(_ENDINGS)}"])


def _mixed(random: Random) -> str:
    """As monorepos have them: mostly anchored directories, some names and endings, a few with wildcards."""
    words = [random.choice(_WORDS) for _ in range(4)]
    shapes: list[tuple[int, Callable[[], str]]] = [
        (60, lambda: f"/{words[0]}/{words[1]}/"),
        (15, lambda: f"/{words[0]}/{words[1]}/{words[2]}.py"),
        (5, lambda: f"{words[0]}/{words[1]}/*"),
        (5, lambda: f"{words[0]}{words[1]}/"),
        (5, lambda: f"*.{words[0]}.py"),
        (5, lambda: f"/{words[0]}/*/{words[1]}/"),
        (4, lambda: f"/{words[0]}/**/{words[1]}*.go"),
        (1, lambda: f"**/{words[0]}/{words[1]}.yaml"),
    ]
    return random.choices([make for _, make in shapes], [weight for weight, _ in shapes])[0]()


_WORST: dict[str, Callable[[Random], str]] = {
    "each with stars in two segments": lambda random: f"/{random.choice(_WORDS)[:-1]}*/{random.choice(_WORDS)[:-1]}*/",
    "each a text inside a name anywhere": lambda random: f"*{random.choice(_WORDS)[1:]}{random.randint(0, 9)}*",
    "each anywhere, by a name and an ending": lambda random: (
        f"**/{random.choice(_WORDS)}/**/*-{random.randint(0, 99)}.{random.choice(_ENDINGS)}"
    ),
    "each with a mark": lambda random: f"{random.choice(_WORDS)}?.{random.choice(_ENDINGS)}",
}
"""What an index cannot decide by a text alone: an expression is tried for each that may match."""
