"""The documentation says what the code does: schemas, the reference of the command, the findings."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
GENERATOR = ROOT / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documentation_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, GENERATOR, "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_generator_knows_no_other_argument() -> None:
    done = subprocess.run([sys.executable, GENERATOR, "--chek"], capture_output=True, timeout=120, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["activation", "overlay", "policy"])
def test_a_schema_names_itself_its_dialect_and_its_fields(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f"/{name}.json")
    assert schema["title"]
    assert schema["description"]
    assert schema["properties"]["kind"]["const"] == name.capitalize()
    assert schema["additionalProperties"] is False


def test_connections_are_written_as_in_the_files() -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / "overlay.json").read_text(encoding="utf-8"))
    connection = schema["$defs"]["Connection"]
    assert set(connection["properties"]) == {"from", "to", "port", "protocol"}
    assert connection["required"] == ["from", "to", "port"]


@pytest.mark.parametrize(
    ("schema", "file", "change"),
    [
        ("policy", "breakglass.yaml", {"spec": {}}),
        ("policy", "breakglass.yaml", {"unknown": 1}),
        ("overlay", "overlays/emergency/db-from-bastion/overlay.yaml", {"kind": "Policy"}),
    ],
)
def test_a_schema_refuses_what_is_wrong(schema: str, file: str, change: dict[str, object]) -> None:
    validator = Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / f"{schema}.json").read_text()))
    data = YAML(typ="safe", pure=True).load((ROOT / file).read_text(encoding="utf-8"))
    assert validator.is_valid(data)
    assert not validator.is_valid({**data, **change})


def test_identifiers_are_found_through_functions_that_make_findings(generate: ModuleType) -> None:
    code = """
class Case:
    def finding(self, name, message):
        return Finding(f"contract-{name}", message)
def _told(error, identity):
    return Finding(identity, error)
Finding("direct", "message")
case.finding("through-a-method", "message")
_told(error, "through-a-function")
"""
    found = generate.identifiers(ast.parse(code), Path("code.py"))
    assert found == {"direct", "contract-through-a-method", "through-a-function"}


def test_an_identifier_that_cannot_be_read_is_refused(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"code\.py:1"):
        generate.identifiers(ast.parse("Finding(names[0], 'message')"), Path("code.py"))


def test_a_finding_without_an_entry_is_told(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8").splitlines(keepends=True)
    changed = tmp_path / "findings.md"
    entry = next(line for line in lines if line.startswith("| `activation-digest` |"))
    changed.write_text("".join(line for line in lines if line != entry) + "| `no-such` | why | what |\n")
    monkeypatch.setattr(generate, "FINDINGS", changed)
    assert generate.undescribed() == [
        "docs/findings.md says nothing of activation-digest",
        "docs/findings.md describes no-such, which nothing finds",
    ]


def test_options_and_verbs_without_help_are_told(generate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    command = click.Command("bare", params=[click.Option(["--flag"])])
    monkeypatch.setattr(generate, "commands", lambda: [("breakglass bare", command)])
    assert generate.undocumented() == [
        "breakglass bare has no help",
        "breakglass bare has no example",
        "breakglass bare --flag has no help",
    ]


@pytest.mark.parametrize(
    ("comment", "told"),
    [
        ("# yaml-language-server: $schema=docs/schemas/none.json", "there is no schema docs/schemas/none.json"),
        ("# yaml-language-server: $schema=docs/schemas/overlay.json", "'Overlay' was expected"),
        ("# no schema comment", "breakglass.yaml has no schema comment"),
    ],
)
def test_a_file_that_its_schema_does_not_fit_is_told(generate: ModuleType, comment: str, told: str) -> None:
    _, _, rest = (ROOT / "breakglass.yaml").read_text(encoding="utf-8").partition("\n")
    content = f"{comment}\n{rest}".encode()
    assert any(told in problem for problem in generate.misfit("breakglass.yaml", content))
