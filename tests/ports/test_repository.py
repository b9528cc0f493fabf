"""What every `Repository` does; the one in memory passes here only if the real one does the same."""

from __future__ import annotations

import pytest

from breakglass.model.errors import Conflict, NotFound, Refused
from breakglass.ports import Repository
from ports.clock import NIGHT
from ports.conftest import Hosting
from ports.remote import EXECUTABLE, PLAIN, SUBMODULE, SYMLINK


def tip_of(repository: Repository, branch: str = "main") -> str:
    tip = repository.tip(branch)
    assert tip is not None
    return tip


def test_files_are_those_under_the_directories_asked_for(hosting: Hosting) -> None:
    repository = hosting.clone()
    tip = tip_of(repository)
    assert repository.files(tip, "base") == {"base/a.yaml": b"one\n", "base/b.yaml": b"two\n"}
    assert repository.files(tip, "base/a.yaml", "missing") == {"base/a.yaml": b"one\n"}
    assert repository.files(tip, "bas") == {}
    assert repository.files(tip, "base/a.yaml/below") == {}
    assert repository.files(tip) == {}


def test_a_symlink_or_submodule_is_refused_wherever_it_is_read_from(hosting: Hosting) -> None:
    tip = hosting.remote.ref("refs/heads/main")
    assert tip is not None
    changes = {"base/link": (SYMLINK, b"/etc"), "vendor/thing": (SUBMODULE, tip.encode())}
    hosting.remote.set_ref("refs/heads/main", hosting.remote.commit((tip,), changes, NIGHT))
    repository = hosting.clone()
    for path in ("base", "base/link", "base/link/passwd", "vendor"):
        with pytest.raises(Refused):
            repository.files(tip_of(repository), path)
    assert repository.files(tip_of(repository), "base/a.yaml") == {"base/a.yaml": b"one\n"}


def test_a_tip_is_as_last_fetched(hosting: Hosting) -> None:
    repository = hosting.clone()
    before = tip_of(repository)
    after = hosting.grow("main", {"base/c.yaml": b"three\n"})
    assert repository.tip("main") == before
    with pytest.raises(NotFound):
        repository.commit(after)
    repository.fetch()
    assert repository.tip("main") == after
    assert repository.tip("nowhere") is None


def test_a_deleted_branch_is_gone_after_a_fetch(hosting: Hosting) -> None:
    hosting.grow("other", {"x": b"x"})
    repository = hosting.clone()
    assert repository.tip("other") is not None
    hosting.remote.set_ref("refs/heads/other", None)
    repository.fetch()
    assert repository.tip("other") is None


def test_a_ref_beside_the_branches_is_known_only_after_it_was_fetched(hosting: Hosting) -> None:
    repository = hosting.clone()
    head = hosting.remote.commit((tip_of(repository),), {"x": (PLAIN, b"x")}, NIGHT)
    hosting.remote.set_ref("refs/pull/7/head", head)
    repository.fetch()
    with pytest.raises(NotFound):
        repository.commit(head)
    repository.fetch("refs/pull/7/head")
    assert repository.commit(head).parents == (repository.tip("main"),)
    with pytest.raises(Refused):
        repository.fetch("refs/pull/8/head")


def test_a_commit_tells_its_parents_time_and_message(hosting: Hosting) -> None:
    tip = hosting.remote.ref("refs/heads/main")
    assert tip is not None
    sha = hosting.remote.commit((tip,), {"x": (PLAIN, b"x")}, NIGHT, "subject\n\nbody")
    hosting.remote.set_ref("refs/heads/main", sha)
    commit = hosting.clone().commit(sha)
    assert (commit.sha, commit.parents, commit.committed_at) == (sha, (tip,), NIGHT)
    assert commit.message.strip() == "subject\n\nbody"


def test_a_revision_resolves_to_a_commit_or_is_not_found(hosting: Hosting) -> None:
    repository = hosting.clone()
    tip = tip_of(repository)
    assert repository.resolve("refs/remotes/origin/main") == tip
    assert repository.resolve("origin/main") == tip
    assert repository.resolve(tip) == tip
    for revision in ("origin/nowhere", "0" * 40):
        with pytest.raises(NotFound):
            repository.resolve(revision)


def test_changes_tell_path_modes_and_blobs(hosting: Hosting) -> None:
    repository = hosting.clone()
    before = tip_of(repository)
    changes = {"base/a.yaml": None, "base/b.yaml": (EXECUTABLE, b"two\n"), "new/é": (PLAIN, b"new")}
    after = hosting.remote.commit((before,), changes, NIGHT)
    hosting.remote.set_ref("refs/heads/main", after)
    repository.fetch()
    deleted, modified, added = repository.changes(before, after)
    assert (deleted.path, deleted.status, deleted.old_mode, deleted.new_blob) == ("base/a.yaml", "deleted", PLAIN, "")
    assert deleted.old_blob == "5626abf0f72e58d7a153368ba57db4c673c0e171"
    assert (modified.status, modified.old_mode, modified.new_mode) == ("modified", PLAIN, EXECUTABLE)
    assert modified.old_blob == modified.new_blob
    assert (added.path, added.status, added.old_mode, added.old_blob) == ("new/é", "added", "", "")
    assert repository.changes(after, after) == ()


