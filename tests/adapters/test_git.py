"""The git adapter on real repositories: what it reads, what it writes, and what it lets nobody do."""

import base64
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stand_ins import Clone

from breakglass.adapters import git_objects
from breakglass.adapters.git import GitRepository
from breakglass.model.errors import Conflict, NotFound, Refused, Unreachable
from breakglass_lab.forge import Forge

ME = ("breakglass", "breakglass@noreply.invalid")


def test_files_are_read_by_directory_and_by_path(author: Clone) -> None:
    repository = GitRepository(author.directory / "base")
    tip = repository.resolve("main")
    assert repository.files(tip, "base/db/", "README.md", "absent", "README.md/below") == {
        "base/db/db.yaml": b"db\n",
        "README.md": b"hello\n",
    }
    assert set(repository.files(tip, "")) == {"base/web.yaml", "base/db/db.yaml", "README.md"}
    assert repository.files(tip) == {}
    assert repository.files(tip, "base/../README.md") == {}


def test_paths_may_hold_any_byte(author: Clone) -> None:
    name = os.fsdecode(b"base/line\nbreak \xff\xfe\t\"'")
    before = author.git("rev-parse", "HEAD")
    sha = author.commit({name: "odd\n"})
    repository = GitRepository(author.directory)
    encoded = b"base/line\nbreak \xff\xfe\t\"'".decode("utf-8", "surrogateescape")
    assert repository.files(sha, "base")[encoded] == b"odd\n"
    assert [change.path for change in repository.changes(before, sha)] == [encoded]
    assert [entry.change.path for entry in repository.history(sha, "base")][:1] == [encoded]
    again = repository.record(sha, {encoded: b"odder\n"}, "again\n", author=ME)
    assert repository.files(again, encoded) == {encoded: b"odder\n"}


@pytest.mark.parametrize("asked", ["base", "base/link", "base/link/below"])
def test_f22_a_symlink_is_refused(author: Clone, asked: str) -> None:
    (author.directory / "base" / "link").symlink_to("/etc")
    sha = author.commit({})
    with pytest.raises(Refused, match="symlink") as refused:
        GitRepository(author.directory).files(sha, asked)
    assert refused.value.where == "base/link"


def test_f22_a_submodule_is_refused(author: Clone) -> None:
    sha = author.git("rev-parse", "HEAD")
    author.git("update-index", "--add", "--cacheinfo", f"160000,{sha},base/module")
    author.git("commit", "--quiet", "--message", "module")
    with pytest.raises(Refused, match="submodule"):
        GitRepository(author.directory).files(author.git("rev-parse", "HEAD"), "base")


def test_a_large_file_is_refused_and_reading_goes_on(author: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_objects, "LARGEST_FILE", 10)
    sha = author.commit({"big.yaml": "x" * 100_000})
    repository = GitRepository(author.directory)
    with pytest.raises(Refused, match="100000 bytes"):
        repository.files(sha, "big.yaml")
    assert repository.files(sha, "base/web.yaml") == {"base/web.yaml": b"web\n"}


def test_a_commit_is_told_in_utc(author: Clone) -> None:
    first = author.git("rev-parse", "HEAD")
    sha = author.commit({"README.md": "bye\n"}, "Grüße\n\nbody")
    commit = GitRepository(author.directory).commit(sha)
    assert (commit.sha, commit.parents, commit.message) == (sha, (first,), "Grüße\n\nbody\n")
    assert commit.committed_at.timestamp() == int(author.git("log", "-1", "--format=%ct"))
    assert commit.committed_at.utcoffset() is not None


@pytest.mark.parametrize("sha", ["f" * 40, "main", "--output=x", "", "F" * 40, "a" * 39 + "\n"])
def test_what_is_no_commit_is_not_found(author: Clone, sha: str) -> None:
    repository = GitRepository(author.directory)
    real = repository.resolve("main")
    for call in (
        lambda: repository.commit(sha),
        lambda: repository.files(sha, "base"),
        lambda: repository.changes(real, sha),
        lambda: repository.history(sha, "base"),
        lambda: repository.merge_base(real, sha),
    ):
        with pytest.raises(NotFound):
            call()
    assert repository.commit(real).sha == real


def test_a_tree_is_no_commit(author: Clone) -> None:
    repository = GitRepository(author.directory)
    tree = author.git("rev-parse", "HEAD^{tree}")
    with pytest.raises(NotFound):
        repository.commit(tree)
    with pytest.raises(NotFound):
        repository.resolve(tree)


