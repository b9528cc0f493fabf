"""Was it approved? Evidence from the forge and from git, and the verdict on it, fetched by whoever acts on it."""

from __future__ import annotations

from dataclasses import dataclass

from breakglass.lifecycle.content import OverlayContent, read_codeowners, read_overlay, read_policy
from breakglass.lifecycle.windows import Window
from breakglass.model.activation import Activation, activation_file, judge_activation
from breakglass.model.evidence import Evidence, Verdict, judge
from breakglass.model.finding import Finding
from breakglass.model.overlay import Overlay, judge_overlay
from breakglass.model.policy import Policy
from breakglass.ports import Contribution, Forge, PullRequest, Repository


@dataclass(frozen=True, slots=True)
class Approval:
    """What the applier knows before it opens anything.

    Attributes:
        content: the overlay as it was merged.
        evidence: what the verdict stands on; None where main was not moved by a pull request.
        verdict: the count of approvals; None without evidence.
        findings: every reason to refuse.
    """

    content: OverlayContent
    evidence: Evidence | None
    verdict: Verdict | None
    findings: tuple[Finding, ...]


def approval_of(repository: Repository, forge: Forge, window: Window) -> Approval:
    """Judge a window that is open by the clock: content, merge and approvals, all at its merge commit.

    Raises:
        Refused: overlay or policy cannot be read at the merge commit.
        Unreachable: the forge does not answer; nothing can be proven now.
    """
    activation, file, commit = window.activation, activation_file(window.id), window.opened
    if activation is None or window.policy is None:
        raise ValueError(f"{window.id} is void and cannot be approved")
    content = read_overlay(repository, commit.sha, activation.spec.overlay)
    findings = judge_activation(activation, content.overlay, content.digest, window.policy, file)
    findings += judge_overlay(content.overlay, window.policy, activation.spec.overlay)
    pull = forge.pull_request_of(commit.sha)
    if pull is None or not commit.parents:
        message = f"main was moved to {commit.sha[:12]} without a pull request"
        finding = Finding("approval-no-pull-request", message, file, "open it again with `breakglass open`")
        return Approval(content, None, None, (*findings, finding))
    base = commit.parents[0]
    findings += judge_merge(repository, window, pull)
    evidence = gather(repository, forge, pull, activation, content.overlay, base)
    verdict = judge(evidence, content.overlay, read_policy(repository, base), file)
    return Approval(content, evidence, verdict, (*findings, *verdict.findings))


def gather(
    repository: Repository, forge: Forge, pull: PullRequest, activation: Activation, overlay: Overlay, base: str
) -> Evidence:
    """Fetch what the verdict on a pull request stands on.

    Args:
        base: the commit whose CODEOWNERS and policy count: the merge commit's first parent, or main's tip before it.
    """
    owners = list(read_codeowners(repository, base).owners(activation_file(activation.id)))
    approvers = [owner for owner in owners if owner.startswith("@")]
    teams = sorted({name for name in [*approvers, *overlay.spec.approvals.approvers] if "/" in name})
    contributions = forge.contributions(pull.number)
    return Evidence(
        requestedBy=activation.spec.requestedBy,
        pullRequest=pull.number,
        url=pull.url,
        author=pull.author,
        head=pull.head,
        merge=pull.merge_commit,
        mergedBy=pull.merged_by,
        mergedAt=pull.merged_at,
        authors=sorted(_logins(contributions)),
        unknownAuthors=sorted({email for item in contributions for email in item.emails}),
        reviews=list(forge.reviews(pull.number)),
        owners=approvers,
        teams={team: sorted(forge.team(team)) for team in teams},
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


def _logins(contributions: tuple[Contribution, ...]) -> set[str]:
    return {login for item in contributions for login in (item.author, item.committer) if login is not None}
