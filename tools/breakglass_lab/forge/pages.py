"""A few plain pages, so that a person can look at the forge."""

from collections.abc import Iterable

from markupsafe import Markup, escape

from breakglass_lab.forge.pulls import files_of
from breakglass_lab.forge.state import PullRequest, State

PAGE = Markup(
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
    "<style>body{{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto}}"
    "pre{{background:#f4f4f4;padding:.7rem;overflow:auto}}"
    "td{{padding:.1rem 1rem .1rem 0}}</style><h1>{title}</h1>{content}</html>"
)


def _table(rows: Iterable[tuple[object, ...]]) -> Markup:
    lines = [
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    ]
    return Markup("<table>{}</table>").format(Markup("").join(lines)) if lines else Markup("<p>none</p>")


def _link(url: str, text: object) -> Markup:
    return Markup("<a href='{}'>{}</a>").format(url, text)


def _condition(pull: PullRequest) -> str:
    return "merged" if pull.merged_at is not None else "open" if pull.open else "closed"


def index(state: State) -> str:
    """Return the page with pull requests, runs and branches."""
    pulls = [
        (_link(f"{state.html_url}/pull/{pull.number}", f"#{pull.number}"), pull.title, _condition(pull), pull.author)
        for pull in reversed(state.pulls.values())
    ]
    runs = [
        (run.number, run.workflow, run.event, run.head_sha[:10], run.conclusion or run.status)
        for run in reversed(state.runs.values())
    ]
    branches = [(ref.removeprefix("refs/heads/"), sha[:10]) for ref, sha in state.bare.refs("refs/heads").items()]
    parts: list[tuple[str, Iterable[tuple[object, ...]]]] = [
        ("Pull requests", pulls),
        ("Runs", runs),
        ("Branches", branches),
    ]
    content = Markup("").join(Markup("<h2>{}</h2>{}").format(title, _table(rows)) for title, rows in parts)
    return PAGE.format(title=state.full_name, content=content)


def pull_page(state: State, pull: PullRequest) -> str:
    """Return the page of one pull request: what it says, who reviewed it, what it changes."""
    about = _table(
        [
            ("state", _condition(pull)),
            ("author", pull.author),
            ("merge", f"{pull.head_ref} ({pull.head_sha[:10]}) into {pull.base_ref}"),
            ("asked", ", ".join((*pull.requested_users, *pull.requested_teams)) or "nobody"),
        ]
    )
    reviews = _table((review.login, review.state, review.commit_id[:10], review.body) for review in pull.reviews)
    diffs = Markup("").join(
        Markup("<h3>{} <small>{}</small></h3><pre>{}</pre>").format(change.filename, change.status, change.patch or "")
        for change in files_of(state, pull)
    )
    content = Markup("<p>{}</p>{}<pre>{}</pre><h2>Reviews</h2>{}<h2>Files</h2>{}").format(
        _link(state.url, state.full_name), about, pull.body or "", reviews, diffs
    )
    return PAGE.format(title=escape(f"#{pull.number} {pull.title}"), content=content)
