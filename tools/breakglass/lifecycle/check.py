"""Checking a pull request, or a request that is about to become one: every finding, not the first."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from breakglass.analysis.contract import Assessment, assess
from breakglass.analysis.exposure.passage import controllers_of
from breakglass.lifecycle.approval import Gate, gather
from breakglass.lifecycle.content import OverlayContent, overlay_names, read_overlay, read_policy
from breakglass.lifecycle.extend import judge_extension
from breakglass.lifecycle.render import desired_state, judge_scope, layered, render_baseline, render_delta
from breakglass.lifecycle.reviews import judge_reviews
from breakglass.lifecycle.verdict import Verdict, judge
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import (
    ACTIVATIONS,
    Activation,
    activation_file,
    activation_id,
    judge_activation,
    judge_times,
    requester_of,
)
from breakglass.model.document import read
from breakglass.model.errors import BreakglassError, InvalidFile, Refused
from breakglass.model.finding import Finding, refuses
from breakglass.model.kustomization import inspect_overlay
from breakglass.model.manifest import Change, Manifest
from breakglass.model.overlay import OVERLAYS, contract_for, judge_overlay
from breakglass.model.policy import Policy
from breakglass.ports import Cluster, FileChange, PullRequest, Renderer, Repository

Purpose = Literal["opening", "closing", "other"]

_MAY_COME = ("approval-missing", "approval-teams", "approval-pusher", "rule-approvers")
"""What may still come true before the merge: it informs, for the verdict that counts is the applier's."""


@dataclass(slots=True)
class Checked:
    """Result of a check.

    Attributes:
        purpose: what the change is: an opening, a closing, or neither.
        findings: everything found.
        activation: the request, where the change is an opening whose file can be read.
        overlay: its overlay, where that can be read.
        changes: its delta, where that can be rendered.
        assessments: the contract held to what changes, by the baseline that it changes.
        closes: ids that a closing removes.
        verdict: the approvals, where a pull request was asked about.
    """

    purpose: Purpose
    findings: list[Finding] = field(default_factory=list)
    activation: Activation | None = None
    overlay: OverlayContent | None = None
    changes: tuple[Change, ...] = ()
    assessments: dict[str, Assessment] = field(default_factory=dict)
    closes: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def opens(self) -> tuple[str, ...]:
        """What it opens, one line each, for people."""
        return tuple(dict.fromkeys(line for each in self.assessments.values() for line in each.lines))

    @property
    def passed(self) -> bool:
        """Whether nothing found is an error."""
        return not refuses(self.findings)


def check(
    repository: Repository,
    renderer: Renderer,
    base: str,
    head: str,
    now: datetime,
    clusters: Mapping[str, Cluster] | None = None,
    author: str | None = None,
) -> Checked:
    """Check what a branch would do to main.

    Args:
        base: tip of main.
        head: the commit asked about.
        clusters: clusters to ask for a server-side dry run, by name.
        author: who opened the pull request, where there is one.
    """
    start = repository.merge_base(base, head)
    changes = repository.changes(start, head)
    if not any(change.path.startswith(f"{ACTIVATIONS}/") and activation_id(change.path) for change in changes):
        checked = _check_content(repository, renderer, head)
        checked.findings += judge_reviews(repository, base, head, changes, author)
        return checked
    if is_removal(changes):
        return Checked("closing", closes=tuple(sorted(activation_id(change.path) or "" for change in changes)))
    findings = _judge_opening(changes)
    if findings:
        return Checked("opening", findings)
    checked = judge_request(repository, renderer, base, head, changes[0].path, now)
    for name, cluster in (clusters or {}).items():
        if checked.activation is not None and name in checked.activation.spec.clusters:
            checked.findings += dry_run(cluster, checked.changes, name)
    return checked


def is_removal(changes: tuple[FileChange, ...]) -> bool:
    """Whether a change is a pure removal of activations: at least one, and nothing else. Computed from trees."""
    return bool(changes) and all(change.status == "deleted" and activation_id(change.path) for change in changes)


