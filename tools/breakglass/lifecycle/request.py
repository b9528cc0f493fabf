"""Opening: from what somebody asks for to a pull request that reviewers can say yes to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from breakglass.lifecycle.check import Checked, judge_activation_at
from breakglass.lifecycle.content import read_overlay, read_policy, tip_of
from breakglass.lifecycle.extend import latest_merge
from breakglass.lifecycle.receipts import drilled, last_drill
from breakglass.lifecycle.render import refuse_on
from breakglass.lifecycle.requirements import Required, requirements, variables_of
from breakglass.lifecycle.verdict import solo_bounds
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import Activation, Scalar, activation_file, new_activation, write_activation
from breakglass.model.errors import NotFound, Refused
from breakglass.model.ledger import Drilled
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.model.time import format_duration, format_instant
from breakglass.ports import Conditions, Forge, PullRequest, Renderer, Repository

BRANCH_PREFIX = "breakglass/open/"
SOLO_WORKFLOW = "solo.yml"
"""Merges an opening that nobody need approve; started by its pull request's number."""


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
        merge_before: before when it must be merged to prolong what it extends; None where it extends nothing.
    """

    activation: Activation
    checked: Checked
    base: str
    approvers: tuple[str, ...]
    required: Required
    drill: Drilled | None
    merge_before: datetime | None = None

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
    requested_at: datetime | None = None,
) -> Prepared:
    """Make the activation and check it, as the pull request's check will.

    Args:
        random: four hexadecimal digits for the id.
        requested_at: when somebody asked; now where None.

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
        requested_at=now if requested_at is None else requested_at,
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
    if request.solo:
        denied += solo_bounds(activation, policy, file)
    refuse_on([finding for finding in (*checked.findings, *denied) if finding.severity == "error"])
    return Prepared(
        activation,
        checked,
        base,
        tuple(content.overlay.spec.approvals.approvers),
        required,
        last_drill(repository, ledger_branch, request.overlay),
        latest_merge(activation, content.overlay, policy, all_windows(repository, base)) if request.extends else None,
    )


def prolong(
    repository: Repository, branch: str, identity: str, duration: timedelta, reason: str, requested_by: str
) -> Request:
    """The request that prolongs an activation: same overlay, clusters, parameters, incident.

    Raises:
        NotFound: it never reached main.
        Refused: its file cannot be read.
    """
    tip = tip_of(repository, branch)
    window = next((window for window in all_windows(repository, tip) if window.id == identity), None)
    if window is None:
        raise NotFound(f"no activation {identity[:80]!r} ever reached {branch}", remedy="see `breakglass status`")
    if window.activation is None:
        raise Refused(f"{identity} cannot be read", remedy="open a new request")
    spec = window.activation.spec
    return Request(
        overlay=spec.overlay,
        clusters=tuple(spec.clusters),
        parameters=spec.parameters,
        reason=reason,
        incident=spec.incident,
        requested_by=requested_by,
        duration=duration,
        extends=identity,
    )


def production_clusters(policy: Policy, overlay: Overlay) -> tuple[str, ...]:
    """Where an overlay may open in production: what there is to choose from where nobody says a cluster."""
    known = policy.spec.clusters
    return tuple(name for name in overlay.spec.scope.clusters if name in known and known[name].purpose == "production")


def typed(text: str, schema: Mapping[str, Any]) -> Scalar:
    """The value of a parameter as a person wrote it, of the type that its schema names where it can be that."""
    if schema.get("type") in ("integer", "number", "boolean"):
        try:
            value: Scalar = json.loads(text)
        except ValueError:
            return text
        return value if isinstance(value, bool | int | float) else text
    return text


def submit(prepared: Prepared, repository: Repository, forge: Forge, author: str) -> PullRequest:
    """Commit the activation on the tip of main, push its branch, open the pull request, ask the approvers.

    A solo opening is handed to the workflow that merges it, if the policy lets it.

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
    if activation.spec.solo:
        forge.dispatch(SOLO_WORKFLOW, {"pull-request": str(pull.number)})
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
        ("Needs", _needs(prepared)),
        ("Drilled", drilled(prepared.drill, spec.requestedAt)),
    ]
    if spec.extends is not None and prepared.merge_before is not None:
        before = format_instant(prepared.merge_before)
        rows.append(("Extends", f"`{spec.extends}`; merged after {before} it opens nothing"))
    if spec.solo:
        rows.append(("Alone", "nobody need approve; everybody is told, and somebody else must review it afterwards"))
    if spec.parameters:
        rows.append(("Parameters", ", ".join(literal(f"{name}={value}") for name, value in spec.parameters.items())))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    summary = overlay.overlay.spec.summary if overlay is not None else ""
    return (
        f"**{spec.overlay}**: {literal(summary)}\n\n```\n{opens}\n```\n\n|  |  |\n|---|---|\n{table}\n\n"
        f"Close early: `breakglass close {activation.id}`\n"
    )


def _needs(prepared: Prepared) -> str:
    names = ", ".join(f"`{name}`" for name in prepared.approvers)
    if prepared.activation.spec.solo:
        return f"nobody, where the policy lets @{prepared.activation.spec.requestedBy} open alone; asked: {names}"
    return f"{prepared.required.approvals} of {names}"


def literal(text: str) -> str:
    """Text of a person as Markdown shows it unchanged: no link, mention, image, table cell or HTML comes of it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    shown = " ".join(text.splitlines()).replace("|", "\\|")
    return f"{fence} {shown} {fence}" if len(fence) > 1 else f"`{shown}`"
