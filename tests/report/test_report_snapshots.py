"""What each format looks like, kept as files to open and look at; `pytest --snapshot-update` writes them."""

from __future__ import annotations

import pytest
from pages import HOSTILE, SMALL, large
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from breakglass.analysis.report import dot, markdown, mermaid, sarif, svg, text
from breakglass.analysis.report import html as html_writer
from breakglass.analysis.report.page import Page


def in_files(ending: str) -> type[SingleFileSnapshotExtension]:
    """Snapshots that are files of their own, byte for byte."""

    class InFiles(SingleFileSnapshotExtension):
        _write_mode = WriteMode.BINARY
        file_extension = ending

    return InFiles


WRITERS = {
    "txt": lambda page: "".join(text.write(page)),
    "md": lambda page: "".join(markdown.write(page)),
    "mmd": lambda page: "".join(mermaid.write(page)),
    "dot": lambda page: "".join(dot.write(page)),
    "svg": lambda page: "".join(svg.write(page)),
    "html": lambda page: "".join(html_writer.write(page)),
    "sarif": lambda page: sarif.write(page.findings, {}, documentation="https://breakglass.dev/docs/findings.md"),
}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("page", [SMALL, HOSTILE, large()], ids=["small", "hostile", "large"])
def test_a_page_is_written_as_before(page: Page, ending: str, snapshot: SnapshotAssertion) -> None:
    assert WRITERS[ending](page).encode() == snapshot.use_extension(in_files(ending))
