"""Attacks on the gate, each played as its user would: none opens anything. docs/security.md tells what each is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from attacks.scene import Person, Scene, cluster, files, organisation, seeded
from breakglass.model.activation import ACTIVATIONS, activation_file, write_activation
from breakglass_lab.forge import Forge
from laws import example

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"


@dataclass(frozen=True)
class Attack:
    """An attack, and what stops it.

    Attributes:
        play: plays it.
        refused: the finding by which the applier refuses; empty where main holds nothing that could open.
        held: words by which the forge's rulesets held before; empty where they let it pass.
    """

    play: Callable[[Scene], object]
    refused: str
    held: str

    @property
    def name(self) -> str:
        """What it is called in docs/security.md."""
        return self.play.__name__.replace("_", "-")


ATTACKS: list[Attack] = []


def attack(refused: str = "", held: str = "") -> Callable[[Callable[[Scene], object]], Callable[[Scene], object]]:
    """Put an attack into the table."""

    def listed(play: Callable[[Scene], object]) -> Callable[[Scene], object]:
        ATTACKS.append(Attack(play, refused, held))
        return play

    return listed


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """The scene before anything happens."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with Forge.start(tmp_path / "forge", organisation()) as forge:
        seeded(forge, tmp_path / "seed")
        yield Scene(tmp_path, forge, cluster())


def test_without_an_attack_it_opens(scene: Scene) -> None:
    activation, number = scene.ask()
    scene.approve(number)
    assert scene.check(number) == []
    scene.merge(number)
    assert scene.held == []
    assert [item.activation for item in scene.apply().open] == [activation.id]
    assert scene.server.state() != example.state({})


# Who says yes.


@attack("approval-missing")
def own_approval(scene: Scene) -> None:
    """Who asks approves as well."""
    _, number = scene.ask(by="grace")
    scene.approve(number, "ada")
    with pytest.raises(httpx.HTTPStatusError):
        scene.approve(number, "grace")
    finish(scene, number)


@attack("approval-missing")
def one_human_twice(scene: Scene) -> None:
    """One person approves two times."""
    _, number = scene.ask()
    scene.approve(number, "ada")
    scene.approve(number, "ada")
    finish(scene, number)


@attack("approval-unknown-author")
def second_account_is_co_author(scene: Scene) -> None:
    """The second account that approves is a co-author of the commit."""
    message = "request\n\nCo-authored-by: Eve <eve@acme.example>\n"
    finish_with(scene, scene.propose(request(scene, "mallory"), "mallory", message=message), "eve")


@attack("approval-missing")
def second_account_is_author(scene: Scene) -> None:
    """The second account that approves wrote the commit that the first one pushed."""
    finish_with(scene, scene.propose(request(scene, "mallory"), "mallory", author="eve"), "eve")


@attack("approval-missing")
def second_account_pushed(scene: Scene) -> None:
    """The second account pushed the branch, in the name of the first."""
    activation = scene.activation(by="mallory")
    content = {activation_file(activation.id): write_activation(activation)}
    mallory, eve = scene.person("mallory"), scene.person("eve")
    mallory.commit(content)
    eve.git("fetch", "--quiet", str(mallory.directory), "HEAD")
    eve.git("push", "--quiet", "origin", "FETCH_HEAD:refs/heads/request")
    finish_with(scene, mallory.open("request"), "eve")


@attack("approval-missing", "review")
def approved_and_then_pushed(scene: Scene) -> None:
    """Something else is pushed after the approvals."""
    activation, number = scene.ask()
    scene.approve(number)
    longer = scene.activation().model_copy(update={"metadata": activation.metadata})
    on_call = scene.person("on-call")
    on_call.commit({activation_file(activation.id): write_activation(longer).replace(b"30m", b"45m")})
    on_call.git("push", "--quiet", "origin", f"HEAD:{branch_of(scene, number)}")
    finish(scene, number)


@attack("approval-missing")
def approval_of_an_older_head(scene: Scene) -> None:
    """An approval names the commit before the last push."""
    activation, number = scene.ask()
    old = scene.person("ada").call("GET", f"/pulls/{number}")["head"]["sha"]
    on_call = scene.person("on-call")
    on_call.commit({activation_file(activation.id): write_activation(activation) + b"\n"})
    on_call.git("push", "--quiet", "origin", f"HEAD:{branch_of(scene, number)}")
    scene.person("ada").approve(number)
    scene.person("grace").approve(number, old)
    finish(scene, number)


@attack("approval-missing")
def approver_left_the_team(scene: Scene) -> None:
    """Who approved is taken out of the team before it is applied."""
    _, number = scene.ask()
    scene.approve(number)
    scene.check(number)
    scene.merge(number)
    scene.forge.leave_team(example.TEAM.partition("/")[2], "grace")


