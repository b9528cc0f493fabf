"""A token of the ServiceAccount that a window adds: for whoever asked for the window, and gone with it.

The API server gives no token for less than ten minutes
(https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/). With less than that
left the token's own expiry is of no help: what ends it is that the closing deletes its ServiceAccount. The API server
remembers a token that it accepted for ten seconds, so it is refused within those.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from breakglass.lifecycle.content import read_overlay, read_policy
from breakglass.lifecycle.render import layered, render_baseline, render_delta
from breakglass.lifecycle.windows import Window, all_windows
from breakglass.model.activation import Activation, activation_file, requester_of
from breakglass.model.errors import NotFound, Refused
from breakglass.model.ledger import describe_findings
from breakglass.model.manifest import Change, ObjectKey
from breakglass.model.policy import ClusterSettings, Policy
from breakglass.model.time import format_instant
from breakglass.ports import Cluster, Renderer, Repository, Token

SHORTEST, LONGEST = timedelta(minutes=10), timedelta(hours=1)
"""What a token's lifetime may be: by the API server, and by the admission policy `emergency-tokens`."""
EXEC_API = "client.authentication.k8s.io/v1"
"""https://kubernetes.io/docs/reference/config-api/client-authentication.v1/."""


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount that an open window adds to a cluster, and that its closing deletes.

    Attributes:
        key: the ServiceAccount as the cluster knows it, with the activation's suffix.
        cluster: the cluster's name in the policy.
        settings: what the policy at the tip of main says of the cluster.
        expiry: when the window ends.
    """

    activation: str
    key: ObjectKey
    cluster: str
    settings: ClusterSettings
    expiry: datetime

    def lifetime(self, now: datetime) -> timedelta:
        """What to ask for: no longer than the window, as far as the API server gives so short a token."""
        return max(SHORTEST, min(LONGEST, self.expiry - now))

    def outlived(self, now: datetime) -> bool:
        """Whether a token would itself outlive the window, so that nothing but the closing ends it."""
        return self.lifetime(now) > self.expiry - now


@dataclass(frozen=True, slots=True)
class Credential:
    """A token, and when to stop using it: at its own expiry or the window's, whichever is first."""

    token: Token
    expiry: datetime


def find_account(
    repository: Repository,
    renderer: Renderer,
    branch: str,
    identity: str,
    caller: str,
    now: datetime,
    *,
    cluster: str | None = None,
    name: str | None = None,
) -> Account:
    """Find the ServiceAccount whose token the requester of an activation may have.

    This tells early and clearly; what counts is that the cluster lets nobody but the requester have the token.

    Args:
        branch: the default branch.
        identity: the activation's id.
        caller: login of whoever asks.
        cluster: which cluster; may be left out where the activation names one.
        name: which ServiceAccount, with or without suffix and namespace; may be left out where the overlay adds one.

    Raises:
        NotFound: main never had the activation, or the overlay adds no such ServiceAccount.
        Refused: the window is not open, not on this cluster or not the caller's, or it is not clear which is meant.
    """
    repository.fetch()
    tip = repository.tip(branch)
    window = None if tip is None else next((each for each in all_windows(repository, tip) if each.id == identity), None)
    if tip is None or window is None:
        raise NotFound(
            f"there was never an activation {identity[:80]!r} on {branch}",
            remedy="see `breakglass status --all`; a request opens when its pull request is merged",
        )
    activation, policy, expiry = _open(window, now)
    requester = activation.spec.requestedBy
    if caller.lower() != requester.lower():
        raise Refused(
            f"@{requester} asked for {identity}, and you are @{caller}: its tokens are @{requester}'s alone",
            remedy="open a request of your own",
        )
    chosen, settings = _cluster(activation, cluster, read_policy(repository, tip))
    content = read_overlay(repository, window.opened.sha, activation.spec.overlay)
    baseline = render_baseline(repository, renderer, tip, settings.baseline) if layered(content) else None
    changes = render_delta(renderer, activation, content, baseline, requester_of(activation, policy))
    return Account(identity, _account(changes, activation, name), chosen, settings, expiry)


def _open(window: Window, now: datetime) -> tuple[Activation, Policy, datetime]:
    state = window.state(now)
    if window.activation is not None and window.policy is not None and window.expiry is not None and state == "open":
        return window.activation, window.policy, window.expiry
    why, remedy = {
        "closed": ("is closed", "open a new request"),
        "expired": (f"ended at {format_instant(window.expiry or now)}", "open a new request"),
        "future": (
            f"begins at {format_instant(window.opened.committed_at)}",
            "set the clock right, or wait until then",
        ),
    }.get(state, (f"is void: {'; '.join(describe_findings(window.findings))}", "open a new request"))
    raise Refused(f"{window.id} {why}", where=activation_file(window.id), remedy=remedy)


