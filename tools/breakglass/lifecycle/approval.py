"""Was it approved? Evidence from the forge and from git, and the verdict on it, fetched by whoever acts on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from breakglass.lifecycle.content import OverlayContent, read_codeowners, read_overlay, read_policy
from breakglass.lifecycle.extend import judge_extension
from breakglass.lifecycle.receipts import last_drill
from breakglass.lifecycle.reviews import unreviewed
from breakglass.lifecycle.verdict import WATCHED, Verdict, judge
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.activation import Activation, activation_file, judge_activation
from breakglass.model.evidence import Account, Evidence, Review, entitled, members
from breakglass.model.finding import Finding
from breakglass.model.overlay import Overlay, judge_overlay
from breakglass.model.policy import Policy
from breakglass.ports import Conditions, Forge, PullRequest, Repository


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate asks; `ledger_branch` tells when overlays were drilled."""

    repository: Repository
    forge: Forge
    conditions: Conditions
    ledger_branch: str


@dataclass(frozen=True, slots=True)
class Approval:
    """What the applier knows before it opens anything.

    Attributes:
        content: the overlay as it was merged.
        evidence: what the verdict stands on; None where main was not moved by a pull request.
        verdict: who approved, and what was needed; None without evidence.
        findings: every reason to refuse.
    """

    content: OverlayContent
    evidence: Evidence | None
    verdict: Verdict | None
    findings: tuple[Finding, ...]


def approval_of(gate: Gate, window: Window) -> Approval:
    """Judge a window that is open by the clock: content, merge and approvals, all at its merge commit.

    Raises:
        Refused: overlay or policy cannot be read at the merge commit.
        Unreachable: the forge does not answer; nothing can be proven now.
    """
    activation, commit, file = window.activation, window.opened, activation_file(window.id)
    if activation is None or window.policy is None:
        raise ValueError(f"{window.id} is void and cannot be approved")
    content, findings = judge_content(gate.repository, window)
    pull = gate.forge.pull_request_of(commit.sha)
    if pull is None or not commit.parents:
        message = f"main was moved to {commit.sha[:12]} without a pull request"
        finding = Finding("approval-no-pull-request", message, file, "open it again with `breakglass open`")
        return Approval(content, None, None, (*findings, finding))
    findings += judge_merge(gate.repository, window, pull)
    base = commit.parents[0]
    policy = read_policy(gate.repository, base)
    evidence = gather(gate, pull, activation, content.overlay, policy, base, commit.committed_at)
    evidence = evidence.model_copy(update={"rules": list(gate.forge.rules(policy.spec.forge.defaultBranch))})
    verdict = judge(evidence, activation, content.overlay, policy, gate.conditions, file)
    return Approval(content, evidence, verdict, (*findings, *verdict.findings))


def judge_content(repository: Repository, window: Window) -> tuple[OverlayContent, list[Finding]]:
    """Check a merged activation against overlay and policy of its own merge commit, and the chain that it prolongs.

    Raises:
        Refused: the overlay cannot be read there.
    """
    activation, policy, file = window.activation, window.policy, activation_file(window.id)
    if activation is None or policy is None:
        raise ValueError(f"{window.id} is void and cannot be judged")
    content = read_overlay(repository, window.opened.sha, activation.spec.overlay)
    findings = judge_activation(activation, content.overlay, content.digest, policy, file)
    findings += judge_overlay(content.overlay, policy, activation.spec.overlay)
    if activation.spec.extends is not None:
        before = all_windows(repository, window.opened.parents[0]) if window.opened.parents else ()
        findings += judge_extension(activation, content.overlay, policy, before, window.opened.committed_at, file)
    return content, findings


