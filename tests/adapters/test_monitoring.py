"""What Prometheus and the kubelet are told, over HTTP as they ask for it."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from breakglass.adapters.monitoring import LONGEST_SILENCE, PrometheusMonitor
from breakglass.model.errors import Refused
from ports.clock import NIGHT, SettableClock


@pytest.fixture
def monitor() -> PrometheusMonitor:
    return PrometheusMonitor(SettableClock(), lambda: 0.0)


def samples(monitor: PrometheusMonitor) -> dict[str, float]:
    """Every sample of ours, `name{label="value"}` → value, as Prometheus parses them."""
    families = text_string_to_metric_families(monitor.metrics().decode())
    told = (sample for family in families for sample in family.samples if sample.name.startswith("breakglass_"))
    return {
        name + "".join(f"{{{key}={value}}}" for key, value in labels.items()): value for name, labels, value, *_ in told
    }


def ask(port: int, path: str, patience: float = 10) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=patience) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_what_is_not_known_is_no_number(monitor: PrometheusMonitor) -> None:
    unknown = {name for name, value in samples(monitor).items() if value != value}
    assert unknown == {
        "breakglass_next_expiry_seconds",
        "breakglass_last_heartbeat_timestamp_seconds",
        "breakglass_last_fetch_timestamp_seconds",
    }


def test_the_inventories_are_told_and_time_goes_on_without_another_look() -> None:
    clock = SettableClock()
    monitor = PrometheusMonitor(clock)
    monitor.leads(True)
    monitor.looked(ends=[NIGHT + timedelta(minutes=2), NIGHT + timedelta(minutes=1)], unreadable=3)
    clock.tick(timedelta(seconds=70))
    told = samples(monitor)
    assert told["breakglass_open_windows"] == 2
    assert told["breakglass_next_expiry_seconds"] == -10
    assert told["breakglass_leader"] == 1
    assert told["breakglass_unreadable_inventories"] == 3
    assert told["breakglass_last_heartbeat_timestamp_seconds"] == NIGHT.timestamp()


def test_closings_and_failures_are_counted(monitor: PrometheusMonitor) -> None:
    for seconds in (0.05, 0.7, 11, -3):
        monitor.closed(timedelta(seconds=seconds))
    for what in ("closing", "closing", "turn", "event", "lease", "apply"):
        monitor.failed(what)
    monitor.fetched()
    monitor.scheduled("expire", NIGHT - timedelta(hours=1))
    told = samples(monitor)
    assert told["breakglass_closing_lateness_seconds_bucket{le=0.1}"] == 2
    assert told["breakglass_closing_lateness_seconds_bucket{le=1.0}"] == 3
    assert told["breakglass_closing_lateness_seconds_bucket{le=10.0}"] == 3
    assert told["breakglass_closing_lateness_seconds_count"] == 4
    assert told["breakglass_closings_total{result=closed}"] == 4
    assert told["breakglass_closings_total{result=failed}"] == 2
    assert told["breakglass_failures_total{operation=turn}"] == 1
    assert told["breakglass_failed_applies_total"] == 1
    assert told["breakglass_last_fetch_timestamp_seconds"] == NIGHT.timestamp()
    assert told["breakglass_scheduled_job_timestamp_seconds{workflow=expire}"] == NIGHT.timestamp() - 3600


def test_every_metric_says_what_it_is(monitor: PrometheusMonitor) -> None:
    for family in text_string_to_metric_families(monitor.metrics().decode()):
        assert family.documentation.endswith("."), family.name


def test_health_is_that_the_loop_goes_round() -> None:
    seconds = [0.0]
    monitor = PrometheusMonitor(SettableClock(), lambda: seconds[0])
    port = monitor.serve("127.0.0.1", 0)
    assert ask(port, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    seconds[0] = LONGEST_SILENCE + 1
    status, _, words = ask(port, "/healthz")
    assert (status, words) == (503, "the loop took no turn for 151 s\n")
    monitor.alive()
    assert ask(port, "/healthz")[0] == 200


def test_metrics_are_in_the_format_that_prometheus_reads(monitor: PrometheusMonitor) -> None:
    port = monitor.serve("127.0.0.1", 0)
    status, content_type, text = ask(port, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# HELP breakglass_open_windows " in text
    assert "process_resident_memory_bytes " in text
    assert ask(port, "/")[0] == 404


def test_a_client_that_says_nothing_keeps_no_other_waiting(monitor: PrometheusMonitor) -> None:
    port = monitor.serve("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port)):
        assert ask(port, "/healthz", patience=2)[0] == 200


def test_an_address_in_use_is_refused_with_its_name(monitor: PrometheusMonitor) -> None:
    port = monitor.serve("127.0.0.1", 0)
    with pytest.raises(Refused, match=f"127.0.0.1:{port}: cannot listen"):
        monitor.serve("127.0.0.1", port)
