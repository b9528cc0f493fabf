"""Judging again, offline: the evidence of the ledger and the files of the repository give the same verdict for ever."""

from __future__ import annotations

from dataclasses import dataclass

from breakglass.lifecycle.content import read_overlay, read_policy
from breakglass.lifecycle.ledger import read_ledger
from breakglass.lifecycle.verdict import Verdict, judge
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import activation_file
from breakglass.model.errors import NotFound, Refused
from breakglass.model.evidence import Evidence
from breakglass.model.ledger import Disregarded, Judged, describe_findings, evidence_path, verdict_path
from breakglass.ports import Conditions, Repository


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A verdict come to again.

    Attributes:
        evidence: what it stands on.
        verdict: what it is now.
        recorded: what the applier recorded; None where the ledger holds evidence only.
    """

    activation: str
    evidence: Evidence
    verdict: Verdict
    recorded: Judged | None
    commit: str

    @property
    def same(self) -> bool:
        """Whether it is what the ledger says."""
        return self.recorded == judged(self.activation, self.commit, self.verdict)


def judged(identity: str, commit: str, verdict: Verdict) -> Judged:
    """A verdict as the ledger keeps it.

    Args:
        commit: the commit of main that opened the window.
    """
    return Judged(
        activation=identity,
        commit=commit,
        approvedBy=list(verdict.approved_by),
        approvals=verdict.needs.approvals,
        teams=verdict.needs.teams,
        reasons=list(verdict.needs.reasons),
        disregarded=[Disregarded(login=each.login, why=each.why) for each in verdict.ignored],
        findings=describe_findings(verdict.findings),
    )


def rejudge(repository: Repository, conditions: Conditions, branch: str, ledger_branch: str, identity: str) -> Rejudged:
    """Judge an activation again from its evidence on the ledger; nobody is asked.

    Raises:
        NotFound: it never reached main, or the ledger holds no evidence of it.
        Refused: policy or overlay of its merge commit cannot be read, or the evidence is of another merge.
    """
    tip = repository.tip(branch)
    windows = all_windows(repository, tip) if tip is not None else ()
    window = next((window for window in windows if window.id == identity), None)
    if window is None or window.activation is None:
        raise NotFound(f"no activation {identity[:80]!r} ever reached {branch}", remedy="see `breakglass audit log`")
    events = read_ledger(repository, ledger_branch, f"activations/{identity}")
    evidence, recorded = events.get(evidence_path(identity)), events.get(verdict_path(identity))
    if not isinstance(evidence, Evidence):
        raise NotFound(f"the ledger holds no evidence of {identity}", remedy="see `breakglass audit show`")
    if (evidence.merge, evidence.base) != (window.opened.sha, *window.opened.parents[:1]):
        message = f"the evidence of {identity} is of another merge than the one on {branch}: {evidence.merge}"
        raise Refused(message, where=evidence_path(identity), remedy="find out who changed the ledger")
    overlay = read_overlay(repository, window.opened.sha, window.activation.spec.overlay).overlay
    policy = read_policy(repository, evidence.base)
    verdict = judge(evidence, window.activation, overlay, policy, conditions, activation_file(identity))
    return Rejudged(identity, evidence, verdict, recorded if isinstance(recorded, Judged) else None, window.opened.sha)
