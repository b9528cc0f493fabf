"""The shapes of GitHub's answers: state in, JSON values out. Field by field as in https://docs.github.com/en/rest."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from breakglass_lab.forge.bare import Commit, FileChange, Person, TreeEntry
from breakglass_lab.forge.exchange import Identity
from breakglass_lab.forge.organisation import App, Role, Team
from breakglass_lab.forge.rulesets import GITHUB_ACTIONS_ID, Ruleset
from breakglass_lab.forge.runs import Run
from breakglass_lab.forge.state import (
    DEFAULT_BRANCH,
    Activity,
    CheckRun,
    Comment,
    CommitStatus,
    Issue,
    PullRequest,
    Review,
    RuleSuite,
    State,
    node_id,
)

Json = dict[str, Any]

ROLE_IDS: dict[int, Role] = {2: "read", 4: "write", 5: "admin"}
"""GitHub's fixed ids of the repository roles, as bypass actors name them."""

REPOSITORY_ID = 700_001
"""The id of the one repository of a forge."""

REPOSITORY_LINKS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}

ACCOUNT_LINKS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}


def stamp(at: datetime) -> str:
    """Return a time as GitHub writes it: UTC, whole seconds, "Z"."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def optional_stamp(at: datetime | None) -> str | None:
    """Return `stamp`, or None for None."""
    return None if at is None else stamp(at)


def account(state: State, login: str) -> Json:
    """Return the "simple user" of a login: a human, an App's account, or the organisation."""
    url = f"{state.api_url}/users/{quote(login)}"
    known = state.organisation.user(login)
    kind = "Organization" if login == state.organisation.login else "Bot" if login.endswith("[bot]") else "User"
    kind = kind if known is None else known.type
    return {
        "login": login,
        "id": state.account_id(login),
        "node_id": node_id(kind, state.account_id(login)),
        "avatar_url": f"{state.url}/avatars/{quote(login)}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{state.url}/{quote(login)}",
        **{key: url + suffix for key, suffix in ACCOUNT_LINKS.items()},
        "type": kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def optional_account(state: State, login: str | None) -> Json | None:
    """Return `account`, or None for None."""
    return None if login is None else account(state, login)


def user(state: State, login: str) -> Json:
    """Return the public profile of a login."""
    known = state.organisation.user(login)
    suspended = {} if known is None or known.suspended_at is None else {"suspended_at": stamp(known.suspended_at)}
    empty = dict.fromkeys(("company", "blog", "location", "hireable", "bio", "twitter_username"))
    return {
        **account(state, login),
        **empty,
        **suspended,
        "name": login if known is None else known.name,
        "email": None if known is None else known.email,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
    }


def organisation(state: State) -> Json:
    """Return the organisation, in full."""
    login = state.organisation.login
    url = f"{state.api_url}/orgs/{login}"
    return {
        "login": login,
        "id": state.account_id(login),
        "node_id": node_id("Organization", state.account_id(login)),
        "url": url,
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events",
        "hooks_url": f"{url}/hooks",
        "issues_url": f"{url}/issues",
        "members_url": f"{url}/members{{/member}}",
        "public_members_url": f"{url}/public_members{{/member}}",
        "avatar_url": f"{state.url}/avatars/{login}",
        "description": None,
        "has_organization_projects": False,
        "has_repository_projects": False,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "html_url": f"{state.url}/{login}",
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
        "archived_at": None,
        "type": "Organization",
    }


def simple_organisation(state: State) -> Json:
    """Return the organisation as webhook payloads carry it."""
    keys = ("login", "id", "node_id", "url", "repos_url", "events_url", "hooks_url", "issues_url", "members_url")
    whole = organisation(state)
    return {key: whole[key] for key in (*keys, "public_members_url", "avatar_url", "description")}


def minimal_repository(state: State) -> Json:
    """Return the repository with what every form of it has: identity and links."""
    return {
        "id": REPOSITORY_ID,
        "node_id": node_id("Repository", REPOSITORY_ID),
        "name": state.repository,
        "full_name": state.full_name,
        "private": True,
        "owner": account(state, state.organisation.login),
        "html_url": state.html_url,
        "description": state.description,
        "fork": False,
        "url": state.repository_url,
        **{key: state.repository_url + suffix for key, suffix in REPOSITORY_LINKS.items()},
    }


def repository(state: State) -> Json:
    """Return the repository as pull requests and webhook payloads carry it."""
    host = state.url.partition("://")[2]
    open_count = len(state.open_pulls()) + sum(issue.closed_at is None for issue in state.issues.values())
    return {
        **minimal_repository(state),
        "git_url": f"git://{host}/{state.full_name}.git",
        "ssh_url": f"git@{host}:{state.full_name}.git",
        "clone_url": f"{state.html_url}.git",
        "svn_url": state.html_url,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "forks_count": 0,
        "stargazers_count": 0,
        "watchers_count": 0,
        "size": 0,
        "default_branch": DEFAULT_BRANCH,
        "open_issues_count": open_count,
        "is_template": False,
        "topics": [],
        "has_issues": True,
        "has_projects": False,
        "has_wiki": False,
        "has_pages": False,
        "has_discussions": False,
        "archived": False,
        "disabled": False,
        "visibility": "private",
        "pushed_at": stamp(state.now()),
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
        "license": None,
        "allow_forking": False,
        "web_commit_signoff_required": False,
        "forks": 0,
        "open_issues": open_count,
        "watchers": 0,
    }


def full_repository(state: State, role: Role | None) -> Json:
    """Return the repository in full; merge settings and rights as somebody with `role` sees them."""
    rights = {
        "admin": role == "admin",
        "maintain": role == "admin",
        "push": role in ("write", "admin"),
        "triage": role in ("write", "admin"),
        "pull": role is not None,
    }
    settings = {
        "allow_squash_merge": True,
        "allow_merge_commit": True,
        "allow_rebase_merge": False,
        "allow_auto_merge": state.allow_auto_merge,
        "allow_update_branch": False,
        "delete_branch_on_merge": state.delete_branch_on_merge,
    }
    return {
        **repository(state),
        "permissions": rights,
        **(settings if rights["push"] else {}),
        "organization": account(state, state.organisation.login),
        "subscribers_count": 0,
        "network_count": 0,
    }


def association(state: State, login: str) -> str:
    """Return what somebody is to the repository, the strongest first.

    An owner of the organisation is a MEMBER: OWNER is who the repository belongs to, here the organisation.
    https://docs.github.com/en/graphql/reference/enums#commentauthorassociation
    """
    if login == state.organisation.login:
        return "OWNER"
    if state.organisation.member(login):
        return "MEMBER"
    if state.organisation.role(state.repository, login) is not None:
        return "COLLABORATOR"
    return "CONTRIBUTOR" if state.contributed(login) else "NONE"


def _pull_end(state: State, ref: str, sha: str) -> Json:
    return {
        "label": f"{state.organisation.login}:{ref}",
        "ref": ref,
        "sha": sha,
        "user": account(state, state.organisation.login),
        "repo": repository(state),
    }


def _pull_links(state: State, pull: PullRequest) -> dict[str, str]:
    url = f"{state.repository_url}/pulls/{pull.number}"
    issue_url = f"{state.repository_url}/issues/{pull.number}"
    return {
        "self": url,
        "html": f"{state.html_url}/pull/{pull.number}",
        "issue": issue_url,
        "comments": f"{issue_url}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{state.repository_url}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{state.repository_url}/statuses/{pull.head_sha}",
    }


def simple_pull(state: State, pull: PullRequest) -> Json:
    """Return a pull request as lists carry it (API version 2022-11-28 has `merge_commit_sha` and `assignee`, the later
    one has not).
    """
    links = _pull_links(state, pull)
    return {
        "url": links["self"],
        "id": pull.id,
        "node_id": node_id("PullRequest", pull.id),
        "html_url": links["html"],
        "diff_url": f"{links['html']}.diff",
        "patch_url": f"{links['html']}.patch",
        "issue_url": links["issue"],
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "comments_url": links["comments"],
        "statuses_url": links["statuses"],
        "number": pull.number,
        "state": "open" if pull.open else "closed",
        "locked": False,
        "title": pull.title,
        "user": account(state, pull.author),
        "body": pull.body,
        "labels": [],
        "milestone": None,
        "active_lock_reason": None,
        "created_at": stamp(pull.created_at),
        "updated_at": stamp(pull.updated_at),
        "closed_at": optional_stamp(pull.closed_at),
        "merged_at": optional_stamp(pull.merged_at),
        "merge_commit_sha": pull.merge_commit_sha,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [account(state, login) for login in pull.requested_users],
        "requested_teams": [team(state, state.organisation.team(slug)) for slug in pull.requested_teams],
        "head": _pull_end(state, pull.head_ref, pull.head_sha),
        "base": _pull_end(state, pull.base_ref, pull.base_sha),
        "_links": {name: {"href": href} for name, href in links.items()},
        "author_association": association(state, pull.author),
        "auto_merge": None,
        "draft": pull.draft,
    }


def pull(
    state: State, pull_request: PullRequest, mergeable: bool | None, mergeable_state: str, files: Sequence[FileChange]
) -> Json:
    """Return a pull request in full, with what was found about merging it and the files it changes."""
    base = pull_request.merge_base or pull_request.base_sha
    return {
        **simple_pull(state, pull_request),
        "merged": pull_request.merged_at is not None,
        "mergeable": mergeable,
        "rebaseable": False if mergeable is not None else None,
        "mergeable_state": mergeable_state,
        "merged_by": optional_account(state, pull_request.merged_by),
        "comments": sum(comment.issue == pull_request.number for comment in state.comments.values()),
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": sum(1 for _ in state.bare.log(f"{base}..{pull_request.head_sha}")),
        "additions": sum(file.additions for file in files),
        "deletions": sum(file.deletions for file in files),
        "changed_files": len(files),
    }


def pull_reference(state: State, pull_request: PullRequest) -> Json:
    """Return a pull request as check runs and workflow runs name it."""
    repo = {"id": REPOSITORY_ID, "url": state.repository_url, "name": state.repository}
    return {
        "url": f"{state.repository_url}/pulls/{pull_request.number}",
        "id": pull_request.id,
        "number": pull_request.number,
        "head": {"ref": pull_request.head_ref, "sha": pull_request.head_sha, "repo": repo},
        "base": {"ref": pull_request.base_ref, "sha": pull_request.base_sha, "repo": repo},
    }


def review(state: State, pull_request: PullRequest, given: Review) -> Json:
    """Return a review; a pending one has no time of submission yet."""
    html_url = f"{state.html_url}/pull/{pull_request.number}#pullrequestreview-{given.id}"
    pull_url = f"{state.repository_url}/pulls/{pull_request.number}"
    submitted = {} if given.state == "PENDING" else {"submitted_at": stamp(given.submitted_at)}
    return {
        "id": given.id,
        "node_id": node_id("PullRequestReview", given.id),
        "user": account(state, given.login),
        "body": given.body,
        "state": given.state,
        "html_url": html_url,
        "pull_request_url": pull_url,
        "author_association": association(state, given.login),
        "_links": {"html": {"href": html_url}, "pull_request": {"href": pull_url}},
        **submitted,
        "commit_id": given.commit_id,
    }


def file_change(state: State, head_sha: str, change: FileChange) -> Json:
    """Return a file of a diff as at commit `head_sha`."""
    path = quote(change.filename)
    previous = {} if change.previous_filename is None else {"previous_filename": change.previous_filename}
    patch = {} if change.patch is None else {"patch": change.patch}
    return {
        "sha": change.sha,
        "filename": change.filename,
        "status": change.status,
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": f"{state.html_url}/blob/{head_sha}/{path}",
        "raw_url": f"{state.html_url}/raw/{head_sha}/{path}",
        "contents_url": f"{state.repository_url}/contents/{path}?ref={head_sha}",
        **patch,
        **previous,
    }


def _signature(person: Person) -> Json:
    return {"name": person.name, "email": person.email, "date": stamp(person.at)}


VERIFICATION = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}


