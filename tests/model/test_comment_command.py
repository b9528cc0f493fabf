"""Commands in comments: what is one, what it says, and the one error that everything else is."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from breakglass.model.comment_command import (
    EXAMPLES,
    LONGEST_LINE,
    Close,
    Command,
    Extend,
    Help,
    Open,
    Status,
    command_of,
)
from breakglass.model.errors import UsageError
from breakglass.model.time import format_duration

ID = "2026-11-23-db-from-bastion-7f3a"
ASKED = Open("db", ("prod-eu",), timedelta(minutes=30), (), False, "INC-1", "checkout is down")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("open db on prod-eu for 30m because INC-1 checkout is down", ASKED),
        ("open db for 30m on prod-eu because INC-1   checkout\tis down  ", ASKED),
        ("open db because INC-1 down", Open("db", (), None, (), False, "INC-1", "down")),
        ("open db on a,b because INC-1 down", Open("db", ("a", "b"), None, (), False, "INC-1", "down")),
        (
            "open db with a=1 b==x solo because INC-1 down",
            Open("db", (), None, (("a", "1"), ("b", "=x")), True, "INC-1", "down"),
        ),
        (
            "open db because INC-1 down with a=1 b=$(id) solo",
            Open("db", (), None, (("a", "1"), ("b", "$(id)")), True, "INC-1", "down"),
        ),
        ("open db because INC-1 down solo", Open("db", (), None, (), True, "INC-1", "down")),
        (
            "open db because INC-1 stuck with errors, solo or not",
            Open("db", (), None, (), False, "INC-1", "stuck with errors, solo or not"),
        ),
        ("open db because INC-1 with a=b it works", Open("db", (), None, (), False, "INC-1", "with a=b it works")),
        ("open db because INC-1 x=y", Open("db", (), None, (), False, "INC-1", "x=y")),
        ("open db because INC-1 für Jürgen 🔥", Open("db", (), None, (), False, "INC-1", "für Jürgen 🔥")),
        (f"extend {ID} for 1h because it takes longer", Extend(ID, timedelta(hours=1), "it takes longer")),
        (f"close {ID}", Close(ID, None)),
        (f"close {ID} because solved", Close(ID, "solved")),
        ("status", Status(None)),
        (f"status {ID}", Status(ID)),
        ("help", Help()),
        ("", Help()),
    ],
)
def test_a_command_says_what_it_says(line: str, command: Command) -> None:
    assert command_of(f"/breakglass {line}") == command
    assert command_of(f"/breakglass {line}\r\n\r\nand more, /breakglass close x") == command


def test_the_examples_are_commands() -> None:
    assert [type(command_of(example)).__name__ for example in EXAMPLES] == ["Open", "Extend", "Close", "Status"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n/breakglass status",
        "> /breakglass status",
        "`/breakglass status`",
        "```\n/breakglass status\n```",
        "    /breakglass status",
        " /breakglass status",
        "\u200b/breakglass status",
        "\ufeff/breakglass status",
        "please /breakglass status",
        "/breakglassstatus",
        "/Breakglass status",
        "/breakgl\u0430ss status",  # a Cyrillic a
        "\uff0fbreakglass status",
        "/breakglass\u00a0status",
        "/breakglass\u2028status",
        "/breakglass\rstatus",
        "//breakglass status",
        "@acme/breakglass status",
    ],
)
def test_what_is_no_command_is_left_alone(body: str) -> None:
    assert command_of(body) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("opne db", "word 2: expected one of open, extend, close, status, help, and there is 'opne'"),
        ("open", "word 3: expected an overlay, and the line ends"),
        ("open ../x because a b", "word 3: expected an overlay (a-z, 0-9 and -), and there is '../x'"),
        ("open d\u0431 because a b", "word 3: expected an overlay (a-z, 0-9 and -), and there is 'd\\u0431'"),
        ("open db", 'word 4: expected "on" or "for" or "with" or "solo" or "because", and the line ends'),
        ("open db becuase INC-1 x", 'word 4: expected "on" or "for" or "with" or "solo" or "because", and there is'),
        (
            "open db on a on b because c d",
            'word 6: expected "for" or "with" or "solo" or "because", and there is',
        ),
        ("open db on a, b because c d", "word 5: expected a cluster, or several with commas"),
        ("open db on A because c d", "word 5: expected a cluster, or several with commas"),
        ("open db for 30 because c d", "word 5: expected a duration such as 30m, and there is '30': '30' is not a"),
        ("open db for \u0663m because c d", "word 5: expected a duration such as 30m, and there is '\\u0663m'"),
        ("open db for 999h because c d", "out of bounds"),
        ("open db because", "word 5: expected an incident, then the reason, and the line ends"),
        ("open db because INC-1", "word 6: expected the reason, in words, and the line ends"),
        ("open db because INC-1 solo", "expected the reason, in words"),
        ("open db because INC-1 with a=b", "expected the reason, in words"),
        ("open db with because c d", "word 5: expected NAME=VALUE, the value without a space, and there is 'because'"),
        ("open db with a=1 a=2 because c d", "the parameter a is given twice"),
        ("open db with a=1 because c d with b=2", 'expected "with" once'),
        (f"extend {ID} 30m because x", "word 4: expected \"for\", and there is '30m'"),
        (f"extend {ID} for 30m", 'word 6: expected "because", and the line ends'),
        ("close", "word 3: expected an activation's id, and the line ends"),
        ("close A", "word 3: expected an activation's id (a-z, 0-9 and -), and there is 'A'"),
        (f"close {ID} now", "word 4: expected \"because\", and there is 'now'"),
        (f"status {ID} please", "word 4: expected nothing more, and there is 'please'"),
        ("status\u200b", "character 19 is U+200B, which nobody sees"),
        ("open db because INC-1 a\u202eb", "is U+202E, which nobody sees"),
        ("open db because INC-1 a\u00a0b", "is U+00A0, which nobody sees"),
        ("open db because INC-1 a\rb", "is U+000D, which nobody sees"),
        ("help " + "x" * LONGEST_LINE, "at most 2000 are read"),
    ],
)
def test_anything_else_is_told_what_was_expected_and_where(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        command_of(f"/breakglass {line}")
    assert message in str(caught.value)
    assert caught.value.remedy
    assert str(caught.value).isprintable()


WORDS = st.sampled_from(
    (
        *("/breakglass", "open", "extend", "close", "status", "help", "on", "for", "with", "solo", "because", "db", ID),
        *("30m", "a=b", "INC-1", " ", "\t", "\n", "\r", "\u200b", "\u00a0", "x" * 3000, "$(id)", ",", ">"),
    )
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=14).map(" ".join) | st.text())
@example("/breakglass\x00")
@example("/breakglass open \ud800")
def test_whatever_is_written_there_is_one_error(rest: str) -> None:
    for body in (rest, f"/breakglass {rest}", f"/breakglass open db because INC-1 {rest}"):
        with suppress(UsageError):
            assert command_of(body) is None or body.startswith("/breakglass")


names = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
durations = st.integers(1, 7 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
parameters = st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True), words, max_size=3)


@given(
    names,
    st.lists(names, max_size=3),
    st.none() | durations,
    parameters,
    st.booleans(),
    words,
    st.lists(words, min_size=1, max_size=6),
    st.booleans(),
    st.randoms(),
)
def test_what_was_meant_is_what_is_read(  # type: ignore[no-untyped-def]
    overlay, clusters, duration, given_parameters, solo, incident, reason, behind, random
) -> None:
    pairs = " ".join(f"{name}={value}" for name, value in given_parameters.items())
    with_clause = [f"with {pairs}"] if pairs else []
    clauses = [f"on {','.join(clusters)}"] if clusters else []
    clauses += [f"for {format_duration(duration)}"] if duration is not None else []
    if not behind:
        clauses += [*with_clause, *(["solo"] if solo else [])]
        # The last word of a reason that is no clause of its own keeps it a reason.
        reason = [*reason, "."]
    random.shuffle(clauses)
    tail = [*with_clause, *(["solo"] if solo else [])] if behind else []
    if behind and not pairs:
        reason = [*reason, "."]
    line = " ".join([overlay, *clauses, "because", incident, *reason, *tail])
    expected = Open(
        overlay, tuple(clusters), duration, tuple(given_parameters.items()), solo, incident, " ".join(reason)
    )
    assert command_of(f"/breakglass open {line}") == expected
