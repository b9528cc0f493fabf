"""Asking in a comment: a command by somebody who may push is carried out in their name, and answered in the thread.

A comment is data: `breakglass.model.comment_command` reads it, and what people wrote goes back as literal text only.
Whoever may open a pull request by hand may ask here; whose approval counts is for the verdict to say, as always.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from breakglass.lifecycle.approval import Gate
from breakglass.lifecycle.audit import status, stories
from breakglass.lifecycle.content import read_overlay, tip_of
from breakglass.lifecycle.expire import EXPIRE_WORKFLOW, Lane, request_closing
from breakglass.lifecycle.request import (
    Prepared,
    Request,
    literal,
    prepare,
    production_clusters,
    prolong,
    submit,
    typed,
)
from breakglass.model.comment_command import EXAMPLES, Close, Command, Extend, Help, Open, Status, command_of
from breakglass.model.errors import BreakglassError, Conflict, Refused, UsageError
from breakglass.model.policy import Policy
from breakglass.model.time import countdown, format_duration
from breakglass.ports import Clock, IssueComment, PullRequest, Renderer, Report

Outcome = Literal["ignored", "done", "refused"]
_ENTITLED = ("admin", "write")
_SHOWN = ("open", "pending", "late")
_MOST_LINES = 40
"""Of an answer; the pull request's own page tells the rest."""
_LONGEST_ERROR = 5_000


