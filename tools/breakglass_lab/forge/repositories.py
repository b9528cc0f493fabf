"""The repository and what git holds in it. https://docs.github.com/en/rest/repos and
https://docs.github.com/en/rest/git.
"""

from urllib.parse import unquote

from breakglass_lab.forge import answers, codeowners
from breakglass_lab.forge.bare import ZERO, RefMovedError
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, not_found
from breakglass_lab.forge.protection import RefChange, fast_forward_only, is_owner, push_refusal, rulesets_for
from breakglass_lab.forge.refs import moved
from breakglass_lab.forge.state import DEFAULT_BRANCH, State

COMPARE_FILE_LIMIT = 300


def get(state: State, request: Request) -> Answer:
    """GET the repository."""
    return Answer(200, answers.full_repository(state, answers.role_of(state, request.identity)))


def update(state: State, request: Request) -> Answer:
    """PATCH description, `allow_auto_merge` and `delete_branch_on_merge`."""
    if "description" in request.body:
        state.description = request.text("description")
    if "allow_auto_merge" in request.body:
        state.allow_auto_merge = request.flag("allow_auto_merge")
    if "delete_branch_on_merge" in request.body:
        state.delete_branch_on_merge = request.flag("delete_branch_on_merge")
    return get(state, request)


def _commit_of(state: State, revision: str) -> str:
    sha = state.bare.resolve(revision)
    if sha is None:
        raise Refusal(404, f"No commit found for the ref {revision}")
    return sha


def contents(state: State, request: Request) -> Answer:
    """GET a file, a symbolic link, or what a directory holds, at `ref`; `Accept: …raw` answers the bytes of a file."""
    ref = request.query.get("ref", DEFAULT_BRANCH)
    commit, path = _commit_of(state, ref), request.values.get("path", "").strip("/")
    entry = next((entry for entry in state.bare.entries(commit, path) if entry.path == path), None) if path else None
    if path and entry is None:
        raise not_found()
    if entry is None or entry.kind == "tree":
        inside = state.bare.entries(commit, f"{path}/" if path else "")
        return Answer(200, [answers.directory_item(state, ref, item) for item in inside])
    content = state.bare.blob(entry.sha) if entry.kind == "blob" else b""
    if "raw" in request.headers.get("accept", ""):
        return Answer(200, content, {"Content-Type": "application/vnd.github.raw+json; charset=utf-8"})
    return Answer(200, answers.content_file(state, ref, entry, content))


def list_branches(state: State, request: Request) -> Answer:
    """GET the branches by name; `protected` selects."""
    found = [
        answers.short_branch(state, ref.removeprefix("refs/heads/"), sha, bool(rulesets_for(state, ref)))
        for ref, sha in state.bare.refs("refs/heads").items()
    ]
    wanted = request.query.get("protected")
    return Answer(200, [branch for branch in found if wanted in (None, str(branch["protected"]).lower())], items=True)


def get_branch(state: State, request: Request) -> Answer:
    """GET a branch."""
    name = request.values["branch"]
    sha = state.bare.tip(f"refs/heads/{name}")
    if sha is None:
        raise Refusal(404, "Branch not found")
    protected = bool(rulesets_for(state, f"refs/heads/{name}"))
    return Answer(200, answers.branch(state, name, state.bare.commit(sha), protected))


def get_ref(state: State, request: Request) -> Answer:
    """GET a ref (`heads/main`)."""
    ref = f"refs/{request.values['ref']}"
    sha = state.bare.tip(ref) if state.bare.valid_ref(ref) else None
    if sha is None:
        raise not_found()
    return Answer(200, answers.git_ref(state, ref, sha))


def matching_refs(state: State, request: Request) -> Answer:
    """GET the refs whose name starts as given."""
    prefix = f"refs/{request.values.get('ref', '')}"
    found = state.bare.refs("refs").items()
    return Answer(200, [answers.git_ref(state, ref, sha) for ref, sha in found if ref.startswith(prefix)], items=True)


def _existing(state: State, sha: str) -> str:
    if len(sha) != len(ZERO) or state.bare.resolve(sha) != sha:
        raise Refusal(422, "Object does not exist")
    return sha


