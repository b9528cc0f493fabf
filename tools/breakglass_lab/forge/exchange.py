"""One exchange with the forge: who asks, what is asked, what is answered, and the table entry that joins them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from breakglass_lab.forge.organisation import App, Role

if TYPE_CHECKING:
    from breakglass_lab.forge.state import State

Kind = Literal["anonymous", "user", "installation", "workflow", "jwt"]


@dataclass(frozen=True)
class Identity:
    """Who asks. `permissions` are those of an App's or a workflow's token; a user is limited by their role alone."""

    login: str
    kind: Kind
    app: App | None = None
    permissions: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    limit: int = 5000

    @property
    def starts_workflows(self) -> bool:
        """Tell whether what this identity does starts workflows: a GITHUB_TOKEN starts none."""
        return self.kind != "workflow"


ANONYMOUS = Identity("", "anonymous", limit=60)


@dataclass(frozen=True)
class Request:
    """A REST request whose path matched: `values` are the path's variables, `body` the parsed JSON object."""

    method: str
    path: str
    identity: Identity
    values: Mapping[str, Any]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def text(self, key: str, default: str | None = None) -> str:
        """Return the string `key` of the body; Refusal 422 when it is missing (without `default`) or no string."""
        value = self.body.get(key, default)
        if not isinstance(value, str):
            raise invalid(key)
        return value

    def flag(self, key: str) -> bool:
        """Return the boolean `key` of the body, False when absent; Refusal 422 for anything else."""
        value = self.body.get(key, False)
        if not isinstance(value, bool):
            raise invalid(key)
        return value

    def texts(self, key: str) -> list[str]:
        """Return the list of strings `key` of the body, empty when absent; Refusal 422 for anything else."""
        value = self.body.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid(key)
        return value


@dataclass(frozen=True)
class Answer:
    """Status, JSON body (None: no body) and extra headers; `items` marks a body that is split into pages.

    For a body that is an object with a list inside (check runs, workflow runs), `items` names the key of the list.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    items: bool | str = False


class Refusal(Exception):
    """An answer that is an error in GitHub's form: `message`, and `errors` where GitHub gives them."""

    def __init__(self, status: int, message: str, errors: list[Any] | None = None) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message
        self.errors = errors


def not_found() -> Refusal:
    """Return the 404 that also hides what a token may not see."""
    return Refusal(404, "Not Found")


def invalid(field_name: str, code: str = "invalid", resource: str = "Request", message: str | None = None) -> Refusal:
    """Return the 422 for one field; `code` is missing_field, invalid, already_exists or custom."""
    error = {"resource": resource, "field": field_name, "code": code}
    return Refusal(422, "Validation Failed", [error if message is None else {**error, "message": message}])


Handler = Callable[["State", Request], Answer]


@dataclass(frozen=True)
class Endpoint:
    """A row of the route table: werkzeug path `rule`, the token permission (name, level) needed, and the least role of
    a user.

    `permission` None: any authenticated identity. `also`: another permission that suffices. `jwt`: only an App's JWT is
    accepted.
    """

    method: str
    rule: str
    handler: Handler
    permission: tuple[str, str] | None = None
    role: Role = "read"
    also: str | None = None
    jwt: bool = False
