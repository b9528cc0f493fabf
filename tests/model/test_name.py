"""Names from files, flags and pull requests: what they may be made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from breakglass.model import name as names
from breakglass.model.name import single_line

GOOD = {
    "OverlayName": ["db-from-bastion", "a", "0", "a" * 40],
    "ActivationId": ["2026-11-23-db-from-bastion-7f3a", "a" * 63],
    "ClusterName": ["prod-eu", "a" * 63],
    "NamespaceName": ["kube-system", "a" * 63],
    "Login": ["octocat", "Octo-Cat", "acme-breakglass[bot]", "a_b", "a"],
    "Approver": ["@octocat", "@acme/dba", "@acme/team.of-two_3"],
    "KindName": ["ServiceAccount", "NetworkPolicy.networking.k8s.io", "Middleware.traefik.io"],
    "RepositoryName": ["acme/platform", "acme/.github"],
    "RelativePath": ["base", "clusters/prod-eu", "a/b.c/d_e"],
}
HOSTILE = ["", " ", "..", "../x", "/x", "x/../y", "a\n", "a\nb", "\na", "a b", "$(id)", "`id`", "a;b", "a|b", "a&b"]
HOSTILE += ["a'b", 'a"b', "a\\b", "a\0b", "-a", "--flag", "a" * 401, "é", "a\u202eb", "a\u200bb", "%2e%2e", "{{x}}"]
INVISIBLE = ["", " ", " a", "a ", "a\nb", "a\r", "a\u2028b", "a\x1b[31mb", "a\u202eb", "a\u200bb"]
TYPES: dict[str, TypeAdapter[str]] = {name: TypeAdapter(getattr(names, name)) for name in GOOD}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in GOOD.items() for text in texts])
def test_a_good_name_is_taken_as_it_is(kind: str, text: str) -> None:
    assert TYPES[kind].validate_python(text) == text


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_a_hostile_name_is_refused_and_shown_in_at_most_a_line(kind: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TYPES[kind].validate_python(text)
    (error,) = caught.value.errors()
    assert "\n" not in error["msg"]
    assert len(error["msg"]) < 250


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("OverlayName", "a" * 41),
        ("OverlayName", "A"),
        ("OverlayName", "a.b"),
        ("OverlayName", "a-"),
        ("ActivationId", "a" * 64),
        ("Login", "[bot]"),
        ("Login", "a[bot]x"),
        ("Approver", "octocat"),
        ("Approver", "@acme/dba/x"),
        ("Approver", "x@example.com"),
        ("KindName", "networkPolicy"),
        ("KindName", "NetworkPolicy."),
        ("RepositoryName", "acme"),
        ("RepositoryName", "acme/platform/x"),
        ("RelativePath", "a//b"),
        ("RelativePath", "a/"),
        ("RelativePath", "./a"),
        ("RelativePath", ".git/config"),
    ],
)
def test_what_is_nearly_a_name_is_none(kind: str, text: str) -> None:
    with pytest.raises(ValidationError):
        TYPES[kind].validate_python(text)


@given(st.sampled_from(sorted(GOOD)), st.text(max_size=70))
def test_no_name_leads_out_breaks_a_line_or_starts_an_option(kind: str, text: str) -> None:
    try:
        taken = TYPES[kind].validate_python(text)
    except ValidationError:
        return
    assert taken.isascii()
    assert taken.isprintable()
    assert not taken.startswith("-")
    assert ".." not in taken.split("/")[:-1] or kind == "Approver"


@pytest.mark.parametrize("value", [None, 1, True, ["a"], b"a"])
def test_a_name_is_text(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(names.ClusterName).validate_python(value, strict=True)


@pytest.mark.parametrize("text", ["checkout down, need psql", "ünïcödé 🔥 ok", "a"])
def test_a_line_of_people_is_taken_as_it_is(text: str) -> None:
    assert single_line(text) == text


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_a_line_of_people_holds_nothing_that_is_not_seen(text: str) -> None:
    with pytest.raises(ValueError, match=r"space|control"):
        single_line(text)
