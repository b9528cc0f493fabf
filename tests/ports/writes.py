"""Every write to the outside, in order, and a process that dies at one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Moment = Literal["before", "after"]


class Killed(BaseException):
    """The process is gone: nothing that catches errors may catch this."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write.

    Attributes:
        place: the cluster's name, or `git`.
        verb: `apply`, `delete`, `disown`, `evict`, `record event`, `write inventory`, `delete inventory`,
            `acquire lease`, `release lease` or `push`.
        subject: the object's key, the activation's id, the lease's name, or the branch.
    """

    place: str
    verb: str
    subject: object


@dataclass
class Writes:
    """The log of writes, when to die, and how many died."""

    log: list[Write] = field(default_factory=list)
    deaths: int = 0
    _dead: bool = False
    _kill: tuple[int, Moment] | None = None
    _meanwhile: tuple[str, Callable[[], object]] | None = None

    def kill(self, number: int, moment: Moment) -> None:
        """Die before or after the write of this number, counted from now, from 1."""
        self._kill = (len(self.log) + number, moment)

    def spare(self) -> None:
        """Do not die any more; whoever writes next is another process."""
        self._kill, self._dead = None, False

    def meanwhile(self, verb: str, work: Callable[[], object]) -> None:
        """Let somebody else work just before the next write of this verb."""
        self._meanwhile = (verb, work)

    @contextmanager
    def one(self, place: str, verb: str, subject: object) -> Iterator[None]:
        """Surround one write; what the body refuses was none. What is dead writes nothing more."""
        if self._dead:
            raise Killed
        if self._meanwhile is not None and self._meanwhile[0] == verb:
            _, work = self._meanwhile
            self._meanwhile = None
            work()
        number = len(self.log) + 1
        self._die_at(number, "before")
        yield
        self.log.append(Write(place, verb, subject))
        self._die_at(number, "after")

    def _die_at(self, number: int, moment: Moment) -> None:
        if self._kill == (number, moment):
            self.deaths, self._dead = self.deaths + 1, True
            raise Killed
