"""`breakglass review`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.open import ask
from breakglass.cli.output import directory_option, emit_json, output_option, wiring


@click.command(
    "review",
    epilog='Example: breakglass review 2026-11-23-db-from-bastion-7f3a --summary "failover was stuck"',
)
@click.argument("activation")
@click.option("--summary", help="What happened and what came of it, in one line.")
@click.option("--justified/--not-justified", default=True, show_default=True, help="Whether opening was right.")
@click.option("follow_ups", "--follow-up", multiple=True, help="What is to be done; may be given several times.")
@directory_option
@output_option
def command(
    activation: str, summary: str | None, justified: bool, follow_ups: tuple[str, ...], directory: Path, output: str
) -> None:
    """Say what came of an activation: makes the pull request that adds its review.

    Anybody but the requester reviews. Once it is on main, the debt of a solo opening is paid.
    """
    from breakglass.lifecycle.reviews import submit_review
    from breakglass.model.review import review_file

    wired = wiring(directory)
    wired.repository.fetch()
    review, pull = submit_review(
        wired.repository,
        wired.forge,
        wired.branch,
        activation,
        reviewed_by=wired.forge.whoami(),
        now=wired.clock.now(),
        justified=justified,
        summary=ask(summary, "Summary", "--summary"),
        follow_ups=follow_ups,
    )
    if output == "json":
        body = {
            "review": review.model_dump(mode="json"),
            "file": review_file(activation),
            "pullRequest": {"number": pull.number, "url": pull.url},
        }
        return emit_json("ReviewRequest", body)
    click.echo(f"  PR        {wired.policy.spec.forge.repository}#{pull.number} {pull.url}")
    click.echo("            counts once an owner of the reviews approved it and it is merged")
    return None
