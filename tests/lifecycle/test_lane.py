"""The closing lane on real git and the lab's forge: what it merges, what it never merges, and how loudly it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from attacks.scene import APP, Person, Scene, cluster, organisation, seeded
from breakglass.adapters.clock import SystemClock
from breakglass.lifecycle.check import Checked, judge_pull_request
from breakglass.lifecycle.check_run import conclusion_of, reported
from breakglass.lifecycle.expire import ALARM, ATTEMPTS, BRANCH_PREFIX, QUIET, Expired, Lane, expire
from breakglass.model.activation import ACTIVATIONS, Activation, activation_file, write_activation
from breakglass.model.digest import json_digest
from breakglass.model.errors import Refused, Unreachable
from breakglass.model.finding import Finding, Severity
from breakglass.ports import Clock, Conclusion, PullRequest
from breakglass_lab.forge import Forge
from laws import example
from laws.world import HALF_HOUR, LEDGER, World
from ports.forge import InMemoryForge

BRANCH = f"{BRANCH_PREFIX}asked"
DECOYS = (
    f"{ACTIVATIONS}/note.YAML",
    f"{ACTIVATIONS}/.yaml",
    f"{ACTIVATIONS}/.gitattributes",
    f"{ACTIVATIONS}/deep/x.yaml",
    f"{ACTIVATIONS}-old/x.yaml",
    f"copy/{ACTIVATIONS}/x.yaml",
    "overlays/emergency/Activations/x.yaml",
    "overlays/emergency/аctivations/x.yaml",  # noqa: RUF001 - the first letter is Cyrillic
    "overlays/emergency/activations.yaml",
)
"""Files of main that look like activations, and are none."""
OVER = timedelta(minutes=31)
"""So much later the activations here are over."""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """The scene of the attacks, with the decoys on main."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with Forge.start(tmp_path / "forge", organisation()) as forge:
        seeded(forge, tmp_path / "seed")
        made = Scene(tmp_path, forge, cluster())
        put(made, dict.fromkeys(DECOYS, "x\n"))
        yield made


@pytest.fixture
def open_(scene: Scene) -> Activation:
    """An activation that is open on main."""
    activation = scene.activation()
    put(scene, {activation_file(activation.id): write_activation(activation)})
    return activation


def put(scene: Scene, content: dict[str, str | bytes | None]) -> None:
    """Bring files to main, past every rule."""
    seed = Person("adam", scene.forge, scene.directory / "seed")
    seed.commit(content, "by hand")
    scene.forge.seed(seed.directory)


def run(scene: Scene, forge: Any = None, clock: Clock | None = None) -> Expired:
    """The scheduled job runs once, with the App's token, and does not wait for clusters."""
    clone, app = scene.clone("lane"), scene.app()
    return expire(Lane(clone, forge or app, clock or SystemClock(), "main", LEDGER, APP.login, [].append), timedelta(0))


def tip(scene: Scene) -> str:
    found = scene.forge.state.bare.tip("refs/heads/main")
    assert found is not None
    return found


def app_checks(scene: Scene, head: str) -> list[str | None]:
    """Conclusions that the App reported of a commit."""
    runs = scene.forge.state.check_runs.values()
    return [run.conclusion for run in runs if run.head_sha == head and run.app_id == APP.id]


def requests(scene: Scene, since: int) -> list[str]:
    """Requests of the REST API after so many of all; git's own and the App's token are not counted."""
    routes = scene.forge.routes[since:]
    return [f"{route.method} {route.path}" for route in routes if route.path.startswith("/repos/")]


def asked(scene: Scene, path: str) -> int:
    """Somebody who may write asks for a closing, as `breakglass close` does."""
    mallory = scene.person("mallory")
    mallory.branch(BRANCH, {path: None}, "Close")
    return mallory.open(BRANCH)


def test_a_pure_removal_is_merged_past_the_reviews_with_the_check_of_the_lane(scene: Scene, open_: Activation) -> None:
    number = asked(scene, activation_file(open_.id))
    expired = run(scene)
    assert (expired.closed, [pull.number for pull in expired.merged]) == ([open_.id], [number])
    pull = scene.forge.state.pulls[number]
    assert pull.merged_by == APP.login
    assert app_checks(scene, pull.head_sha) == ["success"]
    changes = scene.forge.state.bare.changes(f"{pull.merge_commit_sha}^1", str(pull.merge_commit_sha))
    assert [(change.status, change.filename) for change in changes] == [("removed", activation_file(open_.id))]