@attack("approval-missing")
def approver_is_suspended(scene: Scene) -> None:
    """Who approved is suspended before it is applied."""
    _, number = scene.ask()
    scene.approve(number)
    scene.check(number)
    scene.merge(number)
    scene.forge.suspend("grace")


@attack("approval-missing")
def outside_collaborator(scene: Scene) -> None:
    """An approver by name is no member of the organisation."""
    activation = scene.activation("widen-metrics", random="0a0a")
    number = scene.propose({activation_file(activation.id): write_activation(activation)})
    scene.approve(number, "ada", "olaf")
    finish(scene, number)


@attack("approval-missing")
def writer_who_is_no_approver(scene: Scene) -> None:
    """Somebody approves who may write and is no approver."""
    _, number = scene.ask()
    scene.approve(number, "ada", "mallory")
    finish(scene, number)


@attack("approval-missing")
def dismissed_approval(scene: Scene) -> None:
    """An approval was dismissed."""
    _, number = scene.ask()
    scene.approve(number)
    reviews = scene.person("adam").call("GET", f"/pulls/{number}/reviews")
    path = f"/pulls/{number}/reviews/{reviews[-1]['id']}/dismissals"
    scene.person("adam").call("PUT", path, {"message": "no"})
    finish(scene, number)


@attack("approval-blocked", "Changes were requested")
def approver_thinks_again(scene: Scene) -> None:
    """An approver asks for changes after the approval; a third one approves."""
    _, number = scene.ask()
    scene.approve(number, *example.COMMANDERS)
    scene.person("ada").call("POST", f"/pulls/{number}/reviews", {"event": "REQUEST_CHANGES", "body": "wait"})
    finish(scene, number)


@attack("approval-missing")
def a_comment_that_says_approved(scene: Scene) -> None:
    """A review says yes in words and is a comment."""
    _, number = scene.ask()
    scene.approve(number, "ada")
    scene.person("grace").call("POST", f"/pulls/{number}/reviews", {"event": "COMMENT", "body": "APPROVED"})
    finish(scene, number)


@attack("approval-unknown-author")
def commit_of_nobody(scene: Scene) -> None:
    """The commit's author has an address that no account has."""
    finish_with(scene, scene.propose(request(scene, "mallory"), "mallory", author="stranger"), "ada", "grace")


@attack("approval-requester")
def request_in_anothers_name(scene: Scene) -> None:
    """The file says that somebody else asked."""
    activation = scene.activation(by="on-call")
    number = scene.propose({activation_file(activation.id): write_activation(activation)}, "mallory")
    finish_with(scene, number, "ada", "grace")


# Who owns what.


@attack("merge-content")
def codeowners_in_the_same_pull_request(scene: Scene) -> None:
    """The pull request makes its author the owner."""
    owners = f"* {example.TEAM}\n/{ACTIVATIONS}/ @mallory\n"
    number = scene.propose(request(scene, "mallory") | {"CODEOWNERS": owners}, "mallory")
    finish_with(scene, number, "ada", "grace")


@attack("approval-nobody")
def codeowners_in_an_earlier_pull_request(scene: Scene) -> None:
    """An earlier pull request gave the path to somebody who is no approver."""
    earlier(scene, {"CODEOWNERS": f"* {example.TEAM}\n/{ACTIVATIONS}/ @mallory\n"})
    finish_with(scene, scene.propose(request(scene, "on-call")), "ada", "grace")


@attack("approval-nobody")
def shadow_codeowners(scene: Scene) -> None:
    """A second CODEOWNERS, in a place that comes first."""
    earlier(scene, {".github/CODEOWNERS": "* @mallory\n"})
    finish_with(scene, scene.propose(request(scene, "on-call")), "ada", "grace")


@attack("approval-nobody")
def vacuous_owner(scene: Scene) -> None:
    """A path without an owner: nobody need review it."""
    earlier(scene, {"CODEOWNERS": f"* {example.TEAM}\n/{ACTIVATIONS}/\n"})
    finish_with(scene, scene.propose(request(scene, "on-call")), "ada", "grace")


@attack("approval-nobody")
def no_codeowners(scene: Scene) -> None:
    """CODEOWNERS is gone."""
    earlier(scene, {"CODEOWNERS": None})
    finish_with(scene, scene.propose(request(scene, "on-call")), "ada", "grace")


