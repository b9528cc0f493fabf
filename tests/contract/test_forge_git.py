"""git over HTTP: who may clone and push, what the rules refuse, and what a push brings about."""

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from forge_users import Api, Clone, git

from breakglass_lab.forge import Forge

REPO = "/repos/acme/platform"
LEDGER = "breakglass-ledger"


def url_with(forge: Forge, token: str) -> str:
    return forge.git_url.replace("http://", f"http://x-access-token:{token}@")


def test_cloning_takes_rights(forge: Forge, tmp_path: Path, app_token: Callable[..., str]) -> None:
    assert "Authentication failed" in git(tmp_path, "ls-remote", url_with(forge, "nonsense"), code=128)
    assert "could not read Username" in git(tmp_path, "ls-remote", forge.git_url, code=128)
    assert "not found" in git(tmp_path, "ls-remote", url_with(forge, forge.token("oscar")), code=128)
    assert "not found" in git(tmp_path, "ls-remote", url_with(forge, app_token(issues="write")), code=128)
    for token in (forge.token("rita"), app_token(contents="read"), forge.workflow_token({"contents": "read"})):
        assert "refs/heads/main" in git(tmp_path, "ls-remote", url_with(forge, token))


@pytest.mark.parametrize("scheme", ["basic", "Basic", "bearer"])
def test_a_token_is_taken_in_every_form_git_and_actions_send(forge: Forge, scheme: str) -> None:
    token = forge.token("ann")
    credential = base64.b64encode(f"x-access-token:{token}".encode()).decode() if scheme != "bearer" else token
    refs = f"{forge.git_url}/info/refs?service=git-upload-pack"
    assert httpx.get(refs, headers={"Authorization": f"{scheme} {credential}"}).status_code == 200
    assert httpx.get(refs, headers={"Authorization": "basic !!!"}).status_code == 401


def test_pushing_takes_write(clone: Callable[..., Clone], forge: Forge, app_token: Callable[..., str]) -> None:
    for work in (clone("rita"), clone(token=app_token(contents="read"))):
        work.commit({"a": "1"})
        assert "403" in work.git("push", "origin", "HEAD:refs/heads/x", code=128)
    assert forge.state.bare.tip("refs/heads/x") is None


def test_main_takes_pull_requests_alone(clone: Callable[..., Clone], forge: Forge) -> None:
    before = forge.state.bare.tip("refs/heads/main")
    for login in ("ann", "adam"):
        work = clone(login)
        work.commit({"a": "1"})
        refused = work.git("push", "origin", "main", code=1)
        assert "GH013: Repository rule violations found for refs/heads/main." in refused
        assert "Changes must be made through a pull request." in refused
        assert "Cannot delete this branch" in work.git("push", "origin", ":main", code=1)
    assert forge.state.bare.tip("refs/heads/main") == before


def test_the_ledger_grows_and_is_never_rewritten_or_deleted(clone: Callable[..., Clone], forge: Forge) -> None:
    work = clone()
    work.branch(LEDGER, {"one": "1"})
    tip = work.commit({"two": "2"})
    work.git("push", "--quiet", "origin", f"HEAD:{LEDGER}")
    work.git("commit", "--quiet", "--amend", "--message", "another story")
    assert "Cannot force-push to this branch" in work.git("push", "--force", "origin", f"HEAD:{LEDGER}", code=1)
    assert "Cannot delete this branch" in work.git("push", "origin", f":{LEDGER}", code=1)
    assert forge.state.bare.tip(f"refs/heads/{LEDGER}") == tip


def test_the_rest_api_keeps_the_same_rules(api: Callable[..., Api], clone: Callable[..., Clone], forge: Forge) -> None:
    work = clone()
    work.branch(LEDGER, {"one": "1"})
    main, ledger = (forge.state.bare.tip(f"refs/heads/{name}") for name in ("main", LEDGER))
    refusals = (
        ("DELETE", f"heads/{LEDGER}", None, "Cannot delete this branch"),
        ("DELETE", "heads/main", None, "Cannot delete this branch"),
        ("PATCH", f"heads/{LEDGER}", {"sha": main}, "Update is not a fast forward"),
        ("PATCH", f"heads/{LEDGER}", {"sha": main, "force": True}, "Cannot force-push to this branch"),
        ("PATCH", "heads/main", {"sha": ledger}, "Changes must be made through a pull request."),
        ("DELETE", "heads/nowhere", None, "Reference does not exist"),
    )
    for method, ref, body, message in refusals:
        refused = api()(method, f"{REPO}/git/refs/{ref}", body)
        assert (refused.status_code, message in refused.json()["message"]) == (422, True), ref
    assert [forge.state.bare.tip(f"refs/heads/{name}") for name in ("main", LEDGER)] == [main, ledger]


def test_a_push_of_many_refs_is_refused_as_one(clone: Callable[..., Clone], forge: Forge) -> None:
    work = clone()
    work.commit({"a": "1"})
    work.git("push", "origin", "HEAD:refs/heads/fine", "HEAD:main", code=1)
    assert forge.state.bare.tip("refs/heads/fine") is None


