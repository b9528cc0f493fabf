"""`breakglass check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.cli.output import (
    directory_option,
    emit_findings,
    emit_json,
    finding_json,
    kubeconfig_option,
    output_option,
    progress,
    wiring,
)
from breakglass.cli.verdict import explained, verdict_json
from breakglass.model.errors import UsageError

if TYPE_CHECKING:
    from breakglass.lifecycle.check import Checked

_PURPOSES = {"opening": "an opening", "closing": "a closing", "other": "neither an opening nor a closing"}


@click.command("check", epilog="Example: breakglass check --pull-request 482")
@click.argument("revision", default="HEAD")
@click.option(
    "--pull-request", type=click.IntRange(min=1), metavar="NUMBER", help="Check this pull request, approvals included."
)
@click.option("--comment", is_flag=True, help="Write the result into the pull request's one comment.")
@click.option("--check-run", is_flag=True, help="Report the App's check run of its head; needs the App's token.")
@click.option(
    "--job-summary",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append the page, in Markdown, to this file: $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--sarif", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the findings as SARIF."
)
@click.option("clusters", "--cluster", multiple=True, help="Ask this cluster for a server-side dry run.")
@directory_option
@kubeconfig_option
@output_option
def command(
    revision: str,
    pull_request: int | None,
    comment: bool,
    check_run: bool,
    job_summary: Path | None,
    sarif: Path | None,
    clusters: tuple[str, ...],
    directory: Path,
    kubeconfig: Path | None,
    output: str,
) -> int:
    """Check what REVISION would do to main: policy, schema, scope, digest, render, contract, approvals.

    Prints every finding, not the first; exit code 1 if one is an error. Nothing of the branch is run.
    """
    from breakglass.analysis.report.blast_radius_page import sarif_of
    from breakglass.lifecycle.check import check, dry_run, judge_pull_request
    from breakglass.lifecycle.check_run import reported
    from breakglass.lifecycle.comment import MARKER, comment_of, page_of, summary_of

    if check_run and pull_request is None:
        raise UsageError("--check-run is about a pull request", remedy="name it with --pull-request")
    # The check of a closing must pass on a broken main; openings are judged by the policies of their own commits.
    wired = wiring(directory, kubeconfig, closing=True)
    repository, now = wired.repository, wired.clock.now()
    pull = None if pull_request is None else wired.forge.pull_request(pull_request)

    def made() -> Checked:
        if pull is None:
            repository.fetch()
            base = repository.resolve(f"refs/remotes/origin/{wired.branch}")
            checked = check(repository, wired.renderer, base, repository.resolve(revision), now)
        else:
            checked = judge_pull_request(wired.gate, wired.renderer, pull, wired.branch, now)
        for name in clusters:
            if checked.activation is None or name in checked.activation.spec.clusters:
                checked.findings += dry_run(wired.cluster(name), checked.changes, name)
        return checked

    checked = reported(wired.forge, pull, made, progress) if check_run and pull is not None else made()
    if pull is not None and comment:
        wired.forge.comment(pull.number, MARKER, comment_of(checked))
    if job_summary is not None:
        with job_summary.open("a", encoding="utf-8") as file:
            file.writelines(summary_of(checked))
    if sarif is not None:
        sarif.write_text(sarif_of(page_of(checked), wired.policy.spec.forge.repository), encoding="utf-8")
    if output == "json":
        emit_json("Check", _json(checked))
    else:
        _show(checked)
    return 0 if checked.passed else 1


def _json(checked: Checked) -> dict[str, Any]:
    verdict = checked.verdict
    return {
        "purpose": checked.purpose,
        "passed": checked.passed,
        "activation": checked.activation.id if checked.activation is not None else None,
        "opens": list(checked.opens),
        "closes": list(checked.closes),
        "objects": [{"effect": change.effect, "object": str(change.key)} for change in checked.changes],
        "approvals": None if verdict is None else verdict_json(verdict),
        "findings": [finding_json(finding) for finding in checked.findings],
    }


def _show(checked: Checked) -> None:
    click.echo(f"This is {_PURPOSES[checked.purpose]}.")
    for line in checked.opens:
        click.echo(f"  {line}")
    for identity in checked.closes:
        click.echo(f"  closes    {identity}")
    for change in checked.changes:
        click.echo(f"  {change.effect:<9} {change.key}")
    if checked.verdict is not None:
        for line in explained(checked.verdict):
            click.echo(line)
    emit_findings(checked.findings)
    click.echo(
        click.style("passed", fg="green", bold=True) if checked.passed else click.style("failed", fg="red", bold=True)
    )
