"""How a cluster is reached: a kubeconfig, the OIDC token of a GitHub Actions job, or the ServiceAccount of a pod."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.loopback import is_loopback
from breakglass.adapters.retry import Passing, retried
from breakglass.model.errors import Refused

if TYPE_CHECKING:
    from kubernetes.client import Configuration

    from breakglass.model.policy import ClusterSettings
    from breakglass.ports import Clock

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and certificate authority
(https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/)."""

_REQUEST_URL, _REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_PATIENCE = timedelta(seconds=20)
_TIMEOUT_SECONDS = 10.0
_LARGEST_TOKEN = 64 * 1024
_loading = Lock()
_TOKEN, _HEADER = re.compile(r"[!-~]+"), re.compile(r"[ -~]+")
_REMEDY = (
    "give --kubeconfig, or set KUBECONFIG; in GitHub Actions give the job `id-token: write` and the "
    "cluster `server` and `audience` in breakglass.yaml"
)


@dataclass(frozen=True, slots=True)
class Access:
    """All that is needed to speak to one API server. Secrets stay out of its repr.

    Attributes:
        origin: where this was found, for error messages.
        server: `https://…`, without a slash at the end; plain http on loopback, where `kubectl proxy` adds its own
            credential.
        certificate_authority: PEM; None for the authorities the system trusts.
        authorization: value of the header `Authorization`; None where a client certificate is the credential.
        renew: gives a fresh `authorization` after the API server refused this one; None where there is none.
        client_certificate: PEM.
        client_key: PEM.
        server_name: name to verify in the server's certificate instead of the host's.
        proxy: address of an HTTP proxy.
    """

    origin: str
    server: str
    certificate_authority: str | None = None
    authorization: str | None = field(default=None, repr=False)
    renew: Callable[[], str] | None = field(default=None, repr=False)
    client_certificate: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        address = _address(self.server)
        if address.scheme == "http" and is_loopback(address.hostname):
            return
        if address.scheme != "https" or not address.hostname:
            raise Refused(f"the API server's address {self.server!r} is not https", where=self.origin, remedy=_REMEDY)
        if self.certificate_authority is not None and not self.certificate_authority.strip():
            # The ssl module would trust the system's authorities instead.
            raise Refused("the certificate authority is empty", where=self.origin, remedy="give it as PEM")
        if not self.authorization and not (self.client_certificate and self.client_key):
            raise Refused("there is no credential for the API server", where=self.origin, remedy=_REMEDY)


