"""Reviews, code owners, and when an approval goes stale."""

from collections.abc import Callable
from typing import Any

import pytest
from forge_users import Api, Clone

from breakglass_lab.forge import Forge
from breakglass_lab.forge.codeowners import parse

REPO = "/repos/acme/platform"
PULLS = f"{REPO}/pulls"


def review(client: Api, number: int, event: str = "APPROVE", **body: str) -> Any:
    return client("POST", f"{PULLS}/{number}/reviews", {"event": event, **body})


def states(client: Api, number: int) -> list[tuple[str, str]]:
    given = client("GET", f"{PULLS}/{number}/reviews", code=200)
    return [(one["user"]["login"], one["state"]) for one in given]


def merge_message(client: Api, number: int) -> str:
    client("GET", f"{PULLS}/{number}")
    message: str = client("PUT", f"{PULLS}/{number}/merge", {}).json()["message"]
    return message


MERGED = "Pull Request successfully merged"


@pytest.mark.parametrize("event", ["APPROVE", "REQUEST_CHANGES"])
def test_an_author_does_not_judge_their_own(api: Callable[..., Api], pull: Callable[..., Any], event: str) -> None:
    refused = review(api(), pull()["number"], event, body="fine")
    assert refused.status_code == 422
    assert "your own pull request" in refused.json()["errors"][0]
    assert review(api(), 1, "COMMENT", body="see INC-1").status_code == 200


