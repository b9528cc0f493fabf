"""Law 6: the digest a human approved is the digest applied; anything else refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.model.activation import Activation, activation_file, write_activation
from breakglass.ports import PullRequest
from laws import example
from laws.world import HALF_HOUR, World
from ports.remote import PLAIN

OVERLAY = "overlays/emergency/db-from-bastion"
Meddle = Callable[[World, Activation, PullRequest], None]


def longer(activation: Activation) -> bytes:
    """The same activation for another duration than was reviewed."""
    spec = activation.spec.model_copy(update={"duration": timedelta(hours=4)})
    return write_activation(activation.model_copy(update={"spec": spec}))


def merged_by_hand(world: World, activation: Activation, pull: PullRequest) -> None:
    """Somebody merges the reviewed head, and changes the file in the merge commit itself."""
    world.merge(pull)
    merge = world.remote.commit(
        (world.first, pull.head), {activation_file(activation.id): (PLAIN, longer(activation))}, world.clock.now()
    )
    world.remote.set_ref("refs/heads/main", merge)
    world.forge.pulls[pull.number] = replace(world.forge.pulls[pull.number], merge_commit=merge)


def squashed(world: World, activation: Activation, pull: PullRequest) -> None:
    """Somebody squashes, and changes the file on the way."""
    world.merge(pull)
    merge = world.remote.commit(
        (world.first,), {activation_file(activation.id): (PLAIN, longer(activation))}, world.clock.now()
    )
    world.remote.set_ref("refs/heads/main", merge)
    world.forge.pulls[pull.number] = replace(world.forge.pulls[pull.number], merge_commit=merge)


def pushed_after_the_approval(world: World, activation: Activation, pull: PullRequest) -> None:
    """The author changes the file once it was approved."""
    head = world.remote.commit(
        (pull.head,), {activation_file(activation.id): (PLAIN, longer(activation))}, world.clock.now()
    )
    world.remote.set_ref(f"refs/heads/{pull.head_branch}", head)
    world.merge(pull)


def with_a_second_file(world: World, activation: Activation, pull: PullRequest) -> None:
    """The pull request brings something else, too."""
    del activation
    head = world.remote.commit((pull.head,), {"base/x\udcff.yaml": (PLAIN, b"")}, world.clock.now())
    world.remote.set_ref(f"refs/heads/{pull.head_branch}", head)
    world.approve(pull)
    world.merge(pull)


def without_a_pull_request(world: World, activation: Activation, pull: PullRequest) -> None:
    """Somebody pushes the file to main."""
    del pull
    world.commit({activation_file(activation.id): write_activation(activation)})


def overlay_changed(world: World, activation: Activation, pull: PullRequest) -> None:
    """The overlay on main is another one than the digest names."""
    del activation
    world.commit({f"{OVERLAY}/policy.yaml": world.files[f"{OVERLAY}/policy.yaml"] + b"\n"})
    world.merge(pull)


def overlay_grew(world: World, activation: Activation, pull: PullRequest) -> None:
    """The overlay on main has a file more."""
    del activation
    world.commit({f"{OVERLAY}/more.yaml": b""})
    world.merge(pull)


def contract_broken(world: World, activation: Activation, pull: PullRequest) -> None:
    """The baseline on main shuts what the contract promises to open, and no check was asked again."""
    del activation
    shut = example.network_policy("ops", "shut", "bastion", None)
    shut["spec"] |= {"policyTypes": ["Egress"], "egress": []}
    cache = next(
        f"base/{index}.yaml" for index, item in enumerate(example.BASELINE) if item["metadata"]["name"] == "cache"
    )
    world.commit({cache: json.dumps(shut).encode()})
    world.merge(pull)


def main_pushed(world: World, activation: Activation, pull: PullRequest) -> None:
    """Somebody with rights enough pushed to main in the week before."""
    del activation
    world.forge.moved("main", "push", world.commit({"docs/x.md": b"x"}), "mallory")
    world.merge(pull)


MEDDLING: dict[Meddle, str] = {
    contract_broken: "contract-still-shut",
    main_pushed: "main-moved",
    merged_by_hand: "merge-head",
    squashed: "merge-head",
    pushed_after_the_approval: "approval-missing",
    with_a_second_file: "merge-content",
    without_a_pull_request: "approval-no-pull-request",
    overlay_changed: "activation-digest",
    overlay_grew: "activation-digest",
}


@pytest.mark.parametrize("meddle", MEDDLING)
def test_law_6_what_was_reviewed_is_what_is_applied(world: World, meddle: Meddle) -> None:
    activation, pull = world.ask()
    world.approve(pull)
    meddle(world, activation, pull)
    applied = world.apply("prod-eu")
    assert MEDDLING[meddle] in [finding.id for finding in applied.refused[activation.id]]
    assert applied.problems == []
    assert world.is_baseline("prod-eu")
    assert f"activations/{activation.id}/prod-eu/refused.json" in world.ledger()


def test_a_squash_of_the_reviewed_file_is_what_was_reviewed(world: World) -> None:
    activation, pull = world.ask()
    world.approve(pull)
    world.merge(pull)
    merge = world.remote.commit(
        (world.first,), {activation_file(activation.id): (PLAIN, write_activation(activation))}, world.clock.now()
    )
    world.remote.set_ref("refs/heads/main", merge)
    world.forge.pulls[pull.number] = replace(world.forge.pulls[pull.number], merge_commit=merge)
    assert [item.activation for item in world.apply("prod-eu").open] == [activation.id]


@settings(max_examples=30)
@given(data=st.data())
def test_any_byte_of_the_overlay_that_changes_after_the_review_refuses(data: st.DataObject) -> None:
    world = World()
    activation, pull = world.ask()
    world.approve(pull)
    path = data.draw(st.sampled_from(sorted(path for path in world.files if path.startswith(OVERLAY))))
    content = world.files[path]
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(1, 255))
    world.commit({path: content[:at] + bytes([content[at] ^ other]) + content[at + 1 :]})
    world.merge(pull)
    assert activation.id in world.apply("prod-eu").refused
    assert world.is_baseline("prod-eu")


def test_what_is_open_is_what_the_merge_commit_holds_not_the_tip_of_main(world: World) -> None:
    activation = world.open()
    world.commit({f"{OVERLAY}/policy.yaml": b"{}"})
    world.apply("prod-eu")
    assert world.servers["prod-eu"].state() == example.state({activation.id: "db-from-bastion"})


def test_an_approval_of_yesterday_is_no_approval_of_tonight(world: World) -> None:
    activation, pull = world.ask()
    world.approve(pull)
    world.clock.tick(4 * HALF_HOUR)
    world.merge(pull)
    assert [finding.id for finding in world.apply("prod-eu").refused[activation.id]] == ["activation-stale"]
