"""Opening: from what somebody asks for to a pull request that reviewers can say yes to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from breakglass.lifecycle.check import Checked, judge_activation_at
from breakglass.lifecycle.content import read_overlay, read_policy, tip_of
from breakglass.lifecycle.receipts import drilled, last_drill
from breakglass.lifecycle.render import refuse_on
from breakglass.lifecycle.requirements import Required, requirements, variables_of
from breakglass.model.activation import Activation, Scalar, activation_file, new_activation, write_activation
from breakglass.model.ledger import Drilled
from breakglass.model.time import format_duration, format_instant
from breakglass.ports import Conditions, Forge, PullRequest, Renderer, Repository

BRANCH_PREFIX = "breakglass/open/"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for; a duration of None takes the overlay's default.

    Attributes:
        extends: id of the activation that it prolongs.
        solo: nobody is there to approve it.
    """

    overlay: str
    clusters: tuple[str, ...]
    parameters: Mapping[str, Scalar]
    reason: str
    incident: str
    requested_by: str
    duration: timedelta | None = None
    extends: str | None = None
    solo: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that passed every check, ready to become a pull request.

    Attributes:
        base: tip of main that it was checked against.
        approvers: who counts.
        required: how many of them, and why.
        drill: receipt of the overlay's last drill; None where it was never drilled.
    """

    activation: Activation
    checked: Checked
    base: str
    approvers: tuple[str, ...]
    required: Required
    drill: Drilled | None

    @property
    def branch(self) -> str:
        """Branch of the opening pull request."""
        return BRANCH_PREFIX + self.activation.id


def prepare(
    repository: Repository,
    renderer: Renderer,
    conditions: Conditions,
    request: Request,
    *,
    branch: str,
    ledger_branch: str,
    now: datetime,
    random: str,
) -> Prepared:
    """Make the activation and check it, as the pull request's check will.

    Args:
        random: four hexadecimal digits for the id.

    Raises:
        Refused: with every finding.
    """
    base = tip_of(repository, branch)
    policy = read_policy(repository, base)
    content = read_overlay(repository, base, request.overlay)
    activation = new_activation(
        content.overlay,
        digest=content.digest,
        clusters=list(request.clusters),
        parameters=dict(request.parameters),
        reason=request.reason,
        incident=request.incident,
        requested_by=request.requested_by,
        requested_at=now,
        duration=content.overlay.spec.duration.default if request.duration is None else request.duration,
        random=random,
        extends=request.extends,
        solo=request.solo,
    )
    checked = Checked("opening", activation=activation)
    judge_activation_at(repository, renderer, base, checked, activation_file(activation.id), now)
    variables = variables_of(activation, content.overlay, policy, [], now)
    file = activation_file(activation.id)
    required, denied = requirements(activation, content.overlay, policy, None, conditions, variables, file)
    refuse_on([finding for finding in (*checked.findings, *denied) if finding.severity == "error"])
    return Prepared(
        activation,
        checked,
        base,
        tuple(content.overlay.spec.approvals.approvers),
        required,
        last_drill(repository, ledger_branch, request.overlay),
    )


def submit(prepared: Prepared, repository: Repository, forge: Forge, author: str) -> PullRequest:
    """Commit the activation on the tip of main, push its branch, open the pull request, ask the approvers.

    Args:
        author: login of the commit's author, whom the forge must know: a commit of nobody cannot be approved.

    Raises:
        Conflict: the branch exists.
        Refused: the token lacks a right.
        Unreachable: the forge does not answer; nothing is open.
    """
    activation = prepared.activation
    changes = {activation_file(activation.id): write_activation(activation)}
    message = f"{title(activation)}\n\n{activation.spec.reason}\n"
    commit = repository.record(prepared.base, changes, message, author=forge.author_of(author))
    repository.push(commit, prepared.branch, create=True)
    pull = forge.open_pull_request(prepared.branch, title(activation), body(prepared))
    forge.ask_reviewers(pull.number, prepared.approvers)
    return pull


def title(activation: Activation) -> str:
    """Title of the opening pull request and subject of its commit."""
    spec = activation.spec
    return f"Open {spec.overlay} on {', '.join(spec.clusters)} for {format_duration(spec.duration)} ({spec.incident})"


def body(prepared: Prepared) -> str:
    """Body of the opening pull request: what a reviewer with two minutes needs, in Markdown."""
    activation, spec = prepared.activation, prepared.activation.spec
    opens = "\n".join(prepared.checked.opens) or "nothing new"
    overlay = prepared.checked.overlay
    rows = [
        ("Why", literal(spec.reason)),
        ("Incident", literal(spec.incident)),
        ("Asked by", f"@{spec.requestedBy} at {format_instant(spec.requestedAt)}"),
        ("Clusters", ", ".join(f"`{cluster}`" for cluster in spec.clusters)),
        ("Closes", f"by itself {format_duration(spec.duration)} after the merge"),
        ("Needs", f"{prepared.required.approvals} of {', '.join(f'`{name}`' for name in prepared.approvers)}"),
        ("Drilled", drilled(prepared.drill, spec.requestedAt)),
    ]
    if spec.parameters:
        rows.append(("Parameters", ", ".join(literal(f"{name}={value}") for name, value in spec.parameters.items())))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    summary = overlay.overlay.spec.summary if overlay is not None else ""
    return (
        f"**{spec.overlay}**: {literal(summary)}\n\n```\n{opens}\n```\n\n|  |  |\n|---|---|\n{table}\n\n"
        f"Close early: `breakglass close {activation.id}`\n"
    )


def literal(text: str) -> str:
    """Text of a person as Markdown shows it unchanged: no link, mention, image, table cell or HTML comes of it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    shown = " ".join(text.splitlines()).replace("|", "\\|")
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown}`"
