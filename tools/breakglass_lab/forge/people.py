"""Users, teams, members and rights. https://docs.github.com/en/rest/users, /teams and /collaborators."""

from typing import Any

from breakglass_lab.forge import answers
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, invalid, not_found
from breakglass_lab.forge.organisation import Team
from breakglass_lab.forge.repositories import REPO
from breakglass_lab.forge.state import ACTIONS_LOGIN, State

PERMISSIONS = {None: "none", "read": "read", "write": "write", "admin": "admin"}


def me(state: State, request: Request) -> Answer:
    """GET the user a token belongs to; an installation's token belongs to none."""
    if request.identity.kind != "user":
        raise Refusal(403, "Resource not accessible by integration")
    private: dict[str, Any] = dict.fromkeys(("private_gists", "total_private_repos", "owned_private_repos"), 0)
    private |= {"disk_usage": 0, "collaborators": 0, "two_factor_authentication": True}
    return Answer(200, {**answers.user(state, request.identity.login), **private})


def get_user(state: State, request: Request) -> Answer:
    """GET the public profile of a login."""
    login = request.values["login"]
    user = state.organisation.user(login)
    if user is None and state.organisation.app(login) is None and login != ACTIONS_LOGIN:
        raise not_found()
    return Answer(200, answers.user(state, login if user is None else user.login))


def _organisation(state: State, request: Request) -> None:
    if request.values["org"].lower() != state.organisation.login:
        raise not_found()


def get_organisation(state: State, request: Request) -> Answer:
    """GET the organisation."""
    _organisation(state, request)
    return Answer(200, answers.organisation(state))


def org_members(state: State, request: Request) -> Answer:
    """GET the members of the organisation."""
    _organisation(state, request)
    members = [user for user in state.organisation.users if not user.outside]
    return Answer(200, [answers.account(state, user.login) for user in members], items=True)


def is_org_member(state: State, request: Request) -> Answer:
    """GET whether somebody is a member: 204 or 404; 302 to the public members for one who is none themselves."""
    _organisation(state, request)
    asks, login = request.identity, request.values["login"]
    if asks.kind == "user" and not state.organisation.member(asks.login):
        place = f"{state.api_url}/orgs/{state.organisation.login}/public_members/{login}"
        return Answer(302, headers={"Location": place})
    if not state.organisation.member(login):
        raise not_found()
    return Answer(204)


def outside_collaborators(state: State, request: Request) -> Answer:
    """GET those with rights on the repository who are no members of the organisation."""
    _organisation(state, request)
    outside = [user for user in state.organisation.users if user.outside]
    shown = [user for user in outside if state.organisation.role(state.repository, user.login) is not None]
    return Answer(200, [answers.account(state, user.login) for user in shown], items=True)


def _team(state: State, request: Request) -> Team:
    """Return the team a path names; a secret team is not there for those outside of it."""
    if "team_id" in request.values:
        teams = state.organisation.teams
        team = next((team for team in teams if answers.team_id(state, team.slug) == request.values["team_id"]), None)
    else:
        _organisation(state, request)
        team = state.organisation.team(request.values["slug"])
    if team is None or (team.secret and request.identity.login not in (*team.members, *state.organisation.owners)):
        raise not_found()
    return team


def list_teams(state: State, request: Request) -> Answer:
    """GET the visible teams."""
    _organisation(state, request)
    return Answer(200, [answers.team(state, team) for team in state.organisation.teams if not team.secret], items=True)


def get_team(state: State, request: Request) -> Answer:
    """GET a team."""
    return Answer(200, answers.full_team(state, _team(state, request)))


def team_members(state: State, request: Request) -> Answer:
    """GET the members of a team."""
    team = _team(state, request)
    return Answer(200, [answers.account(state, login) for login in team.members], items=True)


def membership(state: State, request: Request) -> Answer:
    """GET somebody's membership in a team; 404 for none."""
    team, login = _team(state, request), request.values["login"]
    if login not in team.members:
        raise not_found()
    url = f"{answers.full_team(state, team)['url']}/memberships/{login}"
    return Answer(200, {"url": url, "role": "member", "state": "active"})


def _membership_change(state: State, request: Request) -> tuple[Team, str]:
    """Return the team and the login of a change that an owner, or an App with the permission, may make."""
    if request.identity.kind == "user" and request.identity.login not in state.organisation.owners:
        raise Refusal(403, "Must be an organization owner or team maintainer.")
    team, user = _team(state, request), state.organisation.user(request.values["login"])
    if user is None:
        raise not_found()
    return team, user.login


