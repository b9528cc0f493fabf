"""The closing lane: closing pull requests, opened and merged by the machine, and the clusters seen closed.

A closing is a pure removal of activation files, computed from trees on the current tip of main. It asks nobody: the
lane reports the App's check of it itself and merges it past the reviews. So the lane merges nothing that is anything
else; and where it fails, it says so in an issue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from breakglass.lifecycle.check import is_removal
from breakglass.lifecycle.content import tip_of
from breakglass.lifecycle.ledger import heartbeat, read_ledger
from breakglass.lifecycle.request import literal
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import ACTIVATIONS, activation_file, activation_id
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
ALARM = "closing-failed"
"""By this the issue of a lane that fails is found again."""
QUIET = timedelta(hours=1)
"""How long nothing more is written under an alarm that was written under."""
_LISTED, _LONGEST = 150, 400
"""How many ids or problems a page names, and characters of each; GitHub takes 65,536 in all."""


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
        alarm: address of the issue that tells the problems, where there are any and it could be written.
    """

    merged: list[PullRequest] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    alarm: str | None = None


def expire(lane: Lane, patience: timedelta) -> Expired:
    """Close all that has expired or is void, merge closings that people asked for, and see the clusters closed.

    Idempotent, and safe to run twice at once: the branch of a closing is claimed by atomic creation.

    Args:
        patience: how long to wait for the clusters.
    """
    expired = Expired()
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("main cannot be read", lane.repository.fetch),
        ("", lambda: _close_over(lane, expired)),
        ("", lambda: _merge_requested(lane, expired)),
        ("the clusters cannot be seen closed", lambda: _see_closed(lane, expired, patience)),
        ("no heartbeat", lambda: heartbeat(lane.repository, lane.ledger_branch, "expire", lane.clock.now())),
    )
    for what, step in steps:
        try:
            step()
        except BreakglassError as error:
            expired.problems.append(f"{what}: {error}" if what else str(error))
    if expired.problems:
        _alarm(lane, expired)
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
    over, why = [], ""
    for attempt in range(ATTEMPTS):
        tip, now = _tip(lane), lane.clock.now()
        windows = all_windows(lane.repository, tip)
        over = [window.id for window in windows if window.state(now) in ("expired", "void")]
        if not over:
            return
        try:
            _merge(lane, _closing_pull_request(lane, tip, over, "The window is over.", attempt), expired)
        except (Conflict, Refused) as error:
            why = str(error)
            lane.report(f"closing once more: {why}")
            lane.repository.fetch()
        except BreakglassError as error:
            why = str(error)
            break
        else:
            return
    names = ", ".join(map(_printable, over[:_LISTED]))
    raise NotApplied(f"{names} could not be closed on {lane.branch}: {why}", remedy="run expire again")


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
    for attempt in range(1, ATTEMPTS + 1):
        lane.repository.fetch(f"refs/pull/{pull.number}/head")
        try:
            if not _removed(lane, pull):
                lane.forge.close_pull_request(pull.number)
                lane.report(f"#{pull.number} is no pure removal of what is open; closed without merging")
                return
            _merge(lane, pull, expired)
        except (Conflict, NotFound):
            # Its head moved meanwhile: it is looked at again, as whatever it is now.
            pull = lane.forge.pull_request(pull.number)
            if attempt == ATTEMPTS and pull.state == "open":
                raise
        else:
            return
        if pull.state != "open":
            return


def _present(lane: Lane, tip: str) -> set[str]:
    """Ids of the activations on main, whatever their files hold."""
    latest: dict[str, str] = {}
    for entry in lane.repository.history(tip, ACTIVATIONS):
        latest.setdefault(entry.change.path, entry.change.status)
    return {identity for path, status in latest.items() if status != "deleted" and (identity := activation_id(path))}


