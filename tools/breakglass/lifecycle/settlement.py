"""Settling residue: the pull request that adopts it into the baseline, or has the applier delete it."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from ruamel.yaml import YAML

from breakglass.analysis.residue import Piece
from breakglass.lifecycle.render import refuse_on
from breakglass.lifecycle.request import literal
from breakglass.lifecycle.residue import Found, Search
from breakglass.lifecycle.sweep import command
from breakglass.model.digest import json_digest
from breakglass.model.document import read
from breakglass.model.errors import NotFound, Refused
from breakglass.model.kustomization import NAMES, inspect_baseline
from breakglass.model.manifest import ACTIVATION_LABEL, Manifest, ObjectKey, by_key
from breakglass.model.policy import API_VERSION
from breakglass.model.residue import Residue, ResidueObject, residue_file, write_residue
from breakglass.model.scalar import plain
from breakglass.ports import Forge, PullRequest

BRANCH_PREFIX = "breakglass/residue/"
ADOPTED = "adopted"
"""Directory of adopted objects, under the cluster's baseline."""
_NEVER_ADOPTED = ("Secret", "Pod", "ReplicaSet")
_SERVER_FIELDS = frozenset(
    {"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generateName", "generation"}
    | {"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"}
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def choose(found: Found, references: Iterable[str]) -> tuple[Piece, ...]:
    """The pieces that references name: `Kind/namespace/name`, `Kind.group/namespace/name`, `Kind/name`.

    Raises:
        NotFound: one names no piece, or several.
    """
    chosen = []
    for reference in references:
        pieces = [piece for piece in found.pieces if reference in _references(piece.key)]
        if len(pieces) != 1:
            known = ", ".join(_references(piece.key)[0] for piece in found.pieces) or "nothing is left"
            what = f"{reference[:200]!r} names {'several pieces' if pieces else 'no piece'} of residue"
            raise NotFound(what, remedy=f"choose from: {known}")
        chosen += pieces
    return tuple(chosen)


def _references(key: ObjectKey) -> tuple[str, ...]:
    place = f"{key.namespace}/{key.name}" if key.namespace else key.name
    return (f"{key.kind}/{place}", f"{key.kind_name}/{place}")


def propose(
    search: Search,
    forge: Forge,
    found: Found,
    *,
    adopt: Sequence[Piece],
    delete: Sequence[Piece],
    reason: str,
    author: str,
) -> PullRequest:
    """Open the pull request that adopts pieces into the baseline and has the applier delete others.

    Args:
        author: login of the commit's author.

    Raises:
        Refused: a piece cannot be settled so, or the baseline would not render with what is adopted.
        Conflict: the same pull request is open already.
    """
    twice = {piece.key for piece in adopt} & {piece.key for piece in delete}
    if twice:
        raise Refused(f"{', '.join(map(str, sorted(twice)))} cannot be both adopted and deleted", remedy="choose one")
    changes = _adoption(search, found, adopt) | _deletion(search, found, delete, reason)
    digest = json_digest(sorted(piece.uid for piece in (*adopt, *delete)))[7:15]
    branch = f"{BRANCH_PREFIX}{found.activation}-{found.base[:12]}-{digest}"
    subject = f"Settle the residue of {found.activation} on {found.cluster}"
    message = f"{subject}\n\n{reason}\n"
    commit = search.repository.record(found.base, changes, message, author=forge.author_of(author))
    search.repository.push(commit, branch, create=True)
    return forge.open_pull_request(branch, subject, _body(found, adopt, delete, reason))


def _body(found: Found, adopt: Iterable[Piece], delete: Iterable[Piece], reason: str) -> str:
    rows = [("adopt", piece) for piece in adopt] + [("delete", piece) for piece in delete]
    table = "".join(f"| {word} | `{piece.key}` | {literal(piece.evidence)} |\n" for word, piece in rows)
    return (
        f"What `{found.activation}` left behind on `{found.cluster}`. {literal(reason)}\n\n"
        f"|  | object | evidence |\n|---|---|---|\n{table}\n"
        "Adopted objects join the baseline as they are. What is to be deleted goes with the next apply after the "
        "merge: each object by its uid, and nothing that the baseline holds by then.\n"
    )


def _deletion(search: Search, found: Found, pieces: Sequence[Piece], reason: str) -> dict[str, bytes | None]:
    if not pieces:
        return {}
    path = residue_file(found.activation)
    present = search.repository.files(found.base, path)
    before = read(present[path], path, Residue).spec.delete if path in present else []
    for piece in pieces:
        if by_hand(found, piece) is not None:
            raise Refused(found.reach.told(piece.key), where=str(piece.key), remedy=by_hand(found, piece))
    data = {
        "apiVersion": API_VERSION,
        "kind": "Residue",
        "metadata": {"name": found.activation},
        "spec": {"reason": reason, "delete": [*before, *(_listed(found.cluster, piece) for piece in pieces)]},
    }
    return {path: write_residue(Residue.model_validate(data))}


def by_hand(found: Found, piece: Piece) -> str | None:
    """The command with which a person deletes a piece; None where the applier may.

    A pod with an ephemeral container goes as a whole: the container cannot be taken out again
    (https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/).
    """
    if found.reach.covers(piece.key) and not piece.containers:
        return None
    return command(piece.key, piece.uid, str(piece.manifest["apiVersion"]))


def _listed(cluster: str, piece: Piece) -> ResidueObject:
    key = piece.key
    return ResidueObject(
        cluster=cluster,
        group=key.group,
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        uid=piece.uid,
        evidence=piece.evidence,
    )


def _adoption(search: Search, found: Found, pieces: Sequence[Piece]) -> dict[str, bytes | None]:
    if not pieces:
        return {}
    for piece in pieces:
        if piece.containers or piece.key.kind in _NEVER_ADOPTED:
            remedy = "write what makes it into the baseline yourself, or delete it"
            raise Refused(f"a {piece.key.kind} is not adopted into git", where=str(piece.key), remedy=remedy)
    files = dict(search.repository.files(found.base, found.baseline))
    name = f"{ADOPTED}/{found.activation}.yaml"
    path = posixpath.join(found.baseline, name)
    root = next(file for each in NAMES if (file := posixpath.join(found.baseline, each)) in files)
    documents = [b"---\n" + yaml_of(adopted(piece.manifest)) for piece in pieces]
    changes = {path: files.get(path, b"") + b"".join(documents), root: with_resource(files[root], root, name)}
    _judge_render(search, found, files, files | changes, pieces)
    return {path: content for path, content in changes.items() if files.get(path) != content}


def adopted(manifest: Manifest) -> dict[str, Any]:
    """An object as git keeps it: without what the API server or breakglass added."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _SERVER_FIELDS}
    for field, surplus in (("labels", ACTIVATION_LABEL), ("annotations", _LAST_APPLIED)):
        kept = {name: value for name, value in (metadata.pop(field, None) or {}).items() if name != surplus}
        metadata |= {field: kept} if kept else {}
    ours = {"status", "secrets"} if manifest["kind"] == "ServiceAccount" else {"status"}
    return {**{name: value for name, value in manifest.items() if name not in ours}, "metadata": metadata}


def _judge_render(
    search: Search, found: Found, files: Mapping[str, bytes], changed: Mapping[str, bytes], pieces: Iterable[Piece]
) -> None:
    """See that the baseline grows by the adopted objects and by nothing else."""
    refuse_on(inspect_baseline(changed, found.baseline))
    before = by_key(search.renderer.render(files, found.baseline))
    after = by_key(search.renderer.render(changed, found.baseline))
    grown = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    if grown != {piece.key for piece in pieces}:
        told = ", ".join(map(str, sorted(grown))) or "nothing"
        what = f"with what is adopted, the baseline would change in {told}"
        remedy = "the kustomization transforms what it holds (namespace, prefix, patches): adopt the objects by hand"
        raise Refused(what, where=found.baseline, remedy=remedy)


def with_resource(content: bytes, file: str, name: str) -> bytes:
    """A kustomization with one more resource; every line and comment of people stays.

    Raises:
        Refused: its resources are no list.
    """
    text = YAML()
    text.width = 4096
    text.preserve_quotes = True
    text.indent(mapping=2, sequence=4 if b"\n  - " in content else 2, offset=2 if b"\n  - " in content else 0)
    data = text.load(content)
    resources = data.setdefault("resources", [])
    if not isinstance(resources, list):
        raise Refused("resources is not a list", where=file, remedy="correct the kustomization")
    if name in resources:
        return content
    resources.append(name)
    stream = io.BytesIO()
    text.dump(data, stream)
    return stream.getvalue()


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever kubectl would read something else without them."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    try:
        bare = plain(value) == value and value == value.strip()
    except ValueError:
        bare = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if bare else '"')


_Dumper.add_representer(str, _text)


def yaml_of(manifest: Manifest) -> bytes:
    """An object as YAML that kubectl and kustomize read as it is."""
    return yaml.dump(dict(manifest), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096, encoding="utf-8")