def judge_request(
    repository: Repository, renderer: Renderer, base: str, head: str, file: str, now: datetime
) -> Checked:
    """Check one activation file of a commit against main: schema, policy, contract, scope, digest, times, render.

    Args:
        base: tip of main, whose policy and overlays count.
        head: the commit that holds the file.
    """
    checked = Checked("opening")
    try:
        checked.activation = read(repository.files(head, file)[file], file, Activation)
    except InvalidFile as error:
        checked.findings.append(_finding("activation-unreadable", error, file))
        return checked
    judge_activation_at(repository, renderer, base, checked, file, now)
    return checked


def judge_activation_at(
    repository: Repository, renderer: Renderer, base: str, checked: Checked, file: str, now: datetime
) -> None:
    """Check `checked.activation` against the policy and overlays of a commit of main, and fill in the result."""
    activation = checked.activation
    if activation is None:
        raise ValueError("there is no activation to judge")
    try:
        policy = read_policy(repository, base)
        checked.overlay = read_overlay(repository, base, activation.spec.overlay)
    except Refused as error:
        checked.findings.append(_finding("overlay-unreadable", error, file))
        return
    content = checked.overlay
    checked.findings += judge_activation(activation, content.overlay, content.digest, policy, file)
    checked.findings += judge_overlay(content.overlay, policy, activation.spec.overlay)
    checked.findings += judge_times(activation, now, policy, file)
    if activation.spec.extends is not None:
        windows = all_windows(repository, base)
        checked.findings += judge_extension(activation, content.overlay, policy, windows, now, file)
    if any(entry.change.path == file for entry in repository.history(base, ACTIVATIONS)):
        message = f"the id {activation.id} was used before; an activation opens once"
        checked.findings.append(Finding("activation-reused", message, file, "open a new request"))
    if not refuses(checked.findings):
        _judge_renders(repository, renderer, base, policy, checked)


def _judge_renders(repository: Repository, renderer: Renderer, base: str, policy: Policy, checked: Checked) -> None:
    """Render the delta for each distinct baseline of the clusters asked for, and hold it to the contract."""
    activation, content = checked.activation, checked.overlay
    if activation is None or content is None:
        return
    file, requester = activation_file(activation.id), requester_of(activation, policy)
    contract, controllers = contract_for(content.overlay.spec.contract, requester), controllers_of(policy)
    roots = dict.fromkeys(policy.spec.clusters[name].baseline for name in activation.spec.clusters)
    for root in roots:
        try:
            baseline, checked.changes = _render(repository, renderer, base, root, activation, content, requester)
        except Refused as error:
            checked.findings.append(_finding("render", error, content.root))
            continue
        desired = desired_state(baseline, [checked.changes])
        checked.findings += judge_scope(checked.changes, content.overlay, policy)
        assessment = assess(contract, baseline, desired, file, activation.id, controllers)
        checked.assessments[root] = assessment
        checked.findings += assessment.findings


def _render(
    repository: Repository,
    renderer: Renderer,
    base: str,
    root: str,
    activation: Activation,
    content: OverlayContent,
    requester: str,
) -> tuple[tuple[Manifest, ...], tuple[Change, ...]]:
    """The baseline and the delta, side by side where neither needs the other."""
    if layered(content):
        baseline = render_baseline(repository, renderer, base, root)
        return baseline, render_delta(renderer, activation, content, baseline, requester)
    with ThreadPoolExecutor(max_workers=1) as beside:
        delta = beside.submit(render_delta, renderer, activation, content, None, requester)
        return render_baseline(repository, renderer, base, root), delta.result()


def dry_run(cluster: Cluster, changes: tuple[Change, ...], name: str) -> list[Finding]:
    """Ask a cluster's API server whether it would take the objects of a delta."""
    manifests: list[Manifest] = [change.emergency for change in changes if change.emergency is not None]
    try:
        cluster.apply(manifests, dry_run=True)
    except BreakglassError as error:
        return [_finding("dry-run", error, name)]
    return []


