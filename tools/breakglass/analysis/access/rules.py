"""What one set of rules grants and another does not, exactly, as rules again.

A rule is a box: of API groups, resources, names and verbs, or of URLs and verbs. Verbs, groups and names are without
number, so rules without a wildcard never add up to one: a box is covered where each of its cells is covered by a single
cell that is equal or wider. What is left of a wildcard is the wildcard: no rule can say "everything but `get`".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from breakglass.analysis.access.role import EVERY, PolicyRule
from breakglass.model.errors import Refused

MOST_PIECES = 3_000
"""Boxes that a difference may fall into; rules that people write fall into a few."""

Token = str | None
"""A verb, an API group, a resource, a URL or a name; None is every name, for an object may well be called `*`."""
Tokens = frozenset[Token]
Box = tuple[Tokens, ...]
"""Groups, resources, names, verbs; or URLs, verbs."""
Wider = Callable[[Token], Iterator[Token]]
"""All tokens that cover a token and more."""


@lru_cache(maxsize=4096)
def uncovered(rules: tuple[PolicyRule, ...], by: tuple[PolicyRule, ...] = ()) -> tuple[PolicyRule, ...]:
    """What the rules grant and the others do not: ordered, nothing twice, in few rules.

    Raises:
        Refused: they overlap in more ways than can be told.
    """
    named = _difference(_resource_boxes(rules), _resource_boxes(by), _RESOURCE)
    paths = _difference(_url_boxes(rules), _url_boxes(by), _URL)
    return tuple(sorted([*(_resource_rule(*box) for box in named), *(_url_rule(*box) for box in paths)], key=_order))


def _resource_boxes(rules: Iterable[PolicyRule]) -> list[Box]:
    return [
        (frozenset(rule.groups), frozenset(rule.resources), frozenset(rule.names or (None,)), frozenset(rule.verbs))
        for rule in sorted(set(rules))
        if rule.resources
    ]


def _url_boxes(rules: Iterable[PolicyRule]) -> list[Box]:
    return [(frozenset(rule.urls), frozenset(rule.verbs)) for rule in sorted(set(rules)) if rule.urls]


def _resource_rule(groups: Tokens, resources: Tokens, names: Tokens, verbs: Tokens) -> PolicyRule:
    return PolicyRule(_ordered(verbs), _ordered(groups), _ordered(resources), _ordered(names))


def _url_rule(urls: Tokens, verbs: Tokens) -> PolicyRule:
    return PolicyRule(_ordered(verbs), urls=_ordered(urls))


def _ordered(tokens: Tokens) -> tuple[str, ...]:
    return tuple(sorted(token for token in tokens if token is not None))


def _order(rule: PolicyRule) -> tuple[tuple[str, ...], ...]:
    return rule.urls, rule.groups, rule.resources, rule.names, rule.verbs


def _wider(token: Token) -> Iterator[Token]:
    if token != EVERY:
        yield EVERY


def _wider_name(name: Token) -> Iterator[Token]:
    if name is not None:
        yield None


def _wider_resource(resource: Token) -> Iterator[Token]:
    yield from _wider(resource)
    parent, _, subresource = (resource or "").partition("/")
    if subresource and parent != EVERY:
        yield f"{EVERY}/{subresource}"


def _wider_url(url: Token) -> Iterator[Token]:
    yield from _wider(url)
    text = url or ""
    longest = len(text) - 1 if text.endswith(EVERY) else len(text) + 1
    yield from (text[:length] + EVERY for length in range(1, longest))


_RESOURCE: tuple[Wider, ...] = (_wider, _wider_resource, _wider_name, _wider)
_URL: tuple[Wider, ...] = (_wider_url, _wider)


def _difference(rules: Iterable[Box], by: Iterable[Box], wider: tuple[Wider, ...]) -> list[Box]:
    others = [_simplest(box, wider) for box in by]
    distinct: list[Box] = []
    for box in rules:
        distinct += _less(_less([_simplest(box, wider)], others, wider), distinct, wider)
        if len(distinct) > MOST_PIECES:
            raise _too_many()
    # A wide piece may have come after what it covers.
    pieces = [piece for box in distinct for piece in _less([box], (each for each in distinct if each != box), wider)]
    return _merged(pieces, len(wider))


def _too_many() -> Refused:
    return Refused("the rules of one subject overlap in too many ways to compare", remedy="write fewer, simpler rules")


def _simplest(box: Box, wider: tuple[Wider, ...]) -> Box:
    return tuple(
        frozenset(token for token in tokens if tokens.isdisjoint(more(token)))
        for tokens, more in zip(box, wider, strict=True)
    )


def _less(boxes: list[Box], others: Iterable[Box], wider: tuple[Wider, ...]) -> list[Box]:
    for other in others:
        boxes = [piece for box in boxes for piece in _minus(box, other, wider)]
        if len(boxes) > MOST_PIECES:
            raise _too_many()
    return boxes


def _minus(box: Box, other: Box, wider: tuple[Wider, ...]) -> Iterator[Box]:
    """One box without another: at each dimension what the other leaves over, of what it covered in those before."""
    shared: list[Tokens] = []
    for dimension in zip(box, other, wider, strict=True):
        shared.append(_covered(*dimension))
        if not shared[-1]:
            yield box
            return
    for index, (tokens, inside) in enumerate(zip(box, shared, strict=True)):
        if rest := tokens - inside:
            yield (*shared[:index], rest, *box[index + 1 :])


def _covered(tokens: Tokens, others: Tokens, wider: Wider) -> Tokens:
    return tokens & others | {token for token in tokens - others if not others.isdisjoint(wider(token))}


def _merged(boxes: list[Box], dimensions: int) -> list[Box]:
    """Boxes that differ in one dimension only, as one."""
    count = len(boxes) + 1
    while len(boxes) < count:
        count = len(boxes)
        for index in reversed(range(dimensions)):
            same: defaultdict[Box, set[Token]] = defaultdict(set)
            for box in boxes:
                same[box[:index] + box[index + 1 :]] |= box[index]
            boxes = [(*rest[:index], frozenset(tokens), *rest[index:]) for rest, tokens in same.items()]
    return boxes
