"""Files written and deleted over REST: one commit on a branch, under the rules of a push.

https://docs.github.com/en/rest/repos/contents
"""

import base64
import binascii
import tempfile
from pathlib import Path

from breakglass_lab.forge import answers
from breakglass_lab.forge.bare import ZERO, RefMovedError
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid, not_found
from breakglass_lab.forge.protection import RefChange, push_refusal
from breakglass_lab.forge.refs import committer, moved
from breakglass_lab.forge.repositories import REPO, WRITE
from breakglass_lab.forge.state import DEFAULT_BRANCH, State


def put(state: State, request: Request) -> Answer:
    """PUT a file: `content` in Base64; `sha` must be that of the file it replaces, or be left out for a new one."""
    try:
        content = base64.b64decode(request.text("content"), validate=False)
    except binascii.Error as error:
        raise Refusal(422, "content is not valid Base64") from error
    branch, tip, known = _place(state, request)
    blob = state.bare.run("hash-object", "-w", "--stdin", stdin=content).decode("ascii").strip()
    sha = _commit(state, request, branch, tip, f"100644 {blob}")
    item = next(found for found in state.bare.entries(sha, request.values["path"]))
    body = {"content": answers.directory_item(state, branch, item), "commit": _shown(state, sha)}
    return Answer(201 if known is None else 200, body)


def delete(state: State, request: Request) -> Answer:
    """DELETE the file whose blob is `sha`."""
    branch, tip, known = _place(state, request)
    if known is None:
        raise not_found()
    sha = _commit(state, request, branch, tip, f"0 {ZERO}")
    return Answer(200, {"content": None, "commit": _shown(state, sha)})


def _place(state: State, request: Request) -> tuple[str, str, str | None]:
    """Return the branch, its tip and the blob at the path (None: no file); Refusal 404, 409 or 422."""
    branch, path = request.text("branch", DEFAULT_BRANCH), request.values["path"]
    tip = state.bare.tip(f"refs/heads/{branch}")
    if tip is None:
        raise Refusal(404, f"Branch {branch} not found")
    if "\0" in path or {".git", ".", "..", ""} & set(path.split("/")):
        raise invalid("path", resource="Commit")
    known = next((e.sha for e in state.bare.entries(tip, path) if e.path == path and e.kind == "blob"), None)
    given = request.body.get("sha")
    if known is not None and given is None:
        raise Refusal(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    if given is not None and given != known:
        raise Refusal(409, f"{path} does not match {given}")
    return branch, tip, known


def _commit(state: State, request: Request, branch: str, tip: str, entry: str) -> str:
    """Commit the tip's tree with another entry (mode and blob) at the path, and move the branch there if the rules
    allow it.
    """
    line = f"{entry}\t{request.values['path']}\0".encode()
    with tempfile.TemporaryDirectory() as directory:
        environment = {"GIT_INDEX_FILE": str(Path(directory) / "index")}
        state.bare.run("read-tree", tip, environment=environment)
        state.bare.run("update-index", "-z", "--index-info", stdin=line, environment=environment)
        tree = state.bare.run("write-tree", environment=environment).decode("ascii").strip()
    author = state.person(request.identity.login)
    sha = state.bare.commit_tree(tree, (tip,), author, committer(state), request.text("message"))
    moves = RefChange(f"refs/heads/{branch}", tip, sha)
    reason = push_refusal(state, moves, request.identity)
    if reason is not None:
        raise Refusal(409, f"Repository rule violations found\n\n{reason}\n\n")
    try:
        state.bare.update_ref(moves.ref, sha, tip)
    except RefMovedError as error:
        raise Refusal(409, f"{branch} is at another commit than expected") from error
    moved(state, moves, request.identity)
    return sha


def _shown(state: State, sha: str) -> answers.Json:
    return answers.git_commit(state, state.bare.commit(sha))


CONTENTS = f"{REPO}/contents/<path:path>"

ENDPOINTS = (
    Endpoint("PUT", CONTENTS, put, WRITE, "write"),
    Endpoint("DELETE", CONTENTS, delete, WRITE, "write"),
)