def check_pull_request(
    gate: Gate, renderer: Renderer, number: int, branch: str, now: datetime
) -> tuple[PullRequest, Checked]:
    """Check a pull request, approvals included; its commits are read as data, nothing of them is run.

    Raises:
        NotFound: there is no such pull request.
        Refused: it is not one to the default branch.
    """
    pull = gate.forge.pull_request(number)
    return pull, judge_pull_request(gate, renderer, pull, branch, now)


def judge_pull_request(gate: Gate, renderer: Renderer, pull: PullRequest, branch: str, now: datetime) -> Checked:
    """Check a pull request as it was read from the forge; see `check_pull_request`."""
    repository = gate.repository
    if pull.base_branch != branch:
        raise Refused(f"#{pull.number} goes to {pull.base_branch}, not to {branch}", where=pull.url)
    repository.fetch(f"refs/pull/{pull.number}/head")
    base = repository.resolve(f"refs/remotes/origin/{branch}")
    checked = check(repository, renderer, base, pull.head, now, author=pull.author)
    _judge_approvals(gate, pull, base, checked, now)
    return checked


def _judge_approvals(gate: Gate, pull: PullRequest, base: str, checked: Checked, now: datetime) -> None:
    """Count the approvals so far; what is still missing informs, for the verdict that counts is the applier's."""
    if checked.activation is None or checked.overlay is None:
        return
    overlay, activation = checked.overlay.overlay, checked.activation
    file = activation_file(activation.id)
    try:
        policy = read_policy(gate.repository, base)
        evidence = gather(gate, pull, activation, overlay, policy, base, now)
    except BreakglassError as error:
        checked.findings.append(
            Finding("approval-unknown", f"approvals cannot be counted here: {error}", file, severity="note")
        )
        return
    checked.verdict = judge(evidence, activation, overlay, policy, gate.conditions, file, now)
    for finding in checked.verdict.findings:
        severity = "note" if finding.id in _MAY_COME else finding.severity
        checked.findings.append(replace(finding, severity=severity))


def _judge_opening(changes: tuple[FileChange, ...]) -> list[Finding]:
    findings = []
    added = [change for change in changes if activation_id(change.path) and change.status == "added"]
    if len(added) > 1:
        message = f"{len(added)} activations in one pull request"
        findings.append(
            Finding("pull-request-content", message, added[1].path, "one pull request opens one activation")
        )
    for change in changes:
        if activation_id(change.path) is None:
            message = f"{change.status} beside an activation"
            remedy = "move it to a pull request of its own"
            findings.append(Finding("pull-request-content", message, _printable(change.path), remedy))
        elif change.status != "added":
            message = f"an activation is {change.status} beside another change; activations are immutable"
            remedy = "close with `breakglass close`, open with `breakglass open`"
            findings.append(Finding("pull-request-content", message, change.path, remedy))
        elif change.new_mode != "100644":
            message = f"git mode {change.new_mode} is not a plain file's"
            findings.append(Finding("activation-mode", message, change.path, "let `breakglass open` write the file"))
    return findings


def _check_content(repository: Repository, renderer: Renderer, head: str) -> Checked:
    """Neither opening nor closing: the policy, every overlay and every baseline must still be sound."""
    checked = Checked("other")
    try:
        policy = read_policy(repository, head)
    except Refused as error:
        checked.findings.append(_finding("policy", error, "breakglass.yaml"))
        return checked
    for root in dict.fromkeys(cluster.baseline for cluster in policy.spec.clusters.values()):
        try:
            render_baseline(repository, renderer, head, root)
        except Refused as error:
            checked.findings.append(_finding("render", error, root))
    try:
        names = overlay_names(repository, head)
    except Refused as error:
        checked.findings.append(_finding("overlay-unreadable", error, OVERLAYS))
        return checked
    for name in names:
        try:
            content = read_overlay(repository, head, name)
        except Refused as error:
            checked.findings.append(_finding("overlay-unreadable", error, name))
            continue
        checked.findings += judge_overlay(content.overlay, policy, name) + inspect_overlay(content.files, content.root)
    return checked


def _finding(identity: str, error: BreakglassError, where: str) -> Finding:
    return Finding(identity, error.what, error.where or where, error.remedy or "")


def _printable(path: str) -> str:
    return path if path.isprintable() else ascii(path)