def test_changes_know_no_renames(author: Clone) -> None:
    before = author.git("rev-parse", "HEAD")
    (author.directory / "base" / "web.yaml").chmod(0o755)
    author.git("config", "diff.renames", "copies")
    after = author.commit({"README.md": None, "READ": "hello\n"})
    changes = GitRepository(author.directory).changes(before, after)
    assert [(change.path, change.status, change.old_mode, change.new_mode) for change in changes] == [
        ("READ", "added", "", "100644"),
        ("README.md", "deleted", "100644", ""),
        ("base/web.yaml", "modified", "100644", "100755"),
    ]
    assert changes[0].old_blob == ""
    assert changes[0].new_blob == changes[1].old_blob == author.git("rev-parse", "HEAD:READ")


def test_history_follows_first_parents_newest_first(author: Clone) -> None:
    first = author.git("rev-parse", "HEAD")
    author.git("switch", "--quiet", "--create", "side")
    author.commit({"base/a.yaml": "1\n"})
    author.commit({"base/a.yaml": "2\n"})
    author.git("switch", "--quiet", "main")
    author.commit({"README.md": "elsewhere\n"})
    author.git("merge", "--quiet", "--no-ff", "--message", "merge\n\nwith: body", "side")
    merge = author.git("rev-parse", "HEAD")
    last = author.commit({"base/a.yaml": None}, "gone")
    for setting in ("log.showRoot=false", "log.follow=true", "color.ui=always", "log.diffMerges=combined"):
        author.git("config", *setting.split("="))
    repository = GitRepository(author.directory)
    entries = repository.history(last, "base")
    assert [(entry.commit.sha, entry.change.path, entry.change.status) for entry in entries] == [
        (last, "base/a.yaml", "deleted"),
        (merge, "base/a.yaml", "added"),
        (first, "base/db/db.yaml", "added"),
        (first, "base/web.yaml", "added"),
    ]
    assert entries[1].commit == repository.commit(merge)
    assert repository.history(last, "absent") == ()
    assert repository.history(last, "*") == ()


def test_merge_base_and_resolve(author: Clone) -> None:
    first = author.git("rev-parse", "HEAD")
    author.git("switch", "--quiet", "--create", "side")
    side = author.commit({"side": "1\n"})
    author.git("switch", "--quiet", "main")
    main = author.commit({"main": "1\n"})
    repository = GitRepository(author.directory)
    assert repository.merge_base(side, main) == first
    assert repository.resolve("side") == side
    assert repository.resolve(side[:10]) == side
    orphan = repository.record(None, {"x": b"1"}, "alone\n", author=ME)
    with pytest.raises(NotFound, match="no common ancestor"):
        repository.merge_base(orphan, main)
    with pytest.raises(NotFound):
        repository.resolve("--all")


def test_record_leaves_the_work_tree_alone(author: Clone) -> None:
    (author.directory / "README.md").write_text("half-written\n")
    author.git("add", "README.md")
    (author.directory / "untracked").write_text("mine\n")
    before = (author.git("status", "--porcelain=v2", "--branch"), author.git("for-each-ref"))
    repository = GitRepository(author.directory)
    tip = repository.resolve("main")
    changes = {"base/new/deep.yaml": b"new\n", "base/web.yaml": b"\x00\xff", "base/db/db.yaml": None}
    sha = repository.record(tip, changes, "subject\n\nbody\n", author=ME)
    assert (author.git("status", "--porcelain=v2", "--branch"), author.git("for-each-ref")) == before
    assert {change.path: change.status for change in repository.changes(tip, sha)} == {
        "base/new/deep.yaml": "added",
        "base/web.yaml": "modified",
        "base/db/db.yaml": "deleted",
    }
    assert repository.files(sha, "base/web.yaml") == {"base/web.yaml": b"\x00\xff"}
    assert repository.commit(sha).parents == (tip,)
    assert abs(repository.commit(sha).committed_at.timestamp() - time.time()) < 60
    people = author.git("log", "-1", "--format=%an %ae %cn %ce", sha)
    assert people == " ".join([*ME, *ME])


