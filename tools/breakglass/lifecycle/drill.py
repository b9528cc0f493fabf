"""Drills: open, probe and close one overlay on purpose, through the code that a real emergency takes, and time it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from breakglass.analysis.contract import assess
from breakglass.analysis.exposure.passage import controllers_of
from breakglass.lifecycle import ledger
from breakglass.lifecycle.closing import close, not_returned
from breakglass.lifecycle.content import OverlayContent, read_overlay, read_policy, tip_of
from breakglass.lifecycle.opening import Opening, one_writer, open_window
from breakglass.lifecycle.render import judge_scope, layered, refuse_on, render_baseline, render_delta
from breakglass.model.activation import Activation, Scalar, new_activation, requester_of
from breakglass.model.errors import BreakglassError, Refused
from breakglass.model.finding import Finding, refuses
from breakglass.model.inventory import Inventory
from breakglass.model.ledger import Drilled, Phase, describe_findings, paths
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.overlay import contract_for, judge_overlay
from breakglass.model.policy import Policy
from breakglass.ports import Clock, Cluster, Renderer, Report, Repository

TOO_LONG = timedelta(minutes=3)
"""A drill that takes longer is a failure."""
WINDOW = timedelta(minutes=10)
"""The agent ends a drill that dies after this."""
WRITER_PATIENCE = timedelta(seconds=45)
"""How long to wait for an applier that writes in the cluster."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill works with; the cluster is one that the policy keeps for drills."""

    name: str
    cluster: Cluster
    repository: Repository
    renderer: Renderer
    clock: Clock
    branch: str
    ledger_branch: str
    report: Report
    holder: str = "drill"


def drill(setting: Drill, overlay: str, parameters: dict[str, Scalar], *, requested_by: str, random: str) -> Drilled:
    """Rehearse one overlay and record the receipt.

    Args:
        overlay: its name.
        parameters: as an activation would give them.
        requested_by: who drills.
        random: four hexadecimal digits for the id.

    Returns:
        The receipt, `passed` only if the contract held while open, everything was shut again and it was quick.

    Raises:
        Refused: the cluster is not one for drills, or the overlay cannot be rendered.
        NotApplied: the receipt could not be recorded.
    """
    setting.repository.fetch()
    tip = tip_of(setting.repository, setting.branch)
    policy = read_policy(setting.repository, tip)
    cluster = policy.spec.clusters.get(setting.name)
    if cluster is None or cluster.purpose != "drill":
        drills = ", ".join(name for name, item in policy.spec.clusters.items() if item.purpose == "drill") or "none"
        raise Refused(f"{setting.name} is not a cluster for drills", remedy=f"choose from {drills}")
    content = read_overlay(setting.repository, tip, overlay)
    refuse_on(judge_overlay(content.overlay, policy, overlay))
    activation = _activation(setting, content, parameters, requested_by, random)
    receipt = _rehearse(setting, activation, content, policy, tip, cluster.baseline)
    ledger.append(setting.repository, setting.ledger_branch, paths(receipt), f"drill {overlay} on {setting.name}")
    return receipt


def _activation(
    setting: Drill, content: OverlayContent, parameters: dict[str, Scalar], requested_by: str, random: str
) -> Activation:
    return new_activation(
        content.overlay,
        digest=content.digest,
        clusters=[setting.name],
        parameters=parameters,
        reason="drill",
        incident="drill",
        requested_by=requested_by,
        requested_at=setting.clock.now(),
        duration=WINDOW,
        random=random,
    )


