"""The ledger: appending to and reading the branch of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from breakglass.model.errors import Conflict, NotApplied
from breakglass.model.ledger import Event, Heartbeat, paths, read_event, write_event
from breakglass.ports import Repository

ATTEMPTS = 10
"""How often an append is tried again after somebody else appended first."""
_AUTHOR = ("breakglass", "breakglass@noreply.invalid")


def append(repository: Repository, branch: str, events: Mapping[str, Event], subject: str) -> None:
    """Append events to the ledger in one commit, fast-forward only.

    Args:
        branch: the ledger branch.
        events: path on the ledger → event (see `breakglass.model.ledger`).
        subject: what happened, for the commit.

    An event whose file is there already stays as it is: the first record counts. A heartbeat is renewed.

    Raises:
        NotApplied: the ledger cannot be written; what happened is not recorded yet.
    """
    for _ in range(ATTEMPTS):
        tip = repository.tip(branch)
        present = repository.files(tip, *events) if tip is not None else {}
        changes: dict[str, bytes | None] = {
            path: write_event(event)
            for path, event in events.items()
            if path not in present or (isinstance(event, Heartbeat) and present[path] != write_event(event))
        }
        if not changes:
            return
        commit = repository.record(tip, changes, f"{subject}\n", author=_AUTHOR)
        try:
            repository.push(commit, branch, create=tip is None)
        except Conflict:
            repository.fetch()
            continue
        return
    raise NotApplied(f"the ledger {branch} moved {ATTEMPTS} times while writing to it", remedy="run this again")


def read_ledger(repository: Repository, branch: str, *directories: str) -> dict[str, Event]:
    """Events under the directories (all, where none is named), by path; an empty ledger where there is no branch.

    Raises:
        InvalidFile: a file of the ledger is no event.
    """
    tip = repository.tip(branch)
    if tip is None:
        return {}
    files = repository.files(tip, *(directories or ("activations", "drills", "heartbeats")))
    return {path: read_event(content, f"{branch}:{path}") for path, content in sorted(files.items())}


def heartbeat(repository: Repository, branch: str, job: str, at: datetime) -> None:
    """Record that a scheduled job ran, so that its silence can be seen."""
    append(repository, branch, paths(Heartbeat(job=job, at=at)), f"heartbeat of {job}")