def commit(state: State, found: Commit) -> Json:
    """Return a commit with the accounts its addresses belong to."""
    url = f"{state.repository_url}/commits/{found.sha}"
    parents = [
        {
            "sha": parent,
            "url": f"{state.repository_url}/commits/{parent}",
            "html_url": f"{state.html_url}/commit/{parent}",
        }
        for parent in found.parents
    ]
    return {
        "sha": found.sha,
        "node_id": node_id("Commit", found.sha),
        "commit": {
            "author": _signature(found.author),
            "committer": _signature(found.committer),
            "message": found.message,
            "tree": {"sha": found.tree, "url": f"{state.repository_url}/git/trees/{found.tree}"},
            "url": f"{state.repository_url}/git/commits/{found.sha}",
            "comment_count": 0,
            "verification": VERIFICATION,
        },
        "url": url,
        "html_url": f"{state.html_url}/commit/{found.sha}",
        "comments_url": f"{url}/comments",
        "author": optional_account(state, state.login_of(found.author.email)),
        "committer": optional_account(state, state.login_of(found.committer.email)),
        "parents": parents,
    }


def commit_with_files(state: State, found: Commit, files: Sequence[FileChange]) -> Json:
    """Return a commit with what it changed against its first parent."""
    additions, deletions = sum(file.additions for file in files), sum(file.deletions for file in files)
    return {
        **commit(state, found),
        "stats": {"additions": additions, "deletions": deletions, "total": additions + deletions},
        "files": [file_change(state, found.sha, file) for file in files],
    }


