"""`python -m breakglass_lab.controlplane`: a control plane to explore, until Ctrl-C."""

import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from breakglass_lab.controlplane.control_plane import ControlPlane
from breakglass_lab.controlplane.crds import gateway_api_crds
from breakglass_lab.controlplane.install import install


@click.command()
@click.option("--gateway-api", is_flag=True, help="Install the CRDs of Gateway API as well.")
def main(gateway_api: bool) -> None:
    """Start a control plane in a temporary directory, print the path of its kubeconfig, and run until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="breakglass-") as directory,
        ControlPlane.start(Path(directory), name="lab") as control_plane,
    ):
        if gateway_api:
            install(control_plane, gateway_api_crds())
        click.echo(control_plane.kubeconfig)
        click.echo("kubectl --kubeconfig with this path talks to it; Ctrl-C ends it", err=True)
        signal.pause()


if __name__ == "__main__":
    main()
