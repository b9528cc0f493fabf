"""The command `breakglass`: one file a verb; each parses, calls one use case and prints."""

from __future__ import annotations

import importlib
import os
import sys

import click

from breakglass import __version__

VERBS = {
    "open": "Ask for emergency access: makes the pull request.",
    "extend": "Ask for longer: a new activation, linked to the first.",
    "status": "What is open, where, how long still, what is late.",
    "close": "Close early: makes the closing pull request.",
    "review": "Say what came of an activation: makes the pull request.",
    "check": "Check a branch or a pull request, every finding at once.",
    "render": "Print a cluster's desired state and delta.",
    "plan": "What apply would write in a cluster now.",
    "apply": "Bring clusters to what main says.",
    "solo": "Merge an opening that nobody need approve.",
    "issue-comment": "Carry out and answer a command in a comment.",
    "expire": "Close all that is over and see the clusters closed.",
    "creds": "A kubeconfig, or a token for kubectl, that ends with the window.",
    "drill": "Rehearse an overlay and time it.",
    "residue": "What an emergency left behind; adopts or deletes it.",
    "audit": "Who could reach what, when, and who said so.",
    "verdict": "Judge an approval again, from the ledger alone.",
    "blast-radius": "What a change opens, on one page.",
    "connectivity": "Who reaches whom, before and after.",
    "access": "Who may do what, before and after.",
    "exposure": "What the outside reaches, before and after.",
    "agent": "Close expired windows from inside a cluster.",
    "codeowners": "Who owns a path, as GitHub reads CODEOWNERS.",
    "doctor": "What is missing or wrong, with the fix.",
    "init": "Write all of this into another repository.",
    "install": "What a cluster needs: RBAC, admission, OIDC.",
    "demo": "Play the whole life of an emergency access.",
    "completion": "Print the completion script of a shell.",
}
"""Verb → what it does, in the order of the help; the module is imported when the verb is called."""


class Verbs(click.Group):
    """The group of verbs, each imported only when it is called: start-up stays under 120 ms."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of the help."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb; None where there is no such verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"breakglass.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def breakglass() -> None:
    """Break-glass access for Kubernetes, out of git.

    The request is a pull request, the grant is a pre-tested emergency overlay, it closes by itself, and git is the
    audit log.

    Example: breakglass open db-from-bastion --for 30m --because "checkout down, need psql" --incident INC-4211
    """


def main() -> None:
    """Run the command; errors become one clear message on stderr and the exit code of the contract."""
    # No other package's plugin may take part in reading policies; looking for them costs 50 ms as well.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    from breakglass.cli.failure import run

    sys.exit(run(breakglass))
