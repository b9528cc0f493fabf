"""What the components are told: command lines and configuration files, as pure functions of paths and ports."""

import base64
from pathlib import Path
from typing import Any

import yaml

from breakglass_lab.controlplane.certificates import KeyPair

ADDRESS = "127.0.0.1"
"""Everything listens here and nowhere else."""

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""`iss` and default audience of service account tokens."""

_OPEN_PATHS = ("/livez", "/readyz", "/healthz")
_WITHOUT_NODES = (
    "device-taint-eviction-controller",
    "horizontal-pod-autoscaler-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "taint-eviction-controller",
    "ttl-controller",
)


def etcd(pki: Path, data: Path, client_port: int, peer_port: int) -> list[str]:
    """Arguments of a single etcd that never waits for the disk: its data need not survive the machine.

    TLS tells this etcd from another one that may have taken the port first.
    """
    client, peer = f"https://{ADDRESS}:{client_port}", f"http://{ADDRESS}:{peer_port}"
    return [
        f"--data-dir={data}",
        "--name=lab",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}",
        f"--cert-file={pki / 'server.crt'}",
        f"--key-file={pki / 'server.key'}",
        f"--trusted-ca-file={pki / 'authority.crt'}",
        "--client-cert-auth",
        "--unsafe-no-fsync",
        # A member alone need not wait a second for others before it leads.
        "--heartbeat-interval=20",
        "--election-timeout=200",
        "--log-level=warn",
    ]


def kube_apiserver(pki: Path, audit_log: Path, port: int, etcd_port: int) -> list[str]:
    """Arguments of an API server with RBAC, audit and the files the control plane puts into `pki`."""
    return [
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={port}",
        f"--etcd-servers=https://{ADDRESS}:{etcd_port}",
        f"--etcd-cafile={pki / 'authority.crt'}",
        f"--etcd-certfile={pki / 'admin.crt'}",
        f"--etcd-keyfile={pki / 'admin.key'}",
        # A loopback address is refused as an endpoint of the Service `kubernetes`.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--profiling=false",
        # By default a stopping API server waits a minute for clients to end their watches.
        "--shutdown-watch-termination-grace-period=1s",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki / 'server.crt'}",
        f"--tls-private-key-file={pki / 'server.key'}",
        f"--client-ca-file={pki / 'authority.crt'}",
        f"--authentication-config={pki / 'authentication.yaml'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        f"--audit-policy-file={pki / 'audit-policy.yaml'}",
        f"--audit-log-path={audit_log}",
    ]


def kube_controller_manager(pki: Path) -> list[str]:
    """Arguments of a controller manager that serves nothing and leaves out what needs nodes or a cloud."""
    return [
        f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'authority.crt'}",
        "--controllers=*," + ",".join(f"-{controller}" for controller in _WITHOUT_NODES),
        "--profiling=false",
        # The defaults (20 and 30 a second) make the deletion of a namespace wait for its turn.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def authentication(configuration: str | None) -> str:
    """An AuthenticationConfiguration: the given one, or one without JWT issuers; anonymous only where health is asked.

    A given one that sets `anonymous` itself keeps that. Raises ValueError when it is no AuthenticationConfiguration.
    See https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration.
    """
    document: Any = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": []}
    if configuration is not None:
        try:
            document = yaml.safe_load(configuration)
        except yaml.YAMLError as error:
            raise ValueError(f"the authentication configuration is not YAML: {error}") from error
    if not isinstance(document, dict) or document.get("kind") != "AuthenticationConfiguration":
        raise ValueError("the authentication configuration is not an AuthenticationConfiguration")
    anonymous = {"enabled": True, "conditions": [{"path": path} for path in _OPEN_PATHS]}
    return yaml.safe_dump({"anonymous": anonymous, **document}, sort_keys=False)


def audit_policy() -> str:
    """An audit policy that records who changed what: metadata of every write, exec, attach and port-forward.

    The components' own leases and events are left out: they change all the time and open nothing. See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
    """
    noise = [
        {"group": "coordination.k8s.io", "resources": ["leases"]},
        {"group": "", "resources": ["events"]},
        {"group": "events.k8s.io", "resources": ["events"]},
    ]
    streams = {"group": "", "resources": ["pods/exec", "pods/attach", "pods/portforward"]}
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "resources": noise, "users": ["system:apiserver", "system:kube-controller-manager"]},
            {"level": "Metadata", "resources": [streams]},
            {"level": "Metadata", "verbs": writes},
            {"level": "None"},
        ],
    }
    return yaml.safe_dump(policy, sort_keys=False)


def kubeconfig(name: str, server: str, authority: str | None, user: dict[str, str]) -> str:
    """A kubeconfig with one cluster, user and context, all called `name`; `authority` is PEM, None for plain HTTP."""
    cluster = {"server": server}
    if authority is not None:
        cluster["certificate-authority-data"] = _base64(authority)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False)


def certificate_user(pair: KeyPair) -> dict[str, str]:
    """The `user` of a kubeconfig that authenticates with a client certificate."""
    return {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
