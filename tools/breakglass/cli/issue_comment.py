"""`breakglass issue-comment`."""

from __future__ import annotations

from pathlib import Path

import click

from breakglass.cli.output import directory_option, emit_json, output_option, progress, wiring


@click.command("issue-comment", epilog="Example: breakglass issue-comment, in a workflow on issue_comment")
@click.option(
    "--event",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="GITHUB_EVENT_PATH",
    required=True,
    show_envvar=True,
    help="File of the event that started the workflow.",
)
@click.option(
    "--actor",
    envvar="GITHUB_TRIGGERING_ACTOR",
    required=True,
    show_envvar=True,
    help="Login of who started this run; only the comment's author counts.",
)
@directory_option
@output_option
def command(event: Path, actor: str, directory: Path, output: str) -> None:
    """Carry out the command in the first line of a comment, and answer in its thread; other comments are left alone.

    The author must be allowed to push. What is opened so is approved and merged by people, as always. Exit code 0 also
    where the answer is a refusal.
    """
    from breakglass.lifecycle.issue_comment import Answering, answer

    wired = wiring(directory, closing=True)
    comment = wired.issue_comment(event)
    answering = Answering(wired.gate, wired.renderer, wired.clock, wired.branch, wired.policy, progress)
    answered = answer(answering, comment, actor)
    if output == "json":
        pull = None if answered.pull is None else {"number": answered.pull.number, "url": answered.pull.url}
        emit_json(
            "IssueComment",
            {"comment": comment.id, "outcome": answered.outcome, "answer": answered.body, "pullRequest": pull},
        )
    else:
        click.echo(f"  {answered.outcome}: {' '.join(answered.body.split())}")
