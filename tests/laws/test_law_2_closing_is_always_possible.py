"""Law 2: opening fails closed on any doubt; closing never waits for an approval, for opening, or for the forge."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from breakglass.lifecycle.expire import BRANCH_PREFIX
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import activation_file, write_activation
from breakglass.model.manifest import key_of
from laws import example
from laws.world import HALF_HOUR, LEDGER, World
from ports.remote import PLAIN, SYMLINK, Entry
from ports.writes import Moment

Break = Callable[[World], None]


def on_main(**changes: Entry | None) -> Break:
    """Main holds something that it should not."""

    def work(world: World) -> None:
        paths = {path.replace("__", "/"): entry for path, entry in changes.items()}
        world.remote.set_ref("refs/heads/main", world.remote.commit((world.tip(),), paths, world.clock.now()))

    return work


def hostile_activation(name: str, entry: Entry | None = None, **fields: object) -> Break:
    """Somebody brought an activation to main that nobody reviewed."""

    def work(world: World) -> None:
        activation, _ = world.ask()
        spec = activation.spec.model_copy(update=fields)
        content = write_activation(activation.model_copy(update={"spec": spec}))
        path = f"{example.ACTIVATIONS}/{name or activation.id}.yaml"
        on_main(**{path: entry or (PLAIN, content)})(world)

    return work


def ledger_of(path: str, entry: Entry) -> Break:
    """The ledger holds something that it should not."""

    def work(world: World) -> None:
        tip = world.remote.ref(f"refs/heads/{LEDGER}")
        assert tip is not None
        world.remote.set_ref(f"refs/heads/{LEDGER}", world.remote.commit((tip,), {path: entry}, world.clock.now()))

    return work


def without_team(world: World) -> None:
    world.forge.teams[example.TEAM] = ()


def without_known_team(world: World) -> None:
    del world.forge.teams[example.TEAM]


def without_forge(world: World) -> None:
    world.forge.unreachable = True


def with_unreadable_inventory(world: World) -> None:
    world.servers["prod-eu"].inventories["broken"] = (b"\x1f\x8bnot an inventory", 1)


MAIN = {
    "no policy": on_main(**{"breakglass.yaml": None}),
    "unreadable policy": on_main(**{"breakglass.yaml": (PLAIN, b"a: [")}),
    "policy without the cluster": on_main(
        **{"breakglass.yaml": (PLAIN, example.files()["breakglass.yaml"].replace(b'"prod-eu"', b'"prod-xx"'))}
    ),
    "policy is a symlink": on_main(**{"breakglass.yaml": (SYMLINK, b"/etc/passwd")}),
    "no owners": on_main(CODEOWNERS=None),
    "owners cleared": on_main(CODEOWNERS=(PLAIN, f"* {example.TEAM}\n/{example.ACTIVATIONS}/\n".encode())),
    "team without members": without_team,
    "unknown team": without_known_team,
    "forge does not answer": without_forge,
    "overlay gone": on_main(**{"overlays/emergency/db-from-bastion/overlay.yaml": None}),
    "overlay changed": on_main(**{"overlays/emergency/db-from-bastion/policy.yaml": (PLAIN, b"a: 1\n")}),
    "overlay holds a symlink": on_main(**{"overlays/emergency/db-from-bastion/x": (SYMLINK, b"/etc")}),
    "overlay holds a name that is not UTF-8": on_main(**{"overlays/emergency/db-from-bastion/\udcff": (PLAIN, b"")}),
}
"""What keeps everything from opening."""
HOSTILE = {
    "broken baseline": on_main(**{"base/kustomization.yaml": (PLAIN, b"resources: [https://example.com/x]\n")}),
    "activation is a symlink": hostile_activation("link", (SYMLINK, b"/etc/passwd")),
    "activation is no YAML": hostile_activation("broken", (PLAIN, b"a: [")),
    "activation is not UTF-8": hostile_activation("bytes", (PLAIN, b"\xff\xfe")),
    "activation under another name": hostile_activation("other-name"),
    "name that is no id": hostile_activation("Not an Id\n* @everyone"),
    "request from the end of time": hostile_activation("", requestedAt=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    "file beside the activations": on_main(**{f"{example.ACTIVATIONS}/x/y.yaml": (PLAIN, b"")}),
    "file that is all ending": on_main(**{f"{example.ACTIVATIONS}/.yaml": (PLAIN, b"")}),
    "ledger holds no event": ledger_of("activations/x/prod-eu/closed.json", (PLAIN, b"[" * 100_000)),
    "ledger holds a symlink": ledger_of("activations/link", (SYMLINK, b"/etc/passwd")),
    "unreadable inventory": with_unreadable_inventory,
}
"""What must not stand in the way of anything."""


@pytest.mark.parametrize("broken", MAIN)
def test_law_2_opening_fails_closed_on_any_doubt(world: World, broken: str) -> None:
    _, pull = world.ask()
    world.approve(pull)
    MAIN[broken](world)
    world.merge(pull)
    applied = world.apply("prod-eu")
    assert not applied.open
    assert applied.refused or applied.problems
    assert world.is_baseline("prod-eu")


@pytest.mark.parametrize("broken", [*MAIN, *HOSTILE])
@pytest.mark.parametrize("overlay", ["db-from-bastion", "lift-isolation"])
def test_law_2_an_expired_window_closes_whatever_else_is_broken(world: World, broken: str, overlay: str) -> None:
    activation = world.open(overlay)
    world.apply_everywhere()
    world.clock.tick(HALF_HOUR)
    {**MAIN, **HOSTILE}[broken](world)
    world.apply("prod-eu")
    assert world.is_baseline("prod-eu")
    world.agent("prod-us")
    assert world.is_baseline("prod-us")
    world.network(git=True, forge=True)
    world.expire()
    assert activation.id not in world.on_main()


@pytest.mark.parametrize("broken", [*MAIN, *HOSTILE])
def test_law_2_a_window_closes_early_whatever_else_is_broken(world: World, broken: str) -> None:
    activation = world.open("lift-isolation")
    other = world.open("widen-metrics")
    world.apply_everywhere()
    {**MAIN, **HOSTILE}[broken](world)
    world.network(git=True, forge=True)
    world.close_early(activation.id)
    world.expire()
    assert activation.id not in world.on_main()
    world.apply("prod-eu")
    assert world.servers["prod-eu"].state() == example.state({other.id: "widen-metrics"})


def test_the_lane_removes_every_void_activation_and_leaves_the_sound_one(world: World) -> None:
    sound = world.open()
    for name, work in HOSTILE.items():
        if "activation" in name or "name" in name or "request" in name:
            work(world)
    world.expire()
    left = [window.id for window in all_windows(world.repository(), world.tip()) if window.closed is None]
    assert left == [sound.id]


def test_an_approval_is_not_needed_to_close(world: World) -> None:
    activation = world.open()
    world.apply_everywhere()
    pull = world.close_early(activation.id)
    assert world.forge.reviews[pull.number] == []
    assert [merged.number for merged in world.expire().merged] == [pull.number]


def test_a_cluster_that_does_not_answer_does_not_keep_the_other_open(world: World) -> None:
    world.open()
    world.apply_everywhere()
    world.clock.tick(HALF_HOUR)
    world.servers["prod-us"].unreachable = True
    assert world.expire().merged
    world.apply("prod-eu")
    assert world.is_baseline("prod-eu")
    assert [cluster for _, cluster in world.expire().waiting] == ["prod-us"]
    world.servers["prod-us"].unreachable = False
    world.apply("prod-us")
    assert world.is_baseline("prod-us")
    assert world.expire().waiting == []


def test_an_object_that_will_not_go_does_not_keep_another_window_open(world: World) -> None:
    stuck, other = world.open("db-from-bastion"), world.open("lift-isolation")
    world.apply("prod-eu")
    (added,) = world.inventories("prod-eu")[stuck.id].claims
    world.servers["prod-eu"].held.add(added)
    world.clock.tick(HALF_HOUR)
    assert world.apply("prod-eu").problems
    phases = {identity: item.phase for identity, item in world.inventories("prod-eu").items()}
    assert phases.get(other.id, "closed") == "closed"
    assert phases[stuck.id] == "open"
    assert key_of(example.DEFAULT_DENY) in world.servers["prod-eu"].objects


def test_a_closing_that_does_anything_else_is_never_merged(world: World) -> None:
    activation, other = world.open(), world.open("lift-isolation")
    hostile: dict[str, Entry | None] = {
        activation_file(activation.id): None,
        "breakglass.yaml": (PLAIN, b"apiVersion: breakglass.dev/v1alpha1\n"),
    }
    head = world.remote.commit((world.tip(),), hostile, world.clock.now())
    world.remote.set_ref(f"refs/heads/{BRANCH_PREFIX}hostile", head)
    pull = world.pull_request(f"{BRANCH_PREFIX}hostile", "mallory")
    asked = world.close_early(other.id)
    expired = world.expire()
    assert [merged.number for merged in expired.merged] == [asked.number]
    assert world.forge.current(pull.number).state == "closed"
    assert world.forge.current(pull.number).merged_at is None
    assert world.on_main() == {activation.id}


def test_nothing_to_close_makes_no_pull_request(world: World) -> None:
    world.open()
    before = len(world.forge.pulls)
    for _ in range(3):
        assert world.expire().merged == []
    assert len(world.forge.pulls) == before


@pytest.mark.parametrize("stop", ["push", "open pull request", "merge"])
def test_two_lanes_at_once_close_once(world: World, stop: str) -> None:
    activation = world.open()
    world.clock.tick(HALF_HOUR)
    first = world.lane()
    world.writes.meanwhile(stop, world.expire)
    world.expire(first)
    assert activation.id not in world.on_main()
    closings = [pull for pull in world.forge.pulls.values() if pull.head_branch.startswith(BRANCH_PREFIX)]
    assert [pull.merged_at is not None for pull in closings] == [True]


def test_after_a_kill_at_any_write_the_next_run_of_the_lane_converges() -> None:
    world = World()
    world.open()
    world.apply_everywhere()
    early = world.open("lift-isolation", 3 * HALF_HOUR)
    world.apply_everywhere()
    world.clock.tick(HALF_HOUR)
    world.close_early(early.id)
    moments: tuple[Moment, ...] = ("before", "after")
    for number, moment in itertools.product(range(1, 5), moments):
        tried = copy.deepcopy(world)
        tried.writes.kill(number, moment)
        assert tried.killed(tried.expire)
        tried.expire()
        assert tried.on_main() == set(), (number, moment)
        tried.apply_everywhere()
        assert tried.expire().problems == [], (number, moment)
        assert tried.is_baseline("prod-eu")
