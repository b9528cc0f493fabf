"""Webhook payloads: what events carry. https://docs.github.com/en/webhooks/webhook-events-and-payloads."""

from collections.abc import Mapping
from typing import Any

from breakglass_lab.forge import answers
from breakglass_lab.forge.bare import ZERO, Commit, Person
from breakglass_lab.forge.events import Event
from breakglass_lab.forge.exchange import Identity
from breakglass_lab.forge.protection import RefChange
from breakglass_lab.forge.rulesets import GITHUB_ACTIONS_ID
from breakglass_lab.forge.runs import Run
from breakglass_lab.forge.state import DEFAULT_BRANCH, Comment, PullRequest, Review, State, node_id

COMMIT_LIMIT = 2048
"""GitHub puts no more commits into a push payload."""


def _frame(state: State, login: str) -> dict[str, Any]:
    return {
        "repository": answers.repository(state),
        "organization": answers.simple_organisation(state),
        "sender": answers.account(state, login),
    }


def pull_request(
    state: State, pull: PullRequest, action: str, identity: Identity, extra: Mapping[str, Any] | None = None
) -> Event:
    """Return a pull_request event; its sha is that of the test merge, where there is one."""
    files = state.bare.changes(pull.merge_base or pull.base_sha, pull.head_sha)
    payload = {
        "action": action,
        "number": pull.number,
        "pull_request": answers.pull(state, pull, None, "unknown", files),
        **(extra or {}),
        **_frame(state, identity.login),
    }
    ref, main = f"refs/pull/{pull.number}/merge", f"refs/heads/{DEFAULT_BRANCH}"
    tip = state.bare.tip(main)
    # Since 2025-12-08 always the default branch, whatever the base:
    # https://github.blog/changelog/2025-11-07-actions-pull_request_target-and-environment-branch-protections-changes/
    target = None if tip is None else Event("pull_request_target", payload, main, tip, identity.login, action)
    sha = state.bare.tip(ref) or pull.head_sha
    return Event("pull_request", payload, ref, sha, identity.login, action, target=target)


def pull_request_review(state: State, pull: PullRequest, review: Review, action: str, identity: Identity) -> Event:
    """Return a pull_request_review event; the state of the review is in lower case there."""
    shown = answers.review(state, pull, review)
    payload = {
        "action": action,
        "review": {**shown, "state": review.state.lower()},
        "pull_request": answers.simple_pull(state, pull),
        **_frame(state, identity.login),
    }
    ref = f"refs/pull/{pull.number}/merge"
    return Event("pull_request_review", payload, ref, state.bare.tip(ref) or pull.head_sha, identity.login, action)


def issue_comment(
    state: State, given: Comment, action: str, identity: Identity, extra: Mapping[str, Any] | None = None
) -> Event | None:
    """Return an issue_comment event, which runs on the default branch also for a pull request; None without one."""
    main = f"refs/heads/{DEFAULT_BRANCH}"
    tip = state.bare.tip(main)
    if tip is None:
        return None
    shown = answers.comment(state, given)
    through = None if identity.app is None else answers.app(state, identity.app)
    payload = {
        "action": action,
        "issue": _commented_issue(state, given.issue),
        "comment": {**shown, "performed_via_github_app": through, "reactions": _no_reactions(shown["url"])},
        **(extra or {}),
        **_frame(state, identity.login),
    }
    return Event("issue_comment", payload, main, tip, identity.login, action)


def _commented_issue(state: State, number: int) -> dict[str, Any]:
    if number in state.pulls:
        shown = answers.pull_as_issue(state, state.pulls[number])
    else:
        shown = answers.issue(state, state.issues[number])
    labels = [
        {
            "id": index,
            "node_id": node_id("Label", index),
            "url": f"{state.repository_url}/labels/{label['name']}",
            "name": label["name"],
            "color": "ededed",
            "default": False,
            "description": None,
        }
        for index, label in enumerate(shown["labels"], 1)
    ]
    return {**shown, "labels": labels, "reactions": _no_reactions(shown["url"]), "active_lock_reason": None}


def _no_reactions(url: str) -> dict[str, Any]:
    kinds = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
    return {"url": f"{url}/reactions", "total_count": 0, **dict.fromkeys(kinds, 0)}


