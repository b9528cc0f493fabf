"""Rendering: the delta of an activation and the desired state of a cluster, as pure functions of files.

An overlay that only adds is rendered alone: its render is its delta. One that changes or deletes baseline objects
(it has `patches`) is layered on the rendered baseline and compared with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from breakglass.lifecycle.content import OverlayContent
from breakglass.model.activation import Activation
from breakglass.model.errors import Refused
from breakglass.model.finding import Finding
from breakglass.model.kustomization import changes_baseline, inspect_baseline, inspect_overlay
from breakglass.model.manifest import Change, Manifest, ObjectKey, by_key, delta, labelled
from breakglass.model.overlay import Overlay
from breakglass.model.policy import Policy
from breakglass.ports import Renderer, Repository

WRAPPER = "breakglass-render"
"""Directory of the generated kustomization in the scratch tree; no path of a repository can collide with it."""
PARAMETERS = "breakglass-parameters"
"""Name of the local ConfigMap that carries the parameters into `replacements`."""


def render_baseline(repository: Repository, renderer: Renderer, commit: str, root: str) -> tuple[Manifest, ...]:
    """The baseline of a cluster at a commit.

    Args:
        root: the kustomize root named by the policy.

    Raises:
        Refused: the baseline uses what is not allowed, or kustomize refuses it.
    """
    files = repository.files(commit, root)
    if not files:
        raise Refused(
            f"there is no baseline {root} at {commit[:12]}", remedy="correct clusters.*.baseline in the policy"
        )
    refuse_on(inspect_baseline(files, root))
    return renderer.render(files, root)


def render_delta(
    renderer: Renderer,
    activation: Activation,
    content: OverlayContent,
    baseline: tuple[Manifest, ...] | None,
    requester: str = "",
) -> tuple[Change, ...]:
    """What an activation changes.

    Args:
        activation: the request, with its parameters.
        content: its overlay.
        baseline: the rendered baseline; needed only where `layered(content)`.
        requester: the user who asked, as the API servers know them (`requester_of`). Without one, kustomize refuses an
            overlay whose replacements want it.

    Returns:
        The changes ordered by key; added objects carry the activation label.

    Raises:
        Refused: the overlay uses what is not allowed, kustomize refuses it, or nothing would change.
    """
    refuse_on(inspect_overlay(content.files, content.root))
    files = {**content.files, f"{WRAPPER}/parameters.json": _parameters(activation, requester)}
    if layered(content):
        if baseline is None:
            raise ValueError(f"{content.root} is layered: its delta needs the baseline")
        files[f"{WRAPPER}/baseline.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": baseline}).encode()
        files[f"{WRAPPER}/kustomization.yaml"] = _wrapper(content.root, ["baseline.json", "parameters.json"], "")
        changes = delta(renderer.render(_baseline_only(files), f"{WRAPPER}-baseline"), renderer.render(files, WRAPPER))
    else:
        files[f"{WRAPPER}/kustomization.yaml"] = _wrapper(content.root, ["parameters.json"], f"-{activation.id}")
        changes = delta((), renderer.render(files, WRAPPER))
    if not changes:
        raise Refused("the overlay changes nothing", where=content.root, remedy="correct the overlay")
    return tuple(_labelled(change, activation.id) for change in changes)


def layered(content: OverlayContent) -> bool:
    """Whether the overlay changes or deletes baseline objects."""
    return changes_baseline(content.files, content.root)


def judge_scope(changes: Iterable[Change], overlay: Overlay, policy: Policy) -> list[Finding]:
    """Check a delta against the scope that the contract and the policy allow."""
    spec, findings = overlay.spec, []
    for change in changes:
        key = change.key
        if key.kind_name not in spec.scope.kinds or key.kind_name not in policy.spec.kinds:
            message = f"the overlay {overlay.name} {change.effect} a {key.kind_name}, which is outside its scope"
            findings.append(
                Finding("scope-kind", message, str(key), "add the kind to the scope and the policy, or drop it")
            )
        if key.namespace not in spec.scope.namespaces:
            place = f"the namespace {key.namespace}" if key.namespace else "cluster scope"
            message = f"the overlay {overlay.name} {change.effect} an object in {place}, which is outside its scope"
            findings.append(Finding("scope-namespace", message, str(key), "add the namespace to the scope, or drop it"))
    return findings


def desired_state(baseline: Iterable[Manifest], deltas: Iterable[Iterable[Change]]) -> tuple[Manifest, ...]:
    """render(baseline ⊕ overlays): the baseline with every delta applied, ordered by key.

    Deltas that are open together never disagree about an object (`disagreement`), so their order does not matter.
    """
    objects: dict[ObjectKey, Manifest] = by_key(baseline)
    for changes in deltas:
        for change in changes:
            if change.emergency is None:
                objects.pop(change.key, None)
            else:
                objects[change.key] = change.emergency
    return tuple(objects[key] for key in sorted(objects))


def disagreement(changes: Iterable[Change], claims: Mapping[ObjectKey, Manifest | None]) -> ObjectKey | None:
    """The first object that a delta wants in another state than what is open already; None where they commute."""
    for change in changes:
        if change.key in claims and claims[change.key] != change.emergency:
            return change.key
    return None


def refuse_on(findings: list[Finding]) -> None:
    """Raise the findings as one error, if there are any.

    Raises:
        Refused: with the first finding's place and remedy, and every finding's message.
    """
    if findings:
        first = findings[0]
        message = "\n".join(
            f"{finding.where}: {finding.message}" if finding is not first else finding.message for finding in findings
        )
        raise Refused(message, where=first.where, remedy=first.remedy)


def _wrapper(root: str, resources: list[str], suffix: str) -> bytes:
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "components": [f"../{root}"],
    }
    return json.dumps(kustomization | ({"nameSuffix": suffix} if suffix else {})).encode()


def _baseline_only(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The baseline through kustomize once more, so that both sides of the comparison are written by the same hand."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["baseline.json"],
    }
    directory = f"{WRAPPER}-baseline"
    return {
        f"{directory}/baseline.json": files[f"{WRAPPER}/baseline.json"],
        f"{directory}/kustomization.yaml": json.dumps(kustomization).encode(),
    }


def _parameters(activation: Activation, requester: str) -> bytes:
    own = {"activation": activation.id, "requestedBy": activation.spec.requestedBy, "requester": requester}
    # Our own last: no parameter takes their place.
    data = {name: _text(value) for name, value in activation.spec.parameters.items()} | own
    if not requester:
        del data["requester"]
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": PARAMETERS, "annotations": {"config.kubernetes.io/local-config": "true"}},
        "data": data,
    }
    return json.dumps(manifest).encode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _labelled(change: Change, activation_id: str) -> Change:
    if change.effect != "added" or change.emergency is None:
        return change
    return Change(change.key, None, labelled(change.emergency, activation_id))
