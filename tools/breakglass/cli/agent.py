"""`breakglass agent`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn

import click

from breakglass.cli.output import (
    DurationType,
    directory_option,
    emit_json,
    kubeconfig_option,
    output_option,
    progress,
    wiring,
)
from breakglass.model.errors import BreakglassError, NotApplied, UsageError
from breakglass.wiring import Wiring

if TYPE_CHECKING:
    from breakglass.lifecycle.run import Applier
    from breakglass.ports import Cluster, Lease

RELEASE_SECONDS = 0.7


class AddressType(click.ParamType[tuple[str, int]]):
    """An address to listen on, such as 127.0.0.1:8080 or [::]:8080."""

    name = "address:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read it, or fail as a usage error."""
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            self.fail(f"{value!r} is not an address and a port; write 127.0.0.1:8080", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)


@click.command("agent", epilog="Example: breakglass agent --once")
@click.argument("cluster", required=False)
@click.option("--once", is_flag=True, help="Close what is over and leave; exit code 4 if something stays open.")
@click.option("--cut", is_flag=True, help="After a closing, evict pods whose connections may have begun in the window.")
@click.option("--listen", type=AddressType(), help="Answer /healthz and /metrics there, over plain HTTP.")
@click.option("--follow", is_flag=True, help="Also fetch the clone's remote and apply what main says for CLUSTER.")
@click.option(
    "--interval", type=DurationType(), default="30s", show_default=True, help="With --follow: how often to fetch."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --follow: the forge's token, read afresh each round.",
)
@directory_option
@kubeconfig_option
@output_option
def command(
    cluster: str | None,
    once: bool,
    cut: bool,
    listen: tuple[str, int] | None,
    follow: bool,
    interval: timedelta,
    token_file: Path | None,
    directory: Path,
    kubeconfig: Path | None,
    output: str,
) -> int:
    """Close expired windows from inside a cluster: needs its ServiceAccount, and neither git nor forge nor CI.

    With --follow it applies what main says as well, so that CI needs no credentials for the cluster.
    """
    if follow != (cluster is not None) or (once and (follow or listen)):
        raise UsageError("give CLUSTER with --follow and only then, and --once without --follow and --listen")
    wired = wiring(directory, kubeconfig, closing=True)
    if once:
        return _close_once(wired, output, cut=cut)
    if listen:
        port = wired.monitor.serve(*listen)
        progress(f"listening on {listen[0]}:{port}")
    if cluster is not None:
        _follow(wired, _appliers(directory, kubeconfig, token_file, cluster), interval)
    return _run(wired, Wiring(directory, kubeconfig, closing=True).own_cluster if cut else None)


def _close_once(wired: Wiring, output: str, *, cut: bool) -> int:
    from breakglass.lifecycle.agent import close_once
    from breakglass.lifecycle.cut import cut_once

    cluster = wired.own_cluster
    closed = close_once(cluster, wired.clock, progress)
    if cut:
        cut_once(cluster, lambda: True, progress)
    unreadable = [str(error) for error in cluster.unreadable_inventories()]
    if output == "json":
        emit_json("Closed", {"closed": [item.activation for item in closed], "unreadable": unreadable})
    else:
        for item in closed:
            click.echo(f"  closed    {item.activation}")
    for problem in unreadable:
        click.echo(f"  {click.style('problem', fg='red')}   cannot be closed from here: {problem}", err=True)
    return NotApplied.exit_code if unreadable else 0


def _run(wired: Wiring, cutting: Cluster | None) -> NoReturn:
    from breakglass.lifecycle.agent import LEASE, Agent, campaign, run
    from breakglass.lifecycle.announcement import Announcer
    from breakglass.lifecycle.cut import keep_cutting

    cluster, monitor = wired.own_cluster, wired.monitor
    lease, announcer = cluster.lease(LEASE, wired.holder), Announcer(cluster, monitor, progress)
    agent = Agent(cluster, wired.clock, lease, announcer, monitor, progress)
    _end_on_sigterm(lease)
    _beside(announcer.run)
    _beside(lambda: campaign(agent))
    if cutting is not None:
        _beside(lambda: keep_cutting(cutting, wired.clock, lease.held, progress))
    run(agent)


def _follow(wired: Wiring, applier: Callable[[], Applier], interval: timedelta) -> None:
    def begin() -> None:
        # Imported here, git and forge cost the agent's own loop neither time nor, if they cannot be, its life.
        from breakglass.lifecycle.follow import Follower, follow

        follow(Follower(applier, wired.clock, wired.monitor, progress, interval))

    _beside(begin)


def _appliers(directory: Path, kubeconfig: Path | None, token_file: Path | None, name: str) -> Callable[[], Applier]:
    """What makes an applier for each round: the cluster's connections stay, everything else is made afresh."""
    cluster = cache(lambda: Wiring(directory, kubeconfig, closing=True).cluster(name))

    def applier() -> Applier:
        from breakglass.lifecycle.run import Applier

        wired = Wiring(directory, kubeconfig, closing=True, token_file=token_file)
        return Applier(name, cluster(), wired.main, wired.clock, wired.holder, progress)

    return applier


def _beside(work: Callable[[], object]) -> None:
    Thread(target=work, daemon=True).start()


def _end_on_sigterm(lease: Lease) -> None:
    """End at once with exit code 0: every write can be cut off, and the Lease is given up if that is quick.

    A thread of its own waits for the signal. Whatever the main thread is in - an answer that does not come, a lock that
    a handler of Python would need as well - holds up nothing.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def release() -> None:
        # Where it cannot be given up, it is over when its duration is.
        with suppress(BreakglassError):
            lease.release()

    def end() -> None:
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            continue
        releasing = Thread(target=release, daemon=True)
        releasing.start()
        releasing.join(RELEASE_SECONDS)
        # Threads that wait for an API server would keep the process for as long as that takes.
        os._exit(0)

    _beside(end)
