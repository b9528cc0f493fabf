"""What a cluster needs before anything can be opened in it, from the policy and the overlays that name the cluster."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from breakglass.lifecycle.content import OverlayContent
from breakglass.lifecycle.permissions import RBAC, Granted, Need, Rule, permissions
from breakglass.lifecycle.render import layered, refuse_on, render_delta
from breakglass.model.activation import ACTIVATIONS, new_activation
from breakglass.model.admission import admission_policies
from breakglass.model.digest import overlay_digest
from breakglass.model.document import read
from breakglass.model.errors import NotFound, Refused
from breakglass.model.identity import AGENT
from breakglass.model.inventory import NAMESPACE
from breakglass.model.kustomization import inspect_baseline
from breakglass.model.manifest import Change, Manifest, key_of
from breakglass.model.overlay import CONTRACT_FILE, OVERLAYS, Overlay, judge_overlay, overlay_file
from breakglass.model.policy import Policy
from breakglass.ports import Renderer

KUSTOMIZATION = "kustomization.yaml"
FILES = ("namespace.yaml", "serviceaccount.yaml", "rbac.yaml", "admission.yaml")
"""What `Installation.files` writes, in the order in which a cluster takes it."""

Tree = Callable[[str], Mapping[str, bytes]]
"""Files below a directory of the work tree, by path inside the repository."""
_SAMPLE = "breakglass-sample"
"""Stands for every parameter, and for whoever asks: where it turns up, each activation has another text."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What one cluster needs.

    Attributes:
        parts: file name → its objects, each with a line of why (which may be empty).
        notes: what people should know about it.
    """

    parts: Mapping[str, tuple[tuple[str, Manifest], ...]]
    notes: tuple[str, ...]

    @property
    def objects(self) -> tuple[Manifest, ...]:
        """Every object, in an order in which a cluster takes them."""
        return tuple(manifest for part in self.parts.values() for _, manifest in part)

    def text(self) -> str:
        """All of it as one YAML stream."""
        return "---\n".join(_text(part) for part in self.parts.values())

    def files(self, kustomization: bytes | None) -> dict[str, bytes]:
        """All of it as a kustomize root, by file name.

        Args:
            kustomization: the `kustomization.yaml` that stands there; what it lists beside these files stays.
        """
        files = {name: _text(part).encode() for name, part in self.parts.items()}
        return {**files, KUSTOMIZATION: _kustomization(kustomization, files)}


def installation(
    policy: Policy, cluster: str, tree: Tree, renderer: Renderer, *, cut: bool = False, follow: bool = False
) -> Installation:
    """What a cluster needs: namespace, ServiceAccount, RBAC and admission policies.

    Overlays that can grant something are rendered to see what; what differs between activations is granted by no name.

    Args:
        cut: let pods be evicted where overlays open.
        follow: let the agent apply as well.

    Raises:
        NotFound: the policy knows no such cluster.
        Refused: an overlay does not keep to the policy, cannot be rendered, or binds what only its parameters name.
    """
    if cluster not in policy.spec.clusters:
        known = ", ".join(policy.spec.clusters)
        raise NotFound(f"the policy knows no cluster {cluster[:80]!r}", remedy=f"choose from {known}")
    contents = [content for content in _overlays(tree) if cluster in content.overlay.spec.scope.clusters]
    refuse_on([finding for content in contents for finding in judge_overlay(content.overlay, policy, _name(content))])
    needs = [_need(policy, cluster, content, tree, renderer) for content in contents]
    rbac = permissions(policy, needs, cut=cut, follow=follow)
    parts = (_namespace(), _account(), rbac, admission_policies(policy.spec.kinds))
    return Installation(dict(zip(FILES, parts, strict=True)), tuple(_notes(needs)))


def as_yaml(manifest: Mapping[str, Any]) -> str:
    """A document for people to read: as it is ordered, long lines unbroken, several lines as such."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_readable(manifest), stream)
    return stream.getvalue()


def _namespace() -> tuple[tuple[str, Manifest], ...]:
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return (("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": levels}}),)


def _account() -> tuple[tuple[str, Manifest], ...]:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": AGENT, "namespace": NAMESPACE},
        "automountServiceAccountToken": False,
    }
    return (("The second key: a process in the cluster that shuts what its inventory says has expired.", account),)


def _overlays(tree: Tree) -> list[OverlayContent]:
    """Every overlay of the work tree, ordered by name."""
    files = tree(OVERLAYS)
    names = sorted({path.split("/")[2] for path in files if path.endswith(f"/{CONTRACT_FILE}")})
    return [_overlay(files, name) for name in names if f"{OVERLAYS}/{name}" != ACTIVATIONS]


def _overlay(files: Mapping[str, bytes], name: str) -> OverlayContent:
    root = f"{OVERLAYS}/{name}"
    own = {path: content for path, content in files.items() if path.startswith(f"{root}/")}
    contract = read(own[overlay_file(name)], overlay_file(name), Overlay)
    digest = overlay_digest({path.removeprefix(f"{root}/"): content for path, content in own.items()})
    return OverlayContent(contract, digest, own, root)