@attack("approval-nobody")
def empty_team(scene: Scene) -> None:
    """The only team that may approve has no members any more."""
    _, number = scene.ask()
    scene.approve(number)
    scene.check(number)
    scene.merge(number)
    for login in (*example.COMMANDERS, "eve"):
        scene.forge.leave_team(example.TEAM.partition("/")[2], login)


# What is merged.


@attack("merge-content")
def overlay_in_the_same_pull_request(scene: Scene) -> None:
    """The pull request opens an overlay that it changes."""
    overlay = "overlays/emergency/db-from-bastion/policy.yaml"
    number = scene.propose(request(scene, "mallory") | {overlay: files()[overlay] + b"\n"}, "mallory")
    finish_with(scene, number, "ada", "grace")


@attack("merge-content")
def workflow_in_the_same_pull_request(scene: Scene) -> None:
    """The pull request edits the workflow that checks it."""
    workflow = {".github/workflows/check.yml": b"name: check\non: pull_request\njobs: {}\n"}
    finish_with(scene, scene.propose(request(scene, "mallory") | workflow, "mallory"), "ada", "grace")


@attack("merge-content")
def hidden_in_the_merge_of_a_side_branch(scene: Scene) -> None:
    """The reviewed commit is small, and its second parent brings more."""
    mallory = scene.person("mallory")
    side = mallory.branch("side", {"base/more.yaml": b"{}\n"})
    mallory.branch("request", request(scene, "mallory"))
    mallory.git("merge", "--quiet", "--no-ff", "--message", "merge", side)
    mallory.git("push", "--quiet", "origin", "HEAD:request")
    finish_with(scene, mallory.open("request"), "ada", "grace")


@attack("merge-content")
def two_at_once(scene: Scene) -> None:
    """One pull request opens two activations."""
    finish_with(scene, scene.propose(request(scene) | request(scene)), "ada", "grace")


@attack("activation-digest")
def digest_of_another_overlay(scene: Scene) -> None:
    """The request names the digest of another overlay."""
    digest = scene.activation("widen-metrics").spec.digest
    _, number = scene.ask(digest=digest)
    finish_with(scene, number, "ada", "grace")


@attack("activation-digest")
def overlay_changed_after_the_review(scene: Scene) -> None:
    """The overlay on main is changed between review and merge."""
    _, number = scene.ask()
    scene.approve(number)
    overlay = "overlays/emergency/db-from-bastion/policy.yaml"
    earlier(scene, {overlay: files()[overlay] + b"\n"})
    finish(scene, number)


@attack()
def file_name_in_another_case(scene: Scene) -> None:
    """The file's name differs from an activation's in its case alone."""
    ((name, content),) = request(scene).items()
    finish_with(scene, scene.propose({name.removesuffix(".yaml") + ".YAML": content}), "ada", "grace")


@attack()
def directory_in_another_case(scene: Scene) -> None:
    """The directory's name differs in its case alone."""
    ((name, content),) = request(scene).items()
    finish_with(scene, scene.propose({name.replace("activations", "Activations"): content}), "ada", "grace")


@attack(held="breakglass")
def look_alike_id(scene: Scene) -> None:
    """A letter of the id looks like another."""
    ((name, content),) = request(scene).items()
    number = scene.propose({name.replace("bastion", "bаstion"): content})  # noqa: RUF001 - that is the attack
    finish_with(scene, number, "ada", "grace")


@attack(held="breakglass")
def symbolic_link(scene: Scene) -> None:
    """The activation is a symbolic link to a file outside of review."""
    ((name, content),) = request(scene).items()
    on_call = scene.person("on-call")
    on_call.branch("request", {"docs/request.yaml": content})
    (on_call.directory / name).parent.mkdir(parents=True, exist_ok=True)
    (on_call.directory / name).symlink_to("../../../docs/request.yaml")
    on_call.commit({})
    on_call.git("push", "--quiet", "origin", "HEAD:request")
    finish_with(scene, on_call.open("request"), "ada", "grace")


@attack(held="breakglass")
def executable_file(scene: Scene) -> None:
    """The activation is an executable."""
    ((name, content),) = request(scene).items()
    on_call = scene.person("on-call")
    on_call.branch("request", {name: content})
    (on_call.directory / name).chmod(0o755)
    on_call.commit({})
    on_call.git("push", "--quiet", "origin", "HEAD:request")
    finish_with(scene, on_call.open("request"), "ada", "grace")


@attack(held="breakglass")
def duplicate_key(scene: Scene) -> None:
    """The file says two durations; readers differ in which they take."""
    ((name, content),) = request(scene).items()
    finish_with(scene, scene.propose({name: content + b"  duration: 4h\n"}), "ada", "grace")


