"""Reviews afterwards: one file, by somebody else, of an activation that was; the check holds it to that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from breakglass.lifecycle.check import check, check_pull_request
from breakglass.lifecycle.reviews import submit_review
from breakglass.model.document import read
from breakglass.model.errors import InvalidFile, NotFound, Refused
from breakglass.model.review import ActivationReview, review_file, reviewed_id, write_review
from breakglass.ports import PullRequest
from laws import example
from laws.world import World
from ports.forge import InMemoryForge
from ports.remote import PLAIN, SYMLINK, Entry


@pytest.fixture
def world() -> World:
    return World()


def submitted(world: World, identity: str, by: str = "ada", **fields: Any) -> tuple[ActivationReview, PullRequest]:
    details: dict[str, Any] = {"justified": True, "summary": "right to open", "follow_ups": ("restore faster",)}
    return submit_review(
        world.repository(),
        InMemoryForge(world.forge, by),
        "main",
        identity,
        reviewed_by=by,
        now=world.clock.now() + timedelta(microseconds=5),
        **(details | fields),
    )


def found(world: World, path: str, entry: Entry, author: str = "ada") -> list[str]:
    """What the check says of a pull request that adds one file."""
    head = world.remote.commit((world.tip(),), {path: entry}, world.clock.now())
    world.remote.set_ref("refs/heads/by-hand", head)
    checked = check(world.repository(), world.renderer, world.tip(), head, world.clock.now(), author=author)
    assert checked.purpose == "other"
    return [finding.id for finding in checked.findings]


def test_a_review_becomes_one_file_in_a_pull_request_that_passes(world: World) -> None:
    activation = world.open()
    review, pull = submitted(world, activation.id)
    clone = world.repository()
    clone.fetch(f"refs/pull/{pull.number}/head")
    (change,) = clone.changes(world.tip(), pull.head)
    assert (change.path, change.status, change.new_mode) == (review_file(activation.id), "added", "100644")
    content = clone.files(pull.head, change.path)[change.path]
    assert read(content, change.path, ActivationReview) == review
    assert review.spec.followUps == ["restore faster"]
    _, checked = check_pull_request(world.gate(), world.renderer, pull.number, "main", world.clock.now())
    assert (checked.purpose, checked.findings) == ("other", [])


def test_nobody_reviews_what_never_was_or_what_they_asked_for_or_twice(world: World) -> None:
    activation = world.open()
    with pytest.raises(NotFound, match="ever reached main"):
        submitted(world, "2026-11-23-db-from-bastion-ffff")
    with pytest.raises(Refused, match="on-call asked for"):
        submitted(world, activation.id, example.ON_CALL)
    with pytest.raises(Refused, match="ON-CALL asked for"):
        submitted(world, activation.id, example.ON_CALL.upper())
    world.merge(submitted(world, activation.id)[1])
    with pytest.raises(Refused, match="reviewed already"):
        submitted(world, activation.id, "grace")


@pytest.mark.parametrize("fields", [{"summary": "a\nb"}, {"summary": ""}, {"follow_ups": ("x" * 501,)}], ids=repr)
def test_what_people_say_is_one_line_each(world: World, fields: dict[str, Any]) -> None:
    activation = world.open()
    with pytest.raises(InvalidFile):
        submitted(world, activation.id, **fields)


def test_a_review_written_by_hand_is_held_to_what_a_review_is(world: World) -> None:
    activation = world.open()
    review, _ = submitted(world, activation.id)
    path, content = review_file(activation.id), write_review(review)
    own = review.model_copy(update={"spec": review.spec.model_copy(update={"reviewedBy": example.ON_CALL.upper()})})
    assert found(world, path, (PLAIN, content)) == []
    assert found(world, path, (PLAIN, content), "ADA") == []
    assert found(world, path, (PLAIN, content), "mallory") == ["review-author"]
    assert found(world, path, (PLAIN, content), example.BOT) == ["review-author"]
    assert found(world, path, (PLAIN, write_review(own)), example.ON_CALL) == ["review-own"]
    assert found(world, path, (PLAIN, b"a: [")) == ["review-unreadable"]
    assert "review-unreadable" in found(world, path, (SYMLINK, b"/etc/passwd"))
    assert found(world, review_file("other"), (PLAIN, content)) == ["review-unknown"]
    assert found(world, review_file("2026-11-23-x-0000"), (PLAIN, content)) == ["review-unknown"]
    assert found(world, "overlays/emergency/reviews/README.md", (PLAIN, b"x")) == []


def test_a_review_beside_an_activation_is_no_opening(world: World) -> None:
    activation = world.open()
    review, _ = submitted(world, activation.id)
    later, pull = world.ask()
    head = world.remote.commit(
        (pull.head,), {review_file(activation.id): (PLAIN, write_review(review))}, world.clock.now()
    )
    world.remote.set_ref("refs/heads/both", head)
    checked = check(world.repository(), world.renderer, world.tip(), head, world.clock.now())
    assert [finding.id for finding in checked.findings] == ["pull-request-content"]
    assert later.id


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("overlays/emergency/reviews/a.yaml", "a"),
        ("overlays/emergency/reviews/.yaml", None),
        ("overlays/emergency/reviews/README.md", None),
        ("overlays/emergency/reviews/x/a.yaml", None),
        ("overlays/emergency/Reviews/a.yaml", None),
    ],
)
def test_which_paths_are_reviews(path: str, identity: str | None) -> None:
    assert reviewed_id(path) == identity
