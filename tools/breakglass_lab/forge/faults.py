"""Programmed answers: the forge misbehaves on purpose, so that failure modes can be tested."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal


@dataclass
class Fault:
    """What happens to the next `times` matching requests after the first `skip`.

    `method` is a regular expression too (`GET|POST`); `path` must match the whole path (API paths without `/api/v3`, no
    query). `before` is called first, outside every lock: a race can be staged there. `status` None: the request is then
    served as usual. `performed`: the request is served, and its answer is replaced. `reset`: the connection is cut
    instead of answered (with `performed`: after serving).
    """

    method: str
    path: str
    times: int = 1
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    performed: bool = False
    reset: bool = False
    before: Callable[[], object] | None = None
    hits: int = 0

    @property
    def effect(self) -> Literal["serve", "answer", "reset"]:
        """What the client gets."""
        if self.reset:
            return "reset"
        return "serve" if self.status is None else "answer"

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is one this fault is about."""
        return re.fullmatch(self.method, method) is not None and re.fullmatch(self.path, path) is not None


class Faults:
    """The faults in force, in the order they were added; the first that matches is used up."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force and return it; its `hits` tells how often it struck."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take every fault out of force."""
        with self._lock:
            self._faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this request, counting it, or None."""
        with self._lock:
            for fault in self._faults:
                if not fault.matches(method, path):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.hits < fault.times:
                    fault.hits += 1
                    return fault
        return None
