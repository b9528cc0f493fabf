"""The one tree of errors: what happened, where, and what to do next.

Exit codes (the contract of the command): 0 done, 1 refused or check failed, 2 usage, 3 unexpected,
4 merged but not applied (run again), 130 interrupted.
"""

from __future__ import annotations

from typing import ClassVar


class BreakglassError(Exception):
    """Base of every error that the product raises on purpose.

    Args:
        what: one sentence saying what happened.
        where: `file:line`, an object, or a pull request; None where there is no one place.
        remedy: what to do next, as an imperative; None where nothing can be done.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class Refused(BreakglassError):
    """The request, the file or the state is not acceptable; nothing was changed."""


class InvalidFile(Refused):
    """A file of the product's own formats does not say what it must."""


class NotFound(Refused):
    """A file, commit, overlay or activation that was named does not exist."""


class UsageError(BreakglassError):
    """The command was called wrongly."""

    exit_code = 2


class NotApplied(BreakglassError):
    """What main says is not (yet) what the cluster does; the next run converges."""

    exit_code = 4


class Unreachable(NotApplied):
    """A cluster or the forge did not answer in time, or answered with a passing fault."""


class Conflict(BreakglassError):
    """Somebody else moved first: a ref, a pull request's head, an object's resourceVersion."""

    exit_code = 4
