"""What `init` writes into a GitOps repository: this project's own files, fitted to that repository's policy."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from breakglass.lifecycle.automation import AUTOMATION, PINS, SOURCE, automation
from breakglass.lifecycle.ownership import IN_CLUSTER, guard
from breakglass.model.activation import ACTIVATIONS
from breakglass.model.codeowners import LOCATIONS
from breakglass.model.document import load, read
from breakglass.model.errors import Refused
from breakglass.model.inventory import NAMESPACE
from breakglass.model.overlay import OVERLAYS
from breakglass.model.policy import API_VERSION, POLICY_FILE, Policy

_BASE = "base/breakglass"
_KUSTOMIZATION, _RBAC = f"{_BASE}/kustomization.yaml", f"{_BASE}/rbac.yaml"
_IN_CLUSTER = (_KUSTOMIZATION, f"{_BASE}/namespace.yaml", _RBAC, f"{_BASE}/serviceaccount.yaml")
_READMES = (f"{OVERLAYS}/README.md", f"{ACTIVATIONS}/README.md")
_SCHEMAS = tuple(f"docs/schemas/{name}.json" for name in ("activation", "overlay", "policy"))
_PRODUCT_PINS = "requirements/product.txt"

TEMPLATES = (*AUTOMATION, *_IN_CLUSTER, *_READMES, *_SCHEMAS, _PRODUCT_PINS)
"""Files of this project that `init` writes, as they are or fitted to the policy."""
CANDIDATES = (
    *AUTOMATION, *_READMES, *_SCHEMAS, *LOCATIONS, POLICY_FILE, PINS, SOURCE,
    *(path.replace(_BASE, IN_CLUSTER) for path in _IN_CLUSTER),
)  # fmt: skip
"""Every path that `init` reads or writes in a repository."""

SCHEMA_COMMENT = "# yaml-language-server: $schema=docs/schemas/policy.json\n"
_COMMENTS = {
    "bot": "The GitHub App that merges closing pull requests. Its approvals count for nothing.",
    "duration": "An overlay may ask for less, never for more.",
    "requestTimeToLive": "A request not on main two hours after it was made opens nothing any more.",
    "kinds": "What an overlay may contain. No workloads, no Secrets, nothing that belongs to the whole cluster.",
}
_KINDS = [
    "NetworkPolicy.networking.k8s.io",
    "Ingress.networking.k8s.io",
    "HTTPRoute.gateway.networking.k8s.io",
    "ServiceAccount",
    "Role.rbac.authorization.k8s.io",
    "RoleBinding.rbac.authorization.k8s.io",
]


@dataclass(frozen=True, slots=True)
class AskedCluster:
    """A cluster: its name, the kustomize root it normally runs, the address of its API server if that is known."""

    name: str
    baseline: str
    server: str | None
    drill: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done in a repository.

    Attributes:
        files: path → content to write.
        unchanged: paths that are as they should be.
        policy: the policy they are fitted to.
        pinned: whether the workflows' install is pinned by hash; where it is not, pip refuses it.
    """

    files: Mapping[str, bytes]
    unchanged: tuple[str, ...]
    policy: Policy
    pinned: bool


def write_policy(
    repository: str, branch: str, bot: str, clusters: Iterable[AskedCluster], approvers: Iterable[str]
) -> bytes:
    """The bytes of a new policy, with what the example platform found sensible where nothing was asked.

    Raises:
        InvalidFile: a value is not acceptable.
    """
    spec = CommentedMap(
        forge={"repository": repository, "defaultBranch": branch},
        bot={"login": bot},
        clusters={cluster.name: _cluster(cluster) for cluster in clusters},
        duration={"default": "30m", "maximum": "4h"},
        requestTimeToLive="2h",
        approvals={"minimum": 2, "approvers": list(approvers)},
        kinds=_KINDS,
    )
    for key, comment in _COMMENTS.items():
        spec.yaml_set_comment_before_after_key(key, before=comment, indent=2)
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump({"apiVersion": API_VERSION, "kind": "Policy", "spec": spec}, stream)
    content = (SCHEMA_COMMENT + stream.getvalue()).encode()
    read(content, POLICY_FILE, Policy)
    return content


def plan(
    policy: bytes,
    templates: Mapping[str, bytes],
    present: Mapping[str, bytes],
    *,
    version: str,
    wheel: str | None,
    owners: Iterable[str],
    force: bool,
) -> Plan:
    """Say what to write where; nothing is written unless everything can be.

    Args:
        policy: the bytes of the policy.
        templates: the files of `TEMPLATES`.
        present: those of `CANDIDATES` that the repository has.
        version: of the tool that the workflows shall install.
        wheel: SHA-256 of that version's wheel; None where it is not known.
        owners: who reviews everything but the activations; the policy's approvers where nobody is named.
        force: replace files that differ; CODEOWNERS is only ever added to.

    Raises:
        Refused: a file differs, or CODEOWNERS cannot be added to; every such place is named.
        InvalidFile: the policy does not say what it must.
    """
    if SOURCE in present:
        raise Refused("this is the repository of breakglass itself", where=SOURCE, remedy="name another repository")
    agreed = read(policy, POLICY_FILE, Policy)
    pins, pinned = _pins(templates[_PRODUCT_PINS], version, wheel, present.get(PINS, b""))
    wanted = {POLICY_FILE: policy, PINS: pins, **automation(agreed, templates), **_in_cluster(templates)}
    wanted |= {path: templates[path] for path in _SCHEMAS}
    wanted |= {path: _links_kept(templates[path].decode(), path, {*wanted, *_READMES}) for path in _READMES}
    differing = [path for path, content in wanted.items() if present.get(path, content) != content]
    if differing and not force:
        remedy = "commit what you have, replace these with --force, and see in `git diff` what changed"
        raise Refused(f"{', '.join(differing)} would be overwritten; nothing was written", remedy=remedy)
    wanted |= _codeowners(agreed, present, tuple(owners) or agreed.spec.approvals.approvers)
    files = {path: content for path, content in wanted.items() if present.get(path) != content}
    return Plan(files, tuple(sorted(set(wanted) - set(files))), agreed, pinned)


