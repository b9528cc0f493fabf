"""What is missing or misconfigured, each finding with the command or the edit that puts it right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from breakglass.lifecycle.audit import status, stories
from breakglass.lifecycle.automation import INSTALL, PINS, SOURCE, WORKFLOWS, automation, production_clusters
from breakglass.lifecycle.check import Checked, check, judge_activation_at
from breakglass.lifecycle.content import OverlayContent, overlay_names, read_codeowners, read_overlay, read_policy
from breakglass.lifecycle.ledger import read_ledger
from breakglass.lifecycle.ownership import Guarded, guarded, judge_path, judge_shadows, judge_skipped
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import ACTIVATIONS, Activation, activation_file, new_activation
from breakglass.model.codeowners import LOCATIONS
from breakglass.model.document import load
from breakglass.model.errors import BreakglassError, InvalidFile, NotFound, Refused
from breakglass.model.finding import Finding
from breakglass.model.ledger import Heartbeat
from breakglass.model.overlay import OVERLAYS, overlay_file
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.time import format_duration, format_instant
from breakglass.ports import Cluster, Forge, Renderer, Repository

SILENCE = timedelta(minutes=30)
"""GitHub's schedule runs late; longer than this without a heartbeat of `expire`, key 1 is not turning."""
_TRIAL = "breakglass-doctor"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is examined. What may be missing altogether is a function, called when it is needed.

    Attributes:
        revision: whose files are examined.
        templates: the files of `breakglass.lifecycle.automation.AUTOMATION`.
        live: whether forge and clusters are asked as well.
    """

    repository: Callable[[], Repository]
    renderer: Renderer
    forge: Callable[[], Forge]
    cluster: Callable[[str], Cluster]
    templates: Mapping[str, bytes]
    revision: str
    now: datetime
    live: bool


@dataclass(frozen=True, slots=True)
class _Examined:
    """A repository that can be read, at a commit whose policy can be read, with those overlays that can."""

    around: Surroundings
    repository: Repository
    commit: str
    policy: Policy
    overlays: Mapping[str, OverlayContent]


def examine(around: Surroundings) -> list[Finding]:
    """Everything found, in the order of the checks; nothing is changed anywhere.

    Returns:
        The findings; what could not be examined is among them.
    """
    findings = _renderer(around)
    try:
        repository = around.repository()
        commit = repository.resolve(around.revision)
    except BreakglassError as error:
        return [*findings, _told("repository-unreadable", error, around.revision)]
    try:
        policy = read_policy(repository, commit)
    except BreakglassError as error:
        return [*findings, _told("policy-unreadable", error, POLICY_FILE)]
    examined = _Examined(around, repository, commit, policy, _overlays(repository, commit))
    findings += _made(_OF_FILES, examined)
    try:
        repository.fetch()
    except BreakglassError as error:
        remedy = f"git remote add origin https://github.com/{policy.spec.forge.repository}.git, or correct its address"
        if error.remedy and not isinstance(error, NotFound):
            remedy = error.remedy
        findings.append(Finding("git-remote", f"{error}; what is open was not examined", "", remedy))
    else:
        findings += _made(_OF_HISTORY, examined)
    if around.live:
        findings += _made(_LIVE, examined)
    return list(dict.fromkeys(findings))


def _made(checks: Iterable[Callable[[_Examined], Iterable[Finding]]], examined: _Examined) -> list[Finding]:
    """Make the checks; one that cannot be made is a finding and does not hold up the others."""
    findings: list[Finding] = []
    for made in checks:
        try:
            findings += made(examined)
        except BreakglassError as error:
            findings.append(_told("unexamined", error, made.__name__.removeprefix("_")))
    return findings


def _renderer(around: Surroundings) -> list[Finding]:
    """Whether kustomize runs at all, tried on a ConfigMap."""
    resource = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: doctor}\n"
    kustomization = b"resources: [configmap.yaml]\n"
    files = {f"{_TRIAL}/configmap.yaml": resource, f"{_TRIAL}/kustomization.yaml": kustomization}
    try:
        around.renderer.render(files, _TRIAL)
    except BreakglassError as error:
        return [_told("renderer", error, "")]
    return []


def _overlays(repository: Repository, commit: str) -> dict[str, OverlayContent]:
    """The overlays that can be read, by name; `check` tells of the others."""
    contents = {}
    for name in overlay_names(repository, commit):
        with suppress(Refused):
            contents[name] = read_overlay(repository, commit, name)
    return contents


def _content(examined: _Examined) -> Iterator[Finding]:
    """Baselines and overlays, each overlay rendered as an example activation would be."""
    repository, renderer, commit = examined.repository, examined.around.renderer, examined.commit
    yield from check(repository, renderer, commit, commit, examined.around.now).findings
    if not overlay_names(repository, commit):
        yield Finding("overlay-none", "there is no overlay", "", "write one: overlays/emergency/README.md", "warning")
    for content in examined.overlays.values():
        yield from _overlay(examined, content)


def _overlay(examined: _Examined, content: OverlayContent) -> Iterator[Finding]:
    file = overlay_file(content.overlay.name)
    try:
        example = _example(content, examined)
    except InvalidFile as error:
        remedy = "give each required parameter examples that its schema accepts"
        yield Finding("overlay-example", f"{error.what}; the weekly drill cannot open it", file, remedy, "warning")
        return
    checked = Checked("opening", activation=example)
    repository, renderer = examined.repository, examined.around.renderer
    path = activation_file(example.id)
    judge_activation_at(repository, renderer, examined.commit, checked, path, examined.around.now)
    # What only warns (it isolates, it shuts) is for those who approve an opening: here nothing is asked for.
    for finding in checked.findings:
        if finding.severity == "error":
            yield replace(finding, where=file) if finding.where == path else finding


def _example(content: OverlayContent, examined: _Examined) -> Activation:
    """An activation of an overlay with the example of each required parameter.

    Raises:
        InvalidFile: a parameter has no example, or one that is no value.
    """
    schema, spec = content.overlay.spec.parameters, content.overlay.spec
    examples: dict[str, Any] = {}
    for name in schema.get("required", []):
        given = schema.get("properties", {}).get(name, {}).get("examples")
        if not given:
            raise InvalidFile(f"the parameter {name} has no example")
        examples[name] = given[0]
    known = [cluster for cluster in spec.scope.clusters if cluster in examined.policy.spec.clusters]
    return new_activation(
        content.overlay,
        digest=content.digest,
        clusters=known or spec.scope.clusters,
        parameters=examples,
        reason="example",
        incident="example",
        requested_by=examined.policy.spec.bot.login,
        requested_at=examined.around.now,
        duration=spec.duration.default,
        random="0000",
    )


def _codeowners(examined: _Examined) -> Iterator[Finding]:
    present = [place for place in LOCATIONS if examined.repository.files(examined.commit, place)]
    if not present:
        message = "there is no CODEOWNERS: nobody need look at what can open something"
        yield Finding("codeowners-missing", message, "CODEOWNERS", "breakglass init --owner @org/team")
        return
    for ignored in present[1:]:
        yield Finding("codeowners-several", f"GitHub reads {present[0]} and ignores this one", ignored, "remove it")
    codeowners = read_codeowners(examined.repository, examined.commit)
    yield from judge_skipped(codeowners)
    yield from (replace(finding, severity="warning") for finding in judge_shadows(codeowners))
    for path in guarded(examined.policy, codeowners.file):
        yield from judge_path(codeowners, path)
    overlays = tuple(overlay_file(name) for name in overlay_names(examined.repository, examined.commit))
    yield from judge_path(codeowners, Guarded(f"/{OVERLAYS}/", overlays))


def _approvers(examined: _Examined) -> Iterator[Finding]:
    """Only who owns the activations and is an approver of the overlay counts."""
    codeowners = read_codeowners(examined.repository, examined.commit)
    if not codeowners.rules:
        return
    owners = {owner.lower() for owner in codeowners.owners(f"{ACTIVATIONS}/any.yaml")}
    lists = {POLICY_FILE: examined.policy.spec.approvals.approvers}
    lists |= {overlay_file(name): item.overlay.spec.approvals.approvers for name, item in examined.overlays.items()}
    for file, approvers in lists.items():
        strangers = [name for name in approvers if name.lower() not in owners]
        if strangers:
            message = f"approvals of {', '.join(strangers)} count for nothing: they do not own {ACTIVATIONS}/"
            remedy = f"add them to the line of /{ACTIVATIONS}/ in {codeowners.file}"
            nobody = len(strangers) == len(approvers)
            yield Finding("codeowners-approvers", message, file, remedy, "error" if nobody else "warning")


def _workflows(examined: _Examined) -> Iterator[Finding]:
    """The files of `init` for this policy, and what the repository has in their place."""
    present = examined.repository.files(examined.commit, ".github", SOURCE)
    for path, content in automation(examined.policy, examined.around.templates).items():
        if path not in present:
            yield Finding("workflow-missing", "it is not there", path, "breakglass init")
        elif present[path] != content:
            message = "it is not what this version writes for this policy"
            yield Finding("workflow-drift", message, path, "breakglass init --force, then see git diff", "warning")
    yield from _matrix(examined.policy, present)
    if SOURCE not in present and INSTALL in present:
        yield from _pins(present.get(PINS, b""))
    if all(cluster.purpose == "production" for cluster in examined.policy.spec.clusters.values()):
        message = "no cluster has the purpose drill: no overlay is ever practised"
        yield Finding("policy-drill", message, POLICY_FILE, "add a cluster with purpose: drill", "warning")


def _matrix(policy: Policy, present: Mapping[str, bytes]) -> Iterator[Finding]:
    path = f"{WORKFLOWS}/apply.yml"
    if path not in present:
        return
    try:
        data, _ = load(present[path], path)
        clusters = data["jobs"]["apply"]["strategy"]["matrix"]["cluster"]
    except (InvalidFile, KeyError, TypeError):
        clusters = []
    wanted = production_clusters(policy)
    if not isinstance(clusters, list) or sorted(map(str, clusters)) != sorted(wanted):
        message = f"its matrix names {clusters}, the policy's production clusters are {', '.join(wanted) or 'none'}"
        yield Finding("workflow-clusters", message, path, f"set cluster: [{', '.join(wanted)}]")


def _pins(pins: bytes) -> Iterator[Finding]:
    if not re.search(rb"(?m)^breakglass==\S+ \\\n +--hash=sha256:[0-9a-f]{64}\b", pins):
        message = "it pins no breakglass by hash: the workflows install nothing"
        yield Finding("install-pins", message, PINS, "breakglass init --force --wheel FILE")


def _branches(examined: _Examined) -> Iterator[Finding]:
    forge = examined.policy.spec.forge
    if examined.repository.tip(forge.defaultBranch) is None:
        message = f"the remote has no branch {forge.defaultBranch}"
        yield Finding("git-branch", message, POLICY_FILE, "push it, or correct spec.forge.defaultBranch")
    if examined.repository.tip(forge.ledgerBranch) is None:
        message = f"the remote has no branch {forge.ledgerBranch}: no job has written evidence yet"
        remedy = "gh workflow run expire.yml, and see that it succeeds"
        yield Finding("ledger-missing", message, forge.ledgerBranch, remedy, "warning")


def _heartbeat(examined: _Examined) -> Iterator[Finding]:
    branch, now = examined.policy.spec.forge.ledgerBranch, examined.around.now
    if examined.repository.tip(branch) is None:
        return
    events = read_ledger(examined.repository, branch, "heartbeats")
    beats = [event.at for event in events.values() if isinstance(event, Heartbeat) and event.job == "expire"]
    if not beats or now - max(beats) > SILENCE:
        last = f"last ran at {format_instant(max(beats))}" if beats else "never ran"
        message = f"expire {last}; longer than {format_duration(SILENCE)} ago, windows may stay open on main"
        remedy = "gh workflow run expire.yml, then gh run list --workflow expire.yml"
        yield Finding("heartbeat-late", message, f"{branch}:heartbeats/expire.json", remedy)


def _windows(examined: _Examined) -> Iterator[Finding]:
    """Activations on main that are void, and closings that no ledger tells."""
    forge, now = examined.policy.spec.forge, examined.around.now
    tip = examined.repository.tip(forge.defaultBranch)
    if tip is None:
        return
    for window in all_windows(examined.repository, tip):
        if window.state(now) == "void":
            why = "; ".join(finding.message for finding in window.findings)
            message = f"this activation opens nothing: {why}"
            yield Finding("activation-void", message, activation_file(window.id), "breakglass expire", "warning")
    for row in status(stories(examined.repository, forge.defaultBranch, forge.ledgerBranch), now):
        if row.condition == "late":
            message = f"{row.story.window.id} is over, and the ledger does not tell it closed there"
            yield Finding("closing-late", message, row.cluster, f"breakglass apply {row.cluster}")


def _forge(examined: _Examined) -> Iterator[Finding]:
    """The token, and the people behind the policy's approvers."""
    try:
        forge = examined.around.forge()
        forge.open_pull_requests()
    except BreakglassError as error:
        yield _told("forge-unreachable", error, examined.policy.spec.forge.api)
        return
    try:
        forge.whoami()
    except BreakglassError as error:
        yield replace(_told("forge-identity", error, examined.policy.spec.forge.api), severity="warning")
    approvals = examined.policy.spec.approvals
    try:
        people = {
            person.lower()
            for approver in approvals.approvers
            for person in (forge.team(approver) if "/" in approver else [approver.removeprefix("@")])
        }
    except BreakglassError as error:
        yield replace(_told("approvers-unknown", error, POLICY_FILE), severity="warning")
        return
    if len(people) <= approvals.minimum:
        message = f"{len(people)} people may approve and {approvals.minimum} must, who asks not being one of them"
        yield Finding("approvers-few", message, POLICY_FILE, "add approvers, or people to their teams", "warning")


def _clusters(examined: _Examined) -> Iterator[Finding]:
    now = examined.around.now
    for name in examined.policy.spec.clusters:
        try:
            cluster = examined.around.cluster(name)
            inventories = cluster.inventories()
        except BreakglassError as error:
            yield _told("cluster-unreachable", error, name)
            continue
        for unreadable in cluster.unreadable_inventories():
            yield _told("inventory-unreadable", unreadable, name)
        for inventory in inventories:
            if inventory.phase != "closed" and inventory.expired(now):
                message = f"{inventory.activation} is over since {format_instant(inventory.expiry)} and still there"
                yield Finding("closing-late", message, name, f"breakglass apply {name}")


_OF_FILES = (_content, _codeowners, _approvers, _workflows)
_OF_HISTORY = (_branches, _heartbeat, _windows)
_LIVE = (_forge, _clusters)


def _told(identity: str, error: BreakglassError, where: str) -> Finding:
    return Finding(identity, error.what, error.where or where, error.remedy or "")
