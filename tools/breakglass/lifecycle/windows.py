"""Windows: every activation that ever reached main, when it opened, when it ends, and whether it is void."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from breakglass.lifecycle.content import read_policy
from breakglass.model.activation import ACTIVATIONS, Activation, activation_file, activation_id, expiry, judge_times
from breakglass.model.document import read
from breakglass.model.errors import InvalidFile, Refused
from breakglass.model.finding import Finding
from breakglass.model.policy import Policy
from breakglass.ports import Commit, HistoryEntry, Repository

State = Literal["open", "expired", "void", "future", "closed"]


@dataclass(frozen=True, slots=True)
class Window:
    """One activation on main.

    Attributes:
        id: the activation's id.
        activation: what it says; None where its file cannot be read.
        policy: the policy in the commit that added it; None where that cannot be read.
        opened: the first-parent commit that added the file; its committer time begins the window.
        closed: the first-parent commit that deleted the file; None while it is there.
        expiry: when the window ends; None where the activation is void.
        findings: why it is void, if it is.
    """

    id: str
    activation: Activation | None
    policy: Policy | None
    opened: Commit
    closed: Commit | None
    expiry: datetime | None
    findings: tuple[Finding, ...]

    def state(self, now: datetime) -> State:
        """What the window is at a time; at the very second of the expiry it is expired."""
        if self.closed is not None:
            return "closed"
        if self.findings or self.expiry is None:
            return "void"
        if now < self.opened.committed_at:
            return "future"
        return "expired" if now >= self.expiry else "open"


def all_windows(repository: Repository, tip: str) -> tuple[Window, ...]:
    """Every activation in the history of a commit of main, oldest first.

    Raises:
        Refused: the history is shallow, or holds a symlink among the activations.
    """
    entries: dict[str, list[HistoryEntry]] = defaultdict(list)
    for entry in repository.history(tip, ACTIVATIONS):
        entries[entry.change.path].append(entry)
    policies: dict[str, Policy | Refused] = {}
    windows = []
    for path, changes in entries.items():
        identity = activation_id(path)
        if identity is not None:
            windows.append(_window(repository, identity, changes, policies))
    return tuple(sorted(windows, key=lambda window: (window.opened.committed_at, window.id)))


def _window(
    repository: Repository, identity: str, newest_first: list[HistoryEntry], policies: dict[str, Policy | Refused]
) -> Window:
    path = activation_file(identity)
    additions = [entry for entry in newest_first if entry.change.status == "added"]
    latest, opening = newest_first[0], additions[-1]
    closed = latest.commit if latest.change.status == "deleted" else None
    findings = []
    if len(additions) > 1:
        message = f"the id {identity} was used before; an activation opens once"
        findings.append(Finding("activation-reused", message, path, "open a new request"))
    if any(entry.change.status == "modified" for entry in newest_first):
        findings.append(
            Finding("activation-edited", "the file was changed after it was merged", path, "open a new request")
        )
    activation, policy, end = None, None, None
    try:
        activation = _read(repository, opening, path, identity)
        policy = _policy(repository, opening.commit.sha, policies)
        end = expiry(activation, opening.commit.committed_at, policy)
        findings += judge_times(activation, opening.commit.committed_at, policy, path)
    except Refused as error:
        findings.append(Finding("activation-unreadable", error.what, error.where or path, error.remedy or ""))
    except OverflowError:
        message = f"the commit {opening.commit.sha[:12]} is dated beyond any calendar"
        findings.append(Finding("activation-future", message, path, "open a new request"))
    return Window(identity, activation, policy, opening.commit, closed, end, tuple(findings))


def _read(repository: Repository, opening: HistoryEntry, path: str, identity: str) -> Activation:
    if opening.change.new_mode != "100644":
        raise InvalidFile(f"git mode {opening.change.new_mode} is not a plain file's", where=path)
    activation = read(repository.files(opening.commit.sha, path)[path], path, Activation)
    if activation.id != identity:
        raise InvalidFile(f"metadata.name is {activation.id}, which does not fit the file's name", where=path)
    return activation


def _policy(repository: Repository, commit: str, policies: dict[str, Policy | Refused]) -> Policy:
    """The policy of a commit; most windows share few of them, and an unreadable one is unreadable once."""
    if commit not in policies:
        try:
            policies[commit] = read_policy(repository, commit)
        except Refused as error:
            policies[commit] = error
    found = policies[commit]
    if isinstance(found, Refused):
        raise found
    return found