def workflow_run(state: State, run: Run, action: str) -> Event | None:
    """Return a workflow_run event of a run that was requested, is in progress or has completed; None without a default
    branch, on which it runs.
    """
    main = f"refs/heads/{DEFAULT_BRANCH}"
    tip = state.bare.tip(main)
    if tip is None:
        return None
    suite = 100_000_000 + GITHUB_ACTIONS_ID
    shown = {**answers.run(state, run), "check_suite_id": suite, "check_suite_node_id": node_id("CheckSuite", suite)}
    payload = {
        "action": action,
        "workflow_run": shown,
        "workflow": answers.workflow(state, run.workflow, run.name),
        **_frame(state, run.actor),
    }
    return Event("workflow_run", payload, main, tip, run.actor, action, depth=run.depth)


def push(state: State, change: RefChange, identity: Identity) -> Event:
    """Return a push event for a ref that has moved."""
    created, deleted = change.old == ZERO, change.new == ZERO
    span = change.new if created else f"{change.old}..{change.new}"
    commits = (
        []
        if deleted
        else list(state.bare.log("--reverse", f"--max-count={COMMIT_LIMIT}", *_new_commits(state, change, span)))
    )
    forced = not created and not deleted and not state.bare.is_ancestor(change.old, change.new)
    person = state.person(identity.login)
    payload = {
        "ref": change.ref,
        "before": change.old,
        "after": change.new,
        "base_ref": None,
        "created": created,
        "deleted": deleted,
        "forced": forced,
        "compare": f"{state.html_url}/compare/{change.old[:12]}...{change.new[:12]}",
        "commits": [_commit(state, commit) for commit in commits],
        "head_commit": None if deleted else _commit(state, state.bare.commit(change.new)),
        "pusher": {"name": identity.login, "email": person.email},
        **_frame(state, identity.login),
    }
    return Event("push", payload, change.ref, change.new, identity.login)


def _new_commits(state: State, change: RefChange, span: str) -> list[str]:
    if change.old != ZERO or change.ref == f"refs/heads/{DEFAULT_BRANCH}":
        return [span]
    base = state.bare.tip(f"refs/heads/{DEFAULT_BRANCH}")
    return [span] if base is None else [span, f"^{base}"]


def _commit(state: State, commit: Commit) -> dict[str, Any]:
    first = commit.parents[0] if commit.parents else None
    names = state.bare.changed_names(first, commit.sha)
    return {
        **answers.simple_commit(commit),
        "author": _person(state, commit.author),
        "committer": _person(state, commit.committer),
        "distinct": True,
        "url": f"{state.html_url}/commit/{commit.sha}",
        "added": names["A"],
        "removed": names["D"],
        "modified": names["M"],
    }


def _person(state: State, person: Person) -> dict[str, str]:
    login = state.login_of(person.email)
    return {"name": person.name, "email": person.email, **({} if login is None else {"username": login})}


def workflow_dispatch(
    state: State, workflow: str, branch: str, sha: str, inputs: Mapping[str, str], identity: Identity
) -> Event:
    """Return a workflow_dispatch event for the workflow file at path `workflow` on a branch."""
    payload = {
        "inputs": dict(inputs),
        "ref": f"refs/heads/{branch}",
        "workflow": workflow,
        **_frame(state, identity.login),
    }
    return Event(
        "workflow_dispatch",
        payload,
        f"refs/heads/{branch}",
        sha,
        identity.login,
        inputs=dict(inputs),
        workflow=workflow,
    )


def repository_dispatch(
    state: State, event_type: str, client_payload: Mapping[str, Any], sha: str, identity: Identity
) -> Event:
    """Return a repository_dispatch event; it runs on the default branch."""
    app = identity.app
    installation = (
        {} if app is None else {"installation": {"id": app.installation_id, "node_id": node_id("Installation", app.id)}}
    )
    payload = {
        "action": event_type,
        "branch": DEFAULT_BRANCH,
        "client_payload": dict(client_payload),
        **_frame(state, identity.login),
        **installation,
    }
    return Event("repository_dispatch", payload, f"refs/heads/{DEFAULT_BRANCH}", sha, identity.login, event_type)


def schedule(state: State, cron: str, sha: str) -> Event:
    """Return a schedule event: the default branch, in the name of its last committer."""
    commit = state.bare.commit(sha)
    actor = state.login_of(commit.author.email) or state.organisation.login
    payload = {"schedule": cron, **_frame(state, actor)}
    return Event("schedule", payload, f"refs/heads/{DEFAULT_BRANCH}", sha, actor)