def gather(
    gate: Gate,
    pull: PullRequest,
    activation: Activation,
    overlay: Overlay,
    policy: Policy,
    base: str,
    now: datetime,
) -> Evidence:
    """Fetch what the verdict on a pull request stands on.

    Args:
        policy: the policy in the base.
        base: the commit whose CODEOWNERS and policy count: the merge commit's first parent, or main's tip before it.
        now: when it was merged, or the time now.
    """
    repository, forge, spec = gate.repository, gate.forge, activation.spec
    owning = read_codeowners(repository, base).owners(activation_file(activation.id))
    owners = [owner for owner in owning if owner.startswith("@")]
    alone = policy.spec.solo.requesters if spec.solo and policy.spec.solo is not None else []
    teams = {team: sorted(forge.team(team)) for team in _teams(owners, overlay.spec.approvals.approvers, alone)}
    reviews = forge.reviews(pull.number)
    drill = last_drill(repository, gate.ledger_branch, spec.overlay, passed=True)
    moves = forge.moves(policy.spec.forge.defaultBranch, now - WATCHED)
    pushes = forge.moves(pull.head_branch, spec.requestedAt - WATCHED) if pull.same_repository else ()
    return Evidence(
        requestedBy=spec.requestedBy,
        pullRequest=pull.number,
        url=pull.url,
        author=pull.author,
        head=pull.head,
        base=base,
        merge=pull.merge_commit,
        mergedBy=pull.merged_by,
        mergedAt=pull.merged_at,
        commits=list(forge.commits(pull.number)),
        pushers=sorted({move.by for move in pushes if move.by is not None and move.how != "branch_deletion"}),
        reviews=list(reviews),
        owners=owners,
        teams=teams,
        accounts=_accounts(forge, reviews, entitled(owners, overlay.spec.approvals.approvers, teams), teams),
        moves=[move for move in moves if pull.merged_at is None or move.at <= pull.merged_at],
        drilledAt=drill.startedAt if drill is not None else None,
        unreviewed=unreviewed(repository, base, all_windows(repository, base), now),
    )


def judge_merge(repository: Repository, window: Window, pull: PullRequest) -> list[Finding]:
    """Check that the merge brought exactly the reviewed file and nothing else."""
    file, commit = activation_file(window.id), window.opened
    policy: Policy | None = window.policy
    findings = []
    if policy is not None and pull.base_branch != policy.spec.forge.defaultBranch:
        message = f"#{pull.number} was merged to {pull.base_branch}"
        findings.append(Finding("merge-base", message, file, "open it to the default branch"))
    changes = repository.changes(commit.parents[0], commit.sha)
    if [(change.path, change.status) for change in changes] != [(file, "added")]:
        others = ", ".join(change.path for change in changes if change.path != file)
        message = f"the merge did more than add one activation: {others[:300]}"
        findings.append(Finding("merge-content", message, file, "open a pull request of `breakglass open`, unchanged"))
    if pull.head not in commit.parents[1:]:
        repository.fetch(f"refs/pull/{pull.number}/head")
    # Also where the head is a parent: a merge commit made by hand may hold anything.
    reviewed = repository.files(pull.head, file).get(file)
    if reviewed is None or reviewed != repository.files(commit.sha, file).get(file):
        message = f"the file on main is not the one at the reviewed head {pull.head[:12]}"
        findings.append(Finding("merge-head", message, file, "open a new request"))
    return findings


def _teams(owners: list[str], approvers: list[str], alone: list[str]) -> list[str]:
    """Teams whose members must be known; who only owns need not be, where each approver is an owner by name."""
    named = {*approvers, *alone}
    if not {each.lower() for each in approvers} <= {each.lower() for each in owners}:
        named |= set(owners)
    return sorted(name for name in named if "/" in name)


def _accounts(
    forge: Forge, reviews: tuple[Review, ...], may: frozenset[str], teams: dict[str, list[str]]
) -> list[Account]:
    """The people who said yes and may, as the forge knows them now; who is in a team is a member."""
    said = {review.login.lower() for review in reviews if review.state == "APPROVED" and review.human}
    known = members(list(teams), teams)
    return [forge.account(login, member=login in known) for login in sorted(said & may)]
