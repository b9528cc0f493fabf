"""The check of a pull request: every finding, told for what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from breakglass.lifecycle.check import Checked, check, check_pull_request
from breakglass.lifecycle.comment import comment_of
from breakglass.model.activation import activation_file, write_activation
from breakglass.model.errors import Refused
from laws import example
from laws.world import HALF_HOUR, World
from ports.cluster import InMemoryCluster
from ports.remote import EXECUTABLE, PLAIN, SYMLINK, Entry

OVERLAY = "overlays/emergency/db-from-bastion"


@pytest.fixture
def world() -> World:
    return World()


def branch(world: World, changes: Mapping[str, Entry | None]) -> Checked:
    """The check of a branch with these changes."""
    head = world.remote.commit((world.tip(),), changes, world.clock.now())
    world.remote.set_ref("refs/heads/branch", head)
    return check(world.repository(), world.renderer, world.tip(), head, world.clock.now())


def request(world: World) -> tuple[str, bytes]:
    """Path and content of a sound request."""
    activation, _ = world.ask()
    return activation_file(activation.id), write_activation(activation)


def ids(checked: Checked) -> list[str]:
    return [finding.id for finding in checked.findings]


def test_a_sound_request_passes_and_tells_what_it_opens(world: World) -> None:
    path, content = request(world)
    checked = branch(world, {path: (PLAIN, content)})
    assert (checked.purpose, checked.passed, ids(checked)) == ("opening", True, [])
    assert checked.opens == ("opens     ops/bastion → data/postgres TCP 5432",)


@pytest.mark.parametrize(
    "beside",
    [
        {"breakglass.yaml": (PLAIN, b"")},
        {"CODEOWNERS": None},
        {f"{OVERLAY}/policy.yaml": (PLAIN, b"")},
        {f"{example.ACTIVATIONS}/README.md": (PLAIN, b"")},
        {"x\udcff": (PLAIN, b"")},
    ],
)
def test_a_request_brings_nothing_beside_itself(world: World, beside: dict[str, Entry | None]) -> None:
    path, content = request(world)
    assert ids(branch(world, {path: (PLAIN, content), **beside})) == ["pull-request-content"]


def test_a_pull_request_opens_one_activation(world: World) -> None:
    (one, first), (other, second) = request(world), request(world)
    assert ids(branch(world, {one: (PLAIN, first), other: (PLAIN, second)})) == ["pull-request-content"]


@pytest.mark.parametrize("mode", [EXECUTABLE, SYMLINK])
def test_a_request_is_a_plain_file(world: World, mode: str) -> None:
    path, content = request(world)
    assert ids(branch(world, {path: (mode, content)})) == ["activation-mode"]


def test_an_activation_on_main_is_not_edited(world: World) -> None:
    activation = world.open()
    path = activation_file(activation.id)
    assert ids(branch(world, {path: (PLAIN, write_activation(activation) + b"\n")})) == ["pull-request-content"]


def test_an_id_that_was_ever_on_main_does_not_open_again(world: World) -> None:
    activation = world.open()
    path = activation_file(activation.id)
    world.commit({path: None})
    assert ids(branch(world, {path: (PLAIN, write_activation(activation))})) == ["activation-reused"]


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "activation-unreadable"), (b"a: [", "activation-unreadable"), (b"\xff", "activation-unreadable")],
)
def test_what_cannot_be_read_is_told(world: World, content: bytes, found: str) -> None:
    assert ids(branch(world, {f"{example.ACTIVATIONS}/x.yaml": (PLAIN, content)})) == [found]


def test_a_stale_request_is_told(world: World) -> None:
    path, content = request(world)
    world.clock.tick(4 * HALF_HOUR)
    assert ids(branch(world, {path: (PLAIN, content)})) == ["activation-stale"]


def test_an_overlay_that_does_not_keep_its_contract_does_not_pass() -> None:
    files = example.files()
    lying = json.loads(files[f"{OVERLAY}/overlay.yaml"])
    lying["spec"]["contract"]["opens"] = [{**example.OPENS, "port": 9}]
    world = World(files={**files, f"{OVERLAY}/overlay.yaml": json.dumps(lying).encode()})
    path, content = request(world)
    assert not branch(world, {path: (PLAIN, content)}).passed


def test_an_overlay_that_reaches_beyond_its_scope_does_not_pass() -> None:
    files = example.files()
    wide = json.loads(files[f"{OVERLAY}/overlay.yaml"])
    wide["spec"]["scope"]["namespaces"] = ["ops"]
    world = World(files={**files, f"{OVERLAY}/overlay.yaml": json.dumps(wide).encode()})
    path, content = request(world)
    assert "scope-namespace" in ids(branch(world, {path: (PLAIN, content)}))


def test_a_pure_removal_is_a_closing_whatever_else_is_broken(world: World) -> None:
    activation = world.open()
    world.commit({"breakglass.yaml": b"a: ["})
    checked = branch(world, {activation_file(activation.id): None})
    assert (checked.purpose, checked.passed, checked.closes) == ("closing", True, (activation.id,))


def test_a_removal_with_anything_else_is_no_closing(world: World) -> None:
    activation = world.open()
    checked = branch(world, {activation_file(activation.id): None, "README.md": (PLAIN, b"")})
    assert not checked.passed


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"breakglass.yaml": (PLAIN, b"a: [")}, "policy"),
        ({"breakglass.yaml": None}, "policy"),
        ({"base/kustomization.yaml": (PLAIN, b"resources: [https://example.com/x.yaml]\n")}, "render"),
        ({f"{OVERLAY}/kustomization.yaml": (PLAIN, b"kind: Component\nhelmCharts: []\n")}, "kustomization-field"),
        ({f"{OVERLAY}/overlay.yaml": (PLAIN, b"a: [")}, "overlay-unreadable"),
        ({f"{OVERLAY}/link": (SYMLINK, b"/etc")}, "overlay-unreadable"),
    ],
)
def test_a_change_that_opens_nothing_must_still_leave_everything_sound(
    world: World, changes: dict[str, Entry | None], found: str
) -> None:
    checked = branch(world, changes)
    assert checked.purpose == "other"
    assert found in ids(checked)


def test_a_cluster_that_would_not_take_it_is_told(world: World) -> None:
    path, content = request(world)
    head = world.remote.commit((world.tip(),), {path: (PLAIN, content)}, world.clock.now())
    world.remote.set_ref("refs/heads/branch", head)
    world.servers["prod-eu"].unreachable = True
    clusters = {name: InMemoryCluster(server) for name, server in world.servers.items()}
    checked = check(world.repository(), world.renderer, world.tip(), head, world.clock.now(), clusters)
    assert ids(checked) == ["dry-run"]
    assert world.is_baseline("prod-us")


def test_the_approvals_so_far_are_counted(world: World) -> None:
    _, pull = world.ask()
    for approvals, passed_by in ((), ()), (("ada",), ("ada",)), (("grace",), ("ada", "grace")):
        for login in approvals:
            world.approve(pull, login)
        _, checked = check_pull_request(world.gate(), world.renderer, pull.number, "main", world.clock.now())
        assert checked.verdict is not None
        assert checked.verdict.approved_by == passed_by
        assert checked.passed
        assert f"{len(passed_by)} of 2" in comment_of(checked)


def test_a_pull_request_to_another_branch_is_refused(world: World) -> None:
    _, pull = world.ask()
    with pytest.raises(Refused, match="not to trunk"):
        check_pull_request(world.gate(), world.renderer, pull.number, "trunk", world.clock.now())