def create_ref(state: State, request: Request) -> Answer:
    """POST a ref; 422 when it exists: of two at once, one wins."""
    ref, sha = request.text("ref"), request.text("sha")
    if not ref.startswith(("refs/heads/", "refs/tags/")) or not state.bare.valid_ref(ref):
        raise Refusal(422, "Reference name is not valid")
    change = RefChange(ref, ZERO, _existing(state, sha))
    _move(state, request, change, "Reference already exists")
    return Answer(201, answers.git_ref(state, ref, sha))


def update_ref(state: State, request: Request) -> Answer:
    """PATCH a ref to `sha`; only forward, unless `force` is asked for and no rule forbids it."""
    ref, sha = f"refs/{request.values['ref']}", _existing(state, request.text("sha"))
    old = state.bare.tip(ref)
    if old is None:
        raise Refusal(422, "Reference does not exist")
    rewrites = not state.bare.is_ancestor(old, sha)
    if rewrites and not request.flag("force"):
        raise Refusal(422, "Update is not a fast forward")
    if rewrites and fast_forward_only(state, ref, request.identity):
        raise Refusal(422, "Repository rule violations found\n\nCannot force-push to this branch\n\n")
    _move(state, request, RefChange(ref, old, sha), "Reference cannot be updated")
    return Answer(200, answers.git_ref(state, ref, sha))


def delete_ref(state: State, request: Request) -> Answer:
    """DELETE a ref."""
    ref = f"refs/{request.values['ref']}"
    old = state.bare.tip(ref)
    if old is None or not ref.startswith(("refs/heads/", "refs/tags/")):
        raise Refusal(422, "Reference does not exist")
    _move(state, request, RefChange(ref, old, ZERO), "Reference does not exist")
    return Answer(204)


def _move(state: State, request: Request, change: RefChange, lost: str) -> None:
    """Move a ref if the rules allow it; Refusal 422 with the words of `lost` when somebody else was faster."""
    reason = push_refusal(state, change, request.identity)
    if reason is not None:
        raise Refusal(422, f"Repository rule violations found\n\n{reason}\n\n")
    try:
        state.bare.update_ref(change.ref, change.new, change.old)
    except RefMovedError as error:
        raise Refusal(422, lost) from error
    moved(state, change, request.identity)


def git_commit(state: State, request: Request) -> Answer:
    """GET a commit object."""
    sha = request.values["sha"]
    if state.bare.resolve(sha) != sha:
        raise not_found()
    return Answer(200, answers.git_commit(state, state.bare.commit(sha)))


def list_commits(state: State, request: Request) -> Answer:
    """GET the history of `sha` (a branch or a commit), newest first; `path`, `author`, `since` and `until` select."""
    head = _commit_of(state, request.query.get("sha", DEFAULT_BRANCH))
    selection = [f"--{key}={request.query[key]}" for key in ("since", "until") if key in request.query]
    path = request.query.get("path")
    pathspec = ["--", f":(literal){path}"] if path else []
    found = state.bare.log(*selection, head, *pathspec)
    author = request.query.get("author")
    chosen = [c for c in found if author in (None, c.author.email, state.login_of(c.author.email))]
    return Answer(200, [answers.commit(state, commit) for commit in chosen], items=True)


def get_commit(state: State, request: Request) -> Answer:
    """GET a commit by branch, tag or id, with the files it changed against its first parent."""
    revision = request.values["ref"]
    sha = state.bare.resolve(revision)
    if sha is None:
        raise Refusal(422, f"No commit found for SHA: {revision}")
    if "sha" in request.headers.get("accept", "").partition("vnd.github.")[2]:
        return Answer(200, sha.encode("ascii"), {"Content-Type": "application/vnd.github.sha; charset=utf-8"})
    commit = state.bare.commit(sha)
    old = commit.parents[0] if commit.parents else state.bare.empty_tree()
    return Answer(200, answers.commit_with_files(state, commit, state.bare.changes(old, sha)))


def commit_pulls(state: State, request: Request) -> Answer:
    """GET the pull requests a commit came in by, or (not on the default branch yet) those it is in."""
    sha = request.values["ref"]
    if state.bare.resolve(sha) != sha:
        raise Refusal(422, f"No commit found for SHA: {sha}")
    found = [
        pull
        for pull in state.pulls.values()
        if pull.merge_commit_sha == sha
        or (state.bare.is_ancestor(sha, pull.head_sha) and not state.bare.is_ancestor(sha, pull.merge_base or ZERO))
    ]
    return Answer(200, [answers.simple_pull(state, pull) for pull in found], items=True)


