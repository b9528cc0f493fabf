"""One job run by act in host mode: what is laid out for it, and the command that runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACTIONS = Path(__file__).parent.parent / "actions"
"""Stand-ins, each in a directory of the action's name."""

STAND_INS = {f"actions/{directory.name}": directory for directory in ACTIONS.iterdir() if directory.is_dir()}
"""The actions that are replaced, and by what."""

PLATFORMS = ("ubuntu-24.04", "ubuntu-latest")
"""Labels of `runs-on` that mean this machine."""

_USES = re.compile(r"\buses:\s*[\"']?([\w.-]+/[\w.-]+)@([\w.-]+)")


@dataclass(frozen=True)
class Layout:
    """What act is given for one job; all texts.

    `event` is the event's name, `payload` its JSON. `environment` are the variables GitHub sets. `secrets` hold
    GITHUB_TOKEN. `self_repository` is `OWNER/REPOSITORY@COMMIT`; `checkout` the directory with that commit's `.github`.
    """

    workflow: str
    job: str
    matrix: Mapping[str, str]
    event: str
    payload: Mapping[str, Any]
    actor: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    variables: Mapping[str, str]
    self_repository: str
    checkout: Path


def replaced_actions(checkout: Path) -> dict[str, Path]:
    """Return `OWNER/NAME@REF` of every action used in a commit's `.github` that has a stand-in, with the stand-in."""
    files = [*checkout.rglob("*.yml"), *checkout.rglob("*.yaml")]
    used = {match.groups() for file in files for match in _USES.finditer(file.read_text(encoding="utf-8"))}
    return {f"{action}@{ref}": STAND_INS[action] for action, ref in sorted(used) if action in STAND_INS}


def command(layout: Layout, work: Path, act: Path) -> list[str]:
    """Write what act reads into the directory `work` and return the command.

    Values go into files, never into arguments, which every process of the machine sees. JSON is YAML, which act reads.
    """
    files: dict[str, object] = {
        "event.json": layout.payload,
        "environment.yml": dict(layout.environment),
        "secrets.yml": dict(layout.secrets),
        "variables.yml": dict(layout.variables),
    }
    for name, content in files.items():
        _write(work / name, json.dumps(content, ensure_ascii=False))
    _write(work / "workflow.yml", layout.workflow)
    for directory in ("home", "cache", "tmp"):
        (work / directory).mkdir()
    local = {**replaced_actions(layout.checkout), layout.self_repository: layout.checkout}
    return [
        str(act),
        layout.event,
        f"--directory={work}",
        f"--workflows={work / 'workflow.yml'}",
        f"--job={layout.job}",
        *(f"--matrix={name}:{value}" for name, value in layout.matrix.items()),
        f"--eventpath={work / 'event.json'}",
        f"--env-file={work / 'environment.yml'}",
        f"--secret-file={work / 'secrets.yml'}",
        f"--var-file={work / 'variables.yml'}",
        f"--actor={layout.actor}",
        f"--action-cache-path={work / 'cache'}",
        *(f"--platform={platform}=-self-hosted" for platform in PLATFORMS),
        *(f"--local-repository={action}={directory}" for action, directory in local.items()),
        "--action-offline-mode",
        "--no-cache-server",
        "--no-skip-checkout",
    ]


def process_environment(work: Path, path: Path, certificate_authority: Path) -> dict[str, str]:
    """Return the environment of act, which every step inherits: nothing of the caller's but where programs are.

    `path` comes first on PATH. TLS trusts `certificate_authority`, as on a machine with a company's own authority.
    """
    programs = [str(Path(found).parent) for name in ("git", "bash") if (found := shutil.which(name)) is not None]
    return {
        "ACT_DISABLE_VERSION_CHECK": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(work / "home"),
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join(dict.fromkeys([str(path), *programs, "/usr/local/bin", "/usr/bin", "/bin"])),
        "SSL_CERT_FILE": str(certificate_authority),
        "TMPDIR": str(work / "tmp"),
    }


def _write(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
