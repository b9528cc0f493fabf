"""Pull requests: open, list, read, change. https://docs.github.com/en/rest/pulls/pulls."""

from collections.abc import Sequence
from dataclasses import replace

from breakglass_lab.forge import answers, payloads
from breakglass_lab.forge.bare import FileChange
from breakglass_lab.forge.exchange import Answer, Endpoint, Identity, Refusal, Request, invalid, not_found
from breakglass_lab.forge.protection import all_passing, changed_paths, code_owners, merge_verdicts, owner_logins
from breakglass_lab.forge.refs import dismiss_stale_reviews, refresh_test_merge
from breakglass_lab.forge.state import PullRequest, State

FILE_LIMIT = 3000
COMMIT_LIMIT = 250


def find(state: State, request: Request) -> PullRequest:
    """Return the pull request a path names; Refusal 404 when there is none."""
    pull = state.pulls.get(request.values["number"])
    if pull is None:
        raise not_found()
    return pull


def files_of(state: State, pull: PullRequest) -> list[FileChange]:
    """Return what a pull request changes: from the merge base to its head."""
    return state.bare.changes(pull.merge_base or pull.base_sha, pull.head_sha)


def mergeable(state: State, pull: PullRequest) -> bool:
    """Tell whether a pull request merges without conflicts."""
    base = state.bare.tip(f"refs/heads/{pull.base_ref}")
    return base is not None and state.bare.merge_tree(base, pull.head_sha) is not None


def know_mergeability(state: State, pull: PullRequest) -> bool:
    """Tell whether mergeability was already computed for this head and base; if not it is from the next time on."""
    key = (pull.head_sha, state.bare.tip(f"refs/heads/{pull.base_ref}") or "")
    if pull.mergeability_read == key:
        return True
    state.pulls[pull.number] = replace(pull, mergeability_read=key)
    return False


def _mergeable_state(state: State, pull: PullRequest, identity: Identity) -> str:
    if pull.draft:
        return "draft"
    verdicts = merge_verdicts(state, pull, identity)
    violations = [violation for verdict in verdicts for violation in verdict.violations]
    if not violations:
        return "clean" if all_passing(state, pull.head_sha) else "unstable"
    return "behind" if violations == ["The head branch is not up to date with the base branch."] else "blocked"


def _whole(state: State, pull: PullRequest, identity: Identity) -> answers.Json:
    files = files_of(state, pull)
    if not pull.open:
        return answers.pull(state, pull, None, "unknown", files)
    if not know_mergeability(state, pull):
        return answers.pull(state, pull, None, "unknown", files)
    if not mergeable(state, pull):
        return answers.pull(state, pull, False, "dirty", files)
    return answers.pull(state, pull, True, _mergeable_state(state, pull, identity), files)


def get(state: State, request: Request) -> Answer:
    """GET a pull request; `mergeable` is null on the first read after a change."""
    return Answer(200, _whole(state, find(state, request), request.identity))


def list_pulls(state: State, request: Request) -> Answer:
    """GET the pull requests that match `state`, `head` (OWNER:BRANCH) and `base`, sorted as asked."""
    wanted = request.query.get("state", "open")
    if wanted not in ("open", "closed", "all"):
        raise invalid("state", resource="PullRequest")
    head, base = request.query.get("head"), request.query.get("base")
    found = [
        pull
        for pull in state.pulls.values()
        if (wanted == "all" or pull.open == (wanted == "open"))
        and (head is None or ":" not in head or head == f"{state.organisation.login}:{pull.head_ref}")
        and (base is None or base == pull.base_ref)
    ]
    by_update = request.query.get("sort") == "updated"
    found.sort(key=lambda pull: (pull.updated_at if by_update else pull.created_at, pull.number))
    if request.query.get("direction", "asc" if "sort" in request.query else "desc") == "desc":
        found.reverse()
    return Answer(200, [answers.simple_pull(state, pull) for pull in found], items=True)


def _branch_of(state: State, label: str) -> str:
    owner, colon, branch = label.partition(":")
    return branch if colon and owner == state.organisation.login else label


def _check_new(state: State, head: str, base: str) -> tuple[str, str, str]:
    head_sha, base_sha = state.bare.tip(f"refs/heads/{head}"), state.bare.tip(f"refs/heads/{base}")
    if head_sha is None:
        raise invalid("head", resource="PullRequest")
    if base_sha is None:
        raise invalid("base", resource="PullRequest")
    merge_base = state.bare.merge_base(base_sha, head_sha)
    if merge_base is None:
        message = f"The {head} branch has no history in common with {base}"
        raise invalid("base", "custom", "PullRequest", message)
    if merge_base == head_sha:
        raise invalid("base", "custom", "PullRequest", f"No commits between {base} and {head}")
    if any((pull.head_ref, pull.base_ref) == (head, base) for pull in state.open_pulls()):
        message = f"A pull request already exists for {state.organisation.login}:{head}."
        raise invalid("head", "custom", "PullRequest", message)
    return head_sha, base_sha, merge_base