def test_of_many_who_create_a_ref_one_wins(api: Callable[..., Api], forge: Forge) -> None:
    body = {"ref": "refs/heads/lock", "sha": forge.state.bare.tip("refs/heads/main")}
    client = api()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client("POST", f"{REPO}/git/refs", body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
    assert {answer.json().get("message") for answer in answers} == {None, "Reference already exists"}


@pytest.mark.parametrize(
    "body",
    [
        {"ref": "refs/heads/x", "sha": "0" * 40},
        {"ref": "refs/heads/x", "sha": "main"},
        {"ref": "refs/pull/1/head", "sha": None},
        {"ref": "refs/heads/a..b", "sha": None},
        {"ref": "main", "sha": None},
    ],
)
def test_a_ref_must_be_one(api: Callable[..., Api], forge: Forge, body: dict[str, Any]) -> None:
    sha = body["sha"] or forge.state.bare.tip("refs/heads/main")
    assert api()("POST", f"{REPO}/git/refs", {**body, "sha": sha}).status_code == 422


def test_of_many_pushes_to_one_ref_one_wins(clone: Callable[..., Clone], forge: Forge) -> None:
    works = [clone(fresh=True) for _ in range(3)]
    tips = [work.commit({f"from {index}": "1"}) for index, work in enumerate(works)]

    def push(work: Clone) -> bool:
        try:
            work.git("push", "--quiet", "origin", "HEAD:refs/heads/race")
        except AssertionError:
            return False
        return True

    with ThreadPoolExecutor(3) as threads:
        won = list(threads.map(push, works))
    assert won.count(True) == 1
    assert forge.state.bare.tip("refs/heads/race") == tips[won.index(True)]


def test_pull_requests_have_refs_that_nobody_pushes(
    clone: Callable[..., Clone], forge: Forge, pull: Callable[..., Any]
) -> None:
    opened, bare = pull(), forge.state.bare
    assert bare.tip("refs/pull/1/head") == opened["head"]["sha"]
    merge = bare.commit(bare.tip("refs/pull/1/merge") or "")
    assert merge.parents == (bare.tip("refs/heads/main"), opened["head"]["sha"])
    work = clone()
    new = work.branch("topic", {"note.txt": "two\n"})
    assert bare.tip("refs/pull/1/head") == new
    assert bare.commit(bare.tip("refs/pull/1/merge") or "").parents[1] == new
    assert "hidden ref" in work.git("push", "origin", "HEAD:refs/pull/1/head", code=1)
    work.git("fetch", "--quiet", "origin", "refs/pull/1/merge")


def test_commits_without_blobs_and_any_commit_by_its_id(
    clone: Callable[..., Clone], forge: Forge, tmp_path: Path, pull: Callable[..., Any]
) -> None:
    sha = pull()["head"]["sha"]
    url = url_with(forge, forge.token("rita"))
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--no-checkout", url, "partial")
    missing = git(tmp_path / "partial", "rev-list", "--objects", "--all", "--missing=print")
    assert any(line.startswith("?") for line in missing.splitlines())
    git(tmp_path, "init", "--quiet", "single")
    git(tmp_path / "single", "fetch", "--quiet", "--depth=1", url, sha)
    assert git(tmp_path / "single", "rev-parse", "FETCH_HEAD") == sha
    clone().git("push", "--quiet", "origin", ":topic")
    git(tmp_path / "single", "fetch", "--quiet", "--depth=1", url, sha)


def test_deleting_the_head_branch_closes_the_pull_request(
    api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    pull()
    clone().git("push", "--quiet", "origin", ":topic")
    shown = api()("GET", f"{REPO}/pulls/1", code=200)
    assert (shown["state"], shown["merged"]) == ("closed", False)


@pytest.mark.parametrize("body", [b"", b"zzzz", b"0004", b"00ff", b"001eabc", b"ffff" + b"a" * 70_000])
def test_a_malformed_push_is_refused(forge: Forge, body: bytes) -> None:
    headers = {
        "Authorization": f"token {forge.token('ann')}",
        "Content-Type": "application/x-git-receive-pack-request",
    }
    answer = httpx.post(f"{forge.git_url}/git-receive-pack", content=body, headers=headers)
    assert answer.status_code in (200, 400)
    assert set(forge.state.bare.refs("refs/heads")) == {"refs/heads/main"}


def test_contents_are_read_at_a_ref(api: Callable[..., Api], clone: Callable[..., Clone]) -> None:
    clone().branch("topic", {"a dir/ä.txt": "hello\n", "[b].txt": "x\n"})
    shown = api()("GET", f"{REPO}/contents/a dir/ä.txt", code=200, ref="topic")
    assert base64.b64decode(shown["content"]) == b"hello\n"
    assert api()("GET", f"{REPO}/contents/[b].txt", code=200, ref="topic")["size"] == 2
    assert [one["name"] for one in api()("GET", f"{REPO}/contents/a dir", code=200, ref="topic")] == ["ä.txt"]
    raw = api().client.get(f"{REPO}/contents/README.md", headers={"Accept": "application/vnd.github.raw+json"})
    assert raw.content == b"platform\n"
    for path in ("nowhere", "README.md/x", "../HEAD"):
        assert api()("GET", f"{REPO}/contents/{path}").status_code == 404
    for ref in ("nowhere", "main^", "-q", "main..topic", "@{0}"):
        assert api()("GET", f"{REPO}/contents/README.md", ref=ref).status_code == 404


def test_a_person_can_look_at_it(forge: Forge, pull: Callable[..., Any], api: Callable[..., Api]) -> None:
    pull(content="<script>alert(1)</script>\n")
    api("bob")("POST", f"{REPO}/pulls/1/reviews", {"event": "COMMENT", "body": "<b>no</b>"}, 200)
    index, page = httpx.get(forge.url).text, httpx.get(f"{forge.url}/acme/platform/pull/1").text
    assert "Add note.txt" in index
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert httpx.get(f"{forge.url}/acme/platform/pull/2").status_code == 404
