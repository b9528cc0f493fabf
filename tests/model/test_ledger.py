"""Events: what is written is read, at the path that its own fields name."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model.errors import InvalidFile
from breakglass.model.evidence import Account, BranchRule, Evidence, Move, Review, ReviewedCommit
from breakglass.model.finding import Finding
from breakglass.model.ledger import (
    Closed,
    Disregarded,
    Drilled,
    Event,
    Heartbeat,
    Judged,
    Opened,
    Phase,
    Refusal,
    closed_path,
    describe_findings,
    event_path,
    evidence_path,
    paths,
    read_event,
    verdict_path,
    write_event,
)
from ports.clock import NIGHT

ID = "2026-11-23-db-from-bastion-7f3a"
NO_EVENTS = [b"", b"[]", b"null", b"7", b"{}", b"\xff", b"[" * 100_000, b"9" * 5000]
NO_EVENTS += [b'{"kind": "Other"}', b'{"kind": ["Closed"]}', b'{"kind": "Heartbeat"}']
NO_EVENTS += [b'{"kind": "Heartbeat", "job": "x", "at": "2026-11-23T02:13:00Z", "more": 1}']
NO_EVENTS += [b'{"kind": "Heartbeat", "job": "x", "at": "2026-11-23T02:13:00"}']
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
instants = st.integers(0, 10**9).map(lambda seconds: NIGHT + timedelta(seconds=seconds))
logins = st.sampled_from(["ada", "grace", "acme-breakglass[bot]"])

events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Opened,
        activation=st.just(ID),
        overlay=st.just("db-from-bastion"),
        cluster=st.just("prod-eu"),
        commit=texts,
        digest=texts,
        requestedBy=logins,
        approvedBy=st.lists(logins, max_size=3),
        openedAt=instants,
        appliedAt=instants,
        appliedAfterSeconds=st.floats(0, 1e6),
        expiry=instants,
        objects=st.lists(texts, max_size=3),
        opens=st.lists(texts, max_size=3),
    ),
    st.builds(
        Closed,
        activation=st.just(ID),
        overlay=st.just("db-from-bastion"),
        cluster=st.just("prod-eu"),
        closedAt=instants,
        closedBy=st.sampled_from(["applier", "agent"]),
        cause=texts,
        expiry=instants,
        lateSeconds=st.floats(-1e6, 1e6),
        baseline=st.just("proven"),
    ),
    st.builds(
        Refusal, activation=st.just(ID), cluster=st.just("prod-eu"), refusedAt=instants, findings=st.lists(texts)
    ),
    st.builds(
        Drilled,
        activation=st.just(ID),
        overlay=st.just("db-from-bastion"),
        cluster=st.just("drill"),
        digest=texts,
        startedAt=instants,
        passed=st.booleans(),
        phases=st.lists(st.builds(Phase, name=texts, seconds=st.floats(0, 1e6)), max_size=3),
        findings=st.lists(texts, max_size=3),
    ),
    st.builds(Heartbeat, job=st.just("expire"), at=instants),
    st.builds(
        Judged,
        activation=st.just(ID),
        commit=texts,
        approvedBy=st.lists(logins, max_size=2),
        approvals=st.integers(0, 11),
        teams=st.integers(0, 10),
        reasons=st.lists(texts, max_size=2),
        disregarded=st.lists(st.builds(Disregarded, login=logins, why=texts), max_size=2),
        findings=st.lists(texts, max_size=2),
    ),
    st.builds(
        Evidence,
        requestedBy=logins,
        pullRequest=st.integers(1, 10**9),
        url=texts,
        author=logins,
        head=texts,
        merge=st.none() | texts,
        mergedBy=st.none() | logins,
        mergedAt=st.none() | instants,
        base=texts,
        commits=st.lists(
            st.builds(
                ReviewedCommit,
                sha=texts,
                author=st.none() | logins,
                committer=st.none() | logins,
                emails=st.lists(texts, max_size=2),
            ),
            max_size=2,
        ),
        pushers=st.lists(logins, max_size=2),
        accounts=st.lists(
            st.builds(Account, login=logins, human=st.booleans(), suspended=st.booleans(), member=st.booleans()),
            max_size=2,
        ),
        moves=st.lists(
            st.builds(
                Move,
                how=st.sampled_from(["push", "pr_merge"]),
                before=texts,
                after=texts,
                by=st.none() | logins,
                at=instants,
            ),
            max_size=2,
        ),
        rules=st.none() | st.lists(st.builds(BranchRule, type=texts, ruleset=st.integers(1)), max_size=2),
        drilledAt=st.none() | instants,
        unreviewed=st.lists(st.just(ID), max_size=1),
        reviews=st.lists(
            st.builds(
                Review,
                login=logins,
                human=st.booleans(),
                state=st.sampled_from(["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"]),
                commit=st.none() | texts,
                submittedAt=instants,
            ),
            max_size=3,
        ),
        owners=st.lists(st.sampled_from(["@ada", "@acme/dba"]), max_size=2),
        teams=st.dictionaries(st.just("@acme/dba"), st.lists(logins, max_size=2)),
    ),
)


@given(events)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert read_event(write_event(event), "x") == event


@given(events)
def test_the_file_of_an_event_is_for_people_too(event: Event) -> None:
    content = write_event(event).decode()
    assert content.endswith("}\n")
    assert content == json.dumps(json.loads(content), indent=2, ensure_ascii=False) + "\n"


@given(events)
def test_a_path_leads_nowhere_else(event: Event) -> None:
    path = event_path(event, ID)
    assert path.endswith(".json")
    assert path.split("/")[0] in ("activations", "drills", "heartbeats")
    assert ".." not in path


def test_each_event_has_the_path_that_is_documented() -> None:
    place = f"activations/{ID}/prod-eu"
    refusal = Refusal(activation=ID, cluster="prod-eu", refusedAt=NIGHT, findings=[])
    drill = Drilled(
        activation=ID,
        overlay="db-from-bastion",
        cluster="drill",
        digest="x",
        startedAt=NIGHT,
        passed=True,
        phases=[],
        findings=[],
    )
    assert set(paths(refusal, drill, Heartbeat(job="expire", at=NIGHT))) == {
        f"{place}/refused.json",
        "drills/db-from-bastion/2026-11-23T02-13-00Z-drill.json",
        "heartbeats/expire.json",
    }
    assert closed_path(ID, "prod-eu") == f"{place}/closed.json"
    assert evidence_path(ID) == f"activations/{ID}/evidence.json"
    assert verdict_path(ID) == f"activations/{ID}/verdict.json"


@pytest.mark.parametrize("content", NO_EVENTS, ids=lambda content: ascii(content[:30]))
def test_what_is_no_event_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidFile) as caught:
        read_event(content, "breakglass-ledger:x")
    assert caught.value.where == "breakglass-ledger:x"


def test_a_finding_can_be_written_whatever_path_it_names() -> None:
    (text,) = describe_findings([Finding("merge-content", "the merge brought base/\udcff.yaml")])
    assert text == "merge-content: the merge brought base/\\udcff.yaml"
    write_event(Refusal(activation=ID, cluster="prod-eu", refusedAt=NIGHT, findings=[text]))