def create(state: State, request: Request) -> Answer:
    """POST a pull request; the code owners of what it changes are asked for their review, unless it is a draft."""
    if request.identity.kind == "workflow" and not state.workflows_may_approve:
        raise Refusal(403, "GitHub Actions is not permitted to create or approve pull requests.")
    head, base = _branch_of(state, request.text("head")), request.text("base")
    title, body = request.text("title"), request.body.get("body")
    if not title.strip():
        raise invalid("title", "missing_field", "PullRequest")
    if body is not None and (not isinstance(body, str) or len(body) > 65_536):
        raise invalid("body", "custom", "PullRequest", "body is too long (maximum is 65536 characters)")
    draft = request.flag("draft")
    head_sha, base_sha, merge_base = _check_new(state, head, base)
    now, login = state.now(), request.identity.login
    pull = PullRequest(
        id=state.new_id(),
        number=state.new_number(),
        title=title,
        body=body,
        author=login,
        head_ref=head,
        head_sha=head_sha,
        base_ref=base,
        base_sha=base_sha,
        merge_base=merge_base,
        created_at=now,
        updated_at=now,
        draft=draft,
        last_pusher=state.pushers.get(f"refs/heads/{head}", login),
    )
    state.pulls[pull.number] = pull
    refresh_test_merge(state, pull)
    if not draft:
        request_owners(state, pull)
    pull = state.pulls[pull.number]
    state.emit(payloads.pull_request(state, pull, "opened", request.identity), request.identity)
    created = answers.pull(state, pull, None, "unknown", files_of(state, pull))
    return Answer(201, created, {"Location": created["url"]})


def request_owners(state: State, pull: PullRequest) -> None:
    """Ask the code owners of the changed paths for their review; the author is left out."""
    rules = code_owners(state, pull.base_ref)
    owners: Sequence[str] = ()
    if rules is not None:
        owners = tuple(dict.fromkeys(owner for path in changed_paths(state, pull) for owner in rules.owners(path)))
    teams = tuple(owner.partition("/")[2] for owner in owners if "/" in owner)
    logins = [login for owner in owners if "/" not in owner for login in owner_logins(state, owner)]
    users = tuple(login for login in dict.fromkeys(logins) if login != pull.author)
    state.change_pull(pull.number, requested_users=users, requested_teams=teams)


def update(state: State, request: Request) -> Answer:
    """PATCH title, body, base or state. Closing and reopening start workflows; a new base makes approvals stale."""
    pull, identity = find(state, request), request.identity
    if identity.login != pull.author and answers.role_of(state, identity) == "read":
        raise Refusal(403, "Must have push access to change somebody else's pull request.")
    for key in ("title", "body"):
        if request.body.get(key) is not None:
            pull = state.change_pull(pull.number, **{key: request.text(key)})
    if request.body.get("base") is not None:
        pull = _retarget(state, pull, request.text("base"))
    wanted = request.body.get("state")
    if wanted not in (None, "open", "closed"):
        raise invalid("state", resource="PullRequest")
    if wanted == "closed" and pull.open:
        pull = state.change_pull(pull.number, closed_at=state.now())
        state.emit(payloads.pull_request(state, pull, "closed", identity), identity)
    elif wanted == "open" and not pull.open:
        pull = _reopen(state, pull, identity)
    return Answer(200, _whole(state, pull, identity))


def _retarget(state: State, pull: PullRequest, base: str) -> PullRequest:
    tip = state.bare.tip(f"refs/heads/{base}")
    if tip is None or not pull.open:
        raise invalid("base", resource="PullRequest")
    merge_base = state.bare.merge_base(tip, pull.head_sha)
    moved = state.change_pull(pull.number, base_ref=base, base_sha=tip, merge_base=merge_base)
    dismiss_stale_reviews(state, moved)
    refresh_test_merge(state, moved)
    return state.pulls[pull.number]


def _reopen(state: State, pull: PullRequest, identity: Identity) -> PullRequest:
    head = state.bare.tip(f"refs/heads/{pull.head_ref}")
    if pull.merged_at is not None or head is None:
        message = "state cannot be changed. The pull request is merged or its branch is gone."
        raise invalid("state", "custom", "PullRequest", message)
    base = state.bare.tip(f"refs/heads/{pull.base_ref}") or pull.base_sha
    reopened = state.change_pull(
        pull.number, closed_at=None, head_sha=head, merge_base=state.bare.merge_base(base, head)
    )
    if head != pull.head_sha:
        dismiss_stale_reviews(state, reopened)
    refresh_test_merge(state, reopened)
    state.emit(payloads.pull_request(state, reopened, "reopened", identity), identity)
    return state.pulls[pull.number]


def files(state: State, request: Request) -> Answer:
    """GET the files a pull request changes (GitHub shows no more than 3,000)."""
    pull = find(state, request)
    shown = [answers.file_change(state, pull.head_sha, change) for change in files_of(state, pull)]
    return Answer(200, shown[:FILE_LIMIT], items=True)


def commits(state: State, request: Request) -> Answer:
    """GET the commits of a pull request, oldest first (GitHub shows no more than 250)."""
    pull = find(state, request)
    found = list(state.bare.log("--reverse", f"{pull.merge_base or pull.base_sha}..{pull.head_sha}"))
    return Answer(200, [answers.commit(state, commit) for commit in found[:COMMIT_LIMIT]], items=True)


def is_merged(state: State, request: Request) -> Answer:
    """GET whether a pull request was merged: 204 or 404."""
    if find(state, request).merged_at is None:
        raise not_found()
    return Answer(204)


PULLS = "/repos/<owner>/<repo>/pulls"
PULL = f"{PULLS}/<int:number>"
READ, WRITE = ("pull_requests", "read"), ("pull_requests", "write")

ENDPOINTS = (
    Endpoint("GET", PULLS, list_pulls, READ),
    Endpoint("POST", PULLS, create, WRITE, "write"),
    Endpoint("GET", PULL, get, READ),
    Endpoint("PATCH", PULL, update, WRITE),
    Endpoint("GET", f"{PULL}/files", files, READ),
    Endpoint("GET", f"{PULL}/commits", commits, READ),
    Endpoint("GET", f"{PULL}/merge", is_merged, READ),
)
