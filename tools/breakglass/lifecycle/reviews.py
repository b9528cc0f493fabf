"""Reviews of activations: who looked at one afterwards, and which solo openings are past their term without that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import ValidationError

from breakglass.lifecycle.content import tip_of
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.document import invalid, read
from breakglass.model.errors import InvalidFile, NotFound, Refused
from breakglass.model.finding import Finding
from breakglass.model.policy import API_VERSION
from breakglass.model.review import REVIEWS, ActivationReview, review_file, reviewed_id, write_review
from breakglass.ports import FileChange, Forge, PullRequest, Repository

BRANCH_PREFIX = "breakglass/review/"


def unreviewed(repository: Repository, commit: str, windows: Iterable[Window], now: datetime) -> list[str]:
    """Ids of the solo openings whose term is over and that a commit of main holds no review of, oldest first.

    A review by whoever asked, or one that cannot be read, is none.

    Args:
        windows: every activation in the history of that commit.
        now: when their terms are looked at.
    """
    owing = [window for window in windows if _term_is_over(window, now)]
    if not owing:
        return []
    files = repository.files(commit, REVIEWS)
    return [window.id for window in owing if not _reviewed(window, files.get(review_file(window.id)))]


def submit_review(
    repository: Repository,
    forge: Forge,
    branch: str,
    identity: str,
    *,
    reviewed_by: str,
    now: datetime,
    justified: bool,
    summary: str,
    follow_ups: Sequence[str],
) -> tuple[ActivationReview, PullRequest]:
    """Open the pull request that adds the review of an activation; owners of the directory approve and merge it.

    Args:
        reviewed_by: login of who looked at it: whose token it is.

    Raises:
        NotFound: the activation never reached main.
        Refused: it is the requester's own, it was reviewed before, or the token lacks a right.
        Conflict: somebody asked for the same review a moment ago.
    """
    tip = tip_of(repository, branch)
    review = _review(identity, reviewed_by, now, justified, summary, follow_ups)
    window = next((window for window in all_windows(repository, tip) if window.id == identity), None)
    if window is None:
        raise NotFound(f"no activation {identity[:80]!r} ever reached {branch}", remedy="see `breakglass audit log`")
    if _own(window, review):
        raise Refused(f"{reviewed_by} asked for {identity}", remedy="let somebody else review it")
    path = review_file(identity)
    if path in repository.files(tip, path):
        raise Refused(f"{identity} was reviewed already", where=path, remedy="change the file in a pull request")
    outcome = "justified" if justified else "NOT justified"
    title = f"Review {identity}: {outcome}"
    commit = repository.record(
        tip, {path: write_review(review)}, f"{title}\n\n{summary}\n", author=forge.author_of(reviewed_by)
    )
    head = f"{BRANCH_PREFIX}{identity}-{commit[:8]}"
    repository.push(commit, head, create=True)
    return review, forge.open_pull_request(head, title, f"Adds `{path}` and changes nothing else.\n")


def judge_reviews(
    repository: Repository, base: str, head: str, changes: Iterable[FileChange], author: str | None
) -> list[Finding]:
    """Check the reviews that a change adds or edits: readable, of an activation on main, and by somebody else.

    Args:
        author: who opened the pull request; None where nobody did yet.
    """
    paths = {change.path: name for change in changes if change.new_mode and (name := reviewed_id(change.path))}
    if not paths:
        return []
    known = {window.id: window for window in all_windows(repository, base)}
    findings = []
    for path, identity in paths.items():
        try:
            review = read(repository.files(head, path)[path], path, ActivationReview)
        except Refused as error:
            findings.append(Finding("review-unreadable", error.what, error.where or path, error.remedy or ""))
            continue
        findings += _judge_review(review, path, known.get(identity), author)
    return findings


def _judge_review(review: ActivationReview, path: str, window: Window | None, author: str | None) -> list[Finding]:
    findings, by = [], review.spec.reviewedBy
    remedy = "let `breakglass review` write the file"
    if window is None or review_file(review.metadata.name) != path:
        message = f"{review.metadata.name} is no activation of main that this file could be the review of"
        findings.append(Finding("review-unknown", message, path, remedy))
    if window is not None and _own(window, review):
        findings.append(Finding("review-own", f"{by} asked for it", path, "let somebody else review it"))
    if author is not None and author.lower() != by.lower():
        message = f"{author} opened the pull request with a review by {by}"
        findings.append(Finding("review-author", message, path, "everyone reviews for themselves"))
    return findings


def _review(
    identity: str, by: str, now: datetime, justified: bool, summary: str, follow_ups: Sequence[str]
) -> ActivationReview:
    spec = {
        "reviewedBy": by,
        "reviewedAt": now.replace(microsecond=0),
        "justified": justified,
        "summary": summary,
        "followUps": list(follow_ups),
    }
    data = {"apiVersion": API_VERSION, "kind": "Review", "metadata": {"name": identity}, "spec": spec}
    try:
        return ActivationReview.model_validate(data)
    except ValidationError as error:
        raise invalid(error, "the review", {}) from None


def _own(window: Window, review: ActivationReview) -> bool:
    """Whether somebody reviews what they asked for themselves; what cannot be read names nobody."""
    asked = window.activation.spec.requestedBy if window.activation is not None else ""
    return review.spec.reviewedBy.lower() == asked.lower()


def _term_is_over(window: Window, now: datetime) -> bool:
    if window.activation is None or not window.activation.spec.solo or window.policy is None:
        return False
    solo = window.policy.spec.solo
    return solo is not None and window.opened.committed_at + solo.reviewWithin <= now


def _reviewed(window: Window, content: bytes | None) -> bool:
    if content is None or window.activation is None:
        return False
    try:
        review = read(content, review_file(window.id), ActivationReview)
    except InvalidFile:
        return False
    return review.metadata.name == window.id and not _own(window, review)
