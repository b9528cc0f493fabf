"""Connections for programs, as a stream of JSON.

It is written a source at a time: a large cluster has hundreds of thousands of pairs, and nobody holds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache

from breakglass.analysis.network.connections import Allowed, Answer, Connections, IsolationFlip, Rectangle
from breakglass.analysis.network.ports import Ports
from breakglass.analysis.probe import Answered
from breakglass.analysis.report.rectangle import Because, cause_of, change_type, ordered

MAP_SCHEMA = "breakglass.dev/connectivity-map/v1alpha1"
DIFF_SCHEMA = "breakglass.dev/connectivity-diff/v1alpha1"

_SOURCE = "\0"
"""Stands for the source in a row that is written once for all sources; JSON never holds it bare."""


def map_json(connections: Connections) -> Iterator[str]:
    """`connectivity map --output json`: every pair, sorted."""
    yield f'{{"schema": {json.dumps(MAP_SCHEMA)}, "connections": ['
    yield from _rows(connections, lambda destination, answer: "{" + _ends(destination) + _allowed(answer[0]) + "}")
    yield "\n]}\n"


def map_summary_json(connections: Connections) -> Iterator[str]:
    """The same as rectangles."""
    yield f'{{"schema": {json.dumps(MAP_SCHEMA)}, "rectangles": ['
    yield from _joined(
        "{" + _sets(rectangle) + ", " + _allowed(rectangle.answer[0]) + "}" for rectangle in ordered(connections)
    )
    yield "\n]}\n"


def diff_json(
    connections: Connections, flips: Iterable[IsolationFlip], because: Because | None = None
) -> Iterator[str]:
    """`connectivity diff --output json`: every pair that changes, sorted; with its causes where they are asked for."""
    yield f'{{"schema": {json.dumps(DIFF_SCHEMA)}, "changes": ['
    if because is None:
        yield from _rows(
            connections, lambda destination, answer: _typed(answer) + _ends(destination) + _change(answer) + "}"
        )
    else:
        yield from _joined(
            json.dumps(
                {
                    "type": change_type(answer),
                    "source": source,
                    "destination": destination,
                    **json.loads("{" + _change(answer) + "}"),
                    "because": because(source, destination, answer),
                },
                ensure_ascii=False,
            )
            for source, entries in connections.by_source(lambda destination, answer: (destination, answer))
            for destination, answer in entries
        )
    yield "\n], " + _flips(flips) + "}\n"


def diff_summary_json(connections: Connections, flips: Iterable[IsolationFlip], because: Because) -> Iterator[str]:
    """The same as rectangles, each with the cause of its first connection."""
    yield f'{{"schema": {json.dumps(DIFF_SCHEMA)}, "rectangles": ['
    yield from _joined(
        _typed(rectangle.answer)
        + _sets(rectangle)
        + ", "
        + _change(rectangle.answer)
        + f', "because": {json.dumps(cause_of(rectangle, because), ensure_ascii=False)}}}'
        for rectangle in ordered(connections)
    )
    yield "\n], " + _flips(flips) + "}\n"


def query_json(answers: Iterable[Answered]) -> Iterator[str]:
    """`connectivity query --output json`: the answers in the order asked."""
    comma = "["
    for answered in answers:
        explanation = answered.explanation
        row = {
            "id": answered.probe.id,
            "verdict": explanation.verdict,
            "egress": explanation.egress,
            "ingress": explanation.ingress,
            "why": explanation.why,
        }
        yield f"{comma}\n{json.dumps(row, ensure_ascii=False)}"
        comma = ","
    yield "[]\n" if comma == "[" else "\n]\n"


def _rows(connections: Connections, row: Callable[[str, Answer], str]) -> Iterator[str]:
    """Rows of every pair, a source at a time: what does not name the source is written once for all."""
    before = 1
    for source, entries in connections.by_source(lambda destination, answer: ",\n" + row(destination, answer)):
        yield "".join(entries).replace(_SOURCE, json.dumps(source, ensure_ascii=False))[before:]
        before = 0


def _joined(rows: Iterable[str]) -> Iterator[str]:
    comma = ""
    for row in rows:
        yield f"{comma}\n{row}"
        comma = ","


def _ends(destination: str) -> str:
    return f'"source": {_SOURCE}, "destination": {json.dumps(destination, ensure_ascii=False)}, '


def _typed(answer: Answer) -> str:
    return f'{{"type": "{change_type(answer)}", '


def _sets(rectangle: Rectangle) -> str:
    sources, destinations = (", ".join(map(_name, names)) for names in (rectangle.sources, rectangle.destinations))
    return f'"sources": [{sources}], "destinations": [{destinations}]'


@cache
def _name(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


@lru_cache(maxsize=4096)
def _allowed(allowed: Allowed) -> str:
    depends = f', "depends": {_ports(allowed.depends)}' if allowed.depends else ""
    return f'"ports": {_ports(allowed.ports)}{depends}'


@lru_cache(maxsize=4096)
def _change(answer: Answer) -> str:
    was, will = answer
    depends = ""
    if was.depends or will.depends:
        depends = f', "depends": {{"before": {_ports(was.depends)}, "after": {_ports(will.depends)}}}'
    return f'"before": {_ports(was.ports)}, "after": {_ports(will.ports)}{depends}'


def _ports(ports: Ports) -> str:
    return json.dumps([{"protocol": each.protocol, "from": each.first, "to": each.last} for each in ports])


def _flips(flips: Iterable[IsolationFlip]) -> str:
    rows = [
        {
            "workload": flip.workload,
            "direction": flip.direction,
            "before": "open" if flip.isolated else "isolated",
            "after": "isolated" if flip.isolated else "open",
            "because": flip.because,
        }
        for flip in flips
    ]
    return '"isolationFlips": ' + json.dumps(rows, ensure_ascii=False)
