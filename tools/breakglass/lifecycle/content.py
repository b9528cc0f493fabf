"""What stands in a commit: the policy, the overlays, the activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from breakglass.model.activation import ACTIVATIONS
from breakglass.model.codeowners import LOCATIONS, Codeowners, locate, parse
from breakglass.model.digest import overlay_digest
from breakglass.model.document import read
from breakglass.model.errors import NotFound
from breakglass.model.overlay import CONTRACT_FILE, OVERLAYS, Overlay, overlay_file
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.ports import Repository


@dataclass(frozen=True, slots=True)
class OverlayContent:
    """An overlay as a commit holds it.

    Attributes:
        overlay: its contract.
        digest: digest of all its files.
        files: path inside the repository → content.
        root: its directory.
    """

    overlay: Overlay
    digest: str
    files: Mapping[str, bytes]
    root: str


def tip_of(repository: Repository, branch: str) -> str:
    """The commit of the default branch, as last fetched.

    Raises:
        NotFound: the remote has no such branch.
    """
    tip = repository.tip(branch)
    if tip is None:
        raise NotFound(f"the remote has no branch {branch}", remedy="correct forge.defaultBranch in the policy")
    return tip


def read_policy(repository: Repository, commit: str) -> Policy:
    """The policy of a commit.

    Raises:
        NotFound: the commit has none.
        InvalidFile: it does not say what it must.
    """
    files = repository.files(commit, POLICY_FILE)
    if POLICY_FILE not in files:
        raise NotFound(f"there is no {POLICY_FILE} at {commit[:12]}", remedy="run `breakglass init` in the repository")
    return read(files[POLICY_FILE], POLICY_FILE, Policy)


def overlay_names(repository: Repository, commit: str) -> tuple[str, ...]:
    """Names of the overlays of a commit, in order."""
    names = {path.split("/")[2] for path in repository.files(commit, OVERLAYS) if path.endswith(f"/{CONTRACT_FILE}")}
    return tuple(sorted(name for name in names if f"{OVERLAYS}/{name}" != ACTIVATIONS))


def read_overlay(repository: Repository, commit: str, name: str) -> OverlayContent:
    """One overlay of a commit.

    Raises:
        NotFound: the commit has no such overlay; the message names those it has.
        InvalidFile: its contract does not say what it must.
        Refused: a symlink or submodule stands among its files.
    """
    root = f"{OVERLAYS}/{name}"
    files = repository.files(commit, root) if "/" not in name and name not in ("", ".", "..") else {}
    contract = overlay_file(name)
    if contract not in files or root == ACTIVATIONS:
        known = ", ".join(overlay_names(repository, commit)) or "none"
        raise NotFound(f"there is no overlay {name[:80]!r} at {commit[:12]}", remedy=f"choose from {known}")
    relative = {path.removeprefix(f"{root}/"): content for path, content in files.items()}
    return OverlayContent(read(files[contract], contract, Overlay), overlay_digest(relative), files, root)


def read_codeowners(repository: Repository, commit: str) -> Codeowners:
    """The CODEOWNERS file that GitHub reads in a commit; without one, no path has owners."""
    files = repository.files(commit, *LOCATIONS)
    location = locate(files)
    return parse(files[location], location) if location is not None else Codeowners("CODEOWNERS", (), ())
