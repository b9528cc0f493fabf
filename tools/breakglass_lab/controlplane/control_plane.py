"""A control plane as a context manager: etcd, kube-apiserver and kube-controller-manager in one directory."""

import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from breakglass_lab.controlplane import configuration
from breakglass_lab.controlplane.binaries import Assets
from breakglass_lab.controlplane.binaries import assets as find_assets
from breakglass_lab.controlplane.certificates import Authority, KeyPair, service_account_key
from breakglass_lab.controlplane.client import Client
from breakglass_lab.controlplane.processes import Group, free_port, stop, tail
from breakglass_lab.controlplane.progress import standard_error

_READY_SECONDS = 120.0
_POLL_SECONDS = 0.03
_PORT_ATTEMPTS = 5


class StartError(Exception):
    """A component did not become ready; the message ends with the last lines of its log."""


class _PortTakenError(StartError):
    """Another process was faster on a port."""


class ControlPlane:
    """A running control plane. Use `start`; leave the context or call `stop` to end it.

    There are no nodes: pods stay Pending. Its processes end with the one that called `start`, even when that is killed.
    """

    def __init__(self, directory: Path, name: str, assets: Assets) -> None:
        self.name = name
        """Name of cluster, user and context in kubeconfigs."""
        self.server = ""
        """URL of the API server, `https://127.0.0.1:PORT`."""
        self.certificate_authority = ""
        """The certificate that signed the server's, PEM."""
        self.kubeconfig = directory / "kubeconfig"
        """A kubeconfig of a member of system:masters, readable by its owner only."""
        self.audit_log = directory / "audit.log"
        """The audit log, one JSON object a line (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/)."""
        self._directory, self._pki, self._assets = directory, directory / "pki", assets
        self._authority = Authority(f"{name} lab")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd_port = 0
        self._group = Group()

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        name: str,
        authentication_configuration: str | None = None,
        assets: Assets | None = None,
        controller_manager: bool = True,
    ) -> Self:
        """Start a control plane in `directory`, created when missing, and return when it is ready.

        `name` names it in kubeconfigs. `authentication_configuration` is the YAML of an AuthenticationConfiguration.
        Without `assets` they are found or built, with progress on standard error. Ready means that /readyz answers and,
        with the controller manager, that the ServiceAccount `default` exists. Raises StartError, BuildError, ValueError
        for a bad configuration, FileExistsError when `directory` holds a control plane already.
        """
        authentication = configuration.authentication(authentication_configuration)
        assets = assets or find_assets(standard_error())
        if controller_manager and assets.kube_controller_manager is None:
            raise StartError(
                "KUBEBUILDER_ASSETS has no kube-controller-manager, which namespaces, workloads and garbage collection "
                "need: put that of the same Kubernetes version there, or unset the variable to use the lab's own build"
            )
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "pki").mkdir(mode=0o700)
        control_plane = cls(directory, name, assets)
        try:
            control_plane._start(authentication, controller_manager)
        except BaseException:
            control_plane._group.close()
            raise
        return control_plane

    def _start(self, authentication: str, controller_manager: bool) -> None:
        self.certificate_authority = self._authority.certificate
        admin = self._authority.client("admin", ("system:masters",))
        self._write_pki(admin, authentication)
        self._on_free_ports(self._start_etcd)
        self._on_free_ports(self._start_first_api_server)
        self._write_kubeconfig(self.kubeconfig, configuration.certificate_user(admin))
        if controller_manager and self._assets.kube_controller_manager is not None:
            self.kubeconfig_as("system:kube-controller-manager", self._pki / "controller-manager.kubeconfig")
            arguments = configuration.kube_controller_manager(self._pki)
            self._run("kube-controller-manager", [*self._assets.kube_controller_manager, *arguments])
            with self.client() as client:
                self._wait("kube-controller-manager", lambda: client.exists(_DEFAULT_SERVICE_ACCOUNT))

    def _write_pki(self, admin: KeyPair, authentication: str) -> None:
        server, tokens = self._authority.server(configuration.ADDRESS), service_account_key()
        contents = {
            "authority.crt": self._authority.certificate,
            "server.crt": server.certificate,
            "server.key": server.key,
            "admin.crt": admin.certificate,
            "admin.key": admin.key,
            "service-account.pub": tokens.certificate,
            "service-account.key": tokens.key,
            "authentication.yaml": authentication,
            "audit-policy.yaml": configuration.audit_policy(),
        }
        for file_name, content in contents.items():
            _write_private(self._pki / file_name, content)

    def _on_free_ports(self, start: Callable[[], None]) -> None:
        for _ in range(_PORT_ATTEMPTS - 1):
            try:
                return start()
            except _PortTakenError:
                continue
        return start()

    def _start_etcd(self) -> None:
        data = self._directory / "etcd"
        shutil.rmtree(data, ignore_errors=True)
        self._etcd_port = free_port()
        arguments = configuration.etcd(self._pki, data, self._etcd_port, free_port())
        self._run("etcd", [*self._assets.etcd, *arguments])
        with Client(f"https://{configuration.ADDRESS}:{self._etcd_port}", self.tls()) as client:
            self._wait("etcd", lambda: client.answers("/health"))

    def _start_first_api_server(self) -> None:
        self.server = f"https://{configuration.ADDRESS}:{free_port()}"
        self.start_api_server()

    def start_api_server(self) -> None:
        """Start the API server again after `stop_api_server`, on its port and data, and wait until it is ready."""
        port = int(self.server.rpartition(":")[2])
        arguments = configuration.kube_apiserver(self._pki, self.audit_log, port, self._etcd_port)
        self._run("kube-apiserver", [*self._assets.kube_apiserver, *arguments])
        with self.client() as client:
            self._wait("kube-apiserver", lambda: client.answers("/readyz"))

    def stop_api_server(self) -> None:
        """Stop the API server and nothing else; etcd keeps the data and the controller manager keeps asking."""
        stop(self._processes.pop("kube-apiserver"))

    def _run(self, component: str, command: list[str]) -> None:
        self._processes[component] = self._group.start(command, self._directory, self._log(component))

    def _log(self, component: str) -> Path:
        return self._directory / f"{component}.log"

    def _wait(self, component: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            code = self._processes[component].poll()
            if code is not None or time.monotonic() > deadline:
                log = tail(self._log(component))
                how = f"was not ready in {_READY_SECONDS:.0f} s" if code is None else f"ended with {code}"
                error = _PortTakenError if code is not None and "address already in use" in log else StartError
                raise error(f"{component} {how}; the end of {self._log(component)}:\n{log}")
            time.sleep(_POLL_SECONDS)

    def tls(self, *, client_certificate: bool = True) -> ssl.SSLContext:
        """TLS settings that trust this control plane only and present the administrator's certificate or none."""
        context = ssl.create_default_context(cadata=self.certificate_authority)
        if client_certificate:
            context.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
        return context

    def tls_as(self, user: str, groups: tuple[str, ...] = ()) -> ssl.SSLContext:
        """TLS settings that trust this control plane only and present a fresh certificate of a user."""
        context = self.tls(client_certificate=False)
        pair = self._authority.client(user, groups)
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile("w", dir=self._pki, suffix=".pem") as file:
            file.write(pair.certificate + pair.key)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def client_as(self, user: str, groups: tuple[str, ...] = ()) -> Client:
        """A client of the API server with a certificate of a user; as a context manager, like `client`."""
        return Client(self.server, self.tls_as(user, groups))

    def client(self, token: str | None = None) -> Client:
        """A client of the API server: the administrator's, or that of a bearer token. Use it as a context manager."""
        return Client(self.server, self.tls(client_certificate=token is None), token)

    def kubeconfig_for(self, token: str, path: Path) -> Path:
        """Write a kubeconfig with a bearer token to `path`, readable by its owner only, and return `path`."""
        return self._write_kubeconfig(path, {"token": token})

    def kubeconfig_as(self, user: str, path: Path, groups: tuple[str, ...] = ()) -> Path:
        """Write a kubeconfig with a client certificate of a user to `path`, readable by its owner only; return `path`.

        The user has what RBAC gives to that name, to the `groups` and to `system:authenticated`.
        """
        return self._write_kubeconfig(path, configuration.certificate_user(self._authority.client(user, groups)))

    def _write_kubeconfig(self, path: Path, user: dict[str, str]) -> Path:
        text = configuration.kubeconfig(self.name, self.server, self.certificate_authority, user)
        return _write_private(path, text)

    def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """A fresh token of a ServiceAccount (TokenRequest), valid for `seconds`; the API server wants 600 at least.

        Raises StatusError when the ServiceAccount is missing or `seconds` is out of range.
        """
        with self.client() as client:
            return client.token(namespace, service_account, seconds)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running components by name."""
        return {component: process.pid for component, process in self._processes.items()}

    def stop(self) -> None:
        """Stop everything; again is no error. The directory stays."""
        # etcd last: the API server does not leave without it.
        for component in ("kube-controller-manager", "kube-apiserver", "etcd"):
            process = self._processes.pop(component, None)
            if process is not None:
                stop(process)
        self._group.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


_DEFAULT_SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def _write_private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    return path
