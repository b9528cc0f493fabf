"""The pure renderer renders what kustomize renders, for everything that the laws are tried on."""

from __future__ import annotations

import pytest

from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.lifecycle.content import read_overlay
from breakglass.lifecycle.render import layered, render_baseline, render_delta
from breakglass.model.errors import Refused
from breakglass.model.manifest import by_key
from laws import example
from laws.world import World
from ports.renderer import PureRenderer


def test_both_render_the_same_baseline() -> None:
    world = World()
    repository = world.repository()
    baselines = [
        by_key(render_baseline(repository, renderer, world.tip(), "base"))
        for renderer in (PureRenderer(), KustomizeRenderer())
    ]
    assert baselines[0] == baselines[1] == by_key(example.BASELINE)


@pytest.mark.parametrize("overlay", example.OVERLAYS)
def test_both_render_the_same_delta(overlay: str) -> None:
    world = World()
    repository = world.repository()
    activation, _ = world.ask(overlay)
    content = read_overlay(repository, world.tip(), overlay)
    baseline = example.BASELINE if layered(content) else None
    pure, real = (
        render_delta(renderer, activation, content, baseline) for renderer in (PureRenderer(), KustomizeRenderer())
    )
    assert pure == real
    state = example.state({activation.id: overlay})
    assert {change.key: change.emergency for change in real if change.emergency is not None}.items() <= state.items()
    assert all(change.key not in state for change in real if change.emergency is None)


@pytest.mark.parametrize("renderer", [PureRenderer(), KustomizeRenderer()], ids=["pure", "kustomize"])
def test_both_refuse_to_patch_what_is_not_there(renderer: PureRenderer | KustomizeRenderer) -> None:
    files = {
        "x/kustomization.yaml": b"resources: [a.yaml]\npatches: [{path: b.yaml}]\n",
        "x/a.yaml": b"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n",
        "x/b.yaml": b"{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {a: b}}\n",
    }
    with pytest.raises(Refused, match="no matches for Id"):
        renderer.render(files, "x")
