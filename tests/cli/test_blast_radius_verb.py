"""`breakglass blast-radius` as people and programs call it."""

from __future__ import annotations

import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from breakglass.cli import breakglass

ROOT = Path(__file__).parents[2]
OPENING = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "way-in", "namespace": "shop"},
    "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"containers": [{"name": "main", "image": "web"}]},
}
DENY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny", "namespace": "shop"},
    "spec": {"podSelector": {}},
}


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(yaml.safe_dump_all([POD, DENY]))
    after.write_text(yaml.safe_dump_all([POD, DENY, OPENING]))
    return str(before), str(after)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(breakglass, ["blast-radius", *arguments], catch_exceptions=False)


def test_the_first_line_is_the_verdict(sides: tuple[str, str]) -> None:
    done = run(*sides, "--closes", "2026-11-23T02:43:00Z")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == (
        "Opens every IPv4 address → shop/web[Pod] every port; 1 finding is red; closes at 2026-11-23T02:43:00Z"
    )


@pytest.mark.parametrize("output", ["text", "json", "markdown", "svg", "dot", "html", "sarif"])
def test_every_format_is_whole_and_the_same_twice(sides: tuple[str, str], output: str) -> None:
    done = run(*sides, "--output", output)
    assert (done.exit_code, done.stderr) == (0, "")
    assert run(*sides, "--output", output).stdout == done.stdout
    if output in ("json", "sarif"):
        json.loads(done.stdout)
    if output == "svg":
        ElementTree.fromstring(done.stdout)
    if output == "html":
        html.parser.HTMLParser().feed(done.stdout)
        assert not re.search(r"(src|href)=.?https?:", done.stdout)


def test_the_exit_code_tells_a_difference_where_it_is_asked_to(sides: tuple[str, str]) -> None:
    before, after = sides
    assert run(before, after, "--exit-code").exit_code == 1
    assert run(before, before, "--exit-code").exit_code == 0


def test_an_instant_without_zone_is_a_usage_error(sides: tuple[str, str]) -> None:
    with pytest.raises(Exception, match="UTC"):
        run(*sides, "--closes", "2026-11-23T02:43:00")


def test_the_example_platform_against_itself_changes_nothing() -> None:
    base = str(ROOT / "base")
    assert run(base, base).stdout == "Nothing changes\n"
