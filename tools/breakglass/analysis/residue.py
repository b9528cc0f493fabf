"""Residue: what was made in a window by those whom it let in, and is not in git.

Two kinds of evidence. The audit log names who made an object: that is certain. Without it there is only when an object
was made and by which field manager, a name that its maker chooses: that is a question to a person, not an answer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from breakglass.model.audit_event import Actor, AuditEvent
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, key_of
from breakglass.model.resource import plural_of
from breakglass.model.time import format_instant, parse_instant

_RBAC, _NETWORKING = "rbac.authorization.k8s.io", "networking.k8s.io"
KINDS = (
    (_RBAC, "Role"),
    (_RBAC, "RoleBinding"),
    (_RBAC, "ClusterRole"),
    (_RBAC, "ClusterRoleBinding"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    (_NETWORKING, "NetworkPolicy"),
    (_NETWORKING, "Ingress"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("", "Pod"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
)
"""Kinds (group, kind) that keep something open after a window; workloads because pods come of them."""
DEEPEST_OWNERS = 5
"""Owners of owners that are followed: a CronJob's pod has two."""
_DEBUGGED = "ephemeralcontainers"

_Resource = tuple[str, str, str, str]
"""Group, resource, namespace, name."""


@dataclass(frozen=True, slots=True)
class Emergency:
    """Whom a window let in, and when.

    Attributes:
        begin: when it opened, aware UTC.
        end: when nothing of it was accepted any more.
        users: user names of its ServiceAccounts, of who asked, and of users with a grant.
        groups: groups with a grant.
    """

    activation: str
    begin: datetime
    end: datetime
    users: frozenset[str]
    groups: frozenset[str]

    def during(self, time: datetime) -> bool:
        """Whether a time lies in the window."""
        return self.begin <= time <= self.end

    def names(self, actor: Actor) -> str | None:
        """The actor as one of those let in, for people; None where they are none."""
        if actor.name in self.users:
            return actor.name
        member = sorted(self.groups & actor.groups)
        return f"{actor.name} of {', '.join(member)}" if member else None


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of residue.

    Attributes:
        made_at: when it was made, aware UTC.
        certain: an audit log, or the activation's own label, says whose it is.
        evidence: why it is listed, one sentence.
        containers: ephemeral containers that were added to a pod that is itself none; empty for everything else.
        manifest: the object as it was read.
    """

    key: ObjectKey
    uid: str
    made_at: datetime
    certain: bool
    evidence: str
    containers: tuple[str, ...]
    manifest: Manifest


@dataclass(slots=True)
class Trail:
    """What an audit log tells of makers, followed: an account or token that somebody made acts for its maker.

    Attributes:
        tokens: tokens that were minted for others than the window's own accounts, one sentence each.
    """

    emergency: Emergency
    tokens: list[str] = field(default_factory=list)
    _accounts: dict[str, str] = field(default_factory=dict)
    _credentials: dict[str, str] = field(default_factory=dict)
    _creations: dict[_Resource, list[tuple[AuditEvent, str | None]]] = field(default_factory=lambda: defaultdict(list))
    _debugging: dict[tuple[str, str], list[tuple[AuditEvent, str | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def follow(self, event: AuditEvent) -> None:
        """Take the next event, in the order in which they were answered."""
        who = self._who(event)
        if event.created:
            self._creations[event.group, event.resource, event.namespace, event.name].append((event, who))
            if who and (event.group, event.resource) == ("", "serviceaccounts"):
                account = f"system:serviceaccount:{event.namespace}:{event.name}"
                self._accounts[account] = f"{account}, which {who} made"
        elif (event.resource, event.subresource, event.code) == ("pods", _DEBUGGED, 200):
            self._debugging[event.namespace, event.name].append((event, who))
        elif who and (event.resource, event.subresource, event.code) == ("serviceaccounts", "token", 201):
            self._minted(event, who)

    def maker(self, live: Manifest) -> tuple[AuditEvent, str | None] | None:
        """The request that made an object, and who of those let in sent it (None: somebody else); None if unknown."""
        key, made_at = key_of(live), _made_at(live)
        resource = plural_of(key.kind)
        place = (key.group, resource, key.namespace)
        named = [each for each in self._creations.get((*place, key.name), []) if _at(each[0], made_at)]
        if named or not live["metadata"].get("generateName"):
            return named[-1] if named else None
        # The log has no name for what the server named: what came in that second may be it, and the worst counts.
        managers = _managers(live)
        guesses = [each for each in self._creations.get((*place, ""), []) if _at(each[0], made_at)]
        likely = [each for each in guesses if each[0].manager in managers]
        return max(likely, key=lambda each: each[1] is not None, default=None)

    def debuggers(self, pod: ObjectKey) -> list[tuple[AuditEvent, str | None]]:
        """The requests that added ephemeral containers to a pod, and who of those let in sent each."""
        return self._debugging.get((pod.namespace, pod.name), [])

    def _minted(self, event: AuditEvent, who: str) -> None:
        account = f"system:serviceaccount:{event.namespace}:{event.name}"
        if event.issued:
            self._credentials[event.issued] = f"{account} with a token that {who} minted"
        if account not in self.emergency.users:
            at = format_instant(event.received_at)
            self.tokens.append(f"{who} minted a token for {account} at {at}; it lives until its own expiry")

    def _who(self, event: AuditEvent) -> str | None:
        acted = event.impersonated
        found = self._known(event.user, event.received_at)
        if acted is None:
            return found
        other = self._known(acted, event.received_at)
        return f"{found or event.user.name} as {other or acted.name}" if found or other else None

    def _known(self, actor: Actor, at: datetime) -> str | None:
        """What was made in the window acts for its maker afterwards as well; those let in only count inside of it."""
        minted = next(
            (self._credentials[each] for each in sorted(actor.credentials) if each in self._credentials), None
        )
        if actor.name in self._accounts or (minted and actor.name not in self.emergency.users):
            return self._accounts.get(actor.name) or minted
        return self.emergency.names(actor) if self.emergency.during(at) else None


def trail(emergency: Emergency, events: Iterable[AuditEvent]) -> Trail:
    """Follow an audit log, or several, in whatever order they were given."""
    made = Trail(emergency)
    for event in sorted(events, key=lambda event: event.answered_at):
        made.follow(event)
    return made


def residue(
    emergency: Emergency,
    live: Iterable[Manifest],
    kept: Collection[ObjectKey],
    owners: Mapping[str, Manifest],
    told: Trail | None,
) -> tuple[Piece, ...]:
    """Find the residue of a window among live objects.

    Args:
        live: objects of `KINDS`.
        kept: what git and the open windows want.
        owners: uid → object, for every owner of a live object that could be read.
        told: what the audit log tells; None where there is none.

    Returns:
        The pieces, ordered by key.
    """
    every = {key_of(manifest): manifest for manifest in live}
    judge = _Judge(emergency, frozenset(kept), {_uid(manifest) for manifest in every.values()}, owners, told)
    pieces = (judge.piece(key, every[key]) for key in sorted(every))
    return tuple(piece for piece in pieces if piece is not None)


@dataclass(frozen=True, slots=True)
class _Judge:
    emergency: Emergency
    kept: frozenset[ObjectKey]
    listed: Collection[str]
    owners: Mapping[str, Manifest]
    told: Trail | None

    def piece(self, key: ObjectKey, live: Manifest) -> Piece | None:
        found = None if key in self.kept else self._verdict(live)
        if found is not None:
            evidence, certain = found
            return Piece(key, _uid(live), _made_at(live), certain, evidence, (), live)
        return self._debugged(key, live) if key.kind == "Pod" else None

    def _verdict(self, live: Manifest) -> tuple[str, bool] | None:
        """Evidence and whether it is certain; None where the object is no residue."""
        made_at, made = _made_at(live), self.told.maker(live) if self.told is not None else None
        if made is not None and made[1] is not None:
            guessed = ", by the time: the log names it not" if not made[0].name else ""
            return f"made by {made[1]} at {format_instant(made_at)} (audit log{guessed})", True
        if (live["metadata"].get("labels") or {}).get(ACTIVATION_LABEL) == self.emergency.activation:
            return f"carries the label of {self.emergency.activation}, and no inventory names it", True
        if made is not None or not self.emergency.during(made_at) or self._controlled(live):
            return None
        unknown = "; the audit log does not tell by whom" if self.told is not None else ""
        return f"made in the window by manager {_first_manager(live)} at {format_instant(made_at)}{unknown}", False

    def _controlled(self, live: Manifest) -> bool:
        """Whether a controller made it for an owner that is judged itself, is in git, or was there before."""
        for _ in range(DEEPEST_OWNERS):
            reference = controller_of(live)
            owner = self.owners.get(str(reference["uid"])) if reference is not None else None
            if owner is None:
                return False
            if _made_at(owner) < self.emergency.begin or _uid(owner) in self.listed or key_of(owner) in self.kept:
                return True
            live = owner
        return False

    def _debugged(self, key: ObjectKey, pod: Manifest) -> Piece | None:
        added = _containers_added(pod, self.emergency)
        asked = self.told.debuggers(key) if self.told is not None else []
        guilty = [(event, who) for event, who in asked if who is not None]
        if not added or (asked and not guilty):
            return None
        at, sentence = max(added.values()), "an ephemeral container was added in the window"
        if guilty:
            at, sentence = guilty[-1][0].received_at, f"an ephemeral container was added by {guilty[-1][1]}"
        source = " (audit log)" if guilty else ""
        return Piece(key, _uid(pod), at, bool(guilty), f"{sentence} at {format_instant(at)}{source}", tuple(added), pod)


def controller_of(live: Manifest) -> Mapping[str, Any] | None:
    """The owner reference of the controller that an object belongs to; None where it belongs to none."""
    references = live["metadata"].get("ownerReferences") or []
    return next((each for each in references if each.get("controller") and each.get("uid")), None)


def _containers_added(pod: Manifest, emergency: Emergency) -> dict[str, datetime]:
    """Ephemeral containers by name, with the time of the field manager's last write that holds them, in the window."""
    present = [str(each.get("name")) for each in (pod.get("spec") or {}).get("ephemeralContainers") or []]
    added: dict[str, datetime] = {}
    for entry in pod["metadata"].get("managedFields") or []:
        at = _instant(entry.get("time"))
        fields = (entry.get("fieldsV1") or {}).get("f:spec", {}).get("f:ephemeralContainers", {})
        if at is None or not emergency.during(at) or entry.get("subresource") != _DEBUGGED:
            continue
        names = [json.loads(name[2:]).get("name") for name in fields if name.startswith("k:")]
        added |= {name: at for name in present if name in names}
    return added


def _at(event: AuditEvent, made_at: datetime) -> bool:
    return event.received_at <= made_at <= event.answered_at


def _managers(live: Manifest) -> set[str]:
    return {str(entry.get("manager")) for entry in live["metadata"].get("managedFields") or []}


def _first_manager(live: Manifest) -> str:
    entries = live["metadata"].get("managedFields") or []
    timed = [(str(entry.get("time")), str(entry.get("manager"))) for entry in entries if not entry.get("subresource")]
    return min(timed, default=("", "unknown"))[1]


def _made_at(live: Manifest) -> datetime:
    return parse_instant(str(live["metadata"]["creationTimestamp"]))


def _instant(value: object) -> datetime | None:
    try:
        return parse_instant(str(value))
    except ValueError:
        return None


def _uid(live: Manifest) -> str:
    return str(live["metadata"]["uid"])