@attack(held="breakglass")
def line_break_in_a_parameter(scene: Scene) -> None:
    """A parameter brings lines of its own into a manifest."""
    ((name, content),) = request(scene).items()
    injected = re.sub(rb"ticket: .*", rb'ticket: "x\\nkind: Role"', content)
    assert injected != content
    finish_with(scene, scene.propose({name: injected}), "ada", "grace")


@attack(held="breakglass")
def unknown_field(scene: Scene) -> None:
    """The file holds a field that this version does not know."""
    ((name, content),) = request(scene).items()
    finish_with(scene, scene.propose({name: content + b"  approved: true\n"}), "ada", "grace")


@attack("activation-duration")
def forged_status(scene: Scene) -> None:
    """A writer reports a status with the name of the check, for a window that is too long."""
    _, number = scene.ask(duration=timedelta(hours=5))
    scene.approve(number, *example.COMMANDERS)
    head = scene.person("mallory").call("GET", f"/pulls/{number}")["head"]["sha"]
    scene.person("mallory").call("POST", f"/statuses/{head}", {"state": "success", "context": "breakglass"})
    held_by_the_check(scene, number)


@attack("rule-denied")
def forged_check_run(scene: Scene) -> None:
    """A job of the pull request reports a check run with the name of the check, for what a rule denies."""
    _, number = scene.ask(incident="because")
    scene.approve(number)
    head = scene.person("mallory").call("GET", f"/pulls/{number}")["head"]["sha"]
    token = scene.forge.workflow_token({"checks": "write", "contents": "read", "metadata": "read"})
    made = {"name": "breakglass", "head_sha": head, "status": "completed", "conclusion": "success"}
    url = f"{scene.forge.api_url}/repos/acme/platform/check-runs"
    httpx.post(url, json=made, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    held_by_the_check(scene, number)


@attack("rule-denied")
def approvals_enough_and_a_denial(scene: Scene) -> None:
    """Everybody approves what a rule denies."""
    _, number = scene.ask(incident="soon")
    finish_with(scene, number, *example.COMMANDERS)


@attack("approval-missing")
def longer_than_two_may_open(scene: Scene) -> None:
    """Two approve a window for which the policy asks three."""
    _, number = scene.ask(duration=timedelta(hours=2))
    finish_with(scene, number, "ada", "grace")


@attack("solo-bounds")
def alone_without_being_entitled(scene: Scene) -> None:
    """Somebody opens alone who may not."""
    _, number = scene.ask(by="mallory", solo=True, duration=timedelta(minutes=15))
    finish(scene, number)


@attack("solo-bounds")
def alone_for_too_long(scene: Scene) -> None:
    """Somebody opens alone for longer than one may."""
    _, number = scene.ask(solo=True)
    finish(scene, number)


@attack("solo-bounds")
def alone_what_is_not_for_it(scene: Scene) -> None:
    """Somebody opens alone what takes two."""
    activation = scene.activation("widen-metrics", solo=True, duration=timedelta(minutes=15))
    finish(scene, scene.propose({activation_file(activation.id): write_activation(activation)}))


# When.


@attack("activation-stale")
def request_of_this_morning(scene: Scene) -> None:
    """A request is merged after its time to live."""
    _, number = scene.ask(requested_at=datetime.now(UTC) - timedelta(hours=3))
    finish_with(scene, number, "ada", "grace")


@attack("activation-future")
def request_of_tomorrow(scene: Scene) -> None:
    """A request is dated ahead, so that its window ends later."""
    _, number = scene.ask(requested_at=datetime.now(UTC) + timedelta(hours=20))
    finish_with(scene, number, "ada", "grace")


@attack("activation-reused")
def replay(scene: Scene) -> None:
    """An activation that was closed is added again as it was."""
    activation, number = scene.ask()
    finish_with(scene, number, "ada", "grace")
    assert scene.apply().open
    earlier(scene, {activation_file(activation.id): None})
    scene.apply()
    again = {activation_file(activation.id): write_activation(activation)}
    finish_with(scene, scene.propose(again), "ada", "grace")


@attack()
def edited_while_open(scene: Scene) -> None:
    """A pull request makes an open window longer."""
    activation, number = scene.ask()
    finish_with(scene, number, "ada", "grace")
    assert scene.apply().open
    earlier(scene, {activation_file(activation.id): write_activation(activation).replace(b"30m", b"4h")})


# How main is moved.


@attack("approval-no-pull-request", "rule violations")
def direct_push(scene: Scene) -> None:
    """An administrator pushes an activation to main."""
    adam = scene.person("adam")
    push_to_main(scene, adam, request(scene, "adam"))


@attack("main-moved", "rule violations")
def policy_pushed_before(scene: Scene) -> None:
    """An administrator pushes a softer CODEOWNERS to main, then asks like everybody."""
    push_to_main(scene, scene.person("adam"), {"CODEOWNERS": f"* {example.TEAM} @mallory\n"})
    finish_with(scene, scene.propose(request(scene)), "ada", "grace")


@attack("main-moved")
def main_pushed_by_force(scene: Scene) -> None:
    """An administrator rewrites main, then asks like everybody."""
    adam = scene.person("adam")
    scene.take_rulesets_away()
    adam.git("fetch", "--quiet", "origin")
    adam.git("checkout", "--quiet", "-B", "other", "origin/main")
    adam.git("commit", "--quiet", "--amend", "--message", "Add another platform")
    adam.git("push", "--quiet", "--force", "origin", "HEAD:main")
    finish_with(scene, scene.propose(request(scene)), "ada", "grace")


@attack("merge-head")
def merged_by_hand(scene: Scene) -> None:
    """An administrator merges what was approved, with another file in its place."""
    activation, number = scene.ask()
    scene.approve(number)
    adam = scene.person("adam")
    scene.take_rulesets_away()
    adam.git("fetch", "--quiet", "origin", f"refs/pull/{number}/head")
    adam.git("checkout", "--quiet", "-B", "by-hand", "origin/main")
    adam.git("merge", "--quiet", "--no-ff", "--no-commit", "FETCH_HEAD")
    adam.commit({activation_file(activation.id): write_activation(activation).replace(b"30m", b"55m")})
    adam.git("push", "--quiet", "origin", "HEAD:main")


@attack("activation-reused")
def ledger_rewritten(scene: Scene) -> None:
    """An administrator removes a closing from the ledger and adds the activation again."""
    activation, number = scene.ask()
    finish_with(scene, number, "ada", "grace")
    assert scene.apply().open
    earlier(scene, {activation_file(activation.id): None})
    scene.apply()
    adam = scene.person("adam")
    scene.take_rulesets_away()
    adam.git("fetch", "--quiet", "origin")
    adam.git("push", "--quiet", "--force", "origin", "origin/main:refs/heads/breakglass-ledger")
    again = {activation_file(activation.id): write_activation(activation)}
    finish_with(scene, scene.propose(again), "ada", "grace")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_opens_nothing(scene: Scene, attack: Attack) -> None:
    attack.play(scene)
    refusals = scene.refusals()
    assert attack.refused in refusals or (not attack.refused and not refusals)
    if attack.held:
        assert any(attack.held in words for words in scene.held), scene.held


def test_every_attack_stands_in_the_threat_model() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    played = {attack.name: (attack.play.__doc__ or "").rstrip(".") for attack in ATTACKS}
    assert {name: rows.get(name, "").rstrip(".") for name in played} == played
    assert len(ATTACKS) >= 40


def request(scene: Scene, by: str = "on-call") -> dict[str, bytes]:
    """The file of a request."""
    activation = scene.activation(by=by)
    return {activation_file(activation.id): write_activation(activation)}


def finish(scene: Scene, number: int) -> None:
    """Let the check judge, and merge."""
    scene.check(number)
    scene.merge(number)


def finish_with(scene: Scene, number: int, *approvers: str) -> None:
    """Let people approve and the check judge, and merge."""
    for login in {"ada": None, **dict.fromkeys(approvers)}:
        scene.approve(number, login)
    finish(scene, number)


def earlier(scene: Scene, changes: dict[str, str | bytes | None]) -> None:
    """A pull request that everybody approves changes main."""
    finish_with(scene, scene.propose(changes), "ada", "grace")


def held_by_the_check(scene: Scene, number: int) -> None:
    """Merge without the App's check: the forge must name it, and an administrator merges all the same."""
    scene.merge(number)
    assert any("breakglass" in words for words in scene.held), scene.held


def push_to_main(scene: Scene, person: Person, changes: dict[str, str | bytes]) -> None:
    """Push to main: the rulesets hold, then are taken away."""
    person.git("fetch", "--quiet", "origin")
    person.git("checkout", "--quiet", "-B", "pushed", "origin/main")
    person.commit(changes)  # type: ignore[arg-type]
    try:
        person.git("push", "--quiet", "origin", "HEAD:main")
    except RuntimeError as error:
        scene.held.append(str(error))
        scene.take_rulesets_away()
        person.git("push", "--quiet", "origin", "HEAD:main")


def branch_of(scene: Scene, number: int) -> str:
    """The branch of a pull request."""
    return str(scene.person("ada").call("GET", f"/pulls/{number}")["head"]["ref"])
