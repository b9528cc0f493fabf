"""The workflows of a repository: this project's own files, with the clusters and the branch of a policy filled in.

For this project's own policy they come out as they stand in `.github/`; a test holds them to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from breakglass.model.errors import Refused
from breakglass.model.policy import Policy

WORKFLOWS = ".github/workflows"
INSTALL = ".github/actions/install/action.yml"
PINS = ".github/actions/install/requirements.txt"
"""What the composite action installs in a repository that is not the tool's own."""
SOURCE = "tools/breakglass/__init__.py"
"""Stands only in the tool's own repository."""
_NAMES = ("apply", "check", "comment", "drill", "expire", "open", "review", "solo")
AUTOMATION = (INSTALL, *(f"{WORKFLOWS}/{name}.yml" for name in _NAMES))
"""The files of `automation`; each is its own template."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def automation(policy: Policy, templates: Mapping[str, bytes]) -> dict[str, bytes]:
    """The workflows and the action they install with, by path; no `drill.yml` where no cluster is kept for drills.

    Args:
        policy: its production clusters are the appliers' matrix, its first drill cluster the one drilled each week.
        templates: the files of `AUTOMATION`.

    Raises:
        Refused: a template does not hold what is to be filled in.
    """
    clusters = policy.spec.clusters
    drills = [name for name, cluster in clusters.items() if cluster.purpose == "drill"]
    files = {path: templates[path].decode() for path in AUTOMATION}
    branch, production = _scalar(policy.spec.forge.defaultBranch), ", ".join(map(_scalar, production_clusters(policy)))
    for path in AUTOMATION:
        if path.endswith(("/apply.yml", "/check.yml")):
            files[path] = _filled(files[path], path, r"(?m)^( +branches: )\[main\]$", rf"\g<1>[{branch}]")
        if path not in (INSTALL, f"{WORKFLOWS}/review.yml"):
            files[path] = _filled(files[path], path, r"(?m)^( +ref: )main\b", rf"\g<1>{branch}")
    check, apply, drill = (f"{WORKFLOWS}/{name}.yml" for name in ("check", "apply", "drill"))
    default = policy.spec.forge.defaultBranch
    files[check] = _filled(files[check], check, r"(?m)(\.base\.ref == )'main'$", rf"\g<1>'{default}'")
    files[apply] = _filled(files[apply], apply, r"(?m)^( +cluster: )\[.*\]$", rf"\g<1>[{production}]")
    if drills:
        files[drill] = _filled(files[drill], drill, r"(?m)^( +default: )drill$", rf"\g<1>{_scalar(drills[0])}")
        files[drill] = _filled(files[drill], drill, r"\|\| 'drill'", f"|| '{drills[0]}'")
    else:
        del files[drill]
    return {path: text.encode() for path, text in files.items()}


def production_clusters(policy: Policy) -> list[str]:
    """Names of the clusters that are not kept for drills, in the policy's order."""
    return [name for name, cluster in policy.spec.clusters.items() if cluster.purpose == "production"]


def _filled(text: str, path: str, pattern: str, replacement: str) -> str:
    filled, times = re.subn(pattern, replacement, text)
    if not times:
        raise Refused(f"the template holds nothing like {pattern}", where=path, remedy="install breakglass again")
    return filled


def _scalar(name: str) -> str:
    """A name as YAML, quoted where plain it would be no text."""
    return name if _PLAIN.fullmatch(name) and name.lower() not in _WORDS else f"'{name}'"
