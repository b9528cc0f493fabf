"""What main says at one commit: read, rendered and proven at most once, for however many clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Any, cast

from breakglass.analysis.contract import assess
from breakglass.analysis.exposure.passage import controllers_of
from breakglass.lifecycle import ledger
from breakglass.lifecycle.approval import Approval, Gate, approval_of
from breakglass.lifecycle.content import OverlayContent, overlay_names, read_overlay, read_policy, tip_of
from breakglass.lifecycle.render import desired_state, layered, render_baseline, render_delta
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.activation import activation_file, requester_of
from breakglass.model.errors import BreakglassError, NotFound, Refused
from breakglass.model.finding import Finding
from breakglass.model.ledger import Event
from breakglass.model.manifest import Change, Manifest
from breakglass.model.overlay import Scope, contract_for
from breakglass.model.policy import ClusterSettings, Policy
from breakglass.ports import Conditions, Forge, Renderer, Repository

_NAMED = 3


class _OneAtATime:
    """A repository whose methods never run at the same time: its threads share one `git cat-file`."""

    def __init__(self, repository: Repository, lock: RLock) -> None:
        self._repository, self._lock = repository, lock

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._repository, name)

        def locked(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                return method(*arguments, **named)

        return locked


@dataclass(slots=True)
class _Waiting:
    """Events of one cluster on their way to the ledger, and what became of them."""

    cluster: str
    events: dict[str, Event]
    done: bool = False
    error: BreakglassError | None = None


@dataclass(slots=True)
class Main:
    """The default branch, and the ledger beside it. Threads of several clusters may share one.

    Attributes:
        forge: gives the forge when an approval must be proven; closing works without.
        branch: the default branch.
        ledger_branch: the ledger branch.
    """

    repository: Repository
    forge: Callable[[], Forge]
    renderer: Renderer
    conditions: Conditions
    branch: str
    ledger_branch: str
    commit: str = ""
    history: tuple[Window, ...] = ()
    _policy: Policy | None = None
    _baselines: dict[str, tuple[Manifest, ...]] = field(default_factory=dict)
    _contents: dict[str, OverlayContent] = field(default_factory=dict)
    _deltas: dict[tuple[str, str], tuple[Change, ...]] = field(default_factory=dict)
    _promises: dict[tuple[str, str], tuple[Finding, ...]] = field(default_factory=dict)
    _approvals: dict[str, Approval] = field(default_factory=dict)
    _scopes: tuple[Scope, ...] | None = None
    _told: tuple[str, frozenset[str]] = ("", frozenset())
    _waiting: list[_Waiting] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock)
    _waiting_lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.repository = cast("Repository", _OneAtATime(self.repository, self._lock))

    def read(self) -> None:
        """Fetch main, once.

        Raises:
            BreakglassError: main cannot be fetched or read.
        """
        with self._lock:
            if self.commit:
                return
            self.repository.fetch()
            tip = tip_of(self.repository, self.branch)
            self.history = all_windows(self.repository, tip)
            self.commit = tip

    @property
    def windows(self) -> tuple[Window, ...]:
        """Those whose file stands on main."""
        return tuple(window for window in self.history if window.closed is None)

    def settings(self, cluster: str) -> ClusterSettings:
        """What the policy says of a cluster.

        Raises:
            NotFound: it knows no such cluster.
        """
        clusters = self.policy().spec.clusters
        if cluster not in clusters:
            raise NotFound(f"the policy knows no cluster {cluster}", remedy="add it to breakglass.yaml")
        return clusters[cluster]

    def policy(self) -> Policy:
        """The policy of the commit."""
        with self._lock:
            if self._policy is None:
                self._policy = read_policy(self.repository, self.commit)
            return self._policy

    def baseline(self, cluster: str) -> tuple[Manifest, ...]:
        """A cluster's baseline at the commit.

        Raises:
            Refused: it cannot be rendered.
        """
        with self._lock:
            root = self.settings(cluster).baseline
            if root not in self._baselines:
                self._baselines[root] = render_baseline(self.repository, self.renderer, self.commit, root)
            return self._baselines[root]

    def delta(self, window: Window, cluster: str) -> tuple[OverlayContent, tuple[Change, ...]]:
        """What a window changes in a cluster, and the overlay as it was merged.

        Raises:
            Refused: the overlay cannot be read or rendered, or the window is void.
        """
        activation, policy = window.activation, window.policy
        if activation is None or policy is None:
            raise Refused(f"{window.id} is void", remedy="open a new request")
        with self._lock:
            if window.id not in self._contents:
                overlay = activation.spec.overlay
                self._contents[window.id] = read_overlay(self.repository, window.opened.sha, overlay)
            content = self._contents[window.id]
            root = self.settings(cluster).baseline if layered(content) else ""
            if (window.id, root) not in self._deltas:
                layer = self.baseline(cluster) if root else None
                requester = requester_of(activation, policy)
                self._deltas[window.id, root] = render_delta(self.renderer, activation, content, layer, requester)
            return content, self._deltas[window.id, root]

    def promise(self, window: Window, cluster: str) -> tuple[Finding, ...]:
        """What breaks the contract of a window's overlay, on the baseline that a cluster runs now.

        The check of the pull request said so before; nothing that a check said counts here.

        Raises:
            Refused: overlay or baseline cannot be read or rendered, or the window is void.
        """
        content, changes = self.delta(window, cluster)
        activation, policy = window.activation, window.policy
        if activation is None or policy is None:
            raise Refused(f"{window.id} is void", remedy="open a new request")
        with self._lock:
            root = self.settings(cluster).baseline
            if (window.id, root) not in self._promises:
                baseline = self.baseline(cluster)
                contract = contract_for(content.overlay.spec.contract, requester_of(activation, policy))
                desired, file = desired_state(baseline, [changes]), activation_file(window.id)
                judged = assess(contract, baseline, desired, file, window.id, controllers_of(policy))
                broken = tuple(finding for finding in judged.findings if finding.severity == "error")
                self._promises[window.id, root] = broken
            return self._promises[window.id, root]

    def approval(self, window: Window) -> Approval:
        """Whether a window was approved, by evidence fetched now.

        Raises:
            Refused: overlay or policy cannot be read at the merge commit.
            Unreachable: the forge does not answer; nothing can be proven now.
        """
        with self._lock:
            if window.id not in self._approvals:
                gate = Gate(self.repository, self.forge(), self.conditions, self.ledger_branch)
                self._approvals[window.id] = approval_of(gate, window)
            return self._approvals[window.id]

    def proven(self, identity: str) -> Approval | None:
        """The approval of an activation, where `approval` was asked for it."""
        return self._approvals.get(identity)

    def scopes(self, cluster: str) -> dict[str, set[tuple[str, str]]]:
        """Where the overlays of the commit may write in a cluster: namespace → kinds (group, kind)."""
        with self._lock:
            allowed = set(self.policy().spec.kinds)
            found: dict[str, set[tuple[str, str]]] = {}
            for scope in self._all_scopes():
                kinds = {(group, kind) for kind, _, group in (each.partition(".") for each in allowed & {*scope.kinds})}
                for namespace in scope.namespaces if cluster in scope.clusters else ():
                    found.setdefault(namespace, set()).update(kinds)
            return found

    def _all_scopes(self) -> tuple[Scope, ...]:
        if self._scopes is None:
            names = overlay_names(self.repository, self.commit)
            contracts = (read_overlay(self.repository, self.commit, name).overlay for name in names)
            self._scopes = tuple(contract.spec.scope for contract in contracts)
        return self._scopes

    def told(self) -> frozenset[str]:
        """Paths of the activations' events that the ledger holds already."""
        with self._lock:
            tip = self.repository.tip(self.ledger_branch)
            if tip is not None and self._told[0] != tip:
                self._told = (tip, frozenset(self.repository.files(tip, "activations")))
            return self._told[1]

    def record(self, cluster: str, events: dict[str, Event]) -> None:
        """Append the events of an apply to the ledger; one push takes along what other clusters' threads wait with.

        Raises:
            BreakglassError: the ledger cannot be written.
        """
        mine = _Waiting(cluster, events)
        with self._waiting_lock:
            self._waiting.append(mine)
        with self._lock:
            if not mine.done:
                self._append()
        if mine.error is not None:
            raise mine.error

    def _append(self) -> None:
        with self._waiting_lock:
            batch, self._waiting = self._waiting, []
        events = {path: event for each in batch for path, event in each.events.items()}
        clusters = [each.cluster for each in batch]
        where = ", ".join(clusters) if len(clusters) <= _NAMED else f"{len(clusters)} clusters"
        error: BreakglassError | None = None
        try:
            ledger.append(self.repository, self.ledger_branch, events, f"apply on {where}")
        except BreakglassError as found:
            error = found
        for each in batch:
            each.done, each.error = True, error
