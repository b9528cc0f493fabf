"""Merging: what GitHub refuses, what it makes, and who may pass a ruleset by."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_users import Api, Clock, Clone

from breakglass_lab.forge import App, BypassActor, Forge, Rule, Ruleset, platform_rulesets
from breakglass_lab.forge.rulesets import GITHUB_ACTIONS_ID

REPO = "/repos/acme/platform"
PULLS = f"{REPO}/pulls"


def approve(api: Callable[..., Api], number: int, *logins: str) -> None:
    for login in logins:
        api(login)("POST", f"{PULLS}/{number}/reviews", {"event": "APPROVE"}, 200)


def merge(client: Api, number: int, **body: str) -> tuple[int, str]:
    """Read the pull request, so that its mergeability is known, and try to merge it."""
    client("GET", f"{PULLS}/{number}")
    response = client("PUT", f"{PULLS}/{number}/merge", body)
    return response.status_code, response.json()["message"]


def test_mergeable_is_null_on_the_first_read_after_every_change(
    api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    number = pull()["number"]
    reads = [api()("GET", f"{PULLS}/{number}", code=200) for _ in range(2)]
    assert [read["mergeable"] for read in reads] == [None, True]
    clone().branch("topic", {"note.txt": "two\n"})
    reads = [api()("GET", f"{PULLS}/{number}", code=200) for _ in range(2)]
    assert [(read["mergeable"], read["mergeable_state"]) for read in reads] == [(None, "unknown"), (True, "blocked")]


def test_a_merge_is_405_while_mergeability_is_unknown_and_409_when_the_head_moved(
    api: Callable[..., Api], clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    opened = pull()
    number = opened["number"]
    approve(api, number, "bob")
    assert api()("PUT", f"{PULLS}/{number}/merge", {}).status_code == 405
    clone().branch("topic", {"note.txt": "two\n"})
    assert merge(api(), number, sha=opened["head"]["sha"])[0] == 409


def test_a_conflict_is_405(api: Callable[..., Api], clone: Callable[..., Clone]) -> None:
    one, two = clone(), clone("bob")
    one.branch("one", {"README.md": "one\n"})
    two.branch("two", {"README.md": "two\n"})
    numbers = [api()("POST", PULLS, {"title": n, "head": n, "base": "main"}, 201)["number"] for n in ("one", "two")]
    for number in numbers:
        approve(api, number, "bob")
    assert merge(api(), numbers[0])[0] == 200
    for _ in range(2):
        shown = api()("GET", f"{PULLS}/{numbers[1]}", code=200)
    assert (shown["mergeable"], shown["mergeable_state"]) == (False, "dirty")
    assert merge(api(), numbers[1]) == (405, "Pull Request is not mergeable")


@pytest.mark.parametrize("body", [{"merge_method": "octopus"}, {"sha": 1}, {"commit_title": []}])
def test_a_bad_merge_request_is_422(api: Callable[..., Api], pull: Callable[..., Any], body: dict[str, Any]) -> None:
    number = pull()["number"]
    approve(api, number, "bob")
    api()("GET", f"{PULLS}/{number}")
    assert api()("PUT", f"{PULLS}/{number}/merge", body).status_code == 422


def test_a_merge_has_two_parents_the_merger_as_author_and_github_as_committer(
    api: Callable[..., Api], forge: Forge, clock: Clock, pull: Callable[..., Any]
) -> None:
    before = forge.state.bare.tip("refs/heads/main")
    opened = pull()
    approve(api, opened["number"], "bob")
    merged = api("bob")
    assert merge(merged, opened["number"], sha=opened["head"]["sha"])[0] == 200
    commit = forge.state.bare.commit(forge.state.bare.tip("refs/heads/main") or "")
    assert commit.parents == (before, opened["head"]["sha"])
    assert (commit.author.name, commit.author.email) == ("Bob", "bob@acme.example")
    assert (commit.committer.name, commit.committer.email) == ("GitHub", "noreply@github.com")
    assert commit.committer.at == clock.now
    assert commit.message == "Merge pull request #1 from acme/topic\n\nAdd note.txt"
    shown = api()("GET", f"{PULLS}/1", code=200)
    assert (shown["merged"], shown["merged_by"]["login"], shown["merge_commit_sha"]) == (True, "bob", commit.sha)


def test_a_squash_has_one_parent_and_names_the_other_authors(
    api: Callable[..., Api], forge: Forge, clone: Callable[..., Clone]
) -> None:
    clone().branch("topic", {"a.txt": "a\n"})
    clone("bob").branch("topic", {"b.txt": "b\n"}, base="origin/topic")
    api()("POST", PULLS, {"title": "Both", "head": "topic", "base": "main"}, 201)
    approve(api, 1, "ines", "bob")
    assert merge(api("ines"), 1, merge_method="squash")[0] == 200
    commit = forge.state.bare.commit(forge.state.bare.tip("refs/heads/main") or "")
    assert len(commit.parents) == 1
    assert commit.author.name == "Ann"
    assert commit.message.startswith("Both (#1)\n\n* work on topic")
    assert commit.message.endswith("Co-authored-by: Bob <bob@acme.example>")


def test_rebase_merges_are_not_allowed(api: Callable[..., Api], pull: Callable[..., Any]) -> None:
    approve(api, pull()["number"], "bob")
    assert merge(api(), 1, merge_method="rebase")[0] == 405


def test_of_two_merges_at_once_one_wins(api: Callable[..., Api], forge: Forge, pull: Callable[..., Any]) -> None:
    approve(api, pull()["number"], "bob")
    client = api()
    client("GET", f"{PULLS}/1")
    with ThreadPoolExecutor(8) as threads:
        codes = [
            answer.status_code for answer in threads.map(lambda _: client("PUT", f"{PULLS}/1/merge", {}), range(8))
        ]
    assert sorted(codes) == [200] + [405] * 7
    assert len(list(forge.state.bare.log("--merges", "main"))) == 1


def test_a_merge_is_compare_and_swap_on_the_base(
    api: Callable[..., Api], forge: Forge, pull: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(api, pull()["number"], "bob")
    bare, elsewhere = forge.state.bare, forge.state.bare.tip("refs/heads/topic")
    update_ref, main = bare.update_ref, bare.tip("refs/heads/main")
    assert elsewhere is not None
    assert main is not None

    def beaten(ref: str, new: str, old: str) -> None:
        monkeypatch.undo()
        update_ref(ref, elsewhere, main)
        update_ref(ref, new, old)

    api()("GET", f"{PULLS}/1")
    monkeypatch.setattr(bare, "update_ref", beaten)
    assert api()("PUT", f"{PULLS}/1/merge", {}).status_code == 405
    assert bare.tip("refs/heads/main") == elsewhere
    assert api()("GET", f"{PULLS}/1", code=200)["merged"] is False


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"state": "closed"}), ("PUT", {})])
def test_a_closed_or_merged_pull_request_does_not_merge(
    api: Callable[..., Api], pull: Callable[..., Any], method: str, body: dict[str, str]
) -> None:
    approve(api, pull()["number"], "bob")
    api()("GET", f"{PULLS}/1")
    api()(method, f"{PULLS}/1{'/merge' if method == 'PUT' else ''}", body, 200)
    assert merge(api(), 1)[0] == 405


def test_without_write_nobody_merges(
    api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
) -> None:
    approve(api, pull()["number"], "bob")
    assert merge(api("rita"), 1)[0] == 403
    assert api("oscar")("PUT", f"{PULLS}/1/merge", {}).status_code == 404
    assert merge(api(token=app_token(pull_requests="write", contents="read")), 1)[0] == 403


class TestBypass:
    """The App is a bypass actor in mode `pull_request`: it may merge what lacks reviews, and nothing else."""

    def test_a_direct_merge_by_the_app_passes_the_reviews_by_and_leaves_a_trace(
        self, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
    ) -> None:
        number = pull()["number"]
        assert merge(api(), number)[0] == 405
        assert merge(api(token=app_token()), number)[0] == 200
        suites = api("adam")("GET", f"{REPO}/rulesets/rule-suites", code=200, rule_suite_result="bypass")
        assert [(suite["actor_name"], suite["ref"]) for suite in suites] == [
            ("acme-breakglass[bot]", "refs/heads/main")
        ]

    def test_the_app_does_not_push_past_it(self, clone: Callable[..., Clone], app_token: Callable[..., str]) -> None:
        work = clone(token=app_token())
        work.commit({"note.txt": "one\n"})
        assert "Changes must be made through a pull request" in work.git("push", "origin", "main", code=1)

    def test_a_users_or_a_jobs_token_does_not_pass_it_by(
        self, api: Callable[..., Api], forge: Forge, pull: Callable[..., Any]
    ) -> None:
        number = pull()["number"]
        job = forge.workflow_token({"contents": "write", "pull_requests": "write"})
        assert merge(api("adam"), number)[0] == 405
        assert merge(api(token=job), number)[0] == 405

    def test_who_may_pass_it_by_is_told_to_administrators_alone(
        self, app: App, api: Callable[..., Api], app_token: Callable[..., str]
    ) -> None:
        first = api()("GET", f"{REPO}/rulesets", code=200)[0]["id"]
        path = f"{REPO}/rulesets/{first}"
        assert "bypass_actors" not in api()("GET", path, code=200)
        assert "bypass_actors" not in api(token=app_token())("GET", path, code=200)
        actor = {"actor_id": app.id, "actor_type": "Integration", "bypass_mode": "pull_request"}
        assert api("adam")("GET", path, code=200)["bypass_actors"] == [actor]

    def test_everybody_is_told_their_own_bypass(self, api: Callable[..., Api], app_token: Callable[..., str]) -> None:
        first = api()("GET", f"{REPO}/rulesets", code=200)[0]["id"]
        shown = [who("GET", f"{REPO}/rulesets/{first}", code=200) for who in (api(), api(token=app_token()))]
        assert [ruleset["current_user_can_bypass"] for ruleset in shown] == ["never", "pull_requests_only"]

    def test_github_actions_is_no_bypass_actor(self, api: Callable[..., Api]) -> None:
        actor = {"actor_id": 15368, "actor_type": "Integration", "bypass_mode": "always"}
        rules = {"name": "x", "enforcement": "active", "rules": [], "bypass_actors": [actor]}
        assert api("adam")("POST", f"{REPO}/rulesets", rules).status_code == 422

    def test_an_excluded_branch_is_not_covered(self, forge: Forge, clone: Callable[..., Clone]) -> None:
        forge.state.rulesets[1] = Ruleset("x", ("~ALL",), (Rule("deletion"),), (), ("refs/heads/free",))
        work = clone()
        work.branch("held", {"a": "1"})
        work.branch("free", {"a": "1"})
        work.git("push", "--quiet", "origin", ":free")
        assert "Cannot delete this branch" in work.git("push", "origin", ":held", code=1)

    @pytest.mark.parametrize("mode", ["always", "exempt"])
    def test_other_modes_pass_pushes_too_and_exempt_leaves_no_trace(
        self,
        mode: Any,
        app: App,
        forge: Forge,
        api: Callable[..., Api],
        app_token: Callable[..., str],
        pull: Callable[..., Any],
    ) -> None:
        identifier, reviews = next(iter(forge.state.rulesets.items()))
        forge.state.rulesets[identifier] = Ruleset(
            reviews.name, reviews.include, reviews.rules, (BypassActor("Integration", app.id, mode),)
        )
        assert merge(api(token=app_token()), pull()["number"])[0] == 200
        assert [suite.result for suite in forge.state.rule_suites] == (["bypass"] if mode == "always" else [])


class TestRequiredChecks:
    """A required check must have passed on the head commit, reported by the App it is pinned to."""

    @pytest.fixture
    def rulesets(self, app: App) -> tuple[Ruleset, ...]:
        return platform_rulesets(app.id, checks=("check",))

    def test_a_missing_check_forbids_even_what_reviews_allow_and_the_app(
        self, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
    ) -> None:
        approve(api, pull()["number"], "bob")
        code, message = merge(api(), 1)
        assert (code, 'Required status check "check" is expected.' in message) == (405, True)
        assert merge(api(token=app_token()), 1)[0] == 405

    def test_a_status_or_another_apps_check_run_of_that_name_is_a_forgery(
        self, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
    ) -> None:
        opened = pull()
        sha = opened["head"]["sha"]
        approve(api, 1, "bob")
        api()("POST", f"{REPO}/statuses/{sha}", {"state": "success", "context": "check"}, 201)
        robot = api(token=app_token())
        robot("POST", f"{REPO}/check-runs", {"name": "check", "head_sha": sha, "conclusion": "success"}, 201)
        assert merge(api(), 1)[0] == 405

    @pytest.mark.parametrize(("conclusion", "code"), [("success", 200), ("skipped", 200), ("failure", 405)])
    def test_the_check_of_a_job_counts(
        self, api: Callable[..., Api], forge: Forge, pull: Callable[..., Any], conclusion: str, code: int
    ) -> None:
        sha = pull()["head"]["sha"]
        approve(api, 1, "bob")
        job = api(token=forge.workflow_token({"checks": "write"}))
        job("POST", f"{REPO}/check-runs", {"name": "check", "head_sha": sha, "conclusion": conclusion}, 201)
        assert merge(api(), 1)[0] == code

    def test_a_check_on_an_older_commit_does_not_count(
        self, api: Callable[..., Api], forge: Forge, clone: Callable[..., Clone], pull: Callable[..., Any]
    ) -> None:
        sha = pull()["head"]["sha"]
        job = api(token=forge.workflow_token({"checks": "write"}))
        job("POST", f"{REPO}/check-runs", {"name": "check", "head_sha": sha, "conclusion": "success"}, 201)
        clone().branch("topic", {"note.txt": "two\n"})
        approve(api, 1, "bob")
        assert merge(api(), 1)[0] == 405

    def test_a_user_makes_no_check_run(self, api: Callable[..., Api], pull: Callable[..., Any]) -> None:
        body = {"name": "check", "head_sha": pull()["head"]["sha"], "conclusion": "success"}
        assert api()("POST", f"{REPO}/check-runs", body).status_code == 403


class TestChecksOfTheApp:
    """A check pinned to the project's App: neither a job nor a person with write can forge it."""

    @pytest.fixture
    def rulesets(self, app: App) -> tuple[Ruleset, ...]:
        return platform_rulesets(app.id, checks=("breakglass",), checks_app_id=app.id)

    def test_only_the_app_satisfies_it(
        self, api: Callable[..., Api], forge: Forge, app: App, app_token: Callable[..., str], pull: Callable[..., Any]
    ) -> None:
        sha = pull()["head"]["sha"]
        approve(api, 1, "bob")
        told = {"name": "breakglass", "head_sha": sha, "conclusion": "success"}
        job = api(token=forge.workflow_token({"checks": "write", "statuses": "write"}))
        forged = job("POST", f"{REPO}/check-runs", told, 201)
        assert forged["app"]["id"] == GITHUB_ACTIONS_ID
        for who in (api(), job):
            who("POST", f"{REPO}/statuses/{sha}", {"state": "success", "context": "breakglass"}, 201)
        assert merge(api(), 1)[0] == 405
        robot = api(token=app_token())
        assert robot("POST", f"{REPO}/check-runs", told, 201)["app"]["id"] == app.id
        assert merge(api(), 1)[0] == 200

    def test_a_job_can_neither_change_nor_hide_it(
        self, api: Callable[..., Api], forge: Forge, app_token: Callable[..., str], pull: Callable[..., Any]
    ) -> None:
        sha = pull()["head"]["sha"]
        approve(api, 1, "bob")
        told = {"name": "breakglass", "head_sha": sha, "conclusion": "failure"}
        pinned = api(token=app_token())("POST", f"{REPO}/check-runs", told, 201)["id"]
        job = api(token=forge.workflow_token({"checks": "write"}))
        assert job("PATCH", f"{REPO}/check-runs/{pinned}", {"conclusion": "success"}).status_code == 403
        job("POST", f"{REPO}/check-runs", {**told, "conclusion": "success"}, 201)
        assert merge(api(), 1)[0] == 405
        shown = api()("GET", f"{REPO}/commits/{sha}/check-runs", check_name="breakglass", code=200)["check_runs"]
        assert {run["app"]["slug"]: run["conclusion"] for run in shown} == {
            "acme-breakglass": "failure",
            "github-actions": "success",
        }

    def test_a_status_of_the_app_counts(
        self, api: Callable[..., Api], app_token: Callable[..., str], pull: Callable[..., Any]
    ) -> None:
        sha = pull()["head"]["sha"]
        approve(api, 1, "bob")
        state = {"state": "success", "context": "breakglass"}
        api(token=app_token())("POST", f"{REPO}/statuses/{sha}", state, 201)
        assert merge(api(), 1)[0] == 200


