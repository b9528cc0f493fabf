"""The documentation says what the code does: schemas, the reference of the command, the findings."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

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
    assert set(connection["properties"]) == {"from", "to", "port", "endPort", "protocol"}
    assert connection["required"] == ["from", "to"]


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
    entry = next(line for line in lines if line.startswith('| <a id="activation-digest"></a>'))
    changed.write_text(
        "".join(line for line in lines if line != entry) + '| <a id="no-such"></a>`no-such` | why | what |\n'
    )
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


def schema_of(name: str) -> dict[str, Any]:
    """A schema of what a verb prints."""
    (file,) = (ROOT / "docs").glob(f"*/{name}.json")
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize(
    ("sides", "changes"),
    [
        ("docs/examples/platform docs/examples/emergency --closes 2026-11-23T02:43:00Z", ["rectangles", "exposed"]),
        ("docs/examples/emergency docs/examples/platform", ["rectangles", "hidden", "revoked"]),
        ("docs/examples/platform docs/examples/platform", []),
        # Pods that no manifest holds, an ingress controller, escalations in the whole cluster.
        ("docs/examples/platform/access.yaml base", ["rectangles", "exposed", "granted", "escalations"]),
    ],
)
def test_a_blast_radius_in_json_is_what_its_schema_says(generate: ModuleType, sides: str, changes: list[str]) -> None:
    document = json.loads(generate.run(f"breakglass blast-radius {sides} -o json"))
    found = {**document["connectivity"], **document["exposure"], **document["access"]}
    assert [name for name in changes if not found[name]] == []
    assert [error.message for error in Draft202012Validator(schema_of("blast-radius")).iter_errors(document)] == []


def test_the_schema_of_a_blast_radius_refuses_what_is_none(generate: ModuleType) -> None:
    validator = Draft202012Validator(schema_of("blast-radius"))
    document = json.loads(
        generate.run("breakglass blast-radius docs/examples/platform docs/examples/emergency -o json")
    )
    assert validator.is_valid(document)
    assert not validator.is_valid({**document, "more": 1})
    assert not validator.is_valid({name: value for name, value in document.items() if name != "verdict"})
    for part in ("connectivity", "exposure", "access"):
        assert not validator.is_valid({**document, part: {**document[part], "schema": "another"}})
    document["connectivity"]["rectangles"][0]["sources"] = ["10.0.0.0/8"]
    assert not validator.is_valid(document)


def test_a_rectangle_is_the_same_in_both_schemas() -> None:
    apart, together = (schema_of(name)["$defs"] for name in ("connectivity-diff", "blast-radius"))
    for name in ("Ends", "IsolationFlip", "Port", "Ports", "Reasons", "Rectangle"):
        assert together[name] == apart[name]


PAGE = """before
<!-- output, written by `make docs`: breakglass access who-can get pods docs/examples/platform -->
old
<!-- output: end -->
between
<!-- profiles, written by `make docs` -->
<!-- profiles: end -->
after
"""


def test_a_page_takes_outputs_and_profiles_between_its_markers(generate: ModuleType) -> None:
    filled = generate.filled(PAGE)
    assert generate.filled(filled) == filled
    command = "breakglass access who-can get pods docs/examples/platform"
    assert f"-->\n\n```bash\n{command}\n```\n\n```text\n1 subject can get pods.\n" in filled
    assert "Group/acme:on-call" in filled
    assert "old" not in filled
    assert "| aws |" in filled
    assert filled.startswith("before\n<!-- output")
    assert filled.endswith("<!-- profiles: end -->\nafter\n")


def test_a_command_that_fails_stands_in_no_page(generate: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="docs/none: there is no such file"):
        generate.filled(PAGE.replace("docs/examples/platform", "docs/none"))


def test_the_table_of_profiles_has_a_row_for_every_question(generate: ModuleType) -> None:
    head, _, *rows = generate.profiles().splitlines()
    assert head.split(" | ")[1:] == ["upstream", "cilium", "calico", "aws", "azure", "ovn-kubernetes |"]
    assert len(rows) == len(generate.fields(generate.Profile))
    cilium = rows[0].split(" | ")
    assert cilium[0] == "| an `ipBlock` matches the addresses of pods"
    assert cilium[1:4] == ["*depends*", "no", "yes"]


def test_every_page_with_markers_is_written(generate: ModuleType) -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    marked = {page for page in pages if ", written by `make docs`" in page.read_text(encoding="utf-8")}
    assert marked == {ROOT / page for page in generate.PAGES}
