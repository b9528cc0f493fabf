"""Write what of the documentation is made from the code, and check the rest against it.

`python docs/generate.py` writes the schemas of the files (from the models), `docs/cli.md` (from the command itself),
the rulesets in `.github/rulesets/` (from the policy) and what stands between markers in the pages: the output of
commands, and what the CNI profiles settle.
`python docs/generate.py --check` writes nothing and tells what is not as it would be written; it also tells verbs and
options without help, findings without an entry in `docs/findings.md` and the reverse, and YAML files whose schema
comment leads nowhere or whose schema refuses them. Exit code 1 if there is anything to tell.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import posixpath
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import click
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from breakglass.analysis.network.profile import PROFILES, Profile
from breakglass.cli import breakglass
from breakglass.model.activation import SCHEMA_COMMENT as ACTIVATION_COMMENT
from breakglass.model.activation import Activation, activation_file
from breakglass.model.document import load, read
from breakglass.model.overlay import Overlay, overlay_file
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.residue import Residue
from breakglass.model.review import ActivationReview
from breakglass.model.ruleset import ruleset_files

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ROOT / "tools" / "breakglass"
FINDINGS = ROOT / "docs" / "findings.md"
MODELS: dict[str, type[BaseModel]] = {
    "activation": Activation,
    "overlay": Overlay,
    "policy": Policy,
    "residue": Residue,
    "review": ActivationReview,
}
SCHEMA_BASE = "https://breakglass.dev/schemas/v1alpha1"
WIDTH = 100
"""Characters of a line of help."""
PAGES = ("README.md", "docs/blast-radius.md")
"""Pages that hold what is generated between markers."""
PICTURES = {
    "docs/examples/emergency.svg": (
        "breakglass blast-radius docs/examples/platform docs/examples/emergency --closes 2026-11-23T02:43:00Z -o svg"
    )
}
"""Files that are the output of one command."""

_COMMENT = re.compile(r"^# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)
_OUTPUT = re.compile(
    r"(?P<begin><!-- output, written by `make docs`: (?P<command>breakglass [^\n]+) -->\n)"
    r"(?P<old>.*?)(?P<end><!-- output: end -->)",
    re.DOTALL,
)
_PROFILES = re.compile(
    r"(?P<begin><!-- profiles, written by `make docs` -->\n)(?P<old>.*?)(?P<end><!-- profiles: end -->)", re.DOTALL
)
_SETTLES = {True: "yes", False: "no", None: "*depends*"}
_INTRODUCTION = """\
# The command

Written by `make docs` from the command itself.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused, or a check failed; nothing was changed that the message does not name |
| 2 | the command was called wrongly |
| 3 | unexpected: a defect, please report it |
| 4 | merged but not applied, or somebody else moved first: run it again |
| 130 | interrupted |

The result goes to stdout and nothing else does; progress and errors go to stderr. `--output json` prints one document
with `apiVersion` and `kind`. Colours appear on a terminal only. `eval "$(breakglass completion bash)"` completes verbs
and options.
"""


def generated() -> dict[str, str]:
    """Every generated file by its path inside the repository."""
    files = {f"docs/schemas/{name}.json": schema(name, model) for name, model in MODELS.items()}
    pages = {page: filled((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
    pictures = {file: run(command) for file, command in PICTURES.items()}
    policy = read((ROOT / POLICY_FILE).read_bytes(), POLICY_FILE, Policy)
    made = {path: content.decode() for path, content in ruleset_files(policy).items()}
    return {**files, "docs/cli.md": reference(), **pages, **pictures, **made}


def filled(page: str) -> str:
    """A page with what belongs between its markers."""
    page = _between(_OUTPUT, page, lambda found: _shown(found["command"]))
    return _between(_PROFILES, page, lambda _: profiles())


def _between(marked: re.Pattern[str], page: str, text: Callable[[re.Match[str]], str]) -> str:
    return marked.sub(lambda found: f"{found['begin']}\n{text(found)}\n{found['end']}", page)


def _shown(command: str) -> str:
    """A command and its output: Markdown as it is, everything else as code."""
    output = run(command)
    if "-o markdown" not in command:
        output = f"```{'json' if '-o json' in command else 'text'}\n{output}```\n"
    return f"```bash\n{command}\n```\n\n{output}"


@cache
def run(command: str) -> str:
    """What a command of ours prints in this repository.

    Raises:
        RuntimeError: it fails.
    """
    _, *arguments = shlex.split(command)
    called = [sys.executable, "-m", "breakglass", *arguments]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        called, capture_output=True, cwd=ROOT, env=environment, encoding="utf-8", timeout=60, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed with exit code {done.returncode}: {done.stderr}")
    return done.stdout


def profiles() -> str:
    """The table of what each CNI profile settles, a row for each question, in the words of `Profile`."""
    questions = dict(re.findall(r"^    (\w+): (.+)$", inspect.getdoc(Profile) or "", re.MULTILINE))
    rows = [
        ("what", *PROFILES),
        ("---",) * (1 + len(PROFILES)),
        *(
            (questions[field.name].rstrip("."), *(_SETTLES[getattr(each, field.name)] for each in PROFILES.values()))
            for field in fields(Profile)
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def schema(name: str, model: type[BaseModel]) -> str:
    """The JSON Schema (2020-12) of a file of the product, as people write it: by the names in the file."""
    made = model.model_json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{SCHEMA_BASE}/{name}.json"}
    whole: dict[str, Any] = {**head, "title": made.pop("title"), "description": made.pop("description"), **_tidy(made)}
    Draft202012Validator.check_schema(whole)
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any) -> Any:
    """Leave out titles that only repeat a field's name, and shut mappings whose keys have a pattern."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {key: _tidy(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}
    return tidied | ({"additionalProperties": False} if "patternProperties" in tidied else {})