def _cluster(activation: Activation, wanted: str | None, policy: Policy) -> tuple[str, ClusterSettings]:
    opened = activation.spec.clusters
    known = ", ".join(opened)
    if wanted is None and len(opened) > 1:
        raise Refused(f"{activation.id} is open on {known}", remedy="say which with --cluster")
    chosen = opened[0] if wanted is None else wanted
    if chosen not in opened:
        raise Refused(f"{activation.id} is not open on {chosen[:80]!r}", remedy=f"choose from {known}")
    if chosen not in policy.spec.clusters:
        raise Refused(f"the policy knows no cluster {chosen} any more", remedy=f"choose from {known}")
    return chosen, policy.spec.clusters[chosen]


def _account(changes: Iterable[Change], activation: Activation, wanted: str | None) -> ObjectKey:
    overlay = activation.spec.overlay
    added = [each.key for each in changes if each.effect == "added" and each.key.kind_name == "ServiceAccount"]
    if not added:
        raise Refused(
            f"the overlay {overlay} adds no ServiceAccount, and a token of one that stays would outlive the window",
            remedy="use your own credential: it may do what the overlay grants you",
        )
    chosen = [key for key in added if wanted is None or wanted in _names(key, activation.id)]
    known = ", ".join(f"{key.namespace}/{key.name}" for key in added)
    if not chosen:
        raise NotFound(f"the overlay {overlay} adds no ServiceAccount {wanted!r}", remedy=f"choose from {known}")
    if len(chosen) > 1:
        raise Refused(f"the overlay {overlay} adds {known}", remedy="say which with --service-account NAMESPACE/NAME")
    return chosen[0]


def _names(key: ObjectKey, identity: str) -> tuple[str, ...]:
    """What people may call a ServiceAccount of the overlay."""
    plain = key.name.removesuffix(f"-{identity}")
    return (key.name, plain, f"{key.namespace}/{key.name}", f"{key.namespace}/{plain}")


def mint(cluster: Cluster, account: Account, now: datetime) -> Credential:
    """Ask a cluster for a token, as whoever the caller is there.

    Raises:
        Refused: the ServiceAccount is not there (yet, or any more), or the cluster gives its token to others only.
        Unreachable: the API server does not answer.
    """
    token = cluster.token(account.key, account.lifetime(now))
    return Credential(token, min(token.expiry, account.expiry))


def judge_exec_info(info: str) -> None:
    """Check that who calls the plugin understands its answer.

    Args:
        info: value of KUBERNETES_EXEC_INFO.

    Raises:
        Refused: it asks for another version of the protocol.
    """
    try:
        asked = json.loads(info)
    except ValueError:
        asked = None
    version = asked.get("apiVersion") if isinstance(asked, dict) else None
    if version != EXEC_API:
        raise Refused(
            f"the caller speaks {str(version)[:80]}, and breakglass {EXEC_API}",
            where="KUBERNETES_EXEC_INFO",
            remedy="write the kubeconfig again with `breakglass creds --output kubeconfig`",
        )


def exec_credential(credential: Credential) -> dict[str, Any]:
    """The answer of an exec credential plugin; it holds the token."""
    status = {"expirationTimestamp": format_instant(credential.expiry), "token": credential.token.value}
    return {"apiVersion": EXEC_API, "kind": "ExecCredential", "status": status}


def kubeconfig(
    account: Account, program: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """A kubeconfig without a secret: its user is the command `breakglass creds`, which kubectl calls for the token.

    Args:
        program: path or name of `breakglass`.
        arguments: what to call it with.
        environment: what to set for it, beside kubectl's own environment.

    Raises:
        Refused: the policy does not say where the API server is.
    """
    server, authority = account.settings.server, account.settings.certificateAuthority
    if server is None:
        raise Refused(
            f"the policy does not say where the API server of {account.cluster} is",
            remedy=f"set clusters.{account.cluster}.server in breakglass.yaml",
        )
    name = f"{account.cluster}-{account.activation}"
    cluster: dict[str, Any] = {"server": server}
    if authority is not None:
        cluster["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    command = {
        "apiVersion": EXEC_API,
        "command": program,
        "args": list(arguments),
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "interactiveMode": "Never",
        "installHint": "the token comes from breakglass: install it, or write this kubeconfig again where it is",
    }
    context = {"cluster": name, "user": name, "namespace": account.key.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"exec": command}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
