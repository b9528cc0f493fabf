"""The engine and the naive evaluator agree on random clusters; `make fuzz` asks them about many more."""

from __future__ import annotations

from agreement import (
    PROFILES,
    Manifest,
    Question,
    befores_and_afters,
    check_difference,
    check_profile,
    check_questions,
    check_replicas,
    clusters_and_questions,
)
from hypothesis import given, settings

from breakglass.analysis.network.profile import Profile


@settings(max_examples=300)
@given(clusters_and_questions())
def test_the_engine_says_what_the_naive_evaluator_says(asked: tuple[list[Manifest], list[Question]]) -> None:
    check_questions(*asked)


@settings(max_examples=100)
@given(clusters_and_questions(), PROFILES)
def test_the_map_says_what_is_explained(asked: tuple[list[Manifest], list[Question]], profile: Profile) -> None:
    check_profile(*asked, profile)


@settings(max_examples=80)
@given(clusters_and_questions())
def test_replicas_reach_what_any_of_them_does(asked: tuple[list[Manifest], list[Question]]) -> None:
    check_replicas(asked[0], asked[1][:8])


@settings(max_examples=120)
@given(befores_and_afters())
def test_what_changes_is_the_difference_of_the_maps(states: tuple[list[Manifest], list[Manifest]]) -> None:
    check_difference(*states)