def join(state: State, request: Request) -> Answer:
    """PUT somebody into a team; one who is no member of the organisation is only invited: `pending`."""
    team, login = _membership_change(state, request)
    if request.text("role", "member") not in ("member", "maintainer"):
        raise invalid("role", resource="TeamMember")
    member = state.organisation.member(login)
    if member:
        team = state.change_team(team.slug, lambda members: dict.fromkeys((*members, login)))
    url = f"{answers.full_team(state, team)['url']}/memberships/{login}"
    return Answer(200, {"url": url, "role": "member", "state": "active" if member else "pending"})


def leave(state: State, request: Request) -> Answer:
    """DELETE somebody from a team; 404 for one who is not in it."""
    team, login = _membership_change(state, request)
    if login not in team.members:
        raise not_found()
    state.change_team(team.slug, lambda members: (member for member in members if member != login))
    return Answer(204)


def permission(state: State, request: Request) -> Answer:
    """GET somebody's permission on the repository; an App is no collaborator."""
    login = request.values["login"]
    user = state.organisation.user(login)
    if user is None:
        raise Refusal(404, f"{login} is not a user")
    role = state.organisation.role(state.repository, user.login)
    name = PERMISSIONS[role]
    shown = {**answers.account(state, user.login), "permissions": _rights(role), "role_name": name}
    return Answer(200, {"permission": name, "role_name": name, "user": shown})


def _rights(role: str | None) -> dict[str, bool]:
    pushes = role in ("write", "admin")
    return {
        "pull": role is not None,
        "triage": pushes,
        "push": pushes,
        "maintain": role == "admin",
        "admin": role == "admin",
    }


def collaborators(state: State, request: Request) -> Answer:
    """GET everybody who has rights on the repository; `affiliation=outside` those who are no members."""
    shown = []
    affiliation = request.query.get("affiliation", "all")
    direct = state.organisation.rights.get(state.repository, {})
    for user in state.organisation.users:
        if (affiliation == "outside" and not user.outside) or (
            affiliation == "direct" and f"@{user.login}" not in direct
        ):
            continue
        role = state.organisation.role(state.repository, user.login)
        if role is not None:
            shown.append({**answers.account(state, user.login), "permissions": _rights(role), "role_name": role})
    return Answer(200, shown, items=True)


def is_collaborator(state: State, request: Request) -> Answer:
    """GET whether somebody has rights on the repository: 204 or 404."""
    if state.organisation.role(state.repository, request.values["login"]) is None:
        raise not_found()
    return Answer(204)


def repository_teams(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET the teams that have rights on the repository."""
    organisation = state.organisation
    teams = [team for team in organisation.teams if organisation.team_role(state.repository, team.slug) is not None]
    return Answer(200, [answers.team(state, team) for team in teams], items=True)


METADATA, MEMBERS = ("metadata", "read"), ("members", "read")
TEAM = "/orgs/<org>/teams/<slug>"
TEAM_BY_ID = "/organizations/<int:org_id>/team/<int:team_id>"
"""The URL that the answers give for a team, and that SDKs therefore follow."""

ENDPOINTS = (
    Endpoint("GET", "/user", me),
    Endpoint("GET", "/users/<login>", get_user),
    Endpoint("GET", "/orgs/<org>", get_organisation),
    Endpoint("GET", "/orgs/<org>/members", org_members, MEMBERS),
    Endpoint("GET", "/orgs/<org>/members/<login>", is_org_member, MEMBERS),
    Endpoint("GET", "/orgs/<org>/teams", list_teams, MEMBERS),
    Endpoint("GET", TEAM, get_team, MEMBERS),
    Endpoint("GET", f"{TEAM}/members", team_members, MEMBERS),
    Endpoint("GET", f"{TEAM}/memberships/<login>", membership, MEMBERS),
    Endpoint("PUT", f"{TEAM}/memberships/<login>", join, ("members", "write")),
    Endpoint("DELETE", f"{TEAM}/memberships/<login>", leave, ("members", "write")),
    Endpoint("GET", "/orgs/<org>/outside_collaborators", outside_collaborators, MEMBERS),
    Endpoint("GET", TEAM_BY_ID, get_team, MEMBERS),
    Endpoint("GET", f"{TEAM_BY_ID}/members", team_members, MEMBERS),
    Endpoint("GET", f"{TEAM_BY_ID}/memberships/<login>", membership, MEMBERS),
    Endpoint("GET", f"{REPO}/teams", repository_teams, METADATA),
    Endpoint("GET", f"{REPO}/collaborators", collaborators, METADATA, "write"),
    Endpoint("GET", f"{REPO}/collaborators/<login>", is_collaborator, METADATA),
    Endpoint("GET", f"{REPO}/collaborators/<login>/permission", permission, METADATA),
)