def _name(content: OverlayContent) -> str:
    return content.root.rpartition("/")[2]


def _need(policy: Policy, cluster: str, content: OverlayContent, tree: Tree, renderer: Renderer) -> Need:
    kinds, granted = content.overlay.spec.scope.kinds, {}
    if {f"Role.{RBAC}", f"RoleBinding.{RBAC}"} & set(kinds):
        baseline = _baseline(tree, policy.spec.clusters[cluster].baseline, renderer) if layered(content) else None
        granted = _granted(content, _sample_delta(content, cluster, baseline, renderer))
    return Need(content.overlay, layered(content), granted)


def _baseline(tree: Tree, root: str, renderer: Renderer) -> tuple[Manifest, ...]:
    files = tree(root)
    refuse_on(inspect_baseline(files, root))
    return renderer.render(files, root)


def _sample_delta(
    content: OverlayContent, cluster: str, baseline: tuple[Manifest, ...] | None, renderer: Renderer
) -> tuple[Change, ...]:
    """What the overlay changes in an activation whose every own text is the sample's."""
    spec = content.overlay.spec
    activation = new_activation(
        content.overlay,
        digest=content.digest,
        clusters=[cluster],
        parameters={str(name): _SAMPLE for name in spec.parameters.get("properties", {})},
        reason=_SAMPLE,
        incident=_SAMPLE,
        requested_by=_SAMPLE,
        requested_at=datetime(2000, 1, 1, tzinfo=UTC),
        duration=spec.duration.default,
        random="0000",
    )
    return tuple(
        Change(change.key, change.baseline, _marked(change.emergency, activation.id))
        for change in render_delta(renderer, activation, content, baseline, _SAMPLE)
    )


def _marked(value: Any, activation_id: str) -> Any:
    """The value with the sample in the place of the activation's id."""
    if isinstance(value, Mapping):
        return {key: _marked(item, activation_id) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item, activation_id) for item in value]
    return value.replace(activation_id, _SAMPLE) if isinstance(value, str) else value


def _granted(content: OverlayContent, changes: Iterable[Change]) -> dict[str, Granted]:
    """Namespace → what the overlay grants there, while it is open and after it was closed."""
    states = [state for change in changes for state in (change.baseline, change.emergency) if state is not None]
    own = {(key_of(state).namespace, key_of(state).name) for state in states if state["kind"] == "Role"}
    granted = {}
    for namespace in content.overlay.spec.scope.namespaces:
        here = [state for state in states if key_of(state).namespace == namespace]
        rules = tuple(_held(rule) for state in here if state["kind"] == "Role" for rule in state.get("rules") or ())
        bound = frozenset(
            _reference(content, state)
            for state in here
            if state["kind"] == "RoleBinding"
            and (state["roleRef"]["kind"] != "Role" or (namespace, state["roleRef"]["name"]) not in own)
        )
        if rules or bound:
            granted[namespace] = Granted(rules, bound)
    return granted


def _held(rule: Rule) -> Rule:
    """The rule to hold: of every name where the activation's own text is among the names."""
    varies = any(_SAMPLE in name for name in rule.get("resourceNames") or ())
    return {key: value for key, value in rule.items() if not (varies and key == "resourceNames")}


def _reference(content: OverlayContent, binding: Manifest) -> tuple[str, str]:
    kind, name = str(binding["roleRef"]["kind"]), str(binding["roleRef"]["name"])
    if _SAMPLE in name:
        message = f"it binds a {kind} that only an activation names, so the applier would have to bind any"
        raise Refused(message, where=content.root, remedy="name the role in the overlay")
    return f"{kind.lower()}s", name


def _notes(needs: Iterable[Need]) -> Iterator[str]:
    for need in needs:
        name = need.overlay.name
        if need.restores and need.granted:
            yield f"{name} changes grants of the baseline: the agent cannot bring them back, only `apply` can"
        if any(each.rules for each in need.granted.values()):
            yield f"{name} carries Roles, so the applier holds what they allow; it need not hold a ClusterRole it binds"


def _text(part: tuple[tuple[str, Manifest], ...]) -> str:
    return "---\n".join((f"# {why}\n" if why else "") + as_yaml(manifest) for why, manifest in part)


def _kustomization(present: bytes | None, names: Iterable[str]) -> bytes:
    """A kustomization of these files; what one that stands there already says stays as it is written."""
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    head: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": []}
    data = head if present is None else yaml.load(present.decode())
    if not isinstance(data, dict) or not isinstance(data.setdefault("resources", []), list):
        raise Refused("this is no kustomization", where=KUSTOMIZATION, remedy="move it out of the way")
    missing = [name for name in names if name not in data["resources"]]
    if present is not None and not missing:
        return present
    data["resources"].extend(missing)
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue().encode()


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
