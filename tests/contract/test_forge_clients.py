"""Clients that other people wrote: githubkit (strict), PyGithub (what the product uses) and gh (what people type)."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import github
import pytest
from forge_users import Api, Clone
from github_schema import assert_requests_are_githubs
from githubkit import GitHub
from githubkit.exception import RequestFailed

from breakglass_lab.forge import App, Forge

REPO = "/repos/acme/platform"
OWNED = {"owner": "acme", "repo": "platform"}


class TestGithubkit:
    """`parsed_data` validates each answer against the models generated from GitHub's description."""

    @pytest.fixture
    def kit(self, forge: Forge) -> Callable[[str], GitHub[Any]]:
        return lambda token: GitHub(token, base_url=forge.api_url, http_cache=False, auto_retry=False)

    def test_the_life_of_a_pull_request(
        self,
        kit: Callable[[str], GitHub[Any]],
        forge: Forge,
        clone: Callable[..., Clone],
        app_token: Callable[..., str],
    ) -> None:
        sha = clone().branch("topic", {"overlays/emergency/activations/one.yaml": "overlay: x\n"})
        ann, ines, robot = kit(forge.token("ann")), kit(forge.token("ines")), kit(app_token())
        opened = ann.rest.pulls.create(**OWNED, title="Open", head="topic", base="main").parsed_data
        assert opened.mergeable is None
        numbered = {**OWNED, "pull_number": opened.number}
        with pytest.raises(RequestFailed) as refused:
            ann.rest.pulls.create_review(**numbered, event="APPROVE")
        assert refused.value.response.status_code == 422
        review = ines.rest.pulls.create_review(**numbered, event="APPROVE", commit_id=sha).parsed_data
        assert (review.state, review.commit_id, review.user.login) == ("APPROVED", sha, "ines")
        assert [file.filename for file in ann.rest.pulls.list_files(**numbered).parsed_data] == [
            "overlays/emergency/activations/one.yaml"
        ]
        check = robot.rest.checks.create(**OWNED, name="check", head_sha=sha, conclusion="success").parsed_data
        assert (check.status, check.app.slug) == ("completed", "acme-breakglass")
        assert ann.rest.pulls.get(**numbered).parsed_data.mergeable is None
        assert ann.rest.pulls.get(**numbered).parsed_data.mergeable is True
        merged = robot.rest.pulls.merge(**numbered, sha=sha, merge_method="merge").parsed_data
        shown = ann.rest.pulls.get(**numbered).parsed_data
        assert (shown.merged, shown.merged_by.login) == (True, "acme-breakglass[bot]")
        commits = ann.rest.repos.list_commits(**OWNED, sha="main").parsed_data
        assert commits[0].sha == merged.sha
        assert_requests_are_githubs(forge.routes)

    def test_pages_are_followed(self, kit: Callable[[str], GitHub[Any]], forge: Forge) -> None:
        ann = kit(forge.token("ann"))
        for number in range(5):
            ann.rest.issues.create(**OWNED, title=str(number))
        listed = ann.rest.paginate(ann.rest.issues.list_for_repo, **OWNED, per_page=2)
        assert [issue.title for issue in listed] == ["4", "3", "2", "1", "0"]


