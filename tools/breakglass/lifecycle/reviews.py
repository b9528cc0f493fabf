"""Reviews of activations: which solo openings are past their term without one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from breakglass.lifecycle.windows import Window
from breakglass.model.document import read
from breakglass.model.errors import InvalidFile
from breakglass.model.review import REVIEWS, ActivationReview, review_file
from breakglass.ports import Repository


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
    by = review.spec.reviewedBy.lower()
    return review.metadata.name == window.id and by != window.activation.spec.requestedBy.lower()
