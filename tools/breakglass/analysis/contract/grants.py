"""Whether an overlay keeps what its contract says of permissions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from breakglass.analysis.access.access import Access, Permission, UnseenRole, newly_granted
from breakglass.analysis.blast_radius import Side
from breakglass.analysis.contract.promise import NARROW, REMOVE, UNTRUE, Judged, names_in_cluster, plain
from breakglass.analysis.field import namespace_of
from breakglass.model.finding import Finding
from breakglass.model.manifest import key_of
from breakglass.model.overlay import Contract, Grant


class ContractGrants:
    """A contract held to what subjects may do more."""

    def __init__(self, contract: Contract, before: Side, after: Side, where: str, activation: str) -> None:
        """Compare the permissions; the arguments are those of `assess`."""
        self._contract = contract
        self._before, self._after = before.access, after.access
        self._where = where
        self._activation = activation
        self._namespaces = frozenset(after.network.objects.namespaces)
        self._accounts = frozenset(
            f"{namespace_of(manifest)}/{key_of(manifest).name}"
            for manifest in after.manifests
            if key_of(manifest).kind_name == "ServiceAccount"
        )

    def judged(self) -> Iterator[Judged]:
        """Every promise."""
        for promise in self._contract.grants:
            findings = self._unknown(promise) or list(self._judge_grant(promise))
            yield Judged("grants", str(promise), tuple(findings))
        for promise in self._contract.keepsDenied:
            findings = self._unknown(promise) or list(self._judge_denied(promise))
            yield Judged("keepsDenied", str(promise), tuple(findings))

    def beyond(self) -> Iterator[Finding]:
        """What is granted and not promised."""
        promised = {_piece(promise) for promise in (*self._contract.grants, *self._contract.keepsDenied)}
        for permission in self.granted():
            piece = (permission.subject, permission.verb, permission.resource, permission.group, permission.namespace)
            if piece not in promised:
                message = f"the overlay also grants: {permission}; beyond the contract"
                yield Finding("contract-granted-beyond", message, self._where, NARROW)
        for role in self.bound():
            message = f"the overlay gives {role}, which no manifest holds: nobody can see what it grants"
            yield Finding("contract-unknown-role", message, self._where, "bind a role of the baseline")

    def granted(self) -> list[Permission]:
        """What subjects may do more."""
        return [
            replace(each, subject=self._plain_subject(each.subject), name=plain(each.name, self._activation))
            for each in newly_granted(self._before, self._after)
        ]

    def revoked(self) -> list[Permission]:
        """What subjects may do no more."""
        return list(newly_granted(self._after, self._before))

    def bound(self) -> list[UnseenRole]:
        """ClusterRoles that no manifest holds, and that subjects have now."""
        return [
            replace(role, subject=self._plain_subject(role.subject))
            for role in sorted(self._after.unseen() - self._before.unseen())
        ]

    def _unknown(self, promise: Grant) -> list[Finding]:
        findings = []
        kind, _, account = promise.subject.partition(":")
        # Every namespace has the ServiceAccount default without asking.
        known = self._accounts | {f"{namespace}/default" for namespace in self._namespaces}
        if kind == "ServiceAccount" and known.isdisjoint(names_in_cluster(account, self._activation)):
            message = f"{promise}: there is no ServiceAccount {account}"
            findings.append(Finding("contract-unknown-subject", message, self._where, "name one that exists"))
        if promise.namespace not in self._namespaces:
            message = f"{promise}: there is no namespace {promise.namespace}"
            findings.append(Finding("contract-unknown-namespace", message, self._where, "name one that exists"))
        return findings

    def _judge_grant(self, promise: Grant) -> Iterator[Finding]:
        if because := self._granting(self._before, promise):
            message = f"{promise} in the baseline already: {'; '.join(because)}"
            yield Finding("contract-grants-nothing", message, self._where, REMOVE)
        elif not self._granting(self._after, promise):
            message = f"{promise}: still denied, no role bound to the subject there says so"
            remedy = "correct the role, the binding or the subject"
            yield Finding("contract-still-denied", message, self._where, remedy)

    def _judge_denied(self, promise: Grant) -> Iterator[Finding]:
        if because := self._granting(self._before, promise):
            message = f"to stay denied, and granted in the baseline: {promise} ({'; '.join(because)})"
            yield Finding("contract-denied-untrue", message, self._where, UNTRUE)
        elif because := self._granting(self._after, promise):
            message = f"to stay denied, and granted by the overlay: {promise} ({'; '.join(because)})"
            yield Finding("contract-denied-broken", message, self._where, "narrow the overlay")

    def _granting(self, access: Access, promise: Grant) -> tuple[str, ...]:
        """What grants the promise; empty where nothing does."""
        subjects = [
            name
            for name in names_in_cluster(promise.subject, self._activation)
            if self._plain_subject(name) == promise.subject
        ]
        decisions = [
            access.may(subject, promise.verb, promise.resource, promise.group, promise.namespace)
            for subject in subjects
        ]
        return tuple(reason for decision in decisions if decision.allowed for reason in decision.because)

    def _plain_subject(self, subject: str) -> str:
        """Users and groups are no objects and never carry the suffix."""
        return plain(subject, self._activation) if subject.startswith("ServiceAccount:") else subject


def _piece(promise: Grant) -> tuple[str, str, str, str, str]:
    return (promise.subject, promise.verb, promise.resource, promise.group, promise.namespace)