class TestPyGithub:
    """The client the product uses, pointed at loopback."""

    @pytest.fixture
    def connect(self, forge: Forge) -> Iterator[Callable[[github.Auth.Auth], github.Github]]:
        opened: list[github.Github] = []

        def make(auth: github.Auth.Auth) -> github.Github:
            opened.append(
                github.Github(
                    auth=auth,
                    base_url=forge.api_url,
                    retry=None,
                    seconds_between_requests=None,
                    seconds_between_writes=None,
                )
            )
            return opened[-1]

        yield make
        for client in opened:
            client.close()

    def test_an_app_opens_and_merges(
        self,
        connect: Callable[..., github.Github],
        app: App,
        forge: Forge,
        clone: Callable[..., Clone],
        app_token: Callable[..., str],
    ) -> None:
        clone(token=app_token()).branch("close", {"docs/one.yaml": "a: 1\n"})
        now = datetime.now(UTC).replace(microsecond=0)
        auth = github.Auth.AppAuth(app.id, app.private_key).get_installation_auth(app.installation_id)
        forge.state.clock = lambda: now
        repository = connect(auth).get_repo("acme/platform")
        pull = repository.create_pull(base="main", head="close", title="Close", body="expired")
        assert pull.url.startswith(forge.api_url)
        assert (pull.user.login, pull.mergeable) == ("acme-breakglass[bot]", None)
        assert [file.filename for file in pull.get_files()] == ["docs/one.yaml"]
        assert [commit.sha for commit in pull.get_commits()] == [pull.head.sha]
        pull.update()
        with pytest.raises(github.GithubException) as refused:
            pull.merge(sha="0" * 40)
        assert refused.value.status == 409
        assert pull.merge(sha=pull.head.sha, merge_method="merge").merged
        assert repository.get_pull(pull.number).merged_at == now
        assert_requests_are_githubs(forge.routes)

    def test_what_the_product_reads(
        self, connect: Callable[..., github.Github], forge: Forge, pull: Callable[..., Any], api: Callable[..., Api]
    ) -> None:
        sha = pull()["head"]["sha"]
        api("bob")("POST", f"{REPO}/pulls/1/reviews", {"event": "APPROVE"}, 200)
        client = connect(github.Auth.Token(forge.token("ann")))
        repository = client.get_repo("acme/platform")
        assert client.get_user().login == "ann"
        assert [one.number for one in repository.get_pulls(state="open", head="acme:topic", base="main")] == [1]
        assert list(repository.get_pulls(head="acme:elsewhere")) == []
        assert [review.state for review in repository.get_pull(1).get_reviews()] == ["APPROVED"]
        assert repository.get_collaborator_permission("ines") == "write"
        team = client.get_organization("acme").get_team_by_slug("incident-commanders")
        assert [member.login for member in team.get_members()] == ["ines", "ivan"]
        assert repository.get_contents("README.md").decoded_content == b"platform\n"
        assert [one.path for one in repository.get_contents("")] == [".github", "CODEOWNERS", "README.md"]
        assert repository.get_branch("main").protected
        assert repository.get_git_ref("heads/topic").object.sha == sha
        assert repository.compare("main", "topic").ahead_by == 1
        assert [one.number for one in repository.get_commit(sha).get_pulls()] == [1]
        assert repository.get_commit(sha).get_combined_status().state == "pending"
        repository.create_git_ref("refs/heads/other", sha).delete()
        comment = repository.get_pull(1).create_issue_comment("drilled")
        comment.edit("drilled twice")
        workflow = repository.get_workflow("apply.yml")
        run = workflow.create_dispatch("main", {"cluster": "prod-eu"}, throw=True, return_run_details=True)
        assert repository.get_workflow_run(run.id).status == "queued"
        _, rulesets = repository.requester.requestJsonAndCheck("GET", f"{repository.url}/rulesets")
        assert [ruleset["name"] for ruleset in rulesets] == ["reviews", "history", "ledger"]
        assert_requests_are_githubs(forge.routes)


class TestGh:
    """The real gh, over a Unix socket: it insists on TLS for any other host but speaks plainly there."""

    @pytest.fixture
    def gh(self, forge: Forge, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
        socket = tmp_path_factory.mktemp("s") / "s"
        forge.listen_on_socket(socket)
        (tmp_path / "config.yml").write_text(f"version: 1\nhttp_unix_socket: {socket}\n", encoding="utf-8")

        def run(*arguments: str, login: str = "ann", code: int = 0) -> str:
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "GH_CONFIG_DIR": str(tmp_path),
                "GH_HOST": "127.0.0.1",
                "GH_REPO": "127.0.0.1/acme/platform",
                "GH_ENTERPRISE_TOKEN": forge.token(login),
                "GH_NO_UPDATE_NOTIFIER": "1",
                "GH_TELEMETRY": "false",
            }
            command = [str(Path(sys.executable).parent / "gh"), *arguments]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            return (done.stdout + done.stderr).strip()

        return run

    def test_the_rest_api(self, gh: Callable[..., str], forge: Forge, api: Callable[..., Api]) -> None:
        assert gh("api", "user", "--jq", ".login") == "ann"
        for number in range(3):
            api()("POST", f"{REPO}/issues", {"title": str(number)}, 201)
        titles = gh("api", "repos/acme/platform/issues?per_page=1", "--paginate", "--jq", ".[].title")
        assert titles.split() == ["2", "1", "0"]
        assert "HTTP 404" in gh("api", "repos/acme/elsewhere", code=1)
        # gh asks in its own way for what the REST description has as well.
        assert_requests_are_githubs(route for route in forge.routes if "exclude_pull_requests" not in route.query)

    def test_pull_requests_opened_listed_viewed_and_merged(
        self, gh: Callable[..., str], clone: Callable[..., Clone]
    ) -> None:
        clone().branch("topic", {"note.txt": "one\n"})
        told = gh("pr", "create", "--title", "Add a note", "--body", "because", "--head", "topic", "--base", "main")
        assert told.endswith("/acme/platform/pull/1")
        assert "Add a note" in gh("pr", "list")
        assert "GraphQL" in gh("pr", "merge", "1", "--merge", code=1)
        gh("api", "repos/acme/platform/pulls/1/reviews", "--field", "event=APPROVE", login="bob")
        view = gh("pr", "view", "1", "--json", "state,reviews,headRefOid,mergeable", code=0)
        assert '"APPROVED"' in view
        assert "bob" in gh("pr", "view", "1")
        gh("api", "--method", "PUT", "repos/acme/platform/pulls/1/merge")
        assert "MERGED" in gh("pr", "list", "--state", "merged")

    def test_workflows_run_and_listed(self, gh: Callable[..., str], forge: Forge) -> None:
        assert "apply" in gh("workflow", "list")
        gh("workflow", "run", "apply.yml", "--field", "cluster=prod-eu")
        assert "workflow_dispatch" in gh("run", "list")
        assert [run.workflow for run in forge.runs.all()] == [".github/workflows/apply.yml"]