class TestChecksOfAnybody:
    """A check that is pinned to nobody: whoever may write can forge it."""

    @pytest.fixture
    def rulesets(self, app: App) -> tuple[Ruleset, ...]:
        return platform_rulesets(app.id, checks=("breakglass",), checks_app_id=None)

    def test_a_writers_status_satisfies_it_and_a_readers_does_not(
        self, api: Callable[..., Api], pull: Callable[..., Any]
    ) -> None:
        sha = pull()["head"]["sha"]
        approve(api, 1, "bob")
        forged = {"state": "success", "context": "breakglass"}
        assert api("rita")("POST", f"{REPO}/statuses/{sha}", forged).status_code == 403
        assert merge(api(), 1)[0] == 405
        api()("POST", f"{REPO}/statuses/{sha}", forged, 201)
        assert merge(api(), 1)[0] == 200

    def test_a_jobs_check_run_satisfies_it(
        self, api: Callable[..., Api], forge: Forge, pull: Callable[..., Any]
    ) -> None:
        sha = pull()["head"]["sha"]
        approve(api, 1, "bob")
        job = api(token=forge.workflow_token({"checks": "write"}))
        job("POST", f"{REPO}/check-runs", {"name": "breakglass", "head_sha": sha, "conclusion": "success"}, 201)
        assert merge(api(), 1)[0] == 200


def test_an_ancestor_pushed_to_the_base_marks_the_pull_request_as_merged(
    api: Callable[..., Api], forge: Forge, clone: Callable[..., Clone], pull: Callable[..., Any]
) -> None:
    opened = pull()
    for identifier in tuple(forge.state.rulesets):
        del forge.state.rulesets[identifier]
    clone("bob").git("push", "--quiet", "origin", "origin/topic:main")
    shown = api()("GET", f"{PULLS}/{opened['number']}", code=200)
    assert (shown["merged"], shown["merged_by"]["login"]) == (True, "bob")
