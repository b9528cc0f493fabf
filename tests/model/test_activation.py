"""Activations: written and read again, and judged against contract, policy and clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.model.activation import (
    CLOCK_SKEW,
    Activation,
    Scalar,
    activation_file,
    activation_id,
    expiry,
    judge_activation,
    judge_times,
    new_activation,
    write_activation,
)
from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from laws import example
from ports.clock import NIGHT

FILES = example.files()
POLICY = read(FILES["breakglass.yaml"], "breakglass.yaml", Policy)
OVERLAY = read(FILES["overlays/emergency/db-from-bastion/overlay.yaml"], "overlay.yaml", Overlay)
DIGEST = "sha256:" + "a" * 64
HALF_HOUR = timedelta(minutes=30)

lines = st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text == text.strip())
scalars: st.SearchStrategy[Scalar] = st.one_of(
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30).filter(str.isprintable),
    st.sampled_from(["yes", "no", "null", "~", "1", "1.0", "0x1", "1e3", "2026-11-23", "true", "", " ", "a: b", "# x"]),
)


def activation(**fields: Any) -> Activation:
    values: dict[str, Any] = {
        "digest": DIGEST,
        "clusters": ["prod-eu"],
        "parameters": {"ticket": "INC-1"},
        "reason": "checkout down, need psql",
        "incident": "INC-4211",
        "requested_by": "on-call",
        "requested_at": NIGHT,
        "duration": HALF_HOUR,
        "random": "7f3a",
    }
    return new_activation(fields.pop("overlay", OVERLAY), **(values | fields))


def findings(file: str | None = None, digest: str = DIGEST, overlay: Overlay = OVERLAY, **fields: Any) -> list[str]:
    asked = activation(**fields)
    return [item.id for item in judge_activation(asked, overlay, digest, POLICY, file or activation_file(asked.id))]


@settings(max_examples=60)
@given(
    reason=lines,
    incident=lines,
    parameters=st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True), scalars, max_size=4)
    | st.dictionaries(st.sampled_from(["yes", "no", "on", "null", "true", "y", "n", "e1", "NaN"]), scalars, max_size=2),
    seconds=st.integers(1, 7 * 24 * 3600),
)
def test_an_activation_is_read_as_it_was_written(
    reason: str, incident: str, parameters: dict[str, Scalar], seconds: int
) -> None:
    duration = timedelta(seconds=seconds)
    written = activation(reason=reason, incident=incident, parameters=parameters, duration=duration)
    content = write_activation(written)
    again = read(content, activation_file(written.id), Activation)
    assert again == written
    assert {name: type(value) for name, value in again.spec.parameters.items()} == {
        name: type(value) for name, value in parameters.items()
    }
    assert write_activation(again) == content


def test_the_file_is_as_people_would_write_it() -> None:
    assert write_activation(activation()).decode() == (
        "# yaml-language-server: $schema=../../../docs/schemas/activation.json\n"
        "apiVersion: breakglass.dev/v1alpha1\n"
        "kind: Activation\n"
        "metadata:\n"
        "  name: 2026-11-23-db-from-bastion-7f3a\n"
        "spec:\n"
        "  overlay: db-from-bastion\n"
        f"  digest: {DIGEST}\n"
        "  clusters:\n"
        "  - prod-eu\n"
        "  parameters:\n"
        "    ticket: INC-1\n"
        "  reason: checkout down, need psql\n"
        "  incident: INC-4211\n"
        "  requestedBy: on-call\n"
        "  requestedAt: '2026-11-23T02:13:00Z'\n"
        "  duration: 30m\n"
    )


def test_the_longest_id_fits_a_label() -> None:
    longest = OVERLAY.model_copy(update={"metadata": OVERLAY.metadata.model_copy(update={"name": "a" * 40})})
    assert len(activation(overlay=longest).id) <= 63


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "a\nb"},
        {"reason": ""},
        {"reason": "x" * 501},
        {"reason": "a\u202eb"},
        {"incident": "a\x00"},
        {"requested_by": "a b"},
        {"requested_by": "../x"},
        {"duration": timedelta(days=8)},
        {"duration": timedelta(0)},
        {"duration": timedelta(seconds=-1)},
        {"clusters": []},
        {"clusters": ["../x"]},
        {"clusters": ["prod-eu\n"]},
        {"digest": "sha256:xyz"},
        {"digest": DIGEST + "\n"},
        {"parameters": {"a b": 1}},
        {"parameters": {"a": "x\ny"}},
        {"parameters": {"a": "x" * 1001}},
        {"parameters": {"a": None}},
        {"parameters": {"a": [1]}},
        {"parameters": {"a": float("nan")}},
        {"parameters": {"a": float("inf")}},
        {"parameters": {f"a{number}": 1 for number in range(51)}},
        {"random": "../x"},
        {"random": "x" * 60},
    ],
    ids=repr,
)
def test_a_request_of_anything_else_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidFile):
        activation(**fields)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("  duration: 999999999d", 12),
        ("  duration: 30", 12),
        ("  duration: -30m", 12),
        ("  requestedAt: 2026-11-23T02:13:00", 11),
        ("  requestedAt: 2026-11-23", 11),
        ("  requestedAt: '2026-11-23T04:13:00+02:00'", 11),
        ("  requestedAt: '9999-12-31T23:59:59Z'", 11),
        ("  overlay: ../../x", 6),
        ("  incident: yes\n  more: 1", 10),
    ],
)
def test_a_file_that_says_anything_else_is_refused_with_its_line(line: str, where: int) -> None:
    text = (
        "apiVersion: breakglass.dev/v1alpha1\nkind: Activation\nmetadata:\n  name: x\nspec:\n  overlay: a\n"
        f"  digest: {DIGEST}\n  clusters: [prod-eu]\n  reason: x\n  incident: INC-1\n"
        "  requestedAt: '2026-11-23T02:13:00Z'\n  duration: 30m\n  requestedBy: on-call\n"
    )
    old = next(each for each in text.splitlines() if each.startswith(line.split(":")[0] + ":"))
    assert read(text.encode(), "a.yaml", Activation).id == "x"
    with pytest.raises(InvalidFile) as caught:
        read(text.replace(old, line).encode(), "a.yaml", Activation)
    assert caught.value.where == f"a.yaml:{where + ('more' in line)}"


def test_a_sound_request_has_no_findings() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"file": "overlays/emergency/activations/other.yaml"}, ["activation-name"]),
        ({"digest": "sha256:" + "b" * 64}, ["activation-digest"]),
        ({"duration": timedelta(hours=4, seconds=1)}, ["activation-duration"]),
        ({"clusters": ["nowhere"]}, ["activation-cluster"]),
        ({"clusters": ["prod-eu", "prod-eu"]}, ["activation-cluster"]),
        ({"parameters": {}}, ["activation-parameters"]),
        ({"parameters": {"ticket": 7}}, ["activation-parameters"]),
        ({"parameters": {"ticket": "x", "more": "y"}}, ["activation-parameters"]),
        (
            {"clusters": ["nowhere"], "duration": timedelta(hours=5), "parameters": {}},
            ["activation-duration", "activation-cluster", "activation-parameters"],
        ),
    ],
)
def test_every_finding_is_told_not_the_first(fields: dict[str, Any], found: list[str]) -> None:
    assert findings(**fields) == found


def test_a_cluster_outside_the_scope_of_the_overlay_is_found() -> None:
    scope = OVERLAY.spec.scope.model_copy(update={"clusters": ["prod-us"]})
    narrow = OVERLAY.model_copy(update={"spec": OVERLAY.spec.model_copy(update={"scope": scope})})
    assert findings(overlay=narrow) == ["activation-cluster"]


def test_the_smaller_maximum_counts() -> None:
    duration = OVERLAY.spec.duration.model_copy(update={"maximum": timedelta(minutes=10)})
    short = OVERLAY.model_copy(update={"spec": OVERLAY.spec.model_copy(update={"duration": duration})})
    assert findings(overlay=short) == ["activation-duration"]


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("overlays/emergency/activations/x.yaml", "x"),
        ("overlays/emergency/activations/x.yml", None),
        ("overlays/emergency/activations/x/y.yaml", None),
        ("overlays/emergency/activations/README.md", None),
        ("overlays/emergency/activations/.yaml", None),
        ("overlays/emergency/x.yaml", None),
        ("x/overlays/emergency/activations/x.yaml", None),
        ("/overlays/emergency/activations/x.yaml", None),
    ],
)
def test_a_path_stands_for_an_activation_or_not(path: str, identity: str | None) -> None:
    assert activation_id(path) == identity
    if identity is not None:
        assert activation_file(identity) == path


@given(st.integers(0, 7199), st.integers(1, 4 * 3600))
def test_the_expiry_is_the_merge_and_the_duration(age: int, seconds: int) -> None:
    opened, duration = NIGHT + timedelta(seconds=age), timedelta(seconds=seconds)
    asked = activation(duration=duration)
    assert expiry(asked, opened, POLICY) == opened + duration
    assert judge_times(asked, opened, POLICY, "x") == []


@given(st.integers(7200, 10**7), st.integers(1, 4 * 3600))
def test_the_expiry_is_never_later_than_the_time_to_live_and_the_duration(age: int, seconds: int) -> None:
    opened, duration = NIGHT + timedelta(seconds=age), timedelta(seconds=seconds)
    asked = activation(duration=duration)
    assert expiry(asked, opened, POLICY) == NIGHT + POLICY.spec.requestTimeToLive + duration
    assert [item.id for item in judge_times(asked, opened, POLICY, "x")] == ["activation-stale"]


@pytest.mark.parametrize(
    ("opened", "found"),
    [
        (NIGHT - CLOCK_SKEW, []),
        (NIGHT - CLOCK_SKEW - timedelta(seconds=1), ["activation-future"]),
        (NIGHT + timedelta(hours=2, seconds=-1), []),
        (NIGHT + timedelta(hours=2), ["activation-stale"]),
    ],
)
def test_a_request_is_judged_by_its_age(opened: datetime, found: list[str]) -> None:
    assert [item.id for item in judge_times(activation(), opened, POLICY, "x")] == found
