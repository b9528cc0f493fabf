"""The one place where ports meet adapters; SDKs are imported only when a verb needs them."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from breakglass.model.errors import NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from breakglass.adapters.monitoring import PrometheusMonitor
    from breakglass.lifecycle.approval import Gate
    from breakglass.lifecycle.main import Main
    from breakglass.lifecycle.run import Applier
    from breakglass.model.policy import ClusterSettings, Policy
    from breakglass.ports import (
        Clock,
        Cluster,
        Conditions,
        Forge,
        IssueComment,
        Manifests,
        Renderer,
        Report,
        Repository,
    )

_AGENT_PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True)
class Wiring:
    """What a verb works with, made when it is first asked for.

    Attributes:
        directory: a directory inside the clone.
        kubeconfig: kubeconfig file given by the caller; None looks for the other ways in.
        closing: the verb closes: a policy that cannot be read must not keep it from that, so the last readable one
            of the history counts for where things are. What may open is judged by every commit's own policy.
        token_file: file that holds the forge's token; None looks for the other ways to it.
    """

    directory: Path
    kubeconfig: Path | None = None
    closing: bool = False
    token_file: Path | None = None

    @cached_property
    def root(self) -> Path:
        """The clone's top directory: the nearest one upwards that holds the policy.

        Raises:
            NotFound: there is none.
        """
        from breakglass.model.policy import POLICY_FILE

        start = self.directory.resolve()
        for candidate in (start, *start.parents):
            if (candidate / POLICY_FILE).is_file() or (self.closing and (candidate / ".git").exists()):
                return candidate
        raise NotFound(
            f"there is no {POLICY_FILE} in {start} or above", remedy="go to the clone, or run `breakglass init`"
        )

    @cached_property
    def policy(self) -> Policy:
        """The policy of the work tree; what counts is read from main again by every use case."""
        from breakglass.model.document import read
        from breakglass.model.policy import POLICY_FILE, Policy

        file = self.root / POLICY_FILE
        try:
            if file.is_symlink():
                raise Refused("a symlink is not allowed here", where=POLICY_FILE, remedy="replace it with a plain file")
            return read(file.read_bytes(), POLICY_FILE, Policy)
        except (OSError, Refused):
            found = self._last_policy() if self.closing else None
            if found is None:
                raise
            return found

    def _last_policy(self) -> Policy | None:
        from breakglass.lifecycle.content import read_policy
        from breakglass.model.policy import POLICY_FILE

        for entry in self.repository.history(self.repository.resolve("HEAD"), POLICY_FILE):
            try:
                return read_policy(self.repository, entry.commit.sha)
            except Refused:
                continue
        return None

    @property
    def branch(self) -> str:
        """The default branch."""
        return self.policy.spec.forge.defaultBranch

    @property
    def ledger_branch(self) -> str:
        """The ledger branch."""
        return self.policy.spec.forge.ledgerBranch

    @cached_property
    def token(self) -> str | None:
        """The forge's token: from the file given, else `GITHUB_TOKEN` or `GH_TOKEN`, else the command `gh`, or None.

        Raises:
            Refused: the file that was given cannot be read.
        """
        if self.token_file is not None:
            try:
                return self.token_file.read_text(encoding="utf-8").strip() or None
            except (OSError, UnicodeDecodeError) as error:
                where, remedy = str(self.token_file), "see that whoever mints the token writes it there"
                raise Refused(f"the token cannot be read: {error}", where=where, remedy=remedy) from None
        for name in ("GITHUB_TOKEN", "GH_TOKEN"):
            if os.environ.get(name):
                return os.environ[name]
        try:
            asked = subprocess.run(["gh", "auth", "token"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607
        except (OSError, subprocess.TimeoutExpired):
            return None
        return asked.stdout.strip() or None

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock."""
        from breakglass.adapters.clock import SystemClock

        return SystemClock()

    @cached_property
    def holder(self) -> str:
        """Who this process is, in a Lease: the machine (the pod), and something that no other process has."""
        return f"{socket.gethostname()}-{random_id()}"

    @cached_property
    def monitor(self) -> PrometheusMonitor:
        """What the agent tells those who watch it."""
        from breakglass.adapters.monitoring import PrometheusMonitor

        return PrometheusMonitor(self.clock)

    @cached_property
    def templates(self) -> Mapping[str, bytes]:
        """The files of this version that `init` writes into another repository, by path."""
        from breakglass.adapters.templates import read_templates
        from breakglass.lifecycle.init import TEMPLATES

        return read_templates(TEMPLATES)

    @cached_property
    def repository(self) -> Repository:
        """The clone."""
        from breakglass.adapters.git import GitRepository

        return GitRepository(self.root, token=self.token)

    @cached_property
    def renderer(self) -> Renderer:
        """kustomize."""
        from breakglass.adapters.kustomize import KustomizeRenderer

        return KustomizeRenderer()

    @cached_property
    def conditions(self) -> Conditions:
        """Conditions of the policy, in CEL."""
        from breakglass.adapters.cel import CelConditions

        return CelConditions()

    @cached_property
    def manifests(self) -> Manifests:
        """Files of manifests, and standard input; no policy is read."""
        from breakglass.adapters.manifests import ManifestReader

        return ManifestReader(lambda: self.renderer)

    @cached_property
    def forge(self) -> Forge:
        """The forge.

        Raises:
            Refused: there is no token.
        """
        from breakglass.adapters.github import GitHubForge

        if self.token is None:
            raise Refused("there is no token for the forge", remedy="set GITHUB_TOKEN, or log in with `gh auth login`")
        settings = self.policy.spec.forge
        return GitHubForge(
            repository=settings.repository,
            api=settings.api,
            token=self.token,
            default_branch=settings.defaultBranch,
            clock=self.clock,
        )

    def issue_comment(self, file: Path) -> IssueComment:
        """The comment that started a workflow, from the file of its event.

        Raises:
            Refused: the file holds no such event of this repository.
        """
        from breakglass.adapters.github_event import read_issue_comment

        return read_issue_comment(file, self.policy.spec.forge.repository)

    @cached_property
    def own_cluster(self) -> Cluster:
        """The cluster that this process runs in, or that the kubeconfig given names; no policy is read.

        It waits shorter than `cluster` for what may pass: the agent has other windows, and comes again.

        Raises:
            Refused: there is no way in.
        """
        from breakglass.adapters.credentials import access_to
        from breakglass.adapters.kubernetes import KubernetesCluster

        access = access_to("", None, self.kubeconfig)
        return KubernetesCluster("this cluster", access, self.clock, patience=_AGENT_PATIENCE, deletion=_AGENT_PATIENCE)

    def cluster(self, name: str) -> Cluster:
        """One cluster of the policy.

        Raises:
            NotFound: the policy knows no such cluster.
            Refused: there is no way in.
        """
        from breakglass.adapters.credentials import access_to
        from breakglass.adapters.kubernetes import KubernetesCluster

        return KubernetesCluster(name, access_to(name, self.settings(name), self.kubeconfig), self.clock)

    @cached_property
    def main(self) -> Main:
        """The default branch and the ledger, for one run over however many clusters."""
        from breakglass.lifecycle.main import Main

        return Main(
            self.repository, lambda: self.forge, self.renderer, self.conditions, self.branch, self.ledger_branch
        )

    @cached_property
    def gate(self) -> Gate:
        """What verdicts on pull requests are made with.

        Raises:
            Refused: there is no token for the forge.
        """
        from breakglass.lifecycle.approval import Gate

        return Gate(self.repository, self.forge, self.conditions, self.ledger_branch)

    def applier(self, name: str, report: Report, *, cut: bool = False) -> Applier:
        """The applier of one cluster of the policy; all of one wiring share what they read of main.

        Raises:
            NotFound: the policy knows no such cluster.
            Refused: there is no way in.
        """
        from breakglass.lifecycle.run import Applier

        return Applier(name, self.cluster(name), self.main, self.clock, self.holder, report, cut)

    def settings(self, name: str) -> ClusterSettings:
        """What the policy says of a cluster.

        Raises:
            NotFound: it knows no such cluster.
        """
        clusters = self.policy.spec.clusters
        if name not in clusters:
            raise NotFound(f"the policy knows no cluster {name[:80]!r}", remedy=f"choose from {', '.join(clusters)}")
        return clusters[name]


def random_id() -> str:
    """Four hexadecimal digits that nobody can guess."""
    return secrets.token_hex(2)
