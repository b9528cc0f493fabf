"""After the closing: what a window's people left behind in a cluster.

Who they are and when the window was stands in git and on the ledger; the inventory may be long gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from breakglass.analysis.residue import DEEPEST_OWNERS, KINDS, Emergency, Piece, controller_of, residue, trail
from breakglass.lifecycle.content import read_overlay, read_policy, tip_of
from breakglass.lifecycle.ledger import read_ledger
from breakglass.lifecycle.render import layered, render_baseline, render_delta
from breakglass.lifecycle.sweep import Reach, reach_of
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.activation import Activation, requester_of
from breakglass.model.audit_event import AuditEvent
from breakglass.model.errors import NotFound, Refused
from breakglass.model.inventory import Inventory
from breakglass.model.ledger import Closed, closed_path
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.overlay import Overlay, contract_for
from breakglass.model.policy import Policy
from breakglass.model.resource import plural_of
from breakglass.ports import Clock, Cluster, Renderer, Repository

AFTERGLOW = timedelta(seconds=10)
"""How long the API server takes a token after the closing: its authentication cache
(TokenSuccessCacheTTL, https://github.com/kubernetes/kubernetes/blob/master/pkg/kubeapiserver/options/authentication.go)."""
_WHERE_READABLE = ("Secret", "ClusterRole", "ClusterRoleBinding")
"""Kinds that not everybody may list who may look for residue."""


@dataclass(frozen=True, slots=True)
class Search:
    """What looking for residue works with; `name` is the cluster's in the policy."""

    name: str
    cluster: Cluster
    repository: Repository
    renderer: Renderer
    clock: Clock
    branch: str
    ledger_branch: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        base: tip of main that it was compared with.
        baseline: the cluster's kustomize root.
        emergency: whom the window let in, and when.
        reach: what the applier may delete.
        pieces: the residue, ordered by key.
        tokens: tokens that were minted for others than the window's own accounts, one sentence each.
        unread: what the caller may not list, one sentence each.
    """

    activation: str
    cluster: str
    base: str
    baseline: str
    emergency: Emergency
    reach: Reach
    pieces: tuple[Piece, ...]
    tokens: tuple[str, ...]
    unread: tuple[str, ...]


def find(search: Search, activation_id: str, events: Iterable[AuditEvent] | None) -> Found:
    """Look for the residue of an activation in a cluster.

    Args:
        events: the API server's audit log; None where there is none at hand.

    Raises:
        NotFound: the activation never reached main, or was never meant for this cluster.
        Refused: a kind that every search needs may not be listed, or the audit log cannot be read.
    """
    base = tip_of(search.repository, search.branch)
    history = all_windows(search.repository, base)
    window, activation, policy = _window(search, history, activation_id)
    root = read_policy(search.repository, base).spec.clusters[search.name].baseline
    inventories = search.cluster.inventories()
    overlay, delta = _opened(search, window, activation, policy, root)
    emergency = _emergency(search, window, overlay, delta, requester_of(activation, policy), inventories)
    live, unread = _list(search.cluster, overlay.spec.scope.namespaces)
    told = trail(emergency, events) if events is not None else None
    pieces = residue(emergency, live, _kept(search, base, root, inventories), _owners(search.cluster, live), told)
    tokens = tuple(told.tokens) if told is not None else ()
    reach = reach_of(search.repository, base, history, activation_id)
    return Found(activation_id, search.name, base, root, emergency, reach, pieces, tokens, unread)


def _window(search: Search, history: Iterable[Window], activation_id: str) -> tuple[Window, Activation, Policy]:
    for window in history:
        if window.id == activation_id and window.activation is not None and window.policy is not None:
            clusters = window.activation.spec.clusters
            if search.name not in clusters:
                remedy = f"choose from {', '.join(clusters)}"
                raise NotFound(f"{activation_id} was not meant for {search.name}", remedy=remedy)
            return window, window.activation, window.policy
    what = f"no activation {activation_id[:80]!r} that can be read ever reached {search.branch}"
    raise NotFound(what, remedy="see `breakglass audit log`")


def _opened(
    search: Search, window: Window, activation: Activation, policy: Policy, root: str
) -> tuple[Overlay, tuple[Manifest, ...]]:
    """The overlay as it was opened, and the objects that it added."""
    content = read_overlay(search.repository, window.opened.sha, activation.spec.overlay)
    below = render_baseline(search.repository, search.renderer, window.opened.sha, root) if layered(content) else None
    changes = render_delta(search.renderer, activation, content, below, requester_of(activation, policy))
    added = (change.emergency for change in changes if change.effect == "added")
    return content.overlay, tuple(manifest for manifest in added if manifest is not None)


def _emergency(
    search: Search,
    window: Window,
    overlay: Overlay,
    added: Iterable[Manifest],
    requester: str,
    inventories: Iterable[Inventory],
) -> Emergency:
    users, groups = {requester}, set()
    for key in map(key_of, added):
        if (key.group, key.kind) == ("", "ServiceAccount"):
            users.add(f"system:serviceaccount:{key.namespace}:{key.name}")
    for grant in contract_for(overlay.spec.contract, requester).grants:
        kind, _, name = grant.subject.partition(":")
        if kind == "Group":
            groups.add(name)
        else:
            users.add(f"system:serviceaccount:{name.replace('/', ':')}" if kind == "ServiceAccount" else name)
    closed = read_ledger(search.repository, search.ledger_branch, closed_path(window.id, search.name))
    ends = [event.closedAt for event in closed.values() if isinstance(event, Closed)]
    open_still = any(item.activation == window.id and item.phase != "closed" for item in inventories)
    now = search.clock.now()
    end = ends[0] if ends else now if open_still or window.expiry is None else min(now, window.expiry)
    return Emergency(window.id, window.opened.committed_at, end + AFTERGLOW, frozenset(users), frozenset(groups))


def _kept(search: Search, base: str, root: str, inventories: Iterable[Inventory]) -> set[ObjectKey]:
    baseline = render_baseline(search.repository, search.renderer, base, root)
    claimed = {key for item in inventories if item.phase != "closed" for key in item.claims}
    return {key_of(manifest) for manifest in baseline} | claimed


def _list(cluster: Cluster, namespaces: Sequence[str]) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    found: list[Manifest] = []
    unread = []
    usual = [kind for kind in KINDS if kind[1] not in _WHERE_READABLE]
    found += cluster.list(usual, namespaces)
    for kind in (kind for kind in KINDS if kind[1] in _WHERE_READABLE):
        try:
            found += cluster.list([kind], namespaces)
        except Refused as error:
            unread.append(f"{plural_of(kind[1])} were not looked at: {error}")
    return tuple(found), tuple(unread)


def _owners(cluster: Cluster, live: Iterable[Manifest]) -> dict[str, Manifest]:
    """Controllers of objects, and theirs, by uid; one that may not be read is no excuse for what it owns."""
    owners = {str(manifest["metadata"]["uid"]): manifest for manifest in live}
    waiting = list(owners.values())
    for _ in range(DEEPEST_OWNERS):
        wanted: dict[ObjectKey, str] = {}
        for manifest in waiting:
            reference = controller_of(manifest)
            if reference is not None and str(reference["uid"]) not in owners:
                wanted[_owner_key(reference, key_of(manifest).namespace)] = str(reference["uid"])
        waiting = [owner for owner in _read(cluster, wanted) if owner["metadata"]["uid"] == wanted[key_of(owner)]]
        owners |= {str(owner["metadata"]["uid"]): owner for owner in waiting}
        if not waiting:
            break
    return owners


def _owner_key(reference: Mapping[str, Any], namespace: str) -> ObjectKey:
    group = str(reference["apiVersion"]).rpartition("/")[0]
    place = "" if reference["kind"] == "Node" else namespace
    return ObjectKey(group, str(reference["kind"]), place, str(reference["name"]))


def _read(cluster: Cluster, keys: Iterable[ObjectKey]) -> list[Manifest]:
    found = []
    for key in keys:
        try:
            live = cluster.get([key])[key]
        except Refused:
            continue
        found += [live] if live is not None else []
    return found