@pytest.mark.parametrize("changes", [{}, {"base/web.yaml": b"web\n"}, {"absent": None}])
def test_f6_an_empty_change_is_refused(author: Clone, changes: dict[str, bytes | None]) -> None:
    repository = GitRepository(author.directory)
    with pytest.raises(Refused, match="nothing would change"):
        repository.record(repository.resolve("main"), changes, "empty\n", author=ME)


@pytest.mark.parametrize("path", ["../out", "/etc/x", ".git/config", "a/../b", "a//b", "a\0b", "", "a/.GIT/hooks/x"])
def test_f22_a_path_out_of_the_repository_is_refused(author: Clone, path: str) -> None:
    repository = GitRepository(author.directory)
    with pytest.raises(Refused):
        repository.record(repository.resolve("main"), {path: b"x", "fine": b"x"}, "bad\n", author=ME)


def test_without_an_identity_the_remedy_is_told(author: Clone) -> None:
    repository = GitRepository(author.directory)
    tip = repository.resolve("main")
    with pytest.raises(Refused) as refused:
        repository.record(tip, {"x": b"1"}, "mine\n")
    assert "git config" in (refused.value.remedy or "")
    author.git("config", "user.name", "On Call")
    author.git("config", "user.email", "on-call@acme.example")
    sha = repository.record(tip, {"x": b"1"}, "mine\n")
    assert author.git("log", "-1", "--format=%an <%ae>", sha) == "On Call <on-call@acme.example>"


def test_push_moves_a_branch_forward_only(clone: Clone, remote: Clone) -> None:
    repository = GitRepository(clone.directory)
    tip = repository.resolve("main")
    mine = repository.record(tip, {"mine": b"1"}, "mine\n", author=ME)
    theirs = repository.record(tip, {"theirs": b"1"}, "theirs\n", author=ME)
    repository.push(mine, "ledger", create=True)
    assert remote.git("rev-parse", "ledger") == repository.tip("ledger") == mine
    with pytest.raises(Conflict):
        repository.push(theirs, "ledger")
    with pytest.raises(Conflict):
        repository.push(tip, "ledger")
    ahead = repository.record(mine, {"more": b"1"}, "more\n", author=ME)
    for again in (mine, theirs, ahead):
        with pytest.raises(Conflict):
            repository.push(again, "ledger", create=True)
    assert remote.git("rev-parse", "ledger") == mine
    repository.push(ahead, "ledger")


def test_push_conflicts_with_what_was_never_fetched(clone: Clone, author: Clone) -> None:
    repository = GitRepository(clone.directory)
    mine = repository.record(repository.resolve("main"), {"mine": b"1"}, "mine\n", author=ME)
    theirs = author.commit({"theirs": "1"})
    author.git("push", "--quiet", "origin", "main")
    with pytest.raises(Conflict, match="fetch first"):
        repository.push(mine, "main")
    repository.fetch()
    assert repository.tip("main") == theirs


@pytest.mark.parametrize("branch", ["--force", "a..b", "a:b", "+main", "", "a b", "x/", ".x", "a\nb", "refs@{1}"])
def test_a_branch_name_is_only_a_name(clone: Clone, branch: str) -> None:
    repository = GitRepository(clone.directory)
    with pytest.raises(Refused):
        repository.push(repository.resolve("main"), branch)
    with pytest.raises(Refused):
        repository.tip(branch)


def test_the_remote_may_refuse_in_its_own_words(clone: Clone, remote: Clone) -> None:
    hook = remote.directory / "hooks" / "pre-receive"
    hook.write_text(
        "#!/bin/sh\nprintf 'GH013: not\\033[2J you, ghp_secret of https://me:hunter2@forge.example/\\n' >&2; exit 1\n"
    )
    hook.chmod(0o755)
    repository = GitRepository(clone.directory, token="ghp_secret")
    sha = repository.record(repository.resolve("main"), {"x": b"1"}, "x\n", author=ME)
    with pytest.raises(Refused) as refused:
        repository.push(sha, "main")
    assert "GH013: not?[2J you, *** of https://forge.example/" in str(refused.value)
    assert str(refused.value).isprintable()