def git_commit(state: State, found: Commit) -> Json:
    """Return a commit as git's object."""
    url = f"{state.repository_url}/git/commits"
    return {
        "sha": found.sha,
        "node_id": node_id("Commit", found.sha),
        "url": f"{url}/{found.sha}",
        "html_url": f"{state.html_url}/commit/{found.sha}",
        "author": _signature(found.author),
        "committer": _signature(found.committer),
        "tree": {"sha": found.tree, "url": f"{state.repository_url}/git/trees/{found.tree}"},
        "message": found.message,
        "parents": [
            {"sha": parent, "url": f"{url}/{parent}", "html_url": f"{state.html_url}/commit/{parent}"}
            for parent in found.parents
        ],
        "verification": VERIFICATION,
    }


def git_ref(state: State, ref: str, sha: str) -> Json:
    """Return a ref that points at a commit."""
    return {
        "ref": ref,
        "node_id": node_id("Ref", ref),
        "url": f"{state.repository_url}/git/{quote(ref)}",
        "object": {"type": "commit", "sha": sha, "url": f"{state.repository_url}/git/commits/{sha}"},
    }


def short_branch(state: State, name: str, sha: str, protected: bool) -> Json:
    """Return a branch as lists carry it."""
    return {
        "name": name,
        "commit": {"sha": sha, "url": f"{state.repository_url}/commits/{sha}"},
        "protected": protected,
    }


