"""Who exists on the forge: users, teams and Apps of one organisation, and what they may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from breakglass_lab.forge.rulesets import Ruleset

Role = Literal["read", "write", "admin"]
"""A repository role: https://docs.github.com/en/organizations/managing-user-access-to-your-organizations-repositories.
"""

AccountType = Literal["User", "Bot", "Organization"]

ROLES: tuple[Role, ...] = ("read", "write", "admin")
"""The roles, weakest first."""

APP_PERMISSIONS: Mapping[str, str] = {
    "actions": "write",
    "checks": "write",
    "contents": "write",
    "issues": "write",
    "members": "read",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "write",
    "workflows": "write",
}
"""What an App of the lab is granted unless told otherwise (no administration: it cannot see bypass actors)."""


def new_private_key() -> str:
    """Return a fresh RSA key of 2048 bits as PEM text, the form GitHub hands out for an App."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode("ascii")


@dataclass(frozen=True)
class User:
    """An account that is no App's; `email` is what their commits carry.

    `outside`: no member of the organisation; with rights on the repository an outside collaborator. `suspended_at`:
    since when they cannot act any more, as GitHub Enterprise Server and managed users know it; what they own and
    approved stays.
    """

    login: str
    name: str
    email: str
    outside: bool = False
    suspended_at: datetime | None = None
    type: AccountType = "User"


@dataclass(frozen=True)
class Team:
    """A team of the organisation: `members` are logins; a secret team cannot own code."""

    slug: str
    members: tuple[str, ...]
    secret: bool = False


@dataclass(frozen=True)
class App:
    """A GitHub App installed on the repository; `private_key` (PEM) signs its JWTs, `events` are its webhooks."""

    slug: str = "acme-breakglass"
    id: int = 482_001
    installation_id: int = 61_482_001
    permissions: Mapping[str, str] = field(default_factory=lambda: dict(APP_PERMISSIONS))
    private_key: str = field(default_factory=new_private_key, repr=False)
    events: tuple[str, ...] = ()

    @property
    def login(self) -> str:
        """The account the App acts as."""
        return f"{self.slug}[bot]"


@dataclass(frozen=True)
class Organisation:
    """An organisation with one repository or more.

    `rights` maps a repository name to roles by CODEOWNERS names: `{"platform": {"@alice": "write", "@acme/dba":
    "write"}}`. `owners` are logins that administer the organisation. `rulesets` are those its repositories start with.
    """

    login: str = "acme"
    users: tuple[User, ...] = ()
    teams: tuple[Team, ...] = ()
    apps: tuple[App, ...] = ()
    rights: Mapping[str, Mapping[str, Role]] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    rulesets: tuple[Ruleset, ...] = ()

    def user(self, login: str) -> User | None:
        """Return the user of that login (letter case is ignored, as on GitHub), or None."""
        return next((user for user in self.users if user.login.lower() == login.lower()), None)

    def team(self, slug: str) -> Team | None:
        """Return the team of that slug, or None."""
        return next((team for team in self.teams if team.slug == slug.lower()), None)

    def member(self, login: str) -> bool:
        """Tell whether somebody is a member of the organisation."""
        user = self.user(login)
        return user is not None and not user.outside

    def app(self, login: str) -> App | None:
        """Return the App that acts as `login` (`SLUG[bot]`), or None."""
        return next((app for app in self.apps if app.login == login), None)

    def role(self, repository: str, login: str) -> Role | None:
        """Return the strongest role a user holds, directly, by a team or as organisation owner; None without access."""
        user = self.user(login)
        if user is None:
            return None
        if user.login in self.owners:
            return "admin"
        rights = self.rights.get(repository, {})
        names = [f"@{user.login}", *(f"@{self.login}/{team.slug}" for team in self.teams if user.login in team.members)]
        held = [rights[name] for name in names if name in rights]
        return max(held, key=ROLES.index, default=None)

    def team_role(self, repository: str, slug: str) -> Role | None:
        """Return the role a team holds on a repository, or None."""
        return self.rights.get(repository, {}).get(f"@{self.login}/{slug}")

    def can_write(self, repository: str, login: str) -> bool:
        """Tell whether a user or App may push to the repository."""
        app = self.app(login)
        if app is not None:
            return app.permissions.get("contents") == "write"
        return self.role(repository, login) in ("write", "admin")
