"""Reviews and who is asked for one. https://docs.github.com/en/rest/pulls/reviews."""

from dataclasses import replace

from breakglass_lab.forge import answers, payloads
from breakglass_lab.forge.exchange import Answer, Endpoint, Refusal, Request, not_found
from breakglass_lab.forge.pulls import PULL, READ, WRITE, find
from breakglass_lab.forge.state import PullRequest, Review, ReviewState, State

STATES: dict[str, ReviewState] = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


def list_reviews(state: State, request: Request) -> Answer:
    """GET the reviews of a pull request, oldest first; a pending one is seen by its author alone."""
    pull = find(state, request)
    seen = [review for review in pull.reviews if review.state != "PENDING" or review.login == request.identity.login]
    return Answer(200, [answers.review(state, pull, review) for review in seen], items=True)


def create(state: State, request: Request) -> Answer:
    """POST a review on `commit_id` (the head unless told otherwise); without `event` it stays pending."""
    pull, login = find(state, request), request.identity.login
    verdict = _verdict(request)
    commit_id = request.text("commit_id", pull.head_sha)
    if state.bare.resolve(commit_id) != commit_id or not state.bare.is_ancestor(commit_id, pull.head_sha):
        raise Refusal(422, "Unprocessable Entity", ["Commit is not part of the pull request"])
    _check_verdict(state, pull, request, verdict, request.text("body", ""))
    given = Review(state.new_id(), login, request.text("body", ""), verdict, commit_id, state.now())
    return Answer(200, _add(state, pull, given, request))


def _verdict(request: Request) -> ReviewState:
    event = request.text("event", "PENDING")
    if event != "PENDING" and event not in STATES:
        raise Refusal(
            422, "Unprocessable Entity", [f"Variable $event of type PullRequestReviewEvent was invalid: {event}"]
        )
    return STATES.get(event, "PENDING")


def _check_verdict(state: State, pull: PullRequest, request: Request, verdict: ReviewState, body: str) -> None:
    login = request.identity.login
    if verdict == "APPROVED" and request.identity.kind == "workflow" and not state.workflows_may_approve:
        raise Refusal(422, "Unprocessable Entity", ["GitHub Actions is not permitted to approve pull requests."])
    if login == pull.author and verdict in ("APPROVED", "CHANGES_REQUESTED"):
        told = "approve" if verdict == "APPROVED" else "request changes on"
        raise Refusal(422, "Unprocessable Entity", [f"Can not {told} your own pull request"])
    if verdict in ("COMMENTED", "CHANGES_REQUESTED") and not body.strip():
        raise Refusal(422, "Unprocessable Entity", ["Body can't be blank"])
    if not pull.open and verdict != "COMMENTED":
        raise Refusal(422, "Unprocessable Entity", ["Can not approve or request changes on a closed pull request"])


def _add(state: State, pull: PullRequest, given: Review, request: Request) -> answers.Json:
    """Put a review in its place, take its author and their teams off the list of those asked, and return how it is
    shown.
    """
    others = tuple(review for review in pull.reviews if review.id != given.id)
    users, teams = pull.requested_users, pull.requested_teams
    if given.state != "PENDING":
        users = tuple(login for login in users if login != given.login)
        teams = tuple(slug for slug in teams if given.login not in _members(state, slug))
    changes = {"reviews": (*others, given), "requested_users": users, "requested_teams": teams}
    renewed = state.change_pull(pull.number, **changes)
    if given.state != "PENDING":
        event = payloads.pull_request_review(state, renewed, given, "submitted", request.identity)
        state.emit(event, request.identity)
    return answers.review(state, renewed, given)


def _members(state: State, slug: str) -> tuple[str, ...]:
    team = state.organisation.team(slug)
    return () if team is None else team.members


def _find_review(pull: PullRequest, request: Request) -> Review:
    found = next((review for review in pull.reviews if review.id == request.values["review_id"]), None)
    if found is None:
        raise not_found()
    return found


