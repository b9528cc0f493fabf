"""One writer at a time: a Lease of the namespace `breakglass`, taken and kept by compare-and-swap.

As client-go elects a leader (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection): no two clocks are compared.
Another's Lease is over when its resourceVersion stood still for its duration by our clock. Ours is held only while we
surely renewed it in time, which is less than its duration, so that a write on its way arrives before another writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from breakglass import ports
from breakglass.adapters.kubernetes_answers import PathNotFound
from breakglass.adapters.kubernetes_http import Operation, Request, Server
from breakglass.adapters.kubernetes_objects import metadata_of
from breakglass.adapters.kubernetes_watch import Watch
from breakglass.adapters.retry import Passing
from breakglass.model.errors import BreakglassError, Conflict, NotFound
from breakglass.model.inventory import NAMESPACE
from breakglass.model.managed_fields import FIELD_MANAGER

COLLECTION = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
DURATION = timedelta(seconds=15)
"""How long a Lease is its holder's after it was renewed."""
_SURE = 2 / 3
"""Part of the duration after which the holder trusts it no more."""
_POLL_SECONDS = 0.5
_PATIENCE = timedelta(seconds=5)
_WATCH_SECONDS = 3600.0
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

Lease = Mapping[str, Any]
"""As the API server answers it."""


