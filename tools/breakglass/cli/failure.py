"""The one handler of errors: a clear message on stderr and the exit code.

0 done, 1 refused or check failed, 2 usage, 3 unexpected, 4 merged but not applied (run again), 130 interrupted.
"""

from __future__ import annotations

import traceback

import click

from breakglass.model.errors import BreakglassError

UNEXPECTED = 3
INTERRUPTED = 130


def run(command: click.Command) -> int:
    """Run a command and return its exit code."""
    try:
        result = command.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BreakglassError as error:
        show(error)
        return error.exit_code
    except SystemExit:
        # The reader of our output left: click ends so, and has silenced what is still to be written.
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: what nobody foresaw is told, with its trace
        traceback.print_exc()
        click.echo(f"unexpected: {error!r}\n  please report this with the lines above", err=True)
        return UNEXPECTED
    return result if isinstance(result, int) else 0


def show(error: BreakglassError) -> None:
    """Write an error for people: what, where, and what to do."""
    click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
    if error.remedy:
        click.echo(f"  {click.style('do', bold=True)}: {error.remedy}", err=True)