def test_history_follows_the_first_parents_newest_first(hosting: Hosting) -> None:
    repository = hosting.clone()
    first = tip_of(repository)
    side = hosting.remote.commit((first,), {"base/c.yaml": (PLAIN, b"three\n")}, NIGHT)
    side = hosting.remote.commit((side,), {"base/c.yaml": (PLAIN, b"3\n")}, NIGHT)
    grown = hosting.grow("main", {"base/a.yaml": b"1\n"})
    merged = hosting.remote.merge(grown, side, NIGHT, "merge")
    hosting.remote.set_ref("refs/heads/main", merged)
    removed = hosting.grow("main", {"base/c.yaml": None, "README.md": b"other\n"})
    repository.fetch()
    told = [(entry.commit.sha, entry.change.path, entry.change.status) for entry in repository.history(removed, "base")]
    assert told == [
        (removed, "base/c.yaml", "deleted"),
        (merged, "base/c.yaml", "added"),
        (grown, "base/a.yaml", "modified"),
        (first, "base/a.yaml", "added"),
        (first, "base/b.yaml", "added"),
    ]
    assert [entry.commit.sha for entry in repository.history(removed, "base/b.yaml")] == [first]
    assert repository.history(removed, "bas") == ()


def test_a_merge_base_is_where_two_lines_part(hosting: Hosting) -> None:
    repository = hosting.clone()
    first = tip_of(repository)
    side = hosting.remote.commit((first,), {"x": (PLAIN, b"x")}, NIGHT)
    hosting.remote.set_ref("refs/heads/side", side)
    alone = hosting.grow("alone", {"y": b"y"})
    main = hosting.grow("main", {"z": b"z"})
    repository.fetch()
    assert repository.merge_base(main, side) == first
    assert repository.merge_base(first, side) == first
    with pytest.raises(NotFound):
        repository.merge_base(main, alone)


def test_a_recorded_commit_holds_the_changes_and_nothing_else(hosting: Hosting) -> None:
    repository = hosting.clone()
    tip = tip_of(repository)
    sha = repository.record(tip, {"base/a.yaml": None, "new/file.yaml": b"x: 1\n"}, "subject\n\nbody\n")
    assert repository.commit(sha).parents == (tip,)
    assert repository.files(sha, "base", "new") == {"base/b.yaml": b"two\n", "new/file.yaml": b"x: 1\n"}
    assert [change.path for change in repository.changes(tip, sha)] == ["base/a.yaml", "new/file.yaml"]
    assert repository.tip("main") == tip


def test_the_first_commit_of_a_branch_has_no_parent(hosting: Hosting) -> None:
    repository = hosting.clone()
    sha = repository.record(None, {"a.json": b"{}"}, "first\n", author=("breakglass", "breakglass@noreply.invalid"))
    assert repository.commit(sha).parents == ()
    assert repository.files(sha, "a.json") == {"a.json": b"{}"}


def test_a_commit_that_changes_nothing_is_refused(hosting: Hosting) -> None:
    repository = hosting.clone()
    tip = tip_of(repository)
    for changes in ({}, {"base/a.yaml": b"one\n"}, {"missing": None}):
        with pytest.raises(Refused):
            repository.record(tip, changes, "nothing\n")


def test_a_push_is_seen_by_others_and_by_oneself(hosting: Hosting) -> None:
    repository, other = hosting.clone(), hosting.clone()
    sha = repository.record(tip_of(repository), {"x": b"x"}, "x\n")
    repository.push(sha, "main")
    assert repository.tip("main") == hosting.remote.ref("refs/heads/main") == sha
    other.fetch()
    assert other.tip("main") == sha


def test_a_push_never_moves_a_branch_backward_or_aside(hosting: Hosting) -> None:
    repository, other = hosting.clone(), hosting.clone()
    first = tip_of(repository)
    repository.push(repository.record(first, {"x": b"x"}, "x\n"), "main")
    aside = other.record(first, {"y": b"y"}, "y\n")
    for commit in (aside, first):
        with pytest.raises(Conflict):
            other.push(commit, "main")
    assert hosting.remote.ref("refs/heads/main") == repository.tip("main")


def test_a_branch_is_created_once(hosting: Hosting) -> None:
    repository, other = hosting.clone(), hosting.clone()
    sha = repository.record(tip_of(repository), {"x": b"x"}, "x\n")
    repository.push(sha, "breakglass/close/1", create=True)
    with pytest.raises(Conflict):
        repository.push(sha, "breakglass/close/1", create=True)
    with pytest.raises(Conflict):
        other.push(other.record(tip_of(other), {"y": b"y"}, "y\n"), "breakglass/close/1", create=True)
    assert hosting.remote.ref("refs/heads/breakglass/close/1") == sha
