"""The applier is killed (SIGKILL) before and after each of its writes: the next run converges, and so does the agent.

The writes are counted by the proxy in a run that nobody interrupts: a new one in the product is met here by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from emergency import agree, ask
from killing import (
    LEASES,
    Command,
    LaterClock,
    State,
    granted,
    inventories,
    restore,
    situation,
    state,
    told,
    unknown,
    unrecorded,
    without_lease,
)

from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.lifecycle.agent import close_expired
from breakglass_lab.forge.bare import Person
from breakglass_lab.interruption import Interruption, Request
from breakglass_lab.platform import Platform, running, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")
HOURS = timedelta(hours=5)
"""After this every window is over."""
DEFAULT_DENY = "base/ops/networkpolicies.yaml"


@dataclass(frozen=True)
class Scenario:
    """Where an applier begins: the cluster, main, and which activations are open when it is done."""

    cluster: State
    main: str
    ends_open: tuple[str, ...]


@dataclass
class Emergency:
    """The platform, its baseline, and the scenarios played on it."""

    platform: Platform
    directory: Path
    baseline: State = field(default_factory=dict)
    scenarios: dict[str, Scenario] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plane = self.platform.clusters["prod-eu"]
        login = self.platform.app.login
        self.command = Command(
            self.platform.clone(login), self.platform.environment(login), self.directory / "output of the applier"
        )
        self.agents = self.plane.kubeconfig_for(
            self.plane.token("breakglass", "agent"), self.directory / "kubeconfig of the agent"
        )
        self.baseline, self.first = state(self.plane), self.main()

    @contextmanager
    def proxy(self) -> Iterator[Interruption]:
        """The way of the applier to the API server."""
        with Interruption(self.plane, self.directory / "kubeconfig of the proxy", user="breakglass:applier") as proxy:
            yield proxy

    def main(self) -> str:
        return self.platform.forge.state.bare.line("rev-parse", "refs/heads/main")

    def ledger(self) -> str:
        """What the ledger tells: names of its files."""
        bare = self.platform.forge.state.bare
        told = bare.attempt("ls-tree", "-r", "--name-only", "refs/heads/breakglass-ledger")
        return told.stdout.decode()

    def reset(self, main: str, cluster: State) -> None:
        """Main, the cluster, and a ledger that knows of nothing."""
        refs = f"update refs/heads/main {main}\ndelete refs/heads/breakglass-ledger\n"
        self.platform.forge.state.bare.run("update-ref", "--stdin", stdin=refs.encode())
        restore(self.plane, cluster)

    def apply(self) -> tuple[list[Request], State]:
        """The applier, uninterrupted: its writes, and the cluster afterwards."""
        with self.proxy() as proxy:
            self.command.run("apply", "prod-eu", "--kubeconfig", str(proxy.kubeconfig))
        return proxy.writes, state(self.plane)

    def kill(self, write: int, moment: Moment) -> Request:
        """The applier dies at one of its writes; which one that was."""
        with self.proxy() as proxy:
            started = []
            getattr(proxy, moment)(write, lambda: started[0].kill())
            started.append(self.command.start("apply", "prod-eu", "--kubeconfig", str(proxy.kubeconfig)))
            started[0].join(100)
            assert started[0].exitcode == -9, f"it made {len(proxy.writes)} writes and did not die at {write}"
        return proxy.writes[write - 1]

    def agent(self) -> State:
        """The agent alone, once all windows are over; the cluster afterwards."""
        clock = LaterClock(HOURS)
        with closing(KubernetesCluster("prod-eu", access_to("prod-eu", None, self.agents), clock)) as cluster:
            close_expired(cluster, clock)
        return state(self.plane)

    def open(self, overlay: str, *options: str) -> str:
        """A request that is approved and merged; its id."""
        request = ask(self.platform, overlay, *options)
        approvers = {"db-from-bastion": ("ines", "dana"), "lift-isolation": ("ines", "sofia")}[overlay]
        agree(self.platform, request, *approvers)
        return request.id

    def close(self, identity: str) -> None:
        """An early closing that is merged."""
        self.platform.refresh("robin")
        self.platform.breakglass("robin", "close", identity, code=None)
        (pull,) = self.platform.call("pat", "GET", "/pulls?state=open")
        self.platform.approve("ines", pull["number"])
        self.platform.merge("ines", pull["number"])

    def move_baseline(self) -> None:
        """Main's baseline changes, past every rule."""
        bare, tip = self.platform.forge.state.bare, self.main()
        content = bare.file(tip, DEFAULT_DENY)
        assert content is not None
        moved = content.replace(b"name: default-deny", b"name: default-deny\n  annotations: {moved: 'yes'}", 1)
        assert moved != content
        environment = {"GIT_INDEX_FILE": str(self.directory / "index")}
        blob = bare.run("hash-object", "-w", "--stdin", stdin=moved).decode().strip()
        bare.run("read-tree", tip, environment=environment)
        bare.run("update-index", "--cacheinfo", f"100644,{blob},{DEFAULT_DENY}", environment=environment)
        tree = bare.run("write-tree", environment=environment).decode().strip()
        pat = Person("Pat Platform", "pat@acme.example", datetime.now(UTC))
        bare.run("update-ref", "refs/heads/main", bare.commit_tree(tree, [tip], pat, pat, "move the baseline"))

    def scene(self, name: str, cluster: State, *ends_open: str) -> None:
        """Keep main as it is now as a scenario that begins with this cluster."""
        self.scenarios[name] = Scenario(cluster, self.main(), ends_open)


@pytest.fixture(scope="module")
def emergency(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emergency]:
    with running(
        tmp_path_factory.mktemp("kills"), print, clusters=("prod-eu",), workflows=False, agents=False
    ) as platform:
        emergency = Emergency(platform, tmp_path_factory.mktemp("processes"))
        _play_expiry(emergency)
        _play_openings_and_closings(emergency)
        yield emergency


