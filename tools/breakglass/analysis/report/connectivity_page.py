"""Connections for people: every connection of a state, or what changes between two, as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from breakglass.analysis.comparison import Comparison
from breakglass.analysis.network.connections import Answer, Connections, IsolationFlip, Rectangle
from breakglass.analysis.network.explain import Verdict
from breakglass.analysis.network.names import named, ports_shown
from breakglass.analysis.network.ports import Ports, intersection
from breakglass.analysis.network.space import Space
from breakglass.analysis.probe import Answered
from breakglass.analysis.report.page import Arrow, Page, Table, Tone
from breakglass.analysis.report.rectangle import cause_of, less, opens, ordered
from breakglass.model.finding import Finding

_VERDICTS: dict[Verdict, Tone] = {"allow": "opened", "deny": "closed", "depends": "plain"}


def page_of_map(connections: Connections, *, summary: bool) -> Page:
    """Every connection of one state, pair by pair or as rectangles."""
    rectangles = ordered(connections) if summary else Pairs(connections)
    columns = ("source", "destination", "ports", "depends on the CNI")
    return Page(
        f"{_count(len(rectangles), _what(summary))} allowed",
        tables=(Table("Allowed", columns, (_map_row(each, connections) for each in rectangles)),),
        arrows=(_map_arrow(each, connections) for each in rectangles),
    )


def page_of_diff(comparison: Comparison, connections: Connections, *, summary: bool) -> Page:
    """Everything that changes between two states, and the rules that cause it, pair by pair or as rectangles."""
    rectangles = ordered(connections) if summary else Pairs(connections)
    flips = comparison.isolation_flips()
    opened = sum(opens(each.answer) for each in rectangles)
    closed = len(rectangles) - opened
    return Page(
        _diff_headline(opened, closed, len(flips), _what(summary)),
        findings=tuple(flip_finding(flip) for flip in flips),
        tables=diff_tables(rectangles, comparison),
        arrows=(diff_arrow(each, comparison.space) for each in rectangles),
    )


def diff_tables(rectangles: Iterable[Rectangle], comparison: Comparison) -> tuple[Table, ...]:
    """What opens and what closes, each with the rules behind it."""
    columns = ("source", "destination", "ports", "because")
    sides: tuple[tuple[str, bool, Tone], ...] = (("Opened", True, "opened"), ("Closed", False, "closed"))
    return tuple(
        Table(title, columns, _diff_rows(rectangles, comparison, opened=opened), tone)
        for title, opened, tone in sides
        if any(opens(each.answer) is opened for each in rectangles)
    )


def page_of_query(answers: Sequence[Answered]) -> Page:
    """Answers to probes, in the order asked."""
    counts = Counter(answered.explanation.verdict for answered in answers)
    depends = f", {counts['depends']} depends" if counts["depends"] else ""
    return Page(
        f"{counts['allow']} allowed, {counts['deny']} denied{depends}",
        tables=(
            Table("Answers", ("id", "verdict", "from", "to", "port", "why"), [_answer_row(each) for each in answers]),
        ),
        arrows=[
            Arrow((each.probe.source,), (each.probe.destination,), _asked(each), _VERDICTS[each.explanation.verdict])
            for each in answers
        ],
    )


def _answer_row(answered: Answered) -> tuple[str, ...]:
    probe, explanation = answered.probe, answered.explanation
    because = "; ".join(explanation.why)
    return str(probe.id), explanation.verdict, probe.source, probe.destination, _asked(answered), because


def _asked(answered: Answered) -> str:
    return f"{answered.probe.protocol} {answered.probe.port}"


def flip_finding(flip: IsolationFlip) -> Finding:
    """An isolation flip, for people."""
    side = "into" if flip.direction == "ingress" else "out of"
    policies = ", ".join(flip.because)
    if flip.isolated:
        message = f"{flip.workload} was open and is isolated: nothing gets {side} it that a policy does not name"
    else:
        message = f"{flip.workload} was isolated and is open: everything gets {side} it that nobody else forbids"
    return Finding("connectivity-isolation-flip", message, policies, "see that this is meant")


class Pairs:
    """Connections one by one, made anew each time they are asked for, and never held."""

    def __init__(self, connections: Connections) -> None:
        """The connections."""
        self._connections = connections

    def __len__(self) -> int:
        return sum(len(entries) for _, entries in self._connections.by_source(lambda _, answer: answer))

    def __iter__(self) -> Iterator[Rectangle]:
        for source, entries in self._connections.by_source(lambda destination, answer: (destination, answer)):
            for destination, answer in entries:
                yield Rectangle((source,), (destination,), answer)


def _what(summary: bool) -> str:
    return "set" if summary else "connection"


def _diff_headline(opened: int, closed: int, flips: int, what: str) -> str:
    if not (opened or closed or flips):
        return "Nothing changes between the two"
    isolations = f", {_count(flips, 'isolation flip')}" if flips else ""
    more = " of connections" if what == "set" else ""
    return f"{_count(opened, what)}{more} opened, {closed} closed{isolations}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _map_row(rectangle: Rectangle, connections: Connections) -> tuple[str, ...]:
    (allowed,) = rectangle.answer
    return (
        ", ".join(named(rectangle.sources, connections.space)),
        ", ".join(named(rectangle.destinations, connections.space)),
        ports_shown(allowed.ports),
        ports_shown(allowed.depends),
    )


def _diff_rows(rectangles: Iterable[Rectangle], comparison: Comparison, *, opened: bool) -> Iterator[tuple[str, ...]]:
    for rectangle in rectangles:
        if opens(rectangle.answer) is opened:
            yield (
                ", ".join(named(rectangle.sources, comparison.space)),
                ", ".join(named(rectangle.destinations, comparison.space)),
                changed_ports(rectangle.answer),
                "; ".join(cause_of(rectangle, comparison.cause)),
            )


@lru_cache(maxsize=4096)
def changed_ports(answer: Answer) -> str:
    """What opens, and what does no more; or what closes: for people."""
    was, will = answer
    after = (*will.ports, *will.depends)
    come = _sure_and_maybe(less(will.ports, was.ports), less(less(will.depends, was.depends), was.ports))
    gone = _sure_and_maybe(less(was.ports, after), less(was.depends, after))
    if weaker := intersection(was.ports, will.depends):
        gone.append(f"{ports_shown(weaker)} (now depends on the CNI)")
    return ", ".join([*come, *(f"no more {each}" for each in gone)] if opens(answer) else gone)


def _sure_and_maybe(sure: Ports, maybe: Ports) -> list[str]:
    return [ports_shown(sure)] * bool(sure) + [f"{ports_shown(maybe)} (depends on the CNI)"] * bool(maybe)


def _map_arrow(rectangle: Rectangle, connections: Connections) -> Arrow:
    (allowed,) = rectangle.answer
    return Arrow(
        named(rectangle.sources, connections.space),
        named(rectangle.destinations, connections.space),
        ports_shown((*allowed.ports, *allowed.depends)),
    )


def diff_arrow(rectangle: Rectangle, space: Space, *, danger: bool = False) -> Arrow:
    """A change in the picture."""
    tone: Tone = "danger" if danger else "opened" if opens(rectangle.answer) else "closed"
    return Arrow(
        named(rectangle.sources, space), named(rectangle.destinations, space), changed_ports(rectangle.answer), tone
    )
