"""Which identity reaches which endpoint; who may not see the repository is told it is not there."""

from collections.abc import Mapping
from typing import Any

from breakglass_lab.forge.exchange import Endpoint, Identity, Refusal, not_found
from breakglass_lab.forge.organisation import ROLES
from breakglass_lab.forge.state import State

LEVELS = ("read", "write", "admin")


def authorise(state: State, identity: Identity, endpoint: Endpoint, values: Mapping[str, Any]) -> None:
    """Return when the identity may use the endpoint; Refusal 401, 403 or 404 otherwise."""
    if endpoint.jwt != (identity.kind == "jwt"):
        message = "A JSON web token could not be decoded" if endpoint.jwt else "Bad credentials"
        raise Refusal(401, message)
    in_repository = "repo" in values
    if in_repository and f"{values['owner']}/{values['repo']}".lower() != state.full_name.lower():
        raise not_found()
    if endpoint.jwt:
        return
    if identity.kind == "anonymous":
        raise not_found() if in_repository else Refusal(401, "Requires authentication")
    if identity.kind == "user":
        if in_repository:
            _authorise_user(state, identity, endpoint)
    elif endpoint.permission is not None:
        name, level = endpoint.permission
        names = (name,) if endpoint.also is None else (name, endpoint.also)
        if not any(_reaches(identity.permissions.get(held), level) for held in names):
            raise Refusal(403, "Resource not accessible by integration")


def _authorise_user(state: State, identity: Identity, endpoint: Endpoint) -> None:
    role = state.organisation.role(state.repository, identity.login)
    if role is None:
        raise not_found()
    if ROLES.index(role) < ROLES.index(endpoint.role):
        told = (
            "Must have admin rights to Repository."
            if endpoint.role == "admin"
            else "Must have push access to repository."
        )
        raise Refusal(403, told)


def _reaches(held: str | None, level: str) -> bool:
    return held in LEVELS and LEVELS.index(held) >= LEVELS.index(level)
