"""Merging a pull request, as git does it, with compare-and-swap on the base branch."""

from breakglass_lab.forge import payloads
from breakglass_lab.forge.bare import ZERO, Commit, RefMovedError
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid
from breakglass_lab.forge.protection import RefChange, merge_verdicts, note_suite, push_refusal, rules_for
from breakglass_lab.forge.pulls import PULL, find, know_mergeability
from breakglass_lab.forge.refs import committer, moved
from breakglass_lab.forge.state import DEFAULT_BRANCH, PullRequest, State

MODIFIED = "Base branch was modified. Review and try the merge again."


def merge(state: State, request: Request) -> Answer:
    """PUT a merge. 405: not (yet) mergeable or a rule forbids it; 409: the head is not `sha`; 422: a bad request.

    https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request; only here a ruleset may be passed by.
    """
    pull, method = find(state, request), request.text("merge_method", "merge")
    if method not in ("merge", "squash", "rebase"):
        raise invalid("merge_method", resource="PullRequest")
    sha = request.text("sha", pull.head_sha)
    _check_open(state, pull, method)
    if sha != pull.head_sha:
        raise Refusal(409, "Head branch was modified. Review and try the merge again.")
    if not know_mergeability(state, pull):
        raise Refusal(405, MODIFIED)
    ref = f"refs/heads/{pull.base_ref}"
    base = state.bare.tip(ref) or pull.base_sha
    tree = state.bare.merge_tree(base, pull.head_sha)
    if tree is None:
        raise Refusal(405, "Pull Request is not mergeable")
    bypassed, noted = _check_rules(state, pull, request, base)
    new = _commit(state, pull, request, method, tree, base)
    try:
        state.bare.update_ref(ref, new, base)
    except RefMovedError as error:
        raise Refusal(405, MODIFIED) from error
    change = RefChange(ref, base, new)
    if noted:
        note_suite(state, change, request.identity.login, "bypass" if bypassed else "pass")
    now = state.now()
    merged = state.change_pull(
        pull.number, closed_at=now, merged_at=now, merged_by=request.identity.login, merge_commit_sha=new, base_sha=base
    )
    moved(state, change, request.identity, merged=pull.number)
    state.emit(payloads.pull_request(state, merged, "closed", request.identity), request.identity)
    if state.delete_branch_on_merge:
        _delete_head(state, merged, request)
    return Answer(200, {"sha": new, "merged": True, "message": "Pull Request successfully merged"})


def _delete_head(state: State, pull: PullRequest, request: Request) -> None:
    """Delete the branch of a merged pull request, unless a rule or somebody faster keeps it."""
    change = RefChange(f"refs/heads/{pull.head_ref}", pull.head_sha, ZERO)
    if pull.head_ref == DEFAULT_BRANCH or push_refusal(state, change, request.identity) is not None:
        return
    try:
        state.bare.update_ref(change.ref, ZERO, pull.head_sha)
    except RefMovedError:
        return
    moved(state, change, request.identity)


def _check_open(state: State, pull: PullRequest, method: str) -> None:
    if not pull.open:
        raise Refusal(405, "Pull Request is not mergeable")
    if pull.draft:
        raise Refusal(405, "Pull Request is still a draft")
    rules = rules_for(state, f"refs/heads/{pull.base_ref}", "pull_request")
    forbidden = any(method not in rule.parameters.get("allowed_merge_methods", (method,)) for rule in rules)
    if method == "rebase" or forbidden:
        raise Refusal(405, f"{method.capitalize()} merges are not allowed on this repository.")


def _check_rules(state: State, pull: PullRequest, request: Request, base: str) -> tuple[bool, bool]:
    """Return whether a ruleset was passed by, and whether that leaves an entry in the audit trail; Refusal 405 when one
    forbids.
    """
    broken = [verdict for verdict in merge_verdicts(state, pull, request.identity) if verdict.violations]
    forbidding = [violation for verdict in broken if verdict.bypass is None for violation in verdict.violations]
    if forbidding:
        change = RefChange(f"refs/heads/{pull.base_ref}", base, pull.head_sha)
        note_suite(state, change, request.identity.login, "fail")
        raise Refusal(405, "Repository rule violations found\n\n" + "\n\n".join(forbidding))
    return bool(broken), all(verdict.bypass != "exempt" for verdict in broken)


def _commit(state: State, pull: PullRequest, request: Request, method: str, tree: str, base: str) -> str:
    merger = state.person(request.identity.login)
    if method == "merge":
        default = f"Merge pull request #{pull.number} from {state.organisation.login}/{pull.head_ref}"
        message = _message(request, default, pull.title)
        return state.bare.commit_tree(tree, (base, pull.head_sha), merger, committer(state), message)
    commits = list(state.bare.log("--reverse", f"{base}..{pull.head_sha}"))
    author = state.person(pull.author)
    message = _message(request, f"{pull.title} (#{pull.number})", _squashed(commits, author.email))
    return state.bare.commit_tree(tree, (base,), author, committer(state), message)


def _message(request: Request, title: str, body: str) -> str:
    title, body = request.text("commit_title", title), request.text("commit_message", body)
    return f"{title}\n\n{body}\n" if body else f"{title}\n"


def _squashed(commits: list[Commit], author_email: str) -> str:
    """Return the message GitHub proposes for squashed commits, with those who wrote them as co-authors."""
    body = "" if len(commits) == 1 else "\n\n".join(f"* {commit.message}" for commit in commits)
    others = dict.fromkeys(
        f"Co-authored-by: {commit.author.name} <{commit.author.email}>"
        for commit in commits
        if commit.author.email != author_email
    )
    return "\n\n".join(part for part in (body, "\n".join(others)) if part)


ENDPOINTS = (Endpoint("PUT", f"{PULL}/merge", merge, ("contents", "write"), "write"),)