def branch(state: State, name: str, found: Commit, protected: bool) -> Json:
    """Return a branch with its commit."""
    url = f"{state.repository_url}/branches/{quote(name)}"
    return {
        "name": name,
        "commit": commit(state, found),
        "_links": {"self": url, "html": f"{state.html_url}/tree/{quote(name)}"},
        "protected": protected,
        "protection": {"enabled": protected},
        "protection_url": f"{url}/protection",
    }


KINDS = {"040000": "dir", "120000": "symlink", "160000": "submodule"}


def directory_item(state: State, ref: str, entry: TreeEntry) -> Json:
    """Return what a listing of a directory says of one entry."""
    path = quote(entry.path)
    kind = KINDS.get(entry.mode, "file")
    url = f"{state.repository_url}/contents/{path}?ref={quote(ref)}"
    git_url = f"{state.repository_url}/git/{'trees' if kind == 'dir' else 'blobs'}/{entry.sha}"
    html_url = f"{state.html_url}/{'tree' if kind == 'dir' else 'blob'}/{quote(ref)}/{path}"
    return {
        "name": entry.path.rpartition("/")[2],
        "path": entry.path,
        "sha": entry.sha,
        "size": entry.size,
        "url": url,
        "html_url": html_url,
        "git_url": git_url,
        "download_url": None if kind == "dir" else f"{state.html_url}/raw/{quote(ref)}/{path}",
        "type": kind,
        "_links": {"self": url, "git": git_url, "html": html_url},
    }


