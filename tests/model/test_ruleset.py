"""Rulesets as the policy has them, against the answers of the lab's forge: only what matters is a difference."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attacks.scene import Scene, cluster, files, organisation, seeded
from breakglass.model.document import read
from breakglass.model.errors import Refused
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.ruleset import CHECK, Difference, compare, ruleset_file, ruleset_files, rulesets
from breakglass_lab.forge import Forge

POLICY = read(files()[POLICY_FILE], POLICY_FILE, Policy)
EXPECTED = {each["name"]: each for each in rulesets(POLICY)}
REVIEWS, INTEGRITY = EXPECTED["breakglass reviews"], EXPECTED["breakglass integrity"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("rulesets")
    with Forge.start(directory / "forge", organisation()) as forge:
        seeded(forge, directory / "seed")
        yield Scene(directory, forge, cluster())


def answers(scene: Scene, login: str) -> list[dict[str, Any]]:
    """Every ruleset of the forge as somebody reads it."""
    person = scene.person(login)
    return [person.call("GET", f"/rulesets/{each['id']}") for each in person.call("GET", "/rulesets")]


def test_what_was_made_from_the_files_differs_in_nothing(scene: Scene) -> None:
    adam = scene.person("adam")
    for each in adam.call("GET", "/rulesets"):
        adam.call("DELETE", f"/rulesets/{each['id']}")
    for content in ruleset_files(POLICY).values():
        adam.call("POST", "/rulesets", json.loads(content))
    found = answers(scene, "adam")
    assert {each["name"] for each in found} == EXPECTED.keys()
    assert [difference for each in found for difference in compare(EXPECTED[each["name"]], each)] == []


def test_who_may_pass_it_by_is_not_proven_where_it_is_hidden(scene: Scene) -> None:
    for each in answers(scene, "mallory"):
        (difference,) = compare(EXPECTED[each["name"]], each)
        assert (difference.place, difference.hidden) == ("bypass_actors", True)


def test_neither_order_nor_what_github_adds_is_a_difference() -> None:
    for expected in EXPECTED.values():
        actual = copy.deepcopy(expected) | {
            "id": 7,
            "source_type": "Repository",
            "source": "acme/platform",
            "created_at": "2026-11-26T10:00:00Z",
            "current_user_can_bypass": "never",
            "_links": {"self": {"href": "https://api.github.com"}},
        }
        random.Random(1).shuffle(actual["rules"])
        for rule in actual["rules"]:
            parameters = rule.setdefault("parameters", {})
            parameters |= {"automatic_copilot_code_review_enabled": False, "required_reviewers": [], "restriction": {}}
            for name, value in parameters.items():
                parameters[name] = value[::-1] if isinstance(value, list) else value
        assert compare(expected, actual) == ()


def changed(work: Callable[[dict[str, Any]], object], ruleset: dict[str, Any]) -> tuple[Difference, ...]:
    actual = copy.deepcopy(ruleset)
    work(actual)
    return compare(ruleset, actual)


def rule(ruleset: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in ruleset["rules"] if each["type"] == kind)
    return found


APP_ID = POLICY.spec.bot.appId
REVIEW_CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "disabled": (lambda r: r.update(enforcement="disabled"), "enforcement"),
    "only told": (lambda r: r.update(enforcement="evaluate"), "enforcement"),
    "of tags": (lambda r: r.update(target="tag"), "target"),
    "another branch": (
        lambda r: r["conditions"]["ref_name"].update(include=["refs/heads/x"]),
        "conditions.ref_name.include",
    ),
    "without the branch": (
        lambda r: r["conditions"]["ref_name"].update(exclude=["refs/heads/main"]),
        "conditions.ref_name.exclude",
    ),
    "no conditions": (lambda r: r.pop("conditions"), "conditions.ref_name.include"),
    "no rules": (lambda r: r.update(rules=[]), "rules.pull_request"),
    "rules that are none": (lambda r: r.update(rules="all"), "rules.pull_request"),
    "no owners": (
        lambda r: rule(r, "pull_request")["parameters"].update(require_code_owner_review=False),
        "rules.pull_request.require_code_owner_review",
    ),
    "owners unnamed": (
        lambda r: rule(r, "pull_request")["parameters"].pop("require_code_owner_review"),
        "rules.pull_request.require_code_owner_review",
    ),
    "rebases": (
        lambda r: rule(r, "pull_request")["parameters"]["allowed_merge_methods"].append("rebase"),
        "rules.pull_request.allowed_merge_methods",
    ),
    "more than asked for": (
        lambda r: rule(r, "pull_request")["parameters"].update(required_reviewers=[{"minimum_approvals": 1}]),
        "rules.pull_request.required_reviewers",
    ),
    "a merge queue, which no closing passes": (
        lambda r: r["rules"].append({"type": "merge_queue"}),
        "rules.merge_queue",
    ),
    "the rule twice": (lambda r: r["rules"].append(rule(r, "pull_request")), "rules.pull_request"),
    "the App may always": (lambda r: r["bypass_actors"][0].update(bypass_mode="always"), "bypass_actors"),
    "the App may not": (lambda r: r.update(bypass_actors=[]), "bypass_actors"),
    "another App": (lambda r: r["bypass_actors"][0].update(actor_id=1), "bypass_actors"),
    "administrators too": (
        lambda r: r["bypass_actors"].append(
            {"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "pull_request"}
        ),
        "bypass_actors",
    ),
}


@pytest.mark.parametrize("change", REVIEW_CHANGES)
def test_every_change_of_the_reviews_is_told(change: str) -> None:
    work, place = REVIEW_CHANGES[change]
    assert place in [difference.place for difference in changed(work, REVIEWS)]


def test_a_check_of_anybody_is_told() -> None:
    def unpin(ruleset: dict[str, Any]) -> None:
        (check,) = rule(ruleset, "required_status_checks")["parameters"]["required_status_checks"]
        assert check == {"context": CHECK, "integration_id": APP_ID}
        del check["integration_id"]

    (difference,) = changed(unpin, INTEGRITY)
    assert difference.place == "rules.required_status_checks.required_status_checks"
    assert not difference.hidden


def test_whatever_github_answers_is_compared() -> None:
    for answer in ({}, {"rules": None, "conditions": [], "bypass_actors": None}, {"rules": [None, 1, {"type": []}]}):
        assert compare(REVIEWS, answer)


def test_without_the_number_of_the_app_there_are_none() -> None:
    bot = POLICY.spec.bot.model_copy(update={"appId": None})
    without = POLICY.model_copy(update={"spec": POLICY.spec.model_copy(update={"bot": bot})})
    with pytest.raises(Refused, match=r"spec\.bot\.appId is missing"):
        rulesets(without)


def test_a_file_is_named_as_its_ruleset() -> None:
    assert ruleset_file("breakglass ledger writers") == ".github/rulesets/breakglass-ledger-writers.json"
    assert Path(ruleset_file("x")).suffix == ".json"
