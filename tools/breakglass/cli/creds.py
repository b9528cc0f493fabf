"""`breakglass creds`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from breakglass.cli.output import columns, directory_option, emit_json, kubeconfig_option, wiring
from breakglass.model.errors import Refused
from breakglass.model.time import countdown, format_duration, format_instant

if TYPE_CHECKING:
    from datetime import datetime

    from breakglass.lifecycle.credential import Account

CALLED_BY_KUBECTL = "KUBERNETES_EXEC_INFO"
_AT_WORK = "BREAKGLASS_CREDS"


@click.command("creds", epilog="Example: kubectl --kubeconfig <(breakglass creds ID -o kubeconfig) get pods")
@click.argument("activation")
@click.option("--cluster", help="Which cluster, where the activation names several.")
@click.option("--service-account", metavar="NAME", help="Which ServiceAccount, where the overlay adds several.")
@directory_option
@kubeconfig_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "kubeconfig", "exec-credential"]),
    help="For people, for programs, for kubectl to call this command, or the token as kubectl wants it.  "
    f"[default: exec-credential where {CALLED_BY_KUBECTL} is set, else text]",
)
def command(
    activation: str,
    cluster: str | None,
    service_account: str | None,
    directory: Path,
    kubeconfig: Path | None,
    output: str | None,
) -> None:
    """A token of the ServiceAccount that ACTIVATION adds, for whoever asked for it, while its window is open.

    Only -o exec-credential asks the cluster for a token, and prints it. The closing deletes the ServiceAccount, and its
    tokens are refused within 10 s. With less than 10m left nothing else ends them: no API server gives shorter ones.
    """
    from breakglass.lifecycle import credential

    called = os.environ.get(CALLED_BY_KUBECTL)
    output = output or ("text" if called is None else "exec-credential")
    if output == "exec-credential":
        _stop_going_round()
        if called is not None:
            credential.judge_exec_info(called)
    wired = wiring(directory, kubeconfig)
    account = credential.find_account(
        wired.repository,
        wired.renderer,
        wired.branch,
        activation,
        wired.forge.whoami(),
        wired.clock.now(),
        cluster=cluster,
        name=service_account,
    )
    if output == "exec-credential":
        given = credential.mint(wired.cluster(account.cluster), account, wired.clock.now())
        click.echo(json.dumps(credential.exec_credential(given)))
    elif output == "kubeconfig":
        arguments, environment = _call(account, wired.root, kubeconfig)
        written = credential.kubeconfig(account, _program(), arguments, environment)
        click.echo(yaml.safe_dump(written, sort_keys=False, width=4096), nl=False)
    elif output == "json":
        emit_json("Credential", _json(account, wired.clock.now()))
    else:
        _show(account, wired.clock.now())


def _stop_going_round() -> None:
    """The way into the cluster may be a kubeconfig whose user is this command: once round is enough."""
    if os.environ.get(_AT_WORK):
        raise Refused(
            "the kubeconfig that leads into the cluster asks this command for its credential",
            remedy="give your own kubeconfig with --kubeconfig",
        )
    os.environ[_AT_WORK] = "1"


def _program() -> str:
    """This program, to be found from anywhere."""
    found = shutil.which(sys.argv[0])
    return str(Path(found).absolute()) if found is not None else "breakglass"


def _call(account: Account, root: Path, kubeconfig: Path | None) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the command as kubectl is to call it, wherever kubectl runs."""
    which = ["--cluster", account.cluster, "--service-account", f"{account.key.namespace}/{account.key.name}"]
    arguments = ["creds", account.activation, *which, "--directory", str(root), "--output", "exec-credential"]
    if kubeconfig is not None:
        return [*arguments, "--kubeconfig", str(kubeconfig.absolute())], {}
    # kubectl may be called with KUBECONFIG set to the kubeconfig that is printed here.
    own = os.environ.get("KUBECONFIG")
    return arguments, {} if own is None else {"KUBECONFIG": own}


def _show(account: Account, now: datetime) -> None:
    from breakglass.lifecycle.credential import SHORTEST

    ending = "with the window: the closing deletes its ServiceAccount; refused within 10 s"
    if account.outlived(now):
        ending += f"; the token by itself lives {format_duration(SHORTEST)}, no API server gives a shorter one"
    click.echo(
        f"{account.cluster}  ServiceAccount {account.key.namespace}/{account.key.name}  "
        f"{countdown(account.expiry - now)} left"
    )
    call = f"breakglass creds {account.activation} --cluster {account.cluster} -o kubeconfig"
    rows: list[tuple[str, ...]] = [
        ("  use it", f"kubectl --kubeconfig <({call}) get pods"),
        ("  the token", "goes to kubectl, each time kubectl asks; it is not shown here and stands in no file"),
        ("  it ends", ending),
    ]
    for line in columns(rows):
        click.echo(line)


def _json(account: Account, now: datetime) -> dict[str, Any]:
    return {
        "activation": account.activation,
        "cluster": account.cluster,
        "serviceAccount": {"namespace": account.key.namespace, "name": account.key.name},
        "expiry": format_instant(account.expiry),
        "secondsLeft": int((account.expiry - now).total_seconds()),
        "endedByClosingOnly": account.outlived(now),
    }
