"""The activity view: every move of a branch is in it, whoever moved it and however, in pages with cursors."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from forge_users import Api, Clock, Clone
from github_schema import VERSIONS, assert_requests_are_githubs, check_answer

from breakglass_lab.forge import Forge

REPO = "/repos/acme/platform"
ACTIVITY = f"{REPO}/activity"
ZERO = "0" * 40


def shown(entry: Any) -> tuple[str, str, str, str, str | None]:
    actor = entry["actor"] and entry["actor"]["login"]
    return entry["activity_type"], entry["ref"], entry["before"], entry["after"], actor


def test_pushes_are_seen_with_what_they_did(forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api]) -> None:
    main = forge.state.bare.tip("refs/heads/main")
    ann = clone("ann")
    first = ann.branch("topic", {"note.txt": "one\n"})
    second = ann.commit({"note.txt": "two\n"})
    ann.git("push", "--quiet", "origin", "topic")
    third = ann.branch("topic", {"note.txt": "three\n"})
    ann.git("push", "--quiet", "origin", "topic:refs/tags/v1", "topic:refs/notes/x")
    ann.git("push", "--quiet", "origin", ":topic")
    assert [shown(entry) for entry in api("rita")("GET", ACTIVITY, code=200)] == [
        ("branch_deletion", "refs/heads/topic", third, ZERO, "ann"),
        ("force_push", "refs/heads/topic", second, third, "ann"),
        ("push", "refs/heads/topic", first, second, "ann"),
        ("branch_creation", "refs/heads/topic", ZERO, first, "ann"),
        ("branch_creation", "refs/heads/main", ZERO, main, None),
    ]


def test_refs_moved_over_rest_are_seen(forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api]) -> None:
    main = forge.state.bare.tip("refs/heads/main")
    tip = clone().branch("topic", {"note.txt": "one\n"})
    bob = api("bob")
    bob("POST", f"{REPO}/git/refs", {"ref": "refs/heads/x", "sha": main}, 201)
    bob("PATCH", f"{REPO}/git/refs/heads/x", {"sha": tip}, 200)
    bob("PATCH", f"{REPO}/git/refs/heads/x", {"sha": main, "force": True}, 200)
    bob("DELETE", f"{REPO}/git/refs/heads/x", None, 204)
    assert [shown(entry) for entry in bob("GET", ACTIVITY, ref="x", direction="asc", code=200)] == [
        ("branch_creation", "refs/heads/x", ZERO, main, "bob"),
        ("push", "refs/heads/x", main, tip, "bob"),
        ("force_push", "refs/heads/x", tip, main, "bob"),
        ("branch_deletion", "refs/heads/x", main, ZERO, "bob"),
    ]


def test_a_merge_is_one_and_a_refused_push_is_none(
    forge: Forge,
    api: Callable[..., Api],
    app_token: Callable[..., str],
    pull: Callable[..., Any],
    clone: Callable[..., Clone],
) -> None:
    before = forge.state.bare.tip("refs/heads/main")
    pull()
    clone().git("checkout", "--quiet", "-B", "main", "origin/main")
    clone().commit({"direct.txt": "one\n"})
    assert "GH013" in clone().git("push", "origin", "main", code=1)
    robot = api(token=app_token())
    robot("GET", f"{REPO}/pulls/1")
    merged = robot("PUT", f"{REPO}/pulls/1/merge", {}, 200)["sha"]
    (merge, creation) = robot("GET", ACTIVITY, ref="refs/heads/main", code=200)
    assert shown(merge) == ("pr_merge", "refs/heads/main", before, merged, "acme-breakglass[bot]")
    assert creation["activity_type"] == "branch_creation"


def test_a_direct_push_past_the_rules_is_a_push(
    forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api]
) -> None:
    forge.state.rulesets.clear()
    ann = clone()
    ann.git("checkout", "--quiet", "-B", "main", "origin/main")
    ann.commit({"direct.txt": "one\n"})
    ann.git("push", "--quiet", "origin", "main")
    ann.git("reset", "--quiet", "--hard", "HEAD~1")
    ann.commit({"rewritten.txt": "one\n"})
    ann.git("push", "--quiet", "--force", "origin", "main")
    kinds = [entry["activity_type"] for entry in api()("GET", ACTIVITY, ref="main", code=200)]
    assert kinds == ["force_push", "push", "branch_creation"]


def test_files_written_over_rest_are_pushes_under_the_rules(
    forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api]
) -> None:
    clone().branch("topic", {"note.txt": "one\n"})
    path, ann = f"{REPO}/contents/docs/new.md", api()

    def change(method: str, body: dict[str, str], code: int) -> Any:
        response = ann(method, path, body)
        assert response.status_code == code, response.text
        if code < 300:
            check_answer("2022-11-28", method, path, response.content)
        return response.json()

    body = {"message": "write", "content": "b25lCg==", "branch": "topic"}
    first = change("PUT", body, 201)["content"]["sha"]
    change("PUT", body, 422)
    change("PUT", body | {"sha": "0" * 40}, 409)
    second = change("PUT", body | {"sha": first, "content": "dHdvCg=="}, 200)
    assert forge.state.bare.file("refs/heads/topic", "docs/new.md") == b"two\n"
    assert second["commit"]["committer"]["name"] == "GitHub"
    removed = change("DELETE", {"message": "delete", "sha": second["content"]["sha"], "branch": "topic"}, 200)
    assert forge.state.bare.tip("refs/heads/topic") == removed["commit"]["sha"]
    assert forge.state.bare.file("refs/heads/topic", "docs/new.md") is None
    change("PUT", body | {"branch": "main"}, 409)
    change("PUT", body | {"branch": "nowhere"}, 404)
    assert api("rita")("PUT", path, body).status_code == 403
    kinds = [entry["activity_type"] for entry in ann("GET", ACTIVITY, ref="topic", code=200)]
    assert kinds == ["push", "push", "push", "branch_creation"]
    assert len(ann("GET", ACTIVITY, ref="main", code=200)) == 1


def test_a_second_seed_before_anybody_moved_is_one_creation(forge: Forge, clone: Callable[..., Clone]) -> None:
    work = clone()
    tip = work.commit({"seeded.txt": "one\n"})
    forge.seed(work.directory)
    (entry,) = forge.state.activities
    assert (entry.type, entry.after) == ("branch_creation", tip)


def test_selections(clone: Callable[..., Clone], api: Callable[..., Api], clock: Clock) -> None:
    clone("ann").branch("old", {"note.txt": "one\n"})
    clock.now += timedelta(days=8)
    clone("bob").branch("new", {"note.txt": "one\n"})
    clone("bob").git("push", "--quiet", "origin", ":old")

    def refs(**query: str) -> list[str]:
        return [entry["ref"].removeprefix("refs/heads/") for entry in api()("GET", ACTIVITY, code=200, **query)]

    assert refs(actor="bob") == ["old", "new"]
    assert refs(actor="Ann") == ["old"]
    assert refs(time_period="day") == ["old", "new"]
    assert refs(time_period="week") == ["old", "new"]
    assert refs(time_period="month") == ["old", "new", "old", "main"]
    assert refs(activity_type="branch_deletion") == ["old"]
    assert refs(ref="refs/heads/old", direction="asc") == ["old", "old"]
    assert refs(activity_type="pr_merge") == []


@pytest.mark.parametrize(
    "query",
    [{"time_period": "hour"}, {"activity_type": "merge"}, {"direction": "up"}, {"after": "!"}, {"before": "djE6OTk="}],
)
def test_what_github_does_not_know_is_422(api: Callable[..., Api], query: dict[str, str]) -> None:
    assert api()("GET", ACTIVITY, **query).status_code == 422


def test_pages_are_reached_by_cursors_and_stand_still_when_more_comes(
    forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api]
) -> None:
    for name in ("a", "b", "c", "d"):
        clone().branch(name, {"note.txt": name})
    first = api()("GET", ACTIVITY, per_page=2, actor="ann")
    assert [entry["ref"] for entry in first.json()] == ["refs/heads/d", "refs/heads/c"]
    assert set(first.links) == {"next"}
    clone().branch("e", {"note.txt": "e"})
    url = first.links["next"]["url"]
    assert url.startswith(forge.api_url + ACTIVITY)
    assert "after=" in url
    assert "page=1" not in url.replace("per_page", "")
    second = api()("GET", url.removeprefix(forge.api_url))
    assert [entry["ref"] for entry in second.json()] == ["refs/heads/b", "refs/heads/a"]
    assert set(second.links) == {"prev"}
    again = api()("GET", second.links["prev"]["url"].removeprefix(forge.api_url))
    assert again.json() == first.json()
    assert set(again.links) == {"prev", "next"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_answer_is_githubs(
    version: str, forge: Forge, clone: Callable[..., Clone], api: Callable[..., Api]
) -> None:
    clone().branch("topic", {"note.txt": "one\n"})
    query = {"ref": "topic", "time_period": "day", "activity_type": "branch_creation", "direction": "asc"}
    response = api(version=version)("GET", ACTIVITY, **query)
    assert len(check_answer(version, "GET", ACTIVITY, response.content)) == 1
    everything = api(version=version)("GET", ACTIVITY)
    assert len(check_answer(version, "GET", ACTIVITY, everything.content)) == 2
    assert_requests_are_githubs(forge.routes)


def test_a_token_needs_to_read_contents(api: Callable[..., Api], app_token: Callable[..., str]) -> None:
    assert api(token=app_token(contents="read"))("GET", ACTIVITY).status_code == 200
    assert api(token=app_token(checks="write"))("GET", ACTIVITY).status_code == 403
    assert api(None)("GET", ACTIVITY).status_code == 404