def content_file(state: State, ref: str, entry: TreeEntry, content: bytes) -> Json:
    """Return a file or a symbolic link with its content; above one megabyte GitHub leaves the content out."""
    item = directory_item(state, ref, entry)
    if item["type"] == "symlink":
        return {**item, "target": content.decode("utf-8", "replace")}
    if len(content) > 1_000_000:
        return {**item, "content": "", "encoding": "none"}
    return {**item, "content": base64.encodebytes(content).decode("ascii"), "encoding": "base64"}


def app(state: State, shown: App) -> Json:
    """Return an App."""
    return {
        "id": shown.id,
        "slug": shown.slug,
        "node_id": node_id("App", shown.id),
        "client_id": f"Iv23li{shown.id:014d}",
        "owner": account(state, state.organisation.login),
        "name": shown.slug,
        "description": None,
        "external_url": state.url,
        "html_url": f"{state.url}/apps/{shown.slug}",
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
        "permissions": dict(shown.permissions),
        "events": list(shown.events),
    }


def _actions_app(state: State) -> Json:
    shown = App("github-actions", GITHUB_ACTIONS_ID, 0, {"checks": "write", "metadata": "read"}, "")
    return app(state, shown)


def installation(state: State, shown: App) -> Json:
    """Return the installation of an App on the organisation."""
    settings_url = f"{state.url}/organizations/{state.organisation.login}/settings"
    return {
        "id": shown.installation_id,
        "account": account(state, state.organisation.login),
        "repository_selection": "selected",
        "access_tokens_url": f"{state.api_url}/app/installations/{shown.installation_id}/access_tokens",
        "repositories_url": f"{state.api_url}/installation/repositories",
        "html_url": f"{settings_url}/installations/{shown.installation_id}",
        "app_id": shown.id,
        "app_slug": shown.slug,
        "target_id": state.account_id(state.organisation.login),
        "target_type": "Organization",
        "permissions": dict(shown.permissions),
        "events": list(shown.events),
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": None,
        "suspended_at": None,
    }