def reference() -> str:
    """The reference of the command: the help of every verb."""
    sections = [f"## `{path}`\n\n```text\n{_help(command, path)}\n```\n" for path, command in commands()]
    return "\n".join([_INTRODUCTION, *sections])


def commands() -> list[tuple[str, click.Command]]:
    """Every command with its full name, groups before what they hold."""
    return list(_below(breakglass, "breakglass"))


def _below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _below(found, f"{path} {name}")


def _help(command: click.Command, path: str) -> str:
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, "help_option_names": ["-h", "--help"]}
    return command.get_help(click.Context(command, info_name=path, **settings)).rstrip()  # type: ignore[arg-type]


def undocumented() -> list[str]:
    """Verbs without help or example, and options without help."""
    problems = []
    for path, command in commands():
        if not command.help:
            problems.append(f"{path} has no help")
        if "Example: " not in (command.epilog or command.help or ""):
            problems.append(f"{path} has no example")
        options = (parameter for parameter in command.params if isinstance(parameter, click.Option))
        problems += [f"{path} {option.opts[0]} has no help" for option in options if not option.help]
    return problems


def finding_ids() -> set[str]:
    """Identifiers of every `Finding` the product makes, read from its syntax trees.

    Functions that make findings for others (they pass a parameter on as the identifier, with or without a prefix) are
    found first, then every call of them in their module.

    Raises:
        ValueError: an identifier cannot be read from the code.
    """
    found: set[str] = set()
    for file in sorted(PRODUCT.rglob("*.py")):
        found |= identifiers(ast.parse(file.read_text(encoding="utf-8")), file.relative_to(ROOT))
    return found


def identifiers(tree: ast.Module, file: Path) -> set[str]:
    """Identifiers of the findings that one module makes; see `finding_ids`."""
    makers = {"Finding": (0, "")}
    inside: set[ast.Call] = set()
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        for call in _calls(function, {"Finding": (0, "")}):
            prefix, parameter = _passed_on(call.args[0])
            if parameter in names:
                makers[function.name] = (names.index(parameter), prefix)
                inside.add(call)
    found = set()
    for call in _calls(tree, makers):
        if call in inside:
            continue
        position, prefix = makers[_name(call)]
        identifier = call.args[position]
        if not (isinstance(identifier, ast.Constant) and isinstance(identifier.value, str)):
            raise ValueError(f"{file}:{call.lineno}: the identifier of a finding is no plain text")
        found.add(prefix + identifier.value)
    return found


def _calls(tree: ast.AST, makers: dict[str, tuple[int, str]]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in makers:
            yield node


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _passed_on(identifier: ast.expr) -> tuple[str, str]:
    """The constant prefix and the variable of an identifier such as `f"contract-{name}"` or `name`."""
    if isinstance(identifier, ast.JoinedStr) and len(identifier.values) == 2:
        prefix, value = identifier.values
        if isinstance(prefix, ast.Constant) and isinstance(value, ast.FormattedValue):
            return str(prefix.value), getattr(value.value, "id", "")
    return "", getattr(identifier, "id", "")


def undescribed() -> list[str]:
    """Findings without an entry in docs/findings.md (a row: anchor, id, why, what to do), and the reverse."""
    text = FINDINGS.read_text(encoding="utf-8")
    rows = re.findall(r'^\| <a id="([a-z-]+)"></a>`\1` \| (.+) \| (.+) \|$', text, re.MULTILINE)
    described, known = [row[0] for row in rows], finding_ids()
    twice = sorted({name for name in described if described.count(name) > 1})
    return [
        *(f"docs/findings.md says nothing of {name}" for name in sorted(known - set(described))),
        *(f"docs/findings.md describes {name}, which nothing finds" for name in sorted(set(described) - known)),
        *(f"docs/findings.md describes {name} twice" for name in twice),
    ]


def misfits() -> list[str]:
    """Schema comments that lead nowhere, files that their schema refuses, files that lack their comment."""
    listing = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.yaml",
        "*.yml",
    ]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=60).stdout
    problems = []
    for path in sorted(filter(None, listed.split("\0"))):
        problems += misfit(path, (ROOT / path).read_bytes())
    target = _COMMENT.match(ACTIVATION_COMMENT.rstrip("\n"))
    if target is None or _target(activation_file("any"), target.group(1)) != "docs/schemas/activation.json":
        problems.append("the schema comment of activations leads nowhere")
    return problems


def misfit(path: str, content: bytes) -> list[str]:
    """What is wrong with the schema comment of one file, or with the file by its schema."""
    named = _COMMENT.search(content.decode("utf-8"))
    if named is None:
        needed = path in (POLICY_FILE, overlay_file(Path(path).parent.name))
        return [f"{path} has no schema comment"] if needed else []
    target = ROOT / _target(path, named.group(1))
    if not target.is_file():
        return [f"{path}: there is no schema {named.group(1)}"]
    data, _ = load(content, path)
    validator = Draft202012Validator(json.loads(target.read_text(encoding="utf-8")))
    return [f"{path}: {error.json_path}: {error.message}" for error in validator.iter_errors(data)]


def _target(path: str, reference: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), reference))


def stale() -> list[str]:
    """Generated files that are not as they would be written."""
    return [
        f"{path} is not up to date; run `make docs`"
        for path, text in generated().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write the generated files, or with `--check` only look; tell every problem on stderr."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: generate.py [--check]\n")
        return 2
    if not arguments:
        for path, text in generated().items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
    problems = [*stale(), *undocumented(), *undescribed(), *misfits()]
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