def _rehearse(
    setting: Drill, activation: Activation, content: OverlayContent, policy: Policy, commit: str, root: str
) -> Drilled:
    phases: list[Phase] = []
    findings: list[Finding] = []
    started = setting.clock.now()

    def timed(name: str, work: Callable[[], Result]) -> Result:
        setting.report(name)
        begin = setting.clock.now()
        try:
            return work()
        finally:
            phases.append(Phase(name=name, seconds=round((setting.clock.now() - begin).total_seconds(), 3)))

    baseline = timed("baseline", lambda: render_baseline(setting.repository, setting.renderer, commit, root))
    layer = baseline if layered(content) else None
    requester = requester_of(activation, policy)
    changes = timed("render", lambda: render_delta(setting.renderer, activation, content, layer, requester))
    refuse_on(judge_scope(changes, content.overlay, policy))
    before = _live(setting, content, baseline)
    opening = Opening(activation, commit, started, started + WINDOW, (), changes)
    try:
        timed("open", lambda: _open(setting, opening))
        findings += timed("probe", lambda: _probe(setting, activation, content, policy, baseline, before))
    except BreakglassError as error:
        findings.append(Finding("drill-open", error.what, error.where or activation.id, error.remedy or ""))
    finally:
        findings += timed("close", lambda: _close(setting, activation.id))
    findings += timed("prove", lambda: _prove(setting, opening.inventory()))
    took = setting.clock.now() - started
    if took > TOO_LONG:
        message = (
            f"the drill took {took.total_seconds():.0f} s; more than {TOO_LONG.total_seconds():.0f} s is a failure"
        )
        findings.append(Finding("drill-slow", message, activation.spec.overlay, "see which phase took the time"))
    return Drilled(
        activation=activation.id,
        overlay=activation.spec.overlay,
        cluster=setting.name,
        digest=content.digest,
        startedAt=started.replace(microsecond=0),
        passed=not refuses(findings),
        phases=phases,
        findings=describe_findings(findings),
    )


def _live(setting: Drill, content: OverlayContent, baseline: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """The cluster as it is where the overlay may reach, by its API server; as the baseline has it everywhere else."""
    scope = content.overlay.spec.scope
    kinds = [(group, kind) for kind, _, group in (name.partition(".") for name in scope.kinds)]

    def in_scope(manifest: Manifest) -> bool:
        key = key_of(manifest)
        return (key.group, key.kind) in kinds and key.namespace in scope.namespaces

    elsewhere = [manifest for manifest in baseline if not in_scope(manifest)]
    return (*elsewhere, *setting.cluster.list(kinds, scope.namespaces))


def _probe(
    setting: Drill,
    activation: Activation,
    content: OverlayContent,
    policy: Policy,
    baseline: tuple[Manifest, ...],
    before: tuple[Manifest, ...],
) -> list[Finding]:
    """Hold the contract to the live objects, and ask the API server itself about every grant."""
    contract = contract_for(content.overlay.spec.contract, requester_of(activation, policy))
    after = _live(setting, content, baseline)
    where, controllers = activation.spec.overlay, controllers_of(policy)
    findings = assess(contract, before, after, where, activation.id, controllers).findings
    probes = [(grant, True) for grant in contract.grants] + [(grant, False) for grant in contract.keepsDenied]
    own = {key.name for key in map(key_of, after) if key.kind == "ServiceAccount"}
    for grant, expected in probes:
        subject = grant.subject
        if subject.startswith("ServiceAccount:") and f"{subject.rpartition('/')[2]}-{activation.id}" in own:
            subject = f"{subject}-{activation.id}"
        if setting.cluster.may(subject, grant.verb, grant.resource, grant.group, grant.namespace) is not expected:
            message = f"the API server says {'no' if expected else 'yes'} to: {grant}"
            findings.append(
                Finding("drill-access", message, activation.spec.overlay, "correct the overlay or its contract")
            )
    return findings


def _open(setting: Drill, opening: Opening) -> None:
    with one_writer(setting.cluster, setting.holder, WRITER_PATIENCE):
        open_window(setting.cluster, opening, None, setting.clock)


def _close(setting: Drill, identity: str) -> list[Finding]:
    try:
        close(setting.cluster, setting.cluster.inventories(), {identity: "drill"}, by="applier", clock=setting.clock)
        setting.cluster.delete_inventory(identity)
    except BreakglassError as error:
        return [Finding("drill-close", error.what, error.where or identity, error.remedy or "")]
    return []


def _prove(setting: Drill, inventory: Inventory) -> list[Finding]:
    return [
        Finding("drill-residue", sentence, inventory.activation, "remove it by hand")
        for sentence in not_returned(setting.cluster, inventory).values()
    ]
