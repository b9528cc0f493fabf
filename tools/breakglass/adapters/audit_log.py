"""An API server's audit log in a file: read line by line, within bounds, nothing of it skipped silently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from breakglass.model.audit_event import AuditEvent, read_audit_event
from breakglass.model.errors import InvalidFile, NotFound

LARGEST_LOG = 4 * 1024**3
"""Bytes of one file; the API server rotates its log long before (`--audit-log-maxsize`)."""
LONGEST_LINE = 16 * 1024**2
"""Bytes; a line at the level RequestResponse holds two objects at most, each of etcd's 1.5 MiB and escaped."""
MOST_EVENTS = 2_000_000
"""Events that are kept of one file."""


def read_audit_log(path: Path) -> Iterator[AuditEvent]:
    """The writes that a log tells of, in its order; reads are checked and left out.

    Raises:
        NotFound: there is no such file.
        InvalidFile: with `file:line`: a line is no event of an audit log, or there is more than is read.
    """
    try:
        if not path.is_file():
            raise NotFound("there is no such file", where=str(path), remedy="give the file of --audit-log-path")
        if path.stat().st_size > LARGEST_LOG:
            raise InvalidFile(f"more than {LARGEST_LOG} bytes", where=str(path), remedy="give the part of the window")
        yield from _events(path)
    except OSError as error:
        raise NotFound(f"the file cannot be read: {error.strerror}", where=str(path)) from None


def _events(path: Path) -> Iterator[AuditEvent]:
    kept = 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
            where = f"{path}:{number}"
            if len(line) > LONGEST_LINE:
                raise InvalidFile(f"the line is longer than {LONGEST_LINE} bytes", where=where)
            if not line.endswith(b"\n"):
                raise InvalidFile("the last line is cut off", where=where, remedy="copy the log once more")
            event = read_audit_event(line, where)
            if event is None or event.verb in ("get", "list", "watch"):
                continue
            kept += 1
            if kept > MOST_EVENTS:
                raise InvalidFile(f"more than {MOST_EVENTS} writes", where=where, remedy="give the part of the window")
            yield event