class KubernetesLease(ports.Lease):
    """A Lease, renewed in the background while it is held; `release` ends that.

    Args:
        holder: who holds it; unique to this process, for one of the same name is taken for an earlier self.
        duration: how long others wait for a renewal.
    """

    def __init__(self, server: Server, name: str, holder: str, duration: timedelta = DURATION) -> None:
        self._server, self._name, self._holder = server, name, holder
        self._path, self._where = f"{COLLECTION}/{name}", f"Lease {NAMESPACE}/{name}"
        self._seconds = duration.total_seconds()
        self._over = Event()
        self._over.set()
        self._sure_until = 0.0
        self._ours: Lease = {}
        self._watch: Watch | None = None
        self._threads: tuple[Thread, ...] = ()

    def acquire(self, patience: timedelta) -> None:
        """Take the Lease, at once where it is free, and from a holder who does not renew it in time.

        Raises:
            Conflict: another still holds it when the patience is over.
            Unreachable: the API server does not answer.
        """
        if self.held():
            return
        self.abandon()
        deadline, state, since = _elapsed() + patience.total_seconds(), "", 0.0
        while True:
            found, now = self._find(), _elapsed()
            version = "" if found is None else metadata_of(found, "resourceVersion")
            if version != state:
                state, since = version, now
            if found is None or self._is_free(found) or now >= since + _duration_of(found):
                if self._take(found):
                    return
            elif now >= deadline:
                raise self._refusal(found)
            else:
                time.sleep(min(_POLL_SECONDS, deadline - now))

    def held(self) -> bool:
        """Whether it is surely ours: no other was seen to take it, and our monotonic clock saw it renewed in time."""
        return not self._over.is_set() and _elapsed() < self._sure_until

    def release(self) -> None:
        """Give it up, so that the next one need not wait; a Lease of another stays as it is.

        Raises:
            Unreachable: the API server does not answer; the Lease is over when its duration is.
        """
        ours = not self._over.is_set()
        self.abandon()
        if not ours:
            return
        try:
            self._write(self._ours, {**self._ours["spec"], "holderIdentity": "", "renewTime": self._now()})
        except (Conflict, NotFound):
            # Another took it.
            return

    def abandon(self) -> None:
        """Renew it no more and leave it as it is; it is over when its duration is."""
        self._end()
        for thread in self._threads:
            thread.join()
        self._threads = ()

    def _end(self) -> None:
        self._over.set()
        if self._watch is not None:
            self._watch.close()

    def _find(self) -> Lease | None:
        try:
            return self._call(Request("GET", self._path))
        except PathNotFound:
            raise
        except NotFound:
            return None

    def _is_free(self, found: Lease) -> bool:
        return _spec(found).get("holderIdentity") in (None, "", self._holder)

    def _take(self, found: Lease | None) -> bool:
        """Make the Lease ours as it was found; False where somebody was faster."""
        before = {} if found is None else _spec(found)
        transitions, now, sent = int(before.get("leaseTransitions") or 0), self._now(), _elapsed()
        changes_hands = found is not None and before.get("holderIdentity") != self._holder
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions + changes_hands,
        }
        ours = self._written(found, spec)
        if ours is None:
            return False
        self._keep(ours, sent)
        self._over = Event()
        self._threads = tuple(
            Thread(target=work, args=(self._over,), daemon=True, name=f"lease {self._name}")
            for work in (self._renew_until, self._watch_until)
        )
        for thread in self._threads:
            thread.start()
        return True

    def _written(self, before: Lease | None, spec: Mapping[str, Any]) -> Lease | None:
        """The Lease with this spec; None where another wrote it after it was as before."""
        try:
            return self._write(before, spec)
        except (Conflict, NotFound):
            # What stands there may be of an attempt of this very call whose answer was lost.
            found = self._find()
            return found if found is not None and _is_as_written(found, spec) else None

    def _keep(self, ours: Lease, sent: float) -> None:
        self._ours, self._sure_until = ours, sent + self._seconds * _SURE

    def _renew_until(self, over: Event) -> None:
        pause = self._seconds / 3
        while not over.wait(pause):
            try:
                self._renew()
                pause = self._seconds / 3
            except BreakglassError:
                # `held` knows when it is too late; until then, and after it, the Lease may still be ours.
                pause = self._seconds / 15

    def _renew(self) -> None:
        sent = _elapsed()
        renewed = self._written(self._ours, {**self._ours["spec"], "renewTime": self._now()})
        if renewed is None:
            self._end()
        else:
            self._keep(renewed, sent)

    def _watch_until(self, over: Event) -> None:
        """End at once where another takes the Lease."""
        while not over.is_set():
            query = {
                "fieldSelector": f"metadata.name={self._name}",
                "resourceVersion": metadata_of(self._ours, "resourceVersion"),
            }
            self._watch = watch = Watch(self._server, COLLECTION, query, _WATCH_SECONDS)
            if over.is_set():
                return
            try:
                if any(not _is_of(item, self._ours) for item in watch):
                    self._end()
            except (BreakglassError, Passing):
                # Renewing goes on, and notices as well.
                over.wait(_POLL_SECONDS)

    def _write(self, before: Lease | None, spec: Mapping[str, Any]) -> Lease:
        query = {"fieldManager": FIELD_MANAGER}
        if before is not None:
            return self._call(Request("PUT", self._path, query, {**before, "spec": spec}))
        metadata = {"name": self._name, "namespace": NAMESPACE}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        return self._call(Request("POST", COLLECTION, query, body))

    def _call(self, request: Request) -> Lease:
        return Operation(self._server, _PATIENCE).call(request, self._where)

    def _now(self) -> str:
        return f"{self._server.clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"

    def _refusal(self, found: Lease) -> Conflict:
        spec = _spec(found)
        return Conflict(
            f"{spec.get('holderIdentity')} holds the lease since {spec.get('acquireTime')}, "
            f"and renewed it at {spec.get('renewTime')}",
            where=self._where,
            remedy="wait until it is done, then run again",
        )


def _elapsed() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps where there is one."""
    return time.clock_gettime(_BOOT_CLOCK)


def _spec(lease: Lease) -> Mapping[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _duration_of(lease: Lease) -> float:
    seconds = _spec(lease).get("leaseDurationSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else DURATION.total_seconds()


def _is_of(lease: Lease, ours: Lease) -> bool:
    """Whether a Lease is held by the same process as ours since the same time."""
    return all(_spec(lease).get(name) == _spec(ours).get(name) for name in ("holderIdentity", "acquireTime"))


def _is_as_written(lease: Lease, spec: Mapping[str, Any]) -> bool:
    return all(_spec(lease).get(name) == spec[name] for name in ("holderIdentity", "acquireTime", "renewTime"))
