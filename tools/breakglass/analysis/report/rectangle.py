"""Rectangles in order, and what each of them does, for every format."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

from breakglass.analysis.network.connections import Answer, Connections, Rectangle
from breakglass.analysis.network.ports import Ports, difference, union

Because = Callable[[str, str, Answer], tuple[str, ...]]
"""The rules that make a difference, by source, destination and answer."""


def ordered(connections: Connections) -> list[Rectangle]:
    """Rectangles by their first source, destination and answer."""
    told = cache(lambda identity: str(answers[identity]))
    rectangles = list(connections.rectangles())
    answers = {id(each.answer): each.answer for each in rectangles}
    return sorted(rectangles, key=lambda each: (each.sources, each.destinations, told(id(each.answer))))


def cause_of(rectangle: Rectangle, because: Because) -> tuple[str, ...]:
    """The rules that make the difference for the first connection of a rectangle."""
    source = rectangle.sources[0]
    destination = next((name for name in rectangle.destinations if name != source), rectangle.destinations[0])
    return because(source, destination, rectangle.answer)


def change_type(answer: Answer) -> str:
    """`added`, `removed` or `changed`."""
    was, will = answer
    return "added" if not was else "changed" if will else "removed"


@lru_cache(maxsize=4096)
def opens(answer: Answer) -> bool:
    """Whether something is allowed after that was not before, surely or possibly."""
    was, will = answer
    return bool(less(will.ports, was.ports) or less((*will.ports, *will.depends), (*was.ports, *was.depends)))


def less(ports: Ports, other: Ports) -> Ports:
    """Ports of the one set that are not in the other; neither needs to be in order."""
    return difference(union(ports), union(other))
