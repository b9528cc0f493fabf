"""What changes of who may do what, between two sides."""

from __future__ import annotations

from dataclasses import dataclass

from breakglass.analysis.access.access import Access, Granted
from breakglass.analysis.access.escalation import Escalation, Reaches, escalations


@dataclass(frozen=True, slots=True)
class AccessDifference:
    """What changes of who may do what.

    Attributes:
        granted: what is granted and was not, ordered by subject and namespace.
        revoked: the opposite.
        escalations: the ways up that are new.
    """

    granted: tuple[Granted, ...]
    revoked: tuple[Granted, ...]
    escalations: tuple[Escalation, ...]

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.granted or self.revoked or self.escalations)


def compare_access(before: Access, after: Access, reaches: Reaches | None = None) -> AccessDifference:
    """What changes between two sides.

    Args:
        before: the RBAC without the change.
        after: with it.
        reaches: what the workloads of a namespace reach, after the change; None where nobody asks.

    Raises:
        Refused: the rules of a subject overlap in too many ways to compare.
    """
    return AccessDifference(
        tuple(after.beyond(before)), tuple(before.beyond(after)), tuple(escalations(before, after, reaches))
    )