def next_steps(planned: Plan) -> tuple[tuple[str, str], ...]:
    """What people must still do, in order: what, and the command for it where there is one."""
    spec = planned.policy.spec
    repository, branch, app = spec.forge.repository, spec.forge.defaultBranch, spec.bot.login.removesuffix("[bot]")
    clusters = ", ".join(spec.clusters)
    pin = (
        f"pin the tool by the wheel that you installed: {PINS} has no hash for it, and pip refuses what has none",
        "breakglass init --force --wheel FILE",
    )
    return (
        *(() if planned.pinned else (pin,)),
        (
            f"create the GitHub App {app} and install it on {repository}; permissions: actions, contents and pull "
            "requests write, members read",
            "",
        ),
        (
            f"make the environment breakglass, for {branch} alone, and put the App's id and key into it",
            f"gh api -X PUT repos/{repository}/environments/breakglass && "
            "gh variable set BREAKGLASS_APP_ID --env breakglass && "
            "gh secret set BREAKGLASS_APP_KEY --env breakglass < key.pem",
        ),
        (
            f"add rulesets: on {branch}, pull requests with code owner review and stale approvals dismissed, which the "
            "App bypasses in mode pull_request; another one with the required check `check`, which nobody bypasses; on "
            f"{spec.forge.ledgerBranch}, pushes by the App alone, no force push, no deletion",
            "",
        ),
        (f"give the applier and the agent their place in each cluster: {clusters}", f"kubectl apply -k {IN_CLUSTER}"),
        (
            "bind breakglass-networkpolicies, and in the same way breakglass-verification, in each namespace that "
            "overlays touch",
            "kubectl create rolebinding breakglass-networkpolicies --clusterrole=breakglass-networkpolicies "
            "--user=breakglass:applier --serviceaccount=breakglass:agent --namespace=NAMESPACE",
        ),
        (
            f"let each API server take the OIDC tokens of {repository}'s workflows for the user breakglass:applier, "
            "one audience a cluster (spec.clusters.*.audience)",
            "",
        ),
        (f"commit, merge, write overlays below {OVERLAYS}/, and see what is missing", "breakglass doctor --live"),
    )


def _cluster(cluster: AskedCluster) -> dict[str, Any]:
    settings = {"baseline": cluster.baseline}
    if cluster.server is not None:
        settings["server"] = cluster.server
    settings["audience"] = f"breakglass/{cluster.name}"
    return settings | ({"purpose": "drill"} if cluster.drill else {})


def _pins(product: bytes, version: str, wheel: str | None, present: bytes) -> tuple[bytes, bool]:
    """The requirements of the workflows; a hash that stands there for this version stays."""
    head = f"breakglass=={version}"
    known = re.search(rf"^{re.escape(head)} \\\n +--hash=sha256:([0-9a-f]{{64}})$", present.decode(), re.MULTILINE)
    digest = wheel or (known.group(1) if known is not None else None)
    line = head if digest is None else f"{head} \\\n    --hash=sha256:{digest}"
    return f"{line}\n".encode() + product, digest is not None


def _in_cluster(templates: Mapping[str, bytes]) -> dict[str, bytes]:
    """What each cluster holds for the tool, without what only the example platform's namespaces need."""
    files = {path: templates[path].decode() for path in _IN_CLUSTER}
    # The policies there name the API server's address, which is every cluster's own.
    files[_KUSTOMIZATION] = files[_KUSTOMIZATION].replace("  - networkpolicies.yaml\n", "")
    documents = files[_RBAC].split("---\n")
    files[_RBAC] = "---\n".join(document for document in documents if _namespace(document) in ("", NAMESPACE))
    return {path.replace(_BASE, IN_CLUSTER): text.encode() for path, text in files.items()}


def _namespace(document: str) -> str:
    data, _ = load(document.encode(), _RBAC)
    return str(data["metadata"].get("namespace", ""))


def _links_kept(text: str, path: str, written: Iterable[str]) -> bytes:
    """A page without the lines that link to what is not written: the example platform's own overlays and pages."""
    directory = posixpath.dirname(path)

    def leads_somewhere(link: str) -> bool:
        target = posixpath.normpath(posixpath.join(directory, link))
        return any(file == target or file.startswith(f"{target}/") for file in written)

    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if all(map(leads_somewhere, re.findall(r"\]\(([^):]+)\)", line)))]
    return "".join(kept).rstrip("\n").encode() + b"\n"


def _codeowners(policy: Policy, present: Mapping[str, bytes], owners: Iterable[str]) -> dict[str, bytes]:
    found = [location for location in LOCATIONS if location in present]
    if len(found) > 1:
        message = f"GitHub reads {found[0]} and ignores {', '.join(found[1:])}"
        raise Refused(message, remedy="keep one CODEOWNERS file")
    file = found[0] if found else "CODEOWNERS"
    content, findings = guard(present.get(file, b""), file, policy, owners)
    if findings:
        message = "; ".join(f"{finding.where}: {finding.message}" for finding in findings)
        raise Refused(f"{message}; nothing was written", remedy="; ".join(finding.remedy for finding in findings))
    return {file: content}
