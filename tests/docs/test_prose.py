"""The pages for people are true where a machine can tell: links, commands, tests and the transcript."""

from __future__ import annotations

import ast
import importlib.util
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import pytest

from breakglass.cli import breakglass

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("overlays/**/*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Link:
    """A link of a page to a file of this repository; `anchor` is empty where it names the whole file."""

    page: str
    text: str
    file: str
    anchor: str


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text)


def links(page: str, text: str) -> Iterator[Link]:
    for found in LINK.finditer(prose(text)):
        target, _, anchor = found[2].partition("#")
        if not re.match(r"[a-z]+:", target):
            file = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page
            yield Link(page, found[1].strip("`"), file, anchor)


def anchors(text: str) -> set[str]:
    """What GitHub lets a link name: anchors, and headings in lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(text), re.MULTILINE)
    named = re.findall(r'<a id="([\w-]+)"></a>', prose(text))
    return {*named, *(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)}


def code(text: str) -> Iterator[str]:
    """Lines of code of a page: of fenced blocks of shell, continued lines as one, and every inline span."""
    for language, block in FENCE.findall(text):
        if language == "bash":
            yield from re.sub(r"\\\n *", " ", block).splitlines()
    for _, span in INLINE.findall(prose(text)):
        yield " ".join(span.split())


def commands(text: str, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program in the code of a page."""
    for line in code(text):
        for part in re.split(r"&&|\||;", line.partition(" #")[0]):
            words = part.split()
            if words[:1] == [program]:
                yield shlex.split(part)[1:]


def problem(arguments: list[str]) -> str | None:
    """What is wrong with a call of `breakglass`: a verb or an option that does not exist; None where nothing is."""
    command: click.Command = breakglass
    path = "breakglass"
    words = iter(arguments)
    for word in words:
        if word.startswith("-"):
            known = {"--help", "-h", *(name for parameter in command.params for name in parameter.opts)}
            if word.partition("=")[0] not in known:
                return f"{path} has no option {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"{path} has no verb {word}"
            command, path = found, f"{path} {word}"
    return None


def defined_tests(file: str) -> set[str]:
    tree = ast.parse(read(file))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def failures(readme: str) -> list[str]:
    """Rows of the table `How it fails safe`, without its head."""
    section = readme.partition("\n## How it fails safe\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    wrong = []
    for link in links(page, read(page)):
        target = ROOT / link.file
        if not target.exists() or (link.anchor and link.anchor not in anchors(read(link.file))):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_every_target_of_make_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = {arguments[0] for arguments in commands(read(page), "make") if arguments}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_and_option_exists(page: str) -> None:
    calls = commands(read(page), "breakglass")
    assert [told for arguments in calls if (told := problem(arguments)) is not None] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = [link for link in links(page, read(page)) if re.fullmatch(r"test_\w+", link.text)]
    assert [link for link in named if link.text not in defined_tests(link.file)] == []


def test_every_row_of_the_failure_table_names_a_test() -> None:
    rows = failures(read("README.md"))
    assert len(rows) > 10
    assert [row for row in rows if not any(link.text.startswith("test_") for link in links("README.md", row))] == []


def test_every_verb_stands_in_the_readme() -> None:
    named = {arguments[0] for arguments in commands(read("README.md"), "breakglass") if arguments}
    assert set(breakglass.list_commands(click.Context(breakglass))) <= named


@pytest.mark.parametrize("page", PAGES)
def test_no_page_tells_a_path_of_a_machine(page: str) -> None:
    assert re.findall(r"(?<![\w.:/`$-])/(?:home|root|tmp|Users|private)/\S+", read(page)) == []


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("open db-from-bastion --for 30m --because 'x y'", None),
        ("audit log --at INSTANT", None),
        ("audit forget", "breakglass audit has no verb forget"),
        ("reopen x", "breakglass has no verb reopen"),
        ("close x --force", "breakglass close has no option --force"),
    ],
)
def test_a_call_that_cannot_be_is_told(call: str, told: str | None) -> None:
    assert problem(shlex.split(call)) == told


