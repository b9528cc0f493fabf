"""Play the demo and put what it printed into README.md, between the markers.

Every chapter keeps its title and its time; those of `KEPT` keep their lines as well, of the others `[…]` is left. Ports
become PORT, for they are other ones each time; nothing else is changed. Exit code 1, and README.md as it was, if the
demo fails or does not show what is kept.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- transcript: begin, written by `make transcript` -->\n", "<!-- transcript: end -->"
KEPT = (
    r"@\w+ asks: breakglass open db-from-bastion ",
    r"The applier is killed ",
    r"What \S+ allows during$",
    r"@\w+ is done early: breakglass close ",
    r"The first window ends by itself$",
    r"The window whose applier is dead ends by itself$",
    r"GitHub is back",
    r"What \S+ allows after$",
    r"A year later, from a clone alone: breakglass audit show ",
    r"Figures$",
)
"""Titles, as regular expressions, of the chapters whose lines are kept."""
# A time stands in six columns; what a chapter tells is indented by ten.
_CHAPTER = re.compile(r" {0,3}\d+\.\d s  (?P<title>\S.*)")


def transcript(output: str) -> str:
    """What is kept of the output of a demo.

    Raises:
        ValueError: a chapter that is to be kept is missing, or a path of this machine would be told.
    """
    chapters = list(_chapters(re.sub(r"(127\.0\.0\.1|localhost):\d+", r"\1:PORT", output)))
    titles = [_title(chapter[0]) for chapter in chapters]
    missing = [pattern for pattern in KEPT if not any(re.match(pattern, title) for title in titles)]
    if missing:
        raise ValueError(f"the demo has no chapter {', '.join(missing)}")
    kept = re.sub("\n{3,}", "\n\n", "".join(map(_shortened, chapters))).strip("\n") + "\n"
    for place in (ROOT, Path.home(), Path(tempfile.gettempdir())):
        if f"{place}/" in kept:
            raise ValueError(f"the demo told a path of this machine: {place}")
    return kept


def _chapters(output: str) -> Iterator[list[str]]:
    """The chapters of a demo, each a list of its lines, the title first."""
    chapter: list[str] = []
    for line in output.splitlines():
        if _CHAPTER.fullmatch(line):
            if chapter:
                yield chapter
            chapter = [line]
        elif chapter and line.strip():
            chapter.append(line.rstrip())
    if chapter:
        yield chapter


def _title(line: str) -> str:
    found = _CHAPTER.fullmatch(line)
    return found["title"] if found is not None else ""


def _shortened(chapter: list[str]) -> str:
    """A chapter that is kept, between empty lines; of another one its first line."""
    if any(re.match(pattern, _title(chapter[0])) for pattern in KEPT):
        return "\n" + "\n".join(chapter) + "\n\n"
    return f"{chapter[0]} […]\n"


def placed(page: str, text: str) -> str:
    """A page with the text between its markers.

    Raises:
        ValueError: the page does not hold the markers once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the page does not hold the markers {BEGIN.strip()} and {END} once")
    return f"{before}{begin}\n```text\n{text}```\n\n{end}{after}"


def main() -> int:
    """Play the demo, show it, and write README.md."""
    with subprocess.Popen([sys.executable, "-m", "breakglass_lab.demo"], stdout=subprocess.PIPE, text=True) as demo:
        lines = []
        for line in demo.stdout or ():
            sys.stdout.write(line)
            lines.append(line)
    if demo.returncode:
        sys.stderr.write(f"the demo failed with exit code {demo.returncode}; README.md stays as it is\n")
        return 1
    try:
        page = placed(README.read_text(encoding="utf-8"), transcript("".join(lines)))
    except ValueError as error:
        sys.stderr.write(f"{error}; README.md stays as it is\n")
        return 1
    README.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
