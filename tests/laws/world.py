"""A world of two clusters, a forge and a repository, and what people and machines do in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from breakglass.adapters.cel import CelConditions
from breakglass.lifecycle.agent import close_expired
from breakglass.lifecycle.apply import apply
from breakglass.lifecycle.approval import Gate
from breakglass.lifecycle.content import read_overlay
from breakglass.lifecycle.expire import Expired, Lane, expire, request_closing
from breakglass.lifecycle.main import Main
from breakglass.lifecycle.run import Applied, Applier
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import Activation, activation_file, new_activation, write_activation
from breakglass.model.inventory import Inventory, unpack
from breakglass.model.manifest import ObjectKey, by_key
from breakglass.ports import Clock, PullRequest, Renderer, Repository
from laws import example
from ports.clock import SettableClock
from ports.cluster import ApiServer, InMemoryCluster
from ports.forge import ForgeServer, InMemoryForge
from ports.remote import PLAIN, InMemoryRemote, Remote
from ports.renderer import PureRenderer
from ports.repository import InMemoryRepository
from ports.writes import Killed, Writes

LEDGER = "breakglass-ledger"
HALF_HOUR = timedelta(minutes=30)


@dataclass
class World:
    """Everything outside the product. A verb runs as a process of its own: new clients, nothing remembered.

    Attributes:
        cloned: makes a clone of the remote, for another remote than the one in memory.
    """

    remote: Remote = field(default_factory=InMemoryRemote)
    renderer: Renderer = field(default_factory=PureRenderer)
    cloned: Callable[[], Repository] | None = None
    files: Mapping[str, bytes] = field(default_factory=example.files)
    clock: SettableClock = field(default_factory=SettableClock)
    writes: Writes = field(default_factory=Writes)

    def __post_init__(self) -> None:
        entries = {path: (PLAIN, content) for path, content in self.files.items()}
        self.first = self.remote.commit((), entries, self.clock.now())
        self.remote.set_ref("refs/heads/main", self.first)
        self.forge = ForgeServer(self.remote, self.clock, self.writes, teams={example.TEAM: example.COMMANDERS})
        self.servers = {name: ApiServer(name, self.writes, self.clock) for name in example.CLUSTERS}
        for server in self.servers.values():
            server.install(example.BASELINE)
        self._requests = 0
        self._holders = itertools.count(1)

    def repository(self) -> Repository:
        """A clone."""
        if self.cloned is not None:
            return self.cloned()
        assert isinstance(self.remote, InMemoryRemote)
        return InMemoryRepository(self.remote, self.clock, self.writes)

    def main(self) -> Main:
        """Main, not fetched yet."""
        forge = InMemoryForge(self.forge, example.BOT)
        return Main(self.repository(), lambda: forge, self.renderer, CelConditions(), "main", LEDGER)

    def gate(self, login: str = example.BOT) -> Gate:
        """The gate, asked as somebody."""
        return Gate(self.repository(), InMemoryForge(self.forge, login), CelConditions(), LEDGER)

    def lose_the_network(self) -> None:
        """Neither git nor the forge answers any more."""
        self.network(git=False, forge=False)

    def network(self, *, git: bool, forge: bool) -> None:
        """Whether git and the forge answer."""
        assert isinstance(self.remote, InMemoryRemote)
        self.remote.unreachable, self.forge.unreachable = not git, not forge

    def tip(self) -> str:
        """The commit of main."""
        tip = self.remote.ref("refs/heads/main")
        assert tip is not None
        return tip

    def commit(self, changes: Mapping[str, bytes | None]) -> str:
        """Somebody moves main by hand."""
        entries = {path: None if content is None else (PLAIN, content) for path, content in changes.items()}
        sha = self.remote.commit((self.tip(),), entries, self.clock.now())
        self.remote.set_ref("refs/heads/main", sha)
        return sha

    def ask(
        self,
        overlay: str = "db-from-bastion",
        clusters: Sequence[str] = example.CLUSTERS,
        duration: timedelta = HALF_HOUR,
        by: str = example.ON_CALL,
        at: datetime | None = None,
    ) -> tuple[Activation, PullRequest]:
        """Somebody opens a pull request with a request for an overlay as main held it first."""
        repository = self.repository()
        content = read_overlay(repository, self.first, overlay)
        self._requests += 1
        activation = new_activation(
            content.overlay,
            digest=content.digest,
            clusters=list(clusters),
            parameters=example.parameters_of(overlay),
            reason="checkout down, need psql",
            incident="INC-1",
            requested_by=by,
            requested_at=self.clock.now() if at is None else at,
            duration=duration,
            random=f"{self._requests:04x}",
        )
        return activation, self.propose(activation_file(activation.id), write_activation(activation), by)

    def propose(self, path: str, content: bytes | None, by: str = example.ON_CALL) -> PullRequest:
        """Somebody opens a pull request that changes one file."""
        branch = f"breakglass/open/{len(self.forge.pulls)}"
        head = self.remote.commit(
            (self.tip(),), {path: None if content is None else (PLAIN, content)}, self.clock.now()
        )
        self.remote.set_ref(f"refs/heads/{branch}", head)
        return self.pull_request(branch, by)

    def pull_request(self, branch: str, by: str = example.ON_CALL) -> PullRequest:
        """Somebody opens a pull request from a branch."""
        return InMemoryForge(self.forge, by).open_pull_request(branch, f"merge {branch}", "")

    def approve(self, pull: PullRequest, *logins: str) -> None:
        """People say yes."""
        for login in logins or example.COMMANDERS[:2]:
            self.forge.review(pull.number, login)

    def merge(self, pull: PullRequest, by: str = "ada") -> str:
        """Somebody merges."""
        return self.forge.merge(pull.number, by)

    def open(self, overlay: str = "db-from-bastion", duration: timedelta = HALF_HOUR) -> Activation:
        """A request that is approved and merged, not applied."""
        activation, pull = self.ask(overlay, duration=duration)
        self.approve(pull)
        self.merge(pull)
        return activation

    def apply(self, cluster: str, clock: Clock | None = None) -> Applied:
        """The applier runs once, by its own clock if it has one."""
        return apply(self.applier(cluster, clock))

    def apply_everywhere(self) -> None:
        """The applier converges every cluster, or the test fails."""
        for cluster in self.servers:
            assert self.apply(cluster).problems == []

    def applier(self, cluster: str, clock: Clock | None = None) -> Applier:
        """What the applier works with."""
        return Applier(
            name=cluster,
            cluster=InMemoryCluster(self.servers[cluster]),
            main=self.main(),
            clock=clock or self.clock,
            holder=f"applier-{next(self._holders)}",
            report=_ignore,
        )

    def agent(self, cluster: str, clock: Clock | None = None) -> tuple[Inventory, ...]:
        """The agent looks once, by its own clock if it has one."""
        return close_expired(InMemoryCluster(self.servers[cluster]), clock or self.clock)

    def lane(self) -> Lane:
        """What the closing lane works with."""
        forge = InMemoryForge(self.forge, example.BOT)
        return Lane(self.repository(), forge, self.clock, "main", LEDGER, example.BOT, _ignore)

    def expire(self, lane: Lane | None = None) -> Expired:
        """The scheduled job runs once, and does not wait for clusters."""
        return expire(lane or self.lane(), timedelta(0))

    def close_early(self, *ids: str) -> PullRequest:
        """Somebody asks for a closing."""
        return request_closing(self.lane(), ids, "solved")

    def killed(self, work: Callable[[], object]) -> bool:
        """Run a process that may die; whether it did."""
        try:
            work()
        except Killed:
            return True
        finally:
            self.writes.spare()
        return False

    def inventories(self, cluster: str) -> dict[str, Inventory]:
        """Inventories in a cluster, by id."""
        held = self.servers[cluster].inventories
        return {identity: unpack(content, identity) for identity, (content, _) in held.items()}

    def is_baseline(self, cluster: str) -> bool:
        """Whether a cluster holds the baseline and nothing else."""
        return self.servers[cluster].state() == by_key(example.BASELINE)

    def unrecorded(self, cluster: str) -> set[ObjectKey]:
        """Objects that are not as the baseline has them, and that no inventory tells of."""
        live, baseline = self.servers[cluster].state(), by_key(example.BASELINE)
        changed = {key for key in live.keys() | baseline.keys() if live.get(key) != baseline.get(key)}
        told = {key for item in self.inventories(cluster).values() if item.phase != "closed" for key in item.claims}
        return changed - told

    def on_main(self) -> set[str]:
        """Ids whose files stand on main, whatever they hold."""
        windows = all_windows(self.repository(), self.tip())
        return {window.id for window in windows if window.closed is None}

    def ledger(self) -> Mapping[str, bytes]:
        """Files of the ledger."""
        repository = self.repository()
        tip = repository.tip(LEDGER)
        return {} if tip is None else repository.files(tip, "activations")


def _ignore(line: str) -> None:
    del line
