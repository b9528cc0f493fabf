"""`breakglass residue`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from breakglass.cli.output import directory_option, emit_json, kubeconfig_option, output_option, progress, wiring
from breakglass.model.errors import UsageError
from breakglass.model.time import format_instant

if TYPE_CHECKING:
    from breakglass.analysis.residue import Piece
    from breakglass.lifecycle.residue import Found
    from breakglass.ports import PullRequest

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(
    "residue", epilog="Example: breakglass residue 2026-11-23-db-from-bastion-7f3a prod-eu --audit-log audit.log"
)
@click.argument("activation_id", metavar="ACTIVATION")
@click.argument("cluster")
@click.option(
    "logs", "--audit-log", type=_FILE, multiple=True, help="The API server's audit log; may be given several times."
)
@click.option("adopt", "--adopt", multiple=True, metavar="KIND/NAMESPACE/NAME", help="Bring a piece into the baseline.")
@click.option("delete", "--delete", multiple=True, metavar="KIND/NAMESPACE/NAME", help="Have the applier delete it.")
@click.option("adopt_all", "--adopt-all", is_flag=True, help="Bring every piece that is not deleted into the baseline.")
@click.option("delete_all", "--delete-all", is_flag=True, help="Have the applier delete every other piece that it may.")
@click.option("reason", "--because", default="Left behind by an emergency.", show_default=True, help="Why.")
@directory_option
@kubeconfig_option
@output_option
def command(
    activation_id: str,
    cluster: str,
    logs: tuple[Path, ...],
    adopt: tuple[str, ...],
    delete: tuple[str, ...],
    adopt_all: bool,
    delete_all: bool,
    reason: str,
    directory: Path,
    kubeconfig: Path | None,
    output: str,
) -> int:
    """List what was made on CLUSTER in the window of ACTIVATION by those whom it let in, and is not in git.

    With the API server's audit log it says who made it; without, only when and by which field manager. Opens the pull
    request that settles what is to be adopted or deleted. Exit code 1 if there is residue.
    """
    from breakglass.adapters.audit_log import read_audit_log
    from breakglass.lifecycle.residue import Search, find
    from breakglass.lifecycle.settlement import by_hand, choose, propose

    if adopt_all and delete_all:
        raise UsageError("--adopt-all and --delete-all exclude each other", remedy="name the pieces of one of the two")
    wired = wiring(directory, kubeconfig)
    wired.settings(cluster)
    wired.repository.fetch()
    search = Search(
        cluster,
        wired.cluster(cluster),
        wired.repository,
        wired.renderer,
        wired.clock,
        wired.branch,
        wired.ledger_branch,
    )
    events = [event for log in logs for event in read_audit_log(log)] if logs else None
    found = find(search, activation_id, events)
    adopted, deleted = choose(found, adopt), choose(found, delete)
    rest = tuple(piece for piece in found.pieces if piece not in adopted and piece not in deleted)
    adopted += rest if adopt_all else ()
    deleted += tuple(piece for piece in rest if by_hand(found, piece) is None) if delete_all else ()
    pull = None
    if adopted or deleted:
        author = wired.forge.whoami()
        pull = propose(search, wired.forge, found, adopt=adopted, delete=deleted, reason=reason, author=author)
    for line in found.unread:
        progress(line)
    if output == "json":
        emit_json("ResidueFound", _json(found, pull))
    else:
        _show(found, pull, with_log=bool(logs))
    return 1 if found.pieces or found.tokens else 0


def _show(found: Found, pull: PullRequest | None, *, with_log: bool) -> None:
    from breakglass.lifecycle.settlement import by_hand

    window = f"{format_instant(found.emergency.begin)} to {format_instant(found.emergency.end)}"
    click.echo(f"{found.activation} on {found.cluster}, {window}")
    for piece in found.pieces:
        word = click.style("residue", fg="red") if piece.certain else click.style("perhaps", fg="yellow")
        containers = f" ({', '.join(piece.containers)})" if piece.containers else ""
        click.echo(f"  {word}   {piece.key}{containers}\n            {piece.evidence}")
        if (command_line := by_hand(found, piece)) is not None:
            click.echo(f"            by hand: {command_line}")
    for token in found.tokens:
        click.echo(f"  {click.style('token', fg='yellow')}     {token}")
    if not found.pieces and not found.tokens:
        click.echo("  clean     nothing was left behind" + ("" if with_log else "; no audit log was read"))
    if pull is not None:
        click.echo(f"  PR        {pull.url}")


def _json(found: Found, pull: PullRequest | None) -> dict[str, Any]:
    from breakglass.lifecycle.settlement import by_hand

    emergency = found.emergency
    return {
        "activation": found.activation,
        "cluster": found.cluster,
        "from": format_instant(emergency.begin),
        "to": format_instant(emergency.end),
        "users": sorted(emergency.users),
        "groups": sorted(emergency.groups),
        "residue": [{**_piece_json(piece), "byHand": by_hand(found, piece)} for piece in found.pieces],
        "tokens": list(found.tokens),
        "unread": list(found.unread),
        "pullRequest": None if pull is None else {"number": pull.number, "url": pull.url},
    }


def _piece_json(piece: Piece) -> dict[str, Any]:
    key = piece.key
    return {
        "group": key.group,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": piece.uid,
        "madeAt": format_instant(piece.made_at),
        "certain": piece.certain,
        "evidence": piece.evidence,
        "ephemeralContainers": list(piece.containers),
    }
