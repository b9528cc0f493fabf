"""Rate limits, and the root of the API.
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api.
"""

from datetime import timedelta

from breakglass_lab.forge.exchange import Answer, Endpoint, Identity, Refusal, Request
from breakglass_lab.forge.state import State

WINDOW = timedelta(hours=1)


def _usage(state: State, identity: Identity) -> tuple[int, int]:
    """Return how many requests an identity has made in its window, and when the window ends (seconds since 1970)."""
    key = (identity.kind, identity.login)
    used, reset = state.usage.get(key, (0, 0))
    return (used, reset) if reset > state.now().timestamp() else (0, int((state.now() + WINDOW).timestamp()))


def count(state: State, identity: Identity) -> None:
    """Count a request; Refusal 403 when none is left in this hour."""
    used, reset = _usage(state, identity)
    if used >= identity.limit:
        raise Refusal(403, f"API rate limit exceeded for {identity.login or 'anonymous'}.")
    state.usage[identity.kind, identity.login] = (used + 1, reset)


def limit_headers(state: State, identity: Identity) -> dict[str, str]:
    """Return the headers that tell how many requests are left."""
    used, reset = _usage(state, identity)
    return {
        "X-RateLimit-Limit": str(identity.limit),
        "X-RateLimit-Remaining": str(identity.limit - used),
        "X-RateLimit-Used": str(used),
        "X-RateLimit-Reset": str(reset),
        "X-RateLimit-Resource": "core",
    }


def rate_limit(state: State, request: Request) -> Answer:
    """GET the limits."""
    used, reset = _usage(state, request.identity)
    limit = request.identity.limit
    core = {"limit": limit, "used": used, "remaining": limit - used, "reset": reset}
    search = {"limit": 30, "used": 0, "remaining": 30, "reset": reset}
    return Answer(200, {"resources": {"core": core, "search": search}, "rate": core})


def root(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET the root: where things are."""
    repository_url = f"{state.api_url}/repos/{{owner}}/{{repo}}"
    return Answer(200, {"current_user_url": f"{state.api_url}/user", "repository_url": repository_url})


def about(state: State, request: Request) -> Answer:  # noqa: ARG001  # a handler's signature
    """GET what the server is; `installed_version` is GitHub Enterprise Server's, which a host that is not github.com is
    to gh.
    """
    return Answer(200, {"verifiable_password_authentication": False, "installed_version": "3.22.0"})


ENDPOINTS = (
    Endpoint("GET", "/", root),
    Endpoint("GET", "/meta", about),
    Endpoint("GET", "/rate_limit", rate_limit),
)
