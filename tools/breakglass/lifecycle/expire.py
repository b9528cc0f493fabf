"""The closing lane: closing pull requests, opened and merged by the machine, and the clusters seen closed.

A closing is a pure removal of activation files, computed from trees on the current tip of main. It asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from breakglass.lifecycle.check import is_removal
from breakglass.lifecycle.content import tip_of
from breakglass.lifecycle.ledger import heartbeat, read_ledger
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import activation_file, activation_id
from breakglass.model.digest import json_digest
from breakglass.model.errors import BreakglassError, Conflict, NotApplied, NotFound, Refused
from breakglass.model.time import format_instant
from breakglass.ports import Clock, Forge, PullRequest, Report, Repository

BRANCH_PREFIX = "breakglass/close/"
APPLY_WORKFLOW = "apply.yml"
EXPIRE_WORKFLOW = "expire.yml"
ATTEMPTS = 3
"""How often a closing is made afresh after main or its branch moved."""
GRACE = timedelta(seconds=15)
"""How long a merge may take to start the applier before it is dispatched."""
RECENT = timedelta(days=14)
"""Older windows are not waited for; `doctor` and `status` still show them."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What closing works with; `bot` is the login that closing commits carry."""

    repository: Repository
    forge: Forge
    clock: Clock
    branch: str
    ledger_branch: str
    bot: str
    report: Report


@dataclass(slots=True)
class Expired:
    """What one run closed.

    Attributes:
        merged: closing pull requests merged by this run.
        closed: ids that they removed.
        waiting: (id, cluster) pairs that the ledger does not tell closed yet.
        problems: what went wrong; the next run tries again.
    """

    merged: list[PullRequest] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def expire(lane: Lane, patience: timedelta) -> Expired:
    """Close all that has expired or is void, merge closings that people asked for, and see the clusters closed.

    Idempotent, and safe to run twice at once: the branch of a closing is claimed by atomic creation.

    Args:
        patience: how long to wait for the clusters.
    """
    expired = Expired()
    lane.repository.fetch()
    for step in (_close_over, _merge_requested):
        try:
            step(lane, expired)
        except BreakglassError as error:
            expired.problems.append(str(error))
    try:
        _see_closed(lane, expired, patience)
    except BreakglassError as error:
        expired.problems.append(f"the clusters cannot be seen closed: {error}")
    try:
        heartbeat(lane.repository, lane.ledger_branch, "expire", lane.clock.now())
    except BreakglassError as error:
        expired.problems.append(f"no heartbeat: {error}")
    return expired


def request_closing(lane: Lane, ids: Iterable[str], why: str) -> PullRequest:
    """Open a closing pull request for activations that are on main; the machine merges it.

    Raises:
        NotFound: main has no such activation.
    """
    tip = _tip(lane)
    wanted, present = sorted(set(ids)), _present(lane, tip)
    for identity in wanted:
        if identity not in present:
            raise NotFound(f"{identity[:80]!r} is not open on {lane.branch}", remedy="see `breakglass status`")
    return _closing_pull_request(lane, tip, wanted, why)


def _close_over(lane: Lane, expired: Expired) -> None:
    over: list[str] = []
    for attempt in range(ATTEMPTS):
        tip, now = _tip(lane), lane.clock.now()
        windows = all_windows(lane.repository, tip)
        over = [window.id for window in windows if window.state(now) in ("expired", "void")]
        if not over:
            return
        try:
            _merge(lane, _closing_pull_request(lane, tip, over, "The window is over.", attempt), expired)
        except (Conflict, Refused) as error:
            lane.report(f"closing once more: {error}")
            lane.repository.fetch()
        else:
            return
    raise NotApplied(f"{', '.join(over)} could not be closed on {lane.branch}", remedy="run expire again")


def _merge_requested(lane: Lane, expired: Expired) -> None:
    """Merge the closings that people opened: any open pull request of this repository that is a pure removal."""
    for pull in lane.forge.open_pull_requests():
        if not (pull.same_repository and pull.head_branch.startswith(BRANCH_PREFIX)):
            continue
        try:
            _merge_or_close(lane, pull, expired)
        except BreakglassError as error:
            expired.problems.append(f"#{pull.number}: {error}")


def _merge_or_close(lane: Lane, pull: PullRequest, expired: Expired) -> None:
    lane.repository.fetch(f"refs/pull/{pull.number}/head")
    if _removed(lane, pull):
        _merge(lane, pull, expired)
    else:
        lane.forge.close_pull_request(pull.number)
        lane.report(f"#{pull.number} removes nothing that is open; closed without merging")