def test_a_review_is_bound_to_its_commit(
    api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    old = pull()["head"]["sha"]
    work = clone()
    work.git("checkout", "--quiet", "topic")
    new = work.commit({"note.txt": "two\n"})
    work.git("push", "--quiet", "origin", "topic")
    assert review(api("bob"), 1).json()["commit_id"] == new
    assert review(api("bob"), 1, commit_id=old).json()["commit_id"] == old
    assert review(api("bob"), 1, commit_id="0" * 40).status_code == 422


def test_a_push_dismisses_approvals_and_nothing_else(
    api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    pull()
    review(api("bob"), 1)
    review(api("ines"), 1, "COMMENT", body="hm")
    assert states(api(), 1) == [("bob", "APPROVED"), ("ines", "COMMENTED")]
    clone().branch("topic", {"note.txt": "two\n"})
    assert states(api(), 1) == [("bob", "DISMISSED"), ("ines", "COMMENTED")]
    assert "approving review" in merge_message(api(), 1)


def test_a_moved_merge_base_dismisses_approvals(api: Callable[..., Api], clone: Callable[..., Clone]) -> None:
    work = clone()
    work.branch("below", {"a.txt": "a\n"})
    work.branch("above", {"b.txt": "b\n"}, base="origin/below")
    numbers = [api()("POST", PULLS, {"title": n, "head": n, "base": "main"}, 201)["number"] for n in ("below", "above")]
    for number in numbers:
        review(api("bob"), number)
    assert merge_message(api(), numbers[0]) == MERGED
    assert states(api(), numbers[1]) == [("bob", "DISMISSED")]


def test_a_merge_elsewhere_on_the_base_dismisses_nothing(api: Callable[..., Api], pull: Callable[..., Any]) -> None:
    first, second = pull("one", "one.txt"), pull("two", "two.txt")
    for opened in (first, second):
        review(api("bob"), opened["number"])
    assert merge_message(api(), first["number"]) == MERGED
    assert states(api(), second["number"]) == [("bob", "APPROVED")]


def test_the_last_pusher_does_not_approve(
    api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    pull()
    clone("bob").branch("topic", {"note.txt": "two\n"}, base="origin/topic")
    review(api("bob"), 1)
    assert "someone other than the last pusher" in merge_message(api("bob"), 1)
    review(api("ines"), 1)
    assert merge_message(api("bob"), 1) == MERGED


def test_a_requested_change_blocks_until_its_author_approves(api: Callable[..., Api], pull: Callable[..., Any]) -> None:
    pull()
    review(api("ines"), 1, "REQUEST_CHANGES", body="no")
    review(api("bob"), 1)
    assert "Changes were requested" in merge_message(api(), 1)
    review(api("ines"), 1)
    assert merge_message(api(), 1) == MERGED


def test_an_approval_without_write_does_not_count(api: Callable[..., Api], pull: Callable[..., Any]) -> None:
    pull()
    assert review(api("rita"), 1).status_code == 200
    assert "At least 1 approving review" in merge_message(api(), 1)
    assert review(api("oscar"), 1).status_code == 404


class TestCodeOwners:
    def test_any_owner_of_the_line_suffices_and_no_other_approval_does(
        self, api: Callable[..., Api], pull: Callable[..., Any]
    ) -> None:
        pull(path="overlays/emergency/one.yaml")
        review(api("bob"), 1)
        assert "Waiting on code owner review from @acme/incident-commanders." in merge_message(api(), 1)
        review(api("ivan"), 1)
        assert merge_message(api(), 1) == MERGED

    def test_a_path_without_owners_satisfies_the_rule(self, api: Callable[..., Api], pull: Callable[..., Any]) -> None:
        pull(path="docs/notes.md")
        review(api("ines"), 1)
        assert merge_message(api(), 1) == MERGED

    def test_it_is_read_from_the_base_branch(self, api: Callable[..., Api], clone: Callable[..., Clone]) -> None:
        clone().branch("topic", {"CODEOWNERS": "* @ines\n", "note.txt": "one\n"})
        api()("POST", PULLS, {"title": "mine", "head": "topic", "base": "main"}, 201)
        review(api("ines"), 1)
        assert "Waiting on code owner review from @ann or @bob." in merge_message(api(), 1)

    def test_the_first_location_hides_the_others(
        self, api: Callable[..., Api], forge: Forge, clone: Callable[..., Clone], pull: Callable[..., Any]
    ) -> None:
        work = clone()
        work.commit({".github/CODEOWNERS": "* @ines\n", "docs/CODEOWNERS": "* @sven\n"})
        forge.seed(work.directory)
        pull()
        review(api("bob"), 1)
        assert "Waiting on code owner review from @ines." in merge_message(api(), 1)

    def test_owners_are_asked_when_a_pull_request_opens(
        self, api: Callable[..., Api], pull: Callable[..., Any]
    ) -> None:
        asked = pull(path="overlays/emergency/one.yaml")
        assert [team["slug"] for team in asked["requested_teams"]] == ["incident-commanders"]
        plain = pull("second", "note.txt")
        assert [user["login"] for user in plain["requested_reviewers"]] == ["bob"]
        review(api("ines"), asked["number"])
        assert api()("GET", f"{PULLS}/{asked['number']}/requested_reviewers", code=200) == {"users": [], "teams": []}

    def test_a_renamed_file_asks_the_owners_of_its_old_name(
        self, api: Callable[..., Api], forge: Forge, clone: Callable[..., Clone]
    ) -> None:
        work = clone()
        work.commit({"overlays/emergency/one.yaml": "a: 1\nb: 2\nc: 3\n"})
        forge.seed(work.directory)
        work.branch("topic", {"overlays/emergency/one.yaml": None, "docs/one.yaml": "a: 1\nb: 2\nc: 3\n"})
        api()("POST", PULLS, {"title": "move", "head": "topic", "base": "main"}, 201)
        review(api("bob"), 1)
        assert "@acme/incident-commanders" in merge_message(api(), 1)

    def test_mistakes_are_reported_and_otherwise_silent(
        self, api: Callable[..., Api], forge: Forge, clone: Callable[..., Clone], pull: Callable[..., Any]
    ) -> None:
        lines = (
            "* @ann @bob",
            "!x @ines",
            "[a] @ines",
            "*.txt nobody",
            "*.txt @rita",
            "*.txt @acme/ghosts @acme-breakglass[bot]",
        )
        work = clone()
        work.commit({"CODEOWNERS": "\n".join(lines)})
        forge.seed(work.directory)
        errors = api()("GET", f"{REPO}/codeowners/errors", code=200)["errors"]
        assert [(error["line"], error["kind"]) for error in errors] == [
            (2, "Invalid pattern"),
            (3, "Invalid pattern"),
            (4, "Invalid owner"),
            (5, "Unknown owner"),
            (6, "Invalid owner"),
        ]
        pull()
        review(api("ines"), 1)
        assert merge_message(api(), 1) == MERGED


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ("a", "a/b/c"), ()),
        ("*.js", ("a.js", "b/c.js"), ("a.jsx", "A.JS")),
        ("/build/logs/", ("build/logs/a", "build/logs/b/c"), ("x/build/logs/a", "build/logs")),
        ("docs/*", ("docs/a.md",), ("docs/a/b.md", "x/docs/a.md")),
        ("apps/", ("apps/a", "x/apps/b/c"), ("apps", "myapps/a")),
        ("/docs/", ("docs/a", "docs/b/c"), ("x/docs/a",)),
        ("**/logs", ("logs/a", "build/logs", "a/b/logs/c"), ("logsx",)),
        ("/apps/github", ("apps/github", "apps/github/a"), ("apps/githubx", "x/apps/github")),
        ("/a/**/z", ("a/z", "a/b/z", "a/b/c/z"), ("a/bz", "b/a/z")),
        ("/a/**", ("a/b", "a/b/c"), ("a", "b/a/c")),
        ("a?c", ("abc", "x/abc"), ("a/c", "abbc")),
    ],
)
def test_patterns_match_as_documented(pattern: str, matching: tuple[str, ...], others: tuple[str, ...]) -> None:
    rules = parse("CODEOWNERS", f"{pattern} @ann", lambda _: True)
    assert [path for path in matching if not rules.owners(path)] == []
    assert [path for path in others if rules.owners(path)] == []


def test_the_last_match_wins_and_a_line_without_owners_clears() -> None:
    rules = parse("CODEOWNERS", "* @a\n/x/ @b # why\n/x/y\n", lambda _: True)
    assert [rules.owners(path) for path in ("z", "x/z", "x/y")] == [("@a",), ("@b",), ()]
