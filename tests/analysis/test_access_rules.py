"""What one set of rules grants beyond another: against a naive membership test, one request at a time."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_objects import Manifest, bind, rbac

from breakglass.analysis.access.access import Access
from breakglass.analysis.access.role import PolicyRule
from breakglass.analysis.access.rules import MOST_PIECES, uncovered
from breakglass.model.errors import Refused

UNHURRIED = settings(deadline=None, max_examples=100)

# The universe: every token that rules below name, and one that none of them names, for what a wildcard adds.
VERBS = ("get", "list", "create", "other")
GROUPS = ("", "apps", "other")
RESOURCES = (
    "pods",
    "pods/exec",
    "pods/scale",
    "deployments",
    "deployments/scale",
    "other",
    "other/scale",
    "other/other",
)
NAMES = ("", "one", "two", "*", "other")
URLS = ("/", "/a", "/ab", "/a/b", "/a/c", "/b", "/other", "other")
REQUESTS = tuple(product(VERBS, GROUPS, RESOURCES, NAMES))
PATHS = tuple(product(VERBS, URLS))


def some(*tokens: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(tokens), min_size=1, max_size=3).map(tuple)


RULE = st.builds(
    PolicyRule,
    some("get", "list", "create", "*"),
    some("", "apps", "*"),
    some("pods", "pods/exec", "pods/*", "deployments", "deployments/scale", "*/scale", "*"),
    st.one_of(st.just(()), some("one", "two", "*", "")),
)
URL_RULE = st.builds(
    lambda verbs, urls: PolicyRule(verbs, urls=urls),
    some("get", "create", "*"),
    some("/", "/a", "/a/b", "/a*", "/a/*", "/*", "*"),
)
RULES = st.lists(st.one_of(RULE, RULE, URL_RULE), max_size=4).map(tuple)


def grants(rule: PolicyRule, verb: str, group: str, resource: str, name: str) -> bool:
    """As `RuleAllows` of the API server does it, word for word."""
    _, _, subresource = resource.partition("/")
    return (
        bool(rule.resources)
        and any(each in ("*", verb) for each in rule.verbs)
        and any(each in ("*", group) for each in rule.groups)
        and any(
            each in ("*", resource) or (subresource != "" and each == f"*/{subresource}") for each in rule.resources
        )
        and (not rule.names or name in rule.names)
    )


def grants_path(rule: PolicyRule, verb: str, path: str) -> bool:
    return any(each in ("*", verb) for each in rule.verbs) and any(
        url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*"))) for url in rule.urls
    )


@lru_cache(maxsize=1024)
def requests(rules: tuple[PolicyRule, ...]) -> set[tuple[str, ...]]:
    """Every request of the universe that rules grant."""
    found: set[tuple[str, ...]] = {asked for asked in REQUESTS if any(grants(rule, *asked) for rule in rules)}
    return found | {asked for asked in PATHS if any(grants_path(rule, *asked) for rule in rules)}


def pieces(rules: tuple[PolicyRule, ...]) -> list[PolicyRule]:
    """Rules as their smallest pieces, wildcards kept."""
    return [
        piece
        for rule in rules
        for piece in (
            *(PolicyRule((verb,), urls=(url,)) for verb in rule.verbs for url in rule.urls),
            *(
                PolicyRule((verb,), (group,), (resource,), (name,) if rule.names else ())
                for verb in rule.verbs
                for group in rule.groups
                for resource in rule.resources
                for name in rule.names or ("",)
            ),
        )
    ]


def has_wildcard(rule: PolicyRule) -> bool:
    tokens = (*rule.verbs, *rule.groups, *rule.resources, *rule.urls)
    # A rule without names is about every name: a wildcard of its own.
    return any("*" in token for token in tokens) or not (rule.names or rule.urls)


@UNHURRIED
@given(RULES, RULES)
def test_what_is_new_is_told_and_nothing_that_is_not_there(
    after: tuple[PolicyRule, ...], before: tuple[PolicyRule, ...]
) -> None:
    told = requests(uncovered(after, before))
    assert requests(after) - requests(before) <= told <= requests(after)


@UNHURRIED
@given(RULES, RULES)
def test_each_piece_that_is_told_holds_something_new(
    after: tuple[PolicyRule, ...], before: tuple[PolicyRule, ...]
) -> None:
    """Without wildcards a piece is one request, and new; with one, it holds at least the request that nobody named."""
    held = requests(before)
    for piece in pieces(uncovered(after, before)):
        asked = requests((piece,))
        assert not asked or asked - held
        assert has_wildcard(piece) or not asked & held


@UNHURRIED
@given(RULES, RULES)
def test_without_wildcards_it_is_exactly_the_difference(
    after: tuple[PolicyRule, ...], before: tuple[PolicyRule, ...]
) -> None:
    after = tuple(piece for piece in pieces(after) if not has_wildcard(piece))
    assert requests(uncovered(after, before)) == requests(after) - requests(before)


@UNHURRIED
@given(RULES)
def test_grouping_changes_nothing_and_says_nothing_twice(rules: tuple[PolicyRule, ...]) -> None:
    told = uncovered(rules)
    assert requests(told) == requests(rules)
    assert len(pieces(told)) == len(set(pieces(told)))
    for piece in pieces(told):
        assert uncovered((piece,), tuple(other for other in pieces(told) if other != piece)) == (piece,)
    assert uncovered(told) == told


@UNHURRIED
@given(RULES, RULES, st.randoms(use_true_random=False))
def test_the_order_of_the_rules_does_not_matter(
    after: tuple[PolicyRule, ...], before: tuple[PolicyRule, ...], chance: object
) -> None:
    shuffled = list(after)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert uncovered(tuple(shuffled), before[::-1]) == uncovered(after, before)


GROUPS_OF = {
    "User:kim": {"User:kim", "Group:system:authenticated"},
    "ServiceAccount:shop/api": {
        *("ServiceAccount:shop/api", "Group:system:serviceaccounts:shop"),
        *("Group:system:serviceaccounts", "Group:system:authenticated"),
    },
    "Group:system:serviceaccounts:shop": {
        *("Group:system:serviceaccounts:shop", "Group:system:serviceaccounts", "Group:system:authenticated"),
    },
    "Group:system:serviceaccounts": {"Group:system:serviceaccounts", "Group:system:authenticated"},
    "Group:system:authenticated": {"Group:system:authenticated"},
}
"""A subject, and all that it certainly belongs to."""
PLACES = ("", "shop", "data")
FEW_RULES = st.sampled_from(
    [
        PolicyRule(("get",), ("",), ("pods",), ("one",)),
        PolicyRule(("get", "list"), ("",), ("pods",), ("one", "two")),
        PolicyRule(("get",), ("", "apps"), ("pods", "pods/exec"), ("one",)),
    ]
)
"""So few that sides often share one, and without wildcards, so that the difference is exact."""
Bound = tuple[str, str, tuple[PolicyRule, ...]]
BOUND = st.lists(
    st.tuples(
        st.sampled_from(sorted(GROUPS_OF)),
        st.sampled_from(PLACES),
        st.lists(FEW_RULES, min_size=1, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


def objects(bound: list[Bound]) -> list[Manifest]:
    found = []
    for index, (subject, place, rules) in enumerate(bound):
        written = [
            {"verbs": [*each.verbs], "apiGroups": [*each.groups], "resources": [*each.resources]}
            | ({"resourceNames": [*each.names]} if each.names else {})
            for each in rules
        ]
        found.append(rbac("ClusterRole", f"r{index}", rules=written))
        found.append(bind(f"{place}/b{index}" if place else f"b{index}", f"ClusterRole/r{index}", subject))
    return found


@settings(UNHURRIED, max_examples=1000)
@given(BOUND, BOUND)
def test_a_subject_is_told_of_what_neither_it_nor_its_groups_had(after: list[Bound], before: list[Bound]) -> None:
    told = {
        (item.subject, item.namespace): requests(item.rules)
        for item in Access(objects(after)).beyond(Access(objects(before)))
    }
    for subject, place in product(GROUPS_OF, PLACES):
        given_now = [rules for whom, where, rules in after if (whom, where) == (subject, place)]
        had = [rules for whom, where, rules in before if whom in GROUPS_OF[subject] and where in ("", place)]
        now, held = (requests(tuple(rule for rules in side for rule in rules)) for side in (given_now, had))
        assert told.get((subject, place), set()) == now - held


@pytest.mark.parametrize(
    ("after", "before", "told"),
    [
        # A rule that is untouched stays as it was written.
        ([("get list", "", "pods secrets", "")], [], [("get list", "", "pods secrets", "")]),
        # What is left is told resource by resource.
        (
            [("get list", "", "pods secrets", "")],
            [("get", "", "pods", "")],
            [("list", "", "pods", ""), ("get list", "", "secrets", "")],
        ),
        ([("*", "", "pods", "")], [("get", "", "pods", "")], [("*", "", "pods", "")]),
        ([("get *", "", "pods", "")], [], [("*", "", "pods", "")]),
        ([("get", "", "pods", ""), ("*", "*", "*", "")], [], [("*", "*", "*", "")]),
        ([("get", "", "pods", "one two")], [("get", "", "pods", "one")], [("get", "", "pods", "two")]),
        ([("get", "", "pods", "one"), ("get", "", "pods", "")], [], [("get", "", "pods", "")]),
        # An object may be called `*`: it is a name as any other.
        ([("get", "", "pods", "one")], [("get", "", "pods", "*")], [("get", "", "pods", "one")]),
        ([("get", "", "pods", "")], [("get", "", "pods", "*")], [("get", "", "pods", "")]),
        ([("update", "apps", "deployments/scale", "")], [("update", "apps", "*/scale", "")], []),
        ([("update", "apps", "*/scale", "")], [("update", "*", "*", "")], []),
        # `pods/*` is a subresource called `*`, and no wildcard.
        ([("get", "", "pods/exec", "")], [("get", "", "pods/*", "")], [("get", "", "pods/exec", "")]),
        # Two roles that grant the same in pieces are told as one.
        (
            [("get", "", "pods", ""), ("list", "", "pods", ""), ("get list", "", "secrets", "")],
            [],
            [("get list", "", "pods secrets", "")],
        ),
    ],
)  # fmt: skip
def test_rules(after: list[tuple[str, ...]], before: list[tuple[str, ...]], told: list[tuple[str, ...]]) -> None:
    def read(rows: list[tuple[str, ...]]) -> tuple[PolicyRule, ...]:
        return tuple(
            PolicyRule(tuple(verbs.split()), tuple(groups.split(" ")), tuple(resources.split()), tuple(names.split()))
            for verbs, groups, resources, names in rows
        )

    assert uncovered(read(after), read(before)) == read(told)


@pytest.mark.parametrize(
    ("after", "before", "told"),
    [
        ("/a/b", "/a/*", ""),
        ("/a/*", "/a*", ""),
        ("/a*", "/a/*", "/a*"),
        ("/a", "/a/*", "/a"),
        ("/a /a*", "", "/a*"),
        ("*", "/*", "*"),
        ("/*", "*", ""),
    ],
)
def test_urls(after: str, before: str, told: str) -> None:
    def read(urls: str) -> tuple[PolicyRule, ...]:
        return (PolicyRule(("get",), urls=tuple(urls.split())),) if urls else ()

    assert uncovered(read(after), read(before)) == read(told)


def test_a_rule_of_a_trillion_pieces_is_not_taken_apart() -> None:
    many = tuple(f"x{number}" for number in range(10_000))
    huge = PolicyRule(many, ("",), many, many)
    hole = PolicyRule(("x1",), ("",), ("x2",), ("x3",))
    begun = time.monotonic()
    assert len(uncovered((huge,), (hole,))) == 3
    assert time.monotonic() - begun < 5


def test_rules_that_overlap_without_end_are_refused() -> None:
    count = MOST_PIECES + 1
    tangle = tuple(PolicyRule((f"v{number}",), ("",), (f"r{number}",), (f"n{number}",)) for number in range(count))
    with pytest.raises(Refused, match="overlap in too many ways"):
        uncovered(tangle)