def _closing_pull_request(lane: Lane, tip: str, ids: list[str], why: str, attempt: int = 0) -> PullRequest:
    """The closing pull request of these activations on this tip: opened, or found where somebody was faster.

    Its branch is one for all who try at once. The next attempt's nobody can know before, so that neither an old branch
    nor a hostile one stands in the way.
    """
    names = [_printable(identity) for identity in ids]
    subject = f"Close {', '.join(names)}" if len(ids) < 3 else f"Close {len(ids)} activations"
    author = (lane.bot, f"{lane.bot}@users.noreply.github.com")
    removals = {activation_file(identity): None for identity in ids}
    commit = lane.repository.record(tip, removals, f"{subject}\n\n{why}\n", author=author)
    branch = f"{BRANCH_PREFIX}{tip[:12]}-{json_digest(ids)[7:15]}-{commit[:12] if attempt else 0}"
    try:
        lane.repository.push(commit, branch, create=True)
    except Conflict:
        found = _open_from(lane, branch)
        if found is not None:
            return found
    try:
        return lane.forge.open_pull_request(branch, subject, _body(names, why))
    except Refused:
        found = _open_from(lane, branch)
        if found is None:
            raise
        return found


def _open_from(lane: Lane, branch: str) -> PullRequest | None:
    """The open pull request from a branch of this repository; a fork may have one of the same name."""
    pulls = lane.forge.open_pull_requests()
    return next((pull for pull in pulls if pull.same_repository and pull.head_branch == branch), None)


def _printable(identity: str) -> str:
    """An id as one line of text: hostile files may have any name."""
    return identity if identity.isprintable() and len(identity) <= 100 else ascii(identity[:100])


def _list(lines: list[str]) -> str:
    """A list in Markdown that GitHub takes, however long it is."""
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    shown = [literal(line[:_LONGEST]) for line in lines[:_LISTED]]
    return "\n".join(f"* {line}" for line in [*shown, *more])


def _body(names: list[str], why: str) -> str:
    return f"{why}\n\nRemoves, and changes nothing else:\n\n{_list(names)}\n"


def _removed(lane: Lane, pull: PullRequest) -> list[str]:
    """Ids that a pull request removes from main as it is now; none where it is anything but a pure removal.

    It must be one commit on a commit of main. So there is one merge base, git has nothing to resolve, and the merge can
    do nothing but this removal; a merge commit or a second commit could hide what comes back in.
    """
    if not (pull.same_repository and pull.base_branch == lane.branch):
        return []
    tip, parents = _tip(lane), lane.repository.commit(pull.head).parents
    try:
        if len(parents) != 1 or lane.repository.merge_base(tip, pull.head) != parents[0]:
            return []
    except NotFound:
        return []
    changes = lane.repository.changes(parents[0], pull.head)
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
    _report_check(lane, pull, ids)
    try:
        lane.forge.merge(pull.number, pull.head, pull.title, "Merged by the closing lane: a pure removal.\n")
    except BreakglassError:
        if lane.forge.pull_request(pull.number).merged_at is None:
            raise
    lane.repository.fetch()
    left = sorted(set(ids) & _present(lane, _tip(lane)))
    if left:
        names = ", ".join(map(_printable, left))
        raise Refused(f"it is merged, and {lane.branch} still holds {names}", where=pull.url, remedy="run expire again")
    expired.merged.append(pull)
    expired.closed += ids
    lane.report(f"merged #{pull.number}: {', '.join(map(_printable, ids))}")


def _report_check(lane: Lane, pull: PullRequest, ids: list[str]) -> None:
    """Report the App's check of a closing that was just proven; whether it is needed, the merge tells."""
    summary = f"One commit on {lane.branch} that removes these and changes nothing else:\n\n{_list(ids)}\n"
    try:
        lane.forge.report_check(pull.head, "success", "A closing: a pure removal", summary)
    except BreakglassError as error:
        lane.report(f"the check of #{pull.number} could not be reported: {error}")


def _alarm(lane: Lane, expired: Expired) -> None:
    """Say in an issue that closing fails; that this fails as well hides nothing."""
    title = "Emergency access could not be closed"
    body = f"`breakglass expire` at {format_instant(lane.clock.now())}:\n\n{_list(expired.problems)}\n"
    told = f"{body}\nThe agent of each cluster closes by its own clock all the same: see `breakglass status`.\n"
    try:
        expired.alarm = lane.forge.alarm(ALARM, title, told, quiet=QUIET)
    except BreakglassError as error:
        expired.problems.append(f"no alarm could be raised: {error}")


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