def compare(state: State, request: Request) -> Answer:
    """GET what lies between two commits: `BASE...HEAD`."""
    base_name, dots, head_name = unquote(request.values["basehead"]).partition("...")
    if not dots:
        raise not_found()
    base, head = (_commit_of(state, name.rpartition(":")[2]) for name in (base_name, head_name))
    merge_base = state.bare.merge_base(base, head)
    if merge_base is None:
        raise Refusal(404, f"No common ancestor between {base_name} and {head_name}.")
    ahead = list(state.bare.log("--reverse", f"{base}..{head}"))
    behind = sum(1 for _ in state.bare.log(f"{head}..{base}"))
    status = ("diverged" if behind else "ahead") if ahead else "behind" if behind else "identical"
    html_url = f"{state.html_url}/compare/{base_name}...{head_name}"
    changes = state.bare.changes(merge_base, head)[:COMPARE_FILE_LIMIT]
    body = {
        "url": f"{state.repository_url}/compare/{base_name}...{head_name}",
        "html_url": html_url,
        "permalink_url": f"{state.html_url}/compare/{base}...{head}",
        "diff_url": f"{html_url}.diff",
        "patch_url": f"{html_url}.patch",
        "base_commit": answers.commit(state, state.bare.commit(base)),
        "merge_base_commit": answers.commit(state, state.bare.commit(merge_base)),
        "status": status,
        "ahead_by": len(ahead),
        "behind_by": behind,
        "total_commits": len(ahead),
        "commits": [answers.commit(state, commit) for commit in ahead],
        "files": [answers.file_change(state, head, change) for change in changes],
    }
    return Answer(200, body)


def codeowners_errors(state: State, request: Request) -> Answer:
    """GET the mistakes in CODEOWNERS at `ref`; 404 when there is no such file."""
    commit = _commit_of(state, request.query.get("ref", DEFAULT_BRANCH))
    rules = codeowners.read(state.bare, commit, lambda owner: is_owner(state, owner))
    if rules is None:
        raise not_found()
    mistakes = [
        {
            "line": mistake.number,
            "column": mistake.column,
            "kind": mistake.kind,
            "source": mistake.source,
            "suggestion": None,
            "message": mistake.message,
            "path": rules.path,
        }
        for mistake in rules.mistakes
    ]
    return Answer(200, {"errors": mistakes})


REPO = "/repos/<owner>/<repo>"
READ = ("contents", "read")
WRITE = ("contents", "write")

ENDPOINTS = (
    Endpoint("GET", REPO, get, ("metadata", "read")),
    Endpoint("PATCH", REPO, update, ("administration", "write"), "admin"),
    Endpoint("GET", f"{REPO}/contents/", contents, READ),
    Endpoint("GET", f"{REPO}/contents/<path:path>", contents, READ),
    Endpoint("GET", f"{REPO}/branches", list_branches, READ),
    Endpoint("GET", f"{REPO}/branches/<path:branch>", get_branch, READ),
    Endpoint("GET", f"{REPO}/git/ref/<path:ref>", get_ref, READ),
    Endpoint("GET", f"{REPO}/git/matching-refs/<path:ref>", matching_refs, READ),
    Endpoint("POST", f"{REPO}/git/refs", create_ref, WRITE, "write"),
    Endpoint("PATCH", f"{REPO}/git/refs/<path:ref>", update_ref, WRITE, "write"),
    Endpoint("DELETE", f"{REPO}/git/refs/<path:ref>", delete_ref, WRITE, "write"),
    Endpoint("GET", f"{REPO}/git/commits/<sha>", git_commit, READ),
    Endpoint("GET", f"{REPO}/commits", list_commits, READ),
    Endpoint("GET", f"{REPO}/commits/<path:ref>", get_commit, READ),
    Endpoint("GET", f"{REPO}/commits/<ref>/pulls", commit_pulls, ("pull_requests", "read")),
    Endpoint("GET", f"{REPO}/compare/<path:basehead>", compare, READ),
    Endpoint("GET", f"{REPO}/codeowners/errors", codeowners_errors, READ),
)
