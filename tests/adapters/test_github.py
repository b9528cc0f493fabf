"""The GitHub adapter against the forge: every pleasant answer, and the unpleasant ones that matter at 02:13."""

import json
import logging
import re
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from stand_ins import Clone, Waits

from breakglass.adapters import github_client
from breakglass.adapters.github import MERGE_PATIENCE, GitHubForge
from breakglass.adapters.github_answers import Committed, co_authors
from breakglass.model.errors import Conflict, NotFound, Refused, Unreachable
from breakglass_lab.forge import Forge, platform_rulesets

PULL = "/repos/acme/platform/pulls/1"
GitHub = Callable[[str], GitHubForge]


@pytest.fixture
def github(forge: Forge, clock: Waits) -> GitHub:
    """Make the adapter for a login."""
    return lambda login: GitHubForge(
        repository="acme/platform", token=forge.token(login), clock=clock, api=forge.api_url
    )


@pytest.fixture
def head(forge: Forge, author: Clone) -> str:
    """A branch `request` on the forge, one commit ahead of main."""
    author.git("switch", "--quiet", "--create", "request")
    sha = author.commit({"request.yaml": "1\n"}, "request")
    forge.seed(author.directory, branch="request")
    return sha


@pytest.fixture
def opened(github: GitHub, head: str) -> GitHubForge:
    """Ann's adapter, with pull request 1 open from `request`."""
    ann = github("ann")
    assert ann.open_pull_request("request", "open db-from-bastion", "because").head == head
    return ann


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter made from now on waits two seconds for an answer that never comes."""
    monkeypatch.setattr(github_client, "TIMEOUT", 2)


def asked(forge: Forge, method: str, path: str = ".*") -> int:
    """How many requests of a method the forge saw."""
    return sum(route.method == method and re.fullmatch(path, route.path) is not None for route in forge.routes)


def test_a_pull_request_is_told_as_it_is(opened: GitHubForge, forge: Forge, head: str) -> None:
    pull = opened.pull_request(1)
    assert (pull.number, pull.title, pull.author, pull.state) == (1, "open db-from-bastion", "ann", "open")
    assert (pull.head, pull.head_branch, pull.base_branch, pull.same_repository) == (head, "request", "main", True)
    assert (pull.merged_at, pull.merged_by, pull.merge_commit) == (None, None, None)
    assert pull.url == f"{forge.url}/acme/platform/pull/1"
    assert opened.open_pull_requests() == (pull,)
    opened.close_pull_request(1)
    assert opened.pull_request(1).state == "closed"
    assert opened.open_pull_requests() == ()


def test_a_second_pull_request_is_refused_in_githubs_words(opened: GitHubForge) -> None:
    with pytest.raises(Refused, match="A pull request already exists for acme:request"):
        opened.open_pull_request("request", "again", "")
    with pytest.raises(Refused, match="422"):
        opened.open_pull_request("absent", "again", "")


def test_a_merge_waits_for_mergeability_and_is_found_again(
    opened: GitHubForge, forge: Forge, head: str, clock: Waits
) -> None:
    merge = opened.merge(1, head, "title", "message")
    assert forge.state.bare.tip("refs/heads/main") == merge
    assert forge.state.bare.commit(merge).message == "title\n\nmessage"
    # GitHub computes mergeability when first asked: 405, then done.
    assert asked(forge, "PUT") == 2
    assert clock.slept == [timedelta(seconds=0.25)]
    pull = opened.pull_request_of(merge)
    assert pull is not None
    assert (pull.number, pull.merge_commit, pull.merged_by, pull.head) == (1, merge, "ann", head)
    assert pull.merged_at is not None
    assert opened.merge(1, head, "title", "message") == merge
    assert opened.pull_request_of(head) is None
    assert opened.pull_request_of(forge.state.bare.commit(merge).parents[0]) is None


def test_a_moved_head_is_a_conflict(opened: GitHubForge, forge: Forge, author: Clone, head: str) -> None:
    def push() -> None:
        author.commit({"request.yaml": "2\n"})
        author.git("push", "--quiet", f"http://x-access-token:{forge.token('ann')}@{forge.git_url[7:]}", "request")

    forge.fault("PUT", f"{PULL}/merge", before=push)
    with pytest.raises(Conflict, match="Head branch was modified"):
        opened.merge(1, head, "t", "m")
    assert forge.state.pulls[1].merged_at is None


@pytest.mark.usefixtures("opened", "impatient")
def test_f2_a_merge_whose_answer_is_lost_is_merged_once(github: GitHub, forge: Forge, head: str) -> None:
    ann = github("ann")
    assert ann.pull_request(1).state == "open"
    forge.fault("PUT", f"{PULL}/merge", performed=True, reset=True)
    merge = ann.merge(1, head, "t", "m")
    assert forge.state.bare.tip("refs/heads/main") == merge
    assert asked(forge, "PUT") == 1


def test_f2_a_merge_is_not_believed_before_it_shows(opened: GitHubForge, forge: Forge, head: str, clock: Waits) -> None:
    forge.fault("PUT", f"{PULL}/merge", status=200, body={"sha": "0" * 40, "merged": True})
    with pytest.raises(Unreachable, match="does not show it merged"):
        opened.merge(1, head, "t", "m")
    assert asked(forge, "PUT") == 1
    assert sum(clock.slept, timedelta()) >= MERGE_PATIENCE


def test_f3_a_merge_that_rules_forbid_ends_in_time_with_githubs_words(
    forge: Forge, opened: GitHubForge, head: str, clock: Waits
) -> None:
    forge.state.rulesets |= dict(enumerate(platform_rulesets(forge.state.organisation.apps[0].id)))
    before = clock.now()
    with pytest.raises(Unreachable, match="Repository rule violations found"):
        opened.merge(1, head, "t", "m")
    assert MERGE_PATIENCE <= clock.now() - before <= MERGE_PATIENCE + timedelta(seconds=2)
    assert asked(forge, "PUT") < 50


def test_a_content_conflict_and_a_closed_pull_request_end_at_once(
    opened: GitHubForge, forge: Forge, author: Clone, head: str, clock: Waits
) -> None:
    author.git("switch", "--quiet", "main")
    author.commit({"request.yaml": "another\n"})
    forge.seed(author.directory, "main")
    with pytest.raises(Conflict, match="conflicts with the default branch"):
        opened.merge(1, head, "t", "m")
    opened.close_pull_request(1)
    with pytest.raises(Refused, match="closed without having been merged"):
        opened.merge(1, head, "t", "m")
    assert sum(clock.slept, timedelta()) < timedelta(seconds=2)


@pytest.mark.usefixtures("opened")
def test_no_rights_names_the_permission(github: GitHub, forge: Forge, head: str) -> None:
    rita = github("rita")
    with pytest.raises(Refused, match="no right") as refused:
        rita.merge(1, head, "t", "m")
    assert refused.value.remedy == "give the token the permission contents: write"
    with pytest.raises(NotFound):
        github("ann").pull_request(99)
    with pytest.raises(NotFound) as hidden:
        github("ann").team("@acme/absent")
    assert "members: read" in (hidden.value.remedy or "")
    assert asked(forge, "PUT") == 1


def test_the_token_is_in_no_error_and_no_log(forge: Forge, clock: Waits, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = "ghp_" + "s3cret" * 6
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for api, kind in ((forge.api_url, Refused), (nobody, Unreachable)):
            adapter = GitHubForge(repository="acme/platform", token=token, clock=clock, api=api)
            with pytest.raises(kind) as error:
                adapter.whoami()
            assert api in str(error.value)
            assert token not in f"{error.value!r} {error.value} {error.value.remedy} {error.value.where}"
    assert token not in caplog.text
    assert caplog.text


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ünï"])
def test_an_unusable_token_is_refused_without_being_shown(token: str, clock: Waits) -> None:
    with pytest.raises(Refused) as refused:
        GitHubForge(repository="acme/platform", token=token, clock=clock)
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize("api", ["http://ghe.acme.example/api/v3", "ftp://127.0.0.1", "api.github.com", ""])
def test_a_token_travels_over_https_only(api: str, clock: Waits) -> None:
    with pytest.raises(Refused, match="https only"):
        GitHubForge(repository="acme/platform", token="t", clock=clock, api=api)


@pytest.mark.parametrize("repository", ["acme", "acme/..", "acme/a/b", "../x", "acme/a?b", "acme/a\n", ""])
def test_a_repository_is_only_a_name(repository: str, clock: Waits) -> None:
    with pytest.raises(Refused, match="not a repository"):
        GitHubForge(repository=repository, token="t", clock=clock)


@pytest.mark.usefixtures("opened", "impatient")
def test_a_read_is_sent_again_and_a_write_is_not(github: GitHub, forge: Forge, clock: Waits) -> None:
    ann = github("ann")
    forge.fault("GET", PULL, status=502, times=2)
    forge.fault("GET", PULL, reset=True, times=1)
    assert ann.pull_request(1).number == 1
    assert asked(forge, "GET", PULL) == 4
    writes = asked(forge, "POST")
    forge.fault("POST", ".*", status=502, times=9)
    with pytest.raises(Unreachable, match="502"):
        ann.open_pull_request("request", "t", "b")
    assert asked(forge, "POST") == writes + 1
    assert clock.slept


def test_reading_gives_up_in_time(opened: GitHubForge, forge: Forge, clock: Waits) -> None:
    forge.fault("GET", PULL, status=500, times=10_000)
    with pytest.raises(Unreachable, match="500"):
        opened.pull_request(1)
    assert sum(clock.slept, timedelta()) <= timedelta(seconds=20)


@pytest.mark.parametrize(
    ("status", "headers", "message", "words"),
    [
        (429, {"retry-after": "3600"}, "slow down", "wait 3600 s"),
        (403, {"retry-after": "1800"}, "You have exceeded a secondary rate limit.", "wait 1800 s"),
        (403, {}, "You have exceeded a secondary rate limit.", "wait 60 s"),
        (
            403,
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795403580"},
            "API rate limit exceeded",
            "wait 3600 s",
        ),
    ],
)
def test_a_limit_is_told_with_its_time(
    opened: GitHubForge, forge: Forge, clock: Waits, status: int, headers: dict[str, str], message: str, words: str
) -> None:
    forge.fault("GET|POST", ".*", status=status, headers=headers, body={"message": message}, times=9)
    with pytest.raises(Unreachable, match=words):
        opened.pull_request(1)
    with pytest.raises(Unreachable, match=words):
        opened.dispatch("open.yml", {})
    assert clock.slept == []


def test_a_short_limit_is_waited_for(opened: GitHubForge, forge: Forge, clock: Waits) -> None:
    forge.fault("GET", PULL, status=429, headers={"retry-after": "7"})
    assert opened.pull_request(1).number == 1
    assert clock.slept == [timedelta(seconds=7)]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>proxy</html>",
        b"[",
        b'{"number": 1',
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"number": "1"}',
        b'{"number": 1, "html_url": "javascript:alert(1)"}',
    ],
)
def test_an_answer_that_is_not_githubs_is_unreachable(opened: GitHubForge, forge: Forge, body: bytes) -> None:
    forge.fault("GET", ".*", status=200, body=body, times=10_000)
    for call in (lambda: opened.pull_request(1), lambda: opened.reviews(1), opened.whoami):
        if body == b"[]" and call is not opened.whoami:
            continue
        with pytest.raises(Unreachable) as unreachable:
            call()
        assert "/api/v3" in str(unreachable.value)


@pytest.mark.parametrize(
    ("field", "value"), [("state", "merged"), ("merged_at", "yesterday"), ("merge_commit_sha", "main")]
)
def test_a_field_that_does_not_fit_is_named(opened: GitHubForge, forge: Forge, field: str, value: Any) -> None:
    honest = opened.pull_request(1)
    branch = {"ref": "main", "sha": honest.head, "repo": None}
    account = {"login": "ann", "id": 1, "type": "User"}
    whole = {
        "number": 1,
        "html_url": honest.url,
        "title": "t",
        "user": account,
        "state": "open",
        "head": branch,
        "base": branch,
    }
    forge.fault("GET", PULL, status=200, body={**whole, "merge_commit_sha": "a" * 40}, times=2)
    assert (opened.pull_request(1).same_repository, opened.pull_request(1).merge_commit) == (False, None)
    forge.fault("GET", PULL, status=200, body={**whole, field: value})
    with pytest.raises(Unreachable, match=f"is not a Pull: {field}"):
        opened.pull_request(1)


def test_an_error_that_is_no_object_is_unreachable(opened: GitHubForge, forge: Forge) -> None:
    forge.fault("PATCH", PULL, status=500, body=[1])
    with pytest.raises(Unreachable):
        opened.close_pull_request(1)


def test_lists_are_read_to_their_last_page(opened: GitHubForge, forge: Forge, author: Clone) -> None:
    for number in range(130):
        author.git("commit", "--quiet", "--allow-empty", "--message", f"{number}")
    forge.seed(author.directory, branch="request")
    forge.state.change_pull(1, head_sha=author.git("rev-parse", "HEAD"))
    commits = opened.commits(1)
    assert len(commits) == 131
    assert commits[-1].sha == author.git("rev-parse", "HEAD")
    assert {item.author for item in commits} == {"ann"}
    for number in range(125):
        author.git("commit", "--quiet", "--allow-empty", "--message", f"{number}")
    forge.seed(author.directory, branch="request")
    forge.state.change_pull(1, head_sha=author.git("rev-parse", "HEAD"))
    with pytest.raises(Refused, match="250 commits"):
        opened.commits(1)


def test_f5_everybody_in_a_commit_is_told(opened: GitHubForge, forge: Forge, author: Clone) -> None:
    message = "subject\n\nCo-authored-by: Bob <bob@acme.example>\nco-AUTHORED-by : nobody knows\n"
    author.git("commit", "--quiet", "--allow-empty", "--message", message, "--author", "X <x@elsewhere.example>")
    forge.seed(author.directory, branch="request")
    sha = author.git("rev-parse", "HEAD")
    forge.state.change_pull(1, head_sha=sha)
    told = opened.commits(1)[-1]
    assert (told.sha, told.author, told.committer) == (sha, None, "ann")
    assert told.emails == ["bob@acme.example", "nobody knows", "x@elsewhere.example"]


@pytest.mark.parametrize(("verified", "committer"), [(True, None), (False, "web-flow")])
def test_f5_githubs_own_committer_is_no_person_if_github_signed(verified: bool, committer: str | None) -> None:
    commit = {
        "sha": "a" * 40,
        "author": {"login": "ann", "id": 1, "type": "User"},
        "committer": {"login": "web-flow", "id": 1, "type": "User"},
        "commit": {
            "message": "m",
            "author": {"email": "ann@acme.example"},
            "committer": {"email": "noreply@github.com"},
            "verification": {"verified": verified},
        },
    }
    told = Committed.model_validate(commit).told()
    assert (told.author, told.committer, told.emails) == ("ann", committer, [])
    ghost = Committed.model_validate({**commit, "author": None, "committer": {}}).told()
    assert (ghost.author, ghost.committer) == (None, None)
    assert ghost.emails == ["ann@acme.example", "noreply@github.com"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no trailer", []),
        ("s\n\nCo-authored-by: A <a@x>\nCo-Authored-By:B<b@x>  \n", ["a@x", "b@x"]),
        ("s\n\n  co-authored-by: A <a@x> <evil@x>", ["evil@x"]),
        ("s\n\nCo-authored-by:\n", ["(no address)"]),
        ("s\n\nCo-authored-by: \x1b[2J<a b>\n", ["?[2J<a b>"]),
        ("s\r\n\r\nCo-authored-by: A <a@x>\r\n", ["a@x"]),
        ("not Co-authored-by: A <a@x>", []),
    ],
)
def test_f5_co_authors_are_found(message: str, expected: list[str]) -> None:
    assert co_authors(message) == expected


def test_reviews_are_bound_to_their_commit(opened: GitHubForge, forge: Forge, head: str) -> None:
    for login, event in (("bob", "APPROVE"), ("rita", "COMMENT")):
        httpx.post(
            f"{forge.api_url}{PULL}/reviews",
            json={"event": event, "body": "seen"},
            headers={"Authorization": f"Bearer {forge.token(login)}"},
        ).raise_for_status()
    reviews = opened.reviews(1)
    assert [(review.login, review.state, review.commit, review.human) for review in reviews] == [
        ("bob", "APPROVED", head, True),
        ("rita", "COMMENTED", head, True),
    ]


def test_reviews_by_nobody_count_for_nobody(opened: GitHubForge, forge: Forge) -> None:
    at = "2026-11-23T02:13:00Z"
    bot = {"user": {"login": "acme-breakglass[bot]", "id": 2, "type": "Bot"}, "state": "APPROVED", "submitted_at": at}
    ghost = {"user": None, "state": "APPROVED", "submitted_at": at}
    pending = {"user": {"login": "bob", "id": 1, "type": "User"}, "state": "PENDING"}
    forge.fault("GET", f"{PULL}/reviews", status=200, body=json.dumps([bot, ghost, pending]).encode())
    assert [(review.login, review.human) for review in opened.reviews(1)] == [
        ("acme-breakglass[bot]", False),
        ("ghost", False),
    ]


def test_reviewers_are_asked(opened: GitHubForge, forge: Forge) -> None:
    opened.ask_reviewers(1, [])
    assert asked(forge, "POST", ".*requested_reviewers") == 0
    opened.ask_reviewers(1, ["@bob", "@acme/dba"])
    assert forge.state.pulls[1].requested_users == ("bob",)
    assert forge.state.pulls[1].requested_teams == ("dba",)
    for approver in ("bob", "@a/b/c", "@a b", "@../x", "@a/..?"):
        with pytest.raises(Refused, match="not an approver"):
            opened.ask_reviewers(1, [approver])


def test_the_members_of_a_team(opened: GitHubForge) -> None:
    assert set(opened.team("@acme/dba")) == {"ann", "bob"}
    with pytest.raises(Refused, match="not a team"):
        opened.team("@bob")


@pytest.mark.parametrize(("login", "may"), [("ann", "write"), ("Bob", "write"), ("rita", "read"), ("nobody", "none")])
def test_what_an_account_may_do_is_asked_of_github(github: GitHub, login: str, may: str) -> None:
    assert github("ann").permission(login) == may


def test_one_comment_is_renewed_and_others_are_not_touched(opened: GitHubForge, github: GitHub, forge: Forge) -> None:
    bob = github("bob")
    bob.comment(1, "check", "forged")
    for body in ("first", "second"):
        opened.comment(1, "check", body)
    opened.comment(1, "other", "beside it")
    comments = [(comment.author, comment.body) for comment in forge.state.comments.values()]
    assert comments == [
        ("bob", "<!-- breakglass: check -->\nforged"),
        ("ann", "<!-- breakglass: check -->\nsecond"),
        ("ann", "<!-- breakglass: other -->\nbeside it"),
    ]
    with pytest.raises(Refused):
        opened.comment(1, "a --> b", "x")


def test_a_workflows_token_renews_its_own_comment(opened: GitHubForge, forge: Forge, clock: Waits) -> None:
    opened.comment(1, "check", "by a person")
    token = forge.workflow_token({"pull_requests": "write", "metadata": "read"})
    workflow = GitHubForge(repository="acme/platform", token=token, clock=clock, api=forge.api_url)
    for body in ("first", "second"):
        workflow.comment(1, "check", body)
    assert [(comment.author, comment.body.partition("\n")[2]) for comment in forge.state.comments.values()] == [
        ("ann", "by a person"),
        ("github-actions[bot]", "second"),
    ]
    with pytest.raises(Refused):
        workflow.whoami()
    assert opened.whoami() == "ann"


def test_a_commit_can_be_made_in_an_accounts_name(opened: GitHubForge) -> None:
    name, email = opened.author_of("bob")
    assert name == "bob"
    assert re.fullmatch(r"[0-9]+\+bob@users\.noreply\.github\.com", email)
    with pytest.raises(NotFound):
        opened.author_of("nobody")


def test_a_workflow_is_started_once(github: GitHub, forge: Forge) -> None:
    events: list[Any] = []
    forge.subscribe(events.append)
    github("ann").dispatch("open.yml", {"overlay": "db-from-bastion"})
    forge.settle()
    assert [event.name for event in events] == ["workflow_dispatch"]
    with pytest.raises(NotFound):
        github("ann").dispatch("absent.yml", {})
    for workflow in ("../open.yml", "open", "a/b.yml", "x.yml?y"):
        with pytest.raises(Refused, match="no file name"):
            github("ann").dispatch(workflow, {})


def test_who_moved_a_branch_is_told_newest_first(
    opened: GitHubForge, forge: Forge, author: Clone, clock: Waits
) -> None:
    since = clock.now() - timedelta(days=7)
    (made,) = opened.moves("request", since)
    assert (made.how, made.before, made.after) == ("branch_creation", "0" * 40, opened.pull_request(1).head)
    author.commit({"request.yaml": "2\n"}, "more")
    forge.seed(author.directory, branch="request")
    newest = opened.moves("request", since)[0]
    assert newest.after == author.git("rev-parse", "HEAD")
    assert opened.moves("request", newest.at + timedelta(seconds=1)) == ()
    assert opened.moves("nobodys", since) == ()


def test_an_account_is_told_as_it_is_now(opened: GitHubForge, forge: Forge) -> None:
    known = opened.account("bob")
    assert (known.login, known.human, known.suspended, known.member) == ("bob", True, False, True)
    before = asked(forge, "GET", "/orgs/.*")
    assert opened.account("bob", member=True).member
    assert asked(forge, "GET", "/orgs/.*") == before
    with pytest.raises(NotFound):
        opened.account("nobody")


def test_the_rules_of_a_branch_are_told_with_their_ruleset(opened: GitHubForge, forge: Forge) -> None:
    assert opened.rules("main") == ()
    for ruleset in platform_rulesets(1):
        forge.state.rulesets[forge.state.new_id()] = ruleset
    assert {rule.type for rule in opened.rules("main")} == {"pull_request", "deletion", "non_fast_forward"}


def test_a_check_is_reported_by_an_app_alone(opened: GitHubForge, forge: Forge, clock: Waits, head: str) -> None:
    with pytest.raises(Refused, match="authenticate via a GitHub App"):
        opened.report_check(head, "success", "fine", "page")
    token = forge.workflow_token({"checks": "write", "metadata": "read"})
    workflow = GitHubForge(repository="acme/platform", token=token, clock=clock, api=forge.api_url)
    workflow.report_check(head, "failure", "t" * 500, "s" * 100_000)
    (run,) = forge.state.check_runs.values()
    assert (run.name, run.head_sha, run.status, run.conclusion) == ("breakglass", head, "completed", "failure")
    assert (len(run.title or ""), len(run.summary or "")) == (200, 65_000)


def test_an_alarm_is_one_issue_however_often_it_sounds(opened: GitHubForge, github: GitHub, forge: Forge) -> None:
    forged = github("bob").alarm("closing-failed", "not mine", "x")
    first = opened.alarm("closing-failed", "closing failed", "why")
    assert first != forged
    assert opened.alarm("closing-failed", "closing failed", "again") == first
    assert opened.alarm("solo", "opened alone", "who") != first
    assert [comment.body for comment in forge.state.comments.values()] == ["again"]


def test_a_reply_is_a_comment_of_its_own(opened: GitHubForge, forge: Forge) -> None:
    for body in ("one", "two"):
        opened.reply(1, body)
    assert [comment.body for comment in forge.state.comments.values()] == ["one", "two"]