def test_fetch_brings_branches_prunes_and_adds_refs(clone: Clone, author: Clone) -> None:
    repository = GitRepository(clone.directory)
    author.git("push", "--quiet", "origin", "main:short-lived")
    repository.fetch()
    assert repository.tip("short-lived") == repository.tip("main")
    assert repository.tip("absent") is None
    pull = author.commit({"pull": "1"})
    author.git("push", "--quiet", "origin", f"{pull}:refs/pull/7/head", ":short-lived")
    repository.fetch("refs/pull/7/head")
    assert repository.files(pull, "pull") == {"pull": b"1"}
    assert repository.tip("short-lived") is None
    with pytest.raises(NotFound):
        repository.fetch("refs/pull/8/head")
    for ref in ("--upload-pack=touch x", "refs/heads/main:refs/heads/main", "main", "+refs/heads/main", "refs/../x"):
        with pytest.raises(Refused, match="no ref"):
            repository.fetch(ref)


def test_a_shallow_clone_is_refused(author: Clone, remote: Clone, tmp_path: Path) -> None:
    author.commit({"second": "2"})
    author.git("push", "--quiet", "origin", "main")
    remote.git("clone", "--quiet", "--depth=1", remote.directory.as_uri(), str(tmp_path / "shallow"))
    repository = GitRepository(tmp_path / "shallow")
    for call in (repository.fetch, lambda: repository.history(repository.resolve("main"), "base")):
        with pytest.raises(Refused, match="shallow") as refused:
            call()
        assert refused.value.remedy == "run `git fetch --unshallow`"
    Clone(tmp_path / "shallow").git("fetch", "--quiet", "--unshallow")
    repository.fetch()


@pytest.mark.parametrize("bare", ["--bare", "--no-checkout"])
def test_a_partial_clone_fetches_what_is_missing_at_once(
    author: Clone, remote: Clone, tmp_path: Path, bare: str
) -> None:
    tip = author.commit({f"many/{number}.yaml": f"{number}\n" for number in range(30)})
    tip = author.commit({"elsewhere": "1"})
    author.git("push", "--quiet", "origin", "main")
    remote.git("clone", "--quiet", bare, "--filter=blob:none", remote.directory.as_uri(), str(tmp_path / "partial"))
    partial = Clone(tmp_path / "partial")
    repository = GitRepository(partial.directory)
    packs = len(list(partial.directory.rglob("*.pack")))
    assert len(repository.files(tip, "many")) == 30
    assert len(repository.files(tip, "many")) == 30
    assert len(list(partial.directory.rglob("*.pack"))) == packs + 1
    sha = repository.record(tip, {"new": b"1"}, "new\n", author=ME)
    assert "?" in partial.git("rev-list", "--objects", "--missing=print", sha)
    repository.push(sha, "main")
    assert repository.tip("main") == sha
    remote.directory.rename(tmp_path / "away")
    with pytest.raises(NotFound):
        repository.files(tip, "base")


def test_the_callers_environment_does_not_decide(
    author: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = author.git("rev-parse", "HEAD")
    forged = GitRepository(author.directory).record(None, {"forged": b"1"}, "forged\n", author=ME)
    author.git("replace", tip, forged)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'user.name=Mallory' 'user.email=m@evil.example'")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    repository = GitRepository(author.directory)
    assert set(repository.files(tip, "")) == {"base/web.yaml", "base/db/db.yaml", "README.md"}
    assert [entry.commit.message for entry in repository.history(tip, "base")] == ["first\n"] * 2
    with pytest.raises(Refused):
        repository.record(tip, {"x": b"1"}, "mine\n")
    assert not (tmp_path / "trace").exists()
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "elsewhere"))
    with pytest.raises(Refused, match="GitPython"):
        GitRepository(author.directory).files(tip, "")


