"""What a kustomization may say before kustomize itself ever sees it.

kustomize can fetch remote bases, run plugins and charts, and follow symlinks. None of that may happen on a path that
opens production, so every kustomization reachable from the root is read first and refused on the first such word.
Fields: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from breakglass.model.document import load
from breakglass.model.errors import InvalidFile
from breakglass.model.finding import Finding

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""File names that kustomize looks for."""

OVERLAY_FIELDS = frozenset({"apiVersion", "kind", "labels", "patches", "replacements", "resources"})
"""All that an overlay's Component may use."""
BASELINE_FIELDS = OVERLAY_FIELDS | {
    "commonAnnotations",
    "components",
    "configMapGenerator",
    "generatorOptions",
    "images",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "patchesJson6902",
    "patchesStrategicMerge",
    "replicas",
    "secretGenerator",
}
"""All that a baseline may use: everything that needs no network, no plugin and no program."""

_PATH_LISTS = ("resources", "components", "patchesStrategicMerge")
_PATH_KEYS = ("patches", "patchesJson6902", "replacements")
# kustomize takes a path that begins with github.com for a remote base, even where such a directory exists.
_LOCAL_PATH = re.compile(
    r"(?!(?i:github\.com)(/|$))(\.\.?/)*[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*/?|\.\.?(/\.\.)*/?",
    re.ASCII,
)

Files = Mapping[str, bytes]
"""Path inside the repository → content."""


def changes_baseline(files: Files, root: str) -> bool:
    """Whether an overlay changes or deletes baseline objects, and so must be layered on the rendered baseline.

    Only patches can reach an object that the overlay does not bring itself.

    Raises:
        InvalidFile: there is no readable kustomization at the root.
    """
    found = _kustomization(files, root)
    if found is None:
        raise InvalidFile("there is no kustomization here", where=root, remedy="add a kustomization.yaml")
    data, _ = load(files[found], found)
    return isinstance(data, Mapping) and bool(data.get("patches"))


def inspect_overlay(files: Files, root: str) -> list[Finding]:
    """Check an overlay: one Component, local files of its own directory only, no generators, no plugins.

    Args:
        files: the overlay's files, by path inside the repository.
        root: the overlay's directory.
    """
    found = _kustomization(files, root)
    if found is None:
        return [Finding("kustomization-missing", "there is no kustomization here", root, "add a kustomization.yaml")]
    data, findings = _read(files, found, OVERLAY_FIELDS)
    if data.get("kind") != "Component":
        findings.append(Finding("kustomization-kind", "an overlay is of kind Component", found, "set kind: Component"))
    for path in _paths(data):
        resolved = _resolve(root, path)
        if resolved is None or resolved not in files or not resolved.startswith(f"{root}/"):
            findings.append(_outside(found, path))
    return findings


def inspect_baseline(files: Files, root: str) -> list[Finding]:
    """Check a baseline and every kustomization it reaches; nothing may lead out of the repository."""
    findings: list[Finding] = []
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        if directory in seen:
            continue
        seen.add(directory)
        found = _kustomization(files, directory)
        if found is None:
            findings.append(Finding("kustomization-missing", "there is no kustomization here", directory, "add one"))
            continue
        data, problems = _read(files, found, BASELINE_FIELDS)
        findings += problems
        for path in _paths(data):
            resolved = _resolve(directory, path)
            if resolved is None:
                findings.append(_outside(found, path))
            elif resolved not in files:
                if any(name.startswith(f"{resolved}/") for name in files):
                    waiting.append(resolved)
                else:
                    findings.append(_outside(found, path))
    return findings


def _kustomization(files: Files, root: str) -> str | None:
    return next((path for name in NAMES if (path := posixpath.join(root, name)) in files), None)


def _read(files: Files, file: str, allowed: frozenset[str]) -> tuple[Mapping[str, Any], list[Finding]]:
    try:
        data, lines = load(files[file], file)
    except InvalidFile as error:
        return {}, [Finding("kustomization-unreadable", error.what, error.where or file, error.remedy or "")]
    if not isinstance(data, Mapping):
        return {}, [Finding("kustomization-unreadable", "this is not a mapping", file, "write a kustomization")]
    findings = []
    for field in data:
        if field not in allowed:
            where = f"{file}:{lines.get((field,), 1)}"
            message = f"the field {str(field)[:80]} is not allowed here"
            remedy = f"use only {', '.join(sorted(allowed))}"
            findings.append(Finding("kustomization-field", message, where, remedy))
    return data, findings


def _paths(data: Mapping[str, Any]) -> list[str]:
    """Every file or directory that a kustomization refers to (inline patches are no path)."""
    paths: list[str] = []
    for field in _PATH_LISTS:
        entries = data.get(field) or []
        listed = [str(entry) for entry in entries] if isinstance(entries, list) else [str(entries)]
        paths += [path for path in listed if field != "patchesStrategicMerge" or "\n" not in path]
    for field in _PATH_KEYS:
        entries = data.get(field) or []
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping):
                paths += [str(path) for path in _values(entry, "path") if path is not None]
    for field in ("configMapGenerator", "secretGenerator"):
        for entry in _list(data.get(field)):
            paths += _generator_paths(entry) if isinstance(entry, Mapping) else []
    return paths


def _generator_paths(generator: Mapping[str, Any]) -> list[str]:
    entries = [str(entry) for value in _values(generator, "files") for entry in _list(value)]
    files = [entry.partition("=")[2] or entry for entry in entries]
    environments = [*_values(generator, "envs"), *_values(generator, "env")]
    return files + [str(entry) for value in environments for entry in _list(value) if entry]


def _values(entry: Mapping[str, Any], key: str) -> list[object]:
    """The values that kustomize may read as this key: it ignores case, as Go's encoding/json does."""
    return [value for name, value in entry.items() if str(name).casefold() == key]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _resolve(directory: str, path: str) -> str | None:
    """The path inside the repository; None where it is remote, absolute or leads out of it."""
    if _LOCAL_PATH.fullmatch(path) is None:
        return None
    resolved = posixpath.normpath(posixpath.join(directory, path))
    return None if resolved == ".." or resolved.startswith(("../", "/")) else resolved


def _outside(file: str, path: str) -> Finding:
    message = f"{path[:200]!r} is not a file of this repository that may be used here"
    return Finding("kustomization-path", message, file, "use local files; copy remote bases into the repository")