def access_to(
    name: str,
    settings: ClusterSettings | None,
    kubeconfig: Path | None = None,
    *,
    context: str | None = None,
    environment: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Access:
    """Find how to reach a cluster: a kubeconfig that was given, then GitHub Actions, then the pod, then ~/.kube/config.

    Args:
        name: the cluster's name in the policy; empty for whichever cluster the credentials lead to.
        settings: the policy's word on the cluster; None where there is no policy (the agent).
        kubeconfig: file given by the caller; KUBECONFIG (paths separated by `:`) where None.
        context: context of the kubeconfig; by default the one named like the cluster. The current context is taken
            only where it cannot be another cluster by accident: its server is the policy's, the file was given by the
            caller, or any cluster is meant.
        environment: environment variables; the process's where None.
        clock: bounds the wait for GitHub's token; the machine's where None.
        service_account: directory of the pod's credentials.

    Raises:
        Refused: nothing fits, or what fits cannot be read.
        Unreachable: GitHub gave no token in time.
    """
    environment = os.environ if environment is None else environment
    files = str(kubeconfig) if kubeconfig is not None else environment.get("KUBECONFIG", "")
    if files:
        return _from_kubeconfig(files, name, settings, context, any_current=kubeconfig is not None or not name)
    in_actions = bool(environment.get(_REQUEST_URL) and environment.get(_REQUEST_TOKEN))
    if in_actions and context is None and settings is not None and settings.server and settings.audience:
        return _from_github_actions(settings.server, settings.audience, settings, clock or SystemClock(), environment)
    if context is None and "KUBERNETES_SERVICE_HOST" in environment and (service_account / "token").exists():
        return _from_pod(environment, service_account)
    default = Path(environment.get("HOME", "/nonexistent")) / ".kube" / "config"
    if default.exists():
        return _from_kubeconfig(str(default), name, settings, context, any_current=not name)
    raise Refused("nothing says how to reach the cluster", where=name or None, remedy=_REMEDY)


def _from_kubeconfig(
    files: str, name: str, settings: ClusterSettings | None, context: str | None, any_current: bool
) -> Access:
    chosen = context or _context(files, name, settings, any_current)
    origin = f"context {chosen} of {files}"
    with _loaded(files, chosen) as configuration:
        if not configuration.verify_ssl:
            raise Refused(
                "insecure-skip-tls-verify is set; an API server that is not verified gets no credential",
                where=origin,
                remedy="set certificate-authority-data instead",
            )
        return Access(
            origin,
            str(configuration.host),
            certificate_authority=_text(configuration.ssl_ca_cert),
            authorization=_authorization(configuration, origin),
            renew=lambda: _renewed(files, chosen),
            client_certificate=_text(configuration.cert_file),
            client_key=_text(configuration.key_file),
            server_name=configuration.tls_server_name,
            proxy=_proxy(configuration.host, configuration.proxy),
        )


def _context(files: str, name: str, settings: ClusterSettings | None, any_current: bool) -> str:
    """The context named like the cluster, else the current one where it surely is this cluster."""
    names, current = _contexts(files)
    if name in names:
        return name
    if current in names and (any_current or _is_server_of(files, current, settings)):
        return current
    raise Refused(
        f"the kubeconfig has no context {name}, and its current context {current!r} may be another cluster",
        where=files,
        remedy=f"give it with --kubeconfig, or rename the context to {name}",
    )


def _contexts(files: str) -> tuple[list[str], str]:
    """Names of all contexts, and of the current one (empty where there is none)."""
    import yaml
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigMerger

    try:
        kubeconfig = KubeConfigMerger(files).config  # type: ignore[no-untyped-call]
        if kubeconfig is None:
            raise Refused("there is no such kubeconfig", where=files, remedy=_REMEDY)
        contexts = [str(context["name"]) for context in kubeconfig["contexts"]]
        return contexts, str(kubeconfig.safe_get("current-context") or "")
    except (ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(files, error) from None


def _is_server_of(files: str, context: str, settings: ClusterSettings | None) -> bool:
    if settings is None or settings.server is None:
        return False
    with _loaded(files, context) as configuration:
        return str(configuration.host) == settings.server.rstrip("/")


@contextmanager
def _loaded(files: str, context: str) -> Iterator[Configuration]:
    """A kubeconfig as the Kubernetes package reads it; files it makes (keys among them) are gone with the context.

    It keeps those files in a table of the whole process, so threads read one after the other and leave nothing in it.
    """
    from kubernetes.config.kube_config import _cleanup_temp_files

    with _loading, tempfile.TemporaryDirectory(prefix="breakglass-") as scratch:
        try:
            yield _load(files, context, scratch)
        finally:
            _cleanup_temp_files()  # type: ignore[no-untyped-call]


def _load(files: str, context: str, scratch: str) -> Configuration:
    import yaml
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    configuration = Configuration()
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            files, context, configuration, persist_config=False, temp_file_path=scratch
        )
    except (ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(files, error) from None
    return configuration


def _unreadable(files: str, error: Exception) -> Refused:
    return Refused(f"the kubeconfig cannot be read: {error}", where=files, remedy="correct it, or give --kubeconfig")


def _authorization(configuration: Configuration, origin: str) -> str | None:
    value = str(configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or "").strip()
    if value and not _HEADER.fullmatch(value):
        raise Refused("the token holds characters that no token has", where=origin, remedy="renew the token")
    return value or None


def _renewed(files: str, context: str) -> str:
    with _loaded(files, context) as configuration:
        return _authorization(configuration, files) or ""


def _text(path: str | None) -> str | None:
    return Path(path).read_text(encoding="ascii", errors="replace") if path else None


def _from_github_actions(
    server: str, audience: str, settings: ClusterSettings, clock: Clock, environment: Mapping[str, str]
) -> Access:
    """https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token."""
    address, secret = environment[_REQUEST_URL], environment[_REQUEST_TOKEN]
    url = f"{address}{'&' if '?' in address else '?'}audience={quote(audience, safe='')}"

    def bearer() -> str:
        where = "the job's OIDC token"
        return f"Bearer {retried(lambda: _job_token(url, secret, where), clock, clock.now() + _PATIENCE, where)}"

    return Access(
        f"OIDC token of the job for {audience}",
        server.rstrip("/"),
        certificate_authority=settings.certificateAuthority,
        authorization=bearer(),
        renew=bearer,
        proxy=_proxy(server, getproxies().get("https")),
    )


def _job_token(url: str, secret: str, where: str) -> str:
    import urllib3

    remedy = "give the job `permissions: id-token: write`"
    proxy = _proxy(url, getproxies().get(urlsplit(url).scheme))
    pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    try:
        with pool.request(
            "GET",
            url,
            headers={"Authorization": f"Bearer {secret}", "Accept": "application/json"},
            timeout=_TIMEOUT_SECONDS,
            retries=False,
            preload_content=False,
        ) as answer:
            status, body = answer.status, answer.read(_LARGEST_TOKEN)
    except urllib3.exceptions.HTTPError as error:
        raise Passing(f"GitHub gave no OIDC token: {type(error).__name__}") from None
    finally:
        pool.clear()
    if status == 429 or status >= 500:
        raise Passing(f"GitHub gave no OIDC token: status {status}", answered=True)
    if status != 200:
        raise Refused(f"GitHub refused an OIDC token: status {status}", where=where, remedy=remedy)
    try:
        token = json.loads(body)["value"]
    except (ValueError, KeyError, TypeError):
        raise Passing("GitHub's answer holds no OIDC token", answered=True) from None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Refused("GitHub's answer holds no OIDC token", where=where, remedy=remedy)
    return token


def _from_pod(environment: Mapping[str, str], service_account: Path) -> Access:
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")

    def read(name: str) -> str:
        try:
            return (service_account / name).read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise Refused(
                f"the pod's credentials cannot be read: {error.strerror}", where=str(error.filename), remedy=_REMEDY
            ) from None

    def bearer() -> str:
        # The kubelet replaces the token before it expires.
        token = read("token").strip()
        return f"Bearer {token}" if _TOKEN.fullmatch(token) else ""

    return Access(
        f"ServiceAccount of the pod ({service_account})",
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        certificate_authority=read("ca.crt"),
        authorization=bearer() or None,
        renew=bearer,
    )


def _address(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _proxy(url: str, candidate: str | None) -> str | None:
    """The proxy for an address: none for loopback and for what NO_PROXY names."""
    host = _address(url).hostname or ""
    return None if not candidate or is_loopback(host) or proxy_bypass(host) else candidate
