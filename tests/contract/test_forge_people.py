"""Who is who: members, outside collaborators, suspended users, teams that change, and what they are told to be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from forge_users import Api, Clone
from github_schema import check_answer

from breakglass_lab.forge import Forge, User

REPO = "/repos/acme/platform"
MEMBERSHIP = "/orgs/acme/teams/incident-commanders/memberships"


@pytest.fixture
def people(forge: Forge) -> Forge:
    """Return the forge with somebody outside who may write, a machine user, and adam as the owner."""
    organisation = forge.state.organisation
    guest = User("gus", "Gus", "gus@elsewhere.example", outside=True)
    robot = User("robo", "Robo", "robo@acme.example", type="Bot")
    forge.state.organisation = replace(organisation, users=(*organisation.users, guest, robot), owners=("adam",))
    forge.grant("@gus", "write")
    return forge


def test_a_suspended_user_cannot_act_any_more(
    people: Forge, api: Callable[..., Api], clone: Callable[..., Clone]
) -> None:
    ann, work = api("ann"), clone("ann")
    ann("GET", REPO, code=200)
    people.suspend("ann")
    refused = ann("GET", REPO)
    assert (refused.status_code, refused.json()["message"]) == (403, "Sorry. Your account was suspended.")
    assert ann("POST", f"{REPO}/issues", {"title": "late"}).status_code == 403
    work.git("checkout", "--quiet", "-b", "topic")
    work.commit({"note.txt": "one\n"})
    assert "403" in work.git("push", "origin", "topic", code=128)
    shown = api("bob")("GET", "/users/ann", code=200)
    assert shown["suspended_at"] == "2026-11-23T02:13:00Z"
    people.unsuspend("ann")
    assert "suspended_at" not in ann("GET", "/users/ann", code=200)


def test_a_suspended_users_approval_still_counts_on_the_forge(
    people: Forge, api: Callable[..., Api], pull: Callable[..., Any]
) -> None:
    pull(path="overlays/emergency/one.yaml")
    api("ines")("POST", f"{REPO}/pulls/1/reviews", {"event": "APPROVE"}, 200)
    people.suspend("ines")
    api("bob")("GET", f"{REPO}/pulls/1")
    api("bob")("PUT", f"{REPO}/pulls/1/merge", {}, 200)


@pytest.mark.parametrize(("login", "kind"), [("ann", "User"), ("robo", "Bot"), ("acme-breakglass[bot]", "Bot")])
@pytest.mark.usefixtures("people")
def test_accounts_have_types(api: Callable[..., Api], login: str, kind: str) -> None:
    response = api("bob")("GET", f"/users/{login}")
    assert response.json()["type"] == kind
    check_answer("2022-11-28", "GET", f"/users/{login}", response.content)


@pytest.mark.usefixtures("people")
def test_an_outside_collaborator_is_no_member(api: Callable[..., Api]) -> None:
    ann = api("ann")
    assert ann("GET", "/orgs/acme/members/bob").status_code == 204
    assert ann("GET", "/orgs/acme/members/gus").status_code == 404
    assert ann("GET", "/orgs/acme/members/nobody").status_code == 404
    assert api("gus")("GET", "/orgs/acme/members/bob").status_code == 302
    assert "gus" not in [user["login"] for user in ann("GET", "/orgs/acme/members", per_page=100, code=200)]
    assert [user["login"] for user in ann("GET", "/orgs/acme/outside_collaborators", code=200)] == ["gus"]
    assert ann("GET", f"{REPO}/collaborators/gus").status_code == 204
    outside = ann("GET", f"{REPO}/collaborators", affiliation="outside", code=200)
    assert [user["login"] for user in outside] == ["gus"]
    assert ann("GET", f"{REPO}/collaborators/gus/permission", code=200)["permission"] == "write"


def test_associations(
    people: Forge,
    api: Callable[..., Api],
    pull: Callable[..., Any],
    app_token: Callable[..., str],
    clone: Callable[..., Clone],
) -> None:
    pull()

    def associations() -> dict[str, str]:
        comments = api("ann")("GET", f"{REPO}/issues/1/comments", code=200)
        return {comment["user"]["login"]: comment["author_association"] for comment in comments}

    for who in (api("adam"), api("gus"), api(token=app_token())):
        who("POST", f"{REPO}/issues/1/comments", {"body": "hello"}, 201)
    app = "acme-breakglass[bot]"
    assert associations() == {"adam": "MEMBER", "gus": "COLLABORATOR", app: "NONE"}
    api("gus")("POST", f"{REPO}/pulls/1/reviews", {"event": "APPROVE"}, 200)
    review = api("bob")("GET", f"{REPO}/pulls/1/reviews", code=200)[0]
    assert (review["user"]["login"], review["author_association"]) == ("gus", "COLLABORATOR")
    assert api("bob")("GET", f"{REPO}/pulls/1", code=200)["author_association"] == "MEMBER"
    people.grant("@gus", None)
    assert associations()["gus"] == "NONE"
    work = clone("bob")
    work.git("checkout", "--quiet", "-B", "main", "origin/main")
    work.git("commit", "--quiet", "--allow-empty", "--author=Gus <gus@elsewhere.example>", "--message=by gus")
    people.seed(work.directory)
    assert associations() == {"adam": "MEMBER", "gus": "CONTRIBUTOR", app: "NONE"}


def test_an_owner_changes_a_team_while_the_forge_runs(people: Forge, api: Callable[..., Api]) -> None:
    adam, ann = api("adam"), api("ann")
    assert ann("PUT", f"{MEMBERSHIP}/ann").status_code == 403
    assert adam("PUT", f"{MEMBERSHIP}/ann", {"role": "member"}, 200)["state"] == "active"
    assert adam("PUT", f"{MEMBERSHIP}/gus", {"role": "member"}, 200)["state"] == "pending"
    assert adam("PUT", f"{MEMBERSHIP}/nobody").status_code == 404
    assert adam("DELETE", f"{MEMBERSHIP}/ines").status_code == 204
    assert adam("DELETE", f"{MEMBERSHIP}/ines").status_code == 404
    members = ann("GET", "/orgs/acme/teams/incident-commanders/members", code=200)
    assert [user["login"] for user in members] == ["ivan", "ann"]
    people.leave_team("incident-commanders", "ivan")
    people.join_team("incident-commanders", "ines")
    members = ann("GET", "/orgs/acme/teams/incident-commanders/members", code=200)
    assert [user["login"] for user in members] == ["ann", "ines"]


def test_who_left_the_team_owns_its_code_no_more(
    people: Forge, api: Callable[..., Api], pull: Callable[..., Any]
) -> None:
    pull(path="overlays/emergency/one.yaml")
    api("ines")("POST", f"{REPO}/pulls/1/reviews", {"event": "APPROVE"}, 200)
    people.leave_team("incident-commanders", "ines")
    api("bob")("GET", f"{REPO}/pulls/1")
    assert api("bob")("PUT", f"{REPO}/pulls/1/merge", {}).status_code == 405


@pytest.mark.usefixtures("people")
def test_an_app_needs_the_permission_to_change_a_team(api: Callable[..., Api], app_token: Callable[..., str]) -> None:
    assert api(token=app_token())("PUT", f"{MEMBERSHIP}/ann").status_code == 403