def test_no_hook_runs(clone: Clone, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    for name in ("pre-push", "post-commit", "reference-transaction", "post-index-change"):
        hook = clone.directory / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch '{witness}'\n")
        hook.chmod(0o755)
    repository = GitRepository(clone.directory)
    repository.fetch()
    repository.push(repository.record(repository.resolve("main"), {"x": b"1"}, "x\n", author=ME), "main")
    assert not witness.exists()


@pytest.mark.parametrize("url", ["ext::sh -c touch% {}", "http://192.0.2.1/acme/platform.git", "git://192.0.2.1/x.git"])
def test_f22_only_safe_protocols_are_spoken(clone: Clone, tmp_path: Path, url: str) -> None:
    clone.git("config", "protocol.allow", "always")
    clone.git("remote", "set-url", "origin", url.format(tmp_path / "witness"))
    with pytest.raises(Refused, match="not allowed"):
        GitRepository(clone.directory, timeout=10).fetch()
    assert not (tmp_path / "witness").exists()


def test_a_remote_that_hangs_is_given_up_with_its_children(clone: Clone, tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >'{tmp_path}/pid'\nexec sleep 600\n")
    ssh.chmod(0o755)
    clone.git("config", "core.sshCommand", f"'{ssh}'")
    clone.git("remote", "set-url", "origin", "git@forge.example:acme/platform.git")
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"did not finish within 1.5 s"):
        GitRepository(clone.directory, timeout=1.5).fetch()
    assert time.monotonic() - started < 20
    with pytest.raises(ProcessLookupError):
        _wait_for_end(int((tmp_path / "pid").read_text()))


def _wait_for_end(pid: int) -> None:
    """Raise ProcessLookupError once the process is gone; return when it is still there after 10 s."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{pid}/status").exists():
        if "zombie" in Path(f"/proc/{pid}/status").read_text():
            raise ProcessLookupError
        os.sched_yield()
    os.kill(pid, 0)


def test_what_is_no_repository_is_refused(tmp_path: Path, author: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="not a git repository"):
        GitRepository(tmp_path / "empty")
    with pytest.raises(NotFound):
        GitRepository(tmp_path / "absent")
    with pytest.raises(Refused, match="no name of a remote"):
        GitRepository(author.directory, remote="--upload-pack=x")
    with pytest.raises(NotFound, match="No such remote"):
        GitRepository(author.directory).fetch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="not installed"):
        GitRepository(author.directory)


@pytest.fixture
def forge_clone(forge: Forge, tmp_path: Path) -> Callable[[str | None], GitRepository]:
    """Make repositories over http with a token, all in one clone."""
    directory = tmp_path / "over http"
    directory.mkdir()
    clone = Clone(directory)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.git("remote", "add", "origin", forge.git_url)
    return lambda token: GitRepository(directory, token=token)


def test_the_forge_is_reached_with_a_token(
    forge: Forge, forge_clone: Callable[[str | None], GitRepository], home: Path
) -> None:
    # Whatever else would send credentials must not get in the way of the token.
    (home / ".gitconfig").write_text(
        f'[http "{forge.url}"]\n\textraHeader = Authorization: Basic bm86bm8=\n[credential]\n\thelper = "!exit 1"\n'
    )
    repository = forge_clone(forge.token("ann"))
    repository.fetch()
    tip = repository.tip("main")
    assert tip is not None
    sha = repository.record(tip, {"x": b"1"}, "x\n", author=ME)
    repository.push(sha, "request", create=True)
    with pytest.raises(Conflict):
        repository.push(sha, "request", create=True)
    assert forge.state.bare.tip("refs/heads/request") == sha
    assert {route.login for route in forge.routes} == {"ann"}


def test_secrets_are_in_no_message(forge: Forge, forge_clone: Callable[[str | None], GitRepository]) -> None:
    reader, wrong = forge.token("rita"), "ghp_" + "wrong" * 7
    forge_clone(reader).fetch()
    repository = forge_clone(reader)
    sha = repository.record(repository.resolve("origin/main"), {"x": b"1"}, "x\n", author=ME)
    for token, call in (
        (reader, lambda: repository.push(sha, "x", create=True)),
        (wrong, lambda: forge_clone(wrong).fetch()),
        (None, lambda: forge_clone(None).fetch()),
    ):
        with pytest.raises(Refused) as refused:
            call()
        assert "contents: write" in (refused.value.remedy or "")
        told = f"{refused.value} {refused.value.remedy}"
        for secret in filter(None, (token, base64.b64encode(f"x-access-token:{token}".encode()).decode())):
            assert secret not in told


def test_a_forge_out_of_order_is_unreachable(forge: Forge, forge_clone: Callable[[str | None], GitRepository]) -> None:
    repository = forge_clone(forge.token("ann"))
    forge.fault("GET", ".*/info/refs", status=503, times=1)
    with pytest.raises(Unreachable, match="503"):
        repository.fetch()
    repository.fetch()


def test_no_network_is_unreachable_and_hides_the_password(clone: Clone) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        clone.git("remote", "set-url", "origin", f"http://someone:hunter2@127.0.0.1:{port}/acme/platform.git")
        with pytest.raises(Unreachable) as unreachable:
            GitRepository(clone.directory, token="ghp_secret").fetch()
    assert "hunter2" not in str(unreachable.value)
    assert "127.0.0.1" in str(unreachable.value)
