"""The command itself: help, output, exit codes, start-up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from breakglass import __version__
from breakglass.cli import VERBS, breakglass, failure
from breakglass.model.errors import Conflict, InvalidFile, NotApplied, Refused, Unreachable, UsageError

PROGRAM = Path(sys.executable).with_name("breakglass")
WITHOUT_OUTPUT = {"breakglass completion"}
"""What prints no result of its own: a script for a shell."""


def commands(command: click.Command = breakglass, path: str = "breakglass") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield f"{path} {name}", found
            yield from commands(found, f"{path} {name}")


COMMANDS = [pytest.param(path, command, id=path) for path, command in commands()]


def run(*arguments: str, directory: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, without a terminal and without a token."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=directory,
        env={**kept, "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_every_verb_has_help_with_an_example(path: str, command: click.Command) -> None:
    done = CliRunner().invoke(breakglass, [*path.split()[1:], "--help"])
    assert done.exit_code == 0
    assert command.help
    assert re.search(rf"Example: .*{path}", " ".join(done.stdout.split()))


def test_the_help_lists_every_verb_without_importing_one() -> None:
    code = "import sys; from breakglass.cli import breakglass; breakglass(['--help'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.stderr.write(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.findall(r"^  ([a-z-]+)  ", done.stdout.partition("Verbs:")[2], re.MULTILINE) == list(VERBS)
    assert not {f"breakglass.cli.{verb.replace('-', '_')}" for verb in VERBS} & set(done.stderr.split())


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_every_verb_prints_json_if_asked(path: str, command: click.Command) -> None:
    if isinstance(command, click.Group):
        return
    outputs = [parameter for parameter in command.params if parameter.name == "output"]
    assert bool(outputs) == (path not in WITHOUT_OUTPUT)
    for output in outputs:
        assert isinstance(output.type, click.Choice)
        assert list(output.type.choices)[:2] == ["text", "json"]


@pytest.mark.parametrize(
    "arguments", [["no-such-verb"], ["status", "--no-such-option"], ["apply"], ["completion", "no-such-shell"]]
)
def test_a_wrong_call_is_told_on_stderr_and_exits_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: breakglass")


def command_that(act: Callable[[], object]) -> click.Command:
    return click.Command("act", callback=act, params=[])


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line of the test run is not the command's."""
    monkeypatch.setattr(sys, "argv", ["breakglass"])


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (4, 4), ("text", 0)])
def test_a_verb_says_how_it_ended(result: object, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.run(command_that(lambda: result)) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), 1),
        (InvalidFile("no"), 1),
        (UsageError("no"), 2),
        (click.UsageError("no"), 2),
        (RuntimeError("no"), 3),
        (NotApplied("no"), 4),
        (Unreachable("no"), 4),
        (Conflict("no"), 4),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_an_error_is_told_on_stderr_and_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure.run(command_that(raising(error))) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip()


@pytest.mark.usefixtures("alone")
def test_an_error_says_what_where_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    failure.run(command_that(raising(Refused("it is red", where="lamp.yaml:3", remedy="paint it green"))))
    assert capsys.readouterr().err == "error: lamp.yaml:3: it is red\n  do: paint it green\n"


@pytest.mark.usefixtures("alone")
def test_what_nobody_foresaw_is_told_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    failure.run(command_that(raising(RuntimeError("surprise"))))
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "unexpected: RuntimeError('surprise')" in told


def test_a_reader_that_leaves_is_no_error() -> None:
    script = f'set -o pipefail; "{PROGRAM}" completion bash | true'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_printed_without_importing_any_sdk() -> None:
    code = """
import sys
from breakglass.cli import breakglass
breakglass(["--version"], "breakglass", standalone_mode=False)
heavy = ("git", "github", "jsonschema", "kubernetes", "pydantic", "ruamel.yaml", "yaml")
sys.stderr.write(" ".join(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (f"breakglass {__version__}\n", "")


def test_the_error_of_a_process_has_no_colours_and_leaves_stdout_alone(tmp_path: Path) -> None:
    done = run("status", directory=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "\x1b" not in done.stderr
    assert "breakglass init" in done.stderr


def test_a_result_without_a_terminal_has_no_colours(tmp_path: Path) -> None:
    (tmp_path / "breakglass.yaml").write_text("kind: Nonsense\n")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=60)
    done = run("doctor", directory=tmp_path)
    assert done.returncode == 1
    assert "repository-unreadable" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_json_is_one_document_with_its_version(tmp_path: Path) -> None:
    (tmp_path / "breakglass.yaml").write_text("kind: Nonsense\n")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=60)
    done = run("doctor", "--output", "json", directory=tmp_path)
    document = json.loads(done.stdout)
    assert (document["apiVersion"], document["kind"]) == ("breakglass.dev/v1alpha1", "Doctor")
    assert [finding["id"] for finding in document["findings"]] == ["repository-unreadable"]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("bash", "complete -o nosort -F _breakglass_completion breakglass"),
        ("zsh", "#compdef breakglass"),
        ("fish", "complete --no-files --command breakglass"),
    ],
)
def test_a_completion_script_is_printed(shell: str, expected: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert expected in done.stdout
    assert "_BREAKGLASS_COMPLETE" in done.stdout


def test_the_completion_script_is_bash() -> None:
    script = run("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)


def test_verbs_are_completed() -> None:
    # The protocol of click's scripts: https://click.palletsprojects.com/en/stable/shell-completion/
    done = subprocess.run(
        [PROGRAM],
        env={**os.environ, "_BREAKGLASS_COMPLETE": "bash_complete", "COMP_WORDS": "breakglass st", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["plain,status"]
