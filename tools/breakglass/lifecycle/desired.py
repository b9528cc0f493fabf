"""The desired state of a cluster: render(baseline ⊕ overlays of unexpired activations at commit C, time T)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from breakglass.lifecycle.content import read_overlay, read_policy
from breakglass.lifecycle.render import desired_state, layered, render_baseline, render_delta
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import requester_of
from breakglass.model.errors import NotFound
from breakglass.model.manifest import Change, Manifest
from breakglass.ports import Renderer, Repository


@dataclass(frozen=True, slots=True)
class Desired:
    """What a cluster should hold.

    Attributes:
        objects: everything, ordered by key.
        changes: what differs from the baseline.
        open: ids of the windows open then.
    """

    objects: tuple[Manifest, ...]
    changes: tuple[Change, ...]
    open: tuple[str, ...]


def desired(repository: Repository, renderer: Renderer, cluster: str, commit: str, time: datetime) -> Desired:
    """The desired state of a cluster at a commit of main and a time; a pure function of both.

    Raises:
        NotFound: the policy of the commit knows no such cluster.
        Refused: something cannot be rendered.
    """
    settings = read_policy(repository, commit).spec.clusters
    if cluster not in settings:
        raise NotFound(f"the policy knows no cluster {cluster[:80]!r}", remedy=f"choose from {', '.join(settings)}")
    baseline = render_baseline(repository, renderer, commit, settings[cluster].baseline)
    deltas, ids = [], []
    for window in all_windows(repository, commit):
        activation, policy = window.activation, window.policy
        if (
            activation is None
            or policy is None
            or window.state(time) != "open"
            or cluster not in activation.spec.clusters
        ):
            continue
        content = read_overlay(repository, window.opened.sha, activation.spec.overlay)
        layer = baseline if layered(content) else None
        deltas.append(render_delta(renderer, activation, content, layer, requester_of(activation, policy)))
        ids.append(window.id)
    changes = tuple(change for changes in deltas for change in changes)
    return Desired(desired_state(baseline, deltas), changes, tuple(ids))
