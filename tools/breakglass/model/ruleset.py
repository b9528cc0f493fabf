"""The rulesets that a repository needs on GitHub, made from the policy; `init` writes them, `doctor` compares them.

*reviews*: main changes by pull requests that code owners approved; the App may pass it by, in mode `pull_request`, so
that a closing waits for nobody. *integrity*: the App's own check passed, no force push, no deletion, and nobody passes
it by. *ledger*: nobody rewrites or deletes the ledger. *ledger writers*: nobody but the App moves it.

https://docs.github.com/en/rest/repos/rules#create-a-repository-ruleset
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from breakglass.model.errors import Refused
from breakglass.model.policy import POLICY_FILE, Policy

CHECK = "breakglass"
"""Name of the check run that the integrity ruleset requires, reported by the project's own App."""

RULESETS = ".github/rulesets"
"""Where `init` writes them, one file each; GitHub reads none of them, `gh api --input FILE` does."""
NAMES = ("breakglass reviews", "breakglass integrity", "breakglass ledger", "breakglass ledger writers")

Ruleset = dict[str, Any]
"""A ruleset in GitHub's own words: what `POST /repos/{owner}/{repo}/rulesets` takes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a ruleset on GitHub is not as the policy has it.

    Attributes:
        place: what differs, in GitHub's words: `enforcement`, `rules.pull_request.require_code_owner_review`.
        message: what is expected, and what is there.
        hidden: GitHub does not show it to this token, so that nothing is proven.
    """

    place: str
    message: str
    hidden: bool = False


def rulesets(policy: Policy) -> tuple[Ruleset, ...]:
    """The rulesets of a policy.

    Raises:
        Refused: the policy does not name the App by its number, which bypass and check are bound to.
    """
    app, forge = policy.spec.bot.appId, policy.spec.forge
    if app is None:
        raise Refused(
            "spec.bot.appId is missing: the rulesets cannot name the App",
            where=POLICY_FILE,
            remedy=f"gh api apps/{policy.spec.bot.login.removesuffix('[bot]')} --jq .id",
        )
    main, ledger = f"refs/heads/{forge.defaultBranch}", f"refs/heads/{forge.ledgerBranch}"
    kept = [{"type": "deletion"}, {"type": "non_fast_forward"}]
    reviews, integrity, rewriting, writers = NAMES
    return (
        _ruleset(reviews, main, [_REVIEWS], [_bypass(app, "pull_request")]),
        _ruleset(integrity, main, [*kept, _check(app)], []),
        _ruleset(rewriting, ledger, kept, []),
        _ruleset(writers, ledger, [{"type": "creation"}, {"type": "update"}], [_bypass(app, "always")]),
    )


def ruleset_file(name: str) -> str:
    """Path of the file of a ruleset, by the ruleset's name."""
    return f"{RULESETS}/{name.replace(' ', '-')}.json"


def ruleset_files(policy: Policy) -> dict[str, bytes]:
    """The rulesets of a policy as files, by path; raises as `rulesets`."""
    made = rulesets(policy)
    return {ruleset_file(each["name"]): (json.dumps(each, indent=2) + "\n").encode() for each in made}


def compare(expected: Ruleset, actual: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Tell in what a ruleset on GitHub differs from the expected one; neither order nor what GitHub adds counts.

    GitHub adds numbers, links and dates of its own, and parameters at their defaults, which are all false or empty.
    A rule more is a difference: it could keep a closing from being merged.

    Args:
        actual: the answer of `GET /repos/{owner}/{repo}/rulesets/{ruleset_id}`, of whatever form.
    """
    return tuple(_differences(expected, actual))


def _differences(expected: Ruleset, actual: Mapping[str, Any]) -> Iterator[Difference]:
    for place in ("name", "target", "enforcement"):
        if actual.get(place) != expected[place]:
            yield _difference(place, expected[place], actual.get(place))
    refs, there = expected["conditions"]["ref_name"], _mapping(_mapping(actual.get("conditions")).get("ref_name"))
    for kind in ("include", "exclude"):
        if _same(refs[kind]) != _same(there.get(kind, [])):
            yield _difference(f"conditions.ref_name.{kind}", refs[kind], there.get(kind))
    yield from _rule_differences(expected["rules"], actual.get("rules"))
    bypass = actual.get("bypass_actors")
    if not isinstance(bypass, list):
        yield Difference("bypass_actors", "who may pass it by is not shown to this token: not proven", hidden=True)
    elif _same(expected["bypass_actors"]) != _same(bypass):
        yield _difference("bypass_actors", expected["bypass_actors"], bypass)


def _rule_differences(expected: list[dict[str, Any]], actual: object) -> Iterator[Difference]:
    wanted = {rule["type"]: rule.get("parameters", {}) for rule in expected}
    rules = [_mapping(rule) for rule in actual] if isinstance(actual, list) else []
    there: dict[str, list[Mapping[str, Any]]] = {}
    for rule in rules:
        there.setdefault(str(rule.get("type")), []).append(_mapping(rule.get("parameters")))
    for kind in sorted(wanted.keys() | there.keys()):
        if kind not in wanted or len(there.get(kind, ())) != 1:
            times = len(there.get(kind, ()))
            yield _difference(f"rules.{kind}", "once" if kind in wanted else "none", f"{times} of them")
            continue
        parameters, (found,) = wanted[kind], there[kind]
        for name in sorted(parameters.keys() | found.keys()):
            if _same(_set(parameters.get(name))) != _same(_set(found.get(name))):
                yield _difference(f"rules.{kind}.{name}", parameters.get(name), found.get(name))


def _difference(place: str, expected: object, actual: object) -> Difference:
    return Difference(place, f"expected {json.dumps(expected)}, there is {json.dumps(actual)[:300]}")


def _set(value: object) -> object:
    """A parameter, or None where it is at its default, as what is not named is."""
    empty = not value or (isinstance(value, Mapping) and not any(value.values()))
    return None if empty else value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _same(value: object) -> str:
    """A value as text that is the same for the same value: lists in no order, mappings without what is null."""
    if isinstance(value, Mapping):
        return json.dumps({str(key): _same(entry) for key, entry in value.items() if entry is not None}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps(sorted(map(_same, value)))
    return json.dumps(value)


_REVIEWS = {
    "type": "pull_request",
    "parameters": {
        "allowed_merge_methods": ["merge", "squash"],
        "dismiss_stale_reviews_on_push": True,
        "require_code_owner_review": True,
        "require_last_push_approval": True,
        "required_approving_review_count": 1,
        "required_review_thread_resolution": False,
    },
}


def _check(app: int) -> dict[str, Any]:
    parameters = {
        # A closing made on an older tip must not wait for another to be merged.
        "strict_required_status_checks_policy": False,
        "do_not_enforce_on_create": False,
        "required_status_checks": [{"context": CHECK, "integration_id": app}],
    }
    return {"type": "required_status_checks", "parameters": parameters}


def _bypass(app: int, mode: str) -> dict[str, Any]:
    return {"actor_id": app, "actor_type": "Integration", "bypass_mode": mode}


def _ruleset(name: str, ref: str, rules: list[dict[str, Any]], bypass: list[dict[str, Any]]) -> Ruleset:
    return {
        "name": name,
        "target": "branch",
        "enforcement": "active",
        "conditions": {"ref_name": {"include": [ref], "exclude": []}},
        "rules": rules,
        "bypass_actors": bypass,
    }