class Told:
    """The App's forge, whose list tells pull requests otherwise than they are."""

    def __init__(self, forge: Any, change: dict[str, Any]) -> None:
        self._forge, self._change = forge, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forge, name)

    def open_pull_requests(self) -> tuple[PullRequest, ...]:
        return tuple(replace(pull, **self._change) for pull in self._forge.open_pull_requests())


class Ahead(SystemClock):
    """A clock that is ahead."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


Attack = Callable[[Scene, Person, str], object]
ATTACKS: list[Attack] = []


def attack(play: Attack) -> Attack:
    """Put a closing pull request that is none into the table: it gets the scene, who plays it, and the file."""
    ATTACKS.append(play)
    return play


def entry(who: Person, mode: str, path: str, content: str | bytes = b"x\n", blob: str | None = None) -> None:
    """Commit one entry with any mode."""
    (who.directory / "content").write_bytes(content if isinstance(content, bytes) else content.encode())
    blob = blob or who.git("hash-object", "-w", "content")
    who.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
    who.git("commit", "--quiet", "--message", "change")


@attack
def renames_it(_: Scene, who: Person, path: str) -> None:
    who.git("mv", path, f"{ACTIVATIONS}/2026-11-26-renamed-0000.yaml")
    who.git("commit", "--quiet", "--message", "rename")


@attack
def moves_it_to_a_directory_below(_: Scene, who: Person, path: str) -> None:
    (who.directory / ACTIVATIONS / "below").mkdir()
    who.git("mv", path, f"{ACTIVATIONS}/below/x.yaml")
    who.git("commit", "--quiet", "--message", "move")


@attack
def changes_the_case_of_its_name(_: Scene, who: Person, path: str) -> None:
    who.git("mv", path, path.replace("db-from", "DB-from"))
    who.git("commit", "--quiet", "--message", "rename")


@attack
def changes_the_case_of_its_ending(_: Scene, who: Person, path: str) -> None:
    who.git("mv", path, path.replace(".yaml", ".YAML"))
    who.git("commit", "--quiet", "--message", "rename")


@attack
def makes_it_executable(_: Scene, who: Person, path: str) -> None:
    who.git("update-index", "--chmod=+x", path)
    who.git("commit", "--quiet", "--message", "mode")


@attack
def makes_it_a_symlink(_: Scene, who: Person, path: str) -> None:
    entry(who, "120000", path, "../../../CODEOWNERS")


@attack
def makes_it_a_submodule(_: Scene, who: Person, path: str) -> None:
    entry(who, "160000", path, blob=who.git("rev-parse", "HEAD"))


@attack
def removes_it_and_adds_a_symlink(_: Scene, who: Person, path: str) -> None:
    who.git("rm", "--quiet", path)
    entry(who, "120000", f"{ACTIVATIONS}/link.yaml", "../db-from-bastion/overlay.yaml")


@attack
def removes_it_and_adds_a_submodule(_: Scene, who: Person, path: str) -> None:
    head = who.git("rev-parse", "HEAD")
    who.git("rm", "--quiet", path)
    entry(who, "160000", "base/module", blob=head)


@attack
def removes_it_and_adds_attributes(_: Scene, who: Person, path: str) -> None:
    who.commit({path: None, ".gitattributes": "*.yaml merge=ours -diff\n"})


@attack
def removes_it_and_adds_an_activation(scene: Scene, who: Person, path: str) -> None:
    other = scene.activation("lift-isolation")
    who.commit({path: None, activation_file(other.id): write_activation(other)})


@attack
def removes_it_and_edits_another(_: Scene, who: Person, path: str) -> None:
    who.commit({path: None, "CODEOWNERS": "* @mallory\n"})


@attack
def removes_it_and_edits_the_workflow(_: Scene, who: Person, path: str) -> None:
    who.commit({path: None, ".github/workflows/check.yml": "on: push\njobs: {}\n"})


@attack
def removes_it_and_a_file_that_is_none(_: Scene, who: Person, path: str) -> None:
    who.commit({path: None, "CODEOWNERS": None})


@attack
def edits_it(_: Scene, who: Person, path: str) -> None:
    who.commit({path: (who.directory / path).read_text().replace("30m", "4h")})


@attack
def removes_it_and_adds_it_again_longer(_: Scene, who: Person, path: str) -> None:
    longer = (who.directory / path).read_text().replace("30m", "4h")
    who.commit({path: None})
    who.commit({path: longer})


@attack
def removes_it_and_adds_it_again_as_it_was(_: Scene, who: Person, path: str) -> None:
    same = (who.directory / path).read_text()
    who.commit({path: None})
    who.commit({path: same})


@attack
def removes_it_and_adds_it_again_under_another_id(_: Scene, who: Person, path: str) -> None:
    same = (who.directory / path).read_text()
    who.commit({path: None})
    who.commit({f"{ACTIVATIONS}/2026-11-26-db-from-bastion-ffff.yaml": same})


@attack
def removes_it_in_two_commits_of_which_one_adds_more(_: Scene, who: Person, path: str) -> None:
    who.commit({"base/more.yaml": "x\n"})
    who.commit({path: None, "base/more.yaml": None})


@attack
def changes_nothing(_: Scene, who: Person, path: str) -> None:
    del path
    who.commit({})


@attack
def removes_what_is_closed_already(scene: Scene, who: Person, path: str) -> None:
    put(scene, {path: None})
    who.commit({path: None})


@attack
def hides_a_side_branch_in_a_merge(_: Scene, who: Person, path: str) -> None:
    who.git("checkout", "--quiet", "-b", "side")
    who.commit({f"{ACTIVATIONS}/2026-11-26-lift-isolation-eeee.yaml": "x\n"})
    who.git("checkout", "--quiet", BRANCH)
    who.commit({path: None})
    tree = who.git("rev-parse", "HEAD^{tree}")
    merge = who.git("commit-tree", tree, "-p", "HEAD", "-p", "side", "-m", "merge")
    who.git("reset", "--quiet", "--hard", merge)


@attack
def hides_a_side_branch_beside_main(_: Scene, who: Person, path: str) -> None:
    who.git("checkout", "--quiet", "-b", "side")
    who.commit({f"{ACTIVATIONS}/2026-11-26-lift-isolation-eeee.yaml": "x\n"})
    who.git("checkout", "--quiet", BRANCH)
    who.git("rm", "--quiet", path)
    merge = who.git("commit-tree", who.git("write-tree"), "-p", "HEAD", "-p", "side", "-m", "merge")
    who.git("reset", "--quiet", "--hard", merge)


@attack
def removes_it_on_top_of_a_commit_that_adds_more(_: Scene, who: Person, path: str) -> None:
    who.commit({"base/more.yaml": "x\n"})
    who.commit({path: None})


@attack
def brings_a_side_branch_with_the_merge(_: Scene, who: Person, path: str) -> None:
    who.git("checkout", "--quiet", "-b", "side")
    who.commit({"base/more.yaml": "x\n"})
    who.git("checkout", "--quiet", BRANCH)
    who.commit({path: None})
    who.git("merge", "--quiet", "--no-edit", "side")


for decoy in DECOYS:

    def removes_a_decoy(_: Scene, who: Person, path: str, decoy: str = decoy) -> None:
        del path
        who.commit({decoy: None})

    def removes_it_and_a_decoy(_: Scene, who: Person, path: str, decoy: str = decoy) -> None:
        who.commit({path: None, decoy: None})

    removes_a_decoy.__name__ += f" {decoy!a}"
    removes_it_and_a_decoy.__name__ += f" {decoy!a}"
    attack(removes_a_decoy)
    attack(removes_it_and_a_decoy)


@pytest.mark.parametrize("play", ATTACKS, ids=lambda play: str(play.__name__).replace("_", "-"))
def test_what_is_no_pure_removal_is_closed_and_never_merged(scene: Scene, open_: Activation, play: Attack) -> None:
    mallory = scene.person("mallory")
    mallory.git("fetch", "--quiet", "origin")
    mallory.git("checkout", "--quiet", "-B", BRANCH, "origin/main")
    play(scene, mallory, activation_file(open_.id))
    mallory.git("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")
    number, before = mallory.open(BRANCH), tip(scene)
    expired = run(scene)
    pull = scene.forge.state.pulls[number]
    assert (expired.merged, expired.closed) == ([], [])
    # No cluster runs here that could tell of what `removes_what_is_closed_already` closed.
    assert all("seen closed" in problem for problem in expired.problems), expired.problems
    assert tip(scene) == before
    assert (pull.merged_at, pull.open) == (None, False)
    assert app_checks(scene, pull.head_sha) == []


def test_a_commit_that_is_pushed_after_the_check_is_not_merged(scene: Scene, open_: Activation) -> None:
    number, before = asked(scene, activation_file(open_.id)), tip(scene)
    proven = scene.forge.state.pulls[number].head_sha

    def push() -> None:
        mallory = scene.person("mallory")
        mallory.commit({"CODEOWNERS": "* @mallory\n"})
        mallory.git("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")

    scene.forge.fault("PUT", f"/repos/acme/platform/pulls/{number}/merge", before=push)
    expired = run(scene)
    assert (expired.merged, expired.problems, tip(scene)) == ([], [], before)
    pull = scene.forge.state.pulls[number]
    assert pull.head_sha != proven
    assert (app_checks(scene, proven), app_checks(scene, pull.head_sha)) == (["success"], [])
    assert (pull.merged_at, pull.open) == (None, False)


def test_a_pull_request_whose_base_changes_under_the_lane_closes_nothing_and_is_told(
    scene: Scene, open_: Activation
) -> None:
    number, before = asked(scene, activation_file(open_.id)), tip(scene)
    scene.person("mallory").git("push", "--quiet", "origin", "origin/main:refs/heads/release")

    def turn() -> None:
        scene.person("mallory").call("PATCH", f"/pulls/{number}", {"base": "release"})

    scene.forge.fault("PUT", f"/repos/acme/platform/pulls/{number}/merge", before=turn)
    expired = run(scene)
    assert (expired.merged, expired.closed, tip(scene)) == ([], [], before)
    assert "main still holds" in "\n".join(expired.problems)


@pytest.mark.parametrize("change", [{"same_repository": False}, {"base_branch": "release"}])
def test_a_fork_and_another_base_are_not_even_looked_at(
    scene: Scene, open_: Activation, change: dict[str, Any]
) -> None:
    asked(scene, activation_file(open_.id))
    before = tip(scene)
    assert run(scene, Told(scene.app(), change)).merged == []
    assert tip(scene) == before


def test_a_branch_that_somebody_made_before_stands_in_nobodys_way(scene: Scene, open_: Activation) -> None:
    name = f"{BRANCH_PREFIX}{tip(scene)[:12]}-{json_digest([open_.id])[7:15]}"
    for attempt in range(ATTEMPTS):
        scene.person("mallory").branch(f"{name}-{attempt}", {"CODEOWNERS": "* @mallory\n"})
    assert run(scene, clock=Ahead(OVER)).closed == [open_.id]
    assert "@mallory" not in str(scene.forge.state.bare.file(tip(scene), "CODEOWNERS"))
    assert not any(pull.open for pull in scene.forge.state.pulls.values()), "what mallory's branch brought is left open"


@pytest.mark.parametrize("closed", [1, 12])
def test_a_thousand_activations_take_three_requests_and_four_for_each_closed_one(scene: Scene, closed: int) -> None:
    longer = {"duration": timedelta(hours=4)}
    activations = [scene.activation(**longer) for _ in range(2)]
    template = write_activation(activations[0]).decode()
    names = [activations[0].id[:-4] + f"{number:04x}" for number in range(0x1000, 0x1000 + 1000 - closed)]
    content: dict[str, str | bytes | None] = {
        activation_file(name): template.replace(activations[0].id, name) for name in names
    }
    # What cannot be read is void: it closes, and no cluster is waited for.
    void = [f"2026-11-26-void-{number:04x}" for number in range(closed)]
    put(scene, content | {activation_file(name): "not an activation\n" for name in void})
    before = len(scene.forge.routes)
    expired = run(scene)
    used = requests(scene, before)
    assert (sorted(expired.closed), expired.problems) == (void, [])
    # One request less than allowed: the applier may have to be dispatched.
    assert len(used) < 3 + 4, used
    assert len(scene.forge.state.bare.entries(tip(scene), f"{ACTIVATIONS}/")) >= 1000 - closed


def test_each_closing_that_people_ask_for_takes_four_requests(scene: Scene) -> None:
    activations = [scene.activation() for _ in range(5)]
    put(scene, {activation_file(each.id): write_activation(each) for each in activations})
    mallory = scene.person("mallory")
    for each in activations:
        mallory.branch(f"{BRANCH_PREFIX}{each.id}", {activation_file(each.id): None})
        mallory.open(f"{BRANCH_PREFIX}{each.id}")
    before = len(scene.forge.routes)
    expired = run(scene)
    used = [each for each in requests(scene, before) if "/issues" not in each]
    assert sorted(expired.closed) == sorted(each.id for each in activations)
    # Clusters that are not seen closed start the applier; the alarm of that is not counted.
    assert len(used) <= 3 + 4 * len(activations), used


# How loudly it fails.

FAULTS = {
    "GitHub is out of order": {"status": 503},
    "the token may not": {"status": 403, "body": {"message": "Resource not accessible by integration"}},
    "it is not there": {"status": 404, "body": {"message": "Not Found"}},
    "somebody is always first": {"status": 409, "body": {"message": "Head branch was modified."}},
    "rules forbid it": {"status": 405, "body": {"message": "Repository rule violations found"}},
    "the answer is none": {"status": 200, "body": [], "performed": False},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("method", "path"), [("POST", "/pulls"), ("PUT", "/pulls/[0-9]+/merge")])
def test_a_lane_that_fails_raises_one_alarm(
    scene: Scene, open_: Activation, monkeypatch: pytest.MonkeyPatch, fault: str, method: str, path: str
) -> None:
    monkeypatch.setattr("breakglass.adapters.github.MERGE_PATIENCE", timedelta(seconds=1))
    scene.forge.fault(method, f"/repos/acme/platform{path}", times=1000, **FAULTS[fault])
    expired = run(scene, clock=Ahead(OVER))
    assert expired.closed == []
    assert any(open_.id in problem for problem in expired.problems), expired.problems
    (issue,) = scene.forge.state.issues.values()
    assert (issue.author, issue.labels) == (APP.login, ("breakglass",))
    assert open_.id in str(issue.body)
    assert str(expired.alarm).endswith(f"/acme/platform/issues/{issue.number}")
    assert activation_file(open_.id) in [
        each.path for each in scene.forge.state.bare.entries(tip(scene), f"{ACTIVATIONS}/")
    ]


def test_a_check_that_cannot_be_reported_does_not_keep_it_from_closing(scene: Scene, open_: Activation) -> None:
    """The rulesets decide: an integration without the right to report is told, where nothing asks for the check."""
    scene.take_rulesets_away()
    scene.forge.fault("POST", "/repos/acme/platform/check-runs", status=403, times=10)
    assert run(scene, clock=Ahead(OVER)).closed == [open_.id]


def broken(world: World) -> World:
    """A window that is over, on a forge that merges nothing."""
    world.open()
    world.clock.tick(HALF_HOUR)
    return world


class Refusing(InMemoryForge):
    """Merges nothing, and may refuse to be alarmed as well."""

    mute = False

    def merge(self, number: int, head: str, title: str, message: str) -> str:
        raise Unreachable(f"#{number} is not merged: {head} {title} {message}")

    def alarm(self, marker: str, title: str, body: str, *, quiet: timedelta = timedelta(0)) -> str:
        if self.mute:
            raise Refused("the token may not write issues")
        return super().alarm(marker, title, body, quiet=quiet)


class Mute(Refusing):
    """Refuses to be alarmed."""

    mute = True


def test_an_alarm_is_raised_once_and_renewed_once_an_hour() -> None:
    world = broken(World())
    for _ in range(25):
        assert world.expire(replace(world.lane(), forge=Refusing(world.forge, example.BOT))).problems
        world.clock.tick(timedelta(minutes=5))
    assert len(world.forge.alarms[ALARM]) == 1 + 2
    assert timedelta(hours=1) == QUIET


def test_an_alarm_that_fails_hides_nothing() -> None:
    world = broken(World())
    expired = world.expire(replace(world.lane(), forge=Mute(world.forge, example.BOT)))
    assert "could not be closed" in expired.problems[0]
    assert "no alarm could be raised: the token may not write issues" in expired.problems[-1]
    assert expired.alarm is None


def test_without_git_the_alarm_is_raised_all_the_same() -> None:
    world = broken(World())
    lane = world.lane()
    world.network(git=False, forge=True)
    expired = world.expire(lane)
    assert "main cannot be read" in expired.problems[0]
    assert world.forge.alarms[ALARM]


def test_where_all_is_well_nobody_is_alarmed() -> None:
    world = World()
    world.open()
    world.apply_everywhere()
    world.clock.tick(HALF_HOUR)
    world.apply_everywhere()
    expired = world.expire()
    assert (expired.problems, expired.alarm, world.forge.alarms) == ([], None, {})


def test_hostile_names_are_one_printable_line_for_people(scene: Scene) -> None:
    put(scene, {f"{ACTIVATIONS}/x](evil)\n# @everyone `id`.yaml": "x\n"})
    expired = run(scene)
    assert (len(expired.closed), expired.problems) == (1, [])
    (pull,) = scene.forge.state.pulls.values()
    assert "\n" not in pull.title
    assert "\n#" not in str(pull.body)


@pytest.mark.parametrize(
    ("errors", "expected"), [((), "success"), (("approval-unknown",), "failure"), (("activation-digest",), "failure")]
)
def test_the_conclusion_of_a_check_run(errors: tuple[str, ...], expected: Conclusion) -> None:
    severities: dict[str, Severity] = {"approval-unknown": "note"}
    found = [Finding(each, "m", "w", "r", severity=severities.get(each, "error")) for each in errors]
    missing = Finding("approval-missing", "m", "w", "r", severity="note")
    assert conclusion_of(Checked("opening", [*found, missing])) == expected


def test_a_check_that_cannot_be_made_fails() -> None:
    world = World()
    _, pull = world.ask()
    forge = InMemoryForge(world.forge, example.BOT)

    def work() -> Checked:
        raise error

    for error in (Refused("the policy is unreadable"), Unreachable("GitHub is away"), ValueError("a defect")):
        with pytest.raises(type(error)):
            reported(forge, pull, work, print)
    assert [conclusion for conclusion, _ in world.forge.checks[pull.head]] == ["failure"] * 3


def test_a_pull_request_to_another_branch_gets_a_failed_check() -> None:
    world = World()
    _, pull = world.ask()
    forge = InMemoryForge(world.forge, example.BOT)
    with pytest.raises(Refused, match="goes to main, not to trunk"):
        reported(
            forge,
            pull,
            lambda: judge_pull_request(world.gate(), world.renderer, pull, "trunk", world.clock.now()),
            print,
        )
    assert world.forge.checks[pull.head] == [("failure", "The check could not be made")]


def test_an_unreadable_policy_and_an_unreadable_overlay_fail_the_check() -> None:
    for path, content in (("breakglass.yaml", b"a: ["), ("overlays/emergency/db-from-bastion/overlay.yaml", b"a: [")):
        world = World()
        _, pull = world.ask()
        world.commit({path: content})
        forge, gate = InMemoryForge(world.forge, example.BOT), world.gate()
        gate.repository.fetch()
        reported(forge, pull, partial(judge_pull_request, gate, world.renderer, pull, "main", world.clock.now()), print)
        assert [conclusion for conclusion, _ in world.forge.checks[pull.head]] == ["failure"], path


def test_missing_approvals_pass_and_are_told() -> None:
    world = World()
    _, pull = world.ask()
    forge = InMemoryForge(world.forge, example.BOT)
    reported(
        forge, pull, partial(judge_pull_request, world.gate(), world.renderer, pull, "main", world.clock.now()), print
    )
    assert world.forge.checks[pull.head] == [("success", "An opening, 0 of 2 approvals")]
