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
from breakglass.lifecycle.install import KUSTOMIZATION, Tree, installation
from breakglass.lifecycle.ownership import IN_CLUSTER, guard
from breakglass.model.activation import ACTIVATIONS
from breakglass.model.codeowners import LOCATIONS
from breakglass.model.document import read
from breakglass.model.errors import Refused
from breakglass.model.overlay import OVERLAYS
from breakglass.model.policy import API_VERSION, POLICY_FILE, Policy
from breakglass.model.review import REVIEWS
from breakglass.model.ruleset import NAMES, RULESETS, ruleset_file, ruleset_files
from breakglass.ports import Renderer

_READMES = (f"{OVERLAYS}/README.md", f"{ACTIVATIONS}/README.md", f"{REVIEWS}/README.md")
_SCHEMAS = tuple(f"docs/schemas/{name}.json" for name in ("activation", "overlay", "policy", "review"))
_PRODUCT_PINS = "requirements/product.txt"

TEMPLATES = (*AUTOMATION, *_READMES, *_SCHEMAS, _PRODUCT_PINS)
"""Files of this project that `init` writes, as they are or fitted to the policy."""
CANDIDATES = (
    *(*AUTOMATION, *_READMES, *_SCHEMAS, *LOCATIONS, POLICY_FILE, PINS, SOURCE),
    *map(ruleset_file, NAMES),
)
"""Every path that `init` reads or writes in a repository, but for what the clusters get, below `IN_CLUSTER`."""

APP_PERMISSIONS = {
    "actions": "write",
    "checks": "write",
    "contents": "write",
    "issues": "write",
    "members": "read",
    "pull requests": "write",
}
"""What the App is granted: the most that a job of the workflows asks for; each asks for less."""

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
    repository: str,
    branch: str,
    bot: str,
    clusters: Iterable[AskedCluster],
    approvers: Iterable[str],
    app_id: int | None = None,
) -> bytes:
    """The bytes of a new policy, with what the example platform found sensible where nothing was asked.

    Raises:
        InvalidFile: a value is not acceptable.
    """
    spec = CommentedMap(
        forge={"repository": repository, "defaultBranch": branch},
        bot={"login": bot} | ({} if app_id is None else {"appId": app_id}),
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
    tree: Tree,
    renderer: Renderer,
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
        tree: files below a directory of the repository.
        renderer: shows what the overlays that are there already grant.
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
    present = {**present, **tree(IN_CLUSTER)}
    pins, pinned = _pins(templates[_PRODUCT_PINS], version, wheel, present.get(PINS, b""))
    wanted = {POLICY_FILE: policy, PINS: pins, **automation(agreed, templates)}
    wanted |= _in_cluster(agreed, present, tree, renderer)
    if agreed.spec.bot.appId is not None:
        wanted |= ruleset_files(agreed)
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
    clusters, first = ", ".join(spec.clusters), next(iter(spec.clusters))
    pin = (
        f"pin the tool by the wheel that you installed: {PINS} has no hash for it, and pip refuses what has none",
        "breakglass init --force --wheel FILE",
    )
    number = (
        f"write the App's number into {POLICY_FILE} (bot.appId), and run init again: the rulesets are made with it",
        f"gh api apps/{app} --jq .id && breakglass init",
    )
    return (
        *(() if planned.pinned else (pin,)),
        (
            f"create the GitHub App {app} and install it on {repository}; permissions: "
            f"{', '.join(f'{name} {level}' for name, level in APP_PERMISSIONS.items())}",
            "",
        ),
        (
            f"make the environment breakglass, for {branch} alone, and put the App's id and key into it",
            f"{_environment(repository, branch)} && "
            "gh variable set BREAKGLASS_APP_ID --env breakglass && "
            "gh secret set BREAKGLASS_APP_KEY --env breakglass < key.pem",
        ),
        *(() if spec.bot.appId is not None else (number,)),
        (
            f"create the rulesets of {branch} and {spec.forge.ledgerBranch} as they stand in {RULESETS}/; no job "
            "creates them, for no job may",
            f'for file in {RULESETS}/*.json; do gh api -X POST repos/{repository}/rulesets --input "$file"; done',
        ),
        (
            f"give the applier and the agent their place in each cluster: {clusters}; again with each new overlay, for "
            "they get only the rights that overlays need",
            f"breakglass install {first} --into {IN_CLUSTER}/{first} && kubectl apply -k {IN_CLUSTER}/{first}",
        ),
        (
            f"let each API server know {repository}'s jobs by their OIDC tokens: write the repository's numbers into "
            f"{POLICY_FILE} (forge.repositoryId, forge.ownerId), hand each one its file as --authentication-config",
            f"gh api repos/{repository} --jq '.id, .owner.id' && breakglass install {first} --authentication",
        ),
        (f"commit, merge, write overlays below {OVERLAYS}/, and see what is missing", "breakglass doctor --live"),
    )


def _environment(repository: str, branch: str) -> str:
    """The command that makes the environment, which one branch alone may use."""
    path = f"repos/{repository}/environments/breakglass"
    custom = "-F 'deployment_branch_policy[protected_branches]=false' "
    custom += "-F 'deployment_branch_policy[custom_branch_policies]=true'"
    return f"gh api -X PUT {path} {custom} && gh api -X POST {path}/deployment-branch-policies -f name={branch}"


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


def _in_cluster(policy: Policy, present: Mapping[str, bytes], tree: Tree, renderer: Renderer) -> dict[str, bytes]:
    """What `breakglass install` writes for each cluster, in a directory of the cluster's name."""
    files: dict[str, bytes] = {}
    for cluster in policy.spec.clusters:
        root = f"{IN_CLUSTER}/{cluster}"
        made = installation(policy, cluster, tree, renderer).files(present.get(f"{root}/{KUSTOMIZATION}"))
        files |= {f"{root}/{name}": content for name, content in made.items()}
    return files


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
