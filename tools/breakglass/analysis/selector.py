"""Label selectors (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.analysis.field import known, label_complaint, labels, mappings, text, texts
from breakglass.model.source import Place


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label.

    Attributes:
        key: the label's key.
        operator: `In`, `NotIn`, `Exists` or `DoesNotExist`; `matchLabels` is `In` with one value.
        values: for `In` and `NotIn`.
    """

    key: str
    operator: str
    values: frozenset[str]

    def matches(self, carried: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition. `NotIn` and `DoesNotExist` match a missing key."""
        if self.operator == "In":
            return carried.get(self.key) in self.values
        if self.operator == "NotIn":
            return carried.get(self.key) not in self.values
        return (self.key in carried) == (self.operator == "Exists")


@dataclass(frozen=True, slots=True)
class Selector:
    """All of the requirements; none of them selects everything."""

    requirements: tuple[Requirement, ...]

    def matches(self, carried: Mapping[str, str]) -> bool:
        """Whether these labels are selected."""
        return all(requirement.matches(carried) for requirement in self.requirements)

    def example(self) -> dict[str, str]:
        """Labels that the selector was written for; where it contradicts itself, it does not match them either."""
        return {
            requirement.key: min(requirement.values, default="any")
            for requirement in self.requirements
            if requirement.operator in ("In", "Exists")
        }


def read_selector(selector: Mapping[str, Any], where: Place) -> Selector:
    """Read a `LabelSelector`.

    Args:
        selector: the field's value; `{}` selects everything.
        where: the object it stands in, for errors.

    Raises:
        Refused: an unknown field or operator, values where there must be none, none where there must be some, a key or
            a value that no label can have.
    """
    known(selector, {"matchLabels", "matchExpressions"}, "the selector", where)
    equal = labels(selector, "matchLabels", where)
    requirements = [Requirement(key, "In", frozenset([value])) for key, value in equal.items()]
    requirements += [_read_expression(item, where) for item in mappings(selector, "matchExpressions", where)]
    return Selector(tuple(requirements))


def _read_expression(expression: Mapping[str, Any], where: Place) -> Requirement:
    known(expression, {"key", "operator", "values"}, "the expression", where)
    key, operator = text(expression, "key", where), text(expression, "operator", where)
    values = frozenset(texts(expression, "values", where))
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise where.refusal(f"{operator[:80] or 'nothing'} is no operator of a selector", expression, "operator")
    if bool(values) != (operator in ("In", "NotIn")):
        raise where.refusal(f"{operator} has {len(values)} values", expression, "values")
    if complaint := label_complaint(key):
        raise where.refusal(complaint, expression, "key")
    for value in values:
        if complaint := label_complaint(key, value):
            raise where.refusal(complaint, expression, "values")
    return Requirement(key, operator, values)
