"""`breakglass install`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from breakglass.cli.output import directory_option, emit_json, output_option, progress, wiring
from breakglass.model.errors import UsageError

if TYPE_CHECKING:
    from breakglass.wiring import Wiring


@click.command("install", epilog="Example: breakglass install prod-eu | kubectl --context prod-eu apply --filename -")
@click.argument("cluster")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a kustomize root into this directory of the clone, instead of printing it.",
)
@click.option("--cut", is_flag=True, help="Let pods be evicted where overlays open: for closings that cut connections.")
@click.option("--follow", is_flag=True, help="Give the agent the applier's rights as well: for `agent --follow`.")
@click.option("--authentication", is_flag=True, help="Print the API server's AuthenticationConfiguration instead.")
@directory_option
@output_option
def command(
    cluster: str, into: Path | None, cut: bool, follow: bool, authentication: bool, directory: Path, output: str
) -> None:
    """Write what CLUSTER needs: namespace, RBAC and admission policies, as narrow as policy and overlays allow.

    Of the work tree, so that one pull request carries a new overlay and the rights it needs. Nothing is sent to the
    cluster: apply it as you apply everything else.
    """
    from breakglass.adapters.worktree import files_below, read_files, write_files
    from breakglass.lifecycle.install import KUSTOMIZATION, installation

    if authentication:
        if into is not None or cut or follow:
            raise UsageError("--authentication goes alone", remedy="leave out --into, --cut and --follow")
        return _authentication(wiring(directory), cluster, output)
    wired = wiring(directory)
    tree = partial(files_below, wired.root)
    made = installation(wired.policy, cluster, tree, wired.renderer, cut=cut, follow=follow)
    files = {}
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        files = made.files(read_files(into, [KUSTOMIZATION]).get(KUSTOMIZATION))
        write_files(into, files)
    for note in made.notes:
        progress(note)
    if output == "json":
        body = {"cluster": cluster, "objects": list(made.objects), "notes": list(made.notes), "written": sorted(files)}
        emit_json("Installation", body)
    elif into is None:
        click.echo(made.text(), nl=False)
    else:
        for name in sorted(files):
            click.echo(f"  wrote  {into / name}")
    return None


def _authentication(wired: Wiring, cluster: str, output: str) -> None:
    from breakglass.lifecycle.install import as_yaml
    from breakglass.model.authentication import authentication_configuration

    configuration = dict(authentication_configuration(wired.policy, cluster))
    if output == "json":
        emit_json("Authentication", {"cluster": cluster, "configuration": configuration})
    else:
        click.echo(as_yaml(configuration), nl=False)