@dataclass(frozen=True, slots=True)
class Answering:
    """What answering works with; `policy` is main's."""

    gate: Gate
    renderer: Renderer
    clock: Clock
    branch: str
    policy: Policy
    report: Report


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a comment.

    Attributes:
        outcome: `ignored` where it is none of ours, and nobody was answered.
        body: the answer in the thread, Markdown; why it was ignored where it was.
        pull: the pull request that was made of it.
    """

    outcome: Outcome
    body: str
    pull: PullRequest | None = None


def answer(answering: Answering, comment: IssueComment, actor: str) -> Answered:
    """Carry out the command of a comment, and answer it in its thread.

    Args:
        actor: who started this run; a run of somebody else's comment asks for nothing.

    Raises:
        Unreachable, NotApplied, Conflict: it may work later; the thread was told as far as it could be.
    """
    asked = _asked_for(comment.body)
    if asked is None:
        return Answered("ignored", "no command")
    if not (comment.created and comment.human):
        return Answered("ignored", "only what a person has just written counts")
    if actor.lower() != comment.author.lower():
        return Answered("ignored", "this run was started by somebody else than the author")
    forge = answering.gate.forge
    try:
        if forge.permission(comment.author) not in _ENTITLED:
            raise Refused(f"{comment.author} may not push to this repository, and so ask for nothing here")
        if isinstance(asked, UsageError):
            raise asked
        answered = _carried_out(answering, comment, asked)
    except (Refused, UsageError) as error:
        answered = Answered("refused", _why_not(error))
    except BreakglassError as error:
        forge.reply(comment.issue, _why_not(error))
        raise
    forge.reply(comment.issue, answered.body)
    return answered


def _asked_for(body: str) -> Command | UsageError | None:
    """The command of a comment, or what is wrong with it: only whoever may ask is told that."""
    try:
        return command_of(body)
    except UsageError as error:
        return error


def _carried_out(answering: Answering, comment: IssueComment, command: Command) -> Answered:
    if isinstance(command, Help):
        return Answered("done", "What can be asked here:\n\n```\n{}\n```\n".format("\n".join(EXAMPLES)))
    answering.gate.repository.fetch()
    match command:
        case Open():
            return _ask(answering, comment, _request(answering, comment, command))
        case Extend(identity, duration, reason):
            repository, branch = answering.gate.repository, answering.branch
            request = prolong(repository, branch, identity, duration, reason, comment.author)
            return _ask(answering, comment, request)
        case Close(identity, reason):
            return _closing(answering, comment, identity, reason)
        case Status(wanted):
            return _status(answering, wanted)


def _request(answering: Answering, comment: IssueComment, command: Open) -> Request:
    repository = answering.gate.repository
    overlay = read_overlay(repository, tip_of(repository, answering.branch), command.overlay).overlay
    production = production_clusters(answering.policy, overlay)
    if not command.clusters and len(production) != 1:
        known = ", ".join(production) or "none that is for production"
        raise UsageError(f"{command.overlay} is meant for several clusters: {known}", remedy='say which: "on CLUSTER"')
    properties = overlay.spec.parameters.get("properties", {})
    return Request(
        overlay=command.overlay,
        clusters=command.clusters or production,
        parameters={name: typed(value, properties.get(name, {})) for name, value in command.parameters},
        reason=command.reason,
        incident=command.incident,
        requested_by=comment.author,
        duration=command.duration,
        solo=command.solo,
    )


def _ask(answering: Answering, comment: IssueComment, request: Request) -> Answered:
    """Make the opening pull request.

    Time and id come from the comment: told twice, it asks once, and told again later it is stale.
    """
    gate = answering.gate
    prepared = prepare(
        gate.repository,
        answering.renderer,
        gate.conditions,
        request,
        branch=answering.branch,
        ledger_branch=gate.ledger_branch,
        now=answering.clock.now(),
        random=hashlib.sha256(f"comment {comment.id}".encode()).hexdigest()[:4],
        requested_at=comment.created_at,
    )
    bot = answering.policy.spec.bot.login
    try:
        pull = submit(prepared, gate.repository, gate.forge, bot)
    except Conflict:
        found = (
            each
            for each in gate.forge.open_pull_requests()
            if each.head_branch == prepared.branch and each.same_repository and each.author.lower() == bot.lower()
        )
        asked = next(found, None)
        if asked is None:
            message = f"the branch {prepared.branch} exists already"
            raise Refused(message, remedy="write the command once more, in a new comment") from None
        return Answered("done", f"This was asked already: {asked.url}\n", asked)
    return Answered("done", _asked(prepared, pull), pull)


def _asked(prepared: Prepared, pull: PullRequest) -> str:
    activation, spec = prepared.activation, prepared.activation.spec
    opens = "\n".join(prepared.checked.opens[:_MOST_LINES]) or "nothing new"
    approvers = ", ".join(f"`{name}`" for name in prepared.approvers)
    needs = f"Needs {prepared.required.approvals} of {approvers}"
    if spec.solo:
        needs = "Nobody need approve it, if the policy lets you open it alone; somebody else must review it afterwards"
    prolongs = f", prolonging `{spec.extends}`" if spec.extends is not None else ""
    return (
        f"Asked in {pull.url}: `{spec.overlay}` on {', '.join(f'`{name}`' for name in spec.clusters)} for "
        f"{format_duration(spec.duration)}{prolongs}.\n\n```\n{opens}\n```\n\n{needs}. It closes by itself "
        f"{format_duration(spec.duration)} after the merge; earlier with `/breakglass close {activation.id}`.\n"
    )


def _closing(answering: Answering, comment: IssueComment, identity: str, reason: str | None) -> Answered:
    """Ask for a closing: it needs no approval, whoever asks."""
    gate = answering.gate
    bot = answering.policy.spec.bot.login
    lane = Lane(
        gate.repository, gate.forge, answering.clock, answering.branch, gate.ledger_branch, bot, answering.report
    )
    why = f"Asked by {comment.author} in a comment: {literal(reason or 'not needed any more')}"
    pull = request_closing(lane, [identity], why)
    gate.forge.dispatch(EXPIRE_WORKFLOW, {})
    body = f"Closing `{identity}`: {pull.url}, merged as soon as its check passes. Closing needs no approval.\n"
    return Answered("done", body, pull)


def _status(answering: Answering, wanted: str | None) -> Answered:
    gate, now = answering.gate, answering.clock.now()
    told = stories(gate.repository, answering.branch, gate.ledger_branch)
    rows = [
        row
        for row in status(told, now)
        if (row.condition in _SHOWN if wanted is None else row.story.window.id == wanted)
    ]
    if not rows:
        return Answered("done", "Nothing is open.\n" if wanted is None else f"`{wanted}` never reached main.\n")
    lines = ["| activation | cluster | | time | asked by |", "|---|---|---|---|---|"]
    for row in rows[:_MOST_LINES]:
        end, spec = row.story.window.expiry, row.activation.spec
        left = end - now if end is not None else timedelta(0)
        time = f"{countdown(left)} left" if left > timedelta(0) else "over"
        lines.append(f"| `{row.story.window.id}` | `{row.cluster}` | {row.condition} | {time} | `{spec.requestedBy}` |")
    return Answered("done", "\n".join(lines) + "\n")


def _why_not(error: BreakglassError) -> str:
    """Why nothing was done; everything in it may be somebody's words."""
    lines = [f"Nothing was done: {literal(str(error)[:_LONGEST_ERROR])}"]
    if error.remedy:
        lines.append(f"What to do: {literal(error.remedy)}")
    return "\n\n".join(lines) + "\n"
