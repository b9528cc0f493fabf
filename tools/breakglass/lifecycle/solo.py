"""Nobody there: an opening that the policy lets somebody make alone is merged by the machine, loudly.

The reviews ruleset asks for a code owner's review, which the App may pass by; so it is the App that merges, from main's
code, on evidence fetched here and now. The applier judges the same again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from breakglass.lifecycle.approval import Gate
from breakglass.lifecycle.check import Checked, check_pull_request
from breakglass.lifecycle.request import literal
from breakglass.model.activation import Activation
from breakglass.model.errors import Refused
from breakglass.model.finding import Finding
from breakglass.model.time import format_duration
from breakglass.ports import Clock, PullRequest, Renderer

ALARM = "solo"
"""Marker of the issue that tells of openings without an approval."""
PATIENCE = timedelta(seconds=30)
"""How long GitHub may take to tell who pushed the pull request's branch."""


@dataclass(frozen=True, slots=True)
class Solo:
    """What came of a solo opening.

    Attributes:
        merge: the commit of main that opened it; None where it was not merged.
        findings: why it was not merged.
    """

    pull: PullRequest
    activation: Activation
    merge: str | None
    findings: tuple[Finding, ...]


def merge_solo(gate: Gate, renderer: Renderer, clock: Clock, number: int, branch: str) -> Solo:
    """Merge an opening pull request that nobody need approve, if everything about it is as the policy wants it.

    Everybody is told before the merge: what cannot be told is not opened.

    Raises:
        NotFound: there is no such pull request.
        Refused: it is no open pull request with a solo opening, or it cannot be merged.
        Conflict: its head moved meanwhile.
        Unreachable: the forge does not answer.
    """
    pull, checked = _judged(gate, renderer, clock, number, branch)
    activation, verdict = checked.activation, checked.verdict
    if activation is None or not activation.spec.solo:
        raise Refused(f"#{number} is no request to open alone", where=pull.url, remedy="ask for approvals")
    if pull.state != "open":
        raise Refused(f"#{number} is closed", where=pull.url, remedy="open a new request")
    findings = tuple(finding for finding in checked.findings if finding.severity == "error")
    if verdict is None or not verdict.approved or findings:
        more = verdict.findings if verdict is not None else ()
        findings = tuple(dict.fromkeys((*findings, *more)))
        gate.forge.reply(number, _refusal(findings))
        return Solo(pull, activation, None, findings)
    issue = gate.forge.alarm(ALARM, "Opened by one person alone", _told(activation, pull))
    gate.forge.report_check(pull.head, "success", "May open alone", "The policy lets the requester open this alone.")
    title = f"Open {activation.id} alone"
    merge = gate.forge.merge(number, pull.head, title, f"Asked by {activation.spec.requestedBy}; nobody approved.\n")
    gate.forge.reply(number, f"Merged without an approval, as `spec.solo` of the policy allows. Told in {issue}.")
    return Solo(pull, activation, merge, ())


def _judged(gate: Gate, renderer: Renderer, clock: Clock, number: int, branch: str) -> tuple[PullRequest, Checked]:
    """The check of the pull request, once the forge tells who pushed its branch, or the patience is over."""
    deadline = clock.now() + PATIENCE
    while True:
        pull, checked = check_pull_request(gate, renderer, number, branch, clock.now())
        waiting = checked.verdict is not None and any(
            finding.id == "approval-pusher" for finding in checked.verdict.findings
        )
        if not waiting or clock.now() >= deadline:
            return pull, checked
        clock.sleep(timedelta(seconds=2))


def _told(activation: Activation, pull: PullRequest) -> str:
    spec = activation.spec
    return (
        f"`{spec.requestedBy}` opens `{spec.overlay}` on {', '.join(f'`{name}`' for name in spec.clusters)} for "
        f"{format_duration(spec.duration)}; nobody approved it: {pull.url}\n\n"
        f"Why: {literal(spec.reason)}\n\nIncident: {literal(spec.incident)}\n\n"
        f"Close it early: `breakglass close {activation.id}`. Somebody else must look at it afterwards: "
        f"`breakglass review {activation.id}`.\n"
    )


def _refusal(findings: tuple[Finding, ...]) -> str:
    lines = "\n".join(f"* `{finding.id}` {literal(finding.message)}: {literal(finding.remedy)}" for finding in findings)
    return f"This does not open alone:\n\n{lines or '* its approvals cannot be counted now'}\n"