def test_headings_become_anchors_as_github_makes_them() -> None:
    page = "# A `verb`, or two\n\n```bash\n# no heading\n```\n## What is *not* there yet?\n"
    assert anchors(page) == {"a-verb-or-two", "what-is-not-there-yet"}


def test_an_anchor_can_be_linked_to_unless_it_is_code() -> None:
    page = '| <a id="contract-shuts"></a>`contract-shuts` |\n\n```html\n<a id="shown"></a>\n```\n'
    assert anchors(page) == {"contract-shuts"}


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_transcript", ROOT / "docs" / "transcript.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEMO = """
   0.0 s  Starting clusters
          forge http://127.0.0.1:40621

  13.9 s  @robin asks: breakglass open db-from-bastion --cluster prod-eu
            PR        acme/platform#1 http://127.0.0.1:40621/acme/platform/pull/1

  51.1 s  The applier is killed (SIGKILL)
          apply.yml runs again

  59.7 s  What prod-eu allows during
          exec into shop           acme:incident: yes

  60.5 s  @robin is done early: breakglass close 2026-11-23-exec-into-shop-74fb
          inventories              none

  74.5 s  The first window ends by itself
          the agent closed it

  80.1 s  The window whose applier is dead ends by itself
          the agent closed it as well

  85.0 s  GitHub is back, and its scheduler wakes up
          it is on the ledger

  92.3 s  What prod-eu allows after
          exec into shop           acme:incident: no

  93.0 s  A year later, from a clone alone: breakglass audit show 2026-11-23-db-from-bastion-0fda
            asked     @robin

  93.6 s  Figures
            4.5 s  merge → prod-eu open
"""


def test_the_readme_holds_a_transcript_of_what_is_kept(recorder: ModuleType) -> None:
    readme = read("README.md")
    recorded = readme.partition(recorder.BEGIN)[2].partition(recorder.END)[0]
    for title in recorder.KEPT:
        assert re.search(rf"^ *\d+\.\d s  {title.removesuffix('$')}", recorded, re.MULTILINE), title
    assert "baseline proven" in recorded


def test_a_transcript_keeps_titles_times_and_chosen_lines(recorder: ModuleType) -> None:
    kept = recorder.transcript(DEMO).splitlines()
    assert kept[:2] == ["   0.0 s  Starting clusters […]", ""]
    assert kept[3] == "            PR        acme/platform#1 http://127.0.0.1:PORT/acme/platform/pull/1"
    assert [line for line in kept if "40621" in line] == []
    assert kept[-4:] == [
        "            asked     @robin",
        "",
        "  93.6 s  Figures",
        "            4.5 s  merge → prod-eu open",
    ]


def test_a_demo_that_does_not_show_what_is_kept_is_refused(recorder: ModuleType) -> None:
    with pytest.raises(ValueError, match="no chapter The applier is killed"):
        recorder.transcript(DEMO.replace("The applier is killed", "The applier sleeps"))


def test_a_path_of_this_machine_is_refused(recorder: ModuleType) -> None:
    with pytest.raises(ValueError, match="a path of this machine"):
        recorder.transcript(DEMO + f"          {ROOT}/README.md\n")


def test_a_page_takes_a_transcript_between_its_markers_and_no_other(recorder: ModuleType) -> None:
    page = f"before\n{recorder.BEGIN}old\n{recorder.END}\nafter\n"
    placed = recorder.placed(page, "new\n")
    assert placed == f"before\n{recorder.BEGIN}\n```text\nnew\n```\n\n{recorder.END}\nafter\n"
    assert recorder.placed(placed, "new\n") == placed
    for broken in ("", recorder.BEGIN, page + page):
        with pytest.raises(ValueError, match="markers"):
            recorder.placed(broken, "new\n")
