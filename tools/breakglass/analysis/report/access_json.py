"""JSON about access, row by row: a large cluster has many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from breakglass.analysis.access.access import Granted, UnseenRole
from breakglass.analysis.access.difference import AccessDifference
from breakglass.analysis.access.escalation import Escalation, subject_name
from breakglass.analysis.access.question import Able, Question
from breakglass.analysis.access.role import Binding, PolicyRule

DIFF_SCHEMA = "breakglass.dev/access-diff/v1alpha1"
MAP_SCHEMA = "breakglass.dev/access-map/v1alpha1"
WHO_CAN_SCHEMA = "breakglass.dev/access-who-can/v1alpha1"

Row = dict[str, Any]
"""One object of a list in JSON."""


def diff_document(change: AccessDifference) -> Iterator[str]:
    """The document of `access diff`, in pieces of text."""
    return _document(
        {"schema": DIFF_SCHEMA},
        {
            "granted": map(row_of_granted, change.granted),
            "revoked": map(row_of_granted, change.revoked),
            "escalations": map(row_of_escalation, change.escalations),
        },
    )


def map_document(granted: Iterable[Granted], unseen: Iterable[UnseenRole]) -> Iterator[str]:
    """The document of `access map`, in pieces of text."""
    return _document(
        {"schema": MAP_SCHEMA}, {"granted": map(row_with_bindings, granted), "unseen": map(row_of_unseen, unseen)}
    )


def who_can_document(question: Question, able: Iterable[Able], unseen: Iterable[UnseenRole]) -> Iterator[str]:
    """The document of `access who-can`, in pieces of text; a group is null where any is meant."""
    head = {"schema": WHO_CAN_SCHEMA, "verb": question.verb, "resource": question.resource, "apiGroup": question.group}
    return _document(
        head | {"namespace": question.namespace, "name": question.name or None},
        {"subjects": map(row_of_able, able), "unseen": map(row_of_unseen, unseen)},
    )


def row_of_granted(item: Granted) -> Row:
    """What a subject is granted, or was, in one place; the place is null for the whole cluster."""
    return {
        "subject": subject_name(item.subject),
        "namespace": item.namespace or None,
        "rules": [_row_of_rule(rule) for rule in item.rules],
    }


def row_with_bindings(item: Granted) -> Row:
    """The same, with the bindings that say so."""
    return row_of_granted(item) | {"because": [_row_of_binding(binding) for binding in item.bindings]}


def row_of_escalation(item: Escalation) -> Row:
    """A way up."""
    return {
        "id": item.finding.id,
        "severity": item.finding.severity,
        "subject": subject_name(item.subject),
        "namespace": item.namespace or None,
        "reason": item.finding.message,
        "remedy": item.finding.remedy,
        "reaches": [{"workload": workload, "destination": destination} for workload, destination in item.reaches],
    }


def row_of_able(item: Able) -> Row:
    """A subject that can, with the bindings and roles that say so, and the only objects with which it can."""
    return {
        "subject": subject_name(item.subject),
        "namespace": item.namespace or None,
        "because": [_row_of_binding(reason.binding) | {"resourceNames": list(reason.names)} for reason in item.because],
    }


def row_of_unseen(item: UnseenRole) -> Row:
    """A subject bound to a role that no manifest holds."""
    return {"subject": subject_name(item.subject), "namespace": item.namespace or None, "role": item.role}


def _row_of_rule(rule: PolicyRule) -> Row:
    return {
        "apiGroups": list(rule.groups),
        "resources": list(rule.resources),
        "verbs": list(rule.verbs),
        "resourceNames": list(rule.names),
        "nonResourceURLs": list(rule.urls),
    }


def _row_of_binding(binding: Binding) -> Row:
    name = f"{binding.namespace}/{binding.key.name}" if binding.namespace else binding.key.name
    return {"binding": f"{binding.key.kind} {name}", "role": f"{binding.role.kind} {binding.role.name}"}


def _document(head: Mapping[str, Any], lists: Mapping[str, Iterable[Row]]) -> Iterator[str]:
    """An object of single values and of lists, one row a line."""
    yield "{"
    yield ",".join(f"\n  {json.dumps(name)}: {_json(value)}" for name, value in head.items())
    for name, rows in lists.items():
        yield f",\n  {json.dumps(name)}: ["
        between = "\n    "
        for row in rows:
            yield between + _json(row)
            between = ",\n    "
        yield "]" if between == "\n    " else "\n  ]"
    yield "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
