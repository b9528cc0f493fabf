"""A cluster that is there already, by its kubeconfig: used in place of a control plane, and left as it was."""

import base64
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from breakglass_lab.controlplane import configuration
from breakglass_lab.controlplane.client import Client, StatusError
from breakglass_lab.controlplane.install import Manifest, discover, install, object_path
from breakglass_lab.controlplane.processes import Group, stop, tail

_KUBECTL = Path(sys.executable).with_name("kubectl")
_PROXY_SECONDS = 20.0
_POLL_SECONDS = 0.03


class ExistingClusterError(Exception):
    """The kubeconfig does not fit, or the cluster already holds what the example platform would bring."""


class ExistingCluster:
    """A cluster behind the current context of a kubeconfig; has what the lab asks of a `ControlPlane`."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        """Read the kubeconfig; `name` names the cluster in what the lab writes.

        Raises ExistingClusterError when it has no server, certificate authority or usable credential: a token or a
        client certificate (programs that give credentials are not run).
        """
        try:
            data = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
            context = _named(data, "contexts", data["current-context"])["context"]
            cluster = _named(data, "clusters", context["cluster"])["cluster"]
            self._user = _named(data, "users", context["user"])["user"]
            self.name, self.kubeconfig, self.server = name, kubeconfig, str(cluster["server"])
            self._base = kubeconfig.parent
            self.certificate_authority = self._pem(cluster, "certificate-authority")
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ExistingClusterError(f"{kubeconfig} cannot be used: {error!r}") from error
        if "token" not in self._user and not any(key.startswith("client-certificate") for key in self._user):
            raise ExistingClusterError(f"{kubeconfig}: the user has neither a token nor a client certificate")
        self._installed: list[Manifest] = []
        self._proxies: list[subprocess.Popen[bytes]] = []
        self._group = Group()

    def _pem(self, holder: Mapping[str, Any], key: str) -> str:
        if f"{key}-data" in holder:
            return base64.b64decode(str(holder[f"{key}-data"])).decode()
        return (self._base / str(holder[key])).read_text(encoding="utf-8")

    def client(self, token: str | None = None) -> Client:
        """A client: the kubeconfig's user, or that of a bearer token."""
        return self._client(token, None)

    def client_as(self, user: str) -> Client:
        """A client that acts as a user, by impersonation: the kubeconfig's user must be allowed to."""
        return self._client(None, user)

    def _client(self, token: str | None, user: str | None) -> Client:
        context = ssl.create_default_context(cadata=self.certificate_authority)
        if token is None and "token" not in self._user:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(self._pem(self._user, "client-certificate") + "\n" + self._pem(self._user, "client-key"))
                file.flush()
                context.load_cert_chain(file.name)
        return Client(self.server, context, token or self._user.get("token"), impersonate=user)

    def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """A fresh token of a ServiceAccount (TokenRequest), valid for `seconds`."""
        with self.client() as client:
            return client.token(namespace, service_account, seconds)

    def kubeconfig_for(self, token: str, path: Path) -> Path:
        """Write a kubeconfig with a bearer token to `path`, readable by its owner only, and return `path`."""
        return self._write(
            path, configuration.kubeconfig(self.name, self.server, self.certificate_authority, {"token": token})
        )

    def kubeconfig_as(self, user: str, path: Path) -> Path:
        """Write a kubeconfig to `path` whose requests act as a user, until `stop`; return `path`.

        They go through a `kubectl proxy` that impersonates: a cluster that is there already signs no certificates for
        us. Raises ExistingClusterError when it does not start.
        """
        log = path.with_suffix(".log")
        command = [str(_KUBECTL), f"--kubeconfig={self.kubeconfig.absolute()}", f"--as={user}", "proxy", "--port=0"]
        process = self._group.start(command, path.parent, log)
        self._proxies.append(process)
        deadline = time.monotonic() + _PROXY_SECONDS
        while (served := re.search(r"serve on (\S+:\d+)", tail(log))) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ExistingClusterError(f"kubectl proxy for {user} does not start:\n{tail(log)}")
            time.sleep(_POLL_SECONDS)
        return self._write(path, configuration.kubeconfig(self.name, f"http://{served.group(1)}", None, {}))

    def _write(self, path: Path, text: str) -> Path:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def install(self, manifests: Iterable[Manifest]) -> None:
        """Install what the cluster does not hold yet.

        CustomResourceDefinitions that are there are used as they are. Raises ExistingClusterError when anything else
        of it is there: the lab never touches what is not its own.
        """
        wanted = list(manifests)
        with self.client() as client:
            resources = discover(client)
            known = [item for item in wanted if (item["apiVersion"], item["kind"]) in resources]
            # What stands in a namespace is as new as the namespace.
            outermost = [item for item in known if not item["metadata"].get("namespace")]
            present = [item for item in outermost if client.exists(object_path(resources, item))]
        taken = [manifest for manifest in present if manifest["kind"] != "CustomResourceDefinition"]
        if taken:
            names = ", ".join(f"{manifest['kind']} {manifest['metadata']['name']}" for manifest in taken[:5])
            raise ExistingClusterError(f"{self.server} already has {names}; use a cluster without them")
        self._installed = [manifest for manifest in wanted if manifest not in present]
        install(self, self._installed)

    def stop(self) -> None:
        """End the kubeconfigs of users, and delete what was installed, the last first; what is gone already is fine."""
        for process in self._proxies:
            stop(process)
        self._group.close()
        with self.client() as client:
            resources = discover(client)
            for manifest in reversed(self._installed):
                if manifest["metadata"].get("namespace"):
                    continue
                try:
                    client.call("DELETE", object_path(resources, manifest))
                except StatusError as error:
                    if error.code != 404:
                        raise
        self._installed = []


def _named(data: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(item for item in data[kind] if item["name"] == name)
    return found
