"""`breakglass init`."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from breakglass import __version__
from breakglass.cli.open import ask
from breakglass.cli.output import emit_json, output_option, wiring
from breakglass.model.errors import InvalidFile, Refused, UsageError

if TYPE_CHECKING:
    from breakglass.lifecycle.init import AskedCluster, Plan

_CLUSTER = "NAME=BASELINE[,SERVER]"


@click.command(
    "init",
    epilog="Example: breakglass init --repository acme/platform --bot 'acme-breakglass[bot]' --app-id 482001 "
    "--cluster prod-eu=clusters/prod-eu,https://prod-eu.k8s.example.com --approver @acme/dba --approver @acme/security",
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path())
@click.option("--repository", metavar="OWNER/NAME", help="The repository on GitHub.")
@click.option("--bot", metavar="LOGIN", help="Login of the GitHub App that closes, such as 'acme-breakglass[bot]'.")
@click.option(
    "--app-id", type=click.IntRange(min=1), metavar="NUMBER", help="Number of that App; the rulesets are made with it."
)
@click.option(
    "clusters",
    "--cluster",
    multiple=True,
    metavar=_CLUSTER,
    help="A cluster, the kustomize root it normally runs, its API server; may be given several times.",
)
@click.option("drills", "--drill-cluster", multiple=True, metavar=_CLUSTER, help="A cluster to practise in.")
@click.option("approvers", "--approver", multiple=True, metavar="@ORG/TEAM", help="Who may approve; several times.")
@click.option(
    "owners",
    "--owner",
    multiple=True,
    metavar="@ORG/TEAM",
    help="Who reviews policy, overlays and workflows; the approvers if not given.",
)
@click.option("--branch", default="main", show_default=True, help="The default branch.")
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="This version's wheel: the workflows will install only what has its hash.",
)
@click.option("--force", is_flag=True, help="Replace files that differ (CODEOWNERS is only ever added to).")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be written, write nothing.")
@output_option
def command(
    directory: Path,
    repository: str | None,
    bot: str | None,
    app_id: int | None,
    clusters: tuple[str, ...],
    drills: tuple[str, ...],
    approvers: tuple[str, ...],
    owners: tuple[str, ...],
    branch: str,
    wheel: Path | None,
    force: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Write all of this into the GitOps repository in DIRECTORY: policy, workflows, rulesets, CODEOWNERS, RBAC.

    Asks on a terminal for what is missing. Where a policy stands already and none of it is given, that policy counts.
    All or nothing: no file that differs is overwritten without --force, and CODEOWNERS only gets what it lacks.
    """
    from breakglass.adapters.worktree import files_below, read_files, write_files
    from breakglass.lifecycle.init import CANDIDATES, plan
    from breakglass.model.policy import POLICY_FILE

    if not (directory / ".git").exists():
        raise Refused("this is not the top of a git repository", where=str(directory), remedy="run `git init` there")
    present = read_files(directory, CANDIDATES)
    if POLICY_FILE in present and not any((repository, bot, app_id, clusters, drills, approvers)):
        policy = present[POLICY_FILE]
    else:
        policy = _policy(repository, branch, bot, app_id, clusters, drills, approvers)
    wired = wiring(directory)
    planned = plan(
        policy,
        wired.templates,
        present,
        partial(files_below, directory),
        wired.renderer,
        version=__version__,
        wheel=None if wheel is None else _sha256(wheel),
        owners=owners,
        force=force,
    )
    if not dry_run:
        write_files(directory, planned.files)
    _show(planned, dry_run, output)


def _policy(
    repository: str | None,
    branch: str,
    bot: str | None,
    app_id: int | None,
    clusters: tuple[str, ...],
    drills: tuple[str, ...],
    approvers: tuple[str, ...],
) -> bytes:
    """The policy as asked for, in flags or on a terminal."""
    from breakglass.lifecycle.init import write_policy

    repository = ask(repository, "Repository on GitHub (owner/name)", "--repository")
    bot = ask(bot, "Login of the GitHub App", "--bot")
    clusters = clusters or tuple(ask(None, f"Clusters ({_CLUSTER}, separated by spaces)", "--cluster").split())
    approvers = approvers or tuple(ask(None, "Approvers (@org/team, separated by spaces)", "--approver").split())
    asked = [*(_cluster(text, False) for text in clusters), *(_cluster(text, True) for text in drills)]
    if len({cluster.name for cluster in asked}) < len(asked):
        raise UsageError("a cluster is named twice", remedy="name each once")
    try:
        return write_policy(repository, branch, bot, asked, approvers, app_id)
    except InvalidFile as error:
        raise UsageError(f"the policy would not be valid: {error}", remedy="correct what was given") from None


def _cluster(text: str, drill: bool) -> AskedCluster:
    from breakglass.lifecycle.init import AskedCluster

    name, separator, place = text.partition("=")
    baseline, _, server = place.partition(",")
    if not (name and separator and baseline):
        raise UsageError(f"{text!r} is not {_CLUSTER}", remedy="write --cluster prod-eu=clusters/prod-eu")
    return AskedCluster(name, baseline, server or None, drill)


def _sha256(wheel: Path) -> str:
    if not wheel.name.startswith(f"breakglass-{__version__}-") or wheel.suffix != ".whl":
        raise UsageError(f"{wheel.name} is not the wheel of breakglass {__version__}", remedy="give that one's file")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def _show(planned: Plan, dry_run: bool, output: str) -> None:
    from breakglass.lifecycle.init import next_steps

    steps = next_steps(planned)
    if output == "json":
        body = {
            "dryRun": dry_run,
            "written": sorted(planned.files),
            "unchanged": list(planned.unchanged),
            "next": [{"what": what, "command": command} for what, command in steps],
        }
        return emit_json("Init", body)
    word = "would write" if dry_run else "wrote"
    for path in sorted(planned.files):
        click.echo(f"  {word}  {path}")
    if not planned.files:
        click.echo("  nothing to write: everything is as it should be")
    click.echo("\nNext:")
    for number, (what, command) in enumerate(steps, start=1):
        click.echo(f"{number:>3}. {what}" + (f"\n       {command}" if command else ""))
    return None