def _present(lane: Lane, tip: str) -> set[str]:
    """Ids of the activations on main, whatever their files hold."""
    return {window.id for window in all_windows(lane.repository, tip) if window.closed is None}


def _closing_pull_request(lane: Lane, tip: str, ids: list[str], why: str, attempt: int = 0) -> PullRequest:
    """The closing pull request of these activations on this tip: opened, or found where somebody was faster.

    Its branch is new for every tip and attempt, so neither an old branch nor a hostile one can stand in the way.
    """
    branch = f"{BRANCH_PREFIX}{tip[:12]}-{json_digest(ids)[7:15]}-{attempt}"
    subject = f"Close {', '.join(ids)}" if len(ids) < 3 else f"Close {len(ids)} activations"
    author = (lane.bot, f"{lane.bot}@users.noreply.github.com")
    removals = {activation_file(identity): None for identity in ids}
    commit = lane.repository.record(tip, removals, f"{subject}\n\n{why}\n", author=author)
    try:
        lane.repository.push(commit, branch, create=True)
    except Conflict:
        found = next((pull for pull in lane.forge.open_pull_requests() if pull.head_branch == branch), None)
        if found is not None:
            return found
    try:
        return lane.forge.open_pull_request(branch, subject, _body(ids, why))
    except Refused:
        found = next((pull for pull in lane.forge.open_pull_requests() if pull.head_branch == branch), None)
        if found is None:
            raise
        return found


def _body(ids: list[str], why: str) -> str:
    lines = "\n".join(f"* `{identity}`" for identity in ids)
    return f"{why}\n\nRemoves, and changes nothing else:\n\n{lines}\n"


def _removed(lane: Lane, pull: PullRequest) -> list[str]:
    """Ids that a pull request removes from main as it is now; none where it is anything but a pure removal."""
    tip = _tip(lane)
    changes = lane.repository.changes(lane.repository.merge_base(tip, pull.head), pull.head)
    if not is_removal(changes):
        return []
    return sorted({activation_id(change.path) or "" for change in changes} & _present(lane, tip))


def _merge(lane: Lane, pull: PullRequest, expired: Expired) -> None:
    lane.repository.fetch(f"refs/pull/{pull.number}/head")
    ids = _removed(lane, pull)
    if not ids:
        if lane.forge.pull_request(pull.number).merged_at is not None:
            return
        raise Refused("this closing would change nothing, or more than it may", where=pull.url, remedy="close it")
    try:
        lane.forge.merge(pull.number, pull.head, pull.title, "Merged by the closing lane: a pure removal.\n")
    except BreakglassError:
        if lane.forge.pull_request(pull.number).merged_at is None:
            raise
    expired.merged.append(pull)
    expired.closed += ids
    lane.report(f"merged #{pull.number}: {', '.join(ids)}")


def _pending(lane: Lane) -> list[tuple[str, str]]:
    """Windows that are over and that a cluster named by them has neither closed nor refused, by the ledger."""
    now, found = lane.clock.now(), []
    told: dict[str, Any] = dict(read_ledger(lane.repository, lane.ledger_branch, "activations"))
    for window in all_windows(lane.repository, _tip(lane)):
        if (
            window.activation is None
            or window.opened.committed_at < now - RECENT
            or window.state(now) in ("open", "future")
        ):
            continue
        for cluster in window.activation.spec.clusters:
            place = f"activations/{window.id}/{cluster}"
            refused = f"{place}/refused.json" in told and f"{place}/opened.json" not in told
            if f"{place}/closed.json" not in told and not refused:
                found.append((window.id, cluster))
    return found


def _see_closed(lane: Lane, expired: Expired, patience: timedelta) -> None:
    """Wait until the ledger tells everything closed; start the applier where the merge did not start it.

    A merge by the App's token starts the applier as a push. Where there was no merge, or the push started nothing
    within `GRACE`, it is dispatched.
    """
    lane.repository.fetch()
    begin = lane.clock.now()
    dispatched = False
    while True:
        now = lane.clock.now()
        try:
            expired.waiting = _pending(lane)
        except Refused:
            lane.forge.dispatch(APPLY_WORKFLOW, {})
            raise
        if not expired.waiting:
            return
        if not dispatched and (not expired.merged or now - begin >= GRACE):
            lane.forge.dispatch(APPLY_WORKFLOW, {})
            dispatched = True
        if now - begin >= patience:
            missing = ", ".join(f"{identity} on {cluster}" for identity, cluster in expired.waiting)
            expired.problems.append(f"not seen closed by {format_instant(now)}: {missing}")
            return
        lane.clock.sleep(timedelta(seconds=1))
        lane.repository.fetch()


def _tip(lane: Lane) -> str:
    return tip_of(lane.repository, lane.branch)
