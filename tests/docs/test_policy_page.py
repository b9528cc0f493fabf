"""docs/policy.md: its rules are rules, and its table is what conditions may speak of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.requirements import variables_of
from breakglass.model.gate import Rule
from laws.asked import OVERLAY, POLICY, activation
from ports.clock import NIGHT

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
RULES = yaml.safe_load(re.findall(r"<!-- rules.*?-->\n```yaml\n(.*?)```", PAGE, re.DOTALL)[0])["rules"]
VARIABLES = variables_of(activation(), OVERLAY, POLICY, [], NIGHT)


@pytest.mark.parametrize("told", RULES, ids=lambda told: told["name"])
def test_each_rule_of_the_page_can_be_evaluated(told: dict[str, Any]) -> None:
    rule = Rule.model_validate(told)
    assert CelConditions().holds(rule.when, VARIABLES) in (True, False)


def test_the_table_names_what_conditions_may_speak_of() -> None:
    named = set(
        re.findall(r"^\| `([a-zA-Z.]+)` \| (?:string|duration|timestamp|map|list|bool|int) \|", PAGE, re.MULTILINE)
    )
    known = {
        f"{name}.{field}" if isinstance(value, dict) else name
        for name, value in VARIABLES.items()
        for field in (value if isinstance(value, dict) else [""])
    }
    assert named == known