def _play_expiry(emergency: Emergency) -> None:
    """A window that has ended when the scenarios are played, though the cluster does not know yet."""
    forge = emergency.platform.forge
    real = forge.state.clock
    request = ask(emergency.platform, "db-from-bastion", "--for", "2m")
    forge.state.clock = lambda: real() - timedelta(seconds=50)
    agree(emergency.platform, request, "ines", "dana")
    forge.state.clock = real
    _, opened = emergency.apply()
    assert told(opened) == {request.id: "open"}
    emergency.scene(EXPIRY, without_lease(opened))


def _play_openings_and_closings(emergency: Emergency) -> None:
    emergency.reset(emergency.first, emergency.baseline)
    adds = emergency.open("db-from-bastion")
    emergency.scene("opening an overlay that adds", emergency.baseline, adds)
    adding, (_, added) = emergency.main(), emergency.apply()
    lifts = emergency.open("lift-isolation")
    emergency.scene("opening while another window is open", added, adds, lifts)
    _, both = emergency.apply()
    emergency.close(adds)
    emergency.scene("closing one of two windows", both, lifts)
    emergency.reset(adding, added)
    emergency.close(adds)
    emergency.scene("closing early", added)
    emergency.reset(emergency.first, emergency.baseline)
    lifts = emergency.open("lift-isolation")
    emergency.scene("opening an overlay that removes a baseline object", emergency.baseline, lifts)
    lifting, (_, lifted) = emergency.main(), emergency.apply()
    emergency.move_baseline()
    emergency.scene(RENEWING, lifted, lifts)
    emergency.reset(lifting, lifted)
    emergency.close(lifts)
    emergency.scene("closing that restores", lifted)


RENEWING, EXPIRY = "renewing after the baseline moved", "closing at the expiry"
SCENARIOS = (
    "opening an overlay that adds",
    "opening an overlay that removes a baseline object",
    "opening while another window is open",
    "closing early",
    "closing one of two windows",
    "closing that restores",
    RENEWING,
    EXPIRY,
)


@dataclass(frozen=True)
class Outcome:
    """What an uninterrupted run leaves, and what the agent alone makes of that when all is over."""

    after: State
    ended: State


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_any_write_the_next_run_converges_and_so_does_the_agent(emergency: Emergency, name: str) -> None:
    scenario = emergency.scenarios[name]
    wait_for(lambda: name != EXPIRY or _is_over(scenario.cluster), 100, "over")
    emergency.reset(scenario.main, scenario.cluster)
    writes, after = emergency.apply()
    assert writes, "a scenario without a write shows nothing"
    assert unknown(write.path for write in writes) == set()
    assert told(after) == dict.fromkeys(scenario.ends_open, "open")
    outcome = Outcome(after, emergency.agent())
    if name != RENEWING:
        assert granted(outcome.ended) == granted(emergency.baseline)
    failures, met = [], set[str]()
    for number, write in enumerate(writes, 1):
        for moment in MOMENTS:
            emergency.reset(scenario.main, scenario.cluster)
            place = f"killed {moment} write {number}, {emergency.kill(number, moment)} (else {write})"
            killed = state(emergency.plane)
            # After a write is mostly as before the next one, and nobody who comes knows more than what is there.
            same = situation(killed) + emergency.ledger()
            if same not in met:
                met.add(same)
                failures += [f"{place}: {problem}" for problem in _after_a_kill(emergency, killed, outcome)]
    assert failures == []


def _after_a_kill(emergency: Emergency, killed: State, outcome: Outcome) -> Iterator[str]:
    """What is wrong: at once, once the agent was alone with it, and once the next run was."""
    if lost := unrecorded(killed, emergency.baseline):
        yield f"without a record: {lost}"
    yield from _problems("the agent alone", emergency.agent, emergency.baseline, outcome.ended)
    restore(emergency.plane, without_lease(killed))
    yield from _problems("the next run", lambda: emergency.apply()[1], outcome.after)


def test_the_next_run_waits_for_the_lease_of_a_dead_one_and_no_longer(emergency: Emergency) -> None:
    scenario = emergency.scenarios["opening an overlay that adds"]
    emergency.reset(scenario.main, scenario.cluster)
    writes, after = emergency.apply()
    taken = next(number for number, write in enumerate(writes, 1) if write.resource == "leases")
    emergency.reset(scenario.main, scenario.cluster)
    emergency.kill(taken, "after")
    (left,) = (item for (place, _), item in state(emergency.plane).items() if place == LEASES)
    begin = time.monotonic()
    _, found = emergency.apply()
    assert time.monotonic() - begin > left["spec"]["leaseDurationSeconds"] / 2
    assert granted(found) == granted(after)
    assert told(found) == told(after)


def _problems(who: str, work: Callable[[], State], *expected: State) -> Iterator[str]:
    try:
        found = work()
    except Exception as error:  # noqa: BLE001 - one failure must not hide the others
        yield f"{who} failed: {error}"
        return
    if not any(granted(found) == granted(each) for each in expected):
        now, then = granted(found), granted(expected[-1])
        wrong = [key for key in sorted(now.keys() | then.keys()) if now.get(key) != then.get(key)]
        yield from (f"{who} leaves {'/'.join(key)} as {now.get(key)} instead of {then.get(key)}" for key in wrong)
    open_still = {name for name, phase in told(found).items() if phase != "closed"}
    if open_still != {name for name, phase in told(expected[-1]).items() if phase != "closed"}:
        yield f"{who} leaves {open_still} open"


def _is_over(cluster: State) -> bool:
    return all(item.expired(datetime.now(UTC)) for item in inventories(cluster))
