"""Prometheus metrics of a process that runs for ever, and the HTTP server of `/healthz` and `/metrics`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from breakglass import ports
from breakglass.model.errors import Refused
from breakglass.ports import Clock

LONGEST_SILENCE = 150.0
"""Seconds without a turn of the loop after which the process counts as hung: a wait of 60 s and a slow API server."""
LATENESS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets in seconds."""
_REQUEST_SECONDS = 5.0


class PrometheusMonitor(ports.Monitor):
    """`Monitor` whose numbers Prometheus scrapes. What is not known is NaN, which no comparison of an alert meets.

    https://prometheus.io/docs/practices/naming/

    Args:
        clock: what the times of the metrics are told by.
        stopwatch: seconds that no step of the clock moves, for `silence`.
    """

    def __init__(self, clock: Clock, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._stopwatch = clock, stopwatch
        self._next_expiry: datetime | None = None
        self._turned = stopwatch()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._open = Gauge("breakglass_open_windows", "Windows that are not closed in this cluster.", registry=registry)
        next_expiry = Gauge(
            "breakglass_next_expiry_seconds",
            "Seconds until the next window ends; negative where one is over and not closed, NaN where none is open.",
            registry=registry,
        )
        next_expiry.set_function(self._seconds_to_next_expiry)
        self._lateness = Histogram(
            "breakglass_closing_lateness_seconds",
            "Seconds between the expiry of a window and its proven closing by this agent.",
            buckets=LATENESS,
            registry=registry,
        )
        self._closings = Counter(
            "breakglass_closings_total",
            "Closings by this agent: result closed, or failed and tried again.",
            ["result"],
            registry=registry,
        )
        self._failures = Counter(
            "breakglass_failures_total",
            "What else failed: a turn of the loop (tried again), the Lease (tried again), an Event (left out).",
            ["operation"],
            registry=registry,
        )
        self._failed_applies = Counter(
            "breakglass_failed_applies_total",
            "Rounds of pull mode after which the cluster is not as main says; the next round tries again.",
            registry=registry,
        )
        self._heartbeat = self._moment("breakglass_last_heartbeat_timestamp_seconds", "Last turn that was completed.")
        self._fetch = self._moment("breakglass_last_fetch_timestamp_seconds", "Last fetch of the repository.")
        self._scheduled = Gauge(
            "breakglass_scheduled_job_timestamp_seconds",
            "Unix time at which a scheduled job last ran, as the ledger tells; pull mode only.",
            ["workflow"],
            registry=registry,
        )
        self._leader = Gauge(
            "breakglass_leader", "1 where this agent holds the Lease and closes first.", registry=registry
        )
        self._unreadable = Gauge(
            "breakglass_unreadable_inventories",
            "Inventories that cannot be read, and so not closed.",
            registry=registry,
        )
        for result in ("closed", "failed"):
            self._closings.labels(result)
        for operation in ("turn", "event", "lease"):
            self._failures.labels(operation)

    def alive(self) -> None:
        """Start to count the silence anew."""
        self._turned = self._stopwatch()

    def leads(self, leading: bool) -> None:
        """Keep whether this process holds the Lease."""
        self._leader.set(leading)

    def looked(self, *, ends: Sequence[datetime], unreadable: int) -> None:
        """Keep what the inventories tell."""
        self._open.set(len(ends))
        self._next_expiry = min(ends, default=None)
        self._unreadable.set(unreadable)
        self._heartbeat.set(self._clock.now().timestamp())

    def closed(self, lateness: timedelta) -> None:
        """Count a closing."""
        self._lateness.observe(max(0.0, lateness.total_seconds()))
        self._closings.labels("closed").inc()

    def failed(self, what: Literal["turn", "closing", "event", "lease", "apply"]) -> None:
        """Count a failure."""
        if what == "closing":
            self._closings.labels("failed").inc()
        elif what == "apply":
            self._failed_applies.inc()
        else:
            self._failures.labels(what).inc()

    def fetched(self) -> None:
        """Keep when the repository was fetched."""
        self._fetch.set(self._clock.now().timestamp())

    def scheduled(self, job: str, at: datetime) -> None:
        """Keep when a scheduled job ran."""
        self._scheduled.labels(job).set(at.timestamp())

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def silence(self) -> float:
        """Seconds since the loop last took a turn."""
        return self._stopwatch() - self._turned

    def serve(self, host: str, port: int) -> int:
        """Answer `/healthz` and `/metrics` over plain HTTP for as long as the process lives.

        Args:
            port: 0 for one that is free.

        Returns:
            The port.

        Raises:
            Refused: the address is in use, or none of this machine.
        """
        try:
            server = ThreadingHTTPServer((host, port), _handler(self))
        except OSError as error:
            raise Refused(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}") from None
        Thread(target=server.serve_forever, name="monitoring", daemon=True).start()
        return server.server_port

    def _moment(self, name: str, what: str) -> Gauge:
        gauge = Gauge(name, f"Unix time. {what}", registry=self._registry)
        gauge.set(math.nan)
        return gauge

    def _seconds_to_next_expiry(self) -> float:
        return math.nan if self._next_expiry is None else (self._next_expiry - self._clock.now()).total_seconds()


def _handler(monitor: PrometheusMonitor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_SECONDS

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_PLAIN_0_0_4, monitor.metrics())
            elif self.path == "/healthz":
                silence = monitor.silence()
                healthy = silence <= LONGEST_SILENCE
                words = "ok\n" if healthy else f"the loop took no turn for {silence:.0f} s\n"
                self._answer(200 if healthy else 503, "text/plain; charset=utf-8", words.encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"there are /healthz and /metrics\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
            """Say nothing: probes come every few seconds."""

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
