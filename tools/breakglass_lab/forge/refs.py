"""What follows when a branch moves: pull requests get new heads, approvals go stale, events start workflows."""

from dataclasses import replace

from breakglass_lab.forge import payloads
from breakglass_lab.forge.bare import ZERO, Person
from breakglass_lab.forge.exchange import Identity
from breakglass_lab.forge.protection import RefChange, note_suite, rules_for
from breakglass_lab.forge.state import PullRequest, State


def moved(state: State, change: RefChange, identity: Identity, merged: int | None = None) -> None:
    """Draw the consequences of a ref that has moved; `merged` is the pull request whose merge moved it. Call with the
    lock held.
    """
    if merged is None:
        note_suite(state, change, identity.login, "pass")
    state.note_activity(change.ref, change.old, change.new, identity.login, merged=merged is not None)
    state.pushers[change.ref] = identity.login
    state.emit(payloads.push(state, change, identity), identity)
    branch = change.ref.removeprefix("refs/heads/")
    if branch == change.ref:
        return
    for pull in state.open_pulls():
        if pull.number == merged:
            continue
        if pull.head_ref == branch:
            _head_moved(state, pull, change, identity)
        elif pull.base_ref == branch and change.new != ZERO:
            _base_moved(state, pull, change.new, identity)


def _head_moved(state: State, pull: PullRequest, change: RefChange, identity: Identity) -> None:
    if change.new == ZERO:
        closed = state.change_pull(pull.number, closed_at=state.now())
        state.emit(payloads.pull_request(state, closed, "closed", identity), identity)
        return
    base = state.bare.tip(f"refs/heads/{pull.base_ref}") or pull.base_sha
    renewed = state.change_pull(
        pull.number,
        head_sha=change.new,
        merge_base=state.bare.merge_base(base, change.new),
        last_pusher=identity.login,
    )
    dismiss_stale_reviews(state, renewed)
    refresh_test_merge(state, renewed)
    extra = {"before": change.old, "after": change.new}
    state.emit(payloads.pull_request(state, state.pulls[pull.number], "synchronize", identity, extra), identity)


def _base_moved(state: State, pull: PullRequest, tip: str, identity: Identity) -> None:
    if state.bare.is_ancestor(pull.head_sha, tip):
        now = state.now()
        merged = state.change_pull(
            pull.number, closed_at=now, merged_at=now, merged_by=identity.login, merge_commit_sha=tip
        )
        state.emit(payloads.pull_request(state, merged, "closed", identity), identity)
        return
    merge_base = state.bare.merge_base(tip, pull.head_sha)
    if merge_base != pull.merge_base:
        dismiss_stale_reviews(state, state.change_pull(pull.number, merge_base=merge_base))
    refresh_test_merge(state, state.pulls[pull.number])


def dismiss_stale_reviews(state: State, pull: PullRequest) -> None:
    """Dismiss every approval of a pull request if a rule of its base branch says so."""
    rules = rules_for(state, f"refs/heads/{pull.base_ref}", "pull_request")
    if any(rule.parameters.get("dismiss_stale_reviews_on_push") for rule in rules):
        reviews = tuple(
            replace(review, state="DISMISSED") if review.state == "APPROVED" else review for review in pull.reviews
        )
        state.change_pull(pull.number, reviews=reviews)


def refresh_test_merge(state: State, pull: PullRequest) -> None:
    """Point `refs/pull/N/head` at the head, and `refs/pull/N/merge` at a merge with the base (kept as it was on a
    conflict).
    """
    head_ref, merge_ref = f"refs/pull/{pull.number}/head", f"refs/pull/{pull.number}/merge"
    state.bare.run("update-ref", head_ref, pull.head_sha)
    base = state.bare.tip(f"refs/heads/{pull.base_ref}")
    tree = None if base is None else state.bare.merge_tree(base, pull.head_sha)
    if base is not None and tree is not None:
        message = f"Merge {pull.head_sha} into {base}"
        author = state.person(pull.author)
        merge = state.bare.commit_tree(tree, (base, pull.head_sha), author, committer(state), message)
        state.bare.run("update-ref", merge_ref, merge)


def committer(state: State) -> Person:
    """Return who commits what is merged on the forge."""
    return Person("GitHub", "noreply@github.com", state.now())
