"""The commands of docs/adopting.md that set up the repository, typed by an administrator with the real gh."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from breakglass.model.document import read
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.ruleset import compare, rulesets
from breakglass_lab.forge import Forge, environments

ROOT = Path(__file__).parents[2]


def commands(heading: str) -> str:
    """The shell commands of a section, without those that hand over what only the owner of a real App has."""
    page = (ROOT / "docs" / "adopting.md").read_text(encoding="utf-8")
    section = page[page.index(f"## {heading}") :]
    (block,) = re.findall(r"```bash\n(.*?)```", section[: section.index("\n## ", 3)], re.DOTALL)
    return "".join(line for line in block.splitlines(keepends=True) if not re.match("gh (variable|secret) ", line))


def test_the_environment_and_the_rulesets_are_made_by_the_commands(
    forge: Forge, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    forge.state.rulesets.clear()
    forge.state.environments.clear()
    socket = tmp_path_factory.mktemp("s") / "s"
    forge.listen_on_socket(socket)
    (tmp_path / "config.yml").write_text(f"version: 1\nhttp_unix_socket: {socket}\n", encoding="utf-8")
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GH_CONFIG_DIR": str(tmp_path),
        "GH_HOST": "127.0.0.1",
        "GH_ENTERPRISE_TOKEN": forge.token("adam"),
        "GH_NO_UPDATE_NOTIFIER": "1",
        "GH_TELEMETRY": "false",
    }
    script = "set -euo pipefail\n" + commands("4. The environment") + commands("5. Rulesets")
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = environments.find(forge.state, "breakglass")
    assert made is not None
    assert (made.restriction, [policy.name for policy in made.policies]) == ("custom", ["main"])
    assert not environments.admits(forge.state, made, "refs/pull/7/merge")
    expected = {each["name"]: each for each in rulesets(read((ROOT / POLICY_FILE).read_bytes(), POLICY_FILE, Policy))}
    shown = subprocess.run(
        ["gh", "api", "repos/acme/platform/rulesets", "--jq", "[.[].id]"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for number in json.loads(shown.stdout):
        told = subprocess.run(
            ["gh", "api", f"repos/acme/platform/rulesets/{number}"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        actual = json.loads(told.stdout)
        assert compare(expected.pop(actual["name"]), actual) == ()
    assert expected == {}