def check_run(state: State, run: CheckRun) -> Json:
    """Return a check run with the App that reported it."""
    url = f"{state.repository_url}/check-runs/{run.id}"
    reporter = state.app_by_id(run.app_id)
    return {
        "id": run.id,
        "head_sha": run.head_sha,
        "node_id": node_id("CheckRun", run.id),
        "external_id": run.external_id,
        "url": url,
        "html_url": f"{state.html_url}/runs/{run.id}",
        "details_url": run.details_url,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": stamp(run.started_at),
        "completed_at": optional_stamp(run.completed_at),
        "output": {
            "title": run.title,
            "summary": run.summary,
            "text": run.text,
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "name": run.name,
        "check_suite": {"id": 100_000_000 + run.app_id},
        "app": _actions_app(state) if reporter is None else app(state, reporter),
        "pull_requests": [pull_reference(state, pull) for pull in state.open_pulls() if pull.head_sha == run.head_sha],
    }


def commit_status(state: State, status: CommitStatus) -> Json:
    """Return a commit status with its creator."""
    return {**simple_commit_status(state, status), "creator": account(state, status.creator)}


def simple_commit_status(state: State, status: CommitStatus) -> Json:
    """Return a commit status as the combined status carries it."""
    return {
        "url": f"{state.repository_url}/statuses/{status.sha}",
        "avatar_url": f"{state.url}/avatars/{quote(status.creator)}",
        "id": status.id,
        "node_id": node_id("StatusContext", status.id),
        "state": status.state,
        "description": status.description,
        "target_url": status.target_url,
        "context": status.context,
        "created_at": stamp(status.created_at),
        "updated_at": stamp(status.created_at),
    }


def comment(state: State, given: Comment) -> Json:
    """Return a comment on an issue or a pull request."""
    return {
        "id": given.id,
        "node_id": node_id("IssueComment", given.id),
        "url": f"{state.repository_url}/issues/comments/{given.id}",
        "html_url": f"{state.html_url}/pull/{given.issue}#issuecomment-{given.id}",
        "body": given.body,
        "user": account(state, given.author),
        "created_at": stamp(given.created_at),
        "updated_at": stamp(given.updated_at),
        "issue_url": f"{state.repository_url}/issues/{given.issue}",
        "author_association": association(state, given.author),
    }


def issue(state: State, given: Issue) -> Json:
    """Return an issue."""
    url = f"{state.repository_url}/issues/{given.number}"
    return {
        "id": given.id,
        "node_id": node_id("Issue", given.id),
        "url": url,
        "repository_url": state.repository_url,
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": f"{state.html_url}/issues/{given.number}",
        "number": given.number,
        "state": "open" if given.closed_at is None else "closed",
        "title": given.title,
        "body": given.body,
        "user": account(state, given.author),
        "labels": [{"name": name} for name in given.labels],
        "assignee": account(state, given.assignees[0]) if given.assignees else None,
        "assignees": [account(state, login) for login in given.assignees],
        "milestone": None,
        "locked": False,
        "comments": sum(comment.issue == given.number for comment in state.comments.values()),
        "closed_at": optional_stamp(given.closed_at),
        "created_at": stamp(given.created_at),
        "updated_at": stamp(given.updated_at),
        "author_association": association(state, given.author),
    }


def pull_as_issue(state: State, given: PullRequest) -> Json:
    """Return a pull request as the issue it also is."""
    as_issue = Issue(
        given.id, given.number, given.title, given.body, given.author, (), (), given.created_at, given.updated_at,
        given.closed_at,
    )  # fmt: skip
    html_url = f"{state.html_url}/pull/{given.number}"
    links = {
        "url": f"{state.repository_url}/pulls/{given.number}",
        "html_url": html_url,
        "diff_url": f"{html_url}.diff",
        "patch_url": f"{html_url}.patch",
        "merged_at": optional_stamp(given.merged_at),
    }
    return {**issue(state, as_issue), "html_url": html_url, "draft": given.draft, "pull_request": links}


def workflow_id(path: str) -> int:
    """Return a stable id for a workflow file."""
    return int.from_bytes(path.encode()[-6:], "big")


def workflow(state: State, path: str, name: str) -> Json:
    """Return a workflow file of the default branch."""
    url = f"{state.repository_url}/actions/workflows/{workflow_id(path)}"
    return {
        "id": workflow_id(path),
        "node_id": node_id("Workflow", workflow_id(path)),
        "name": name,
        "path": path,
        "state": state.workflow_states.get(path, "active"),
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
        "url": url,
        "html_url": f"{state.html_url}/blob/{DEFAULT_BRANCH}/{path}",
        "badge_url": f"{state.html_url}/workflows/{quote(name)}/badge.svg",
    }


def run(state: State, shown: Run) -> Json:
    """Return a workflow run."""
    url = f"{state.repository_url}/actions/runs/{shown.id}"
    pulls = [
        pull
        for pull in state.open_pulls()
        if shown.pull_request == pull.number or shown.head_branch == pull.head_ref or shown.head_sha == pull.head_sha
    ]
    return {
        "id": shown.id,
        "node_id": node_id("WorkflowRun", shown.id),
        "name": shown.name,
        "head_branch": shown.head_branch,
        "head_sha": shown.head_sha,
        "path": shown.workflow,
        "run_number": shown.number,
        "run_attempt": 1,
        "event": shown.event,
        "display_title": shown.name,
        "status": shown.status,
        "conclusion": shown.conclusion,
        "workflow_id": workflow_id(shown.workflow),
        "url": url,
        "html_url": f"{state.html_url}/actions/runs/{shown.id}",
        "pull_requests": [pull_reference(state, pull) for pull in pulls],
        "created_at": stamp(shown.created_at),
        "updated_at": stamp(shown.updated_at),
        "run_started_at": stamp(shown.created_at),
        "actor": account(state, shown.actor),
        "triggering_actor": account(state, shown.actor),
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "check_suite_url": f"{state.repository_url}/check-suites/{100_000_000 + GITHUB_ACTIONS_ID}",
        "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel",
        "rerun_url": f"{url}/rerun",
        "previous_attempt_url": None,
        "workflow_url": f"{state.repository_url}/actions/workflows/{workflow_id(shown.workflow)}",
        "head_commit": simple_commit(state.bare.commit(shown.head_sha)),
        "repository": minimal_repository(state),
        "head_repository": minimal_repository(state),
    }


def simple_commit(found: Commit) -> Json:
    """Return a commit as workflow runs carry it."""
    return {
        "id": found.sha,
        "tree_id": found.tree,
        "message": found.message,
        "timestamp": stamp(found.committer.at),
        "author": {"name": found.author.name, "email": found.author.email},
        "committer": {"name": found.committer.name, "email": found.committer.email},
    }


def job(state: State, shown: Run, check: CheckRun) -> Json:
    """Return a job of a workflow run; its id is that of its check run."""
    return {
        "id": check.id,
        "run_id": shown.id,
        "run_url": f"{state.repository_url}/actions/runs/{shown.id}",
        "run_attempt": 1,
        "node_id": node_id("CheckRun", check.id),
        "head_sha": shown.head_sha,
        "url": f"{state.repository_url}/actions/jobs/{check.id}",
        "html_url": f"{state.html_url}/actions/runs/{shown.id}/job/{check.id}",
        "status": check.status,
        "conclusion": check.conclusion,
        "created_at": stamp(check.started_at),
        "started_at": stamp(check.started_at),
        "completed_at": optional_stamp(check.completed_at),
        "name": check.name,
        "steps": [],
        "check_run_url": f"{state.repository_url}/check-runs/{check.id}",
        "labels": ["ubuntu-latest"],
        "runner_id": None,
        "runner_name": None,
        "runner_group_id": None,
        "runner_group_name": None,
        "workflow_name": shown.name,
        "head_branch": shown.head_branch,
    }


def team_id(state: State, slug: str) -> int:
    """Return the stable id of a team."""
    return 800_001 + [team.slug for team in state.organisation.teams].index(slug)


def team(state: State, shown: Team | None) -> Json | None:
    """Return a team as lists carry it."""
    if shown is None:
        return None
    identifier = team_id(state, shown.slug)
    url = f"{state.api_url}/organizations/{state.account_id(state.organisation.login)}/team/{identifier}"
    role = state.organisation.team_role(state.repository, shown.slug)
    return {
        "id": identifier,
        "node_id": node_id("Team", identifier),
        "url": url,
        "html_url": f"{state.url}/orgs/{state.organisation.login}/teams/{shown.slug}",
        "name": shown.slug,
        "slug": shown.slug,
        "description": None,
        "privacy": "secret" if shown.secret else "closed",
        "notification_setting": "notifications_enabled",
        "permission": {None: "pull", "read": "pull", "write": "push", "admin": "admin"}[role],
        "members_url": f"{url}/members{{/member}}",
        "repositories_url": f"{url}/repos",
        "type": "organization",
        "parent": None,
    }


def full_team(state: State, shown: Team) -> Json:
    """Return a team in full."""
    return {
        **(team(state, shown) or {}),
        "members_count": len(shown.members),
        "repos_count": sum(
            f"@{state.organisation.login}/{shown.slug}" in r for r in state.organisation.rights.values()
        ),
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
        "organization": organisation(state),
    }


def ruleset(state: State, identifier: int, shown: Ruleset, bypass: str, with_actors: bool) -> Json:
    """Return a ruleset; `with_actors` only for those who may administer the repository."""
    actors = [
        {"actor_id": actor.actor_id, "actor_type": actor.actor_type, "bypass_mode": actor.bypass_mode}
        for actor in shown.bypass_actors
    ]
    return {
        **simple_ruleset(state, identifier, shown),
        "conditions": {"ref_name": {"include": list(shown.include), "exclude": list(shown.exclude)}},
        "rules": [
            {"type": rule.type, **({"parameters": dict(rule.parameters)} if rule.parameters else {})}
            for rule in shown.rules
        ],
        "current_user_can_bypass": bypass,
        **({"bypass_actors": actors} if with_actors else {}),
    }


def simple_ruleset(state: State, identifier: int, shown: Ruleset) -> Json:
    """Return a ruleset as lists carry it."""
    url = f"{state.repository_url}/rulesets/{identifier}"
    return {
        "id": identifier,
        "name": shown.name,
        "target": "branch",
        "source_type": "Repository",
        "source": state.full_name,
        "enforcement": shown.enforcement,
        "node_id": node_id("RepositoryRuleset", identifier),
        "_links": {"self": {"href": url}, "html": {"href": f"{state.html_url}/rules/{identifier}"}},
        "created_at": stamp(state.created_at),
        "updated_at": stamp(state.created_at),
    }


def rule_suite(state: State, suite: RuleSuite) -> Json:
    """Return what the rulesets said to one change of a ref."""
    return {
        "id": suite.id,
        "actor_id": state.account_id(suite.actor),
        "actor_name": suite.actor,
        "before_sha": suite.before,
        "after_sha": suite.after,
        "ref": suite.ref,
        "repository_id": REPOSITORY_ID,
        "repository_name": state.repository,
        "pushed_at": stamp(suite.at),
        "result": suite.result,
        "evaluation_result": suite.result if suite.result != "bypass" else "fail",
    }


def activity(state: State, shown: Activity) -> Json:
    """Return one move of a branch."""
    return {
        "id": shown.id,
        "node_id": node_id("PushEvent", shown.id),
        "before": shown.before,
        "after": shown.after,
        "ref": shown.ref,
        "timestamp": stamp(shown.at),
        "activity_type": shown.type,
        "actor": optional_account(state, shown.actor),
    }


def role_of(state: State, identity: Identity) -> Role | None:
    """Return the role an identity has on the repository: a user's, or what a token may do with contents."""
    if identity.kind == "user":
        return state.organisation.role(state.repository, identity.login)
    if identity.permissions.get("administration") == "write":
        return "admin"
    if identity.permissions.get("contents") == "write":
        return "write"
    return "read" if identity.kind in ("installation", "workflow") else None