def get(state: State, request: Request) -> Answer:
    """GET one review."""
    pull = find(state, request)
    return Answer(200, answers.review(state, pull, _find_review(pull, request)))


def submit(state: State, request: Request) -> Answer:
    """POST the event that submits a pending review of one's own."""
    pull = find(state, request)
    pending = _find_review(pull, request)
    if pending.state != "PENDING" or pending.login != request.identity.login:
        raise Refusal(422, "Unprocessable Entity", ["Can not submit a review that is not pending"])
    verdict, body = _verdict(request), request.text("body", pending.body)
    _check_verdict(state, pull, request, verdict, body)
    given = replace(pending, state=verdict, body=body, submitted_at=state.now())
    return Answer(200, _add(state, pull, given, request))


def dismiss(state: State, request: Request) -> Answer:
    """PUT the dismissal of a review."""
    pull = find(state, request)
    review = _find_review(pull, request)
    if review.state not in ("APPROVED", "CHANGES_REQUESTED"):
        raise Refusal(422, "Can not dismiss a commented pull request review")
    request.text("message")
    dismissed = replace(review, state="DISMISSED")
    reviews = tuple(dismissed if known.id == review.id else known for known in pull.reviews)
    renewed = state.change_pull(pull.number, reviews=reviews)
    event = payloads.pull_request_review(state, renewed, dismissed, "dismissed", request.identity)
    state.emit(event, request.identity)
    return Answer(200, answers.review(state, renewed, dismissed))


def requested(state: State, request: Request) -> Answer:
    """GET who is asked for a review."""
    pull = find(state, request)
    users = [answers.account(state, login) for login in pull.requested_users]
    teams = [answers.team(state, state.organisation.team(slug)) for slug in pull.requested_teams]
    return Answer(200, {"users": users, "teams": teams})


def ask(state: State, request: Request) -> Answer:
    """POST who else is asked: users who can read the repository and teams of the organisation; never the author."""
    pull = find(state, request)
    users, teams = request.texts("reviewers"), request.texts("team_reviewers")
    if pull.author in users:
        raise Refusal(422, "Review cannot be requested from pull request author.")
    strangers = [login for login in users if state.organisation.role(state.repository, login) is None]
    if strangers or any(state.organisation.team(slug) is None for slug in teams):
        raise Refusal(
            422, "Reviews may only be requested from collaborators. One or more of the users or teams is not one."
        )
    renewed = state.change_pull(
        pull.number,
        requested_users=tuple(dict.fromkeys((*pull.requested_users, *users))),
        requested_teams=tuple(dict.fromkeys((*pull.requested_teams, *teams))),
    )
    return Answer(201, answers.simple_pull(state, renewed))


def unask(state: State, request: Request) -> Answer:
    """DELETE people and teams from those asked."""
    pull = find(state, request)
    users, teams = request.texts("reviewers"), request.texts("team_reviewers")
    renewed = state.change_pull(
        pull.number,
        requested_users=tuple(login for login in pull.requested_users if login not in users),
        requested_teams=tuple(slug for slug in pull.requested_teams if slug not in teams),
    )
    return Answer(200, answers.simple_pull(state, renewed))


ENDPOINTS = (
    Endpoint("GET", f"{PULL}/reviews", list_reviews, READ),
    Endpoint("POST", f"{PULL}/reviews", create, WRITE),
    Endpoint("GET", f"{PULL}/reviews/<int:review_id>", get, READ),
    Endpoint("POST", f"{PULL}/reviews/<int:review_id>/events", submit, WRITE),
    Endpoint("PUT", f"{PULL}/reviews/<int:review_id>/dismissals", dismiss, WRITE, "write"),
    Endpoint("GET", f"{PULL}/requested_reviewers", requested, READ),
    Endpoint("POST", f"{PULL}/requested_reviewers", ask, WRITE, "write"),
    Endpoint("DELETE", f"{PULL}/requested_reviewers", unask, WRITE, "write"),
)
