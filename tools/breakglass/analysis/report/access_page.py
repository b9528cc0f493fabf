"""Pages about access: who may do what, what changes of it, who can do one thing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from breakglass.analysis.access.access import Access, Granted, UnseenRole
from breakglass.analysis.access.difference import AccessDifference
from breakglass.analysis.access.escalation import (
    RISKS,
    Escalation,
    describe_binding,
    describe_rule,
    everything,
    few,
    place_of,
    subject_name,
)
from breakglass.analysis.access.question import Question, perhaps, who_can
from breakglass.analysis.report.order import red_first
from breakglass.analysis.report.page import Arrow, Page, Table, Tone

_RISKS = {risk.finding.id for risk in RISKS}


def page_of_access_diff(change: AccessDifference) -> Page:
    """What a reviewer reads: the ways up first, then what is granted and revoked."""
    entire = {(item.subject, item.namespace) for item in change.granted if everything(item.rules)}
    shown = [each for each in change.escalations if not _is_told_already(each, entire)]
    tables = [
        _table("Granted", change.granted, "opened"),
        _table("Revoked", change.revoked, "closed"),
        _table_of_reaches(change.escalations),
    ]
    red = {(each.subject, each.namespace) for each in shown if each.finding.severity == "error"}
    return Page(
        headline=_headline(change, shown),
        findings=tuple(red_first(each.finding for each in shown)),
        tables=tuple(table for table in tables if table is not None),
        arrows=(*_arrows(change.granted, "opened", red), *_arrows(change.revoked, "closed")),
    )


def page_of_access_map(access: Access) -> Page:
    """Who may do what, with the bindings that say so."""
    granted = tuple(access.granted())
    unseen = sorted(access.unseen())
    rows = (
        (
            subject_name(item.subject),
            place_of(item.namespace),
            describe_rule(rule),
            ", ".join(map(describe_binding, item.bindings)),
        )
        for item in granted
        for rule in item.rules
    )
    tables = [Table("Who may do what", ("who", "where", "may", "because of"), rows)]
    subjects = _count(len({item.subject for item in granted}), "subject")
    verb = "is" if subjects == "1 subject" else "are"
    return Page(
        headline=f"{subjects} {verb} granted something; system:masters may do everything in any case.",
        tables=(*tables, *_table_of_unseen("Bound to roles that no manifest holds", unseen)),
        arrows=_arrows(granted, "plain"),
    )


def page_of_who_can(access: Access, question: Question) -> Page:
    """Who can do one thing, with the bindings and roles that say so."""
    able = tuple(who_can(access, question))
    rows = (
        (
            subject_name(item.subject),
            place_of(item.namespace),
            describe_binding(reason.binding),
            few(reason.names) or "all",
        )
        for item in able
        for reason in item.because
    )
    count = len({item.subject for item in able})
    whole = len({item.subject for item in able if not item.namespace})
    told = "Nobody but system:masters" if not count else _count(count, "subject")
    everywhere = f", {whole} of them in the whole cluster" if whole else ""
    return Page(
        headline=f"{told} can {question}{everywhere}.",
        tables=(
            Table("Who can", ("who", "where", "because of", "objects"), rows),
            *_table_of_unseen("Nobody can tell: bound to roles that no manifest holds", perhaps(access, question)),
        ),
        arrows=(
            Arrow((subject_name(item.subject),), (place_of(item.namespace),), str(question), "plain") for item in able
        ),
    )


def _is_told_already(item: Escalation, entire: set[tuple[str, str]]) -> bool:
    """Whether "may do everything" says it."""
    return (item.subject, item.namespace) in entire and item.finding.id in _RISKS


def _headline(change: AccessDifference, shown: list[Escalation]) -> str:
    if not change:
        return "Nobody may do more or less than before."
    more = len({item.subject for item in change.granted})
    less = len({item.subject for item in change.revoked})
    red = sum(each.finding.severity == "error" for each in shown)
    parts = [f"{_count(more, 'subject')} may do more"] if more else []
    parts += [f"{_count(less, 'subject')} may do less"] if less else []
    told = " and ".join(parts) or "Nobody may do more or less that can be seen here"
    return told + (f"; {_count(red, 'finding')} {'is' if red == 1 else 'are'} red." if red else ".")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _table(title: str, items: Iterable[Granted], tone: Tone) -> Table | None:
    rows = [
        (subject_name(item.subject), place_of(item.namespace), describe_rule(rule))
        for item in items
        for rule in item.rules
    ]
    return Table(title, ("who", "where", "may"), rows, tone) if rows else None


def _table_of_reaches(items: Iterable[Escalation]) -> Table | None:
    rows = [
        (subject_name(item.subject), f"{item.inside} {workload}, which reaches {destination}")
        for item in items
        for workload, destination in item.reaches
    ]
    return Table("From inside a pod", ("who", "how far"), rows, "danger") if rows else None


def _table_of_unseen(title: str, roles: Iterable[UnseenRole]) -> tuple[Table, ...]:
    rows = [(subject_name(role.subject), place_of(role.namespace), role.role) for role in roles]
    return (Table(title, ("who", "where", "ClusterRole"), rows),) if rows else ()


def _arrows(items: Iterable[Granted], tone: Tone, red: Container[tuple[str, str]] = ()) -> Iterator[Arrow]:
    for item in items:
        label = few((describe_rule(rule) for rule in item.rules), "; ", 3)
        danger = (item.subject, item.namespace) in red
        yield Arrow((subject_name(item.subject),), (place_of(item.namespace),), label, "danger" if danger else tone)
